import API
package import Client
package import Logging
import Runner
import ServiceLifecycle
import UnixSignals

/// How long a runner lives.
package struct RunnerLife: Sendable {
    /// Takes one job, and ends with it.
    package var isOnce = false
    /// How long jobs may go on after the first SIGTERM.
    package var drainTimeout: Duration = .seconds(600)
    let drain = DrainSignal()
    package init() {}

    /// The first SIGTERM or SIGINT drains: no more jobs, those under way are finished. Returns at the second.
    func heedSignals() async {
        for await _ in await UnixSignalsSequence(trapping: .sigterm, .sigint) {
            if drain.isAsked { return }
            drain.ask()
        }
    }
}

/// `vagus runner` and `vagus proxy`: agents as processes of their own.
package enum Agents {
    package static func proxy(
        client: VagusClient, settings: ProxyAgent.Settings, logger: Logger, tell: @escaping @Sendable (Int) -> Void
    ) async throws {
        var settings = settings
        settings.folder = try DataFolder(settings.folder).file("proxy")
        let chosen = settings
        try await alone(logger) {
            do {
                try await ProxyAgent(client: client, settings: chosen, logger: logger).run { tell($0) }
            } catch {
                throw ProxyAgent.problem(error)
            }
        }
    }

    package static func runner(
        client: VagusClient, name: String, data: String, labels: [String], config: ServerConfig, executable: String,
        life: RunnerLife, logger: Logger
    ) async throws {
        let folder = try DataFolder(data)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await Rooms.runner(
                    client: client, name: name, labels: labels, folder: folder, config: config,
                    executable: executable, life: life, logger: logger)
            }
            group.addTask { await life.heedSignals() }
            defer { group.cancelAll() }
            // Its own end, or the second signal, whichever comes first.
            _ = try await group.next()
        }
    }

    private static func alone(_ logger: Logger, _ body: @escaping @Sendable () async throws -> Void) async throws {
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: AgentService(body))], gracefulShutdownSignals: [.sigterm, .sigint],
                logger: quiet))
        try await group.run()
    }
}
