internal import Series

/// Reads `io.prometheus.client.MetricFamily` messages, each behind its length (prometheus/client_model
/// `metrics.proto`).
struct MetricFamilyParser {
    let time: Int64
    let keepsClassicBuckets: Bool

    private struct Family {
        var metadata = MetricMetadata(family: "")
        var type: UInt64 = 0
    }

    /// What of a metric belongs to each of its series.
    private struct Metric {
        var labels: [(name: UnsafeBufferPointer<UInt8>, value: UnsafeBufferPointer<UInt8>)] = []
        var time: Int64?
    }

    private struct Bucket {
        var bound = 0.0
        var count = 0.0
        var exemplar: Exemplar?
    }

    private struct Histogram {
        var native = FloatHistogram()
        var hasNative = false
        var buckets: [Bucket] = []
        var exemplars: [Exemplar] = []
        var (positive, negative): ([Int64], [Int64]) = ([], [])
    }

    func parse(_ bytes: UnsafeBufferPointer<UInt8>, into batch: inout WriteBatch) throws {
        var reader = ProtobufReader(bytes)
        while !reader.isAtEnd {
            let message = try reader.message()
            try family(message, into: &batch)
        }
    }

    private func family(_ message: ProtobufReader, into batch: inout WriteBatch) throws {
        var family = Family()
        // Name and type may come after the metrics: two passes.
        var first = message
        while let tag = try first.tag() {
            switch tag {
            case 0x0a: family.metadata.family = try first.string()
            case 0x12: family.metadata.help = try first.string()
            case 0x18: family.type = try first.varint()
            case 0x2a: family.metadata.unit = try first.string()
            default: try first.skip(tag)
            }
        }
        guard !family.metadata.family.isEmpty else { throw WireError.malformed("a metric family has no name") }
        let kinds: [MetricMetadata.Kind] = [.counter, .gauge, .summary, .unknown, .histogram, .gaugeHistogram]
        guard family.type < kinds.count else {
            throw WireError.malformed("a metric family has the type \(family.type)")
        }
        family.metadata.kind = kinds[Int(family.type)]
        batch.metadata.append(family.metadata)
        var second = message
        while let tag = try second.tag() {
            if tag == 0x22 { try metric(try second.message(), family, into: &batch) } else { try second.skip(tag) }
        }
    }

    private func metric(_ message: ProtobufReader, _ family: Family, into batch: inout WriteBatch) throws {
        var metric = Metric()
        var first = message
        while let tag = try first.tag() {
            switch tag {
            case 0x0a: metric.labels.append(try label(try first.message()))
            case 0x30: metric.time = try first.int64()
            default: try first.skip(tag)
            }
        }
        var second = message
        while let tag = try second.tag() {
            switch tag {
            case 0x12, 0x1a, 0x2a: try number(try second.message(), metric, family, into: &batch)
            case 0x22: try summary(try second.message(), metric, family, into: &batch)
            case 0x3a: try histogram(try second.message(), metric, family, into: &batch)
            default: try second.skip(tag)
            }
        }
    }

    private func label(
        _ message: ProtobufReader
    ) throws -> (name: UnsafeBufferPointer<UInt8>, value: UnsafeBufferPointer<UInt8>) {
        var message = message
        let empty = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
        var pair = (name: empty, value: empty)
        while let tag = try message.tag() {
            switch tag {
            case 0x0a: pair.name = try message.text()
            case 0x12: pair.value = try message.text()
            default: try message.skip(tag)
            }
        }
        guard !pair.name.isEmpty else { throw WireError(.invalidSeries, "a label has no name") }
        return pair
    }

