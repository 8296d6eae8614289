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

    /// The id as 128 bits, where it is one: 32 lower-case hexadecimal digits, not all zero.
    var bits: (UInt64, UInt64)? {
        switch self {
        case .drawn(let high, let low): return (high, low)
        case .given(let buffer):
            return buffer.withUnsafeReadableBytes { bytes in
                guard bytes.count == 32, bytes.allSatisfy({ Bytes.isDigit($0) || ($0 &- 0x61 < 6) }) else { return nil }
                let (high, low) = (Bytes.hex(bytes[0..<16]), Bytes.hex(bytes[16..<32]))
                return high | low == 0 ? nil : (high, low)
            }
        }
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

    private static func isHex(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ end: Int) -> Bool {
        bytes[start..<end].allSatisfy { Bytes.isDigit($0) || ($0 &- 0x61 < 6) }
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
