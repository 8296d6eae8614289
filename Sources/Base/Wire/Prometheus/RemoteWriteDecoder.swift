internal import Series

/// Remote write 1.0: `prometheus.WriteRequest` (prometheus/prompb `remote.proto`, `types.proto`).
package enum RemoteWrite {
    /// Most bytes that a request may have when decompressed; Prometheus's own limit is 32 MiB.
    package static let sizeLimit = 32 << 20

    /// Decodes the body of a remote write request.
    ///
    /// - Parameters:
    ///   - body: Snappy's block format over protobuf.
    ///   - batch: Gets the series appended; to be thrown away when this throws.
    ///   - limit: Most bytes after decompression.
    /// - Throws: `WireError`; `invalidSeries` names the series whose labels are unsorted or doubled, or whose histogram
    ///   contradicts itself.
    package static func decode(snappy body: [UInt8], into batch: inout WriteBatch, limit: Int = sizeLimit) throws {
        try decode(protobuf: try Snappy.decode(body, limit: limit), into: &batch)
    }

    /// The same, of a body that is decompressed already.
    package static func decode(protobuf body: [UInt8], into batch: inout WriteBatch) throws {
        try body.withUnsafeBufferPointer { bytes in
            try series(in: ProtobufReader(bytes), into: &batch) { tag, reader, batch in
                guard tag == 0x1a else { return try reader.skip(tag) }
                var message = try reader.message()
                batch.metadata.append(try metadata(&message))
            }
        }
    }

    /// Reads a message whose field 1 is a repeated `TimeSeries`.
    ///
    /// - Parameter other: Takes the other fields.
    static func series(
        in reader: ProtobufReader, into batch: inout WriteBatch,
        other: (UInt32, inout ProtobufReader, inout WriteBatch) throws -> Void
    ) throws {
        var reader = reader
        let base = batch.labelBytes.count
        let bytes = try LabelSpace.bytes(atMost: reader.bytes.count) { labels in
            while let tag = try reader.tag() {
                if tag == 0x0a {
                    var message = try reader.message()
                    try series(&message, into: &batch, labels: &labels, base: base)
                } else {
                    try other(tag, &reader, &batch)
                }
            }
        }
        if base == 0 { batch.labelBytes = bytes } else { batch.labelBytes.append(contentsOf: bytes) }
    }

    /// `TimeSeries`: labels, samples, exemplars and histograms, in any order.
    @inline(__always)
    private static func series(
        _ reader: inout ProtobufReader, into batch: inout WriteBatch, labels: inout LabelSpace, base: Int
    ) throws {
        let begun = batch.beginSeries()
        let start = labels.count
        labels.beginSeries()
        while let tag = try reader.tag() {
            switch tag {
            case 0x0a:
                var pair = try reader.message()
                try labels.add(&pair)
            case 0x12:
                var message = try reader.message()
                try sample(&message, into: &batch)
            case 0x1a:
                var message = try reader.message()
                batch.exemplars.append(try exemplar(&message))
            case 0x22:
                var message = try reader.message()
                let (time, histogram) = try FloatHistogram.decode(&message)
                if let wrong = histogram.contradiction {
                    throw WireError(.invalidSeries, "a histogram of \(labels.labels) \(wrong)")
                }
                batch.append(time, histogram)
            default: try reader.skip(tag)
            }
        }
        batch.endSeries(begun, labels: base + start..<base + labels.count)
    }

    @inline(__always)
    private static func sample(_ reader: inout ProtobufReader, into batch: inout WriteBatch) throws {
        var value = 0.0
        var time: Int64 = 0
        while let tag = try reader.tag() {
            switch tag {
            case 0x09: value = try reader.double()
            case 0x10: time = try reader.int64()
            default: try reader.skip(tag)
            }
        }
        batch.times.append(time)
        batch.values.append(value)
    }

    private static func exemplar(_ reader: inout ProtobufReader) throws -> Exemplar {
        var exemplar = Exemplar(labels: .none, value: 0, time: 0)
        let labels = try LabelSpace.bytes(atMost: reader.bytes.count) { labels in
            while let tag = try reader.tag() {
                switch tag {
                case 0x0a:
                    var pair = try reader.message()
                    try labels.add(&pair)
                case 0x11: exemplar.value = try reader.double()
                case 0x18: exemplar.time = try reader.int64()
                default: try reader.skip(tag)
                }
            }
        }
        exemplar.labels = Labels(encoded: labels)
        return exemplar
    }

    private static func metadata(_ reader: inout ProtobufReader) throws -> MetricMetadata {
        var metadata = MetricMetadata(family: "")
        while let tag = try reader.tag() {
            switch tag {
            case 0x08: metadata.kind = MetricMetadata.Kind(rawValue: UInt8(clamping: try reader.varint())) ?? .unknown
            case 0x12: metadata.family = try reader.string()
            case 0x22: metadata.help = try reader.string()
            case 0x2a: metadata.unit = try reader.string()
            default: try reader.skip(tag)
            }
        }
        return metadata
    }
}
