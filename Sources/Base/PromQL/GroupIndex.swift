import Series

/// Which labels of a series make up its group: those named, or all but those.
struct GroupingRule: Sendable {
    /// The names' bytes, one behind another, sorted; and where each ends.
    private let names: [UInt8]
    private let ends: [Int]
    private let isWithout: Bool

    init(_ names: [String], isWithout: Bool) {
        let sorted = Set(names.map { Array($0.utf8) }).sorted { $0.lexicographicallyPrecedes($1) }
        self.names = sorted.flatMap { $0 }
        var end = 0
        ends = sorted.map { name in
            end += name.count
            return end
        }
        self.isWithout = isWithout
    }

    /// All labels in one group.
    var isTrivial: Bool { ends.isEmpty && !isWithout }

    /// Replaces the key by the bytes of the labels that count, in the encoding of `Labels`.
    func write(_ labels: Labels, to key: inout [UInt8]) {
        key.removeAll(keepingCapacity: true)
        if isTrivial { return }
        labels.bytes.withUnsafeBufferPointer { all in
            names.withUnsafeBufferPointer { names in
                ends.withUnsafeBufferPointer { ends in
                    var cursor = EncodedPairs(all)
                    var (next, start) = (0, 0)
                    while let pair = cursor.next() {
                        if next == ends.count, !isWithout { return }
                        var isNamed = false
                        while next < ends.count, !isNamed {
                            let order = Self.order(names, start..<ends[next], pair.name)
                            if order > 0 { break }
                            isNamed = order == 0
                            start = ends[next]
                            next += 1
                        }
                        if isNamed != isWithout {
                            key.append(contentsOf: UnsafeBufferPointer(rebasing: all[pair.whole]))
                        }
                    }
                }
            }
        }
    }

    @inline(__always)
    private static func order(
        _ names: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, _ other: UnsafeBufferPointer<UInt8>
    ) -> Int {
        let shared = min(range.count, other.count)
        for index in 0..<shared {
            let (one, two) = (names[range.lowerBound + index], other[index])
            if one != two { return Int(one) - Int(two) }
        }
        return range.count - other.count
    }
}

/// Walks encoded labels and tells where each pair lies.
struct EncodedPairs {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var position = 0

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    @inline(__always)
    mutating func next() -> (name: UnsafeBufferPointer<UInt8>, whole: Range<Int>)? {
        guard position < bytes.count else { return nil }
        let start = position
        let name = skip()
        _ = skip()
        return (UnsafeBufferPointer(rebasing: bytes[name]), start..<position)
    }

    @inline(__always)
    private mutating func skip() -> Range<Int> {
        var (length, shift) = (0, 0)
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            length |= Int(byte & 0x7f) << shift
            shift += 7
            if byte < 0x80 { break }
        }
        let start = position
        position = min(position + length, bytes.count)
        return start..<position
    }
}

/// Numbers groups by their keys: an open hash table over one run of bytes, without an allocation for each look-up.
struct GroupIndex {
    private var slots: [Int32] = [Int32](repeating: -1, count: 64)
    private var hashes: [UInt64] = []
    private var ends: [Int] = []
    private var bytes: [UInt8] = []

    var count: Int { hashes.count }

    /// The group's number, and whether it is new.
    mutating func find(_ key: [UInt8]) -> (index: Int, isNew: Bool) {
        let hash = key.withUnsafeBufferPointer { XXHash.hash($0) }
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] >= 0 {
            let index = Int(slots[slot])
            if hashes[index] == hash, isSame(index, key) { return (index, false) }
            slot = (slot + 1) & mask
        }
        slots[slot] = Int32(hashes.count)
        hashes.append(hash)
        bytes.append(contentsOf: key)
        ends.append(bytes.count)
        if hashes.count * 2 > slots.count { grow() }
        return (hashes.count - 1, true)
    }

    /// The group's number when it is known.
    func existing(_ key: [UInt8]) -> Int? {
        let hash = key.withUnsafeBufferPointer { XXHash.hash($0) }
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] >= 0 {
            let index = Int(slots[slot])
            if hashes[index] == hash, isSame(index, key) { return index }
            slot = (slot + 1) & mask
        }
        return nil
    }

    /// The bytes of a group's key.
    func key(_ index: Int) -> [UInt8] { Array(bytes[(index == 0 ? 0 : ends[index - 1])..<ends[index]]) }

    private func isSame(_ index: Int, _ key: [UInt8]) -> Bool {
        let start = index == 0 ? 0 : ends[index - 1]
        guard ends[index] - start == key.count else { return false }
        return bytes.withUnsafeBufferPointer { all in
            key.withUnsafeBufferPointer {
                compareBytes(UnsafeBufferPointer(rebasing: all[start..<ends[index]]), $0) == 0
            }
        }
    }

    private mutating func grow() {
        slots = [Int32](repeating: -1, count: slots.count * 2)
        let mask = slots.count - 1
        for (index, hash) in hashes.enumerated() {
            var slot = Int(truncatingIfNeeded: hash) & mask
            while slots[slot] >= 0 { slot = (slot + 1) & mask }
            slots[slot] = Int32(index)
        }
    }
}

/// xxHash64, seed 0: fast, and what Prometheus hashes labels with, so that `limit_ratio` picks the same series.
enum XXHash {
    private static let prime: (UInt64, UInt64, UInt64, UInt64, UInt64) = (
        0x9e37_79b1_85eb_ca87, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9, 0x85eb_ca77_c2b2_ae63,
        0x27d4_eb2f_1656_67c5
    )

    static func hash(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
        let raw = UnsafeRawBufferPointer(bytes)
        var offset = 0
        var hash: UInt64
        if raw.count >= 32 {
            var (a, b, c, d) = (prime.0 &+ prime.1, prime.1, UInt64(0), 0 &- prime.0)
            while offset + 32 <= raw.count {
                a = round(a, word(raw, offset))
                b = round(b, word(raw, offset + 8))
                c = round(c, word(raw, offset + 16))
                d = round(d, word(raw, offset + 24))
                offset += 32
            }
            hash = rotate(a, 1) &+ rotate(b, 7) &+ rotate(c, 12) &+ rotate(d, 18)
            for lane in [a, b, c, d] { hash = (hash ^ round(0, lane)) &* prime.0 &+ prime.3 }
        } else {
            hash = prime.4
        }
        hash &+= UInt64(raw.count)
        while offset + 8 <= raw.count {
            hash = rotate(hash ^ round(0, word(raw, offset)), 27) &* prime.0 &+ prime.3
            offset += 8
        }
        if offset + 4 <= raw.count {
            let half = UInt64(UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
            hash = rotate(hash ^ (half &* prime.0), 23) &* prime.1 &+ prime.2
            offset += 4
        }
        while offset < raw.count {
            hash = rotate(hash ^ (UInt64(raw[offset]) &* prime.4), 11) &* prime.0
            offset += 1
        }
        hash = (hash ^ (hash >> 33)) &* prime.1
        hash = (hash ^ (hash >> 29)) &* prime.2
        return hash ^ (hash >> 32)
    }

    @inline(__always)
    private static func word(_ raw: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
        UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    @inline(__always)
    private static func rotate(_ value: UInt64, _ bits: UInt64) -> UInt64 { value << bits | value >> (64 - bits) }

    @inline(__always)
    private static func round(_ lane: UInt64, _ word: UInt64) -> UInt64 {
        rotate(lane &+ word &* prime.1, 31) &* prime.0
    }
}
