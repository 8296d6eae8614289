/// A native histogram: buckets whose bounds follow from a schema, with floating-point counts.
///
/// The layout of Prometheus' `histogram.FloatHistogram` (native histograms specification 1.0): a bucket with index `i`
/// of schema `s` (-4...8) holds observations in `(2^(2^-s · (i-1)), 2^(2^-s · i)]`; schema -53 has custom upper bounds.
package struct FloatHistogram: Hashable, Sendable {
    /// Whether the counters may be taken to have been reset before this sample.
    package enum CounterReset: UInt8, Sendable { case unknown, reset, notReset, gauge }

    /// A run of neighbouring buckets: `offset` empty ones since the last run (for the first: the index of its first
    /// bucket), then `length` of them.
    package struct Span: Hashable, Sendable {
        package var offset: Int32
        package var length: UInt32

        package init(offset: Int32, length: UInt32) {
            self.offset = offset
            self.length = length
        }
    }

    /// The schema of custom bucket bounds (native histograms with custom buckets).
    package static let customBuckets: Int32 = -53

    package var counterReset: CounterReset = .unknown
    package var schema: Int32 = 0
    package var zeroThreshold: Double = 0
    package var zeroCount: Double = 0
    package var count: Double = 0
    package var sum: Double = 0
    package var positiveSpans: [Span] = []
    package var negativeSpans: [Span] = []
    /// One absolute count for each bucket of the spans.
    package var positiveBuckets: [Double] = []
    package var negativeBuckets: [Double] = []
    /// Upper bounds, ascending, without +Inf. Only with the schema of custom buckets.
    package var customValues: [Double] = []

    package init() {}

    package var usesCustomBuckets: Bool { schema == Self.customBuckets }
}
