import Testing

@testable import Stats

/// Samples are made by SplitMix64 from seed 7, the same in Python, where scipy 1.17.1 gave the values.
struct DriftTests {
    private let reference: [Double]
    private let current: [Double]
    private let large: (reference: [Double], current: [Double])

    init() {
        var random = SplitMix64(seed: 7)
        reference = (0..<120).map { _ in random.uniform() }
        current = (0..<80).map { _ in random.uniform() * 0.9 + 0.15 }
        large = ((0..<6_000).map { _ in random.uniform() }, (0..<5_000).map { _ in random.uniform() + 0.02 })
    }

    @Test func `random numbers are those of the reference implementation`() {
        #expect(reference[0] == 0.3898297483912715)
        #expect(current[0] == 0.6420516859914983)
    }

    @Test func `Kolmogorov–Smirnov is scipy's, exact and by its limit`() throws {
        let whole = try Drift.ks(reference: reference, current: current)
        #expect(isClose(whole.statistic, 0.15833333333333333))
        #expect(isClose(whole.pValue, 0.16751777254865047))
        let part = try Drift.ks(reference: current, current: Array(reference.prefix(30)))
        #expect(isClose(part.statistic, 0.16666666666666666))
        #expect(isClose(part.pValue, 0.5286904241954181))
        let mirrored = try Drift.ks(reference: Array(reference.prefix(30)), current: current)
        #expect(isClose(part.pValue, mirrored.pValue))
        #expect(6_000 * 5_000 > Drift.exactStepLimit)
        let limit = try Drift.ks(reference: large.reference, current: large.current)
        #expect(isClose(limit.statistic, 0.0349))
        #expect(isClose(limit.pValue, 0.0025398853539135456, relative: 0.01))
    }

    @Test func `equal samples do not drift`() throws {
        #expect(try Drift.ks(reference: reference, current: reference) == (0, 1))
        #expect(try Drift.wasserstein(reference: reference, current: reference) == 0)
        #expect(try Drift.jensenShannon(reference: [3, 4], current: [6, 8]) == 0)
        #expect(try Drift.psi(reference: [3, 4], current: [6, 8]).value == 0)
        #expect(try Drift.chiSquare(reference: [3, 4], current: [6, 8]).pValue == 1)
    }

    @Test func `samples without a value in common are as far apart as can be`() throws {
        let test = try Drift.ks(reference: [1, 2, 3], current: [4, 5, 6])
        #expect(test.statistic == 1)
        #expect(isClose(test.pValue, 0.1))
        #expect(try isClose(Drift.jensenShannon(reference: [5, 0], current: [0, 5]), 1))
        #expect(try isClose(Drift.wasserstein(reference: [1, 2, 3], current: [4, 5, 6]), 3))
        #expect(try Drift.largestDifference(reference: [5, 0], current: [0, 5]) == 1)
    }

    @Test func `Wasserstein is scipy's, in deviations of the reference with a floor`() throws {
        #expect(isClose(try Drift.wasserstein(reference: reference, current: current), 0.07670389822395596))
        let normalised = try Drift.wassersteinNormalised(reference: reference, current: current)
        #expect(isClose(normalised, 0.2600512768897297))
        #expect(isClose(try Drift.wassersteinNormalised(reference: [2, 2], current: [2.5]), 500))
    }

    @Test func `the stability index without drift is about its null mean`() throws {
        print("seed \(testSeed)")
        var random = SplitMix64(seed: testSeed)
        var sum = 0.0
        var small = 0
        var nullMean = 0.0
        for _ in 0..<300 {
            var (a, b) = ([Int](repeating: 0, count: 10), [Int](repeating: 0, count: 10))
            for _ in 0..<2_000 { a[Int(random.uniform() * 10)] += 1 }
            for _ in 0..<200 { b[Int(random.uniform() * 10)] += 1 }
            let psi = try Drift.psi(reference: a, current: b)
            sum += psi.value
            nullMean = psi.nullMean
            if psi.pValue < 0.05 { small += 1 }
        }
        #expect(isClose(nullMean, 9 * (1.0 / 2_000 + 1.0 / 200)))
        #expect(isClose(sum / 300, nullMean, relative: 0.15))
        #expect(small < 300 / 8)
    }

    @Test func `edges of quantiles hold equal counts and drop repeated values`() throws {
        let edges = try Drift.quantileEdges((0...100).map(Double.init), bins: 4)
        #expect(edges == [0, 25, 50, 75, 100])
        #expect(try Drift.histogram([-5, 0, 24.9, 25, 99, 100, 500], edges: edges) == [3, 1, 0, 3])
        #expect(try Drift.quantileEdges([1, 1, 1, 1, 2], bins: 4) == [1, 2])
        #expect(try Drift.quantileEdges([1, 1], bins: 4) == [1])
        #expect(try Drift.jensenShannonNumeric(reference: [1, 1], current: [7], edges: [1]) == 0)
    }

    @Test func `what has no value is an error and not a number`() {
        #expect(throws: StatsError.self) { try Drift.ks(reference: [], current: [1]) }
        #expect(throws: StatsError.self) { try Drift.wasserstein(reference: [1], current: [.nan]) }
        #expect(throws: StatsError.self) { try Drift.psi(reference: [1, 2], current: [1]) }
        #expect(throws: StatsError.self) { try Drift.chiSquare(reference: [0, 0], current: [1, 2]) }
        #expect(throws: StatsError.self) { try Drift.jensenShannon(reference: [-1, 2], current: [1, 2]) }
        #expect(throws: StatsError.self) { try Drift.histogram([1], edges: [2, 1]) }
        #expect(throws: StatsError.self) {
            try Drift.twoProportionZ(referenceSuccesses: 5, referenceCount: 4, currentSuccesses: 1, currentCount: 2)
        }
    }
}
