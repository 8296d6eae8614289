import API
import Manifests

/// One panel as it is shown: at most one of its parts is there.
struct PanelView: Sendable {
    struct Stat: Sendable {
        let name: String
        let value: String
        let tone: Tone
        let icon: String
        let state: String?
        let spark: Markup
    }
    struct Table: Sendable {
        let caption: String
        let columns: [String]
        let rows: [Row]
        struct Row: Sendable {
            let cells: [String]
            let value: Badge?
            let plain: String?
        }
    }

    let id: String
    let title: String
    let about: String?
    let width: String
    let source: String
    let explore: String?
    let fault: Notice?
    let note: String?
    let graph: GraphFigure?
    let stats: Listing<Stat>?
    let table: Table?
    let logs: Listing<LogRow>?
    let traces: Rows<TraceRow>?
    let nothing: String?
    /// Not asked yet: it stands in a row that is closed.
    let isWaiting: Bool

    /// Numbers that one stat shows.
    private static let statLimit = 12
    private static let tableLimit = 200

    init(
        _ panel: DashboardPanel, _ answer: PanelAnswer?, place: Int, source: String, variables: DashboardVariables,
        time: TimeChoice, now: Double
    ) {
        let name = variables.filled(panel.title)
        (id, title, about) = ("p\(place)", name, panel.description)
        width = "w\(min(24, max(1, panel.width)))"
        self.source = source
        explore = Self.explore(panel, variables, time)
        isWaiting = answer == nil
        let answer = answer ?? PanelAnswer()
        fault = answer.fault.map {
            Notice(tone: .bad, icon: "failed", title: ExploreLogsPage.sentence($0.message), text: $0.hint)
        }
        let unit = PanelLook.unit(panel)
        let isBroken = answer.fault != nil
        let (type, series) = (panel.type, answer.series)
        graph = isBroken ? nil : Self.graph(panel, answer, unit, time)
        stats = type == .stat ? Listing(series.prefix(Self.statLimit).map { Self.stat($0, panel, unit) }) : nil
        table = type == .table && !series.isEmpty ? Self.table(panel, series, unit, name) : nil
        logs =
            type == .log
            ? Listing(
                answer.lines.enumerated().map { index, line in
                    LogRow(line, number: place * 10_000 + index, now: now) { _, _ in nil }
                }) : nil
        traces = type == .trace_list ? Rows(TraceRow.all(answer.traces, now: now)) : nil
        let hasNone = graph == nil && stats == nil && table == nil && logs == nil && traces == nil
        nothing = hasNone && fault == nil && !isWaiting ? "Nothing in this time" : nil
        note = Self.note(panel, answer)
    }

    private static func note(_ panel: DashboardPanel, _ answer: PanelAnswer) -> String? {
        var words: [String] = []
        let shown = panel.type == .stat ? statLimit : panel.type == .table ? tableLimit : TimeGraph.lineLimit
        let left = answer.leftOut + max(0, panel.type == .heat_map ? 0 : answer.series.count - shown)
        if left > 0 { words.append("\(Format.plural(left, "series", "series")) left out") }
        words += answer.remarks.prefix(2)
        return words.isEmpty ? nil : words.joined(separator: " · ")
    }

    private static func graph(_ panel: DashboardPanel, _ answer: PanelAnswer, _ unit: Unit, _ time: TimeChoice)
        -> GraphFigure?
    {
        let size: ChartSize = panel.width > 16 ? .full : panel.width >= 9 ? .half : .third
        let height = max(110, Double(panel.height) * 30 - 60)
        switch panel.type {
        case .heat_map:
            let series = answer.series.map(\.series)
            let columns = HistogramMap.columns(series) + HistogramMap.classic(series)
            guard !columns.isEmpty else { return nil }
            var map = HistogramMap(panel.title, unit: unit, columns: columns, span: time.from...time.to)
            map.height = height
            return map.figure(size)
        case .time_series, .log:
            let lines = answer.series.filter { !$0.series.points.isEmpty }.map {
                TimeGraph.Line(name: $0.name, points: $0.series.graphPoints(step: answer.step))
            }
            guard !lines.isEmpty else { return nil }
            var graph = TimeGraph(panel.title, unit: unit, lines: lines, span: time.from...time.to)
            (graph.isStacked, graph.low, graph.high, graph.height) = (panel.stacked, panel.min, panel.max, height)
            graph.limits = panel.thresholds.map { TimeGraph.Limit(value: $0.value, tone: PanelLook.tone($0.state)) }
            return graph.figure(size)
        default: return nil
        }
    }

