import API
import Kernel
import Manifests
import SQL

extension Tables {
    /// What triggers, sources and pull requests remember.
    static let triggers = Migration(
        id: "pipelines-triggers-1",
        statements: [
            "ALTER TABLE pipelines_ref ADD COLUMN committed_at BIGINT",
            "ALTER TABLE pipelines_ref ADD COLUMN message TEXT",
            "ALTER TABLE pipelines_job ADD COLUMN token_hash TEXT",
            "CREATE INDEX pipelines_job_token ON pipelines_job (token_hash)",
            """
            CREATE TABLE pipelines_trigger (
                project TEXT NOT NULL, pipeline TEXT NOT NULL, position BIGINT NOT NULL, type TEXT NOT NULL,
                name TEXT NOT NULL, next_at BIGINT, last_at BIGINT, PRIMARY KEY (project, pipeline, position))
            """,
            "CREATE INDEX pipelines_trigger_name ON pipelines_trigger (type, project, name)",
            """
            CREATE TABLE pipelines_firing (
                project TEXT NOT NULL, pipeline TEXT NOT NULL, name TEXT NOT NULL, fired_at BIGINT NOT NULL)
            """,
            "CREATE INDEX pipelines_firing_name ON pipelines_firing (project, pipeline, name, fired_at)",
            """
            CREATE TABLE pipelines_pull (
                project TEXT NOT NULL, repository TEXT NOT NULL, number BIGINT NOT NULL, title TEXT NOT NULL,
                author TEXT NOT NULL, state TEXT NOT NULL, head_ref TEXT NOT NULL, head_commit TEXT NOT NULL,
                base_ref TEXT NOT NULL, is_fork BIGINT NOT NULL, url TEXT, merged_commit TEXT,
                created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, PRIMARY KEY (project, repository, number))
            """,
            """
            CREATE TABLE pipelines_delivery (
                project TEXT NOT NULL, receiver TEXT NOT NULL, delivery TEXT NOT NULL, seen_at BIGINT NOT NULL,
                PRIMARY KEY (project, receiver, delivery))
            """,
            "CREATE INDEX pipelines_delivery_seen ON pipelines_delivery (seen_at)",
            """
            CREATE TABLE pipelines_remote (
                project TEXT NOT NULL, repository TEXT NOT NULL, wanted_at BIGINT NOT NULL, fetched_at BIGINT,
                failures BIGINT NOT NULL, PRIMARY KEY (project, repository))
            """,
            """
            CREATE TABLE pipelines_told (
                id TEXT PRIMARY KEY, project TEXT NOT NULL, repository TEXT NOT NULL, pull TEXT NOT NULL,
                action TEXT NOT NULL, told_at BIGINT NOT NULL)
            """,
            """
            CREATE TABLE pipelines_outbox (
                run TEXT PRIMARY KEY, project TEXT NOT NULL, repository TEXT NOT NULL, pipeline TEXT NOT NULL,
                number BIGINT NOT NULL, commit_id TEXT NOT NULL, state TEXT NOT NULL, description TEXT NOT NULL,
                attempts BIGINT NOT NULL, due_at BIGINT NOT NULL, changed_at BIGINT NOT NULL)
            """,
            "CREATE INDEX pipelines_outbox_due ON pipelines_outbox (due_at)",
        ])
}

/// One trigger of a pipeline, as it is found again.
struct StoredTrigger: Sendable, Equatable, Hashable {
    var project: String
    var pipeline: String
    var position: Int
    var type: Trigger.Cause
    /// What it waits for: the name of a pipeline, model or alert, or a schedule's text.
    var name: String
    var nextAt: Timestamp?
    var lastAt: Timestamp?
    var reference: Reference<PipelineKind> { Reference(project: project, name: pipeline) }
}

extension StoredTrigger {
    init(row: Row) throws {
        project = try row.get("project")
        pipeline = try row.get("pipeline")
        position = try row.get("position")
        type = try row.word("type")
        name = try row.get("name")
        nextAt = try row.maybeTime("next_at")
        lastAt = try row.maybeTime("last_at")
    }
}

extension TriggerSpec {
    /// What it waits for, in one word; nil for those that its repository sees.
    var waitsFor: String? {
        if let schedule { return "\(schedule.cron) \(schedule.tz)" }
        if let pipeline { return pipeline.name }
        if let artifact { return artifact.pipeline }
        if let model { return model.name }
        // Patterns are looked through.
        if alert != nil { return "" }
        return nil
    }
}

extension Connection {
    func triggers(project: String, pipeline: String) throws -> [StoredTrigger] {
        try rows(
            """
            SELECT * FROM pipelines_trigger WHERE project = \(project) AND pipeline = \(pipeline) ORDER BY position
            """
        ).map(StoredTrigger.init(row:))
    }

