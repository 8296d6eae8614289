import Foundation
import Outbound
import Synchronization
import Testing

/// Counts calls from any thread.
final class TestCounter: Sendable {
    private let count = Atomic<Int>(0)
    func next() -> Int { count.add(1, ordering: .acquiringAndReleasing).newValue }
}

@Suite struct StreamTests {
    @Test func `the head comes first, then the pieces, into plain variables`() async throws {
        try await withServer(answering: { _ in
            TestServer.Reply(headers: [("X-Kind", "stream")], chunks: ["one ", "two ", "three"])
        }) { client, server in
            var kind: String?
            var text = ""
            let status = try await client.stream(
                HTTPRequest(url: server.url), idleDeadline: .seconds(10), head: { kind = $0.header("x-kind") },
                onChunk: { text += String(decoding: $0, as: UTF8.self) })
            #expect(status == 200 && kind == "stream" && text == "one two three")
        }
    }

    @Test func `silence in the middle ends the stream`() async throws {
        try await withServer(answering: { _ in TestServer.Reply(chunks: ["one"], ending: .silence) }) {
            client, server in
            var text = ""
            let ended = await code {
                try await client.stream(HTTPRequest(url: server.url), idleDeadline: .milliseconds(80)) {
                    text += String(decoding: $0, as: UTF8.self)
                }
            }
            #expect(ended == .timedOut && text == "one")
        }
    }

    @Test func `silence before the head ends it as well`() async throws {
        try await withServer(answering: { _ in .nothing }) { client, server in
            let request = HTTPRequest(url: server.url)
            let ended = await code {
                try await client.stream(request, headDeadline: .milliseconds(80), idleDeadline: .seconds(60)) { _ in }
            }
            #expect(ended == .timedOut)
        }
    }

    @Test func `a consumer that throws ends the stream with its own error`() async throws {
        struct Enough: Error {}
        try await withServer(answering: { _ in TestServer.Reply(chunks: ["one"], ending: .silence) }) {
            client, server in
            await #expect(throws: Enough.self) {
                try await client.stream(HTTPRequest(url: server.url), idleDeadline: .seconds(60)) { _ in
                    throw Enough()
                }
            }
        }
    }
}

@Suite struct DownloadTests {
    @Test func `a download is whole, or leaves nothing`() async throws {
        let text = String(repeating: "0123456789abcdef", count: 40_000)
        try await withFolder { folder in
            let configuration = OutboundConfiguration(maxDownloadBytes: 640_000)
            try await withServer(configuration) { request in
                switch request.path {
                case "/whole": .text(text)
                case "/large": .text(text + "!")
                case "/half": TestServer.Reply(chunks: [text], ending: .drop)
                default: .text("no such file", status: 404)
                }
            } _: { client, server in
                func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: folder) }
                let path = folder + "/file"
                for (name, expected) in [("/large", OutboundError.Code.tooLarge), ("/half", .broken)] {
                    let request = HTTPRequest(url: server.url + name)
                    #expect(await code { try await client.download(request, to: path) } == expected)
                    #expect(try names() == [])
                }
                let missing = try await client.download(HTTPRequest(url: server.url + "/lost"), to: path)
                #expect(missing.status == 404 && missing.text == "no such file")
                #expect(try names() == [])
                let response = try await client.download(HTTPRequest(url: server.url + "/whole"), to: path)
                #expect(response.status == 200 && response.body.isEmpty)
                #expect(try names() == ["file"])
                #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
            }
        }
    }
}

@Suite struct ServerSentEventsTests {
    @Test(arguments: [
        ("data: a\n\n", [ServerSentEvent(data: "a")]),
        ("data:a\r\rdata:  b\r\n\r\n", [ServerSentEvent(data: "a"), ServerSentEvent(data: " b")]),
        ("\u{FEFF}event: tick\ndata: 1\ndata: 2\n\n", [ServerSentEvent(name: "tick", data: "1\n2")]),
        (": comment\n\nevent: x\n\ndata\n\n", [ServerSentEvent(data: "")]),
        (
            "id: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
            [
                ServerSentEvent(data: "a", id: "7"), ServerSentEvent(data: "b", id: "7"), ServerSentEvent(data: "c"),
            ]
        ),
        ("data: {\"é\": 1}\nunknown: x\n\n", [ServerSentEvent(data: "{\"é\": 1}")]),
        ("data: never finished\n", []),
    ])
    func `events are cut as the standard says, whatever the pieces`(text: String, expected: [ServerSentEvent]) throws {
        for size in [1, 2, 3, 1000] {
            var parser = ServerSentEvents()
            var events: [ServerSentEvent] = []
            let bytes = Array(text.utf8)
            for start in stride(from: 0, to: bytes.count, by: size) {
                events += try parser.feed(bytes[start..<min(start + size, bytes.count)])
            }
            #expect(events == expected, "in pieces of \(size)")
        }
    }

    @Test func `the wait that a server asks for is kept`() throws {
        var parser = ServerSentEvents()
        _ = try parser.feed("retry: 2500\nretry: soon\n\n".utf8)
        #expect(parser.retryMilliseconds == 2500)
    }

    @Test func `an event without end is refused`() async {
        var parser = ServerSentEvents()
        let line = [UInt8](repeating: UInt8(ascii: "x"), count: 1 << 20)
        var failure: OutboundError.Code?
        for _ in 0...8 where failure == nil {
            do throws(OutboundError) { _ = try parser.feed(line) } catch { failure = error.code }
        }
        #expect(failure == .tooLarge)
    }
}
