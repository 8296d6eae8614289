import Manifests
import Proxy

/// What Envoy is told: clusters, routes and a listener, each a file of resources (xDS v3 over the filesystem).
struct EnvoyConfiguration {
    private let routes: [NamedRoute]
    private let bind: (host: String, port: Int)
    private let folder: String

    init(_ table: RouteTable, bind: (host: String, port: Int), folder: String) {
        routes = NamedRoute.all(table)
        self.bind = bind
        self.folder = folder
    }

    /// By name, so that those of two tables can be put together.
    var clusters: [String: JSONValue] {
        var clusters: [String: JSONValue] = [:]
        for route in routes {
            for revision in route.route.revisions where !revision.endpoints.isEmpty {
                clusters[Self.cluster(route, revision.revision)] = cluster(route, revision)
            }
        }
        return clusters
    }

    /// Service and revision of each cluster.
    var owners: [String: (service: String, revision: Int)] {
        var owners: [String: (service: String, revision: Int)] = [:]
        for route in routes {
            for revision in route.route.revisions {
                guard let number = Int(revision.revision) else { continue }
                owners[Self.cluster(route, revision.revision)] = (route.route.service, number)
            }
        }
        return owners
    }

    static func file(_ resources: [JSONValue], version: String) -> String {
        JSONValue.object(["version_info": .string(version), "resources": .array(resources)]).text
    }

    private func cluster(_ route: NamedRoute, _ revision: RevisionRoute) -> JSONValue {
        let endpoints = revision.endpoints.map { endpoint -> JSONValue in
            [
                "endpoint": [
                    "address": [
                        "socket_address": [
                            "address": .string(endpoint.host), "port_value": .integer(Int64(endpoint.port)),
                        ]
                    ]
                ]
            ]
        }
        let isAddress = revision.endpoints.allSatisfy { $0.host.utf8.allSatisfy { $0 == 0x2E || $0 &- 0x30 < 10 } }
        let name = Self.cluster(route, revision.revision)
        return [
            "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": .string(name),
            "type": isAddress ? "STATIC" : "STRICT_DNS", "lb_policy": "LEAST_REQUEST",
            "connect_timeout": .string(Self.seconds(route.route.timeouts?.connect_ms ?? 2_000)),
            "load_assignment": [
                "cluster_name": .string(name), "endpoints": [["lb_endpoints": .array(endpoints)]],
            ],
        ]
    }

    // MARK: - Routes

    var routeConfiguration: JSONValue {
        var hosts: [JSONValue] = []
        let names = Set(routes.flatMap { $0.route.hosts.map { $0.lowercased() } }).sorted()
        for name in names {
            let own = routes.filter { $0.route.hosts.contains { $0.lowercased() == name } }
            let taken = Set(own.map(\.prefix))
            let common = routes.filter { $0.route.hosts.isEmpty && !taken.contains($0.prefix) }
            hosts.append(host(name, domain: name, own + common))
        }
        hosts.append(host("any", domain: "*", routes.filter { $0.route.hosts.isEmpty }))
        return [
            "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "name": "vagus",
            "virtual_hosts": .array(hosts), "ignore_port_in_host_matching": true,
        ]
    }

    private func host(_ name: String, domain: String, _ routes: [NamedRoute]) -> JSONValue {
        var entries: [JSONValue] = []
        for route in routes {
            for rule in route.rules {
                let target = route.revision(rule.revision).map { [($0, 1)] } ?? []
                entries += self.entries(route, rule.when, target)
            }
            entries += self.entries(route, [], route.weighted.map { ($0, $0.weight) })
        }
        return ["name": .string(name), "domains": [.string(domain)], "routes": .array(entries)]
    }

    /// One entry, or two where what follows the prefix is forwarded: `/a` and `/a/…` are stripped differently.
    private func entries(
        _ route: NamedRoute, _ conditions: [TrafficCondition], _ shares: [(RevisionRoute, Int)]
    ) -> [JSONValue] {
        let prefix = route.prefix
        guard !prefix.isEmpty else { return [entry(route, ["prefix": "/"], nil, conditions, shares)] }
        guard route.route.strip_prefix else {
            return [entry(route, ["path_separated_prefix": .string(prefix)], nil, conditions, shares)]
        }
        return [
            entry(route, ["prefix": .string(prefix + "/")], "/", conditions, shares),
            entry(route, ["path": .string(prefix)], "/", conditions, shares),
        ]
    }

