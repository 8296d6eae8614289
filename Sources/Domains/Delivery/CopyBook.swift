import API
import Kernel
import Manifests
import SQL

/// Copies as the tables know them: ordered, running, stopping, gone.
enum CopyBook {
    /// Rung when copies are ordered or stopped.
    static let topic = "Copy"
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
    static func stop(_ id: InstanceID, reason: String, isFault: Bool, in change: Change) throws {
        guard var copy = try CopyRow.find(id, in: change.sql), copy.state != .stopping else { return }
        copy.state = .stopping
        copy.isReady = false
        copy.stopAt = change.now
        copy.reason = reason
        try copy.write(in: change.sql)
        if isFault { try noteFault(copy, reason, in: change) }
        change.ring(topic)
    }

    /// The platform has started it.
    static func started(_ id: InstanceID, _ instance: Instance, in change: Change) throws {
        guard var copy = try CopyRow.find(id, in: change.sql) else { return }
        (copy.host, copy.port, copy.startedAt) = (instance.host, instance.port, change.now)
        if copy.state == .ordered { copy.state = .running }
        try copy.write(in: change.sql)
        try tell("instance.started", copy, nil, in: change)
        change.ring(topic)
    }

    /// The platform could not start it: it is as if it had ended at once.
    static func failed(_ id: InstanceID, _ problem: Problem, in change: Change) throws {
        guard let copy = try CopyRow.find(id, in: change.sql) else { return }
        try copy.remove(in: change.sql)
        if copy.state == .ordered { try noteFault(copy, "it could not be started: \(problem.message)", in: change) }
    }

    /// Nothing of it runs any more.
    static func gone(_ id: InstanceID, in change: Change) throws {
        guard let copy = try CopyRow.find(id, in: change.sql) else { return }
        try copy.remove(in: change.sql)
        try tell("instance.stopped", copy, copy.reason, in: change)
    }

    /// Whether it is well, as the probes say.
    static func note(_ id: InstanceID, isReady: Bool, in change: Change) throws {
        guard var copy = try CopyRow.find(id, in: change.sql), copy.state == .running, copy.isReady != isReady else {
            return
        }
        copy.isReady = isReady
        copy.unreadyAt = isReady ? nil : change.now
        try copy.write(in: change.sql)
        change.ring(ServiceKind.name)
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
    let platform: any Platform
    let settings: DeliverySettings

    func keys() async throws -> [InstanceID] {
        try await store.read { try CopyRow.all(.ordered, in: $0).map(\.id) }
    }

    func reconcile(_ id: InstanceID) async throws -> Next {
        let settings = settings
        let order = try await store.read { sql -> InstanceOrder? in
            guard let copy = try CopyRow.find(id, in: sql), copy.state == .ordered,
                let revision = try RevisionRow.find(copy.revision, of: copy.service, in: sql)
            else { return nil }
            return settings.order(copy, revision.workload)
        }
        guard let order else { return .settled }
        do {
            let instance = try await platform.start(order)
            try await store.change(.system("delivery")) { try CopyBook.started(id, instance, in: $0) }
        } catch is CancellationError {
            throw CancellationError()
        } catch let error as SQLError {
            throw error
        } catch {
            let problem = Problem(describing: error)
            try await store.change(.system("delivery")) { try CopyBook.failed(id, problem, in: $0) }
        }
        return .settled
    }
}

/// Stops what has to go, once no proxy sends it anything.
struct StopLoop: Reconciler {
    static let name = "delivery.stop"
    static let topics: Set<String> = [CopyBook.topic, ProxyWatch.topic]
    let store: Store
    let platform: any Platform
    let proxies: ProxyWatch

    func keys() async throws -> [InstanceID] {
        try await store.read { try CopyRow.all(.stopping, in: $0).map(\.id) }
    }

    func reconcile(_ id: InstanceID) async throws -> Next {
        let (proxies, now) = (proxies, store.time.now)
        let found = try await store.read { sql -> (isFree: Bool, grace: Duration)? in
            guard let copy = try CopyRow.find(id, in: sql), copy.state == .stopping else { return nil }
            let version = try RouteRow.version(of: copy.service, in: sql)
            let isDrained = copy.stopAt.map { $0.advanced(by: CopyBook.drain) <= now } ?? true
            let isOff = try proxies.acknowledgement(of: version, at: now, in: sql) == .yes
            let spec = try sql.resource(ServiceKind.self, copy.service)?.spec
            return (isDrained || isOff, (spec?.health ?? HealthSpec()).stop_grace.duration)
        }
        guard let found else { return .settled }
        guard found.isFree else { return .again(in: .milliseconds(500)) }
        try await platform.stop(id, grace: found.grace)
        try await store.change(.system("delivery")) { try CopyBook.gone(id, in: $0) }
        return .settled
    }
}

/// Compares what runs with what should: copies that ended, and copies that nobody knows.
struct Lookout: Reconciler {
    static let name = "delivery.lookout"
    static let topics: Set<String> = []
    /// Time between two looks.
    static let interval = Duration.seconds(1)
    let store: Store
    let platform: any Platform

    func keys() async throws -> [String] { ["platform"] }

    func reconcile(_ key: String) async throws -> Next {
        // First the world, then the rows: a row is written before its copy runs, so a copy without a row is a stray.
        let began = store.time.now
        let seen = try await platform.instances()
        let running = Set(seen.filter(\.isRunning).map(\.id))
        let (lost, known) = try await store.read { sql in
            // Noted as running before the look began, and not seen: it has ended.
            let lost = try CopyRow.all(.running, in: sql).filter { copy in
                !running.contains(copy.id) && copy.startedAt.map { $0 < began } ?? false
            }
            return (lost.map(\.id), try CopyRow.ids(in: sql))
        }
        if !lost.isEmpty {
            try await store.change(.system("delivery")) { change in
                for id in lost { try CopyBook.stop(id, reason: "it ended by itself", isFault: true, in: change) }
            }
        }
        for stray in seen where !known.contains(stray.id) { try await platform.stop(stray.id, grace: .seconds(10)) }
        return .again(in: Self.interval)
    }
}
