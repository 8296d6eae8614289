import API
import Kernel
import Manifests

/// How many copies of which revision: the second half of ``RolloutDecision``.
extension RolloutDecision {
    /// Copies of the revision on trial that must be well for the stage to go on.
    static func neededReady(_ trial: RolloutRow, _ view: RolloutView) -> Int {
        let plan = trial.plan
        let stage = plan.stage(trial.step)
        if case .all = stage { return view.replicas }
        switch plan.strategy {
        case .canary, .a_b_testing:
            if let scaled = plan.scaled(at: trial.step, of: view.replicas) { return scaled }
            if case .weight(let weight) = stage { return copies(for: max(weight, trial.weight), of: view.replicas) }
            return copies(for: trial.weight, of: view.replicas)
        case .blue_green:
            if case .weight = stage { return view.replicas }
            return trial.weight > 0 ? view.replicas : plan.previewReplicas(of: view.replicas)
        case .rolling, .recreate: return view.replicas
        }
    }

    /// As many copies as the share of the traffic asks for, at least one.
    static func copies(for weight: Int, of replicas: Int) -> Int {
        min(replicas, max(1, (replicas * weight + 99) / 100))
    }

    /// How many copies a revision shall have; nil: those it has, with none replaced.
    static func wanted(_ revision: RolloutView.Revision, _ view: RolloutView, _ now: Timestamp) -> Int? {
        if revision.revision < 0 { return view.arms.first { $0.number == revision.revision }?.replicas ?? 0 }
        guard let trial = view.trial else {
            return revision.revision == view.stable ? view.replicas : retired(revision, view, now)
        }
        let isRolling = trial.plan.strategy == .rolling && trial.plan.stage(trial.step) == .all
        let isRecreate = trial.plan.strategy == .recreate
        // The old copies stay until all others of its release are ready.
        if isRecreate, view.isGated { return revision.revision == view.stable ? view.replicas : 0 }
        let stable = view.revision(view.stable)
        if revision.revision == trial.revision {
            if isRolling {
                let leaving = view.leaving.flatMap { $0.revision == trial.revision ? nil : view.revision($0.revision) }
                let others = (stable?.live.count ?? 0) + (view.isHeld ? leaving?.live.count ?? 0 : 0)
                let room = view.replicas + trial.surge(of: view.replicas) - others
                return min(view.replicas, max(revision.live.count, room))
            }
            let needed = neededReady(trial, view)
            // Of an attempt before it has traffic still, which is not for fewer copies.
            return view.leaving?.revision == trial.revision ? max(needed, revision.live.count) : needed
        }
        guard revision.revision == view.stable else { return retired(revision, view, now) }
        if isRecreate { return 0 }
        // First it gets back what was taken from it for the attempt before.
        if isRolling { return view.isHeld ? view.replicas : rollingStable(revision, trial, view) }
        if trial.plan.strategy == .canary, trial.settings.dynamic_stable_scale, view.acknowledgement == .yes {
            return max(1, (view.replicas * (100 - trial.weight) + 99) / 100)
        }
        return view.replicas
    }

    /// Old copies go as new ones are well, and only once the proxies have moved the traffic; one stays to the end if it can.
    private static func rollingStable(
        _ stable: RolloutView.Revision, _ trial: RolloutRow, _ view: RolloutView
    ) -> Int {
        let new = view.revision(trial.revision)?.ready ?? 0
        let missing = trial.settings.unavailable.copies(of: view.replicas, roundedUp: false)
        // Without a copy more than wanted, the last old one has to make room for the last new one.
        let last = trial.surge(of: view.replicas) > 0 ? 1 : 0
        let left = max(last, view.replicas - missing - new)
        let isInForce = trial.weight == proportion(trial, view) && view.acknowledgement == .yes
        return isInForce || stable.live.count < left ? left : stable.live.count
    }

    // MARK: - Copies of before

    /// Until when the copies of a revision without traffic are kept; nil: nothing but another rollout ends them.
    static func keptUntil(_ revision: RolloutView.Revision, _ view: RolloutView) -> Timestamp? {
        guard let retired = revision.retiredAt else { return nil }
        let isAborted = view.rollout.map { $0.completion == .aborted && $0.revision == revision.revision } ?? false
        guard isAborted else { return retired.advanced(by: view.rollback.scale_down_delay.duration) }
        let delay = view.rollback.abort_delay.duration
        return delay == .zero ? nil : retired.advanced(by: delay)
    }

