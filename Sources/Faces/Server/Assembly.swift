import API
import Blobs
package import Client
import Foundation
import Hummingbird
import Kernel
package import Logging
import Manifests
import NIOCore
import Outbound
import Pipelines
import Runner
import SQL
import ServiceLifecycle
import UnixSignals
import Web

/// What a server is started with.
package struct ServerOptions: Sendable {
    package var data: String
    package var host = "127.0.0.1"
    package var port = 8420
    package var hasAuth = true
    /// `vagus dev`: where the proxy in the same process listens; nil: no runner and no proxy in this process.
    package var proxy: (host: String, port: Int)?
    /// Where MLflow's API has a port of its own; nil: it is below /mlflow only.
    package var mlflow: (host: String, port: Int)?
    package var config = ServerConfig()
    /// This program, for the processes that it starts.
    package var executable: String
    /// Where lines for the person who started it go.
    package var tell: @Sendable (String) -> Void

    package init(data: String, executable: String, tell: @escaping @Sendable (String) -> Void) {
        self.data = data
        self.executable = executable
        self.tell = tell
    }
}

/// Wires the house: the one place that knows every room.
package struct House: Sendable {
    let options: ServerOptions
    let folder: DataFolder
    let store: Store
    let blobs: BlobStore
    let tokens: TokenBook
    let ids: IdentifierSource
    let switchboard: Switchboard
    let loops: [any RunnableLoop]
    let outbound: OutboundClient
    let logger: Logger
    let place: ServerPlace
    let pipelines: PipelinesDomain?
    let mounts: [Mount]
    let instruments = Instruments()

    package init(_ options: ServerOptions, logger: Logger) async throws {
        self.options = options
        self.logger = logger
        folder = try DataFolder(options.data)
        let time = SystemTime()
        store = Store(database: try Self.database(folder.file("vagus.db")), time: time)
        blobs = try BlobStore(folder: folder.file("blobs"))
        tokens = TokenBook(store: store)
        ids = .system(time)
        outbound = OutboundClient()
        place = ServerPlace(started: time.now)
        let caller = LateCaller()
        let context = DomainContext(store: store, ids: ids, caller: caller, logger: logger, instruments: instruments)
        let rooms = try Rooms.all(
            context: context, folder: folder, blobs: blobs, outbound: outbound, options: options, place: place)
        pipelines = rooms.lazy.compactMap { $0 as? PipelinesDomain }.first
        let core = CoreDomain(context: context, others: rooms, tokens: tokens)
        let all: [any Domain] = [core] + rooms
        try await Self.migrate(store, all)
        for domain in all { try await domain.prepare() }
        try await tokens.load()
        var routes = Routes()
        for domain in all { domain.routes(&routes) }
        place.route(&routes, hasAuth: options.hasAuth, store: store)
        let sweep = BlobSweep(store: store, blobs: blobs, rooms: all, logger: logger)
        sweep.route(&routes)
        switchboard = Switchboard(routes)
        caller.connect(switchboard)
        loops = all.flatMap(\.loops) + [sweep]
        mounts = all.flatMap(\.mounts)
    }

    private static func database(_ path: String) throws -> Database {
        do {
            return try Database.sqlite(path: path)
        } catch {
            throw problem(error, path: path)
        }
    }

    private static func problem(_ error: SQLError, path: String) -> Problem {
        let isDamaged = error.code == .corrupt || error.code == .notADatabase
        return Problem(
            "data.\(error.code.rawValue)", status: 500,
            isDamaged ? "the database file \"\(path)\" is damaged" : "could not open the database file \"\(path)\"",
            detail: "\(error.message).",
            hint: isDamaged
                ? "Nothing was changed. Move the file away, or put a backup of it in its place, then start again."
                : "Check that the disk has room and that you may write there.")
    }

    private static func migrate(_ store: Store, _ domains: [any Domain]) async throws {
        do {
            try await store.migrate(domains)
        } catch let error as SQLError where error.code == .migrationChanged {
            throw Problem(
                "data.migration", status: 500, "the data folder was made by another version of vagus",
                detail: "\(error.message).", hint: "Use the version that made it, or a newer release.")
        } catch let error as SQLError where [.corrupt, .notADatabase, .full].contains(error.code) {
            throw Problem(
                "data.\(error.code.rawValue)", status: 500, "the database cannot be used", detail: "\(error.message).",
                hint: error.code == .full ? "Free some disk space, then start again." : "Put a backup in its place.")
        }
    }

    /// Runs until told to stop; with a guest until it leaves, signals being the guest's.
    package func run(guest: (@Sendable (VagusClient) async throws -> Void)? = nil) async throws {
        let doorman = Doorman(tokens: tokens, hasAuth: options.hasAuth)
        let tokens = tokens
        let web = try WebFace(caller: switchboard, isToken: { tokens.token(for: $0) != nil })
        let face = HTTPFace(
            switchboard: switchboard, table: OperationTable(Operations.all), doorman: doorman,
            blobs: BlobRoutes(blobs: blobs), output: pipelines.map(OutputRoute.init), feed: EventFeed(store: store),
            web: WebPages(face: web, doorman: doorman, time: store.time),
            git: pipelines.map { GitRoutes(door: $0.gitDoor, doorman: doorman, logger: logger) },
            hooks: pipelines.map { HookRoutes(webhooks: $0.webhooks, doorman: doorman) },
            mounts: MountRoutes(mounts: mounts, doorman: doorman, instruments: instruments, logger: logger),
            instruments: instruments, time: store.time, ids: ids, logger: logger)
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        let place = place
        let options = options
        let application = Application(
            responder: face,
            configuration: .init(address: .hostname(options.host, port: options.port), serverName: nil),
            onServerRunning: { channel in
                let port = channel.localAddress?.port ?? options.port
                place.listens(at: "http://\(options.host):\(port)")
                options.tell("vagus listens on http://\(options.host):\(port)")
            },
            logger: quiet)
        try await firstToken()
        var services: [any Service] = [Closing(store: store, outbound: outbound)]
        services += loops.map { LoopService(loop: $0) as any Service }
        services.append(application)
        if let mlflow = try ownPort(face, quiet) { services.append(mlflow) }
        if let proxy = options.proxy { services += try agents(proxy) }
        services.append(Hush(bells: store.bells))
        var all = services.map { ServiceGroupConfiguration.ServiceConfiguration(service: $0) }
        if let guest {
            let outbound = outbound
            let service = GuestService(
                place: place, client: { VagusClient(server: $0, token: nil, outbound: outbound) }, body: guest)
            all.append(
                .init(
                    service: service, successTerminationBehavior: .gracefullyShutdownGroup,
                    failureTerminationBehavior: .gracefullyShutdownGroup))
        }
        let group = ServiceGroup(
            configuration: .init(
                services: all, gracefulShutdownSignals: guest == nil ? [.sigterm, .sigint] : [], logger: quiet))
        do {
            try await group.run()
        } catch let error as IOError where error.errnoCode == EADDRINUSE {
            throw Problem(
                "port.in-use", status: 500, "something else listens on \(options.host):\(options.port)",
                hint: "Stop it, or choose another port with --listen \(options.host):0, which takes any free one.")
        }
    }

    /// MLflow's API at the root of a port of its own.
    private func ownPort(_ face: HTTPFace, _ logger: Logger) throws -> (any Service)? {
        guard let place = options.mlflow, let mount = mounts.first(where: { $0.prefix == "/mlflow" }) else {
            return nil
        }
        let tell = options.tell
        return Application(
            responder: MountFace(routes: face.mounts, mount: mount, ids: ids),
            configuration: .init(address: .hostname(place.host, port: place.port), serverName: nil),
            onServerRunning: { channel in
                tell("MLflow's API is at http://\(place.host):\(channel.localAddress?.port ?? place.port)")
            },
            logger: logger)
    }

    private func firstToken() async throws {
        guard options.hasAuth, tokens.isEmpty else { return }
        let secret = try await tokens.makeFirst()
        options.tell("First start. This token works once, to make yourself a lasting one:")
        options.tell("  vagus token redeem admin --token \(secret)")
    }

    private func agents(_ proxy: (host: String, port: Int)) throws -> [any Service] {
        let (place, outbound, options, logger, folder) = (place, outbound, options, logger, folder)
        let proxyService = AgentService {
            let client = VagusClient(server: try await place.url(), token: nil, outbound: outbound)
            let settings = ProxyAgent.Settings(host: proxy.host, port: proxy.port, folder: folder.file("proxy"))
            do {
                try await ProxyAgent(client: client, settings: settings, logger: logger).run { port in
                    options.tell("services are reached at http://\(settings.host):\(port)")
                }
            } catch {
                throw ProxyAgent.problem(error)
            }
        }
        let runnerService = AgentService {
            let client = VagusClient(server: try await place.url(), token: nil, outbound: outbound)
            try await Rooms.runner(
                client: client, name: "local", labels: [], folder: folder, config: options.config,
                executable: options.executable, logger: logger)
        }
        return [proxyService, runnerService]
    }
}

/// Stopped first, as the last in the group: answers open long polls, for which the server would otherwise wait 20 s.
struct Hush: Service {
    let bells: Bells
    func run() async throws {
        try? await gracefulShutdown()  // cancelled: the same
        bells.close()
    }
}

/// A loop for the life of the server; a graceful stop ends it between two steps.
struct LoopService: Service {
    let loop: any RunnableLoop
    func run() async throws {
        do {
            try await cancelWhenGracefulShutdown { try await loop.run() }
        } catch is CancellationError {}
    }
}

/// An agent that lives beside the server in `vagus dev`.
struct AgentService: Service {
    let body: @Sendable () async throws -> Void
    init(_ body: @escaping @Sendable () async throws -> Void) { self.body = body }
    func run() async throws {
        do {
            try await cancelWhenGracefulShutdown { try await body() }
        } catch is CancellationError {}
    }
}

/// First to start and so last to stop: closes what the others used.
struct Closing: Service {
    let store: Store
    let outbound: OutboundClient
    func run() async throws {
        try await gracefulShutdown()
        await outbound.shutdown()
        await store.close()
    }
}
