public import Manifests

/// What set a run off.
public struct Trigger: Manifest {
    public enum Cause: String, WireEnum {
        case push, tag, pull_request, schedule, manual, api, pipeline, model, artifact, alert, webhook
    }
    public var type = Cause.manual
    public var actor = ""
    public var ref: String?
    public var message: String?
    /// Branch that a pull request wants to go into, in full.
    public var base_ref: String?
    /// Number of the pull request.
    public var number: Int?
    /// Whether the code of this run may be given secrets; false for a pull request unless its trigger says otherwise.
    public var is_trusted = true
    /// What `${{ event.* }}` sees.
    public var event: JSONValue?
    public var labels: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("type", \.type, "What set it off."),
        .told("actor", \.actor, "Who did it."),
        .optional("ref", \.ref, "Branch, tag or pull request, in full: refs/heads/main, refs/pull/7/head."),
        .optional("message", \.message, "First line of the commit's message."),
        .optional("base_ref", \.base_ref, "Branch that the pull request wants to go into, in full."),
        .optional("number", \.number, "Number of the pull request."),
        .optional("is_trusted", \.is_trusted, "Whether its code may be given secrets."),
        .optional("event", \.event, "Facts about what set it off: `${{ event.* }}`."),
        .optional("labels", \.labels, "Words that it was given; a freeze may let some pass."),
    ]
}

/// One thing that sets a pipeline off, with what goes with it.
public struct TriggerSpec: Manifest {
    public var push: PushTrigger?
    public var tag: TagTrigger?
    public var pull_request: PullRequestTrigger?
    public var schedule: ScheduleTrigger?
    public var pipeline: PipelineTrigger?
    public var model: ModelTrigger?
    public var artifact: ArtifactTrigger?
    public var alert: AlertTrigger?
    public var webhook: WebhookTrigger?
    public var `if`: String?
    public var parameters: Ordered<JSONValue> = [:]
    public init() {}
    public static let choices = [
        "push", "tag", "pull_request", "schedule", "pipeline", "model", "artifact", "alert", "webhook",
    ]
    public static var noun: String { "trigger" }
    public static let fields: [Field<Self>] = [
        .optional("push", \.push, "A push to a branch of the pipeline's repository."),
        .optional("tag", \.tag, "A new or moved tag of the pipeline's repository."),
        .optional("pull_request", \.pull_request, "A pull request of the pipeline's repository."),
        .optional("schedule", \.schedule, "A time that comes again."),
        .optional("pipeline", \.pipeline, "The end of another pipeline's run."),
        .optional("model", \.model, "A new version of a model, or an alias of it that moves."),
        .optional("artifact", \.artifact, "An artifact that another pipeline leaves behind."),
        .optional("alert", \.alert, "An alert that begins to fire."),
        .optional("webhook", \.webhook, "A request to the pipeline's own address."),
        .optional("if", \.if, "Only when this expression over `event`, `ref` and `branch` is true."),
        .optional(
            "parameters", \.parameters, "Values of the run's parameters; text may hold expressions: `${{ event.x }}`."),
    ]

    /// What the trigger waits for.
    public var type: Trigger.Cause {
        if push != nil { return .push }
        if tag != nil { return .tag }
        if pull_request != nil { return .pull_request }
        if schedule != nil { return .schedule }
        if pipeline != nil { return .pipeline }
        if model != nil { return .model }
        if artifact != nil { return .artifact }
        if alert != nil { return .alert }
        return .webhook
    }
}

/// A push to a branch, or, with `tags`, of a tag.
public struct PushTrigger: Manifest {
    public var branches: [String] = []
    public var branches_ignore: [String] = []
    public var tags: [String] = []
    public var paths: [String] = []
    public var paths_ignore: [String] = []
    public init() {}
    static let globHelp = "with *, **, ?, [a-z], and !pattern to take away again"
    public static let fields: [Field<Self>] = [
        .optional(
            "branches", \.branches,
            "Branches, \(globHelp); absent, and no other of these lists: the repository's default branch."),
        .optional("branches_ignore", \.branches_ignore, "All branches but these; not together with `branches`."),
        .optional("tags", \.tags, "Tags too, \(globHelp)."),
        .optional("paths", \.paths, "Only when a file that these patterns name has changed, \(globHelp)."),
        .optional(
            "paths_ignore", \.paths_ignore,
            "Not when all files that have changed are named by these; not together with `paths`."),
    ]
    public static func check(_ value: Self) -> [ManifestError] {
        TriggerChecks.either("branches", value.branches, "branches_ignore", value.branches_ignore)
            + TriggerChecks.either("paths", value.paths, "paths_ignore", value.paths_ignore)
    }
}

