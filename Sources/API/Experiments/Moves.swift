public import Manifests

/// Every operation that takes over what another tracking server holds. Each may be repeated: what is there already is left as it is, so
/// that a move that was broken off is simply begun again.
public enum Moves {
    private static let base = "/api/v1/projects/{project}/moves"

    public static let experiments = Operation<MovedExperiments, ItemList<MovedPlace>>(
        "moves.experiments", .post, base + "/experiments", needs: .write,
        "Takes experiments over and tells which number each has here. One of a known name is the one that is there.")
    public static let runs = Operation<MovedRuns, MovedCount>(
        "moves.runs", .post, base + "/runs", needs: .write,
        "Takes runs and logged models over under their ids. What of them is there already is not written again.")
    public static let held = Operation<HeldQuery, Holdings>(
        "moves.held", .post, base + "/held", needs: .read,
        "Counts what is kept of runs and logged models: params, tags, metrics, points, datasets, files.")
    public static let models = Operation<MovedModel, MovedModelState>(
        "moves.models", .post, base + "/models", needs: .write,
        "Takes a registered model over with its versions under their numbers. The registry's rules hold for it.")
}

/// An experiment of another server.
public struct MovedExperiment: Manifest {
    public var id = ""
    public var name = ""
    public var is_deleted = false
    public var created_ms: Int64 = 0
    public var updated_ms: Int64 = 0
    public var artifact_location: String?
    public var tags: Ordered<String> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("id", \.id, "Its number there. It keeps it, if nobody has it here."),
        .required("name", \.name, "Its name."),
        .optional("is_deleted", \.is_deleted, "Whether it is deleted."),
        .optional("created_ms", \.created_ms, "When it was made, in milliseconds since 1970."),
        .optional("updated_ms", \.updated_ms, "When it last changed, in milliseconds since 1970."),
        .optional(
            "artifact_location", \.artifact_location,
            "Where files of its runs go on being kept, such as a bucket; absent: in this server."),
        .optional("tags", \.tags, "Its tags."),
    ]
}

public struct MovedExperiments: Manifest {
    public var project = "default"
    public var experiments: [MovedExperiment] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "The project they come into."),
        .required("experiments", \.experiments, "The experiments; at most 1,000."),
    ]
}

/// Which experiment one of another server is here.
public struct MovedPlace: Manifest {
    public var source = ""
    public var id = ""
    public var name = ""
    public var artifact_location = ""
    public var is_new = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("source", \.source, "Its number there."),
        .told("id", \.id, "Its number here."),
        .told("name", \.name, "Its name."),
        .told("artifact_location", \.artifact_location, "Where files of its runs are kept."),
        .told("is_new", \.is_new, "Whether it was made now."),
    ]
}

/// Points of one metric, each list as long as the others.
public struct MovedPoints: Manifest {
    public var key = ""
    public var times: [Int64] = []
    public var steps: [Int64] = []
    public var values: [Double] = []
    public init() {}
    public init(key: String) { self.key = key }
    public static let fields: [Field<Self>] = [
        .required("key", \.key, "The metric."),
        .optional("times", \.times, "The time of each point, in milliseconds since 1970."),
        .optional("steps", \.steps, "The step of each point."),
        .optional("values", \.values, "The value of each point; \"NaN\", \"Infinity\" and \"-Infinity\" are values."),
    ]
}

/// A dataset that a run read.
public struct MovedDataset: Manifest {
    public var name = ""
    public var digest = ""
    public var source_type = ""
    public var source = ""
    public var schema: String?
    public var profile: String?
    public var tags: Ordered<String> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "Its name."),
        .required("digest", \.digest, "Its digest."),
        .optional("source_type", \.source_type, "The kind of its source."),
        .optional("source", \.source, "Where it comes from."),
        .optional("schema", \.schema, "Its columns."),
        .optional("profile", \.profile, "Its size and statistics."),
        .optional("tags", \.tags, "What it was used for."),
    ]
}

/// A logged model that a run made.
public struct MovedOutput: Manifest {
    public var model = ""
    public var step: Int64 = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("model", \.model, "The logged model."),
        .optional("step", \.step, "At which step it was made."),
    ]
}

