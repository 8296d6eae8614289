import Glibc

/// Special functions that distributions are made of.
package enum Special {
    /// How many terms of a series or continued fraction are tried; enough for parameters up to 10¹⁰.
    private static let termLimit = 200_000
    private static let tiny = 1e-300
    private static let precision = 1e-16

    /// Natural logarithm of the gamma function of a positive number.
    package static func logGamma(_ x: Double) -> Double { lgamma(x).0 }

    /// Natural logarithm of the beta function.
    package static func logBeta(_ a: Double, _ b: Double) -> Double { logGamma(a) + logGamma(b) - logGamma(a + b) }

    /// The regularised incomplete beta function I_x(a, b): the share of a beta distribution below x.
    package static func regularisedBeta(_ x: Double, _ a: Double, _ b: Double) -> Double {
        exp(logRegularisedBeta(x, a, b).lower)
    }

    /// Logarithms of I_x(a, b) and of 1 - I_x(a, b), each exact to a few digits of the sixteen even where tiny.
    ///
    /// By the continued fraction that converges at once below the mean (DLMF 8.17.22), on the side where it does; the
    /// other side is its complement, which is then not small.
    package static func logRegularisedBeta(_ x: Double, _ a: Double, _ b: Double) -> (lower: Double, upper: Double) {
        if x <= 0 { return (-.infinity, 0) }
        if x >= 1 { return (0, -.infinity) }
        let front = a * log(x) + b * log1p(-x) - logBeta(a, b)
        if x < (a + 1) / (a + b + 2) {
            let lower = min(0, front - log(a) + log(betaFraction(x, a, b)))
            return (lower, logComplement(lower))
        }
        let upper = min(0, front - log(b) + log(betaFraction(1 - x, b, a)))
        return (logComplement(upper), upper)
    }

    /// log(1 - eˣ) for x ≤ 0 without loss (Mächler 2012).
    static func logComplement(_ x: Double) -> Double {
        x > -M_LN2 ? log(-expm1(x)) : log1p(-exp(x))
    }

    /// log(Σ eˣ) without overflow.
    package static func logSumExp(_ values: [Double]) -> Double {
        guard let largest = values.max(), largest > -.infinity else { return -.infinity }
        if largest == .infinity { return .infinity }
        return largest + log(values.reduce(0) { $0 + exp($1 - largest) })
    }

    /// Continued fraction of the incomplete beta function by Lentz's method (DLMF 3.10(iii), 8.17.22).
    private static func betaFraction(_ x: Double, _ a: Double, _ b: Double) -> Double {
        var c = 1.0
        var d = 1 / nonzero(1 - (a + b) * x / (a + 1))
        var fraction = d
        for index in 1...termLimit {
            let m = Double(index)
            let even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
            d = 1 / nonzero(1 + even * d)
            c = nonzero(1 + even / c)
            fraction *= d * c
            let odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
            d = 1 / nonzero(1 + odd * d)
            c = nonzero(1 + odd / c)
            let step = d * c
            fraction *= step
            if abs(step - 1) < precision { break }
        }
        return fraction
    }

    private static func nonzero(_ x: Double) -> Double { abs(x) < tiny ? tiny : x }

    /// The regularised incomplete gamma functions P(a, x) and Q(a, x) = 1 - P(a, x).
    ///
    /// By the series below a + 1 (DLMF 8.7.1) and the continued fraction above (DLMF 8.9.2).
    package static func regularisedGamma(_ a: Double, _ x: Double) -> (lower: Double, upper: Double) {
        if x <= 0 { return (0, 1) }
        let front = exp(a * log(x) - x - logGamma(a))
        if x < a + 1 {
            var term = 1 / a
            var sum = term
            for index in 1...termLimit {
                term *= x / (a + Double(index))
                sum += term
                if term < sum * precision { break }
            }
            let lower = min(1, front * sum)
            return (lower, 1 - lower)
        }
        var b = x + 1 - a
        var c = 1 / tiny
        var d = 1 / nonzero(b)
        var fraction = d
        for index in 1...termLimit {
            let m = Double(index)
            let numerator = -m * (m - a)
            b += 2
            d = 1 / nonzero(numerator * d + b)
            c = nonzero(b + numerator / c)
            let step = d * c
            fraction *= step
            if abs(step - 1) < precision { break }
        }
        let upper = min(1, front * fraction)
        return (1 - upper, upper)
    }

    /// The share of the standard normal distribution below z.
    package static func normalCDF(_ z: Double) -> Double { 0.5 * erfc(-z / 2.squareRoot()) }

    /// The share of the standard normal distribution above z, without loss in the far tail.
    package static func normalSurvival(_ z: Double) -> Double { 0.5 * erfc(z / 2.squareRoot()) }

    /// The value that a share p of the standard normal distribution lies below; infinite at 0 and 1.
    ///
    /// Solved by Halley steps on the distribution function from a rational start (Abramowitz and Stegun 26.2.23).
    package static func normalQuantile(_ p: Double) -> Double {
        if p <= 0 { return -.infinity }
        if p >= 1 { return .infinity }
        if p > 0.5 { return -normalQuantile(1 - p) }
        let t = (-2 * log(p)).squareRoot()
        let numerator = 2.515517 + t * (0.802853 + t * 0.010328)
        var z = numerator / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t
        for _ in 0..<4 {
            let density = exp(-z * z / 2) / (2 * Double.pi).squareRoot()
            guard density > 0 else { break }
            let step = (normalCDF(z) - p) / density
            z -= step / (1 + z * step / 2)
            if abs(step) < 1e-15 * max(1, abs(z)) { break }
        }
        return z
    }

    /// The chance that a chi-squared variable exceeds x.
    package static func chiSquareSurvival(_ x: Double, degreesOfFreedom: Int) -> Double {
        regularisedGamma(Double(degreesOfFreedom) / 2, x / 2).upper
    }
}
