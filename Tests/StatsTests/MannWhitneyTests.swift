import Testing

@testable import Stats

struct MannWhitneyTests {
    private let first = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    private let second = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]

    /// U and p by scipy 1.11 `mannwhitneyu(method="asymptotic")`, the shift by numpy: median of all differences.
    @Test func `U, p and the shift are the reference's`() throws {
        let found = try MannWhitney.compare(first, second, confidence: 0.98)
        #expect(found.u == 58)
        #expect(isClose(found.p, 0.13291945818531892, relative: 1e-9))
        #expect(isClose(found.shift, 0.56, relative: 1e-12))
        #expect(isClose(found.low, -0.5, relative: 1e-9))
        #expect(isClose(found.high, 1.232, relative: 1e-9))
    }

    @Test func `the other way round it is the other way round`() throws {
        let (there, back) = (
            try MannWhitney.compare(first, second, confidence: 0.98),
            try MannWhitney.compare(second, first, confidence: 0.98)
        )
        #expect(isClose(there.shift, -back.shift) && isClose(there.low, -back.high) && isClose(there.p, back.p))
    }

    @Test func `too few values say so, and all alike differ by nothing`() throws {
        #expect(throws: StatsError.self) { try MannWhitney.compare([1], [1, 2], confidence: 0.98) }
        let same = try MannWhitney.compare([2, 2, 2], [2, 2, 2], confidence: 0.98)
        #expect(same.p == 1 && same.shift == 0)
    }
}
