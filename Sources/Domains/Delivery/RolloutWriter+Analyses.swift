import API
import Kernel
import Manifests
import SQL

/// What a rollout's analyses ask of the tables.
extension RolloutWriter {
    private var sql: Connection { change.sql }
    private var now: Timestamp { change.now }

    /// Takes the looks that are due, of what the store itself knows; the others are for `MeasureLoop`.
    func lookAtAnalyses() throws {
        guard let rollout = try RolloutRow.newest(of: name, in: sql), rollout.isUnderWay else { return }
        for var record in try AnalysisRecord.all(of: name, rollout: rollout.number, in: sql)
        where record.verdict == .running && record.next_at <= now && !record.isExternal {
            let (canary, stable) = try totals(record, rollout)
            record.look(canary: canary, stable: stable, at: now)
            try record.write(name, rollout: rollout.number, in: sql)
            if record.tally.failed > 0 { try noteBad(rollout) }
        }
    }

    /// What both sides of an analysis were counted to have up to now.
    private func totals(_ record: AnalysisRecord, _ rollout: RolloutRow) throws -> (Counts, Counts) {
        if let test = record.test {
            return (
                try OutcomeRow.counts(record.canary, test.outcome, rollout.number, of: name, in: sql),
                try OutcomeRow.counts(record.stable, test.outcome, rollout.number, of: name, in: sql)
            )
        }
        return (
            try TrafficRow.total(record.canary, of: name, in: sql),
            try TrafficRow.total(record.stable, of: name, in: sql)
        )
    }

    /// Notes the first sign that something is wrong.
    func noteBad(_ old: RolloutRow) throws {
        guard old.firstBadAt == nil else { return }
        var rollout = old
        rollout.firstBadAt = now
        try save(&rollout)
    }

    private func eachRunning(_ rollout: RolloutRow, _ body: (inout AnalysisRecord) throws -> Void) throws {
        for var record in try AnalysisRecord.all(of: name, rollout: rollout.number, in: sql)
        where record.verdict == .running {
            try body(&record)
            try record.write(name, rollout: rollout.number, in: sql)
        }
    }

    /// The share of the traffic changes: what was counted under the old one is put away.
    func turnAnalyses(_ rollout: RolloutRow) throws {
        try eachRunning(rollout) { record in
            let (canary, stable) = try totals(record, rollout)
            record.turn(canary: canary, stable: stable)
        }
    }

    /// Ends what still runs; of one step only when it is given.
    func closeAnalyses(_ rollout: RolloutRow, step: Int? = nil) throws {
        try eachRunning(rollout) { record in
            guard step == nil || record.step == step else { return }
            record.close(canary: try totals(record, rollout).0)
        }
    }

    /// A person goes on although some analysis is inconclusive, or has failed and may not abort.
    func heedAnalyses(_ rollout: RolloutRow) throws {
        for var record in try AnalysisRecord.all(of: name, rollout: rollout.number, in: sql)
        where record.verdict != .running && record.verdict != .passed {
            record.isHeeded = true
            try record.write(name, rollout: rollout.number, in: sql)
        }
    }

    /// Begins analyses of a step.
    func measure(_ names: [String], step: Int, _ rollout: RolloutRow) throws {
        guard let origin = rollout.origin else { return }
        for analysis in names {
            guard rollout.settings.strategy != .a_b_testing || analysis != RolloutPlan.outcome else {
                try AnalysisRecord(
                    test: rollout.settings, canary: rollout.revision, stable: origin, step: step, at: now
                ).write(name, rollout: rollout.number, in: sql)
                continue
            }
            let sides = sides(analysis, step, rollout, origin)
            var record = AnalysisRecord(
                analysis, step: step, settings: rollout.settings,
                canary: (sides.canary.number, try TrafficRow.total(sides.canary.number, of: name, in: sql)),
                stable: (sides.stable.number, try TrafficRow.total(sides.stable.number, of: name, in: sql)), at: now)
            (record.canary_arm, record.stable_arm) = (sides.canary.arm, sides.stable.arm)
            // A source outside counts from the beginning of the analysis itself.
            if record.isExternal { record.beginAtNothing() }
            if case .experiment(let spec) = rollout.plan.stage(step), !spec.required { record.spec.dry_run = true }
            try record.write(name, rollout: rollout.number, in: sql)
        }
    }

    /// One side of a comparison: the number that its counts are under, and its name if it is an experiment's arm.
    private struct Side {
        var number: Int
        var arm: String?
    }

    /// Whose counts an analysis compares: an experiment's arms, the fresh baseline, or the revisions themselves.
    private func sides(
        _ analysis: String, _ step: Int, _ rollout: RolloutRow, _ origin: Int
    ) -> (canary: Side, stable: Side) {
        func arm(_ place: Int) -> Int { ArmPlan.number(rollout.number, place) }
        if case .experiment(let spec) = rollout.plan.stage(step) {
            let arms = Array(spec.arms)
            func side(_ place: Int) -> Side { Side(number: arm(10 + step * 10 + place), arm: arms[place].key) }
            let canary = arms.firstIndex { $0.value.from == .canary }.map(side)
            let stable = arms.firstIndex { $0.value.from == .stable }.map(side)
            return (canary ?? Side(number: rollout.revision), stable ?? Side(number: origin))
        }
        let isFresh = rollout.settings.analysis[analysis]?.judge.against == .baseline
        let stable = isFresh && rollout.settings.baseline != nil ? arm(1) : origin
        return (Side(number: rollout.revision), Side(number: stable))
    }
}

extension AnalysisRecord {
    mutating func beginAtNothing() {
        (canary_start, stable_start) = (Counts(), Counts())
        (canary_segment, stable_segment) = (Counts(), Counts())
        (canary_last, stable_last) = (Counts(), Counts())
        slow_above = nil
    }
}

/// Outcomes of a_b_testing: which client was on which side, and what came of it.
enum OutcomeRow {
    /// Name under which it is noted that a client was there at all.
    static let seen = ""

    /// Clients of a revision, and those of them with the outcome.
    static func counts(
        _ revision: Int, _ outcome: String, _ rollout: Int, of service: ServiceReference, in sql: Connection
    ) throws -> Counts {
        func count(_ name: String) throws -> Int64 {
            try sql.value(
                """
                SELECT count(*) FROM delivery_outcome WHERE \(service.rows) AND rollout = \(rollout)
                    AND revision = \(revision) AND outcome = \(name)
                """) ?? 0
        }
        return Counts(requests: try count(seen), errors: try count(outcome))
    }

    /// Notes a client, once on the side where it was seen first; what is told of it on the other side later is left out.
    static func note(
        _ told: OutcomeItem, _ rollout: Int, of service: ServiceReference, in change: Change
    ) throws {
        for outcome in Set([seen, told.outcome]) {
            try change.sql.run(
                """
                INSERT INTO delivery_outcome (project, service, rollout, entity, revision, outcome, seen_at)
                SELECT \(service.project), \(service.name), \(rollout), \(told.entity), \(told.revision), \(outcome),
                    \(change.now)
                WHERE NOT EXISTS (SELECT 1 FROM delivery_outcome WHERE \(service.rows) AND rollout = \(rollout)
                    AND entity = \(told.entity) AND revision <> \(told.revision))
                ON CONFLICT (project, service, rollout, entity, outcome) DO NOTHING
                """)
        }
    }
}
