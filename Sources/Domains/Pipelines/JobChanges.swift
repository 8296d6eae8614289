import API
import Kernel
import Manifests
import SQL

/// What becomes of jobs, each in the transaction under way, with its event.
extension Change {
    private func jobData(_ job: Job) -> Ordered<JSONValue> {
        [
            "stage": .string(job.stage), "job": .string(job.name), "attempt": .integer(Int64(job.attempt)),
            "status": job.status.json, "reason": job.reason.map(JSONValue.string) ?? .null,
            "runner": job.runner.map(JSONValue.string) ?? .null,
        ]
    }

    private func subject(_ run: String) throws -> Subject {
        Subject(kind: "Run", project: try sql.project(ofRun: run), name: run)
    }

    func tellJob(_ name: String, _ stored: StoredJob) throws {
        try tell(name, about: try subject(stored.run), jobData(stored.job))
    }

    func tellStep(_ name: String, _ step: Step, _ key: JobKey) throws {
        try tell(
            name, about: try subject(key.run),
            [
                "stage": .string(key.stage), "job": .string(key.job), "step": .integer(Int64(step.index)),
                "name": .string(step.name), "verb": .string(step.verb), "status": step.status.json,
                "reason": step.reason.map(JSONValue.string) ?? .null, "attempts": .integer(Int64(step.attempts)),
                "metrics": step.metrics.json, "outputs": step.outputs.json,
            ])
        ring("Log/\(key)")
    }

    // MARK: Beginning

    /// Gives a ready job to a runner, its first step begun.
    ///
    /// - Parameter logOffset: Where the output of this try begins.
    func lease(_ ready: StoredJob, of stored: StoredRun, to runner: LeaseInput, logOffset: Int64) throws -> Lease {
        var job = ready
        let timeout = job.timeLimit(in: stored)
        if job.workspaceRunner != runner.name { try startOver(&job) }
        begin(&job, as: runner.name, for: timeout)
        (job.incarnation, job.workspaceRunner) = (runner.incarnation, runner.name)
        job.leaseUntil = now.advanced(by: PipelineLimits.lease)
        job.logOffset = logOffset
        try update(job)
        try begin(stored)
        try tellJob("job.leased", job)
        var lease = Lease()
        (lease.project, lease.run, lease.stage, lease.job) = (stored.run.project, job.run, job.job.stage, job.job.name)
        (lease.epoch, lease.attempt) = (job.epoch, job.job.attempt)
        lease.first_step = job.job.steps.prefix { $0.status.hasEnded }.count
        lease.timeout_seconds = timeout.seconds
        lease.steps = job.orders ?? []
        (lease.execution, lease.retry) = (job.execution ?? ExecutionSpec(), job.retries)
        // Only git needs it, and what is a secret costs every byte of output a look.
        if lease.steps.contains(where: { $0.verb == "checkout" }) { lease.token = try giveToken(to: job.key) }
        lease.output_offset = logOffset
        lease.environment = stored.environment(of: job.key)
        try addParts(of: job, in: stored, to: &lease)
        try addQuarantine(of: job, in: stored, to: &lease)
        if let first = job.job.steps.first(where: { $0.index == lease.first_step }),
            lease.steps.first(where: { $0.index == first.index })?.if == nil
        {
            try start(first, of: job)
            lease.begun = true
        }
        return lease
    }

    /// The server itself begins a job of its own.
    func beginOnServer(_ ready: StoredJob, of stored: StoredRun) throws {
        var job = ready
        begin(&job, as: "server", for: job.timeLimit(in: stored))
        try update(job)
        try begin(stored)
        try tellJob("job.started", job)
    }

    private func begin(_ job: inout StoredJob, as runner: String, for timeout: TimeSpan) {
        job.epoch += 1
        job.job.attempt += 1
        (job.job.status, job.job.reason, job.job.runner) = (.running, nil, runner)
        (job.hold, job.notBefore, job.attemptAt) = (nil, nil, now)
        job.deadlineAt = now.advanced(by: timeout.duration)
        if job.job.started_at == nil { job.job.started_at = now }
    }

    /// A stage that uses a pipeline begins: that pipeline's stages may begin.
    func enter(_ waiting: StoredJob, of stored: StoredRun, with parameters: Ordered<JSONValue>) throws {
        var job = waiting
        begin(&job, as: "server", for: .days(365))
        (job.inputs, job.readyAt, job.deadlineAt) = (parameters, now, nil)
        try update(job)
        try begin(stored)
        try tellJob("job.started", job)
    }

    /// A step begins.
    func start(_ waiting: Step, of job: StoredJob) throws {
        var step = waiting
        (step.status, step.reason, step.finished_at, step.started_at) = (.running, nil, nil, now)
        step.attempts += 1
        try sql.update(step, of: job.key, epoch: job.epoch)
        try tellStep("step.started", step, job.key)
    }

