import Foundation
import NIOCore
import NIOPosix
import NIOSSL

/// What came of asking for a WebSocket.
package struct WebSocketAnswer: Sendable {
    /// 101 when it was opened; else why not.
    package var status: Int
    /// What the server sent, in order, each whole.
    package var messages: [[UInt8]] = []
}

extension OutboundClient {
    /// Opens a WebSocket (RFC 6455), says nothing, and listens until the server closes it.
    ///
    /// - Parameters:
    ///   - request: A GET; its body is not sent.
    ///   - protocols: Subprotocols that we speak, the best first.
    ///   - deadline: How long all of it may take.
    ///   - limit: Bytes of all messages together.
    /// - Returns: What was heard; of a server that refused, its status.
    /// - Throws: Why there is no whole answer.
    package func listen(
        to request: HTTPRequest, protocols: [String], deadline: Duration, limit: Int = 1 << 20
    ) async throws(OutboundError) -> WebSocketAnswer {
        let target = "GET \(request.publicURL)"
        let url = try Exchange.checkedURL(request.url, configuration)
        guard let host = url.hostWithoutBrackets, let scheme = url.scheme?.lowercased(),
            ["http", "https"].contains(scheme)
        else { throw OutboundError(.badURL, "\"\(request.publicURL)\" names no host") }
        let started = ContinuousClock.now
        do {
            let port = url.port ?? (scheme == "https" ? 443 : 80)
            let promise = MultiThreadedEventLoopGroup.singleton.any().makePromise(of: WebSocketAnswer.self)
            let channel: any Channel
            do {
                channel = try await connect(
                    host: host, port: port, isTLS: scheme == "https", atMost: deadline, limit, promise)
            } catch {
                promise.fail(error)
                throw error
            }
            let clock = channel.eventLoop.scheduleTask(in: TimeAmount(deadline)) { channel.close(promise: nil) }
            defer {
                clock.cancel()
                channel.close(promise: nil)
            }
            return try await withTaskCancellationHandler {
                try await channel.writeAndFlush(ByteBuffer(bytes: Self.opening(request, url, protocols)))
                return try await promise.futureResult.get()
            } onCancel: {
                channel.close(promise: nil)
            }
        } catch {
            if Task.isCancelled { throw OutboundError(.cancelled, "\(target): the request was cancelled") }
            if started.duration(to: .now) >= deadline { throw OutboundError(.timedOut, "\(target): no end in time") }
            throw OutboundError(error, target: target)
        }
    }

    private func connect(
        host: String, port: Int, isTLS: Bool, atMost: Duration, _ limit: Int,
        _ promise: EventLoopPromise<WebSocketAnswer>
    ) async throws -> any Channel {
        let context = isTLS ? try NIOSSLContext(configuration: configuration.tls?.configuration ?? .clientDefault) : nil
        return try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connectTimeout(TimeAmount(min(configuration.connectTimeout, atMost)))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let context {
                        // An address is no name to ask for; its certificate names it all the same (RFC 6066 §3).
                        let isAddress = (try? SocketAddress(ipAddress: host, port: port)) != nil  // then it is a name
                        let handler = try NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : host)
                        try channel.pipeline.syncOperations.addHandler(handler)
                    }
                    try channel.pipeline.syncOperations.addHandler(WebSocketEar(limit: limit, promise: promise))
                }
            }
            .connect(host: host, port: port).get()
    }

    private static func opening(_ request: HTTPRequest, _ url: URL, _ protocols: [String]) -> [UInt8] {
        let parts = URLComponents(url: url, resolvingAgainstBaseURL: true)
        let path = parts?.percentEncodedPath ?? ""
        let target = (path.isEmpty ? "/" : path) + (parts?.percentEncodedQuery.map { "?\($0)" } ?? "")
        let nonce = Data((0..<16).map { _ in UInt8.random(in: .min ... .max) }).base64EncodedString()
        let authority = (url.host ?? "") + (url.port.map { ":\($0)" } ?? "")
        var lines = [
            "GET \(target) HTTP/1.1", "Host: \(authority)", "Connection: Upgrade", "Upgrade: websocket",
            "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: \(nonce)",
        ]
        if !protocols.isEmpty { lines.append("Sec-WebSocket-Protocol: \(protocols.joined(separator: ", "))") }
        lines += request.headers.map { "\($0.0): \($0.1)" }
        return Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
    }
}

