import API
import Foundation
import Manifests
import Stats

/// The judgement of a_b_testing: which side has more of an outcome, at any look. Pure.
///
/// Counts are clients, and those of them with the outcome. Given that a client had it, the chance that it was one of the
/// new side is p·r / (p·r + 1 - p), with p the new side's share of clients and r how many times as often it comes about:
/// the same test as of errors, on both sides with half of alpha each.
extension AnalysisRecord {
    /// Chance of a false alarm about the split itself.
    static let mismatchAlpha = 0.001

    init(test settings: RolloutSpec, canary: Int, stable: Int, step: Int, at now: Timestamp) {
        self.init()
        name = RolloutPlan.outcome
        self.step = step
        test = settings.test
        spec.built_in = .error_rate
        spec.max_duration = settings.test?.for ?? spec.max_duration
        spec.interval = .seconds(5)
        alpha = settings.test?.alpha ?? 0.05
        (self.canary, self.stable) = (canary, stable)
        (started_at, next_at) = (now, now)
        message = "it waits for outcomes"
    }

    func split(
        _ new: Counts, _ old: Counts, _ test: ABTestSpec, _ look: inout AnalysisLook, _ now: Timestamp
    ) -> Reading {
        let clients = "\(new.requests) clients of revision \(canary) and \(old.requests) of revision \(stable)"
        let mismatch = Sequential.mismatchEvidence(
            first: Int(new.requests), second: Int(old.requests), meantShare: Double(test.share) / 100)
        if mismatch >= log(1 / Self.mismatchAlpha) {
            return .settled(
                .inconclusive, "the split is not the one that was meant, \(test.share) %: \(clients)")
        }
        guard min(new.requests, old.requests) >= Int64(test.min_entities) else {
            return isOver(now)
                ? .settled(.inconclusive, "too few clients in \(test.for): \(clients)")
                : .wait("\(clients), of at least \(test.min_entities) each")
        }
        let share = Double(new.requests) / Double(new.requests + old.requests)
        let (c, b) = (Int(new.errors), Int(old.errors))
        let more = Sequential.ratioEvidence(canaryErrors: c, baselineErrors: b, canaryShare: share, tolerance: 0)
        let fewer = Sequential.ratioEvidence(canaryErrors: b, baselineErrors: c, canaryShare: 1 - share, tolerance: 0)
        let bound = log(2 / alpha)
        let isIncrease = test.goal == .increase
        (look.evidence, look.bound) = (isIncrease ? fewer : more, bound)
        let facts = report(new, old, test)
        if (isIncrease ? more : fewer) >= bound { return .settled(.passed, "\(facts): it is better") }
        if (isIncrease ? fewer : more) >= bound { return .settled(.failed, "\(facts): it is worse") }
        return isOver(now)
            ? .settled(.inconclusive, "\(facts): undecided after \(test.for)") : .wait("\(facts): not sure yet")
    }

    /// The rates, and how many times as often, with the interval that holds at any look.
    private func report(_ new: Counts, _ old: Counts, _ test: ABTestSpec) -> String {
        let share = Double(new.requests) / Double(new.requests + old.requests)
        let found = Sequential.shareInterval(successes: Int(new.errors), failures: Int(old.errors), alpha: alpha)
        func ratio(_ theta: Double) -> String {
            let ratio = theta / (1 - theta) * (1 - share) / share
            return ratio > 1000 ? "∞" : Self.rounded(ratio)
        }
        let rates = [new, old].map { $0.errorRate.map(Self.percent) ?? "–" }
        return
            "\(test.outcome) is \(rates[0]) of \(new.requests) clients of revision \(canary) and \(rates[1]) of "
            + "\(old.requests) of revision \(stable), \(ratio(found.low)) to \(ratio(found.high)) times as often"
    }
}
