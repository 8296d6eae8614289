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
    let secrets: JobSecrets
    var store: Store { context.store }

    init(
        context: DomainContext, blobs: BlobStore, logs: LogBook, urls: RepositoryURLs = RepositoryURLs(),
        outside: Outside? = nil
    ) {
        (self.context, self.blobs, self.logs, self.urls) = (context, blobs, logs, urls)
        secrets = JobSecrets(context: context, outside: outside)
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

    func runnerCall(_ name: String, run: String) -> Call {
        Call(actor: "runner:\(name)", correlation: run, permission: .agent)
    }

    func lease(_ input: LeaseInput, _ call: Call) async throws -> LeaseOutcome {
        let deadline = store.time.now.advanced(by: PipelineLimits.leaseWait)
        let taken = try await store.bells.poll([Self.readyTopic], until: deadline, by: store.time) {
            () -> LeaseOutcome? in
            var found = LeaseOutcome()
            found.leases = try await secrets.fill(try await take(input), runnerCall(input.name, run: ""))
            // One that drains is answered at once, so that it may end.
            if !found.leases.isEmpty { return found }
            return try await store.read { try $0.isDraining(input.name) } ? found : nil
        }
        var outcome = taken ?? LeaseOutcome()
        for index in outcome.leases.indices { urls.place(&outcome.leases[index]) }
        return outcome
    }

    /// Takes as many ready jobs as the runner asks for and has room for.
    private func take(_ input: LeaseInput) async throws -> [(Lease, JobNeeds?)] {
        let count = min(max(1, input.count), PipelineLimits.leasesAtOnce)
        let ready = try await store.read { try $0.candidates(for: input, count: count).map(\.run) }
        // Run by run, since what is told of a run is told on its behalf.
        var leases: [(Lease, JobNeeds?)] = []
        for (place, run) in ready.enumerated() where ready.firstIndex(of: run) == place && leases.count < count {
            let left = count - leases.count
            leases += try await store.change(runnerCall(input.name, run: run)) { change in
                try change.sql.sawRunner(input.name, at: change.now)
                return try give(input, jobsOf: run, atMost: left, in: change)
            }
        }
        if leases.isEmpty {
            // Asking is a sign of life.
            try await store.change(runnerCall(input.name, run: "")) { try $0.sql.sawRunner(input.name, at: $0.now) }
        }
        return leases
    }

    /// Gives ready jobs of one run.
    func give(
        _ input: LeaseInput, jobsOf run: String, atMost count: Int, in change: Change
    ) throws -> [(Lease, JobNeeds?)] {
        let ready = try change.sql.candidates(for: input, of: run, count: count)
        guard !ready.isEmpty, let stored = try change.sql.run(id: run) else { return [] }
        var leases: [(Lease, JobNeeds?)] = []
        for candidate in ready {
            guard let job = try change.sql.job(candidate.key), stored.stopping == nil || stored.outlives(job),
                // Those before it may have taken the room.
                try leases.isEmpty || !change.sql.placeable([job], on: input.name).isEmpty
            else { continue }
            let offset = try logs.fence(job.key, epoch: job.epoch + 1)
            let needs = try change.sql.needs(of: job, in: stored)
            let begun = leases.isEmpty ? stored : try change.sql.run(id: run) ?? stored
            leases.append((try change.lease(job, of: begun, to: input, logOffset: offset), needs))
        }
        return leases
    }

    // MARK: Holding

    func renew(_ input: LeaseKey, _ call: Call) async throws -> LeaseState {
        let key = JobKey(run: input.run, stage: input.stage, job: input.job)
        var state = try await store.change(call) { change in
            let (job, state) = try change.sql.held(key, epoch: input.epoch)
            if let job {
                try change.sql.renewLease(key, until: change.now.advanced(by: PipelineLimits.lease))
                change.ring(key.topic)
                if let runner = job.job.runner { try change.sql.sawRunner(runner, at: change.now) }
            }
            return state
        }
        state.output_offset = try logs.size(key)
        return state
    }

    func append(_ bytes: [UInt8], _ input: OutputInput) async throws -> LeaseState {
        try Self.checkSize(bytes.count)
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

    static func checkSize(_ bytes: Int) throws {
        guard bytes <= PipelineLimits.chunkBytes else {
            throw Problem(
                "output.invalid", status: 413, "a piece of output has at most \(PipelineLimits.chunkBytes) bytes",
                hint: "Send smaller pieces.")
        }
    }

    // MARK: Reports

    func stepStarted(_ input: StepReport, _ call: Call) async throws -> LeaseState {
        let key = JobKey(run: input.run, stage: input.stage, job: input.job)
        return try await store.change(speaking(call, input.run)) { change in
            let (job, _, state) = try change.sql.reporting(key, epoch: input.epoch)
            guard let job, var step = job.job.steps.first(where: { $0.index == input.step.index }) else { return state }
            // A repeat of what was heard already.
            if step.status == .running, try change.sql.stepEpoch(key, step.index) == input.epoch { return state }
            if step.status.hasEnded { return state }
            step.status = .queued
            try change.start(step, of: job)
            return state
        }
    }

    func stepFinished(_ input: StepReport, _ call: Call) async throws -> LeaseState {
        try await check(input.artifacts)
        let key = JobKey(run: input.run, stage: input.stage, job: input.job)
        return try await store.change(speaking(call, input.run)) { change in
            let (job, _, state) = try change.sql.reporting(key, epoch: input.epoch)
            if let job { try change.hear(input, of: job) }
            return state
        }
    }

    func speaking(_ call: Call, _ run: String) -> Call {
        Call(actor: call.actor, correlation: run, permission: call.permission, project: call.project)
    }

    /// An artifact counts only when its content is here.
    func check(_ artifacts: [Artifact]) async throws {
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
    /// Ready jobs that the runner may take, in the order of their runs.
    func candidates(for input: LeaseInput, of run: String? = nil, count: Int) throws -> [StoredJob] {
        guard try runner(input.name)?.incarnation == input.incarnation else {
            throw Problem(
                "runner.unknown", status: 409, "runner \"\(input.name)\" is not known by this incarnation",
                hint: "It must say hello first; another process of the same name may have done so since.")
        }
        if try isDraining(input.name) { return [] }
        let ready = try readyJobs(of: run, limit: count)
        let found = ready.isEmpty ? [] : try placeable(ready, on: input.name)
        if found.count == ready.count { return found }
        // Some of them are for others: there may be more behind them.
        let more = try readyJobs(of: run, limit: count + PipelineLimits.lookBeyond)
        return Array(try placeable(more, on: input.name).prefix(count))
    }

    /// The job, without its orders, if this epoch still holds it, and what to tell its runner.
    func held(_ key: JobKey, epoch: Int) throws -> (StoredJob?, LeaseState) {
        let (job, _, state) = try holding(key, epoch: epoch)
        return (job, state)
    }

    /// The same with its run.
    private func holding(_ key: JobKey, epoch: Int) throws -> (StoredJob?, StoredRun?, LeaseState) {
        var state = LeaseState()
        guard let job = try progress(key) else {
            throw Problem(
                "job.not-found", status: 404, "there is no such job", hint: "Stop it; the server knows nothing of it.")
        }
        guard job.epoch == epoch, job.job.status == .running, !job.isOnServer else {
            (state.stop, state.reason) = (true, "the lease was lost")
            return (nil, nil, state)
        }
        let stored = try run(id: key.run)
        if let stop = job.stop {
            (state.stop, state.reason) = (true, stop.reason)
        } else if let stored, stored.stopping != nil, !stored.spares(job) {
            (state.stop, state.reason) = (true, stored.stoppingReason ?? "the run was cancelled")
        }
        return (job, stored, state)
    }

    /// The same for a report, which is refused when it comes from an old lease; nil for the repeat of a heard one.
    func reporting(_ key: JobKey, epoch: Int) throws -> (StoredJob?, StoredRun?, LeaseState) {
        let (job, stored, state) = try holding(key, epoch: epoch)
        if job != nil { return (job, stored, state) }
        // It has ended, or was put back to be tried again.
        if let heard = try glance(key), heard.epoch == epoch, heard.job.status != .running { return (nil, nil, state) }
        throw Problem(
            "lease.lost", status: 409, "job \"\(key.stage)/\(key.job)\" is not held by this lease any more",
            hint: "Stop it; another runner may have it.")
    }
}
