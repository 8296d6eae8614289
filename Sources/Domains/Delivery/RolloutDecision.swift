import API
import Kernel
import Manifests

/// One thing to do for a service.
///
/// All of it is written to the store; what must be done outside follows from the rows.
enum RolloutStep: Sendable, Equatable {
    /// Orders so many new copies.
    case start(revision: Int, count: Int)
    /// Takes a copy off the traffic, and then stops it.
    case stop(InstanceID, reason: String, isFault: Bool)
    /// Makes the revision-like thing that extra copies belong to.
    case arm(ArmPlan)
    /// Gives the revision on trial this share of the traffic.
    case weight(Int)
    /// Leaves the ended attempt, whose traffic the stable copies cannot bear yet, this share.
    case retreat(Int)
    /// The step is done: on to the next.
    case next
    /// Begins analyses of the step (-1: of the whole rollout).
    case measure([String], step: Int)
    /// Ends analyses of the step that still run.
    case close(step: Int)
    /// Stops and waits for a person.
    case pause(RolloutRow.PauseKind, reason: String)
    /// Notes since when the revision on trial lacks copies that are well, or that it has them.
    case note(isShort: Bool)
    /// Notes that it has done all its steps, and waits for the others of its release.
    case ready
    case promote
    case abort(reason: String)
    /// All traffic is on a good revision again after failed attempts.
    case recovered
}

/// What a service needs next.
///
/// Pure: the same view and time give the same answer; tests are tables.
///
/// Called again and again, each time after its answer was carried out, until it answers nothing.
enum RolloutDecision {
    /// Longest wait before a copy that keeps ending is started again.
    static let longestBackOff = Duration.seconds(60)

    static func decide(_ view: RolloutView, now: Timestamp) -> [RolloutStep] {
        if let step = retreat(view) { return [step] }
        if let trial = view.trial {
            let steps = progress(trial, view, now)
            if !steps.isEmpty { return steps }
        }
        if let steps = recovery(view) { return steps }
        return view.revisions.flatMap { upkeep($0, view, now) }
    }

    // MARK: - The rollout

    private static func progress(_ trial: RolloutRow, _ view: RolloutView, _ now: Timestamp) -> [RolloutStep] {
        let unmade = view.arms.filter { view.revision($0.number) == nil }
        if !unmade.isEmpty { return unmade.map(RolloutStep.arm) }
        if let steps = background(trial, view) { return steps }
        if !trial.isDirect, let steps = verdict(trial, view) { return steps }
        // A person has it, or time: no deadline runs, no copy is asked for.
        if trial.pause != nil { return [] }
        if case .pause(let duration) = trial.plan.stage(trial.step) {
            guard let duration, trial.stepAt.advanced(by: duration) <= now else { return [] }
            return [.next]
        }
        // It takes nothing away before all are ready, so it is ready as it is.
        if view.isGated, trial.plan.strategy == .recreate { return gate(trial) }
        let ready = view.revision(trial.revision)?.ready ?? 0
        let needed = neededReady(trial, view)
        let isShort = ready < needed || !areArmsReady(view)
        if isShort != (trial.shortAt != nil) { return [.note(isShort: isShort)] }
        // Its time does not run while it waits for the stable copies.
        let waitEnd = view.isLeavingLate ? view.leavingEnd : nil
        if let since = trial.shortAt, !view.isHeld,
            max(since, waitEnd ?? since).advanced(by: view.health.deadline.duration) <= now
        {
            return [.abort(reason: late(trial, view, ready: ready, needed: needed))]
        }
        return stage(trial, view, ready: ready, needed: needed, now)
    }

    /// Why copies were not well in time, and where what they printed is found.
    private static func late(_ trial: RolloutRow, _ view: RolloutView, ready: Int, needed: Int) -> String {
        let number = trial.revision
        let why = view.revision(number)?.trouble.map { ": \($0)" } ?? ""
        let search = "vagus logs search '{service=\"\(trial.service.name)\", revision=\"\(number)\"}'"
        return "\(ready) of \(needed) copies of revision \(number) were well after \(view.health.deadline)\(why) "
            + "(what they printed: \(search))"
    }

    /// Background analyses begin with the first traffic, at their step or after.
    private static func background(_ trial: RolloutRow, _ view: RolloutView) -> [RolloutStep]? {
        guard !trial.isDirect, trial.weight > 0, trial.step >= trial.settings.background_from else { return nil }
        let missing = trial.settings.background.filter { name in
            !view.analyses.contains { $0.name == name && $0.step == AnalysisRecord.background }
        }
        guard !missing.isEmpty, canCompare(missing, trial, view) else { return nil }
        return [.measure(missing, step: AnalysisRecord.background)]
    }

