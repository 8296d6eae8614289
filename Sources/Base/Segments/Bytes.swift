/// Writes numbers and texts one after the other: fixed ones little-endian, the rest as LEB128.
package struct ByteWriter: Sendable {
    package var bytes: [UInt8] = []

    package init() {}

    package mutating func add(_ value: UInt8) { bytes.append(value) }

    package mutating func add<Number: FixedWidthInteger>(fixed value: Number) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    /// 7 bits a byte, lowest first, the top bit set on all but the last.
    package mutating func add(varint value: UInt64) {
        var value = value
        while value >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: value))
    }

    package mutating func add(count value: Int) { add(varint: UInt64(bitPattern: Int64(value))) }

    /// Small numbers of either sign short: 0, -1, 1, -2 … become 0, 1, 2, 3.
    package mutating func add(signed value: Int64) {
        add(varint: UInt64(bitPattern: (value << 1) ^ (value >> 63)))
    }

    /// A length and that many bytes.
    package mutating func add(run: UnsafeBufferPointer<UInt8>) {
        add(count: run.count)
        bytes.append(contentsOf: run)
    }

    package mutating func add(run: [UInt8]) {
        add(count: run.count)
        bytes.append(contentsOf: run)
    }

    package mutating func add(text: String) {
        var text = text
        text.withUTF8 { add(run: $0) }
    }
}

/// Reads what `ByteWriter` wrote. Every length is held against what is left before it is used.
package struct ByteReader {
    private let bytes: UnsafeRawBufferPointer
    package private(set) var position = 0

    package init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    package var left: Int { bytes.count - position }

    private func short() -> StorageError { .damaged("a record ends at byte \(bytes.count) in the middle of a field") }

    package mutating func byte() throws -> UInt8 {
        guard position < bytes.count else { throw short() }
        defer { position += 1 }
        return bytes[position]
    }

    package mutating func fixed<Number: FixedWidthInteger>(_: Number.Type = Number.self) throws -> Number {
        let size = Number.bitWidth / 8
        guard left >= size else { throw short() }
        defer { position += size }
        return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: Number.self))
    }

    package mutating func varint() throws -> UInt64 {
        var (value, shift): (UInt64, UInt64) = (0, 0)
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
            if shift > 63 { break }
        }
        throw short()
    }

    /// A number of things of which each takes at least one byte of what is left, or `atMost` of them.
    package mutating func count(atMost limit: Int? = nil) throws -> Int {
        let value = try varint()
        guard value <= UInt64(limit ?? left) else { throw short() }
        return Int(value)
    }

    package mutating func signed() throws -> Int64 {
        let value = try varint()
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }

    package mutating func raw(_ count: Int) throws -> UnsafeRawBufferPointer {
        guard count >= 0, count <= left else { throw short() }
        defer { position += count }
        return UnsafeRawBufferPointer(rebasing: bytes[position..<(position + count)])
    }

    package mutating func run() throws -> [UInt8] { Array(try raw(try count())) }

    package mutating func text() throws -> String { String(decoding: try raw(try count()), as: UTF8.self) }
}
