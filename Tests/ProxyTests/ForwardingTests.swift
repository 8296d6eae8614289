import NIOCore
import Testing

@testable import Proxy

@Suite(.timeLimit(.minutes(2))) struct ForwardingTests {
    /// An upstream that answers with the request head it got.
    private func mirror() async throws -> TestServer {
        try await TestServer.http { request in
            let text = ([request.startLine] + request.headers.map { "\($0.name): \($0.value)" }).joined(separator: "\n")
            return "HTTP/1.1 200 OK\r\nX-Own: yes\r\nKeep-Alive: timeout=5\r\nX-Vagus-Revision: forged\r\n"
                + "Content-Length: \(text.utf8.count)\r\n\r\n\(text)"
        }
    }

    @Test func `a request reaches its upstream and the answer comes back`() async throws {
        let server = try await TestServer.named("one")
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await lab.connect()
            for _ in 0..<3 {
                let response = try await wire.get("/")
                #expect(response.status == 200 && response.text == "one")
                #expect(response["x-vagus-revision"] == "1")
                #expect(response["x-request-id"]?.count == 32)
            }
            let seen = lab.counters()
            #expect(seen.requests == 3 && seen.status_classes[1] == 3 && seen.active == 0)
            #expect(seen.latency_buckets.last == 3 && seen.sum_us > 0)
            wire.close()
        }
        await server.stop()
    }

    @Test func `heads are cleaned and dressed on the way up`() async throws {
        let server = try await mirror()
        try await withProxy(table([(1, [server.port])], prefix: "/serving/web", strip: true)) { lab in
            let wire = try await lab.connect()
            let response = try await wire.get(
                "/serving/web/v2?x=1",
                "Connection: keep-alive, X-Hop, Content-Length\r\nX-Hop: a\r\nKeep-Alive: 1\r\nTE: trailers\r\n"
                    + "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 7.7.7.7\r\nForwarded: for=6.6.6.6\r\n"
                    + "Proxy-Authorization: secret\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
                    + "X-Vagus-Revision: 9\r\nX-Request-ID: mine-1\r\nX-Kept: kept\r\ntracestate: a=b\r\n")
            let got = HTTPMessage(response.text.split(separator: "\n").joined(separator: "\r\n"))
            #expect(got.startLine == "GET /v2?x=1 HTTP/1.1")
            #expect(got["x-kept"] == "kept" && got["host"] == "test")
            #expect(got.all("x-request-id") == ["mine-1"])
            #expect(got.all("x-forwarded-for") == ["127.0.0.1"])
            #expect(got["x-forwarded-proto"] == "http" && got["x-forwarded-host"] == "test")
            let trace = try #require(got["traceparent"])
            #expect(Array(trace.utf8).withUnsafeBytes(Traceparent.isValid))
            for gone in [
                "connection", "x-hop", "keep-alive", "te", "x_forwarded_for", "forwarded", "proxy-authorization",
                "upgrade", "http2-settings", "x-vagus-revision", "tracestate", "via",
            ] { #expect(got[gone] == nil, "\(gone)") }
            #expect(response["x-own"] == "yes" && response["keep-alive"] == nil)
            #expect(response.all("x-vagus-revision") == ["1"] && response.all("x-request-id") == ["mine-1"])

            let root = try await wire.get("/serving/web", "X-Request-ID: no spaces please\r\n")
            #expect(root.text.hasPrefix("GET / HTTP/1.1\n"))
            #expect(root["x-request-id"]?.count == 32)
            let unknown = try await wire.get("/serving/webby")
            #expect(unknown.status == 404 && unknown.text.contains("\"error\":"))
            #expect(lab.proxy.counters().unrouted == 1 && lab.counters().requests == 2)
            wire.close()
        }
        await server.stop()
    }

    @Test func `a trusted proxy in front is believed and a trace goes on`() async throws {
        let server = try await mirror()
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        try await withProxy(table([(1, [server.port])]), configure: { $0.trustsForwarded = true }) { lab in
            let wire = try await lab.connect()
            let response = try await wire.get(
                "/",
                "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nX-Forwarded-Proto: https\r\n"
                    + "X-Forwarded-Host: shop.test\r\ntraceparent: \(trace)\r\ntracestate: a=b\r\n")
            let got = HTTPMessage(response.text.split(separator: "\n").joined(separator: "\r\n"))
            #expect(got.all("x-forwarded-for") == ["1.1.1.1, 2.2.2.2, 127.0.0.1"])
            #expect(got.all("x-forwarded-proto") == ["https"] && got.all("x-forwarded-host") == ["shop.test"])
            #expect(got.all("traceparent") == [trace] && got["tracestate"] == "a=b")
            wire.close()
        }
        await server.stop()
    }

    @Test func `a thousand requests are split exactly, over many connections`() async throws {
        let (stable, canary) = (try await TestServer.named("stable"), try await TestServer.named("canary"))
        try await withProxy(table([(90, [stable.port]), (10, [canary.port])])) { lab in
            let canaries = Tally()
            try await withThrowingDiscardingTaskGroup { group in
                for _ in 0..<8 {
                    group.addTask {
                        let wire = try await lab.connect()
                        for _ in 0..<250 where try await wire.get("/").text == "canary" { canaries.add() }
                        wire.close()
                    }
                }
            }
            #expect(canaries.value == 200)
            #expect(lab.counters("1").requests == 1_800 && lab.counters("2").requests == 200)
        }
        await stable.stop()
        await canary.stop()
    }

    @Test func `no request is lost while tables are swapped`() async throws {
        let servers = [try await TestServer.named("a"), try await TestServer.named("b")]
        let ports = servers.map(\.port)
        try await withProxy(table([(1, [ports[0]])])) { lab in
            let (running, answered) = (Tally(), Tally())
            try await withThrowingDiscardingTaskGroup { group in
                for _ in 0..<8 {
                    running.add()
                    group.addTask {
                        let wire = try await lab.connect()
                        for _ in 0..<400 {
                            let response = try await wire.get("/")
                            #expect(response.status == 200)
                            answered.add()
                        }
                        wire.close()
                        running.add(-1)
                    }
                }
                group.addTask {
                    var version: Int64 = 2
                    while running.value > 0 {
                        let weight = Int(version % 101)
                        let even = version % 2 == 0
                        lab.proxy.swap(
                            table(
                                [(weight, [ports[even ? 0 : 1]]), (100 - weight, [ports[even ? 1 : 0]])],
                                version: version))
                        version += 1
                        await Task.yield()
                    }
                    #expect(lab.proxy.table.version == version - 1)
                }
            }
            #expect(answered.value == 3_200)
            let all = lab.proxy.counters().revisions
            #expect(all.reduce(0) { $0 + $1.requests } == 3_200 && all.allSatisfy { $0.active == 0 && $0.errors == 0 })
        }
        for server in servers { await server.stop() }
    }

    @Test func `pipelined requests are answered in order`() async throws {
        let server = try await TestServer.http { request in
            "HTTP/1.1 200 OK\r\nContent-Length: \(request.target.utf8.count)\r\n\r\n\(request.target)"
        }
        try await withProxy(table([(1, [server.port])], prefix: "/a")) { lab in
            let wire = try await lab.connect()
            let targets = (0..<50).map { $0 % 7 == 3 ? "/missing" : "/a/\($0)" }
            let requests = targets.enumerated().map { index, target in
                index % 2 == 0
                    ? "GET \(target) HTTP/1.1\r\nHost: x\r\n\r\n"
                    : "\r\nPUT \(target) HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
            }
            // The local 404 closes when a body follows it, so keep those to requests without one.
            let sent = zip(targets, requests).map { target, request in
                target == "/missing" ? "GET /missing HTTP/1.1\r\nHost: x\r\n\r\n" : request
            }
            try await wire.send(sent.joined())
            for target in targets {
                let response = try #require(try await wire.message())
                if target == "/missing" {
                    #expect(response.status == 404)
                } else {
                    #expect(response.text == target)
                }
            }
            wire.close()
        }
        await server.stop()
    }

    @Test func `a smuggled request never reaches an upstream`() async throws {
        let hits = Tally()
        let server = try await TestServer.http { _ in
            hits.add()
            return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        }
        try await withProxy(table([(1, [server.port])])) { lab in
            let tail = "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n"
            for headers in [
                "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
                "Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n", "Transfer-Encoding : chunked\r\n",
                "X: y\r\n Transfer-Encoding: chunked\r\n", "Content-Length: 4\r\nContent-Length: 5\r\n",
            ] {
                let wire = try await lab.connect()
                let response = try await wire.ask("POST / HTTP/1.1\r\nHost: x\r\n\(headers)\r\n\(tail)")
                #expect(response.status == 400, "\(headers)")
                #expect(response["connection"] == "close")
                #expect(await wire.isAtEnd(), "\(headers)")
                wire.close()
            }
            #expect(hits.value == 0 && lab.proxy.counters().refused == 5 && lab.counters().requests == 0)
            let wire = try await lab.connect()
            let first = try await wire.ask("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd")
            #expect(first.status == 400)
            #expect(await wire.isAtEnd())
            wire.close()
        }
        await server.stop()
    }

    @Test func `limits of a head are kept`() async throws {
        let server = try await TestServer.named("x")
        try await withProxy(table([(1, [server.port])])) { lab in
            for header in [
                "A: " + String(repeating: "b", count: ProxyConfiguration.headLimit) + "\r\n",
                String(repeating: "A: b\r\n", count: ProxyConfiguration.headerCountLimit),
            ] {
                let wire = try await lab.connect()
                let response = try await wire.get("/", header)
                #expect(response.status == 431)
                wire.close()
            }
            let wire = try await lab.connect()
            let large = "A: " + String(repeating: "b", count: 60_000) + "\r\n"
            let many = String(repeating: "A: b\r\n", count: ProxyConfiguration.headerCountLimit - 1)
            #expect(try await wire.get("/", large).status == 200)
            #expect(try await wire.get("/", many).status == 200)
            wire.close()
        }
        await server.stop()
    }
}
