import API
import Kernel
import Manifests
import SQL

/// Whether the proxies route as the service's row says.
enum Acknowledgement: Sendable, Equatable {
    /// Every proxy that is there does, or none was ever seen.
    case yes
    /// Some proxy still follows an older table.
    case waiting
    /// No proxy has told of itself for some seconds.
    case away
}

/// All that is seen of one service at one moment: what a decision is made from.
struct RolloutView: Sendable {
    /// One revision with its copies.
    struct Revision: Sendable {
        var revision: Int
        var copies: [CopyRow] = []
        var retiredAt: Timestamp?
        var crashes = 0
        var crashedAt: Timestamp?
        var problem: String?
        var wasStable = false
        /// Somebody, or a judge, went back from it.
        var isCondemned = false

        /// Copies that are or shall be there.
        var live: [CopyRow] { copies.filter { $0.state != .stopping } }
        var ready: Int { live.count { $0.isReady } }
        /// Why copies of it are not well, as far as that is known.
        var trouble: String? {
            let answer = live.last { !$0.isReady && $0.reason != nil }?.reason
            // One that ends again and again says more by its end than by what it did not answer before.
            return crashes > 1 ? problem ?? answer : answer ?? problem
        }
    }

    var replicas = 1
    var health = HealthSpec()
    var rollback = RollbackSpec()
    var stable: Int?
    /// Those that have copies, the stable one and the one on trial; by number.
    var revisions: [Revision] = []
    /// The newest attempt, ended or not.
    var rollout: RolloutRow?
    /// An attempt that has ended, but has the traffic still that the stable copies cannot bear yet.
    var leaving: RolloutRow?
    /// They had their time to come back: what comes next waits for them no longer.
    var isLeavingLate = false
    /// Analyses of the newest attempt.
    var analyses: [AnalysisRecord] = []
    var acknowledgement = Acknowledgement.yes
    /// Failed attempts whose revision is not the stable one (any more), and whose end was not seen yet.
    var unrecovered: [Int] = []
    /// Copies more and fewer than wanted while copies are replaced.
    var surge = 1
    var unavailable = 0
    /// Copies that were ordered before are to be replaced.
    var restartedAt: Timestamp?
    /// By its spec as it is now.
    var isRecreate = false
    /// Its rollout belongs to a release in which not all are ready.
    var isGated = false
    /// Why the applied workload could not become a revision.
    var problem: String?
    /// Model that waits for a deploy to choose its version.
    var awaitedModel: String?

    /// Copies of two revisions, or one more of the same, are never there at once.
    var isAlone: Bool { trial.map { $0.settings.strategy == .recreate } ?? isRecreate }

    /// Whether the rollout waits until the stable copies can bear what the attempt before was left.
    var isHeld: Bool { leaving != nil && !isLeavingLate }

    /// Until when the stable copies have time to come back.
    var leavingEnd: Timestamp? { leaving?.finishedAt?.advanced(by: health.deadline.duration) }

    /// Whether copies are there that have to be gone before one of this revision may begin.
    func hasOthers(than number: Int) -> Bool {
        revisions.contains { revision in
            revision.copies.contains { revision.revision != number || $0.state == .stopping }
        }
    }

    func revision(_ number: Int?) -> Revision? { revisions.first { $0.revision == number } }

    /// The rollout under way, if there is one.
    var trial: RolloutRow? { rollout.flatMap { $0.isUnderWay ? $0 : nil } }

    /// Share of the traffic that the rollout under way has given its revision.
    private var trialWeight: Int { trial.map { $0.revision == stable ? 0 : $0.weight } ?? 0 }
    /// What comes to all traffic takes that of the one that leaves as well.
    var leavingWeight: Int { min(leaving?.weight ?? 0, 100 - trialWeight) }

    /// Extra copies that the rollout wants now.
    var arms: [ArmPlan] { trial.map { RolloutDecision.arms($0, self) } ?? [] }

    /// Share of the traffic of a revision, in percent.
    func weight(of number: Int) -> Int {
        if number != stable, number == trial?.revision || number == leaving?.revision {
            return (number == trial?.revision ? trialWeight : 0) + (number == leaving?.revision ? leavingWeight : 0)
        }
        let arms = arms
        if let arm = arms.first(where: { $0.number == number }) { return arm.weight }
        guard number == stable else { return 0 }
        return 100 - trialWeight - leavingWeight - arms.reduce(0) { $0 + $1.weight }
    }
}

/// Extra copies of a revision, with traffic and counts of their own.
struct ArmPlan: Sendable, Equatable {
    /// Arms that one attempt can have had.
    private static let span = 1000

    /// The number of the arm in a place of an attempt.
    static func number(_ rollout: Int, _ place: Int) -> Int { -(rollout * span + place) }
    static func isOf(_ rollout: Int, _ number: Int) -> Bool { self.rollout(of: number) == rollout }
    /// The attempt that an arm is of.
    static func rollout(of number: Int) -> Int { -number / span }

    /// Below zero.
    var number: Int
    var name: String
    /// Revision whose workload it runs.
    var source: Int
    var replicas: Int
    var weight: Int
}

extension RolloutView {
    /// Reads the view from the tables.
    init(
        _ service: ServiceRow, _ spec: ServiceSpec, proxies: ProxyWatch, at now: Timestamp, in sql: Connection
    ) throws {
        let name = service.name
        replicas = spec.workload.replicas
        health = spec.health
        rollback = spec.rollback
        stable = service.stable
        problem = service.problem
        rollout = try RolloutRow.newest(of: name, in: sql)
        let copies = Dictionary(grouping: try CopyRow.all(of: name, in: sql), by: \.revision)
        let under = trial
        if let link = under?.release {
            let release = try ReleaseRow.find(
                ReleaseReference(project: name.project, name: link.name), link.number, in: sql)
            isGated = release?.phase == .rollingOut
        }
        unavailable = spec.rollout.unavailable.copies(of: replicas, roundedUp: false)
        surge = max(spec.rollout.surge.copies(of: replicas, roundedUp: true), unavailable == 0 ? 1 : 0)
        restartedAt = service.restartedAt
        isRecreate = spec.rollout.strategy == .recreate
        revisions = try RevisionRow.all(of: name, in: sql)
            .filter { row in
                copies[row.revision] != nil || row.revision == service.stable || row.revision == under?.revision
                    || (row.armOf != nil && under.map { ArmPlan.isOf($0.number, row.revision) } ?? false)
            }
            .map {
                Revision(
                    revision: $0.revision, copies: copies[$0.revision] ?? [], retiredAt: $0.retiredAt,
                    crashes: $0.crashes, crashedAt: $0.crashedAt, problem: $0.problem, wasStable: $0.wasStable,
                    isCondemned: $0.condemned != nil)
            }
        leaving = try RolloutRow.leaving(of: name, in: sql).flatMap { $0.revision == stable ? nil : $0 }
        isLeavingLate = leavingEnd.map { $0 <= now } ?? false
        if let rollout { analyses = try AnalysisRecord.all(of: name, rollout: rollout.number, in: sql) }
        unrecovered = try RolloutRow.unrecovered(of: name, in: sql).filter { $0.revision != service.stable }.map(
            \.number)
        acknowledgement = try proxies.acknowledgement(
            of: RouteRow.version(of: name, in: sql), for: name, at: now, in: sql)
        if let model = spec.workload.model.map(ModelName.init), model.version == nil, service.nextRevision == 1 {
            awaitedModel = model.name
        }
    }
}
