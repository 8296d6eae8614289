import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Delivery

@Suite(.timeLimit(.minutes(2))) struct ProxyTests {
    private static let canary = "{ strategy: canary, steps: [{ weight: 20 }, { pause: {} }] }"

    private func established(commitHook: (@Sendable (Int) throws -> Void)? = nil) async throws -> Rig {
        let rig = try await Rig.open()
        try await rig.house.apply(web(Self.canary))
        try await rig.settle()
        return rig
    }

    @Test func `a step waits until the proxy has the table, and says so`() async throws {
        let rig = try await established()
        try await rig.report()
        let old = try await rig.table().version
        try await rig.deploy("k1")
        try await rig.settle()
        try await rig.report(table: old)
        try await rig.settle()
        var status = try await rig.status()
        #expect(status.weights == [1: 80, 2: 20])
        #expect((status.phase, status.step) == (.progressing, 0))
        #expect(status.message == "Revision 2 shall have 20 % of the traffic; waiting for the proxy to take it up.")
        rig.time.advance(by: .seconds(6))
        try await rig.settle()
        #expect(
            try await rig.status().message
                == "Revision 2 shall have 20 % of the traffic; waiting for the proxy, which does not answer.")
        try await rig.report()
        try await rig.settle()
        status = try await rig.status()
        #expect((status.phase, status.step) == (.paused, 1))
    }

    @Test func `asking for a newer table tells which one is in force`() async throws {
        let rig = try await established()
        let first = try await rig.ask(have: 0)
        #expect(first.weights == ["1": 100])
        try await rig.deploy("k1")
        try await rig.settle()
        #expect(try await rig.status().step == 0)
        let second = try await rig.ask(have: first.version)
        #expect(second.version > first.version)
        #expect(second.weights == ["1": 80, "2": 20])
        async let next = rig.ask(have: second.version)
        await rig.time.untilSomeoneSleeps()
        try await rig.settle()
        #expect(try await rig.status().step == 1)
        try await rig.abort()
        #expect(try await next.weights == ["1": 100])
    }

    @Test func `a proxy that asks in vain gets the table it has`() async throws {
        let rig = try await established()
        let have = try await rig.table().version
        async let answer = rig.ask(have: have)
        await rig.time.untilSomeoneSleeps()
        rig.time.advance(by: .seconds(20))
        #expect(try await answer.version == have)
    }

    @Test func `the version grows only when routes change`() async throws {
        let rig = try await established()
        let version = try await rig.table().version
        try await rig.pass(10)
        #expect(try await rig.table().version == version)
        try await rig.house.apply(web(Self.canary, more: "route: { path: /shop, timeout: 5s }"))
        try await rig.settle()
        let table = try await rig.table()
        #expect(table.version == version + 1)
        let route = try #require(table.routes.first)
        #expect(route["path_prefix"]?.string == "/shop")
        #expect(route["strip_prefix"]?.bool == true)
        #expect(route["service"]?.string == "default/web")
        #expect(route["timeout_ms"]?.int == 5000)
    }

    @Test func `a weight without copies that are well falls to the stable revision`() async throws {
        let rig = try await established()
        try await rig.deploy("k1")
        try await rig.settle()
        #expect(try await rig.table().weights == ["1": 80, "2": 20])
        let copy = try #require(rig.platform.running(2).first)
        rig.platform.kill(copy.id)
        try await rig.pass(1)
        #expect(try await rig.table().weights == ["1": 100])
        try await rig.pass(3)
        #expect(try await rig.table().weights == ["1": 80, "2": 20])
    }

    @Test func `counts told twice are counted once, over restarts of proxy and server`() async throws {
        let rig = try await established()
        try await rig.report([1: (100, 2)])
        try await rig.report([1: (100, 2)])
        try await rig.report([1: (150, 3)])
        // A late repeat of an older report takes nothing away.
        try await rig.report([1: (100, 2)])
        try await rig.report([1: (150, 3)])
        var seen = try #require(try await rig.status().revision(1))
        #expect((seen.requests, seen.errors) == (150, 3))
        // The proxy starts anew, and counts from nothing.
        try await rig.report([1: (10, 1)], epoch: "2")
        // The server does too.
        let again = try await Rig.open(folder: rig.house.folder, time: rig.time, platform: rig.platform)
        try await again.report([1: (30, 1)], epoch: "2")
        seen = try #require(try await again.status().revision(1))
        #expect((seen.requests, seen.errors) == (180, 4))
        #expect(try await again.status().url == nil)
        _ = try await again.ask(have: -1)
        #expect(try await again.status().url == "http://127.0.0.1:8480/services/web")
    }

    @Test func `what a proxy counted long ago and tells again is not counted again`() async throws {
        let rig = try await established()
        try await rig.report([1: (100, 4)])
        try await rig.deploy("k1")
        try await rig.settle()
        rig.time.advance(by: TrafficRow.kept + .seconds(60))
        // The first word about the new revision has what is old forgotten.
        try await rig.report([1: (100, 4), 2: (10, 0)])
        try await rig.report([1: (100, 4), 2: (10, 0)])
        #expect(try await rig.status().revision(1)?.requests == 100)
    }

    @Test func `traffic is told in intervals of five seconds`() async throws {
        let rig = try await established()
        try await rig.report([1: (10, 0)], microseconds: [1: 2000])
        rig.time.advance(by: .seconds(5))
        try await rig.report([1: (30, 4)], microseconds: [1: 2000])
        var query = TrafficQuery()
        query.name = "web"
        let points = try await rig.house.call(Services.traffic, query).items
        #expect(points.map(\.requests) == [10, 20])
        #expect(points.map(\.errors) == [0, 4])
        #expect(points[1].at.since(points[0].at) == .seconds(5))
        #expect(points[0].p99_ms.map { abs($0 - 2) < 0.1 } == true)
        rig.time.advance(by: .seconds(8 * 86_400))
        try await rig.report([1: (31, 4)], microseconds: [1: 2000])
        query.since = .zero
        #expect(try await rig.house.call(Services.traffic, query).items.map(\.requests) == [1])
    }

    @Test func `counts of revisions that are not there are left out`() async throws {
        let rig = try await established()
        try await rig.report([1: (5, 0), 99: (7, 7)])
        #expect(try await rig.status().revisions.map(\.requests) == [5])
        let wrong = await problem { _ = try await rig.ask("no such name!", have: 0) }
        #expect(wrong?.code == "proxy.name")
    }
}