    func triggers(_ type: Trigger.Cause, project: String, waitingFor name: String) throws -> [StoredTrigger] {
        try rows(
            """
            SELECT * FROM pipelines_trigger WHERE type = \(type.rawValue) AND project = \(project) AND name = \(name)
            ORDER BY pipeline, position
            """
        ).map(StoredTrigger.init(row:))
    }

    /// Every schedule, the next one first.
    func schedules() throws -> [StoredTrigger] {
        try rows("SELECT * FROM pipelines_trigger WHERE type = 'schedule' AND next_at IS NOT NULL ORDER BY next_at")
            .map(StoredTrigger.init(row:))
    }

    func forgetTriggers(project: String, pipeline: String) throws {
        try run("DELETE FROM pipelines_trigger WHERE project = \(project) AND pipeline = \(pipeline)")
        try run("DELETE FROM pipelines_firing WHERE project = \(project) AND pipeline = \(pipeline)")
    }

    /// Moves a schedule on, unless somebody else has; true when this was the one.
    func advance(_ trigger: StoredTrigger, firedAt: Timestamp?, nextAt: Timestamp?) throws -> Bool {
        try run(
            """
            UPDATE pipelines_trigger SET next_at = \((nextAt?.microseconds).sqlValue),
                last_at = coalesce(\((firedAt?.microseconds).sqlValue), last_at)
            WHERE project = \(trigger.project) AND pipeline = \(trigger.pipeline)
                AND position = \(trigger.position) AND name = \(trigger.name)
                AND next_at = \((trigger.nextAt?.microseconds).sqlValue)
            """) == 1
    }

    // MARK: Firings of alerts

    func firings(project: String, pipeline: String, name: String, since: Timestamp) throws -> [Timestamp] {
        try rows(
            """
            SELECT fired_at FROM pipelines_firing WHERE project = \(project) AND pipeline = \(pipeline)
                AND name = \(name) AND fired_at > \(since.microseconds) ORDER BY fired_at
            """
        ).map { Timestamp(microseconds: try $0.get(0)) }
    }

    func noteFiring(project: String, pipeline: String, name: String, at now: Timestamp, keep: Timestamp) throws {
        try run(
            """
            DELETE FROM pipelines_firing WHERE project = \(project) AND pipeline = \(pipeline) AND name = \(name)
                AND fired_at <= \(keep.microseconds)
            """)
        try run(
            """
            INSERT INTO pipelines_firing (project, pipeline, name, fired_at)
            VALUES (\(project), \(pipeline), \(name), \(now.microseconds))
            """)
    }

    // MARK: Heads

    /// The head of a branch as it was last seen, with what its commit tells.
    func head(of repository: Reference<RepositoryKind>, ref: String) throws -> CommitPlace? {
        try row(
            """
            SELECT commit_id, committed_at, message FROM pipelines_ref WHERE project = \(repository.project)
                AND repository = \(repository.name) AND name = \(ref)
            """
        ).map { row in
            CommitPlace(
                repository: repository.name, ref: ref, commit: try row.get("commit_id"),
                committedAt: try row.maybeTime("committed_at"), message: try row.get("message", as: String?.self))
        }
    }
}

/// A commit, and where it was found.
struct CommitPlace: Sendable, Equatable {
    var repository: String
    var ref: String?
    var commit: String
    var committedAt: Timestamp?
    var message: String?
}

extension Change {
    /// Writes down what the pipeline's triggers wait for; a schedule that it had before goes on where it was.
    func keepTriggers(of reference: Reference<PipelineKind>, _ spec: PipelineSpec) throws {
        let before = try sql.triggers(project: reference.project, pipeline: reference.name)
        try sql.run(
            "DELETE FROM pipelines_trigger WHERE project = \(reference.project) AND pipeline = \(reference.name)")
        for (position, trigger) in spec.triggers.enumerated() {
            guard let name = trigger.waitsFor else { continue }
            var next: Timestamp?
            let known = before.first { $0.type == trigger.type && $0.name == name }
            if let schedule = trigger.schedule {
                next = try known?.nextAt ?? Schedule(schedule).next(after: now)
            }
            try sql.run(
                """
                INSERT INTO pipelines_trigger (project, pipeline, position, type, name, next_at, last_at)
                VALUES (\(reference.project), \(reference.name), \(position), \(trigger.type.rawValue), \(name),
                    \((next?.microseconds).sqlValue), \((known?.lastAt?.microseconds).sqlValue))
                """)
        }
        ring(ScheduleReconciler.topic)
    }
}
