/// Writes protobuf messages. Numbers that are zero and texts that are empty are left out, as proto3 does.
package struct ProtobufWriter {
    package var bytes: [UInt8] = []

    package init() {}

    package mutating func varint(_ value: UInt64) {
        var value = value
        while value >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(value))
    }

    /// For fields that are written even when zero or empty.
    mutating func tag(_ number: Int, _ wireType: UInt64) { varint(UInt64(number) << 3 | wireType) }

    package mutating func unsigned(_ number: Int, _ value: UInt64) {
        guard value != 0 else { return }
        tag(number, 0)
        varint(value)
    }

    package mutating func int64(_ number: Int, _ value: Int64) { unsigned(number, UInt64(bitPattern: value)) }

    package mutating func bool(_ number: Int, _ value: Bool) { unsigned(number, value ? 1 : 0) }

    /// `sint32` and `sint64`.
    package mutating func signed(_ number: Int, _ value: Int64) { unsigned(number, Self.zigzag(value)) }

    /// Zero is told from negative zero by its bits, so that values come back as they were.
    package mutating func double(_ number: Int, _ value: Double) {
        if value.bitPattern != 0 { presentDouble(number, value) }
    }

    /// A member of a `oneof`, which is written even when zero.
    package mutating func presentDouble(_ number: Int, _ value: Double) {
        tag(number, 1)
        little(value.bitPattern)
    }

    package mutating func fixed64(_ number: Int, _ value: UInt64) {
        guard value != 0 else { return }
        tag(number, 1)
        little(value)
    }

    package mutating func string(_ number: Int, _ value: String) {
        guard !value.isEmpty else { return }
        var value = value
        value.withUTF8 { data(number, $0) }
    }

    package mutating func data(_ number: Int, _ value: UnsafeBufferPointer<UInt8>) {
        tag(number, 2)
        varint(UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    package mutating func data(_ number: Int, _ value: [UInt8]) {
        value.withUnsafeBufferPointer { data(number, $0) }
    }

    /// Writes a nested message: its length is put in front of it afterwards.
    package mutating func message(_ number: Int, _ body: (inout ProtobufWriter) throws -> Void) rethrows {
        tag(number, 2)
        let start = bytes.count
        bytes.append(0)
        try body(&self)
        var length = bytes.count - start - 1
        if length < 0x80 {
            bytes[start] = UInt8(length)
            return
        }
        var prefix: [UInt8] = []
        while length >= 0x80 {
            prefix.append(UInt8(truncatingIfNeeded: length) | 0x80)
            length >>= 7
        }
        prefix.append(UInt8(length))
        bytes.replaceSubrange(start...start, with: prefix)
    }

    package mutating func packedDoubles(_ number: Int, _ values: [Double]) {
        guard !values.isEmpty else { return }
        tag(number, 2)
        varint(UInt64(values.count * 8))
        for value in values { little(value.bitPattern) }
    }

    package mutating func packedSigned(_ number: Int, _ values: [Int64]) {
        guard !values.isEmpty else { return }
        message(number) { writer in
            for value in values { writer.varint(Self.zigzag(value)) }
        }
    }

    mutating func little(_ value: UInt64) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    static func zigzag(_ value: Int64) -> UInt64 { UInt64(bitPattern: (value << 1) ^ (value >> 63)) }
}
