import API
import Kernel
import Logging
import SQL

/// Brings each service nearer to what is wanted of it: revisions from what was applied, steps, verdicts, copies.
///
/// It only reads and writes the store; starting, stopping and asking copies are loops of their own, so that a slow copy
/// of one service never holds up the decision of another.
struct RolloutLoop: Reconciler {
    static let name = "delivery.rollout"
    static let topics: Set<String> = [ServiceKind.name, EnvironmentKind.name, ModelKind.name, everyService]
    static let keyed: String? = ServiceKind.name
    /// Rung when any service may have to be looked at.
    static let everyService = "Services"
    /// How soon a workload that could not be resolved is tried again.
    static let retry = Duration.seconds(5)

    let store: Store
    let freezer: WorkloadFreezer
    let proxies: ProxyWatch
    let url: ProxyURL

    func keys() async throws -> [ServiceReference] {
        try await store.read { sql in
            let declared = try sql.rows("SELECT project, name FROM resource WHERE kind = \(ServiceKind.name)")
            let running = try sql.rows("SELECT DISTINCT project, service FROM delivery_copy")
            let all = try (declared + running).map { ServiceReference(project: try $0.get(0), name: try $0.get(1)) }
            return Set(all).sorted()
        }
    }

    func keys(of names: Set<String>) async throws -> [ServiceReference] {
        try await store.read { try $0.services(named: names) }
    }

    private struct Wanted: Sendable {
        var spec: ServiceSpec
        var environment: EnvironmentSpec?
        var signature: String
        var row: ServiceRow
        var newest: FrozenWorkload?
        var isNews: Bool { row.signature != signature }
    }

    func reconcile(_ name: ServiceReference) async throws -> Next {
        let wanted = try await store.read { sql -> Wanted? in
            guard let spec = try sql.resource(ServiceKind.self, name)?.spec else { return nil }
            let environment = try Verbs.environment(spec, name, in: sql)
            return Wanted(
                spec: spec, environment: environment, signature: WorkloadFreezer.signature(spec, environment),
                row: try ServiceRow.read(name, in: sql), newest: try RevisionRow.all(of: name, in: sql).last?.workload)
        }
        guard let wanted else { return try await clear(name) }
        var outcome = Frozen.old
        if wanted.isNews { outcome = try await freeze(wanted, name) }
        let (final, proxies, url) = (outcome, proxies, url)
        let next = try await store.change(.system("delivery")) { change -> Timestamp? in
            guard let spec = try change.sql.resource(ServiceKind.self, name)?.spec else { return change.now }
            let writer = RolloutWriter(change: change, name: name, spec: spec, proxies: proxies, url: url)
            try Self.take(final, wanted, writer)
            try writer.restartIfChanged()
            return RolloutDecision.nextLook(try writer.settle(), now: change.now)
        }
        if case .failed = outcome { return .again(in: Self.retry) }
        return next.map { .again(in: max(.milliseconds(20), $0.since(store.time.now))) } ?? .settled
    }

    // MARK: - What was applied

    private enum Frozen: Sendable {
        /// Nothing was applied since.
        case old
        case new(FrozenWorkload)
        /// A deploy has to choose a version.
        case waits
        case failed(Problem)
    }

    private func freeze(_ wanted: Wanted, _ name: ServiceReference) async throws -> Frozen {
        do {
            let frozen = try await freezer.freeze(
                wanted.spec, wanted.environment, project: name.project, newest: wanted.newest, as: .system("delivery"))
            return frozen.map(Frozen.new) ?? .waits
        } catch is CancellationError {
            throw CancellationError()
        } catch let problem as Problem {
            return .failed(problem)
        }
    }

