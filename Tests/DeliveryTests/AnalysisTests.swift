import API
import Foundation
import Manifests
import Stats
import Testing

@testable import Delivery

private let zero = Timestamp(microseconds: 1_000_000_000_000)

private func settings(_ judge: String, metric: String = "error_rate", more: String = "") throws -> RolloutSpec {
    let yaml =
        "{ strategy: canary, steps: [{ weight: 10 }, { analyze: [a] }], analysis: { a: { built_in: \(metric), judge: \(judge)\(more.isEmpty ? "" : ", \(more)") } } }"
    return try RolloutSpec(json: YAML.documents(yaml)[0].value, at: [])
}

/// Traffic of two revisions, drawn minute by minute.
private struct Stream {
    var generator: Seeded
    var canary = Counts()
    var stable = Counts()

    mutating func minute(_ requests: Int, share: Double, errors: (canary: Double, stable: Double)) {
        for _ in 0..<requests {
            let isCanary = Double.random(in: 0..<1, using: &generator) < share
            let fails = Double.random(in: 0..<1, using: &generator) < (isCanary ? errors.canary : errors.stable)
            if isCanary { canary.requests += 1 } else { stable.requests += 1 }
            if fails { if isCanary { canary.errors += 1 } else { stable.errors += 1 } }
        }
    }
}

/// Runs one analysis over so many looks; at which it failed, if it did.
private func simulate(
    seed: UInt64, _ spec: RolloutSpec, perMinute: Int, share: Double = 0.1, looks: Int = 20,
    errors: (canary: Double, stable: Double)
) -> (verdict: AnalysisStatus.Verdict, look: Int) {
    var stream = Stream(generator: Seeded(seed))
    var record = AnalysisRecord("a", step: 1, settings: spec, canary: (2, Counts()), stable: (1, Counts()), at: zero)
    for look in 1...looks {
        stream.minute(perMinute, share: share, errors: errors)
        record.look(canary: stream.canary, stable: stream.stable, at: zero.advanced(by: .seconds(60 * look)))
        if record.verdict != .running { return (record.verdict, look) }
    }
    return (record.verdict, looks)
}

@Suite struct AnalysisTests {
    private static let sequential = "{ method: sequential, max_increase: 20%, min_samples: 50 }"

    @Test(arguments: [(600, 0.005), (60, 0.005), (600, 0.012), (60, 0.05)])
    func `harmless revisions are not aborted more often than alpha allows`(perMinute: Int, rate: Double) throws {
        let spec = try settings(Self.sequential)
        let trials = 200
        let failed = (0..<trials).count { trial in
            simulate(seed: UInt64(1000 + trial), spec, perMinute: perMinute, errors: (rate, rate)).verdict == .failed
        }
        // Alpha is 5 %; the test is far below it, as the table in the specification has it (0.2 to 1.6 %).
        #expect(failed <= 10, "\(failed) of \(trials), seeds 1000...")
    }

    @Test func `a broken canary is caught, and the sooner the worse it is`() throws {
        let spec = try settings(Self.sequential)
        // The row "2× errors, 100 rps" of the specification, which has no tolerance: 99.7 %.
        let strict = try settings("{ method: sequential, max_increase: 0%, min_samples: 50 }")
        let slight = (0..<50).map { simulate(seed: UInt64(2000 + $0), strict, perMinute: 6000, errors: (0.01, 0.005)) }
        #expect(slight.count { $0.verdict == .failed } >= 48)
        let broken = (0..<50).map { simulate(seed: UInt64(3000 + $0), spec, perMinute: 600, errors: (0.2, 0.005)) }
        #expect(broken.allSatisfy { $0.verdict == .failed && $0.look <= 3 })
    }

    @Test func `a stable revision without errors is compared with as well`() throws {
        let spec = try settings(Self.sequential)
        let outcome = simulate(seed: 7, spec, perMinute: 600, errors: (0.1, 0))
        #expect(outcome.verdict == .failed)
        #expect(outcome.look <= 4)
    }

    @Test func `evidence goes on over a change of weight, and a harmless one stays so`() throws {
        let spec = try settings(Self.sequential, more: "max_duration: 100h")
        var failed = 0
        for seed in 0..<100 {
            var stream = Stream(generator: Seeded(UInt64(4000 + seed)))
            var record = AnalysisRecord(
                "a", step: -1, settings: spec, canary: (2, Counts()), stable: (1, Counts()), at: zero)
            for look in 1...30 {
                // The error rate is five times as high under the second weight: of both revisions.
                let rate = look > 10 && look <= 20 ? 0.05 : 0.01
                stream.minute(300, share: look <= 10 ? 0.1 : look <= 20 ? 0.5 : 0.9, errors: (rate, rate))
                record.look(canary: stream.canary, stable: stream.stable, at: zero.advanced(by: .seconds(60 * look)))
                if look == 10 || look == 20 { record.turn(canary: stream.canary, stable: stream.stable) }
            }
            if record.verdict == .failed { failed += 1 }
        }
        #expect(failed <= 5, "\(failed) of 100, seeds 4000...")
    }

