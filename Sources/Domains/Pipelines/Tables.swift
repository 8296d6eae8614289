import API
import Kernel
import Manifests
import SQL

/// This room's schema.
enum Tables {
    static let migrations = [
        Migration(
            id: "pipelines-1",
            statements: [
                """
                CREATE TABLE pipelines_ref (
                    project TEXT NOT NULL, repository TEXT NOT NULL, name TEXT NOT NULL, commit_id TEXT NOT NULL,
                    seen_at BIGINT NOT NULL, PRIMARY KEY (project, repository, name))
                """,
                """
                CREATE TABLE pipelines_run (
                    id TEXT PRIMARY KEY, project TEXT NOT NULL, pipeline TEXT NOT NULL, number BIGINT NOT NULL,
                    status TEXT NOT NULL, reason TEXT, cause TEXT NOT NULL, repository TEXT, commit_id TEXT,
                    committed_at BIGINT, parameters TEXT NOT NULL, spec TEXT NOT NULL, stopping TEXT, stopping_reason TEXT,
                    stopping_at BIGINT, created_at BIGINT NOT NULL, started_at BIGINT, finished_at BIGINT,
                    UNIQUE (project, pipeline, number))
                """,
                "CREATE INDEX pipelines_run_status ON pipelines_run (status)",
                "CREATE INDEX pipelines_run_newest ON pipelines_run (project, created_at, id)",
                """
                CREATE TABLE pipelines_job (
                    run TEXT NOT NULL, stage TEXT NOT NULL, name TEXT NOT NULL, position BIGINT NOT NULL,
                    type TEXT NOT NULL, needs TEXT NOT NULL, status TEXT NOT NULL, reason TEXT, on_server BIGINT NOT NULL,
                    labels TEXT NOT NULL, attempt BIGINT NOT NULL, epoch BIGINT NOT NULL, losses BIGINT NOT NULL,
                    retries BIGINT NOT NULL, runner TEXT, incarnation TEXT, workspace_runner TEXT, lease_until BIGINT,
                    deadline_at BIGINT, ready_at BIGINT, started_at BIGINT, finished_at BIGINT, orders TEXT,
                    outputs TEXT NOT NULL, tests TEXT, PRIMARY KEY (run, stage, name))
                """,
                "CREATE INDEX pipelines_job_status ON pipelines_job (status)",
                """
                CREATE TABLE pipelines_step (
                    run TEXT NOT NULL, stage TEXT NOT NULL, job TEXT NOT NULL, position BIGINT NOT NULL, id TEXT,
                    name TEXT NOT NULL, verb TEXT NOT NULL, status TEXT NOT NULL, reason TEXT, exit_code BIGINT,
                    epoch BIGINT NOT NULL, attempts BIGINT NOT NULL, started_at BIGINT, finished_at BIGINT,
                    outputs TEXT NOT NULL, metrics TEXT NOT NULL, report TEXT, memo TEXT,
                    PRIMARY KEY (run, stage, job, position))
                """,
                """
                CREATE TABLE pipelines_artifact (
                    run TEXT NOT NULL, stage TEXT NOT NULL, job TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,
                    size_bytes BIGINT NOT NULL, form TEXT NOT NULL, file_name TEXT NOT NULL, created_at BIGINT NOT NULL,
                    PRIMARY KEY (run, stage, job, name))
                """,
                """
                CREATE TABLE pipelines_runner (
                    name TEXT PRIMARY KEY, incarnation TEXT NOT NULL, labels TEXT NOT NULL, capacity BIGINT NOT NULL,
                    version TEXT NOT NULL, seen_at BIGINT NOT NULL)
                """,
            ]),
        triggers,
        Migration(
            id: "pipelines-exec-1",
            statements: [
                "ALTER TABLE pipelines_job ADD COLUMN execution TEXT",
                "ALTER TABLE pipelines_runner ADD COLUMN executors TEXT",
                "ALTER TABLE pipelines_runner ADD COLUMN cpu DOUBLE PRECISION",
                "ALTER TABLE pipelines_runner ADD COLUMN memory BIGINT",
            ]),
        CacheTables.migration,
        tests,
    ]
}

/// What names one job.
struct JobKey: Sendable, Hashable, CustomStringConvertible {
    var run: String
    var stage: String
    var job: String
    var description: String { "\(run)/\(stage)/\(job)" }
    /// Topic that rings when there is more of its output.
    var logTopic: String { "Log/\(description)" }
}

/// A run as it is stored, with what the wire does not tell.
struct StoredRun: Sendable {
    var run: Run
    var spec: PipelineSpec
    /// Set when it is to end early: cancelled, or failed by its own time limit.
    var stopping: RunStatus?
    var stoppingReason: String?
    var stoppingAt: Timestamp?
    var subject: Subject { Subject(kind: "Run", project: run.project, name: run.id) }
}

/// A job as it is stored, with what the wire does not tell.
struct StoredJob: Sendable {
    var run: String
    var job: Job
    var position: Int
    var isOnServer: Bool
    var labels: [String]
    var epoch: Int
    var losses: Int
    var retries: Int
    var incarnation: String?
    /// Runner whose kept workspace holds the finished steps.
    var workspaceRunner: String?
    var leaseUntil: Timestamp?
    var deadlineAt: Timestamp?
    var readyAt: Timestamp?
    var orders: [StepOrder]?
    /// Where and within which bounds, once it is ready.
    var execution: ExecutionSpec?
    var key: JobKey { JobKey(run: run, stage: job.stage, job: job.name) }
}

extension Row {
    func time(_ column: String) throws -> Timestamp { Timestamp(microseconds: try get(column)) }
    func maybeTime(_ column: String) throws -> Timestamp? {
        try get(column, as: Int64?.self).map(Timestamp.init(microseconds:))
    }
    func json(_ column: String) throws -> JSONValue { try JSONParser.parse(try get(column, as: String.self)) }
    func maybeJSON(_ column: String) throws -> JSONValue? {
        try get(column, as: String?.self).map { try JSONParser.parse($0) }
    }
    func value<V: WireValue>(_ column: String) throws -> V { try V(json: try json(column), at: [column]) }
    func word<V: WireEnum>(_ column: String) throws -> V {
        try V(json: .string(try get(column)), at: [column])
    }
}
