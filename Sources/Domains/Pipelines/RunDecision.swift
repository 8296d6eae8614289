import API
import Expressions
import Kernel
import Manifests

/// What is to be done next about a run.
///
/// Pure: the same state at the same time gives the same.
struct RunDecision: Sendable, Equatable {
    enum Action: Sendable, Equatable {
        /// Its needs are met, its gate is open, its lanes have a place: resolve its orders.
        case ready(String)
        /// The server itself begins it.
        case begin(String)
        /// Something keeps it back.
        case wait(String, Hold, reason: String)
        /// What kept it back is over, and it had begun before.
        case goOn(String)
        /// Its matrix is known: a job for each cell takes its place.
        case expand(String, [Ordered<JSONValue>])
        /// The stages of the pipeline that it uses may begin, with these parameters.
        case enter(String, Ordered<JSONValue>)
        /// All of them have ended.
        case leave(String, RunStatus, reason: String?)
        /// Joins lanes whose names are known only now.
        case claim(String, [Claim])
        case skip(String, reason: String)
        case cancel(String, reason: String)
        case fail(String, reason: String)
        /// Was told to stop, and has, or has had its time to.
        case end(String, as: RunStatus, reason: String)
        /// A newer run has taken its place.
        case supersede(String, by: Rival)
        /// Tells its runner to stop, and how it is to end then.
        case halt(String, as: RunStatus, reason: String)
        /// Makes room in a lane: work of an older run ends.
        case displace(LaneUnit)
        /// Its runner was not heard of for too long.
        case lose(String)
        /// Its runner did not keep the time limit.
        case timeOut(String)
        case stop(as: RunStatus = .failed, reason: String, by: Rival? = nil)
        /// Takes back what the failed run has deployed.
        case undo
        case finish(RunStatus, reason: String?)
    }

    /// What keeps a job back whose needs are met.
    enum Hold: String, Sendable { case gate, lane, parallel, delay }

    var actions: [Action] = []
    /// When time alone changes the answer.
    var lookAgainAt: Timestamp?

    static func decide(_ state: RunState, at now: Timestamp) -> RunDecision {
        guard !state.stored.run.status.hasEnded else { return RunDecision() }
        var look = RunLook(state, now)
        look.look()
        return look.decision
    }
}

/// One look at a run, on the way to its decision.
struct RunLook {
    let state: RunState
    let now: Timestamp
    var decision = RunDecision()
    /// Jobs of a stage, and cells of a job, that take a place of `max_parallel`; by number.
    private var busyStages: [Int: Int] = [:]
    private var busyJobs: [Int: Int] = [:]
    var plan: RunPlan { state.stored.plan }
    private var layout: RunLayout { state.standing.layout }
    private var stopping: RunStatus? { state.stored.stopping }

    init(_ state: RunState, _ now: Timestamp) { (self.state, self.now) = (state, now) }

    mutating func act(_ action: RunDecision.Action) { decision.actions.append(action) }

    mutating func look(at time: Timestamp) {
        decision.lookAgainAt = decision.lookAgainAt.map { min($0, time) } ?? time
    }

    mutating func look() {
        let run = state.stored.run
        if stopping == nil {
            let deadline = (run.started_at ?? run.created_at).advanced(
                by: state.stored.spec.timeout.duration + state.gates.waited(at: now))
            guard now < deadline else {
                return act(.stop(reason: "took longer than \(state.stored.spec.timeout)"))
            }
            look(at: deadline)
        }
        countBusy()
        for position in state.jobs.indices where !isIdle(position) {
            let job = state.jobs[position]
            guard let place = layout.places[position] else {
                act(.fail(job.job.key, reason: "the pipeline has no job \"\(job.job.key)\""))
                continue
            }
            let spec = plan.stages[place.stage].jobs[place.index]
            if job.job.status == .running {
                heedRunning(job, place.stage, spec)
            } else {
                heedWaiting(job, place.stage, spec)
            }
        }
        conclude()
    }

