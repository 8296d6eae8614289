import Foundation
import Testing

@testable import Stats

struct SequentialTests {
    /// Values by mpmath with 60 digits from the integral itself.
    @Test(arguments: [
        (6, 5, 0.1, 0.1, 5.29513883456331183, -1.8683067463432098),
        (50, 400, 0.1, 0.1, -3.77825608262277168, -1.9569468523655966),
        (0, 20, 0.1, 0.25, -3.12790404329459131, 1.593308764956957),
        (3_000, 20_000, 0.1, 0.0, 103.911918453959124, -6.6617501155205125),
        (1, 0, 0.5, 0.0, 0.425652879663834805, -0.69314718055994531),
    ])
    func `evidence of a ratio is the integral`(
        canary: Int, baseline: Int, share: Double, tolerance: Double, worse: Double, safe: Double
    ) {
        let evidence = Sequential.ratioEvidence(
            canaryErrors: canary, baselineErrors: baseline, canaryShare: share, tolerance: tolerance)
        #expect(isClose(evidence, worse, relative: 1e-8))
        let safety = Sequential.ratioSafety(
            canaryErrors: canary, baselineErrors: baseline, canaryShare: share, tolerance: tolerance)
        #expect(isClose(safety, safe, relative: 1e-8))
    }

    @Test func `nothing to compare is no evidence`() {
        for share in [0.0, 1, -1, .nan] {
            #expect(
                Sequential.ratioEvidence(canaryErrors: 50, baselineErrors: 0, canaryShare: share, tolerance: 0) == 0)
        }
        let none = Sequential.ratioEvidence(canaryErrors: 0, baselineErrors: 0, canaryShare: 0.1, tolerance: 0.1)
        #expect(isClose(none, 0))
        #expect(
            isClose(Sequential.ratioSafety(canaryErrors: 0, baselineErrors: 0, canaryShare: 0.1, tolerance: 0.1), 0))
    }

    @Test func `millions of errors overflow nothing`() {
        let evidence = Sequential.ratioEvidence(
            canaryErrors: 2_000_000, baselineErrors: 9_000_000, canaryShare: 0.1, tolerance: 0.1)
        #expect(evidence.isFinite && evidence > 100_000)
        let safety = Sequential.ratioSafety(
            canaryErrors: 1_000_000, baselineErrors: 9_000_000, canaryShare: 0.1, tolerance: 0.1)
        #expect(safety.isFinite && safety > 1_000)
    }

    /// Shares of rollouts that alarm within 20 looks of a minute each.
    private func alarms(
        _ random: inout SplitMix64, trials: Int, requestsPerMinute: Int, share: Double, canary: Double,
        baseline: (_ look: Int) -> Double, canaryFollows: Bool = false,
        evidence: (_ canaryErrors: Int, _ baselineErrors: Int) -> Double
    ) -> Double {
        let canaryRequests = Int(Double(requestsPerMinute) * share)
        var alarmed = 0
        for _ in 0..<trials {
            var (c, b) = (0, 0)
            for look in 0..<20 {
                let rate = baseline(look)
                let canaryRate = canaryFollows ? rate * canary : canary
                for _ in 0..<canaryRequests where random.uniform() < canaryRate { c += 1 }
                for _ in 0..<(requestsPerMinute - canaryRequests) where random.uniform() < rate { b += 1 }
                if evidence(c, b) >= log(1 / 0.05) {
                    alarmed += 1
                    break
                }
            }
        }
        return Double(alarmed) / Double(trials)
    }

    @Test func `a canary as good as the baseline is called worse in at most one of twenty, whatever all errors do`() {
        print("seed \(testSeed)")
        var random = SplitMix64(seed: testSeed)
        let worse = { Sequential.ratioEvidence(canaryErrors: $0, baselineErrors: $1, canaryShare: 0.1, tolerance: 0) }
        let steady = alarms(
            &random, trials: 300, requestsPerMinute: 600, share: 0.1, canary: 1, baseline: { _ in 0.005 },
            canaryFollows: true, evidence: worse)
        let outage = alarms(
            &random, trials: 300, requestsPerMinute: 600, share: 0.1, canary: 1,
            baseline: { $0 > 8 && $0 < 12 ? 0.2 : 0.005 }, canaryFollows: true, evidence: worse)
        print("false alarms: steady \(steady), through an outage \(outage)")
        #expect(steady <= 0.05)
        #expect(outage <= 0.05)
    }

    @Test func `ten times the errors are found in most rollouts of a request a second`() {
        print("seed \(testSeed)")
        var random = SplitMix64(seed: testSeed)
        let found = alarms(
            &random, trials: 300, requestsPerMinute: 60, share: 0.1, canary: 0.05, baseline: { _ in 0.005 }
        ) { Sequential.ratioEvidence(canaryErrors: $0, baselineErrors: $1, canaryShare: 0.1, tolerance: 0.1) }
        let foundWithTraffic = alarms(
            &random, trials: 60, requestsPerMinute: 1_200, share: 0.1, canary: 0.05, baseline: { _ in 0.005 }
        ) { Sequential.ratioEvidence(canaryErrors: $0, baselineErrors: $1, canaryShare: 0.1, tolerance: 0.1) }
        print("found: \(found) at 1 a second, \(foundWithTraffic) at 20 a second")
        #expect(found > 0.65)
        #expect(foundWithTraffic == 1)
    }

    @Test func `safety is seldom claimed of a canary at the edge and mostly of a good one`() {
        print("seed \(testSeed)")
        var random = SplitMix64(seed: testSeed)
        let safe = { Sequential.ratioSafety(canaryErrors: $0, baselineErrors: $1, canaryShare: 0.5, tolerance: 0.5) }
        let wrong = alarms(
            &random, trials: 200, requestsPerMinute: 600, share: 0.5, canary: 1.5, baseline: { _ in 0.02 },
            canaryFollows: true, evidence: safe)
        let right = alarms(
            &random, trials: 100, requestsPerMinute: 600, share: 0.5, canary: 1, baseline: { _ in 0.02 },
            canaryFollows: true, evidence: safe)
        print("claimed safe: \(wrong) at the edge, \(right) of good ones")
        #expect(wrong <= 0.05)
        #expect(right > 0.5)
    }

    @Test func `the interval of a share holds what is likely, and narrows`() {
        let none = Sequential.shareInterval(successes: 0, failures: 0, alpha: 0.05)
        #expect(none == (0, 1))
        let few = Sequential.shareInterval(successes: 5, failures: 5, alpha: 0.05)
        let many = Sequential.shareInterval(successes: 500, failures: 500, alpha: 0.05)
        #expect(few.low < many.low && many.low < 0.5 && 0.5 < many.high && many.high < few.high)
        // At the edge the evidence is just the bound.
        let edge = few.low
        let evidence = Special.logBeta(6, 6) - 5 * log(edge) - 5 * log1p(-edge)
        #expect(isClose(evidence, log(20), relative: 1e-6))
        #expect(Sequential.shareInterval(successes: 40, failures: 0, alpha: 0.05).high == 1 - 1e-12)
    }

    @Test func `a split that is not the one that was meant is found, and one that is is not`() {
        #expect(Sequential.mismatchEvidence(first: 5_020, second: 4_980, meantShare: 0.5) < 0)
        #expect(Sequential.mismatchEvidence(first: 5_400, second: 4_600, meantShare: 0.5) > log(1_000))
    }

    @Test func `rejections keep the false ones few under any dependence`() {
        let strong = log(1_000.0)
        #expect(Sequential.rejections(logEvidence: [0, strong, 0, 0], alpha: 0.05) == [1])
        #expect(Sequential.rejections(logEvidence: [0, log(79.0), 0, 0], alpha: 0.05) == [])
        #expect(Sequential.rejections(logEvidence: [log(41.0), 0, log(41.0), 0], alpha: 0.05) == [0, 2])
        #expect(Sequential.rejections(logEvidence: [.nan, strong], alpha: 0.05) == [1])
        #expect(Sequential.rejections(logEvidence: [], alpha: 0.05) == [])
        #expect(Sequential.rejections(logEvidence: [strong], alpha: 0) == [])
    }
}
