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

        /// Copies that are or shall be there.
        var live: [CopyRow] { copies.filter { $0.state != .stopping } }
        var ready: Int { live.count { $0.isReady } }
    }

    var replicas = 1
    var health = HealthSpec()
    var rollback = RollbackSpec()
    var stable: Int?
    /// Those that have copies, the stable one and the one on trial; by number.
    var revisions: [Revision] = []
    /// The newest attempt, ended or not.
    var rollout: RolloutRow?
    /// Analyses of the newest attempt.
    var analyses: [AnalysisRecord] = []
    var acknowledgement = Acknowledgement.yes
    /// Failed attempts whose revision is not the stable one (any more), and whose end was not seen yet.
    var unrecovered: [Int] = []
    /// Why the applied workload could not become a revision.
    var problem: String?
    /// Model that waits for a deploy to choose its version.
    var awaitedModel: String?

    func revision(_ number: Int?) -> Revision? { revisions.first { $0.revision == number } }

    /// The rollout under way, if there is one.
    var trial: RolloutRow? { rollout.flatMap { $0.isUnderWay ? $0 : nil } }

    /// Share of the traffic of a revision, in percent.
    func weight(of number: Int) -> Int {
        if let trial, trial.revision == number, number != stable { return trial.weight }
        guard number == stable else { return 0 }
        return 100 - (trial.map { $0.revision == number ? 0 : $0.weight } ?? 0)
    }
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
        let trial = rollout.flatMap { $0.isUnderWay ? $0.revision : nil }
        revisions = try RevisionRow.all(of: name, in: sql)
            .filter { copies[$0.revision] != nil || $0.revision == service.stable || $0.revision == trial }
            .map {
                Revision(
                    revision: $0.revision, copies: copies[$0.revision] ?? [], retiredAt: $0.retiredAt,
                    crashes: $0.crashes, crashedAt: $0.crashedAt, problem: $0.problem)
            }
        if let rollout { analyses = try AnalysisRecord.all(of: name, rollout: rollout.number, in: sql) }
        unrecovered = try RolloutRow.unrecovered(of: name, in: sql).filter { $0.revision != service.stable }.map(
            \.number)
        acknowledgement = try proxies.acknowledgement(of: RouteRow.version(of: name, in: sql), at: now, in: sql)
        if let model = spec.workload.model.map(ModelName.init), model.version == nil, service.nextRevision == 1 {
            awaitedModel = model.name
        }
    }
}
