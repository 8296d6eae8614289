/// The five tones of the product.
///
/// A tone is never shown without its icon and word.
enum Tone: String, Sendable, Equatable { case ok, warn, bad, run, mute }

/// A status as it is shown: tone, icon and word.
struct Badge: Sendable, Equatable {
    let tone: Tone
    let icon: String
    let text: String

    init(_ tone: Tone, _ icon: String, _ text: String) { (self.tone, self.icon, self.text) = (tone, icon, text) }

    /// The look of a status word from the API; a word this page does not know is shown as it is.
    init(status: String) {
        let word = status.replacing("_", with: " ")
        let text = word.prefix(1).uppercased() + word.dropFirst()
        let look = Self.looks[status] ?? (.mute, "unknown")
        self.init(look.0, look.1, text)
    }

    private static let looks: [String: (Tone, String)] = [
        "succeeded": (.ok, "ok"), "healthy": (.ok, "ok"), "ready": (.ok, "ok"), "passed": (.ok, "ok"),
        "ok": (.ok, "ok"),
        "valid": (.ok, "ok"), "active": (.ok, "ok"), "completed": (.ok, "ok"), "pass": (.ok, "ok"), "yes": (.ok, "ok"),
        "promoted": (.ok, "ok"), "successful": (.ok, "ok"), "champion": (.ok, "ok"), "stable": (.ok, "ok"),
        "failed": (.bad, "failed"), "degraded": (.bad, "failed"), "error": (.bad, "failed"), "broken": (.bad, "failed"),
        "lost": (.bad, "failed"), "fail": (.bad, "failed"), "no": (.bad, "failed"), "drift": (.warn, "warn"),
        "aborted": (.bad, "abort"), "timed_out": (.bad, "waiting"), "rolled_back": (.bad, "undo"),
        "breached": (.bad, "warn"), "released": (.ok, "ok"), "taken_back": (.bad, "undo"),
        "rolling_out": (.run, "running"), "promoting": (.run, "promote"),
        "running": (.run, "running"), "progressing": (.run, "running"), "started": (.run, "running"),
        "deploying": (.run, "running"), "leased": (.run, "running"), "canary": (.run, "promote"),
        "queued": (.mute, "queued"), "pending": (.mute, "queued"), "ordered": (.mute, "queued"),
        "blocked": (.mute, "queued"),
        "waiting": (.warn, "waiting"), "paused": (.warn, "paused"), "warn": (.warn, "warn"), "warning": (.warn, "warn"),
        "inconclusive": (.warn, "unknown"), "quarantine": (.warn, "warn"), "suspect": (.warn, "warn"),
        "cancelled": (.mute, "cancelled"), "skipped": (.mute, "skipped"), "superseded": (.mute, "superseded"),
        "stopped": (.mute, "cancelled"), "unknown": (.mute, "unknown"), "no_data": (.mute, "unknown"),
    ]
}

/// A link with its words.
struct Link: Sendable {
    let text: String
    let href: String
    init(_ text: String, _ href: String) { (self.text, self.href) = (text, href) }
}

/// One fact of a thing: name, value, and where it leads.
struct Fact: Sendable {
    let label: String
    let value: String
    let href: String?
    let isCode: Bool
    /// Does not fit one column of a list of facts: an id, an address.
    let isLong: Bool

    private static let columnCharacters = 20

    init(_ label: String, _ value: String, href: String? = nil, code: Bool = false) {
        (self.label, self.value, self.href, self.isCode) = (label, value, href, code)
        isLong = code && value.count > Self.columnCharacters
    }
}

/// A moment: written relative to now, exact on hover.
struct When: Sendable {
    let machine: String
    let full: String
    let ago: String

    init(_ seconds: Double, now: Double) {
        let moment = Moment(seconds)
        (machine, full, ago) = (moment.rfc3339, moment.full, Format.ago(now - seconds))
    }
}

/// A duration that has ended, or one that the page counts on.
struct Elapsed: Sendable {
    let text: String
    let since: String?

    init?(from start: Double?, to end: Double?, now: Double) {
        guard let start else { return nil }
        text = Format.duration((end ?? now) - start)
        since = end == nil ? Moment(start).rfc3339 : nil
    }
}

/// What a page says when it has nothing to show, and exactly what to type next.
struct EmptyState: Sendable {
    let icon: String
    let title: String
    let text: String
    let commands: [String]
}

/// A message above the page.
struct Notice: Sendable {
    let tone: Tone
    let icon: String
    let title: String
    let text: String?
}

/// An action that changes something: told with its consequences before it is done.
struct Action: Sendable {
    let id: String
    let label: String
    let icon: String
    /// "primary", "danger" or nothing.
    let look: String
    let isDanger: Bool
    let target: String
    let question: String
    let consequences: [String]
    let confirm: String
    let csrf: String
    /// What the form says besides.
    var hidden: [Pair] = []
    /// What the form asks for.
    var asks: [Question] = []

    struct Pair: Sendable {
        let name: String
        let value: String
    }

    struct Question: Sendable {
        let id: String
        let name: String
        let label: String
        let isRequired: Bool
        /// Room for several lines.
        let isLong: Bool
    }
}

/// One tab of a page.
struct Tab: Sendable {
    let label: String
    let href: String
    let isCurrent: Bool
    let count: String?
    let isAlarming: Bool

    init(_ label: String, _ href: String, current: Bool, count: Int? = nil, alarming: Bool = false) {
        (self.label, self.href, self.isCurrent) = (label, href, current)
        self.count = count.map(Format.count)
        self.isAlarming = alarming
    }
}
