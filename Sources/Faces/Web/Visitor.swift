import API
import Kernel
import Manifests

/// One request by one person: fetches what a page shows and renders it.
struct Visitor: Sendable {
    let face: WebFace
    let request: WebRequest
    let call: Call
    let session: Session

    var project: String { request.project }
    var now: Double { request.now.seconds }
    var icons: String { face.site.assets.icons }
    var csrf: String { session.csrf }

    func ask<Input: Manifest, Output: Manifest>(_ operation: Operation<Input, Output>, _ input: Input) async throws
        -> Output
    {
        try await face.caller.call(operation, input, as: call)
    }

    /// Like ``ask(_:_:)``, with nothing for what does not exist (yet).
    func find<Input: Manifest, Output: Manifest>(_ operation: Operation<Input, Output>, _ input: Input) async throws
        -> Output?
    {
        do { return try await ask(operation, input) } catch let problem as Problem where problem.status == 404 {
            return nil
        }
    }

    func name(_ name: String) -> Name { Name(project: project, name: name) }

    func resources(_ kind: any Kind.Type, limit: Int = 500) async throws -> [Resource] {
        var query = ResourceQuery()
        (query.project, query.kind, query.limit) = (project, kind.plural, limit)
        return try await ask(Resources.list, query).items
    }

    func resource(_ kind: any Kind.Type, _ name: String) async throws -> Resource {
        try await ask(Resources.get, ResourceName(project: project, kind: kind.plural, name: name))
    }

    /// A value the person typed; nothing when left empty.
    func typed(_ key: String) -> String? {
        guard let text = request.query[key]?.split(separator: " ").joined(separator: " "), !text.isEmpty else {
            return nil
        }
        return text
    }

    /// The newest event, so that the feed goes on from what the page shows.
    ///
    /// It is asked for before what the page shows: an event in between then rings once too often, never too seldom.
    private func cursor() async throws -> Int64 {
        var query = EventQuery()
        (query.limit, query.project) = (1, call.project)
        return try await ask(Events.list, query).items.first?.sequence ?? 0
    }

    func render<Body: PageBody>(title: String? = nil, status: Int = 200, _ make: () async throws -> Body) async throws
        -> WebResponse
    {
        if request.wantsFragment {
            return .html(status: status, face.site.fragment(try await make(), visit(cursor: 0)))
        }
        let cursor = try await cursor()
        let body = try await make()
        var visit = visit(cursor: cursor)
        visit.waiting = try await gates().count
        return .html(status: status, face.site.document(body, title: title, visit), cookies: session.cookies)
    }

    private func visit(cursor: Int64) -> Site.Visit {
        Site.Visit(
            actor: call.actor, project: project, csrf: csrf, canLogOut: request.hasAuth, cursor: cursor,
            notice: request.query["done"].flatMap(Self.done))
    }

    /// What was done before the redirect to this page.
    private static func done(_ key: String) -> Notice? {
        let words = [
            "cancel": "The run is being stopped", "promote": "Promoted: the rollout goes on",
            "promote-full": "Promoted: the new revision gets all traffic",
            "abort": "Aborted: all traffic goes to the stable revision",
            "pause": "Held where it is", "resume": "It goes on", "retry": "It is rolled out once more",
            "undo": "Going back to the earlier revision", "again": "A new run was started",
            "run": "The run was started", "approve": "Approved", "reject": "Rejected: the job fails",
            "reject-version": "Rejected", "ask": "Asked for approval",
            "verify": "Verified: every file is what was registered",
            "quarantine": "In quarantine: its failures do not fail the job",
            "import": "The dashboard was saved",
            "release": "Out of quarantine: its failures count again",
        ]
        return words[key].map { Notice(tone: .ok, icon: "ok", title: $0, text: nil) }
    }

    /// The page of a path, or nil when there is none.
    func page(_ segments: [String]) async throws -> WebResponse? {
        guard let first = segments.first, let section = Section(rawValue: first) else { return try await overview() }
        let rest = segments.dropFirst()
        if section == .explore { return try await explore(Array(rest)) }
        guard let name = rest.first else { return try await list(section) }
        if section == .runs, rest.count == 2 { return try await runPart(name, rest.last ?? "") }
        if section == .pipelines, rest.count == 2, rest.last == "tests" { return try await tests(of: name) }
        if section == .dashboards, rest.count == 2, rest.last == "panel" { return try await panel(of: name) }
        if section == .models, rest.count == 2 { return try await modelVersion(name, rest.last ?? "") }
        if section == .experiments { return try await experiment(Array(rest)) }
        if section == .resources {
            return rest.count == 2 ? try await resource(rest[1], rest[2]) : try await resources(of: name)
        }
        return rest.count == 1 ? try await detail(section, name) : nil
    }

    private func list(_ section: Section) async throws -> WebResponse? {
        switch section {
        case .overview: try await overview()
        case .runs: try await runs()
        case .approvals: try await approvals()
        case .queue: try await queue()
        case .pipelines: try await pipelines()
        case .services: try await services()
        case .experiments: try await experiments()
        case .models: try await models()
        case .datasets: try await datasets()
        case .monitors: try await monitors()
        case .explore: try await explore([])
        case .dashboards: try await dashboards()
        case .telemetry: try await telemetry()
        case .dora: try await dora()
        case .calendar: try await calendar()
        case .runners: try await runners()
        case .events: try await events(audit: nil)
        case .resources: try await resources(of: EnvironmentKind.plural)
        }
    }

    private func detail(_ section: Section, _ name: String) async throws -> WebResponse? {
        switch section {
        case .runs: try await run(name)
        case .pipelines: try await pipeline(name)
        case .services: try await service(name)
        case .models: try await model(name)
        case .datasets: try await dataset(name)
        case .monitors: try await monitor(name)
        case .dashboards: try await dashboard(name)
        default: nil
        }
    }
}
