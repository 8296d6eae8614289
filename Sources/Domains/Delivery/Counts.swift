import Manifests
import Stats

/// What was counted of one revision: requests, errors and answer times.
///
/// Totals only grow; a difference is a span of time.
struct Counts: Manifest {
    var requests: Int64 = 0
    var errors: Int64 = 0
    var latency = LatencyHistogram()

    init() {}
    init(requests: Int64, errors: Int64, latency: LatencyHistogram = LatencyHistogram()) {
        (self.requests, self.errors, self.latency) = (requests, errors, latency)
    }

    static let fields: [Field<Self>] = [
        .optional("requests", \.requests, "Requests."),
        .optional("errors", \.errors, "Of them failed."),
        .optional("latency", \.latencyText, "Answers by time."),
    ]

    /// The histogram as it is stored: "place:count" for each bucket that is not empty.
    var latencyText: String {
        get {
            latency.buckets.enumerated().filter { $1 > 0 }.map { "\($0):\($1)" }.joined(separator: " ")
        }
        set {
            var buckets = [UInt64](repeating: 0, count: LatencyHistogram.bucketCount)
            for pair in newValue.split(separator: " ") {
                let parts = pair.split(separator: ":")
                guard parts.count == 2, let place = Int(parts[0]), buckets.indices.contains(place),
                    let count = UInt64(parts[1])
                else { continue }
                buckets[place] = count
            }
            latency = LatencyHistogram(buckets: buckets)
        }
    }

    var isEmpty: Bool { requests == 0 && errors == 0 && latency.count == 0 }
    var errorRate: Double? { requests > 0 ? Double(errors) / Double(requests) : nil }

    /// Milliseconds that a share of the answers did not exceed.
    func milliseconds(_ share: Double) -> Double? { latency.quantile(share).map { $0 / 1000 } }

    static func + (left: Self, right: Self) -> Self {
        Self(
            requests: left.requests + right.requests, errors: left.errors + right.errors,
            latency: left.latency + right.latency)
    }

    /// What came since an earlier state; never less than nothing.
    static func - (later: Self, earlier: Self) -> Self {
        Self(
            requests: max(0, later.requests - earlier.requests), errors: max(0, later.errors - earlier.errors),
            latency: later.latency - earlier.latency)
    }

    /// The larger of each: what a counter that only grows must have reached.
    func reached(_ other: Self) -> Self { self + (other - self) }
}
