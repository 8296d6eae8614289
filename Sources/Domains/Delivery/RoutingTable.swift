import API
import Kernel
import Manifests
import SQL
import Synchronization

/// What the proxies said last, in memory: they repeat it twice a second.
///
/// The store knows only that they exist.
final class ProxyWatch: Sendable {
    /// Rung when a proxy has taken up another table, or come back.
    static let topic = "Proxy"
    /// A proxy that said nothing for so long counts as away.
    static let patience = Duration.seconds(5)

    private struct Sight: Sendable {
        var at: Timestamp
        var table: Int64
    }
    private struct State: Sendable {
        var sights: [String: Sight] = [:]
        /// Services whose table was not in force everywhere when somebody asked.
        var waiting: Set<ServiceReference> = []
    }
    private let state = Mutex(State())

    /// Notes what a proxy said.
    ///
    /// - Returns: Whether its table is another than the last time, or it was away; then the services that waited for that.
    func note(_ proxy: String, table: Int64, at now: Timestamp) -> (isNews: Bool, waiting: Set<ServiceReference>) {
        state.withLock { state in
            let before = state.sights.updateValue(Sight(at: now, table: table), forKey: proxy)
            if let before, before.table == table, before.at.advanced(by: Self.patience) >= now { return (false, []) }
            defer { state.waiting = [] }
            return (true, state.waiting)
        }
    }

    /// Whether the proxies have a table at least as new as `version` in force.
    ///
    /// When not yet, ``note(_:table:at:)`` tells of the service once that may have come true.
    func acknowledgement(
        of version: Int64, for service: ServiceReference? = nil, at now: Timestamp, in sql: Connection
    ) throws -> Acknowledgement {
        let answer = state.withLock { state -> Acknowledgement in
            let present = state.sights.values.filter { $0.at.advanced(by: Self.patience) >= now }
            if !present.isEmpty, present.allSatisfy({ $0.table >= version }) { return .yes }
            if let service { state.waiting.insert(service) }
            return present.isEmpty ? .away : .waiting
        }
        guard answer == .away else { return answer }
        let known: Int = try sql.value("SELECT count(*) FROM delivery_proxy") ?? 0
        return known == 0 ? .yes : .away
    }
}

/// The routes of one service, as last computed.
enum RouteRow {
    /// Rung when the table of routes has changed.
    static let topic = "RoutingTable"

    /// Version of the table since which the service's routes are as they are.
    static func version(of service: ServiceReference, in sql: Connection) throws -> Int64 {
        // A service without routes may have lost them with the newest table.
        try sql.value("SELECT version FROM delivery_route WHERE \(service.rows)") ?? tableVersion(in: sql)
    }

    static func tableVersion(in sql: Connection) throws -> Int64 {
        try sql.value("SELECT version FROM delivery_table WHERE id = 1") ?? 0
    }

    /// The whole table.
    static func table(in sql: Connection) throws -> RoutingTable {
        var table = RoutingTable()
        table.version = try tableVersion(in: sql)
        try sql.each("SELECT routes FROM delivery_route ORDER BY project, service") { row in
            table.routes += try JSONParser.parse(try row.get(0, as: String.self)).array ?? []
        }
        return table
    }

    /// Writes a service's routes; the version of the table grows only when they differ.
    static func write(_ routes: [JSONValue], of service: ServiceReference, in change: Change) throws {
        let text = JSONValue.array(routes).text
        let before: String? = try change.sql.value("SELECT routes FROM delivery_route WHERE \(service.rows)")
        guard before != text, before != nil || !routes.isEmpty else { return }
        let version = try grow(change)
        try change.sql.run(
            """
            INSERT INTO delivery_route (project, service, version, routes)
            VALUES (\(service.project), \(service.name), \(version), \(text))
            ON CONFLICT (project, service) DO UPDATE SET version = excluded.version, routes = excluded.routes
            """)
    }

