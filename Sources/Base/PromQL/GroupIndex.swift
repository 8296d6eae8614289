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

    /// Calls the body with the bytes of the labels that count, in the encoding of `Labels`: a part of these where that is one
    /// run, as mostly; else put together in the scratch.
    @inline(__always)
    func withKey<Result>(
        _ labels: UnsafeBufferPointer<UInt8>, _ scratch: inout [UInt8],
        _ body: (UnsafeBufferPointer<UInt8>) -> Result
    ) -> Result {
        let run = isTrivial ? 0..<0 : run(of: labels, &scratch)
        if let run { return body(UnsafeBufferPointer(rebasing: labels[run])) }
        return scratch.withUnsafeBufferPointer(body)
    }

    @inline(__always)
    func withKey<Result>(
        _ labels: Labels, _ scratch: inout [UInt8], _ body: (UnsafeBufferPointer<UInt8>) -> Result
    ) -> Result {
        labels.bytes.withUnsafeBufferPointer { withKey($0, &scratch, body) }
    }

    /// The labels that count.
    func kept(of labels: Labels) -> Labels {
        var scratch: [UInt8] = []
        return Labels(encoded: withKey(labels, &scratch) { Array($0) })
    }

    /// Where the labels that count lie; nil when that is in several places, and they are in the scratch.
    private func run(of all: UnsafeBufferPointer<UInt8>, _ scratch: inout [UInt8]) -> Range<Int>? {
        var run = 0..<0
        var isWhole = true
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
                    if isNamed == isWithout { continue }
                    if run.upperBound == pair.whole.lowerBound || run.isEmpty {
                        run = (run.isEmpty ? pair.whole.lowerBound : run.lowerBound)..<pair.whole.upperBound
                        continue
                    }
                    if isWhole { scratch.removeAll(keepingCapacity: true) }
                    isWhole = false
                    scratch.append(contentsOf: UnsafeBufferPointer(rebasing: all[run]))
                    run = pair.whole
                }
            }
        }
        if isWhole { return run }
        scratch.append(contentsOf: UnsafeBufferPointer(rebasing: all[run]))
        return nil
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
    @inline(__always)
    mutating func find(_ key: UnsafeBufferPointer<UInt8>) -> (index: Int, isNew: Bool) {
        let hash = XXHash.hash(key)
        if let index = existing(key, hash) { return (index, false) }
        return (insert(key, hash), true)
    }

    private mutating func insert(_ key: UnsafeBufferPointer<UInt8>, _ hash: UInt64) -> Int {
        hashes.append(hash)
        bytes.append(contentsOf: key)
        ends.append(bytes.count)
        if hashes.count * 2 > slots.count {
            grow()
        } else {
            place(hashes.count - 1)
        }
        return hashes.count - 1
    }

    /// The group's number when it is known.
    @inline(__always)
    func existing(_ key: UnsafeBufferPointer<UInt8>) -> Int? { existing(key, XXHash.hash(key)) }

    private func existing(_ key: UnsafeBufferPointer<UInt8>, _ hash: UInt64) -> Int? {
        slots.withUnsafeBufferPointer { slots in
            let mask = slots.count - 1
            var slot = Int(truncatingIfNeeded: hash) & mask
            while slots[slot] >= 0 {
                let index = Int(slots[slot])
                if hashes[index] == hash, withKey(index, { compareBytes($0, key) == 0 }) { return index }
                slot = (slot + 1) & mask
            }
            return nil
        }
    }

    /// The bytes of a group's key.
    func key(_ index: Int) -> [UInt8] { withKey(index) { Array($0) } }

    @inline(__always)
    func withKey<Result>(_ index: Int, _ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
        let start = index == 0 ? 0 : ends[index - 1]
        return bytes.withUnsafeBufferPointer { body(UnsafeBufferPointer(rebasing: $0[start..<ends[index]])) }
    }

    private mutating func place(_ index: Int) {
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: hashes[index]) & mask
        while slots[slot] >= 0 { slot = (slot + 1) & mask }
        slots[slot] = Int32(index)
    }

    private mutating func grow() {
        slots = [Int32](repeating: -1, count: slots.count * 2)
        for index in hashes.indices { place(index) }
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
            hash = (hash ^ round(0, a)) &* prime.0 &+ prime.3
            hash = (hash ^ round(0, b)) &* prime.0 &+ prime.3
            hash = (hash ^ round(0, c)) &* prime.0 &+ prime.3
            hash = (hash ^ round(0, d)) &* prime.0 &+ prime.3
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
