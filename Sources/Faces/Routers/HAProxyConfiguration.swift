import Proxy

/// What HAProxy is told: a file with frontend and backends, and the commands that bring a running one to the same state.
struct HAProxyConfiguration {
    /// A place for an endpoint in a backend; free ones are kept so that copies come and go without a reload.
    struct Slot {
        var backend: String
        var name: String
        /// nil: free.
        var endpoint: Endpoint?
        /// 0...256.
        var weight: Int
        var service: String
        var revision: Int?
    }

    let slots: [Slot]
    private let routes: [NamedRoute]
    private let bind: String
    /// Servers of each backend, slots in use first.
    private let backends: [(name: String, route: NamedRoute, slots: [Slot])]

    /// - Parameter previous: What is in force: its endpoints keep their slots, and no backend shrinks, so that a smaller
    ///   table needs no reload.
    init(_ table: RouteTable, bind: String, previous: HAProxyConfiguration? = nil) {
        let kept = previous.map { Dictionary(grouping: $0.slots, by: \.backend) } ?? [:]
        self.bind = bind
        routes = NamedRoute.all(table)
        var backends: [(name: String, route: NamedRoute, slots: [Slot])] = []
        for route in routes {
            let shares = route.route.revisions.map { ($0, max(0, $0.weight)) }
            backends.append((route.name, route, Self.slots(route.name, route, shares, kept)))
            for revision in Set(route.rules.map(\.revision)).sorted() {
                guard let found = route.revision(revision) else { continue }
                let name = Self.backend(route, revision)
                backends.append((name, route, Self.slots(name, route, [(found, 1)], kept)))
            }
        }
        self.backends = backends
        slots = backends.flatMap { $0.slots }
    }

    /// What a reload is needed for when it changes: everything but addresses, weights and states of servers.
    var structure: String { text(withServers: false) }

    /// The whole file.
    var text: String { text(withServers: true) }

    /// One line that brings a running HAProxy with the same structure here; endpoints come before others go.
    var commands: [String] {
        let used = slots.filter { $0.endpoint != nil }
        let free = slots.filter { $0.endpoint == nil }
        return used.flatMap { slot -> [String] in
            let (name, endpoint) = ("\(slot.backend)/\(slot.name)", slot.endpoint)
            return [
                "set server \(name) addr \(endpoint?.host ?? "") port \(endpoint?.port ?? 0)",
                "set server \(name) weight \(slot.weight)", "set server \(name) state ready",
            ]
        } + free.map { "set server \($0.backend)/\($0.name) state maint" }
    }

    private func text(withServers: Bool) -> String {
        var lines = ["# Written by vagus; changes are lost.", "frontend vagus", "  mode http", "  bind \(bind)"]
        lines.append("  option forwardfor")
        lines.append("  http-request del-header x-vagus-revision")
        for (index, route) in routes.enumerated() { lines += frontend(route, index) }
        lines += ["  default_backend vagus_none", "backend vagus_none", "  mode http"]
        lines.append(
            "  http-request return status 404 content-type application/json string '{\"error\":\"no route for this host and path\"}'"
        )
        for backend in backends { lines += self.backend(backend.name, backend.route, backend.slots, withServers) }
        return lines.joined(separator: "\n") + "\n"
    }

    private func frontend(_ route: NamedRoute, _ index: Int) -> [String] {
        var lines: [String] = []
        var conditions: [String] = []
        if !route.prefix.isEmpty {
            lines += ["  acl p\(index) path \(route.prefix)", "  acl p\(index) path_beg \(route.prefix)/"]
            conditions.append("p\(index)")
        }
        if !route.route.hosts.isEmpty {
            lines.append("  acl h\(index) req.hdr(host),field(1,:) -i \(route.route.hosts.joined(separator: " "))")
            conditions.append("h\(index)")
        }
        for rule in route.rules {
            let wanted = conditions + rule.when.map(Self.condition)
            lines.append("  use_backend \(Self.backend(route, rule.revision))" + Self.clause(wanted))
        }
        lines.append("  use_backend \(route.name)" + Self.clause(conditions))
        return lines
    }

    private static func clause(_ conditions: [String]) -> String {
        conditions.isEmpty ? " if TRUE" : " if " + conditions.joined(separator: " ")
    }

