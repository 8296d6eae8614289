import API
import Kernel
import Logging
import Manifests
import SQL

/// Brings runs forward: asks RunDecision what is next, does it, and looks at the steps that the server carries out itself.
struct RunReconciler: Reconciler {
    static let name = "pipelines-runs"
    static let topics: Set<String> = ["Run", "Service", "Runner", EnvironmentKind.name, TeamKind.name]
    static let keyed: String? = "Run"
    let context: DomainContext
    let logs: LogBook
    /// Folder of hosted repositories.
    let repositories: String
    let bornAt: Timestamp
    let memory: RunMemory
    let git: Git

    func keys() async throws -> [String] { try await context.store.read { try $0.openRunIDs() } }

    func reconcile(_ key: String) async throws -> Next {
        guard let state = try await state(of: key) else { return .settled }
        if try await GateWork(context: context, git: git, repositories: repositories).advance(state) { return .now }
        let decision = RunDecision.decide(state, at: context.time.now)
        if try await act(decision.actions, in: state) { return .now }
        var next: Duration? = decision.lookAgainAt.map { max(.milliseconds(50), $0.since(context.time.now)) }
        let own = state.standing.served.map { state.jobs[$0] }.filter { !state.isCaller($0) }
        if !own.isEmpty {
            let whole = try await context.store.read { sql in state.with(jobs: try sql.jobs(run: key)) }
            for job in whole.jobs where own.contains(where: { $0.key == job.key }) {
                let wait = try await ServerSteps(context: context, logs: logs).advance(job, in: whole)
                next = min(next ?? wait, wait)
            }
        }
        if let again = try await retellPlacement(of: state) { next = min(next ?? again, again) }
        guard let next else { return .settled }
        return next <= .zero ? .now : .again(in: next)
    }

    private func state(of run: String) async throws -> RunState? {
        let bornAt = bornAt
        return try await memory.read(run, in: context.store) { sql, stored, entry in
            RunState(
                stored: stored, jobs: entry.jobs, layout: entry.layout,
                gates: try sql.gateFacts(for: stored, jobs: entry.jobs), lanes: try sql.laneFacts(for: stored),
                bornAt: bornAt)
        }
    }

    private func call(_ state: RunState) -> Call { .system("pipelines", correlation: state.stored.run.id) }

    /// Does what was decided, many things in one transaction; true when that may have made more possible.
    private func act(_ actions: [RunDecision.Action], in state: RunState) async throws -> Bool {
        guard !actions.isEmpty else { return false }
        let ready = actions.compactMap { action in if case .ready(let key) = action { key } else { nil } }
        let maker = OrderMaker(context: context)
        var made: [String: OrderMaker.Made] = [:]
        var isMoving = false
        if !ready.isEmpty {
            made = try await maker.orders(for: ready.compactMap(state.job), in: state, repositories: repositories)
        }
        for begin in stride(from: 0, to: actions.count, by: PipelineLimits.actionsAtOnce) {
            let some = actions[begin..<min(actions.count, begin + PipelineLimits.actionsAtOnce)]
            let orders = made
            let (moved, missed) = try await context.store.change(call(state)) { change in
                guard var batch = try ActionBatch(change, state, orders) else {
                    return (false, true)
                }
                for action in some { try batch.act(action) }
                return (batch.isMoving, batch.hasMissed)
            }
            isMoving = isMoving || moved
            if missed { memory.forget(state.stored.run.id) }
        }
        if actions.contains(.undo) {
            try await Undoing(context: context).undo(state)
            return true
        }
        if case .finish = actions.last { memory.forget(state.stored.run.id) }
        if case .finish = actions.last { for job in state.jobs { logs.release(job.key) } }
        return isMoving
    }

    /// An error in the words that become a job's reason.
    static func words(_ error: any Error) -> String {
        if let problem = error as? Problem { return problem.message }
        if let error = error as? ManifestError { return error.message }
        return "\(error)"
    }
}

extension RunState {
    /// Whether the job stands for a stage that uses another pipeline.
    func isCaller(_ job: StoredJob) -> Bool {
        stored.plan.find(job.key).map { stored.plan.stages[$0.stage].called != nil } ?? false
    }

    /// A job by its key, "stage/job".
    func job(_ key: String) -> StoredJob? { standing.layout.positions[key].map { jobs[$0] } }

    func with(jobs: [StoredJob]) -> RunState {
        var state = self
        state.jobs = jobs
        return state
    }
}

/// Several actions about one run in one transaction. Each looks first whether its job is still as it was when decided.
struct ActionBatch {
    private let change: Change
    private let state: RunState
    private let made: [String: OrderMaker.Made]
    private var stored: StoredRun
    /// What runners have room for, once somebody asked.
    private var offers: [Placement.Offer]?
    /// Something is other than it was seen, so that all has to be read again.
    private(set) var hasMissed = false
    /// Something was done that may make more possible, without anybody else's word.
    private(set) var isMoving = false

