import Foundation
import Logging
import NIOCore
import NIOHPACK
import NIOSSL
import Synchronization
import Testing

@testable import Proxy

@Suite(.timeLimit(.minutes(2))) struct HTTP2Tests {
    /// Answers with the request's own start line and what it was given of headers and body.
    private static func mirror() async throws -> TestServer {
        try await TestServer { wire in
            while let request = try await wire.message() {
                if request.target == "/empty" {
                    try await wire.send("HTTP/1.1 204 No Content\r\n\r\n")
                    continue
                }
                if request.target == "/early" { try await wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") }
                let seen =
                    "\(request.startLine)|\(request["host"] ?? "")|\(request["cookie"] ?? "")"
                    + "|\(request["x-forwarded-proto"] ?? "")|\(request.text)"
                let (first, rest) = (seen.prefix(3), seen.dropFirst(3))
                try await wire.send(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Seen: Yes\r\n\r\n3\r\n\(first)\r\n"
                        + "\(String(rest.utf8.count, radix: 16))\r\n\(rest)\r\n0\r\n\r\n")
            }
        }
    }

    @Test func `a client that knows may speak HTTP/2 at once`() async throws {
        let server = try await Self.mirror()
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await HTTP2Wire.connect(to: lab.port)
            let first = try await wire.get("/a?b=c", [("cookie", "a=1"), ("cookie", "b=2")])
            #expect(first.status == "200" && first.headers.first(name: "x-seen") == "Yes")
            #expect(first.headers.first(name: "x-vagus-revision") == "1")
            #expect(!first.headers.contains(name: "transfer-encoding"))
            #expect(first.text == "GET /a?b=c HTTP/1.1|test|a=1; b=2|http|")
            #expect(try await wire.get("/empty").status == "204")
            let early = try await wire.get("/early")
            #expect(early.interim == ["103"] && early.status == "200")
            let head = try await wire.ask(
                [(":method", "HEAD"), (":path", "/empty"), (":scheme", "http"), (":authority", "test")])
            #expect(head.status == "204" && head.text.isEmpty)
            let plain = try await lab.connect()
            #expect(try await plain.get("/").status == 200)
            plain.close()
            #expect(lab.counters().requests == 5)
            try await wire.channel.close().get()
        }
        await server.stop()
    }

    @Test func `a request by HTTP/2 has its place in a trace and is told as others are`() async throws {
        let server = try await TestServer.http { request in
            let seen = "\(request["traceparent"] ?? "")|\(request["tracestate"] ?? "")|\(request["x-request-id"] ?? "")"
            return "HTTP/1.1 200 OK\r\nContent-Length: \(seen.utf8.count)\r\n\r\n\(seen)"
        }
        let records = RequestRecords()
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        let answers = Mutex<[String]>([])
        try await withProxy(table([(1, [server.port])]), configure: { $0.records = records }) { lab in
            let wire = try await HTTP2Wire.connect(to: lab.port)
            let given = [("traceparent", "00-\(trace)-00f067aa0ba902b7-00"), ("x-request-id", "mine")]
            let (first, second) = (try await wire.get("/a?b=c", given).text, try await wire.get("/").text)
            answers.withLock { $0 = [first, second] }
            try await wire.channel.close().get()
        }
        await server.stop()
        let told = records.take().records
        try #require(told.count == 2)
        let spans = told.map { record in
            var text = ByteBuffer()
            text.writeHex(record.trace.span)
            return String(buffer: text)
        }
        #expect(
            answers.withLock { $0 } == [
                "00-\(trace)-\(spans[0])-00|vagus=r|mine",
                "00-\(told[1].requestID)-\(spans[1])-01|vagus=r|\(told[1].requestID)",
            ])
        #expect(told[0].trace.parent == 0x00f0_67aa_0ba9_02b7 && told[1].trace.parent == 0)
        #expect(told[0].method == "GET" && told[0].target == "/a?b=c" && told[0].host == "test")
        #expect(told[0].client == "127.0.0.1" && told[0].status == 200)
    }

    @Test func `bodies go through with and without a length`() async throws {
        let server = try await Self.mirror()
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await HTTP2Wire.connect(to: lab.port)
            let post = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "test")]
            let loose = try await wire.ask(post, body: ["abc", "def", ""])
            #expect(loose.text == "POST / HTTP/1.1|test||http|abcdef")
            let tight = try await wire.ask(post + [("content-length", "6")], body: ["abc", "def"])
            #expect(tight.text == "POST / HTTP/1.1|test||http|abcdef")
            try await wire.channel.close().get()
        }
        await server.stop()
    }

    @Test func `many requests share a connection, large answers included`() async throws {
        let body = String(repeating: "0123456789", count: 30_000)
        let server = try await TestServer.http { _ in
            "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        }
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await HTTP2Wire.connect(to: lab.port)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<40 {
                    group.addTask {
                        let answer = try await wire.get("/")
                        #expect(answer.text == body)
                    }
                }
                try await group.waitForAll()
            }
            #expect(lab.counters().requests == 40 && lab.counters().errors == 0)
            #expect(lab.proxy.counters().connections == 1)
            try await wire.channel.close().get()
        }
        await server.stop()
    }

    @Test(arguments: [
        [("x-a", "b\r\nX-Evil: 1")], [("x-a", "b\nc")], [("x-a", "\0")], [("x a", "b")],
        [("transfer-encoding", "chunked")],
        [("connection", "close")],
    ])
    func `what could end a line early in HTTP/1 is refused`(headers: [(String, String)]) async throws {
        let hits = Tally()
        let server = try await TestServer.http { _ in
            hits.add()
            return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        }
        try await withProxy(table([(1, [server.port])])) { lab in
            let wire = try await HTTP2Wire.connect(to: lab.port)
            // The test's own HTTP/2 refuses to send some of these.
            let status = try? await wire.get("/", headers).status
            #expect(status != "200" && hits.value == 0)
            wire.channel.close(promise: nil)
        }
        await server.stop()
    }

    @Test func `over TLS the client chooses, and a renewed certificate is taken up`() async throws {
        let server = try await Self.mirror()
        try await withFolder { folder in
            let files = try TestCertificates.write(TestCertificates.one, TestCertificates.oneKey, to: folder)
            try await withProxy(table([(1, [server.port])]), configure: { $0.tls = [files] }) { lab in
                let modern = try TestCertificates.client(trusting: TestCertificates.one, ["h2", "http/1.1"])
                let wire = try await HTTP2Wire.connect(to: lab.port, tls: modern)
                #expect(try await wire.get("/").text == "GET / HTTP/1.1|test||https|")
                let plain = try TestCertificates.client(trusting: TestCertificates.one, ["http/1.1"])
                let old = try await Wire.connect(to: lab.port, tls: plain)
                #expect(try await old.get("/").text == "GET / HTTP/1.1|test||https|")

                // Half a pair is left alone.
                _ = try TestCertificates.write(TestCertificates.two, TestCertificates.oneKey, to: folder)
                _ = try TestCertificates.write(TestCertificates.two, TestCertificates.twoKey, to: folder)
                let renewed = try TestCertificates.client(trusting: TestCertificates.two, ["http/1.1"])
                while true {
                    guard let next = try? await Wire.connect(to: lab.port, tls: renewed),
                        let answer = try? await next.get("/")
                    else { continue }
                    #expect(answer.status == 200)
                    next.close()
                    break
                }
                #expect(try await wire.get("/").status == "200")
                #expect(try await old.get("/").status == 200)
                old.close()
                try await wire.channel.close().get()
            }
        }
        await server.stop()
    }

    @Test func `a client is met with the certificate of the host it asks for, else with the first`() async throws {
        let server = try await Self.mirror()
        try await withFolder { folder in
            var places: [URL] = []
            for name in ["one", "two"] {
                places.append(folder.appending(path: name))
                try FileManager.default.createDirectory(at: places[places.count - 1], withIntermediateDirectories: true)
            }
            let files = [
                try TestCertificates.write(TestCertificates.one, TestCertificates.oneKey, to: places[0]),
                try TestCertificates.write(TestCertificates.two, TestCertificates.twoKey, to: places[1]),
            ]
            try await withProxy(table([(1, [server.port])]), configure: { $0.tls = files }) { lab in
                for (host, certificate, other) in [
                    ("one.test", TestCertificates.one, TestCertificates.two),
                    ("TWO.test", TestCertificates.two, TestCertificates.one),
                    // Both are good for it: the first is taken.
                    ("localhost", TestCertificates.one, TestCertificates.two),
                ] {
                    let trusting = try TestCertificates.client(trusting: certificate, ["http/1.1"])
                    let wire = try await Wire.connect(to: lab.port, tls: trusting, host: host)
                    #expect(try await wire.get("/").status == 200, "\(host)")
                    wire.close()
                    let distrusting = try TestCertificates.client(trusting: other, ["http/1.1"])
                    await #expect(throws: (any Error).self, "\(host)") {
                        let wrong = try await Wire.connect(to: lab.port, tls: distrusting, host: host)
                        defer { wrong.close() }
                        return try await wrong.get("/")
                    }
                }
            }
        }
        await server.stop()
    }

    @Test func `a name goes before a star, and a star stands for one label`() {
        let names = CertificateStore.Names([["a.test"], ["*.test", "b.test"], ["b.test", "*.c.test"]])
        let hosts = ["a.test", "B.test", "x.test", "x.y.test", "x.c.test", "test", "other"]
        #expect(hosts.map(names.index) == [0, 1, 1, nil, 2, nil, nil])
    }

    @Test func `a certificate without its key keeps the proxy from starting`() async throws {
        try await withFolder { folder in
            let files = try TestCertificates.write(TestCertificates.one, TestCertificates.twoKey, to: folder)
            var configuration = ProxyConfiguration()
            configuration.tls = [files]
            let proxy = ProxyServer(
                configuration: configuration, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            let error = await #expect(throws: ProxyError.self) {
                try await proxy.run(listen: ("127.0.0.1", 0)) { _ in }
            }
            #expect(error?.code == .badCertificate)
        }
    }
}
