import Glibc

extension Drift {
    /// Up to this many steps (n · m) the p-value is exact; beyond, its limit is as good.
    package static let exactStepLimit = 25_000_000

    /// Two-sided Kolmogorov–Smirnov test.
    ///
    /// - Returns: The largest difference of the distribution functions, and the chance of one as large without drift:
    ///   exact up to `exactStepLimit` steps (conservative where values tie), else by Kolmogorov's limit with the
    ///   correction of Stephens (1970).
    /// - Complexity: O(n log n), and O(n · m) where the p-value is exact.
    package static func ks(reference: [Double], current: [Double]) throws(StatsError)
        -> (statistic: Double, pValue: Double)
    {
        try StatsError.require(reference, atLeast: 1, "the reference")
        try StatsError.require(current, atLeast: 1, "the current sample")
        let (n, m) = (reference.count, current.count)
        let steps = largestGap(reference.sorted(), current.sorted())
        let statistic = Double(steps) / (Double(n) * Double(m))
        if steps == 0 { return (0, 1) }
        if n.multipliedReportingOverflow(by: m).overflow == false, n * m <= exactStepLimit {
            return (statistic, exactTail(max(n, m), min(n, m), steps))
        }
        return (statistic, limitTail(n, m, statistic))
    }

    /// The largest |i·m - j·n| over all values, where i and j count the values up to there: D · n · m without rounding.
    private static func largestGap(_ a: [Double], _ b: [Double]) -> Int {
        var (i, j, largest) = (0, 0, 0)
        while i < a.count, j < b.count {
            let value = min(a[i], b[j])
            while i < a.count, a[i] == value { i += 1 }
            while j < b.count, b[j] == value { j += 1 }
            largest = max(largest, abs(i * b.count - j * a.count))
        }
        return largest
    }

    /// The chance that a random order of n and m values ever gets as far apart as `steps` (Hodges 1958).
    ///
    /// Walks the lattice by rows with the chance to arrive at each point without having been that far; what steps over
    /// the line is summed up. All terms are positive, so that small chances keep their digits. Takes n ≥ m, so that the
    /// line moves by a column a row at most.
    private static func exactTail(_ n: Int, _ m: Int, _ steps: Int) -> Double {
        var arriving = [Double](repeating: 0, count: m + 1)
        arriving[0] = 1
        var tail = 0.0
        for i in 0...n {
            // Points (i, j) with |i·m - j·n| < steps; all others lie over the line.
            let first = max(0, (i * m - steps) / n - 1)
            let last = min(m, (i * m + steps) / n + 1)
            for j in first...last where arriving[j] > 0 {
                let chance = arriving[j]
                if abs(i * m - j * n) >= steps {
                    tail += chance
                    arriving[j] = 0
                    continue
                }
                let left = Double(n - i + m - j)
                if j < m { arriving[j + 1] += chance * Double(m - j) / left }
                arriving[j] = i < n ? chance * Double(n - i) / left : 0
            }
        }
        return min(1, tail)
    }

    private static func limitTail(_ n: Int, _ m: Int, _ statistic: Double) -> Double {
        let root = (Double(n) / (Double(n) + Double(m)) * Double(m)).squareRoot()
        let scaled = (root + 0.12 + 0.11 / root) * statistic
        // Below this the alternating series has lost its digits, and the chance is 1 to ten of them.
        if scaled < 0.2 { return 1 }
        var sum = 0.0
        for k in 1...100 {
            let term = 2 * exp(-2 * Double(k * k) * scaled * scaled)
            sum += k % 2 == 1 ? term : -term
            if term < 1e-16 * abs(sum) { break }
        }
        return min(1, max(0, sum))
    }
}