    /// Notes where a service shall be reached, its preview included.
    ///
    /// - Throws: 409 when another service is reached there.
    static func reserve(_ spec: ServiceSpec, for name: ServiceReference, in sql: Connection) throws {
        let own = try sql.rows("SELECT path, hosts FROM delivery_address WHERE \(name.rows)").map {
            (path: try $0.get("path", as: String.self), hosts: try Self.hosts($0))
        }
        try sql.run("DELETE FROM delivery_address WHERE \(name.rows)")
        let path = RouteShape.path(name, spec)
        let hasPreview = spec.rollout.strategy == .blue_green && spec.route.protocol != .grpc
        for path in hasPreview ? [path, path + "-preview"] : [path] {
            let hosts = spec.route.hosts.map { $0.lowercased() }
            // What has been so for long is not refused: it would keep all else of the service from being changed.
            let isNews = !own.contains { $0.path == path && $0.hosts == hosts }
            let rows = try sql.rows("SELECT project, service, hosts FROM delivery_address WHERE path = \(path)")
            for row in isNews ? rows : [] {
                let others = try Self.hosts(row)
                // One of the two that names hosts is the more exact one, and is reached there.
                guard hosts.isEmpty ? others.isEmpty : !Set(others).isDisjoint(with: hosts) else { continue }
                let other = ServiceReference(project: try row.get("project"), name: try row.get("service"))
                throw Problem(
                    "service.address", status: 409,
                    "\(path) leads to service \"\(other.name)\"\(other.project == name.project ? "" : " of project \"\(other.project)\"") already",
                    hint: "Write another `route: { path: … }`, or hosts of its own.", location: "route.path")
            }
            try sql.run(
                """
                INSERT INTO delivery_address (project, service, path, hosts)
                VALUES (\(name.project), \(name.name), \(path), \(hosts.json.text))
                """)
        }
    }

    private static func hosts(_ row: Row) throws -> [String] {
        try [String](json: JSONParser.parse(try row.get("hosts", as: String.self)), at: []).map { $0.lowercased() }
    }

    static func remove(_ service: ServiceReference, in change: Change) throws {
        try change.sql.run("DELETE FROM delivery_address WHERE \(service.rows)")
        guard try change.sql.run("DELETE FROM delivery_route WHERE \(service.rows)") > 0 else { return }
        _ = try grow(change)
    }

    private static func grow(_ change: Change) throws -> Int64 {
        try change.sql.run("UPDATE delivery_table SET version = version + 1 WHERE id = 1")
        change.ring(topic)
        return try tableVersion(in: change.sql)
    }
}

/// The routes that follow from a view, in the form that Base/Proxy reads.
enum RouteShape {
    /// The path prefix that leads to a service.
    static func path(_ name: ServiceReference, _ spec: ServiceSpec) -> String {
        if let path = spec.route.path { return path }
        if spec.route.protocol == .grpc { return "/" }
        return spec.workload.model == nil ? "/services/\(name.name)" : "/serving/\(name.name)"
    }

    static func routes(_ name: ServiceReference, _ spec: ServiceSpec, _ view: RolloutView) -> [JSONValue] {
        let weighted = view.revisions.map { ($0, view.weight(of: $0.revision)) }.filter { $0.1 > 0 && $0.0.ready > 0 }
        // A weight without copies that are well falls to the others.
        let lost = 100 - weighted.reduce(0) { $0 + $1.1 }
        let heir = weighted.firstIndex { $0.0.revision == view.stable } ?? weighted.indices.first
        var revisions = weighted.enumerated().map { index, pair in
            revision(pair.0, weight: pair.1 + (index == heir ? lost : 0))
        }
        var main = route(name, spec, path: path(name, spec), [])
        if let trial = view.trial, !trial.isDirect, let fresh = view.revision(trial.revision), fresh.ready > 0 {
            let extras = extras(trial)
            // What only some requests lead to has to be in the table, without a weight.
            if !extras.isEmpty, !weighted.contains(where: { $0.0.revision == trial.revision }) {
                revisions.append(revision(fresh, weight: 0))
            }
            for (key, value) in extras { main[key] = value }
            if !weighted.isEmpty, let sticky = trial.settings.sticky { main["sticky"] = Self.sticky(sticky, trial) }
        }
        main["revisions"] = .array(revisions)
        var routes: [JSONValue] = [.object(main)]
        // The path of a gRPC call is the name of its method: there is no second one for a preview.
        if let trial = view.trial, trial.plan.hasPreview, spec.route.protocol != .grpc,
            let preview = view.revision(trial.revision), preview.ready > 0
        {
            let shown = route(name, spec, path: path(name, spec) + "-preview", [revision(preview, weight: 100)])
            routes.append(.object(shown))
        }
        return routes
    }

