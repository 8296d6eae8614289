import NIOCore
import Synchronization
import Testing

@testable import Proxy

@Suite struct RecordTests {
    private static let client = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    /// What the proxy told of requests that were sent one after the other, and what the service saw of each.
    private func run(
        _ heads: [(target: String, lines: String)], ratio: Double, slow: Duration = .seconds(60), isClosed: Bool = false
    ) async throws -> (records: [AccessRecord], seen: [HTTPMessage]) {
        let server = try await TestServer.http { request in
            let text = request.headers.map { "\($0.name): \($0.value)" }.joined(separator: "\n")
            return "HTTP/1.1 200 OK\r\nContent-Length: \(text.utf8.count + 2)\r\n\r\n/\n\(text)"
        }
        let port = isClosed ? try await closedPort() : server.port
        let records = RequestRecords()
        records.choose(ratio: ratio, slow: slow)
        let seen = Heard()
        try await withProxy(
            table([(1, [port])], prefix: "/shop/web", strip: true),
            configure: {
                $0.records = records
                $0.maxLoops = 1
            }
        ) { lab in
            let wire = try await lab.connect()
            for head in heads {
                let answer = try await wire.get("/shop/web" + head.target, head.lines)
                seen.add(HTTPMessage(answer.text.split(separator: "\n").joined(separator: "\r\n")))
            }
            wire.close()
        }
        await server.stop()
        return (records.take().records, seen.all)
    }

    @Test func `a chosen request has a span below the client's, and the service is told so`() async throws {
        let told = try await run(
            [("/a?secret=1", "X-Request-ID: mine\r\ntraceparent: \(Self.client)\r\ntracestate: a=b\r\n")], ratio: 1)
        let record = try #require(told.records.first)
        #expect(record.trace.high == 0x4bf9_2f35_77b3_4da6 && record.trace.low == 0xa3ce_929d_0e0e_4736)
        #expect(record.trace.parent == 0x00f0_67aa_0ba9_02b7 && record.trace.isChosen)
        #expect(record.method == "GET" && record.target == "/shop/web/a?secret=1" && record.status == 200)
        #expect(record.service == "test/web" && record.revision == "1" && record.requestID == "mine")
        var span = ByteBuffer()
        span.writeHex(record.trace.span)
        #expect(
            told.seen.first?.all("traceparent")
                == ["00-4bf92f3577b34da6a3ce929d0e0e4736-\(String(buffer: span))-01"])
        #expect(told.seen.first?.all("tracestate") == ["vagus=r", "a=b"])
    }

    @Test func `a request that is not chosen goes on with the client's header as it came`() async throws {
        let told = try await run([("/", "traceparent: \(Self.client)\r\ntracestate: a=b\r\n")], ratio: 0)
        #expect(told.records.isEmpty)
        #expect(told.seen.first?.all("traceparent") == [Self.client])
        #expect(told.seen.first?.all("tracestate") == ["a=b"])
    }

    @Test func `a record tells all of a request`() async throws {
        let server = try await TestServer.http { _ in "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" }
        let records = RequestRecords()
        try await withProxy(table([(1, [server.port])]), configure: { $0.records = records }) { lab in
            let wire = try await lab.connect()
            _ = try await wire.ask("PUT /a?b=c HTTP/1.1\r\nHost: shop.test:80\r\nContent-Length: 3\r\n\r\nabc")
            wire.close()
        }
        await server.stop()
        let told = records.take().records
        let record = try #require(told.first)
        #expect(told.count == 1 && record.method == "PUT" && record.target == "/a?b=c")
        #expect(record.host == "shop.test:80" && record.client == "127.0.0.1" && record.status == 200)
        #expect(record.instance == "i\(server.port)" && record.revision == "1")
        #expect(record.attempts == 1 && !record.isTransportError)
        #expect(record.requestBytes > 150 && record.responseBytes > 50)
        let firstByte = try #require(record.firstByteMicroseconds)
        #expect(firstByte <= record.durationMicroseconds)
    }

    @Test func `a request that no endpoint takes has no first byte`() async throws {
        let failed = try await run([("/", "")], ratio: 0, isClosed: true)
        let record = try #require(failed.records.first)
        #expect(record.firstByteMicroseconds == nil && record.requestBytes == 0 && record.attempts > 0)
    }

    @Test func `a trace that begins here has the request's id`() async throws {
        let told = try await run([("/", "")], ratio: 1)
        let (record, seen) = (try #require(told.records.first), try #require(told.seen.first))
        var trace = ByteBuffer()
        trace.writeHex(record.trace.high)
        trace.writeHex(record.trace.low)
        #expect(record.requestID == String(buffer: trace) && record.trace.parent == 0)
        #expect(seen["x-request-id"] == record.requestID)
        #expect(seen["traceparent"]?.hasPrefix("00-\(record.requestID)-") == true)
    }

    @Test func `failed and slow requests are recorded whoever chose them`() async throws {
        let failed = try await run([("/", "")], ratio: 0, isClosed: true)
        #expect(failed.records.map(\.status) == [502] && failed.records.first?.isTransportError == true)
        let slow = try await run([("/", "")], ratio: 0, slow: .zero)
        #expect(slow.records.map(\.status) == [200])
    }

    @Test func `of many requests a loop chooses a few in a second, and sends all on`() async throws {
        let told = try await run(Array(repeating: ("/", ""), count: 50), ratio: 1)
        #expect(told.seen.count == 50)
        // A second may pass while they are sent.
        #expect((RequestRecords.chosenPerSecond..<50).contains(told.records.count))
    }

    @Test func `what finds no room is dropped and counted`() {
        let records = RequestRecords()
        var system = SystemRandomNumberGenerator()
        var ids = IDGenerator(seed: &system)
        let trace = RequestTrace(given: nil, requestID: .drawn(1, 2), ids: &ids)
        let record = AccessRecord(
            service: "a/b", revision: "1", instance: "i", method: "GET", target: "/", host: "h", client: "c",
            status: 200, durationMicroseconds: 1, requestBytes: 1, responseBytes: 1, attempts: 1, requestID: "r",
            isTransportError: false, trace: trace, endedAt: 0)
        records.keep(Array(repeating: record, count: RequestRecords.limit + 3))
        let taken = records.take()
        #expect(taken.records.count == RequestRecords.limit && taken.dropped == 3)
        #expect(records.take().dropped == 0)
    }
}

private final class Heard: Sendable {
    private let messages = Mutex<[HTTPMessage]>([])
    func add(_ message: HTTPMessage) { messages.withLock { $0.append(message) } }
    var all: [HTTPMessage] { messages.withLock { $0 } }
}
