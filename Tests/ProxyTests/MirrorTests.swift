import NIOCore
import Synchronization
import Testing

@testable import Proxy

@Suite(.timeLimit(.minutes(2))) struct MirrorTests {
    private func routes(_ live: Int, _ mirror: Int, percent: Double = 100, writes: Bool? = nil) -> RouteTable {
        edited(table([(1, [live]), (0, [mirror])])) { route in
            route.mirror = MirrorRoute(revision: "2", percent: percent, writes: writes)
        }
    }

    /// Waits until the mirror's numbers are as they shall be.
    private func mirrored(_ lab: Lab, until isDone: (MirrorCounters) -> Bool) async throws -> MirrorCounters {
        while true {
            if let seen = lab.proxy.counters().mirrors.first, isDone(seen) { return seen }
            await Task.yield()
        }
    }

    @Test func `copies are compared by status and body, whatever their framing`() async throws {
        let answer = { @Sendable (body: String, status: Int, isChunked: Bool) in
            isChunked
                ? "HTTP/1.1 \(status) X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\(body.prefix(2))\r\n"
                    + "\(String(body.utf8.count - 2, radix: 16))\r\n\(body.dropFirst(2))\r\n0\r\n\r\n"
                : "HTTP/1.1 \(status) X\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        }
        let live = try await TestServer.http { _ in answer("hello", 200, false) }
        let heads = Mutex<[HTTPMessage]>([])
        let mirror = try await TestServer.http { request in
            heads.withLock { $0.append(request) }
            switch request.target {
            case "/same": return answer("hello", 200, true)
            case "/body": return answer("hullo", 200, false)
            default: return answer("hello", 503, false)
            }
        }
        let records = Mutex<[MirrorRecord]>([])
        let configure = { (configuration: inout ProxyConfiguration) in
            configuration.mirrorLog = { record in records.withLock { $0.append(record) } }
        }
        try await withProxy(routes(live.port, mirror.port), configure: configure) { lab in
            let wire = try await lab.connect()
            for path in ["/same", "/body", "/status", "/same"] {
                let response = try await wire.get(path)
                #expect(response.text == "hello" && response["x-vagus-revision"] == "1")
            }
            let seen = try await mirrored(lab) { $0.same + $0.body_differs + $0.status_differs == 4 }
            #expect(seen.copies == 4 && seen.same == 2 && seen.body_differs == 1 && seen.status_differs == 1)
            #expect(seen.answers.requests == 4 && seen.answers.errors_5xx == 1 && seen.answers.active == 0)
            #expect(lab.counters("2").requests == 0 && lab.counters("1").requests == 4)
            wire.close()
        }
        heads.withLock { heads in
            #expect(heads.count == 4 && heads.allSatisfy { $0["x-vagus-mirror"] == "1" && $0["x-request-id"] != nil })
        }
        records.withLock { records in
            #expect(records.map(\.mirrorStatus).sorted() == [200, 200, 200, 503])
            #expect(records.allSatisfy { $0.bytes == 5 && $0.mirrorBytes == 5 && $0.mirror == "2" })
        }
        await live.stop()
        await mirror.stop()
    }

    @Test func `a mirror that never answers, refuses or breaks off is not noticed`() async throws {
        let live = try await TestServer.named("live")
        let silent = try await TestServer { wire in _ = await wire.rest() }
        let broken = try await TestServer { wire in
            _ = try await wire.message()
            try await wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        }
        let gone = try await closedPort()
        for (port, patience) in [(silent.port, 1_500), (broken.port, 10_000), (gone, 10_000)] {
            var table = routes(live.port, port)
            table.routes[0].timeout_ms = patience
            try await withProxy(table) { lab in
                let wire = try await lab.connect()
                for _ in 0..<3 { #expect(try await wire.get("/").text == "live") }
                let seen = try await mirrored(lab) { $0.status_differs == 3 }
                #expect(seen.answers.errors_transport == 3 && seen.answers.active == 0)
                #expect(lab.counters().requests == 3 && lab.counters().errors == 0)
                wire.close()
            }
        }
        for server in [live, silent, broken] { await server.stop() }
    }

    @Test func `a share is copied exactly, and only what changes nothing`() async throws {
        let (live, mirror) = (try await TestServer.named("a"), try await TestServer.named("a"))
        try await withProxy(routes(live.port, mirror.port, percent: 25)) { lab in
            let wire = try await lab.connect()
            for _ in 0..<40 {
                _ = try await wire.get("/")
                _ = try await wire.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            }
            let seen = try await mirrored(lab) { $0.same == 10 }
            #expect(seen.copies == 10 && seen.skipped == 0)
            wire.close()
        }
        await live.stop()
        await mirror.stop()
    }

    @Test func `a body goes along if it is short enough`() async throws {
        let sizes = Mutex<[Int]>([])
        let echo = { @Sendable (request: HTTPMessage) in
            "HTTP/1.1 200 OK\r\nContent-Length: \(request.body.readableBytes)\r\n\r\n\(request.text)"
        }
        let live = try await TestServer.http(echo)
        let mirror = try await TestServer.http { request in
            sizes.withLock { $0.append(request.body.readableBytes) }
            return echo(request)
        }
        try await withProxy(routes(live.port, mirror.port, writes: true)) { lab in
            let wire = try await lab.connect()
            for size in [30_000, ProxyConfiguration.replayLimit + 1] {
                try await wire.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \(size)\r\n\r\n")
                try await wire.send(String(repeating: "b", count: size / 2))
                try await wire.send(String(repeating: "c", count: size - size / 2))
                #expect(try await wire.message()?.body.readableBytes == size)
            }
            let seen = try await mirrored(lab) { $0.same + $0.skipped == 2 }
            #expect(seen.copies == 1 && seen.same == 1)
            #expect(sizes.withLock { $0 } == [30_000])
            wire.close()
        }
        await live.stop()
        await mirror.stop()
    }
}