    private mutating func countBusy() {
        guard plan.hasParallelLimits else { return }
        for position in state.jobs.indices where state.jobs[position].isUnderWay {
            guard let place = layout.places[position] else { continue }
            busyStages[place.stage, default: 0] += 1
            busyJobs[place.number, default: 0] += 1
        }
    }

    /// Whether there is nothing to be said of a job: it has ended, waits for a runner, or for stages that have not ended.
    ///
    /// Of a thousand jobs this is true of nearly all, so it is asked without copying any, and says no when in doubt.
    private func isIdle(_ position: Int) -> Bool {
        let status = state.jobs[position].job.status
        if status.hasEnded { return true }
        guard status != .running, stopping == nil, state.jobs[position].stop == nil,
            state.jobs[position].hold != .delay, state.jobs[position].job.matrix.isEmpty,
            let stage = layout.places[position]?.stage, !plan.hasTimeLimit(stage)
        else { return false }
        if state.jobs[position].readyAt != nil { return !state.jobs[position].isOnServer }
        return plan.stages[stage].needed.contains { !state.standing.stages[$0].hasEnded }
    }

    // MARK: Running

    private mutating func heedRunning(_ job: StoredJob, _ stage: Int, _ spec: RunPlan.Job) {
        if let called = plan.stages[stage].called { return heedCaller(job, stage, called) }
        if let (status, reason, since) = ending(of: job) {
            let end = since.advanced(by: PipelineLimits.cancelGrace)
            if job.isOnServer || now >= end || isLost(job) {
                act(
                    status == .cancelled
                        ? .cancel(job.job.key, reason: reason) : .end(job.job.key, as: status, reason: reason))
            } else {
                look(at: end)
            }
            return
        }
        if let reason = overdue(stage) { return act(.halt(job.job.key, as: .failed, reason: reason)) }
        if let reason = failedSibling(of: job, spec) {
            return act(.halt(job.job.key, as: .cancelled, reason: reason))
        }
        if let deadline = job.deadlineAt {
            let end = job.isOnServer ? deadline : deadline.advanced(by: PipelineLimits.timeoutGrace)
            if now >= end { return act(.timeOut(job.job.key)) }
            look(at: end)
        }
        guard !job.isOnServer else { return }
        if isLost(job) { act(.lose(job.job.key)) } else { look(at: leaseEnd(job)) }
    }

    /// How a running job is to end, if it is to: by its own word or with its run.
    private func ending(of job: StoredJob) -> (RunStatus, String, Timestamp)? {
        if let stop = job.stop { return (stop.status, stop.reason, stop.at) }
        guard let stopping, !state.stored.spares(job) else { return nil }
        return (
            .cancelled, state.stored.stoppingReason ?? "the run was \(stopping.rawValue)",
            state.stored.stoppingAt ?? now
        )
    }

    /// A stage that uses a pipeline lasts as long as that pipeline's stages.
    private mutating func heedCaller(_ job: StoredJob, _ stage: Int, _ called: Int) {
        _ = overdue(stage)
        let scope = plan.scopes[called]
        guard (scope.stages + scope.finally).allSatisfy({ state.standing.stages[$0].hasEnded }) else { return }
        let (status, reason) = verdict(of: scope)
        act(.leave(job.job.key, status, reason: reason))
    }

    private func leaseEnd(_ job: StoredJob) -> Timestamp {
        max(job.leaseUntil ?? .zero, state.bornAt.advanced(by: PipelineLimits.lease))
    }

    private func isLost(_ job: StoredJob) -> Bool { !job.isOnServer && now >= leaseEnd(job) }

    /// Why the stage, or one around it, has used up its time; looks again when it will have.
    private mutating func overdue(_ stage: Int) -> String? {
        let isFinally = plan.stages[stage].isFinally
        for each in isFinally ? [stage] : plan.chain(of: stage) {
            guard let limit = plan.stages[each].spec.timeout, let begun = state.standing.begun[each] else { continue }
            let deadline = begun.advanced(by: limit.duration)
            if now >= deadline { return "stage \"\(plan.stages[each].name)\" took longer than \(limit)" }
            look(at: deadline)
        }
        return nil
    }