    @Test func `little traffic holds, and at the end is inconclusive`() throws {
        let spec = try settings("{ method: sequential, min_samples: 100 }", more: "max_duration: 5m")
        var record = AnalysisRecord(
            "a", step: 1, settings: spec, canary: (2, Counts()), stable: (1, Counts()), at: zero)
        record.look(
            canary: Counts(requests: 99, errors: 99), stable: Counts(requests: 500, errors: 0),
            at: zero.advanced(by: .seconds(60)))
        #expect(record.verdict == .running)
        #expect(record.message == "too little traffic to judge: 99 of at least 100 requests to revision 2")
        record.look(
            canary: Counts(requests: 200, errors: 99), stable: Counts(requests: 3, errors: 0),
            at: zero.advanced(by: .seconds(120)))
        #expect(record.verdict == .running)
        #expect(record.message.hasSuffix("3 of at least 20 to revision 1"))
        record.look(
            canary: Counts(requests: 200, errors: 0), stable: Counts(requests: 3, errors: 0),
            at: zero.advanced(by: .seconds(300)))
        #expect(record.verdict == .inconclusive)
    }

    @Test(arguments: [("pass", AnalysisStatus.Verdict.passed), ("fail", .failed), ("hold", .running)])
    func `what no data means is said by no_data`(policy: String, verdict: AnalysisStatus.Verdict) throws {
        let spec = try settings("{ min_samples: 100 }", more: "no_data: \(policy)")
        var record = AnalysisRecord(
            "a", step: 1, settings: spec, canary: (2, Counts()), stable: (1, Counts()), at: zero)
        record.look(canary: Counts(), stable: Counts(), at: zero.advanced(by: .seconds(10)))
        #expect(record.verdict == verdict)
    }

