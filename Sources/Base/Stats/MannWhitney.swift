/// The Mann-Whitney rank test, and how far apart two samples are (Mann and Whitney 1947; Hodges and Lehmann 1963).
package enum MannWhitney {
    /// What two samples say of each other.
    package struct Result: Sendable, Equatable {
        /// Pairs in which the first sample's value is the larger, ties counted as halves.
        package var u: Double
        /// Chance, were both alike, of a U at least this far from its middle; normal approximation with ties corrected.
        package var p: Double
        /// Median of all differences, first minus second (Hodges-Lehmann).
        package var shift: Double
        /// Confidence interval of the shift.
        package var low: Double
        package var high: Double
    }

    /// Values that each sample may have: the differences of all pairs are sorted.
    package static let sampleLimit = 1000

    /// Compares two samples.
    ///
    /// - Parameters:
    ///   - first: At least 2 values, at most `sampleLimit`.
    ///   - second: Likewise.
    ///   - confidence: Of the interval, such as 0.98.
    /// - Throws: `StatsError` on too few values, or missing ones.
    /// - Complexity: O(n m log(n m)).
    package static func compare(
        _ first: [Double], _ second: [Double], confidence: Double
    ) throws(StatsError) -> Result {
        try StatsError.require(first, atLeast: 2, "the first sample")
        try StatsError.require(second, atLeast: 2, "the second sample")
        let (a, b) = (first.suffix(sampleLimit), second.suffix(sampleLimit))
        let (n, m) = (Double(a.count), Double(b.count))
        var differences: [Double] = []
        differences.reserveCapacity(a.count * b.count)
        for left in a { for right in b { differences.append(left - right) } }
        differences.sort()
        let u = differences.reduce(0) { $0 + ($1 > 0 ? 1 : $1 == 0 ? 0.5 : 0) }
        let all = n + m
        var ties = 0.0
        for count in Dictionary(grouping: a + b, by: { $0 }).values.map({ Double($0.count) }) {
            ties += count * count * count - count
        }
        let variance = n * m / 12 * (all + 1 - ties / (all * (all - 1)))
        let z = variance > 0 ? max(0, abs(u - n * m / 2) - 0.5) / variance.squareRoot() : 0
        // The order statistics between which the shift lies; the untied variance makes them a little wider.
        let width = Special.normalQuantile(0.5 + confidence / 2) * (n * m * (all + 1) / 12).squareRoot()
        let place = Int((n * m / 2 - width).rounded(.down))
        let low = place >= 0 ? differences[min(place, differences.count - 1)] : -Double.infinity
        let high = place >= 0 ? differences[max(0, differences.count - 1 - place)] : Double.infinity
        return Result(
            u: u, p: min(1, 2 * Special.normalSurvival(z)),
            shift: try Descriptive.quantile(sorted: differences, 0.5), low: low, high: high)
    }
}
