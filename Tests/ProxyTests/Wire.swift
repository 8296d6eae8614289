import NIOCore
import NIOPosix
import NIOSSL

/// What goes wrong in a test's own plumbing.
struct WireError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// One end of a plain TCP connection, read and written as text and bytes by a single task.
final class Wire {
    let channel: any Channel
    private let stream: AsyncStream<ByteBuffer>
    private var iterator: AsyncStream<ByteBuffer>.Iterator
    private var buffer = ByteBuffer()

    init(_ channel: any Channel, _ stream: AsyncStream<ByteBuffer>) {
        self.channel = channel
        self.stream = stream
        iterator = stream.makeAsyncIterator()
    }

    /// Connects to a port on the loopback.
    static func connect(
        to port: Int, autoRead: Bool = true, tls: NIOSSLContext? = nil, host: String = "localhost"
    ) async throws -> Wire {
        let (stream, continuation) = AsyncStream.makeStream(of: ByteBuffer.self)
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.autoRead, value: autoRead)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let tls {
                        try pipeline.addHandler(NIOSSLClientHandler(context: tls, serverHostname: host))
                    }
                    try pipeline.addHandler(Mailbox(continuation))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        return Wire(channel, stream)
    }

    func send(_ text: String) async throws {
        try await channel.writeAndFlush(ByteBuffer(string: text)).get()
    }

    func send(_ bytes: ByteBuffer) async throws {
        try await channel.writeAndFlush(bytes).get()
    }

    /// Says that nothing more comes.
    func closeOutput() async throws {
        try await channel.close(mode: .output).get()
    }

    func close() {
        channel.close(promise: nil)
    }

    /// Waits for more bytes; false at the end.
    private func fill() async -> Bool {
        guard var next = await iterator.next(isolation: #isolation) else { return false }
        buffer.writeBuffer(&next)
        return true
    }

    /// Everything up to and with a marker; nil when the connection ends before its first byte.
    func read(until marker: String) async throws -> String? {
        let wanted = Array(marker.utf8)
        var from = 0
        while true {
            let view = buffer.readableBytesView
            var index = view.startIndex + from
            while index + wanted.count <= view.endIndex {
                if view[index..<index + wanted.count].elementsEqual(wanted) {
                    return buffer.readString(length: index - view.startIndex + wanted.count)
                }
                index += 1
            }
            from = max(0, view.count - wanted.count)
            if await !fill() {
                guard buffer.readableBytes == 0 else { throw WireError("ended amid \(String(buffer: buffer))") }
                return nil
            }
        }
    }

    func read(_ count: Int) async throws -> ByteBuffer {
        while buffer.readableBytes < count {
            guard await fill() else { throw WireError("ended \(count - buffer.readableBytes) bytes early") }
        }
        return buffer.readSlice(length: count) ?? ByteBuffer()
    }

    /// Everything until the other side ends.
    func rest() async -> ByteBuffer {
        while await fill() {}
        defer { buffer = ByteBuffer() }
        return buffer
    }

    /// Whether the other side ends without another byte.
    func isAtEnd() async -> Bool {
        guard buffer.readableBytes == 0 else { return false }
        return await !fill()
    }

    /// One whole message with its body; nil at the end of the connection.
    func message(isReplyToHEAD: Bool = false) async throws -> HTTPMessage? {
        guard let head = try await read(until: "\r\n\r\n") else { return nil }
        var message = HTTPMessage(head)
        if isReplyToHEAD || [204, 304].contains(message.status) || message.status / 100 == 1 { return message }
        if message["transfer-encoding"] == "chunked" {
            message.wasChunked = true
            while let line = try await read(until: "\r\n") {
                guard let size = Int(line.dropLast(), radix: 16) else { throw WireError("bad chunk \(line)") }
                var chunk = try await read(size + 2)
                guard size > 0 else { break }
                chunk.moveWriterIndex(to: chunk.writerIndex - 2)
                message.body.writeBuffer(&chunk)
            }
        } else if let length = message["content-length"].flatMap({ Int($0) }) {
            message.body = try await read(length)
        } else if message.isResponse {
            message.body = await rest()
        }
        return message
    }

    /// Sends a request and reads its response.
    func ask(_ request: String) async throws -> HTTPMessage {
        try await send(request)
        guard let response = try await message(isReplyToHEAD: request.hasPrefix("HEAD ")) else {
            throw WireError("no response")
        }
        return response
    }

    /// Sends a request; true when the connection was gone by then.
    func isClosedBeforeAnswering() async throws -> Bool {
        do {
            try await send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            return try await message() == nil
        } catch is ChannelError {
            return true
        }
    }

    func get(_ path: String, _ headers: String = "") async throws -> HTTPMessage {
        try await ask("GET \(path) HTTP/1.1\r\nHost: test\r\n\(headers)\r\n")
    }
}

