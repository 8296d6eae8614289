import API
import Kernel
import Logging
import Manifests

/// Sets pipelines off when their time has come.
///
/// The time that is next stands in the store; the run and the time after it are written in one transaction, so that no
/// crash doubles or loses one. What was missed while nobody was here is made up for once, by the last time that passed.
struct ScheduleReconciler: Reconciler {
    static let name = "pipelines-schedules"
    static let topic = "PipelineSchedule"
    static let topics: Set<String> = [topic]
    let context: DomainContext

    /// One schedule of one pipeline.
    struct Key: Hashable, Sendable {
        var pipeline: Reference<PipelineKind>
        var position: Int
    }

    func keys() async throws -> [Key] {
        try await context.store.read { sql in
            try sql.schedules().map { Key(pipeline: $0.reference, position: $0.position) }
        }
    }

    func reconcile(_ key: Key) async throws -> Next {
        let stored = try await context.store.read { sql in
            try sql.triggers(project: key.pipeline.project, pipeline: key.pipeline.name)
                .first { $0.position == key.position && $0.type == .schedule }
        }
        guard let stored, let nextAt = stored.nextAt else { return .settled }
        let now = context.time.now
        guard nextAt <= now else { return .again(in: nextAt.since(now)) }
        let id = context.ids.next("run")
        try await context.store.change(.system("schedule", correlation: id)) { change in
            try Self.fire(stored, nextAt, id: id, in: change)
        }
        return .now
    }

    private static func fire(_ stored: StoredTrigger, _ nextAt: Timestamp, id: String, in change: Change) throws {
        guard let pipeline = try change.sql.resource(PipelineKind.self, stored.reference),
            pipeline.spec.triggers.indices.contains(stored.position),
            let spec = pipeline.spec.triggers[stored.position].schedule
        else { return }
        let schedule = try Schedule(spec)
        // The one that is due, or the last of those that were missed.
        let due = schedule.last(after: nextAt, upTo: change.now) ?? nextAt
        guard try change.sql.advance(stored, firedAt: due, nextAt: schedule.next(after: change.now)) else { return }
        var trigger = Trigger()
        (trigger.type, trigger.actor) = (.schedule, change.call.actor)
        trigger.event = [
            "cron": .string(spec.cron), "tz": .string(spec.tz), "scheduled_at": due.json,
            "missed": .bool(due != nextAt),
        ]
        try change.fire(
            Firing(
                pipeline: pipeline, spec: pipeline.spec.triggers[stored.position], trigger: trigger,
                place: change.defaultHead(of: pipeline)), id: id)
    }
}
