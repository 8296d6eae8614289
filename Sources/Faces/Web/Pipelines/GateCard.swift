import API
import Kernel

/// One job at the gate of an environment: what would be let in, what has been said of it, and what the visitor may say.
struct GateCard: Sendable {
    /// What a person or another system has said.
    struct Word: Sendable {
        let status: Badge
        let who: String
        let words: String
        let when: When
    }
    let id: String
    let title: String
    let href: String
    let status: Badge
    let began: When
    let why: String?
    let facts: [Fact]
    let said: Rows<Word>?
    let acts: Listing<Action>?
    /// Why the visitor is not offered to say yes.
    let barred: String?

    /// Who looks at it.
    struct Viewer: Sendable {
        /// Nil for robots: only people approve.
        let person: String?
        let mayRun: Bool

        init(_ call: Call) {
            let parts = call.actor.split(separator: ":", maxSplits: 1).map(String.init)
            person = parts.count == 2 && ["user", "token"].contains(parts[0]) ? parts[1] : nil
            mayRun = call.permission.allows(.run)
        }
    }

    /// `back` is the page to go to after a word was said.
    init(_ gate: Gate, for viewer: Viewer, back: String, csrf: String, now: Double) {
        let waits = gate.status == .waiting
        id = "gate-\(gate.run)-\(gate.stage)-\(gate.job)"
        title = "\(gate.pipeline) #\(gate.number): \(RunWords.job(gate.stage, gate.job)) into \(gate.environment)"
        href = Links.run(gate.run, job: "\(gate.stage)/\(gate.job)")
        status = Self.badge(gate.status)
        began = When((waits ? gate.began_at : gate.ended_at ?? gate.began_at).seconds, now: now)
        why = gate.reason
        facts = Self.facts(gate, now: now)
        said = Rows(Self.words(gate, now: now))
        let asks = waits && gate.min > 0
        barred = asks ? Self.bar(gate, viewer) : nil
        let form = Form(gate: gate, id: id, back: back, csrf: csrf)
        var list: [Action] = []
        if asks, gate.mine { list.append(form.approve) }
        // Whoever finds their own work wanting may always say so.
        if asks, viewer.mayRun, viewer.person != nil { list.append(form.reject) }
        acts = Listing(list)
    }

    /// How many have said yes to what waits now.
    static func given(_ gate: Gate) -> Int { gate.approvals.count { $0.verdict == .approved && !$0.is_void } }

    private static func badge(_ status: GateStatus) -> Badge {
        switch status {
        case .waiting: Badge(status: "waiting")
        case .open: Badge(.ok, "ok", "Let in")
        case .refused: Badge(.bad, "failed", "Refused")
        case .rejected: Badge(.bad, "abort", "Rejected")
        case .expired: Badge(.bad, "waiting", "Expired")
        case .superseded: Badge(status: "superseded")
        case .closed: Badge(.mute, "cancelled", "Closed")
        }
    }

    private static func facts(_ gate: Gate, now: Double) -> [Fact] {
        var facts: [Fact] = []
        if gate.min > 0 {
            facts.append(Fact("Approvals", "\(given(gate)) of \(gate.min)"))
            facts.append(
                Fact("Asked", gate.from.isEmpty ? "all who may start runs" : gate.from.joined(separator: ", ")))
        }
        if let commit = gate.commit { facts.append(Fact("Commit", Format.short(commit, 12), code: true)) }
        if let message = gate.message, !message.isEmpty { facts.append(Fact("Message", Format.clipped(message, 100))) }
        if let ref = gate.ref { facts.append(Fact("Branch", RunWords.branch(ref))) }
        facts.append(Fact("Started by", RunWords.person(gate.actor)))
        if let author = gate.author { facts.append(Fact("Author", RunWords.person(author))) }
        facts.append(
            Fact(
                "Environment", gate.environment, href: Links.resource(EnvironmentKind.plural, gate.environment)))
        if !gate.digest.isEmpty { facts.append(Fact("Digest", Format.short(gate.digest, 12), code: true)) }
        if gate.status == .waiting, let end = gate.expires_at {
            facts.append(Fact("Expires", Format.ago(now - end.seconds)))
        }
        return facts
    }