/// A run of another server, or a part of it: what comes in several parts adds up.
public struct MovedRun: Manifest {
    public var id = ""
    public var experiment = ""
    public var name = ""
    public var user = ""
    public var status = "FINISHED"
    public var started_ms: Int64 = 0
    public var ended_ms: Int64?
    public var artifact_uri: String?
    public var is_deleted = false
    public var params: Ordered<String> = [:]
    public var tags: Ordered<String> = [:]
    public var metrics: [MovedPoints] = []
    public var datasets: [MovedDataset] = []
    public var model_inputs: [String] = []
    public var model_outputs: [MovedOutput] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("id", \.id, "Its id, 32 hexadecimal digits."),
        .required("experiment", \.experiment, "Its experiment's number here."),
        .optional("name", \.name, "Its name."),
        .optional("user", \.user, "Who logged it."),
        .optional("status", \.status, "RUNNING, SCHEDULED, FINISHED, FAILED or KILLED."),
        .optional("started_ms", \.started_ms, "When it began, in milliseconds since 1970."),
        .optional("ended_ms", \.ended_ms, "When it ended, in milliseconds since 1970."),
        .optional(
            "artifact_uri", \.artifact_uri,
            "Where its files go on being kept, such as a bucket; absent: in this server."),
        .optional("is_deleted", \.is_deleted, "Whether it is deleted."),
        .optional("params", \.params, "Its parameters."),
        .optional("tags", \.tags, "Its tags."),
        .optional("metrics", \.metrics, "Points of its metrics."),
        .optional("datasets", \.datasets, "Datasets that it read."),
        .optional("model_inputs", \.model_inputs, "Logged models that it read."),
        .optional("model_outputs", \.model_outputs, "Logged models that it made."),
    ]
}

/// A value that was measured of a logged model.
public struct MovedModelMetric: Manifest {
    public var key = ""
    public var value = 0.0
    public var time_ms: Int64 = 0
    public var step: Int64 = 0
    public var run = ""
    public var dataset_name: String?
    public var dataset_digest: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("key", \.key, "The metric."),
        .required("value", \.value, "Its value."),
        .optional("time_ms", \.time_ms, "When, in milliseconds since 1970."),
        .optional("step", \.step, "At which step."),
        .optional("run", \.run, "By which run."),
        .optional("dataset_name", \.dataset_name, "On which dataset."),
        .optional("dataset_digest", \.dataset_digest, "Digest of that dataset."),
    ]
}

/// A logged model of another server.
public struct MovedLoggedModel: Manifest {
    public var id = ""
    public var experiment = ""
    public var name = ""
    public var type = ""
    public var source_run = ""
    public var status = 0
    public var status_message = ""
    public var created_ms: Int64 = 0
    public var updated_ms: Int64 = 0
    public var artifact_uri: String?
    public var is_deleted = false
    public var params: Ordered<String> = [:]
    public var tags: Ordered<String> = [:]
    public var metrics: [MovedModelMetric] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("id", \.id, "Its id."),
        .required("experiment", \.experiment, "Its experiment's number here."),
        .optional("name", \.name, "Its name."),
        .optional("type", \.type, "Its type."),
        .optional("source_run", \.source_run, "The run that made it."),
        .optional("status", \.status, "0 unspecified, 1 pending, 2 ready, 3 failed.", in: 0...3),
        .optional("status_message", \.status_message, "Why it is so."),
        .optional("created_ms", \.created_ms, "When it was made, in milliseconds since 1970."),
        .optional("updated_ms", \.updated_ms, "When it last changed, in milliseconds since 1970."),
        .optional(
            "artifact_uri", \.artifact_uri,
            "Where its files go on being kept, such as a bucket; absent: in this server."),
        .optional("is_deleted", \.is_deleted, "Whether it is deleted."),
        .optional("params", \.params, "Its parameters."),
        .optional("tags", \.tags, "Its tags."),
        .optional("metrics", \.metrics, "What was measured of it."),
    ]
}

public struct MovedRuns: Manifest {
    public var project = "default"
    public var runs: [MovedRun] = []
    public var models: [MovedLoggedModel] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "The project they come into."),
        .optional("runs", \.runs, "Runs, or parts of runs; at most 1,000."),
        .optional("models", \.models, "Logged models; at most 1,000."),
    ]
}

