/// Why a head or a body is not let through, with the status that says so to a client.
struct HTTPFault: Error, Equatable {
    var status: Int
    var message: String

    static func bad(_ message: String) -> HTTPFault { HTTPFault(status: 400, message: message) }
}

/// One header line by the places of its parts.
struct HeaderLine {
    var kind: HeaderKind
    var name: ByteRange
    /// Without the blanks around it.
    var value: ByteRange
    /// Just behind the line end; the line begins where its name does.
    var end: UInt32
}

/// What header lines say beyond their bytes.
struct HeaderFacts {
    fileprivate(set) var contentLength: Int?
    fileprivate(set) var isChunked = false
    fileprivate(set) var host: ByteRange?
    fileprivate(set) var saysClose = false
    fileprivate(set) var saysKeepAlive = false
    fileprivate(set) var saysUpgrade = false
    fileprivate(set) var upgradesToWebSocket = false
    fileprivate(set) var expectsContinue = false
    fileprivate(set) var requestID: ByteRange?
    /// Empty when there was more than one.
    fileprivate(set) var traceparent: ByteRange?
    fileprivate(set) var forwardedFor: [ByteRange] = []
    fileprivate(set) var hasForwardedHost = false
    fileprivate(set) var hasForwardedProto = false
    /// Names listed in Connection beyond the usual ones: headers for this hop only.
    fileprivate(set) var connectionNames: [ByteRange] = []
}

/// The header lines of a head, and what they say about framing and the connection.
///
/// Strict where leniency lets two parties read one message differently (request smuggling: RFC 9112 §11.2): every
/// line ends in CRLF, is not folded, and has a token directly before its colon; values hold no control characters.
struct HeaderBlock {
    private(set) var lines: [HeaderLine] = []
    private(set) var facts = HeaderFacts()

    /// Forgets everything but the memory it stands in.
    mutating func reset() {
        facts = HeaderFacts()
        lines.removeAll(keepingCapacity: true)
    }

    /// Reads lines up to the empty one and returns the place behind it; nil when it has not come yet.
    mutating func scan(_ bytes: UnsafeRawBufferPointer, from start: Int) throws(HTTPFault) -> Int? {
        var at = start
        let end = bytes.count
        while at < end {
            let first = bytes[at]
            if first == Ascii.cr {
                guard at + 1 < end else { return nil }
                guard bytes[at + 1] == Ascii.lf else { throw .bad("a carriage return stands alone in the head") }
                return at + 2
            }
            if Bytes.isBlank(first) { throw .bad("a header line is folded") }
            let nameStart = at
            while at < end, Bytes.isToken(bytes[at]) { at += 1 }
            guard at < end else { return nil }
            guard bytes[at] == Ascii.colon, at > nameStart else { throw .bad("a header name is not a token") }
            let name = ByteRange(nameStart, at)
            at += 1
            while at < end, Bytes.isBlank(bytes[at]) { at += 1 }
            let valueStart = at
            while at < end, Bytes.isFieldValue(bytes[at]) { at += 1 }
            guard at < end else { return nil }
            guard bytes[at] == Ascii.cr else { throw .bad("a header value has a control character") }
            guard at + 1 < end else { return nil }
            guard bytes[at + 1] == Ascii.lf else { throw .bad("a carriage return stands alone in the head") }
            var valueEnd = at
            while valueEnd > valueStart, Bytes.isBlank(bytes[valueEnd - 1]) { valueEnd -= 1 }
            at += 2
            guard lines.count < ProxyConfiguration.headerCountLimit else {
                throw HTTPFault(status: 431, message: "more than \(ProxyConfiguration.headerCountLimit) header lines")
            }
            try add(name, ByteRange(valueStart, valueEnd), end: UInt32(truncatingIfNeeded: at), bytes)
        }
        return nil
    }

    private mutating func add(
        _ name: ByteRange, _ value: ByteRange, end: UInt32, _ bytes: UnsafeRawBufferPointer
    ) throws(HTTPFault) {
        let kind = HeaderKind.of(name.of(bytes))
        lines.append(HeaderLine(kind: kind, name: name, value: value, end: end))
        switch kind {
        case .contentLength:
            guard facts.contentLength == nil else { throw .bad("more than one Content-Length") }
            guard let length = Bytes.number(value.of(bytes)) else { throw .bad("Content-Length is not a number") }
            facts.contentLength = length
        case .transferEncoding:
            // Only the one coding this proxy can find the end of; also refuses "chunked, chunked" and two lines.
            guard !facts.isChunked, Bytes.equals(value.of(bytes), "chunked") else {
                throw .bad("Transfer-Encoding is not chunked")
            }
            facts.isChunked = true
        case .host:
            guard facts.host == nil else { throw .bad("more than one Host") }
            facts.host = value
        case .connection: noteConnection(value, bytes)
        case .upgrade: facts.upgradesToWebSocket = Bytes.equals(value.of(bytes), "websocket")
        case .expect:
            guard Bytes.equals(value.of(bytes), "100-continue") else {
                throw HTTPFault(status: 417, message: "only the expectation 100-continue is known")
            }
            facts.expectsContinue = true
        case .requestID: facts.requestID = value
        case .traceparent: facts.traceparent = facts.traceparent == nil ? value : .none
        case .forwardedFor: facts.forwardedFor.append(value)
        case .forwardedHost: facts.hasForwardedHost = true
        case .forwardedProto: facts.hasForwardedProto = true
        default: break
        }
    }

    private mutating func noteConnection(_ value: ByteRange, _ bytes: UnsafeRawBufferPointer) {
        var at = Int(value.start)
        let end = Int(value.end)
        while at < end {
            while at < end, Bytes.isBlank(bytes[at]) || bytes[at] == Ascii.comma { at += 1 }
            let start = at
            while at < end, bytes[at] != Ascii.comma { at += 1 }
            var last = at
            while last > start, Bytes.isBlank(bytes[last - 1]) { last -= 1 }
            guard last > start else { continue }
            let option = ByteRange(start, last)
            let name = option.of(bytes)
            if Bytes.equals(name, "close") {
                facts.saysClose = true
            } else if Bytes.equals(name, "keep-alive") {
                facts.saysKeepAlive = true
            } else if Bytes.equals(name, "upgrade") {
                facts.saysUpgrade = true
            } else {
                facts.connectionNames.append(option)
            }
        }
    }

    /// Whether the Connection header lists this line's name, so that it ends at this hop.
    ///
    /// Framing and Host are not given away like that, whoever asks.
    func isListedInConnection(_ line: HeaderLine, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard !facts.connectionNames.isEmpty, line.kind != .contentLength, line.kind != .host else { return false }
        let name = line.name.of(bytes)
        return facts.connectionNames.contains { Bytes.equalsIgnoringCase($0.of(bytes), name) }
    }
}
