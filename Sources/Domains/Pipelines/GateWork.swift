import API
import Kernel
import Manifests

/// Brings the gates of one run forward, before the run's own decision: notes who has come, begins checks, asks people, ends
/// what is over. Looks at the level; whatever it did before a crash it finds done.
struct GateWork: Sendable {
    let context: DomainContext
    let git: Git
    /// Folder of hosted repositories.
    let repositories: String

    /// True when something has changed, so that the run is to be read again.
    func advance(_ state: RunState) async throws -> Bool {
        guard !state.gates.cases.isEmpty else { return false }
        for job in state.jobs {
            guard let known = state.gates.cases[job.job.key] else { continue }
            if try await advance(job, known, state) { return true }
        }
        return false
    }

    private func advance(_ job: StoredJob, _ known: GateCase, _ state: RunState) async throws -> Bool {
        let call = Call.system("pipelines", correlation: job.run)
        if job.job.status.hasEnded {
            guard let gate = known.gate, gate.status == .waiting else { return false }
            try await context.store.change(call) { change in
                try change.end(gate, as: .closed, because: job.job.reason ?? "the job has ended")
            }
            return true
        }
        guard job.job.status == .waiting else { return false }
        let decision = GateDecision.decide(known, state.stored.run, at: context.time.now)
        guard let gate = known.gate else { return try await arrive(job, known, decision, state, call) }
        guard gate.status == .waiting else { return false }
        switch decision.phase {
        case .refused, .expired:
            guard case .refuse(let reason) = decision.answer else { return false }
            let status: GateStatus = decision.phase == .expired ? .expired : .refused
            try await context.store.change(call) { try $0.end(gate, as: status, because: reason) }
            return true
        case .checks:
            guard let specs = known.spec?.approval_gates.checks, known.checks.isEmpty else { return false }
            try await context.store.change(call) { try $0.beginChecks(of: gate, specs) }
            return true
        case .approvals:
            guard let spec = known.spec?.approval_gates.approvals, gate.askedAt == nil else { return false }
            try await context.store.change(call) { try $0.ask(gate, spec) }
            return true
        case .frozen, .timer, .open: return false
        }
    }

    private func arrive(
        _ job: StoredJob, _ known: GateCase, _ decision: GateDecision, _ state: RunState, _ call: Call
    ) async throws -> Bool {
        let run = state.stored.run
        var gate = StoredGate(
            key: job.key, project: run.project, pipeline: run.pipeline, number: run.number, commit: run.commit,
            environment: known.environment, digest: "", beganAt: context.time.now)
        var refusal: String?
        gate.author = try await author(of: run)
        switch (decision.answer, try await made(for: job, in: state)) {
        case (.refuse(let reason), _): refusal = reason
        case (_, .failure(let reason)): refusal = reason
        case (_, .orders(let orders)): gate.digest = GateDigest.of(job, state.stored, orders, known.spec)
        }
        let (arrived, reason) = (gate, refusal)
        try await context.store.change(call) { try $0.arrive(arrived, refused: reason) }
        return true
    }

    /// What the job would do, as it stands now; nil when its orders cannot be made.
    func digest(of job: StoredJob, in state: RunState) async throws -> String? {
        guard case .orders(let orders) = try await made(for: job, in: state) else { return nil }
        return GateDigest.of(job, state.stored, orders, state.gates.cases[job.job.key]?.spec)
    }

    private func made(for job: StoredJob, in state: RunState) async throws -> OrderMaker.Made {
        // A stage that uses a pipeline has no orders of its own.
        if state.isCaller(job) { return .orders(JobOrders()) }
        let made = try await OrderMaker(context: context).orders(for: [job], in: state, repositories: repositories)
        return made[job.job.key] ?? .failure("its orders cannot be made")
    }

    /// Author of the run's commit, as git tells; nil when there is no such commit here.
    private func author(of run: Run) async throws -> String? {
        guard let name = run.repository, let commit = run.commit else { return nil }
        let reference = Reference<RepositoryKind>(project: run.project, name: name)
        let path = try await context.store.read { try $0.resource(RepositoryKind.self, reference)?.spec.path }
        do {
            let facts = try await git.facts(
                of: commit, in: Git.place(of: reference, path: path, hosted: repositories))
            return "\(facts.author) <\(facts.email)>"
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            // Pushed away or never here: whoever set the run off is known all the same.
            return nil
        }
    }
}
