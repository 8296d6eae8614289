import API
import Blobs
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Experiments

@Suite struct ExperimentsTests {
    private struct Room {
        let house: TestHouse
        let digests: [String]

        init() async throws {
            house = try TestHouse()
            let blobs = try BlobStore(folder: "\(house.folder)/blobs")
            try await house.open([
                ExperimentsDomain(context: house.context, blobs: blobs, folder: "\(house.folder)/experiments")
            ])
            var made: [String] = []
            for text in ["one", "two", "three"] {
                made.append(try await blobs.put(bytes: Array(text.utf8)).digest.description)
            }
            digests = made
        }

        func register(_ digest: Int, run: String, format: String = "linear") async throws -> ModelVersion {
            var version = ModelVersion()
            (version.model, version.digest, version.run, version.format) = ("churn", digests[digest], run, format)
            version.metrics["auc"] = 0.8
            return try await house.caller.call(Models.register, version, as: .system("test"))
        }

        func alias(_ name: String, _ version: Int, expected: Int? = nil) async throws -> ModelVersion {
            var input = AliasInput()
            (input.name, input.alias, input.version, input.expected) = ("churn", name, version, expected)
            return try await house.caller.call(Models.setAlias, input, as: .system("test"))
        }

        func version(_ word: String) async throws -> ModelVersion {
            let name = ModelVersionName(project: "default", name: "churn", version: word)
            return try await house.caller.call(Models.version, name, as: .system("test"))
        }
    }

    @Test func `versions count from one and the same run and content is one version`() async throws {
        let room = try await Room()
        #expect(try await room.register(0, run: "a").version == 1)
        #expect(try await room.register(1, run: "b").version == 2)
        #expect(try await room.register(0, run: "a").version == 1)
        #expect(try await room.version("latest").digest == room.digests[1])
        let list = try await room.house.caller.call(
            Models.versions, Name(project: "default", name: "churn"), as: .system("test"))
        #expect(list.items.map(\.version) == [2, 1])
    }

    @Test func `an alias moves only from where its mover thinks it is`() async throws {
        let room = try await Room()
        _ = try await room.register(0, run: "a")
        _ = try await room.register(1, run: "b")
        #expect(try await room.alias("champion", 1, expected: 0).aliases == ["champion"])
        await #expect(throws: Problem.self) { try await room.alias("champion", 2, expected: 0) }
        #expect(try await room.version("champion").version == 1)
        #expect(try await room.alias("champion", 2, expected: 1).version == 2)
        #expect(try await room.version("champion").version == 2)
    }

    @Test func `of many that race to move an alias one wins`() async throws {
        let room = try await Room()
        for index in 0..<3 { _ = try await room.register(index, run: "run\(index)") }
        let winners = await withTaskGroup(of: Bool.self) { group in
            for index in 0..<16 {
                group.addTask {
                    do {
                        _ = try await room.alias("champion", index % 3 + 1, expected: 0)
                        return true
                    } catch { return false }
                }
            }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(winners == 1)
    }

    @Test(arguments: ["latest", "3", "v2", "Bad Name", ""])
    func `a word that could mean a version is no alias`(word: String) async throws {
        let room = try await Room()
        _ = try await room.register(0, run: "a")
        await #expect(throws: Problem.self) { try await room.alias(word, 1) }
    }

    @Test func `a version cannot point at content that is not there`() async throws {
        let room = try await Room()
        var version = ModelVersion()
        (version.model, version.format) = ("churn", "linear")
        version.digest = "sha256:" + String(repeating: "0", count: 64)
        let wanted = version
        await #expect(throws: Problem.self) {
            try await room.house.caller.call(Models.register, wanted, as: .system("test"))
        }
    }

    @Test func `a declared format refuses the others`() async throws {
        let room = try await Room()
        var apply = ApplyInput()
        apply.documents = [["kind": "Model", "name": "churn", "format": "xgboost"]]
        _ = try await room.house.caller.call(Resources.apply, apply, as: .system("test"))
        await #expect(throws: Problem.self) { try await room.register(0, run: "a", format: "linear") }
        #expect(try await room.register(0, run: "a", format: "xgboost").version == 1)
    }

    @Test func `a model that nobody knows is told with a hint`() async throws {
        let room = try await Room()
        let problem = await #expect(throws: Problem.self) { try await room.version("latest") }
        #expect(problem?.status == 404)
        #expect(problem?.hint?.contains("vagus models") == true)
    }
}
