import API
import Blobs
import Kernel
import Manifests
import SQL

/// The part of the artifact proxy that shows versions as they were registered, whatever becomes of the run they came from:
/// "registry/PROJECT/MODEL/VERSION/…". It only reads.
struct FrozenFiles: Sendable {
    let store: Store
    let intaking: Intaking

    static let folder = "registry"

    static func holds(_ path: String) -> Bool { path == folder || path.hasPrefix(folder + "/") }

    static func project(of path: String) -> String? {
        path.split(separator: "/").dropFirst().first.map(String.init)
    }

    /// Where a client downloads a version; versions whose files are elsewhere, from there.
    static func address(of version: ModelVersion) -> String {
        guard version.digest.isEmpty else {
            return "mlflow-artifacts:/\(folder)/\(version.project)/\(version.model)/\(version.version)"
        }
        return version.source ?? ""
    }

    func digest(of path: String) async throws -> Digest? {
        guard let (files, rest) = try await files(path) else { return nil }
        return files.first { $0.path == rest }.flatMap { Digest($0.digest) }
    }

    /// What lies in a folder; a path that is a file lies in itself, alone.
    func entries(in path: String) async throws -> [ArtifactEntry] {
        guard let (files, rest) = try await files(path) else { return [] }
        if let file = files.first(where: { $0.path == rest }) {
            let name = rest.split(separator: "/").last.map(String.init) ?? rest
            return [ArtifactEntry(name: name, isFolder: false, bytes: file.size_bytes)]
        }
        let start = rest.isEmpty ? "" : rest + "/"
        var seen = Set<String>()
        return files.compactMap { file -> ArtifactEntry? in
            guard file.path.hasPrefix(start) else { return nil }
            let inner = file.path.dropFirst(start.count)
            let name = String(inner.prefix { $0 != "/" })
            guard seen.insert(name).inserted else { return nil }
            return ArtifactEntry(
                name: name, isFolder: inner.contains("/"), bytes: inner.contains("/") ? 0 : file.size_bytes)
        }.sorted { $0.name < $1.name }
    }

    /// The files of the version that a path lies in, and the path within it.
    private func files(_ path: String) async throws -> (files: [ModelFile], rest: String)? {
        let parts = path.split(separator: "/").map(String.init)
        guard parts.count >= 4, let number = Int(parts[3]) else { return nil }
        let model = Reference<ModelKind>(project: parts[1], name: parts[2])
        guard let version = try await store.read({ try $0.version(number, of: model) }),
            let digest = Digest(version.digest)
        else { return nil }
        return (try await intaking.files(digest), parts.dropFirst(4).joined(separator: "/"))
    }
}

/// What MLflow writes beside a model: `MLmodel`, in YAML.
enum MLmodelFile {
    static let name = "MLmodel"
    /// Bytes of it that are read.
    static let limit: Int64 = 1 << 20

    /// Takes signature, flavours and logged model into a version. What cannot be read is left out: it is the client's file.
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
