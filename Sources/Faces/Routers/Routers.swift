import API
import Foundation
import Glibc
import Kernel
import Manifests
import Proxy

/// What stands behind the house's port `TrafficRouter`: the proxy of our own (`BuiltInRouter`), or one that is there
/// already: HAProxy, nginx, Envoy, the Gateway of a cluster.
///
/// The latter is somebody else's process with somebody else's main configuration, told in the way it likes best:
/// `HAProxyRouter` by files in one folder, the runtime socket, and a reload only when routes come or go; `NginxRouter` by
/// such files and a reload; `EnvoyRouter` by gRPC (`DiscoveryServer`, docs/decisions/0008). Whatever stands in a Kubernetes
/// cluster is told by objects of the Gateway API (`GatewayRouter`).
///
/// What a router cannot do is refused with its name and never quietly left out: a canary without its stickiness is not
/// the canary that was asked for.
package enum RouterKind: String, CaseIterable, Sendable {
    case haproxy, nginx, envoy, kubernetes
}

/// A route with the name it has in a router's configuration: the same over all tables.
struct NamedRoute {
    var name: String
    var route: Route

    /// Without slashes at the end; empty for every path.
    var prefix: String {
        var prefix = route.path_prefix ?? ""
        while prefix.hasSuffix("/") { prefix.removeLast() }
        return prefix.isEmpty || prefix.hasPrefix("/") ? prefix : "/" + prefix
    }

    /// Those whose revision has a copy; the others' requests go the way of everybody else.
    var rules: [TrafficRule] {
        (route.rules ?? []).filter { revision($0.revision)?.endpoints.isEmpty == false }
    }

    /// Revisions that get a share.
    var weighted: [RevisionRoute] { route.revisions.filter { $0.weight > 0 && !$0.endpoints.isEmpty } }

    func revision(_ name: String) -> RevisionRoute? { route.revisions.first { $0.revision == name } }

    /// The routes in the order in which they are to be tried: with hosts before without, longer prefixes first.
    static func all(_ table: RouteTable) -> [NamedRoute] {
        var used = Set<String>()
        let named = table.routes.map { route in
            let safe = String(route.service.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" }.prefix(60))
            var hash: UInt64 = 0xCBF2_9CE4_8422_2325
            for byte in "\(route.service)\n\(route.path_prefix ?? "")\n\(route.hosts.joined(separator: ","))".utf8 {
                hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3
            }
            var name = "vagus_\(safe)_\(String(hash & 0xFFFF_FFFF, radix: 16))"
            while !used.insert(name).inserted { name += "x" }
            return NamedRoute(name: name, route: route)
        }
        return named.sorted { first, second in
            let (a, b) = (first.route.hosts.isEmpty, second.route.hosts.isEmpty)
            return a == b ? first.prefix.utf8.count > second.prefix.utf8.count : !a
        }
    }
}

extension RoutingTable {
    /// The table in Base/Proxy's words, checked for what this kind of router can do.
    func routes(for kind: RouterKind, _ traits: RouterTraits) throws -> RouteTable {
        let routes = try JSONDecoder().decode([Route].self, from: Data(JSONValue.array(routes).bytes))
        let table = RouteTable(version: version, routes: routes)
        if let wrong = table.complaints().first {
            throw Problem("router.unsound", status: 422, "the routing table is not sound: \(wrong)")
        }
        for route in table.routes {
            let lacking: [(Bool, String)] = [
                (route.sticky != nil && !traits.contains(.sticky), "sticky sessions with the shares held"),
                (route.mirror != nil && !traits.contains(.mirrors), "mirrors"),
                (route.limits != nil, "limits of requests at once"),
                (route.rate_limits?.isEmpty == false, "rate limits"),
                (route.outliers != nil, "the ejection of outliers"),
                (route.http2 == true && kind != .envoy, "HTTP/2 to copies (h2c, gRPC)"),
            ]
            if let (_, what) = lacking.first(where: { $0.0 }) {
                throw Problem(
                    "router.cannot", status: 422,
                    "\(kind.rawValue) is not used for \(what), which \(route.service) asks for",
                    hint: "Leave it out of the service's route, or let vagus proxy carry this service.")
            }
            try route.checkTexts()
        }
        return table
    }
}

extension Route {
    private static let pathMarks = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~".utf8)