    /// Why a cell need not go on: another one has failed.
    private func failedSibling(of job: StoredJob, _ spec: RunPlan.Job) -> String? {
        guard spec.spec.fail_fast, !job.job.matrix.isEmpty else { return nil }
        let failed = state.standing.cells[spec.number].first { position in
            let cell = state.jobs[position]
            return cell.job.status == .failed && !cell.isForgiven && cell.stop == nil
        }
        return failed.map { "\"\(state.jobs[$0].title)\" failed, and fail_fast is on" }
    }

    // MARK: Waiting

    private mutating func heedWaiting(_ job: StoredJob, _ stage: Int, _ spec: RunPlan.Job) {
        let key = job.job.key
        if let stop = job.stop {
            return act(.end(key, as: stop.status, reason: stop.reason))
        }
        if stopping != nil, !state.stored.outlives(job) {
            return act(.cancel(key, reason: state.stored.stoppingReason ?? "the run was stopped"))
        }
        if let reason = overdue(stage) { return act(.fail(key, reason: reason)) }
        if let reason = failedSibling(of: job, spec) { return act(.cancel(key, reason: reason)) }
        if job.hold == .delay, let until = job.notBefore {
            if now >= until { act(.goOn(key)) } else { look(at: until) }
            return
        }
        if job.readyAt != nil {
            if job.isOnServer { act(.begin(key)) }
            return
        }
        // What most of the waiting jobs wait for, most of the time.
        guard plan.stages[stage].needed.allSatisfy({ state.standing.stages[$0].hasEnded }) else { return }
        guard mayBegin(job, stage, spec) else { return }
        judge(job, stage, spec)
    }

    /// Whether all that it waits for has ended; skips it when the stage around it never began.
    private mutating func mayBegin(_ job: StoredJob, _ stage: Int, _ spec: RunPlan.Job) -> Bool {
        let each = plan.stages[stage]
        let scope = plan.scopes[each.scope]
        if let caller = scope.caller {
            let outer = state.standing.stages[caller]
            if outer.hasEnded {
                act(.skip(job.job.key, reason: "stage \"\(plan.stages[caller].name)\" \(outer.words)"))
                return false
            }
            guard state.standing.begun[caller] != nil else { return false }
        }
        if each.isFinally, !scope.stages.allSatisfy({ state.standing.stages[$0].hasEnded }) { return false }
        return each.needs.allSatisfy { state.outcome(of: $0).hasEnded }
            && spec.needs.allSatisfy { state.outcome(of: $0).hasEnded }
    }

    /// Whether a job whose needs have all ended runs.
    ///
    /// Without a word of its own it runs when all its direct needs have succeeded. An `if` that asks how things stand
    /// (`always()`, `failure()`) takes the place of that rule; another `if` is asked in addition.
    private mutating func judge(_ job: StoredJob, _ stage: Int, _ spec: RunPlan.Job) {
        let each = plan.stages[stage]
        let ofStage = each.condition?.usesStatus ?? false
        let ofJob = spec.condition?.usesStatus ?? false
        var bound: [Need] = []
        if !ofStage, !ofJob, !each.isFinally { bound += each.needs }
        if !ofJob, !each.isFinally { bound += spec.needs }
        if let culprit = bound.first(where: { !isMet($0) }) {
            return act(.skip(job.job.key, reason: "\(culprit.words) \(state.outcome(of: culprit).words)"))
        }
        // A condition that reads the cell is asked of each cell.
        if let matrix = spec.spec.matrix, job.job.matrix.isEmpty {
            if let condition = spec.condition, condition.readsMatrix { return expand(job, matrix, stage) }
            guard holds(each.condition, each.needs, job, stage), holds(spec.condition, spec.needs, job, stage) else {
                return
            }
            return expand(job, matrix, stage)
        }
        guard holds(each.condition, each.needs, job, stage),
            holds(spec.condition, each.needs + spec.needs, job, stage)
        else { return }
        admit(job, stage, spec)
    }

