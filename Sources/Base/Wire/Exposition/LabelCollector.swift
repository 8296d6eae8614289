internal import Series

/// Collects labels that come in any order and writes them sorted, using the same memory again and again.
struct LabelCollector {
    /// Labels of one series.
    static let limit = 1_000

    private struct Pair {
        var name: Range<Int>
        var value: Range<Int>
    }

    private var bytes: [UInt8] = []
    private var pairs: [Pair] = []

    mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        pairs.removeAll(keepingCapacity: true)
    }

    /// Adds a pair of texts that are known to be UTF-8; one with an empty value is passed over when written.
    mutating func add(_ name: UnsafeBufferPointer<UInt8>, _ value: UnsafeBufferPointer<UInt8>) throws {
        try add(name: name) { $0.append(contentsOf: value) }
    }

    /// The same, with a value that the body appends.
    mutating func add(name: UnsafeBufferPointer<UInt8>, value: (inout [UInt8]) throws -> Void) throws {
        guard pairs.count < Self.limit else {
            throw WireError(.tooLarge, "a series has more than \(Self.limit) labels")
        }
        let start = bytes.count
        bytes.append(contentsOf: name)
        let middle = bytes.count
        try value(&bytes)
        pairs.append(Pair(name: start..<middle, value: middle..<bytes.count))
    }

    mutating func add(_ name: String, _ value: String) throws {
        var (name, value) = (name, value)
        try name.withUTF8 { name in try value.withUTF8 { try add(name, $0) } }
    }

    /// Appends the labels, encoded and sorted.
    ///
    /// - Throws: `WireError.invalidSeries` when a name is there twice.
    mutating func write(to out: inout [UInt8]) throws {
        try bytes.withUnsafeBufferPointer { bytes in
            func slice(_ range: Range<Int>) -> UnsafeBufferPointer<UInt8> {
                UnsafeBufferPointer(rebasing: bytes[range])
            }
            // Few, and most often sorted already: insertion is quickest.
            for index in pairs.indices.dropFirst() {
                var place = index
                while place > 0, compareBytes(slice(pairs[place - 1].name), slice(pairs[place].name)) > 0 {
                    pairs.swapAt(place - 1, place)
                    place -= 1
                }
            }
            var previous: Range<Int>?
            for pair in pairs {
                let name = slice(pair.name)
                if let previous, compareBytes(slice(previous), name) == 0 {
                    let name = String(decoding: name, as: UTF8.self)
                    throw WireError(.invalidSeries, "the label \"\(name)\" is there twice")
                }
                previous = pair.name
                guard !pair.value.isEmpty else { continue }
                Self.append(name, to: &out)
                Self.append(slice(pair.value), to: &out)
            }
        }
    }

    private static func append(_ text: UnsafeBufferPointer<UInt8>, to out: inout [UInt8]) {
        var length = text.count
        while length >= 0x80 {
            out.append(UInt8(truncatingIfNeeded: length) | 0x80)
            length >>= 7
        }
        out.append(UInt8(length))
        out.append(contentsOf: text)
    }
}
