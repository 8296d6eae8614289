import API
import Kernel
import Manifests
import Proxy
import Testing

@testable import Routers

@Suite struct RouterConfigurationTests {
    private static func table(_ weights: [Int], copies: [[Int]], edit: (inout Route) -> Void = { _ in }) -> RouteTable {
        var route = Route(
            service: "shop/web", path_prefix: "/shop/", strip_prefix: true,
            revisions: zip(weights, copies).enumerated().map { index, pair in
                RevisionRoute(
                    revision: "\(index + 1)", weight: pair.0,
                    endpoints: pair.1.map { Endpoint(host: "127.0.0.1", port: $0, instance: "i\($0)") })
            })
        edit(&route)
        return RouteTable(version: 1, routes: [route])
    }

    @Test(arguments: [
        ([(90, 1), (10, 1)], [9, 1]), ([(80, 2), (20, 1)], [2, 1]), ([(50, 3), (50, 1)], [1, 3]),
        ([(100, 1)], [1]), ([(999, 1), (1, 1)], [256, 1]), ([(1, 0)], [1]),
    ])
    func `a revision's weight is shared among its copies`(revisions: [(Int, Int)], weights: [Int]) {
        #expect(HAProxyConfiguration.serverWeights(revisions.map { (weight: $0.0, copies: $0.1) }) == weights)
    }

    @Test func `weights and copies are no reason to reload HAProxy, rules and hosts are`() {
        let first = HAProxyConfiguration(Self.table([90, 10], copies: [[1, 2], [3]]), bind: "127.0.0.1:80")
        let next = HAProxyConfiguration(
            Self.table([10, 90], copies: [[2], [3, 4, 5]]), bind: "127.0.0.1:80", previous: first)
        #expect(first.structure == next.structure && first.text != next.text)
        // Who was there keeps its slot.
        let places = { (configuration: HAProxyConfiguration, port: Int) in
            configuration.slots.first { $0.endpoint?.port == port }?.name
        }
        #expect(places(first, 2) == places(next, 2) && places(first, 3) == places(next, 3))
        #expect(Set(next.slots.compactMap { $0.endpoint?.port }) == [2, 3, 4, 5])
        #expect(next.commands.contains { $0.hasSuffix("state maint") })
        let ruled = HAProxyConfiguration(
            Self.table([1], copies: [[1]]) { route in
                route.rules = [TrafficRule(name: "a", when: [.init(header: "a", present: true)], revision: "1")]
            }, bind: "127.0.0.1:80", previous: first)
        #expect(ruled.structure != first.structure)
    }

    @Test(arguments: RouterKind.allCases) func `what a router cannot do is refused by name`(kind: RouterKind) {
        var table = RoutingTable()
        let revisions: JSONValue = [["revision": "1", "weight": 1, "endpoints": []]]
        for (key, value) in [
            ("rate_limits", [["per_second": 1]]), ("limits", ["requests": 1]),
            ("rules", [["name": "a", "when": [["header": "a", "exact": "it's"]], "revision": "1"]]),
            ("rules", [["name": "a", "when": [["header": "a", "exact": "1\nuse_backend x"]], "revision": "1"]]),
            ("hosts", ["a;b"]), ("path_prefix", "/a{b"),
        ] as [(String, JSONValue)] {
            var route: Ordered<JSONValue> = [
                "service": "a/b", "hosts": [], "strip_prefix": false, "revisions": revisions, "retry": true,
                "timeout_ms": 1,
            ]
            route[key] = value
            table.routes = [.object(route)]
            let problem = #expect(throws: Problem.self) { try table.routes(for: kind, []) }
            #expect(problem?.code == "router.cannot", "\(key)")
        }
    }

    @Test func `counts go on over a router that starts anew`() {
        var running = RunningCounts()
        running.note("s1", requests: 10, errors: 1, service: "a", revision: 1)
        running.note("s1", requests: 15, errors: 1, service: "a", revision: 1)
        running.note("s1", requests: 4, errors: 2, service: "a", revision: 1)
        running.note("s1", requests: 5, errors: 2, service: "a", revision: 2)
        #expect(running.counts.map(\.requests) == [19, 1])
        #expect(running.counts.map(\.errors) == [3, 0])
    }

    @Test func `counts are told in the buckets of the house`() {
        var cumulative = [UInt64](repeating: 0, count: RevisionCounters.bucketBounds.count + 1)
        for index in 3..<cumulative.count { cumulative[index] = 7 }
        let counts = BuiltInRouter.histogram(cumulative)
        #expect(counts.reduce(0, +) == 7 && counts.count { $0 > 0 } == 1)
    }
}
