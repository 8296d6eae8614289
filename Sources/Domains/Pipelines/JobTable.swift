import API
import Kernel
import Manifests
import SQL

/// Rows of jobs and their steps.
extension Connection {
    /// All jobs of a run in the order of their stages, steps included.
    func jobs(run: String) throws -> [StoredJob] {
        var steps: [JobKey: [Step]] = [:]
        try each("SELECT * FROM pipelines_step WHERE run = \(run) ORDER BY stage, job, position") { row in
            let key = JobKey(run: run, stage: try row.get("stage"), job: try row.get("job"))
            steps[key, default: []].append(try Step(row: row))
        }
        return try rows("SELECT * FROM pipelines_job WHERE run = \(run) ORDER BY position").map { row in
            var stored = try StoredJob(row: row)
            stored.job.steps = steps[stored.key] ?? []
            return stored
        }
    }

    /// All jobs of some runs, without their steps.
    func jobs(runs ids: [String]) throws -> [String: [Job]] {
        var found: [String: [Job]] = [:]
        try each("SELECT * FROM pipelines_job WHERE run IN \(list: ids) ORDER BY run, position") { row in
            let stored = try StoredJob(row: row)
            found[stored.run, default: []].append(stored.job)
        }
        return found
    }

    func job(_ key: JobKey) throws -> StoredJob? {
        guard
            let row = try row(
                "SELECT * FROM pipelines_job WHERE run = \(key.run) AND stage = \(key.stage) AND name = \(key.job)")
        else { return nil }
        var stored = try StoredJob(row: row)
        stored.job.steps = try rows(
            """
            SELECT * FROM pipelines_step WHERE run = \(key.run) AND stage = \(key.stage) AND job = \(key.job)
            ORDER BY position
            """
        ).map(Step.init(row:))
        return stored
    }

    /// Ready jobs that wait for a runner, oldest run first.
    func readyJobs() throws -> [StoredJob] {
        try rows(
            """
            SELECT job.* FROM pipelines_job job JOIN pipelines_run run ON run.id = job.run
            WHERE job.status = 'queued' AND job.ready_at IS NOT NULL AND job.on_server = 0
                AND (run.stopping IS NULL OR run.stopping = 'cancelled')
            ORDER BY run.created_at, job.run, job.position LIMIT 200
            """
        ).map(StoredJob.init(row:))
    }

    /// Jobs that some runner holds.
    func jobs(heldBy runner: String) throws -> [StoredJob] {
        try rows(
            """
            SELECT * FROM pipelines_job WHERE status = 'running' AND on_server = 0 AND runner = \(runner)
            ORDER BY run, position
            """
        ).map(StoredJob.init(row:))
    }

    func insert(_ stored: StoredJob) throws {
        let job = stored.job
        try run(
            """
            INSERT INTO pipelines_job (run, stage, name, position, type, needs, status, reason, on_server, labels, attempt,
                epoch, losses, retries, outputs)
            VALUES (\(stored.run), \(job.stage), \(job.name), \(stored.position), \(job.type.rawValue),
                \(job.needs.json.text), \(job.status.rawValue), \(job.reason.sqlValue), \(stored.isOnServer),
                \(stored.labels.json.text), 0, 0, 0, 0, '{}')
            """)
        for step in job.steps { try insert(step, of: stored.key) }
    }

    func update(_ stored: StoredJob) throws {
        let job = stored.job
        let orders = stored.orders.map { $0.json.text }
        try run(
            """
            UPDATE pipelines_job SET status = \(job.status.rawValue), reason = \(job.reason.sqlValue),
                attempt = \(job.attempt), epoch = \(stored.epoch), losses = \(stored.losses), retries = \(stored.retries),
                runner = \(job.runner.sqlValue), incarnation = \(stored.incarnation.sqlValue),
                workspace_runner = \(stored.workspaceRunner.sqlValue),
                lease_until = \((stored.leaseUntil?.microseconds).sqlValue),
                deadline_at = \((stored.deadlineAt?.microseconds).sqlValue),
                ready_at = \((stored.readyAt?.microseconds).sqlValue),
                started_at = \((job.started_at?.microseconds).sqlValue),
                finished_at = \((job.finished_at?.microseconds).sqlValue), orders = \(orders.sqlValue),
                execution = \((stored.execution?.json.text).sqlValue), outputs = \(JSONValue.object(job.outputs).text)
            WHERE run = \(stored.run) AND stage = \(job.stage) AND name = \(job.name)
            """)
    }

    func keepTests(_ tests: TestSummary, of key: JobKey) throws {
        try run(
            """
            UPDATE pipelines_job SET tests = \(tests.json.text)
            WHERE run = \(key.run) AND stage = \(key.stage) AND name = \(key.job)
            """)
    }

