package import API
package import Kernel
import Manifests
import Outbound
import Proxy

/// Envoy 1.24 and later: `envoy -c FOLDER/bootstrap.json`, or a configuration of yours with the same `dynamic_resources`.
///
/// Clusters, routes and the listener are three files that Envoy watches (xDS over the filesystem). Each is moved into place
/// whole; its admin page tells which version is in force. New clusters come before the routes that use them, and old ones
/// go after, so no request meets a cluster that is not there. Shares are drawn at random for each request.
package actor EnvoyRouter: TrafficRouter {
    /// Where an Envoy is reached.
    package struct Settings: Sendable {
        /// Folder for our files; read by Envoy.
        package var folder: String
        /// Address that services are reached at.
        package var bind: (host: String, port: Int)
        /// Address of the admin page; it has no password, so it belongs on loopback.
        package var admin: (host: String, port: Int)

        package init(folder: String, bind: (host: String, port: Int), admin: (host: String, port: Int)) {
            (self.folder, self.bind, self.admin) = (folder, bind, admin)
        }
    }

    package nonisolated let traits: RouterTraits = [.mirrors, .keepsConnections, .counts]
    private let settings: Settings
    private let folder: RouterFolder
    private let time: any TimeSource
    private let outbound = OutboundClient()
    private let epoch: String
    private var number = 0
    private var table = RouteTable.empty
    private var owners: [String: (service: String, revision: Int)] = [:]
    private var running = RunningCounts()

    /// Writes the files of an empty table, where there are none, and `bootstrap.json`.
    ///
    /// - Throws: When the folder cannot be made.
    package init(_ settings: Settings, time: any TimeSource = SystemTime()) throws {
        self.settings = settings
        self.time = time
        folder = try RouterFolder(settings.folder)
        epoch = "envoy-\(time.now.microseconds)"
        let empty = EnvoyConfiguration(.empty, bind: settings.bind, folder: settings.folder)
        let bootstrap = EnvoyConfiguration.bootstrap(folder: settings.folder, admin: settings.admin)
        try folder.write(bootstrap.text, to: "bootstrap.json")
        for (name, resources) in [
            ("rds.json", [empty.routeConfiguration]), ("cds.json", []), ("lds.json", [empty.listener]),
        ] where folder.read(name) == nil {
            try folder.write(EnvoyConfiguration.file(resources, version: "0"), to: name)
        }
    }

    package func take(_ wanted: RoutingTable) async throws {
        let next = try wanted.routes(for: .envoy, traits)
        guard next.routes != table.routes || number == 0 else { return }
        try await absorb()
        number += 1
        let before = EnvoyConfiguration(table, bind: settings.bind, folder: settings.folder)
        let after = EnvoyConfiguration(next, bind: settings.bind, folder: settings.folder)
        let version = "\(epoch).\(number)"
        let both = before.clusters.merging(after.clusters) { _, new in new }
        try await put(both, version: version + ".a")
        owners.merge(after.owners) { _, new in new }
        try folder.write(EnvoyConfiguration.file([after.routeConfiguration], version: version), to: "rds.json")
        try await awaitVersion(version, of: "http.vagus.rds.vagus.version_text")
        table = next
        try await put(after.clusters, version: version + ".b")
    }

    package func counts() async throws -> RouterCounts {
        try await absorb()
        return RouterCounts(epoch: epoch, revisions: running.counts)
    }

    private func put(_ clusters: [String: JSONValue], version: String) async throws {
        let resources = clusters.sorted { $0.key < $1.key }.map(\.value)
        try folder.write(EnvoyConfiguration.file(resources, version: version), to: "cds.json")
        try await awaitVersion(version, of: "cluster_manager.cds.version_text")
    }

    /// Waits until Envoy says that a file is in force.
    private func awaitVersion(_ version: String, of statistic: String) async throws {
        let isDone = try await waitUntil(time, Self.patience) {
            try await self.admin("/stats?type=TextReadouts&filter=\(statistic)").contains("\"\(version)\"")
        }
        guard isDone else {
            throw Problem(
                "router.unreachable", status: 503, "Envoy did not take up the new configuration",
                hint: "See Envoy's log, and whether it reads \(settings.folder).")
        }
    }

    private func absorb() async throws {
        guard !owners.isEmpty else { return }
        // Encoded whole: of an address with anything else in it Foundation encodes the percent signs once more.
        let pattern = "%5Ecluster%5C.vagus_.*%5C.%28upstream_rq_total%7Cupstream_rq_5xx%7Cupstream_rq_rx_reset%29%24"
        var numbers: [String: (requests: Int64, errors: Int64)] = [:]
        for line in try await admin("/stats?filter=\(pattern)").split(separator: "\n") {
            let parts = line.split(separator: ": ")
            guard parts.count == 2, let value = Int64(parts[1]) else { continue }
            let words = parts[0].split(separator: ".")
            guard words.count == 3 else { continue }
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
                hint: "Start Envoy with --config-path \(settings.folder)/bootstrap.json.")
        }
    }

    private static let patience = Duration.seconds(10)
}
