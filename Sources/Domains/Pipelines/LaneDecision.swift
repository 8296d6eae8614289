import API
import Expressions
import Kernel
import Manifests

/// Why somebody stands in a lane.
enum LaneOrigin: String, Sendable { case pipeline, stage, job, environment }

/// A place in a lane that a run, a stage or a job of it asks for.
struct Claim: Sendable, Equatable {
    var origin: LaneOrigin
    var lane: String
    /// Empty: the whole run.
    var stage = ""
    /// Empty: the whole stage.
    var job = ""

    func covers(_ key: JobKey) -> Bool { (stage.isEmpty || stage == key.stage) && (job.isEmpty || job == key.job) }
}

/// A run that stands in somebody's way.
struct Rival: Sendable, Equatable {
    var run: String
    var number: Int
    var pipeline: String
    var createdAt: Timestamp

    /// Runs stand in the order in which they were made.
    func isNewer(than other: Rival) -> Bool {
        createdAt != other.createdAt
            ? createdAt > other.createdAt : (other.pipeline == pipeline ? number > other.number : run > other.run)
    }
    func words(seenFrom other: Rival) -> String {
        pipeline == other.pipeline ? "run #\(number)" : "run #\(number) of \"\(pipeline)\""
    }
}

/// Somebody in a lane, and how far they have come.
struct LaneUnit: Sendable, Equatable {
    enum Standing: Sendable, Equatable {
        /// Will come, as far as one knows.
        case coming
        /// Its run waits at a gate: nobody waits for it.
        case gated
        /// Everything else is done: it waits for its place.
        case arrived
        /// Works, or has begun to and has more to do.
        case holding(isIdle: Bool)
    }
    var rival: Rival
    var claim: Claim
    var standing: Standing
    /// It has been told to end.
    var isEnding = false
}

/// What a lane says to somebody who has arrived.
struct LaneAnswer: Sendable, Equatable {
    enum Verdict: Sendable, Equatable {
        case take
        case wait(reason: String)
        case superseded(by: Rival)
    }
    var verdict: Verdict
    /// Whose work ends to make room.
    var displaced: [LaneUnit] = []
}

/// Who may work in a lane; pure.
///
/// First come, first served, by the time the run was made, never by who was ready first. Nobody holds a place while a gate
/// keeps them back, and nobody waits for those. In a lane that wants only the newest, whoever is overtaken is superseded.
/// Parts of one run never wait for each other but for what is at work, so that what needs each other cannot block itself.
enum LaneDecision {
    static func decide(
        _ spec: ConcurrencySpec, me: LaneUnit, others: [LaneUnit], newestTaken: Rival?, isPullRequest: Bool
    ) -> LaneAnswer {
        if case .holding = me.standing { return LaneAnswer(verdict: .take) }
        let rivals = others.filter { $0 != me }
        let holders = rivals.filter { isInTheWay($0, me) }
        if spec.queue == .latest, let newer = newer(than: me, rivals, newestTaken) {
            return LaneAnswer(verdict: .superseded(by: newer))
        }
        var displaced: [LaneUnit] = []
        let cancels = spec.cancel_running == .always || (spec.cancel_running == .pull_request && isPullRequest)
        if cancels { displaced = holders.filter { me.rival.isNewer(than: $0.rival) && !$0.isEnding } }
        let ahead = spec.queue == .latest ? [] : rivals.filter { isAhead($0, of: me) }
        if holders.count + ahead.count < spec.limit { return LaneAnswer(verdict: .take) }
        let name = "\"\(me.claim.shownLane)\""
        let reason =
            holders.first.map { "waits for its turn in \(name): \(words($0, me)) is at work" }
            ?? ahead.first.map { "waits for its turn in \(name): \(words($0, me)) comes first" } ?? ""
        return LaneAnswer(verdict: .wait(reason: reason), displaced: displaced)
    }

    private static func words(_ unit: LaneUnit, _ me: LaneUnit) -> String {
        guard unit.rival.run == me.rival.run else { return unit.rival.words(seenFrom: me.rival) }
        return unit.claim.job.isEmpty
            ? "stage \"\(unit.claim.stage)\"" : "job \"\(unit.claim.stage)/\(unit.claim.job)\""
    }

    private static func isInTheWay(_ unit: LaneUnit, _ me: LaneUnit) -> Bool {
        guard case .holding(let isIdle) = unit.standing else { return false }
        guard unit.rival.run == me.rival.run else { return true }
        // What I am a part of is not in my way, nor what waits for me.
        let isAround = unit.claim.stage.isEmpty || (unit.claim.stage == me.claim.stage && unit.claim.job.isEmpty)
        return !isAround && !isIdle && !me.claim.stage.isEmpty
    }

    private static func isAhead(_ unit: LaneUnit, of me: LaneUnit) -> Bool {
        guard unit.rival.run != me.rival.run, me.rival.isNewer(than: unit.rival), !unit.isEnding else { return false }
        return unit.standing == .coming || unit.standing == .arrived
    }

    /// The newest run that has come further than I have, though it was made later.
    private static func newer(than me: LaneUnit, _ rivals: [LaneUnit], _ newestTaken: Rival?) -> Rival? {
        var found = newestTaken
        for unit in rivals where unit.standing != .coming && unit.standing != .gated && !unit.isEnding {
            if found.map({ unit.rival.isNewer(than: $0) }) ?? true { found = unit.rival }
        }
        return found.flatMap { $0.run != me.rival.run && $0.isNewer(than: me.rival) ? $0 : nil }
    }
}

extension Claim {
    /// The lane without its project.
    var shownLane: String { lane.firstIndex(of: "/").map { String(lane[lane.index(after: $0)...]) } ?? lane }
}

