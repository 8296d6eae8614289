/// Reads one protobuf message field by field, without copying and without knowing its schema.
///
///     while let tag = try reader.tag() {
///         switch tag {
///         case 0x0a: name = try reader.string()     // field 1, length-delimited
///         default: try reader.skip(tag)
///         }
///     }
///
/// A tag is compared whole (`number << 3 | wire type`), so that a field of the wrong wire type counts as one that is
/// not known, as the encoding's specification asks. The bytes must outlive the reader.
package struct ProtobufReader {
    /// How deep messages may nest; protobuf's own libraries stop at 100.
    package static let depthLimit = 64

    package let bytes: UnsafeBufferPointer<UInt8>
    private(set) package var position = 0
    private let depth: Int

    package init(_ bytes: UnsafeBufferPointer<UInt8>) { self.init(bytes, depth: 0) }

    private init(_ bytes: UnsafeBufferPointer<UInt8>, depth: Int) {
        self.bytes = bytes
        self.depth = depth
    }

    package var isAtEnd: Bool { position >= bytes.count }

    /// The next field's tag; nil at the end of the message.
    @inline(__always)
    package mutating func tag() throws -> UInt32? {
        guard position < bytes.count else { return nil }
        let first = bytes[position]
        if first < 0x80 {
            position += 1
            if first < 8 { throw Self.badTag }
            return UInt32(first)
        }
        let tag = try varint()
        guard tag <= UInt64(UInt32.max), tag >= 8 else { throw Self.badTag }
        return UInt32(tag)
    }

    @inline(__always)
    package mutating func varint() throws -> UInt64 {
        if position < bytes.count, bytes[position] < 0x80 {
            defer { position += 1 }
            return UInt64(bytes[position])
        }
        return try longVarint()
    }

    private mutating func longVarint() throws -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
            if shift > 63 { throw WireError.malformed("a protobuf number is longer than ten bytes") }
        }
        throw Self.truncated
    }

    package mutating func int64() throws -> Int64 { Int64(bitPattern: try varint()) }
    package mutating func int32() throws -> Int32 { Int32(truncatingIfNeeded: try varint()) }
    package mutating func uint32() throws -> UInt32 { UInt32(truncatingIfNeeded: try varint()) }
    package mutating func bool() throws -> Bool { try varint() != 0 }

    /// A number in zigzag form (`sint32`, `sint64`).
    @inline(__always)
    package mutating func signed() throws -> Int64 {
        let raw = try varint()
        return Int64(bitPattern: raw >> 1) ^ -Int64(bitPattern: raw & 1)
    }

    @inline(__always)
    package mutating func fixed64() throws -> UInt64 {
        guard bytes.count - position >= 8 else { throw Self.truncated }
        defer { position += 8 }
        return UnsafeRawBufferPointer(bytes).loadUnaligned(fromByteOffset: position, as: UInt64.self).littleEndian
    }

    package mutating func fixed32() throws -> UInt32 {
        guard bytes.count - position >= 4 else { throw Self.truncated }
        defer { position += 4 }
        return UnsafeRawBufferPointer(bytes).loadUnaligned(fromByteOffset: position, as: UInt32.self).littleEndian
    }

    @inline(__always)
    package mutating func double() throws -> Double { Double(bitPattern: try fixed64()) }

    /// The content of a length-delimited field, in place.
    @inline(__always)
    package mutating func data() throws -> UnsafeBufferPointer<UInt8> {
        let length = try varint()
        guard length <= UInt64(bytes.count - position) else { throw Self.truncated }
        let start = position
        position += Int(length)
        return UnsafeBufferPointer(rebasing: bytes[start..<position])
    }

    /// A `bytes` field, copied.
    package mutating func copiedData() throws -> [UInt8] { Array(try data()) }

    /// The content of a `string` field, in place, known to be UTF-8.
    @inline(__always)
    package mutating func text() throws -> UnsafeBufferPointer<UInt8> {
        let content = try data()
        guard isValidUTF8(content) else { throw Self.notUTF8 }
        return content
    }

    package mutating func string() throws -> String { String(decoding: try text(), as: UTF8.self) }

    /// A reader of a nested message.
    @inline(__always)
    package mutating func message() throws -> ProtobufReader {
        guard depth < Self.depthLimit else {
            throw WireError(.tooDeep, "protobuf messages nest deeper than \(Self.depthLimit) levels")
        }
        return ProtobufReader(try data(), depth: depth + 1)
    }

    /// Passes over a field that is not wanted.
    package mutating func skip(_ tag: UInt32) throws {
        switch tag & 7 {
        case 0: _ = try varint()
        case 1: _ = try fixed64()
        case 2: _ = try data()
        case 3: try skipGroup(number: tag >> 3)
        case 5: _ = try fixed32()
        default: throw WireError.malformed("a protobuf field has wire type \(tag & 7), which does not exist here")
        }
    }

    /// Groups are of protobuf's first version; a level of theirs is one loop, not one call.
    private mutating func skipGroup(number: UInt32) throws {
        var open = [number]
        while let group = open.last {
            guard let tag = try tag() else { throw Self.truncated }
            switch tag & 7 {
            case 3:
                guard open.count < Self.depthLimit else {
                    throw WireError(.tooDeep, "protobuf groups nest deeper than \(Self.depthLimit) levels")
                }
                open.append(tag >> 3)
            case 4:
                guard tag >> 3 == group else { throw WireError.malformed("a protobuf group ends as another one") }
                open.removeLast()
            default: try skip(tag)
            }
        }
    }

    private static var truncated: WireError { .malformed("a protobuf message ends inside a field") }
    private static var badTag: WireError { .malformed("a protobuf field has a number that does not exist") }
    private static var notUTF8: WireError { WireError(.invalidText, "a protobuf text is not UTF-8") }
}

// MARK: - Repeated numbers

extension ProtobufReader {
    /// Appends the doubles of a packed field.
    package mutating func packedDoubles(into list: inout [Double]) throws {
        var inner = ProtobufReader(try data())
        guard inner.bytes.count % 8 == 0 else { throw Self.truncated }
        list.reserveCapacity(list.count + inner.bytes.count / 8)
        while !inner.isAtEnd { list.append(try inner.double()) }
    }

    /// Appends the `fixed64` numbers of a packed field.
    package mutating func packedFixed64(into list: inout [UInt64]) throws {
        var inner = ProtobufReader(try data())
        guard inner.bytes.count % 8 == 0 else { throw Self.truncated }
        list.reserveCapacity(list.count + inner.bytes.count / 8)
        while !inner.isAtEnd { list.append(try inner.fixed64()) }
    }

    /// Appends the varints of a packed field.
    package mutating func packedVarints(into list: inout [UInt64]) throws {
        var inner = ProtobufReader(try data())
        while !inner.isAtEnd { list.append(try inner.varint()) }
    }

    /// Appends the zigzag numbers of a packed field.
    package mutating func packedSigned(into list: inout [Int64]) throws {
        var inner = ProtobufReader(try data())
        while !inner.isAtEnd { list.append(try inner.signed()) }
    }
}