public struct MovedCount: Manifest {
    public var runs = 0
    public var models = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("runs", \.runs, "How many of the runs were not there before."),
        .told("models", \.models, "How many of the logged models were not there before."),
    ]
}

public struct HeldQuery: Manifest {
    public var project = "default"
    public var runs: [String] = []
    public var models: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Their project."),
        .optional("runs", \.runs, "Ids of runs; at most 1,000."),
        .optional("models", \.models, "Ids of logged models; at most 1,000."),
    ]
}

/// How much is kept of a run or a logged model.
public struct Held: Manifest {
    public var id = ""
    public var status = ""
    public var params = 0
    public var tags = 0
    public var metrics = 0
    public var points = 0
    public var datasets = 0
    public var models = 0
    public var files = 0
    public var file_bytes: Int64 = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("id", \.id, "Its id."),
        .optional("status", \.status, "RUNNING, SCHEDULED, FINISHED, FAILED or KILLED."),
        .told("params", \.params, "How many params."),
        .told("tags", \.tags, "How many tags."),
        .told("metrics", \.metrics, "How many metrics."),
        .told("points", \.points, "How many points of metrics."),
        .told("datasets", \.datasets, "How many datasets."),
        .told("models", \.models, "How many logged models it read or made."),
        .told("files", \.files, "How many files."),
        .told("file_bytes", \.file_bytes, "Bytes of its files."),
    ]
}

public struct Holdings: Manifest {
    public var runs: [Held] = []
    public var models: [Held] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("runs", \.runs, "Of the runs those that are here."),
        .told("models", \.models, "Of the logged models those that are here."),
    ]
}

/// A version of a model of another server's registry.
public struct MovedVersion: Manifest {
    public var version = 0
    public var created_ms: Int64 = 0
    public var updated_ms: Int64 = 0
    public var user = ""
    public var description: String?
    public var stage = "None"
    public var source = ""
    public var run: String?
    public var run_link: String?
    public var model_id: String?
    public var tags: Ordered<String> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("version", \.version, "Its number."),
        .optional("created_ms", \.created_ms, "When it was registered, in milliseconds since 1970."),
        .optional("updated_ms", \.updated_ms, "When it last changed, in milliseconds since 1970."),
        .optional("user", \.user, "Who registered it."),
        .optional("description", \.description, "What people have written of it."),
        .optional("stage", \.stage, "None, Staging, Production or Archived."),
        .optional(
            "source", \.source,
            "Its files: \"runs:/RUN/PATH\" or \"models:/ID\" when they were taken over, else where they are."),
        .optional("run", \.run, "The run that made it."),
        .optional("run_link", \.run_link, "Address of its run, when that is elsewhere."),
        .optional("model_id", \.model_id, "The logged model that it is."),
        .optional("tags", \.tags, "Its tags."),
    ]
}

/// A registered model of another server.
public struct MovedModel: Manifest {
    public var project = "default"
    public var name = ""
    public var description = ""
    public var created_ms: Int64 = 0
    public var updated_ms: Int64 = 0
    public var tags: Ordered<String> = [:]
    public var versions: [MovedVersion] = []
    public var aliases: Ordered<Int> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "The project it comes into."),
        .required("name", \.name, "Its name."),
        .optional("description", \.description, "What it is for."),
        .optional("created_ms", \.created_ms, "When it was made, in milliseconds since 1970."),
        .optional("updated_ms", \.updated_ms, "When it last changed, in milliseconds since 1970."),
        .optional("tags", \.tags, "Its tags."),
        .optional("versions", \.versions, "Its versions; more may come with another call."),
        .optional("aliases", \.aliases, "Alias and version."),
    ]
}

/// What is here of a model that was taken over.
public struct MovedModelState: Manifest {
    public var name = ""
    public var versions = 0
    public var aliases = 0
    public var tags = 0
    public var refused: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("name", \.name, "What its manifest is called."),
        .told("versions", \.versions, "How many of the versions are here."),
        .told("aliases", \.aliases, "How many of the aliases point where they pointed."),
        .told("tags", \.tags, "How many tags the model and its versions have."),
        .optional("refused", \.refused, "What was not taken, and why."),
    ]
}