    /// What a judgement that is over asks for.
    private static func verdict(_ trial: RolloutRow, _ view: RolloutView) -> [RolloutStep]? {
        let gates = view.analyses.filter {
            ($0.step == trial.step || $0.step == AnalysisRecord.background) && !$0.spec.dry_run && !$0.isHeeded
        }
        if let failed = gates.first(where: { $0.verdict == .failed || $0.verdict == .error }) {
            let how = failed.verdict == .failed ? "failed" : "could not be measured"
            let reason = "\(failed.name) \(how): \(failed.message)"
            if view.rollback.automatic { return [.abort(reason: reason)] }
            return trial.pauseKind == .failed ? nil : [.pause(.failed, reason: reason)]
        }
        guard trial.pause == nil, let open = gates.first(where: { $0.verdict == .inconclusive }) else { return nil }
        return [.pause(.inconclusive, reason: "\(open.name) is inconclusive: \(open.message)")]
    }

    private static func stage(
        _ trial: RolloutRow, _ view: RolloutView, ready: Int, needed: Int, _ now: Timestamp
    ) -> [RolloutStep] {
        let plan = trial.plan
        switch plan.stage(trial.step) {
        case .weight(let weight):
            if ready < needed { return [] }
            return shift(trial, view, to: weight) ?? [.next]
        case .pause: return []  // taken care of before
        case .analyze(let names): return analyze(names, trial, view)
        case .preview, .scale: return ready < needed ? [] : [.next]
        case .route, .mirror(nil):
            // The table follows from the step; it is in force when the proxies say so.
            return ready >= needed && view.acknowledgement == .yes ? [.next] : []
        case .mirror(let duration?):
            return ready >= needed && trial.stepAt.advanced(by: duration) <= now ? [.next] : []
        case .experiment(let spec): return experiment(spec, trial, view, now)
        case .all: return finish(trial, view, ready: ready)
        }
    }

    private static func analyze(_ names: [String], _ trial: RolloutRow, _ view: RolloutView) -> [RolloutStep] {
        let begun = view.analyses.filter { $0.step == trial.step }
        let missing = names.filter { name in !begun.contains { $0.name == name } }
        if !missing.isEmpty {
            return canCompare(missing, trial, view) ? [.measure(missing, step: trial.step)] : []
        }
        // A dry run has no say, so nobody waits for it alone.
        let gates = begun.filter { !$0.spec.dry_run }
        let waited = gates.isEmpty ? begun : gates
        return waited.allSatisfy { $0.verdict != .running } ? [.next] : []
    }

    private static func experiment(
        _ spec: ExperimentSpec, _ trial: RolloutRow, _ view: RolloutView, _ now: Timestamp
    ) -> [RolloutStep] {
        guard areArmsReady(view), !view.isHeld else { return [] }
        let begun = view.analyses.filter { $0.step == trial.step }
        let missing = spec.analyze.filter { name in !begun.contains { $0.name == name } }
        if !missing.isEmpty { return [.measure(missing, step: trial.step)] }
        guard trial.stepAt.advanced(by: spec.for.duration) <= now else { return [] }
        return begun.contains { $0.verdict == .running } ? [.close(step: trial.step)] : [.next]
    }

    private static func finish(_ trial: RolloutRow, _ view: RolloutView, ready: Int) -> [RolloutStep] {
        if trial.plan.strategy == .rolling, ready < view.replicas {
            let weight = proportion(trial, view)
            // Where no stable copy is well, nobody is helped by waiting for the others of a release.
            if weight == 100, trial.weight != 100 { return [.weight(100)] }
            return shift(trial, view, to: weight) ?? []
        }
        if ready < view.replicas { return [] }
        return shift(trial, view, to: 100) ?? [.promote]
    }

    /// Nil when the weight is in force at the proxies; nothing to do while they take it up.
    private static func shift(_ trial: RolloutRow, _ view: RolloutView, to weight: Int) -> [RolloutStep]? {
        if view.isGated, weight == 100, trial.weight != 100 { return gate(trial) }
        // What the stable copies cannot bear yet stays where copies are; only who takes all of it can take that.
        if view.isHeld, weight < 100 { return [] }
        if trial.weight != weight { return [.weight(weight)] }
        return view.acknowledgement == .yes ? nil : []
    }

    private static func gate(_ trial: RolloutRow) -> [RolloutStep] { trial.release?.readyAt == nil ? [.ready] : [] }

    /// Traffic in proportion to the copies that are well.
    static func proportion(_ trial: RolloutRow, _ view: RolloutView) -> Int {
        let new = view.revision(trial.revision)?.ready ?? 0
        let old = view.revision(view.stable)?.ready ?? 0
        guard new > 0 else { return 0 }
        return old == 0 ? 100 : min(99, max(1, (200 * new + new + old) / (2 * (new + old))))
    }

    /// Where stable copies were taken away, an abort gives them only the traffic that they can bear, until they are back.
    private static func retreat(_ view: RolloutView) -> RolloutStep? {
        guard let leaving = view.leaving else { return nil }
        let isTaken = view.trial.map { $0.revision != view.stable && $0.weight == 100 } ?? false
        let hasCopies = (view.revision(leaving.revision)?.ready ?? 0) > 0
        let weight = isTaken || !hasCopies ? 0 : unbearable(view)
        return weight < leaving.weight ? .retreat(weight) : nil
    }

