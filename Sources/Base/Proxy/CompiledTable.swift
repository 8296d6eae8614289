import NIOCore
import Synchronization

/// An endpoint as the loops share it: its load and whether it is left out for the moment.
final class EndpointState: Sendable {
    let endpoint: Endpoint
    /// Set when the host is an IP address; names are resolved at each connect.
    let address: SocketAddress?
    /// It left the table: connections to it are not kept.
    let isRetired = Atomic<Bool>(false)
    private let active = Atomic<Int>(0)
    private let ejectedUntil = Atomic<UInt64>(0)

    init(_ endpoint: Endpoint) {
        self.endpoint = endpoint
        address = try? SocketAddress(ipAddress: endpoint.host, port: endpoint.port)  // a name is no error
    }

    var load: Int { active.load(ordering: .relaxed) }
    func begin() { active.wrappingAdd(1, ordering: .relaxed) }
    func end() { active.wrappingSubtract(1, ordering: .relaxed) }

    func eject(until deadline: NIODeadline) {
        ejectedUntil.store(deadline.uptimeNanoseconds, ordering: .relaxed)
    }

    func isLive(at now: NIODeadline) -> Bool {
        ejectedUntil.load(ordering: .relaxed) <= now.uptimeNanoseconds
    }
}

/// A revision ready to be chosen.
final class CompiledRevision: Sendable {
    let name: String
    let weight: Int
    let endpoints: [EndpointState]
    let cell: RevisionCell
    /// The response header that tells the revision, with its line end.
    let headerLine: [UInt8]
    private let rotation = Atomic<Int>(0)

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
}

/// A route ready to be matched.
final class CompiledRoute: Sendable {
    let service: String
    let prefix: [UInt8]
    let stripsPrefix: Bool
    let retries: Bool
    let timeout: TimeAmount
    let revisions: [CompiledRevision]
    /// nil when no revision has a weight.
    let schedule: WeightSchedule?

    init(_ route: Route, revisions: [CompiledRevision], schedule: WeightSchedule?) {
        service = route.service
        prefix = CompiledTable.normalised(route.path_prefix)
        stripsPrefix = route.strip_prefix
        retries = route.retry
        timeout = .milliseconds(Int64(max(1, route.timeout_ms)))
        self.revisions = revisions
        self.schedule = schedule
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

/// Routes by prefix, found by one pass of FNV-1a over the path with a look-up at each `/`.
struct PrefixTable: Sendable {
    private var routes: [UInt64: [CompiledRoute]] = [:]
    private var longest = 0

    mutating func add(_ route: CompiledRoute) {
        routes[Bytes.hash(route.prefix), default: []].append(route)
        longest = max(longest, route.prefix.count)
    }

    /// The route with the longest prefix of `path` that ends at a `/` or at the end; O(length of `path`).
    func match(_ path: UnsafeRawBufferPointer) -> CompiledRoute? {
        var best = lookUp(Bytes.hashSeed, path, 0)
        guard longest > 0 else { return best }
        var hash = Bytes.hashSeed
        for index in 0..<min(path.count, longest) {
            hash = Bytes.hash(hash, path[index])
            let end = index + 1
            guard end == path.count || path[end] == Ascii.slash else { continue }
            best = lookUp(hash, path, end) ?? best
        }
        return best
    }

    private func lookUp(_ hash: UInt64, _ path: UnsafeRawBufferPointer, _ count: Int) -> CompiledRoute? {
        routes[hash]?.first { $0.prefix.count == count && path.prefix(count).elementsEqual($0.prefix) }
    }
}

/// A table made ready for the loops; shared, never changed.
final class CompiledTable: Sendable {
    private struct HostRoutes {
        var name: [UInt8]
        var routes = PrefixTable()
    }

    private struct ScheduleKey: Hashable {
        var service: String
        var revisions: [String]
        var weights: [Int]

        init(_ route: Route) {
            service = route.service
            revisions = route.revisions.map(\.revision)
            weights = route.revisions.map(\.weight)
        }
    }

    let source: RouteTable
    private let byHost: [UInt64: [HostRoutes]]
    private let anyHost: PrefixTable
    private let endpoints: [Endpoint: EndpointState]
    private let schedules: [ScheduleKey: WeightSchedule]

    /// Compiles a table; endpoints and unchanged weights go on from where `previous` left them.
    init(_ table: RouteTable, previous: CompiledTable?, counters: CounterRegistry) {
        let cell = counters.cells(for: table)
        var endpoints: [Endpoint: EndpointState] = [:]
        var schedules: [ScheduleKey: WeightSchedule] = [:]
        var byHost: [UInt64: [HostRoutes]] = [:]
        var anyHost = PrefixTable()
        for route in table.routes {
            let revisions = route.revisions.map { revision in
                let states = revision.endpoints.map { endpoint in
                    let state = endpoints[endpoint] ?? previous?.endpoints[endpoint] ?? EndpointState(endpoint)
                    endpoints[endpoint] = state
                    return state
                }
                return CompiledRevision(revision, endpoints: states, cell: cell(route.service, revision.revision))
            }
            let key = ScheduleKey(route)
            let schedule = schedules[key] ?? previous?.schedules[key] ?? WeightSchedule(weights: key.weights)
            schedules[key] = schedule
            let compiled = CompiledRoute(route, revisions: revisions, schedule: schedule)
            if route.hosts.isEmpty { anyHost.add(compiled) }
            for host in route.hosts {
                Self.add(compiled, at: Array(host.lowercased().utf8), to: &byHost)
            }
        }
        source = table
        self.byHost = byHost
        self.anyHost = anyHost
        self.endpoints = endpoints
        self.schedules = schedules
    }

    /// Marks the endpoints that `later` knows no more, so that their connections are not kept.
    func retireEndpoints(notIn later: CompiledTable) {
        for (endpoint, state) in endpoints where later.endpoints[endpoint] == nil {
            state.isRetired.store(true, ordering: .relaxed)
        }
    }

    /// The route of a request; `host` without its port, in any case.
    func match(host: UnsafeRawBufferPointer, path: UnsafeRawBufferPointer) -> CompiledRoute? {
        if !byHost.isEmpty, !host.isEmpty {
            let entry = byHost[Bytes.lowercasedHash(host)]?.first { Bytes.equals(host, lowercased: $0.name) }
            if let route = entry?.routes.match(path) { return route }
        }
        return anyHost.match(path)
    }

    /// A prefix without the slash at its end, with the one at its start; `/` and nil are empty.
    static func normalised(_ prefix: String?) -> [UInt8] {
        var bytes = Array((prefix ?? "").utf8)
        while bytes.last == Ascii.slash { bytes.removeLast() }
        if let first = bytes.first, first != Ascii.slash { bytes.insert(Ascii.slash, at: 0) }
        return bytes
    }

    private static func add(_ route: CompiledRoute, at host: [UInt8], to byHost: inout [UInt64: [HostRoutes]]) {
        let hash = Bytes.hash(host)
        var entries = byHost[hash] ?? []
        if let index = entries.firstIndex(where: { $0.name == host }) {
            entries[index].routes.add(route)
        } else {
            var entry = HostRoutes(name: host)
            entry.routes.add(route)
            entries.append(entry)
        }
        byHost[hash] = entries
    }
}
