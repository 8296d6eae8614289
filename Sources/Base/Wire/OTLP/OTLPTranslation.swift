internal import Series

/// Turns OTLP metrics into series as Prometheus 3's own OTLP endpoint does with its default settings.
///
/// `job` is `service.namespace/service.name`, `instance` is `service.instance.id`; the other attributes of the resource
/// stand on `target_info`. Explicit histograms become classic ones, exponential histograms native ones. A point without
/// a recorded value becomes a staleness marker.
///
/// Delta sums and delta histograms are refused, as Prometheus does by default: to add them up takes a state for each
/// series that would be lost with the process, and with it the counter. Their points are counted as rejected and the
/// message says how to switch the sender over.
package struct OTLPTranslation: Sendable {
    /// Attributes of the resource that every series gets as labels, too.
    package var promotedAttributes: Set<String>
    /// Buckets of one side of an exponential histogram, after scaling down.
    package static let bucketLimit = 10_000
    /// Characters of an exemplar's labels (OpenMetrics 1.0).
    private static let exemplarLimit = 128
    /// Width of the zero bucket where the sender does not tell it.
    private static let zeroThreshold = 1e-128
    /// `target_info` is repeated at this distance between an export's first and last time: half of the look-back of a
    /// query.
    private static let infoInterval: Int64 = 150_000
    private static let infoLimit = 100
    private static let identifying = ["service.name", "service.namespace", "service.instance.id"]

    package init(promotedAttributes: Set<String> = []) { self.promotedAttributes = promotedAttributes }

    /// Points that were not taken, and the first reason.
    package struct Outcome: Sendable, Hashable {
        package var rejected = 0
        package var message = ""

        mutating func reject(_ count: Int, _ reason: String) {
            if message.isEmpty { message = reason }
            rejected += count
        }
    }

    /// Appends the series of all metrics to the batch.
    package func translate(_ batches: [OTLP.Batch<OTLP.Metric>], into batch: inout WriteBatch) -> Outcome {
        var outcome = Outcome()
        for resource in batches {
            let base = baseLabels(resource.resource)
            var times: (first: Int64, last: Int64)?
            for metric in resource.parts.lazy.flatMap(\.items) {
                var translator = MetricTranslator(metric, base: base, settings: self)
                translator.translate(into: &batch, &outcome)
                guard let found = translator.times else { continue }
                times = (min(times?.first ?? found.first, found.first), max(times?.last ?? found.last, found.last))
            }
            if let times { targetInfo(resource.resource, base, times, into: &batch) }
        }
        return outcome
    }

    /// `job`, `instance` and what is promoted.
    private func baseLabels(_ resource: OTLP.Resource) -> [(name: String, value: String)] {
        var labels: [(name: String, value: String)] = []
        for attribute in resource.attributes where promotedAttributes.contains(attribute.key) {
            labels.append((MetricNames.label(attribute.key), attribute.value.text))
        }
        if let name = resource["service.name"] {
            let namespace = resource["service.namespace"].map { $0.text + "/" } ?? ""
            labels.append(("job", namespace + name.text))
        }
        if let instance = resource["service.instance.id"] { labels.append(("instance", instance.text)) }
        return labels
    }

    /// Tells the resource's other attributes, so that they can be joined; without `job` or `instance` nothing could be.
    private func targetInfo(
        _ resource: OTLP.Resource, _ base: [(name: String, value: String)], _ times: (first: Int64, last: Int64),
        into batch: inout WriteBatch
    ) {
        let others = resource.attributes.filter { !Self.identifying.contains($0.key) }
        guard !others.isEmpty, base.contains(where: { $0.name == "job" || $0.name == "instance" }) else { return }
        let identity = base.filter { $0.name == "job" || $0.name == "instance" }
        let labels = Self.labels(others, over: [], then: identity + [("__name__", "target_info")])
        var moments = [times.last]
        while let last = moments.last, last - times.first > Self.infoInterval, moments.count < Self.infoLimit {
            moments.append(last - Self.infoInterval)
        }
        batch.append(labels) { batch in
            for time in moments.reversed() { batch.append(time, 1) }
        }
    }

    /// Attributes as labels, those of one name joined by semicolons in the order of their keys; `then` goes over them
    /// all.
    static func labels(
        _ attributes: [OTLP.Attribute], over base: [(name: String, value: String)],
        then extra: [(name: String, value: String)]
    ) -> Labels {
        var pairs: [(name: String, value: String)] = []
        for attribute in attributes.sorted(by: { $0.key < $1.key }) {
            let name = MetricNames.label(attribute.key)
            guard !name.isEmpty else { continue }
            if let index = pairs.firstIndex(where: { $0.name == name }) {
                pairs[index].value += ";" + attribute.value.text
            } else {
                pairs.append((name, attribute.value.text))
            }
        }
        // What is promoted gives way to a point's own attributes; job and instance do not.
        let promoted = base.filter { pair in
            pair.name == "job" || pair.name == "instance" || !pairs.contains { $0.name == pair.name }
        }
        return Labels(pairs + promoted + extra)
    }

    static func exemplars(_ head: OTLP.PointHead) -> [Exemplar] {
        head.exemplars.map { exemplar in
            var pairs: [(name: String, value: String)] = []
            if !exemplar.traceID.isEmpty { pairs.append(("trace_id", exemplar.traceID.hex)) }
            if !exemplar.spanID.isEmpty { pairs.append(("span_id", exemplar.spanID.hex)) }
            let others = exemplar.attributes.map { (name: $0.key, value: $0.value.text) }
            let size = (pairs + others).reduce(0) { $0 + $1.name.unicodeScalars.count + $1.value.unicodeScalars.count }
            if size <= exemplarLimit { pairs = others + pairs }
            return Exemplar(labels: Labels(pairs), value: exemplar.value, time: milliseconds(exemplar.time))
        }
    }

    static func milliseconds(_ nanoseconds: UInt64) -> Int64 { Int64(nanoseconds / 1_000_000) }

    /// A native histogram of an exponential one; nil, and why not, in the message.
    static func native(_ point: OTLP.ExponentialPoint) -> (histogram: FloatHistogram?, reason: String) {
        var histogram = FloatHistogram()
        guard point.scale >= FloatHistogram.exponentialSchemas.lowerBound else {
            return (nil, "has the scale \(point.scale), below -4")
        }
        histogram.schema = min(point.scale, FloatHistogram.exponentialSchemas.upperBound)
        let scaleDown = point.scale - histogram.schema
        histogram.zeroThreshold = point.zeroThreshold > 0 ? point.zeroThreshold : zeroThreshold
        histogram.zeroCount = Double(point.zeroCount)
        guard let positive = spans(point.positive, scaleDown), let negative = spans(point.negative, scaleDown) else {
            return (nil, "has more than \(bucketLimit) buckets, or some too far out")
        }
        (histogram.positiveSpans, histogram.positiveBuckets) = positive
        (histogram.negativeSpans, histogram.negativeBuckets) = negative
        histogram.count = Double(point.count)
        histogram.sum = point.sum ?? 0
        if point.head.hasNoRecordedValue {
            (histogram.count, histogram.sum) = (StaleMarker.value, StaleMarker.value)
        }
        return (histogram, "")
    }

    /// Sparse buckets of dense ones. OTLP's bucket 0 begins at 1, Prometheus's ends there: hence one more. Each step of
    /// scaling down merges two neighbours. Gaps of up to two empty buckets are cheaper to keep than a new span.
    private static func spans(
        _ buckets: OTLP.ExponentialPoint.Buckets, _ scaleDown: Int32
    ) -> (spans: [FloatHistogram.Span], counts: [Double])? {
        var (spans, counts): ([FloatHistogram.Span], [Double]) = ([], [])
        // The index after the last bucket written.
        var next: Int64 = 0
        for (place, count) in buckets.counts.enumerated() where count > 0 {
            let index = (Int64(buckets.offset) + Int64(place)) >> Int64(min(scaleDown, 62)) + 1
            if index == next - 1, !spans.isEmpty {
                counts[counts.count - 1] += Double(count)
                continue
            }
            guard let offset = Int32(exactly: index - next), counts.count < bucketLimit else { return nil }
            if spans.isEmpty || offset > 2 {
                spans.append(FloatHistogram.Span(offset: offset, length: 1))
            } else {
                counts.append(contentsOf: repeatElement(0, count: Int(offset)))
                spans[spans.count - 1].length += UInt32(offset) + 1
            }
            counts.append(Double(count))
            next = index + 1
        }
        return (spans, counts)
    }
}
