package import Series

/// `prometheus.Histogram` of `types.proto`: integer histograms carry their buckets as differences, floating-point ones
/// as absolute counts; both become ``FloatHistogram``.
extension FloatHistogram {
    /// Schemas of exponential buckets; -53 is the one beside them.
    package static let exponentialSchemas: ClosedRange<Int32> = -4...8

    /// Reads time (ms) and histogram.
    static func decode(_ reader: inout ProtobufReader) throws -> (time: Int64, FloatHistogram) {
        var histogram = FloatHistogram()
        var time: Int64 = 0
        var (positive, negative): ([Int64], [Int64]) = ([], [])
        while let tag = try reader.tag() {
            switch tag {
            case 0x08: histogram.count = Double(try reader.varint())
            case 0x11: histogram.count = try reader.double()
            case 0x19: histogram.sum = try reader.double()
            case 0x20: histogram.schema = Int32(truncatingIfNeeded: try reader.signed())
            case 0x29: histogram.zeroThreshold = try reader.double()
            case 0x30: histogram.zeroCount = Double(try reader.varint())
            case 0x39: histogram.zeroCount = try reader.double()
            case 0x42: histogram.negativeSpans.append(try span(&reader))
            case 0x4a: try reader.packedSigned(into: &negative)
            case 0x48: negative.append(try reader.signed())
            case 0x52: try reader.packedDoubles(into: &histogram.negativeBuckets)
            case 0x51: histogram.negativeBuckets.append(try reader.double())
            case 0x5a: histogram.positiveSpans.append(try span(&reader))
            case 0x62: try reader.packedSigned(into: &positive)
            case 0x60: positive.append(try reader.signed())
            case 0x6a: try reader.packedDoubles(into: &histogram.positiveBuckets)
            case 0x69: histogram.positiveBuckets.append(try reader.double())
            case 0x70: histogram.counterReset = CounterReset(rawValue: UInt8(clamping: try reader.varint())) ?? .unknown
            case 0x78: time = try reader.int64()
            // Field 16: two bytes of tag.
            case 0x82: try reader.packedDoubles(into: &histogram.customValues)
            case 0x81: histogram.customValues.append(try reader.double())
            default: try reader.skip(tag)
            }
        }
        if !positive.isEmpty { histogram.positiveBuckets = summed(positive) }
        if !negative.isEmpty { histogram.negativeBuckets = summed(negative) }
        return (time, histogram)
    }

    static func span(_ reader: inout ProtobufReader) throws -> Span {
        var span = Span(offset: 0, length: 0)
        var message = try reader.message()
        while let tag = try message.tag() {
            switch tag {
            case 0x08: span.offset = Int32(truncatingIfNeeded: try message.signed())
            case 0x10: span.length = try message.uint32()
            default: try message.skip(tag)
            }
        }
        return span
    }

    /// Absolute counts from differences; what would overflow wraps and is then found negative.
    static func summed(_ deltas: [Int64]) -> [Double] {
        var count: Int64 = 0
        return deltas.map { delta in
            count &+= delta
            return Double(count)
        }
    }

    /// Writes the histogram with floating-point counts.
    func encode(time: Int64, to writer: inout ProtobufWriter) {
        writer.presentDouble(2, count)
        writer.double(3, sum)
        writer.signed(4, Int64(schema))
        writer.double(5, zeroThreshold)
        writer.presentDouble(7, zeroCount)
        Self.encode(8, negativeSpans, to: &writer)
        writer.packedDoubles(10, negativeBuckets)
        Self.encode(11, positiveSpans, to: &writer)
        writer.packedDoubles(13, positiveBuckets)
        writer.unsigned(14, UInt64(counterReset.rawValue))
        writer.int64(15, time)
        writer.packedDoubles(16, customValues)
    }

    private static func encode(_ number: Int, _ spans: [Span], to writer: inout ProtobufWriter) {
        for span in spans {
            writer.message(number) { writer in
                writer.signed(1, Int64(span.offset))
                writer.unsigned(2, UInt64(span.length))
            }
        }
    }

    /// What is wrong with a histogram, as the end of a sentence that begins with it; nil when nothing is.
    ///
    /// The rules of Prometheus's `FloatHistogram.Validate`, and that no bucket lies beyond an `Int32`. A staleness
    /// marker (its sum is the marker) has no buckets to look at.
    package var contradiction: String? {
        if StaleMarker.isStale(sum) { return nil }
        guard usesCustomBuckets || Self.exponentialSchemas.contains(schema) else { return "has the schema \(schema)" }
        if usesCustomBuckets {
            if let wrong = customContradiction { return wrong }
        } else if !customValues.isEmpty {
            return "has custom bounds and an exponential schema"
        }
        if !(zeroThreshold >= 0) { return "has a negative zero threshold" }
        if !(zeroCount >= 0), !zeroCount.isNaN { return "has a negative zero bucket" }
        if count < 0 { return "has a negative count" }
        return Self.contradiction(positiveSpans, positiveBuckets, "positive")
            ?? Self.contradiction(negativeSpans, negativeBuckets, "negative")
    }

    private var customContradiction: String? {
        if !negativeSpans.isEmpty || !negativeBuckets.isEmpty { return "has custom bounds and negative buckets" }
        if zeroCount != 0 || zeroThreshold != 0 { return "has custom bounds and a zero bucket" }
        for (one, next) in zip(customValues, customValues.dropFirst()) where !(one < next) {
            return "has custom bounds that do not ascend"
        }
        if let last = customValues.last, !last.isFinite { return "has an infinite custom bound" }
        if let first = customValues.first, !first.isFinite { return "has an infinite custom bound" }
        let reach = positiveSpans.reduce(Int64(0)) { $0 + Int64($1.offset) + Int64($1.length) }
        // One bucket more than bounds: the last ends at +Inf.
        return reach > Int64(customValues.count) + 1 ? "has more custom buckets than bounds" : nil
    }

    private static func contradiction(_ spans: [Span], _ buckets: [Double], _ side: String) -> String? {
        var reach: Int64 = 0
        var length: Int64 = 0
        for (index, span) in spans.enumerated() {
            if index > 0, span.offset < 0 { return "has \(side) spans that go backwards" }
            reach += Int64(span.offset) + Int64(span.length)
            length += Int64(span.length)
        }
        if length != Int64(buckets.count) {
            return "has \(buckets.count) \(side) buckets, yet spans of \(length)"
        }
        if reach > Int64(Int32.max) { return "has \(side) buckets too far out" }
        for bucket in buckets where bucket < 0 { return "has a negative count in a \(side) bucket" }
        return nil
    }
}