    /// Share of the traffic that the stable copies that are well cannot take, in percent.
    static func unbearable(_ view: RolloutView) -> Int {
        let ready = view.revision(view.stable)?.ready ?? 0
        guard view.stable != nil, view.replicas > 0, ready < view.replicas else { return 0 }
        return 100 - 100 * ready / view.replicas
    }

    /// Whether stable copies are taken away while the rollout goes on, so that they would be missed in an abort.
    static func shrinksStable(_ trial: RolloutRow) -> Bool {
        switch trial.plan.strategy {
        case .rolling: true
        case .canary: trial.settings.dynamic_stable_scale
        // The copies of recreate make room for each other, so none can bear anything for another.
        case .blue_green, .a_b_testing, .recreate: false
        }
    }

    private static func recovery(_ view: RolloutView) -> [RolloutStep]? {
        let isOff = view.leaving == nil && view.trial.map { $0.weight == 0 && !$0.isRollback } ?? true
        guard !view.unrecovered.isEmpty, isOff, view.acknowledgement == .yes,
            let stable = view.revision(view.stable), stable.ready > 0
        else { return nil }
        return [.recovered]
    }

    // MARK: - Arms

    /// Extra copies that the step under way wants.
    static func arms(_ trial: RolloutRow, _ view: RolloutView) -> [ArmPlan] {
        guard !trial.isDirect, trial.plan.strategy == .canary, let origin = trial.origin, origin == view.stable,
            trial.step < trial.plan.stages.count
        else { return [] }
        let stage = trial.plan.stage(trial.step)
        var arms: [ArmPlan] = []
        if let baseline = trial.settings.baseline, isTrafficNear(trial, stage) {
            // As much as the canary has; beyond a third, both sides share what is left.
            let weight = min(trial.weight, (100 - trial.weight - view.leavingWeight) / 2)
            let replicas = baseline.replicas ?? copies(for: trial.weight, of: view.replicas)
            arms.append(
                ArmPlan(
                    number: ArmPlan.number(trial.number, 1), name: "baseline", source: origin, replicas: replicas,
                    weight: weight))
        }
        guard case .experiment(let spec) = stage else { return arms }
        var left = 100 - trial.weight - view.leavingWeight - arms.reduce(0) { $0 + $1.weight }
        for (place, arm) in spec.arms.enumerated() {
            let weight = min(arm.value.weight, left)
            left -= weight
            arms.append(
                ArmPlan(
                    number: ArmPlan.number(trial.number, 10 + trial.step * 10 + place), name: arm.key,
                    source: arm.value.from == .stable ? origin : trial.revision, replicas: arm.value.replicas,
                    weight: weight))
        }
        return arms
    }

    private static func isTrafficNear(_ trial: RolloutRow, _ stage: RolloutPlan.Stage) -> Bool {
        if case .weight(let weight) = stage, weight > 0 { return true }
        return trial.weight > 0
    }

    static func areArmsReady(_ view: RolloutView) -> Bool {
        view.arms.allSatisfy { (view.revision($0.number)?.ready ?? 0) >= $0.replicas }
    }

    /// Whether what the analyses compare with is there.
    private static func canCompare(_ names: [String], _ trial: RolloutRow, _ view: RolloutView) -> Bool {
        let needsBaseline = names.contains { trial.settings.analysis[$0]?.judge.against == .baseline }
        return !needsBaseline || trial.settings.baseline == nil || areArmsReady(view)
    }

    // MARK: - When to look again

    /// The next moment at which time alone changes the answer; nil: never.
    static func nextLook(_ view: RolloutView, now: Timestamp) -> Timestamp? {
        var moments = view.leavingEnd.map { [$0] } ?? []
        let deadline = view.health.deadline.duration
        for revision in view.revisions {
            moments += revision.live.compactMap { $0.unreadyAt?.advanced(by: deadline) }
            moments.append(backOffEnd(revision))
            if let end = keptUntil(revision, view) { moments.append(end) }
        }
        if let trial = view.trial {
            if let short = trial.shortAt { moments.append(short.advanced(by: deadline)) }
            switch trial.plan.stage(trial.step) {
            case .pause(let duration?), .mirror(let duration?): moments.append(trial.stepAt.advanced(by: duration))
            case .experiment(let spec): moments.append(trial.stepAt.advanced(by: spec.for.duration))
            default: break
            }
            moments += view.analyses.filter { $0.verdict == .running && !$0.isExternal }.map(\.next_at)
        }
        // A proxy that says nothing any more is waited for no longer than this.
        if view.acknowledgement == .waiting { moments.append(now.advanced(by: ProxyWatch.patience)) }
        return moments.filter { $0 > now }.min()
    }
}