/// What a run has to know of the lanes that it stands in.
struct LaneFacts: Sendable {
    var claims: [Claim] = []
    /// Everybody in those lanes whose run is open, oldest first.
    var units: [String: [LaneUnit]] = [:]
    /// The newest run that ever took a place.
    var newestTaken: [String: Rival] = [:]
    /// Lanes of the environments that it works in.
    var environments: [String: ConcurrencySpec] = [:]
}

// MARK: - Lanes of a job

extension RunLook {
    /// Whether the job gets its places in all its lanes; acts when it does not.
    mutating func takesLanes(_ job: StoredJob, _ stage: Int, _ spec: RunPlan.Job) -> Bool {
        guard plan.hasLanes else { return true }
        let wanted: [(claim: Claim, spec: ConcurrencySpec)]
        do {
            wanted = try Lanes.wanted(by: job, in: state)
        } catch {
            act(.fail(job.job.key, reason: "its concurrency group cannot be made: \(RunReconciler.words(error))"))
            return false
        }
        let unknown = wanted.map(\.claim).filter { !state.lanes.claims.contains($0) }
        guard unknown.isEmpty else {
            act(.claim(job.job.key, unknown))
            return false
        }
        for (claim, spec) in wanted {
            let answer = Lanes.answer(claim, spec, state.stored, state.lanes)
            for unit in answer.displaced { act(.displace(unit)) }
            switch answer.verdict {
            case .take: continue
            case .wait(let reason): wait(job, .lane, reason)
            case .superseded(let rival):
                let reason = "superseded by \(rival.words(seenFrom: state.stored.rival))"
                act(
                    claim.origin == .pipeline
                        ? .stop(as: .superseded, reason: reason, by: rival) : .supersede(job.job.key, by: rival))
            }
            return false
        }
        return true
    }
}

enum Lanes {
    /// The places that a job needs before it begins.
    static func wanted(by job: StoredJob, in state: RunState) throws -> [(claim: Claim, spec: ConcurrencySpec)] {
        let plan = state.stored.plan
        guard let (stage, spec) = plan.find(job.key) else { return [] }
        let each = plan.stages[stage]
        var found: [(Claim, ConcurrencySpec)] = []
        func add(_ origin: LaneOrigin, _ concurrency: ConcurrencySpec?, stage: String, job name: String) throws {
            guard let concurrency else { return }
            let known = state.lanes.claims.first { $0.origin == origin && $0.stage == stage && $0.job == name }
            let lane = try known?.lane ?? self.lane(concurrency, of: job, origin, state)
            found.append((Claim(origin: origin, lane: lane, stage: stage, job: name), concurrency))
        }
        if !each.isFinally { try add(.pipeline, plan.scopes[0].spec.concurrency, stage: "", job: "") }
        try add(.stage, each.spec.concurrency, stage: each.name, job: "")
        try add(.job, spec.spec.concurrency, stage: each.name, job: job.job.name)
        if let name = spec.spec.environment ?? each.spec.environment {
            let isJobs = spec.spec.environment != nil
            try add(.environment, state.lanes.environments[name], stage: each.name, job: isJobs ? job.job.name : "")
        }
        return found
    }

    /// The places among them that can be asked for as soon as the run is made.
    static func early(by job: StoredJob, in state: RunState) -> [Claim] {
        guard let (_, spec) = state.stored.plan.find(job.key) else { return [] }
        // The places of cells that are not laid down yet are theirs to ask for.
        let isPlaceholder = spec.spec.matrix != nil && job.job.matrix.isEmpty
        let wanted = (try? wanted(by: job, in: state)) ?? []  // fails the job when its turn has come
        return wanted.filter { isKnownEarly($0.spec) && !(isPlaceholder && !$0.claim.job.isEmpty) }.map(\.claim)
    }

    private static func lane(
        _ spec: ConcurrencySpec, of job: StoredJob, _ origin: LaneOrigin, _ state: RunState
    ) throws -> String {
        let run = state.stored.run
        let group = try Resolver(context: Contexts.run(state, job: job), leavesSteps: false).render(spec.group)
        let name =
            switch origin {
            case _ where !group.isEmpty: group
            case .pipeline: run.pipeline
            case .stage: "\(run.pipeline)/\(job.job.stage)"
            case .job: "\(run.pipeline)/\(job.job.stage)/\(job.baseName)"
            case .environment: "environment \(job.environment(in: state.stored.spec) ?? "")"
            }
        return "\(run.project)/\(name)"
    }

    /// Whether a group can be told before the run has begun: it reads nothing that comes only with it.
    static func isKnownEarly(_ spec: ConcurrencySpec) -> Bool {
        for piece in Resolver.pieces(of: spec.group) {
            guard let template = try? Template(parsing: piece) else { return false }  // fails the job later
            if template.references.contains(where: { $0.path.first?.lowercased() == "needs" }) { return false }
        }
        return true
    }

    static func answer(
        _ claim: Claim, _ spec: ConcurrencySpec, _ stored: StoredRun, _ facts: LaneFacts
    ) -> LaneAnswer {
        let units = facts.units[claim.lane] ?? []
        let mine = units.first { $0.rival.run == stored.run.id && $0.claim == claim }
        let me = mine ?? LaneUnit(rival: stored.rival, claim: claim, standing: .arrived)
        return LaneDecision.decide(
            spec, me: me, others: units, newestTaken: facts.newestTaken[claim.lane],
            isPullRequest: stored.run.trigger.type.rawValue == "pull_request")
    }
}

extension StoredRun {
    var rival: Rival {
        Rival(run: run.id, number: run.number, pipeline: run.pipeline, createdAt: run.created_at)
    }
}