/// A request or a response, read by the test's own simple means.
struct HTTPMessage {
    var startLine: String
    var headers: [(name: String, value: String)]
    var body = ByteBuffer()
    var wasChunked = false

    init(_ head: String) {
        let lines = head.split(separator: "\r\n", omittingEmptySubsequences: true).map(String.init)
        startLine = lines.first ?? ""
        headers = lines.dropFirst().map { line in
            let parts = line.split(separator: ":", maxSplits: 1).map(String.init)
            return (parts[0].lowercased(), parts.count > 1 ? String(parts[1].drop { $0 == " " }) : "")
        }
    }

    subscript(name: String) -> String? { headers.first { $0.name == name }?.value }
    func all(_ name: String) -> [String] { headers.filter { $0.name == name }.map(\.value) }
    var isResponse: Bool { startLine.hasPrefix("HTTP/") }
    var status: Int { isResponse ? Int(startLine.split(separator: " ")[1]) ?? 0 : 0 }
    var method: String { String(startLine.split(separator: " ")[0]) }
    var target: String { String(startLine.split(separator: " ")[1]) }
    var text: String { String(buffer: body) }
}

/// Hands what a channel reads to a stream, and ends it with the input.
private final class Mailbox: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    private let continuation: AsyncStream<ByteBuffer>.Continuation

    init(_ continuation: AsyncStream<ByteBuffer>.Continuation) { self.continuation = continuation }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { continuation.yield(unwrapInboundIn(data)) }
    func channelInactive(context: ChannelHandlerContext) { continuation.finish() }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { continuation.finish() }
    }
}

/// A TCP server on a free loopback port; each connection is served by its own task until the server is stopped.
final class TestServer: Sendable {
    let port: Int
    private let channel: any Channel
    private let connections: Task<Void, Never>

    init(_ serve: @escaping @Sendable (sending Wire) async throws -> Void) async throws {
        let (accepted, accept) = AsyncStream.makeStream(of: (any Channel, AsyncStream<ByteBuffer>).self)
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                let (stream, continuation) = AsyncStream.makeStream(of: ByteBuffer.self)
                return channel.pipeline.addHandler(Mailbox(continuation)).map { accept.yield((channel, stream)) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        port = channel.localAddress?.port ?? 0
        connections = Task {
            await withDiscardingTaskGroup { group in
                for await (channel, stream) in accepted {
                    group.addTask {
                        await withTaskCancellationHandler {
                            // A connection that breaks is part of many tests; what matters is seen by the client.
                            try? await serve(Wire(channel, stream))  // see above
                            channel.close(promise: nil)
                        } onCancel: {
                            channel.close(promise: nil)
                        }
                    }
                }
            }
        }
    }

    /// Stops listening and closes all connections.
    func stop() async {
        try? await channel.close().get()  // may be closed already
        connections.cancel()
        await connections.value
    }

    /// Answers each request by a function of it, keeping connections.
    static func http(_ answer: @escaping @Sendable (HTTPMessage) -> String) async throws -> TestServer {
        try await TestServer { wire in
            while let request = try await wire.message() { try await wire.send(answer(request)) }
        }
    }

    /// Answers each request with 200 and its own name.
    static func named(_ name: String) async throws -> TestServer {
        try await http { _ in "HTTP/1.1 200 OK\r\nContent-Length: \(name.utf8.count)\r\n\r\n\(name)" }
    }
}
