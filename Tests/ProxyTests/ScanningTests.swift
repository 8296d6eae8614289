import NIOCore
import Testing

@testable import Proxy

@Suite struct ScanningTests {
    /// Scans a request head as a whole.
    private func scan(_ text: String) throws -> (head: RequestHead, isWhole: Bool) {
        var head = RequestHead()
        let result = Array(text.utf8).withUnsafeBytes { bytes in
            Result { () throws(HTTPFault) in try head.scan(bytes) }
        }
        return (head, try result.get())
    }

    private static let start = "POST /a HTTP/1.1\r\nHost: x\r\n"

    @Test(arguments: [
        (start + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (start + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400),
        (start + "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", 400),
        (start + "Content-Length: 3, 3\r\n\r\n", 400), (start + "Content-Length: +3\r\n\r\n", 400),
        (start + "Content-Length: 0x3\r\n\r\n", 400), (start + "Content-Length: -1\r\n\r\n", 400),
        (start + "Content-Length: \r\n\r\n", 400), (start + "Content-Length: 9999999999999999999\r\n\r\n", 400),
        (start + "Content-Length : 3\r\n\r\n", 400), (start + " Content-Length: 3\r\n\r\n", 400),
        (start + "Transfer-Encoding: xchunked\r\n\r\n", 400), (start + "Transfer-Encoding: identity\r\n\r\n", 400),
        (start + "Transfer-Encoding: chunked, chunked\r\n\r\n", 400),
        (start + "Transfer-Encoding: gzip, chunked\r\n\r\n", 400), (start + "Transfer-Encoding: \r\n\r\n", 400),
        (start + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (start + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400),
        (start + "Transfer-Encoding:\u{0B}chunked\r\n\r\n", 400),
        (start + "A: b\r\n folded\r\n\r\n", 400), (start + "A: b\r\n\tfolded\r\n\r\n", 400),
        (start + "A: b\nC: d\r\n\r\n", 400), (start + "A: b\rC: d\r\n\r\n", 400), (start + "A: \u{00}\r\n\r\n", 400),
        (start + ": b\r\n\r\n", 400), (start + "A b: c\r\n\r\n", 400), (start + "A\u{00}: c\r\n\r\n", 400),
        (start + "Host: y\r\n\r\n", 400), (start + "Expect: more\r\n\r\n", 417),
        ("GET / HTTP/1.1\r\n\r\n", 400), ("GET / HTTP/1.1\nHost: x\n\n", 400), ("GET /\r\nHost: x\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400), ("GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
        ("GET / http/1.1\r\nHost: x\r\n\r\n", 400), ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        ("GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505), ("G\u{7F}T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400), ("GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET http:// HTTP/1.1\r\nHost: x\r\n\r\n", 400), ("GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\n" + String(repeating: "A: b\r\n", count: 100) + "\r\n", 431),
    ])
    func `a head that two readers could take differently is refused`(text: String, status: Int) {
        #expect(throws: HTTPFault.self) { try scan(text) }
        do {
            _ = try scan(text)
        } catch let fault as HTTPFault {
            #expect(fault.status == status, "\(fault.message)")
        } catch {
            Issue.record(error)
        }
    }

    @Test func `a head is read whole or not at all, wherever it is cut`() throws {
        let text = "POST /a/b?c=d HTTP/1.1\r\nHost: Ex-1.test:8080\r\nContent-Length: 12\r\nX: \t y z \t\r\n\r\n"
        for count in 0..<text.utf8.count {
            let part = String(decoding: text.utf8.prefix(count), as: UTF8.self)
            #expect(try !scan(part).isWhole, "\(count)")
        }
        let (head, isWhole) = try scan(text + "body")
        #expect(isWhole && head.length == text.utf8.count && head.framing == .length(12))
        let bytes = Array(text.utf8)
        bytes.withUnsafeBytes { bytes in
            func string(_ range: ByteRange) -> String { String(decoding: range.of(bytes), as: UTF8.self) }
            #expect(string(head.method) == "POST" && string(head.target) == "/a/b?c=d" && string(head.path) == "/a/b")
            #expect(string(head.host) == "Ex-1.test" && string(head.authority) == "Ex-1.test:8080")
            #expect(string(head.block.lines[2].value) == "y z")
        }
    }

    @Test func `an absolute target beats Host and may have no path`() throws {
        let text = "GET HTTP://real.test:81?q HTTP/1.1\r\nHost: other\r\n\r\n"
        let (head, _) = try scan(text)
        Array(text.utf8).withUnsafeBytes { bytes in
            #expect(String(decoding: head.host.of(bytes), as: UTF8.self) == "real.test")
            #expect(String(decoding: head.target.of(bytes), as: UTF8.self) == "?q")
            #expect(head.path.isEmpty && head.isAbsolute)
        }
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: a, Close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n", false), ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
    ])
    func `a connection stays as its version says`(text: String, keeps: Bool) throws {
        #expect(try scan(text).head.keepsAlive == keeps)
    }

    @Test(arguments: [
        ("Content-Length", HeaderKind.contentLength), ("TRANSFER-ENCODING", .transferEncoding), ("host", .host),
        ("Connection", .connection), ("Keep-Alive", .keepAlive), ("TE", .te), ("Trailer", .trailer),
        ("Upgrade", .upgrade), ("Expect", .expect), ("Proxy-Connection", .proxyConnection),
        ("Proxy-Authorization", .proxyAuthorization), ("Proxy-Authenticate", .proxyAuthenticate),
        ("HTTP2-Settings", .http2Settings), ("Forwarded", .forwarded), ("X-Forwarded-For", .forwardedFor),
        ("X-Forwarded-Host", .forwardedHost), ("X-Forwarded-Proto", .forwardedProto), ("X-Request-ID", .requestID),
        ("Traceparent", .traceparent), ("tracestate", .tracestate), ("X-Vagus-Revision", .vagusRevision),
        ("Content_Length", .lookalike), ("X_Forwarded_For", .lookalike), ("my_header", .other),
        ("Content-Lengt", .other), ("Content-Type", .other), ("Accept", .other),
    ])
    func `header names are known in any case, and their lookalikes as such`(name: String, kind: HeaderKind) {
        let found = Array(name.utf8).withUnsafeBytes(HeaderKind.of)
        #expect(found == kind)
    }

    @Test func `responses are framed as RFC 9112 says`() throws {
        func framing(_ text: String, toHEAD: Bool = false) throws -> BodyFraming {
            var head = ResponseHead()
            let result = Array(text.utf8).withUnsafeBytes { bytes in
                Result { () throws(HTTPFault) in try head.scan(bytes) ? try head.framing(toHEAD: toHEAD) : nil }
            }
            return try #require(try result.get())
        }
        #expect(try framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") == .length(5))
        #expect(try framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", toHEAD: true) == .none)
        #expect(try framing("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n") == .chunked)
        #expect(try framing("HTTP/1.0 200 OK\r\n\r\n") == .untilClose)
        #expect(try framing("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n") == .none)
        #expect(try framing("HTTP/1.1 204 No Content\r\n\r\n") == .none)
        #expect(throws: HTTPFault.self) {
            try framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")
        }
        #expect(throws: HTTPFault.self) {
            try framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n")
        }
        #expect(throws: HTTPFault.self) { try framing("HTTP/2 200 OK\r\nContent-Length: 5\r\n\r\n") }
    }
}

