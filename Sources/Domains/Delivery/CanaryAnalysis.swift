import API
import Foundation
import Manifests
import Stats

/// The judge: what the counts of two revisions say of the newer one. Pure.
///
/// `sequential` compares with the stable revision in the same time by an always-valid test (conditional binomial
/// mixture, Lindon and Malek 2022, see `Stats.Sequential`): it may look as often as it likes, and is wrong about a
/// harmless revision with a chance of at most alpha. `threshold` takes fixed bounds.
extension AnalysisRecord {
    /// The least traffic of the stable revision that is compared with: below it nothing can be said.
    static let stableMinimum: Int64 = 20

    /// Begins an analysis at these totals.
    init(
        _ name: String, step: Int, settings: RolloutSpec, canary: (revision: Int, total: Counts),
        stable: (revision: Int, total: Counts), at now: Timestamp
    ) {
        self.init()
        self.name = name
        self.step = step
        spec = settings.analysis[name] ?? AnalysisSpec()
        alpha = spec.judge.alpha / Double(RolloutPlan.gates(settings))
        (self.canary, self.stable) = (canary.revision, stable.revision)
        (canary_start, canary_segment) = (canary.total, canary.total)
        (stable_start, stable_segment) = (stable.total, stable.total)
        started_at = now
        next_at = now.advanced(by: spec.interval.duration)
        message = "it waits for its first look"
        // The stable revision's past says what slow is; without enough of it, its first looks do.
        if stable.total.requests >= spec.judge.min_samples { slow_above = share.flatMap(stable.total.latency.quantile) }
    }

    /// The quantile that is looked at; nil for the error rate.
    var share: Double? {
        switch spec.built_in {
        case .error_rate: nil
        case .latency_p50: 0.5
        case .latency_p95: 0.95
        case .latency_p99: 0.99
        }
    }

    /// Looks once, at these totals.
    mutating func look(canary: Counts, stable: Counts, at now: Timestamp) {
        guard verdict == .running else { return }
        next_at = now.advanced(by: spec.interval.duration)
        let (new, old) = (canary - canary_start, stable - stable_start)
        var look = AnalysisLook()
        look.at = now
        (look.canary_requests, look.canary_errors) = (new.requests, new.errors)
        (look.stable_requests, look.stable_errors) = (old.requests, old.errors)
        look.value = share.map(new.milliseconds) ?? new.errorRate
        look.baseline = share.map(old.milliseconds) ?? old.errorRate
        switch spec.judge.method {
        case .sequential: compare(canary, stable, new, old, &look, now)
        case .threshold: measure(new, look.value, now)
        }
        looks.append(look)
        if looks.count > Self.lookLimit { looks.removeFirst(looks.count - Self.lookLimit) }
    }

    /// The weight changes: evidence so far is kept, counting begins anew.
    mutating func turn(canary: Counts, stable: Counts) {
        guard verdict == .running else { return }
        let found = evidence(canary - canary_segment, stable - stable_segment)
        evidence_before += found.worse
        safety_before += found.safe
        (canary_segment, stable_segment) = (canary, stable)
    }

    /// The rollout is over: what was running has no more to say.
    mutating func close(canary: Counts) {
        guard verdict == .running else { return }
        let requests = (canary - canary_start).requests
        let isEnough = requests >= Int64(spec.judge.min_samples)
        verdict = isEnough && bad <= spec.failure_limit ? .passed : .inconclusive
        message =
            isEnough
            ? "nothing was wrong to the end, with \(requests) requests"
            : "the rollout ended after \(requests) requests, too few to judge"
    }

    // MARK: - Sequential

    private mutating func compare(
        _ canary: Counts, _ stable: Counts, _ new: Counts, _ old: Counts, _ look: inout AnalysisLook, _ now: Timestamp
    ) {
        let bound = log(1 / alpha)
        look.bound = bound
        guard new.requests >= Int64(spec.judge.min_samples), old.requests >= Self.stableMinimum else {
            return lack(new, old, now)
        }
        guard fixSlow(canary, stable, old) else {
            message = "it learns what is slow from revision \(self.stable)"
            return
        }
        let found = evidence(canary - canary_segment, stable - stable_segment)
        let (worse, safe) = (evidence_before + found.worse, safety_before + found.safe)
        look.evidence = worse
        let facts = words(new, old)
        if worse >= bound {
            bad += 1
            message = "\(facts): revision \(self.canary) is worse by more than \(spec.judge.max_increase)"
            if bad > spec.failure_limit { verdict = .failed }
        } else if isBackground {
            message = "\(facts): no harm seen"
        } else if safe >= bound {
            settle(.passed, "\(facts): not worse by more than \(spec.judge.max_increase)")
        } else if let count = spec.count, good + 1 >= count {
            settle(.passed, "\(facts): no harm seen in \(count) looks")
        } else if isOver(now) {
            settle(.passed, "\(facts): no harm seen in \(spec.max_duration)")
        } else {
            good += 1
            message = "\(facts): not sure yet"
        }
    }

    /// Evidence of one span of time with one weight.
    private func evidence(_ new: Counts, _ old: Counts) -> (worse: Double, safe: Double) {
        let (c, b): (Int, Int)
        if share == nil {
            (c, b) = (Int(new.errors), Int(old.errors))
        } else if let slow_above {
            let bound = UInt64(slow_above)
            (c, b) = (Int(new.latency.count(above: bound)), Int(old.latency.count(above: bound)))
        } else {
            return (0, 0)
        }
        let all = new.requests + old.requests
        guard all > 0 else { return (0, 0) }
        let p = Double(new.requests) / Double(all)
        let tolerance = spec.judge.max_increase.fraction
        return (
            Sequential.ratioEvidence(canaryErrors: c, baselineErrors: b, canaryShare: p, tolerance: tolerance),
            Sequential.ratioSafety(canaryErrors: c, baselineErrors: b, canaryShare: p, tolerance: tolerance)
        )
    }

