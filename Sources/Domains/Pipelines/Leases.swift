import API
import Blobs
import Kernel
import Manifests
import SQL

/// Who holds which job.
///
/// Every word of a runner about a job carries the epoch of its lease; an old one is refused.
struct Leases: Sendable {
    let context: DomainContext
    let blobs: BlobStore
    let logs: LogBook
    var urls = RepositoryURLs()
    private var store: Store { context.store }

    init(context: DomainContext, blobs: BlobStore, logs: LogBook, urls: RepositoryURLs = RepositoryURLs()) {
        (self.context, self.blobs, self.logs, self.urls) = (context, blobs, logs, urls)
    }

    /// Topic that rings when a job has become ready.
    static let readyTopic = "ReadyJob"

    // MARK: Hello and lease

    func hello(_ input: RunnerHello, _ call: Call) async throws -> RunnerWelcome {
        guard isResourceName(input.name), !input.incarnation.isEmpty else {
            throw Problem(
                "runner.name", status: 422, "\"\(input.name)\" cannot be a runner's name",
                hint: "Use small letters, digits, \"-\" and \"_\".")
        }
        let held = try await store.change(call) { change in
            if try change.sql.runner(input.name) == nil {
                try change.tell("runner.joined", about: Subject(kind: "Runner", project: "", name: input.name))
            }
            try change.sql.keep(input, at: change.now)
            try change.sql.undrain(input.name)
            change.ring("Runner")
            return try change.sql.jobs(heldBy: input.name).filter { $0.incarnation != input.incarnation }
        }
        for job in held {
            try await store.change(runnerCall(input.name, run: job.run)) { change in
                try change.lose(job, because: "runner \"\(input.name)\" has started anew")
            }
        }
        var welcome = RunnerWelcome()
        welcome.lease_seconds = PipelineLimits.lease / .seconds(1)
        welcome.renew_seconds = PipelineLimits.renewal / .seconds(1)
        return welcome
    }

    private func runnerCall(_ name: String, run: String) -> Call {
        Call(actor: "runner:\(name)", correlation: run, permission: .agent)
    }

    func lease(_ input: LeaseInput, _ call: Call) async throws -> LeaseOutcome {
        var outcome = LeaseOutcome()
        try await store.change(call) { try $0.sql.sawRunner(input.name, at: $0.now) }
        let deadline = store.time.now.advanced(by: PipelineLimits.leaseWait)
        let taken = try await store.bells.poll([Self.readyTopic], until: deadline, by: store.time) {
            () -> LeaseOutcome? in
            var found = LeaseOutcome()
            found.lease = try await take(input, call)
            // One that drains is answered at once, so that it may end.
            if found.lease != nil { return found }
            return try await store.read { try $0.isDraining(input.name) } ? found : nil
        }
        guard var lease = taken?.lease else { return outcome }
        let key = JobKey(run: lease.run, stage: lease.stage, job: lease.job)
        lease.output_offset = try logs.fence(key, epoch: lease.epoch)
        urls.place(&lease)
        outcome.lease = lease
        return outcome
    }

    private func take(_ input: LeaseInput, _ call: Call) async throws -> Lease? {
        let candidates = try await store.read { sql in
            guard try sql.runner(input.name)?.incarnation == input.incarnation else {
                throw Problem(
                    "runner.unknown", status: 409, "runner \"\(input.name)\" is not known by this incarnation",
                    hint: "It must say hello first; another process of the same name may have done so since.")
            }
            return try sql.isDraining(input.name) ? [] : sql.placeable(sql.readyJobs(), on: input.name)
        }
        for candidate in candidates {
            let lease = try await store.change(runnerCall(input.name, run: candidate.run)) { change -> Lease? in
                guard try change.sql.runner(input.name)?.incarnation == input.incarnation,
                    try !change.sql.isDraining(input.name),
                    let stored = try change.sql.run(id: candidate.run), let job = try change.sql.job(candidate.key),
                    job.job.status == .queued, job.readyAt != nil,
                    stored.stopping == nil || stored.outlivesCancelling(job),
                    try !change.sql.placeable([job], on: input.name).isEmpty
                else { return nil }
                return try change.lease(job, of: stored, to: input)
            }
            if let lease { return lease }
        }
        return nil
    }

    // MARK: Holding

    func renew(_ input: LeaseKey, _ call: Call) async throws -> LeaseState {
        let key = JobKey(run: input.run, stage: input.stage, job: input.job)
        var state = try await store.change(call) { change in
            let (job, state) = try change.sql.held(key, epoch: input.epoch)
            if let job {
                try change.sql.renewLease(key, until: change.now.advanced(by: PipelineLimits.lease))
                if let runner = job.job.runner { try change.sql.sawRunner(runner, at: change.now) }
            }
            return state
        }
        state.output_offset = try logs.size(key)
        return state
    }