    /// Nil when the run has ended.
    init?(_ change: Change, _ state: RunState, _ made: [String: OrderMaker.Made]) throws {
        guard let stored = try change.sql.run(id: state.stored.run.id), !stored.run.status.hasEnded else { return nil }
        (self.change, self.state, self.made, self.stored) = (change, state, made, stored)
    }

    mutating func act(_ action: RunDecision.Action) throws {
        switch action {
        case .ready(let key): try makeReady(key)
        case .wait(let key, let hold, let reason): try wait(key, hold, reason)
        case .finish(let status, let reason): try finish(status, reason)
        case .stop(let status, let reason, let rival): try change.stop(stored, as: status, because: reason, by: rival)
        case .displace(let unit): try displace(unit)
        case .undo: return
        default: try actOnJob(action)
        }
        switch action {
        // Who has come to a gate is noted there at the next look.
        case .wait(_, .gate, _): isMoving = true
        case .ready, .wait, .displace, .finish, .undo: break
        default: isMoving = true
        }
    }

    private mutating func actOnJob(_ action: RunDecision.Action) throws {
        switch action {
        case .begin(let key): if let job = try job(key) { try change.beginOnServer(job, of: stored) }
        case .goOn(let key): try goOn(key)
        case .skip(let key, let reason): try end(key, .skipped, reason)
        case .fail(let key, let reason): try end(key, .failed, reason)
        case .cancel(let key, let reason): try end(key, .cancelled, reason)
        case .end(let key, let status, let reason): try end(key, status, reason)
        case .supersede(let key, let rival):
            try end(key, .superseded, "superseded by \(rival.words(seenFrom: stored.rival))")
            stored.run.superseded_by = rival.run
            try change.sql.update(stored)
        case .halt(let key, let status, let reason): try halt(key, status, reason)
        case .expand(let key, let cells): try expand(key, cells)
        case .enter(let key, let parameters):
            guard let job = try job(key), try change.passGate(of: job, in: stored, JobOrders()) else { return }
            try change.enter(job, of: stored, with: parameters)
        case .leave(let key, let status, let reason): try leave(key, status, reason)
        case .claim(_, let claims): for claim in claims { try change.sql.keep(claim, of: stored) }
        case .lose(let key):
            guard let job = try job(key) else { return }
            try change.lose(job, because: "runner \"\(job.job.runner ?? "")\" was not heard of for too long")
        case .timeOut(let key):
            guard let job = try job(key) else { return }
            try change.retry(job, of: stored, after: .timeout, because: "took longer than \(job.timeLimit(in: stored))")
        default: break
        }
        switch action {
        // The first thing that begins in a run changes the run.
        case .begin, .enter, .supersede: stored = try change.sql.run(id: stored.run.id) ?? stored
        default: break
        }
    }

    private func seen(_ key: String) -> StoredJob? { state.job(key) }

    /// The job as it is now, unless it has become another since the decision.
    private mutating func job(_ key: String) throws -> StoredJob? {
        guard let seen = seen(key), let job = try change.sql.job(seen.key), job.job.status == seen.job.status,
            job.epoch == seen.epoch, job.leaseUntil == seen.leaseUntil
        else {
            hasMissed = true
            return nil
        }
        return job
    }

    private mutating func end(_ key: String, _ status: RunStatus, _ reason: String) throws {
        if let job = try job(key) { try change.end(job, of: stored, as: status, because: reason) }
    }

    /// Orders as they were made; what could not be resolved fails the job. A place in a lane is taken here and nowhere else.
    private mutating func makeReady(_ key: String) throws {
        guard let seen = seen(key), let made = made[key] else { return }
        guard case .orders(let orders) = made else {
            if case .failure(let reason) = made { try end(key, .failed, reason) }
            isMoving = true
            return
        }
        let lanes = try takeLanes(seen)
        guard let lanes else { return }
        guard try change.passGate(of: seen, in: stored, orders) else {
            isMoving = true
            return
        }
        let reason = seen.isOnServer ? nil : try placement(of: seen, orders)
        guard try change.sql.makeReady(seen, orders, reason: reason, at: change.now) else {
            hasMissed = true
            return
        }
        change.ring(seen.key.topic)
        for claim in lanes { try change.sql.take(claim, of: stored.run.id, at: change.now) }
        if seen.isOnServer { isMoving = true } else { change.ring(Leases.readyTopic) }
    }

