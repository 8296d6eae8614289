import API
package import Client
import Foundation
import Kernel
package import Logging
import Manifests
import Proxy
import Stats
import Synchronization

/// `vagus proxy`: the data plane, with the server's routing table in force and its counts told.
///
/// It needs the server for news only: without it the last table stays in force, over a restart of the proxy too.
package struct ProxyAgent: Sendable {
    /// How the proxy is set up.
    package struct Settings: Sendable {
        package var name: String
        package var host: String
        package var port: Int
        /// Folder where the last table is kept.
        package var folder: String
        package init(name: String = "proxy", host: String, port: Int, folder: String) {
            (self.name, self.host, self.port, self.folder) = (name, host, port, folder)
        }
    }

    private let client: VagusClient
    private let settings: Settings
    private let logger: Logger
    private let server: ProxyServer
    private let records = RequestRecords()
    /// Time between two reports.
    private static let reportEvery = Duration.milliseconds(500)

    package init(client: VagusClient, settings: Settings, logger: Logger) {
        self.client = client
        self.settings = settings
        self.logger = logger
        var configuration = ProxyConfiguration()
        configuration.records = records
        server = ProxyServer(configuration: configuration, logger: logger)
    }

    /// Serves until cancelled; tells the port once it listens.
    package func run(onReady: @escaping @Sendable (Int) async -> Void) async throws {
        restore()
        let (settings, server) = (settings, server)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await server.run(listen: (host: settings.host, port: settings.port)) { port in
                    await onReady(port)
                    await withTaskGroup(of: Void.self) { agents in
                        agents.addTask { await follow(url: "http://\(settings.host):\(port)") }
                        agents.addTask { await report() }
                        agents.addTask { await tellRequests() }
                    }
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func follow(url: String) async {
        while !Task.isCancelled {
            var query = TableQuery()
            query.name = settings.name
            query.have = server.table.version
            query.url = url
            do {
                let table = try await client.call(Proxies.table, query)
                if table.version != server.table.version { try take(table) }
            } catch {
                guard !Task.isCancelled else { return }
                logger.debug("no routing table from the server; the last one stays", metadata: ["error": "\(error)"])
                await pause(.milliseconds(500))
            }
        }
    }

    private func take(_ table: RoutingTable) throws {
        let text = table.json.bytes
        server.swap(try Self.decode(table))
        try Data(text).write(to: file, options: .atomic)
        logger.info(
            "routing table in force", metadata: ["version": "\(table.version)", "routes": "\(table.routes.count)"])
    }

    private var file: URL { URL(filePath: settings.folder).appending(path: "routing-table.json") }

    /// Puts the table of the last life in force, so that a restart needs no server.
    private func restore() {
        do {
            let table = try RoutingTable(json: JSONParser.parse(Array(try Data(contentsOf: file))), at: [])
            var old = try Self.decode(table)
            // Asked for again at once: the server may have counted on since.
            old.version = 0
            server.swap(old)
        } catch {
            logger.debug("no routing table kept from before", metadata: ["error": "\(error)"])
        }
    }

    static func decode(_ table: RoutingTable) throws -> RouteTable {
        let routes = try JSONDecoder().decode([Route].self, from: Data(JSONValue.array(table.routes).bytes))
        return RouteTable(version: table.version, routes: routes)
    }

    private func report() async {
        while !Task.isCancelled {
            do {
                _ = try await client.call(Proxies.report, counters())
            } catch {
                logger.debug(
                    "could not tell the counts; they add up until the next time", metadata: ["error": "\(error)"])
            }
            await pause(Self.reportEvery)
        }
    }

    /// Tells requests one by one, and learns which are wanted from then on. What could not be told counts as dropped.
    private func tellRequests() async {
        var (dropped, quiet) = (0, 0)
        while !Task.isCancelled {
            let taken = records.take()
            dropped += taken.dropped
            quiet += 1
            if !taken.records.isEmpty || dropped > 0 || quiet >= Self.quietReports {
                let now = SystemTime().now
                var input = RequestReport()
                (input.name, input.dropped) = (settings.name, dropped)
                input.records = taken.records.map { Self.told($0, now: now) }
                do {
                    let choice = try await client.call(Requests.report, input)
                    records.choose(ratio: choice.ratio, slow: choice.slow.duration)
                    (dropped, quiet) = (0, 0)
                } catch {
                    dropped += taken.records.count
                    logger.debug("could not tell requests", metadata: ["error": "\(error)"])
                }
            }
            await pause(Self.reportEvery)
        }
    }

    /// Reports without a request after which one is sent all the same.
    private static let quietReports = 20

    static func told(_ record: AccessRecord, now: Timestamp) -> RequestRecord {
        var told = RequestRecord()
        (told.trace, told.span) = (hex(record.trace.high) + hex(record.trace.low), hex(record.trace.span))
        if record.trace.parent != 0 { told.parent = hex(record.trace.parent) }
        let age = Int64(clamping: record.ageMicroseconds) + Int64(clamping: record.durationMicroseconds)
        told.at = Timestamp(microseconds: now.microseconds - age)
        told.microseconds = Int64(clamping: record.durationMicroseconds)
        (told.service, told.revision, told.instance) = (record.service, record.revision, record.instance)
        // What stands behind the question mark is nobody else's business.
        told.path = String(record.target.prefix { $0 != "?" }.prefix(Self.pathLimit))
        (told.method, told.status, told.request_id) = (record.method, record.status, record.requestID)
        told.broke_off = record.isTransportError
        return told
    }

    /// Characters of a path that are told.
    private static let pathLimit = 1_000

    private static func hex(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    private func pause(_ time: Duration) async {
        do { try await Task.sleep(for: time) } catch { return }  // cancelled: the loops look for themselves
    }

    private func counters() -> CountersInput {
        let counters = server.counters()
        var input = CountersInput()
        input.name = settings.name
        input.epoch = counters.epoch
        input.table = server.table.version
        input.revisions = counters.revisions.compactMap { revision in
            guard let number = Int(revision.revision) else { return nil }
            var count = RevisionCount()
            count.service = revision.service
            count.revision = number
            count.requests = Int64(revision.requests)
            count.errors = Int64(revision.errors)
            count.latency = Self.histogram(revision.latency_buckets)
            return count
        }
        return input
    }

    /// The proxy's latency buckets, which count all up to their bound, in those of `LatencyHistogram`.
    static func histogram(_ cumulative: [UInt64]) -> [Int64] {
        var counts = [Int64](repeating: 0, count: LatencyHistogram.bucketCount)
        var before: UInt64 = 0
        for (index, upTo) in cumulative.enumerated() where upTo > before {
            counts[places[min(index, places.count - 1)]] += Int64(upTo - before)
            before = upTo
        }
        return counts
    }

    private static let places: [Int] = (RevisionCounters.bucketBounds + [100_000_000]).map { bound in
        var histogram = LatencyHistogram()
        histogram.record(microseconds: bound)
        return histogram.buckets.firstIndex(of: 1) ?? 0
    }
}

extension ProxyAgent {
    /// A proxy that cannot listen, told to people.
    package static func problem(_ error: any Error) -> any Error {
        guard let error = error as? ProxyError else { return error }
        return Problem("proxy.listen", status: 500, error.message, hint: error.hint)
    }
}
