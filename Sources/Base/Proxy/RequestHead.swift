/// How the end of a body is found.
enum BodyFraming: Equatable {
    case none
    case length(Int)
    case chunked
    case untilClose
}

/// A request head, read once from its bytes; everything is a place in them.
struct RequestHead {
    private(set) var block = HeaderBlock()
    /// Bytes of the whole head with the empty line.
    private(set) var length = 0
    private(set) var method = ByteRange.none
    /// Path and query; empty for an absolute form that has neither.
    private(set) var target = ByteRange.none
    private(set) var path = ByteRange.none
    /// What the request calls this place: Host, or the authority of an absolute form, which beats it.
    private(set) var authority = ByteRange.none
    /// The authority without its port.
    private(set) var host = ByteRange.none
    private(set) var isAbsolute = false
    /// HTTP/1.1, else HTTP/1.0.
    private(set) var isVersion11 = true
    private(set) var isHEAD = false
    /// RFC 9110 §9.2.2.
    private(set) var isIdempotent = false
    /// GET, HEAD or OPTIONS: asks for nothing to be changed (RFC 9110 §9.2.1).
    private(set) var isSafe = false
    private(set) var framing = BodyFraming.none

    var keepsAlive: Bool { isVersion11 ? !block.facts.saysClose : block.facts.saysKeepAlive && !block.facts.saysClose }

    /// An upgrade this proxy lets through: WebSocket on a request without a body.
    ///
    /// Not h2c, which would carry requests past the routes.
    var wantsUpgrade: Bool {
        isVersion11 && block.facts.saysUpgrade && block.facts.upgradesToWebSocket && framing == .none
    }

    /// Reads the head at the start of `bytes`; false when its end has not come yet.
    mutating func scan(_ bytes: UnsafeRawBufferPointer) throws(HTTPFault) -> Bool {
        block.reset()
        authority = .none
        isAbsolute = false
        isHEAD = false
        isIdempotent = false
        isSafe = false
        framing = .none
        guard let lines = try scanRequestLine(bytes) else { return false }
        guard let end = try block.scan(bytes, from: lines) else { return false }
        guard end <= ProxyConfiguration.headLimit else { throw .headTooLong }
        length = end
        try settleHost(bytes)
        try settleFraming()
        return true
    }

    /// Reads `METHOD target HTTP/1.x` and returns the place behind it.
    private mutating func scanRequestLine(_ bytes: UnsafeRawBufferPointer) throws(HTTPFault) -> Int? {
        let end = bytes.count
        var at = 0
        while at < end, Bytes.isToken(bytes[at]) { at += 1 }
        guard at < end else { return nil }
        guard at > 0, bytes[at] == Ascii.space else { throw .bad("the request line has no method") }
        method = ByteRange(0, at)
        at += 1
        let targetStart = at
        while at < end, Bytes.isTarget(bytes[at]) { at += 1 }
        guard at < end else { return nil }
        guard at > targetStart, bytes[at] == Ascii.space else { throw .bad("the request target is not valid") }
        target = ByteRange(targetStart, at)
        at += 1
        guard at + 10 <= end else { return nil }
        try scanVersion(UnsafeRawBufferPointer(rebasing: bytes[at..<at + 10]))
        try classifyMethod(method.of(bytes))
        try splitTarget(bytes)
        return at + 10
    }

    private mutating func scanVersion(_ bytes: UnsafeRawBufferPointer) throws(HTTPFault) {
        guard Bytes.begins(bytes, with: "HTTP/"), Bytes.isDigit(bytes[5]), bytes[6] == 0x2E, Bytes.isDigit(bytes[7]),
            bytes[8] == Ascii.cr, bytes[9] == Ascii.lf
        else { throw .bad("the request line does not end in an HTTP version") }
        guard bytes[5] == 0x31, bytes[7] <= 0x31 else {
            throw HTTPFault(status: 505, message: "only HTTP/1.1 and HTTP/1.0 are spoken here")
        }
        isVersion11 = bytes[7] == 0x31
    }

    private mutating func classifyMethod(_ name: UnsafeRawBufferPointer) throws(HTTPFault) {
        switch name.count {
        case 3:
            isSafe = Bytes.begins(name, with: "GET")
            isIdempotent = isSafe || Bytes.begins(name, with: "PUT")
        case 4:
            isHEAD = Bytes.begins(name, with: "HEAD")
            isSafe = isHEAD
            isIdempotent = isHEAD
        case 6: isIdempotent = Bytes.begins(name, with: "DELETE")
        case 7:
            isSafe = Bytes.begins(name, with: "OPTIONS")
            isIdempotent = isSafe
            guard !Bytes.begins(name, with: "CONNECT") else {
                throw HTTPFault(status: 405, message: "CONNECT is not for a reverse proxy")
            }
        default: break
        }
    }

