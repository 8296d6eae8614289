import API
import Blobs
import Crypto
import Foundation
import Kernel
import KernelTesting
import Manifests
import Synchronization

@testable import Experiments

/// Signs with a key of its own, in memory.
struct TestSigner: ContentSigner {
    private let key = P256.Signing.PrivateKey()

    private var pem: String { key.publicKey.pemRepresentation + "\n" }
    private var id: String { Blobs.Digest(of: Array(pem.utf8)).hex }

    func sign(_ bytes: [UInt8]) async throws -> ContentSignature {
        ContentSignature(key: id, publicKey: pem, bytes: Array(try key.signature(for: bytes).derRepresentation))
    }
    func publicKey(_ id: String) async throws -> String? { id == self.id ? pem : nil }
}

/// A house with the registry alone.
struct RegistryHouse {
    let house: TestHouse
    let blobs: BlobStore
    let domain: ExperimentsDomain

    init(
        signer: (any ContentSigner)? = TestSigner(),
        trial: (@Sendable (Blobs.Digest, JSONValue?) async throws -> JSONValue)? = nil
    ) async throws {
        house = try TestHouse()
        blobs = try BlobStore(folder: "\(house.folder)/blobs")
        domain = ExperimentsDomain(
            context: house.context, blobs: blobs, folder: "\(house.folder)/experiments",
            outside: RegistryOutside(signer: signer, trial: trial))
        try await house.open([domain])
    }

    /// Stores a folder of these files.
    func tree(_ files: [String: String]) async throws -> String {
        var stored: [(path: String, digest: Blobs.Digest, size: Int64)] = []
        for (path, text) in files {
            let (digest, size) = try await blobs.put(bytes: Array(text.utf8))
            stored.append((path, digest, size))
        }
        return try await Tree.pack(files: stored, into: blobs).digest.text
    }

    @discardableResult
    func register(
        _ model: String = "churn", _ files: [String: String] = ["model.json": "{}"], run: String = "a",
        by actor: String = "user:ana", _ change: (inout ModelVersion) -> Void = { _ in }
    ) async throws -> ModelVersion {
        var version = ModelVersion()
        (version.model, version.run, version.format) = (model, run, "linear")
        version.digest = try await tree(files)
        version.metrics["auc"] = 0.8
        change(&version)
        let wanted = version
        return try await call(Models.register, wanted, as: actor)
    }

    func call<Input: Manifest, Output: Manifest>(
        _ operation: API.Operation<Input, Output>, _ input: Input, as actor: String = "user:ana"
    ) async throws -> Output {
        try await house.caller.call(operation, input, as: Call(actor: actor, correlation: ""))
    }

    func ask(_ version: String = "1", stage: String = "production", by actor: String = "user:ana") async throws
        -> ModelRequest
    {
        var input = ModelRequestInput()
        (input.name, input.version, input.stage) = ("churn", version, stage)
        let wanted = input
        return try await call(Models.ask, wanted, as: actor)
    }

    func say(
        _ operation: API.Operation<ModelVerdictInput, ModelRequest>, _ version: String = "1", by person: String,
        comment: String? = nil
    ) async throws -> ModelRequest {
        var input = ModelVerdictInput()
        (input.name, input.version, input.comment) = ("churn", version, comment)
        let wanted = input
        return try await call(operation, wanted, as: "user:\(person)")
    }

    func alias(_ alias: String, _ version: Int, expected: Int? = nil) async throws -> ModelVersion {
        var input = AliasInput()
        (input.name, input.alias, input.version, input.expected) = ("churn", alias, version, expected)
        let wanted = input
        return try await call(Models.setAlias, wanted)
    }

    /// Names of the events about models, oldest first.
    func events() async throws -> [String] {
        try await house.events().map(\.name).filter { $0.hasPrefix("model.") }
    }

    /// A call of MLflow's API.
    func mlflow(
        _ method: String, _ path: String, _ body: JSONValue = [:], query: [(name: String, value: String)] = []
    ) async throws -> (status: Int, json: JSONValue) {
        let request = ForeignRequest(
            method: method, path: path, query: query, body: method == "GET" ? [] : body.bytes)
        let answer = try await domain.mounts[0].handle(request, Call(actor: "user:ana", correlation: ""))
        guard case .bytes(let bytes) = answer.body else { return (answer.status, .null) }
        return (answer.status, (try? JSONParser.parse(bytes)) ?? .null)
    }
}

/// What a call has been refused with; nil when it was not.
func refusal<T>(_ body: () async throws -> T) async -> Problem? {
    do {
        _ = try await body()
        return nil
    } catch {
        return error as? Problem ?? Problem("other", status: 500, "\(error)")
    }
}
