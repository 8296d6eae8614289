import API
import Kernel
import Manifests
import SQL

/// A gate as it is stored.
struct StoredGate: Sendable, Equatable {
    var key: JobKey
    var project: String
    var pipeline: String
    var number: Int
    var commit: String?
    var environment: String
    /// Author of the commit.
    var author: String?
    var status = GateStatus.waiting
    var reason: String?
    var digest: String
    var beganAt: Timestamp
    var askedAt: Timestamp?
    var expiresAt: Timestamp?
    var endedAt: Timestamp?
}

/// A check as it is stored: asked by CheckLoop, an intent before each question, the answer after it.
struct StoredCheck: Sendable, Equatable {
    var key: JobKey
    var digest: String
    var spec: GateCheckSpec
    var told: GateCheck
    var nextAt: Timestamp
    var id: String { "\(key)/\(digest.suffix(16))/\(told.position)" }
}

extension Tables {
    static let gates = Migration(
        id: "pipelines-gates-1",
        statements: [
            """
            CREATE TABLE pipelines_gate (
                run TEXT NOT NULL, stage TEXT NOT NULL, job TEXT NOT NULL, project TEXT NOT NULL,
                pipeline TEXT NOT NULL, number BIGINT NOT NULL, commit_id TEXT, environment TEXT NOT NULL,
                author TEXT, status TEXT NOT NULL, reason TEXT, digest TEXT NOT NULL, began_at BIGINT NOT NULL, asked_at BIGINT,
                expires_at BIGINT, ended_at BIGINT, PRIMARY KEY (run, stage, job))
            """,
            "CREATE INDEX pipelines_gate_waiting ON pipelines_gate (status, project, began_at)",
            "CREATE INDEX pipelines_gate_place ON pipelines_gate (project, pipeline, environment, number)",
            """
            CREATE TABLE pipelines_approval (
                run TEXT NOT NULL, stage TEXT NOT NULL, job TEXT NOT NULL, digest TEXT NOT NULL, approver TEXT NOT NULL,
                verdict TEXT NOT NULL, actor TEXT NOT NULL, comment TEXT, at BIGINT NOT NULL,
                PRIMARY KEY (run, stage, job, digest, approver, verdict))
            """,
            """
            CREATE TABLE pipelines_gate_check (
                run TEXT NOT NULL, stage TEXT NOT NULL, job TEXT NOT NULL, digest TEXT NOT NULL,
                position BIGINT NOT NULL, spec TEXT NOT NULL, status TEXT NOT NULL, message TEXT,
                attempts BIGINT NOT NULL, began_at BIGINT NOT NULL, next_at BIGINT NOT NULL, ended_at BIGINT,
                PRIMARY KEY (run, stage, job, digest, position))
            """,
            "CREATE INDEX pipelines_gate_check_status ON pipelines_gate_check (status)",
        ])
}

extension Connection {
    // MARK: Facts

    /// All that the gates of a run's jobs decide by; nothing is read for a run without environments.
    func gateFacts(for stored: StoredRun, jobs: [StoredJob]) throws -> GateFacts {
        var facts = GateFacts()
        guard !stored.plan.environments.isEmpty else { return facts }
        let places = jobs.compactMap { job in
            stored.environment(of: job.key).map { (job: job.job.key, environment: $0) }
        }
        guard !places.isEmpty else { return facts }
        let run = stored.run
        var specs: [String: EnvironmentSpec] = [:]
        for name in Set(places.map(\.environment)) {
            let reference = Reference<EnvironmentKind>(project: run.project, name: name)
            specs[name] = try resource(EnvironmentKind.self, reference)?.spec
        }
        let gates = Dictionary(
            try self.gates(run: run.id).map { ("\($0.key.stage)/\($0.key.job)", $0) },
            uniquingKeysWith: { first, _ in first })
        let (approvals, checks) = gates.isEmpty ? ([], []) : (try approvals(run: run.id), try checks(run: run.id))
        for (job, environment) in places {
            var known = GateCase(environment: environment, spec: specs[environment])
            known.gate = gates[job]
            if let gate = known.gate {
                known.approvals = approvals.filter { $0.key == gate.key && $0.said.digest == gate.digest }.map(\.said)
                known.checks = checks.filter { $0.key == gate.key && $0.digest == gate.digest }.map(\.told)
            }
            if known.spec?.freeze.contains(where: { $0.allow.contains("rollback") }) ?? false {
                known.isRollback = try hasHad(run, in: environment)
            }
            facts.cases[job] = known
        }
        facts.teams = try teams(project: run.project)
        return facts
    }

