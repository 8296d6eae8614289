/// Numbers and texts as bytes: LEB128, zigzag and little-endian words.
extension [UInt8] {
    mutating func appendVarint(_ value: UInt64) {
        var value = value
        while value >= 0x80 {
            append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        append(UInt8(value))
    }

    mutating func appendVarint(_ value: Int) { appendVarint(UInt64(value)) }
    mutating func appendSigned(_ value: Int64) { appendVarint(ValueCode.zigzag(value)) }

    mutating func appendWord(_ value: UInt64) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }
    mutating func appendHalf(_ value: UInt32) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }

    mutating func appendText(_ bytes: some Collection<UInt8>) {
        appendVarint(bytes.count)
        append(contentsOf: bytes)
    }
}

/// Walks bytes that may be damaged: every step past the end throws.
struct ByteReader {
    struct Damaged: Error {}

    let bytes: UnsafeRawBufferPointer
    private(set) var position = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var isAtEnd: Bool { position >= bytes.count }
    var remaining: Int { bytes.count - position }
    /// The bytes that are still to be read.
    var rest: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[position...]) }

    mutating func byte() throws -> UInt8 {
        guard position < bytes.count else { throw Damaged() }
        defer { position += 1 }
        return bytes[position]
    }

    mutating func varint() throws -> UInt64 {
        var (value, shift): (UInt64, UInt64) = (0, 0)
        while shift < 64 {
            let byte = try byte()
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        throw Damaged()
    }

    /// A count or length; never more than `limit`.
    mutating func count(limit: Int = .max) throws -> Int {
        let value = try varint()
        guard value <= UInt64(limit) else { throw Damaged() }
        return Int(value)
    }

    mutating func signed() throws -> Int64 { ValueCode.unzigzag(try varint()) }

    mutating func word() throws -> UInt64 {
        guard remaining >= 8 else { throw Damaged() }
        defer { position += 8 }
        return UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self))
    }

    mutating func half() throws -> UInt32 {
        guard remaining >= 4 else { throw Damaged() }
        defer { position += 4 }
        return UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self))
    }

    mutating func take(_ count: Int) throws -> UnsafeRawBufferPointer {
        guard count >= 0, count <= remaining else { throw Damaged() }
        defer { position += count }
        return UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
    }

    mutating func text() throws -> UnsafeRawBufferPointer { try take(try count(limit: remaining)) }
}
