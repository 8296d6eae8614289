public import Manifests

/// A model: a name under which versions are registered.
public enum ModelKind: Kind {
    public typealias Spec = ModelSpec
    public typealias Status = ModelStatus
    public static let name = "Model"
    public static let plural = "models"
    public static let summary =
        "A name under which model versions are registered, and what they must fulfil: signature, metrics, approvals."
}

public struct ModelSpec: Manifest {
    public enum Format: String, WireEnum { case xgboost, linear, mlflow }
    /// What a consumer of the last version may rely on in the next one.
    public enum Compatibility: String, WireEnum { case none, backward, full }
    public enum Versioning: String, WireEnum { case sequential, semantic, calendar }
    public var format: Format?
    public var description: String?
    public var signature: ModelSchema?
    public var compatibility = Compatibility.none
    public var versioning = Versioning.sequential
    public var required: [String] = []
    public var validation = ModelValidationSpec()
    public var stages: [ModelStageSpec] = []
    public var require_signature = false
    public var retention: ModelRetentionSpec?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("format", \.format, "The only format its versions may have."),
        .optional("description", \.description, "What it is for."),
        .optional("signature", \.signature, "Columns that every version must take and give, at least."),
        .optional(
            "compatibility", \.compatibility,
            "What a new version owes the one before: `backward`, whoever calls the old one can call the new one; `full`, also the other way round."
        ),
        .optional(
            "versioning", \.versioning,
            "How versions are called beside their number: `semantic` (2.1.0, from what changed in the signature) or `calendar` (2026.11.26)."
        ),
        .optional(
            "required", \.required, "Facts, tags or fields that a version must bring: commit, data_digest, owner."),
        .optional("validation", \.validation, "What is checked when a version is registered."),
        .optional("stages", \.stages, "Stages whose aliases move only to versions that people have approved."),
        .optional(
            "require_signature", \.require_signature,
            "Whether a version without a cryptographic signature may not be deployed."),
        .optional("retention", \.retention, "Which versions `vagus models prune` takes away."),
    ]

    public static func check(_ value: Self) -> [ManifestError] {
        var seen = Set<String>()
        var taken = Set<String>()
        for (index, stage) in value.stages.enumerated() {
            let path = ["stages", "\(index)"]
            guard isResourceName(stage.name), seen.insert(stage.name).inserted else {
                return [
                    ManifestError(
                        at: path + ["name"], message: "\"\(stage.name)\" cannot be a stage's name, or is there twice",
                        hint: "Use small letters, digits, \"-\" and \"_\", each name once.")
                ]
            }
            if let alias = stage.aliases.first(where: { !taken.insert($0).inserted }) {
                return [
                    ManifestError(
                        at: path + ["aliases"], message: "the alias \"\(alias)\" belongs to two stages",
                        hint: "An alias is guarded by one stage.")
                ]
            }
            if let wrong = stage.approvals.from.first(where: { Approver($0) == nil }) {
                return [
                    ManifestError(
                        at: path + ["approvals", "from"], message: "\"\(wrong)\" is nobody who could approve",
                        hint: "Write user:NAME or team:NAME.")
                ]
            }
        }
        return []
    }
}

/// A stage in the life of versions: who must say yes before an alias of it may point to one.
public struct ModelStageSpec: Manifest {
    public var name = ""
    public var aliases: [String] = []
    public var approvals = ApprovalsSpec()
    public init() {}
    public static var noun: String { "model stage" }
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "What it is called: production. MLflow's stages of the same name are guarded, too."),
        .optional("aliases", \.aliases, "Aliases that only approved versions may have: champion."),
        .optional(
            "approvals", \.approvals,
            "Who must say yes. `expires` is also how long an approval may wait to be used."),
    ]
}

/// What is checked when a version is registered.
public struct ModelValidationSpec: Manifest {
    public var metrics: Ordered<ModelBound> = [:]
    public var max_size: ByteSize?
    public var sample = false
    public var loads = false
    public init() {}
    public static var noun: String { "validation" }
    public static let fields: [Field<Self>] = [
        .optional("metrics", \.metrics, "Metrics that must be there, with their bounds: auc: { min: 0.8 }."),
        .optional("max_size", \.max_size, "The most that its files may take together: 500Mi."),
        .optional(
            "sample", \.sample,
            "Whether the version must bring rows (input_example.json, serving_input_example.json or sample.json), which must fit its signature."
        ),
        .optional(
            "loads", \.loads,
            "Whether the version must load, and score the rows that it brings: tried in a process of its own (XGBoost, linear)."
        ),
    ]
}

/// Bounds of a metric, both inclusive.
public struct ModelBound: Manifest {
    public var min: Double?
    public var max: Double?
    public init() {}
    public static var noun: String { "bound" }
    public static let fields: [Field<Self>] = [
        .optional("min", \.min, "The least that is good."),
        .optional("max", \.max, "The most that is good."),
    ]
}

/// Which versions may be taken away.
public struct ModelRetentionSpec: Manifest {
    public var keep = 10
    public var after = TimeSpan.days(90)
    public init() {}
    public static var noun: String { "retention" }
    public static let fields: [Field<Self>] = [
        .optional("keep", \.keep, "The newest versions that always stay.", in: 1...100_000),
        .optional("after", \.after, "How old a version must be before it may go."),
    ]
}

public struct ModelStatus: Manifest {
    public var latest_version = 0
    public var aliases: Ordered<Int> = [:]
    public var title: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("latest_version", \.latest_version, "Number of the newest version; 0: none yet."),
        .told("aliases", \.aliases, "Where each alias points."),
        .optional("title", \.title, "Its name as MLflow's clients know it, when that is another."),
    ]
}

// MARK: - Signatures

/// What a model takes and gives, in one form whoever wrote it.
public struct ModelSchema: Manifest {
    public var inputs: [ModelColumn] = []
    public var outputs: [ModelColumn] = []
    public init() {}
    public static var noun: String { "signature" }
    public static let fields: [Field<Self>] = [
        .optional("inputs", \.inputs, "Columns or tensors that it takes."),
        .optional("outputs", \.outputs, "Columns or tensors that it gives."),
    ]
    public var isEmpty: Bool { inputs.isEmpty && outputs.isEmpty }
}

/// One column, or one tensor.
public struct ModelColumn: Manifest {
    public var name = ""
    public var type = ""
    public var shape: [Int]?
    public var is_required = true
    public init() {}
    public init(_ name: String, _ type: String, shape: [Int]? = nil, isRequired: Bool = true) {
        (self.name, self.type, self.shape, is_required) = (name, type, shape, isRequired)
    }
    public static var noun: String { "column" }
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "Its name; empty for the only tensor of a model that names none."),
        .required(
            "type", \.type, "boolean, integer, long, float, double, string, binary, datetime, or a tensor's type."),
        .optional("shape", \.shape, "Dimensions of a tensor; -1 is any."),
        .optional("is_required", \.is_required, "Whether a row without it is refused."),
    ]
}