    /// Why a job that has just become ready waits.
    private mutating func placement(of job: StoredJob, _ orders: JobOrders) throws -> String {
        var ready = job
        ready.execution = orders.execution
        ready.labels = orders.labels ?? job.labels
        let offers = try self.offers ?? change.sql.offers(at: change.now)
        self.offers = offers
        return Placement.reason(ready.demand, offers)
    }

    /// The lanes that the job takes a place in; nil when one has none left.
    private func takeLanes(_ job: StoredJob) throws -> [Claim]? {
        guard stored.plan.hasLanes else { return [] }
        var now = state
        now.lanes = try change.sql.laneFacts(for: stored)
        let wanted = try Lanes.wanted(by: job, in: now)
        let isFree = wanted.allSatisfy { Lanes.answer($0.claim, $0.spec, stored, now.lanes).verdict == .take }
        return isFree ? wanted.map(\.claim) : nil
    }

    private mutating func wait(_ key: String, _ hold: RunDecision.Hold, _ reason: String) throws {
        guard let job = try job(key) else { return }
        var waiting = job
        (waiting.job.status, waiting.job.reason, waiting.hold) = (.waiting, reason, hold)
        try change.update(waiting)
        if job.hold != hold { try change.tellJob("job.waiting", waiting) }
        // Others in the lane may go first now, or see that they are overtaken.
        try change.wakeNeighbours(of: stored)
    }

    private mutating func goOn(_ key: String) throws {
        guard var job = try job(key) else { return }
        (job.job.status, job.hold, job.notBefore) = (.queued, nil, nil)
        try change.update(job)
        change.ring(Leases.readyTopic)
    }

    private mutating func halt(_ key: String, _ status: RunStatus, _ reason: String) throws {
        guard var job = try job(key), job.stop == nil else { return }
        job.stop = StoredJob.Stop(status: status, reason: reason, at: change.now)
        try change.update(job)
        try change.tellJob("job.stopping", job)
    }

    private mutating func expand(_ key: String, _ cells: [Ordered<JSONValue>]) throws {
        guard let job = try job(key), let (stage, spec) = stored.plan.find(job.key) else { return }
        try change.sql.remove(job.key)
        let rows = StoredJob.laid(of: stored, stored.plan.stages[stage], spec, cells: cells)
        for row in rows { try change.sql.insert(row) }
        hasMissed = true
        try change.tellJob("job.expanded", job)
        try change.claimEarly(rows, of: stored)
    }

    private mutating func leave(_ key: String, _ status: RunStatus, _ reason: String?) throws {
        guard var job = try job(key), let (stage, _) = stored.plan.find(job.key),
            let called = stored.plan.stages[stage].called
        else { return }
        guard status == .succeeded else { return try change.end(job, of: stored, as: status, because: reason) }
        do {
            let resolver = Resolver(context: Contexts.called(called, in: state), leavesSteps: false)
            job.job.outputs = try stored.plan.scopes[called].spec.outputs.map { try resolver.resolve($0) }
        } catch {
            let words = "its outputs cannot be told: \(RunReconciler.words(error))"
            return try change.end(job, of: stored, as: .failed, because: words)
        }
        try change.end(job, of: stored, as: .succeeded, because: nil)
    }

    /// Ends the work of an older run, to make room for this one.
    private func displace(_ unit: LaneUnit) throws {
        guard let other = try change.sql.run(id: unit.rival.run), !other.run.status.hasEnded else { return }
        let reason = "superseded by \(stored.rival.words(seenFrom: unit.rival))"
        guard !unit.claim.stage.isEmpty else {
            return try change.stop(other, as: .superseded, because: reason, by: stored.rival)
        }
        for job in try change.sql.glance(run: other.run.id) where unit.claim.covers(job.key) {
            guard !job.job.status.hasEnded, job.stop == nil else { continue }
            var stopped = job
            stopped.stop = StoredJob.Stop(status: .superseded, reason: reason, at: change.now)
            try change.update(stopped)
            try change.tellJob("job.stopping", stopped)
        }
    }

    private func finish(_ status: RunStatus, _ reason: String?) throws {
        var ended = stored
        (ended.run.status, ended.run.reason, ended.run.finished_at) = (status, reason, change.now)
        try change.sql.update(ended)
        try change.tell(
            "run.finished", about: ended.subject,
            [
                "pipeline": .string(ended.run.pipeline), "number": .integer(Int64(ended.run.number)),
                "status": status.json, "reason": reason.map(JSONValue.string) ?? .null,
                "commit": ended.run.commit.map(JSONValue.string) ?? .null,
                "seconds": .number(change.now.since(ended.run.started_at ?? ended.run.created_at) / .seconds(1)),
            ])
        try change.noteStatus(of: ended.run)
        try change.wakeNeighbours(of: ended)
        if ended.plan.hasLanes { try change.sql.leaveLanes(ended) }
    }
}