    private func begin(_ stored: StoredRun) throws {
        guard stored.run.status == .queued else { return }
        var begun = stored
        (begun.run.status, begun.run.started_at) = (.running, now)
        try sql.update(begun)
        try tell(
            "run.started", about: stored.subject,
            ["pipeline": .string(stored.run.pipeline), "number": .integer(Int64(stored.run.number))])
        try noteStatus(of: begun.run)
    }

    // MARK: Steps

    /// Ends a step as reported, its artifacts with it.
    ///
    /// - Returns: The job with that.
    @discardableResult
    func finish(_ step: Step, as report: Step, of job: StoredJob, artifacts: [Artifact]) throws -> StoredJob {
        var done = report
        (done.index, done.id, done.name, done.verb) = (step.index, step.id, step.name, step.verb)
        done.status = report.status.hasEnded ? report.status : .failed
        // The server counts beginnings, the runner the tries within one.
        done.attempts = step.attempts + max(0, report.attempts - 1)
        done.started_at = step.started_at ?? (report.status == .skipped ? nil : now)
        done.finished_at = now
        try sql.update(done, of: job.key, epoch: job.epoch)
        for artifact in artifacts { try keep(artifact, of: job.key) }
        var moving = job
        if let place = moving.job.steps.firstIndex(where: { $0.index == step.index }) { moving.job.steps[place] = done }
        if job.losses > 0 {
            // Whoever gets on with it is not stuck.
            moving.losses = 0
            try update(moving)
        }
        try tellStep("step.finished", done, job.key)
        return moving
    }

    func keep(_ artifact: Artifact, of key: JobKey) throws {
        var kept = artifact
        (kept.run, kept.stage, kept.job, kept.created_at) = (key.run, key.stage, key.job, now)
        try sql.keep(kept)
    }

    /// Forgets what the steps have done: the job will begin at its first one.
    private func startOver(_ job: inout StoredJob) throws {
        for index in job.job.steps.indices where job.job.steps[index].status != .queued {
            try requeue(&job.job.steps[index], of: job)
        }
        job.workspaceRunner = nil
    }

    private func requeue(_ step: inout Step, of job: StoredJob) throws {
        (step.status, step.reason, step.exit_code, step.report) = (.queued, nil, nil, nil)
        (step.started_at, step.finished_at) = (nil, nil)
        (step.outputs, step.metrics) = ([:], [:])
        try sql.update(step, of: job.key, epoch: job.epoch)
        try sql.dropWords(of: step.index, of: job.key)
    }

    // MARK: Ending

    /// The runner is gone: the job waits for another, or fails when that has happened too often.
    func lose(_ held: StoredJob, because reason: String) throws {
        guard let stored = try sql.run(id: held.run), var job = try sql.job(held.key), job.epoch == held.epoch,
            job.job.status == .running
        else { return }
        job.losses += 1
        job.job.reason = reason
        try tellJob("job.lost", job)
        if stored.stopping != nil, !stored.spares(job) {
            try end(job, of: stored, as: .cancelled, because: stored.stoppingReason ?? reason)
        } else {
            try retry(job, of: stored, after: .runner_lost, because: reason)
        }
    }

    /// Ends a job as its runner tells; a failure may be tried again.
    func end(_ job: StoredJob, of stored: StoredRun, by report: JobReport) throws {
        if let stop = job.stop, report.status != .succeeded {
            return try end(job, of: stored, as: stop.status, because: stop.reason)
        }
        if stored.stopping != nil, !stored.spares(job), report.status != .succeeded {
            return try end(job, of: stored, as: .cancelled, because: stored.stoppingReason ?? report.reason)
        }
        switch report.status {
        case .succeeded: try succeed(job, of: stored)
        case .cancelled: try end(job, of: stored, as: .cancelled, because: report.reason)
        default:
            var lost = job
            if report.cause == .runner_lost {
                lost.losses += 1
                try tellJob("job.lost", lost)
            }
            try retry(lost, of: stored, after: report.cause, because: report.reason ?? "it failed")
        }
    }

    func succeed(_ job: StoredJob, of stored: StoredRun) throws {
        var done = job
        do {
            done.job.outputs = try outputs(of: job, in: stored)
        } catch {
            return try end(job, of: stored, as: .failed, because: "its outputs cannot be told: \(error)")
        }
        try end(done, of: stored, as: .succeeded, because: nil)
    }

    /// What later stages see: `outputs` of the job, or, when it is a lone verb, what that verb told.
    private func outputs(of job: StoredJob, in stored: StoredRun) throws -> Ordered<JSONValue> {
        guard let (stage, spec) = stored.plan.find(job.key) else { return [:] }
        if stored.plan.stages[stage].spec.jobs.isEmpty { return job.job.steps.first?.outputs ?? [:] }
        if spec.spec.outputs.isEmpty { return [:] }
        // Others are read only when they are asked for.
        let readsOthers = spec.spec.outputs.values.contains { $0.contains("needs") || $0.contains("parameters") }
        let jobs = readsOthers ? try sql.glance(run: job.run) : [job]
        let context = Contexts.job(job, in: RunState(stored: stored, jobs: jobs, bornAt: now))
        return try spec.spec.outputs.map { text in
            // Now the steps are known, so nothing is left for later.
            try Resolver(context: context, leavesSteps: false).resolve(text)
        }
    }