    /// `Gauge`, `Counter`, `Untyped`: their value is field 1; a counter has an exemplar.
    private func number(
        _ message: ProtobufReader, _ metric: Metric, _ family: Family, into batch: inout WriteBatch
    ) throws {
        var (message, value) = (message, 0.0)
        var exemplars: [Exemplar] = []
        while let tag = try message.tag() {
            switch tag {
            case 0x09: value = try message.double()
            case 0x12: exemplars.append(try exemplar(try message.message()))
            default: try message.skip(tag)
            }
        }
        try series(metric, family.metadata.family, value, exemplars: exemplars, into: &batch)
    }

    private func summary(
        _ message: ProtobufReader, _ metric: Metric, _ family: Family, into batch: inout WriteBatch
    ) throws {
        var (message, count, sum) = (message, 0.0, 0.0)
        var quantiles: [(Double, Double)] = []
        while let tag = try message.tag() {
            switch tag {
            case 0x08: count = Double(try message.varint())
            case 0x11: sum = try message.double()
            case 0x1a:
                var (part, quantile) = (try message.message(), (0.0, 0.0))
                while let tag = try part.tag() {
                    switch tag {
                    case 0x09: quantile.0 = try part.double()
                    case 0x11: quantile.1 = try part.double()
                    default: try part.skip(tag)
                    }
                }
                quantiles.append(quantile)
            default: try message.skip(tag)
            }
        }
        let name = family.metadata.family
        try series(metric, name + "_count", count, into: &batch)
        try series(metric, name + "_sum", sum, into: &batch)
        for (quantile, value) in quantiles {
            try series(metric, name, value, extra: ("quantile", GoFloat.openMetrics(quantile)), into: &batch)
        }
    }

    private func histogram(
        _ message: ProtobufReader, _ metric: Metric, _ family: Family, into batch: inout WriteBatch
    ) throws {
        let histogram = try histogram(message)
        let name = family.metadata.family
        if histogram.hasNative {
            var native = histogram.native
            if family.metadata.kind == .gaugeHistogram { native.counterReset = .gauge }
            if let wrong = native.contradiction { throw WireError(.invalidSeries, "a histogram of \(name) \(wrong)") }
            var begun = batch.beginSeries()
            begun.hasOwnTime = metric.time != nil
            try write(metric, name, extra: nil, into: &batch)
            batch.append(metric.time ?? time, native)
            batch.exemplars +=
                histogram.exemplars.isEmpty ? histogram.buckets.compactMap(\.exemplar) : histogram.exemplars
            batch.endSeries(begun)
            guard keepsClassicBuckets else { return }
        }
        try series(metric, name + "_count", histogram.native.count, into: &batch)
        try series(metric, name + "_sum", histogram.native.sum, into: &batch)
        for bucket in histogram.buckets {
            try series(
                metric, name + "_bucket", bucket.count, extra: ("le", GoFloat.openMetrics(bucket.bound)),
                exemplars: bucket.exemplar.map { [$0] } ?? [], into: &batch)
        }
        // The last bucket may be left out on the wire.
        if histogram.buckets.last?.bound != .infinity {
            try series(metric, name + "_bucket", histogram.native.count, extra: ("le", "+Inf"), into: &batch)
        }
    }

