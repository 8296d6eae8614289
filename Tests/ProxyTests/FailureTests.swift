import Glibc
import NIOCore
import Testing

@testable import Proxy

@Suite(.timeLimit(.minutes(2))) struct FailureTests {
    @Test func `a refused endpoint is left out and nobody notices`() async throws {
        let (server, gone) = (try await TestServer.named("alive"), try await closedPort())
        let ejectLong = { (configuration: inout ProxyConfiguration) in configuration.ejection = .seconds(60) }
        try await withProxy(table([(1, [gone, server.port])]), configure: ejectLong) { lab in
            let wire = try await lab.connect()
            for _ in 0..<20 { #expect(try await wire.get("/").text == "alive") }
            let seen = lab.counters()
            #expect(seen.requests == 20 && seen.errors == 0 && seen.failovers == 1)
            wire.close()
        }
        await server.stop()
    }

    @Test func `a revision that is down hands its share to the others`() async throws {
        let (server, gone) = (try await TestServer.named("stable"), try await closedPort())
        let unused = try await TestServer.named("unused")
        try await withProxy(table([(1, [server.port]), (1, [gone]), (0, [unused.port])])) { lab in
            let wire = try await lab.connect()
            for _ in 0..<20 { #expect(try await wire.get("/").text == "stable") }
            #expect(lab.counters("1").requests == 20 && lab.counters("1").errors == 0)
            #expect(lab.counters("2").requests == 0 && lab.counters("2").failovers == 10)
            #expect(lab.counters("2").active == 0 && lab.counters("3").requests == 0)
            wire.close()
        }
        await server.stop()
        await unused.stop()
    }

    @Test func `without an endpoint the answer is 502 once and then 503`() async throws {
        let gone = try await closedPort()
        let ejectLong = { (configuration: inout ProxyConfiguration) in configuration.ejection = .seconds(60) }
        try await withProxy(table([(1, [gone])]), configure: ejectLong) { lab in
            let wire = try await lab.connect()
            #expect(try await wire.get("/").status == 502)
            let response = try await wire.get("/")
            #expect(response.status == 503 && response["content-type"] == "application/json")
            #expect(response.text.hasPrefix("{\"error\":\"no live endpoint of service \\\"test/web\\\"\""))
            let head = try await wire.ask("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(head.status == 503)
            #expect(lab.counters().errors_transport == 3 && lab.counters().errors_5xx == 0)
            #expect(lab.counters().requests == 3 && lab.counters().status_classes[4] == 3)
            lab.proxy.swap(table([(0, [gone])]))
            #expect(try await wire.get("/").status == 503)
            #expect(lab.proxy.counters().unrouted == 1)
            wire.close()
        }
    }

    @Test func `an endpoint that came back is used again`() async throws {
        let gone = try await closedPort()
        let configure = { (configuration: inout ProxyConfiguration) in configuration.ejection = .milliseconds(1) }
        try await withProxy(table([(1, [gone])]), configure: configure) { lab in
            let wire = try await lab.connect()
            #expect(try await wire.get("/").status == 502)
            let server = try await TestServer.named("back")
            lab.proxy.swap(table([(1, [server.port])]))
            #expect(try await wire.get("/").text == "back")
            wire.close()
            await server.stop()
        }
    }

    @Test(arguments: [("GET", true, 200), ("PUT", true, 200), ("POST", true, 502), ("GET", false, 502)])
    func `an upstream that hangs up without a word is asked again if method and route allow`(
        method: String, retry: Bool, status: Int
    ) async throws {
        let hits = Tally()
        let server = try await TestServer { wire in
            while let request = try await wire.message() {
                hits.add()
                guard hits.value > 1 else { return }
                try await wire.send(
                    "HTTP/1.1 200 OK\r\nContent-Length: \(request.body.readableBytes)\r\n\r\n\(request.text)")
            }
        }
        try await withProxy(table([(1, [server.port])], retry: retry)) { lab in
            let wire = try await lab.connect()
            let body = String(repeating: "b", count: 20_000)
            let response = try await wire.ask(
                "\(method) / HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
            #expect(response.status == status)
            if status == 200 { #expect(response.text == body) }
            #expect(hits.value == (status == 200 ? 2 : 1))
            #expect(lab.counters().requests == 1 && lab.counters().errors_transport == (status == 200 ? 0 : 1))
            #expect(lab.counters().failovers == (status == 200 ? 1 : 0))
            wire.close()
        }
        await server.stop()
    }

    @Test func `a body too large to keep is not sent twice`() async throws {
        let hits = Tally()
        let server = try await TestServer { wire in
            _ = try await wire.read(until: "\r\n\r\n")
            hits.add()
            _ = try await wire.read(ProxyConfiguration.replayLimit + 1)
        }
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await lab.connect()
            try await wire.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
            try await wire.send(noise(ProxyConfiguration.replayLimit + 1))
            #expect(try await wire.message()?.status == 502)
            #expect(hits.value == 1)
            wire.close()
        }
        await server.stop()
    }

    @Test func `a kept connection that its server closed does no harm`() async throws {
        let server = try await TestServer { wire in
            // Keeps the connection by its words, and closes it when the next request is there.
            _ = try await wire.message()
            try await wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            _ = try await wire.message()
        }
        try await withProxy(table([(1, [server.port])], retry: false)) { lab in
            let wire = try await lab.connect()
            for _ in 0..<10 { #expect(try await wire.get("/").text == "ok") }
            #expect(lab.counters().requests == 10 && lab.counters().errors == 0 && lab.counters().failovers > 0)
            wire.close()
        }
        await server.stop()
    }

    @Test func `an upstream that says nothing is answered for with 504`() async throws {
        let server = try await TestServer { wire in
            _ = try await wire.message()
            _ = await wire.isAtEnd()
        }
        try await withProxy(table([(1, [server.port])], timeout: 100)) { lab in
            let wire = try await lab.connect()
            let response = try await wire.get("/")
            #expect(response.status == 504 && response.text.contains("proxy.timeout"))
            #expect(lab.counters().errors_transport == 1 && lab.counters().requests == 1)
            #expect(lab.counters().sum_us >= 90_000 && lab.counters().active == 0)
            wire.close()
        }
        await server.stop()
    }

    @Test func `a head that never ends is answered with 408`() async throws {
        let configure = { (configuration: inout ProxyConfiguration) in
            configuration.headTimeout = .milliseconds(100)
            configuration.bodyTimeout = .milliseconds(100)
        }
        let server = try await TestServer.named("x")
        try await withProxy(table([(1, [server.port])]), configure: configure) { lab in
            let slow = try await lab.connect()
            #expect(try await slow.ask("GET / HTTP/1.1\r\nHost: x\r\nA: ").status == 408)
            #expect(await slow.isAtEnd())
            let lazy = try await lab.connect()
            #expect(try await lazy.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc").status == 408)
            #expect(await lazy.isAtEnd())
            #expect(lab.counters().client_aborts == 1 && lab.counters().errors == 0)
        }
        await server.stop()
    }

    @Test func `a connection nobody uses is closed`() async throws {
        let server = try await TestServer.named("x")
        try await withProxy(table([(1, [server.port])]), configure: { $0.idleTimeout = .seconds(1) }) { lab in
            let unused = try await lab.connect()
            #expect(await unused.isAtEnd())
            var wire = try await lab.connect()
            // On a busy machine the test itself may be too late for its first request.
            while try await wire.isClosedBeforeAnswering() { wire = try await lab.connect() }
            #expect(await wire.isAtEnd())
            while lab.proxy.counters().connections > 0 { await Task.yield() }
        }
        await server.stop()
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "nonsense from the start\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ])
    func `a response that is not sound becomes 502`(response: String) async throws {
        let server = try await TestServer { wire in
            _ = try await wire.message()
            try await wire.send(response)
            _ = await wire.isAtEnd()
        }
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await lab.connect()
            #expect(try await wire.get("/").status == 502)
            #expect(lab.counters().errors_transport == 1)
            wire.close()
        }
        await server.stop()
    }

    @Test func `a response cut short is not passed off as whole`() async throws {
        let server = try await TestServer { wire in
            let request = try await wire.message()
            let framing = request?.target == "/chunked" ? "Transfer-Encoding: chunked" : "Content-Length: 10"
            try await wire.send("HTTP/1.1 200 OK\r\n\(framing)\r\n\r\n5\r\nab")
        }
        try await withProxy(table([(1, [server.port])])) { lab in
            for path in ["/length", "/chunked"] {
                let wire = try await lab.connect()
                await #expect(throws: WireError.self) { try await wire.get(path) }
                wire.close()
            }
            #expect(lab.counters().errors_transport == 2 && lab.counters().status_classes[1] == 2)
        }
        await server.stop()
    }

    @Test func `bytes nobody asked for are not the next answer`() async throws {
        let server = try await TestServer { wire in
            while try await wire.message() != nil {
                try await wire.send(
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            }
        }
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await lab.connect()
            for _ in 0..<5 { #expect(try await wire.get("/").text == "ok") }
            wire.close()
        }
        await server.stop()
    }

    @Test func `a client that leaves is no fault of the revision`() async throws {
        let arrived = Signal()
        let server = try await TestServer { wire in
            _ = try await wire.message()
            arrived.fire()
            _ = await wire.isAtEnd()
        }
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await lab.connect()
            try await wire.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
            await arrived.wait()
            // A reset, since a mere end of sending would be a half-close, which is served.
            let socket = try #require(wire.channel as? any SocketOptionProvider)
            try await socket.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
            try await wire.channel.close().get()
            while lab.counters().requests == 0 { await Task.yield() }
            #expect(lab.counters().client_aborts == 1 && lab.counters().errors == 0 && lab.counters().active == 0)
        }
        await server.stop()
    }
}
