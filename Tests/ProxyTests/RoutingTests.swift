import Foundation
import NIOCore
import Synchronization
import Testing

@testable import Proxy

@Suite struct RoutingTests {
    @Test(arguments: [[90, 10], [50, 50], [1, 99], [100], [25, 25, 50], [0, 100], [995, 3, 2]])
    func `any thousand requests in a row hold the exact shares`(weights: [Int]) throws {
        let schedule = try #require(WeightSchedule(weights: weights))
        let turns = (0..<3_000).map { _ in schedule.next() }
        let sum = weights.reduce(0, +)
        for start in [0, 1, 137, 999, 2_000] {
            for (index, weight) in weights.enumerated() {
                let count = turns[start..<start + 1_000].count { $0 == index }
                #expect(count == weight * 1_000 / sum)
            }
        }
    }

    @Test func `turns are spread out and not in blocks`() throws {
        let schedule = try #require(WeightSchedule(weights: [90, 10]))
        #expect(schedule.order.count == 10)
        let five = try #require(WeightSchedule(weights: [5, 1, 1]))
        // The order that nginx documents for 5:1:1.
        #expect(five.order == [0, 0, 1, 0, 2, 0, 0])
    }

    @Test func `shares are exact when loops take turns at once`() async throws {
        let schedule = try #require(WeightSchedule(weights: [3, 7]))
        let first = Tally()
        await withDiscardingTaskGroup { group in
            for _ in 0..<4 {
                group.addTask { for _ in 0..<2_500 where schedule.next() == 0 { first.add() } }
            }
        }
        #expect(first.value == 3_000)
    }

    @Test func `weights beyond the limit are rounded but never to nothing`() {
        let parts = WeightSchedule.reduced([1, 999_999, 500_000])
        #expect(parts[0] == 1)
        #expect(abs(parts.reduce(0, +) - ProxyConfiguration.scheduleLimit) <= 1)
        #expect(abs(parts[1] - 6_667) <= 1)
        #expect(WeightSchedule(weights: [0, -5]) == nil)
        #expect(WeightSchedule(weights: [.max, .max])?.order == [0, 1])
    }

    @Test(arguments: [
        ("", "/serving/employment", "employment"), ("", "/serving/employment/v2/x", "employment"),
        ("", "/serving/employmentx", "serving"), ("", "/serving", "serving"), ("", "/servings", "all"),
        ("", "/", "all"), ("", "", "all"), ("shop.test", "/", "shop"), ("SHOP.Test", "/api/x", "shop-api"),
        ("shop.test", "/apix", "shop"), ("other.test", "/api", "all"), ("lone.test", "/x", "all"),
        ("lone.test", "/only/x", "lone"),
    ])
    func `the longest prefix of the host wins, at slashes only`(host: String, path: String, service: String) {
        func route(_ name: String, _ hosts: [String] = [], _ prefix: String? = nil) -> Route {
            Route(
                service: name, hosts: hosts, path_prefix: prefix,
                revisions: [RevisionRoute(revision: "1", weight: 1, endpoints: [])])
        }
        let table = RouteTable(
            version: 1,
            routes: [
                route("all"), route("serving", [], "/serving/"), route("employment", [], "/serving/employment"),
                route("shop", ["Shop.test"]), route("shop-api", ["shop.test"], "/api"),
                route("lone", ["lone.test"], "/only"),
            ])
        let compiled = CompiledTable(table, previous: nil, counters: CounterRegistry())
        let found = Array(host.utf8).withUnsafeBytes { host in
            Array(path.utf8).withUnsafeBytes { path in compiled.match(host: host, path: path) }
        }
        #expect(found?.service == service)
    }

    @Test func `a swap keeps endpoints and turns and retires what is gone`() throws {
        let counters = CounterRegistry()
        func compiled(_ ports: [Int], _ weights: [Int], _ previous: CompiledTable?) -> CompiledTable {
            let revisions = weights.map { (weight: $0, ports: ports) }
            return CompiledTable(makeTable(revisions), previous: previous, counters: counters)
        }
        func route(_ table: CompiledTable) throws -> CompiledRoute {
            let empty = UnsafeRawBufferPointer(start: nil, count: 0)
            return try #require(table.match(host: empty, path: empty))
        }
        let first = compiled([1, 2], [9, 1], nil)
        let second = compiled([2, 3], [9, 1], first)
        first.retireEndpoints(notIn: second)
        let before = try route(first).revisions[0]
        let after = try route(second).revisions[0]
        #expect(try route(first).schedule === route(second).schedule)
        #expect(before.endpoints[1] === after.endpoints[0])
        let retired = before.endpoints.map { $0.isRetired.load(ordering: .relaxed) }
        #expect(retired == [true, false])
        #expect(before.cell === after.cell)
        let third = compiled([2, 3], [8, 2], second)
        #expect(try route(third).schedule !== route(second).schedule)
    }