    /// Makes a revision of what was applied, if it is news still.
    private static func take(_ frozen: Frozen, _ wanted: Wanted, _ writer: RolloutWriter) throws {
        var service = try ServiceRow.read(writer.name, in: writer.change.sql)
        guard wanted.isNews, service.signature == wanted.row.signature else { return }
        switch frozen {
        case .old: return
        case .waits:
            (service.signature, service.problem) = (wanted.signature, nil)
            try service.write(in: writer.change.sql)
        case .failed(let problem):
            guard service.problem != problem.message else { return }
            service.problem = problem.message
            try service.write(in: writer.change.sql)
        case .new(let workload):
            (service.signature, service.problem) = (wanted.signature, nil)
            do {
                // Where it came by its environment, nobody has looked yet.
                try Condemned.refuse(
                    workload, commit: nil, of: writer.name, stable: service.stable, in: writer.change.sql)
            } catch let problem as Problem {
                service.problem = problem.message
                return try service.write(in: writer.change.sql)
            }
            // The same in other words (an alias that names the same version) is no news.
            if let newest = wanted.newest, newest.runsTheSame(as: workload) {
                return try service.write(in: writer.change.sql)
            }
            if try takeKnown(workload, writer, &service) { return }
            var revision = RevisionRow(
                writer.name, service.nextRevision, key: "applied:\(service.nextRevision)", workload,
                at: writer.change.now)
            revision.signature = wanted.signature
            try writer.begin(revision, committedAt: nil, tier: wanted.environment?.tier, &service)
        }
    }

    /// What an earlier revision runs was applied again: that revision comes back, under its own number.
    ///
    /// The stable one in the middle of a rollout: past all steps. An older one: as an undo to it.
    private static func takeKnown(
        _ workload: FrozenWorkload, _ writer: RolloutWriter, _ service: inout ServiceRow
    ) throws -> Bool {
        let sql = writer.change.sql
        let rows = try RevisionRow.all(of: writer.name, in: sql).filter { $0.armOf == nil && $0.condemned == nil }
        let stable = service.stable
        func isStable(_ row: RevisionRow) -> Bool { row.revision == stable }
        let same = rows.filter { $0.workload.runsTheSame(as: workload) && ($0.wasStable || isStable($0)) }
        guard var target = same.first(where: isStable) ?? same.last else { return false }
        let newest = try RolloutRow.newest(of: writer.name, in: sql)
        if let problem = RolloutWriter.migrated(rows.first(where: isStable), to: target) {
            service.problem = problem.message
            try service.write(in: sql)
            return true
        }
        if let newest, newest.isUnderWay, newest.revision == target.revision {
            // It is on its way already.
            try service.write(in: sql)
            return true
        }
        let reason = "the workload of revision \(target.revision) was applied again"
        if let newest, newest.isUnderWay {
            try writer.end(newest, .aborted, reason: reason)
        } else if isStable(target), newest?.completion != .aborted {
            try service.write(in: sql)
            return true
        }
        try writer.goBack(to: &target, isGradual: false, reason: reason, &service)
        return true
    }

    // MARK: - What was deleted

    /// Stops the copies of a service that is not declared any more, and forgets its revisions once they are gone.
    private func clear(_ name: ServiceReference) async throws -> Next {
        try await store.change(.system("delivery")) { change in
            guard try change.sql.resource(ServiceKind.self, name) == nil else { return .now }
            try Self.release(name, in: change)
            return .settled
        }
    }

    /// Takes a service off the table, ends its rollout and stops its copies.
    ///
    /// Its numbers stay: no name is used twice.
    static func release(_ name: ServiceReference, in change: Change) throws {
        let sql = change.sql
        try RouteRow.remove(name, in: change)
        if var rollout = try RolloutRow.newest(of: name, in: sql), rollout.isUnderWay {
            (rollout.completion, rollout.outcome, rollout.finishedAt) = (.superseded, .superseded, change.now)
            rollout.reason = "the service was deleted"
            rollout.weight = 0
            try rollout.write(in: sql)
        }
        for copy in try CopyRow.all(of: name, in: sql) where copy.state != .stopping {
            try CopyBook.stop(copy.id, reason: "the service was deleted", isFault: false, in: change)
        }
        try sql.run("DELETE FROM delivery_revision WHERE \(name.rows)")
        try sql.run("DELETE FROM delivery_total WHERE \(name.rows)")
        try sql.run("DELETE FROM delivery_outcome WHERE \(name.rows)")
        var service = try ServiceRow.read(name, in: sql)
        guard service.nextRevision > 1 || service.signature != nil else { return }
        (service.stable, service.signature, service.problem) = (nil, nil, nil)
        try service.write(in: sql)
    }
}