    func append(_ bytes: [UInt8], _ input: OutputInput) async throws -> LeaseState {
        guard bytes.count <= PipelineLimits.chunkBytes else {
            throw Problem(
                "output.invalid", status: 413, "a piece of output has at most \(PipelineLimits.chunkBytes) bytes",
                hint: "Send smaller pieces.")
        }
        let key = JobKey(run: input.run, stage: input.stage, job: input.job)
        var state = LeaseState()
        if !logs.trusts(key, epoch: input.epoch, at: store.time.now) {
            let (job, held) = try await store.read { try $0.held(key, epoch: input.epoch) }
            state = held
            guard job != nil else {
                state.output_offset = try logs.size(key)
                return state
            }
            if !held.stop { logs.trust(key, epoch: input.epoch, at: store.time.now) }
        }
        let written = try logs.append(bytes, at: input.offset, to: key, epoch: input.epoch)
        state.output_offset = written.offset
        if written.isFenced { (state.stop, state.reason) = (true, "the lease was lost") }
        store.bells.ring([key.logTopic])
        return state
    }

    // MARK: Reports

    func stepStarted(_ input: StepReport, _ call: Call) async throws -> LeaseState {
        let key = JobKey(run: input.run, stage: input.stage, job: input.job)
        return try await store.change(speaking(call, input.run)) { change in
            let (job, state) = try change.sql.reporting(key, epoch: input.epoch)
            guard let job, var step = job.job.steps.first(where: { $0.index == input.step.index }) else { return state }
            // A repeat of what was heard already.
            if step.status == .running, try change.sql.stepEpoch(key, step.index) == input.epoch { return state }
            if step.status.hasEnded { return state }
            (step.status, step.reason, step.finished_at) = (.running, nil, nil)
            step.started_at = change.now
            step.attempts += 1
            try change.sql.update(step, of: key, epoch: input.epoch)
            try change.tellStep("step.started", step, key)
            return state
        }
    }

    func stepFinished(_ input: StepReport, _ call: Call) async throws -> LeaseState {
        try await check(input.artifacts)
        let key = JobKey(run: input.run, stage: input.stage, job: input.job)
        return try await store.change(speaking(call, input.run)) { change in
            let (job, state) = try change.sql.reporting(key, epoch: input.epoch)
            guard let job, let step = job.job.steps.first(where: { $0.index == input.step.index }) else { return state }
            if step.status.hasEnded { return state }
            try change.finish(step, as: input.step, of: job, artifacts: input.artifacts)
            try change.sql.keepWords(of: input.step, input.annotations, of: key)
            return state
        }
    }

    func jobFinished(_ input: JobReport, _ call: Call) async throws -> LeaseState {
        try await check(input.artifacts)
        let key = JobKey(run: input.run, stage: input.stage, job: input.job)
        let state = try await store.change(speaking(call, input.run)) { change in
            let (job, state) = try change.sql.reporting(key, epoch: input.epoch)
            guard let job, let stored = try change.sql.run(id: key.run) else { return state }
            for artifact in input.artifacts {
                try change.keep(artifact, of: key)
                try change.expire(artifact, of: job, in: stored)
            }
            try change.sql.keepEnd(input, of: key)
            if let tests = input.tests { try change.sql.keepTests(tests, of: key) }
            try change.end(job, of: stored, by: input)
            return state
        }
        logs.release(key)
        store.bells.ring([key.logTopic])
        return state
    }

    private func speaking(_ call: Call, _ run: String) -> Call {
        Call(actor: call.actor, correlation: run, permission: call.permission, project: call.project)
    }

    /// An artifact counts only when its content is here.
    private func check(_ artifacts: [Artifact]) async throws {
        for artifact in artifacts {
            guard let digest = Digest(artifact.digest),
                try await artifact.form == .tree ? Tree.claim(digest, in: blobs) : blobs.claim(digest)
            else {
                throw Problem(
                    "artifact.absent", status: 422, "the content of artifact \"\(artifact.name)\" is not here",
                    hint: "Send it to /api/v1/blobs first.")
            }
        }
    }
}

extension Connection {
    /// The job if this epoch still holds it, and what to tell its runner.
    func held(_ key: JobKey, epoch: Int) throws -> (StoredJob?, LeaseState) {
        var state = LeaseState()
        guard let job = try job(key) else {
            throw Problem(
                "job.not-found", status: 404, "there is no such job", hint: "Stop it; the server knows nothing of it.")
        }
        guard job.epoch == epoch, job.job.status == .running, !job.isOnServer else {
            (state.stop, state.reason) = (true, "the lease was lost")
            return (nil, state)
        }
        if let stored = try run(id: key.run), stored.stopping != nil, !stored.spares(job) {
            (state.stop, state.reason) = (true, stored.stoppingReason ?? "the run was cancelled")
        }
        return (job, state)
    }

    /// The same for a report, which is refused when it comes from an old lease; nil for the repeat of a heard one.
    func reporting(_ key: JobKey, epoch: Int) throws -> (StoredJob?, LeaseState) {
        let (job, state) = try held(key, epoch: epoch)
        if job != nil { return (job, state) }
        if let ended = try self.job(key), ended.epoch == epoch, ended.job.status.hasEnded || ended.job.status == .queued
        {
            return (nil, state)
        }
        throw Problem(
            "lease.lost", status: 409, "job \"\(key.stage)/\(key.job)\" is not held by this lease any more",
            hint: "Stop it; another runner may have it.")
    }
}
