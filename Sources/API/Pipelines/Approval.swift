public import Manifests

/// Every operation on what waits for people.
public enum Approvals {
    public static let list = Operation<GateQuery, ItemList<Gate>>(
        "approvals.list", .get, "/api/v1/projects/{project}/approvals", needs: .read,
        "Lists jobs that wait at the gate of an environment, oldest first.")
    public static let approve = Operation<VerdictInput, ItemList<Gate>>(
        "approvals.approve", .post, "/api/v1/projects/{project}/runs/{run}/approve", needs: .run,
        "Says yes to what waits at a gate. Saying it twice is saying it once.")
    public static let reject = Operation<VerdictInput, ItemList<Gate>>(
        "approvals.reject", .post, "/api/v1/projects/{project}/runs/{run}/reject", needs: .run,
        "Says no to what waits at a gate: the job fails, whoever has said yes.")
}

/// How a gate stands.
public enum GateStatus: String, WireEnum {
    case waiting, open, refused, rejected, expired, superseded, closed
}

/// One job at the gate of an environment, and what has been said of it: the evidence, kept for good.
public struct Gate: Manifest {
    public var project = "default"
    public var run = ""
    public var pipeline = ""
    public var number = 0
    public var stage = ""
    public var job = ""
    public var environment = ""
    public var status = GateStatus.waiting
    public var reason: String?
    /// SHA-256 of all that the job would do: its orders, its commit, digests of what it reads.
    public var digest = ""
    public var commit: String?
    public var ref: String?
    public var message: String?
    public var actor = ""
    public var author: String?
    public var began_at = Timestamp.zero
    public var asked_at: Timestamp?
    public var expires_at: Timestamp?
    public var ended_at: Timestamp?
    public var min = 0
    public var from: [String] = []
    public var not_author = true
    public var comment = ApprovalsSpec.CommentRule.optional
    public var approvals: [Approval] = []
    public var checks: [GateCheck] = []
    /// Whether the asker may say yes to it now, and has not done so.
    public var mine = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("project", \.project, "Its project."),
        .told("run", \.run, "Its run."),
        .told("pipeline", \.pipeline, "Pipeline of the run."),
        .told("number", \.number, "Number of the run."),
        .told("stage", \.stage, "Stage of the job."),
        .told("job", \.job, "The job."),
        .told("environment", \.environment, "The environment."),
        .told("status", \.status, "How it stands."),
        .optional("reason", \.reason, "Why it stands so."),
        .told("digest", \.digest, "Hash of all that the job would do; an approval counts for this only."),
        .optional("commit", \.commit, "Commit of the run."),
        .optional("ref", \.ref, "Branch or tag of the run."),
        .optional("message", \.message, "First line of the commit's message."),
        .told("actor", \.actor, "Who started the run."),
        .optional("author", \.author, "Author of the commit."),
        .told("began_at", \.began_at, "When the job came to the gate."),
        .optional("asked_at", \.asked_at, "When approvals were asked for."),
        .optional("expires_at", \.expires_at, "When they must have been given."),
        .optional("ended_at", \.ended_at, "When it was let in or turned away."),
        .told("min", \.min, "How many people must say yes."),
        .told("from", \.from, "Who may; empty: everyone who may start runs."),
        .told("not_author", \.not_author, "Whether whoever started the run or wrote its commit may not."),
        .told("comment", \.comment, "Whether each must say why."),
        .told("approvals", \.approvals, "What people have said, oldest first; those of an earlier digest are void."),
        .told("checks", \.checks, "What other systems have said."),
        .told("mine", \.mine, "Whether the asker may say yes to it now, and has not."),
    ]
}

/// What one person has said.
public struct Approval: Manifest {
    public enum Verdict: String, WireEnum { case approved, rejected }
    public var by = ""
    public var verdict = Verdict.approved
    public var comment: String?
    public var digest = ""
    public var at = Timestamp.zero
    /// What it was said of has changed since.
    public var is_void = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("by", \.by, "Who."),
        .told("verdict", \.verdict, "What."),
        .optional("comment", \.comment, "Why."),
        .told("digest", \.digest, "Of what."),
        .told("at", \.at, "When."),
        .told("is_void", \.is_void, "Whether what it was said of has changed since."),
    ]
}

/// What one system has said.
public struct GateCheck: Manifest {
    public enum Status: String, WireEnum { case waiting, passed, failed }
    public var position = 0
    public var title = ""
    public var status = Status.waiting
    public var message: String?
    public var attempts = 0
    public var began_at = Timestamp.zero
    public var ended_at: Timestamp?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("position", \.position, "Position in the environment's list, from 0."),
        .told("title", \.title, "What is asked."),
        .told("status", \.status, "How it stands."),
        .optional("message", \.message, "The last answer."),
        .told("attempts", \.attempts, "How often it was asked."),
        .told("began_at", \.began_at, "When it was first due."),
        .optional("ended_at", \.ended_at, "When the answer was final."),
    ]
}

public struct GateQuery: Manifest {
    public var project = "default"
    public var mine = false
    public var environment: String?
    public var limit = 200
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Project to look in."),
        .optional("mine", \.mine, "Only what the asker may say yes to."),
        .optional("environment", \.environment, "Only gates of this environment."),
        .optional("limit", \.limit, "At most this many.", in: 1...1000),
    ]
}

public struct VerdictInput: Manifest {
    public var project = "default"
    public var run = ""
    public var stage: String?
    public var job: String?
    public var comment: String?
    public var digest: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("run", \.run, "The run: its id, or PIPELINE:NUMBER, or PIPELINE:latest."),
        .optional("stage", \.stage, "The stage; needed when several wait."),
        .optional("job", \.job, "The job; absent: all that wait in the stage."),
        .optional("comment", \.comment, "Why."),
        .optional(
            "digest", \.digest, "What was looked at; refused when it has changed since. Absent: what waits now."),
    ]
}
