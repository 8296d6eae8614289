import NIOCore
import NIOHPACK
import NIOHTTP2

/// Makes of one HTTP/2 stream what `ClientConnection` reads and writes: one HTTP/1.1 request and its response.
///
/// So retries, limits, mirrors and counters are the same for both versions, and heads pass the same strict reader. NIO
/// checks the order of frames, the pseudo-headers and the length of bodies (RFC 9113 §8); what could end a line early in
/// HTTP/1.1 is refused here.
final class HTTP2Translator: ChannelDuplexHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = HTTP2Frame.FramePayload

    private var hasHead = false
    private var isHEAD = false
    private var sendsChunks = false
    private var hasWholeRequest = false
    private var outbound = ByteBuffer()
    private var head = ResponseHead()
    /// Set from the final response head on.
    private var body: BodyReader?
    private var hasWholeResponse = false
    private var lastWrite: EventLoopFuture<Void>?

    // MARK: - Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .headers(let frame) where !hasHead:
            hasHead = true
            guard let request = translate(frame.headers, hasBody: !frame.endStream) else {
                refuse(context)
                return
            }
            hasWholeRequest = frame.endStream
            context.fireChannelRead(wrapInboundOut(request))
        case .headers(let trailers):
            if trailers.endStream { endRequest(context, trailers.headers) }
        case .data(let frame):
            if case .byteBuffer(var piece) = frame.data, piece.readableBytes > 0 {
                context.fireChannelRead(wrapInboundOut(sendsChunks ? BodyReader.chunk(&piece) : piece))
            }
            if frame.endStream { endRequest(context, HPACKHeaders()) }
        default: break
        }
    }

    private func endRequest(_ context: ChannelHandlerContext, _ trailers: HPACKHeaders) {
        guard !hasWholeRequest else { return }
        hasWholeRequest = true
        if sendsChunks { context.fireChannelRead(wrapInboundOut(BodyReader.end(trailers))) }
    }

    /// The head in HTTP/1.1; nil when it cannot be said there.
    private func translate(_ headers: HPACKHeaders, hasBody: Bool) -> ByteBuffer? {
        var (method, path, authority, host) = ("", "", "", "")
        var cookies: [String] = []
        var hasLength = false
        var lines = ByteBuffer()
        for (name, value, _) in headers {
            guard value.utf8.allSatisfy(Bytes.isFieldValue) else { return nil }
            switch name {
            case ":method": method = value
            case ":path": path = value
            case ":authority": authority = value
            case ":scheme": break
            case "host": host = value
            // Browsers send a line for each cookie (RFC 9113 §8.2.3).
            case "cookie": cookies.append(value)
            case "connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection": return nil
            default:
                guard !name.isEmpty, name.utf8.allSatisfy(Bytes.isToken) else { return nil }
                if name == "content-length" { hasLength = true }
                lines.writeString("\(name): \(value)\r\n")
            }
        }
        guard !method.isEmpty, method.utf8.allSatisfy(Bytes.isToken), path.utf8.allSatisfy(Bytes.isTarget),
            path.hasPrefix("/") || path == "*"
        else { return nil }
        isHEAD = method == "HEAD"
        sendsChunks = hasBody && !hasLength
        var out = ByteBuffer()
        out.reserveCapacity(lines.readableBytes + path.utf8.count + 128)
        out.writeString("\(method) \(path) HTTP/1.1\r\nHost: \(authority.isEmpty ? host : authority)\r\n")
        if !cookies.isEmpty { out.writeString("Cookie: \(cookies.joined(separator: "; "))\r\n") }
        if sendsChunks { out.writeStaticString("Transfer-Encoding: chunked\r\n") }
        out.writeBuffer(&lines)
        out.writeStaticString("\r\n")
        return out
    }

    private func refuse(_ context: ChannelHandlerContext) {
        hasWholeResponse = true
        let frame = HTTP2Frame.FramePayload.Headers(headers: HPACKHeaders([(":status", "400")]), endStream: true)
        context.writeAndFlush(wrapOutboundOut(.headers(frame)), promise: nil)
        if !hasWholeRequest { context.writeAndFlush(wrapOutboundOut(.rstStream(.noError)), promise: nil) }
    }

    // MARK: - Responses

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        var buffer = unwrapOutboundIn(data)
        if !hasWholeResponse, buffer.readableBytes > 0 {
            outbound.append(&buffer)
            do throws(HTTPFault) {
                try relay(context)
            } catch {
                context.close(promise: nil)
            }
        }
        guard let promise else { return }
        // An empty write waits for what was written before it.
        if let lastWrite { lastWrite.cascade(to: promise) } else { promise.succeed() }
    }

    /// The sending side ends: the stream is over, whatever of the request is still to come.
    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard mode == .output else {
            context.close(mode: mode, promise: promise)
            return
        }
        if !hasWholeResponse {
            context.close(promise: promise)
        } else {
            if !hasWholeRequest { context.writeAndFlush(wrapOutboundOut(.rstStream(.noError)), promise: nil) }
            promise?.succeed()
        }
    }

    private func relay(_ context: ChannelHandlerContext) throws(HTTPFault) {
        while body == nil {
            let result = outbound.withUnsafeReadableBytes { bytes in
                Result { () throws(HTTPFault) in try head.scan(bytes) }
            }
            guard try result.get() else { return }
            let headers = outbound.withUnsafeReadableBytes { translate(head, $0) }
            outbound.moveReaderIndex(forwardBy: head.length)
            var ends = false
            if head.status >= 200 {
                let reader = BodyReader(try head.framing(toHEAD: isHEAD), relay: .decoded, keepsTrailers: true)
                ends = reader.isComplete
                body = reader
            }
            send(.headers(.init(headers: headers, endStream: ends)), ends: ends, context)
        }
        guard !hasWholeResponse, let frames = try body?.frames(from: &outbound) else { return }
        let ends = body?.isComplete ?? false
        for (index, frame) in frames.enumerated() { send(frame, ends: ends && index == frames.count - 1, context) }
    }

    private func send(_ frame: HTTP2Frame.FramePayload, ends: Bool, _ context: ChannelHandlerContext) {
        hasWholeResponse = ends
        let promise = context.eventLoop.makePromise(of: Void.self)
        lastWrite = promise.futureResult
        context.write(wrapOutboundOut(frame), promise: promise)
    }

    private func translate(_ head: ResponseHead, _ bytes: UnsafeRawBufferPointer) -> HPACKHeaders {
        var headers = HPACKHeaders()
        headers.add(name: ":status", value: String(head.status))
        for line in head.block.lines where !line.kind.isForbiddenInHTTP2 {
            headers.add(
                name: String(decoding: line.name.of(bytes), as: UTF8.self).lowercased(),
                value: String(decoding: line.value.of(bytes), as: UTF8.self))
        }
        return headers
    }
}

/// Looks after a connection that speaks HTTP/2: closes it when nobody uses it, and says goodbye when the proxy stops.
final class HTTP2Guard: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    private(set) var deadline = NIODeadline.distantFuture
    private let worker: Worker
    private var context: ChannelHandlerContext?
    private var streams = 0
    private var isEnding = false

    init(worker: Worker) { self.worker = worker }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        worker.watch(self)
        note()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        worker.unwatch(self)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func streamOpened() {
        streams += 1
        note()
    }

    func streamClosed() {
        streams -= 1
        note()
        if isEnding, streams == 0 { context?.close(promise: nil) }
    }

    /// Lets streams under way end and takes no more (RFC 9113 §6.8).
    func drain() {
        guard !isEnding, let context else { return }
        isEnding = true
        let goodbye = HTTP2Frame.FramePayload.goAway(lastStreamID: .maxID, errorCode: .noError, opaqueData: nil)
        context.writeAndFlush(
            wrapOutboundOut(HTTP2Frame(streamID: .rootStream, payload: goodbye)), promise: nil)
        if streams == 0 { context.close(promise: nil) }
    }

    private func note() {
        deadline = streams > 0 ? .distantFuture : worker.now + TimeAmount(worker.configuration.idleTimeout)
    }
}