    private static func stat(_ one: PanelAnswer.Named, _ panel: DashboardPanel, _ unit: Unit) -> Stat {
        let value = one.series.reduced(panel.reduce)
        let state = value.flatMap { PanelLook.state($0, panel) }
        return Stat(
            name: one.name, value: value.map { PanelLook.written($0, panel, unit) } ?? "–",
            tone: state.map(PanelLook.tone) ?? .mute, icon: state.map(PanelLook.icon) ?? "",
            state: state.map(\.rawValue),
            spark: Sparkline.line(
                Self.thinned(one.series.points.map(\.value)), label: "\(one.name) over time",
                tone: 0))
    }

    private static func thinned(_ values: [Double]) -> [Double?] {
        let stride = max(1, values.count / 80)
        return values.enumerated().filter { $0.offset % stride == 0 || $0.offset == values.count - 1 }.map(\.element)
    }

    private static func table(_ panel: DashboardPanel, _ series: [PanelAnswer.Named], _ unit: Unit, _ name: String)
        -> Table
    {
        let hasLegend = panel.queries.contains { $0.legend != nil }
        var names: [String] = []
        for one in series {
            for label in one.series.labels.keys where !names.contains(label) && names.count < 8 { names.append(label) }
        }
        let columns = hasLegend ? ["Series"] : names
        let rows = series.prefix(tableLimit).map { one in
            let value = one.series.reduced(panel.reduce)
            let state = value.flatMap { PanelLook.state($0, panel) }
            let text = value.map { PanelLook.written($0, panel, unit) } ?? "–"
            return Table.Row(
                cells: hasLegend ? [one.name] : names.map { one.series.labels[$0] ?? "" },
                value: state.map { Badge(PanelLook.tone($0), PanelLook.icon($0), text) },
                plain: state == nil ? text : nil)
        }
        return Table(
            caption: name, columns: columns.map { $0 == "__name__" ? "metric" : $0 }, rows: rows)
    }

    /// Where the first queries of a panel can be changed and asked again.
    private static func explore(_ panel: DashboardPanel, _ variables: DashboardVariables, _ time: TimeChoice) -> String?
    {
        let texts = panel.queries.compactMap(\.promql).map(variables.filled)
        if !texts.isEmpty {
            return Links.path(["explore"], pairs: Array(zip(Visitor.questionKeys, texts)) + time.pairs)
        }
        if let text = panel.queries.compactMap(\.logql).first {
            return Links.path(["explore", "logs"], pairs: [("q", variables.filled(text))] + time.pairs)
        }
        guard let query = panel.queries.first, let traces = query.traces else { return nil }
        let search = Visitor.search(traces, query, variables, time)
        let pairs = [
            ("service", search.service), ("operation", search.operation), ("tags", search.tags),
            ("min", search.min_duration?.description), ("max", search.max_duration?.description),
        ]
        return Links.path(
            ["explore", "traces"], pairs: pairs.compactMap { pair in pair.1.map { (pair.0, $0) } } + time.pairs)
    }
}

/// How the values of a panel look.
enum PanelLook {
    static func unit(_ panel: DashboardPanel) -> Unit {
        switch panel.unit {
        case .number: .plain
        case .percent: .named("%")
        case .ratio: .share
        case .seconds: .seconds
        case .milliseconds: .named("ms")
        case .bytes: .bytes
        case .bytes_per_second: .bytesPerSecond
        case .per_second: .named("/s")
        case .per_minute: .named("/min")
        case .boolean: .yesNo
        case .time: .moment
        }
    }

    static func written(_ value: Double, _ panel: DashboardPanel, _ unit: Unit) -> String {
        guard let decimals = panel.decimals, value.isFinite else { return unit.written(value) }
        switch unit {
        case .plain: return Format.fixed(value, decimals)
        case .share: return "\(Format.fixed(value * 100, decimals)) %"
        case .named(let name): return "\(Format.fixed(value, decimals)) \(name)"
        default: return unit.written(value)
        }
    }

    /// The threshold that a value has reached: the highest at or below it.
    static func state(_ value: Double, _ panel: DashboardPanel) -> PanelThreshold.State? {
        panel.thresholds.filter { $0.value <= value }.max { $0.value < $1.value }?.state
    }

    static func tone(_ state: PanelThreshold.State) -> Tone {
        switch state {
        case .good: .ok
        case .warning: .warn
        case .critical: .bad
        }
    }

    static func icon(_ state: PanelThreshold.State) -> String {
        switch state {
        case .good: "ok"
        case .warning: "warn"
        case .critical: "failed"
        }
    }
}
