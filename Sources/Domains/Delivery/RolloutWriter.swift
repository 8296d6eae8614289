import API
import Kernel
import Manifests
import SQL

/// Writes what is decided for one service, inside one transaction.
///
/// What must be done outside follows from the rows.
struct RolloutWriter {
    let change: Change
    let name: ServiceReference
    let spec: ServiceSpec
    let proxies: ProxyWatch
    let url: ProxyURL
    /// Decisions that one transaction carries; a rollout without waits needs about a dozen.
    static let decisionLimit = 64

    private var sql: Connection { change.sql }
    private var now: Timestamp { change.now }
    private var subject: Subject { name.subject }

    /// Looks at what is due, decides until nothing is left, and brings routes and status up to date.
    func settle() throws -> RolloutView {
        try lookAtAnalyses()
        var view = try view()
        for _ in 0..<Self.decisionLimit {
            let steps = RolloutDecision.decide(view, now: now)
            if steps.isEmpty { break }
            for step in steps { try carry(step, view) }
            view = try self.view()
        }
        try tellStatus(view)
        return view
    }

    /// The view, after its routes were brought up to date.
    private func view() throws -> RolloutView {
        let row = try ServiceRow.read(name, in: sql)
        let view = try RolloutView(row, spec, proxies: proxies, at: now, in: sql)
        try RouteRow.write(RouteShape.routes(name, spec, view), of: name, in: change)
        // The routes may be newer than the view: what the proxies have is asked again.
        return try RolloutView(row, spec, proxies: proxies, at: now, in: sql)
    }

    private func tellStatus(_ view: RolloutView) throws {
        try change.setStatus(
            StatusReport.status(name, spec, view, url: url, now: now, withTraffic: false, in: sql), of: name)
    }

    /// Writes an attempt; time that it waits for people is counted here, so that no change of it is missed.
    func save(_ rollout: inout RolloutRow) throws {
        rollout.notePause(at: now)
        try rollout.write(in: sql)
        if rollout.release != nil { change.ring(ReleaseBook.topic) }
    }

    // MARK: - Carrying out

    private func carry(_ step: RolloutStep, _ view: RolloutView) throws {
        switch step {
        case .start(let revision, let count): try order(count, of: revision)
        case .stop(let id, let reason, let isFault):
            try CopyBook.stop(id, reason: reason, isFault: isFault, withAnswer: isFault, in: change)
        case .recovered: try recover(view)
        case .arm(let plan): try make(plan)
        case .weight(let weight): if let trial = view.trial { try shift(trial, to: weight) }
        case .retreat(let weight):
            guard let leaving = view.leaving else { return }
            try shift(leaving, to: weight)
            // Who waited for it has all its time yet.
            if var trial = view.trial, trial.shortAt != nil {
                trial.shortAt = now
                try save(&trial)
            }
        default:
            guard let rollout = view.trial else { return }
            try carry(step, rollout)
        }
    }

    private func carry(_ step: RolloutStep, _ trial: RolloutRow) throws {
        var rollout = trial
        switch step {
        case .next: try advance(rollout)
        case .measure(let names, let step): try measure(names, step: step, rollout)
        case .close(let step): try closeAnalyses(rollout, step: step)
        case .pause(let kind, let reason):
            (rollout.pause, rollout.pauseKind) = (reason, kind)
            try save(&rollout)
            try tell("rollout.paused", rollout, ["reason": .string(reason), "kind": .string(kind.rawValue)])
        case .note(let isShort):
            rollout.shortAt = isShort ? now : nil
            try save(&rollout)
        case .ready:
            rollout.release?.readyAt = now
            // The time for its copies begins when the others let it go on.
            rollout.shortAt = nil
            try save(&rollout)
            try tell("rollout.ready", rollout, ["release": .string(rollout.release?.name ?? "")])
        case .promote: try promote(rollout)
        case .abort(let reason): try end(rollout, .aborted, reason: reason)
        case .start, .stop, .recovered, .arm, .weight, .retreat: break
        }
    }

    private func shift(_ old: RolloutRow, to weight: Int) throws {
        var rollout = old
        try turnAnalyses(rollout)
        rollout.weight = weight
        if weight == 100 { rollout.switchedAt = rollout.switchedAt ?? now }
        // Traffic moved: the deadline for the copies that are still missing begins anew.
        if rollout.shortAt != nil { rollout.shortAt = now }
        // The copies of an aborted revision are kept from when the last of its traffic is gone.
        if !rollout.isUnderWay, weight == 0 { try retire(rollout.revision, at: now) }
        try save(&rollout)
        try tell("rollout.step", rollout, ["weight": .integer(Int64(weight))])
    }

    private func make(_ plan: ArmPlan) throws {
        guard let source = try RevisionRow.find(plan.source, of: name, in: sql) else { return }
        var row = RevisionRow(name, plan.number, key: "arm:\(plan.number)", source.workload, at: now)
        (row.arm, row.armOf) = (plan.name, plan.source)
        try row.write(in: sql)
        try change.tell(
            "rollout.arm-created", about: subject,
            ["arm": .string(plan.name), "revision": .integer(Int64(plan.source))])
    }

    private func order(_ count: Int, of revision: Int) throws {
        guard var row = try RevisionRow.find(revision, of: name, in: sql) else { return }
        for _ in 0..<count {
            var copy = CopyRow(name, revision: revision, number: row.nextCopy, at: now)
            copy.form = row.workload.form
            try copy.write(in: sql)
            row.nextCopy += 1
        }
        try row.write(in: sql)
        CopyBook.ring(for: name, in: change)
        if row.workload.form.isCluster { change.ring(CopyBook.clusterTopic) }
    }

