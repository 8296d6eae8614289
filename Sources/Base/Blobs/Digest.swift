import Crypto

/// The SHA-256 of a content, and so the name of a blob.
///
/// On the wire `sha256:<64 hex digits>`.
package struct Digest: Hashable, Codable, Sendable, Comparable, CustomStringConvertible {
    /// 64 lower-case hexadecimal digits.
    package let hex: String

    private static let scheme = "sha256:"
    static let digits = 64

    /// Takes 64 lower-case hexadecimal digits; nil for anything else.
    package init?(hex: String) {
        let isHex = hex.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
        guard hex.utf8.count == Self.digits, isHex else { return nil }
        self.hex = hex
    }

    /// Takes the wire text; nil for anything else.
    package init?(_ text: String) {
        guard text.hasPrefix(Self.scheme) else { return nil }
        self.init(hex: String(text.dropFirst(Self.scheme.count)))
    }

    /// Hashes bytes that are at hand.
    package init(of bytes: [UInt8]) {
        var hasher = SHA256()
        bytes.withUnsafeBytes { hasher.update(bufferPointer: $0) }
        self.init(hasher.finalize())
    }

    init(_ hash: SHA256.Digest) {
        let digits = Array("0123456789abcdef".utf8)
        hex = String(decoding: hash.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    /// The wire text.
    package var text: String { Self.scheme + hex }
    package var description: String { text }

    package static func < (left: Digest, right: Digest) -> Bool { left.hex < right.hex }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let digest = Digest(text) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "not a digest: \"\(text.prefix(100))\"")
        }
        self = digest
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
}
