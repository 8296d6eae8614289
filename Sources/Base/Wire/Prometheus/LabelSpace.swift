internal import Series

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#elseif canImport(Darwin)
internal import Darwin
#endif

/// Where the labels of a whole request are written, as ``Labels`` keeps them.
///
/// Memory is taken once for all: a `Label` on the wire (two tags and lengths of its own) is always longer than the pair
/// it becomes, so the request's length is enough, and no byte needs a check of its own.
struct LabelSpace {
    private let space: UnsafeMutableRawPointer
    private let capacity: Int
    private(set) var count = 0
    /// Where the present series begins.
    private var start = 0
    private var previous = Self.none
    private static var none: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: nil, count: 0) }

    /// Runs the body, which adds labels read from `limit` bytes at most; returns what it wrote.
    static func bytes(atMost limit: Int, _ body: (inout LabelSpace) throws -> Void) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            guard let base = buffer.baseAddress else {
                precondition(limit == 0)
                var empty: UInt8 = 0
                return try withUnsafeMutableBytes(of: &empty) { none in
                    guard let base = none.baseAddress else { return }
                    var labels = LabelSpace(space: base, capacity: 0)
                    try body(&labels)
                }
            }
            var labels = LabelSpace(space: UnsafeMutableRawPointer(base), capacity: limit)
            try body(&labels)
            count = labels.count
        }
    }

    private init(space: UnsafeMutableRawPointer, capacity: Int) {
        self.space = space
        self.capacity = capacity
    }

    /// The next label may have any name.
    mutating func beginSeries() {
        previous = Self.none
        start = count
    }

    /// What was written of the present series.
    var labels: Labels {
        Labels(encoded: Array(UnsafeRawBufferPointer(start: space + start, count: count - start)))
    }

    /// Reads one `Label` and writes it; its name must come after the one before.
    @inline(__always)
    mutating func add(_ reader: inout ProtobufReader) throws {
        if let pair = Self.usualPair(reader.bytes) {
            guard isAfterPrevious(pair.name) else { throw misplaced(pair.name, pair.value) }
            previous = pair.name
            write(pair.name)
            write(pair.value)
        } else {
            try addUnusual(&reader)
        }
    }

    /// A name and a value, both short and there, in this order: as every client writes a label. The two lengths and the
    /// tag between them are ASCII, so that one look at the whole tells whether both texts are UTF-8.
    @inline(__always)
    private static func usualPair(
        _ bytes: UnsafeBufferPointer<UInt8>
    ) -> (name: UnsafeBufferPointer<UInt8>, value: UnsafeBufferPointer<UInt8>)? {
        guard bytes.count > 5, bytes[0] == 0x0a, bytes[1] < 0x80 else { return nil }
        let middle = 2 + Int(bytes[1])
        guard middle > 2, middle + 2 < bytes.count, bytes[middle] == 0x12, bytes[middle + 1] < 0x80,
            middle + 2 + Int(bytes[middle + 1]) == bytes.count, isValidUTF8(bytes)
        else { return nil }
        return (
            UnsafeBufferPointer(rebasing: bytes[2..<middle]), UnsafeBufferPointer(rebasing: bytes[(middle + 2)...])
        )
    }

    private mutating func addUnusual(_ reader: inout ProtobufReader) throws {
        var (name, value) = (Self.none, Self.none)
        while let tag = try reader.tag() {
            switch tag {
            case 0x0a: name = try reader.text()
            case 0x12: value = try reader.text()
            default: try reader.skip(tag)
            }
        }
        guard isAfterPrevious(name) else { throw misplaced(name, value) }
        previous = name
        // A label without a value is the same as none.
        guard !value.isEmpty else { return }
        write(name)
        write(value)
    }

    @inline(__always)
    private func isAfterPrevious(_ name: UnsafeBufferPointer<UInt8>) -> Bool {
        guard let one = name.baseAddress, !name.isEmpty else { return false }
        guard let other = previous.baseAddress else { return true }
        if one[0] != other[0] { return one[0] > other[0] }
        let order = memcmp(one, other, min(name.count, previous.count))
        return order == 0 ? name.count > previous.count : order > 0
    }

    @inline(__always)
    private mutating func write(_ text: UnsafeBufferPointer<UInt8>) {
        // Ten bytes are the longest length; the wire's own were at least as long.
        precondition(capacity - count > text.count)
        var length = text.count
        while length >= 0x80 {
            space.storeBytes(of: UInt8(truncatingIfNeeded: length) | 0x80, toByteOffset: count, as: UInt8.self)
            count += 1
            length >>= 7
        }
        space.storeBytes(of: UInt8(length), toByteOffset: count, as: UInt8.self)
        count += 1
        if let base = text.baseAddress { (space + count).copyMemory(from: base, byteCount: text.count) }
        count += text.count
    }

    private func misplaced(_ name: UnsafeBufferPointer<UInt8>, _ value: UnsafeBufferPointer<UInt8>) -> WireError {
        let (name, other) = (String(decoding: name, as: UTF8.self), String(decoding: previous, as: UTF8.self))
        let pair = "\(name)=\"\(String(decoding: value, as: UTF8.self))\""
        let wrong =
            name.isEmpty
            ? "a label without a name: \(pair)"
            : name == other ? "a label is there twice: \(pair)" : "labels are not sorted: \(pair) comes after \(other)"
        return WireError(.invalidSeries, "\(wrong), in \(labels)")
    }
}
