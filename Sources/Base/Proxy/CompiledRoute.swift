import NIOCore
import Synchronization

/// A revision ready to be chosen.
final class CompiledRevision: Sendable {
    let name: String
    let weight: Int
    let endpoints: [EndpointState]
    let cell: RevisionCell
    /// The response header that tells the revision, with its line end.
    let headerLine: [UInt8]
    private let rotation = Atomic<Int>(0)
    private let inLine = Atomic<Int>(0)

    init(_ revision: RevisionRoute, endpoints: [EndpointState], cell: RevisionCell) {
        name = revision.revision
        weight = revision.weight
        self.endpoints = endpoints
        self.cell = cell
        let safe = revision.revision.utf8.filter { $0 > 0x20 && $0 < 0x7F }
        headerLine = Array("X-Vagus-Revision: ".utf8) + safe + [Ascii.cr, Ascii.lf]
    }

    /// The live endpoint with the fewest requests under way; ties go round.
    func leastLoaded(avoiding avoided: EndpointState?, now: NIODeadline) -> EndpointState? {
        guard endpoints.count > 1 else {
            return endpoints.first.flatMap { $0 !== avoided && $0.isLive(at: now) ? $0 : nil }
        }
        let start = rotation.wrappingAdd(1, ordering: .relaxed).oldValue
        var best: EndpointState?
        for step in endpoints.indices {
            let candidate = endpoints[Int(UInt(bitPattern: start &+ step) % UInt(endpoints.count))]
            guard candidate !== avoided, candidate.isLive(at: now) else { continue }
            if let found = best, found.load <= candidate.load { continue }
            best = candidate
        }
        return best
    }

    /// Takes a place in the line of requests that wait for a free endpoint; false when it is full.
    func joinLine(limit: Int) -> Bool {
        if inLine.wrappingAdd(1, ordering: .relaxed).newValue <= limit { return true }
        leaveLine()
        return false
    }

    func leaveLine() { inLine.wrappingSubtract(1, ordering: .relaxed) }

    /// Notes how an attempt at one of the endpoints ended, and leaves it out when its policy says so and enough stay.
    func note(_ endpoint: EndpointState, hasFailed: Bool, _ policy: CompiledOutliers, at now: NIODeadline) {
        guard let pause = endpoint.note(hasFailed: hasFailed, policy, at: now) else { return }
        let out = endpoints.count { !$0.isLive(at: now) } + 1
        guard out < endpoints.count, out * 100 <= policy.maxEjectedPercent * endpoints.count else { return }
        endpoint.ejectAsOutlier(until: now + pause)
    }
}

/// `ConcurrencyLimits` with its defaults.
struct CompiledLimits: Sendable {
    let connections: Int
    let requests: Int
    let pending: Int

    init(_ limits: ConcurrencyLimits) {
        connections = limits.connections.map { max(1, $0) } ?? .max
        requests = limits.requests.map { max(1, $0) } ?? .max
        pending = max(0, limits.pending ?? 1_024)
    }
}

/// A route ready to be matched.
final class CompiledRoute: Sendable {
    let service: String
    let prefix: [UInt8]
    let stripsPrefix: Bool
    /// Endpoints speak HTTP/2.
    let isHTTP2: Bool
    let retries: Bool
    /// Further attempts after the first.
    let attempts: Int
    let retryStatuses: [Int]
    let timeout: TimeAmount
    let timeouts: RouteTimeouts?
    let total: TimeAmount?
    let outliers: CompiledOutliers?
    let limits: CompiledLimits?
    let revisions: [CompiledRevision]
    /// nil when no revision has a weight.
    let schedule: WeightSchedule?
    let memory: RouteMemory
    let mirror: CompiledMirror?
    let sticky: StickySlots?
    private let rules: [CompiledRule]

    init(
        _ route: Route, revisions: [CompiledRevision], schedule: WeightSchedule?, memory: RouteMemory,
        counters: CounterRegistry
    ) {
        service = route.service
        prefix = CompiledTable.normalised(route.path_prefix)
        stripsPrefix = route.strip_prefix
        isHTTP2 = route.http2 ?? false
        retries = route.retry
        attempts = min(max(0, route.retries?.attempts ?? 1), ProxyConfiguration.connectAttempts)
        retryStatuses = route.retries?.statuses ?? []
        timeout = .milliseconds(Int64(max(1, route.timeout_ms)))
        timeouts = route.timeouts
        total = route.timeouts?.total_ms.map { .milliseconds(Int64(max(1, $0))) }
        outliers = route.outliers.map(CompiledOutliers.init)
        limits = route.limits.map(CompiledLimits.init)
        self.revisions = revisions
        self.schedule = schedule
        self.memory = memory
        rules = (route.rules ?? []).compactMap { CompiledRule($0, revisions: revisions) }
        sticky = route.sticky.flatMap { StickySlots($0, of: route, sequence: memory.slots) }
        mirror = route.mirror.flatMap {
            CompiledMirror($0, service: route.service, revisions: revisions, turns: memory.mirrorTurns, counters)
        }
    }

    /// Where a request goes.
    struct Choice {
        var revision: CompiledRevision
        /// Slot of a session that begins with this request, to be kept in a cookie.
        var newSlot: Int?
    }

    /// Whose turn it is: a rule's, the session's, or the next by weight. nil when no revision has traffic.
    func choose(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> Choice? {
        if !rules.isEmpty, let rule = rules.first(where: { $0.matches(head, bytes) }) {
            return Choice(revision: revisions[rule.revision])
        }
        if let sticky {
            let (arm, newSlot) = sticky.arm(of: head, bytes)
            return Choice(revision: revisions[arm], newSlot: newSlot)
        }
        guard let turn = schedule?.next() else { return nil }
        return Choice(revision: revisions[turn])
    }

    /// Takes a token of each rate limit; returns the whole seconds to wait when one of them has none.
    func refuseByRate(
        _ head: RequestHead, _ bytes: UnsafeRawBufferPointer, client: [UInt8], now: NIODeadline
    ) -> Int? {
        for limiter in memory.limiters {
            if let wait = limiter.refuse(head, bytes, client: client, now: now) { return wait }
        }
        return nil
    }

    /// An endpoint of `first`, else of the heaviest other revision that has traffic and a live endpoint.
    ///
    /// `avoided` is taken only when nothing else is live.
    func endpoint(
        first: CompiledRevision, avoiding avoided: EndpointState?, now: NIODeadline
    ) -> (CompiledRevision, EndpointState)? {
        if let found = first.leastLoaded(avoiding: avoided, now: now) { return (first, found) }
        var best: (CompiledRevision, EndpointState)?
        for revision in revisions where revision !== first && revision.weight > 0 {
            if let chosen = best, chosen.0.weight >= revision.weight { continue }
            if let found = revision.leastLoaded(avoiding: avoided, now: now) { best = (revision, found) }
        }
        if best == nil, let avoided, avoided.isLive(at: now) { return (first, avoided) }
        return best
    }
}
