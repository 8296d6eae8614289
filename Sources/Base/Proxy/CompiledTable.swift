import Synchronization

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
    private let memories: [RouteMemory.Key: RouteMemory]

    /// Compiles a table; endpoints and unchanged weights go on from where `previous` left them.
    init(_ table: RouteTable, previous: CompiledTable?, counters: CounterRegistry) {
        let cell = counters.cells(for: table)
        var endpoints: [Endpoint: EndpointState] = [:]
        var schedules: [ScheduleKey: WeightSchedule] = [:]
        var memories: [RouteMemory.Key: RouteMemory] = [:]
        var byHost: [UInt64: [HostRoutes]] = [:]
        var anyHost = PrefixTable()
        for route in table.routes {
            let revisions = route.revisions.map { revision in
                let states = revision.endpoints.map { endpoint in
                    let isHTTP2 = route.http2 ?? false
                    let known = endpoints[endpoint] ?? previous?.endpoints[endpoint]
                    let state =
                        known.flatMap { $0.isHTTP2 == isHTTP2 ? $0 : nil } ?? EndpointState(endpoint, isHTTP2: isHTTP2)
                    endpoints[endpoint] = state
                    return state
                }
                return CompiledRevision(revision, endpoints: states, cell: cell(route.service, revision.revision))
            }
            let key = ScheduleKey(route)
            let schedule = schedules[key] ?? previous?.schedules[key] ?? WeightSchedule(weights: key.weights)
            schedules[key] = schedule
            let name = RouteMemory.Key(route)
            let memory = RouteMemory(route, previous: previous?.memories[name])
            memories[name] = memory
            let compiled = CompiledRoute(
                route, revisions: revisions, schedule: schedule, memory: memory, counters: counters)
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
        self.memories = memories
    }

    /// Marks the endpoints that `later` knows no more, so that their connections are not kept.
    func retireEndpoints(notIn later: CompiledTable) {
        for (endpoint, state) in endpoints where later.endpoints[endpoint] !== state {
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