    private func entry(
        _ route: NamedRoute, _ path: Ordered<JSONValue>, _ rewrite: String?, _ conditions: [TrafficCondition],
        _ shares: [(RevisionRoute, Int)]
    ) -> JSONValue {
        var match = path
        if !conditions.isEmpty { match["headers"] = .array(conditions.map(Self.matcher)) }
        guard !shares.isEmpty else {
            return [
                "match": .object(match),
                "direct_response": ["status": 503, "body": ["inline_string": "{\"error\":\"no live endpoint\"}"]],
            ]
        }
        let clusters = shares.map { revision, weight -> JSONValue in
            ["name": .string(Self.cluster(route, revision.revision)), "weight": .integer(Int64(weight))]
        }
        var action: Ordered<JSONValue> = [
            "weighted_clusters": ["clusters": .array(clusters)],
            "timeout": .string(Self.seconds(route.route.timeout_ms)),
        ]
        if let rewrite { action["prefix_rewrite"] = .string(rewrite) }
        if route.route.retry {
            action["retry_policy"] = ["retry_on": "connect-failure,refused-stream", "num_retries": 2]
        }
        if let mirror = route.route.mirror, mirror.percent > 0 {
            let parts = Int64((mirror.percent * 10_000).rounded())
            action["request_mirror_policies"] = [
                [
                    "cluster": .string(Self.cluster(route, mirror.revision)),
                    "runtime_fraction": ["default_value": ["numerator": .integer(parts), "denominator": "MILLION"]],
                ]
            ]
        }
        return ["match": .object(match), "route": .object(action)]
    }

    private static func matcher(_ condition: TrafficCondition) -> JSONValue {
        guard let cookie = condition.cookie else {
            var matcher: Ordered<JSONValue> = ["name": .string(condition.header ?? "")]
            if let present = condition.present {
                matcher["present_match"] = .bool(present)
            } else {
                matcher["string_match"] = text(condition)
            }
            return .object(matcher)
        }
        // Envoy has no matcher for cookies among those for headers: the whole line is matched.
        let value =
            condition.exact.map { quoted($0) } ?? condition.prefix.map { quoted($0) + "[^;]*" } ?? condition.regex
            ?? "[^;]*"
        let pattern = "(?:.*;)?[ \\t]*\(quoted(cookie))=(?:\(value))[ \\t]*(?:;.*)?"
        return [
            "name": "cookie", "string_match": ["safe_regex": ["regex": .string(pattern)]],
            "invert_match": .bool(condition.present == false), "treat_missing_header_as_empty": true,
        ]
    }

    private static func text(_ condition: TrafficCondition) -> JSONValue {
        if let exact = condition.exact { return ["exact": .string(exact)] }
        if let prefix = condition.prefix { return ["prefix": .string(prefix)] }
        return ["safe_regex": ["regex": .string(condition.regex ?? "")]]
    }

    private static func quoted(_ text: String) -> String {
        text.reduce(into: "") { result, letter in
            if ".+*?()[]|^/".contains(letter) { result += "\\" }
            result.append(letter)
        }
    }

    // MARK: - Listener

    /// The listener asks for its routes in another file, so that a change of routes leaves its connections alone.
    var listener: JSONValue {
        let manager: JSONValue = [
            "@type":
                "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "vagus", "use_remote_address": true,
            "rds": [
                "route_config_name": "vagus",
                "config_source": [
                    "resource_api_version": "V3",
                    "path_config_source": [
                        "path": .string("\(folder)/rds.json"), "watched_directory": ["path": .string(folder)],
                    ],
                ],
            ],
            "http_filters": [
                [
                    "name": "envoy.filters.http.router",
                    "typed_config": [
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                    ],
                ]
            ],
            "upgrade_configs": [["upgrade_type": "websocket"]],
        ]
        return [
            "@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "vagus",
            "address": [
                "socket_address": ["address": .string(bind.host), "port_value": .integer(Int64(bind.port))]
            ],
            "filter_chains": [
                ["filters": [["name": "envoy.filters.network.http_connection_manager", "typed_config": manager]]]
            ],
        ]
    }

    /// What Envoy is started with: where our files are, and its admin page.
    static func bootstrap(folder: String, admin: (host: String, port: Int)) -> JSONValue {
        let source = { (name: String) -> JSONValue in
            [
                "resource_api_version": "V3",
                "path_config_source": [
                    "path": .string("\(folder)/\(name).json"), "watched_directory": ["path": .string(folder)],
                ],
            ]
        }
        return [
            "node": ["id": "vagus", "cluster": "vagus"],
            "admin": [
                "address": [
                    "socket_address": ["address": .string(admin.host), "port_value": .integer(Int64(admin.port))]
                ]
            ],
            "dynamic_resources": ["cds_config": source("cds"), "lds_config": source("lds")],
        ]
    }

    private static func cluster(_ route: NamedRoute, _ revision: String) -> String {
        "\(route.name)_" + revision.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" }
    }

    private static func seconds(_ milliseconds: Int) -> String { "\(Double(max(1, milliseconds)) / 1_000)s" }
}
