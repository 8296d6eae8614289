import Foundation
import NIOPosix

/// Tells public addresses from those that only insiders should reach.
enum AddressGuard {
    /// Whether an address, written as a number, is one that the whole internet can reach; no number is none.
    ///
    /// Ranges: IANA special-purpose registries (RFC 6890, RFC 8190), plus multicast and reserved space.
    static func isPublic(_ literal: String) -> Bool {
        if let bytes = number(literal, AF_INET, byteCount: 4) {
            return isPublic(v4: bytes.reduce(0) { $0 << 8 | UInt32($1) })
        }
        return number(literal, AF_INET6, byteCount: 16).map(isPublic(v6:)) ?? false
    }

    private static func number(_ literal: String, _ family: Int32, byteCount: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: byteCount)
        return inet_pton(family, literal, &bytes) == 1 ? bytes : nil
    }

    /// Resolves a host, a name or an address, and returns the address to connect to.
    ///
    /// All addresses of a name must be public: one that also points inside is refused. The caller must connect to the
    /// address returned, not resolve again: a name may point elsewhere a moment later.
    static func publicAddress(of host: String) async throws(OutboundError) -> String {
        let addresses: [String]
        do {
            addresses = try await NIOThreadPool.singleton.runIfActive { try resolve(host) }
        } catch {
            throw OutboundError(.refused, "could not resolve \"\(host)\"")
        }
        guard let first = addresses.first else {
            throw OutboundError(.refused, "\"\(host)\" has no address")
        }
        guard let inside = addresses.first(where: { !isPublic($0) }) else { return first }
        throw OutboundError(
            .addressNotAllowed, "\"\(host)\" has the address \(inside), only public ones are allowed")
    }

    /// Blocks; not for the cooperative pool.
    private static func resolve(_ host: String) throws -> [String] {
        var hints = addrinfo()
        hints.ai_socktype = numericCast(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &list) == 0 else { throw OutboundError(.refused, "unknown host") }
        defer { freeaddrinfo(list) }
        var addresses: [String] = []
        var next = list
        while let entry = next {
            next = entry.pointee.ai_next
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            let isRead = getnameinfo(
                entry.pointee.ai_addr, entry.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST)
            guard isRead == 0 else { continue }
            let literal = String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
            // A zone (`fe80::1%eth0`) marks a link-local address, and is no part of the number.
            addresses.append(String(literal.prefix { $0 != "%" }))
        }
        return addresses
    }

    private static func isPublic(v4 address: UInt32) -> Bool {
        let closed: [(UInt32, UInt32)] = [
            (0x0000_0000, 8), (0x0A00_0000, 8), (0x6440_0000, 10), (0x7F00_0000, 8), (0xA9FE_0000, 16),
            (0xAC10_0000, 12), (0xC000_0000, 24), (0xC000_0200, 24), (0xC058_6300, 24), (0xC0A8_0000, 16),
            (0xC612_0000, 15), (0xC633_6400, 24), (0xCB00_7100, 24), (0xE000_0000, 4), (0xF000_0000, 4),
        ]
        return !closed.contains { network, bits in address >> (32 - bits) == network >> (32 - bits) }
    }

    private static func isPublic(v6 bytes: [UInt8]) -> Bool {
        func embedded(at offset: Int) -> Bool {
            isPublic(v4: bytes[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) })
        }
        // IPv4-mapped ::ffff:0:0/96 and translated 64:ff9b::/96 are as public as the address they carry.
        if bytes.prefix(10).allSatisfy({ $0 == 0 }), bytes[10] == 0xFF, bytes[11] == 0xFF { return embedded(at: 12) }
        if bytes.prefix(4) == [0x00, 0x64, 0xFF, 0x9B], bytes[4..<12].allSatisfy({ $0 == 0 }) {
            return embedded(at: 12)
        }
        // 6to4, 2002::/16, carries one too.
        if bytes.prefix(2) == [0x20, 0x02] { return embedded(at: 2) }
        // Only 2000::/3 is handed out as global unicast; of it 2001::/23 and documentation are not.
        guard bytes[0] >> 5 == 0b001 else { return false }
        if bytes[0] == 0x20, bytes[1] == 0x01, bytes[2] < 0x02 { return false }
        if bytes.prefix(4) == [0x20, 0x01, 0x0D, 0xB8] { return false }
        return !(bytes.prefix(2) == [0x3F, 0xFF] && bytes[2] < 0x10)
    }
}
