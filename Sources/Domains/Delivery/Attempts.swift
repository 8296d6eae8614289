import API
import Kernel
import Manifests
import SQL

extension RolloutWriter {
    /// Makes a revision and begins to roll it out; one under way is superseded.
    func begin(
        _ fresh: RevisionRow, committedAt: Timestamp?, tier: EnvironmentSpec.Tier?, isHotfix: Bool = false,
        _ service: inout ServiceRow
    ) throws {
        let sql = change.sql
        var revision = fresh
        if spec.rollout.strategy == .blue_green {
            let stable = try service.stable.flatMap { try RevisionRow.find($0, of: name, in: sql) }
            let isBlue = stable?.workload.colour == FrozenWorkload.blue
            revision.workload.colour = isBlue ? FrozenWorkload.green : FrozenWorkload.blue
        }
        if let old = try RolloutRow.newest(of: name, in: sql), old.isUnderWay {
            try end(old, .superseded, reason: "revision \(revision.revision) came after it")
        }
        service.nextRevision += 1
        try revision.write(in: sql)
        var facts: Ordered<JSONValue> = ["revision": .integer(Int64(revision.revision)), "key": .string(revision.key)]
        if let model = revision.workload.modelText { facts["model"] = .string(model) }
        if let commit = revision.commit { facts["commit"] = .string(commit) }
        if let run = revision.run { facts["run"] = .string(run) }
        try change.tell("service.revision-created", about: name.subject, facts)
        var rollout = RolloutRow(
            name, number: service.nextRollout, revision: revision.revision, settings: spec.rollout, at: change.now)
        (rollout.commit, rollout.run, rollout.committedAt) = (revision.commit, revision.run, committedAt)
        rollout.tier = tier?.rawValue ?? ""
        rollout.isHotfix = isHotfix
        if isHotfix, let stable = service.stable, var mended = try RolloutRow.promoted(stable, of: name, in: sql) {
            // What needs a fix at once has failed, though it came to all traffic; it is over when the fix has it.
            (mended.outcome, mended.exposure) = (.failed, 1)
            mended.reason = "revision \(revision.revision) was deployed to mend it"
            mended.firstBadAt = mended.firstBadAt ?? change.now
            try mended.write(in: sql)
        }
        try start(rollout, &service)
    }

    private func start(_ new: RolloutRow, _ service: inout ServiceRow) throws {
        var rollout = new
        rollout.origin = service.stable
        rollout.requestsBefore = try TrafficRow.requests(of: name, in: change.sql)
        rollout.ownBefore = try TrafficRow.total(rollout.revision, of: name, in: change.sql).requests
        if rollout.settings.strategy == .rolling, !rollout.isDirect,
            var left = try RolloutRow.leaving(of: name, in: change.sql), left.revision == rollout.revision
        {
            // It goes on with the copies that it has.
            rollout.weight = left.weight
            left.weight = 0
            try left.write(in: change.sql)
        }
        // A way back waits for nobody.
        if !rollout.isRollback { rollout.release = try ReleaseBook.join(name, in: change) }
        service.nextRollout += 1
        // Whatever could not be rolled out before, something is now.
        service.problem = nil
        try save(&rollout)
        try service.write(in: change.sql)
        try tell(
            "rollout.started", rollout,
            ["strategy": .string(rollout.settings.strategy.rawValue), "rollback": .bool(rollout.isRollback)])
    }

    /// Goes back to an earlier revision: the one named, or the newest that was trusted before the present one.
    ///
    /// While something is rolled out, the way back is to end that, and the stable revision is where it leads.
    ///
    /// Straight to all traffic when fewer than the window's revisions lie between, else by the steps.
    func undo(to wanted: Int?, isGradual: Bool, isAcross: Bool = false, by actor: String) throws {
        let sql = change.sql
        var service = try ServiceRow.read(name, in: sql)
        let trial = try RolloutRow.newest(of: name, in: sql).flatMap { $0.isUnderWay ? $0 : nil }
        // Asked for twice is asked for once.
        if let trial, trial.isRollback, wanted == nil || wanted == trial.revision { return }
        let rows = try RevisionRow.all(of: name, in: sql)
        let target =
            wanted
            ?? (trial == nil
                ? rows.last { $0.wasStable && $0.revision < (service.stable ?? 0) }?.revision : service.stable)
        guard let target, var revision = rows.first(where: { $0.revision == target && $0.armOf == nil }) else {
            throw Problem(
                "revision.not-found", status: wanted == nil ? 409 : 404,
                wanted.map { "service \"\(name.name)\" has no revision \($0)" }
                    ?? "there is no earlier revision of service \"\(name.name)\" to go back to",
                hint:
                    "It remembers: \(rows.filter { $0.armOf == nil }.map { String($0.revision) }.joined(separator: ", "))."
            )
        }
        guard target != service.stable || trial != nil else {
            throw Problem(
                "revision.stable", status: 409, "revision \(target) has all traffic already",
                hint: "Name another: vagus undo \(name.name) --to N")
        }
        let present = rows.first { $0.revision == service.stable }
        if !isAcross, let problem = Self.migrated(present, to: revision) { throw problem }
        let reason = "\(actor) went back to revision \(target)"
        if let trial { try end(trial, .aborted, reason: reason) }
        if target == service.stable { return }
        if let stable = service.stable, target > stable, var old = try RolloutRow.latest(of: target, name, in: sql) {
            // Forward again is no sign against the revision that has the traffic.
            old.isRollback = false
            return try again(old, isFull: false)
        }
        try goBack(to: &revision, isGradual: isGradual, reason: reason, &service)
    }

