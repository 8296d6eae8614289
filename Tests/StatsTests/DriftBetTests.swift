import Foundation
import Testing

@testable import Stats

struct DriftBetTests {
    @Test func `ranks are shares of the reference with ties in the middle`() throws {
        let rank = try ReferenceRank([1, 2, 2, 4])
        #expect(rank.rank(0) == 0)
        #expect(rank.rank(1) == 0.125)
        #expect(rank.rank(2) == 0.5)
        #expect(rank.rank(3) == 0.75)
        #expect(rank.rank(9) == 1)
        #expect(isClose(rank.spread, (0.375 + 0 + 0 + 0.375) / 4))
        #expect(throws: StatsError.self) { try ReferenceRank([1]) }
    }

    /// The window in which evidence first reaches 1/0.05, or nil within `windows`.
    private func alarm(
        _ random: inout SplitMix64, _ reference: ReferenceRank, windows: Int, make: (inout SplitMix64) -> Double
    ) -> Int? {
        var bet = DriftBet(reference: reference)
        for window in 1...windows {
            bet.update((0..<200).map { _ in reference.rank(make(&random)) })
            if bet.logEvidence >= log(1 / 0.05) { return window }
        }
        return nil
    }

    @Test func `sixty stationary windows alarm in at most one of twenty`() throws {
        print("seed \(testSeed)")
        var random = SplitMix64(seed: testSeed)
        var alarms = 0
        for _ in 0..<20 {
            let reference = try ReferenceRank((0..<2_000).map { _ in random.normal() })
            if alarm(&random, reference, windows: 60, make: { $0.normal() }) != nil { alarms += 1 }
        }
        print("false alarms: \(alarms) of 20")
        #expect(alarms <= 1)
    }

    @Test func `a shift, a wider and a narrower spread are found within days`() throws {
        print("seed \(testSeed)")
        var random = SplitMix64(seed: testSeed)
        let reference = try ReferenceRank((0..<5_000).map { _ in random.normal() })
        for _ in 0..<5 {
            let up = try #require(alarm(&random, reference, windows: 60) { $0.normal() + 0.2 })
            let down = try #require(alarm(&random, reference, windows: 60) { $0.normal() - 0.2 })
            let wide = try #require(alarm(&random, reference, windows: 60) { $0.normal() * 1.3 })
            let narrow = try #require(alarm(&random, reference, windows: 60) { $0.normal() * 0.75 })
            #expect(max(up, down, wide, narrow) <= 12)
        }
    }

    @Test func `a late shift is found as soon by the sum that restarts`() throws {
        print("seed \(testSeed)")
        var random = SplitMix64(seed: testSeed)
        let reference = try ReferenceRank((0..<5_000).map { _ in random.normal() })
        var bet = DriftBet(reference: reference)
        for _ in 0..<40 { bet.update((0..<200).map { _ in reference.rank(random.normal()) }) }
        #expect(bet.logDetector < log(1_000))
        var days = 0
        while bet.logDetector < log(1_000), days < 30 {
            days += 1
            bet.update((0..<200).map { _ in reference.rank(random.normal() + 0.3) })
        }
        print("found after \(days) windows")
        #expect(days <= 12)
        #expect(bet.windows == 40 + days && bet.observations == 200 * (40 + days))
    }

    @Test func `ties of the reference are no drift`() throws {
        print("seed \(testSeed)")
        var random = SplitMix64(seed: testSeed)
        let reference = try ReferenceRank((0..<3_000).map { _ in random.uniform() < 0.7 ? 0 : 1 })
        #expect(alarm(&random, reference, windows: 60) { $0.uniform() < 0.7 ? 0 : 1 } == nil)
        #expect(alarm(&random, reference, windows: 60) { $0.uniform() < 0.5 ? 0 : 1 } != nil)
    }

    @Test func `the state goes on where it was stored`() throws {
        var bet = DriftBet(reference: try ReferenceRank((0..<100).map(Double.init)))
        bet.update([0.1, 0.9, 0.8, .nan])
        var restored = try JSONDecoder().decode(DriftBet.self, from: JSONEncoder().encode(bet))
        #expect(restored == bet)
        restored.update([0.7])
        bet.update([0.7])
        #expect(restored.logEvidence == bet.logEvidence)
        #expect(bet.logEvidence.isFinite)
    }
}
