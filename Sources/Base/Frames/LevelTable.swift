import Glibc

/// Numbers different texts in the order in which they are first seen, straight from bytes.
struct LevelTable {
    private var bytes: [UInt8] = []
    private var offsets: [Int] = [0]
    private var hashes: [UInt64] = []
    /// Open addressing with linear probing, at most half full; -1 is free.
    private var slots: [Int32] = Array(repeating: -1, count: 64)

    var count: Int { hashes.count }

    var levels: [String] { (0..<count).map(level) }

    func level(_ code: Int) -> String { String(decoding: bytes[offsets[code]..<offsets[code + 1]], as: UTF8.self) }

    /// The number of a text, or nil when it was not seen.
    func code(of p: UnsafePointer<UInt8>, _ length: Int) -> Int32? {
        let code = slots[slot(of: p, length, Self.hash(p, length))]
        return code < 0 ? nil : code
    }

    /// The number of a text, which is added when it is new.
    mutating func insert(_ p: UnsafePointer<UInt8>, _ length: Int) -> Int32 {
        let hash = Self.hash(p, length)
        let place = slot(of: p, length, hash)
        if slots[place] >= 0 { return slots[place] }
        let code = Int32(count)
        slots[place] = code
        hashes.append(hash)
        bytes.append(contentsOf: UnsafeBufferPointer(start: p, count: length))
        offsets.append(bytes.count)
        if count * 2 > slots.count { grow() }
        return code
    }

    private func slot(of p: UnsafePointer<UInt8>, _ length: Int, _ hash: UInt64) -> Int {
        let mask = slots.count - 1
        var place = Int(truncatingIfNeeded: hash) & mask
        while true {
            let code = Int(slots[place])
            if code < 0 { return place }
            if hashes[code] == hash, isEqual(code, p, length) { return place }
            place = (place + 1) & mask
        }
    }

    private func isEqual(_ code: Int, _ p: UnsafePointer<UInt8>, _ length: Int) -> Bool {
        let start = offsets[code]
        guard offsets[code + 1] - start == length else { return false }
        return bytes.withUnsafeBufferPointer { stored in
            guard let base = stored.baseAddress else { return length == 0 }
            return memcmp(base + start, p, length) == 0
        }
    }

    private mutating func grow() {
        slots = Array(repeating: -1, count: slots.count * 2)
        let mask = slots.count - 1
        for (code, hash) in hashes.enumerated() {
            var place = Int(truncatingIfNeeded: hash) & mask
            while slots[place] >= 0 { place = (place + 1) & mask }
            slots[place] = Int32(code)
        }
    }

    /// FNV-1a (Fowler, Noll and Vo) with a last mix, so that the low bits are good.
    private static func hash(_ p: UnsafePointer<UInt8>, _ length: Int) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for i in 0..<length { hash = (hash ^ UInt64(p[i])) &* 0x100_0000_01B3 }
        return hash ^ (hash >> 32)
    }
}
