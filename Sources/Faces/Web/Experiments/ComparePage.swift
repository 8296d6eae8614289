import API
import Manifests

/// What of the chosen runs is drawn: one metric over steps, and two columns against each other.
struct CompareChoice: Sendable {
    let metric: String?
    let across: RunColumn?
    let upwards: RunColumn?
    let isDifferencesOnly: Bool

    init(_ fields: [String: String], runs: [TrackedRun]) {
        let all = RunColumn.all(of: runs)
        let metrics = all.filter { $0.part == .metrics }
        metric = fields["curve"].flatMap { key in metrics.contains { $0.key == key } ? key : nil } ?? metrics.first?.key
        func chosen(_ key: String) -> RunColumn? {
            fields[key].flatMap { RunColumn($0) }.flatMap { all.contains($0) ? $0 : nil }
        }
        let numeric = all.filter { column in column.part == .params && runs.contains { Self.number(column, $0) != nil }
        }
        across = chosen("x") ?? numeric.first ?? metrics.dropFirst().first ?? metrics.first
        upwards = chosen("y") ?? metrics.first
        isDifferencesOnly = fields["diff"] == "1"
    }

    static func number(_ column: RunColumn, _ run: TrackedRun) -> Double? {
        switch column.part {
        case .metrics: run.metrics[column.key]
        case .params: run.params[column.key].flatMap { Double($0) }
        case .tags: run.tags[column.key].flatMap { Double($0) }
        }
    }
}

/// Runs side by side.
struct ComparePage: PageBody {
    static let template = "compareruns"
    static let section = Section.experiments

    /// Runs that are compared; the table of differences shows fewer.
    static let limit = 100
    private static let tableLimit = 12

    struct Cell: Sendable {
        let value: String
        let isBest: Bool
        let differs: Bool
    }
    struct Row: Sendable {
        let name: String
        let cells: [Cell]
    }
    struct Table: Sendable {
        let title: String
        let note: String
        let runs: [Link]
        let rows: [Row]
    }
    struct Hidden: Sendable {
        let name: String
    }

    let head: PageHead
    let action: String
    let runs: [Hidden]
    let look: CurveLook
    let curveChoices: [Choice]
    let acrossChoices: [Choice]
    let upwardsChoices: [Choice]
    let differences: [Choice]
    let curve: ChartCard?
    let parallel: ChartCard?
    let scatter: ChartCard?
    let tables: Listing<Table>?
    let empty: EmptyState?

    init(
        _ experiment: Experiment, runs: [TrackedRun], curves: [MetricCurve], choice: CompareChoice, look: CurveLook
    ) {
        let home = Links.path(["experiments", experiment.id])
        head = PageHead(
            "Compare \(Format.plural(runs.count, "run"))",
            in: [Link("Experiments", "/experiments"), Link(experiment.name, home)])
        action = "\(home)/compare"
        self.runs = runs.map { Hidden(name: $0.id) }
        self.look = look
        let all = RunColumn.all(of: runs)
        curveChoices = all.filter { $0.part == .metrics }.map {
            Choice(value: $0.key, text: $0.key, isChosen: $0.key == choice.metric)
        }
        acrossChoices = all.map { Choice(value: $0.name, text: $0.name, isChosen: $0 == choice.across) }
        upwardsChoices = all.map { Choice(value: $0.name, text: $0.name, isChosen: $0 == choice.upwards) }
        differences = [
            Choice(value: "0", text: "Everything", isChosen: !choice.isDifferencesOnly),
            Choice(value: "1", text: "Differences", isChosen: choice.isDifferencesOnly),
        ]
        curve = Self.curve(choice.metric, curves, runs, look)
        parallel = Self.parallel(runs, all, choice)
        scatter = Self.scatter(runs, choice)
        tables = Listing(
            [
                Self.table("Metrics", .metrics, runs, all, choice), Self.table("Params", .params, runs, all, choice),
                Self.table("Tags", .tags, runs, all, choice),
            ].compactMap { $0 })
        empty =
            !runs.isEmpty
            ? nil
            : EmptyState(
                icon: "experiments", title: "No run chosen", text: "Tick runs in the table of the experiment.",
                commands: [])
    }

