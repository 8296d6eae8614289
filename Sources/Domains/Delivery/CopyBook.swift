import API
import Kernel
import Manifests
import SQL
import Synchronization

/// Copies as the tables know them: ordered, running, stopping, gone.
enum CopyBook {
    /// Rung when copies are ordered or stopped.
    static let topic = "Copy"
    /// Rung when a copy is ordered in a cluster, which may be the first one there.
    static let clusterTopic = "ClusterCopy"

    /// What a bell about one service rings: those who look at this one, and not those who look at others.
    static func topics(of service: ServiceReference) -> Set<String> {
        [ServiceKind.name, "\(ServiceKind.name)/\(service.name)"]
    }

    /// Rings for those who look at a service, and for those who start and stop copies.
    static func ring(for service: ServiceReference, in change: Change) {
        for topic in topics(of: service) { change.ring(topic) }
        change.ring(topic)
    }
    /// How long a copy that was told to stop waits for the proxies to take it off their tables.
    static let drain = Duration.seconds(5)

    private static func tell(_ event: String, _ copy: CopyRow, _ reason: String?, in change: Change) throws {
        var data: Ordered<JSONValue> = [
            "revision": .integer(Int64(copy.revision)), "instance": .string(copy.id.text),
        ]
        if let port = copy.port { data["port"] = .integer(Int64(port)) }
        if let reason { data["reason"] = .string(reason) }
        try change.tell(event, about: copy.service.subject, data)
    }

    /// Takes a copy off the traffic; the stop loop ends it.
    ///
    /// With `withAnswer` the reason goes on with what it last answered instead of being well.
    static func stop(
        _ id: InstanceID, reason: String, isFault: Bool, withAnswer: Bool = false, in change: Change
    ) throws {
        guard var copy = try CopyRow.find(id, in: change.sql), copy.state != .stopping else { return }
        let answer = withAnswer && !copy.isReady ? copy.reason : nil
        let why = [reason, answer].compactMap { $0 }.joined(separator: ": ")
        copy.state = .stopping
        copy.isReady = false
        copy.stopAt = change.now
        copy.reason = why
        try copy.write(in: change.sql)
        if isFault { try noteFault(copy, why, in: change) }
        ring(for: copy.service, in: change)
    }

    /// The platform has started it.
    static func started(_ id: InstanceID, _ instance: Instance, in change: Change) throws {
        guard var copy = try CopyRow.find(id, in: change.sql) else { return }
        (copy.host, copy.port, copy.startedAt) = (instance.host, instance.port, change.now)
        if copy.state == .ordered { copy.state = .running }
        try copy.write(in: change.sql)
        try tell("instance.started", copy, nil, in: change)
        ring(for: copy.service, in: change)
    }

    /// The platform could not start it: it is as if it had ended at once.
    ///
    /// A cluster may have begun it all the same, when its answer was lost: the row stays until the stop loop has made sure.
    static func failed(_ id: InstanceID, _ problem: Problem, in change: Change) throws {
        guard var copy = try CopyRow.find(id, in: change.sql) else { return }
        let wasOrdered = copy.state == .ordered
        if copy.form.isCluster, !refusals.contains(problem.code) {
            (copy.state, copy.stopAt, copy.reason) = (.stopping, change.now, problem.message)
            try copy.write(in: change.sql)
        } else {
            try copy.remove(in: change.sql)
        }
        if wasOrdered { try noteFault(copy, "it could not be started: \(problem.message)", in: change) }
        ring(for: copy.service, in: change)
    }

    /// Said by a cluster, or of its entry in the kubeconfig, before anything was made.
    private static let refusals: Set<String> = ["cluster.unauthorized", "cluster.forbidden", "cluster.invalid"]

    /// Nothing of it runs any more.
    static func gone(_ id: InstanceID, in change: Change) throws {
        guard let copy = try CopyRow.find(id, in: change.sql) else { return }
        try copy.remove(in: change.sql)
        try tell("instance.stopped", copy, copy.reason, in: change)
    }

    /// Whether it is well, as the probes say, and what was found when it is not.
    static func note(_ id: InstanceID, isReady: Bool, _ complaint: String?, in change: Change) throws {
        guard var copy = try CopyRow.find(id, in: change.sql), copy.state == .running, copy.isReady != isReady else {
            return
        }
        copy.isReady = isReady
        copy.unreadyAt = isReady ? nil : change.now
        copy.reason = isReady ? nil : complaint
        try copy.write(in: change.sql)
        ring(for: copy.service, in: change)
    }

    /// What was found of a copy that is not well yet; those who start and stop copies need not know.
    static func note(_ id: InstanceID, _ complaint: String, in change: Change) throws {
        guard var copy = try CopyRow.find(id, in: change.sql), copy.state == .running, !copy.isReady,
            copy.reason != complaint
        else { return }
        copy.reason = complaint
        try copy.write(in: change.sql)
        for topic in topics(of: copy.service) { change.ring(topic) }
    }