    private static func retired(_ revision: RolloutView.Revision, _ view: RolloutView, _ now: Timestamp) -> Int? {
        if view.isAlone { return 0 }
        // It still has traffic that the stable copies cannot take yet.
        if view.leaving?.revision == revision.revision { return nil }
        let warm = view.revisions.filter { $0.wasStable && !$0.isCondemned && $0.revision != view.stable }
            .map(\.revision).sorted(by: >).prefix(view.rollback.keep_running)
        if warm.contains(revision.revision) { return nil }
        guard revision.retiredAt != nil else { return 0 }
        return keptUntil(revision, view).map { $0 <= now } ?? false ? 0 : nil
    }

    // MARK: - Upkeep

    static func upkeep(_ revision: RolloutView.Revision, _ view: RolloutView, _ now: Timestamp) -> [RolloutStep] {
        let ill = revision.live.filter { copy in
            copy.unreadyAt.map { $0.advanced(by: view.health.deadline.duration) <= now } ?? false
        }
        if !ill.isEmpty {
            return ill.map { .stop($0.id, reason: "it was not well for \(view.health.deadline)", isFault: true) }
        }
        guard let wanted = wanted(revision, view, now) else { return [] }
        if view.trial == nil, revision.revision == view.stable, let steps = renewal(revision, view, now) {
            return steps
        }
        let live = revision.live
        if live.count < wanted {
            if view.isAlone, view.hasOthers(than: revision.revision) { return [] }
            return backOffEnd(revision) > now ? [] : [.start(revision: revision.revision, count: wanted - live.count)]
        }
        let reason =
            wanted == 0
            ? (revision.revision < 0
                ? "the comparison is over" : "revision \(revision.revision) has no traffic any more")
            : "fewer copies are wanted"
        // The ill go first, then the young.
        let order = live.sorted { ($0.isReady ? 1 : 0, -$0.number) < ($1.isReady ? 1 : 0, -$1.number) }
        return order.prefix(live.count - wanted).map { .stop($0.id, reason: reason, isFault: false) }
    }

    /// Replaces copies from before a restart, a few at a time; nil when there are none.
    private static func renewal(
        _ revision: RolloutView.Revision, _ view: RolloutView, _ now: Timestamp
    ) -> [RolloutStep]? {
        guard let restartedAt = view.restartedAt else { return nil }
        let old = revision.live.filter { $0.orderedAt < restartedAt }
        guard !old.isEmpty else { return nil }
        if view.isAlone { return old.map { .stop($0.id, reason: Self.restarted, isFault: false) } }
        let live = revision.live.count
        let fresh = live - old.count
        let more = min(view.replicas + view.surge - live, view.replicas - fresh)
        if more > 0 {
            return backOffEnd(revision) > now ? [] : [.start(revision: revision.revision, count: more)]
        }
        // What is not well is missed by nobody; of the others as many as are above the least.
        let spare = max(0, revision.ready - (view.replicas - view.unavailable))
        let leaving = old.filter { !$0.isReady } + old.filter(\.isReady).prefix(spare)
        return leaving.map { .stop($0.id, reason: Self.restarted, isFault: false) }
    }

    private static let restarted = "the service was restarted"

    /// When a copy may be started again: 1 s after the first that ended by itself, then twice as long each time.
    static func backOffEnd(_ revision: RolloutView.Revision) -> Timestamp {
        guard let crashedAt = revision.crashedAt, revision.crashes > 0 else { return .zero }
        let wait = min(longestBackOff, .seconds(1 << min(revision.crashes - 1, 10)))
        return crashedAt.advanced(by: wait)
    }
}

extension RolloutRow {
    /// Copies beyond the wanted; one at least where none may be missing.
    func surge(of replicas: Int) -> Int {
        let missing = settings.unavailable.copies(of: replicas, roundedUp: false)
        return max(settings.surge.copies(of: replicas, roundedUp: true), missing == 0 ? 1 : 0)
    }
}
