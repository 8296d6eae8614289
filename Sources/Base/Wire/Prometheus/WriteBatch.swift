package import Series

/// Many series with their new samples, column by column: what a remote write request, a scrape, an OTLP export and a
/// push all become, and what remote write out takes.
///
/// A batch is filled again and again (``removeAll()`` keeps the memory), so that a request of ten thousand series costs
/// no allocation of its own. A decoder that throws leaves the batch in the middle: throw its content away, nothing of
/// it was stored.
package struct WriteBatch: Sendable {
    /// One series: where its labels and samples lie in the batch's columns.
    package struct Entry: Sendable {
        /// In `labelBytes`: the encoded bytes of `Labels`.
        package var labels: Range<Int>
        /// In `times` and `values`.
        package var samples: Range<Int>
        /// In `histogramTimes` and `histograms`.
        package var histograms: Range<Int>
        /// In `exemplars`.
        package var exemplars: Range<Int>
        /// Whether a scraped sample came with a time of its own, so that the series does not go stale by itself.
        package var hasOwnTime = false
    }

    package private(set) var entries: [Entry] = []
    package var labelBytes: [UInt8] = []
    /// Milliseconds since 1970.
    package var times: [Int64] = []
    package var values: [Double] = []
    package var histogramTimes: [Int64] = []
    package var histograms: [FloatHistogram] = []
    package var exemplars: [Exemplar] = []
    package var metadata: [MetricMetadata] = []

    package init() {}

    /// Numbers and histograms together.
    package var sampleCount: Int { times.count + histogramTimes.count }

    package mutating func removeAll() {
        entries.removeAll(keepingCapacity: true)
        labelBytes.removeAll(keepingCapacity: true)
        times.removeAll(keepingCapacity: true)
        values.removeAll(keepingCapacity: true)
        histogramTimes.removeAll(keepingCapacity: true)
        histograms.removeAll(keepingCapacity: true)
        exemplars.removeAll(keepingCapacity: true)
        metadata.removeAll(keepingCapacity: true)
    }

    /// A copy of one series' labels.
    package func labels(of entry: Entry) -> Labels { Labels(encoded: Array(labelBytes[entry.labels])) }

    /// Where the columns end now: what is appended until ``endSeries(_:)`` belongs to one series.
    package func beginSeries() -> Entry {
        Entry(
            labels: labelBytes.count..<labelBytes.count, samples: times.count..<times.count,
            histograms: histograms.count..<histograms.count, exemplars: exemplars.count..<exemplars.count)
    }

    /// Adds the series whose labels and samples were appended since ``beginSeries()``.
    ///
    /// - Parameter labels: Where the labels lie, when they are not in `labelBytes` yet.
    package mutating func endSeries(_ begun: Entry, labels: Range<Int>? = nil) {
        entries.append(
            Entry(
                labels: labels ?? begun.labels.lowerBound..<labelBytes.count,
                samples: begun.samples.lowerBound..<times.count,
                histograms: begun.histograms.lowerBound..<histograms.count,
                exemplars: begun.exemplars.lowerBound..<exemplars.count, hasOwnTime: begun.hasOwnTime))
    }

    /// Adds a series with one number.
    package mutating func append(_ labels: Labels, _ time: Int64, _ value: Double) {
        append(labels) { batch in batch.append(time, value) }
    }

    /// Adds a series; the body appends its samples and exemplars.
    package mutating func append(_ labels: Labels, _ body: (inout WriteBatch) throws -> Void) rethrows {
        let begun = beginSeries()
        labelBytes.append(contentsOf: labels.bytes)
        try body(&self)
        endSeries(begun)
    }

    package mutating func append(_ time: Int64, _ value: Double) {
        times.append(time)
        values.append(value)
    }

    package mutating func append(_ time: Int64, _ histogram: FloatHistogram) {
        histogramTimes.append(time)
        histograms.append(histogram)
    }
}

/// One observation shown beside a counter or a bucket, most often with the id of its trace.
package struct Exemplar: Hashable, Sendable {
    package var labels: Labels
    package var value: Double
    /// Milliseconds since 1970; nil where the wire leaves it to the sample.
    package var time: Int64?

    package init(labels: Labels, value: Double, time: Int64?) {
        self.labels = labels
        self.value = value
        self.time = time
    }
}

/// What is known of a metric family beside its samples.
package struct MetricMetadata: Hashable, Sendable {
    /// Raw values as in Prometheus's `MetricMetadata.MetricType`.
    package enum Kind: UInt8, Sendable, CaseIterable {
        case unknown, counter, gauge, histogram, gaugeHistogram, summary, info, stateSet

        /// The type's name in exposition texts and in Prometheus's API.
        package var name: String { self == .stateSet || self == .gaugeHistogram ? "\(self)".lowercased() : "\(self)" }

        package init?(name: String) {
            guard let kind = Self.allCases.first(where: { $0.name == name }) else { return nil }
            self = kind
        }
    }

    package var family: String
    package var kind: Kind
    package var help: String
    package var unit: String

    package init(family: String, kind: Kind = .unknown, help: String = "", unit: String = "") {
        self.family = family
        self.kind = kind
        self.help = help
        self.unit = unit
    }
}
