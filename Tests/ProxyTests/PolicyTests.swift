import NIOCore
import Testing

@testable import Proxy

@Suite(.timeLimit(.minutes(2))) struct RetryTests {
    @Test func `a budget gives a share of the requests and a few each second besides`() {
        let now = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
        let shareOnly = RetryBudget(RetryPolicy(budget_percent: 20, budget_per_second: 0))
        #expect(!shareOnly.spend(at: now))
        for _ in 0..<50 { shareOnly.noteRequest() }
        #expect((0..<50).count { _ in shareOnly.spend(at: now) } == 10)
        let floorOnly = RetryBudget(RetryPolicy(budget_percent: 0, budget_per_second: 10))
        #expect((0..<50).count { _ in floorOnly.spend(at: now) } == 10)
        #expect((0..<50).count { _ in floorOnly.spend(at: now + .milliseconds(300)) } == 3)
    }

    @Test func `without a budget a lost answer is not asked for again`() async throws {
        let hits = Tally()
        let server = try await TestServer { wire in
            while try await wire.message() != nil {
                hits.add()
                return
            }
        }
        for (policy, expected) in [
            (RetryPolicy(attempts: 3, budget_percent: 0, budget_per_second: 0), 1),
            (RetryPolicy(attempts: 3, budget_percent: 0, budget_per_second: 100), 4),
            (RetryPolicy(attempts: 0), 1),
        ] {
            let before = hits.value
            try await withProxy(edited(table([(1, [server.port])])) { $0.retries = policy }) { lab in
                let wire = try await lab.connect()
                #expect(try await wire.get("/").status == 502)
                #expect(lab.counters().requests == 1)
                wire.close()
            }
            #expect(hits.value - before == expected)
        }
        await server.stop()
    }

    @Test(arguments: [("GET", 200), ("POST", 503)])
    func `a status that counts as failed is tried once more where that is safe`(
        method: String, status: Int
    ) async throws {
        let hits = Tally()
        let server = try await TestServer.http { _ in
            hits.add()
            return hits.value == 1
                ? "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
                : "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        }
        let routes = edited(table([(1, [server.port])])) { $0.retries = RetryPolicy(statuses: [503]) }
        try await withProxy(routes) { lab in
            let wire = try await lab.connect()
            #expect(try await wire.ask("\(method) / HTTP/1.1\r\nHost: x\r\n\r\n").status == status)
            #expect(hits.value == (status == 200 ? 2 : 1))
            #expect(lab.counters().requests == 1 && lab.counters().errors_5xx == (status == 200 ? 0 : 1))
            #expect(try await wire.get("/").text == "ok")
            wire.close()
        }
        await server.stop()
    }

    @Test func `the last attempt's failing status is passed on`() async throws {
        let server = try await TestServer.http { _ in "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy" }
        let routes = edited(table([(1, [server.port])])) { $0.retries = RetryPolicy(attempts: 2, statuses: [503]) }
        try await withProxy(routes) { lab in
            let wire = try await lab.connect()
            let response = try await wire.get("/")
            #expect(response.status == 503 && response.text == "busy")
            #expect(lab.counters().failovers == 2)
            wire.close()
        }
        await server.stop()
    }
}

@Suite(.timeLimit(.minutes(2))) struct LimitTests {
    @Test func `the whole request may take only so long`() async throws {
        let server = try await TestServer { wire in
            _ = try await wire.message()
            try await wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while true { try await wire.send("drop by drop") }
        }
        let routes = edited(table([(1, [server.port])])) { $0.timeouts = RouteTimeouts(total_ms: 150) }
        try await withProxy(routes) { lab in
            let wire = try await lab.connect()
            try await wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            let everything = await wire.rest()
            #expect(everything.readableBytes > 0 && everything.readableBytes < 1_000_000)
            #expect(lab.counters().errors_transport == 1)
        }
        await server.stop()
    }

    @Test func `a response that stops half way is cut after the route's patience`() async throws {
        let server = try await TestServer { wire in
            _ = try await wire.message()
            try await wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            _ = await wire.rest()
        }
        let routes = edited(table([(1, [server.port])])) { $0.timeouts = RouteTimeouts(idle_ms: 100) }
        try await withProxy(routes) { lab in
            let wire = try await lab.connect()
            try await wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(String(buffer: await wire.rest()).hasSuffix("half"))
            #expect(lab.counters().errors_transport == 1)
        }
        await server.stop()
    }

    @Test func `an endpoint that fails again and again is left out, but never the last one`() async throws {
        let good = try await TestServer.named("good")
        let hits = Tally()
        let bad = try await TestServer.http { _ in
            hits.add()
            return "HTTP/1.1 500 Bad\r\nContent-Length: 0\r\n\r\n"
        }
        let policy = OutlierPolicy(consecutive_errors: 3, ejection_ms: 60_000)
        try await withProxy(edited(table([(1, [good.port, bad.port])])) { $0.outliers = policy }) { lab in
            let wire = try await lab.connect()
            for _ in 0..<40 { _ = try await wire.get("/") }
            #expect(hits.value == 3 && lab.counters().errors_5xx == 3)
            lab.proxy.swap(edited(table([(1, [bad.port])], version: 2)) { $0.outliers = policy })
            wire.close()
        }
        try await withProxy(edited(table([(1, [bad.port])])) { $0.outliers = policy }) { lab in
            let wire = try await lab.connect()
            for _ in 0..<10 { #expect(try await wire.get("/").status == 500) }
            wire.close()
        }
        await good.stop()
        await bad.stop()
    }

    @Test func `requests beyond the limit wait in line, and beyond the line are refused`() async throws {
        let (arrived, release) = (Tally(), Signal())
        let server = try await TestServer { wire in
            while let request = try await wire.message() {
                arrived.add()
                if request.target == "/slow" { await release.wait() }
                try await wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            }
        }
        let routes = edited(table([(1, [server.port])])) { $0.limits = ConcurrencyLimits(requests: 1, pending: 1) }
        try await withProxy(routes, configure: { $0.maxLoops = 1 }) { lab in
            let wires = [try await lab.connect(), try await lab.connect(), try await lab.connect()]
            try await wires[0].send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            while arrived.value == 0 { await Task.yield() }
            try await wires[1].send("GET /next HTTP/1.1\r\nHost: x\r\n\r\n")
            while lab.counters().active < 2 { await Task.yield() }
            let refused = try await wires[2].get("/")
            #expect(refused.status == 503 && refused["retry-after"] == "1")
            #expect(refused.text.contains("proxy.overloaded") && arrived.value == 1)
            release.fire()
            #expect(try await wires[0].message()?.text == "ok")
            #expect(try await wires[1].message()?.text == "ok")
            #expect(arrived.value == 2 && lab.counters().active == 0)
            #expect(try await wires[2].get("/").text == "ok")
            wires.forEach { $0.close() }
        }
        await server.stop()
    }

    @Test func `connections to an endpoint stay below their limit under load`() async throws {
        // A server hears of an end later than the proxy that made it, so one connection too many is told by its staying:
        // no request is answered before the ends have come.
        let (open, over) = (Tally(), Tally())
        let server = try await TestServer { wire in
            open.add()
            defer { open.add(-1) }
            while try await wire.message() != nil {
                let patience = ContinuousClock.now + .seconds(5)
                while open.value > 2, over.value == 0 {
                    if ContinuousClock.now > patience { over.add() } else { await Task.yield() }
                }
                try await wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            }
        }
        let routes = edited(table([(1, [server.port])])) { $0.limits = ConcurrencyLimits(connections: 2) }
        try await withProxy(routes) { lab in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        let wire = try await lab.connect()
                        for _ in 0..<20 { #expect(try await wire.get("/").text == "ok") }
                        wire.close()
                    }
                }
                try await group.waitForAll()
            }
            #expect(lab.counters().requests == 160 && lab.counters().errors == 0)
        }
        #expect(over.value == 0)
        await server.stop()
    }

    @Test func `a loop whose connection lies unused gives its place to one whose request waits`() async throws {
        let server = try await TestServer.named("ok")
        let routes = edited(table([(1, [server.port])])) { $0.limits = ConcurrencyLimits(connections: 1) }
        try await withProxy(routes, configure: { $0.upstreamIdleTimeout = .seconds(3_600) }) { lab in
            // One after the other on different loops: each finds the place taken by the one before it.
            for _ in 0..<6 {
                let wire = try await lab.connect()
                #expect(try await wire.get("/").text == "ok")
                wire.close()
            }
            #expect(lab.counters().requests == 6 && lab.counters().errors == 0)
        }
        await server.stop()
    }

    @Test func `requests of one loop do not keep another from the only connection`() async throws {
        let server = try await TestServer.named("ok")
        let routes = edited(table([(1, [server.port])])) { $0.limits = ConcurrencyLimits(connections: 1) }
        try await withProxy(routes, configure: { $0.upstreamIdleTimeout = .seconds(3_600) }) { lab in
            // A line stands on each loop, wherever the place is, until every client has had its share.
            let content = Tally()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        let wire = try await lab.connect()
                        for _ in 0..<10 { #expect(try await wire.get("/").text == "ok") }
                        content.add()
                        while content.value < 8 { _ = try await wire.get("/") }
                        wire.close()
                    }
                }
                try await group.waitForAll()
            }
            #expect(content.value == 8 && lab.counters().errors == 0)
        }
        await server.stop()
    }

    @Test func `a client that waits in line and leaves takes its place with it`() async throws {
        let (arrived, release) = (Tally(), Signal())
        let server = try await TestServer { wire in
            while try await wire.message() != nil {
                arrived.add()
                await release.wait()
                try await wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            }
        }
        let routes = edited(table([(1, [server.port])])) { $0.limits = ConcurrencyLimits(requests: 1, pending: 1) }
        try await withProxy(routes, configure: { $0.maxLoops = 1 }) { lab in
            let (first, second, third) = (try await lab.connect(), try await lab.connect(), try await lab.connect())
            try await first.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            while arrived.value == 0 { await Task.yield() }
            try await second.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            while lab.counters().active < 2 { await Task.yield() }
            second.close()
            while lab.counters().active == 2 { await Task.yield() }
            try await third.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            while lab.counters().active < 2 { await Task.yield() }
            release.fire()
            #expect(try await third.message()?.text == "ok")
            #expect(arrived.value == 2)
            first.close()
            third.close()
        }
        await server.stop()
    }
}