    @Test func `the table goes through JSON with its own spelling`() throws {
        let whole = table([(90, [1, 2]), (10, [3])], version: 7, prefix: "/a", strip: true)
        let json = try JSONEncoder().encode(whole)
        #expect(try JSONDecoder().decode(RouteTable.self, from: json) == whole)
        for name in ["path_prefix", "strip_prefix", "timeout_ms", "revisions", "endpoints", "instance"] {
            #expect(String(decoding: json, as: UTF8.self).contains("\"\(name)\":"))
        }
    }

    private func makeTable(_ revisions: [(weight: Int, ports: [Int])]) -> RouteTable { table(revisions) }
}

@Suite struct CounterTests {
    @Test func `each latency falls into the first bucket that holds it`() {
        let bounds = RevisionCounters.bucketBounds
        #expect(bounds == bounds.sorted() && Set(bounds).count == bounds.count)
        #expect(bounds.first == 32 && bounds.last == 67_108_864)
        for value in bounds.flatMap({ [$0 - 1, $0, $0 + 1] }) + [0, 1, .max] {
            let expected = bounds.firstIndex { value <= $0 } ?? bounds.count
            #expect(RevisionCounters.bucket(of: value) == expected, "\(value)")
        }
    }

    @Test func `a cell counts each request once`() {
        let cell = RevisionCell(service: "s", revision: "1")
        for _ in 0..<4 { cell.begin() }
        cell.end(RequestEnd(status: 200, microseconds: 100))
        cell.end(RequestEnd(status: 503, microseconds: 200))
        cell.end(RequestEnd(status: 502, microseconds: 300, isTransportError: true))
        cell.end(RequestEnd(status: 0, microseconds: 400, isClientAbort: true))
        let seen = cell.snapshot
        #expect(seen.requests == 4 && seen.active == 0 && seen.client_aborts == 1)
        #expect(seen.errors_5xx == 1 && seen.errors_transport == 1 && seen.errors == 2)
        #expect(seen.status_classes == [0, 1, 0, 0, 2])
        #expect(seen.sum_us == 600 && seen.latency_buckets.last == 3)
        #expect(seen.latency_buckets == seen.latency_buckets.sorted())
    }

    @Test func `of many revisions only those are told that counted since a reading`() {
        let registry = CounterRegistry()
        func table(_ services: [String]) -> RouteTable {
            let routes = services.map { service in
                Route(
                    service: service, path_prefix: "/" + service,
                    revisions: [RevisionRoute(revision: "1", weight: 100, endpoints: [])])
            }
            return RouteTable(version: 1, routes: routes)
        }
        let cells = registry.cells(for: table(["a", "b"]))
        let first = registry.changes(since: 0)
        #expect(Set(first.revisions.map(\.service)) == ["a", "b"])
        #expect(registry.changes(since: first.reading).revisions.isEmpty)
        cells("a", "1").end(RequestEnd(status: 200, microseconds: 100))
        // Told again to whoever has not heard of it, and as a whole.
        for _ in 0..<2 {
            let news = registry.changes(since: first.reading)
            #expect(news.revisions.map(\.service) == ["a"])
            #expect(news.revisions.first?.latency_buckets.last == 1)
        }
        let second = registry.changes(since: first.reading)
        _ = registry.cells(for: table(["a", "b", "c"]))
        #expect(registry.changes(since: second.reading).revisions.map(\.service) == ["c"], "a new one is news")
    }

    @Test func `a quantile is told within its bucket`() throws {
        let cell = RevisionCell(service: "s", revision: "1")
        for micro in 1...1_000 as ClosedRange<UInt64> { cell.end(RequestEnd(status: 200, microseconds: micro * 10)) }
        let first = cell.snapshot
        let median = try #require(first.latency(below: 0.5))
        #expect(abs(median - 5_000) < 1_250)
        cell.end(RequestEnd(status: 500, microseconds: 90))
        let since = cell.snapshot.since(first)
        #expect(since.requests == 1 && since.errors_5xx == 1 && since.latency_buckets.last == 1)
        #expect(try #require(since.latency(below: 1)) <= 96)
        #expect(RevisionCounters(service: "s", revision: "1").latency(below: 0.5) == nil)
    }
}