/// Reads the answer to an opening, then frames, until the server closes.
private final class WebSocketEar: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Opcode { static let (more, close, ping, pong): (UInt8, UInt8, UInt8, UInt8) = (0, 8, 9, 10) }
    /// Bytes of the head of an answer.
    private static let headLimit = 64 << 10

    private let limit: Int
    private let promise: EventLoopPromise<WebSocketAnswer>
    private var received = ByteBuffer()
    private var answer: WebSocketAnswer?
    private var message: [UInt8] = []
    private var size = 0

    init(limit: Int, promise: EventLoopPromise<WebSocketAnswer>) { (self.limit, self.promise) = (limit, promise) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        received.writeBuffer(&buffer)
        do {
            if answer == nil { try readHead(context) }
            while answer?.status == 101, try readFrame(context) {}
        } catch {
            promise.fail(error)
            context.close(promise: nil)
        }
    }

    /// What was heard until then is told: servers end a connection without a farewell, too.
    func channelInactive(context: ChannelHandlerContext) {
        if let answer {
            promise.succeed(answer)
        } else {
            promise.fail(OutboundError(.broken, "the connection was closed"))
        }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A server that closes the connection without the farewell of TLS has said what it had to say.
        if case NIOSSLError.uncleanShutdown = error { return context.close(promise: nil) }
        promise.fail(error)
        context.close(promise: nil)
    }

    private func readHead(_ context: ChannelHandlerContext) throws {
        let bytes = received.readableBytesView
        guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else {
            guard bytes.count <= Self.headLimit else {
                throw OutboundError(.tooLarge, "the head of the answer is too large")
            }
            return
        }
        let line = String(decoding: bytes[..<end.lowerBound].prefix { $0 != 13 }, as: UTF8.self)
        let words = line.split(separator: " ")
        guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
            throw OutboundError(.broken, "the answer is not HTTP: \(line.prefix(80))")
        }
        let length = end.upperBound - bytes.startIndex
        received.moveReaderIndex(forwardBy: length)
        let found = WebSocketAnswer(status: status)
        answer = found
        if status != 101 {
            promise.succeed(found)
            context.close(promise: nil)
        }
    }

    /// One frame (RFC 6455 §5.2); false when it is not whole yet.
    private func readFrame(_ context: ChannelHandlerContext) throws -> Bool {
        var reader = received
        guard let first = reader.readInteger(as: UInt8.self), let second = reader.readInteger(as: UInt8.self) else {
            return false
        }
        guard second & 0x80 == 0 else { throw OutboundError(.broken, "a server does not mask its frames") }
        var length = UInt64(second & 0x7F)
        if length == 126 {
            guard let more = reader.readInteger(as: UInt16.self) else { return false }
            length = UInt64(more)
        } else if length == 127 {
            guard let more = reader.readInteger(as: UInt64.self) else { return false }
            length = more
        }
        guard length <= UInt64(limit) else { throw OutboundError(.tooLarge, "a message is larger than \(limit) bytes") }
        guard let payload = reader.readBytes(length: Int(length)) else { return false }
        received = reader
        received.discardReadBytes()
        switch first & 0x0F {
        case Opcode.close:
            send(Opcode.close, Array(payload.prefix(2)), context)
            if let answer { promise.succeed(answer) }
            context.close(promise: nil)
            return false
        case Opcode.ping: send(Opcode.pong, payload, context)
        case Opcode.pong: break
        default:
            size += payload.count
            guard size <= limit else { throw OutboundError(.tooLarge, "more was sent than \(limit) bytes") }
            message += payload
            if first & 0x80 != 0 {
                answer?.messages.append(message)
                message = []
            }
        }
        return true
    }

    /// What a client sends is masked; no secret depends on the mask here.
    private func send(_ opcode: UInt8, _ payload: [UInt8], _ context: ChannelHandlerContext) {
        let mask = (0..<4).map { _ in UInt8.random(in: .min ... .max) }
        var frame = ByteBuffer(bytes: [0x80 | opcode, 0x80 | UInt8(payload.count & 0x7F)] + mask)
        frame.writeBytes(payload.prefix(125).enumerated().map { $0.element ^ mask[$0.offset % 4] })
        context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
    }
}
