import API
import Kernel
import Manifests
import Proxy

/// A table of routes as objects of a cluster: an HTTPRoute a route (gateway.networking.k8s.io/v1), and for each of its revisions a
/// Service without a selector whose EndpointSlices (discovery.k8s.io/v1) list just the copies that are well.
struct GatewayRoutes: Sendable, Equatable {
    /// Path in the API → object. Services and slices; then routes, which use them.
    var backends: [String: JSONValue] = [:]
    var routes: [String: JSONValue] = [:]

    /// Where the objects go, and whom the routes belong to.
    struct Place: Sendable {
        var namespace: String
        /// Name of a Gateway, and its namespace.
        var gateway: (namespace: String, name: String)
        /// What tells our objects from those of others in the namespace.
        var owner: String

        var labels: [(String, String)] { [("app.kubernetes.io/managed-by", "vagus"), ("vagus/router", owner)] }
        var services: String { "/api/v1/namespaces/\(namespace)/services" }
        var slices: String { "/apis/discovery.k8s.io/v1/namespaces/\(namespace)/endpointslices" }
        var httpRoutes: String { "/apis/gateway.networking.k8s.io/v1/namespaces/\(namespace)/httproutes" }

        func metadata(_ name: String, _ more: [(String, String)] = []) -> JSONValue {
            let labels = Ordered((labels + more).map { ($0.0, JSONValue.string($0.1)) })
            return ["name": .string(name), "namespace": .string(namespace), "labels": .object(labels)]
        }
    }

    /// The port of our Services; what the copies listen on stands in their slices.
    private static let port: Int64 = 80
    /// Rules of one HTTPRoute, as its schema bounds them.
    private static let ruleLimit = 16

    init() {}

    /// - Throws: 422 `router.cannot` for what a Gateway cannot say.
    init(_ table: RouteTable, _ place: Place) throws {
        for route in NamedRoute.all(table) {
            let name = Self.name(route)
            for revision in route.route.revisions where !revision.endpoints.isEmpty {
                addBackend(revision, "\(name)-r\(revision.revision)", route, place)
            }
            let rules = try Self.rules(route, name)
            guard !rules.isEmpty else { continue }
            var spec: Ordered<JSONValue> = [
                "parentRefs": [["name": .string(place.gateway.name), "namespace": .string(place.gateway.namespace)]],
                "rules": .array(rules),
            ]
            if !route.route.hosts.isEmpty {
                spec["hostnames"] = .array(route.route.hosts.map { .string($0.lowercased()) })
            }
            routes["\(place.httpRoutes)/\(name)"] = [
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": place.metadata(name),
                "spec": .object(spec),
            ]
        }
    }

    /// `vagus-SERVICE-HASH`, at most 50 letters, so that a revision fits behind it (a Service has 63).
    private static func name(_ route: NamedRoute) -> String {
        let parts = route.name.lowercased().split(separator: "_").map(String.init)
        let middle = parts.dropFirst().dropLast().joined(separator: "-").prefix(30)
        return (["vagus"] + (middle.isEmpty ? [] : [String(middle)]) + [parts.last ?? ""]).joined(separator: "-")
            .replacing("--", with: "-")
    }

    // MARK: - Backends

    private mutating func addBackend(_ revision: RevisionRoute, _ name: String, _ route: NamedRoute, _ place: Place) {
        // Arms have numbers below zero, and a label begins with a letter or a digit; PodShape writes them so, too.
        let marks = [("vagus/revision", revision.revision.replacing("-", with: "a"))]
        backends["\(place.services)/\(name)"] = [
            "apiVersion": "v1", "kind": "Service", "metadata": place.metadata(name, marks),
            "spec": ["ports": [["name": "http", "port": .integer(Self.port), "protocol": "TCP"]]],
        ]
        // All endpoints of a slice share its port and the form of their addresses.
        let groups = Dictionary(grouping: revision.endpoints) { "\($0.host.contains(":") ? "v6" : "v4")-\($0.port)" }
        for (group, endpoints) in groups {
            let told = endpoints.sorted { $0.host < $1.host }.map { endpoint -> JSONValue in
                ["addresses": [.string(endpoint.host)], "conditions": ["ready": true]]
            }
            let slice = "\(name)-\(group)"
            let service = [
                ("kubernetes.io/service-name", name), ("endpointslice.kubernetes.io/managed-by", "vagus"),
            ]
            backends["\(place.slices)/\(slice)"] = [
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": place.metadata(slice, marks + service),
                "addressType": group.hasPrefix("v6") ? "IPv6" : "IPv4", "endpoints": .array(told),
                "ports": [["name": "http", "port": .integer(Int64(endpoints[0].port)), "protocol": "TCP"]],
            ]
        }
    }

    // MARK: - Rules

