import API
import Blobs
import Foundation
import Kernel
import Manifests
import Testing

@testable import Server

/// A model's life in a whole house: signed with a key of the vault, approved by people, refused by delivery once changed.
@Suite(.timeLimit(.minutes(2))) struct ModelScenarios {
    private static func call(_ actor: String) -> Call { Call(actor: actor, correlation: "") }

    private static func version(_ house: House, files: [String: String] = ["model.json": "{}", "weights.bin": "1234"])
        async throws -> ModelVersion
    {
        var stored: [(path: String, digest: Digest, size: Int64)] = []
        for (path, text) in files {
            let (digest, size) = try await house.blobs.put(bytes: Array(text.utf8))
            stored.append((path, digest, size))
        }
        var version = ModelVersion()
        (version.model, version.run, version.format) = ("churn", "by-hand", "linear")
        version.digest = try await Tree.pack(files: stored, into: house.blobs).digest.text
        let wanted = version
        return try await house.switchboard.call(Models.register, wanted, as: call("user:ana"))
    }

    @Test func `a version is signed by the vault, and refused by a deploy once a file of it has changed`() async throws
    {
        try await withOpenHouse { house in
            let version = try await Self.version(house)
            #expect(version.signed_with?.utf8.count == 64)
            let name = ModelVersionName(project: "default", name: "churn", version: "1")
            #expect(try await house.ask(Models.verify, name).outcome == .sound)
            let path = house.blobs.path(of: Digest(of: Array("1234".utf8)))
            try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
            try Data("6666".utf8).write(to: URL(filePath: path))
            try await house.apply("kind: Service\nname: web\nworkload: { model: churn }")
            var input = DeployInput()
            (input.name, input.key, input.model) = ("web", "k1", "churn@1")
            let wanted = input
            let problem = await #expect(throws: Problem.self) { try await house.ask(Services.deploy, wanted) }
            #expect(problem?.code == "model.changed")
            #expect(problem?.message.contains("weights.bin") == true)
            var query = EventQuery()
            (query.after, query.limit, query.name) = (0, 100, "model.refused")
            let asked = query
            let events = try await house.ask(Events.list, asked).items
            #expect(events.count == 1)
            #expect(events.first?.data["problems"]?[0]?.string?.contains("weights.bin") == true)
        }
    }

    @Test func `evidence leaves the house whole, its signature made with a key that only the vault has`() async throws {
        try await withOpenHouse { house in
            _ = try await Self.version(house)
            let name = ModelVersionName(project: "default", name: "churn", version: "1")
            let evidence = try await house.ask(Models.evidence, name)
            #expect(evidence.public_key?.hasPrefix("-----BEGIN PUBLIC KEY-----\n") == true)
            #expect(
                evidence.signature?["verificationMaterial"]?["publicKey"]?["hint"]?.string
                    == evidence.version.signed_with)
            #expect(evidence.bom?["bomFormat"] == "CycloneDX")
            let again = try await house.ask(Models.sign, name)
            #expect(again.signed_with == evidence.version.signed_with)
        }
    }
}