    private static func words(_ gate: Gate, now: Double) -> [Word] {
        let checks = gate.checks.map { check in
            let text = check.message ?? (check.status == .waiting ? "no answer yet" : "")
            return Word(
                status: Badge(status: check.status.rawValue), who: check.title, words: text,
                when: When((check.ended_at ?? check.began_at).seconds, now: now))
        }
        return checks
            + gate.approvals.map { said in
                let verdict =
                    said.verdict == .approved ? Badge(.ok, "ok", "Approved") : Badge(.bad, "abort", "Rejected")
                let digest = Format.short(said.digest, 12)
                var text = "\(verdict.text) \(digest)"
                if said.is_void { text += ", void: what waits has changed since" }
                if let comment = said.comment { text += ": \(comment)" }
                return Word(
                    status: said.is_void ? Badge(.mute, "cancelled", "Void") : verdict, who: said.by, words: text,
                    when: When(said.at.seconds, now: now))
            }
    }

    private static func bar(_ gate: Gate, _ viewer: Viewer) -> String? {
        guard !gate.mine else { return nil }
        guard let person = viewer.person else { return "Only people approve: sign in with the token of a person." }
        guard viewer.mayRun else { return "Your token may only look; approving needs one that may start runs." }
        if gate.approvals.contains(where: { $0.by == person && $0.verdict == .approved && !$0.is_void }) {
            return "You have approved it."
        }
        // Members of teams are the server's to know.
        let isNamed = gate.from.isEmpty || gate.from.contains("user:\(person)")
        if isNamed, gate.not_author {
            return "You have started this run or written its commit: somebody else must approve it."
        }
        return "\(gate.environment) asks \(gate.from.joined(separator: ", "))"
            + (gate.not_author ? ", and not who wrote or started it." : ".")
    }

    /// The two forms, bound to what the page shows.
    private struct Form {
        let gate: Gate
        let id: String
        let back: String
        let csrf: String

        private var hidden: [Action.Pair] {
            [("stage", gate.stage), ("job", gate.job), ("digest", gate.digest), ("back", back)].map {
                Action.Pair(name: $0.0, value: $0.1)
            }
        }
        private var what: String { "\(gate.pipeline) #\(gate.number)" }

        var approve: Action {
            let left = gate.min - GateCard.given(gate) - 1
            let needsWhy = gate.comment == .required
            return Action(
                id: "\(id)-yes", label: "Approve", icon: "ok", look: "primary", isDanger: false,
                target: target("approve"),
                question: "Let \(what) into \(gate.environment)?",
                consequences: [
                    left > 0
                        ? "\(Format.plural(left, "more approval")) is needed after yours."
                        : "It is the last approval that was missing.",
                    "It counts for \(Format.short(gate.digest, 12)) only: when what waits changes, it is void.",
                ], confirm: "Approve", csrf: csrf, hidden: hidden,
                asks: [
                    Action.Question(
                        id: "\(id)-yes-why", name: "comment", label: needsWhy ? "Why" : "Why (you may leave it out)",
                        isRequired: needsWhy, isLong: true)
                ])
        }

        var reject: Action {
            Action(
                id: "\(id)-no", label: "Reject", icon: "abort", look: "danger", isDanger: true,
                target: target("reject"),
                question: "Turn \(what) away from \(gate.environment)?",
                consequences: ["The job fails, whoever has approved it."], confirm: "Reject", csrf: csrf,
                hidden: hidden,
                asks: [
                    Action.Question(id: "\(id)-no-why", name: "comment", label: "Why", isRequired: true, isLong: true)
                ])
        }

        private func target(_ verb: String) -> String { "/ui/runs/\(Links.encoded(gate.run))/\(verb)" }
    }
}
