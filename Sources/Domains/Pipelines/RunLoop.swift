import API
import Kernel
import Logging
import Manifests

/// Brings runs forward: asks RunDecision what is next, does it, and looks at the steps that the server carries out itself.
struct RunReconciler: Reconciler {
    static let name = "pipelines-runs"
    static let topics: Set<String> = ["Run", "Service", "Runner"]
    let context: DomainContext
    let logs: LogBook
    /// Folder of hosted repositories.
    let repositories: String
    let bornAt: Timestamp

    func keys() async throws -> [String] { try await context.store.read { try $0.openRunIDs() } }

    func reconcile(_ key: String) async throws -> Next {
        guard let state = try await state(of: key) else { return .settled }
        let decision = RunDecision.decide(state, at: context.time.now)
        for action in decision.actions { try await act(action, in: state) }
        if !decision.actions.isEmpty { return .now }
        var next: Duration? = decision.lookAgainAt.map { max(.milliseconds(50), $0.since(context.time.now)) }
        for job in state.jobs where job.isOnServer && job.job.status == .running {
            let wait = try await ServerSteps(context: context, logs: logs).advance(job, in: state)
            next = min(next ?? wait, wait)
        }
        if let again = try await retellPlacement(of: state) { next = min(next ?? again, again) }
        guard let next else { return .settled }
        return next <= .zero ? .now : .again(in: next)
    }

    private func state(of run: String) async throws -> RunState? {
        let bornAt = bornAt
        return try await context.store.read { sql in
            guard let stored = try sql.run(id: run) else { return nil }
            let jobs = try sql.jobs(run: run)
            return RunState(
                stored: stored, jobs: jobs, gates: try sql.gateFacts(for: stored, jobs: jobs), bornAt: bornAt)
        }
    }

    private func act(_ action: RunDecision.Action, in state: RunState) async throws {
        switch action {
        case .ready(let key): try await makeReady(key, in: state)
        case .wait(let key, let reason):
            guard let seen = state.jobs.first(where: { $0.job.key == key }) else { return }
            try await change(key, in: state, while: seen.job.status) { change, job, _ in
                var waiting = job
                (waiting.job.status, waiting.job.reason) = (.waiting, reason)
                try change.sql.update(waiting)
                try change.tellJob("job.waiting", waiting)
            }
        case .begin(let key):
            try await change(key, in: state, while: .queued) { change, job, stored in
                try change.beginOnServer(job, of: stored)
            }
        case .skip(let key, let reason): try await end(key, in: state, as: .skipped, reason)
        case .fail(let key, let reason): try await end(key, in: state, as: .failed, reason)
        case .cancel(let key, let reason): try await end(key, in: state, as: .cancelled, reason)
        case .lose(let key):
            try await change(key, in: state, while: .running) { change, job, _ in
                try change.lose(job, because: "runner \"\(job.job.runner ?? "")\" was not heard of for too long")
            }
        case .timeOut(let key):
            try await change(key, in: state, while: .running) { change, job, stored in
                try change.retry(
                    job, of: stored, after: .timeout, because: "took longer than \(job.timeLimit(in: stored.spec))")
            }
        case .stop(let reason):
            try await context.store.change(call(state)) { change in
                guard let stored = try change.sql.run(id: state.stored.run.id) else { return }
                try change.stop(stored, as: .failed, because: reason)
            }
        case .finish(let status, let reason): try await finish(state, status, reason)
        }
    }

    private func call(_ state: RunState) -> Call { .system("pipelines", correlation: state.stored.run.id) }

    /// Changes a job, unless it has become another since the decision.
    private func change(
        _ key: String, in state: RunState, while status: RunStatus,
        _ body: @escaping @Sendable (Change, StoredJob, StoredRun) throws -> Void
    ) async throws {
        guard let seen = state.jobs.first(where: { $0.job.key == key }) else { return }
        try await context.store.change(call(state)) { change in
            guard let stored = try change.sql.run(id: seen.run), let job = try change.sql.job(seen.key),
                job.job.status == status, job.epoch == seen.epoch, job.leaseUntil == seen.leaseUntil
            else { return }
            try body(change, job, stored)
        }
    }

    private func end(_ key: String, in state: RunState, as status: RunStatus, _ reason: String) async throws {
        guard let seen = state.jobs.first(where: { $0.job.key == key }) else { return }
        try await change(key, in: state, while: seen.job.status) { change, job, stored in
            try change.end(job, of: stored, as: status, because: reason)
        }
    }

    /// Resolves the orders of a job whose needs are met; what cannot be resolved fails it.
    private func makeReady(_ key: String, in state: RunState) async throws {
        guard let seen = state.jobs.first(where: { $0.job.key == key }) else { return }
        let orders: [StepOrder]
        let execution: ExecutionSpec
        do {
            let maker = OrderMaker(context: context)
            orders = try await maker.orders(for: seen, in: state, repositories: repositories)
            execution = try maker.execution(of: seen, in: state)
        } catch is CancellationError {
            throw CancellationError()
        } catch let problem as Problem where problem.status >= 500 {
            throw problem
        } catch {
            return try await end(key, in: state, as: .failed, Self.words(error))
        }
        try await change(key, in: state, while: seen.job.status) { change, job, _ in
            var ready = job
            ready.job.status = .queued
            (ready.orders, ready.execution, ready.readyAt) = (orders, execution, change.now)
            ready.job.reason = job.isOnServer ? nil : "waits for a runner"
            try change.sql.update(ready)
            change.ring("Run")
            change.ring(Leases.readyTopic)
        }
    }

    /// An error in the words that become a job's reason.
    static func words(_ error: any Error) -> String {
        if let problem = error as? Problem { return problem.message }
        if let error = error as? ManifestError { return error.message }
        return "\(error)"
    }

    private func finish(_ state: RunState, _ status: RunStatus, _ reason: String?) async throws {
        try await context.store.change(call(state)) { change in
            guard var stored = try change.sql.run(id: state.stored.run.id), !stored.run.status.hasEnded else { return }
            (stored.run.status, stored.run.reason, stored.run.finished_at) = (status, reason, change.now)
            try change.sql.update(stored)
            try change.tell(
                "run.finished", about: stored.subject,
                [
                    "pipeline": .string(stored.run.pipeline), "number": .integer(Int64(stored.run.number)),
                    "status": status.json, "reason": reason.map(JSONValue.string) ?? .null,
                    "commit": stored.run.commit.map(JSONValue.string) ?? .null,
                    "seconds": .number(
                        change.now.since(stored.run.started_at ?? stored.run.created_at) / .seconds(1)),
                ])
            try change.noteStatus(of: stored.run)
        }
        for job in state.jobs { logs.release(job.key) }
    }
}
