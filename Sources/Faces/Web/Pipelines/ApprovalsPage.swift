import API

/// Everything that waits at the gate of an environment, oldest first.
struct ApprovalsPage: PageBody {
    static let template = "approvals"
    static let section = Section.approvals
    static let lead: String? =
        "Jobs at the gates of environments, oldest first. An approval counts for exactly what waits."

    let tabs: [Tab]
    let gates: [GateCard]
    let empty: EmptyState?

    init(_ all: [Gate], mine: Bool, for viewer: GateCard.Viewer, csrf: String, now: Double) {
        let own = all.filter(\.mine)
        tabs = [
            Tab("All", "/approvals", current: !mine, count: all.count),
            Tab("For you", Links.path(["approvals"], ["show": "mine"]), current: mine, count: own.count),
        ]
        gates = (mine ? own : all).map { GateCard($0, for: viewer, back: "/approvals", csrf: csrf, now: now) }
        empty =
            !gates.isEmpty
            ? nil
            : mine && !all.isEmpty
                ? EmptyState(
                    icon: "ok", title: "Nothing waits for you", text: "What waits for others is under All.",
                    commands: [])
                : EmptyState(
                    icon: "shield", title: "Nothing waits at a gate",
                    text: "An environment may ask for approvals, checks and a pause before a job begins in it.",
                    commands: ["vagus explain Environment.approval_gates", "vagus apply -f environment.yaml"])
    }
}

extension Visitor {
    /// What waits at the gates of the project.
    func gates() async throws -> [Gate] {
        var query = GateQuery()
        query.project = project
        return try await ask(Approvals.list, query).items
    }

    func approvals() async throws -> WebResponse {
        try await render {
            ApprovalsPage(
                try await gates(), mine: request.query["show"] == "mine", for: GateCard.Viewer(call), csrf: csrf,
                now: now)
        }
    }

    /// Says yes or no to what waits, then leads back to the page that the form was on.
    func say(_ verb: String, of run: String) async throws -> WebResponse {
        var input = VerdictInput()
        (input.project, input.run) = (project, run)
        (input.stage, input.job) = (given("stage"), given("job"))
        (input.digest, input.comment) = (given("digest"), given("comment"))
        _ = try await ask(verb == "approve" ? Approvals.approve : Approvals.reject, input)
        let back = request.form["back"] == Links.run(run) ? ["runs", run] : ["approvals"]
        return .redirect(Links.path(back, ["done": verb]))
    }

    /// A field of a form; nothing when left empty.
    func given(_ key: String) -> String? {
        request.form[key].flatMap { $0.allSatisfy(\.isWhitespace) ? nil : $0 }
    }
}
