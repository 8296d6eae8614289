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

    // MARK: - Analyses

    private func lookAtAnalyses() throws {
        guard let rollout = try RolloutRow.newest(of: name, in: sql), rollout.isUnderWay else { return }
        for var record in try AnalysisRecord.all(of: name, rollout: rollout.number, in: sql)
        where record.verdict == .running && record.next_at <= now {
            record.look(
                canary: try TrafficRow.total(record.canary, of: name, in: sql),
                stable: try TrafficRow.total(record.stable, of: name, in: sql), at: now)
            try record.write(name, rollout: rollout.number, in: sql)
            if record.bad > 0, rollout.firstBadAt == nil { try noteBad(rollout) }
        }
    }

    private func noteBad(_ rollout: RolloutRow) throws {
        var rollout = rollout
        rollout.firstBadAt = now
        try rollout.write(in: sql)
    }

    private func eachRunning(_ rollout: RolloutRow, _ body: (inout AnalysisRecord) throws -> Void) throws {
        for var record in try AnalysisRecord.all(of: name, rollout: rollout.number, in: sql)
        where record.verdict == .running {
            try body(&record)
            try record.write(name, rollout: rollout.number, in: sql)
        }
    }

    private func measure(_ names: [String], step: Int, _ rollout: RolloutRow) throws {
        guard let origin = rollout.origin else { return }
        let canary = (rollout.revision, try TrafficRow.total(rollout.revision, of: name, in: sql))
        let stable = (origin, try TrafficRow.total(origin, of: name, in: sql))
        for analysis in names {
            let record = AnalysisRecord(
                analysis, step: step, settings: rollout.settings, canary: canary, stable: stable, at: now)
            try record.write(name, rollout: rollout.number, in: sql)
        }
    }

    // MARK: - Carrying out

    private func carry(_ step: RolloutStep, _ view: RolloutView) throws {
        switch step {
        case .start(let revision, let count): try order(count, of: revision)
        case .stop(let id, let reason, let isFault): try CopyBook.stop(id, reason: reason, isFault: isFault, in: change)
        case .recovered: try recover(view)
        default:
            guard let rollout = view.trial else { return }
            try carry(step, rollout)
        }
    }

    private func carry(_ step: RolloutStep, _ trial: RolloutRow) throws {
        var rollout = trial
        switch step {
        case .weight(let weight):
            try eachRunning(rollout) { record in
                record.turn(
                    canary: try TrafficRow.total(record.canary, of: name, in: sql),
                    stable: try TrafficRow.total(record.stable, of: name, in: sql))
            }
            rollout.weight = weight
            // Traffic moved: the deadline for the copies that are still missing begins anew.
            if rollout.shortAt != nil { rollout.shortAt = now }
            try rollout.write(in: sql)
            try tell("rollout.step", rollout, ["weight": .integer(Int64(weight))])
        case .next: try advance(rollout)
        case .measure(let names, let step): try measure(names, step: step, rollout)
        case .pause(let reason):
            rollout.pause = reason
            try rollout.write(in: sql)
            try tell("rollout.paused", rollout, ["reason": .string(reason)])
        case .note(let isShort):
            rollout.shortAt = isShort ? now : nil
            try rollout.write(in: sql)
        case .promote: try promote(rollout)
        case .abort(let reason): try end(rollout, .aborted, reason: reason)
        case .start, .stop, .recovered: break
        }
    }

    private func order(_ count: Int, of revision: Int) throws {
        guard var row = try RevisionRow.find(revision, of: name, in: sql) else { return }
        for _ in 0..<count {
            try CopyRow(name, revision: revision, number: row.nextCopy, at: now).write(in: sql)
            row.nextCopy += 1
        }
        try row.write(in: sql)
        change.ring(CopyBook.topic)
    }

    /// Goes to the next step.
    func advance(_ trial: RolloutRow) throws {
        var rollout = trial
        rollout.step = min(rollout.step + 1, rollout.plan.stages.count)
        rollout.stepAt = now
        rollout.pause = nil
        try rollout.write(in: sql)
        let stage = rollout.plan.stage(rollout.step)
        var event = "rollout.step"
        if case .pause = stage { event = "rollout.paused" }
        try tell(
            event, rollout, ["step": .integer(Int64(rollout.step)), "step_name": .string(RolloutPlan.words(stage))])
    }

    private func promote(_ trial: RolloutRow) throws {
        var (rollout, service) = (trial, try ServiceRow.read(name, in: sql))
        if let old = service.stable, old != rollout.revision { try retire(old) }
        service.stable = rollout.revision
        try service.write(in: sql)
        if var revision = try RevisionRow.find(rollout.revision, of: name, in: sql) {
            (revision.wasStable, revision.retiredAt) = (true, nil)
            try revision.write(in: sql)
        }
        try closeAnalyses(rollout)
        rollout.completion = rollout.isRollback ? .rolled_back : rollout.isFull ? .fast_promoted : .promoted
        rollout.outcome = .succeeded
        rollout.finishedAt = now
        // It was found good after all: single errors on the way were no sign.
        rollout.firstBadAt = nil
        try rollout.write(in: sql)
        try tell(rollout.isRollback ? "rollout.rolled-back" : "rollout.promoted", rollout, [:])
        try forget(service)
    }

    /// Ends an attempt that did not come to all traffic: its share is gone at once.
    func end(_ trial: RolloutRow, _ completion: ServiceStatus.Completion, reason: String) throws {
        var rollout = trial
        try closeAnalyses(rollout)
        rollout.completion = completion
        rollout.outcome = completion == .superseded ? .superseded : .failed
        rollout.reason = reason
        rollout.finishedAt = now
        rollout.weight = 0
        rollout.pause = nil
        if rollout.outcome == .failed { rollout.firstBadAt = rollout.firstBadAt ?? now }
        try rollout.write(in: sql)
        try retire(rollout.revision)
        try tell("rollout.\(completion.rawValue)", rollout, ["reason": .string(reason)])
    }

    private func closeAnalyses(_ rollout: RolloutRow) throws {
        try eachRunning(rollout) { $0.close(canary: try TrafficRow.total($0.canary, of: name, in: sql)) }
    }

    private func retire(_ number: Int) throws {
        guard var revision = try RevisionRow.find(number, of: name, in: sql) else { return }
        revision.retiredAt = now
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