    func teams(project: String) throws -> [String: TeamSpec] {
        Dictionary(
            try resources(TeamKind.self, project: project).map { ($0.reference.name, $0.spec) },
            uniquingKeysWith: { first, _ in first })
    }

    /// Whether an earlier run of the pipeline has brought this very commit into the environment.
    private func hasHad(_ run: Run, in environment: String) throws -> Bool {
        guard let commit = run.commit else { return false }
        let count: Int =
            try value(
                """
                SELECT count(*) FROM pipelines_gate gate JOIN pipelines_job job
                    ON job.run = gate.run AND job.stage = gate.stage AND job.name = gate.job
                WHERE gate.project = \(run.project) AND gate.pipeline = \(run.pipeline)
                    AND gate.environment = \(environment) AND gate.number < \(run.number)
                    AND gate.commit_id = \(commit) AND gate.status = 'open' AND job.status = 'succeeded'
                """) ?? 0
        return count > 0
    }

    // MARK: Gates

    func gate(_ key: JobKey) throws -> StoredGate? {
        try row("SELECT * FROM pipelines_gate WHERE run = \(key.run) AND stage = \(key.stage) AND job = \(key.job)")
            .map(StoredGate.init(row:))
    }

    func gates(run: String) throws -> [StoredGate] {
        try rows("SELECT * FROM pipelines_gate WHERE run = \(run) ORDER BY began_at, stage, job")
            .map(StoredGate.init(row:))
    }

    /// Gates whose jobs wait, oldest first.
    func waitingGates(_ query: GateQuery) throws -> [StoredGate] {
        let place: Statement = query.environment.map { "AND environment = \($0)" } ?? ""
        return try rows(
            """
            SELECT * FROM pipelines_gate WHERE status = 'waiting' AND project = \(query.project) \(place)
            ORDER BY began_at, run, stage, job LIMIT \(query.limit)
            """
        ).map(StoredGate.init(row:))
    }

    /// Gates of earlier runs of the same pipeline that wait for the same environment.
    func waitingGates(before gate: StoredGate) throws -> [StoredGate] {
        try rows(
            """
            SELECT * FROM pipelines_gate WHERE status = 'waiting' AND project = \(gate.project)
                AND pipeline = \(gate.pipeline) AND environment = \(gate.environment) AND number < \(gate.number)
            ORDER BY number, stage, job
            """
        ).map(StoredGate.init(row:))
    }

    func keep(_ gate: StoredGate) throws {
        try run(
            """
            INSERT INTO pipelines_gate (run, stage, job, project, pipeline, number, commit_id, environment, author,
                status, reason, digest, began_at, asked_at, expires_at, ended_at)
            VALUES (\(gate.key.run), \(gate.key.stage), \(gate.key.job), \(gate.project), \(gate.pipeline),
                \(gate.number), \(gate.commit.sqlValue), \(gate.environment), \(gate.author.sqlValue), \(gate.status.rawValue),
                \(gate.reason.sqlValue), \(gate.digest), \(gate.beganAt.microseconds),
                \((gate.askedAt?.microseconds).sqlValue), \((gate.expiresAt?.microseconds).sqlValue),
                \((gate.endedAt?.microseconds).sqlValue))
            ON CONFLICT (run, stage, job) DO UPDATE SET status = excluded.status, reason = excluded.reason,
                digest = excluded.digest, asked_at = excluded.asked_at, expires_at = excluded.expires_at,
                ended_at = excluded.ended_at
            """)
    }

    // MARK: Approvals

    /// What people have said of a run's gates, oldest first.
    func approvals(run: String) throws -> [(key: JobKey, said: Approval)] {
        try rows("SELECT * FROM pipelines_approval WHERE run = \(run) ORDER BY at, approver").map { row in
            var said = Approval()
            said.by = try row.get("approver")
            said.verdict = try row.word("verdict")
            said.comment = try row.get("comment", as: String?.self)
            said.digest = try row.get("digest")
            said.at = try row.time("at")
            return (JobKey(run: run, stage: try row.get("stage"), job: try row.get("job")), said)
        }
    }