    private static func condition(_ condition: TrafficCondition) -> String {
        let source = condition.header.map { "req.fhdr(\($0))" } ?? "req.cook(\(condition.cookie ?? ""))"
        if let exact = condition.exact { return "{ \(source) -m str -- '\(exact)' }" }
        if let prefix = condition.prefix { return "{ \(source) -m beg -- '\(prefix)' }" }
        if let regex = condition.regex { return "{ \(source) -m reg -- '^(?:\(regex))$' }" }
        return condition.present == false ? "!{ \(source) -m found }" : "{ \(source) -m found }"
    }

    private func backend(_ name: String, _ route: NamedRoute, _ slots: [Slot], _ withServers: Bool) -> [String] {
        var lines = [
            "backend \(name)", "  mode http", "  balance roundrobin",
            "  timeout server \(max(1, route.route.timeout_ms))ms",
            "  timeout connect \(max(1, route.route.timeouts?.connect_ms ?? 2_000))ms",
        ]
        if route.route.retry { lines += ["  retries 2", "  option redispatch 1", "  retry-on conn-failure"] }
        if route.route.strip_prefix, !route.prefix.isEmpty {
            lines.append("  http-request replace-path \(route.prefix)/?(.*) /\\1")
        }
        for slot in slots {
            guard withServers, let endpoint = slot.endpoint else {
                lines.append("  server \(slot.name) 127.0.0.1:1" + (withServers ? " disabled" : ""))
                continue
            }
            lines.append("  server \(slot.name) \(endpoint.host):\(endpoint.port) weight \(slot.weight)")
        }
        return lines
    }

    private static func backend(_ route: NamedRoute, _ revision: String) -> String {
        "\(route.name)_only_" + revision.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" }
    }

    /// Slots for the endpoints, with weights such that revisions have their shares whatever their number of copies.
    private static func slots(
        _ backend: String, _ route: NamedRoute, _ shares: [(RevisionRoute, Int)],
        _ kept: [String: [Slot]]
    ) -> [Slot] {
        let used = shares.filter { $0.1 > 0 && !$0.0.endpoints.isEmpty }
        let weights = serverWeights(used.map { (weight: $0.1, copies: $0.0.endpoints.count) })
        let wanted = zip(used, weights).flatMap { share, weight in
            share.0.endpoints.map { (endpoint: $0, weight: weight, revision: Int(share.0.revision)) }
        }
        var size = max(8, kept[backend]?.count ?? 0)
        while size < wanted.count { size *= 2 }
        var slots = (0..<size).map { index in
            Slot(
                backend: backend, name: "s\(index + 1)", endpoint: nil, weight: 0, service: route.route.service,
                revision: nil)
        }
        // Who was there stays where it is: connections kept by HAProxy belong to the slot.
        var places = Dictionary(
            (kept[backend] ?? []).enumerated().compactMap { place, slot in slot.endpoint.map { ($0, place) } },
            uniquingKeysWith: { first, _ in first })
        var free = slots.indices.filter { place in !wanted.contains { places[$0.endpoint] == place } }.makeIterator()
        for one in wanted {
            guard let place = places.removeValue(forKey: one.endpoint) ?? free.next() else { continue }
            (slots[place].endpoint, slots[place].weight) = (one.endpoint, one.weight)
            slots[place].revision = one.revision
        }
        return slots
    }

    /// Weight of a server of each revision, 1...256, nearest to `weight / copies` in proportion.
    static func serverWeights(_ revisions: [(weight: Int, copies: Int)]) -> [Int] {
        let ideal = revisions.map { Double($0.weight) / Double(max(1, $0.copies)) }
        guard let most = ideal.max(), most > 0 else { return ideal.map { _ in 1 } }
        // The scale at which the rounding errs least; the first of equals.
        var best: (error: Double, weights: [Int]) = (.infinity, [])
        for top in 1...256 {
            let weights = ideal.map { min(256, max(1, Int(($0 * Double(top) / most).rounded()))) }
            let error = zip(ideal, weights).reduce(0.0) { sum, pair in
                max(sum, abs(Double(pair.1) / Double(top) - pair.0 / most) / (pair.0 / most))
            }
            if error < best.error - 1e-12 { best = (error, weights) }
        }
        return best.weights
    }
}