@Suite struct ChunkTests {
    /// Feeds a body in pieces cut at the given places; returns what goes on, the payload and how much was consumed.
    private func run(_ text: String, cuts: [Int], relay: BodyReader.Relay) throws -> (sent: String, left: String) {
        var reader = BodyReader(.chunked, relay: relay)
        let bytes = Array(text.utf8)
        var sent = ByteBuffer()
        var pending = ByteBuffer()
        var from = 0
        for cut in cuts + [bytes.count] {
            pending.writeBytes(bytes[from..<cut])
            from = cut
            if var piece = try reader.take(from: &pending) { sent.writeBuffer(&piece) }
        }
        try #require(reader.isComplete)
        return (String(buffer: sent), String(buffer: pending))
    }

    private static let body = "4\r\nWiki\r\n6;a=\"b\"\r\npedia \r\n00e\r\nin \r\n\r\nchunks.\r\n0\r\n\r\n"
    private static let trailed = "1\r\nx\r\n0\r\nExpires: never\r\nContent-Length: 7\r\n\r\n"

    @Test func `a body goes on byte for byte, wherever it is cut`() throws {
        for cut in 0...Self.body.utf8.count {
            let (sent, left) = try run(Self.body + "GET /", cuts: [cut], relay: .raw)
            #expect(sent == Self.body && left == "GET /", "\(cut)")
        }
        let everywhere = Array(0..<Self.body.utf8.count)
        #expect(try run(Self.body, cuts: everywhere, relay: .raw).sent == Self.body)
    }

