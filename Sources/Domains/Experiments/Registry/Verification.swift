import API
import Blobs
import Kernel
import Manifests

/// Reads a version's files again and holds them against what was registered and signed.
struct Verifying: Sendable {
    let blobs: BlobStore
    let signer: (any ContentSigner)?
    let intaking: Intaking

    /// - Parameter documents: The signature and the bill of materials, if there are any.
    func look(
        at version: ModelVersion, signature: JSONValue?, bom: JSONValue?
    ) async throws -> ModelVerification {
        var result = ModelVerification()
        (result.version, result.key) = (version, signature.flatMap(ModelSigning.key))
        result.outcome = signature == nil ? .unsigned : .sound
        guard let digest = Digest(version.digest) else {
            result.outcome = .unsigned
            return result
        }
        var files: [ModelFile] = []
        do {
            files = try await intaking.files(digest)
        } catch let error as BlobError {
            result.problems.append("the list of its files cannot be read: \(error.message)")
        }
        result.files = files.count
        result.problems += try await changed(files)
        if let signature, result.problems.isEmpty {
            let key: String? = if let id = result.key { try await signer?.publicKey(id) } else { nil }
            result.problems += ModelSigning.problems(signature, publicKey: key, files)
        }
        let told = bom?["metadata"]?["component"]?["hashes"]?[0]?["content"]?.string
        if result.problems.isEmpty, let told, told != ModelSigning.root(files) {
            result.problems.append("the bill of materials tells of other files")
        }
        if signature == nil, version.signed_with != nil { result.problems.append("its signature was taken away") }
        if !result.problems.isEmpty { result.outcome = .changed }
        return result
    }

    private func changed(_ files: [ModelFile]) async throws -> [String] {
        var problems: [String] = []
        for file in files {
            try Task.checkCancellation()
            guard let digest = Digest(file.digest) else { continue }
            do {
                try await blobs.verify(digest)
            } catch let error as BlobError {
                problems.append(
                    error.code == .notFound ? "\"\(file.path)\" is gone" : "\"\(file.path)\" is not what was registered"
                )
            }
        }
        return problems
    }
}

extension Change {
    /// Writes down what a verification has found; a version that has changed loses what was said of it.
    func tell(_ result: ModelVerification) throws {
        let version = result.version
        let data: Ordered<JSONValue> = [
            "version": .integer(Int64(version.version)), "outcome": result.outcome.json,
            "files": .integer(Int64(result.files)), "problems": Array(result.problems.prefix(20)).json,
            "key": result.key.json,
        ]
        try tell(result.isGood ? "model.verified" : "model.refused", about: version.reference.subject, data)
        if result.outcome == .changed { try void(version, because: result.problems.first ?? "its files have changed") }
    }
}
