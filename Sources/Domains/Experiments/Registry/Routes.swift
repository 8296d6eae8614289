import API
import Blobs
package import Kernel
import Manifests
import SQL

extension ExperimentsDomain {
    package func routes(_ routes: inout Routes) {
        let (store, blobs) = (store, blobs)
        routes.on(Models.versions) { input, _ in
            try await store.read { sql in
                let model = Reference<ModelKind>(project: input.project, name: input.name)
                let versions = try sql.versions(of: model)
                if versions.isEmpty, try sql.resource(ModelKind.self, model) == nil { throw Registry.unknown(model) }
                return ItemList(versions)
            }
        }
        routes.on(Models.version) { input, _ in
            try await store.read { sql in
                let model = Reference<ModelKind>(project: input.project, name: input.name)
                return try Registry.find(input.version, of: model, in: sql)
            }
        }
        routes.on(Models.register) { input, call in
            // The content first: a version never points at what is not there.
            guard let digest = Digest(input.digest), try await Self.claim(digest, in: blobs) else {
                throw Problem(
                    "model.no-content", status: 422, "there is no blob \"\(input.digest)\"",
                    hint: "Upload the model's files first: POST /api/v1/blobs.")
            }
            return try await store.change(call) { try Registry.register(input, in: $0) }
        }
        routes.on(Models.setAlias) { input, call in
            try await store.change(call) { try Registry.setAlias(input, in: $0) }
        }
    }

    /// Whether the content is here, with all its files; sweeps then spare it until its row is written.
    private static func claim(_ digest: Digest, in blobs: BlobStore) async throws -> Bool {
        let files = try await Tree.files(namedBy: digest, in: blobs)
        return try await blobs.absent([digest] + files).isEmpty
    }
}
