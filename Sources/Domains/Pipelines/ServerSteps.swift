import API
import Kernel
import Manifests

/// One look at a step that the server carries out itself.
enum StepLook: Sendable {
    case done(Step)
    case failed(String, report: JSONValue?)
    /// Look again after this; the memo is kept until then.
    case wait(Duration, memo: JSONValue)
}

/// What one look at such a step may use.
struct ServerStep: Sendable {
    var order: StepOrder
    var step: Step
    var job: StoredJob
    var state: RunState
    /// What earlier looks noted.
    var memo: JSONValue
    var artifacts: [Artifact]
    let context: DomainContext
    let logs: LogBook

    var run: Run { state.stored.run }
    var call: Call { Call(actor: "run:\(run.id)", correlation: run.id) }

    /// A line in the job's output, with the time of day.
    func say(_ line: String) throws {
        try logs.say("\(context.time.now.description.dropFirst(11).prefix(8)) \(line)", to: job.key)
        context.store.bells.ring([job.key.logTopic])
    }
}

/// Carries out register, deploy and watch: looks at the level, does at most one act, and may be asked any number of times.
struct ServerSteps: Sendable {
    let context: DomainContext
    let logs: LogBook

    /// Looks at the job's step under way; tells when to look again.
    func advance(_ job: StoredJob, in state: RunState) async throws -> Duration {
        guard job.firstFailure(in: state.stored.spec) == nil,
            let step = job.job.steps.first(where: { !$0.status.hasEnded })
        else {
            try await endJob(job, state)
            return .zero
        }
        guard let order = job.orders?.first(where: { $0.index == step.index }) else { return .seconds(1) }
        if step.status == .queued {
            try await start(step, job, state)
            return .zero
        }
        let key = job.key
        let (memo, artifacts) = try await context.store.read { sql in
            (try sql.memo(key, step.index), try sql.artifacts(run: key.run))
        }
        let work = ServerStep(
            order: order, step: step, job: job, state: state, memo: memo, artifacts: artifacts, context: context,
            logs: logs)
        switch try await look(work) {
        case .wait(let wait, let memo):
            if memo != work.memo {
                try await context.store.change(work.call) { try $0.sql.setMemo(memo, of: key, step.index) }
            }
            return wait
        case .done(var done):
            done.status = .succeeded
            try await end(done, job, state)
        case .failed(let reason, let report):
            try work.say("✘ \(reason)")
            var failed = step
            (failed.status, failed.reason, failed.report) = (.failed, reason, report)
            try await end(failed, job, state)
        }
        return .zero
    }

    private func look(_ work: ServerStep) async throws -> StepLook {
        do {
            switch work.order.verb {
            case "register": return try await Registering(work: work).look()
            case "deploy": return try await Deploying(work: work).look()
            case "watch": return try await Watching(work: work).look()
            default: return .failed("the server has no verb \"\(work.order.verb)\"", report: nil)
            }
        } catch let problem as Problem where problem.status >= 500 || problem.status == 429 {
            // Somebody is starting or has too much to do: the job's time limit bounds how often this is tried.
            return .wait(.seconds(1), memo: work.memo)
        } catch let problem as Problem {
            return .failed(
                [problem.message, problem.detail, problem.hint].compactMap { $0 }.joined(separator: ". "), report: nil)
        } catch let error as ManifestError {
            return .failed(error.message, report: nil)
        }
    }

    private func call(_ state: RunState) -> Call { .system("pipelines", correlation: state.stored.run.id) }

    private func start(_ step: Step, _ job: StoredJob, _ state: RunState) async throws {
        try await context.store.change(call(state)) { change in
            guard let now = try change.sql.job(job.key), now.epoch == job.epoch, now.job.status == .running else {
                return
            }
            var begun = step
            (begun.status, begun.started_at, begun.attempts) = (.running, change.now, step.attempts + 1)
            try change.sql.update(begun, of: job.key, epoch: job.epoch)
            try change.sql.setMemo([:], of: job.key, step.index)
            try change.tellStep("step.started", begun, job.key)
        }
        let count = job.job.steps.count
        try logs.say("── step \(step.index + 1)/\(count): \(step.name)", to: job.key)
    }

    private func end(_ step: Step, _ job: StoredJob, _ state: RunState) async throws {
        try await context.store.change(call(state)) { change in
            guard let now = try change.sql.job(job.key), now.epoch == job.epoch, now.job.status == .running,
                let current = now.job.steps.first(where: { $0.index == step.index }), !current.status.hasEnded
            else { return }
            try change.finish(current, as: step, of: now, artifacts: [])
        }
    }

    /// All steps have ended, or one has failed and the rest must not begin.
    private func endJob(_ job: StoredJob, _ state: RunState) async throws {
        try await context.store.change(call(state)) { change in
            guard let now = try change.sql.job(job.key), now.epoch == job.epoch, now.job.status == .running,
                let stored = try change.sql.run(id: job.run)
            else { return }
            guard let failed = now.firstFailure(in: stored.spec) else { return try change.succeed(now, of: stored) }
            try change.retry(
                now, of: stored, after: .failure, because: failed.reason ?? "step \"\(failed.name)\" failed")
        }
        context.store.bells.ring([job.key.logTopic])
    }
}

extension StoredJob {
    /// The step whose failure is the job's.
    func firstFailure(in pipeline: PipelineSpec) -> Step? {
        let steps = spec(in: pipeline)?.steps ?? []
        return job.steps.first { step in
            let isForgiven = steps.indices.contains(step.index) && steps[step.index].continue_on_error
            return step.status == .failed && !isForgiven
        }
    }
}
