import Foundation
import Outbound
import Testing

@Suite struct SendTests {
    @Test func `method, headers and body arrive, and the answer comes back`() async throws {
        try await withServer { request in
            TestServer.Reply(status: 201, headers: [("X-Seen", "yes")], chunks: ["got ", "\(request.body.count)"])
        } _: { client, server in
            let request = HTTPRequest(
                "post", url: server.url + "/a?b=c", headers: [("X-Test", "1")], body: .bytes([1, 2, 3]))
            let response = try await client.send(request, deadline: .seconds(10))
            #expect(response.status == 201 && response.isSuccess)
            #expect(response.text == "got 3")
            #expect(response.header("x-seen") == "yes")
            let seen = try #require(server.requests.first)
            #expect(seen.method == "POST" && seen.path == "/a?b=c" && seen.body == [1, 2, 3])
            #expect(seen.header("x-test") == "1" && seen.header("user-agent") == "vagus")
            #expect(seen.header("content-length") == "3")
        }
    }

    @Test func `a file and a stream are sent as bodies`() async throws {
        try await withFolder { folder in
            let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            try Data(bytes).write(to: URL(fileURLWithPath: folder + "/body"))
            try await withServer(answering: { _ in .text("ok") }) { client, server in
                let file = HTTPRequest("PUT", url: server.url, body: .file(folder + "/body"))
                _ = try await client.send(file, deadline: .seconds(10))
                let pieces = AsyncThrowingStream<[UInt8], any Error> { continuation in
                    for start in stride(from: 0, to: bytes.count, by: 100_000) {
                        continuation.yield(Array(bytes[start..<start + 100_000]))
                    }
                    continuation.finish()
                }
                let stream = HTTPRequest("PUT", url: server.url, body: .stream(pieces, length: nil))
                _ = try await client.send(stream, deadline: .seconds(10))
                #expect(server.requests.map(\.body) == [bytes, bytes])
                #expect(server.requests.map { $0.header("content-length") } == ["300000", nil])
                let lost = HTTPRequest("PUT", url: server.url, body: .file(folder + "/nowhere"))
                #expect(await code { try await client.send(lost, deadline: .seconds(10)) } == .other)
            }
        }
    }

    @Test func `an answer that never comes times out`() async throws {
        try await withServer(answering: { _ in .nothing }) { client, server in
            let request = HTTPRequest(url: server.url + "/secret?token=abc")
            let error = await #expect(throws: OutboundError.self) {
                try await client.send(request, deadline: .milliseconds(80))
            }
            #expect(error?.code == .timedOut)
            #expect(error?.message == "GET \(server.url)/secret: no whole answer within 0.08 seconds")
        }
    }

    @Test func `an answer that stops half-way times out too`() async throws {
        try await withServer(answering: { _ in TestServer.Reply(chunks: ["half"], ending: .silence) }) {
            client, server in
            let request = HTTPRequest(url: server.url)
            #expect(await code { try await client.send(request, deadline: .milliseconds(80)) } == .timedOut)
        }
    }

    @Test func `a connection that breaks half-way is told as such`() async throws {
        try await withServer(answering: { _ in TestServer.Reply(chunks: ["half"], ending: .drop) }) { client, server in
            let request = HTTPRequest(url: server.url)
            #expect(await code { try await client.send(request, deadline: .seconds(10)) } == .broken)
        }
    }

    @Test func `nobody listening is a refusal`() async throws {
        let server = try await TestServer { _ in .text("") }
        let url = server.url
        try await server.stop()
        let client = OutboundClient()
        #expect(await code { try await client.send(HTTPRequest(url: url), deadline: .seconds(10)) } == .refused)
        let unknown = HTTPRequest(url: "http://no-such-host.invalid/")
        #expect(await code { try await client.send(unknown, deadline: .seconds(20)) } == .refused)
        await client.shutdown()
        await client.shutdown()
    }

    @Test(arguments: [(10, OutboundError.Code?.none), (9, .tooLarge), (0, .tooLarge)])
    func `the limit counts the bytes of the body`(limit: Int, expected: OutboundError.Code?) async throws {
        try await withServer(answering: { _ in .text("0123456789") }) { client, server in
            let request = HTTPRequest(url: server.url)
            #expect(await code { try await client.send(request, deadline: .seconds(10), limit: limit) } == expected)
        }
    }

    @Test(arguments: ["", "no url", "ftp://example.com/", "http://", "file:///etc/passwd", "//host/x"])
    func `what is no URL of a server is refused`(url: String) async {
        let client = OutboundClient()
        #expect(await code { try await client.send(HTTPRequest(url: url), deadline: .seconds(1)) } == .badURL)
        await client.shutdown()
    }

    @Test func `a server that speaks no TLS is a TLS failure`() async throws {
        try await withServer(answering: { _ in .text("") }) { client, server in
            let request = HTTPRequest(url: "https://127.0.0.1:\(server.port)/")
            #expect(await code { try await client.send(request, deadline: .seconds(10)) } == .tls)
        }
    }

    @Test func `a cancelled caller hears so at once`() async throws {
        try await withServer(answering: { _ in .nothing }) { client, server in
            let request = HTTPRequest(url: server.url)
            let ended = await withTaskGroup(of: OutboundError.Code?.self) { group in
                group.addTask { await code { try await client.send(request, deadline: .seconds(60)) } }
                while server.requests.isEmpty { await Task.yield() }
                group.cancelAll()
                return await group.next()
            }
            #expect(ended == .cancelled)
        }
    }

    @Test func `unix sockets work where they are allowed`() async throws {
        try await withFolder { folder in
            let path = folder + "/s.sock"
            let server = try await TestServer(socketPath: path) { request in
                // Go's servers refuse a request that names no host.
                .text(
                    "over " + request.path + " at " + (request.headers.first { $0.0.lowercased() == "host" }?.1 ?? ""))
            }
            let encoded = path.replacing("/", with: "%2F")
            let request = HTTPRequest(url: "http+unix://\(encoded)/ping")
            let open = OutboundClient(configuration: OutboundConfiguration(allowsUnixSockets: true))
            #expect(try await open.send(request, deadline: .seconds(10)).text == "over /ping at localhost")
            let closed = OutboundClient()
            #expect(await code { try await closed.send(request, deadline: .seconds(10)) } == .addressNotAllowed)
            await open.shutdown()
            await closed.shutdown()
            try await server.stop()
        }
    }
}

