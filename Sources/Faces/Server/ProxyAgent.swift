import API
package import Client
import Foundation
package import Kernel
package import Logging
import Manifests
import Proxy
import Routers
import Synchronization

/// `vagus proxy`: the data plane, ours or another's, with the server's routing table in force and its counts told.
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
        /// Set for TLS; PEM files, looked at again every second. The first is for clients that ask for no name of another.
        package var certificates: [(chain: String, key: String)] = []
        /// Another proxy that carries the traffic, reached at `host` and `port`; nil: we do.
        package var router: (any TrafficRouter)?
        /// Event loops; nil is one a core, at most eight.
        package var workers: Int?
        package init(name: String = "proxy", host: String, port: Int, folder: String) {
            (self.name, self.host, self.port, self.folder) = (name, host, port, folder)
        }
    }

    private let client: VagusClient
    private let settings: Settings
    private let logger: Logger
    /// nil when another proxy carries the traffic.
    private let server: ProxyServer?
    private let router: any TrafficRouter
    /// What the built-in proxy tells of single requests.
    private let records = RequestRecords()
    /// Version of the table in force.
    private let inForce = Version()
    /// Time between two reports.
    private static let reportEvery = Duration.milliseconds(500)
    /// After a table so many times as long as it took to put it in force, no next one: of a small one that is some milliseconds.
    private static let breathShare = 4
    private static let longestBreath = Duration.seconds(2)

    package init(client: VagusClient, settings: Settings, logger: Logger) {
        self.client = client
        self.settings = settings
        self.logger = logger
        if let router = settings.router {
            (server, self.router) = (nil, router)
            return
        }
        var configuration = ProxyConfiguration()
        if let workers = settings.workers { configuration.maxLoops = workers }
        configuration.records = records
        configuration.tls = settings.certificates.map { TLSFiles(certificate: $0.chain, key: $0.key) }
        let server = ProxyServer(configuration: configuration, logger: logger)
        (self.server, router) = (server, BuiltInRouter(server))
    }

    /// Serves until cancelled; tells the port once it listens.
    package func run(onReady: @escaping @Sendable (Int) async -> Void) async throws {
        await restore()
        let settings = settings
        let scheme = settings.certificates.isEmpty ? "http" : "https"
        guard let server else {
            await onReady(settings.port)
            await work(url: "\(scheme)://\(settings.host):\(settings.port)")
            return
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await server.run(listen: (host: settings.host, port: settings.port)) { port in
                    await onReady(port)
                    await work(url: "\(scheme)://\(settings.host):\(port)")
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// Follows the server's table and tells it the counts, until cancelled.
    private func work(url: String) async {
        await withTaskGroup(of: Void.self) { agents in
            agents.addTask { await follow(url: url) }
            agents.addTask { await report() }
            // Other proxies keep logs of their own.
            if server != nil { agents.addTask { await tellRequests() } }
        }
    }

    private func follow(url: String) async {
        while !Task.isCancelled {
            var query = TableQuery()
            query.name = settings.name
            query.have = inForce.number
            query.url = url
            do {
                let table = try await client.call(Proxies.table, query)
                guard table.version != inForce.number else { continue }
                let began = ContinuousClock.now
                try await take(table)
                // While thousands of services come, each changes the table: most of the time is for others.
                await pause(min(Self.longestBreath, (ContinuousClock.now - began) * Self.breathShare))
            } catch let problem as Problem where problem.code.hasPrefix("router.") {
                guard !Task.isCancelled else { return }
                logger.warning(
                    "the router does not take the routing table; the last one stays",
                    metadata: ["why": "\(problem.message)", "hint": "\(problem.hint ?? "")"])
                await pause(.seconds(2))
            } catch {
                guard !Task.isCancelled else { return }
                logger.debug("no routing table from the server; the last one stays", metadata: ["error": "\(error)"])
                await pause(.milliseconds(500))
            }
        }
    }

    private func take(_ table: RoutingTable) async throws {
        let text = table.json.bytes
        try await router.take(table)
        inForce.number = table.version
        try Data(text).write(to: file, options: .atomic)
        logger.info(
            "routing table in force", metadata: ["version": "\(table.version)", "routes": "\(table.routes.count)"])
    }

    private var file: URL { URL(filePath: settings.folder).appending(path: "routing-table.json") }

    /// Puts the table of the last life in force, so that a restart needs no server.
    ///
    /// Its version is not told: it is asked for again at once, since the server may have counted on.
    private func restore() async {
        do {
            try await router.take(
                try RoutingTable(json: JSONParser.parse(Array(try Data(contentsOf: file))), at: []))
        } catch {
            logger.debug("no routing table kept from before", metadata: ["error": "\(error)"])
        }
    }

    private func report() async {
        var told = Told()
        while !Task.isCancelled {
            do {
                let now = ContinuousClock.now
                let mark = told.isStale(at: now) ? nil : told.mark
                let counts = if let mark { try await router.counts(since: mark) } else { try await router.counts() }
                for input in inputs(counts, since: told, at: now) { _ = try await client.call(Proxies.report, input) }
                told.take(counts, at: now)
            } catch {
                // Whoever answers next may know nothing of us.
                told = Told()
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

    /// What has changed since the last report; now and then all, for whoever has forgotten.
    private func inputs(
        _ counts: RouterCounts, since told: Told, at now: ContinuousClock.Instant
    ) -> [CountersInput] {
        var input = CountersInput()
        (input.name, input.epoch, input.table) = (settings.name, counts.epoch, inForce.number)
        input.whole = told.isStale(at: now) || counts.epoch != told.epoch
        input.revisions =
            input.whole || counts.mark != nil
            ? counts.revisions : counts.revisions.filter { told.revisions[RevisionKey($0)] != $0 }
        guard input.revisions.count > Self.reportSize else { return [input] }
        // A body has a limit: what comes after the first part adds to it.
        return stride(from: 0, to: input.revisions.count, by: Self.reportSize).map { start in
            var part = input
            part.revisions = Array(input.revisions[start...].prefix(Self.reportSize))
            part.whole = input.whole && start == 0
            return part
        }
    }

    /// Revisions in one report.
    private static let reportSize = 2_000

    /// What the server has heard.
    private struct Told {
        var epoch = ""
        /// Where the router goes on from, when it knows.
        var mark: RouterCounts.Mark?
        /// What was told last, where it does not.
        var revisions: [RevisionKey: RevisionCount] = [:]
        var wholeAt: ContinuousClock.Instant?
        private static let wholeEvery = Duration.seconds(300)

        func isStale(at now: ContinuousClock.Instant) -> Bool {
            wholeAt.map { $0.duration(to: now) >= Self.wholeEvery } ?? true
        }

        mutating func take(_ counts: RouterCounts, at now: ContinuousClock.Instant) {
            if isStale(at: now) || counts.epoch != epoch { (wholeAt, epoch, revisions) = (now, counts.epoch, [:]) }
            mark = counts.mark
            guard mark == nil else { return }
            for count in counts.revisions { revisions[RevisionKey(count)] = count }
        }
    }

    private struct RevisionKey: Hashable {
        let service: String
        let revision: Int
        init(_ count: RevisionCount) { (service, revision) = (count.service, count.revision) }
    }

    /// A number that two tasks look at.
    private final class Version: Sendable {
        private let value = Mutex<Int64>(0)
        var number: Int64 {
            get { value.withLock { $0 } }
            set { value.withLock { $0 = newValue } }
        }
    }
}

extension ProxyAgent {
    /// A proxy that cannot listen, told to people.
    package static func problem(_ error: any Error) -> any Error {
        guard let error = error as? ProxyError else { return error }
        return Problem("proxy.listen", status: 500, error.message, hint: error.hint)
    }
}
