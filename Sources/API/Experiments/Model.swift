public import Manifests

/// A model: a name under which versions are registered.
public enum ModelKind: Kind {
    public typealias Spec = ModelSpec
    public typealias Status = ModelStatus
    public static let name = "Model"
    public static let plural = "models"
    public static let summary = "A name under which model versions are registered, served and compared."
}

public struct ModelSpec: Manifest {
    public enum Format: String, WireEnum { case xgboost, linear }
    public var format: Format?
    public var description: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("format", \.format, "The only format its versions may have."),
        .optional("description", \.description, "What it is for."),
    ]
}

public struct ModelStatus: Manifest {
    public var latest_version = 0
    public var aliases: Ordered<Int> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("latest_version", \.latest_version, "Number of the newest version; 0: none yet."),
        .told("aliases", \.aliases, "Where each alias points."),
    ]
}

/// One registered version: never changed, never renumbered.
public struct ModelVersion: Manifest {
    public var project = "default"
    public var model = ""
    public var version = 0
    public var created_at = Timestamp.zero
    public var format = ""
    /// Tree blob of the model folder.
    public var digest = ""
    public var size_bytes: Int64 = 0
    public var signature: JSONValue = [:]
    public var metrics: Ordered<Double> = [:]
    public var aliases: [String] = []
    public var run: String?
    public var pipeline: String?
    public var commit: String?
    public var data_digest: String?
    /// Free facts: hyperparameters, rounds, fairness by group.
    public var facts: Ordered<JSONValue> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("project", \.project, "Its project."),
        .told("model", \.model, "Its model."),
        .told("version", \.version, "Its number, from 1."),
        .told("created_at", \.created_at, "When it was registered."),
        .told("format", \.format, "xgboost or linear."),
        .told("digest", \.digest, "SHA-256 of its files."),
        .told("size_bytes", \.size_bytes, "Size of its files."),
        .told("signature", \.signature, "Inputs and outputs."),
        .told("metrics", \.metrics, "Numbers measured at validation."),
        .told("aliases", \.aliases, "Aliases that point to it."),
        .told("run", \.run, "Run that made it."),
        .told("pipeline", \.pipeline, "Pipeline that made it."),
        .told("commit", \.commit, "Commit it was made from."),
        .told("data_digest", \.data_digest, "Digest of the data it learned from."),
        .optional("facts", \.facts, "More facts."),
    ]
}

/// Every operation on models.
public enum Models {
    public static let versions = Operation<Name, ItemList<ModelVersion>>(
        "models.versions", .get, "/api/v1/projects/{project}/models/{name}/versions", needs: .read,
        "Lists a model's versions, newest first.")
    public static let version = Operation<ModelVersionName, ModelVersion>(
        "models.version", .get, "/api/v1/projects/{project}/models/{name}/versions/{version}", needs: .read,
        "Shows a version, by number, alias or \"latest\".")
    public static let register = Operation<ModelVersion, ModelVersion>(
        "models.register", .post, "/api/v1/projects/{project}/models/{model}/versions", needs: .run,
        "Registers a version. The same run and digest registered twice is one version.")
    public static let setAlias = Operation<AliasInput, ModelVersion>(
        "models.set-alias", .put, "/api/v1/projects/{project}/models/{name}/aliases/{alias}", needs: .run,
        "Moves an alias, if it points where the caller thinks it does.")
}

public struct ModelVersionName: Manifest {
    public var project = "default"
    public var name = ""
    public var version = "latest"
    public init() {}
    public init(project: String, name: String, version: String) {
        (self.project, self.name, self.version) = (project, name, version)
    }
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("name", \.name, "The model."),
        .optional("version", \.version, "Number, alias or \"latest\"."),
    ]
}

public struct AliasInput: Manifest {
    public var project = "default"
    public var name = ""
    public var alias = ""
    public var version = 0
    /// Where it must point now; 0: nowhere; absent: anywhere.
    public var expected: Int?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("name", \.name, "The model."),
        .required("alias", \.alias, "The alias."),
        .required("version", \.version, "Version it shall point to; 0 removes it."),
        .optional("expected", \.expected, "Version it must point to now, 0 for none; otherwise nothing changes (409)."),
    ]
}
