public import Manifests

/// Runs that are compared with each other, as MLflow's clients log them.
public struct Experiment: Manifest {
    public var project = "default"
    /// Its number, as text.
    public var id = ""
    public var name = ""
    public var created_at = Timestamp.zero
    public var updated_at = Timestamp.zero
    public var artifact_location = ""
    public var tags: Ordered<String> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("project", \.project, "Its project."),
        .told("id", \.id, "Its number."),
        .told("name", \.name, "Its name."),
        .told("created_at", \.created_at, "When it was made."),
        .told("updated_at", \.updated_at, "When it was last renamed, deleted or restored."),
        .told("artifact_location", \.artifact_location, "Where files of its runs are."),
        .optional("tags", \.tags, "What is noted of it."),
    ]
}

/// One run of an experiment with what it logged: of each metric the latest value.
public struct TrackedRun: Manifest {
    public var id = ""
    public var name = ""
    public var experiment = ""
    /// "running", "scheduled", "finished", "failed" or "killed".
    public var status = ""
    public var user = ""
    public var started_at = Timestamp.zero
    public var ended_at: Timestamp?
    public var artifact_uri = ""
    public var is_deleted = false
    public var metrics: Ordered<Double> = [:]
    public var params: Ordered<String> = [:]
    public var tags: Ordered<String> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("id", \.id, "Its id, 32 hexadecimal digits."),
        .told("name", \.name, "Its name."),
        .told("experiment", \.experiment, "Its experiment's number."),
        .told("status", \.status, "running, scheduled, finished, failed or killed."),
        .told("user", \.user, "Who logged it."),
        .told("started_at", \.started_at, "When it began."),
        .optional("ended_at", \.ended_at, "When it ended."),
        .told("artifact_uri", \.artifact_uri, "Where its files are."),
        .optional("is_deleted", \.is_deleted, "Whether it is deleted; it can be restored."),
        .optional("metrics", \.metrics, "The latest value of each metric."),
        .optional("params", \.params, "Its parameters."),
        .optional("tags", \.tags, "Its tags."),
    ]
}

/// A metric over steps or time, of many points a few that show all peaks.
public struct MetricCurve: Manifest {
    public var run = ""
    public var key = ""
    /// How many points there are in the range.
    public var total = 0
    public var steps: [Int64] = []
    /// Milliseconds since 1970.
    public var times: [Int64] = []
    public var values: [Double] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("run", \.run, "The run."),
        .told("key", \.key, "The metric."),
        .told("total", \.total, "How many points there are in the range; as many as are shown when none was left out."),
        .told("steps", \.steps, "The step of each point."),
        .told("times", \.times, "The time of each point, in milliseconds since 1970."),
        .told("values", \.values, "The value of each point; \"NaN\", \"Infinity\" and \"-Infinity\" are values."),
    ]
}

/// A file or folder of a run.
public struct TrackedFile: Manifest {
    /// Below the run's artifacts.
    public var path = ""
    public var is_folder = false
    public var size_bytes: Int64 = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("path", \.path, "Its path below the run's artifacts."),
        .told("is_folder", \.is_folder, "Whether it is a folder."),
        .optional("size_bytes", \.size_bytes, "Its size."),
    ]
}

/// The beginning of a file as text.
public struct TrackedText: Manifest {
    public var path = ""
    public var text = ""
    public var size_bytes: Int64 = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("path", \.path, "The file's path below the run's artifacts."),
        .told("text", \.text, "Its beginning; bytes that are no UTF-8 are replaced."),
        .told("size_bytes", \.size_bytes, "Size of the whole file."),
    ]
}

/// Every operation on experiments and their runs. What logs them speaks MLflow's REST API, below /mlflow.
public enum Experiments {
    public static let list = Operation<ExperimentQuery, ItemList<Experiment>>(
        "experiments.list", .get, "/api/v1/projects/{project}/experiments", needs: .read,
        "Lists experiments, the newest first.")
    public static let get = Operation<ExperimentName, Experiment>(
        "experiments.get", .get, "/api/v1/projects/{project}/experiments/{experiment}", needs: .read,
        "Shows an experiment.")
    public static let runs = Operation<TrackedRunQuery, ItemList<TrackedRun>>(
        "experiments.runs", .get, "/api/v1/projects/{project}/experiments/{experiment}/runs", needs: .read,
        "Searches the runs of an experiment, with the filters of MLflow and more: OR, NOT, parentheses, BETWEEN, IN.")
    public static let run = Operation<TrackedRunName, TrackedRun>(
        "experiments.run", .get, "/api/v1/projects/{project}/tracked-runs/{run}", needs: .read, "Shows a run.")
    public static let compare = Operation<RunComparison, RunDifference>(
        "experiments.compare", .post, "/api/v1/projects/{project}/tracked-runs/compare", needs: .read,
        "Puts what runs logged side by side.")
    public static let curve = Operation<CurveQuery, MetricCurve>(
        "experiments.curve", .get, "/api/v1/projects/{project}/tracked-runs/{run}/curve", needs: .read,
        "Shows a metric of a run over steps or time; of many points those that make the picture.")
    public static let files = Operation<TrackedFileName, ItemList<TrackedFile>>(
        "experiments.files", .get, "/api/v1/projects/{project}/tracked-runs/{run}/files", needs: .read,
        "Lists a folder of a run's artifacts.")
    public static let text = Operation<TrackedFileName, TrackedText>(
        "experiments.text", .get, "/api/v1/projects/{project}/tracked-runs/{run}/text", needs: .read,
        "Shows the beginning of an artifact as text.")
    public static let purge = Operation<ExperimentPurgeInput, ExperimentPurge>(
        "experiments.purge", .post, "/api/v1/projects/{project}/tracked-runs/purge", needs: .write,
        "Removes deleted runs, experiments and logged models for good, points and artifacts too; or tells which it would."
    )
}