    func retry(_ job: StoredJob, of stored: StoredRun, after cause: RetrySpec.Cause?, because reason: String) throws {
        let spec = job.retry(in: stored)
        var again = job
        let answer = RetryDecision.decide(
            cause, exitCode: job.exitCode, losses: job.losses, retries: job.retries, spec: spec)
        guard answer != .giveUp else { return try end(job, of: stored, as: .failed, because: reason) }
        var attempt = job.lastAttempt
        (attempt.status, attempt.cause, attempt.reason, attempt.finished_at) = (.failed, cause, reason, now)
        try sql.keep(attempt, of: job.key)
        if answer == .goOn {
            for index in again.job.steps.indices where again.job.steps[index].status == .running {
                try requeue(&again.job.steps[index], of: again)
            }
        } else {
            again.retries += 1
            try startOver(&again)
        }
        (again.job.status, again.job.reason) = (.queued, "is tried again: \(reason)")
        (again.leaseUntil, again.deadlineAt, again.incarnation) = (nil, nil, nil)
        if answer == .startOver, spec.delay.seconds > 0 {
            (again.job.status, again.hold) = (.waiting, .delay)
            again.notBefore = now.advanced(by: spec.delay.duration)
            again.job.reason = "is tried again in \(spec.delay): \(reason)"
        }
        try update(again)
        try tellJob("job.retried", again)
        ring(Leases.readyTopic)
    }

    /// Ends a job for good.
    func end(_ job: StoredJob, of stored: StoredRun, as status: RunStatus, because reason: String?) throws {
        var done = job
        (done.job.status, done.job.reason, done.job.finished_at) = (status, reason, now)
        (done.leaseUntil, done.deadlineAt, done.hold, done.notBefore) = (nil, nil, nil, nil)
        if status == .failed, job.stop == nil, job.isForgivable(in: stored) {
            done.isForgiven = true
            done.job.reason = (reason ?? "it failed") + "; it is allowed to fail"
        }
        try update(done)
        for step in job.job.steps where !step.status.hasEnded {
            var left = step
            let wasRunning = step.status == .running
            let isCancelled = status == .cancelled || status == .superseded
            left.status = wasRunning ? (isCancelled ? .cancelled : .failed) : isCancelled ? .cancelled : .skipped
            left.reason = reason ?? "the job had ended"
            if wasRunning { left.finished_at = now }
            try sql.update(left, of: job.key, epoch: job.epoch)
            if wasRunning { try tellStep("step.finished", left, job.key) }
        }
        try tellJob(status == .skipped ? "job.skipped" : "job.finished", done)
        ring("Log/\(job.key)")
        try wakeNeighbours(of: stored)
    }

    /// Who waits in a lane with this run is looked at again.
    func wakeNeighbours(of stored: StoredRun) throws {
        guard stored.plan.hasLanes else { return }
        for run in try sql.neighbours(of: stored.run.id) { ring("Run/\(run)") }
    }
}

extension StoredJob {
    func stage(in pipeline: PipelineSpec) -> StageSpec? {
        pipeline.stages.first { $0.name == job.stage } ?? pipeline.finally.first { $0.name == job.stage }
    }

    func spec(in pipeline: PipelineSpec) -> JobSpec? { stage(in: pipeline)?.allJobs[baseName] }

    /// The environment it works in.
    func environment(in pipeline: PipelineSpec) -> String? {
        guard let stage = stage(in: pipeline) else { return nil }
        return stage.allJobs[baseName]?.environment ?? stage.environment
    }

    /// Longest time of one try.
    func timeLimit(in stored: StoredRun) -> TimeSpan {
        guard let (stage, spec) = stored.plan.find(key) else { return .hours(1) }
        let around = stored.plan.stages[stage].spec.timeout
        let own = spec.spec.timeout ?? around ?? .hours(1)
        return min(own, around ?? own)
    }

    func retry(in stored: StoredRun) -> RetrySpec {
        guard let (stage, spec) = stored.plan.find(key) else { return RetrySpec() }
        return spec.spec.retry ?? stored.plan.stages[stage].spec.retry ?? RetrySpec()
    }

    /// Exit code of the step that failed it.
    var exitCode: Int? { job.steps.last { $0.status == .failed }?.exit_code }

    func isForgivable(in stored: StoredRun) -> Bool {
        stored.plan.find(key)?.job.spec.allow_failure.covers(exitCode: exitCode) ?? false
    }
}