    /// Configuration files have their own quoting: texts that would need it are refused.
    fileprivate func checkTexts() throws {
        let conditions = (rules ?? []).flatMap(\.when)
        let values = conditions.flatMap { [$0.header, $0.cookie, $0.exact, $0.prefix, $0.regex] }.compactMap { $0 }
        let addresses = revisions.flatMap { $0.endpoints.map(\.host) }
        let isPath = (path_prefix ?? "").utf8.allSatisfy { $0 < 0x80 && ($0 == 0x2F || Self.pathMarks.contains($0)) }
        guard isPath else {
            throw Problem(
                "router.cannot", status: 422,
                "\(service): the path \"\(path_prefix ?? "")\" cannot stand in a router's configuration",
                hint: "Use letters, digits and -._~/ only.")
        }
        for text in values + hosts + addresses {
            let isPlain = text.unicodeScalars.allSatisfy { scalar in
                scalar.value >= 0x20 && scalar.value < 0x7F && !"'\"`;{}#$\\".unicodeScalars.contains(scalar)
            }
            let isRegex = conditions.contains { $0.regex == text }
            guard isPlain || (isRegex && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x27 && $0 != 0x22 })
            else {
                throw Problem(
                    "router.cannot", status: 422,
                    "\(service): the text \"\(text)\" cannot stand in a router's configuration",
                    hint: "Use letters, digits and -._~/:, without quotes, braces, $ and backslashes.")
            }
        }
    }
}

/// Files that a router reads, each replaced whole.
struct RouterFolder {
    let path: String

    init(_ path: String) throws {
        self.path = path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    func read(_ name: String) -> String? {
        try? String(contentsOfFile: file(name), encoding: .utf8)  // it may not be there yet
    }

    /// Writes beside the file and moves it into place.
    func write(_ text: String, to name: String) throws {
        let new = file(".\(name).new")
        try Data(text.utf8).write(to: URL(filePath: new))
        guard rename(new, file(name)) == 0 else {
            throw Problem("router.folder", status: 500, "could not write \(file(name))")
        }
    }
}

/// Process id in a file, as servers leave it.
func processID(in file: String) throws -> Int32 {
    guard let text = try? String(contentsOfFile: file, encoding: .utf8),  // told below
        let pid = Int32(text.trimmingCharacters(in: .whitespacesAndNewlines)), pid > 1, kill(pid, 0) == 0
    else {
        throw Problem(
            "router.unreachable", status: 503, "no running process is named in \(file)",
            hint: "Start the router, and tell the file that it writes its process id to.")
    }
    return pid
}

/// Looks until `found`, at most for `patience`.
func waitUntil(_ time: any TimeSource, _ patience: Duration, _ found: () async throws -> Bool) async throws -> Bool {
    let end = time.now.advanced(by: patience)
    while time.now < end {
        if try await found() { return true }
        try await time.sleep(for: .milliseconds(10))
    }
    return false
}

/// Numbers that a router forgets now and then, added up for as long as we live.
struct RunningCounts {
    private struct Source {
        var requests: Int64 = 0
        var errors: Int64 = 0
    }

    private var last: [String: Source] = [:]
    private var totals: [String: RevisionCount] = [:]

    /// Takes what a source of counts (a server slot) says now; all that is new belongs to this revision.
    mutating func note(_ source: String, requests: Int64, errors: Int64, service: String, revision: Int) {
        let before = last[source] ?? Source()
        // A router that started anew counts from nothing.
        let began = requests < before.requests ? Source() : before
        last[source] = Source(requests: requests, errors: errors)
        add(
            requests: requests - began.requests, errors: max(0, errors - began.errors), service: service,
            revision: revision)
    }

    mutating func add(requests: Int64, errors: Int64, service: String, revision: Int, bucket: Int? = nil) {
        var total =
            totals["\(service)\n\(revision)"]
            ?? {
                var count = RevisionCount()
                (count.service, count.revision) = (service, revision)
                return count
            }()
        total.requests += requests
        total.errors += errors
        if let bucket {
            if total.latency.count <= bucket {
                total.latency += Array(repeating: 0, count: bucket + 1 - total.latency.count)
            }
            total.latency[bucket] += requests
        }
        totals["\(service)\n\(revision)"] = total
    }

    /// The source gives up what it counted, and begins to count for somebody else.
    var counts: [RevisionCount] {
        totals.values.sorted { ($0.service, $0.revision) < ($1.service, $1.revision) }
    }
}
