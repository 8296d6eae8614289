import API
import Kernel
import Manifests
import SQL
import Synchronization

/// Answers in a row, in memory: after a restart a copy stays what it was until it is asked again.
final class ProbeBook: Sendable {
    private struct Entry: Sendable {
        var probedAt: Timestamp
        var good = 0
        var bad = 0
    }
    private let entries = Mutex<[InstanceID: Entry]>([:])

    func lastProbe(of id: InstanceID) -> Timestamp? { entries.withLock { $0[id]?.probedAt } }

    /// Counts an answer; says whether the copy is well now, or nil when that is still open.
    func note(_ id: InstanceID, isGood: Bool, _ health: HealthSpec, at now: Timestamp) -> Bool? {
        entries.withLock { entries in
            var entry = entries[id] ?? Entry(probedAt: now)
            entry.probedAt = now
            (entry.good, entry.bad) = isGood ? (entry.good + 1, 0) : (0, entry.bad + 1)
            entries[id] = entry
            if isGood { return entry.good >= health.healthy_after ? true : nil }
            return entry.bad >= health.unhealthy_after ? false : nil
        }
    }

    func keep(_ ids: Set<InstanceID>, of service: ServiceReference) {
        let prefix = "\(service)/"
        entries.withLock { entries in
            entries = entries.filter { !$0.key.text.hasPrefix(prefix) || ids.contains($0.key) }
        }
    }
}

/// Asks copies whether they are well, and writes when that changes.
struct ProbeLoop: Reconciler {
    static let name = "delivery.probe"
    static let topics: Set<String> = [CopyBook.topic]
    /// Copies that were never well yet are asked at least so often, so that a start is seen soon.
    static let eagerness = Duration.milliseconds(250)
    let store: Store
    let platform: any Platform
    let book: ProbeBook

    private struct Target: Sendable {
        var instance: Instance
        var path: String?
        var isReady: Bool
    }

    func keys() async throws -> [ServiceReference] {
        try await store.read { sql in
            var seen = Set<ServiceReference>()
            return try CopyRow.all(.running, in: sql).map(\.service).filter { seen.insert($0).inserted }
        }
    }

    func reconcile(_ name: ServiceReference) async throws -> Next {
        let (health, targets) = try await store.read { sql in try Self.targets(name, in: sql) }
        book.keep(Set(targets.map(\.instance.id)), of: name)
        guard !targets.isEmpty else { return .settled }
        let now = store.time.now
        let due = targets.filter { target in
            book.lastProbe(of: target.instance.id).map { $0.advanced(by: pause(target, health)) <= now } ?? true
        }
        let (platform, timeout) = (platform, health.timeout.duration)
        let answers = await withTaskGroup(of: (Target, Bool).self) { group in
            for target in due {
                group.addTask {
                    (target, await platform.probe(target.instance, path: target.path, timeout: timeout))
                }
            }
            return await group.reduce(into: [(Target, Bool)]()) { $0.append($1) }
        }
        let after = store.time.now
        let grace = health.grace.duration
        let changes = answers.compactMap { target, isGood -> (InstanceID, Bool)? in
            if !isGood, after < target.instance.startedAt.advanced(by: grace) { return nil }
            let isWell = book.note(target.instance.id, isGood: isGood, health, at: after)
            return isWell.flatMap { $0 == target.isReady ? nil : (target.instance.id, $0) }
        }
        if !changes.isEmpty {
            try await store.change(.system("delivery")) { change in
                for (id, isReady) in changes { try CopyBook.note(id, isReady: isReady, in: change) }
            }
        }
        let next = targets.map { target in
            (book.lastProbe(of: target.instance.id) ?? after).advanced(by: pause(target, health)).since(after)
        }
        return .again(in: max(.milliseconds(50), next.min() ?? Self.eagerness))
    }

    private func pause(_ target: Target, _ health: HealthSpec) -> Duration {
        target.isReady ? health.interval.duration : min(Self.eagerness, health.interval.duration)
    }

    private static func targets(_ name: ServiceReference, in sql: Connection) throws -> (HealthSpec, [Target]) {
        let spec = try sql.resource(ServiceKind.self, name)?.spec
        var targets: [Target] = []
        for copy in try CopyRow.all(of: name, in: sql) where copy.state == .running {
            guard let instance = copy.instance, let revision = try RevisionRow.find(copy.revision, of: name, in: sql)
            else { continue }
            targets.append(
                Target(
                    instance: instance, path: DeliverySettings.healthPath(spec?.health, revision.workload),
                    isReady: copy.isReady))
        }
        return (spec?.health ?? HealthSpec(), targets)
    }
}