@Suite struct RedirectTests {
    @Test func `a redirect is followed, and another server does not see the secret`() async throws {
        try await withServer(answering: { _ in .text("arrived") }) { client, second in
            let target = second.url + "/there"
            try await withServer { request in
                request.path == "/far"
                    ? TestServer.Reply(status: 302, headers: [("Location", target)])
                    : request.path == "/near"
                        ? TestServer.Reply(status: 301, headers: [("Location", "/end")]) : .text("end")
            } _: { (client, first) async throws in
                let secret = [("Authorization", "Bearer x"), ("X-Plain", "y")]
                let far = HTTPRequest(url: first.url + "/far", headers: secret)
                #expect(try await client.send(far, deadline: .seconds(10)).text == "arrived")
                #expect(second.requests.first?.header("authorization") == nil)
                #expect(second.requests.first?.header("x-plain") == "y")
                let near = HTTPRequest(url: first.url + "/near", headers: secret)
                #expect(try await client.send(near, deadline: .seconds(10)).text == "end")
                #expect(first.requests.last?.header("authorization") == "Bearer x")
                let post = HTTPRequest("POST", url: first.url + "/near")
                #expect(try await client.send(post, deadline: .seconds(10)).status == 301)
            }
        }
    }

    @Test func `an endless redirect ends after the limit`() async throws {
        let configuration = OutboundConfiguration(maxRedirects: 3)
        try await withServer(configuration) { _ in
            TestServer.Reply(status: 302, headers: [("Location", "/again")])
        } _: { client, server in
            let response = try await client.send(HTTPRequest(url: server.url), deadline: .seconds(10))
            #expect(response.status == 302)
            #expect(server.requests.count == 4)
        }
    }
}

@Suite struct RetryTests {
    private let quick = RetryBudget(attempts: 3, firstPause: .milliseconds(1), longestPause: .milliseconds(2))

    @Test(arguments: [
        ("GET", [], 503, 3), ("PUT", [], 429, 3), ("POST", [], 503, 1), ("POST", [("Idempotency-Key", "k")], 502, 3),
        ("GET", [], 500, 1), ("GET", [], 404, 1),
    ])
    func `only what is safe and may help is sent again`(
        method: String, headers: [(String, String)], status: Int, sent: Int
    ) async throws {
        try await withServer(answering: { _ in .text("no", status: status) }) { client, server in
            let request = HTTPRequest(method, url: server.url, headers: headers)
            let response = try await client.sendRetrying(request, deadline: .seconds(10), budget: quick)
            #expect(response.status == status)
            #expect(server.requests.count == sent)
        }
    }

    @Test func `a later attempt may succeed`() async throws {
        let answers = TestCounter()
        try await withServer { _ in
            answers.next() < 3
                ? TestServer.Reply(status: 503, headers: [("Retry-After", "0")]) : .text("at last")
        } _: { client, server in
            let response = try await client.sendRetrying(
                HTTPRequest(url: server.url), deadline: .seconds(10), budget: quick)
            #expect(response.text == "at last")
            #expect(server.requests.count == 3)
        }
    }

    @Test func `a broken GET is sent again, a broken POST is not`() async throws {
        try await withServer(answering: { _ in TestServer.Reply(chunks: ["x"], ending: .drop) }) { client, server in
            for method in ["GET", "POST"] {
                let request = HTTPRequest(method, url: server.url)
                #expect(
                    await code {
                        try await client.sendRetrying(request, deadline: .seconds(10), budget: quick)
                    } == .broken)
            }
            #expect(server.requests.map(\.method) == ["GET", "GET", "GET", "POST"])
        }
    }
}