@Suite(.timeLimit(.minutes(2))) struct RateTests {
    @Test func `a bucket gives its burst at once and then its rate`() throws {
        let limiter = try #require(RateLimiter(RateLimit(per_second: 10, burst: 5)))
        let start: UInt64 = 1_000_000_000_000
        var passed = 0
        for millisecond in 0..<2_000 where limiter.take(0, now: start + UInt64(millisecond) * 1_000_000) == nil {
            passed += 1
        }
        #expect(passed == 5 + 19)
        #expect(limiter.take(0, now: start + 1_999_000_000) == 1_000_000)
        #expect(RateLimiter(RateLimit(per_second: -1)) == nil && RateLimiter(RateLimit(per_second: .nan)) == nil)
    }

    @Test func `keys beyond the limit share a bucket, and full buckets are forgotten`() throws {
        let limiter = try #require(RateLimiter(RateLimit(per_second: 1, burst: 1)))
        let start: UInt64 = 1_000_000_000_000
        for key in 1...ProxyConfiguration.rateKeysLimit { _ = limiter.take(UInt64(key), now: start) }
        #expect(limiter.take(1_000_000, now: start) == nil)
        #expect(limiter.take(1_000_001, now: start) != nil)
        #expect(limiter.take(1_000_001, now: start + 2_000_000_000) == nil)
        #expect(limiter.take(1_000_002, now: start + 2_000_000_000) == nil)
    }

    @Test func `who asks too often is told when to come back, and others are not held up`() async throws {
        let server = try await TestServer.named("ok")
        let limits = [RateLimit(per_second: 0.1, burst: 2, by_header: "X-Key")]
        try await withProxy(edited(table([(1, [server.port])])) { $0.rate_limits = limits }) { lab in
            let wire = try await lab.connect()
            let began = ContinuousClock.now
            for _ in 0..<2 { #expect(try await wire.get("/", "X-Key: a\r\n").status == 200) }
            let refused = try await wire.get("/", "X-Key: a\r\n")
            #expect(refused.status == 429)
            let wait = try #require(refused["retry-after"].flatMap { Int($0) })
            #expect(wait <= 10 && wait > 10 - Int((began.duration(to: .now) / .seconds(1)).rounded(.up)) - 1)
            #expect(try await wire.get("/", "X-Key: b\r\n").status == 200)
            #expect(lab.proxy.counters().limited == 1 && lab.counters().requests == 3)
            // Another weight is no reason to forget.
            lab.proxy.swap(edited(table([(2, [server.port])], version: 2)) { $0.rate_limits = limits })
            #expect(try await wire.get("/", "X-Key: a\r\n").status == 429)
            wire.close()
        }
        await server.stop()
    }
}