    /// It has started, as its probe says: from now on the other questions are asked.
    static func begun(_ id: InstanceID, in change: Change) throws {
        guard var copy = try CopyRow.find(id, in: change.sql), copy.state == .running, !copy.hasBegun else { return }
        copy.hasBegun = true
        try copy.write(in: change.sql)
        ring(for: copy.service, in: change)
    }

    /// Counts an end that nobody asked for.
    ///
    /// A copy that lived for long begins the count anew.
    private static func noteFault(_ copy: CopyRow, _ reason: String, in change: Change) throws {
        try tell("instance.lost", copy, reason, in: change)
        guard var revision = try RevisionRow.find(copy.revision, of: copy.service, in: change.sql) else { return }
        let lived = copy.startedAt.map { change.now.since($0) } ?? .zero
        revision.crashes = lived > healthyLife ? 1 : revision.crashes + 1
        revision.crashedAt = change.now
        revision.problem = reason
        try revision.write(in: change.sql)
    }

    /// A copy that ran so long did not end because it was never any good.
    static let healthyLife = Duration.seconds(300)
}

/// Starts what is ordered.
struct StartLoop: Reconciler {
    static let name = "delivery.start"
    static let topics: Set<String> = [CopyBook.topic]
    let store: Store
    let platforms: Platforms
    let settings: DeliverySettings
    /// Whether it starts copies in clusters, which take their time, or all others, which shall not wait for them.
    let ofClusters: Bool

    private struct Start: Sendable {
        var order: InstanceOrder
        var form: CopyRow.Form
        var loans: SecretLoans
    }

    func keys() async throws -> [InstanceID] {
        try await store.read { try CopyRow.all(.ordered, in: $0).filter { $0.form.isCluster == ofClusters }.map(\.id) }
    }

    func reconcile(_ id: InstanceID) async throws -> Next {
        let settings = settings
        let ordered = try await store.read { sql -> Start? in
            guard let copy = try CopyRow.find(id, in: sql), copy.state == .ordered,
                let revision = try RevisionRow.find(copy.revision, of: copy.service, in: sql)
            else { return nil }
            let environment = try sql.resource(ServiceKind.self, copy.service)?.spec.environment
            return Start(
                order: settings.order(copy, revision.workload), form: copy.form,
                loans: SecretLoans(
                    service: copy.service, environment: environment, variables: revision.workload.secrets))
        }
        guard let ordered else { return .settled }
        do {
            let order = try await ordered.loans.fill(ordered.order, from: settings.secrets)
            let instance = try await platforms.of(ordered.form).start(order)
            let isWanted = try await store.change(.system("delivery")) { change in
                try CopyBook.started(id, instance, in: change)
                return try CopyRow.find(id, in: change.sql) != nil
            }
            // Its service was deleted meanwhile, and the stop loop found nothing to stop yet.
            if !isWanted { try await platforms.of(ordered.form).stop(id, grace: .seconds(10)) }
        } catch is CancellationError {
            throw CancellationError()
        } catch let error as SQLError {
            throw error
        } catch let problem as Problem where problem.code == InstanceOrder.pending {
            return .again(in: .seconds(1))
        } catch {
            let problem = Problem(describing: error)
            try await store.change(.system("delivery")) { try CopyBook.failed(id, problem, in: $0) }
        }
        return .settled
    }
}

/// Secrets that a copy is given when it starts; they stand in no row and no file of ours.
struct SecretLoans: Sendable {
    var service: ServiceReference
    var environment: String?
    /// Name for the copy → secret.
    var variables: Ordered<String>

    /// The order with all that is secret in its place.
    func fill(_ order: InstanceOrder, from source: (any SecretSource)?) async throws -> InstanceOrder {
        var order = order
        for (name, reference) in variables {
            guard let secret = SecretReference(reference) else { continue }  // refused when it was applied
            order.environment[name] = try await lend(secret.name, source)
            order.secrets.insert(name)
        }
        if let login = order.container?.credentials, let secret = login.secret {
            order.container?.credentials?.password = try await lend(secret, source)
        }
        return order
    }

    private func lend(_ name: String, _ source: (any SecretSource)?) async throws -> String {
        guard let source else {
            throw Problem("secret.no-vault", status: 503, "there is no vault for secret \"\(name)\"")
        }
        let ask = SecretAsk(
            project: service.project, name: name, for: .service(name: service.name, environment: environment))
        return try await source.withSecret(ask) { $0.text }
    }
}

/// Stops what has to go, once no proxy sends it anything.
struct StopLoop: Reconciler {
    static let name = "delivery.stop"
    static let topics: Set<String> = [CopyBook.topic, ProxyWatch.topic]
    let store: Store
    let platforms: Platforms
    let proxies: ProxyWatch

    func keys() async throws -> [InstanceID] {
        try await store.read { try CopyRow.all(.stopping, in: $0).map(\.id) }
    }