    /// Goes to the next step.
    func advance(_ trial: RolloutRow) throws {
        var rollout = trial
        rollout.step = min(rollout.step + 1, rollout.plan.stages.count)
        rollout.stepAt = now
        (rollout.pause, rollout.pauseKind) = (nil, nil)
        // The deadline does not run in a pause, so what was missing before one is no news after it.
        if case .pause = rollout.plan.stage(rollout.step) { rollout.shortAt = nil }
        try save(&rollout)
        let stage = rollout.plan.stage(rollout.step)
        var event = "rollout.step"
        if case .pause = stage { event = "rollout.paused" }
        try tell(
            event, rollout,
            ["step": .integer(Int64(rollout.step)), "step_name": .string(rollout.plan.words(rollout.step))])
    }

    private func promote(_ trial: RolloutRow) throws {
        var (rollout, service) = (trial, try ServiceRow.read(name, in: sql))
        // Kept from when it lost its traffic, which is before the checks after a switch.
        if let old = service.stable, old != rollout.revision { try retire(old, at: rollout.switchedAt ?? now) }
        service.stable = rollout.revision
        try service.write(in: sql)
        if var revision = try RevisionRow.find(rollout.revision, of: name, in: sql) {
            (revision.wasStable, revision.retiredAt, revision.condemned) = (true, nil, nil)
            try revision.write(in: sql)
        }
        try closeAnalyses(rollout)
        rollout.completion = rollout.isRollback ? .rolled_back : rollout.isFull ? .fast_promoted : .promoted
        rollout.outcome = .succeeded
        rollout.finishedAt = now
        rollout.weight = 100
        (rollout.pause, rollout.pauseKind) = (nil, nil)
        rollout.exposure = try exposure(rollout)
        // It was found good after all: single errors on the way were no sign.
        rollout.firstBadAt = nil
        try save(&rollout)
        try tell(rollout.isRollback ? "rollout.rolled-back" : "rollout.promoted", rollout, [:])
        try forget(service)
    }

    /// Ends an attempt that did not come to all traffic: its share is gone at once.
    ///
    /// Where stable copies were taken away on the way, it is left the traffic that they cannot bear until they are back.
    func end(_ trial: RolloutRow, _ completion: ServiceStatus.Completion, reason: String) throws {
        var rollout = trial
        try closeAnalyses(rollout)
        rollout.completion = completion
        rollout.outcome = completion == .superseded ? .superseded : .failed
        rollout.reason = reason
        rollout.finishedAt = now
        rollout.exposure = try exposure(rollout)
        (rollout.pause, rollout.pauseKind) = (nil, nil)
        if rollout.outcome == .failed { rollout.firstBadAt = rollout.firstBadAt ?? now }
        var left = 0
        if RolloutDecision.shrinksStable(rollout), rollout.weight > 0 {
            left = min(rollout.weight, RolloutDecision.unbearable(try view()))
        }
        rollout.weight = left
        try save(&rollout)
        if left == 0 { try retire(rollout.revision, at: now) }
        if completion == .aborted { try condemn(rollout.revision, reason) }
        try tell("rollout.\(completion.rawValue)", rollout, ["reason": .string(reason)])
    }

    /// Share of the service's requests since the beginning that this revision was given, by its arms too.
    private func exposure(_ rollout: RolloutRow) throws -> Double {
        let all = try TrafficRow.requests(of: name, in: sql) - rollout.requestsBefore
        var own = try TrafficRow.total(rollout.revision, of: name, in: sql).requests - rollout.ownBefore
        for arm in try RevisionRow.all(of: name, in: sql)
        where arm.armOf == rollout.revision && ArmPlan.isOf(rollout.number, arm.revision) {
            own += try TrafficRow.total(arm.revision, of: name, in: sql).requests
        }
        guard all > 0 else { return Double(rollout.weight) / 100 }
        return min(1, Double(max(0, own)) / Double(all))
    }

    /// From now on the same is not rolled out again, unless somebody wants it.
    func condemn(_ number: Int, _ reason: String) throws {
        guard var revision = try RevisionRow.find(number, of: name, in: sql) else { return }
        revision.condemned = reason
        try revision.write(in: sql)
    }

    private func retire(_ number: Int, at time: Timestamp) throws {
        guard var revision = try RevisionRow.find(number, of: name, in: sql) else { return }
        revision.retiredAt = time
        try revision.write(in: sql)
    }

    private func recover(_ view: RolloutView) throws {
        for var rollout in try RolloutRow.unrecovered(of: name, in: sql) where view.unrecovered.contains(rollout.number)
        {
            rollout.recoveredAt = now
            try rollout.write(in: sql)
            try tell("rollout.recovered", rollout, [:])
        }
    }

    /// Forgets revisions beyond those that are kept for undo.
    private func forget(_ service: ServiceRow) throws {
        let busy = Set(try CopyRow.all(of: name, in: sql).map(\.revision))
        let all = try RevisionRow.all(of: name, in: sql)
        for revision in all.dropLast(spec.rollback.keep_revisions)
        where revision.revision != service.stable && !busy.contains(revision.revision) {
            try revision.remove(in: sql)
        }
        try sql.run(
            """
            DELETE FROM delivery_outcome WHERE \(name.rows)
                AND rollout < \(service.nextRollout - spec.rollback.keep_revisions)
            """)
    }

    func tell(_ event: String, _ rollout: RolloutRow, _ more: Ordered<JSONValue>) throws {
        var data: Ordered<JSONValue> = [
            "revision": .integer(Int64(rollout.revision)), "rollout": .integer(Int64(rollout.number)),
        ]
        if let run = rollout.run { data["run"] = .string(run) }
        for (key, value) in more { data[key] = value }
        try change.tell(event, about: subject, data)
    }
}
