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
        Migration(
            id: "pipelines-engine-1",
            statements: [
                "ALTER TABLE pipelines_run ADD COLUMN plan TEXT",
                "ALTER TABLE pipelines_run ADD COLUMN calls TEXT",
                "ALTER TABLE pipelines_run ADD COLUMN superseded_by TEXT",
                "ALTER TABLE pipelines_run ADD COLUMN undone TEXT",
                "ALTER TABLE pipelines_job ADD COLUMN matrix TEXT",
                "ALTER TABLE pipelines_job ADD COLUMN forgiven BIGINT",
                "ALTER TABLE pipelines_job ADD COLUMN hold TEXT",
                "ALTER TABLE pipelines_job ADD COLUMN not_before BIGINT",
                "ALTER TABLE pipelines_job ADD COLUMN stop_as TEXT",
                "ALTER TABLE pipelines_job ADD COLUMN stop_reason TEXT",
                "ALTER TABLE pipelines_job ADD COLUMN stop_at BIGINT",
                "ALTER TABLE pipelines_job ADD COLUMN inputs TEXT",
                "ALTER TABLE pipelines_job ADD COLUMN attempt_at BIGINT",
                "ALTER TABLE pipelines_job ADD COLUMN log_offset BIGINT",
                "UPDATE pipelines_job SET position = position * 1024",
                // What runners ask for again and again, among thousands of jobs that wait for others.
                """
                CREATE INDEX pipelines_job_ready ON pipelines_job (ready_at)
                WHERE status = 'queued' AND ready_at IS NOT NULL
                """,
                """
                CREATE TABLE pipelines_attempt (
                    run TEXT NOT NULL, stage TEXT NOT NULL, job TEXT NOT NULL, attempt BIGINT NOT NULL, runner TEXT,
                    started_at BIGINT, finished_at BIGINT, status TEXT NOT NULL, cause TEXT, reason TEXT,
                    log_offset BIGINT NOT NULL, PRIMARY KEY (run, stage, job, attempt))
                """,
                """
                CREATE TABLE pipelines_claim (
                    run TEXT NOT NULL, origin TEXT NOT NULL, stage TEXT NOT NULL, job TEXT NOT NULL, lane TEXT NOT NULL,
                    created_at BIGINT NOT NULL, number BIGINT NOT NULL, pipeline TEXT NOT NULL, taken_at BIGINT,
                    PRIMARY KEY (run, origin, stage, job))
                """,
                "CREATE INDEX pipelines_claim_lane ON pipelines_claim (lane)",
            ]),
        gates,
        Migration(
            id: "pipelines-speed-1",
            statements: [
                "DROP INDEX pipelines_job_ready",
                """
                CREATE INDEX pipelines_job_ready ON pipelines_job (run, position)
                WHERE status = 'queued' AND ready_at IS NOT NULL AND on_server = 0 AND stop_as IS NULL
                """,
                "DROP INDEX pipelines_job_status",
                "CREATE INDEX pipelines_job_running ON pipelines_job (runner) WHERE status = 'running'",
            ]),
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
    /// Its pipeline, frozen.
    private(set) var plan: RunPlan
    /// Set when it is to end early: cancelled, superseded, or failed by its own time limit.
    var stopping: RunStatus?
    var stoppingReason: String?
    var stoppingAt: Timestamp?
    /// What has become of its rollback: absent until that is decided.
    var undone: JSONValue?
    var subject: Subject { Subject(kind: "Run", project: run.project, name: run.id) }
    /// Its pipeline, with the stages of those that it uses.
    var spec: PipelineSpec { plan.spec }

    init(run: Run, plan: RunPlan) { (self.run, self.plan) = (run, plan) }
    init(run: Run, spec: PipelineSpec) throws(ManifestError) { self.init(run: run, plan: try RunPlan(spec)) }
}

/// A job as it is stored, with what the wire does not tell.
struct StoredJob: Sendable {
    /// Word to stop, for one job alone.
    struct Stop: Sendable, Equatable {
        var status: RunStatus
        var reason: String
        var at: Timestamp
    }

    var run: String
    var job: Job
    /// Orders the jobs of a run; between two jobs of the spec there is room for the cells of a matrix.
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
    /// Its failure does not count.
    var isForgiven = false
    var hold: RunDecision.Hold?
    /// When it may be tried again.
    var notBefore: Timestamp?
    var stop: Stop?
    /// Parameters of the pipeline that its stage uses.
    var inputs: Ordered<JSONValue> = [:]
    /// When this try began, and where its output does.
    var attemptAt: Timestamp?
    var logOffset: Int64 = 0

    var key: JobKey { JobKey(run: run, stage: job.stage, job: job.name) }
    /// Whether it takes part of what is limited: it is ready, or at work.
    var isUnderWay: Bool { readyAt != nil && !job.status.hasEnded }
    /// "test/unit (debian12)".
    var title: String { job.title.map { "\(job.stage)/\($0)" } ?? job.key }
    /// Its name in the spec: a cell of a matrix is called `BASE.N`.
    var baseName: String { Self.base(of: job.name) }

    static func base(of name: String) -> String {
        name.utf8.lastIndex(of: UInt8(ascii: ".")).map { String(name[..<$0]) } ?? name
    }
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
    /// A list of words; most are empty, and those need no reading.
    func words(_ column: String) throws -> [String] {
        let text: String = try get(column)
        return text == "[]" ? [] : try [String](json: JSONParser.parse(text), at: [column])
    }
    /// A map, empty when the column is.
    func map(_ column: String) throws -> Ordered<JSONValue> {
        guard let text: String = try get(column, as: String?.self), text != "{}" else { return [:] }
        return try JSONParser.parse(text).object ?? [:]
    }
    func word<V: WireEnum>(_ column: String) throws -> V {
        let text: String = try get(column)
        // What was written here is nearly always read here.
        return try V(rawValue: text) ?? V(json: .string(text), at: [column])
    }
}
