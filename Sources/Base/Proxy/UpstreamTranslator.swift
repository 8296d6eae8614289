import NIOCore
import NIOHPACK
import NIOHTTP2

/// Makes of one HTTP/2 stream to an endpoint what `UpstreamConnection` writes and reads: one HTTP/1.1 request and its
/// response. The mirror image of `HTTP2Translator`.
///
/// Between the two, trailers stand behind the last chunk of a body, so that those of gRPC get through whole.
final class UpstreamTranslator: ChannelDuplexHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = HTTP2Frame.FramePayload

    /// The other side has not looked at the request, so it may be sent again whatever it asks (RFC 9113 §8.7).
    private(set) var isRefused = false
    /// The connection that its stream is of.
    var connection: HTTP2Upstream?
    private var outbound = ByteBuffer()
    private var head = RequestHead()
    private var body: BodyReader?
    private var isHEAD = false
    private var hasHead = false
    private var sendsChunks = false
    private var hasWholeResponse = false
    private var isGRPC = false
    private var code: Int?

    /// The HTTP status that a gRPC answer amounts to; nil for others.
    var grpcAnswer: Int? {
        isGRPC && hasWholeResponse ? GRPCStatus.httpStatus(of: code ?? GRPCStatus.unknown) : nil
    }

    // MARK: - Requests

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        var buffer = unwrapOutboundIn(data)
        outbound.append(&buffer)
        do throws(HTTPFault) {
            try relay(context)
            promise?.succeed()
        } catch {
            promise?.fail(error)
            context.fireErrorCaught(error)
        }
    }

    private func relay(_ context: ChannelHandlerContext) throws(HTTPFault) {
        if body == nil {
            let result = outbound.withUnsafeReadableBytes { bytes in
                Result { () throws(HTTPFault) in try head.scan(bytes) }
            }
            guard try result.get() else { return }
            let headers = outbound.withUnsafeReadableBytes { translate($0) }
            outbound.moveReaderIndex(forwardBy: head.length)
            isHEAD = head.isHEAD
            body = BodyReader(head.framing, relay: .decoded, keepsTrailers: true)
            let ends = head.framing == .none
            context.write(wrapOutboundOut(.headers(.init(headers: headers, endStream: ends))), promise: nil)
        }
        for frame in try body?.frames(from: &outbound) ?? [] { context.write(wrapOutboundOut(frame), promise: nil) }
    }

    private func translate(_ bytes: UnsafeRawBufferPointer) -> HPACKHeaders {
        let text = { (range: ByteRange) in String(decoding: range.of(bytes), as: UTF8.self) }
        var headers = HPACKHeaders()
        headers.add(name: ":method", value: text(head.method))
        headers.add(name: ":scheme", value: "http")
        headers.add(name: ":path", value: text(head.target))
        headers.add(name: ":authority", value: text(head.authority))
        for line in head.block.lines where line.kind != .host && !line.kind.isForbiddenInHTTP2 && line.kind != .te {
            headers.add(name: text(line.name).lowercased(), value: text(line.value))
        }
        // gRPC servers insist on it, and we do take them.
        headers.add(name: "te", value: "trailers")
        return headers
    }

    // MARK: - Responses

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasWholeResponse else { return }
        switch unwrapInboundIn(data) {
        case .headers(let frame) where !hasHead:
            guard let head = translate(frame.headers, ends: frame.endStream) else {
                context.fireErrorCaught(HTTPFault.bad("a header of the response is not valid"))
                return
            }
            hasWholeResponse = hasHead && frame.endStream
            context.fireChannelRead(wrapInboundOut(head))
        case .headers(let frame):
            note(frame.headers)
            hasWholeResponse = frame.endStream
            if frame.endStream, sendsChunks { context.fireChannelRead(wrapInboundOut(BodyReader.end(frame.headers))) }
        case .data(let frame):
            hasWholeResponse = frame.endStream
            guard case .byteBuffer(var piece) = frame.data else { return }
            if !sendsChunks {
                if piece.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(piece)) }
                return
            }
            var out = piece.readableBytes > 0 ? BodyReader.chunk(&piece) : ByteBuffer()
            if frame.endStream { out.writeImmutableBuffer(BodyReader.end(HPACKHeaders())) }
            if out.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(out)) }
        default: break
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let closed = error as? NIOHTTP2Errors.StreamClosed {
            // Above the last one that a goodbye names none was looked at (RFC 9113 §6.8).
            let isBeyond = connection?.lastTaken.map { closed.streamID > $0 } ?? false
            isRefused = isRefused || closed.errorCode == .refusedStream || isBeyond
        }
        context.fireErrorCaught(error)
    }

    /// The head in HTTP/1.1; nil when it cannot be said there.
    private func translate(_ headers: HPACKHeaders, ends: Bool) -> ByteBuffer? {
        guard let text = headers.first(name: ":status"), let status = Int(text), (100...999).contains(status) else {
            return nil
        }
        var (hasLength, out) = (false, ByteBuffer())
        out.writeString("HTTP/1.1 \(status) \r\n")
        for (name, value, _) in headers where name.utf8.first != Ascii.colon {
            guard !name.isEmpty, name.utf8.allSatisfy(Bytes.isToken), value.utf8.allSatisfy(Bytes.isFieldValue) else {
                return nil
            }
            switch name {
            case "connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection": continue
            case "content-length": hasLength = true
            default: break
            }
            out.writeString("\(name): \(value)\r\n")
        }
        if status >= 200 {
            hasHead = true
            isGRPC = headers.first(name: "content-type")?.hasPrefix("application/grpc") ?? false
            note(headers)
            let hasBody = !isHEAD && status != 204 && status != 304
            sendsChunks = hasBody && !ends && !hasLength
            if sendsChunks { out.writeStaticString("Transfer-Encoding: chunked\r\n") }
            if hasBody, ends, !hasLength { out.writeStaticString("Content-Length: 0\r\n") }
        }
        out.writeStaticString("\r\n")
        return out
    }

    private func note(_ headers: HPACKHeaders) {
        if let status = headers.first(name: "grpc-status") { code = Int(status) ?? GRPCStatus.unknown }
    }
}

