import API
import Manifests

/// One series of an answer to PromQL, or of figures from LogQL.
struct MetricSeries: Sendable {
    var labels: Ordered<String> = [:]
    var points: [(at: Double, value: Double)] = []
    var histograms: [HistogramSample] = []

    /// A native histogram at one moment.
    struct HistogramSample: Sendable {
        var at = 0.0
        var count = 0.0
        var sum = 0.0
        var buckets: [(low: Double, high: Double, count: Double)] = []
    }

    /// Reads what operations give in Prometheus's shape; what does not have it is left out.
    static func read(_ result: JSONValue?, type: String) -> [MetricSeries] {
        guard let result else { return [] }
        switch type {
        case "scalar", "string":
            var one = MetricSeries()
            one.points = [point(result)].compactMap { $0 }
            return [one]
        default:
            guard case .array(let items) = result else { return [] }
            return items.map(series)
        }
    }

    private static func series(_ item: JSONValue) -> MetricSeries {
        var one = MetricSeries()
        if case .object(let labels)? = item["metric"] {
            one.labels = Ordered(labels.map { ($0.key, $0.value.string ?? "") })
        }
        if case .array(let values)? = item["values"] { one.points = values.compactMap(point) }
        if let value = item["value"] { one.points = [point(value)].compactMap { $0 } }
        if case .array(let values)? = item["histograms"] { one.histograms = values.compactMap(histogram) }
        if let value = item["histogram"] { one.histograms = [histogram(value)].compactMap { $0 } }
        return one
    }

    static func number(_ value: JSONValue?) -> Double? { value?.double ?? value?.string.flatMap { Double($0) } }

    private static func point(_ value: JSONValue) -> (at: Double, value: Double)? {
        guard let at = value[0]?.double, let number = number(value[1]) else { return nil }
        return (at, number)
    }

    private static func histogram(_ value: JSONValue) -> HistogramSample? {
        guard let at = value[0]?.double, let body = value[1] else { return nil }
        var sample = HistogramSample()
        (sample.at, sample.count, sample.sum) = (at, number(body["count"]) ?? 0, number(body["sum"]) ?? 0)
        if case .array(let buckets)? = body["buckets"] {
            // [which ends belong to it, low, high, count]
            sample.buckets = buckets.compactMap { bucket in
                guard let low = number(bucket[1]), let high = number(bucket[2]), let count = number(bucket[3]) else {
                    return nil
                }
                return (low, high, count)
            }
        }
        return sample
    }

    /// As PromQL writes it: `up{job="api"}`.
    var name: String {
        let metric = labels["__name__"] ?? ""
        let rest = labels.filter { $0.key != "__name__" }
        guard !rest.isEmpty else { return metric.isEmpty ? "value" : metric }
        return metric + "{" + rest.map { "\($0.key)=\(Self.quoted($0.value))" }.joined(separator: ", ") + "}"
    }

    /// `{{job}} errors` with the labels' values put in; without a pattern the name.
    func name(by pattern: String?) -> String {
        guard let pattern, !pattern.isEmpty else { return name }
        var (result, rest) = ("", pattern[...])
        while let open = rest.firstRange(of: "{{"), let close = rest[open.upperBound...].firstRange(of: "}}") {
            result += rest[..<open.lowerBound]
            result += labels[String(rest[open.upperBound..<close.lowerBound]).trimmed()] ?? ""
            rest = rest[close.upperBound...]
        }
        return result + rest
    }

    static func quoted(_ text: String) -> String {
        "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n") + "\""
    }

    var lastValue: Double? { points.last?.value }

    func reduced(_ how: DashboardPanel.Reduction) -> Double? {
        let values = points.map(\.value).filter { !$0.isNaN }
        guard !values.isEmpty else { return nil }
        switch how {
        case .last: return points.last?.value
        case .first: return values.first
        case .min: return values.min()
        case .max: return values.max()
        case .sum: return values.reduce(0, +)
        case .mean: return values.reduce(0, +) / Double(values.count)
        }
    }

    /// Points as a graph draws them; a step without a value breaks the line.
    func graphPoints(step: Double?) -> [LineChart.Point] {
        var made: [LineChart.Point] = []
        for point in points {
            if let step, step > 0, let last = made.last, point.at - last.x > step * 1.5 {
                made.append(LineChart.Point(last.x + step, nil))
            }
            made.append(LineChart.Point(point.at, point.value.isFinite ? point.value : nil))
        }
        return made
    }
}
