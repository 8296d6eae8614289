import API
import Blobs
import Manifests

/// Files that MLflow's clients have left in the artifact proxy: what a version that is made of them consists of.
struct RegistryFiles: Sendable {
    /// The part of the proxy that shows versions whose files came another way.
    static let folder = "registry"

    /// The files below an address of the proxy ("mlflow-artifacts:/1/…/artifacts/model"), their paths relative to it; nil when
    /// the address is not the proxy's, or nothing lies there.
    var list: @Sendable (_ project: String, _ uri: String) async throws -> [ModelFile]?

    /// Where a client downloads a version: from the registry, which keeps what was registered whatever becomes of its source;
    /// versions whose files are elsewhere, from there.
    static func address(of version: ModelVersion) -> String {
        guard version.digest.isEmpty else {
            return "mlflow-artifacts:/\(folder)/\(version.project)/\(version.model)/\(version.version)"
        }
        return version.source ?? ""
    }
}

/// What MLflow writes beside a model: `MLmodel`, in YAML.
enum MLmodelFile {
    static let name = "MLmodel"
    /// Bytes of it that are read.
    static let limit: Int64 = 1 << 20

    /// Takes signature, flavours and run into a version. What cannot be read is left out: it is the client's file.
    static func describe(_ version: inout ModelVersion, _ bytes: [UInt8]) {
        guard let document = try? YAML.documents(String(decoding: bytes, as: UTF8.self)).first?.value else { return }  // no YAML
        let schema = SchemaReading.schema(of: document["signature"] ?? [:])
        if !schema.isEmpty { version.signature = schema.json }
        let flavors = (document["flavors"]?.object ?? [:]).keys.filter { $0 != "python_function" }
        if !flavors.isEmpty { version.facts["flavors"] = flavors.json }
        if let text = document["mlflow_version"]?.string { version.facts["mlflow_version"] = .string(text) }
        if version.model_id == nil, let id = document["model_id"]?.string { version.model_id = id }
    }
}

extension ExperimentsDomain {
    /// Nothing lies in an artifact proxy yet.
    var registryFiles: RegistryFiles { RegistryFiles { _, _ in nil } }
}
