import API
import Expressions
import Manifests

/// Everything that a decision about a run may look at.
struct RunState: Sendable {
    var stored: StoredRun
    var jobs: [StoredJob]
    var gates = GateFacts()
    /// When this server began: a lease cannot have been renewed while there was nobody to renew it with.
    var bornAt: Timestamp
}

/// What is to be done next about a run.
///
/// Pure: the same state at the same time gives the same.
struct RunDecision: Sendable, Equatable {
    enum Action: Sendable, Equatable {
        /// Its needs are met: resolve its orders.
        case ready(String)
        /// The server itself begins it.
        case begin(String)
        /// Its gate keeps it back.
        case wait(String, reason: String)
        case skip(String, reason: String)
        case cancel(String, reason: String)
        case fail(String, reason: String)
        /// Its runner was not heard of for too long.
        case lose(String)
        /// Its runner did not keep the time limit.
        case timeOut(String)
        case stop(reason: String)
        case finish(RunStatus, reason: String?)
    }

    var actions: [Action] = []
    private var now = Timestamp.zero
    /// When time alone changes the answer.
    var lookAgainAt: Timestamp?

    static func decide(_ state: RunState, at now: Timestamp) -> RunDecision {
        var decision = RunDecision()
        decision.now = now
        let run = state.stored.run
        guard !run.status.hasEnded else { return decision }
        if state.stored.stopping == nil {
            let deadline = (run.started_at ?? run.created_at).advanced(by: state.stored.spec.timeout.duration)
            guard now < deadline else {
                decision.actions = [.stop(reason: "took longer than \(state.stored.spec.timeout)")]
                return decision
            }
            decision.look(at: deadline)
        }
        for job in state.jobs where !job.job.status.hasEnded {
            if job.job.status == .running {
                decision.heedRunning(job, in: state, at: now)
            } else {
                decision.heedQueued(job, in: state)
            }
        }
        if state.jobs.allSatisfy({ $0.job.status.hasEnded }) {
            let (status, reason) = outcome(of: state)
            decision.actions.append(.finish(status, reason: reason))
        }
        return decision
    }

    private mutating func look(at time: Timestamp) {
        lookAgainAt = lookAgainAt.map { min($0, time) } ?? time
    }

    // MARK: Jobs

    private mutating func heedRunning(_ job: StoredJob, in state: RunState, at now: Timestamp) {
        if let stopping = state.stored.stopping, !state.stored.spares(job) {
            let reason = state.stored.stoppingReason ?? "the run was \(stopping.rawValue)"
            let end = (state.stored.stoppingAt ?? now).advanced(by: PipelineLimits.cancelGrace)
            if job.isOnServer || now >= end || isLost(job, in: state, at: now) {
                actions.append(.cancel(job.job.key, reason: reason))
            } else {
                look(at: end)
            }
            return
        }
        if let deadline = job.deadlineAt {
            let end = job.isOnServer ? deadline : deadline.advanced(by: PipelineLimits.timeoutGrace)
            if now >= end {
                actions.append(.timeOut(job.job.key))
                return
            }
            look(at: end)
        }
        guard !job.isOnServer else { return }
        if isLost(job, in: state, at: now) {
            actions.append(.lose(job.job.key))
        } else {
            look(at: leaseEnd(job, in: state))
        }
    }

    private func leaseEnd(_ job: StoredJob, in state: RunState) -> Timestamp {
        max(job.leaseUntil ?? .zero, state.bornAt.advanced(by: PipelineLimits.lease))
    }

    private func isLost(_ job: StoredJob, in state: RunState, at now: Timestamp) -> Bool {
        !job.isOnServer && now >= leaseEnd(job, in: state)
    }

    private mutating func heedQueued(_ job: StoredJob, in state: RunState) {
        let needs = job.job.needs.map { Stage(named: $0, in: state) }
        guard needs.allSatisfy(\.hasEnded) else {
            if state.stored.stopping == .failed {
                actions.append(.cancel(job.job.key, reason: state.stored.stoppingReason ?? "the run was stopped"))
            }
            return
        }
        if state.stored.stopping == .failed {
            actions.append(.cancel(job.job.key, reason: state.stored.stoppingReason ?? "the run was stopped"))
            return
        }
        if job.readyAt != nil {
            if state.stored.stopping != nil, !state.stored.outlivesCancelling(job) {
                actions.append(.cancel(job.job.key, reason: state.stored.stoppingReason ?? "the run was cancelled"))
            } else if job.isOnServer {
                actions.append(.begin(job.job.key))
            }
            return
        }
        judge(job, needs, in: state)
    }

