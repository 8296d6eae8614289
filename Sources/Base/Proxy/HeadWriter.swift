import NIOCore

/// What of a client's connection goes into the heads sent upstream.
struct ClientIdentity {
    /// The client's IP address as text.
    var address: [UInt8]
    var trustsForwarded: Bool
    var isTLS = false
}

extension RequestHead {
    /// Writes this head as it goes upstream: target without the route's prefix, hop-by-hop headers gone, identity added.
    func writeUpstream(
        _ bytes: UnsafeRawBufferPointer, route: CompiledRoute, client: ClientIdentity, id: RequestID,
        trace: RequestTrace, to out: inout ByteBuffer
    ) {
        out.writeBytes(method.of(bytes))
        out.writeStaticString(" ")
        writeTarget(bytes, route: route, to: &out)
        out.writeStaticString(" HTTP/1.1\r\n")
        if isAbsolute || block.facts.host == nil {
            out.writeStaticString("Host: ")
            out.writeBytes(authority.of(bytes))
            out.writeStaticString("\r\n")
        }
        trace.write(to: &out)
        block.writeLines(bytes, to: &out) { line in
            switch line.kind {
            case .host: !isAbsolute
            case .requestID, .forwardedFor: false
            case .forwardedHost, .forwardedProto, .forwarded: client.trustsForwarded
            case .traceparent: trace.keepsHeader
            case .tracestate: trace.parent != 0
            default: !line.kind.isHopByHop
            }
        }
        if framing == .chunked { out.writeStaticString("Transfer-Encoding: chunked\r\n") }
        if wantsUpgrade { out.writeStaticString("Connection: Upgrade\r\nUpgrade: websocket\r\n") }
        writeForwarded(bytes, client: client, to: &out)
        out.writeStaticString("X-Request-ID: ")
        id.write(to: &out)
        out.writeStaticString("\r\n\r\n")
    }

    /// The id that the request carries from now on.
    func requestID(_ bytes: UnsafeRawBufferPointer, _ ids: inout IDGenerator) -> RequestID {
        if let given = block.facts.requestID?.of(bytes), RequestID.isValid(given) {
            return .given(ByteBuffer(bytes: given))
        }
        return .drawn(ids.next(), ids.next())
    }

    private func writeTarget(_ bytes: UnsafeRawBufferPointer, route: CompiledRoute, to out: inout ByteBuffer) {
        var rest = target.of(bytes)
        if route.stripsPrefix { rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(route.prefix.count)) }
        let isAsterisk = rest.count == 1 && rest[0] == 0x2A
        if rest.first != Ascii.slash, !isAsterisk { out.writeStaticString("/") }
        out.writeBytes(rest)
    }

    private func writeForwarded(_ bytes: UnsafeRawBufferPointer, client: ClientIdentity, to out: inout ByteBuffer) {
        let facts = block.facts
        out.writeStaticString("X-Forwarded-For: ")
        if client.trustsForwarded {
            for earlier in facts.forwardedFor where !earlier.isEmpty {
                out.writeBytes(earlier.of(bytes))
                out.writeStaticString(", ")
            }
        }
        out.writeBytes(client.address)
        out.writeStaticString("\r\n")
        if !client.trustsForwarded || !facts.hasForwardedProto {
            out.writeStaticString(client.isTLS ? "X-Forwarded-Proto: https\r\n" : "X-Forwarded-Proto: http\r\n")
        }
        if !client.trustsForwarded || !facts.hasForwardedHost, !authority.isEmpty {
            out.writeStaticString("X-Forwarded-Host: ")
            out.writeBytes(authority.of(bytes))
            out.writeStaticString("\r\n")
        }
    }
}

/// What a response head gets on its way to the client.
struct ResponseDressing {
    /// `X-Vagus-Revision` with its line end.
    var revisionLine: [UInt8]
    /// A Set-Cookie line, or nothing.
    var cookieLine: [UInt8] = []
    var requestID: RequestID
    /// The body goes out in chunks.
    var isChunked: Bool
    /// The connection ends behind this response.
    var closes: Bool
    /// HTTP/1.0 wants to be told that the connection stays.
    var saysKeepAlive: Bool
    var isUpgrade = false
}

extension ResponseHead {
    /// Writes this head as the client gets it.
    func writeDownstream(_ bytes: UnsafeRawBufferPointer, _ dressing: ResponseDressing, to out: inout ByteBuffer) {
        out.writeStaticString("HTTP/1.1 ")
        out.writeBytes(statusText.of(bytes))
        out.writeStaticString("\r\n")
        // RFC 9110 §8.6: no Content-Length on 1xx and 204.
        let dropsLength = status < 200 || status == 204
        block.writeLines(bytes, to: &out) { line in
            line.kind == .contentLength ? !dropsLength : !line.kind.isHopByHop
        }
        out.writeBytes(dressing.revisionLine)
        if !dressing.cookieLine.isEmpty { out.writeBytes(dressing.cookieLine) }
        if block.facts.requestID == nil {
            out.writeStaticString("X-Request-ID: ")
            dressing.requestID.write(to: &out)
            out.writeStaticString("\r\n")
        }
        if dressing.isChunked { out.writeStaticString("Transfer-Encoding: chunked\r\n") }
        if dressing.isUpgrade {
            out.writeStaticString("Connection: Upgrade\r\nUpgrade: websocket\r\n")
        } else if dressing.closes {
            out.writeStaticString("Connection: close\r\n")
        } else if dressing.saysKeepAlive {
            out.writeStaticString("Connection: keep-alive\r\n")
        }
        out.writeStaticString("\r\n")
    }

    /// Writes an interim response (1xx) as the client gets it.
    func writeInterim(_ bytes: UnsafeRawBufferPointer, to out: inout ByteBuffer) {
        out.writeStaticString("HTTP/1.1 ")
        out.writeBytes(statusText.of(bytes))
        out.writeStaticString("\r\n")
        block.writeLines(bytes, to: &out) { line in
            line.kind != .contentLength && !line.kind.isHopByHop
        }
        out.writeStaticString("\r\n")
    }
}

extension HeaderBlock {
    /// Copies the lines that `keeps` approves, neighbours in one go, as they came.
    func writeLines(_ bytes: UnsafeRawBufferPointer, to out: inout ByteBuffer, keeps: (HeaderLine) -> Bool) {
        guard let first = lines.first else { return }
        var runStart = Int(first.name.start)
        for line in lines where !keeps(line) || isListedInConnection(line, bytes) {
            let start = Int(line.name.start)
            if start > runStart { out.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[runStart..<start])) }
            runStart = Int(line.end)
        }
        let end = lines.last.map { Int($0.end) } ?? runStart
        if end > runStart { out.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[runStart..<end])) }
    }
}
