import API
import Kernel
import Manifests
import SQL

/// Rows of jobs and their steps.
extension Connection {
    /// All jobs of a run in the order of their stages, steps, orders and tries included.
    func jobs(run: String) throws -> [StoredJob] {
        var steps: [JobKey: [Step]] = [:]
        try each("SELECT * FROM pipelines_step WHERE run = \(run) ORDER BY stage, job, position") { row in
            let key = JobKey(run: run, stage: try row.get("stage"), job: try row.get("job"))
            steps[key, default: []].append(try Step(row: row))
        }
        let attempts = try attempts(run: run)
        return try rows("SELECT * FROM pipelines_job WHERE run = \(run) ORDER BY position").map { row in
            var stored = try StoredJob(row: row)
            stored.job.steps = steps[stored.key] ?? []
            stored.job.tests = try row.maybeJSON("tests").map { try TestSummary(json: $0, at: ["tests"]) }
            if let earlier = attempts[stored.key] { stored.job.attempts = earlier + [stored.lastAttempt] }
            return stored
        }
    }

    /// All jobs of a run as far as a decision about it wants to know: without steps, orders and tries.
    func glance(run: String) throws -> [StoredJob] {
        try rows(
            """
            SELECT \(Self.glanceColumns), 'other' AS type, '[]' AS needs
            FROM pipelines_job WHERE run = \(run) ORDER BY position
            """
        ).map(StoredJob.init(row:))
    }

    /// One job, as ``glance(run:)`` reads it.
    func glance(_ key: JobKey) throws -> StoredJob? {
        try row(
            """
            SELECT \(Self.glanceColumns), 'other' AS type, '[]' AS needs
            FROM pipelines_job WHERE run = \(key.run) AND stage = \(key.stage) AND name = \(key.job)
            """
        ).map(StoredJob.init(row:))
    }

    /// All but the orders, which are long; type and needs are the plan's to tell.
    private static let glanceColumns: Statement = """
        run, stage, name, position, status, reason, on_server, labels, attempt, epoch, losses, retries, runner, incarnation,
        workspace_runner, lease_until, deadline_at, ready_at, started_at, finished_at, NULL AS orders, execution, outputs, matrix,
        forgiven, hold, not_before, stop_as, stop_reason, stop_at, inputs, attempt_at, log_offset
        """

    /// All jobs of some runs, without their steps.
    func jobs(runs ids: [String]) throws -> [String: [Job]] {
        var found: [String: [Job]] = [:]
        let columns: Statement = "\(Self.glanceColumns), type, needs"
        try each("SELECT \(columns) FROM pipelines_job WHERE run IN \(list: ids) ORDER BY run, position") { row in
            let stored = try StoredJob(row: row)
            found[stored.run, default: []].append(stored.job)
        }
        return found
    }

    private func steps(of key: JobKey) throws -> [Step] {
        try rows(
            """
            SELECT * FROM pipelines_step WHERE run = \(key.run) AND stage = \(key.stage) AND job = \(key.job)
            ORDER BY position
            """
        ).map(Step.init(row:))
    }

    /// A job with its steps and without its orders, which are long: how far it has come.
    func progress(_ key: JobKey) throws -> StoredJob? {
        guard var stored = try glance(key) else { return nil }
        stored.job.steps = try steps(of: key)
        return stored
    }

    func job(_ key: JobKey) throws -> StoredJob? {
        guard
            let row = try row(
                "SELECT * FROM pipelines_job WHERE run = \(key.run) AND stage = \(key.stage) AND name = \(key.job)")
        else { return nil }
        var stored = try StoredJob(row: row)
        stored.job.steps = try steps(of: key)
        return stored
    }

    /// Ready jobs that wait for a runner, oldest run first; as ``glance(run:)`` reads them.
    func readyJobs(of run: String? = nil, limit: Int = 200) throws -> [StoredJob] {
        let runs =
            try run.map { [$0] }
            ?? rows(
                """
                SELECT id FROM pipelines_run WHERE id IN (SELECT run FROM pipelines_job WHERE \(Self.isWaiting))
                ORDER BY created_at, id
                """
            ).map { try $0.get(0) }
        var found: [StoredJob] = []
        for run in runs where found.count < limit {
            found += try rows(
                """
                SELECT \(Self.glanceColumns), 'other' AS type, '[]' AS needs FROM pipelines_job
                WHERE \(Self.isWaiting) AND run = \(run) ORDER BY position LIMIT \(limit - found.count)
                """
            ).map(StoredJob.init(row:))
        }
        return found
    }

