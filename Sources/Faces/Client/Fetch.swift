package import API
import Manifests

/// Brings artifacts to local files.
package struct Fetch: Sendable {
    private let client: VagusClient

    package init(client: VagusClient) { self.client = client }

    /// A file goes to `path`; a tree becomes the folder `path`, its files fetched one by one.
    ///
    /// - Parameter scratch: Where a tree's manifest is kept meanwhile; beside `path` when absent.
    package func artifact(_ artifact: Artifact, to path: String) async throws {
        guard artifact.form == .tree else { return try await client.download(artifact.digest, to: path) }
        let manifest = path + ".tree"
        try await client.download(artifact.digest, to: manifest)
        try await TreeFiles(client: client).lay(manifest: manifest, at: path)
    }
}
