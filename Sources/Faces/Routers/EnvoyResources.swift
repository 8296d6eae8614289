import Proxy
import Wire

/// What Envoy is told of one table: clusters, their endpoints, routes and a listener, each a message of xDS v3.
///
/// Field numbers are those of Envoy's published API (envoyproxy/data-plane-api, `envoy/config/…/v3`); a comment names the
/// message wherever the numbers change their meaning.
struct EnvoyResources {
    /// By name, so that those of two tables can be put together.
    private(set) var clusters: [String: [UInt8]] = [:]
    /// Endpoints of clusters, by the cluster's name; a cluster with a copy that has a name resolves it and is not in here.
    private(set) var endpoints: [String: [UInt8]] = [:]
    /// Service and revision of each cluster.
    private(set) var owners: [String: (service: String, revision: Int)] = [:]
    private let routes: [NamedRoute]

    init(_ table: RouteTable) {
        routes = NamedRoute.all(table)
        for route in routes {
            for revision in route.route.revisions {
                let name = Self.cluster(route, revision.revision)
                if let number = Int(revision.revision) { owners[name] = (route.route.service, number) }
                guard !revision.endpoints.isEmpty else { continue }
                let isAddress = revision.endpoints.allSatisfy { Self.isAddress($0.host) }
                clusters[name] = cluster(route, revision, isAddress: isAddress)
                if isAddress { endpoints[name] = ProtobufWriter.bytes { Self.assign(name, revision.endpoints, &$0) } }
            }
        }
    }

    /// Everything to tell of the table.
    ///
    /// The listener never changes, so connections are left alone.
    func resources(bind: (host: String, port: Int)) -> [ResourceKind: [String: [UInt8]]] {
        [
            .clusters: clusters, .endpoints: endpoints, .routes: [Self.routes: routeConfiguration],
            .listeners: ["vagus": Self.listener(bind)],
        ]
    }

    /// Name of the only route configuration.
    static let routes = "vagus"

    private static func cluster(_ route: NamedRoute, _ revision: String) -> String {
        "\(route.name)_" + revision.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" }
    }

    /// EDS takes IP addresses only; a name is resolved by the cluster itself.
    private static func isAddress(_ host: String) -> Bool {
        host.contains(":") || host.utf8.allSatisfy { $0 == 0x2E || $0 &- 0x30 < 10 }
    }

    // MARK: - Clusters and endpoints

