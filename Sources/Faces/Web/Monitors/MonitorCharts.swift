import API
import Manifests

/// The charts of a monitor, each over its windows.
enum MonitorCharts {
    static func all(_ report: MonitorReport, spec: MonitorSpec?) -> [ChartCard] {
        guard report.windows.count > 0 else { return [] }
        return performance(report, spec)
            + [coverage(report), drift(report), prediction(report, spec), score(report)].compactMap { $0 }
            + bias(report, spec)
    }

    private static func middle(_ window: WindowReport) -> Double { (window.from.seconds + window.to.seconds) / 2 }

    private static func series(_ name: String, _ report: MonitorReport, _ value: (WindowReport) -> Double?)
        -> LineChart.Series
    {
        LineChart.Series(name, report.windows.map { LineChart.Point(middle($0), value($0)) })
    }

    private static func performance(_ report: MonitorReport, _ spec: MonitorSpec?) -> [ChartCard] {
        var names = spec?.checks.performance.metrics.keys ?? []
        if let main = MonitorPage.mainMetric(report), !names.contains(main) { names.insert(main, at: 0) }
        return names.prefix(4).compactMap { name in
            let line = series(Metric.title(name), report) { $0.performance[name] }
            guard line.points.contains(where: { $0.y != nil }) else { return nil }
            var chart = LineChart("\(Metric.title(name)) on labelled predictions", series: [line])
            let bounds = spec?.checks.performance.metrics[name]
            if let low = bounds?.min { chart.thresholds.append(LineChart.Threshold(low, "at least", bad: .below)) }
            if let high = bounds?.max { chart.thresholds.append(LineChart.Threshold(high, "at most", bad: .above)) }
            let reference = report.reference_metrics[name].map { "\(Format.number($0)) on the reference" } ?? ""
            return ChartCard(title: chart.title, note: reference, figure: chart.figure(.half))
        }
    }

    /// Labels come late: how much of each window can be judged already.
    private static func coverage(_ report: MonitorReport) -> ChartCard? {
        guard report.windows.contains(where: { $0.rows > 0 }) else { return nil }
        let bars = report.windows.map { window in
            BarChart.Bar(
                window.window, window.coverage, tone: window.performance.isEmpty ? .mute : nil,
                note: "\(Format.count(window.labelled)) of \(Format.count(window.rows)) rows"
                    + (window.restated > 0 ? ", restated \(window.restated) times" : ""))
        }
        return ChartCard(
            title: "Labels of each window", note: "grey: too few to judge",
            figure: BarChart("Labels of each window", unit: .share, bars: bars).figure(.half))
    }

    private static func drift(_ report: MonitorReport) -> ChartCard? {
        var strongest: [String: Double] = [:]
        for window in report.windows where window.state != .insufficient_data {
            for one in window.features { strongest[one.feature] = max(strongest[one.feature] ?? 0, one.effect) }
        }
        let names = strongest.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(5).map(\.key)
        guard !names.isEmpty else { return nil }
        var chart = LineChart(
            "Strongest drift of features",
            series: names.map { name in
                series(name, report) { window in
                    window.state == .insufficient_data ? nil : window.features.first { $0.feature == name }?.effect
                }
            })
        chart.thresholds = [LineChart.Threshold(report.drift_threshold, "limit", bad: .above)]
        chart.startsAtZero = true
        return ChartCard(title: chart.title, note: "effect against the reference", figure: chart.figure(.half))
    }

    private static func prediction(_ report: MonitorReport, _ spec: MonitorSpec?) -> ChartCard? {
        let line = series("Prediction drift", report) { $0.prediction?.effect }
        guard line.points.contains(where: { $0.y != nil }) else { return nil }
        var chart = LineChart("Drift of the predictions", series: [line])
        chart.thresholds = [
            LineChart.Threshold(spec?.checks.prediction.threshold ?? report.drift_threshold, "limit", bad: .above)
        ]
        chart.startsAtZero = true
        return ChartCard(title: chart.title, note: "effect against the reference", figure: chart.figure(.half))
    }

    private static func score(_ report: MonitorReport) -> ChartCard? {
        let line = series("Mean score", report, \.mean_score)
        guard line.points.contains(where: { $0.y != nil }) else { return nil }
        return ChartCard(
            title: "Mean score", note: "what the model answers on average",
            figure: LineChart("Mean score", series: [line]).figure(.half))
    }

    private static func bias(_ report: MonitorReport, _ spec: MonitorSpec?) -> [ChartCard] {
        var columns: [String] = []
        for window in report.windows {
            for name in window.bias.keys where !columns.contains(name) { columns.append(name) }
        }
        let settings = spec?.checks.bias
        let kinds: [(String, String, LineChart.Threshold?)] = [
            (
                "tpr_gap", "Gap between true positive rates",
                settings?.max_tpr_gap.map { LineChart.Threshold($0, "at most", bad: .above) }
            ),
            (
                "selection_ratio", "Ratio of selection rates",
                settings?.min_selection_ratio.map { LineChart.Threshold($0, "at least", bad: .below) }
            ),
        ]
        return kinds.compactMap { key, title, limit in
            let lines = columns.map { column in series(column, report) { $0.bias[column]?[key]?.double } }
                .filter { $0.points.contains { $0.y != nil } }
            guard !lines.isEmpty else { return nil }
            var chart = LineChart(title, series: lines)
            chart.thresholds = [limit].compactMap { $0 }
            return ChartCard(title: title, note: "between groups, by column", figure: chart.figure(.half))
        }
    }
}