    @Test func `trailers are dropped, wherever they are cut`() throws {
        for cut in 0...Self.trailed.utf8.count {
            let (sent, left) = try run(Self.trailed + "next", cuts: [cut], relay: .raw)
            #expect(sent == "1\r\nx\r\n0\r\n\r\n" && left == "next", "\(cut)")
        }
    }

    @Test func `chunks are taken apart for a side that does not know them`() throws {
        for cut in 0...Self.body.utf8.count {
            let (sent, left) = try run(Self.body + "next", cuts: [cut], relay: .decoded)
            #expect(sent == "Wikipedia in \r\n\r\nchunks." && left == "next", "\(cut)")
        }
    }

    @Test(arguments: [
        "g\r\n", "\r\n", " 1\r\n", "1 \r\n", "0x1\r\n", "-1\r\n", "1\nx\r\n", "1\rx", "1\r\nxy\r\n", "1\r\nx\n",
        "1;a\u{00}\r\n", "1;a\nb\r\n", "fffffffffffffffff\r\n", "0\r\n\n", "0\r\n: x\r\n\r\n",
        "0\r\nA: b\nC: d\r\n\r\n",
        "0\r\n folded\r\n\r\n",
    ])
    func `a malformed chunk is refused`(text: String) {
        #expect(throws: HTTPFault.badChunk) { try run(text, cuts: [], relay: .raw) }
    }

    @Test func `endless extensions and trailers are refused`() {
        let extended = "1;" + String(repeating: "a", count: ProxyConfiguration.chunkLineLimit + 1)
        #expect(throws: HTTPFault.badChunk) { try run(extended, cuts: [], relay: .raw) }
        let trailed = "0\r\n" + String(repeating: "A: b\r\n", count: ProxyConfiguration.trailerLimit / 6 + 1)
        #expect(throws: HTTPFault.badChunk) { try run(trailed, cuts: [], relay: .raw) }
    }
}

@Suite struct IdentityTests {
    @Test(arguments: [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
        ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", true),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false), ("", false), ("00-4bf92f", false),
    ])
    func `a traceparent is valid as W3C says`(text: String, isValid: Bool) {
        #expect(Array(text.utf8).withUnsafeBytes(Traceparent.isValid) == isValid)
    }

    @Test func `hexadecimal digits are written as anyone writes them`() {
        var system = SystemRandomNumberGenerator()
        var ids = IDGenerator(seed: &system)
        for value in [0, 1, 0x0123_4567_89AB_CDEF, .max] + (0..<200).map({ _ in ids.next() }) {
            var buffer = ByteBuffer()
            buffer.writeHex(value)
            let plain = String(value, radix: 16)
            #expect(String(buffer: buffer) == String(repeating: "0", count: 16 - plain.count) + plain)
        }
    }

    @Test func `a drawn id differs from the next`() {
        var system = SystemRandomNumberGenerator()
        var ids = IDGenerator(seed: &system)
        #expect(Set((0..<1_000).map { _ in ids.next() }).count == 1_000)
    }
}