    private func isMet(_ need: Need) -> Bool {
        let result = state.outcome(of: need).result
        return result == .succeeded || (result == .skipped && need.isOptional)
    }

    /// Whether a condition holds; acts when it does not.
    private mutating func holds(
        _ condition: RunPlan.Condition?, _ needs: [Need], _ job: StoredJob, _ stage: Int
    ) -> Bool {
        guard let condition else { return true }
        do {
            let context = Contexts.run(state, job: job, status: status(needs, stage))
            if try condition.expression.get().evaluate(in: context).isTruthy { return true }
            act(.skip(job.job.key, reason: "if: \(condition.text) was false"))
        } catch {
            act(.fail(job.job.key, reason: "if: \(condition.text): \(error)"))
        }
        return false
    }

    /// What `success()`, `failure()` and `cancelled()` say: by the direct needs, at the end by all that ran before.
    private func status(_ needs: [Need], _ stage: Int) -> Context.Status {
        let each = plan.stages[stage]
        let isCancelled = stopping == .cancelled || stopping == .superseded
        guard each.isFinally else {
            return Context.Status(
                isSuccess: needs.allSatisfy(isMet) && stopping == nil,
                isFailure: needs.contains { state.outcome(of: $0).result == .failed }, isCancelled: isCancelled)
        }
        let (verdict, _) = verdict(of: plan.scopes[each.scope])
        return Context.Status(
            isSuccess: verdict == .succeeded || verdict == .skipped, isFailure: verdict == .failed,
            isCancelled: isCancelled)
    }

    private mutating func expand(_ job: StoredJob, _ matrix: MatrixSpec, _ stage: Int) {
        do {
            let resolver = Resolver(context: Contexts.run(state, job: job), leavesSteps: false)
            let cells = try MatrixSpec(try resolver.resolve(matrix.json)).cells()
            act(cells.isEmpty ? .skip(job.job.key, reason: "its matrix has no cells") : .expand(job.job.key, cells))
        } catch {
            act(.fail(job.job.key, reason: "its matrix cannot be made: \(RunReconciler.words(error))"))
        }
    }

    // MARK: Admission

    /// A job that shall run: first its gate, then its place among its siblings, then its lanes, then it is ready.
    private mutating func admit(_ job: StoredJob, _ stage: Int, _ spec: RunPlan.Job) {
        switch gateAnswer(for: job, in: state, at: now) {
        case .open: break
        case .wait(let reason, let until):
            if let until { look(at: until) }
            return wait(job, .gate, reason)
        case .refuse(let reason): return act(.fail(job.job.key, reason: reason))
        }
        let each = plan.stages[stage]
        if let limit = each.spec.max_parallel, busyStages[stage, default: 0] >= limit {
            return wait(job, .parallel, "waits for a place: at most \(limit) jobs of stage \"\(each.name)\" at once")
        }
        if let limit = spec.spec.max_parallel, busyJobs[spec.number, default: 0] >= limit {
            return wait(job, .parallel, "waits for a place: at most \(limit) cells of \"\(spec.name)\" at once")
        }
        guard takesLanes(job, stage, spec) else { return }
        busyStages[stage, default: 0] += 1
        busyJobs[spec.number, default: 0] += 1
        guard let called = each.called else { return act(.ready(job.job.key)) }
        enter(job, stage, plan.scopes[called].spec)
    }

    mutating func wait(_ job: StoredJob, _ hold: RunDecision.Hold, _ reason: String) {
        guard job.job.reason != reason || job.hold != hold else { return }
        act(.wait(job.job.key, hold, reason: reason))
    }

    private mutating func enter(_ job: StoredJob, _ stage: Int, _ called: PipelineSpec) {
        do {
            let resolver = Resolver(context: Contexts.run(state, job: job), leavesSteps: false)
            let given = try (plan.stages[stage].spec.uses?.with ?? [:]).map { try resolver.resolve($0) }
            act(.enter(job.job.key, try Parameters.read(given, for: called)))
        } catch {
            act(.fail(job.job.key, reason: "its parameters cannot be made: \(RunReconciler.words(error))"))
        }
    }

