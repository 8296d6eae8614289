import API
import Manifests

extension Visitor {
    func runs() async throws -> WebResponse {
        try await render {
            var query = RunQuery()
            (query.project, query.limit) = (project, RunsPage.limit)
            (query.pipeline, query.after) = (typed("pipeline"), typed("after"))
            query.status = typed("status").flatMap(RunStatus.init(rawValue:))
            let asked = query
            async let found = ask(Runs.list, asked)
            async let pipelines = resources(PipelineKind.self)
            let page = try await found
            return RunsPage(
                page.items, pipelines: try await pipelines.map(\.name), query: asked, next: page.next, now: now)
        }
    }

    func run(_ id: String) async throws -> WebResponse {
        let name = RunName(project: project, run: id)
        let run = try await ask(Runs.get, name)
        let view = RunPage.View(rawValue: request.query["view"] ?? "") ?? .log
        return try await render(title: "\(run.pipeline) #\(run.number)") {
            let artifacts = try await ask(Runs.artifacts, name).items
            let job = RunPage.chosen(request.query["job"], in: run)
            // A page that refreshes itself keeps the log it has; log.js reads on.
            let wantsLog = view == .log && !request.wantsFragment
            let log = wantsLog ? try await firstLog(run, job) : nil
            return RunPage(
                try await withOwnGates(run), artifacts: artifacts, view: view, job: request.query["job"], log: log,
                viewer: GateCard.Viewer(call), icons: icons, csrf: csrf, now: now)
        }
    }

    /// A run whose waiting gates tell whether the visitor may say yes, as the list of approvals does.
    private func withOwnGates(_ run: Run) async throws -> Run {
        guard run.gates.contains(where: { $0.status == .waiting }) else { return run }
        let own = try await gates().filter { $0.run == run.id && $0.mine }
        var run = run
        for index in run.gates.indices {
            let gate = run.gates[index]
            run.gates[index].mine = own.contains { $0.stage == gate.stage && $0.job == gate.job }
        }
        return run
    }

    /// Parts of a run that are fetched by themselves: "log" for the page, "raw" for people.
    func runPart(_ id: String, _ part: String) async throws -> WebResponse? {
        guard part == "log" || part == "raw" else { return nil }
        let offset = max(0, Int64(request.query["after"] ?? "") ?? 0)
        let job = request.query["job"] ?? ""
        if part == "raw" {
            return .text(try await output(id, job) { ($0.offset, $0.limit) = (offset, 1_048_576) }?.text ?? "")
        }
        let line = max(1, Int(request.query["line"] ?? "") ?? 1)
        let waits = request.query["wait"] == "1"
        let chunk = try await output(id, job) { ($0.offset, $0.wait) = (offset, waits) }
        let lines = LogLines(
            chunk?.text ?? "", first: line, ended: chunk?.ended ?? true, group: request.query["group"] == "true")
        return .html(status: 200, face.site.logPart(LogPart(chunk: chunk, offset: offset, lines: lines)))
    }

    /// Bytes of a log that the page starts with, and that each further request brings.
    static let logLimit = 262_144

    /// Lines before the end of a long log with which the page starts.
    static let tailLines = 2000

    /// The log from the line or the byte that is asked for, or else its last lines.
    private func firstLog(_ run: Run, _ job: Job?) async throws -> RunBench.LogPanel? {
        guard let job, job.started_at != nil || job.status == .running else { return nil }
        let (line, byte) = (request.query["line"].flatMap { Int($0) }, request.query["from"].flatMap { Int64($0) })
        let chunk = try await output(run.id, job.key) { query in
            if let line {
                query.line = max(1, line)
            } else if let byte {
                query.offset = max(0, byte)
            } else {
                query.tail = Self.tailLines
            }
        }
        let ended = chunk?.ended ?? job.status.hasEnded
        let lines = LogLines(chunk?.text ?? "", first: chunk?.first_line ?? 1, ended: ended)
        let part = LogPart(chunk: chunk, offset: 0, lines: lines)
        return RunBench.LogPanel(
            lines: lines.html, next: part.next, line: lines.nextLine, group: lines.isInGroup, done: ended,
            more: Links.path(["runs", run.id, "log"], ["job": job.key]),
            raw: Links.path(["runs", run.id, "raw"], ["job": job.key]),
            earlier: (chunk?.first_line ?? 1) == 1
                ? nil : Links.path(["runs", run.id], ["job": job.key, "line": "1"]) + "#bench")
    }

    private func output(_ run: String, _ job: String, _ edit: (inout LogQuery) -> Void) async throws -> LogChunk? {
        var query = LogQuery()
        (query.project, query.run, query.job, query.limit) = (project, run, job, Self.logLimit)
        edit(&query)
        return try await find(Runs.log, query)
    }

    func pipelines() async throws -> WebResponse {
        try await render {
            var query = RunQuery()
            (query.project, query.limit) = (project, 200)
            let asked = query
            async let found = ask(Runs.list, asked)
            async let all = resources(PipelineKind.self)
            return PipelinesPage(try await all, runs: try await found.items)
        }
    }

    func pipeline(_ name: String) async throws -> WebResponse {
        try await render(title: name) {
            var query = RunQuery()
            (query.project, query.pipeline) = (project, name)
            let asked = query
            async let found = ask(Runs.list, asked)
            async let set = triggers(of: name)
            let one = try await resource(PipelineKind.self, name)
            let pulls = try await openPulls(of: one.spec["repository"]?.string)
            return PipelinePage(
                one, runs: try await found.items, triggers: try await set, pulls: pulls, icons: icons, csrf: csrf,
                now: now)
        }
    }

    private func triggers(of pipeline: String) async throws -> [TriggerInfo] {
        var query = TriggerQuery()
        (query.project, query.pipeline, query.times) = (project, pipeline, 3)
        return try await find(Triggers.list, query)?.items ?? []
    }

    private func openPulls(of repository: String?) async throws -> [PullRequest] {
        guard let repository else { return [] }
        var query = PullQuery()
        (query.project, query.repository, query.state, query.limit) = (project, repository, .open, PullTable.limit)
        return try await find(Pulls.list, query)?.items ?? []
    }
}

/// Lines of a log with where to go on.
struct LogPart: Sendable {
    let next: String
    let line: Int
    let group: Bool
    let done: Bool
    let lines: Markup

    init(chunk: LogChunk?, offset: Int64, lines: LogLines) {
        next = "\((chunk?.next_offset ?? offset) - Int64(lines.unread))"
        (line, group, done) = (lines.nextLine, lines.isInGroup, chunk?.ended ?? true)
        self.lines = lines.html
    }
}

extension Site {
    func logPart(_ part: LogPart) -> String { templates.render(part, "loglines") }
}
