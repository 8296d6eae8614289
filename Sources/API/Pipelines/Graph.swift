public import Manifests

// Words of the graph: what waits for what, what runs side by side, what is called from elsewhere.

/// One thing that a stage or a job waits for.
///
/// The short form is a name: a stage; or `stage/job`; or, among the needs of a job, another job of its own stage.
public struct NeedSpec: Manifest, Hashable, ExpressibleByStringLiteral {
    /// The short form, as written.
    public var name: String?
    public var stage: String?
    public var job: String?
    public var optional = false
    public var matrix: Ordered<JSONValue> = [:]

    public init() {}
    public init(stringLiteral value: String) { name = value }
    public init(_ name: String) { self.name = name }

    public static var noun: String { "need" }
    public static let fields: [Field<Self>] = [
        .optional("stage", \.stage, "Stage to wait for; absent: the stage that this job is in."),
        .optional("job", \.job, "Only this job of the stage."),
        .optional("optional", \.optional, "Its being skipped does not matter; its failure still does."),
        .optional("matrix", \.matrix, "Only the cells of the job's matrix that have these values: `{ os: debian12 }`."),
    ]
    public static func shorthand(_ json: JSONValue) -> Self? { json.string.map { Self($0) } }
    public static var schema: Schema { .either(Schema(type: "string"), writtenSchema) }
    public static func check(_ value: Self) -> [ManifestError] {
        if value.name == nil, value.stage == nil, value.job == nil {
            return [
                ManifestError(
                    at: [], message: "a need names neither a stage nor a job", hint: "Write { stage: NAME }.")
            ]
        }
        if !value.matrix.isEmpty, value.job == nil {
            return [
                ManifestError(
                    at: ["matrix"], message: "cells are those of a job's matrix, and no job is named",
                    hint: "Add job: NAME.")
            ]
        }
        return []
    }
    public var json: JSONValue { name.map(JSONValue.string) ?? written }
}

/// How many may work at once in a group of runs, stages or jobs; the short form is the group alone.
///
/// Who comes first is the order in which the runs were made, never who was ready first. The place is taken when work
/// begins, not while a gate waits.
public struct ConcurrencySpec: Manifest {
    public enum Queue: String, WireEnum {
        /// One after another.
        case fifo
        /// Only the newest counts: those that wait before it are superseded.
        case latest
    }
    public enum CancelRunning: String, WireEnum { case never, always, pull_request }
    public enum Lock: String, WireEnum { case while_running }
    public var group = ""
    public var limit = 1
    public var queue = Queue.fifo
    public var cancel_running = CancelRunning.never
    public var lock = Lock.while_running
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("group", \.group, "Name of the group in the project; may hold expressions."),
        .optional("limit", \.limit, "How many of it work at once.", in: 1...1000),
        .optional("queue", \.queue, "`fifo`: one after another; `latest`: older ones that wait are superseded."),
        .optional(
            "cancel_running", \.cancel_running,
            "Whether a newer run supersedes one that is at work: never, always, or when it is a pull request's."),
        .optional("lock", \.lock, "When the place is taken: while work runs, never while a gate waits."),
    ]
    public static func shorthand(_ json: JSONValue) -> Self? {
        guard let group = json.string else { return nil }
        var spec = Self()
        spec.group = group
        return spec
    }
    public static var schema: Schema { .either(Schema(type: "string"), writtenSchema) }
}

/// Which failures of a job do not fail its stage: all (`true`), or those with certain exit codes.
public struct AllowFailureSpec: Manifest, ExpressibleByBooleanLiteral {
    /// The short form.
    public var always = false
    public var exit_codes: [Int] = []
    public init() {}
    public init(booleanLiteral value: Bool) { always = value }
    public static let fields: [Field<Self>] = [
        .optional("exit_codes", \.exit_codes, "Only failures with these exit codes.")
    ]
    public static func shorthand(_ json: JSONValue) -> Self? { json.bool.map { Self(booleanLiteral: $0) } }
    public static var schema: Schema { .either(Schema(type: "boolean"), writtenSchema) }
    public var json: JSONValue { exit_codes.isEmpty ? .bool(always) : written }

    /// Whether a failure with this exit code is let pass.
    public func covers(exitCode: Int?) -> Bool {
        always || (exitCode.map { exit_codes.contains($0) } ?? false)
    }
}

/// A stage that is another pipeline's stages.
public struct UseSpec: Manifest {
    public var pipeline = ""
    public var digest: String?
    public var with: Ordered<JSONValue> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("pipeline", \.pipeline, "Pipeline of this project whose stages are laid down here."),
        .optional("digest", \.digest, "`sha256:…` of its spec; another spec is refused."),
        .optional("with", \.with, "Values of its parameters; may hold expressions."),
    ]
}

/// What is undone when a run fails after it has deployed.
public struct UndoSpec: Manifest {
    public enum When: String, WireEnum { case failure }
    public var service = ""
    public var when = When.failure
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("service", \.service, "Service that goes back to the revision before."),
        .optional("when", \.when, "When that is done: the run has failed after its deploy had succeeded."),
    ]
}

/// One try of a job.
public struct JobAttempt: Manifest {
    public var attempt = 1
    public var runner: String?
    public var started_at: Timestamp?
    public var finished_at: Timestamp?
    public var status = RunStatus.running
    public var cause: RetrySpec.Cause?
    public var reason: String?
    /// Where its part of the job's log begins.
    public var log_offset: Int64 = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("attempt", \.attempt, "Counts tries, from 1."),
        .optional("runner", \.runner, "Runner that had it."),
        .optional("started_at", \.started_at, "When it began."),
        .optional("finished_at", \.finished_at, "When it ended."),
        .told("status", \.status, "How it ended."),
        .optional("cause", \.cause, "What ended it: a lost runner, a time limit, a failure."),
        .optional("reason", \.reason, "Why it ended so."),
        .told("log_offset", \.log_offset, "Where its part of the job's log begins, in bytes."),
    ]
}

/// A pipeline whose stages are part of a run.
public struct CalledPipeline: Manifest {
    public var stage = ""
    public var pipeline = ""
    public var digest = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("stage", \.stage, "Stage that uses it; its stages are called `stage.NAME`."),
        .told("pipeline", \.pipeline, "Its name."),
        .told("digest", \.digest, "SHA-256 of its spec, as it was when the run was made."),
    ]
}

extension Schema {
    static func either(_ short: Schema, _ long: Schema) -> Schema {
        var schema = Schema(type: "any")
        schema.alternatives = [short, long]
        return schema
    }
}
