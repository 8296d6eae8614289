import Foundation
import Stats
import Testing

@testable import Delivery

/// The judge against the table of its design: 20 looks of a minute each, 2,000 trials a row, a fixed seed.
///
/// False alarms at most alpha in every row where nothing is wrong; power not below what the design measured for a judge
/// of this kind, by more than the two standard errors by which two such measurements differ. It prints the table.
@Suite(.timeLimit(.minutes(3))) struct JudgeTableTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        var requestsPerSecond: Double
        var share = 0.1
        var base: Double
        var canary: Double
        /// Share of the trials that must be aborted: at least when something is wrong, at most when nothing is.
        var power: Double?
        var testDescription: String { name }
        var isHarmless: Bool { power == nil }
    }

    static let trials = 2_000
    static let looks = 20
    static let alpha = 0.05

    static let rows = [
        Row(name: "A/A 100 rps, 0.5 %", requestsPerSecond: 100, base: 0.005, canary: 0.005),
        Row(name: "A/A 1 rps, 0.5 %", requestsPerSecond: 1, base: 0.005, canary: 0.005),
        Row(name: "A/A 100 rps, 1.2 %", requestsPerSecond: 100, base: 0.012, canary: 0.012),
        Row(name: "A/A 0.2 rps, 1.2 %", requestsPerSecond: 0.2, base: 0.012, canary: 0.012),
        Row(name: "2x errors, 100 rps", requestsPerSecond: 100, base: 0.005, canary: 0.01, power: 0.997),
        Row(name: "10x errors, 1 rps", requestsPerSecond: 1, base: 0.005, canary: 0.05, power: 0.81),
        Row(name: "10x errors, 0.2 rps", requestsPerSecond: 0.2, base: 0.005, canary: 0.05, power: 0.234),
        Row(
            name: "base 0, canary 1 %, 1 rps, 50/50", requestsPerSecond: 1, share: 0.5, base: 0, canary: 0.01,
            power: 0.397),
    ]

    /// Failures among `count` requests: the gaps between them are geometric.
    private static func failures(_ count: Int, _ rate: Double, _ random: inout Seeded) -> Int {
        guard rate > 0 else { return 0 }
        var (place, found) = (0, 0)
        while true {
            let gap = log(Double.random(in: Double.leastNonzeroMagnitude..<1, using: &random)) / log1p(-rate)
            place += Int(min(gap, 1e9)) + 1
            if place > count { return found }
            found += 1
        }
    }

    /// Share of the trials that abort, and after how many looks on average.
    private static func simulate(_ row: Row, seed: UInt64) -> (aborted: Double, looks: Double) {
        var random = Seeded(seed)
        let requests = Int((row.requestsPerSecond * 60).rounded())
        let canary = row.requestsPerSecond * 60 * row.share
        let bound = log(1 / alpha)
        var (aborted, spent) = (0, 0)
        for _ in 0..<trials {
            var (c, b, sent) = (0, 0, 0)
            for look in 1...looks {
                // Less than a whole request a minute comes to the canary: it has it every so many minutes.
                let total = Int((canary * Double(look)).rounded())
                let before = c
                c += failures(total - sent, row.canary, &random)
                b += failures(requests - (total - sent), row.base, &random)
                sent = total
                // Only another error of the canary can lift the evidence over the bound.
                guard c > before else { continue }
                let evidence = Sequential.ratioEvidence(
                    canaryErrors: c, baselineErrors: b, canaryShare: row.share, tolerance: 0)
                if evidence >= bound {
                    (aborted, spent) = (aborted + 1, spent + look)
                    break
                }
            }
        }
        return (Double(aborted) / Double(trials), aborted > 0 ? Double(spent) / Double(aborted) : 0)
    }

    @Test(arguments: rows)
    func `false alarms stay below alpha, and what is wrong is found`(row: Row) {
        let found = Self.simulate(row, seed: 20_261_126)
        let percent = (found.aborted * 1000).rounded() / 10
        print("judge | \(row.name) | aborted \(percent) % | after \((found.looks * 10).rounded() / 10) looks")
        if let power = row.power {
            #expect(found.aborted >= power - 2 * (2 * power * (1 - power) / Double(Self.trials)).squareRoot())
        } else {
            #expect(found.aborted <= Self.alpha)
        }
    }
}
