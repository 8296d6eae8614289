public import Manifests

public enum ModelRequestStatus: String, WireEnum { case waiting, approved, rejected, expired, voided }

/// What people were asked about a version: may it have the aliases of a stage? Kept for good.
public struct ModelRequest: Manifest {
    public var id = ""
    public var project = "default"
    public var model = ""
    public var version = 0
    public var stage = ""
    public var status = ModelRequestStatus.waiting
    public var reason: String?
    /// SHA-256 over all that was looked at; an approval counts for this only.
    public var digest = ""
    public var requested_by = ""
    public var authors: [String] = []
    public var comment: String?
    public var began_at = Timestamp.zero
    public var expires_at = Timestamp.zero
    public var ended_at: Timestamp?
    public var used_at: Timestamp?
    public var min = 1
    public var from: [String] = []
    public var not_author = true
    public var comment_rule = ApprovalsSpec.CommentRule.optional
    public var approvals: [Approval] = []
    public var mine = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("id", \.id, "Its id."),
        .told("project", \.project, "Its project."),
        .told("model", \.model, "Model."),
        .told("version", \.version, "Number of the version."),
        .told("stage", \.stage, "Stage of the model."),
        .told("status", \.status, "How it stands."),
        .optional("reason", \.reason, "Why it stands so."),
        .told("digest", \.digest, "Hash of the version's files, signature, metrics, facts and lineage."),
        .told("requested_by", \.requested_by, "Who asked."),
        .told("authors", \.authors, "Who has made the version."),
        .optional("comment", \.comment, "Why it was asked."),
        .told("began_at", \.began_at, "When it was asked."),
        .told("expires_at", \.expires_at, "When it must have been approved, and used."),
        .optional("ended_at", \.ended_at, "When it was decided."),
        .optional(
            "used_at", \.used_at, "When an alias or stage was given to the version by it; it does not expire then."),
        .told("min", \.min, "How many people must say yes."),
        .told("from", \.from, "Who may; empty: everyone who may start runs."),
        .told("not_author", \.not_author, "Whether authors may not."),
        .told("comment_rule", \.comment_rule, "Whether each must say why."),
        .told("approvals", \.approvals, "What people have said, oldest first."),
        .told("mine", \.mine, "Whether the asker may say yes to it now, and has not."),
    ]
}

public struct ModelRequestInput: Manifest {
    public var project = "default"
    public var name = ""
    public var version = "latest"
    public var stage = ""
    public var comment: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("name", \.name, "The model."),
        .required("version", \.version, "Number, label, alias or \"latest\"."),
        .required("stage", \.stage, "Stage of the model that it shall be approved for."),
        .optional("comment", \.comment, "Why."),
    ]
}

public struct ModelRequestQuery: Manifest {
    public var project = "default"
    public var model: String?
    public var status: ModelRequestStatus?
    public var mine = false
    public var limit = 200
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Project to look in."),
        .optional("model", \.model, "Only of this model."),
        .optional("status", \.status, "Only those that stand so."),
        .optional("mine", \.mine, "Only what the asker may say yes to."),
        .optional("limit", \.limit, "At most this many.", in: 1...1000),
    ]
}

public struct ModelVerdictInput: Manifest {
    public var project = "default"
    public var name = ""
    public var version = ""
    public var stage: String?
    public var comment: String?
    public var digest: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("name", \.name, "The model."),
        .required("version", \.version, "Number, label, alias or \"latest\"."),
        .optional("stage", \.stage, "The stage; needed when several are asked for."),
        .optional("comment", \.comment, "Why."),
        .optional("digest", \.digest, "What was looked at; refused when it has changed since."),
    ]
}