    func renewLease(_ key: JobKey, until: Timestamp) throws {
        try run(
            """
            UPDATE pipelines_job SET lease_until = \(until.microseconds)
            WHERE run = \(key.run) AND stage = \(key.stage) AND name = \(key.job)
            """)
    }

    // MARK: Steps

    private func insert(_ step: Step, of key: JobKey) throws {
        try run(
            """
            INSERT INTO pipelines_step (run, stage, job, position, id, name, verb, status, epoch, attempts, outputs, metrics)
            VALUES (\(key.run), \(key.stage), \(key.job), \(step.index), \(step.id.sqlValue), \(step.name), \(step.verb),
                \(step.status.rawValue), 0, 0, '{}', '{}')
            """)
    }

    func update(_ step: Step, of key: JobKey, epoch: Int) throws {
        try run(
            """
            UPDATE pipelines_step SET status = \(step.status.rawValue), reason = \(step.reason.sqlValue),
                exit_code = \(step.exit_code.sqlValue), epoch = \(epoch), attempts = \(step.attempts),
                started_at = \((step.started_at?.microseconds).sqlValue),
                finished_at = \((step.finished_at?.microseconds).sqlValue),
                outputs = \(JSONValue.object(step.outputs).text), metrics = \(step.metrics.json.text),
                report = \((step.report?.text).sqlValue)
            WHERE run = \(key.run) AND stage = \(key.stage) AND job = \(key.job) AND position = \(step.index)
            """)
    }

    /// Epoch of the lease under which the step was last begun.
    func stepEpoch(_ key: JobKey, _ index: Int) throws -> Int {
        try value(
            """
            SELECT epoch FROM pipelines_step WHERE run = \(key.run) AND stage = \(key.stage) AND job = \(key.job)
                AND position = \(index)
            """) ?? 0
    }

    /// What the server noted before it acted, so that it goes on with the same intent after a crash.
    func memo(_ key: JobKey, _ index: Int) throws -> JSONValue {
        let text: String? = try value(
            """
            SELECT coalesce(memo, '{}') FROM pipelines_step WHERE run = \(key.run) AND stage = \(key.stage)
                AND job = \(key.job) AND position = \(index)
            """)
        return try JSONParser.parse(text ?? "{}")
    }

    func setMemo(_ memo: JSONValue, of key: JobKey, _ index: Int) throws {
        try run(
            """
            UPDATE pipelines_step SET memo = \(memo.text) WHERE run = \(key.run) AND stage = \(key.stage)
                AND job = \(key.job) AND position = \(index)
            """)
    }
}

extension StoredJob {
    init(row: Row) throws {
        run = try row.get("run")
        job = Job()
        job.stage = try row.get("stage")
        job.name = try row.get("name")
        job.type = try row.word("type")
        job.needs = try row.value("needs")
        job.status = try row.word("status")
        job.reason = try row.get("reason", as: String?.self)
        job.attempt = try row.get("attempt")
        job.runner = try row.get("runner", as: String?.self)
        job.started_at = try row.maybeTime("started_at")
        job.finished_at = try row.maybeTime("finished_at")
        job.outputs = try row.json("outputs").object ?? [:]
        position = try row.get("position")
        isOnServer = try row.get("on_server")
        labels = try row.value("labels")
        epoch = try row.get("epoch")
        losses = try row.get("losses")
        retries = try row.get("retries")
        incarnation = try row.get("incarnation", as: String?.self)
        workspaceRunner = try row.get("workspace_runner", as: String?.self)
        leaseUntil = try row.maybeTime("lease_until")
        deadlineAt = try row.maybeTime("deadline_at")
        readyAt = try row.maybeTime("ready_at")
        orders = try row.maybeJSON("orders").map { try [StepOrder](json: $0, at: ["orders"]) }
        execution = try row.maybeJSON("execution").map { try ExecutionSpec(json: $0, at: ["execution"]) }
    }
}

extension Step {
    init(row: Row) throws {
        self.init()
        index = try row.get("position")
        id = try row.get("id", as: String?.self)
        name = try row.get("name")
        verb = try row.get("verb")
        status = try row.word("status")
        reason = try row.get("reason", as: String?.self)
        exit_code = try row.get("exit_code", as: Int?.self)
        started_at = try row.maybeTime("started_at")
        finished_at = try row.maybeTime("finished_at")
        attempts = try row.get("attempts")
        outputs = try row.json("outputs").object ?? [:]
        metrics = try row.value("metrics")
        report = try row.maybeJSON("report")
        conclusion = try row.get("conclusion", as: String?.self).flatMap(RunStatus.init(rawValue:))
    }
}
