import Glibc

/// Figures that describe one sample.
package enum Descriptive {
    package static func mean(_ values: [Double]) throws(StatsError) -> Double {
        try StatsError.require(values, atLeast: 1, "the sample")
        return values.reduce(0, +) / Double(values.count)
    }

    /// Mean squared distance from the mean, in two passes.
    ///
    /// Degrees of freedom are 0 for a population, 1 for the unbiased estimate from a sample.
    package static func variance(_ values: [Double], degreesOfFreedom: Int = 0) throws(StatsError) -> Double {
        try StatsError.require(values, atLeast: degreesOfFreedom + 1, "the sample")
        let center = try mean(values)
        let sum = values.reduce(0) { $0 + ($1 - center) * ($1 - center) }
        return sum / Double(values.count - degreesOfFreedom)
    }

    /// Standard deviation; of a population unless `degreesOfFreedom` is 1.
    package static func standardDeviation(_ values: [Double], degreesOfFreedom: Int = 0) throws(StatsError) -> Double {
        try variance(values, degreesOfFreedom: degreesOfFreedom).squareRoot()
    }

    package static func median(_ values: [Double]) throws(StatsError) -> Double { try quantile(values, 0.5) }

    /// The value below which a share of the sample lies.
    ///
    /// Interpolated as numpy does by default (Hyndman and Fan 1996, type 7).
    ///
    /// - Complexity: O(n log n).
    package static func quantile(_ values: [Double], _ q: Double) throws(StatsError) -> Double {
        try StatsError.require(values, atLeast: 1, "the sample")
        return try quantile(sorted: values.sorted(), q)
    }

    /// As `quantile(_:_:)`, of values that are in order already.
    package static func quantile(sorted values: [Double], _ q: Double) throws(StatsError) -> Double {
        guard !values.isEmpty else { throw StatsError(.tooFewValues, "the sample is empty") }
        guard q >= 0, q <= 1 else { throw StatsError(.invalidArgument, "\(q) is no quantile between 0 and 1") }
        let place = q * Double(values.count - 1)
        let below = Int(place)
        let above = min(below + 1, values.count - 1)
        return values[below] + (place - Double(below)) * (values[above] - values[below])
    }
}

/// A sequence of pseudo-random numbers with a seed (Steele, Lea and Flood, OOPSLA 2014); not for secrets.
package struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number in 0..<1 of 53 random bits.
    package mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// A number of the standard normal distribution, by the quantile of a uniform one.
    package mutating func normal() -> Double { Special.normalQuantile((Double(next() >> 11) + 0.5) * 0x1p-53) }
}
