/// Samples of one series, column by column, oldest first. Filled again and again by a reader, so that walking a hundred
/// thousand series allocates once.
package struct SampleBuffer: Sendable {
    /// Milliseconds since 1970, strictly ascending.
    package var times: [Int64] = []
    /// One value for each time; meaningless where the sample is a histogram.
    package var values: [Double] = []
    /// Empty when all samples are numbers; else one index into `histograms` for each time, -1 for a number.
    package var histogramAt: [Int32] = []
    package var histograms: [FloatHistogram] = []

    package init() {}

    package var count: Int { times.count }
    package var hasHistograms: Bool { !histogramAt.isEmpty }

    /// Forgets the samples and keeps the memory.
    package mutating func removeAll() {
        times.removeAll(keepingCapacity: true)
        values.removeAll(keepingCapacity: true)
        if histogramAt.isEmpty { return }
        histogramAt.removeAll(keepingCapacity: true)
        histograms.removeAll(keepingCapacity: true)
    }

    package mutating func append(_ time: Int64, _ value: Double) {
        times.append(time)
        values.append(value)
        if !histogramAt.isEmpty { histogramAt.append(-1) }
    }

    package mutating func append(_ time: Int64, _ histogram: FloatHistogram) {
        if histogramAt.isEmpty { histogramAt = Array(repeating: -1, count: times.count) }
        times.append(time)
        values.append(0)
        histogramAt.append(Int32(histograms.count))
        histograms.append(histogram)
    }
}

/// The value that marks the end of a series (Prometheus' staleness marker): one NaN of its own, told by its bits.
package enum StaleMarker {
    package static let bits: UInt64 = 0x7ff0_0000_0000_0002
    package static let value = Double(bitPattern: bits)

    package static func isStale(_ value: Double) -> Bool { value.bitPattern == bits }
}

/// What a query wants of each series.
package struct Selection: Sendable {
    package var matchers: [LabelMatcher]
    /// Milliseconds, both ends included.
    package var from: Int64
    package var to: Int64
    /// The widest distance of samples that the asker can live with, in milliseconds: a source that keeps downsampled data may
    /// answer from it. 0 asks for the samples as they came.
    package var resolution: Int64 = 0
    /// A refusal when more series match.
    package var seriesLimit: Int = .max
    /// The asker looks at no sample but the newest between the ends: a source may leave out the others.
    package var newestOnly = false

    package init(_ matchers: [LabelMatcher], from: Int64, to: Int64) {
        self.matchers = matchers
        self.from = from
        self.to = to
    }
}

/// The series that a selection found, and their samples on demand.
///
/// A snapshot: what is written or deleted afterwards does not show. `read` may be called from several threads at once, with a
/// buffer each, and for any index any number of times.
package protocol SeriesSet: Sendable {
    var count: Int { get }
    /// Sorted by labels from the first to the last index.
    func labels(at index: Int) -> Labels
    /// Replaces the buffer's content by the samples of one series within the selection's ends; staleness markers included.
    func read(_ index: Int, into buffer: inout SampleBuffer) throws
    /// The newest sample within the ends, when the selection wants no other and it is at hand; nil: it has to be read.
    func newest(at index: Int) -> NewestNumber?
}

extension SeriesSet {
    package func newest(at index: Int) -> NewestNumber? { nil }
}

/// A series' newest sample, which is a number, and the series' labels.
package struct NewestNumber {
    /// Encoded as in `Labels`; valid as long as the set that gave them.
    package let labels: UnsafeBufferPointer<UInt8>
    package let time: Int64
    package let value: Double

    package init(labels: UnsafeBufferPointer<UInt8>, time: Int64, value: Double) {
        self.labels = labels
        self.time = time
        self.value = value
    }
}

/// Where queries read from. Calls block: they belong on a thread of their own, never on the cooperative pool.
package protocol SeriesSource: Sendable {
    /// - Throws: `SeriesError`.
    func select(_ selection: Selection) throws -> any SeriesSet
    /// Names of labels of the series that match any of the lists of matchers (no list: all series) between two times, sorted.
    func labelNames(_ matchers: [[LabelMatcher]], from: Int64, to: Int64) throws -> [String]
    /// Values of one label, sorted.
    func labelValues(_ name: String, _ matchers: [[LabelMatcher]], from: Int64, to: Int64) throws -> [String]
}

/// Why a source did not answer.
package struct SeriesError: Error, Sendable, CustomStringConvertible {
    package enum Code: Sendable { case tooManySeries, badMatcher, cancelled, storage }

    package let code: Code
    package let description: String

    package init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}
