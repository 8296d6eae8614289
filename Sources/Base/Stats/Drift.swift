import Glibc

/// Distances and tests between a reference sample and a current one.
package enum Drift {
    /// The smallest scale that a distance is divided by (Evidently 0.7 `wasserstein_distance_norm`).
    package static let scaleFloor = 0.001
    /// What an empty category counts as in PSI (Evidently 0.7 `get_binned_data`).
    package static let emptyShare = 0.0001

    // MARK: - Numbers

    /// Wasserstein-1 distance: the area between the two distribution functions.
    ///
    /// - Complexity: O(n log n).
    package static func wasserstein(reference: [Double], current: [Double]) throws(StatsError) -> Double {
        try StatsError.require(reference, atLeast: 1, "the reference")
        try StatsError.require(current, atLeast: 1, "the current sample")
        let a = reference.sorted()
        let b = current.sorted()
        var (i, j) = (0, 0)
        var area = 0.0
        var place = min(a[0], b[0])
        while i < a.count || j < b.count {
            let next = i == a.count ? b[j] : j == b.count ? a[i] : min(a[i], b[j])
            area += abs(Double(i) / Double(a.count) - Double(j) / Double(b.count)) * (next - place)
            place = next
            while i < a.count, a[i] == next { i += 1 }
            while j < b.count, b[j] == next { j += 1 }
        }
        return area
    }

    /// Wasserstein-1 distance in standard deviations of the reference (population, at least 0.001), as Evidently has it.
    package static func wassersteinNormalised(reference: [Double], current: [Double]) throws(StatsError) -> Double {
        let distance = try wasserstein(reference: reference, current: current)
        return distance / max(scaleFloor, try Descriptive.standardDeviation(reference))
    }

    // MARK: - Counts

    /// Jensen–Shannon distance, the root of the divergence, between counts of the same categories in the same order.
    ///
    /// With base 2 the distance is at most 1; Evidently and scipy take e.
    package static func jensenShannon(reference: [Int], current: [Int], base: Double = 2) throws(StatsError) -> Double {
        let (p, q) = try shares(reference, current)
        guard base > 1 else { throw StatsError(.invalidArgument, "\(base) is no base of a logarithm") }
        var divergence = 0.0
        for (p, q) in zip(p, q) {
            let middle = (p + q) / 2
            if p > 0 { divergence += p * log(p / middle) / 2 }
            if q > 0 { divergence += q * log(q / middle) / 2 }
        }
        return (max(0, divergence) / log(base)).squareRoot()
    }

    /// Jensen–Shannon distance between two samples of numbers that are counted in bins.
    ///
    /// The edges ascend; the first and last bin take all that lies outside.
    package static func jensenShannonNumeric(
        reference: [Double], current: [Double], edges: [Double], base: Double = 2
    ) throws(StatsError) -> Double {
        try jensenShannon(
            reference: histogram(reference, edges: edges), current: histogram(current, edges: edges), base: base)
    }

    /// The largest difference of a category's share (TFDV's L∞).
    package static func largestDifference(reference: [Int], current: [Int]) throws(StatsError) -> Double {
        let (p, q) = try shares(reference, current)
        return zip(p, q).map { abs($0 - $1) }.max() ?? 0
    }

    /// Half the sum of the differences of shares.
    package static func totalVariation(reference: [Int], current: [Int]) throws(StatsError) -> Double {
        let (p, q) = try shares(reference, current)
        return zip(p, q).reduce(0) { $0 + abs($1.0 - $1.1) } / 2
    }

    /// A population stability index with what it would be without any drift.
    package struct PSI: Sendable, Equatable {
        /// Σ (p - q) log(p / q), with empty categories filled as Evidently does.
        package var value: Double
        /// What the value is on average when nothing drifted: (B - 1)(1/n + 1/m).
        package var nullMean: Double
        /// `value - nullMean`, at least 0: what a chart should show.
        package var corrected: Double
        /// Chance of such a value without drift; PSI · nm/(n + m) is about χ²(B - 1) from 100 values on.
        package var pValue: Double
    }

    /// Population stability index between counts of the same categories or bins in the same order.
    package static func psi(reference: [Int], current: [Int]) throws(StatsError) -> PSI {
        var (p, q) = try shares(reference, current)
        let filled = zip(reference, current).filter { $0 > 0 || $1 > 0 }.count
        fillEmpty(&p)
        fillEmpty(&q)
        let value = zip(p, q).reduce(0) { $0 + ($1.0 - $1.1) * log($1.0 / $1.1) }
        let n = Double(reference.reduce(0, +))
        let m = Double(current.reduce(0, +))
        let degrees = max(1, filled - 1)
        let nullMean = filled > 1 ? Double(degrees) * (1 / n + 1 / m) : 0
        return PSI(
            value: value, nullMean: nullMean, corrected: max(0, value - nullMean),
            pValue: Special.chiSquareSurvival(value * n * m / (n + m), degreesOfFreedom: degrees))
    }

    private static func fillEmpty(_ shares: inout [Double]) {
        let smallest = shares.filter { $0 > 0 }.min() ?? 1
        let filler = smallest <= emptyShare ? smallest / 1e6 : emptyShare
        for index in shares.indices where shares[index] == 0 { shares[index] = filler }
    }

    /// Chi-squared test that two rows of counts come from the same distribution, without continuity correction.
    ///
    /// Categories that both lack are left out.
    package static func chiSquare(reference: [Int], current: [Int]) throws(StatsError)
        -> (statistic: Double, degreesOfFreedom: Int, pValue: Double)
    {
        _ = try shares(reference, current)
        let n = Double(reference.reduce(0, +))
        let m = Double(current.reduce(0, +))
        var statistic = 0.0
        var categories = 0
        for (a, b) in zip(reference, current) where a + b > 0 {
            categories += 1
            let expectedA = Double(a + b) * n / (n + m)
            let expectedB = Double(a + b) * m / (n + m)
            statistic += (Double(a) - expectedA) * (Double(a) - expectedA) / expectedA
            statistic += (Double(b) - expectedB) * (Double(b) - expectedB) / expectedB
        }
        guard categories > 1 else { return (0, 0, 1) }
        return (statistic, categories - 1, Special.chiSquareSurvival(statistic, degreesOfFreedom: categories - 1))
    }

    /// Chi-squared test of the current counts against the reference taken as exact, as Evidently does it.
    ///
    /// Ignores that the reference is a sample too, so it finds more than `chiSquare`.
    package static func chiSquareAgainstExact(reference: [Int], current: [Int]) throws(StatsError) -> Double {
        let (p, _) = try shares(reference, current)
        let m = Double(current.reduce(0, +))
        var statistic = 0.0
        for (share, count) in zip(p, current) {
            if share == 0, count > 0 { return 0 }
            let expected = share * m
            if expected > 0 { statistic += (Double(count) - expected) * (Double(count) - expected) / expected }
        }
        let categories = zip(reference, current).filter { $0 > 0 || $1 > 0 }.count
        return categories > 1 ? Special.chiSquareSurvival(statistic, degreesOfFreedom: categories - 1) : 1
    }

    /// Two-sided test that two shares are equal, by the normal approximation with the pooled share.
    package static func twoProportionZ(
        referenceSuccesses: Int, referenceCount: Int, currentSuccesses: Int, currentCount: Int
    ) throws(StatsError) -> (statistic: Double, pValue: Double) {
        guard referenceCount > 0, currentCount > 0 else {
            throw StatsError(.tooFewValues, "one of the two groups is empty")
        }
        guard (0...referenceCount).contains(referenceSuccesses), (0...currentCount).contains(currentSuccesses) else {
            throw StatsError(.invalidArgument, "there are more successes than trials")
        }
        let (n, m) = (Double(referenceCount), Double(currentCount))
        let pooled = Double(referenceSuccesses + currentSuccesses) / (n + m)
        let spread = (pooled * (1 - pooled) * (1 / n + 1 / m)).squareRoot()
        guard spread > 0 else { return (0, 1) }
        let z = (Double(referenceSuccesses) / n - Double(currentSuccesses) / m) / spread
        return (z, min(1, 2 * Special.normalSurvival(abs(z))))
    }

    // MARK: - Bins

    /// Ascending edges that cut the reference into bins of about equal counts; fewer where values repeat.
    package static func quantileEdges(_ reference: [Double], bins: Int) throws(StatsError) -> [Double] {
        try StatsError.require(reference, atLeast: 1, "the reference")
        guard bins >= 1 else { throw StatsError(.invalidArgument, "\(bins) bins are not enough") }
        let sorted = reference.sorted()
        var edges: [Double] = []
        for index in 0...bins {
            let edge = try Descriptive.quantile(sorted: sorted, Double(index) / Double(bins))
            if edges.last.map({ $0 < edge }) ?? true { edges.append(edge) }
        }
        return edges
    }

    /// Equal edges over both samples, as many as Sturges (1926) asks for and numpy's `sturges` gives.
    package static func sturgesEdges(reference: [Double], current: [Double]) throws(StatsError) -> [Double] {
        let all = reference + current
        try StatsError.require(all, atLeast: 1, "the two samples")
        guard let low = all.min(), let high = all.max(), high > low else { return [all[0] - 0.5, all[0] + 0.5] }
        let width = (high - low) / (log2(Double(all.count)) + 1)
        let bins = max(1, Int(((high - low) / width).rounded(.up)))
        return (0...bins).map { $0 == bins ? high : low + Double($0) * ((high - low) / Double(bins)) }
    }

    /// How many values lie in each bin `edges[i] ..< edges[i + 1]`; the last takes its end, both ends all outside.
    package static func histogram(_ values: [Double], edges: [Double]) throws(StatsError) -> [Int] {
        try StatsError.require(values, atLeast: 1, "the sample")
        guard edges.count >= 2, zip(edges, edges.dropFirst()).allSatisfy(<) else {
            // One edge is one bin: all values of the reference are equal.
            if edges.count == 1 { return [values.count] }
            throw StatsError(.invalidArgument, "the edges of the bins do not ascend")
        }
        var counts = [Int](repeating: 0, count: edges.count - 1)
        for value in values {
            var (low, high) = (0, edges.count)
            while low < high {
                let middle = (low + high) / 2
                if edges[middle] <= value { low = middle + 1 } else { high = middle }
            }
            counts[min(max(low - 1, 0), counts.count - 1)] += 1
        }
        return counts
    }

    private static func shares(_ reference: [Int], _ current: [Int]) throws(StatsError) -> ([Double], [Double]) {
        try StatsError.requireSameCount(reference.count, current.count, "reference and current counts")
        guard reference.allSatisfy({ $0 >= 0 }), current.allSatisfy({ $0 >= 0 }) else {
            throw StatsError(.invalidArgument, "a count is negative")
        }
        let (n, m) = (reference.reduce(0, +), current.reduce(0, +))
        guard n > 0, m > 0 else { throw StatsError(.tooFewValues, "one of the two samples is empty") }
        return (reference.map { Double($0) / Double(n) }, current.map { Double($0) / Double(m) })
    }
}
