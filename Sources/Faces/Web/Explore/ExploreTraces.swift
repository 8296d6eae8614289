import API
import Kernel
import Manifests

extension Visitor {
    func exploreTraces() async throws -> WebResponse {
        try await render(title: "Explore traces") {
            let time = TimeChoice(request.query, now: now)
            var query = TraceQuery()
            (query.service, query.operation, query.tags) = (typed("service"), typed("operation"), typed("tags"))
            query.limit = min(1500, max(1, Int(question("limit")) ?? 50))
            (query.from, query.to) = (time.first, time.last)
            var fault: Problem?
            for (key, path) in [("min", \TraceQuery.min_duration), ("max", \TraceQuery.max_duration)] {
                guard let text = typed(key) else { continue }
                query[keyPath: path] = TimeSpan(text)
                if TimeSpan(text) == nil {
                    fault = Problem(
                        "trace.duration", status: 400, "\"\(Format.clipped(text, 40))\" is no duration",
                        hint: "Write it like 250ms or 2s.")
                }
            }
            let asked = query
            async let services = ask(Traces.services, TraceServiceQuery())
            var found: [TraceSummary] = []
            if fault == nil {
                do { found = try await ask(Traces.search, asked).items } catch let problem as Problem {
                    fault = problem
                }
            }
            return ExploreTracesPage(
                query, found, fault: fault, services: try await services.items, time: time,
                shortest: typed("min") ?? "",
                longest: typed("max") ?? "", here: SendHere(request), now: now)
        }
    }

    func exploreServices() async throws -> WebResponse {
        try await render(title: "Service graph") {
            let time = TimeChoice(request.query, now: now)
            var query = TraceGraphQuery()
            (query.from, query.to) = (time.first, time.last)
            return ServiceGraphPage(try await ask(Traces.graph, query).items, time: time)
        }
    }

    func trace(_ id: String) async throws -> WebResponse {
        try await render(title: "Trace \(Format.clipped(id, 16))") {
            var name = TraceName()
            name.trace = id
            return TracePage(try await ask(Traces.get, name), now: now)
        }
    }
}

/// A list of traces, each as a row of the table that pages and panels share.
struct TraceRow: Sendable {
    let href: String
    let name: String
    let service: String
    let others: String
    let took: String
    let bar: Markup
    let spans: String
    let errors: Badge?
    let when: When

    static func all(_ found: [TraceSummary], now: Double) -> [TraceRow] {
        let longest = found.map(\.seconds).max() ?? 0
        return found.map { one in
            TraceRow(
                href: Links.path(["explore", "traces", one.trace]), name: one.operation, service: one.service,
                others: one.services.filter { $0 != one.service }.prefix(4).joined(separator: ", "),
                took: Format.duration(one.seconds),
                bar: Sparkline.meter(
                    longest > 0 ? one.seconds / longest : 0, label: "took \(Format.duration(one.seconds))",
                    tone: one.errors > 0 ? .bad : .run),
                spans: Format.count(one.spans),
                errors: one.errors > 0 ? Badge(.bad, "failed", Format.plural(one.errors, "error")) : nil,
                when: When(one.at.seconds, now: now))
        }
    }
}

/// Traces: what was asked for, and those that fit.
struct ExploreTracesPage: PageBody {
    static let template = "exploretraces"
    static let section = Section.explore
    static let title = "Explore"
    static let lead: String? = ExploreMetricsPage.lead

    let tabs = ExploreTabs.all(current: "Traces")
    let services: [Choice]
    let operations: [String]
    let operation: String
    let tags: String
    let shortest: String
    let longest: String
    let limits: [Choice]
    let time: TimeFields
    let fault: Notice?
    let note: String
    let table: Rows<TraceRow>?
    let here: SendHere?
    let nothing: EmptyState?

    init(
        _ query: TraceQuery, _ found: [TraceSummary], fault: Problem?, services all: [TraceService], time: TimeChoice,
        shortest: String, longest: String, here: SendHere, now: Double
    ) {
        services = all.map { Choice(value: $0.name, text: $0.name, isChosen: $0.name == query.service) }
        let chosen = all.filter { query.service == nil || $0.name == query.service }
        operations = Array(Set(chosen.flatMap(\.operations)).sorted().prefix(500))
        (operation, tags) = (query.operation ?? "", query.tags ?? "")
        (self.shortest, self.longest) = (shortest, longest)
        limits = [20, 50, 200, 1000].map {
            Choice(value: "\($0)", text: "\(Format.count($0)) traces", isChosen: $0 == query.limit)
        }
        self.time = TimeFields(
            time,
            path: Links.path(
                ["explore", "traces"],
                [
                    "service": query.service, "operation": query.operation, "tags": query.tags,
                    "min": shortest.isEmpty ? nil : shortest, "max": longest.isEmpty ? nil : longest,
                ]))
        self.fault = fault.map {
            Notice(tone: .bad, icon: "failed", title: ExploreLogsPage.sentence($0.message), text: $0.hint)
        }
        note =
            Format.plural(found.count, "trace")
            + (found.count >= query.limit ? ", the newest; more are left out" : ", newest first")
        table = Rows(TraceRow.all(found, now: now))
        self.here = all.isEmpty && found.isEmpty ? here : nil
        nothing =
            found.isEmpty && !all.isEmpty && fault == nil
            ? EmptyState(
                icon: "search", title: "No trace fits in this time",
                text: "Look at a longer time, or ask for less. Tags are attributes of one span: http.status_code=500.",
                commands: []) : nil
    }
}

/// Who calls whom.
struct ServiceGraphPage: PageBody {
    static let template = "servicegraph"
    static let section = Section.explore
    static let title = "Explore"
    static let lead: String? = ExploreMetricsPage.lead

    struct Row: Sendable {
        let from: String
        let to: String
        let calls: String
        let failed: String
        let isBad: Bool
        let mean: String
        let href: String
    }
    let tabs = ExploreTabs.all(current: "Service graph")
    let time: TimeFields
    let figure: Figure?
    let note: String
    let table: Rows<Row>?
    let nothing: EmptyState?

    init(_ calls: [ServiceCall], time: TimeChoice) {
        self.time = TimeFields(time, path: "/explore/services")
        let graph = ServiceGraph(calls)
        figure = graph.calls.isEmpty ? nil : graph.figure()
        let names = Set(calls.flatMap { [$0.from, $0.to] })
        note =
            names.count > ServiceGraph.nodeLimit
            ? "the \(ServiceGraph.nodeLimit) busiest of \(Format.plural(names.count, "service"))"
            : Format.plural(names.count, "service")
        table = Rows(
            calls.sorted { ($1.calls, $0.from, $0.to) < ($0.calls, $1.from, $1.to) }.prefix(500).map { call in
                let share = call.calls > 0 ? Double(call.errors) / Double(call.calls) : 0
                return Row(
                    from: call.from, to: call.to, calls: Format.count(call.calls),
                    failed: call.errors == 0 ? "–" : "\(Format.count(call.errors)) (\(Format.percent(share)))",
                    isBad: call.errors > 0, mean: call.mean_seconds.map(Format.duration) ?? "–",
                    href: Links.path(["explore", "traces"], ["service": call.to]))
            })
        nothing =
            calls.isEmpty
            ? EmptyState(
                icon: "services", title: "No service has called another in this time",
                text: "The graph is made of spans: a server's span below a client's of another service is a call.",
                commands: []) : nil
    }
}