    private func histogram(_ message: ProtobufReader) throws -> Histogram {
        var (reader, histogram) = (message, Histogram())
        while let tag = try reader.tag() {
            switch tag {
            case 0x08: histogram.native.count = Double(try reader.varint())
            case 0x11: histogram.native.sum = try reader.double()
            case 0x1a: histogram.buckets.append(try bucket(try reader.message()))
            case 0x21: histogram.native.count = try reader.double()
            case 0x28: histogram.native.schema = Int32(truncatingIfNeeded: try reader.signed())
            case 0x31: histogram.native.zeroThreshold = try reader.double()
            case 0x38: histogram.native.zeroCount = Double(try reader.varint())
            case 0x41: histogram.native.zeroCount = try reader.double()
            case 0x4a: histogram.native.negativeSpans.append(try FloatHistogram.span(&reader))
            case 0x50: histogram.negative.append(try reader.signed())
            case 0x52: try reader.packedSigned(into: &histogram.negative)
            case 0x59: histogram.native.negativeBuckets.append(try reader.double())
            case 0x5a: try reader.packedDoubles(into: &histogram.native.negativeBuckets)
            case 0x62: histogram.native.positiveSpans.append(try FloatHistogram.span(&reader))
            case 0x68: histogram.positive.append(try reader.signed())
            case 0x6a: try reader.packedSigned(into: &histogram.positive)
            case 0x71: histogram.native.positiveBuckets.append(try reader.double())
            case 0x72: try reader.packedDoubles(into: &histogram.native.positiveBuckets)
            // Field 16: two bytes of tag.
            case 0x82: histogram.exemplars.append(try exemplar(try reader.message()))
            default: try reader.skip(tag)
            }
        }
        if !histogram.positive.isEmpty { histogram.native.positiveBuckets = FloatHistogram.summed(histogram.positive) }
        if !histogram.negative.isEmpty { histogram.native.negativeBuckets = FloatHistogram.summed(histogram.negative) }
        // A histogram without observations is told to be native by a span without buckets or by its zero bucket's
        // width.
        let native = histogram.native
        histogram.hasNative =
            !native.positiveSpans.isEmpty || !native.negativeSpans.isEmpty || native.zeroThreshold > 0
            || native.zeroCount > 0
        return histogram
    }

    private func bucket(_ message: ProtobufReader) throws -> Bucket {
        var (message, bucket) = (message, Bucket())
        while let tag = try message.tag() {
            switch tag {
            case 0x08: bucket.count = Double(try message.varint())
            case 0x11: bucket.bound = try message.double()
            case 0x1a: bucket.exemplar = try exemplar(try message.message())
            case 0x21: bucket.count = try message.double()
            default: try message.skip(tag)
            }
        }
        return bucket
    }

    private func exemplar(_ message: ProtobufReader) throws -> Exemplar {
        var (message, exemplar) = (message, Exemplar(labels: .none, value: 0, time: nil))
        var labels = LabelCollector()
        while let tag = try message.tag() {
            switch tag {
            case 0x0a:
                let pair = try label(try message.message())
                try labels.add(pair.name, pair.value)
            case 0x11: exemplar.value = try message.double()
            case 0x1a:
                // `google.protobuf.Timestamp`.
                var (stamp, seconds, nanos) = (try message.message(), Int64(0), Int64(0))
                while let tag = try stamp.tag() {
                    switch tag {
                    case 0x08: seconds = try stamp.int64()
                    case 0x10: nanos = try stamp.int64()
                    default: try stamp.skip(tag)
                    }
                }
                exemplar.time = seconds &* 1_000 &+ nanos / 1_000_000
            default: try message.skip(tag)
            }
        }
        var encoded: [UInt8] = []
        try labels.write(to: &encoded)
        exemplar.labels = Labels(encoded: encoded)
        return exemplar
    }

    private func series(
        _ metric: Metric, _ name: String, _ value: Double, extra: (String, String)? = nil, exemplars: [Exemplar] = [],
        into batch: inout WriteBatch
    ) throws {
        var begun = batch.beginSeries()
        begun.hasOwnTime = metric.time != nil
        try write(metric, name, extra: extra, into: &batch)
        batch.append(metric.time ?? time, value)
        batch.exemplars += exemplars
        batch.endSeries(begun)
    }

    private func write(
        _ metric: Metric, _ name: String, extra: (String, String)?, into batch: inout WriteBatch
    ) throws {
        var labels = LabelCollector()
        try labels.add(Labels.metricNameLabel, name)
        for label in metric.labels { try labels.add(label.name, label.value) }
        if let extra { try labels.add(extra.0, extra.1) }
        do {
            try labels.write(to: &batch.labelBytes)
        } catch let error as WireError {
            throw WireError(error.code, "\(error.description), in a series of \(name)")
        }
    }
}
