import API
import Manifests

/// How curves of metrics are shown: over steps or time, smoothed, on a logarithmic axis.
struct CurveLook: Sendable {
    let isTime: Bool
    let isLog: Bool
    /// 0 for none, else how much of the past a point keeps; below 1.
    let smoothing: Double
    /// A part of the names of the metrics that are shown.
    let wanted: String

    /// Buckets of a curve: the pixels of a chart half a page wide, nearly.
    static let buckets = 300
    static let steps = [0, 0.3, 0.6, 0.9, 0.99]

    init(_ fields: [String: String]) {
        isTime = fields["axis"] == "time"
        isLog = fields["log"] == "1"
        let asked = fields["smooth"].flatMap { Double($0) } ?? 0
        smoothing = asked.isFinite ? min(max(asked, 0), 0.999) : 0
        wanted = fields["metric"]?.trimmed() ?? ""
    }

    func shows(_ key: String) -> Bool {
        wanted.isEmpty || key.lowercased().contains(wanted.lowercased())
    }

    var axes: [Choice] {
        [Choice(value: "step", text: "Step", isChosen: !isTime), Choice(value: "time", text: "Time", isChosen: isTime)]
    }
    var scales: [Choice] {
        [
            Choice(value: "0", text: "Linear", isChosen: !isLog),
            Choice(value: "1", text: "Logarithmic", isChosen: isLog),
        ]
    }
    var smoothings: [Choice] {
        let all = Self.steps.contains(smoothing) ? Self.steps : (Self.steps + [smoothing]).sorted()
        return all.map {
            Choice(value: Format.plain($0), text: $0 == 0 ? "None" : Format.plain($0), isChosen: $0 == smoothing)
        }
    }

    /// A chart of curves under their names.
    func chart(_ title: String, _ curves: [(name: String, curve: MetricCurve)]) -> LineChart {
        var chart = LineChart(
            title, axis: isTime ? .time : .step,
            series: curves.map { one in
                let places = isTime ? one.curve.times.map { Double($0) / 1000 } : one.curve.steps.map { Double($0) }
                let values = Self.smoothed(one.curve.values, by: smoothing)
                return LineChart.Series(
                    one.name, zip(places, values).map { LineChart.Point($0, $1.isFinite ? $1 : nil) })
            })
        chart.isLogarithmic = isLog
        return chart
    }

    /// An exponential moving average that starts at the first value (its weights are divided by their sum); what is not finite passes.
    static func smoothed(_ values: [Double], by keep: Double) -> [Double] {
        guard keep > 0 else { return values }
        var (sum, weight) = (0.0, 0.0)
        return values.map { value in
            guard value.isFinite else { return value }
            sum = sum * keep + value * (1 - keep)
            weight = weight * keep + (1 - keep)
            return sum / weight
        }
    }
}
