import Logging
import NIOCore
import Testing

@testable import Proxy

@Suite(.timeLimit(.minutes(2))) struct LifecycleTests {
    private static let upgrade =
        "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

    /// Accepts the upgrade and sends back every byte until the other side ends.
    private func tunnelServer() async throws -> TestServer {
        try await TestServer { wire in
            guard let request = try await wire.message(), request["upgrade"] == "websocket",
                request["connection"] == "Upgrade", request["sec-websocket-key"] != nil
            else { return }
            try await wire.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello")
            let all = try await wire.read(300_005)
            try await wire.send(all)
            #expect(await wire.isAtEnd())
            try await wire.send("bye")
        }
    }

    @Test func `a WebSocket is a tunnel of bytes, each way to its end`() async throws {
        let (server, body) = (try await tunnelServer(), noise(300_000))
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await lab.connect()
            // Bytes right behind the request belong to the tunnel.
            let response = try await wire.ask(Self.upgrade + "early")
            #expect(response.status == 101 && response["upgrade"] == "websocket")
            #expect(response["connection"] == "Upgrade" && response["x-vagus-revision"] == "1")
            #expect(response["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            #expect(String(buffer: try await wire.read(5)) == "hello")
            #expect(lab.counters().requests == 1 && lab.counters().active == 1)
            try await wire.send(body)
            #expect(String(buffer: try await wire.read(5)) == "early")
            #expect(try await wire.read(300_000) == body)
            try await wire.closeOutput()
            #expect(String(buffer: await wire.rest()) == "bye")
            while lab.counters().active > 0 { await Task.yield() }
            #expect(lab.counters().requests == 1 && lab.counters().status_classes[0] == 1)
        }
        await server.stop()
    }

    @Test func `an upgrade that is refused is an ordinary answer`() async throws {
        let server = try await TestServer.named("no")
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await lab.connect()
            #expect(try await wire.ask(Self.upgrade).text == "no")
            #expect(try await wire.get("/").text == "no")
            wire.close()
        }
        await server.stop()
    }

    @Test func `requests under way end before the proxy does`() async throws {
        let (arrived, release) = (Signal(), Signal())
        let server = try await TestServer { wire in
            _ = try await wire.message()
            arrived.fire()
            await release.wait()
            try await wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
        }
        let proxy = ProxyServer(logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        proxy.swap(table([(1, [server.port])]))
        let (ports, ready) = AsyncStream.makeStream(of: Int.self)
        let running = Task {
            try await proxy.run(listen: ("127.0.0.1", 0)) { port in _ = ready.yield(port) }
        }
        let port = try #require(await ports.first { _ in true })
        let busy = try await Wire.connect(to: port)
        try await busy.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await arrived.wait()
        running.cancel()
        // The listener is gone first: once connecting fails, the drain is on.
        while let extra = try? await Wire.connect(to: port) { extra.close() }  // refused is what is waited for
        release.fire()
        let response = try #require(try await busy.message())
        #expect(response.text == "done" && response["connection"] == "close")
        #expect(await busy.isAtEnd())
        try await running.value
        #expect(proxy.counters().connections == 0)
        await server.stop()
    }

    @Test func `an idle connection does not hold the end up`() async throws {
        let server = try await TestServer.named("x")
        try await withProxy(table([(1, [server.port])]), configure: { $0.drainTimeout = .seconds(3_600) }) { lab in
            let wire = try await lab.connect()
            #expect(try await wire.get("/").status == 200)
        }
        await server.stop()
    }

    @Test func `a request that does not end is cut at the deadline`() async throws {
        let arrived = Signal()
        let server = try await TestServer { wire in
            _ = try await wire.message()
            arrived.fire()
            _ = await wire.isAtEnd()
        }
        let tally = Tally()
        try await withProxy(table([(1, [server.port])]), configure: { $0.drainTimeout = .milliseconds(100) }) { lab in
            let wire = try await lab.connect()
            try await wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await arrived.wait()
            tally.add()
        }
        #expect(tally.value == 1)
        await server.stop()
    }

    @Test func `one connection too many is closed`() async throws {
        let server = try await TestServer.named("x")
        try await withProxy(table([(1, [server.port])]), configure: { $0.maxConnections = 2 }) { lab in
            let wires = [try await lab.connect(), try await lab.connect()]
            for wire in wires { #expect(try await wire.get("/").status == 200) }
            let third = try await lab.connect()
            #expect(await third.isAtEnd())
            wires[0].close()
            while lab.proxy.counters().connections > 1 { await Task.yield() }
            let fourth = try await lab.connect()
            #expect(try await fourth.get("/").status == 200)
            fourth.close()
            wires[1].close()
        }
        await server.stop()
    }

    @Test func `an address in use is told plainly`() async throws {
        let server = try await TestServer.named("x")
        let proxy = ProxyServer(logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        do {
            try await proxy.run(listen: ("127.0.0.1", server.port)) { _ in }
            Issue.record("it listened on a port in use")
        } catch let error as ProxyError {
            #expect(error.code == .cannotListen && error.message.contains("127.0.0.1:\(server.port)"))
        }
        await server.stop()
    }

    @Test func `the epoch changes with each start and counters outlive a swap`() async throws {
        let server = try await TestServer.named("x")
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await lab.connect()
            _ = try await wire.get("/")
            lab.proxy.swap(.empty)
            #expect(try await wire.get("/").status == 404)
            lab.proxy.swap(table([(1, [server.port])]))
            _ = try await wire.get("/")
            #expect(lab.counters().requests == 2)
            let other = ProxyServer(logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            #expect(other.counters().epoch != lab.proxy.counters().epoch)
            wire.close()
        }
        await server.stop()
    }
}
