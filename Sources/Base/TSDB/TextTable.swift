import Series

/// Hashes runs of bytes; seeded once a process, so that nobody can choose labels that collide.
enum ByteHash {
    private static let seed = UInt64.random(in: .min ... .max)

    static func of(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
        var hash = seed ^ UInt64(bytes.count)
        guard let base = UnsafeRawPointer(bytes.baseAddress) else { return mix(hash, 0x9e37_79b9_7f4a_7c15) }
        var (at, left) = (base, bytes.count)
        while left >= 16 {
            hash = mix(
                at.loadUnaligned(as: UInt64.self) ^ hash,
                at.loadUnaligned(fromByteOffset: 8, as: UInt64.self) ^ 0xe703_7ed1_a0b4_28db)
            at += 16
            left -= 16
        }
        if left >= 8 {
            hash = mix(at.loadUnaligned(as: UInt64.self) ^ hash, 0x8ebc_6af0_9c88_c6e3)
            at += 8
            left -= 8
        }
        var last: UInt64 = 0
        for index in 0..<left { last = last << 8 | UInt64(at.load(fromByteOffset: index, as: UInt8.self)) }
        return mix(hash ^ last, 0x9e37_79b9_7f4a_7c15 ^ UInt64(left))
    }

    @inline(__always)
    private static func mix(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = (left ^ 0x2d35_8dcc_aa6c_78a5).multipliedFullWidth(by: right | 1)
        return product.high ^ product.low
    }
}

/// Texts, each kept once and numbered in the order of arrival.
struct TextTable {
    private var arena: [UInt8] = []
    private var ends: [Int] = []
    private var slots: [UInt32] = Array(repeating: 0, count: 8)

    var count: Int { ends.count }
    var byteCount: Int { arena.count }

    func withText<R>(_ index: Int, _ body: (UnsafeBufferPointer<UInt8>) throws -> R) rethrows -> R {
        let start = index == 0 ? 0 : ends[index - 1]
        return try arena.withUnsafeBufferPointer { try body(UnsafeBufferPointer(rebasing: $0[start..<ends[index]])) }
    }

    func find(_ text: UnsafeBufferPointer<UInt8>) -> Int? {
        let index = slots[slot(of: text)]
        return index == 0 ? nil : Int(index) - 1
    }

    /// The text's number, and whether it is new.
    mutating func insert(_ text: UnsafeBufferPointer<UInt8>) -> (index: Int, isNew: Bool) {
        let place = slot(of: text)
        if slots[place] != 0 { return (Int(slots[place]) - 1, false) }
        arena.append(contentsOf: text)
        ends.append(arena.count)
        slots[place] = UInt32(ends.count)
        if ends.count * 4 > slots.count * 3 { grow() }
        return (ends.count - 1, true)
    }

    private func slot(of text: UnsafeBufferPointer<UInt8>) -> Int {
        let mask = slots.count - 1
        var at = Int(truncatingIfNeeded: ByteHash.of(text)) & mask
        while slots[at] != 0 {
            if withText(Int(slots[at]) - 1, { compareEqual($0, text) }) { return at }
            at = (at + 1) & mask
        }
        return at
    }

    private mutating func grow() {
        var larger = [UInt32](repeating: 0, count: slots.count * 2)
        let mask = larger.count - 1
        for index in ends.indices {
            var at = withText(index) { Int(truncatingIfNeeded: ByteHash.of($0)) } & mask
            while larger[at] != 0 { at = (at + 1) & mask }
            larger[at] = UInt32(index + 1)
        }
        slots = larger
    }
}

@inline(__always)
func compareEqual(_ left: UnsafeBufferPointer<UInt8>, _ right: UnsafeBufferPointer<UInt8>) -> Bool {
    guard left.count == right.count else { return false }
    guard let one = UnsafeRawPointer(left.baseAddress), let two = UnsafeRawPointer(right.baseAddress) else {
        return true
    }
    var at = 0
    while at + 8 <= left.count {
        if one.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            != two.loadUnaligned(fromByteOffset: at, as: UInt64.self)
        {
            return false
        }
        at += 8
    }
    while at < left.count {
        if one.load(fromByteOffset: at, as: UInt8.self) != two.load(fromByteOffset: at, as: UInt8.self) { return false }
        at += 1
    }
    return true
}

/// The order of two encoded label sets: as `Labels` compares, yet the part that is equal is passed in words.
func compareEncoded(_ left: UnsafeBufferPointer<UInt8>, _ right: UnsafeBufferPointer<UInt8>) -> Int {
    let shared = min(left.count, right.count)
    var differs = 0
    if let one = UnsafeRawPointer(left.baseAddress), let two = UnsafeRawPointer(right.baseAddress) {
        while differs + 8 <= shared,
            one.loadUnaligned(fromByteOffset: differs, as: UInt64.self)
                == two.loadUnaligned(fromByteOffset: differs, as: UInt64.self)
        {
            differs += 8
        }
        while differs < shared, left[differs] == right[differs] { differs += 1 }
    }
    if differs == shared { return left.count - right.count }
    // The texts before the one that differs are the same on both sides: step over them by their lengths.
    var start = 0
    while true {
        let (bodyLeft, endLeft) = text(left, start)
        let (bodyRight, endRight) = text(right, start)
        if endLeft > differs || endRight > differs || endLeft <= start {
            return compareBytes(
                UnsafeBufferPointer(rebasing: left[bodyLeft..<max(bodyLeft, endLeft)]),
                UnsafeBufferPointer(rebasing: right[bodyRight..<max(bodyRight, endRight)]))
        }
        start = endLeft
    }
}

/// Where a text's bytes begin and end, bounded by the run.
@inline(__always)
private func text(_ bytes: UnsafeBufferPointer<UInt8>, _ start: Int) -> (body: Int, end: Int) {
    var (length, shift, at) = (0, 0, start)
    while at < bytes.count {
        let byte = bytes[at]
        at += 1
        length |= Int(byte & 0x7f) << shift
        shift += 7
        if byte < 0x80 || shift > 35 { break }
    }
    return (at, min(bytes.count, at + length))
}
