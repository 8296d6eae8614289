extension OTLP {
    package enum Temporality: UInt8, Sendable { case unspecified, delta, cumulative }

    package struct Metric: Hashable, Sendable {
        package enum Data: Hashable, Sendable {
            /// None, or one that is not known here.
            case none
            case gauge([NumberPoint])
            case sum([NumberPoint], Temporality, isMonotonic: Bool)
            case histogram([HistogramPoint], Temporality)
            case exponentialHistogram([ExponentialPoint], Temporality)
            case summary([SummaryPoint])
        }

        package var name = ""
        package var description = ""
        package var unit = ""
        package var data = Data.none

        package init() {}
    }

    /// What every data point has. Times are nanoseconds since 1970.
    package struct PointHead: Hashable, Sendable {
        package var attributes: [Attribute] = []
        package var start: UInt64 = 0
        package var time: UInt64 = 0
        package var flags: UInt32 = 0
        package var exemplars: [PointExemplar] = []

        package init() {}

        /// The source says that there is no value from now on.
        package var hasNoRecordedValue: Bool { flags & 1 != 0 }
    }

    package struct NumberPoint: Hashable, Sendable {
        package var head = PointHead()
        package var value: Double?

        package init() {}
    }

    package struct HistogramPoint: Hashable, Sendable {
        package var head = PointHead()
        package var count: UInt64 = 0
        package var sum: Double?
        /// One more than bounds, or none at all.
        package var bucketCounts: [UInt64] = []
        package var bounds: [Double] = []

        package init() {}
    }

    package struct ExponentialPoint: Hashable, Sendable {
        package struct Buckets: Hashable, Sendable {
            package var offset: Int32 = 0
            package var counts: [UInt64] = []
        }

        package var head = PointHead()
        package var count: UInt64 = 0
        package var sum: Double?
        package var scale: Int32 = 0
        package var zeroCount: UInt64 = 0
        package var zeroThreshold = 0.0
        package var positive = Buckets()
        package var negative = Buckets()

        package init() {}
    }

    package struct SummaryPoint: Hashable, Sendable {
        package struct Quantile: Hashable, Sendable {
            package var quantile = 0.0
            package var value = 0.0
        }

        package var head = PointHead()
        package var count: UInt64 = 0
        package var sum = 0.0
        package var quantiles: [Quantile] = []

        package init() {}
    }

    package struct PointExemplar: Hashable, Sendable {
        package var attributes: [Attribute] = []
        package var time: UInt64 = 0
        package var value = 0.0
        package var traceID = TraceID.none
        package var spanID = SpanID.none

        package init() {}
    }

    /// Decodes an `ExportMetricsServiceRequest`.
    ///
    /// - Throws: `WireError`.
    package static func decodeMetrics(_ body: [UInt8], _ encoding: Encoding) throws -> [Batch<Metric>] {
        try decode(body, encoding, root: .metrics, item: metric)
    }

    private static func metric(_ reader: inout ProtobufReader) throws -> Metric {
        var metric = Metric()
        while let tag = try reader.tag() {
            switch tag {
            case 0x0a: metric.name = try reader.string()
            case 0x12: metric.description = try reader.string()
            case 0x1a: metric.unit = try reader.string()
            case 0x2a: metric.data = .gauge(try points(reader.message(), number).points)
            case 0x3a:
                let sum = try points(reader.message(), number)
                metric.data = .sum(sum.points, sum.temporality, isMonotonic: sum.isMonotonic)
            case 0x4a:
                let found = try points(reader.message(), histogram)
                metric.data = .histogram(found.points, found.temporality)
            case 0x52:
                let found = try points(reader.message(), exponential)
                metric.data = .exponentialHistogram(found.points, found.temporality)
            case 0x5a: metric.data = .summary(try points(reader.message(), summary).points)
            default: try reader.skip(tag)
            }
        }
        return metric
    }

    /// `Gauge`, `Sum`, `Histogram` …: points are field 1, the temporality 2, whether it only grows 3.
    private static func points<Point>(
        _ reader: ProtobufReader, _ point: (inout ProtobufReader) throws -> Point
    ) throws -> (points: [Point], temporality: Temporality, isMonotonic: Bool) {
        var reader = reader
        var found = (points: [Point](), temporality: Temporality.unspecified, isMonotonic: false)
        while let tag = try reader.tag() {
            switch tag {
            case 0x0a:
                var message = try reader.message()
                found.points.append(try point(&message))
            case 0x10: found.temporality = Temporality(rawValue: UInt8(clamping: try reader.varint())) ?? .unspecified
            case 0x18: found.isMonotonic = try reader.bool()
            default: try reader.skip(tag)
            }
        }
        return found
    }

    private static func number(_ reader: inout ProtobufReader) throws -> NumberPoint {
        var point = NumberPoint()
        while let tag = try reader.tag() {
            switch tag {
            case 0x11: point.head.start = try reader.fixed64()
            case 0x19: point.head.time = try reader.fixed64()
            case 0x21: point.value = try reader.double()
            case 0x2a: point.head.exemplars.append(try exemplar(reader.message()))
            case 0x31: point.value = Double(Int64(bitPattern: try reader.fixed64()))
            case 0x3a: try append(reader.message(), to: &point.head)
            case 0x40: point.head.flags = try reader.uint32()
            default: try reader.skip(tag)
            }
        }
        return point
    }

    private static func histogram(_ reader: inout ProtobufReader) throws -> HistogramPoint {
        var point = HistogramPoint()
        while let tag = try reader.tag() {
            switch tag {
            case 0x11: point.head.start = try reader.fixed64()
            case 0x19: point.head.time = try reader.fixed64()
            case 0x21: point.count = try reader.fixed64()
            case 0x29: point.sum = try reader.double()
            case 0x32: try reader.packedFixed64(into: &point.bucketCounts)
            case 0x31: point.bucketCounts.append(try reader.fixed64())
            case 0x3a: try reader.packedDoubles(into: &point.bounds)
            case 0x39: point.bounds.append(try reader.double())
            case 0x42: point.head.exemplars.append(try exemplar(reader.message()))
            case 0x4a: try append(reader.message(), to: &point.head)
            case 0x50: point.head.flags = try reader.uint32()
            default: try reader.skip(tag)
            }
        }
        return point
    }

    private static func exponential(_ reader: inout ProtobufReader) throws -> ExponentialPoint {
        var point = ExponentialPoint()
        while let tag = try reader.tag() {
            switch tag {
            case 0x0a: try append(reader.message(), to: &point.head)
            case 0x11: point.head.start = try reader.fixed64()
            case 0x19: point.head.time = try reader.fixed64()
            case 0x21: point.count = try reader.fixed64()
            case 0x29: point.sum = try reader.double()
            case 0x30: point.scale = Int32(truncatingIfNeeded: try reader.signed())
            case 0x39: point.zeroCount = try reader.fixed64()
            case 0x42: point.positive = try buckets(reader.message())
            case 0x4a: point.negative = try buckets(reader.message())
            case 0x50: point.head.flags = try reader.uint32()
            case 0x5a: point.head.exemplars.append(try exemplar(reader.message()))
            case 0x71: point.zeroThreshold = try reader.double()
            default: try reader.skip(tag)
            }
        }
        return point
    }

    private static func buckets(_ reader: ProtobufReader) throws -> ExponentialPoint.Buckets {
        var (reader, buckets) = (reader, ExponentialPoint.Buckets())
        while let tag = try reader.tag() {
            switch tag {
            case 0x08: buckets.offset = Int32(truncatingIfNeeded: try reader.signed())
            case 0x12: try reader.packedVarints(into: &buckets.counts)
            case 0x10: buckets.counts.append(try reader.varint())
            default: try reader.skip(tag)
            }
        }
        return buckets
    }

    private static func summary(_ reader: inout ProtobufReader) throws -> SummaryPoint {
        var point = SummaryPoint()
        while let tag = try reader.tag() {
            switch tag {
            case 0x11: point.head.start = try reader.fixed64()
            case 0x19: point.head.time = try reader.fixed64()
            case 0x21: point.count = try reader.fixed64()
            case 0x29: point.sum = try reader.double()
            case 0x32:
                var (message, quantile) = (try reader.message(), SummaryPoint.Quantile())
                while let tag = try message.tag() {
                    switch tag {
                    case 0x09: quantile.quantile = try message.double()
                    case 0x11: quantile.value = try message.double()
                    default: try message.skip(tag)
                    }
                }
                point.quantiles.append(quantile)
            case 0x3a: try append(reader.message(), to: &point.head)
            case 0x40: point.head.flags = try reader.uint32()
            default: try reader.skip(tag)
            }
        }
        return point
    }

    private static func append(_ message: ProtobufReader, to head: inout PointHead) throws {
        var message = message
        head.attributes.append(try attribute(&message))
    }

    private static func exemplar(_ reader: ProtobufReader) throws -> PointExemplar {
        var (reader, exemplar) = (reader, PointExemplar())
        while let tag = try reader.tag() {
            switch tag {
            case 0x11: exemplar.time = try reader.fixed64()
            case 0x19: exemplar.value = try reader.double()
            case 0x22: exemplar.spanID = try spanID(reader.data())
            case 0x2a: exemplar.traceID = try traceID(reader.data())
            case 0x31: exemplar.value = Double(Int64(bitPattern: try reader.fixed64()))
            case 0x3a:
                var message = try reader.message()
                exemplar.attributes.append(try attribute(&message))
            default: try reader.skip(tag)
            }
        }
        return exemplar
    }
}
