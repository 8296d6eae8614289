/// The header names that a proxy has to do something about.
enum HeaderKind: UInt8 {
    case other
    case host, connection, contentLength, transferEncoding, upgrade, expect
    case te, trailer, keepAlive, proxyConnection, proxyAuthorization, proxyAuthenticate, http2Settings
    case forwarded, forwardedFor, forwardedHost, forwardedProto
    case requestID, traceparent, tracestate, vagusRevision
    /// One of the above with `_` for `-`, which some servers read as the real one: never let through.
    case lookalike

    /// The kind of a name made of token bytes.
    static func of(_ name: UnsafeRawBufferPointer) -> HeaderKind {
        let kind = known(name)
        guard kind != .other else { return kind }
        return name.contains(0x5F) ? .lookalike : kind
    }

    private static func known(_ name: UnsafeRawBufferPointer) -> HeaderKind {
        switch name.count {
        case 2: return spells(name, "te") ? .te : .other
        case 4: return spells(name, "host") ? .host : .other
        case 6: return spells(name, "expect") ? .expect : .other
        case 7: return spells(name, "upgrade") ? .upgrade : spells(name, "trailer") ? .trailer : .other
        case 9: return spells(name, "forwarded") ? .forwarded : .other
        case 10:
            if spells(name, "connection") { return .connection }
            if spells(name, "keep-alive") { return .keepAlive }
            return spells(name, "tracestate") ? .tracestate : .other
        case 11: return spells(name, "traceparent") ? .traceparent : .other
        case 12: return spells(name, "x-request-id") ? .requestID : .other
        case 14:
            if spells(name, "content-length") { return .contentLength }
            return spells(name, "http2-settings") ? .http2Settings : .other
        case 15: return spells(name, "x-forwarded-for") ? .forwardedFor : .other
        case 16:
            if spells(name, "x-forwarded-host") { return .forwardedHost }
            if spells(name, "proxy-connection") { return .proxyConnection }
            return spells(name, "x-vagus-revision") ? .vagusRevision : .other
        case 17:
            if spells(name, "transfer-encoding") { return .transferEncoding }
            return spells(name, "x-forwarded-proto") ? .forwardedProto : .other
        case 18: return spells(name, "proxy-authenticate") ? .proxyAuthenticate : .other
        case 19: return spells(name, "proxy-authorization") ? .proxyAuthorization : .other
        default: return .other
        }
    }

    /// Compares token bytes of the same count, `_` as `-`; OR 0x20 lowers letters and leaves `-` and digits alone.
    @inline(__always)
    private static func spells(_ name: UnsafeRawBufferPointer, _ word: StaticString) -> Bool {
        let letters = word.utf8Start
        for index in 0..<name.count {
            let byte = name[index]
            guard (byte == 0x5F ? 0x2D : byte | 0x20) == letters[index] else { return false }
        }
        return true
    }

    /// Meant for the next hop only (RFC 9110 §7.6.1), or written anew by the proxy.
    var isHopByHop: Bool {
        switch self {
        case .connection, .transferEncoding, .upgrade, .te, .trailer, .keepAlive, .proxyConnection,
            .proxyAuthorization, .proxyAuthenticate, .http2Settings, .lookalike, .vagusRevision:
            true
        default: false
        }
    }
}