    /// Decides whether a job whose needs have all ended runs.
    private mutating func judge(_ job: StoredJob, _ needs: [Stage], in state: RunState) {
        let key = job.job.key
        let isCancelled = state.stored.stopping != nil
        let isSuccess = needs.allSatisfy { $0.result == .succeeded }
        let condition = state.stored.condition(of: job)
        if !condition.usesStatus && isCancelled {
            actions.append(.cancel(key, reason: state.stored.stoppingReason ?? "the run was cancelled"))
            return
        }
        if !condition.usesStatus, let culprit = needs.first(where: { $0.result != .succeeded }) {
            actions.append(.skip(key, reason: "stage \"\(culprit.name)\" \(culprit.words)"))
            return
        }
        guard let text = condition.text else {
            admit(job, in: state)
            return
        }
        let status = Context.Status(
            isSuccess: isSuccess && !isCancelled, isFailure: needs.contains { $0.result == .failed },
            isCancelled: isCancelled)
        do {
            let holds = try Expression(parsing: text)
                .evaluate(in: Contexts.run(state, needs: job.job.needs, status: status)).isTruthy
            if holds { admit(job, in: state) } else { actions.append(.skip(key, reason: "if: \(text) was false")) }
        } catch {
            actions.append(.fail(key, reason: "if: \(text): \(error)"))
        }
    }

    /// A job that shall run: first its gate, then its lane, then it is ready.
    private mutating func admit(_ job: StoredJob, in state: RunState) {
        switch gateAnswer(for: job, in: state, at: now) {
        case .open: actions.append(.ready(job.job.key))
        case .wait(let reason, let until):
            if job.job.reason != reason { actions.append(.wait(job.job.key, reason: reason)) }
            if let until { look(at: until) }
        case .refuse(let reason): actions.append(.fail(job.job.key, reason: reason))
        }
    }

    // MARK: The run

    private static func outcome(of state: RunState) -> (RunStatus, String?) {
        if let stopping = state.stored.stopping { return (stopping, state.stored.stoppingReason) }
        let stages = state.stored.spec.stages.map { Stage(named: $0.name, in: state) }
        if let failed = stages.first(where: { $0.result == .failed }) {
            return (.failed, failed.reason ?? "stage \"\(failed.name)\" failed")
        }
        if let cancelled = stages.first(where: { $0.result == .cancelled }) {
            return (.cancelled, cancelled.reason)
        }
        return stages.allSatisfy { $0.result == .skipped } ? (.skipped, "every stage was skipped") : (.succeeded, nil)
    }
}

extension StoredRun {
    /// The `if` of a job's stage, and whether it asks how the run stands (`always()` and the like).
    func condition(of job: StoredJob) -> (text: String?, usesStatus: Bool) {
        guard let text = spec.stages.first(where: { $0.name == job.job.stage })?.if else { return (nil, false) }
        let bare = Resolver.bareCondition(text)
        do {
            return (bare, try Expression(parsing: bare).usesStatus)
        } catch {
            // Told as the job's failure where it is evaluated.
            return (bare, false)
        }
    }

    /// Whether the job may still begin though the run is being cancelled: cleaning up after it, most of the time.
    func outlivesCancelling(_ job: StoredJob) -> Bool { stopping == .cancelled && condition(of: job).usesStatus }

    /// Whether the running job goes on though the run is being cancelled: it began because of that.
    func spares(_ job: StoredJob) -> Bool {
        guard outlivesCancelling(job), let began = job.job.started_at, let stoppingAt else { return false }
        return began >= stoppingAt
    }
}

/// How a stage stands, by its jobs.
struct Stage: Sendable {
    var name: String
    var result: RunStatus
    /// Why it failed: the first failed job's reason.
    var reason: String?
    var hasEnded: Bool { result.hasEnded }

    init(named name: String, in state: RunState) {
        self.name = name
        let jobs = state.jobs.filter { $0.job.stage == name }
        let spec = state.stored.spec.stages.first { $0.name == name }?.allJobs ?? [:]
        guard jobs.allSatisfy({ $0.job.status.hasEnded }) else {
            result = .running
            return
        }
        func isForgiven(_ job: StoredJob) -> Bool { spec[job.job.name]?.allow_failure.always ?? false }
        if let failed = jobs.first(where: { $0.job.status == .failed && !isForgiven($0) }) {
            result = .failed
            let detail = failed.job.reason.map { ": \($0)" } ?? ""
            reason = jobs.count == 1 ? "stage \"\(name)\" failed\(detail)" : "job \"\(failed.job.key)\" failed\(detail)"
        } else if let cancelled = jobs.first(where: { $0.job.status == .cancelled }) {
            result = .cancelled
            reason = cancelled.job.reason
        } else {
            result = jobs.allSatisfy { $0.job.status == .skipped } ? .skipped : .succeeded
        }
    }

    var words: String {
        switch result {
        case .failed: "failed"
        case .skipped: "was skipped"
        case .cancelled: "was cancelled"
        default: "did not succeed"
        }
    }
}

/// Whether a job that has failed is tried again; pure.
enum RetryDecision {
    enum Answer: Sendable, Equatable {
        /// Again, with the steps that a kept workspace has finished.
        case goOn
        /// Again, from its first step.
        case startOver
        case giveUp
    }

    static func decide(_ cause: RetrySpec.Cause?, losses: Int, retries: Int, spec: RetrySpec) -> Answer {
        switch cause {
        case .runner_lost: return losses <= PipelineLimits.losses ? .goOn : .giveUp
        case .timeout, .failure:
            guard let cause, spec.for.contains(cause), retries < spec.max else { return .giveUp }
            return .startOver
        case nil: return .giveUp
        }
    }
}
