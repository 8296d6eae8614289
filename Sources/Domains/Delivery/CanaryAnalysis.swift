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
        // The delay stands in the place of the first interval, as in Argo Rollouts; without one, traffic comes first.
        let delay = spec.initial_delay.duration
        next_at = now.advanced(by: delay > .zero ? delay : spec.interval.duration)
        (canary_last, stable_last) = (canary.total, stable.total)
        message = "it waits for its first look"
        // The stable revision's past says what slow is; without enough of it, its first looks do.
        if stable.total.requests >= spec.judge.min_samples { slow_above = share.flatMap(stable.total.latency.quantile) }
    }

    /// The quantile that is looked at; nil for a rate.
    var share: Double? {
        switch spec.built_in {
        case .error_rate, nil: nil
        case .latency_p50: 0.5
        case .latency_p95: 0.95
        case .latency_p99: 0.99
        }
    }

    /// What one look says.
    enum Reading: Sendable, Equatable {
        /// Nothing yet.
        case wait(String)
        case measured(AnalysisRun.Phase, String)
        /// Sure, whatever was measured before and however often.
        case settled(AnalysisStatus.Verdict, String)
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
        let reading: Reading
        if let test {
            reading = split(new, old, test, &look, now)
        } else {
            switch spec.judge.method {
            case .sequential: reading = compare(canary, stable, new, old, &look, now)
            case .threshold: reading = measure(new, look.value, now)
            case .mann_whitney: reading = rank(canary, stable, new, old, now)
            }
        }
        (canary_last, stable_last) = (canary, stable)
        take(reading, &look, now)
    }

    /// Takes in one value of each side from outside; nil where the source had none.
    mutating func look(value: Double?, baseline: Double?, at now: Timestamp) {
        guard verdict == .running else { return }
        next_at = now.advanced(by: spec.interval.duration)
        var look = AnalysisLook()
        (look.at, look.value, look.baseline) = (now, value, baseline)
        let reading: Reading
        if let value, value.isFinite {
            if spec.judge.method == .mann_whitney {
                reading = rank(value, baseline, now)
            } else if spec.judge.success == nil, spec.judge.failure == nil {
                reading = .measured(.successful, "the webhook said yes")
            } else {
                reading = judge(value, "\(name) is \(Self.rounded(value)) for \(title(canary))", now)
            }
        } else {
            reading = lack("the source has no value for \(title(canary))", now)
        }
        take(reading, &look, now)
    }

    /// Takes in what a webhook said without a value, or that the source did not answer.
    mutating func look(_ phase: AnalysisRun.Phase, _ message: String, at now: Timestamp) {
        guard verdict == .running else { return }
        // A source that did not answer is asked again soon.
        let pause = phase == .error ? min(spec.interval.duration, Self.errorRetry) : spec.interval.duration
        next_at = now.advanced(by: pause)
        var look = AnalysisLook()
        (look.at, look.message) = (now, message)
        take(.measured(phase, message), &look, now)
    }

    /// Time before a source that did not answer is asked again.
    static let errorRetry = Duration.seconds(10)

    private mutating func take(_ reading: Reading, _ look: inout AnalysisLook, _ now: Timestamp) {
        switch reading {
        case .wait(let text): message = text
        case .measured(let phase, let text):
            (look.phase, message) = (phase, text)
            tally.add(phase)
            if let end = MetricAlgebra.assess(tally, spec, count: wantedCount) {
                verdict = AnalysisStatus.Verdict(end)
            } else if phase != .failed, phase != .error, isOver(now), !isBackground {
                verdict = phase == .successful ? .passed : .inconclusive
            }
        case .settled(let end, let text):
            (look.phase, message, verdict) = (end.phase(hasBegun: true), text, end)
            tally.add(look.phase)
        }
        looks.append(look)
        if looks.count > Self.lookLimit { looks.removeFirst(looks.count - Self.lookLimit) }
    }

    /// Measurements that end it; nil: it ends when the judge is sure, or with the rollout.
    private var wantedCount: Int? {
        if isBackground { return spec.judge.method == .sequential ? nil : spec.count }
        if let count = spec.count { return count }
        guard spec.judge.method == .threshold, spec.success_limit == nil, test == nil else { return nil }
        // One is enough, but a bad one that was forgiven has shown nothing yet.
        return 1 + max(0, min(tally.failed, spec.failure_limit))
    }

    /// The weight changes: evidence so far is kept, counting begins anew.
    mutating func turn(canary: Counts, stable: Counts) {
        guard verdict == .running, source == .proxy || source == .query else { return }
        // What a source outside has counted is known up to its last look only.
        let (canary, stable) = source == .proxy ? (canary, stable) : (canary_last, stable_last)
        let found = evidence(canary - canary_segment, stable - stable_segment)
        evidence_before += found.worse
        safety_before += found.safe
        (canary_segment, stable_segment) = (canary, stable)
    }

    /// The rollout is over: what was running has no more to say.
    ///
    /// What was never measured is inconclusive, other than in Argo Rollouts, where it is successful.
    mutating func close(canary: Counts) {
        guard verdict == .running else { return }
        guard source == .proxy else {
            verdict = tally.count > 0 && tally.failed == 0 ? .passed : .inconclusive
            message = tally.count > 0 ? "\(message), to the end" : "it was over before anything was measured"
            return
        }
        let requests = (canary - canary_start).requests
        let isEnough = requests >= Int64(spec.judge.min_samples)
        let isClean = spec.failure_limit < 0 || tally.failed <= spec.failure_limit
        verdict = isEnough && isClean ? .passed : .inconclusive
        message =
            isEnough
            ? "nothing was wrong to the end, with \(requests) requests"
            : "the rollout ended after \(requests) requests, too few to judge"
    }

    // MARK: - Sequential

    private mutating func compare(
        _ canary: Counts, _ stable: Counts, _ new: Counts, _ old: Counts, _ look: inout AnalysisLook, _ now: Timestamp
    ) -> Reading {
        let bound = log(1 / alpha)
        look.bound = bound
        guard new.requests >= Int64(spec.judge.min_samples), old.requests >= Self.stableMinimum else {
            return lack(new, old, now)
        }
        guard fixSlow(canary, stable, old) else { return .wait("it learns what is slow from \(title(self.stable))") }
        let found = evidence(canary - canary_segment, stable - stable_segment)
        let (worse, safe) = (evidence_before + found.worse, safety_before + found.safe)
        look.evidence = worse
        let facts = words(new, old)
        if worse >= bound {
            return .measured(
                .failed, "\(facts): \(title(self.canary)) is worse by more than \(spec.judge.max_increase)")
        }
        if isBackground { return .measured(.successful, "\(facts): no harm seen") }
        if safe >= bound { return .settled(.passed, "\(facts): not worse by more than \(spec.judge.max_increase)") }
        if let count = spec.count, tally.count + 1 >= count {
            return .measured(.successful, "\(facts): no harm seen in \(count) looks")
        }
        if isOver(now) { return .settled(.passed, "\(facts): no harm seen in \(spec.max_duration)") }
        return .measured(.successful, "\(facts): not sure yet")
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

    private func measure(_ new: Counts, _ value: Double?, _ now: Timestamp) -> Reading {
        guard new.requests >= Int64(spec.judge.min_samples), let value else { return lack(new, nil, now) }
        return judge(
            value, "\(metricWords) of \(title(canary)) is \(valueWords(value)) over \(new.requests) requests", now)
    }

    private func judge(_ value: Double, _ shown: String, _ now: Timestamp) -> Reading {
        let isGood = spec.judge.success.flatMap(Comparison.init).map { $0.holds(for: value) }
        let isBad = spec.judge.failure.flatMap(Comparison.init).map { $0.holds(for: value) }
        switch MetricAlgebra.measure(success: isGood, failure: isBad) {
        case .failed:
            let holds = isBad == true ? spec.judge.failure.map { "\"\($0)\" holds" } : nil
            let bound = holds ?? spec.judge.success.map { "\"\($0)\" does not hold" } ?? ""
            return .measured(.failed, "\(shown): \(bound)")
        case .successful: return .measured(.successful, "\(shown): as it should be")
        default: return .measured(.inconclusive, "\(shown): neither good nor bad")
        }
    }

    // MARK: - Ranks

    /// Looks that the judge of ranks takes when no count is given.
    static let rankCount = 10
    /// Confidence, and the part of the shift that is no matter: Kayenta's.
    static let rankConfidence = 0.98
    static let rankTolerance = 0.25

    private mutating func rank(
        _ canary: Counts, _ stable: Counts, _ new: Counts, _ old: Counts, _ now: Timestamp
    ) -> Reading {
        let (fresh, base) = (canary - canary_last, stable - stable_last)
        if let value = share.map(fresh.milliseconds) ?? fresh.errorRate { canary_values.append(value) }
        if let value = share.map(base.milliseconds) ?? base.errorRate { stable_values.append(value) }
        guard new.requests >= Int64(spec.judge.min_samples), old.requests >= Self.stableMinimum else {
            return lack(new, old, now)
        }
        return ranked(now)
    }

    private mutating func rank(_ value: Double, _ baseline: Double?, _ now: Timestamp) -> Reading {
        canary_values.append(value)
        if let baseline, baseline.isFinite { stable_values.append(baseline) }
        return ranked(now)
    }

    /// Judges once, when all looks are there: a test of ranks that is looked at again and again is wrong too often.
    private func ranked(_ now: Timestamp) -> Reading {
        let wanted = max(4, spec.count ?? Self.rankCount)
        let count = min(canary_values.count, stable_values.count)
        guard count >= wanted || isOver(now) else { return .wait("\(count) of \(wanted) looks are there") }
        do {
            let found = try MannWhitney.compare(canary_values, stable_values, confidence: Self.rankConfidence)
            let tolerance = Self.rankTolerance * abs(found.shift)
            let shown =
                "\(metricWords) of \(title(canary)) differs by \(Self.rounded(found.shift)) "
                + "(\(Self.rounded(found.low)) to \(Self.rounded(found.high)), p \(Self.rounded(found.p)))"
            return found.low > tolerance
                ? .settled(.failed, "\(shown): it is worse") : .settled(.passed, "\(shown): it is not clearly worse")
        } catch {
            return .settled(.inconclusive, "the ranks cannot be compared: \(error.message)")
        }
    }

    // MARK: - Words

    /// Too few requests to say anything.
    private func lack(_ new: Counts, _ old: Counts?, _ now: Timestamp) -> Reading {
        let few = "\(new.requests) of at least \(spec.judge.min_samples) requests to \(title(canary))"
        let base =
            old.map {
                $0.requests < Self.stableMinimum
                    ? ", \($0.requests) of at least \(Self.stableMinimum) to \(title(stable))" : ""
            } ?? ""
        return lack("too little traffic to judge: \(few)\(base)", now)
    }

    private func lack(_ text: String, _ now: Timestamp) -> Reading {
        switch spec.no_data {
        case .pass: spec.count == nil && !isBackground ? .settled(.passed, text) : .measured(.successful, text)
        case .fail: .measured(.failed, text)
        case .hold: isOver(now) && !isBackground ? .settled(.inconclusive, text) : .wait(text)
        }
    }

    private func title(_ number: Int) -> String {
        guard number < 0 else { return "revision \(number)" }
        return (number == canary ? canary_arm : stable_arm).map { "arm \"\($0)\"" } ?? "the baseline"
    }

    func isOver(_ now: Timestamp) -> Bool { started_at.advanced(by: spec.max_duration.duration) <= now }

    private var metricWords: String {
        if isExternal { return name }
        return share.map { "the \(Int($0 * 100))th percentile of the time" } ?? "the error rate"
    }

    private func valueWords(_ value: Double) -> String {
        share == nil ? Self.percent(value) : "\(Self.rounded(value)) ms"
    }

    private func words(_ new: Counts, _ old: Counts) -> String {
        guard let share else {
            return
                "\(new.errors) of \(new.requests) requests failed on \(title(canary)), "
                + "\(old.errors) of \(old.requests) on \(title(stable))"
        }
        let pair = [new, old].map { counts in counts.milliseconds(share).map { "\(Self.rounded($0)) ms" } ?? "nothing" }
        return "\(metricWords) is \(pair[0]) on \(title(canary)) and \(pair[1]) on \(title(stable))"
    }

    static func percent(_ value: Double) -> String { "\(rounded(value * 100)) %" }
    static func rounded(_ value: Double) -> String { "\((value * 100).rounded() / 100)" }
}