    @Test func `a harmless canary passes on evidence, on its number of looks, or at the end of its time`() throws {
        let (canary, stable) = (Counts(requests: 5000, errors: 50), Counts(requests: 5000, errors: 90))
        var sure = AnalysisRecord(
            "a", step: 1, settings: try settings(Self.sequential), canary: (2, Counts()), stable: (1, Counts()),
            at: zero)
        sure.look(canary: canary, stable: stable, at: zero.advanced(by: .seconds(10)))
        #expect(sure.verdict == .passed)
        #expect(
            sure.message
                == "50 of 5000 requests failed on revision 2, 90 of 5000 on revision 1: not worse by more than 20%")
        var counted = AnalysisRecord(
            "a", step: 1, settings: try settings(Self.sequential, more: "count: 2"), canary: (2, Counts()),
            stable: (1, Counts()), at: zero)
        let quiet = Counts(requests: 100, errors: 0)
        counted.look(canary: quiet, stable: quiet, at: zero.advanced(by: .seconds(10)))
        #expect(counted.verdict == .running)
        counted.look(canary: quiet, stable: quiet, at: zero.advanced(by: .seconds(20)))
        #expect(counted.verdict == .passed)
        var timed = AnalysisRecord(
            "a", step: 1, settings: try settings(Self.sequential, more: "max_duration: 60s"), canary: (2, Counts()),
            stable: (1, Counts()), at: zero)
        timed.look(canary: quiet, stable: quiet, at: zero.advanced(by: .seconds(59)))
        #expect(timed.verdict == .running)
        timed.look(canary: quiet, stable: quiet, at: zero.advanced(by: .seconds(60)))
        #expect(timed.verdict == .passed)
    }

    @Test(arguments: [("0s", 10), ("3s", 3), ("2m", 120)])
    func `the first look comes after initial_delay, and without one after an interval`(delay: String, first: Int) throws
    {
        let spec = try settings(Self.sequential, more: "interval: 10s, initial_delay: \(delay)")
        var record = AnalysisRecord(
            "a", step: 1, settings: spec, canary: (2, Counts()), stable: (1, Counts()), at: zero)
        #expect(record.next_at == zero.advanced(by: .seconds(first)))
        record.look(canary: Counts(), stable: Counts(), at: record.next_at)
        #expect(record.next_at == zero.advanced(by: .seconds(first + 10)))
    }

    @Test func `counts of before the analysis do not count`() throws {
        let old = Counts(requests: 9000, errors: 4500)
        var record = AnalysisRecord(
            "a", step: 1, settings: try settings(Self.sequential), canary: (2, old), stable: (1, Counts()), at: zero)
        record.look(
            canary: old + Counts(requests: 100, errors: 0), stable: Counts(requests: 900, errors: 0),
            at: zero.advanced(by: .seconds(10)))
        #expect(record.verdict == .running)
        #expect(record.looks[0].canary_requests == 100)
        #expect(record.looks[0].canary_errors == 0)
    }

    @Test func `alpha is split over all that may abort`() throws {
        let yaml =
            "{ strategy: canary, steps: [{ analyze: [a, b] }, { analyze: [a] }], background: [b], analysis: { a: { built_in: error_rate }, b: { built_in: latency_p99 } } }"
        let spec = try RolloutSpec(json: YAML.documents(yaml)[0].value, at: [])
        let record = AnalysisRecord(
            "a", step: 0, settings: spec, canary: (2, Counts()), stable: (1, Counts()), at: zero)
        #expect(abs(record.alpha - 0.05 / 4) < 1e-12)
        var looked = record
        looked.look(
            canary: Counts(requests: 200, errors: 0), stable: Counts(requests: 200, errors: 0),
            at: zero.advanced(by: .seconds(10)))
        #expect(looked.looks[0].bound.map { abs($0 - log(80)) < 1e-9 } == true)
    }

    @Test func `a slow canary is caught by the share of answers slower than the stable revision's`() throws {
        func counts(_ requests: Int, slow: Double, seed: UInt64) -> Counts {
            var (histogram, generator) = (LatencyHistogram(), Seeded(seed))
            for _ in 0..<requests {
                let isSlow = Double.random(in: 0..<1, using: &generator) < slow
                histogram.record(microseconds: isSlow ? 90_000 : UInt64.random(in: 1000...5000, using: &generator))
            }
            return Counts(requests: Int64(requests), errors: 0, latency: histogram)
        }
        let past = counts(5000, slow: 0.005, seed: 1)
        func verdict(_ slow: Double, seed: UInt64) throws -> AnalysisRecord {
            let spec = try settings(Self.sequential, metric: "latency_p99", more: "max_duration: 1m")
            var record = AnalysisRecord(
                "a", step: 1, settings: spec, canary: (2, Counts()), stable: (1, past), at: zero)
            record.look(
                canary: counts(1000, slow: slow, seed: seed), stable: past + counts(1000, slow: 0.005, seed: seed + 1),
                at: zero.advanced(by: .seconds(60)))
            return record
        }
        let slow = try verdict(0.2, seed: 10)
        #expect(slow.verdict == .failed)
        #expect(slow.message.hasPrefix("the 99th percentile of the time is 8"))
        #expect(try verdict(0.005, seed: 20).verdict == .passed)
    }

    @Test(arguments: [
        ("success: \"result < 0.01\"", 0.005, AnalysisStatus.Verdict.passed),
        ("success: \"result < 0.01\"", 0.02, .failed),
        ("failure: \"result > 5%\"", 0.04, .passed), ("failure: \"result > 5%\"", 0.06, .failed),
        ("success: \"result < 0.01\", failure: \"result > 0.1\"", 0.05, .inconclusive),
        ("success: \"result < 0.5\", failure: \"result > 0.1\"", 0.2, .failed),
    ])
    func `thresholds are what they say`(judge: String, rate: Double, verdict: AnalysisStatus.Verdict) throws {
        let spec = try settings("{ method: threshold, \(judge), min_samples: 100 }")
        var record = AnalysisRecord(
            "a", step: 1, settings: spec, canary: (2, Counts()), stable: (1, Counts()), at: zero)
        record.look(
            canary: Counts(requests: 1000, errors: Int64(1000 * rate)), stable: Counts(),
            at: zero.advanced(by: .seconds(10)))
        #expect(record.verdict == verdict)
    }

    @Test func `bad looks are forgiven up to the limit`() throws {
        let spec = try settings(
            "{ method: threshold, success: \"result < 0.01\", min_samples: 1 }", more: "failure_limit: 2")
        var record = AnalysisRecord(
            "a", step: 1, settings: spec, canary: (2, Counts()), stable: (1, Counts()), at: zero)
        for look in 1...3 {
            #expect(record.verdict == .running)
            record.look(
                canary: Counts(requests: 10, errors: 1), stable: Counts(), at: zero.advanced(by: .seconds(10 * look)))
        }
        #expect(record.verdict == .failed)
        #expect(
            record.message == "the error rate of revision 2 is 10.0 % over 10 requests: \"result < 0.01\" does not hold"
        )
    }

    @Test(arguments: [
        ("result < 0.01", 0.005, true), ("result<=250ms", 250, true), (" result >  5 % ", 0.06, true),
        ("result >= 1", 0.5, false), ("result == 0", 0, true), ("result != 0", 0, false),
    ])
    func `comparisons are read and hold`(text: String, value: Double, holds: Bool) throws {
        #expect(try #require(Comparison(text)).holds(for: value) == holds)
    }

    @Test(arguments: [
        "", "result", "result <", "result < x", "value < 1", "result = 1", "result < nan", "result < 1 && result > 0",
    ])
    func `what is no comparison is refused`(text: String) {
        #expect(Comparison(text) == nil)
    }

    @Test func `counts survive the store`() throws {
        var counts = Counts(requests: 3, errors: 1)
        counts.latency.record(microseconds: 1500)
        counts.latency.record(microseconds: 5)
        let read = try Counts(json: JSONParser.parse(counts.json.text), at: [])
        #expect(read.latency.buckets == counts.latency.buckets)
        #expect((read.requests, read.errors) == (3, 1))
    }
}
