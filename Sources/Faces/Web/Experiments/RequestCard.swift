import API
import Kernel

/// One question to people about a version: may it have the aliases of a stage? Shown as gates are.
struct RequestCard: Sendable {
    let id: String
    let title: String
    let href: String
    let status: Badge
    let began: When
    let why: String?
    let facts: [Fact]
    let said: Rows<GateCard.Word>?
    let acts: Listing<Action>?
    let barred: String?

    init(_ request: ModelRequest, for viewer: GateCard.Viewer, csrf: String, now: Double) {
        let waits = request.status == .waiting
        id = "request-\(request.id)"
        title = "\(request.model) v\(request.version) for \(request.stage)"
        href = Links.version(request.model, "\(request.version)")
        status = Self.badge(request)
        began = When((waits ? request.began_at : request.ended_at ?? request.began_at).seconds, now: now)
        why = request.reason ?? request.comment
        var facts = [
            Fact("Approvals", "\(Self.given(request)) of \(request.min)"),
            Fact("Asked", request.from.isEmpty ? "all who may start runs" : request.from.joined(separator: ", ")),
            Fact("Asked by", RunWords.person(request.requested_by)),
        ]
        if !request.authors.isEmpty {
            facts.append(Fact("Made by", request.authors.map(RunWords.person).joined(separator: ", ")))
        }
        facts.append(Fact("Digest", Format.short(request.digest, 12), code: true))
        if let used = request.used_at { facts.append(Fact("Used", Format.ago(now - used.seconds))) }
        if waits || (request.status == .approved && request.used_at == nil) {
            facts.append(Fact("Expires", Format.ago(now - request.expires_at.seconds)))
        }
        self.facts = facts
        said = Rows(Self.words(request, now: now))
        barred = waits && !request.mine ? Self.bar(request, viewer) : nil
        var list: [Action] = []
        if waits, request.mine { list.append(Self.approve(request, id, csrf)) }
        // Whoever finds their own work wanting may always say so.
        if waits, viewer.mayRun, viewer.person != nil { list.append(Self.reject(request, id, csrf)) }
        acts = Listing(list)
    }

    static func given(_ request: ModelRequest) -> Int {
        request.approvals.count { $0.verdict == .approved && !$0.is_void }
    }

    static func badge(_ request: ModelRequest) -> Badge {
        switch request.status {
        case .waiting: Badge(status: "waiting")
        case .approved: Badge(.ok, "ok", "Approved")
        case .rejected: Badge(.bad, "abort", "Rejected")
        case .expired: Badge(.bad, "waiting", "Expired")
        case .voided: Badge(.mute, "cancelled", "Void")
        }
    }

    private static func words(_ request: ModelRequest, now: Double) -> [GateCard.Word] {
        request.approvals.map { said in
            let verdict = said.verdict == .approved ? Badge(.ok, "ok", "Approved") : Badge(.bad, "abort", "Rejected")
            var text = "\(verdict.text) \(Format.short(said.digest, 12))"
            if said.is_void { text += ", void: the version is not what was looked at" }
            if let comment = said.comment { text += ": \(comment)" }
            return GateCard.Word(
                status: said.is_void ? Badge(.mute, "cancelled", "Void") : verdict, who: said.by, words: text,
                when: When(said.at.seconds, now: now))
        }
    }

    private static func bar(_ request: ModelRequest, _ viewer: GateCard.Viewer) -> String {
        guard let person = viewer.person else { return "Only people approve: sign in with the token of a person." }
        guard viewer.mayRun else { return "Your token may only look; approving needs one that may start runs." }
        if request.approvals.contains(where: { $0.by == person && !$0.is_void }) {
            return "You have said what you think."
        }
        let asked = request.from.isEmpty ? "Anyone" : request.from.joined(separator: ", ")
        return "\(asked) may approve it" + (request.not_author ? ", and not who made it or asked for it." : ".")
    }

    private static func approve(_ request: ModelRequest, _ id: String, _ csrf: String) -> Action {
        let left = request.min - given(request) - 1
        let needsWhy = request.comment_rule == .required
        return Action(
            id: "\(id)-yes", label: "Approve", icon: "ok", look: "primary", isDanger: false,
            target: target(request, "approve"), question: "Approve v\(request.version) for \(request.stage)?",
            consequences: [
                left > 0
                    ? "\(Format.plural(left, "more approval")) is needed after yours."
                    : "It is the last approval that was missing: aliases of \(request.stage) may then point to it.",
                "It counts for \(Format.short(request.digest, 12)) only: when the version changes, it is void.",
            ], confirm: "Approve", csrf: csrf, hidden: hidden(request),
            asks: [
                Action.Question(
                    id: "\(id)-yes-why", name: "comment", label: needsWhy ? "Why" : "Why (you may leave it out)",
                    isRequired: needsWhy, isLong: true)
            ])
    }

    private static func reject(_ request: ModelRequest, _ id: String, _ csrf: String) -> Action {
        Action(
            id: "\(id)-no", label: "Reject", icon: "abort", look: "danger", isDanger: true,
            target: target(request, "reject"), question: "Reject v\(request.version) for \(request.stage)?",
            consequences: ["Nobody's approval counts any more; it must be asked for again."], confirm: "Reject",
            csrf: csrf, hidden: hidden(request),
            asks: [Action.Question(id: "\(id)-no-why", name: "comment", label: "Why", isRequired: true, isLong: true)])
    }

    private static func target(_ request: ModelRequest, _ verb: String) -> String {
        "/ui/models/\(Links.encoded(request.model))/\(verb)"
    }

    private static func hidden(_ request: ModelRequest) -> [Action.Pair] {
        [("version", "\(request.version)"), ("stage", request.stage), ("digest", request.digest)].map {
            Action.Pair(name: $0.0, value: $0.1)
        }
    }
}
