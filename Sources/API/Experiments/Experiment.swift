public import Manifests

/// An experiment: a name under which runs are logged.
public struct ExperimentInfo: Manifest {
    public var id = ""
    public var name = ""
    public var project = "default"
    public var created_at = Timestamp.zero
    public var updated_at = Timestamp.zero
    public var is_deleted = false
    public var runs = 0
    public var artifact_location = ""
    public var tags: Ordered<String> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("id", \.id, "Its number."),
        .told("name", \.name, "Its name."),
        .told("project", \.project, "Its project."),
        .told("created_at", \.created_at, "When it was made."),
        .told("updated_at", \.updated_at, "When it was renamed, deleted or restored."),
        .told("is_deleted", \.is_deleted, "Whether it is deleted; it can be restored."),
        .told("runs", \.runs, "How many runs that are not deleted it has."),
        .told("artifact_location", \.artifact_location, "Where files of its runs go."),
        .told("tags", \.tags, "Its tags."),
    ]
}

/// A run with the latest of what was logged to it.
public struct ExperimentRun: Manifest {
    public var id = ""
    public var experiment = ""
    public var name = ""
    public var user = ""
    /// RUNNING, SCHEDULED, FINISHED, FAILED or KILLED, as MLflow has it.
    public var status = ""
    public var started_at = Timestamp.zero
    public var ended_at: Timestamp?
    public var is_deleted = false
    public var metrics: Ordered<Double> = [:]
    public var params: Ordered<String> = [:]
    public var tags: Ordered<String> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("id", \.id, "Its id: 32 hexadecimal digits."),
        .told("experiment", \.experiment, "Number of its experiment."),
        .told("name", \.name, "Its name."),
        .told("user", \.user, "Who logged it."),
        .told("status", \.status, "RUNNING, SCHEDULED, FINISHED, FAILED or KILLED."),
        .told("started_at", \.started_at, "When it began."),
        .optional("ended_at", \.ended_at, "When it ended."),
        .told("is_deleted", \.is_deleted, "Whether it is deleted; it can be restored."),
        .told("metrics", \.metrics, "Latest value of each metric."),
        .told("params", \.params, "Its parameters."),
        .told("tags", \.tags, "Its tags."),
    ]
}

/// What is asked about experiments.
public struct ExperimentQuery: Manifest {
    public var project = "default"
    public var filter: String?
    public var deleted = false
    public var limit = 100
    public var after: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Project they are in."),
        .optional("filter", \.filter, "Only those it holds for: name LIKE 'churn%' AND tags.team = 'ml'."),
        .optional("deleted", \.deleted, "Whether the deleted are meant, too."),
        .optional("limit", \.limit, "How many at most.", in: 1...10_000),
        .optional("after", \.after, "Where the page before ended."),
    ]
}

public struct ExperimentName: Manifest {
    public var project = "default"
    public var experiment = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("experiment", \.experiment, "Its number or name."),
    ]
}

public struct ExperimentRunName: Manifest {
    public var project = "default"
    public var run = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("run", \.run, "Its id, or enough of its first digits."),
    ]
}

/// A search of runs.
public struct ExperimentRunQuery: Manifest {
    public var project = "default"
    /// Numbers or names; empty: all.
    public var experiments: [String] = []
    public var filter: String?
    public var order_by: [String] = []
    public var deleted = false
    public var limit = 100
    public var after: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Project they are in."),
        .optional("experiments", \.experiments, "Numbers or names of experiments; empty: all of the project."),
        .optional(
            "filter", \.filter,
            "Only those it holds for: metrics.auc > 0.9 AND (params.depth IN ('4', '6') OR NOT tags.stage = 'test')."
        ),
        .optional("order_by", \.order_by, "Sorted by these: metrics.auc DESC. Absent: the newest first."),
        .optional("deleted", \.deleted, "Whether the deleted are meant, too."),
        .optional("limit", \.limit, "How many at most.", in: 1...10_000),
        .optional("after", \.after, "Where the page before ended."),
    ]
}

/// Runs that shall be held against each other.
public struct ExperimentComparison: Manifest {
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
    /// One of each run; null where a run has none.
    public var values: [JSONValue] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("kind", \.kind, "param, metric or tag."),
        .told("key", \.key, "Its key."),
        .told("differs", \.differs, "Whether the runs differ in it."),
        .told("values", \.values, "What each run has; null for none."),
    ]
}

public struct ExperimentDifference: Manifest {
    public var runs: [ExperimentRun] = []
    public var values: [ComparedValue] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("runs", \.runs, "The runs, in the order of the question."),
        .told("values", \.values, "What was logged to any of them, side by side."),
    ]
}

/// Every operation on experiments. What logs speaks MLflow's protocol at /mlflow.
public enum Experiments {
    public static let list = Operation<ExperimentQuery, ItemList<ExperimentInfo>>(
        "experiments.list", .get, "/api/v1/projects/{project}/experiments", needs: .read,
        "Lists experiments, the newest first.")
    public static let get = Operation<ExperimentName, ExperimentInfo>(
        "experiments.get", .get, "/api/v1/projects/{project}/experiments/{experiment}", needs: .read,
        "Shows an experiment, by its number or name.")
    public static let runs = Operation<ExperimentRunQuery, ItemList<ExperimentRun>>(
        "experiments.runs", .post, "/api/v1/projects/{project}/experiment-runs/search", needs: .read,
        "Finds runs of experiments.")
    public static let run = Operation<ExperimentRunName, ExperimentRun>(
        "experiments.run", .get, "/api/v1/projects/{project}/experiment-runs/{run}", needs: .read,
        "Shows a run of an experiment.")
    public static let compare = Operation<ExperimentComparison, ExperimentDifference>(
        "experiments.compare", .post, "/api/v1/projects/{project}/experiment-runs/compare", needs: .read,
        "Puts what was logged to runs side by side.")
}
