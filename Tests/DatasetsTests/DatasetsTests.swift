import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Datasets

/// What runs have read of a dataset stands in its status.
@Suite struct DatasetsTests {
    static func event(_ verb: String, _ outputs: JSONValue?, run: String = "run_1", status: String = "succeeded")
        -> Event
    {
        var event = Event()
        event.name = "step.finished"
        event.subject = Subject(kind: "Run", project: "default", name: run)
        event.data = ["verb": .string(verb), "status": .string(status)]
        event.data["outputs"] = outputs
        return event
    }

    static let outputs: JSONValue = ["dataset": "people", "digest": "sha256:aa", "rows": 10, "rejected": 2]

    @Test func `only a good end of ingest or validate with outputs says anything`() {
        #expect(Versions.version(of: Self.event("ingest", Self.outputs))?.version.quarantined == 2)
        #expect(Versions.version(of: Self.event("ingest", nil)) == nil)
        #expect(Versions.version(of: Self.event("transform", Self.outputs)) == nil)
        #expect(Versions.version(of: Self.event("ingest", Self.outputs, status: "failed")) == nil)
        #expect(Versions.version(of: Self.event("ingest", ["dataset": "people"])) == nil)
    }

    @Test func `the newest is first, a run counts once, and no more than the limit are kept`() {
        var versions: [DatasetVersion] = []
        for number in 1...30 {
            var version = DatasetVersion()
            (version.run, version.rows) = ("run_\(number / 2)", number)
            versions = Versions.adding(version, to: versions)
        }
        #expect(versions.first?.rows == 30)
        #expect(versions.count == 16)
        #expect(Set(versions.map(\.run)).count == versions.count)
        for number in 31...60 {
            var version = DatasetVersion()
            version.run = "run_x\(number)"
            versions = Versions.adding(version, to: versions)
        }
        #expect(versions.count == DatasetLimits.versions)
    }

    @Test func `a step that ends is noted in the status of its dataset`() async throws {
        let house = try TestHouse()
        try await house.open([DatasetsDomain(context: house.context)])
        try await house.apply("kind: Dataset\nname: people\nsource: {uri: people.csv}")
        let follower = VersionFollower()
        try await house.store.change(.system("test")) { change in
            try follower.heed(Self.event("ingest", Self.outputs), in: change)
            try follower.heed(Self.event("ingest", ["dataset": "nobody", "digest": "sha256:bb"]), in: change)
        }
        let reference = Reference<DatasetKind>(project: "default", name: "people")
        let found = try await house.store.read { try $0.resource(DatasetKind.self, reference) }
        #expect(found?.status?.versions.map(\.digest) == ["sha256:aa"])
        #expect(found?.status?.versions.first?.rows == 10)
        #expect(found?.status?.versions.first?.run == "run_1")
    }
}