    // MARK: The run

    private mutating func conclude() {
        let scope = plan.scopes[0]
        guard scope.stages.allSatisfy({ state.standing.stages[$0].hasEnded }) else { return }
        let (status, reason) = verdict(of: scope)
        if status == .failed, state.stored.spec.rollback != nil, state.stored.undone == nil { return act(.undo) }
        guard state.jobs.indices.allSatisfy({ state.jobs[$0].job.status.hasEnded }) else { return }
        act(.finish(status, reason: told(reason, scope)))
    }

    /// The reason, and what went wrong afterwards, which changes nothing.
    private func told(_ reason: String?, _ scope: RunPlan.Scope) -> String? {
        let failed = scope.finally.filter { state.standing.stages[$0].result == .failed }.map { stage in
            "at the end, " + words(of: stage)
        }
        let all = [reason].compactMap { $0 } + failed
        return all.isEmpty ? nil : all.joined(separator: "; ")
    }

    private func verdict(of scope: RunPlan.Scope) -> (RunStatus, String?) {
        if scope.caller == nil, let stopping { return (stopping, state.stored.stoppingReason) }
        let stages = scope.stages
        for result in [RunStatus.failed, .superseded, .cancelled] {
            guard let first = stages.first(where: { state.standing.stages[$0].result == result }) else { continue }
            let reason = state.standing.stages[first].culprit.flatMap { state.jobs[$0].job.reason }
            return (result, result == .failed ? words(of: first) : reason)
        }
        let areSkipped = stages.allSatisfy { state.standing.stages[$0].result == .skipped }
        return areSkipped ? (.skipped, "every stage was skipped") : (.succeeded, nil)
    }

    /// Why a stage failed, by the job that did.
    private func words(of stage: Int) -> String {
        let name = plan.stages[stage].name
        guard let culprit = state.standing.stages[stage].culprit else { return "stage \"\(name)\" failed" }
        let job = state.jobs[culprit]
        let detail = job.job.reason.map { ": \($0)" } ?? ""
        let isAlone = plan.stages[stage].jobs.count == 1 && job.job.matrix.isEmpty
        return isAlone ? "stage \"\(name)\" failed\(detail)" : "job \"\(job.title)\" failed\(detail)"
    }
}

extension RunPlan.Condition {
    var readsMatrix: Bool {
        guard case .success(let expression) = expression else { return false }
        return expression.references.contains { $0.path.first?.lowercased() == "matrix" }
    }
}

extension StoredRun {
    /// Whether the job may still begin, and go on, though the run is being stopped.
    ///
    /// What runs at the end always does; when a person cancels, also what asks for it, by `always()` and the like.
    func outlives(_ job: StoredJob) -> Bool {
        guard let (stage, spec) = plan.find(job.key) else { return false }
        if plan.stages[stage].isFinally { return true }
        guard stopping == .cancelled else { return false }
        return (plan.stages[stage].condition?.usesStatus ?? false) || (spec.condition?.usesStatus ?? false)
    }

    /// Whether the running job goes on though the run is being stopped: it began because of that.
    func spares(_ job: StoredJob) -> Bool {
        guard outlives(job), let began = job.job.started_at, let stoppingAt else { return false }
        if let (stage, _) = plan.find(job.key), plan.stages[stage].isFinally { return true }
        return began >= stoppingAt
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

    static func decide(
        _ cause: RetrySpec.Cause?, exitCode: Int? = nil, losses: Int, retries: Int, spec: RetrySpec
    ) -> Answer {
        switch cause {
        case .runner_lost: return losses <= PipelineLimits.losses ? .goOn : .giveUp
        case .timeout, .failure:
            guard let cause, retries < spec.max else { return .giveUp }
            let isNamed = spec.for.contains(cause) || (exitCode.map { spec.exit_codes.contains($0) } ?? false)
            return isNamed ? .startOver : .giveUp
        case nil: return .giveUp
        }
    }
}
