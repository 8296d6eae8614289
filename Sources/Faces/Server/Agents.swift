import API
package import Client
package import Logging
import ServiceLifecycle
import UnixSignals

/// `vagus runner` and `vagus proxy`: agents as processes of their own.
package enum Agents {
    package static func proxy(
        client: VagusClient, name: String, host: String, port: Int, data: String, logger: Logger,
        tell: @escaping @Sendable (Int) -> Void
    ) async throws {
        let folder = try DataFolder(data)
        let settings = ProxyAgent.Settings(name: name, host: host, port: port, folder: folder.file("proxy"))
        try await alone(logger) {
            do {
                try await ProxyAgent(client: client, settings: settings, logger: logger).run { tell($0) }
            } catch {
                throw ProxyAgent.problem(error)
            }
        }
    }

    package static func runner(
        client: VagusClient, name: String, data: String, labels: [String], config: ServerConfig, executable: String,
        logger: Logger
    ) async throws {
        let folder = try DataFolder(data)
        try await alone(logger) {
            try await Rooms.runner(
                client: client, name: name, labels: labels, folder: folder, config: config, executable: executable,
                logger: logger)
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
