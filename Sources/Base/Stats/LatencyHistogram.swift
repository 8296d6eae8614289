import Glibc

/// Counts durations in fixed buckets that grow by a factor, so that histograms of any two sources add up.
///
/// Between 10 µs and 100 s a quantile is off by at most 4.1 % of itself; all that is shorter or longer falls into
/// the first or last of 200 buckets. Recording is a logarithm and an addition.
package struct LatencyHistogram: Sendable, Equatable {
    /// How many buckets there are, with the one below 10 µs and the one from 100 s on.
    package static let bucketCount = 200
    /// The shortest and longest duration that are told apart, in microseconds.
    package static let range = 10.0...1e8
    private static let inner = Double(bucketCount - 2)
    /// Logarithm of the factor between two edges: 10⁷ in 198 steps, 8.5 % each.
    private static let logStep = log(range.upperBound / range.lowerBound) / inner

    /// Counts, one for each bucket.
    package private(set) var buckets: [UInt64]
    /// Sum of all recorded durations, in microseconds.
    package private(set) var totalMicroseconds: UInt64 = 0

    package init() { buckets = Array(repeating: 0, count: Self.bucketCount) }

    /// A histogram from counts told elsewhere; missing buckets are empty, further ones left out.
    package init(buckets: [UInt64], totalMicroseconds: UInt64 = 0) {
        self.init()
        for (index, count) in buckets.prefix(Self.bucketCount).enumerated() { self.buckets[index] = count }
        self.totalMicroseconds = totalMicroseconds
    }

    package var count: UInt64 { buckets.reduce(0, &+) }

    /// Counts one duration.
    package mutating func record(microseconds: UInt64) {
        buckets[Self.bucket(of: microseconds)] &+= 1
        totalMicroseconds &+= microseconds
    }

    /// The duration that a share of all is not longer than, in microseconds; nil when nothing was counted.
    ///
    /// Shares outside 0...1 count as the nearer end.
    package func quantile(_ q: Double) -> Double? {
        let count = count
        guard count > 0, !q.isNaN else { return nil }
        let wanted = (min(max(q, 0), 1) * Double(count)).rounded(.up)
        let rank = wanted >= Double(count) ? count : max(1, UInt64(wanted))
        var seen: UInt64 = 0
        for (index, bucket) in buckets.enumerated() {
            seen &+= bucket
            if seen >= rank { return Self.representative(of: index) }
        }
        return Self.range.upperBound
    }

    /// How many durations were longer than a bound, to the bucket.
    package func count(above microseconds: UInt64) -> UInt64 {
        buckets[(Self.bucket(of: microseconds) + 1)...].reduce(0, &+)
    }

    /// Mean duration in microseconds; nil when nothing was counted.
    package var mean: Double? { count == 0 ? nil : Double(totalMicroseconds) / Double(count) }

    /// What was counted by either.
    package static func + (left: LatencyHistogram, right: LatencyHistogram) -> LatencyHistogram {
        var sum = left
        for index in sum.buckets.indices { sum.buckets[index] &+= right.buckets[index] }
        sum.totalMicroseconds &+= right.totalMicroseconds
        return sum
    }

    package static func += (left: inout LatencyHistogram, right: LatencyHistogram) { left = left + right }

    /// What was counted since an earlier state of the same histogram; never less than nothing.
    package static func - (later: LatencyHistogram, earlier: LatencyHistogram) -> LatencyHistogram {
        var rest = later
        for index in rest.buckets.indices {
            rest.buckets[index] = later.buckets[index] - min(later.buckets[index], earlier.buckets[index])
        }
        rest.totalMicroseconds = later.totalMicroseconds - min(later.totalMicroseconds, earlier.totalMicroseconds)
        return rest
    }

    /// Index of the bucket that a duration is counted in.
    package static func bucket(of microseconds: UInt64) -> Int {
        let duration = Double(microseconds)
        if duration < range.lowerBound { return 0 }
        if duration >= range.upperBound { return bucketCount - 1 }
        return min(bucketCount - 2, 1 + Int(log(duration / range.lowerBound) / logStep))
    }

    /// The value with the same relative distance from both edges: their harmonic mean.
    package static func representative(of index: Int) -> Double {
        if index == 0 { return range.lowerBound }
        if index == bucketCount - 1 { return range.upperBound }
        let low = range.lowerBound * exp(Double(index - 1) * logStep)
        let high = range.lowerBound * exp(Double(index) * logStep)
        return 2 * low * high / (low + high)
    }
}

extension LatencyHistogram: Codable {
    private enum CodingKeys: String, CodingKey {
        case buckets
        case totalMicroseconds = "total_microseconds"
    }

    /// Reads pairs of bucket and count, in which empty buckets are left out.
    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let pairs = try container.decode([UInt64].self, forKey: .buckets)
        self.init()
        totalMicroseconds = try container.decode(UInt64.self, forKey: .totalMicroseconds)
        guard pairs.count % 2 == 0, pairs.count <= 2 * Self.bucketCount else {
            throw DecodingError.dataCorruptedError(
                forKey: .buckets, in: container, debugDescription: "buckets come in pairs of place and count")
        }
        for start in stride(from: 0, to: pairs.count, by: 2) {
            guard let place = Int(exactly: pairs[start]), place < Self.bucketCount else {
                throw DecodingError.dataCorruptedError(
                    forKey: .buckets, in: container, debugDescription: "there is no bucket \(pairs[start])")
            }
            buckets[place] = pairs[start + 1]
        }
    }

    /// Writes pairs of bucket and count, in which empty buckets are left out.
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        let pairs = buckets.enumerated().flatMap { $1 == 0 ? [] : [UInt64($0), $1] }
        try container.encode(pairs, forKey: .buckets)
        try container.encode(totalMicroseconds, forKey: .totalMicroseconds)
    }
}