    /// Rules and mirror of the step under way: they follow from it, so that they are gone with the rollout.
    private static func extras(_ trial: RolloutRow) -> Ordered<JSONValue> {
        let revision = JSONValue.string(String(trial.revision))
        var extras: Ordered<JSONValue> = [:]
        let rules = trial.plan.routes(at: trial.step).map { rule -> JSONValue in
            let conditions =
                rule.header.map { ["header": .string($0.key), "exact": .string($0.value)] as JSONValue }
                + rule.cookie.map { ["cookie": .string($0.key), "exact": .string($0.value)] as JSONValue }
            return ["name": .string(rule.name), "when": .array(conditions), "revision": revision]
        }
        if !rules.isEmpty { extras["rules"] = .array(rules) }
        let mirrored = trial.plan.mirrored(at: trial.step)
        if mirrored > 0 { extras["mirror"] = ["revision": revision, "percent": .integer(Int64(mirrored))] }
        return extras
    }

    private static func sticky(_ spec: StickySpec, _ trial: RolloutRow) -> JSONValue {
        var sticky: Ordered<JSONValue> = ["ttl_s": .integer(Int64(spec.ttl.seconds))]
        if let cookie = spec.cookie { sticky["cookie"] = .string(cookie) }
        if let header = spec.header { sticky["by_header"] = .string(header) }
        if let cookie = spec.own_cookie { sticky["by_cookie"] = .string(cookie) }
        // Two tests of one service divide its clients anew.
        sticky["salt"] = .string("\(trial.service)/\(trial.revision)")
        return .object(sticky)
    }

    private static func route(
        _ name: ServiceReference, _ spec: ServiceSpec, path: String, _ revisions: [JSONValue]
    ) -> Ordered<JSONValue> {
        var route: Ordered<JSONValue> = [
            "service": .string(name.description), "hosts": spec.route.hosts.json, "path_prefix": .string(path),
            "strip_prefix": .bool(spec.route.protocol != .grpc), "revisions": .array(revisions),
            "retry": .bool(spec.route.retries.attempts > 0),
            "timeout_ms": milliseconds(spec.route.timeout),
        ]
        if spec.route.protocol != .http { route["http2"] = true }
        for (key, value) in policies(spec.route) { route[key] = value }
        return route
    }

    private static func milliseconds(_ span: TimeSpan) -> JSONValue { .integer(Int64(span.seconds * 1000)) }

    /// What was set beyond the defaults, which are the proxy's own.
    private static func policies(_ spec: RouteSpec) -> Ordered<JSONValue> {
        var policies: Ordered<JSONValue> = [:]
        if spec.retries != RouteRetrySpec() {
            policies["retries"] = [
                "attempts": spec.retries.attempts.json, "statuses": spec.retries.statuses.json,
                "budget_percent": .number(spec.retries.budget.fraction * 100),
                "budget_per_second": .number(spec.retries.per_second),
            ]
        }
        var timeouts: Ordered<JSONValue> = [:]
        if let total = spec.total_timeout { timeouts["total_ms"] = milliseconds(total) }
        if let idle = spec.idle_timeout { timeouts["idle_ms"] = milliseconds(idle) }
        if !timeouts.isEmpty { policies["timeouts"] = .object(timeouts) }
        if let outliers = spec.outliers {
            policies["outliers"] = [
                "consecutive_errors": outliers.errors.json, "ejection_ms": milliseconds(outliers.for),
                "max_ejected_percent": .integer(Int64((outliers.most.fraction * 100).rounded())),
            ]
        }
        if let limits = spec.limits {
            var told: Ordered<JSONValue> = ["pending": limits.pending.json]
            if let connections = limits.connections { told["connections"] = connections.json }
            if let requests = limits.requests { told["requests"] = requests.json }
            policies["limits"] = .object(told)
        }
        if !spec.rate_limits.isEmpty {
            policies["rate_limits"] = .array(
                spec.rate_limits.map { limit in
                    var told: Ordered<JSONValue> = ["per_second": .number(limit.per_second)]
                    if let burst = limit.burst { told["burst"] = burst.json }
                    if limit.by_client { told["by_client"] = true }
                    if let header = limit.by_header { told["by_header"] = .string(header) }
                    if let cookie = limit.by_cookie { told["by_cookie"] = .string(cookie) }
                    return .object(told)
                })
        }
        return policies
    }

    private static func revision(_ revision: RolloutView.Revision, weight: Int) -> JSONValue {
        let endpoints = revision.live.filter(\.isReady).compactMap(\.instance).map { instance -> JSONValue in
            [
                "host": .string(instance.host), "port": .integer(Int64(instance.port)),
                "instance": .string(instance.id.text),
            ]
        }
        return [
            "revision": .string(String(revision.revision)), "weight": .integer(Int64(weight)),
            "endpoints": .array(endpoints),
        ]
    }
}
