import API
import Kernel
import Manifests
import SQL

/// Asks copies how they are, and writes when that changes; one that does not live as it should is ended.
struct ProbeLoop: Reconciler {
    static let name = "delivery.probe"
    static let topics: Set<String> = [ServiceKind.name]
    static let keyed: String? = ServiceKind.name
    /// Least time between two looks at one service.
    static let breath = Duration.milliseconds(50)
    /// What is due within so much time is asked together: of thousands of copies at rest, in ten rounds a second.
    static let beat: Int64 = 100_000
    let store: Store
    let platforms: Platforms
    let book: ProbeBook
    let ofClusters: Bool

    private typealias Target = ProbeTarget

    private enum News: Sendable {
        /// What was found of one that is not ready; nil of one that is.
        case ready(InstanceID, Bool, String?)
        /// It is not ready still, and something else was found than before.
        case complaint(InstanceID, String)
        case begun(InstanceID)
        case dead(InstanceID, reason: String)
    }

    func keys() async throws -> [ServiceReference] {
        try await store.read { sql in
            var seen = Set<ServiceReference>()
            return try CopyRow.all(.running, in: sql).filter { $0.form.isCluster == ofClusters }.map(\.service)
                .filter { seen.insert($0).inserted }
        }
    }

    func keys(of names: Set<String>) async throws -> [ServiceReference] {
        try await store.read { try $0.services(named: names) }
    }

    func reconcile(_ name: ServiceReference) async throws -> Next {
        let (all, isNew) = try await book.targets.value(of: name) {
            try await store.read { sql in try Self.targets(name, in: sql) }
        }
        if isNew { book.keep(Set(all.map(\.instance.id)), of: name) }
        let targets = all.filter { $0.form.isCluster == ofClusters }
        guard !targets.isEmpty else { return .settled }
        let now = store.time.now
        let news = await ask(targets.filter { next($0) <= now })
        if !news.isEmpty {
            try await store.change(.system("delivery")) { change in
                for piece in news { try Self.write(piece, in: change) }
            }
            book.targets.forget(name)
        }
        // What has begun is asked other questions now.
        if news.contains(where: { if case .begun = $0 { true } else { false } }) { return .now }
        let after = store.time.now
        let wait = targets.map { next($0).since(after) }.min() ?? ProbePlan.eagerness
        return .again(in: max(Self.breath, wait >= .seconds(1) ? Self.onBeat(wait, after) : wait))
    }

    /// A wait, as long as it takes until the first beat after it.
    private static func onBeat(_ wait: Duration, _ now: Timestamp) -> Duration {
        let end = now.advanced(by: wait).microseconds
        return wait + .microseconds((beat - end % beat) % beat)
    }

    private func next(_ target: Target) -> Timestamp {
        book.next(target.instance.id, target.plan, startedAt: target.instance.startedAt)
    }

    /// Asks all of them at once; what changes by their answers.
    private func ask(_ due: [Target]) async -> [News] {
        // Nearly always it is one: a task of its own would be most of the work.
        if due.count <= 1 {
            guard let target = due.first else { return [] }
            let complaint = await complaint(target)
            return news(target, complaint, store.time.now).map { [$0] } ?? []
        }
        let answers = await withTaskGroup(of: (Target, String?).self) { group in
            for target in due { group.addTask { (target, await complaint(target)) } }
            return await group.reduce(into: [(Target, String?)]()) { $0.append($1) }
        }
        let after = store.time.now
        return answers.compactMap { target, complaint in news(target, complaint, after) }
    }

    /// Nil when it is well.
    private func complaint(_ target: Target) async -> String? {
        let plan = target.plan
        return await platforms.of(target.form).complaint(target.instance, plan.question, timeout: plan.timeout)
    }

    private func news(_ target: Target, _ complaint: String?, _ now: Timestamp) -> News? {
        let (id, plan) = (target.instance.id, target.plan)
        let isGood = complaint == nil
        if !isGood, now < target.instance.startedAt.advanced(by: plan.grace) { return nil }
        guard let isSo = book.note(id, plan, isGood: isGood, at: now) else { return nil }
        switch plan.role {
        case .ready:
            if isSo != target.isReady { return .ready(id, isSo, complaint) }
            // Written once, after as many bad answers as mean something: a start costs no row for those before.
            guard !isSo, let complaint, complaint != target.complaint else { return nil }
            return .complaint(id, complaint)
        case .start:
            if isSo { return .begun(id) }
            let last = complaint.map { ", the last: \($0)" } ?? ""
            return .dead(id, reason: "it did not start: \(plan.badAfter) bad answers\(last)")
        case .live: return isSo ? nil : .dead(id, reason: "it did not live: \(plan.badAfter) bad answers in a row")
        }
    }

    private static func write(_ news: News, in change: Change) throws {
        switch news {
        case .ready(let id, let isReady, let complaint):
            try CopyBook.note(id, isReady: isReady, complaint, in: change)
        case .complaint(let id, let complaint): try CopyBook.note(id, complaint, in: change)
        case .begun(let id): try CopyBook.begun(id, in: change)
        case .dead(let id, let reason): try CopyBook.stop(id, reason: reason, isFault: true, in: change)
        }
    }

    private static func targets(_ name: ServiceReference, in sql: Connection) throws -> [Target] {
        let health = try sql.resource(ServiceKind.self, name)?.spec.health ?? HealthSpec()
        return try CopyRow.all(of: name, in: sql).filter { $0.state == .running }.flatMap { copy -> [Target] in
            guard let instance = copy.instance, let revision = try RevisionRow.find(copy.revision, of: name, in: sql)
            else { return [] }
            let plans = ProbePlan.plans(
                health, isModel: revision.workload.model != nil, hasBegun: copy.hasBegun, isReady: copy.isReady)
            return plans.map {
                Target(
                    instance: instance, form: copy.form, isReady: copy.isReady, complaint: copy.reason, plan: $0)
            }
        }
    }
}
