import NIOCore
import Testing

@testable import Proxy

/// The table with its one route changed.
func edited(_ table: RouteTable, _ edit: (inout Route) -> Void) -> RouteTable {
    var table = table
    edit(&table.routes[0])
    return table
}

/// The compiled form of a table's one route.
func compiledRoute(_ table: RouteTable, previous: CompiledTable? = nil) throws -> CompiledRoute {
    let compiled = CompiledTable(table, previous: previous, counters: CounterRegistry())
    let empty = UnsafeRawBufferPointer(start: nil, count: 0)
    return try #require(compiled.match(host: empty, path: empty))
}

extension CompiledRoute {
    /// The choice for a request with these header lines.
    func choice(_ headers: String = "") throws -> Choice {
        let text = Array("GET / HTTP/1.1\r\nHost: x\r\n\(headers)\r\n".utf8)
        return try text.withUnsafeBytes { bytes in
            var head = RequestHead()
            guard try head.scan(bytes) else { throw WireError("half a head") }
            return try #require(choose(head, bytes))
        }
    }
}

@Suite(.timeLimit(.minutes(2))) struct RuleTests {
    @Test(arguments: [
        ("", "1"), ("X-Staff: 1\r\n", "2"), ("x-STAFF: 1\r\n", "2"), ("X-Staff: 10\r\n", "1"),
        ("X-Staff: 0\r\nX-Staff: 1\r\n", "2"), ("Cookie: group=beta-7\r\n", "2"), ("Cookie: a=b;group=beta\r\n", "2"),
        ("Cookie: xgroup=beta\r\n", "1"), ("Cookie: Group=beta\r\n", "1"), ("Cookie: a=group=beta\r\n", "1"),
        ("User-Agent: curl/8.1\r\nX-Debug: 0\r\n", "2"), ("User-Agent: curl/8.1\r\n", "1"),
        ("User-Agent: xcurl/8.1\r\nX-Debug: 0\r\n", "1"), ("X-Debug:\r\n", "1"),
        ("User-Agent: curl/8.1\r\nX-Debug: 0\r\nX-Trial: no\r\n", "1"),
    ])
    func `a rule takes what meets all of its conditions`(headers: String, revision: String) throws {
        let route = try compiledRoute(
            edited(table([(1, [1]), (0, [2])])) { route in
                route.rules = [
                    TrafficRule(name: "staff", when: [.init(header: "X-Staff", exact: "1")], revision: "2"),
                    TrafficRule(name: "beta", when: [.init(cookie: "group", prefix: "beta")], revision: "2"),
                    TrafficRule(
                        name: "tools",
                        when: [
                            .init(header: "user-agent", regex: "curl/[0-9.]+"), .init(header: "x-debug", present: true),
                            .init(header: "x-trial", present: false),
                        ], revision: "2"),
                ]
            })
        #expect(try route.choice(headers).revision.name == revision)
    }

    @Test func `who goes by a rule takes nobody's turn`() throws {
        let route = try compiledRoute(
            edited(table([(9, [1]), (1, [2])])) { route in
                route.rules = [TrafficRule(name: "a", when: [.init(header: "a", present: true)], revision: "2")]
            })
        var canary = 0
        for index in 0..<2_000 {
            let byRule = index % 2 == 0
            let choice = try route.choice(byRule ? "A: 1\r\n" : "")
            if byRule { #expect(choice.revision.name == "2") } else if choice.revision.name == "2" { canary += 1 }
        }
        #expect(canary == 100)
    }

    @Test func `a rule that makes no sense is told and matches nothing`() throws {
        let unsound = edited(table([(1, [1]), (0, [2])])) { route in
            route.rules = [
                TrafficRule(name: "r", when: [.init(header: "a", regex: "(")], revision: "2"),
                TrafficRule(name: "two", when: [.init(header: "a", exact: "1", prefix: "1")], revision: "2"),
                TrafficRule(name: "none", when: [.init(exact: "1")], revision: "2"),
                TrafficRule(name: "gone", when: [], revision: "9"),
            ]
            route.mirror = MirrorRoute(revision: "9", percent: 200)
            route.rate_limits = [RateLimit(per_second: 0), RateLimit(per_second: 1, by_client: true, by_header: "a")]
            route.sticky = StickySessions(cookie: "a b")
        }
        #expect(unsound.complaints().count == 9)
        #expect(unsound.complaints().allSatisfy { $0.hasPrefix("test/web: ") })
        #expect(try compiledRoute(unsound).choice("a: 1\r\n").revision.name == "1")
        #expect(table([(1, [1])]).complaints().isEmpty)
    }

    @Test func `a rule leads to a revision without weight`() async throws {
        let (stable, canary) = (try await TestServer.named("stable"), try await TestServer.named("canary"))
        let routes = edited(table([(1, [stable.port]), (0, [canary.port])])) { route in
            route.rules = [TrafficRule(name: "staff", when: [.init(header: "X-Staff", exact: "1")], revision: "2")]
        }
        try await withProxy(routes) { lab in
            let wire = try await lab.connect()
            for _ in 0..<3 {
                #expect(try await wire.get("/").text == "stable")
                let answer = try await wire.get("/", "X-Staff: 1\r\n")
                #expect(answer.text == "canary" && answer["x-vagus-revision"] == "2")
            }
            #expect(lab.counters("2").requests == 3)
            wire.close()
        }
        await stable.stop()
        await canary.stop()
    }
}

@Suite(.timeLimit(.minutes(2))) struct StickyTests {
    private func route(_ weights: [Int], _ sticky: StickySessions) throws -> CompiledRoute {
        try compiledRoute(edited(table(weights.map { ($0, [1]) })) { $0.sticky = sticky })
    }

    @Test(arguments: [[90, 10], [50, 50], [999, 1], [70, 15, 15]])
    func `any thousand new sessions hold the exact shares`(weights: [Int]) throws {
        let route = try route(weights, StickySessions(cookie: "vg_rev"))
        let arms = try (0..<12_000).map { _ in try route.choice().revision.name }
        for start in [0, 1, 137, 5_000, 9_500, 11_000] {
            for (index, weight) in weights.enumerated() {
                let count = arms[start..<start + 1_000].count { $0 == "\(index + 1)" }
                #expect(count == weight * 1_000 / weights.reduce(0, +))
            }
        }
    }

    @Test func `a change of weights moves just the sessions that it must`() throws {
        let sticky = StickySessions(cookie: "vg_rev")
        let (before, after) = (try route([95, 5], sticky), try route([75, 25], sticky))
        var moved = 0
        for slot in 0..<StickySlots.count {
            let headers = "Cookie: vg_rev=\(slot)\r\n"
            let (old, new) = (try before.choice(headers), try after.choice(headers))
            #expect(old.newSlot == nil && new.newSlot == nil)
            if old.revision.name == "2" { #expect(new.revision.name == "2") }
            if old.revision.name != new.revision.name { moved += 1 }
        }
        #expect(moved == 2_000)
    }

    @Test func `an entity stays where it is, evenly, and apart in each experiment`() throws {
        let one = try route([70, 30], StickySessions(by_header: "X-User", salt: "one"))
        let two = try route([70, 30], StickySessions(by_cookie: "user", salt: "two"))
        var (first, both) = (0, 0)
        for user in 0..<10_000 {
            let arm = try one.choice("x-user: user-\(user)\r\n").revision.name
            #expect(try one.choice("x-user: user-\(user)\r\n").revision.name == arm)
            guard arm == "2" else { continue }
            first += 1
            if try two.choice("Cookie: user=user-\(user)\r\n").revision.name == "2" { both += 1 }
        }
        // Four standard deviations of a fair draw.
        #expect(abs(first - 3_000) < 184)
        #expect(abs(both - 900) < 115)
    }

    @Test(arguments: ["10000", "-1", "x", "99999999999999999999", ""])
    func `a cookie that no one gave out begins a new session`(value: String) throws {
        let route = try route([1], StickySessions(cookie: "vg_rev"))
        #expect(try route.choice("Cookie: vg_rev=\(value)\r\n").newSlot != nil)
    }

    @Test func `a session keeps its revision and is told its cookie once`() async throws {
        let (stable, canary) = (try await TestServer.named("stable"), try await TestServer.named("canary"))
        let routes = edited(table([(1, [stable.port]), (1, [canary.port])], prefix: "/shop")) { route in
            route.sticky = StickySessions(cookie: "vg_rev", ttl_s: 60)
        }
        try await withProxy(routes) { lab in
            let wire = try await lab.connect()
            var seen: [String: Int] = [:]
            for _ in 0..<10 {
                let first = try await wire.get("/shop/")
                let cookie = try #require(first["set-cookie"])
                #expect(cookie.hasSuffix("; Path=/shop; Max-Age=60; HttpOnly; SameSite=Lax"))
                let pair = try #require(cookie.split(separator: ";").first)
                for _ in 0..<3 {
                    let next = try await wire.get("/shop/", "Cookie: a=b; \(pair)\r\n")
                    #expect(next.text == first.text && next["set-cookie"] == nil)
                }
                seen[first.text, default: 0] += 1
            }
            #expect(seen == ["stable": 5, "canary": 5])
            wire.close()
        }
        await stable.stop()
        await canary.stop()
    }
}