public struct TagTrigger: Manifest {
    public var names: [String] = ["**"]
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("names", \.names, "Tags, \(PushTrigger.globHelp).")
    ]
}

public struct PullRequestTrigger: Manifest {
    /// What may happen to a pull request.
    public enum Action: String, WireEnum {
        case opened, synchronize, reopened, closed, edited, labeled, unlabeled, ready_for_review
    }
    public var branches: [String] = []
    public var branches_ignore: [String] = []
    public var paths: [String] = []
    public var paths_ignore: [String] = []
    public var types: [Action] = [.opened, .synchronize, .reopened]
    public var trusted = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("branches", \.branches, "Branches it wants to go into, \(PushTrigger.globHelp); absent: all."),
        .optional("branches_ignore", \.branches_ignore, "All but these; not together with `branches`."),
        .optional("paths", \.paths, "Only when it changes a file that these patterns name, \(PushTrigger.globHelp)."),
        .optional(
            "paths_ignore", \.paths_ignore,
            "Not when all files that it changes are named by these; not together with `paths`."),
        .optional("types", \.types, "What happens to it: opened, new commits (synchronize), reopened, closed, …"),
        .optional(
            "trusted", \.trusted,
            "Gives its runs secrets and protected caches when its branch lies in the same repository; never for a fork."
        ),
    ]
    public static func check(_ value: Self) -> [ManifestError] {
        TriggerChecks.either("branches", value.branches, "branches_ignore", value.branches_ignore)
            + TriggerChecks.either("paths", value.paths, "paths_ignore", value.paths_ignore)
    }
}

public struct ScheduleTrigger: Manifest {
    public var cron = ""
    public var tz = "UTC"
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("cron", \.cron, "Minute, hour, day of the month, month, day of the week; or @daily and the like."),
        .optional("tz", \.tz, "Time zone of the clock it goes by: Europe/Berlin."),
    ]
}

public struct PipelineTrigger: Manifest {
    public var name = ""
    public var status: OneOrMore<RunStatus> = [.succeeded]
    public var branches: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "Pipeline of the same project whose runs are watched."),
        .optional("status", \.status, "How its run must have ended; one or a list."),
        .optional("branches", \.branches, "Only runs of these branches, \(PushTrigger.globHelp); absent: all."),
    ]
}

public struct ModelTrigger: Manifest {
    public var name = ""
    public var alias: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "Model of the same project."),
        .optional("alias", \.alias, "The alias that must move; absent: each new version."),
    ]
}

public struct ArtifactTrigger: Manifest {
    public var pipeline = ""
    public var name = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("pipeline", \.pipeline, "Pipeline of the same project that leaves it behind."),
        .required("name", \.name, "The artifact: `stage.name`, or its name alone."),
    ]
}

public struct AlertTrigger: Manifest {
    public var name = ""
    public var cooldown: TimeSpan?
    public var max_per_week: Int?
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "The alert, \(PushTrigger.globHelp)."),
        .optional("cooldown", \.cooldown, "Not again within this time of the last run that it set off."),
        .optional("max_per_week", \.max_per_week, "Runs that it sets off in seven days at most.", in: 1...10_000),
    ]
}

/// `POST /hooks/PROJECT/pipelines/PIPELINE` with a JSON body, which is the `event`.
public struct WebhookTrigger: Manifest {
    public var secret: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional(
            "secret", \.secret,
            "Name of the secret that signs requests (X-Hub-Signature-256); absent: a token with the permission \"run\"."
        )
    ]
}

/// One value, or a list of them.
public struct OneOrMore<Element: WireValue>: WireValue, ExpressibleByArrayLiteral {
    public var items: [Element]
    public init(_ items: [Element]) { self.items = items }
    public init(arrayLiteral elements: Element...) { items = elements }
    public static var schema: Schema {
        var schema = Schema(type: "any")
        schema.alternatives = [Element.schema, [Element].schema]
        return schema
    }
    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        if case .array = json {
            items = try [Element](json: json, at: path)
        } else {
            items = [try Element(json: json, at: path)]
        }
    }
    public var json: JSONValue { items.count == 1 ? items[0].json : items.json }
}

enum TriggerChecks {
    static func either(_ name: String, _ value: [String], _ other: String, _ ignored: [String]) -> [ManifestError] {
        guard !value.isEmpty, !ignored.isEmpty else { return [] }
        return [
            ManifestError(
                at: [other], message: "a trigger has both \"\(name)\" and \"\(other)\"",
                hint: "Write only \"\(name)\", and take away with !pattern.")
        ]
    }
}
