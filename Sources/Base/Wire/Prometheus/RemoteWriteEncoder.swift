internal import Series

extension RemoteWrite {
    /// Samples in one request, as Prometheus sends by default (`max_samples_per_send`).
    package static let samplesPerRequest = 2_000

    /// Encodes a batch into the bodies of remote write requests, compressed, none with more samples than `limit`. A
    /// series with more samples than that goes into several requests, in their order; exemplars go with the first of
    /// them, and metadata with the first request.
    package static func encode(_ batch: WriteBatch, samplesPerRequest limit: Int = samplesPerRequest) -> [[UInt8]] {
        precondition(limit > 0, "a request holds at least one sample")
        var bodies: [[UInt8]] = []
        var writer = ProtobufWriter()
        var room = limit
        for metadata in batch.metadata { encode(metadata, to: &writer) }
        for entry in batch.entries {
            var rest = entry
            repeat {
                let numbers = rest.samples.prefix(room)
                let histograms = rest.histograms.prefix(room - numbers.count)
                var part = rest
                part.samples = numbers
                part.histograms = histograms
                encode(part, of: batch, to: &writer)
                rest.samples = numbers.upperBound..<rest.samples.upperBound
                rest.histograms = histograms.upperBound..<rest.histograms.upperBound
                rest.exemplars = rest.exemplars.upperBound..<rest.exemplars.upperBound
                room -= numbers.count + histograms.count
                if room == 0 {
                    bodies.append(Snappy.encode(writer.bytes))
                    writer.bytes.removeAll(keepingCapacity: true)
                    room = limit
                }
            } while !rest.samples.isEmpty || !rest.histograms.isEmpty
        }
        if !writer.bytes.isEmpty { bodies.append(Snappy.encode(writer.bytes)) }
        return bodies
    }

    private static func encode(_ metadata: MetricMetadata, to writer: inout ProtobufWriter) {
        writer.message(3) { writer in
            writer.unsigned(1, UInt64(metadata.kind.rawValue))
            writer.string(2, metadata.family)
            writer.string(4, metadata.help)
            writer.string(5, metadata.unit)
        }
    }

    /// Writes one `TimeSeries` as field 1, which it is in requests and in answers alike.
    static func encode(_ entry: WriteBatch.Entry, of batch: WriteBatch, to writer: inout ProtobufWriter) {
        writer.message(1) { writer in
            batch.labelBytes.withUnsafeBufferPointer { all in
                encode(UnsafeBufferPointer(rebasing: all[entry.labels]), to: &writer)
            }
            for index in entry.samples {
                writer.message(2) { writer in
                    writer.double(1, batch.values[index])
                    writer.int64(2, batch.times[index])
                }
            }
            for exemplar in batch.exemplars[entry.exemplars] {
                writer.message(3) { writer in
                    exemplar.labels.bytes.withUnsafeBufferPointer { encode($0, to: &writer) }
                    writer.double(2, exemplar.value)
                    writer.int64(3, exemplar.time ?? 0)
                }
            }
            for index in entry.histograms {
                writer.message(4) { batch.histograms[index].encode(time: batch.histogramTimes[index], to: &$0) }
            }
        }
    }

    private static func encode(_ labels: UnsafeBufferPointer<UInt8>, to writer: inout ProtobufWriter) {
        var cursor = LabelCursor(labels)
        while let pair = cursor.next() {
            writer.message(1) { writer in
                writer.data(1, pair.name)
                writer.data(2, pair.value)
            }
        }
    }
}