    /// As the index has it: it is asked again and again, among thousands of jobs that have ended.
    private static let isWaiting: Statement =
        "status = 'queued' AND ready_at IS NOT NULL AND on_server = 0 AND stop_as IS NULL"

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
                epoch, losses, retries, outputs, matrix)
            VALUES (\(stored.run), \(job.stage), \(job.name), \(stored.position), \(job.type.rawValue),
                \(job.needs.json.text), \(job.status.rawValue), \(job.reason.sqlValue), \(stored.isOnServer),
                \(stored.labels.json.text), 0, 0, 0, 0, '{}', \(Self.text(job.matrix).sqlValue))
            """)
        for step in job.steps { try insert(step, of: stored.key) }
    }

    private static func text(_ map: Ordered<JSONValue>) -> String? { map.isEmpty ? nil : JSONValue.object(map).text }

    /// Takes a job out that others take the place of.
    func remove(_ key: JobKey) throws {
        try run("DELETE FROM pipelines_job WHERE run = \(key.run) AND stage = \(key.stage) AND name = \(key.job)")
        try run("DELETE FROM pipelines_step WHERE run = \(key.run) AND stage = \(key.stage) AND job = \(key.job)")
    }

    /// Makes a job ready for its runner, unless it has become another since it was seen; tells whether it did.
    func makeReady(_ seen: StoredJob, _ made: JobOrders, reason: String?, at now: Timestamp) throws -> Bool {
        // Most jobs ask for nothing special, and what is not there need not be read.
        let execution = made.execution == ExecutionSpec() ? nil : made.execution.json.text
        return try run(
            """
            UPDATE pipelines_job SET status = 'queued', hold = NULL, ready_at = \(now.microseconds),
                orders = \(made.steps.json.text), execution = \(execution.sqlValue), reason = \(reason.sqlValue),
                labels = \((made.labels ?? seen.labels).json.text)
            WHERE run = \(seen.run) AND stage = \(seen.job.stage) AND name = \(seen.job.name)
                AND status = \(seen.job.status.rawValue) AND epoch = \(seen.epoch) AND ready_at IS NULL
            """) == 1
    }

    /// Writes down all that may change of a job, but for its orders.
    func update(_ stored: StoredJob) throws {
        let job = stored.job
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
                finished_at = \((job.finished_at?.microseconds).sqlValue),
                outputs = \(JSONValue.object(job.outputs).text), forgiven = \(stored.isForgiven),
                hold = \((stored.hold?.rawValue).sqlValue), not_before = \((stored.notBefore?.microseconds).sqlValue),
                stop_as = \((stored.stop?.status.rawValue).sqlValue), stop_reason = \((stored.stop?.reason).sqlValue),
                stop_at = \((stored.stop?.at.microseconds).sqlValue), inputs = \(Self.text(stored.inputs).sqlValue),
                attempt_at = \((stored.attemptAt?.microseconds).sqlValue), log_offset = \(stored.logOffset)
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

    // MARK: Attempts

    /// Keeps a try that another one follows.
    func keep(_ attempt: JobAttempt, of key: JobKey) throws {
        try run(
            """
            INSERT INTO pipelines_attempt (run, stage, job, attempt, runner, started_at, finished_at, status, cause, reason,
                log_offset)
            VALUES (\(key.run), \(key.stage), \(key.job), \(attempt.attempt), \(attempt.runner.sqlValue),
                \((attempt.started_at?.microseconds).sqlValue), \((attempt.finished_at?.microseconds).sqlValue),
                \(attempt.status.rawValue), \((attempt.cause?.rawValue).sqlValue), \(attempt.reason.sqlValue),
                \(attempt.log_offset))
            ON CONFLICT (run, stage, job, attempt) DO NOTHING
            """)
    }

    private func attempts(run: String) throws -> [JobKey: [JobAttempt]] {
        var found: [JobKey: [JobAttempt]] = [:]
        try each("SELECT * FROM pipelines_attempt WHERE run = \(run) ORDER BY attempt") { row in
            var attempt = JobAttempt()
            attempt.attempt = try row.get("attempt")
            attempt.runner = try row.get("runner", as: String?.self)
            attempt.started_at = try row.maybeTime("started_at")
            attempt.finished_at = try row.maybeTime("finished_at")
            attempt.status = try row.word("status")
            attempt.cause = try row.get("cause", as: String?.self).flatMap(RetrySpec.Cause.init(rawValue:))
            attempt.reason = try row.get("reason", as: String?.self)
            attempt.log_offset = try row.get("log_offset")
            found[JobKey(run: run, stage: try row.get("stage"), job: try row.get("job")), default: []].append(attempt)
        }
        return found
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
        job.needs = try row.words("needs")
        job.status = try row.word("status")
        job.reason = try row.get("reason", as: String?.self)
        job.attempt = try row.get("attempt")
        job.runner = try row.get("runner", as: String?.self)
        job.started_at = try row.maybeTime("started_at")
        job.finished_at = try row.maybeTime("finished_at")
        job.outputs = try row.map("outputs")
        job.matrix = try row.map("matrix")
        position = try row.get("position")
        isOnServer = try row.get("on_server")
        labels = try row.words("labels")
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
        isForgiven = try row.get("forgiven", as: Int64?.self) == 1
        hold = try row.get("hold", as: String?.self).flatMap(RunDecision.Hold.init(rawValue:))
        notBefore = try row.maybeTime("not_before")
        if let status = try row.get("stop_as", as: String?.self).flatMap(RunStatus.init(rawValue:)) {
            stop = Stop(
                status: status, reason: try row.get("stop_reason", as: String?.self) ?? "",
                at: try row.maybeTime("stop_at") ?? .zero)
        }
        inputs = try row.map("inputs")
        attemptAt = try row.maybeTime("attempt_at")
        logOffset = try row.get("log_offset", as: Int64?.self) ?? 0
        if !job.matrix.isEmpty { job.title = "\(baseName) (\(job.matrix.cellTitle))" }
        tellPlacement()
    }

    /// The try that is the newest one.
    var lastAttempt: JobAttempt {
        var last = JobAttempt()
        (last.attempt, last.runner, last.log_offset) = (job.attempt, job.runner, logOffset)
        (last.started_at, last.finished_at) = (attemptAt ?? job.started_at, job.finished_at)
        (last.status, last.reason) = (job.status, job.reason)
        return last
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
        outputs = try row.map("outputs")
        metrics = try Ordered<Double>(json: .object(try row.map("metrics")), at: ["metrics"])
        report = try row.maybeJSON("report")
        conclusion = try row.get("conclusion", as: String?.self).flatMap(RunStatus.init(rawValue:))
    }
}
