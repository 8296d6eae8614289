package import Series

/// Samples on their way in.
///
/// Filled by one thread, appended, emptied and filled again.
package struct Batch: Sendable {
    struct Entry {
        var offset: Int
        var length: Int
        var hash: UInt64
    }

    struct Sample {
        var time: Int64
        var bits: UInt64
        var series: Int32
        /// Place in `histograms`; -1 for a number.
        var histogram: Int32
    }

    private(set) var arena: [UInt8] = []
    private(set) var entries: [Entry] = []
    private(set) var samples: [Sample] = []
    private(set) var histograms: [FloatHistogram] = []
    private(set) var exemplars: [(series: Int32, exemplar: Exemplar)] = []
    private(set) var metadata: [(name: String, metadata: MetricMetadata)] = []

    package init() {}

    /// Numbers and histograms so far.
    package var count: Int { samples.count }
    package var isEmpty: Bool { samples.isEmpty && exemplars.isEmpty && metadata.isEmpty }

    /// Forgets everything and keeps the memory.
    package mutating func removeAll() {
        arena.removeAll(keepingCapacity: true)
        entries.removeAll(keepingCapacity: true)
        samples.removeAll(keepingCapacity: true)
        histograms.removeAll()
        exemplars.removeAll()
        metadata.removeAll()
    }

    /// Names the series that what is added next belongs to.
    ///
    /// The bytes are those of `Labels.bytes`; ones that are not refuse the series' samples when the batch is
    /// appended.
    package mutating func series(_ labels: UnsafeBufferPointer<UInt8>) {
        entries.append(Entry(offset: arena.count, length: labels.count, hash: ByteHash.of(labels)))
        arena.append(contentsOf: labels)
    }

    package mutating func series(_ labels: Labels) {
        labels.bytes.withUnsafeBufferPointer { series($0) }
    }

    /// Adds a number to the series named last.
    package mutating func add(_ time: Int64, _ value: Double) {
        samples.append(
            Sample(
                time: time, bits: value.bitPattern, series: Int32(truncatingIfNeeded: entries.count - 1), histogram: -1)
        )
    }

    package mutating func add(_ time: Int64, _ histogram: FloatHistogram) {
        samples.append(
            Sample(
                time: time, bits: 0, series: Int32(truncatingIfNeeded: entries.count - 1),
                histogram: Int32(truncatingIfNeeded: histograms.count)))
        histograms.append(histogram)
    }

    package mutating func add(_ exemplar: Exemplar) {
        exemplars.append((Int32(truncatingIfNeeded: entries.count - 1), exemplar))
    }

    package mutating func add(_ labels: Labels, _ time: Int64, _ value: Double) {
        series(labels)
        add(time, value)
    }

    package mutating func add(_ labels: Labels, _ time: Int64, _ histogram: FloatHistogram) {
        series(labels)
        add(time, histogram)
    }

    /// Says what a metric is.
    ///
    /// The last word on a name stays.
    package mutating func describe(_ name: String, _ metadata: MetricMetadata) {
        self.metadata.append((name, metadata))
    }
}

/// Whether bytes are labels that the store takes.
struct LabelCheck {
    let options: TSDBOptions

    /// What is wrong; nil when nothing is.
    func problem(_ bytes: UnsafeBufferPointer<UInt8>) -> (AppendResult.Reason, String)? {
        var reader = ByteReader(UnsafeRawBufferPointer(bytes))
        var before: UnsafeRawBufferPointer?
        var count = 0
        while !reader.isAtEnd {
            guard let name = try? reader.text(), let value = try? reader.text(),  // told as malformed in the next line
                !name.isEmpty, !value.isEmpty, String(validating: name, as: UTF8.self) != nil,
                String(validating: value, as: UTF8.self) != nil
            else { return (.malformed, "labels that are empty, cut short or no UTF-8") }
            if let before, compareBytes(before.bindMemory(to: UInt8.self), name.bindMemory(to: UInt8.self)) >= 0 {
                return (
                    .malformed, "labels that are not sorted, or one twice: \(String(decoding: name, as: UTF8.self))"
                )
            }
            before = name
            count += 1
            let shown = String(decoding: name.prefix(80), as: UTF8.self)
            if name.count > options.nameBytesAtMost {
                return (.limit, "label name \(shown)… is \(name.count) bytes long, at most \(options.nameBytesAtMost)")
            }
            if value.count > options.valueBytesAtMost {
                return (
                    .limit, "value of label \(shown) is \(value.count) bytes long, at most \(options.valueBytesAtMost)"
                )
            }
        }
        if count == 0 { return (.malformed, "a series without labels") }
        if count > options.labelsAtMost {
            return (
                .limit,
                "\(Labels(encoded: Array(bytes)).metricName ?? "a series") has \(count) labels, at most \(options.labelsAtMost)"
            )
        }
        return nil
    }
}