    func reconcile(_ id: InstanceID) async throws -> Next {
        let (proxies, now) = (proxies, store.time.now)
        let found = try await store.read { sql -> (isFree: Bool, form: CopyRow.Form, grace: Duration)? in
            guard let copy = try CopyRow.find(id, in: sql), copy.state == .stopping else { return nil }
            let version = try RouteRow.version(of: copy.service, in: sql)
            let isDrained = copy.stopAt.map { $0.advanced(by: CopyBook.drain) <= now } ?? true
            let isOff = try proxies.acknowledgement(of: version, at: now, in: sql) == .yes
            let spec = try sql.resource(ServiceKind.self, copy.service)?.spec
            return (isDrained || isOff, copy.form, (spec?.health ?? HealthSpec()).stop_grace.duration)
        }
        guard let found else { return .settled }
        guard found.isFree else { return .again(in: .milliseconds(500)) }
        try await platforms.of(found.form).stop(id, grace: found.grace)
        try await store.change(.system("delivery")) { try CopyBook.gone(id, in: $0) }
        return .settled
    }
}

/// Compares what runs with what should: copies that ended, and copies that nobody knows.
struct Lookout: Reconciler {
    static let name = "delivery.lookout"
    static let topics: Set<String> = [CopyBook.clusterTopic]
    /// Time between two looks.
    static let interval = Duration.seconds(1)
    /// Where a platform tells of changes, so many copies a second are looked at all the same: few every second.
    static let looksPerSecond = 300
    /// Clusters have more to do than to answer us.
    static let clusterInterval = Duration.seconds(3)
    let store: Store
    let platforms: Platforms
    let memory: Recall<CopyRow.Form, [CopyRow]>
    let sights: Sights
    /// Whether it looks at clusters, which may be slow to answer, or at this machine.
    let ofClusters: Bool

    /// What a platform told when its copies were looked at last.
    final class Sights: Sendable {
        private let last = Mutex<[CopyRow.Form: (at: Timestamp, changes: UInt64)]>([:])

        func note(_ form: CopyRow.Form, _ changes: UInt64?, at now: Timestamp) {
            last.withLock { $0[form] = changes.map { (now, $0) } }
        }

        /// Whether nothing has changed since a look that is not long ago.
        func isQuiet(_ form: CopyRow.Form, _ changes: UInt64?, copies: Int, at now: Timestamp) -> Bool {
            guard let changes, let seen = last.withLock({ $0[form] }), seen.changes == changes else { return false }
            return now.since(seen.at) < .seconds(copies / Lookout.looksPerSecond)
        }
    }

    func keys() async throws -> [CopyRow.Form] {
        ofClusters ? try await store.read { try CopyRow.clusters(in: $0) } : [.process, .container]
    }

    func reconcile(_ form: CopyRow.Form) async throws -> Next {
        // First the world, then the rows: a row is written before its copy runs, so a copy without a row is a stray.
        let began = store.time.now
        let platform = platforms.of(form)
        let changes = platform.changes
        let (before, isNew) = try await rows(form)
        // Most machines have no engine for containers, and no cluster, and nobody misses them.
        if form != .process, before.isEmpty { return .again(in: Self.interval) }
        if !isNew, sights.isQuiet(form, changes, copies: before.count, at: began) { return .again(in: Self.interval) }
        let seen = try await platform.instances()
        let running = Set(seen.filter(\.isRunning).map(\.id))
        let rows = try await rows(form).rows
        // Noted as running before the look began, and not seen: it has ended.
        let lost = rows.filter { copy in
            copy.state == .running && !running.contains(copy.id) && copy.startedAt.map { $0 < began } ?? false
        }.map(\.id)
        let known = Set(rows.map(\.id))
        if !lost.isEmpty {
            let endings = seen.reduce(into: [InstanceID: String]()) { $0[$1.id] = $1.ending }
            try await store.change(.system("delivery")) { change in
                for id in lost {
                    let how = endings[id].map { " \($0)" } ?? ""
                    try CopyBook.stop(id, reason: "it ended by itself\(how)", isFault: true, in: change)
                }
            }
        }
        let strays = seen.filter { !known.contains($0.id) }
        if !strays.isEmpty {
            // Whoever started one has not rung yet, perhaps: only the store knows.
            let all = try await store.read { Set(try CopyRow.all(in: $0).map(\.id)) }
            for stray in strays where !all.contains(stray.id) { try await platform.stop(stray.id, grace: .seconds(10)) }
        }
        // One that has ended, and was started after the look began, is looked at again.
        let isSettled = rows.allSatisfy { $0.state != .running || running.contains($0.id) }
        sights.note(form, isSettled ? changes : nil, at: began)
        return .again(in: form.isCluster ? Self.clusterInterval : Self.interval)
    }

    private func rows(_ form: CopyRow.Form) async throws -> (rows: [CopyRow], isNew: Bool) {
        try await memory.value(of: form) {
            try await store.read { try CopyRow.all(in: $0).filter { $0.form == form } }
        }
    }
}
