import Testing

@testable import Stats

/// Reference values: scipy 1.17.1 `special`, and mpmath with 60 digits for logarithms.
struct SpecialTests {
    @Test(arguments: [
        (0.3, 2.5, 4, 0.3521975859067672, 0.6478024140932328),
        (0.001, 3, 50, 2.1303217165867526e-05, 0.9999786967828341),
        (0.9, 10_000, 1_200, 0.9935368876395739, 0.006463112360425959),
        (0.5, 1e6, 1e6, 0.5, 0.5),
        (0.999, 0.5, 0.5, 0.9798649583666235, 0.0201350416333775),
    ])
    func `the incomplete beta function is scipy's`(
        x: Double, a: Double, b: Double, lower: Double, upper: Double
    ) {
        #expect(isClose(Special.regularisedBeta(x, a, b), lower, relative: 1e-8))
        #expect(isClose(Special.regularisedBeta(1 - x, b, a), upper, relative: 1e-8))
    }

    @Test func `the incomplete beta function keeps its digits where it is too small for a double`() {
        #expect(isClose(Special.logRegularisedBeta(0.1, 400, 3).lower, -909.94693772384814, relative: 1e-12))
        #expect(isClose(Special.logRegularisedBeta(0.01, 300, 2).lower, -1375.853962309922, relative: 1e-12))
        #expect(Special.logRegularisedBeta(0, 2, 3) == (-.infinity, 0))
        #expect(Special.logRegularisedBeta(1, 2, 3) == (0, -.infinity))
    }

    @Test(arguments: [
        (0.5, 0.1, 0.34527915398142317, 0.6547208460185768),
        (3, 2, 0.32332358381693654, 0.6766764161830634),
        (10, 30, 0.9999928782491372, 7.121750862815593e-06),
        (1_000, 1_100, 0.9989406767460701, 0.0010593232539299773),
        (0.5, 400, 1, 5.395865611607819e-176),
    ])
    func `the incomplete gamma function is scipy's`(a: Double, x: Double, lower: Double, upper: Double) {
        let gamma = Special.regularisedGamma(a, x)
        #expect(isClose(gamma.lower, lower, relative: 1e-10))
        #expect(isClose(gamma.upper, upper, relative: 1e-10, absolute: 0))
    }

    @Test func `the normal distribution and its quantile are scipy's and undo each other`() {
        #expect(isClose(Special.normalCDF(-8), 6.22096057427174e-16, absolute: 0))
        #expect(isClose(Special.normalCDF(-1.96), 0.024997895148220435))
        #expect(isClose(Special.normalSurvival(6), 9.865876450376946e-10, absolute: 0))
        for (p, z) in [
            (1e-300, -37.0470962993612), (1e-10, -6.361340902404056), (0.025, -1.9599639845400545), (0.5, 0),
            (0.8, 0.8416212335729143),
        ] {
            #expect(isClose(Special.normalQuantile(p), z))
        }
        #expect(Special.normalQuantile(0) == -.infinity)
        #expect(Special.normalQuantile(1) == .infinity)
        for z in stride(from: -6.0, through: 6, by: 0.25) {
            #expect(isClose(Special.normalQuantile(Special.normalCDF(z)), z, relative: 1e-6))
        }
    }

    @Test func `logarithms of gamma are scipy's`() {
        #expect(isClose(Special.logGamma(0.5), 0.5723649429247))
        #expect(isClose(Special.logGamma(3.7), 1.428072326665388))
        #expect(isClose(Special.logGamma(1e6), 12_815_504.569147611))
    }

    @Test func `quantiles are numpy's`() throws {
        let values = [3.0, 1, 4, 1, 5, 9, 2, 6]
        #expect(try Descriptive.quantile(values, 0.25) == 1.75)
        #expect(try Descriptive.median(values) == 3.5)
        #expect(try Descriptive.quantile(values, 1) == 9)
        #expect(try Descriptive.mean(values) == 3.875)
        #expect(isClose(try Descriptive.standardDeviation(values), 2.5708704751503917))
        #expect(isClose(try Descriptive.standardDeviation(values, degreesOfFreedom: 1), 2.748376143938713))
        #expect(throws: StatsError.self) { try Descriptive.quantile(values, 1.5) }
        #expect(throws: StatsError.self) { try Descriptive.mean([]) }
        #expect(throws: StatsError.self) { try Descriptive.mean([1, .nan]) }
        #expect(throws: StatsError.self) { try Descriptive.standardDeviation([1], degreesOfFreedom: 1) }
    }
}
