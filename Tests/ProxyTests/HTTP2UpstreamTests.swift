import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import Synchronization
import Testing

@testable import Proxy

@Suite(.timeLimit(.minutes(2))) struct HTTP2UpstreamTests {
    private static let post = [(":method", "POST"), (":path", "/p"), (":scheme", "http"), (":authority", "test")]

    private static func table(_ ports: [Int], timeout: Int = 10_000) -> RouteTable {
        var table = ProxyTests.table([(1, ports)], timeout: timeout)
        table.routes[0].http2 = true
        return table
    }

    @Test func `trailers go through in both directions, and the stream is told what a call needs`() async throws {
        let server = try await StreamServer { stream in
            let trailers = stream.trailers.first(name: "x-sum") ?? "none"
            let seen = "\(stream.headers.first(name: ":path") ?? "")|\(stream.headers.first(name: "te") ?? "")"
            stream.answer(
                [(":status", "200"), ("content-type", "application/grpc")], "\(seen)|\(stream.text)|\(trailers)")
            stream.end([("grpc-status", "0"), ("x-last", "yes")])
        }
        try await withProxy(Self.table([server.port])) { lab in
            let wire = try await HTTP2Wire.connect(to: lab.port)
            let answer = try await wire.ask(Self.post, body: ["abc", "def"], trailers: [("x-sum", "6")])
            #expect(answer.status == "200" && answer.text == "/p|trailers|abcdef|6")
            #expect(answer.trailers.first(name: "grpc-status") == "0" && answer.trailers.first(name: "x-last") == "yes")
            // Whoever speaks HTTP/1.1 is served too, without trailers.
            let plain = try await lab.connect()
            let reply = try await plain.get("/q")
            #expect(reply.status == 200 && reply.text == "/q|trailers||none")
            plain.close()
            try await wire.channel.close().get()
        }
        try await server.stop()
    }

    @Test(arguments: [
        ("0", 0, 0), ("1", 0, 1), ("2", 1, 0), ("3", 0, 1), ("4", 1, 0), ("5", 0, 1), ("8", 0, 1), ("12", 1, 0),
        ("13", 1, 0), ("14", 1, 0), ("15", 1, 0), ("16", 0, 1), ("77", 1, 0), ("x", 1, 0), (nil, 1, 0),
    ]) func `a call counts as what it ends with`(code: String?, failures: Int, refusals: Int) async throws {
        let server = try await StreamServer { stream in
            stream.answer([(":status", "200"), ("content-type", "application/grpc+proto")], "x")
            stream.end(code.map { [("grpc-status", $0)] } ?? [("x-other", "1")])
        }
        try await withProxy(Self.table([server.port])) { lab in
            let wire = try await HTTP2Wire.connect(to: lab.port)
            #expect(try await wire.ask(Self.post, body: ["a"]).status == "200")
            #expect(lab.counters().requests == 1)
            #expect(lab.counters().errors_5xx == UInt64(failures) && lab.counters().errors_4xx == UInt64(refusals))
            try await wire.channel.close().get()
        }
        try await server.stop()
    }

    @Test func `no more calls at once than the other side allows, on one connection`() async throws {
        let now = Tally()
        let most = Mutex(0)
        let server = try await StreamServer(streams: 3) { stream in
            now.add()
            most.withLock { $0 = max($0, now.value) }
            stream.loop.scheduleTask(in: .milliseconds(5)) {
                now.add(-1)
                stream.answer([(":status", "200")], "ok")
                stream.end([])
            }
        }
        try await withProxy(
            Self.table([server.port]),
            configure: {
                // A connection that a busy machine makes late is not given up for another one.
                ($0.maxLoops, $0.connectTimeout) = (1, .seconds(60))
            }
        ) { lab in
            let wire = try await HTTP2Wire.connect(to: lab.port)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<40 {
                    group.addTask {
                        let answer = try await wire.get("/")
                        #expect(answer.text == "ok")
                    }
                }
                try await group.waitForAll()
            }
            #expect(lab.counters().requests == 40 && lab.counters().errors == 0)
            try await wire.channel.close().get()
        }
        #expect(most.withLock { $0 } == 3)
        #expect(server.connections.value == 1)
        try await server.stop()
    }

    @Test func `what a copy that says goodbye has not looked at is sent again, whatever it asks`() async throws {
        // The first connection looks at one stream only.
        let server = try await StreamServer { stream in
            if stream.connection == 1, stream.number > 1 {
                stream.refuse()
                return
            }
            stream.answer([(":status", "200")], "\(stream.connection)")
            stream.end([])
            if stream.connection == 1 { stream.sayGoodbye() }
        }
        try await withProxy(Self.table([server.port]), configure: { $0.maxLoops = 1 }) { lab in
            let wire = try await HTTP2Wire.connect(to: lab.port)
            #expect(try await wire.ask(Self.post, body: ["a"]).text == "1")
            for _ in 0..<3 { #expect(try await wire.ask(Self.post, body: ["a"]).text == "2") }
            #expect(lab.counters().errors == 0 && lab.counters().requests == 4)
            try await wire.channel.close().get()
        }
        #expect(server.connections.value == 2)
        try await server.stop()
    }

    @Test func `what comes behind the last one that a goodbye names is sent again, whatever it asks`() async throws {
        let first = Mutex<ServedStream?>(nil)
        let server = try await StreamServer { stream in
            guard stream.connection == 1 else {
                stream.answer([(":status", "200")], "2")
                return stream.end([])
            }
            guard stream.number == 2 else { return first.withLock { $0 = stream } }
            // It has looked at the first one only, and says nothing of the second.
            first.withLock { first in
                first?.sayGoodbye()
                first?.answer([(":status", "200")], "1")
                first?.end([])
            }
        }
        try await withProxy(Self.table([server.port]), configure: { $0.maxLoops = 1 }) { lab in
            let wire = try await HTTP2Wire.connect(to: lab.port)
            async let one = wire.ask(Self.post, body: ["a"])
            while server.streams.value == 0 { await Task.yield() }
            #expect(try await wire.ask(Self.post, body: ["b"]).text == "2")
            #expect(try await one.text == "1")
            #expect(lab.counters().errors == 0 && lab.counters().requests == 2)
            try await wire.channel.close().get()
        }
        #expect(server.connections.value == 2)
        try await server.stop()
    }

    @Test func `a copy may ping as often as it likes`() async throws {
        let server = try await StreamServer { stream in
            for _ in 0..<10 { stream.ping() }
            stream.answer([(":status", "200")], "ok")
            stream.end([])
        }
        try await withProxy(Self.table([server.port]), configure: { $0.maxLoops = 1 }) { lab in
            let wire = try await HTTP2Wire.connect(to: lab.port)
            for _ in 0..<60 { #expect(try await wire.get("/").text == "ok") }
            #expect(lab.counters().errors == 0)
            try await wire.channel.close().get()
        }
        #expect(server.connections.value == 1)
        try await server.stop()
    }

    @Test func `an answer that is none harms no other call on its connection`() async throws {
        let slow = Mutex<ServedStream?>(nil)
        let server = try await StreamServer { stream in
            if stream.headers.first(name: ":path") == "/slow" { return slow.withLock { $0 = stream } }
            stream.answer([(":status", "200"), ("content-length", "3")], "more than three")
            stream.end([])
        }
        try await withProxy(Self.table([server.port]), configure: { $0.maxLoops = 1 }) { lab in
            let wire = try await HTTP2Wire.connect(to: lab.port)
            async let answer = wire.get("/slow")
            while server.streams.value == 0 { await Task.yield() }
            _ = try? await wire.get("/bad")  // cut off, or a 502: what it began with
            let stream = try #require(slow.withLock { $0 })
            stream.loop.execute {
                stream.answer([(":status", "200")], "ok")
                stream.end([])
            }
            #expect(try await answer.text == "ok")
            #expect(lab.counters().errors == 1)
            try await wire.channel.close().get()
        }
        #expect(server.connections.value == 1)
        try await server.stop()
    }

    @Test func `a connection is left before its numbers come to an end`() async throws {
        let server = try await StreamServer { stream in
            stream.answer([(":status", "200")], "ok")
            stream.end([])
        }
        let configure = { @Sendable (configuration: inout ProxyConfiguration) in
            (configuration.maxLoops, configuration.upstreamStreamsEver) = (1, 5)
        }
        try await withProxy(Self.table([server.port]), configure: configure) { lab in
            let wire = try await HTTP2Wire.connect(to: lab.port)
            for _ in 0..<20 { #expect(try await wire.get("/").text == "ok") }
            #expect(lab.counters().errors == 0)
            try await wire.channel.close().get()
        }
        #expect(server.connections.value == 4)
        try await server.stop()
    }

    @Test func `a refused stream is tried once more, and no oftener`() async throws {
        let server = try await StreamServer { $0.refuse() }
        try await withProxy(Self.table([server.port])) { lab in
            let wire = try await HTTP2Wire.connect(to: lab.port)
            #expect(try await wire.ask(Self.post, body: ["a"]).status == "502")
            #expect(server.streams.value == 2 && lab.counters().errors_transport == 1)
            try await wire.channel.close().get()
        }
        try await server.stop()
    }

    @Test func `a stream that is reset in the middle is no whole answer`() async throws {
        let server = try await StreamServer { stream in
            stream.answer([(":status", "200")], "half")
            stream.loop.scheduleTask(in: .milliseconds(20)) { stream.reset(.internalError) }
        }
        try await withProxy(Self.table([server.port])) { lab in
            let wire = try await HTTP2Wire.connect(to: lab.port)
            await #expect(throws: (any Error).self) { _ = try await wire.get("/") }
            #expect(lab.counters().errors_transport == 1)
            try await wire.channel.close().get()
        }
        try await server.stop()
    }

    @Test func `a copy that does not speak HTTP/2 is told as unreachable`() async throws {
        let server = try await TestServer.named("old")
        try await withProxy(Self.table([server.port])) { lab in
            let plain = try await lab.connect()
            #expect([502, 503, 504].contains(try await plain.get("/").status))
            plain.close()
        }
        await server.stop()
    }

    @Test func `trailers that say how a message is framed are left out`() {
        let trailers: HPACKHeaders = [
            "grpc-status": "0", "content-length": "5", "transfer-encoding": "chunked", "host": "x",
        ]
        #expect(String(buffer: BodyReader.end(trailers)) == "0\r\ngrpc-status: 0\r\n\r\n")
        var reader = BodyReader(.chunked, relay: .decoded, keepsTrailers: true)
        var input = ByteBuffer(string: "1\r\na\r\n0\r\nX-One:  1 \r\nContent-Length: 9\r\nbroken\r\n\r\nrest")
        let piece = try? reader.take(from: &input)
        #expect(piece.map { String(buffer: $0) } == "a" && reader.isComplete && String(buffer: input) == "rest")
        #expect(reader.trailers.map(\.0) == ["x-one"] && reader.trailers.map(\.1) == ["1"])
    }
}

/// A server that speaks HTTP/2 from the first byte on, and answers each stream by a function once it is whole.
final class StreamServer: Sendable {
    let port: Int
    let connections: Tally
    let streams: Tally
    private let channel: any Channel

    init(streams limit: Int = 100, _ serve: @escaping @Sendable (ServedStream) -> Void) async throws {
        let (connections, streams) = (Tally(), Tally())
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                connections.add()
                let connection = connections.value
                return channel.eventLoop.makeCompletedFuture {
                    var configuration = NIOHTTP2Handler.ConnectionConfiguration()
                    configuration.initialSettings = [HTTP2Setting(parameter: .maxConcurrentStreams, value: limit)]
                    // It may answer what is no answer, and is answered each ping.
                    configuration.contentLengthValidation = .disabled
                    configuration.controlFrameRateLimit.maximumCount = 100_000
                    let mine = Tally()
                    _ = try channel.pipeline.syncOperations.configureHTTP2Pipeline(
                        mode: .server, connectionConfiguration: configuration, streamConfiguration: .init()
                    ) { stream in
                        streams.add()
                        mine.add()
                        let handler = ServedStream(connection: connection, number: mine.value, parent: channel, serve)
                        return stream.eventLoop.makeCompletedFuture {
                            try stream.pipeline.syncOperations.addHandler(handler)
                        }
                    }
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        port = channel.localAddress?.port ?? 0
        (self.connections, self.streams) = (connections, streams)
    }

    func stop() async throws { try await channel.close().get() }
}

/// One stream of a `StreamServer`; used on its loop.
final class ServedStream: ChannelInboundHandler, @unchecked Sendable {  // on one loop only
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    let connection: Int
    let number: Int
    private(set) var headers = HPACKHeaders()
    private(set) var trailers = HPACKHeaders()
    private(set) var text = ""
    private let parent: any Channel
    private let serve: @Sendable (ServedStream) -> Void
    private var context: ChannelHandlerContext?

    init(
        connection: Int, number: Int, parent: any Channel, _ serve: @escaping @Sendable (ServedStream) -> Void
    ) {
        (self.connection, self.number, self.parent, self.serve) = (connection, number, parent, serve)
    }

    var loop: any EventLoop { parent.eventLoop }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .headers(let frame):
            if headers.isEmpty { headers = frame.headers } else { trailers = frame.headers }
            if frame.endStream { serve(self) }
        case .data(let frame):
            if case .byteBuffer(let piece) = frame.data { text += String(buffer: piece) }
            if frame.endStream { serve(self) }
        default: break
        }
    }

    func answer(_ headers: [(String, String)], _ body: String) {
        send(.headers(.init(headers: HPACKHeaders(headers))))
        send(.data(.init(data: .byteBuffer(ByteBuffer(string: body)))))
    }

    /// Ends it with trailers, or without any.
    func end(_ trailers: [(String, String)]) {
        if trailers.isEmpty {
            send(.data(.init(data: .byteBuffer(ByteBuffer()), endStream: true)))
        } else {
            send(.headers(.init(headers: HPACKHeaders(trailers), endStream: true)))
        }
    }

    func refuse() { reset(.refusedStream) }
    func reset(_ code: HTTP2ErrorCode) { send(.rstStream(code)) }

    /// No stream after this one.
    func sayGoodbye() {
        let last = HTTP2StreamID(number * 2 - 1)
        send(onRoot: .goAway(lastStreamID: last, errorCode: .noError, opaqueData: nil))
    }

    func ping() { send(onRoot: .ping(HTTP2PingData(withInteger: 7), ack: false)) }

    private func send(onRoot payload: HTTP2Frame.FramePayload) {
        parent.writeAndFlush(HTTP2Frame(streamID: .rootStream, payload: payload), promise: nil)
    }

    private func send(_ frame: HTTP2Frame.FramePayload) { context?.writeAndFlush(wrapOutboundOut(frame), promise: nil) }
}