    /// Why a revision cannot live with the data of the one that has the traffic; nil when it can.
    static func migrated(_ present: RevisionRow?, to target: RevisionRow) -> Problem? {
        guard let present, target.revision < present.revision,
            present.workload.migration != target.workload.migration
        else { return nil }
        let name = target.service.name
        return Problem(
            "revision.migrated", status: 409,
            "revision \(target.revision) knows the data as of \(target.workload.migration ?? "no migration"), and they "
                + "are as of \(present.workload.migration ?? "no migration")",
            hint: "If it can live with them: vagus undo \(name) --to \(target.revision) --across-migration")
    }

    /// Begins the way back to an earlier revision; the one that is left counts as failed.
    func goBack(
        to revision: inout RevisionRow, isGradual: Bool, reason: String, _ service: inout ServiceRow
    ) throws {
        let sql = change.sql
        if let stable = service.stable, stable != revision.revision {
            if var bad = try RolloutRow.promoted(stable, of: name, in: sql) {
                bad.outcome = .failed
                bad.reason = reason
                bad.firstBadAt = bad.firstBadAt ?? change.now
                bad.recoveredAt = nil
                // It had come to all traffic by then.
                bad.exposure = 1
                try bad.write(in: sql)
            }
            try condemn(stable, reason)
        }
        try wake(&revision)
        var rollout = RolloutRow(
            name, number: service.nextRollout, revision: revision.revision, settings: spec.rollout, at: change.now)
        rollout.isRollback = true
        rollout.isFast = try !isGradual && isNear(revision.revision, service.stable)
        rollout.reason = reason
        rollout.commit = revision.commit
        try start(rollout, &service)
    }

    /// Whether fewer existing revisions than the window lie strictly between two (as Argo Rollouts' code counts).
    private func isNear(_ target: Int, _ stable: Int?) throws -> Bool {
        guard let window = spec.rollback.window, let stable else { return true }
        let (low, high) = (min(target, stable), max(target, stable))
        let between = try RevisionRow.all(of: name, in: change.sql).count {
            $0.armOf == nil && $0.revision > low && $0.revision < high
        }
        return between < window
    }

    /// A revision that is wanted again: its past is no matter.
    private func wake(_ revision: inout RevisionRow) throws {
        (revision.retiredAt, revision.condemned) = (nil, nil)
        (revision.crashes, revision.crashedAt, revision.problem) = (0, nil, nil)
        try revision.write(in: change.sql)
    }

    /// Begins another attempt of a revision, from the first step; DORA sees the same change again.
    ///
    /// With `isAcross` it was allowed to go back across a migration when it began.
    func again(_ old: RolloutRow, isFull: Bool, isAcross: Bool = false) throws {
        guard var revision = try RevisionRow.find(old.revision, of: name, in: change.sql) else {
            throw Problem(
                "revision.not-found", status: 409, "revision \(old.revision) is not remembered any more",
                hint: "Deploy it anew.")
        }
        var service = try ServiceRow.read(name, in: change.sql)
        let present = try service.stable.flatMap { try RevisionRow.find($0, of: name, in: change.sql) }
        if !isAcross, let problem = Self.migrated(present, to: revision) { throw problem }
        try wake(&revision)
        var rollout = RolloutRow(
            name, number: service.nextRollout, revision: old.revision, settings: spec.rollout, at: change.now)
        (rollout.commit, rollout.run, rollout.committedAt, rollout.tier) = (
            old.commit, old.run, old.committedAt, old.tier
        )
        (rollout.isRollback, rollout.isFast, rollout.isFull) = (old.isRollback, old.isFast, isFull)
        try start(rollout, &service)
    }

    /// Rolls out once more what was aborted, or gone back from.
    func retry(isFull: Bool) throws {
        let sql = change.sql
        let newest = try RolloutRow.newest(of: name, in: sql)
        guard let newest, !newest.isUnderWay else {
            throw Problem(
                "rollout.under-way", status: 409, "a rollout of service \"\(name.name)\" is under way",
                hint: "Go on with it: vagus promote \(name.name); or end it: vagus abort \(name.name)")
        }
        if newest.completion == .aborted { return try again(newest, isFull: isFull) }
        let bad = try RevisionRow.all(of: name, in: sql).last { $0.condemned != nil }
        guard let bad, var old = try RolloutRow.latest(of: bad.revision, name, in: sql) else {
            throw Problem(
                "rollout.none", status: 409, "nothing of service \"\(name.name)\" was aborted or gone back from",
                hint: "See how it is with: vagus status \(name.name)")
        }
        old.isRollback = false
        try again(old, isFull: isFull)
    }

    /// On to all traffic, over all steps that are left.
    func skipSteps(_ trial: RolloutRow) throws {
        var rollout = trial
        rollout.isFull = true
        (rollout.pause, rollout.pauseKind) = (nil, nil)
        rollout.step = trial.plan.stages.count
        rollout.stepAt = change.now
        try save(&rollout)
        try tell("rollout.step", rollout, ["full": true])
    }

    /// What was held by hand goes on.
    func resume(_ trial: RolloutRow, _ facts: Ordered<JSONValue>) throws {
        var rollout = trial
        (rollout.pause, rollout.pauseKind) = (nil, nil)
        rollout.shortAt = nil
        try save(&rollout)
        try tell("rollout.resumed", rollout, facts)
    }

    /// The rollout's own settings were changed while it is under way: it begins anew with them.
    func restartIfChanged() throws {
        guard let trial = try RolloutRow.newest(of: name, in: change.sql), trial.isUnderWay, !trial.isDirect,
            trial.settings.json.text != spec.rollout.json.text
        else { return }
        try end(trial, .superseded, reason: "its steps were changed, so it began anew")
        try again(trial, isFull: false, isAcross: true)
    }
}