/// The status of a gRPC call, which comes behind its body.
enum GRPCStatus {
    static let unknown = 2

    /// What `google.rpc.Code` says a code amounts to in HTTP; a code that it does not know is one of a broken server.
    static func httpStatus(of code: Int) -> Int {
        switch code {
        case 0: 200
        case 1: 499
        case 3, 9, 11: 400
        case 4: 504
        case 5: 404
        case 6, 10: 409
        case 7: 403
        case 8: 429
        case 12: 501
        case 14: 503
        case 16: 401
        default: 500
        }
    }
}

extension HeaderKind {
    /// RFC 9113 §8.2.2.
    var isForbiddenInHTTP2: Bool {
        switch self {
        case .connection, .transferEncoding, .upgrade, .keepAlive, .proxyConnection: true
        default: false
        }
    }

    /// Says how a message is framed, where it goes or who sends it: never in a trailer (RFC 9110 §6.5.1).
    var isForbiddenInTrailers: Bool { self != .other && self != .requestID }
}

extension BodyReader {
    /// What has come of a body, for HTTP/2; the last frame ends the stream. Made for `Relay.decoded`.
    mutating func frames(from input: inout ByteBuffer) throws(HTTPFault) -> [HTTP2Frame.FramePayload] {
        guard !isComplete else { return [] }
        var frames: [HTTP2Frame.FramePayload] = []
        let piece = try take(from: &input)
        let trailers = trailers
        let endsWithData = isComplete && trailers.isEmpty
        if let piece = piece ?? (endsWithData ? ByteBuffer() : nil) {
            frames.append(.data(.init(data: .byteBuffer(piece), endStream: endsWithData)))
        }
        if !trailers.isEmpty { frames.append(.headers(.init(headers: HPACKHeaders(trailers), endStream: true))) }
        return frames
    }

    /// The end of a chunked body, with those trailers that may stand there.
    static func end(_ trailers: HPACKHeaders) -> ByteBuffer {
        var out = ByteBuffer(staticString: "0\r\n")
        for (name, value, _) in trailers where isTrailer(name) && value.utf8.allSatisfy(Bytes.isFieldValue) {
            out.writeString("\(name): \(value)\r\n")
        }
        out.writeStaticString("\r\n")
        return out
    }

    static func isTrailer(_ name: String) -> Bool {
        var name = name
        return name.withUTF8 { bytes in
            !bytes.isEmpty && bytes.allSatisfy(Bytes.isToken)
                && !HeaderKind.of(UnsafeRawBufferPointer(bytes)).isForbiddenInTrailers
        }
    }
}
