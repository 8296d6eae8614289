import Proxy

/// What nginx is told: one file for its `http` section.
struct NginxConfiguration {
    private let routes: [NamedRoute]
    private let settings: NginxRouter.Settings
    private let version: String

    /// - Parameter version: Told by the status socket once this configuration is in force.
    init(_ table: RouteTable, _ settings: NginxRouter.Settings, version: String) {
        routes = NamedRoute.all(table)
        self.settings = settings
        self.version = version
    }

    var text: String {
        var lines = [
            "# Written by vagus; changes are lost.",
            "log_format vagus_counts '$vagus_service|$upstream_addr|$upstream_status|$status|$request_time';",
            "map $http_upgrade $vagus_connection { default upgrade; '' ''; }",
            "server { listen unix:\(settings.folder)/status.sock; access_log off; location / { return 200 '\(version)'; } }",
        ]
        for route in routes {
            if !route.weighted.isEmpty { lines += upstream(route.name, route.weighted.map { ($0, $0.weight) }) }
            for revision in Set(route.rules.map(\.revision)).sorted() {
                guard let found = route.revision(revision), !found.endpoints.isEmpty else { continue }
                lines += upstream(Self.only(route, revision), [(found, 1)])
            }
            lines += maps(route)
        }
        // nginx chooses the server by host first, so a server for hosts also has what is for every host.
        let hosts = Set(routes.flatMap { $0.route.hosts.map { $0.lowercased() } }).sorted()
        for host in hosts {
            let own = routes.filter { $0.route.hosts.contains { $0.lowercased() == host } }
            let taken = Set(own.map(\.prefix))
            let common = routes.filter { $0.route.hosts.isEmpty && !taken.contains($0.prefix) }
            lines += server(own + common, host: host)
        }
        lines += server(routes.filter { $0.route.hosts.isEmpty }, host: nil)
        return lines.joined(separator: "\n") + "\n"
    }

    private func server(_ routes: [NamedRoute], host: String?) -> [String] {
        var lines = [
            "server {", "  listen \(settings.bind)\(host == nil ? " default_server" : "");",
            "  server_name \(host ?? "_");", "  set $vagus_service '';", "  default_type application/json;",
        ]
        var prefixes = Set<String>()
        for route in routes where prefixes.insert(route.prefix).inserted {
            let places = route.prefix.isEmpty ? ["/"] : ["= \(route.prefix)", "\(route.prefix)/"]
            for place in places { lines += location(route, place) }
        }
        if !prefixes.contains("") {
            lines.append("  location / { return 404 '{\"error\":\"no route for this host and path\"}'; }")
        }
        return lines + ["}"]
    }

    private func location(_ route: NamedRoute, _ place: String) -> [String] {
        var lines = ["  location \(place) {", "    set $vagus_service '\(route.route.service)';"]
        lines.append("    access_log \(settings.folder)/counts.log vagus_counts;")
        if route.weighted.isEmpty && route.rules.isEmpty {
            return lines + ["    return 503 '{\"error\":\"no live endpoint\"}';", "  }"]
        }
        if route.route.strip_prefix, !route.prefix.isEmpty {
            lines.append("    rewrite ^\(route.prefix.replacing(".", with: "[.]"))/?(.*)$ /$1 break;")
        }
        let seconds = { (milliseconds: Int) in "\(max(1, milliseconds))ms" }
        lines += [
            "    proxy_pass http://$\(route.name);", "    proxy_http_version 1.1;",
            "    proxy_set_header Host $http_host;",
            "    proxy_set_header Connection $vagus_connection;", "    proxy_set_header Upgrade $http_upgrade;",
            "    proxy_set_header X-Forwarded-For $remote_addr;", "    proxy_set_header X-Forwarded-Proto $scheme;",
            "    proxy_set_header X-Request-ID $request_id;",
            "    proxy_read_timeout \(seconds(route.route.timeout_ms));",
            "    proxy_connect_timeout \(seconds(route.route.timeouts?.connect_ms ?? 2_000));",
            "    proxy_next_upstream \(route.route.retry ? "error" : "off");",
        ]
        return lines + ["  }"]
    }

    private func upstream(_ name: String, _ shares: [(RevisionRoute, Int)]) -> [String] {
        // The zone makes the turns of all workers one, so that shares are exact over all of them.
        var lines = ["upstream \(name) {", "  zone \(name) 64k;"]
        let weights = HAProxyConfiguration.serverWeights(shares.map { (weight: $0.1, copies: $0.0.endpoints.count) })
        for ((revision, _), weight) in zip(shares, weights) {
            lines += revision.endpoints.map { "  server \($0.host):\($0.port) weight=\(weight) max_fails=0;" }
        }
        return lines + ["  keepalive \(Self.keptConnections);", "}"]
    }

    /// Variables that say where a request goes: each condition, each rule, then the first rule that holds.
    private func maps(_ route: NamedRoute) -> [String] {
        var lines: [String] = []
        for (index, rule) in route.rules.enumerated() {
            var together = ""
            for (part, condition) in rule.when.enumerated() {
                let name = "$\(route.name)_\(index)_\(part)"
                let source =
                    condition.header.map { "$http_" + $0.lowercased().replacing("-", with: "_") }
                    ?? "$cookie_\(condition.cookie ?? "")"
                lines.append("map \(source) \(name) { \(Self.cases(condition)) }")
                together += name
            }
            let ones = String(repeating: "1", count: rule.when.count)
            let next = index + 1 < route.rules.count ? "$\(route.name)_then_\(index + 1)" : route.name
            let target = index == 0 ? "$\(route.name)" : "$\(route.name)_then_\(index)"
            let source = together.isEmpty ? "''" : "\"\(together)\""
            lines.append(
                "map \(source) \(target) { default \(next); '\(ones)' \(Self.only(route, rule.revision)); }")
        }
        if route.rules.isEmpty { lines.append("map '' $\(route.name) { default \(route.name); }") }
        return lines
    }

    /// Plain values of `map` ignore case, so all are written as regular expressions.
    private static func cases(_ condition: TrafficCondition) -> String {
        if let exact = condition.exact { return "default 0; \"~^\(escaped(exact))$\" 1;" }
        if let prefix = condition.prefix { return "default 0; \"~^\(escaped(prefix))\" 1;" }
        if let regex = condition.regex { return "default 0; \"~^(?:\(regex))$\" 1;" }
        return condition.present == false ? "default 0; '' 1;" : "default 1; '' 0;"
    }

    private static func escaped(_ text: String) -> String {
        text.reduce(into: "") { result, letter in
            result += ".+*?()[]|^/".contains(letter) ? "[\(letter == "^" ? "\\^" : String(letter))]" : String(letter)
        }
    }

    private static func only(_ route: NamedRoute, _ revision: String) -> String {
        "\(route.name)_only_" + revision.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" }
    }

    private static let keptConnections = 64
}
