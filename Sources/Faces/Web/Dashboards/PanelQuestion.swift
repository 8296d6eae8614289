import API
import Kernel
import Manifests

/// What the queries of one panel answered.
struct PanelAnswer: Sendable {
    struct Named: Sendable {
        let name: String
        let series: MetricSeries
    }
    var series: [Named] = []
    var lines: [LogLine] = []
    var traces: [TraceSummary] = []
    var leftOut = 0
    var step: Double?
    var remarks: [String] = []
    var fault: Problem?
}

extension Visitor {
    /// Queries of a panel that are asked.
    private static let panelQueries = 12
    private static let panelLines = 200
    private static let panelTraces = 50

    func answer(_ panel: DashboardPanel, _ variables: DashboardVariables, _ time: TimeChoice) async throws
        -> PanelAnswer
    {
        let queries = Array(panel.queries.prefix(Self.panelQueries))
        let parts = try await together(queries, limit: 3) { query in
            do {
                return try await part(query, panel, variables, time)
            } catch let problem as Problem {
                var failed = PanelAnswer()
                failed.fault = problem
                return failed
            }
        }
        return parts.reduce(into: PanelAnswer()) { whole, part in
            whole.series += part.series
            whole.lines += part.lines
            whole.traces += part.traces
            whole.leftOut += part.leftOut
            whole.remarks += part.remarks
            whole.step = whole.step ?? part.step
            whole.fault = whole.fault ?? part.fault
        }
    }

    private func part(
        _ query: PanelQuery, _ panel: DashboardPanel, _ variables: DashboardVariables, _ time: TimeChoice
    ) async throws -> PanelAnswer {
        if let text = query.promql { return try await promql(variables.filled(text), query, panel, variables, time) }
        if let text = query.logql { return try await logql(variables.filled(text), query, variables, time) }
        var made = PanelAnswer()
        if let wanted = query.traces {
            made.traces = try await ask(Traces.search, Self.search(wanted, query, variables, time)).items
        }
        return made
    }

    static func search(
        _ wanted: TraceSearchSpec, _ query: PanelQuery, _ variables: DashboardVariables, _ time: TimeChoice
    ) -> TraceQuery {
        var search = TraceQuery()
        search.service = wanted.service.map(variables.filled)
        search.operation = wanted.operation.map(variables.filled)
        search.tags =
            wanted.tags.isEmpty
            ? nil : wanted.tags.map { "\($0.key)=\(variables.filled($0.value))" }.joined(separator: ",")
        (search.min_duration, search.max_duration) = (wanted.min_duration, wanted.max_duration)
        (search.from, search.to, search.limit) = (time.first, time.last, min(1500, query.limit ?? panelTraces))
        return search
    }

    private func promql(
        _ text: String, _ query: PanelQuery, _ panel: DashboardPanel, _ variables: DashboardVariables,
        _ time: TimeChoice
    ) async throws -> PanelAnswer {
        var made = PanelAnswer()
        let answer: MetricAnswer
        if panel.type == .table, panel.reduce == .last {
            var instant = MetricQuery()
            (instant.query, instant.time, instant.limit) = (text, time.last, Self.rowLimit)
            answer = try await ask(Metrics.query, instant)
        } else {
            let limit = panel.type == .heat_map ? 200 : panel.type == .table ? Self.rowLimit : TimeGraph.lineLimit
            answer = try await range(text, time, step: query.step, limit: limit)
        }
        let series = MetricSeries.read(answer.result, type: answer.resultType)
        let pattern = query.legend.map(variables.filled)
        made.series = series.map { PanelAnswer.Named(name: $0.name(by: pattern), series: $0) }
        (made.leftOut, made.step) = (answer.left_out, answer.step?.seconds)
        made.remarks = answer.warnings
        return made
    }

    private func logql(
        _ text: String, _ query: PanelQuery, _ variables: DashboardVariables, _ time: TimeChoice
    ) async throws -> PanelAnswer {
        var search = LogQLQuery()
        (search.query, search.from, search.to) = (text, time.first, time.last)
        (search.step, search.limit) = (query.step, query.limit ?? Self.panelLines)
        let answer = try await ask(Logs.search, search)
        var made = PanelAnswer()
        made.lines = answer.lines
        let series = MetricSeries.read(answer.result, type: answer.resultType)
        let pattern = query.legend.map(variables.filled)
        made.series = series.map { PanelAnswer.Named(name: $0.name(by: pattern), series: $0) }
        return made
    }
}