public struct ExperimentPurgeInput: Manifest {
    public var project = "default"
    public var older_than: TimeSpan?
    public var dry_run = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Their project."),
        .optional("older_than", \.older_than, "How long ago they must have been deleted: 30d; absent: at any time."),
        .optional("dry_run", \.dry_run, "Only tell."),
    ]
}

/// What was removed for good, or would be.
public struct ExperimentPurge: Manifest {
    public var is_dry = false
    public var runs = 0
    public var experiments: [String] = []
    public var models = 0
    public var artifacts = 0
    public var size_bytes: Int64 = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("is_dry", \.is_dry, "Whether it was only told, not done."),
        .told("runs", \.runs, "How many runs, those of removed experiments included."),
        .told("experiments", \.experiments, "Names of the experiments."),
        .told("models", \.models, "How many logged models."),
        .told("artifacts", \.artifacts, "How many files."),
        .told("size_bytes", \.size_bytes, "Their size; what others have, too, stays on the disk for those."),
    ]
}

public struct ExperimentQuery: Manifest {
    public var project = "default"
    public var search: String?
    public var limit = 100
    public var after: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Their project."),
        .optional("search", \.search, "A part of the name, in upper or lower case."),
        .optional("limit", \.limit, "How many at most.", in: 1...1000),
        .optional("after", \.after, "\"next\" of the page before."),
    ]
}

public struct ExperimentName: Manifest {
    public var project = "default"
    public var experiment = ""
    public init() {}
    public init(project: String, experiment: String) { (self.project, self.experiment) = (project, experiment) }
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("experiment", \.experiment, "Its number or name."),
    ]
}

public struct TrackedRunQuery: Manifest {
    public var project = "default"
    public var experiment = ""
    public var filter: String?
    public var order_by: String?
    public var deleted = false
    public var limit = 100
    public var after: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Their project."),
        .required("experiment", \.experiment, "Their experiment's number or name."),
        .optional("filter", \.filter, "Which: \"metrics.auc > 0.9 AND (params.lr = '0.1' OR tags.team = 'a')\"."),
        .optional(
            "order_by", \.order_by, "In which order: \"metrics.auc DESC\". The last begun first, if nothing is said."),
        .optional("deleted", \.deleted, "Those that are deleted, instead of the others."),
        .optional("limit", \.limit, "How many at most.", in: 1...1000),
        .optional("after", \.after, "\"next\" of the page before."),
    ]
}

public struct TrackedRunName: Manifest {
    public var project = "default"
    public var run = ""
    public init() {}
    public init(project: String, run: String) { (self.project, self.run) = (project, run) }
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("run", \.run, "Its id, or enough of its first digits."),
    ]
}

public struct CurveQuery: Manifest {
    public enum Axis: String, WireEnum { case step, time }
    public var project = "default"
    public var run = ""
    public var key = ""
    public var axis = Axis.step
    public var from: Int64?
    public var to: Int64?
    public var buckets = 500
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "The run's project."),
        .required("run", \.run, "The run."),
        .required("key", \.key, "The metric."),
        .optional("axis", \.axis, "What the buckets divide: step or time."),
        .optional("from", \.from, "The first step, or millisecond since 1970."),
        .optional("to", \.to, "The last one, included."),
        .optional(
            "buckets", \.buckets, "Into how many parts the axis is divided; each shows at most four points.",
            in: 1...10_000),
    ]
}

public struct TrackedFileName: Manifest {
    public var project = "default"
    public var run = ""
    public var path = ""
    public init() {}
    public init(project: String, run: String, path: String) {
        (self.project, self.run, self.path) = (project, run, path)
    }
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "The run's project."),
        .required("run", \.run, "The run."),
        .optional("path", \.path, "A path below the run's artifacts; empty for all of them."),
    ]
}

/// Runs that shall be held against each other.
public struct RunComparison: Manifest {
    public var project = "default"
    public var runs: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Their project."),
        .required("runs", \.runs, "Their ids, or enough of the first digits of each."),
    ]
}

/// One thing in which runs are compared.
public struct ComparedValue: Manifest {
    public var kind = ""
    public var key = ""
    public var differs = false
    public var values: [JSONValue] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("kind", \.kind, "param, metric or tag."),
        .told("key", \.key, "Its key."),
        .told("differs", \.differs, "Whether the runs differ in it."),
        .told("values", \.values, "What each run has, in the order of the runs; null for none."),
    ]
}

public struct RunDifference: Manifest {
    public var runs: [TrackedRun] = []
    public var values: [ComparedValue] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("runs", \.runs, "The runs, in the order of the question."),
        .told("values", \.values, "What any of them logged, side by side: params, metrics, tags."),
    ]
}

/// A search of runs under a name: what a page of an experiment shows.
public enum RunViewKind: Kind {
    public typealias Spec = RunViewSpec
    public typealias Status = NoStatus
    public static let name = "RunView"
    public static let plural = "run-views"
    public static let summary = "A saved search of an experiment's runs: filter, order and columns."
}

public struct RunViewSpec: Manifest {
    public var experiment = ""
    public var filter: String?
    public var order_by: String?
    public var columns: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("experiment", \.experiment, "The experiment's number."),
        .optional("filter", \.filter, "Which runs, as in a search."),
        .optional("order_by", \.order_by, "In which order, as in a search."),
        .optional("columns", \.columns, "What is shown of each: \"metrics.auc\", \"params.lr\", \"tags.team\"."),
    ]
}