    private func cluster(_ route: NamedRoute, _ revision: RevisionRoute, isAddress: Bool) -> [UInt8] {
        let name = Self.cluster(route, revision.revision)
        return ProtobufWriter.bytes { writer in
            // Cluster
            writer.string(1, name)
            writer.unsigned(2, isAddress ? 3 : 1)  // EDS, STRICT_DNS
            if isAddress { writer.message(3) { Self.adsSource(1, &$0) } }
            writer.duration(4, milliseconds: route.route.timeouts?.connect_ms ?? 2_000)
            writer.unsigned(6, 1)  // LEAST_REQUEST
            if !isAddress { writer.message(33) { Self.assign(name, revision.endpoints, &$0) } }
            if route.route.http2 == true {
                writer.message(36) { entry in  // typed_extension_protocol_options, an entry of the map
                    entry.string(1, "envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
                    entry.any(2, "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions") {
                        options in
                        options.message(3) { $0.message(2) { _ in } }  // explicit_http_config, http2_protocol_options
                    }
                }
            }
        }
    }

    // ClusterLoadAssignment
    private static func assign(_ name: String, _ endpoints: [Endpoint], _ writer: inout ProtobufWriter) {
        writer.string(1, name)
        writer.message(2) { locality in  // LocalityLbEndpoints
            for endpoint in endpoints {
                locality.message(2) { $0.message(1) { $0.message(1) { address(&$0, endpoint.host, endpoint.port) } } }
            }
        }
    }

    // Address
    private static func address(_ writer: inout ProtobufWriter, _ host: String, _ port: Int) {
        writer.message(1) { socket in
            socket.string(2, host)
            socket.unsigned(3, UInt64(clamping: port))
        }
    }

    /// ConfigSource: over this same stream, in version 3.
    private static func adsSource(_ number: Int, _ writer: inout ProtobufWriter) {
        writer.message(number) { source in
            source.message(3) { _ in }
            source.unsigned(6, 2)
        }
    }

    // MARK: - Routes

    private var routeConfiguration: [UInt8] {
        ProtobufWriter.bytes { writer in
            // RouteConfiguration
            writer.string(1, Self.routes)
            let names = Set(routes.flatMap { $0.route.hosts.map { $0.lowercased() } }).sorted()
            for name in names {
                let own = routes.filter { $0.route.hosts.contains { $0.lowercased() == name } }
                let taken = Set(own.map(\.prefix))
                let common = routes.filter { $0.route.hosts.isEmpty && !taken.contains($0.prefix) }
                host(name, domain: name, own + common, &writer)
            }
            host("any", domain: "*", routes.filter { $0.route.hosts.isEmpty }, &writer)
            writer.bool(14, true)  // ignore_port_in_host_matching
        }
    }

    private func host(_ name: String, domain: String, _ routes: [NamedRoute], _ writer: inout ProtobufWriter) {
        writer.message(2) { host in  // VirtualHost
            host.string(1, name)
            host.string(2, domain)
            for route in routes {
                for rule in route.rules {
                    let target = route.revision(rule.revision).map { [($0, 1)] } ?? []
                    entries(route, rule.when, target, &host)
                }
                entries(route, [], route.weighted.map { ($0, $0.weight) }, &host)
            }
        }
    }

    /// How an entry matches a path, by the field's number in RouteMatch.
    private enum PathMatch: Int {
        case prefix = 1
        case whole = 2
        case separatedPrefix = 14
    }

    /// One entry, or two where what follows the prefix is forwarded: `/a` and `/a/…` are stripped differently.
    private func entries(
        _ route: NamedRoute, _ conditions: [TrafficCondition], _ shares: [(RevisionRoute, Int)],
        _ writer: inout ProtobufWriter
    ) {
        let prefix = route.prefix
        let matches: [(PathMatch, String)] =
            if prefix.isEmpty {
                [(.prefix, "/")]
            } else if route.route.strip_prefix {
                [(.prefix, prefix + "/"), (.whole, prefix)]
            } else {
                [(.separatedPrefix, prefix)]
            }
        let rewrites = route.route.strip_prefix && !prefix.isEmpty
        for (kind, path) in matches {
            writer.message(3) { entry in  // Route
                entry.message(1) { match in
                    match.string(kind.rawValue, path)
                    for condition in conditions { match.message(6) { Self.match(condition, &$0) } }
                }
                guard !shares.isEmpty else {
                    entry.message(7) { answer in  // DirectResponseAction
                        answer.unsigned(1, 503)
                        answer.message(2) { $0.string(3, "{\"error\":\"no live endpoint\"}") }
                    }
                    return
                }
                entry.message(2) { action(route, shares, rewrites: rewrites, &$0) }
            }
        }
    }

    // RouteAction
    private func action(
        _ route: NamedRoute, _ shares: [(RevisionRoute, Int)], rewrites: Bool, _ writer: inout ProtobufWriter
    ) {
        writer.message(3) { clusters in  // WeightedCluster
            for (revision, weight) in shares {
                clusters.message(1) { share in
                    share.string(1, Self.cluster(route, revision.revision))
                    share.message(2) { $0.unsigned(1, UInt64(clamping: weight)) }
                }
            }
        }
        if rewrites { writer.string(5, "/") }
        if route.route.http2 == true {
            // Envoy's limit is for the whole answer, and a stream of gRPC is one: nothing but silence ends it.
            writer.duration(8, milliseconds: 0)
            if let idle = route.route.timeouts?.idle_ms { writer.duration(24, milliseconds: max(1, idle)) }
        } else {
            writer.duration(8, milliseconds: max(1, route.route.timeout_ms))
        }
        if route.route.retry {
            writer.message(9) { policy in  // RetryPolicy
                policy.string(1, "connect-failure,refused-stream")
                policy.message(2) { $0.unsigned(1, 2) }
            }
        }
        if let mirror = route.route.mirror, mirror.percent > 0 {
            writer.message(30) { policy in  // RequestMirrorPolicy
                policy.string(1, Self.cluster(route, mirror.revision))
                policy.message(3) { fraction in
                    fraction.message(1) { percent in  // FractionalPercent
                        percent.unsigned(1, UInt64((min(mirror.percent, 100) * 10_000).rounded()))
                        percent.unsigned(2, 2)  // MILLION
                    }
                }
            }
        }
    }

    // HeaderMatcher
    private static func match(_ condition: TrafficCondition, _ writer: inout ProtobufWriter) {
        guard let cookie = condition.cookie else {
            writer.string(1, condition.header ?? "")
            if let present = condition.present {
                writer.bool(7, true)
                writer.bool(8, !present)
            } else {
                writer.message(13) { text in  // StringMatcher
                    if let exact = condition.exact {
                        text.data(1, Array(exact.utf8))
                    } else if let prefix = condition.prefix {
                        text.data(2, Array(prefix.utf8))
                    } else {
                        text.message(5) { $0.string(2, condition.regex ?? "") }
                    }
                }
            }
            return
        }
        // Envoy has no matcher for cookies among those for headers: the whole line is matched.
        let value =
            condition.exact.map { quoted($0) } ?? condition.prefix.map { quoted($0) + "[^;]*" } ?? condition.regex
            ?? "[^;]*"
        writer.string(1, "cookie")
        writer.bool(8, condition.present == false)
        writer.message(13) { text in
            text.message(5) { $0.string(2, "(?:.*;)?[ \\t]*\(quoted(cookie))=(?:\(value))[ \\t]*(?:;.*)?") }
        }
        writer.bool(14, true)  // treat_missing_header_as_empty
    }

    private static func quoted(_ text: String) -> String {
        text.reduce(into: "") { result, letter in
            if ".+*?()[]|^/".contains(letter) { result += "\\" }
            result.append(letter)
        }
    }

    // MARK: - Listener

    /// It asks for its routes apart, so that a change of routes leaves its connections alone.
    private static func listener(_ bind: (host: String, port: Int)) -> [UInt8] {
        ProtobufWriter.bytes { writer in
            // Listener
            writer.string(1, "vagus")
            writer.message(2) { address(&$0, bind.host, bind.port) }
            writer.message(3) { chain in  // FilterChain
                chain.message(3) { filter in
                    filter.string(1, "envoy.filters.network.http_connection_manager")
                    filter.any(4, manager) { manager in
                        // HttpConnectionManager
                        manager.string(2, "vagus")
                        manager.message(3) { rds in
                            adsSource(1, &rds)
                            rds.string(2, routes)
                        }
                        // Counts what gRPC calls end with, which their HTTP status does not tell.
                        manager.message(5) { statistics in
                            statistics.string(1, "envoy.filters.http.grpc_stats")
                            statistics.any(
                                4, "type.googleapis.com/envoy.extensions.filters.http.grpc_stats.v3.FilterConfig"
                            ) { $0.message(3) { _ in } }  // stats_for_all_methods: false
                        }
                        manager.message(5) { router in
                            router.string(1, "envoy.filters.http.router")
                            router.any(4, "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router") { _ in }
                        }
                        manager.message(14) { $0.bool(1, true) }  // use_remote_address
                        manager.message(23) { $0.string(1, "websocket") }
                    }
                }
            }
        }
    }

    private static let manager =
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
}

extension ProtobufWriter {
    static func bytes(_ body: (inout ProtobufWriter) -> Void) -> [UInt8] {
        var writer = ProtobufWriter()
        body(&writer)
        return writer.bytes
    }

    /// Writes a `google.protobuf.Any`.
    mutating func any(_ number: Int, _ type: String, _ body: (inout ProtobufWriter) -> Void) {
        message(number) { writer in
            writer.string(1, type)
            writer.message(2, body)
        }
    }

    /// Writes a `google.protobuf.Duration`.
    mutating func duration(_ number: Int, milliseconds: Int) {
        message(number) { writer in
            writer.unsigned(1, UInt64(max(0, milliseconds)) / 1_000)
            writer.unsigned(2, UInt64(max(0, milliseconds)) % 1_000 * 1_000_000)
        }
    }
}
