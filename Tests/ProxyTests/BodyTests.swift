import NIOCore
import Testing

@testable import Proxy

@Suite(.timeLimit(.minutes(2))) struct BodyTests {
    private static let megabyte = noise(1_000_000)

    /// A body in chunks of uneven sizes.
    private static func chunked(_ body: ByteBuffer) -> ByteBuffer {
        var (body, out) = (body, ByteBuffer())
        var size = 1
        while body.readableBytes > 0 {
            var slice = body.readSlice(length: min(size, body.readableBytes)) ?? ByteBuffer()
            out.writeString(String(slice.readableBytes, radix: 16) + "\r\n")
            out.writeBuffer(&slice)
            out.writeString("\r\n")
            size = size * 3 % 40_009
        }
        out.writeString("0\r\nX-Trailer: dropped\r\n\r\n")
        return out
    }

    /// An upstream that sends back the body it got, framed as the path says.
    private func echo() async throws -> TestServer {
        try await TestServer { wire in
            while let request = try await wire.message() {
                switch request.target {
                case "/chunked":
                    try await wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    try await wire.send(Self.chunked(request.body))
                case "/close":
                    try await wire.send("HTTP/1.1 200 OK\r\n\r\n")
                    try await wire.send(request.body)
                    return
                default:
                    try await wire.send("HTTP/1.1 200 OK\r\nContent-Length: \(request.body.readableBytes)\r\n\r\n")
                    try await wire.send(request.body)
                }
            }
        }
    }

    @Test(arguments: ["/length", "/chunked", "/close"], [false, true])
    func `a megabyte comes back unharmed, however it is framed`(path: String, inChunks: Bool) async throws {
        let server = try await echo()
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await lab.connect()
            for _ in 0..<2 {
                let framing = inChunks ? "Transfer-Encoding: chunked" : "Content-Length: \(Self.megabyte.readableBytes)"
                try await wire.send("POST \(path) HTTP/1.1\r\nHost: x\r\n\(framing)\r\n\r\n")
                try await wire.send(inChunks ? Self.chunked(Self.megabyte) : Self.megabyte)
                let response = try #require(try await wire.message())
                #expect(response.status == 200 && response.body == Self.megabyte)
                #expect(response.wasChunked == (path != "/length"))
            }
            #expect(lab.counters().requests == 2 && lab.counters().errors == 0)
            wire.close()
        }
        await server.stop()
    }

    @Test(arguments: ["/length", "/chunked", "/close"])
    func `a client of HTTP 1.0 gets plain bytes`(path: String) async throws {
        let server = try await echo()
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await lab.connect()
            let keep = path == "/length" ? "Connection: keep-alive\r\n" : ""
            try await wire.send("POST \(path) HTTP/1.0\r\nContent-Length: 1000000\r\n\(keep)\r\n")
            try await wire.send(Self.megabyte)
            let response = try #require(try await wire.message())
            #expect(response.body == Self.megabyte && !response.wasChunked)
            #expect(response["connection"] == (path == "/length" ? "keep-alive" : "close"))
            wire.close()
        }
        await server.stop()
    }

    @Test func `responses without a body leave the connection in step`() async throws {
        let server = try await TestServer.http { request in
            switch request.target {
            case "/204": "HTTP/1.1 204 No Content\r\n\r\n"
            case "/304": "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"
            default:
                request.method == "HEAD"
                    ? "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
                    : "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            }
        }
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await lab.connect()
            for _ in 0..<2 {
                #expect(try await wire.get("/204").status == 204)
                #expect(try await wire.get("/304")["content-length"] == "10")
                let head = try await wire.ask("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
                #expect(head.status == 200 && head["content-length"] == "10")
                #expect(try await wire.get("/").text == "ok")
            }
            #expect(lab.counters().requests == 8)
            wire.close()
        }
        await server.stop()
    }

    @Test func `100-continue goes to the client before its body is sent`() async throws {
        let server = try await TestServer { wire in
            while let head = try await wire.read(until: "\r\n\r\n") {
                guard HTTPMessage(head)["expect"] == "100-continue" else { return }
                try await wire.send("HTTP/1.1 100 Continue\r\n\r\n")
                let body = try await wire.read(5)
                try await wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\(String(buffer: body))")
            }
        }
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await lab.connect()
            for _ in 0..<2 {
                let interim = try await wire.ask(
                    "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
                #expect(interim.status == 100)
                #expect(try await wire.ask("hello").text == "hello")
            }
            #expect(lab.counters().requests == 2)
            wire.close()
        }
        await server.stop()
    }

    @Test func `an answer before the body's end is delivered and the connection closed`() async throws {
        let server = try await TestServer { wire in
            _ = try await wire.read(until: "\r\n\r\n")
            try await wire.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
        }
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await lab.connect()
            let response = try await wire.ask(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n")
            #expect(response.status == 413 && response.text == "big")
            #expect(await wire.isAtEnd())
            #expect(lab.counters().errors_4xx == 1)
            wire.close()
        }
        await server.stop()
    }

    @Test func `a client that has said its last still gets the answer`() async throws {
        let server = try await echo()
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await lab.connect()
            try await wire.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET /chunked HTTP/1.1\r\n")
            try await wire.send("Host: x\r\n\r\n")
            try await wire.closeOutput()
            #expect(try await wire.message()?.text == "hello")
            #expect(try await wire.message()?.wasChunked == true)
            #expect(await wire.isAtEnd())
        }
        await server.stop()
    }

    @Test func `a client that does not read holds its upstream back`() async throws {
        let (held, size) = (Tally(), 64 * 1024 * 1024)
        let server = try await TestServer { wire in
            _ = try await wire.message()
            var response = ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\n\r\n")
            response.writeRepeatingByte(7, count: size)
            do {
                try await wire.send(response)
            } catch {
                held.add()
            }
        }
        try await withProxy(table([(1, [server.port])]), configure: { $0.streamTimeout = .milliseconds(400) }) { lab in
            let wire = try await Wire.connect(to: lab.port, autoRead: false)
            try await wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            // Nobody reads, so the proxy gives up; had it taken all 64 MB in, the upstream would not have noticed.
            while lab.counters().requests == 0 { await Task.yield() }
            #expect(lab.counters().client_aborts == 1 && lab.counters().errors_transport == 0)
            wire.close()
        }
        await server.stop()
        #expect(held.value == 1)
    }

    @Test func `a slow reader gets every byte`() async throws {
        let body = noise(3_000_000)
        let server = try await TestServer { wire in
            _ = try await wire.message()
            try await wire.send("HTTP/1.1 200 OK\r\nContent-Length: \(body.readableBytes)\r\n\r\n")
            try await wire.send(body)
        }
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await Wire.connect(to: lab.port, autoRead: false)
            try await wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            while lab.counters().active == 0 { await Task.yield() }
            try await wire.channel.setOption(.autoRead, value: true).get()
            #expect(try await wire.message()?.body == body)
            wire.close()
        }
        await server.stop()
    }
}
