import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Delivery

@Suite(.timeLimit(.minutes(2))) struct StrategyTests {
    private func established(_ rollout: String, replicas: Int) async throws -> Rig {
        let rig = try await Rig.open()
        try await rig.house.apply(web(rollout, replicas: replicas))
        try await rig.settle()
        try #require(try await rig.status().stable_revision == 1)
        return rig
    }

    @Test func `rolling replaces copy by copy, with weights in proportion, and never has fewer than wanted`()
        async throws
    {
        let rig = try await established("{ strategy: rolling }", replicas: 3)
        try await rig.deploy("k1")
        var seen: [[Int: Int]] = []
        for _ in 0..<12 {
            try await rig.settle(turns: 1)
            let status = try await rig.status()
            let ready = status.revisions.reduce(0) { $0 + $1.ready }
            #expect(ready >= 3)
            #expect(status.revisions.reduce(0) { $0 + $1.replicas } <= 4 || status.stable_revision == 2)
            if seen.last != status.weights { seen.append(status.weights) }
        }
        #expect(
            seen
                == [
                    [1: 100], [1: 75, 2: 25], [1: 67, 2: 33], [1: 50, 2: 50], [1: 33, 2: 67], [1: 25, 2: 75], [2: 100],
                ].filter { seen.contains($0) })
        #expect(seen.last == [2: 100])
        #expect(seen.count > 3)
        let status = try await rig.status()
        #expect((status.phase, status.stable_revision) == (.healthy, 2))
        try await rig.pass(31)
        #expect(rig.platform.running(1).isEmpty)
    }

    @Test func `an aborted rolling brings the old copies back`() async throws {
        let rig = try await established("{ strategy: rolling }", replicas: 3)
        rig.platform.setWell(false, InstanceID("default/web/2/2"))
        try await rig.deploy("k1")
        try await rig.settle(turns: 6)
        #expect(rig.platform.running(1).count == 2)
        try await rig.abort()
        try await rig.settle()
        let status = try await rig.status()
        #expect(status.weights == [1: 100])
        #expect(rig.platform.running(1).count == 3)
        #expect(status.revision(1)?.ready == 3)
    }

    @Test func `recreate stops the old before it starts the new`() async throws {
        let rig = try await established("{ strategy: recreate }", replicas: 2)
        rig.platform.setWell(false, revision: 2)
        try await rig.deploy("k1")
        try await rig.settle(turns: 3)
        #expect(rig.platform.running(1).isEmpty)
        #expect(rig.platform.running(2).count == 2)
        #expect(try await rig.table().weights == [:])
        rig.platform.setWell(true, revision: 2)
        try await rig.pass(2)
        #expect(try await rig.status().stable_revision == 2)
    }

    @Test func `of recreate there is never a copy too many, on no way back and in no restart`() async throws {
        let rig = try await established("{ strategy: recreate }", replicas: 1)
        try await rig.deploy("k1")
        try await rig.pass(3)
        #expect(try await rig.status().stable_revision == 2)
        try await rig.undo()
        try await rig.pass(3)
        #expect(try await rig.status().stable_revision == 1)
        _ = try await rig.house.call(Services.restart, Name(project: "default", name: "web"))
        try await rig.pass(3)
        #expect(rig.platform.running(1).count == 1 && rig.platform.stops.count == 3)
        rig.platform.setWell(false, revision: 3)
        try await rig.deploy("k2")
        try await rig.pass(1)
        try await rig.promote(full: true)
        try await rig.pass(2)
        try await rig.abort()
        try await rig.pass(3)
        #expect(rig.platform.running(1).count == 1 && rig.platform.running().count == 1)
        #expect(rig.platform.most == 1)
    }

    @Test func `an aborted recreate brings the old revision back`() async throws {
        let rig = try await established("{ strategy: recreate }", replicas: 1)
        rig.platform.setWell(false, revision: 2)
        try await rig.deploy("k1")
        try await rig.settle()
        try await rig.abort()
        try await rig.settle()
        #expect(rig.platform.running(1).count == 1)
        #expect(try await rig.table().weights == ["1": 100])
    }

    @Test func `blue green shows a preview, waits for a person, switches all at once and keeps the old for a while`()
        async throws
    {
        let rig = try await established("{ strategy: blue_green, auto_promote: false }", replicas: 2)
        try await rig.deploy("k1")
        try await rig.settle()
        var status = try await rig.status()
        #expect((status.phase, status.preview_revision, status.steps) == (.paused, 2, 2))
        #expect(status.weights == [1: 100])
        let table = try await rig.table()
        #expect(table.routes.map { $0["path_prefix"]?.string } == ["/services/web", "/services/web-preview"])
        #expect(table.routes[1]["revisions"]?[0]?["revision"]?.string == "2")
        try await rig.promote()
        try await rig.settle()
        status = try await rig.status()
        #expect((status.phase, status.stable_revision, status.completion) == (.healthy, 2, .promoted))
        #expect(try await rig.table().routes.count == 1)
        #expect(rig.platform.running(1).count == 2)
        try await rig.pass(31)
        #expect(rig.platform.running(1).isEmpty)
    }

    @Test func `blue green with auto promote switches by itself`() async throws {
        let rig = try await established("{ strategy: blue_green }", replicas: 2)
        try await rig.deploy("k1")
        try await rig.settle()
        #expect(try await rig.status().stable_revision == 2)
    }
}
