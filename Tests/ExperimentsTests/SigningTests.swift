import API
import Blobs
import Foundation
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Experiments

@Suite struct SigningTests {
    private static let files = [
        ModelFile(path: "b/weights", digest: Digest(of: [2]).text, size: 1),
        ModelFile(path: "MLmodel", digest: Digest(of: [1]).text, size: 1),
    ]

    private func bundle(_ signer: TestSigner, _ files: [ModelFile] = Self.files) async throws -> (JSONValue, String) {
        let payload = ModelSigning.statement(name: "churn", files).bytes
        let signature = try await signer.sign(ModelSigning.encoding(payload))
        return (ModelSigning.bundle(payload, signature), signature.publicKey)
    }

    @Test func `the statement lists files by path, and one digest over all of theirs`() {
        let statement = ModelSigning.statement(name: "churn", Self.files)
        let resources = statement["predicate"]?["resources"]?.array ?? []
        #expect(resources.map { $0["name"]?.string } == ["MLmodel", "b/weights"])
        // SHA-256 of the two digests, one behind the other: sha256(sha256(01) + sha256(02)).
        let both = [Digest(of: [1]), Digest(of: [2])].flatMap { digest in
            stride(from: 0, to: 64, by: 2).map { index in
                let digits = Array(digest.hex)
                return UInt8(String(digits[index...(index + 1)]), radix: 16) ?? 0
            }
        }
        #expect(statement["subject"]?[0]?["digest"]?["sha256"]?.string == Digest(of: both).hex)
        #expect(statement["predicateType"]?.string == "https://model_signing/signature/v1.0")
    }

    @Test func `DSSE signs type and payload with their lengths`() {
        // The example of the protocol's own page, with this payload type.
        let bytes = ModelSigning.encoding(Array("hello world".utf8))
        #expect(String(decoding: bytes, as: UTF8.self) == "DSSEv1 28 application/vnd.in-toto+json 11 hello world")
    }

    @Test func `a bundle vouches for its files and no others`() async throws {
        let signer = TestSigner()
        let (bundle, key) = try await bundle(signer)
        #expect(ModelSigning.problems(bundle, publicKey: key, Self.files).isEmpty)
        var changed = Self.files
        changed[0].digest = Digest(of: [9]).text
        #expect(
            ModelSigning.problems(bundle, publicKey: key, changed) == ["\"b/weights\" was changed after it was signed"])
        #expect(
            ModelSigning.problems(bundle, publicKey: key, [Self.files[1]])
                == ["\"b/weights\" was taken away after it was signed"])
        let more = Self.files + [ModelFile(path: "x", digest: Digest(of: [3]).text, size: 1)]
        #expect(ModelSigning.problems(bundle, publicKey: key, more) == ["\"x\" was added after it was signed"])
    }

    @Test func `another key, another payload and no signature at all are told apart`() async throws {
        let (bundle, _) = try await bundle(TestSigner())
        let (other, otherKey) = try await self.bundle(TestSigner(), [Self.files[0]])
        #expect(
            ModelSigning.problems(bundle, publicKey: otherKey, Self.files) == [
                "the signature does not fit what it signs"
            ])
        #expect(
            ModelSigning.problems(bundle, publicKey: nil, Self.files)
                == ["the signature was made with a key that this server does not know"])
        var mixed = bundle.object ?? [:]
        var envelope = mixed["dsseEnvelope"]?.object ?? [:]
        envelope["payload"] = other["dsseEnvelope"]?["payload"]
        mixed["dsseEnvelope"] = .object(envelope)
        let (_, key) = try await self.bundle(TestSigner())
        #expect(!ModelSigning.problems(.object(mixed), publicKey: key, Self.files).isEmpty)
        #expect(ModelSigning.problems([:], publicKey: otherKey, Self.files) == ["the signature cannot be read"])
    }

    @Test func `evidence is whole: signature, key, bill of materials, card`() async throws {
        let room = try await RegistryHouse()
        try await room.register("churn", ["model.json": "{}", "signature.json": "{}"]) { version in
            version.signature = ["inputs": [["name": "x", "type": "double"]]]
            version.data_digest = Digest(of: [7]).text
            version.commit = "abc"
        }
        let evidence = try await room.call(
            Models.evidence, ModelVersionName(project: "default", name: "churn", version: "1"))
        #expect(evidence.files.map(\.path) == ["model.json", "signature.json"])
        let bundle = try #require(evidence.signature)
        #expect(ModelSigning.problems(bundle, publicKey: evidence.public_key, evidence.files).isEmpty)
        let bom = try #require(evidence.bom)
        #expect(bom["specVersion"] == "1.6")
        #expect(bom["metadata"]?["component"]?["type"] == "machine-learning-model")
        #expect(bom["components"]?.array?.count == 3)
        #expect(bom["serialNumber"]?.string?.count == "urn:uuid:".count + 36)
        #expect(evidence.card.hasPrefix("# churn, version 1\n"))
        #expect(evidence.card.contains("| x | double | input |"))
    }

    @Test func `a model that wants a signature refuses a version without`() async throws {
        let room = try await RegistryHouse(signer: nil)
        try await room.house.apply("kind: Model\nname: churn\nrequire_signature: true\n")
        try await room.register()
        let result = try await room.call(
            Models.verify, ModelVersionName(project: "default", name: "churn", version: "1"))
        #expect(result.outcome == .refused)
        #expect(!result.isGood)
    }
}