    private static func curve(
        _ metric: String?, _ curves: [MetricCurve], _ runs: [TrackedRun], _ look: CurveLook
    ) -> ChartCard? {
        guard let metric, !curves.isEmpty else { return nil }
        let names = Dictionary(runs.map { ($0.id, $0.name) }, uniquingKeysWith: { first, _ in first })
        let chart = look.chart(metric, curves.map { (names[$0.run] ?? $0.run, $0) })
        let note = curves.count == LineChart.seriesLimit ? "of the first \(curves.count) runs" : ""
        return ChartCard(title: metric, note: note, figure: chart.figure(.full))
    }

    private static func parallel(_ runs: [TrackedRun], _ all: [RunColumn], _ choice: CompareChoice) -> ChartCard? {
        guard runs.count > 1 else { return nil }
        // Params that say something, then the metric that is judged by.
        let params = all.filter { column in
            column.part == .params && Set(runs.map { $0.params[column.key] }).count > 1
        }.prefix(ParallelChart.axisLimit - 1)
        var axes = params.map { column in ParallelChart.Axis(column.key, texts: runs.map { $0.params[column.key] }) }
        guard let last = choice.upwards, !axes.isEmpty else { return nil }
        axes.append(ParallelChart.Axis(last.key, runs.map { CompareChoice.number(last, $0) }))
        let lines = runs.map { ParallelChart.Line(name: $0.name, href: TrackedRunPage.link($0)) }
        let chart = ParallelChart("Parallel coordinates", axes: axes, lines: lines)
        return ChartCard(
            title: "Params and \(last.key)", note: "the darker a line, the greater \(last.key)",
            figure: chart.figure(.full))
    }

    private static func scatter(_ runs: [TrackedRun], _ choice: CompareChoice) -> ChartCard? {
        guard let across = choice.across, let upwards = choice.upwards, runs.count > 1 else { return nil }
        let dots = runs.compactMap { run -> ScatterChart.Dot? in
            guard let x = CompareChoice.number(across, run), let y = CompareChoice.number(upwards, run) else {
                return nil
            }
            return ScatterChart.Dot(x: x, y: y, name: run.name, href: TrackedRunPage.link(run))
        }
        let chart = ScatterChart(
            "\(upwards.key) by \(across.key)", across: across.key, upwards: upwards.key, dots: dots)
        return ChartCard(title: chart.title, note: Format.plural(chart.dots.count, "run"), figure: chart.figure(.full))
    }

    private static func table(
        _ title: String, _ part: RunColumn.Part, _ runs: [TrackedRun], _ all: [RunColumn], _ choice: CompareChoice
    ) -> Table? {
        let shown = Array(runs.prefix(tableLimit))
        var equal = 0
        let rows = all.filter { $0.part == part }.compactMap { column -> Row? in
            let values = shown.map { column.value(of: $0) }
            let differs = Set(values).count > 1
            if !differs { equal += 1 }
            if choice.isDifferencesOnly && !differs { return nil }
            let best = part == .metrics && differs ? Self.best(column.key, shown) : nil
            return Row(
                name: column.key,
                cells: zip(shown, values).map { run, value in
                    Cell(
                        value: Format.clipped(value ?? "–", 60),
                        isBest: best != nil && run.metrics[column.key] == best, differs: differs && part != .metrics)
                })
        }
        guard !rows.isEmpty else { return nil }
        let note = equal == 0 ? "all differ" : "\(equal) the same in all"
        return Table(
            title: title, note: shown.count < runs.count ? "\(note); the first \(shown.count) runs" : note,
            runs: shown.map { Link($0.name, TrackedRunPage.link($0)) }, rows: rows)
    }

    private static func best(_ key: String, _ runs: [TrackedRun]) -> Double? {
        let values = runs.compactMap { $0.metrics[key] }.filter(\.isFinite)
        return Metric.isBetterLower(key) ? values.min() : values.max()
    }
}
