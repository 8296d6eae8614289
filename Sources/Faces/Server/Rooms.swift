import API
import Blobs
import Client
import Experiments
import Kernel
import Logging
import Outbound
import Serving

/// Every domain, with what it is handed. A new room is one line here.
enum Rooms {
    static func all(
        context: DomainContext, folder: DataFolder, blobs: BlobStore, outbound: OutboundClient, options: ServerOptions
    ) throws -> [any Domain] {
        [
            ExperimentsDomain(context: context, blobs: blobs),
            ServingDomain(context: context),
        ]
    }

    /// Takes jobs until cancelled.
    static func runner(
        client: VagusClient, name: String, labels: [String], folder: DataFolder, config: ServerConfig,
        executable: String, logger: Logger
    ) async throws {
        try await Task.sleep(for: .seconds(86_400))
    }
}
