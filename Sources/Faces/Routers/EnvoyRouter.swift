package import API
package import Kernel
import Manifests
import Outbound
import Proxy

/// Envoy 1.24 and later, told by gRPC what to do: it connects to us (aggregated discovery, xDS v3, state of the world).
///
/// New clusters and their endpoints come before the routes that use them, and old ones go after, so no request meets a
/// cluster that is not there; each step waits until Envoy has said that it is in force. What it refuses is told with its own
/// words, and the table before is offered again. Counts come from its admin page. Shares are drawn at random for each request.
package actor EnvoyRouter: TrafficRouter {
    /// How an Envoy reaches us and is reached.
    package struct Settings: Sendable {
        /// Where Envoy connects to; port 0 takes any free one.
        package var listen: (host: String, port: Int)
        /// What Envoy has to show; must be there when `listen` is not loopback.
        package var token: String?
        /// Address that services are reached at.
        package var bind: (host: String, port: Int)
        /// Address of the admin page; it has no password, so it belongs on loopback.
        package var admin: (host: String, port: Int)
        /// Where `bootstrap.json` is written, if anywhere.
        package var folder: String?

        package init(
            listen: (host: String, port: Int), bind: (host: String, port: Int), admin: (host: String, port: Int)
        ) {
            (self.listen, self.bind, self.admin) = (listen, bind, admin)
        }
    }

    package nonisolated let traits: RouterTraits = [.mirrors, .keepsConnections, .counts]
    /// What to start Envoy with: `envoy --config-path` takes it as a file that ends in `.json`.
    package nonisolated let bootstrap: String
    private let settings: Settings
    private let time: any TimeSource
    private let outbound = OutboundClient()
    private let server: DiscoveryServer
    private let epoch: String
    private var number = 0
    private var table = RouteTable.empty
    private var owners: [String: (service: String, revision: Int)] = [:]
    private var running = RunningCounts()
    private var isAbsorbing = false

    /// Listens for Envoys, with an empty table to give, and writes `bootstrap.json` where it is wanted.
    ///
    /// - Throws: `Problem`: 400 `router.token` without one beyond loopback, 500 `router.listen`, 500 `router.folder`.
    package init(_ settings: Settings, time: any TimeSource = SystemTime()) async throws {
        guard settings.token?.isEmpty == false || ["127.0.0.1", "::1", "localhost"].contains(settings.listen.host)
        else {
            throw Problem(
                "router.token", status: 400, "Envoys of other machines could connect without a token",
                hint: "Give one with --router-token, or listen on loopback.")
        }
        self.settings = settings
        self.time = time
        epoch = "envoy-\(time.now.microseconds)"
        let empty = EnvoyResources(.empty).resources(bind: settings.bind)
        do {
            server = try await DiscoveryServer(
                .init(host: settings.listen.host, port: settings.listen.port, token: settings.token),
                sets: empty.mapValues { ResourceSet(version: "0", resources: $0) })
        } catch {
            throw Problem(
                "router.listen", status: 500,
                "could not listen for Envoy on \(settings.listen.host):\(settings.listen.port): \(error)",
                hint: "Choose another address with --router-listen, or stop the program that uses it.")
        }
        bootstrap = EnvoyBootstrap.configuration(settings, port: server.port).text
        if let folder = settings.folder { try RouterFolder(folder).write(bootstrap, to: "bootstrap.json") }
    }

    package func take(_ wanted: RoutingTable) async throws {
        let next = try wanted.routes(for: .envoy, traits)
        if next.routes == table.routes {
            try await settle()
        } else if server.standing == .alone {
            // Whoever comes shall begin with it; there is nobody to be gentle with.
            offer(EnvoyResources(next))
            table = next
            try await settle()
        } else {
            try await change(to: next)
        }
    }

    package func counts() async throws -> RouterCounts {
        try await absorb()
        return RouterCounts(epoch: epoch, revisions: running.counts)
    }

    /// In steps, and back to the table before when one of them fails.
    private func change(to next: RouteTable) async throws {
        let (before, after) = (EnvoyResources(table), EnvoyResources(next))
        let (old, new) = (before.resources(bind: settings.bind), after.resources(bind: settings.bind))
        do {
            var both = old
            for kind in [ResourceKind.clusters, .endpoints] {
                both[kind]?.merge(new[kind] ?? [:]) { _, new in new }
            }
            owners.merge(after.owners) { _, new in new }
            offer(both)
            try await settle()
            both[.routes] = new[.routes]
            offer(both)
            try await settle()
            // What Envoy has counted for a cluster goes with it.
            if !Set(before.clusters.keys).isSubset(of: after.clusters.keys) { try await absorb() }
        } catch {
            offer(before)
            throw error
        }
        table = next
        offer(after)
        try await settle()
    }

    private func offer(_ resources: EnvoyResources) {
        owners.merge(resources.owners) { _, new in new }
        offer(resources.resources(bind: settings.bind))
    }

    /// What is the same as before keeps its version, so that a change of weights moves routes only.
    private func offer(_ resources: [ResourceKind: [String: [UInt8]]]) {
        number += 1
        let (version, now) = ("\(epoch).\(number)", server.sets)
        var next: [ResourceKind: ResourceSet] = [:]
        for (kind, resources) in resources where now[kind]?.resources != resources {
            next[kind] = ResourceSet(version: version, resources: resources)
        }
        // Whoever takes up a changed cluster waits for its endpoints, be they the same or not.
        if next[.clusters] != nil {
            next[.endpoints] = ResourceSet(version: version, resources: resources[.endpoints] ?? [:])
        }
        server.offer(next)
    }

    /// Waits until what is on offer is in force.
    private func settle() async throws {
        let place = "\(settings.listen.host):\(server.port)"
        switch try await server.settle(by: time) {
        case .accepted: return
        case .rejected(let complaint):
            throw Problem(
                "router.rejected", status: 422, "Envoy does not take the routing table: \(complaint)",
                hint: "It goes on with the table before; it may be too old for what a service asks for.")
        case .alone:
            throw Problem(
                "router.unreachable", status: 503, "no Envoy is connected to \(place)",
                hint:
                    "Start Envoy with the bootstrap of docs/how-to/routers.md, its cluster \"vagus\" at \(place)\(settings.token == nil ? "" : " and our token")."
            )
        case .waiting:
            throw Problem(
                "router.unreachable", status: 503, "Envoy is connected to \(place) and did not take up the new table",
                hint: "See Envoy's log. Its connection was closed, so that it comes again.")
        }
    }

    // MARK: - Counts

    private func absorb() async throws {
        guard !owners.isEmpty else { return }
        // One after the other: an older answer behind a newer one would look like an Envoy that began anew.
        while isAbsorbing { try await time.sleep(for: .milliseconds(5)) }
        isAbsorbing = true
        defer { isAbsorbing = false }
        // Encoded whole: of an address with anything else in it Foundation encodes the percent signs once more.
        let pattern =
            "%5Ecluster%5C.vagus_.*%5C.%28upstream_rq_total%7Cupstream_rq_5xx%7Cupstream_rq_rx_reset"
            + "%7Cgrpc%5C.%282%7C4%7C12%7C13%7C14%7C15%29%29%24"
        var numbers: [String: (requests: Int64, errors: Int64)] = [:]
        for line in try await admin("/stats?filter=\(pattern)").split(separator: "\n") {
            let parts = line.split(separator: ": ")
            guard parts.count == 2, let value = Int64(parts[1]) else { continue }
            let words = parts[0].split(separator: ".")
            // `cluster.NAME.grpc.13`: a code that is the server's fault, as `GRPCStatus` has it.
            guard words.count == 3 || words.count == 4 && words[2] == "grpc" else { continue }
            let name = String(words[1])
            if words[2] == "upstream_rq_total" {
                numbers[name, default: (0, 0)].requests = value
            } else {
                numbers[name, default: (0, 0)].errors += value
            }
        }
        for (name, seen) in numbers {
            guard let owner = owners[name] else { continue }
            running.note(
                name, requests: seen.requests, errors: seen.errors, service: owner.service, revision: owner.revision)
        }
    }

    private func admin(_ target: String) async throws -> String {
        let url = "http://\(settings.admin.host):\(settings.admin.port)\(target)"
        do throws(OutboundError) {
            return try await outbound.send(HTTPRequest(url: url), deadline: .seconds(5)).text
        } catch {
            throw Problem(
                "router.unreachable", status: 503, "no answer from Envoy's admin page: \(error.message)",
                hint: "Start Envoy with an admin address, and tell it with --router-admin.")
        }
    }
}