    /// What is slow must be fixed before it is counted, or the test would not hold.
    ///
    /// False while it is not.
    private mutating func fixSlow(_ canary: Counts, _ stable: Counts, _ old: Counts) -> Bool {
        guard let share, slow_above == nil else { return true }
        slow_above = old.latency.quantile(share)
        (canary_segment, stable_segment) = (canary, stable)
        return false
    }

    // MARK: - Threshold

    private mutating func measure(_ new: Counts, _ value: Double?, _ now: Timestamp) {
        guard new.requests >= Int64(spec.judge.min_samples), let value else { return lack(new, nil, now) }
        let isGood = spec.judge.success.flatMap(Comparison.init).map { $0.holds(for: value) }
        let isBad = spec.judge.failure.flatMap(Comparison.init).map { $0.holds(for: value) }
        let shown = "\(metricWords) of revision \(canary) is \(valueWords(value)) over \(new.requests) requests"
        // As Argo Rollouts' evaluate.go: both true is a failure; with one condition only, its opposite is the other.
        switch (isGood, isBad) {
        case (_, true?), (false?, nil): note(isGood: false, shown, now)
        case (true?, _), (nil, false?): note(isGood: true, shown, now)
        default:
            message = "\(shown): neither good nor bad"
            if isOver(now), !isBackground { verdict = .inconclusive }
        }
    }

    private mutating func note(isGood: Bool, _ shown: String, _ now: Timestamp) {
        guard isGood else {
            bad += 1
            let bound =
                spec.judge.success.map { "\"\($0)\" does not hold" } ?? spec.judge.failure.map { "\"\($0)\" holds" }
                ?? ""
            message = "\(shown): \(bound)"
            if bad > spec.failure_limit { verdict = .failed }
            return
        }
        good += 1
        message = "\(shown): as it should be"
        if isBackground { return }
        if good >= (spec.count ?? 1) || isOver(now) { verdict = .passed }
    }

    // MARK: - Words

    /// Too few requests to say anything.
    private mutating func lack(_ new: Counts, _ old: Counts?, _ now: Timestamp) {
        let few = "\(new.requests) of at least \(spec.judge.min_samples) requests to revision \(canary)"
        let base =
            old.map {
                $0.requests < Self.stableMinimum
                    ? ", \($0.requests) of at least \(Self.stableMinimum) to revision \(stable)" : ""
            } ?? ""
        message = "too little traffic to judge: \(few)\(base)"
        switch spec.no_data {
        case .pass:
            good += 1
            if !isBackground, good >= (spec.count ?? 1) { verdict = .passed }
        case .fail:
            bad += 1
            if bad > spec.failure_limit { verdict = .failed }
        case .hold:
            if isOver(now), !isBackground { verdict = .inconclusive }
        }
    }

    private mutating func settle(_ verdict: AnalysisStatus.Verdict, _ message: String) {
        self.verdict = verdict
        self.message = message
    }

    private func isOver(_ now: Timestamp) -> Bool { started_at.advanced(by: spec.max_duration.duration) <= now }

    private var metricWords: String {
        share.map { "the \(Int($0 * 100))th percentile of the time" } ?? "the error rate"
    }

    private func valueWords(_ value: Double) -> String {
        share == nil ? Self.percent(value) : "\(Self.rounded(value)) ms"
    }

    private func words(_ new: Counts, _ old: Counts) -> String {
        guard let share else {
            return
                "\(new.errors) of \(new.requests) requests failed on revision \(canary), "
                + "\(old.errors) of \(old.requests) on revision \(stable)"
        }
        let pair = [new, old].map { counts in counts.milliseconds(share).map { "\(Self.rounded($0)) ms" } ?? "nothing" }
        return "\(metricWords) is \(pair[0]) on revision \(canary) and \(pair[1]) on revision \(stable)"
    }

    private static func percent(_ value: Double) -> String { "\(rounded(value * 100)) %" }
    private static func rounded(_ value: Double) -> String { "\((value * 100).rounded() / 100)" }
}

/// A simple comparison such as `result < 0.01`.
struct Comparison: Sendable, Equatable {
    enum Sign: String, CaseIterable {
        case atMost = "<=", atLeast = ">=", equal = "==", unequal = "!=", below = "<", above = ">"
    }
    var sign: Sign
    var bound: Double

    /// Reads a sign and a number after the word "result"; the number may end in % or ms.
    init?(_ text: String) {
        let rest = text.filter { !$0.isWhitespace }
        guard rest.hasPrefix("result") else { return nil }
        let tail = rest.dropFirst("result".count)
        guard let sign = Sign.allCases.first(where: { tail.hasPrefix($0.rawValue) }) else { return nil }
        var number = tail.dropFirst(sign.rawValue.count)
        var scale = 1.0
        if number.hasSuffix("%") { (number, scale) = (number.dropLast(), 0.01) }
        if number.hasSuffix("ms") { number = number.dropLast(2) }
        guard let bound = Double(number), bound.isFinite else { return nil }
        self.sign = sign
        self.bound = bound * scale
    }

    func holds(for value: Double) -> Bool {
        switch sign {
        case .below: value < bound
        case .atMost: value <= bound
        case .above: value > bound
        case .atLeast: value >= bound
        case .equal: value == bound
        case .unequal: value != bound
        }
    }
}
