internal import Series

/// Turns one metric into series.
struct MetricTranslator {
    private let metric: OTLP.Metric
    private let base: [(name: String, value: String)]
    private let name: String
    /// Milliseconds of the first and last point.
    private(set) var times: (first: Int64, last: Int64)?

    init(_ metric: OTLP.Metric, base: [(name: String, value: String)], settings: OTLPTranslation) {
        self.metric = metric
        self.base = base
        var (isCounter, isGauge) = (false, false)
        if case .sum(_, _, let isMonotonic) = metric.data { isCounter = isMonotonic }
        if case .gauge = metric.data { isGauge = true }
        name = MetricNames.metric(metric.name, unit: metric.unit, isCounter: isCounter, isGauge: isGauge)
    }

    mutating func translate(into batch: inout WriteBatch, _ outcome: inout OTLPTranslation.Outcome) {
        guard !name.isEmpty else {
            return outcome.reject(pointCount, "the metric \"\(metric.name)\" has a name without letters or digits")
        }
        switch metric.data {
        case .none: break
        case .gauge(let points):
            tell(.gauge, in: &batch)
            for point in points { number(point, into: &batch) }
        case .sum(let points, let temporality, let isMonotonic):
            guard isCumulative(temporality, &outcome) else { return }
            tell(isMonotonic ? .counter : .gauge, in: &batch)
            for point in points { number(point, into: &batch) }
        case .histogram(let points, let temporality):
            guard isCumulative(temporality, &outcome) else { return }
            tell(.histogram, in: &batch)
            for point in points { histogram(point, into: &batch) }
        case .exponentialHistogram(let points, let temporality):
            guard isCumulative(temporality, &outcome) else { return }
            tell(.histogram, in: &batch)
            for point in points { exponential(point, into: &batch, &outcome) }
        case .summary(let points):
            tell(.summary, in: &batch)
            for point in points { summary(point, into: &batch) }
        }
    }

    private var pointCount: Int {
        switch metric.data {
        case .none: 0
        case .gauge(let points), .sum(let points, _, _): points.count
        case .histogram(let points, _): points.count
        case .exponentialHistogram(let points, _): points.count
        case .summary(let points): points.count
        }
    }

    private func isCumulative(_ temporality: OTLP.Temporality, _ outcome: inout OTLPTranslation.Outcome) -> Bool {
        if temporality == .cumulative { return true }
        outcome.reject(
            pointCount,
            temporality == .delta
                ? "the metric \"\(metric.name)\" has delta temporality: set the sender to cumulative "
                    + "(OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative)"
                : "the metric \"\(metric.name)\" does not tell its temporality")
        return false
    }

    private func tell(_ kind: MetricMetadata.Kind, in batch: inout WriteBatch) {
        batch.metadata.append(
            MetricMetadata(family: name, kind: kind, help: metric.description, unit: metric.unit))
    }

    private mutating func time(_ head: OTLP.PointHead) -> Int64 {
        let time = OTLPTranslation.milliseconds(head.time)
        times = (min(times?.first ?? time, time), max(times?.last ?? time, time))
        return time
    }

    private func labels(_ head: OTLP.PointHead, _ suffix: String, _ extra: (name: String, value: String)? = nil)
        -> Labels
    {
        OTLPTranslation.labels(
            head.attributes, over: base, then: [("__name__", name + suffix)] + (extra.map { [$0] } ?? []))
    }

    private mutating func number(_ point: OTLP.NumberPoint, into batch: inout WriteBatch) {
        let time = time(point.head)
        let value = point.head.hasNoRecordedValue ? StaleMarker.value : point.value ?? 0
        batch.append(labels(point.head, "")) { batch in
            batch.append(time, value)
            batch.exemplars += OTLPTranslation.exemplars(point.head)
        }
    }

    private mutating func histogram(_ point: OTLP.HistogramPoint, into batch: inout WriteBatch) {
        let time = time(point.head)
        func recorded(_ value: Double) -> Double { point.head.hasNoRecordedValue ? StaleMarker.value : value }
        if let sum = point.sum { batch.append(labels(point.head, "_sum"), time, recorded(sum)) }
        batch.append(labels(point.head, "_count"), time, recorded(Double(point.count)))
        var exemplars = OTLPTranslation.exemplars(point.head)
        var total = 0.0
        // A few bounds are searched for each exemplar: they come in order.
        for (bound, count) in zip(point.bounds, point.bucketCounts) {
            total += Double(count)
            let inside = exemplars.filter { $0.value <= bound }
            exemplars.removeAll { $0.value <= bound }
            batch.append(labels(point.head, "_bucket", ("le", GoFloat.plain(bound)))) { batch in
                batch.append(time, recorded(total))
                batch.exemplars += inside
            }
        }
        batch.append(labels(point.head, "_bucket", ("le", "+Inf"))) { batch in
            batch.append(time, recorded(Double(point.count)))
            batch.exemplars += exemplars
        }
    }

    private mutating func exponential(
        _ point: OTLP.ExponentialPoint, into batch: inout WriteBatch, _ outcome: inout OTLPTranslation.Outcome
    ) {
        let (native, reason) = OTLPTranslation.native(point)
        guard let native, native.contradiction == nil else {
            return outcome.reject(1, "a point of the metric \"\(metric.name)\" \(native?.contradiction ?? reason)")
        }
        let time = time(point.head)
        batch.append(labels(point.head, "")) { batch in
            batch.append(time, native)
            batch.exemplars += OTLPTranslation.exemplars(point.head)
        }
    }

    private mutating func summary(_ point: OTLP.SummaryPoint, into batch: inout WriteBatch) {
        let time = time(point.head)
        func recorded(_ value: Double) -> Double { point.head.hasNoRecordedValue ? StaleMarker.value : value }
        batch.append(labels(point.head, "_sum"), time, recorded(point.sum))
        batch.append(labels(point.head, "_count"), time, recorded(Double(point.count)))
        for quantile in point.quantiles {
            let label = ("quantile", GoFloat.plain(quantile.quantile))
            batch.append(labels(point.head, "", label), time, recorded(quantile.value))
        }
    }
}