    /// Splits the path from the query, and an absolute form into authority and target (RFC 9112 §3.2).
    private mutating func splitTarget(_ bytes: UnsafeRawBufferPointer) throws(HTTPFault) {
        var start = Int(target.start)
        let end = Int(target.end)
        if bytes[start] != Ascii.slash, !(target.count == 1 && bytes[start] == 0x2A) {
            let all = target.of(bytes)
            let scheme: Int
            if Bytes.equals(UnsafeRawBufferPointer(rebasing: all.prefix(7)), "http://") {
                scheme = 7
            } else if Bytes.equals(UnsafeRawBufferPointer(rebasing: all.prefix(8)), "https://") {
                scheme = 8
            } else {
                throw .bad("the request target is neither a path nor a URL")
            }
            isAbsolute = true
            let authorityStart = start + scheme
            start = authorityStart
            while start < end, bytes[start] != Ascii.slash, bytes[start] != Ascii.question { start += 1 }
            authority = ByteRange(authorityStart, start)
            guard !authority.isEmpty else { throw .bad("the request target has no host") }
            target = ByteRange(start, end)
        }
        var pathEnd = start
        while pathEnd < end, bytes[pathEnd] != Ascii.question { pathEnd += 1 }
        path = ByteRange(start, pathEnd)
    }

    /// Checks Host and takes the port off (RFC 9112 §3.2: exactly one in HTTP/1.1).
    private mutating func settleHost(_ bytes: UnsafeRawBufferPointer) throws(HTTPFault) {
        if let value = block.facts.host {
            try checkAuthority(value.of(bytes))
            if !isAbsolute { authority = value }
        } else if isVersion11 {
            throw .bad("no Host")
        }
        let name = authority.of(bytes)
        try checkAuthority(name)
        var end = name.count
        if name.first == 0x5B {
            guard let bracket = name.firstIndex(of: 0x5D) else { throw .bad("Host is not valid") }
            end = bracket + 1
        } else if let colon = name.firstIndex(of: Ascii.colon) {
            end = colon
        }
        let port = name[end...]
        guard port.isEmpty || port.first == Ascii.colon, port.dropFirst().allSatisfy(Bytes.isDigit) else {
            throw .bad("Host is not valid")
        }
        host = ByteRange(Int(authority.start), Int(authority.start) + end)
    }

    /// Letters, digits and `-._~%:[]`: names, addresses, a port; no user, no list.
    private func checkAuthority(_ name: UnsafeRawBufferPointer) throws(HTTPFault) {
        for byte in name {
            guard Bytes.isLetter(byte) || Bytes.isDigit(byte) || Self.authorityMarks.contains(byte) else {
                throw .bad("Host is not valid")
            }
        }
    }

    private static let authorityMarks = Array("-._~%:[]".utf8)

    /// RFC 9112 §6.3 for requests, refusing what it lets a server repair.
    private mutating func settleFraming() throws(HTTPFault) {
        if block.facts.isChunked {
            guard block.facts.contentLength == nil else { throw .bad("both Content-Length and Transfer-Encoding") }
            guard isVersion11 else { throw .bad("Transfer-Encoding in HTTP/1.0") }
            framing = .chunked
        } else if let length = block.facts.contentLength {
            framing = length == 0 ? .none : .length(length)
        }
    }
}

extension HTTPFault {
    static let headTooLong = HTTPFault(
        status: 431, message: "the head is longer than \(ProxyConfiguration.headLimit) bytes")
}

/// A response head of an upstream.
struct ResponseHead {
    private(set) var block = HeaderBlock()
    private(set) var length = 0
    private(set) var status = 0
    /// Status code and reason.
    private(set) var statusText = ByteRange.none
    private(set) var isVersion11 = true

    var keepsAlive: Bool { isVersion11 ? !block.facts.saysClose : block.facts.saysKeepAlive && !block.facts.saysClose }

    /// Reads the head at the start of `bytes`; false when its end has not come yet.
    mutating func scan(_ bytes: UnsafeRawBufferPointer) throws(HTTPFault) -> Bool {
        block.reset()
        guard bytes.count >= 15 else { return false }
        guard Bytes.begins(bytes, with: "HTTP/1."), bytes[7] == 0x30 || bytes[7] == 0x31, bytes[8] == Ascii.space,
            let code = Bytes.number(UnsafeRawBufferPointer(rebasing: bytes[9..<12])), (100...999).contains(code)
        else { throw .bad("the upstream's status line is not HTTP/1") }
        isVersion11 = bytes[7] == 0x31
        status = code
        var at = 12
        guard bytes[12] == Ascii.space || bytes[12] == Ascii.cr else { throw .bad("the status code is not valid") }
        while at < bytes.count, Bytes.isFieldValue(bytes[at]) { at += 1 }
        guard at + 1 < bytes.count else { return false }
        guard bytes[at] == Ascii.cr, bytes[at + 1] == Ascii.lf else { throw .bad("the status line has no line end") }
        statusText = ByteRange(9, at)
        guard let end = try block.scan(bytes, from: at + 2) else { return false }
        guard end <= ProxyConfiguration.headLimit else { throw .headTooLong }
        length = end
        return true
    }

    /// RFC 9112 §6.3 for responses; two ways of framing at once are refused.
    func framing(toHEAD isHEAD: Bool) throws(HTTPFault) -> BodyFraming {
        if isHEAD || status < 200 || status == 204 || status == 304 { return .none }
        if block.facts.isChunked {
            guard block.facts.contentLength == nil, isVersion11 else {
                throw .bad("the response is framed in two ways")
            }
            return .chunked
        }
        guard let length = block.facts.contentLength else { return .untilClose }
        return length == 0 ? .none : .length(length)
    }
}
