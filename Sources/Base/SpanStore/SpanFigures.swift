package import Series
internal import Synchronization

/// Counters of spans since the store was opened: the figures that a service is watched by (requests, errors, durations).
struct SpanFigures {
    /// Upper bounds of the buckets, milliseconds: those of OpenTelemetry's span metrics connector.
    static let bounds: [Double] = [2, 4, 6, 8, 10, 50, 100, 200, 400, 800, 1_000, 1_400, 2_000, 5_000, 10_000, 15_000]
    /// Takes the spans of operations beyond the limit.
    static let otherOperation = "other"

    struct Operation {
        /// By status.
        var calls = [0, 0, 0]
        var buckets = [Int](repeating: 0, count: bounds.count + 1)
        var milliseconds = 0.0
    }

    private(set) var operations: [SpanOperation: Operation] = [:]

    mutating func count(_ span: Span, _ limit: Int) {
        var key = SpanOperation(service: span.service, name: span.operation, kind: span.kind)
        if operations.count >= limit, operations[key] == nil {
            key = SpanOperation(service: span.service, name: Self.otherOperation, kind: span.kind)
            if operations.count >= limit * 2, operations[key] == nil {
                key = SpanOperation(service: Self.otherOperation, name: Self.otherOperation, kind: span.kind)
            }
        }
        let milliseconds = Double(span.duration) / 1e6
        let bucket = Self.bounds.firstIndex { milliseconds <= $0 } ?? Self.bounds.count
        operations[key, default: Operation()].calls[Int(span.status.rawValue)] += 1
        operations[key, default: Operation()].buckets[bucket] += 1
        operations[key, default: Operation()].milliseconds += milliseconds
    }
}

extension SpanStore {
    /// One value of a counter.
    package struct Figure: Sendable, Hashable {
        package let labels: Labels
        package let value: Double
    }

    /// Counters of spans since the store was opened, named as OpenTelemetry's span metrics connector and Prometheus name them:
    /// `traces_span_metrics_calls_total` by `status_code`, and the histogram `traces_span_metrics_duration_milliseconds`, each by
    /// `service_name`, `span_name` and `span_kind`. They begin at zero with each opening, as counters may.
    package func figures() -> [Figure] {
        let operations = state.withLock { $0.figures.operations }
        var figures: [Figure] = []
        for (key, operation) in operations.sorted(by: { $0.key < $1.key }) {
            let base = [
                "service_name": key.service, "span_name": key.name,
                "span_kind": "SPAN_KIND_\(key.kind.name.uppercased())",
            ]
            func add(_ name: String, _ label: (String, String)?, _ value: Double) {
                var labels = base
                labels[Labels.metricNameLabel] = "traces_span_metrics_\(name)"
                if let label { labels[label.0] = label.1 }
                figures.append(Figure(labels: Labels(labels), value: value))
            }
            for (status, calls) in zip(["UNSET", "OK", "ERROR"], operation.calls) where calls > 0 {
                add("calls_total", ("status_code", "STATUS_CODE_\(status)"), Double(calls))
            }
            var total = 0
            for (place, count) in operation.buckets.enumerated() {
                total += count
                let bound = place < SpanFigures.bounds.count ? String(Int(SpanFigures.bounds[place])) : "+Inf"
                add("duration_milliseconds_bucket", ("le", bound), Double(total))
            }
            add("duration_milliseconds_sum", nil, operation.milliseconds)
            add("duration_milliseconds_count", nil, Double(total))
        }
        return figures
    }
}