    /// Writes down what somebody has said; false when they had said it already.
    func keep(_ said: Approval, of gate: StoredGate, actor: String) throws -> Bool {
        try run(
            """
            INSERT INTO pipelines_approval (run, stage, job, digest, approver, verdict, actor, comment, at)
            VALUES (\(gate.key.run), \(gate.key.stage), \(gate.key.job), \(said.digest), \(said.by),
                \(said.verdict.rawValue), \(actor), \(said.comment.sqlValue), \(said.at.microseconds))
            ON CONFLICT (run, stage, job, digest, approver, verdict) DO NOTHING
            """) == 1
    }

    // MARK: Checks

    func checks(run: String) throws -> [StoredCheck] {
        try rows("SELECT * FROM pipelines_gate_check WHERE run = \(run) ORDER BY stage, job, position")
            .map(StoredCheck.init(row:))
    }

    func check(_ id: CheckID) throws -> StoredCheck? {
        try row(
            """
            SELECT * FROM pipelines_gate_check WHERE run = \(id.key.run) AND stage = \(id.key.stage)
                AND job = \(id.key.job) AND digest = \(id.digest) AND position = \(id.position)
            """
        ).map(StoredCheck.init(row:))
    }

    /// Checks that are still to be asked: those of gates that wait, for what waits there now.
    func openChecks() throws -> [CheckID] {
        try rows(
            """
            SELECT item.run, item.stage, item.job, item.digest, item.position FROM pipelines_gate_check item
            JOIN pipelines_gate gate ON gate.run = item.run AND gate.stage = item.stage AND gate.job = item.job
                AND gate.digest = item.digest
            WHERE item.status = 'waiting' AND gate.status = 'waiting'
            ORDER BY item.began_at, item.run, item.stage, item.job, item.position
            """
        ).map { row in
            CheckID(
                key: JobKey(run: try row.get(0), stage: try row.get(1), job: try row.get(2)), digest: try row.get(3),
                position: try row.get(4))
        }
    }

    func keep(_ check: StoredCheck) throws {
        let told = check.told
        try run(
            """
            INSERT INTO pipelines_gate_check (run, stage, job, digest, position, spec, status, message, attempts,
                began_at, next_at, ended_at)
            VALUES (\(check.key.run), \(check.key.stage), \(check.key.job), \(check.digest), \(told.position),
                \(check.spec.json.text), \(told.status.rawValue), \(told.message.sqlValue), \(told.attempts),
                \(told.began_at.microseconds), \(check.nextAt.microseconds),
                \((told.ended_at?.microseconds).sqlValue))
            ON CONFLICT (run, stage, job, digest, position) DO UPDATE SET status = excluded.status,
                message = excluded.message, attempts = excluded.attempts, next_at = excluded.next_at,
                ended_at = excluded.ended_at
            """)
    }
}

/// Names one check of one gate.
struct CheckID: Sendable, Hashable {
    var key: JobKey
    var digest: String
    var position: Int
}

extension StoredGate {
    init(row: Row) throws {
        key = JobKey(run: try row.get("run"), stage: try row.get("stage"), job: try row.get("job"))
        project = try row.get("project")
        pipeline = try row.get("pipeline")
        number = try row.get("number")
        commit = try row.get("commit_id", as: String?.self)
        environment = try row.get("environment")
        author = try row.get("author", as: String?.self)
        status = try row.word("status")
        reason = try row.get("reason", as: String?.self)
        digest = try row.get("digest")
        beganAt = try row.time("began_at")
        askedAt = try row.maybeTime("asked_at")
        expiresAt = try row.maybeTime("expires_at")
        endedAt = try row.maybeTime("ended_at")
    }
}

extension StoredCheck {
    init(row: Row) throws {
        key = JobKey(run: try row.get("run"), stage: try row.get("stage"), job: try row.get("job"))
        digest = try row.get("digest")
        spec = try row.value("spec")
        nextAt = try row.time("next_at")
        told = GateCheck()
        told.position = try row.get("position")
        told.title = spec.title
        told.status = try row.word("status")
        told.message = try row.get("message", as: String?.self)
        told.attempts = try row.get("attempts")
        told.began_at = try row.time("began_at")
        told.ended_at = try row.maybeTime("ended_at")
    }
}
