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
    /// Gives the revision on trial this share of the traffic.
    case weight(Int)
    /// The step is done: on to the next.
    case next
    /// Begins analyses of the step (-1: of the whole rollout).
    case measure([String], step: Int)
    /// Stops and waits for a person.
    case pause(reason: String)
    /// Notes since when the revision on trial lacks copies that are well, or that it has them.
    case note(isShort: Bool)
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
        if let trial = view.trial {
            let steps = progress(trial, view, now)
            if !steps.isEmpty { return steps }
        }
        if let steps = recovery(view) { return steps }
        return view.revisions.flatMap { upkeep($0, view, now) }
    }

    // MARK: - The rollout

    private static func progress(_ trial: RolloutRow, _ view: RolloutView, _ now: Timestamp) -> [RolloutStep] {
        let missing = trial.settings.background.filter { name in
            !view.analyses.contains { $0.name == name && $0.step == AnalysisRecord.background }
        }
        if !trial.isDirect, trial.weight > 0, !missing.isEmpty {
            return [.measure(missing, step: AnalysisRecord.background)]
        }
        if trial.pause == nil, !trial.isDirect, let steps = verdict(trial, view) { return steps }
        let ready = view.revision(trial.revision)?.ready ?? 0
        let needed = neededReady(trial, view)
        if (ready < needed) != (trial.shortAt != nil) { return [.note(isShort: ready < needed)] }
        if let since = trial.shortAt, since.advanced(by: view.health.deadline.duration) <= now {
            let why = view.revision(trial.revision)?.problem.map { ": \($0)" } ?? ""
            return [
                .abort(
                    reason:
                        "\(ready) of \(needed) copies of revision \(trial.revision) were well after "
                        + "\(view.health.deadline)\(why)"
                )
            ]
        }
        return trial.pause == nil ? stage(trial, view, ready: ready, needed: needed, now) : []
    }

    /// What a judgement that is over asks for.
    private static func verdict(_ trial: RolloutRow, _ view: RolloutView) -> [RolloutStep]? {
        let gates = view.analyses.filter { $0.step == trial.step || $0.step == AnalysisRecord.background }
        if let failed = gates.first(where: { $0.verdict == .failed }) {
            let reason = "\(failed.name) failed: \(failed.message)"
            return view.rollback.automatic ? [.abort(reason: reason)] : [.pause(reason: reason)]
        }
        if let open = gates.first(where: { $0.verdict == .inconclusive && $0.step == trial.step }) {
            return [.pause(reason: "\(open.name) is inconclusive: \(open.message)")]
        }
        return nil
    }

    private static func stage(
        _ trial: RolloutRow, _ view: RolloutView, ready: Int, needed: Int, _ now: Timestamp
    ) -> [RolloutStep] {
        switch trial.plan.stage(trial.step) {
        case .weight(let weight):
            if ready < needed { return [] }
            return shift(trial, view, to: weight) ?? [.next]
        case .pause(let duration):
            guard let duration, trial.stepAt.advanced(by: duration) <= now else { return [] }
            return [.next]
        case .analyze(let names):
            let begun = view.analyses.filter { $0.step == trial.step }
            let missing = names.filter { name in !begun.contains { $0.name == name } }
            if !missing.isEmpty { return [.measure(missing, step: trial.step)] }
            return begun.allSatisfy { $0.verdict == .passed } ? [.next] : []
        case .preview:
            return ready < needed ? [] : [.next]
        case .all:
            return finish(trial, view, ready: ready)
        }
    }

    private static func finish(_ trial: RolloutRow, _ view: RolloutView, ready: Int) -> [RolloutStep] {
        if trial.plan.strategy == .rolling, ready < view.replicas {
            return shift(trial, view, to: proportion(trial, view)) ?? []
        }
        if ready < view.replicas { return [] }
        return shift(trial, view, to: 100) ?? [.promote]
    }

    /// Nil when the weight is in force at the proxies; nothing to do while they take it up.
    private static func shift(_ trial: RolloutRow, _ view: RolloutView, to weight: Int) -> [RolloutStep]? {
        if trial.weight != weight { return [.weight(weight)] }
        return view.acknowledgement == .yes ? nil : []
    }

    /// Traffic in proportion to the copies that are well.
    private static func proportion(_ trial: RolloutRow, _ view: RolloutView) -> Int {
        let new = view.revision(trial.revision)?.ready ?? 0
        let old = view.revision(view.stable)?.ready ?? 0
        guard new > 0 else { return 0 }
        return old == 0 ? 100 : min(99, max(1, (200 * new + new + old) / (2 * (new + old))))
    }

    private static func recovery(_ view: RolloutView) -> [RolloutStep]? {
        guard !view.unrecovered.isEmpty, view.trial.map({ $0.weight == 0 && !$0.isRollback }) ?? true,
            view.acknowledgement == .yes, let stable = view.revision(view.stable), stable.ready > 0
        else { return nil }
        return [.recovered]
    }

    // MARK: - Copies

    /// Copies of the revision on trial that must be well for the stage to go on.
    static func neededReady(_ trial: RolloutRow, _ view: RolloutView) -> Int {
        switch trial.plan.stage(trial.step) {
        case .weight(let weight): copies(for: max(weight, trial.weight), of: view.replicas)
        case .pause, .analyze:
            trial.plan.strategy == .canary ? copies(for: trial.weight, of: view.replicas) : view.replicas
        case .preview, .all: view.replicas
        }
    }

    /// As many copies as the share of the traffic asks for, at least one.
    static func copies(for weight: Int, of replicas: Int) -> Int {
        min(replicas, max(1, (replicas * weight + 99) / 100))
    }

    /// How many copies a revision shall have; nil: those it has, with none replaced.
    static func wanted(_ revision: RolloutView.Revision, _ view: RolloutView, _ now: Timestamp) -> Int? {
        guard let trial = view.trial else {
            return revision.revision == view.stable ? view.replicas : retired(revision, view, now)
        }
        let isRolling = trial.plan.strategy == .rolling && trial.plan.stage(trial.step) == .all
        let isRecreate = trial.plan.strategy == .recreate
        let stable = view.revision(view.stable)
        if revision.revision == trial.revision {
            if isRolling { return min(view.replicas, revision.ready + 1) }
            if isRecreate, stable?.copies.isEmpty == false { return 0 }
            return neededReady(trial, view)
        }
        guard revision.revision == view.stable else { return retired(revision, view, now) }
        if isRecreate { return 0 }
        guard isRolling else { return view.replicas }
        let new = view.revision(trial.revision)?.ready ?? 0
        let left = max(1, view.replicas - new)
        let isInForce = trial.weight == proportion(trial, view) && view.acknowledgement == .yes
        return isInForce || revision.live.count < left ? left : revision.live.count
    }

    private static func retired(_ revision: RolloutView.Revision, _ view: RolloutView, _ now: Timestamp) -> Int? {
        let end = revision.retiredAt.map { $0.advanced(by: view.rollback.scale_down_delay.duration) } ?? now
        return end <= now ? 0 : nil
    }

    private static func upkeep(
        _ revision: RolloutView.Revision, _ view: RolloutView, _ now: Timestamp
    ) -> [RolloutStep] {
        let ill = revision.live.filter { copy in
            copy.unreadyAt.map { $0.advanced(by: view.health.deadline.duration) <= now } ?? false
        }
        if !ill.isEmpty {
            return ill.map { .stop($0.id, reason: "it was not well for \(view.health.deadline)", isFault: true) }
        }
        guard let wanted = wanted(revision, view, now) else { return [] }
        let live = revision.live
        if live.count < wanted {
            return backOffEnd(revision) > now ? [] : [.start(revision: revision.revision, count: wanted - live.count)]
        }
        let reason = wanted == 0 ? "revision \(revision.revision) has no traffic any more" : "fewer copies are wanted"
        // The ill go first, then the young.
        let order = live.sorted { ($0.isReady ? 1 : 0, -$0.number) < ($1.isReady ? 1 : 0, -$1.number) }
        return order.prefix(live.count - wanted).map { .stop($0.id, reason: reason, isFault: false) }
    }

    /// When a copy may be started again: 1 s after the first that ended by itself, then twice as long each time.
    static func backOffEnd(_ revision: RolloutView.Revision) -> Timestamp {
        guard let crashedAt = revision.crashedAt, revision.crashes > 0 else { return .zero }
        let wait = min(longestBackOff, .seconds(1 << min(revision.crashes - 1, 10)))
        return crashedAt.advanced(by: wait)
    }

    // MARK: - When to look again

    /// The next moment at which time alone changes the answer; nil: never.
    static func nextLook(_ view: RolloutView, now: Timestamp) -> Timestamp? {
        var moments: [Timestamp] = []
        let deadline = view.health.deadline.duration
        for revision in view.revisions {
            moments += revision.live.compactMap { $0.unreadyAt?.advanced(by: deadline) }
            moments.append(backOffEnd(revision))
            if let retired = revision.retiredAt {
                moments.append(retired.advanced(by: view.rollback.scale_down_delay.duration))
            }
        }
        if let trial = view.trial {
            if let short = trial.shortAt { moments.append(short.advanced(by: deadline)) }
            if case .pause(let duration?) = trial.plan.stage(trial.step) {
                moments.append(trial.stepAt.advanced(by: duration))
            }
            moments += view.analyses.filter { $0.verdict == .running }.map(\.next_at)
        }
        return moments.filter { $0 > now }.min()
    }
}
