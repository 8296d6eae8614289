import NIOCore

/// Random numbers for ids: unique, not secret; one per loop.
///
/// xoshiro256** 1.0 (Blackman, Vigna 2018).
struct IDGenerator {
    private var s0: UInt64
    private var s1: UInt64
    private var s2: UInt64
    private var s3: UInt64

    init(seed: inout some RandomNumberGenerator) {
        s0 = seed.next()
        s1 = seed.next()
        s2 = seed.next()
        s3 = seed.next() | 1
    }

    mutating func next() -> UInt64 {
        let product = s1 &* 5
        let result = (product << 7 | product >> 57) &* 9
        let shifted = s1 << 17
        s2 ^= s0
        s3 ^= s1
        s1 ^= s2
        s0 ^= s3
        s2 ^= shifted
        s3 = s3 << 45 | s3 >> 19
        return result
    }
}

/// The id of a request, as the client gave it or newly drawn.
enum RequestID {
    case drawn(UInt64, UInt64)
    case given(ByteBuffer)

    func write(to buffer: inout ByteBuffer) {
        switch self {
        case .drawn(let high, let low):
            buffer.writeHex(high)
            buffer.writeHex(low)
        case .given(let bytes): buffer.writeImmutableBuffer(bytes)
        }
    }

    var text: String {
        var buffer = ByteBuffer()
        write(to: &buffer)
        return String(buffer: buffer)
    }

    /// Longest id taken over from a client.
    static let limit = 128

    /// 1 to 128 letters, digits or `-._~+/=:`: safe in logs, headers and file names of none but the careless.
    static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard !bytes.isEmpty, bytes.count <= limit else { return false }
        return bytes.allSatisfy { Bytes.isLetter($0) || Bytes.isDigit($0) || marks.contains($0) }
    }

    private static let marks = Array("-._~+/=:".utf8)
}

/// W3C Trace Context, level 1, §3.2.
enum Traceparent {
    /// `00-<32 hex>-<16 hex>-<2 hex>` in lower case, ids not all zero; later versions may be longer.
    static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count >= 55, isHex(bytes, 0, 2), isHex(bytes, 3, 35), isHex(bytes, 36, 52), isHex(bytes, 53, 55),
            bytes[2] == 0x2D, bytes[35] == 0x2D, bytes[52] == 0x2D
        else { return false }
        let isVersion0 = bytes[0] == Ascii.zero && bytes[1] == Ascii.zero
        let isVersionFF = bytes[0] == 0x66 && bytes[1] == 0x66
        guard !isVersionFF, bytes.count == 55 || (!isVersion0 && bytes[55] == 0x2D) else { return false }
        return bytes[3..<35].contains { $0 != Ascii.zero } && bytes[36..<52].contains { $0 != Ascii.zero }
    }

    /// The ids of a valid value.
    static func link(_ bytes: UnsafeRawBufferPointer, span: UInt64) -> TraceLink {
        TraceLink(
            high: hex(bytes, 3), low: hex(bytes, 19), span: span, parent: hex(bytes, 36),
            isSampled: Bytes.hexDigit(bytes[54]).map { $0 & 1 == 1 } ?? false)
    }

    private static func hex(_ bytes: UnsafeRawBufferPointer, _ start: Int) -> UInt64 {
        bytes[start..<start + 16].reduce(0) { $0 << 4 | (Bytes.hexDigit($1) ?? 0) }
    }

    private static func isHex(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ end: Int) -> Bool {
        bytes[start..<end].allSatisfy { Bytes.isDigit($0) || ($0 &- 0x61 < 6) }
    }
}

/// The proxy's place in a trace: its own span and what that belongs to.
package struct TraceLink: Sendable, Equatable {
    let high: UInt64
    let low: UInt64
    let span: UInt64
    let parent: UInt64
    package let isSampled: Bool

    /// 32, 16 and 16 lower-case hexadecimal digits; the parent is nil where the trace began here.
    package var traceID: String { Self.text(high) + Self.text(low) }
    package var spanID: String { Self.text(span) }
    package var parentID: String? { parent == 0 ? nil : Self.text(parent) }

    /// A trace that begins here, sampled.
    static func begin(_ ids: inout IDGenerator) -> TraceLink {
        TraceLink(high: ids.next(), low: ids.next() | 1, span: ids.next() | 1, parent: 0, isSampled: true)
    }

    func write(to buffer: inout ByteBuffer) {
        buffer.writeStaticString("traceparent: 00-")
        buffer.writeHex(high)
        buffer.writeHex(low)
        buffer.writeStaticString("-")
        buffer.writeHex(span)
        buffer.writeStaticString(isSampled ? "-01\r\n" : "-00\r\n")
    }

    private static func text(_ value: UInt64) -> String {
        var buffer = ByteBuffer()
        buffer.writeHex(value)
        return String(buffer: buffer)
    }
}

extension ByteBuffer {
    /// Writes 16 lower-case hexadecimal digits.
    mutating func writeHex(_ value: UInt64) {
        writeInteger(Self.hex(UInt32(truncatingIfNeeded: value >> 32)))
        writeInteger(Self.hex(UInt32(truncatingIfNeeded: value)))
    }

    /// Eight digits at once: nibbles spread to bytes, then `0` or `a` - 10 added without a branch.
    private static func hex(_ value: UInt32) -> UInt64 {
        var nibbles = UInt64(value)
        nibbles = (nibbles | nibbles << 16) & 0x0000_FFFF_0000_FFFF
        nibbles = (nibbles | nibbles << 8) & 0x00FF_00FF_00FF_00FF
        nibbles = (nibbles | nibbles << 4) & 0x0F0F_0F0F_0F0F_0F0F
        let beyondNine = ((nibbles &+ 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101
        return nibbles &+ 0x3030_3030_3030_3030 &+ beyondNine &* 0x27
    }
}
