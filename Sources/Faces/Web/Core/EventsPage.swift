import API
import Manifests

/// One event as a line.
struct EventRow: Sendable {
    let sequence: String
    let tone: Tone
    let icon: String
    let name: String
    let gist: String
    let data: [Fact]
    let subjectText: String
    let kind: String
    let href: String?
    let who: String
    let actorIcon: String
    let when: When?

    init(_ event: Event, now: Double) {
        sequence = "\(event.sequence)"
        let look = Self.look(event.name)
        (tone, icon) = (look.tone, look.icon)
        name = event.name
        gist = Format.clipped(event.data.prefix(3).map { "\($0.key) \($0.value.gist)" }.joined(separator: " · "), 110)
        data =
            event.data.map { Fact($0.key, Format.clipped($0.value.gist, 600), code: true) }
            + [
                Fact("at", Moment(event.at.seconds).full), Fact("actor", event.actor, code: true),
                Fact("subject", "\(event.subject.kind) \(event.subject.project)/\(event.subject.name)", code: true),
                Fact("correlation", event.correlation, code: true), Fact("hash", event.hash, code: true),
                Fact("hash before", event.previous_hash, code: true),
            ]
        subjectText = event.subject.name
        kind = event.subject.kind
        href = Links.subject(kind: event.subject.kind, name: event.subject.name)
        who = event.actor
        actorIcon =
            event.actor.hasPrefix("system:") || event.actor.hasPrefix("run:")
            ? "system" : event.actor.hasPrefix("token:") ? "key" : "user"
        when = When(event.at.seconds, now: now)
    }

    /// The look of an event from its verb.
    private static func look(_ name: String) -> (tone: Tone, icon: String) {
        let verb = name.split(separator: ".").last.map(String.init) ?? name
        let table: [(words: [String], tone: Tone, icon: String)] = [
            (["fail", "lost", "abort", "breach", "denied"], .bad, "failed"), (["rolled-back", "undone"], .bad, "undo"),
            (["pause", "drift", "quarantin"], .warn, "warn"),
            (["finish", "promot", "succeed", "register", "healthy", "ready"], .ok, "ok"),
            (["start", "leas", "step", "shift"], .run, "running"),
            (["delete", "cancel", "stop", "revok"], .mute, "cancelled"),
        ]
        let found = table.first { entry in entry.words.contains { verb.contains($0) } }
        return found.map { ($0.tone, $0.icon) } ?? (.mute, "info")
    }
}

/// The event log.
struct EventsPage: PageBody {
    static let template = "events"
    static let section = Section.events
    static let lead: String? =
        "Everything that people and programs did, in order, each entry sealed by the hash of the one before."

    let chain: Notice?
    let name: String
    let actorFilter: String
    let subject: String
    let isFiltered: Bool
    let table: Rows<EventRow>?
    let empty: EmptyState?
    let older: String?

    /// A page holds this many events.
    static let limit = 100

    init(_ events: [Event], query: EventQuery, audit: AuditOutcome?, now: Double) {
        chain = audit.map(Self.verdict)
        name = query.name ?? ""
        actorFilter = query.actor ?? ""
        subject = query.subject ?? ""
        isFiltered = query.name != nil || query.actor != nil || query.subject != nil
        table = Rows(events.map { EventRow($0, now: now) })
        empty =
            !events.isEmpty
            ? nil
            : isFiltered
                ? EmptyState(
                    icon: "search", title: "No event fits this filter",
                    text: "Names may end in a star (run.*); actors and subjects are written in full.", commands: [])
                : EmptyState(
                    icon: "events", title: "Nothing has happened yet",
                    text: "The first thing you declare is the first event.",
                    commands: ["vagus apply -f vagus.yaml"])
        older =
            events.count < Self.limit
            ? nil
            : events.last.map { last in
                Links.path(
                    ["events"],
                    ["name": query.name, "actor": query.actor, "subject": query.subject, "before": "\(last.sequence)"])
            }
    }

    private static func verdict(_ audit: AuditOutcome) -> Notice {
        if audit.intact {
            return Notice(
                tone: .ok, icon: "shield", title: "The chain is intact",
                text: "\(Format.plural(Int(audit.events), "event")) read, each as it was written. \(audit.message)")
        }
        return Notice(
            tone: .bad, icon: "failed",
            title: audit.first_bad.map { "The chain is broken at event \($0)" } ?? "The chain is broken",
            text: audit.message)
    }
}
