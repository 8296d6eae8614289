public import Manifests

/// One fact about what happened, kept for good: audit trail, outbox and live feed are all this one table.
public struct Event: Manifest {
    /// Position in the log: 1, 2, 3, … without gaps.
    public var sequence: Int64 = 0
    public var at = Timestamp.zero
    /// "run.finished": the subject's kind and a past-tense verb.
    public var name = ""
    public var subject = Subject()
    /// "user:ana", "token:ci", "system:delivery", "git:Ana <ana@example.com>".
    public var actor = ""
    /// Ties together everything one request or one run set off.
    public var correlation = ""
    public var data: Ordered<JSONValue> = [:]
    /// SHA-256, hexadecimal, of the event before this one and of this one.
    public var previous_hash = ""
    public var hash = ""

    public init() {}
    public static let fields: [Field<Self>] = [
        .told("sequence", \.sequence, "Position in the log, from 1 without gaps."),
        .told("at", \.at, "When it happened."),
        .told("name", \.name, "What happened: a kind and a past-tense verb."),
        .told("subject", \.subject, "What it happened to."),
        .told("actor", \.actor, "Who did it."),
        .told("correlation", \.correlation, "Ties together what one request or run set off."),
        .told("data", \.data, "Facts."),
        .told("previous_hash", \.previous_hash, "Hash of the event before."),
        .told("hash", \.hash, "Hash of this event, that of the one before included."),
    ]
}

/// What an event is about.
public struct Subject: Manifest, Hashable {
    public var kind = ""
    public var project = ""
    public var name = ""
    public init() {}
    public init(kind: String, project: String, name: String) {
        (self.kind, self.project, self.name) = (kind, project, name)
    }
    public static let fields: [Field<Self>] = [
        .told("kind", \.kind, "Its kind."),
        .told("project", \.project, "Its project."),
        .told("name", \.name, "Its name or id."),
    ]
}
