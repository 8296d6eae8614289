public import Manifests

/// One registered version. Its content, number and lineage never change; tags, stage and description may.
public struct ModelVersion: Manifest {
    public var project = "default"
    public var model = ""
    public var version = 0
    public var label: String?
    public var created_at = Timestamp.zero
    public var updated_at: Timestamp?
    public var created_by: String?
    public var format = ""
    /// Tree blob of the model folder.
    public var digest = ""
    public var size_bytes: Int64 = 0
    public var signature: JSONValue = [:]
    public var metrics: Ordered<Double> = [:]
    public var aliases: [String] = []
    public var stage: String?
    public var description: String?
    public var tags: Ordered<String> = [:]
    public var run: String?
    public var pipeline: String?
    public var commit: String?
    public var data_digest: String?
    public var parent: String?
    public var authors: [String] = []
    public var source: String?
    public var model_id: String?
    public var run_link: String?
    public var signed_with: String?
    /// Free facts: hyperparameters, rounds, fairness by group.
    public var facts: Ordered<JSONValue> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("project", \.project, "Its project."),
        .told("model", \.model, "Its model."),
        .told("version", \.version, "Its number, from 1; never used twice."),
        .optional("label", \.label, "What it is called beside its number: 2.1.0, 2026.11.26."),
        .told("created_at", \.created_at, "When it was registered."),
        .optional("updated_at", \.updated_at, "When its tags, stage or description last changed."),
        .optional("created_by", \.created_by, "Who registered it."),
        .told("format", \.format, "xgboost, linear or mlflow."),
        .told("digest", \.digest, "SHA-256 of its files; empty when they lie elsewhere."),
        .told("size_bytes", \.size_bytes, "Size of its files."),
        .told("signature", \.signature, "Inputs and outputs."),
        .told("metrics", \.metrics, "Numbers measured at validation."),
        .told("aliases", \.aliases, "Aliases that point to it."),
        .optional("stage", \.stage, "Its stage in MLflow's words; absent: None."),
        .optional("description", \.description, "What people have written of it."),
        .optional("tags", \.tags, "Words that people have given it."),
        .told("run", \.run, "Run that made it."),
        .told("pipeline", \.pipeline, "Pipeline that made it."),
        .told("commit", \.commit, "Commit it was made from."),
        .told("data_digest", \.data_digest, "Digest of the data it learned from."),
        .optional("parent", \.parent, "Version that it was made from: MODEL@VERSION."),
        .optional("authors", \.authors, "Who has made it, so that they do not approve it themselves."),
        .optional("source", \.source, "Where MLflow's client has left its files."),
        .optional("model_id", \.model_id, "Logged model that it was made from, in MLflow."),
        .optional("run_link", \.run_link, "Address of its run, when that is elsewhere."),
        .optional("signed_with", \.signed_with, "Id of the key of its signature."),
        .optional("facts", \.facts, "More facts."),
    ]
}

/// What is on record of a version: enough to check it without this server.
public struct ModelEvidence: Manifest {
    public var version = ModelVersion()
    public var files: [ModelFile] = []
    public var signature: JSONValue?
    public var public_key: String?
    public var bom: JSONValue?
    public var card = ""
    public var requests: [ModelRequest] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("version", \.version, "The version."),
        .told("files", \.files, "Its files."),
        .optional(
            "signature", \.signature, "OpenSSF model signature: a Sigstore bundle with a DSSE envelope (model.sig)."),
        .optional("public_key", \.public_key, "Key that the signature is checked with (PEM)."),
        .optional("bom", \.bom, "CycloneDX 1.6 bill of materials."),
        .told("card", \.card, "Model card, in Markdown."),
        .told("requests", \.requests, "What people were asked of it, and have said; newest first."),
    ]
}

public struct ModelFile: Manifest {
    public var path = ""
    public var digest = ""
    public var size_bytes: Int64 = 0
    public init() {}
    public init(path: String, digest: String, size: Int64) {
        (self.path, self.digest, size_bytes) = (path, digest, size)
    }
    public static let fields: [Field<Self>] = [
        .told("path", \.path, "Path in the model's folder."),
        .told("digest", \.digest, "SHA-256 of its content."),
        .told("size_bytes", \.size_bytes, "Its size."),
    ]
}

/// Whether a version is still what was registered.
public struct ModelVerification: Manifest {
    public enum Outcome: String, WireEnum { case sound, unsigned, changed, refused }
    public var version = ModelVersion()
    public var outcome = Outcome.sound
    public var problems: [String] = []
    public var files = 0
    public var key: String?
    public init() {}
    /// Whether it may be deployed.
    public var isGood: Bool { outcome == .sound || outcome == .unsigned }
    public static let fields: [Field<Self>] = [
        .told("version", \.version, "The version."),
        .told(
            "outcome", \.outcome,
            "`sound`: every file is as it was signed; `unsigned`: every file is as it was registered, and nothing is signed; `changed`; `refused`: unsigned, and its model wants a signature."
        ),
        .told("problems", \.problems, "What is wrong, a clause each."),
        .told("files", \.files, "How many files were read and hashed."),
        .optional("key", \.key, "Id of the key that has signed it."),
    ]
}

/// Two versions side by side.
public struct ModelDifference: Manifest {
    public var from = ModelVersion()
    public var to = ModelVersion()
    public var is_backward = true
    public var is_full = true
    public var breaks: [String] = []
    public var lines: [String] = []
    public var files: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("from", \.from, "The one."),
        .told("to", \.to, "The other."),
        .told("is_backward", \.is_backward, "Whether whoever calls the one can call the other."),
        .told("is_full", \.is_full, "Whether it is so both ways."),
        .told("breaks", \.breaks, "What in the signatures keeps it from being so."),
        .told("lines", \.lines, "What differs in metrics, facts, lineage and signature, a line each."),
        .told("files", \.files, "Files that came, went or changed."),
    ]
}

/// What pruning takes away, and what it must not.
public struct ModelPrunePlan: Manifest {
    public var is_dry = true
    public var removed: [ModelPruned] = []
    public var kept: [ModelPruned] = []
    public var bytes: Int64 = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("is_dry", \.is_dry, "Whether nothing was done."),
        .told("removed", \.removed, "Versions that go."),
        .told("kept", \.kept, "Versions old enough to go that are still referred to."),
        .told("bytes", \.bytes, "Bytes of files that no other version has."),
    ]
}

public struct ModelPruned: Manifest {
    public var version = 0
    public var bytes: Int64 = 0
    public var reason = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("version", \.version, "Its number."),
        .told("bytes", \.bytes, "Size of its files."),
        .told("reason", \.reason, "Why it goes, or stays."),
    ]
}