    /// First the rules of some requests, then the shares of all others.
    private static func rules(_ route: NamedRoute, _ name: String) throws -> [JSONValue] {
        try checkOrder(route)
        var rules = try route.rules.map { rule -> JSONValue in
            let matches = try rule.when.map { try match($0, route) }
            return self.rule(route, name, headers: matches, [(rule.revision, 1)])
        }
        let shares = route.weighted.map { ($0.revision, Int64($0.weight)) }
        if !shares.isEmpty { rules.append(rule(route, name, headers: [], shares)) }
        guard rules.count <= ruleLimit else {
            throw cannot(route, "more than \(ruleLimit - 1) rules of one route", "Leave some rules out.")
        }
        return rules
    }

    /// A Gateway asks more conditions first; where that would lead another way than the order written, it is refused.
    private static func checkOrder(_ route: NamedRoute) throws {
        let rules = route.rules
        for (first, second) in zip(rules, rules.dropFirst())
        where second.when.count > first.when.count && Set(rules.map(\.revision)).count > 1 {
            throw cannot(
                route, "a rule of \(first.when.count) conditions before one of \(second.when.count)",
                "Put rules with more conditions first.")
        }
    }

    private static func rule(
        _ route: NamedRoute, _ name: String, headers: [JSONValue], _ shares: [(String, Int64)]
    ) -> JSONValue {
        var match: Ordered<JSONValue> = [
            "path": ["type": "PathPrefix", "value": .string(route.prefix.isEmpty ? "/" : route.prefix)]
        ]
        if !headers.isEmpty { match["headers"] = .array(headers) }
        var filters: [JSONValue] = []
        if route.route.strip_prefix, !route.prefix.isEmpty {
            filters.append([
                "type": "URLRewrite",
                "urlRewrite": ["path": ["type": "ReplacePrefixMatch", "replacePrefixMatch": "/"]],
            ])
        }
        if let mirror = route.route.mirror, mirror.percent > 0,
            route.revision(mirror.revision)?.endpoints.isEmpty == false
        {
            filters.append([
                "type": "RequestMirror",
                "requestMirror": [
                    "backendRef": ["name": .string("\(name)-r\(mirror.revision)"), "port": .integer(port)],
                    "fraction": [
                        "numerator": .integer(Int64((mirror.percent * 10_000).rounded())), "denominator": 1_000_000,
                    ],
                ],
            ])
        }
        var rule: Ordered<JSONValue> = [
            "matches": [.object(match)],
            "backendRefs": .array(
                shares.map { revision, weight in
                    [
                        "name": .string("\(name)-r\(revision)"), "port": .integer(port), "weight": .integer(weight),
                    ]
                }),
            "timeouts": timeouts(route.route),
        ]
        if !filters.isEmpty { rule["filters"] = .array(filters) }
        return .object(rule)
    }

    private static func timeouts(_ route: Route) -> JSONValue {
        var told: Ordered<JSONValue> = ["backendRequest": .string("\(max(1, route.timeout_ms))ms")]
        if let total = route.timeouts?.total_ms {
            told["request"] = .string("\(total)ms")
            // The schema wants a try no longer than all of them.
            told["backendRequest"] = .string("\(min(total, max(1, route.timeout_ms)))ms")
        }
        return .object(told)
    }

    private static func match(_ condition: TrafficCondition, _ route: NamedRoute) throws -> JSONValue {
        if condition.present == false {
            throw cannot(route, "rules for requests without a header or cookie", "Ask for what is there.")
        }
        if let cookie = condition.cookie {
            let value =
                condition.exact.map { quoted($0) } ?? condition.prefix.map { quoted($0) + "[^;]*" } ?? condition.regex
                ?? "[^;]*"
            return header("Cookie", regex: "(?:.*;)?[ \\t]*\(quoted(cookie))=(?:\(value))[ \\t]*(?:;.*)?")
        }
        let name = condition.header ?? ""
        if let exact = condition.exact { return ["type": "Exact", "name": .string(name), "value": .string(exact)] }
        return header(name, regex: condition.prefix.map { quoted($0) + ".*" } ?? condition.regex ?? ".*")
    }

    /// Anchored, as some gateways look for a match and others for a whole one.
    private static func header(_ name: String, regex: String) -> JSONValue {
        ["type": "RegularExpression", "name": .string(name), "value": .string("^(?:\(regex))$")]
    }

    private static func quoted(_ text: String) -> String {
        text.reduce(into: "") { result, letter in
            if ".+*?()[]{}|^$/\\".contains(letter) { result += "\\" }
            result.append(letter)
        }
    }

    private static func cannot(_ route: NamedRoute, _ what: String, _ hint: String) -> Problem {
        Problem(
            "router.cannot", status: 422,
            "kubernetes is not used for \(what), which \(route.route.service) asks for", hint: hint)
    }
}
