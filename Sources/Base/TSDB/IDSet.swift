/// A set of series numbers as bits: intersecting a hundred thousand of them is fifteen hundred words.
struct IDSet: Sendable {
    private(set) var words: [UInt64]

    init(universe: Int) { words = Array(repeating: 0, count: (universe + 63) / 64) }

    mutating func insert(_ id: Int) { words[id >> 6] |= 1 << UInt64(id & 63) }
    mutating func remove(_ id: Int) { words[id >> 6] &= ~(1 << UInt64(id & 63)) }
    func contains(_ id: Int) -> Bool { words[id >> 6] >> UInt64(id & 63) & 1 == 1 }

    mutating func grow(universe: Int) {
        while words.count * 64 < universe { words.append(0) }
    }

    mutating func formUnion(_ other: IDSet) {
        for index in words.indices where index < other.words.count { words[index] |= other.words[index] }
    }

    mutating func formIntersection(_ other: IDSet) {
        for index in words.indices { words[index] &= index < other.words.count ? other.words[index] : 0 }
    }

    mutating func subtract(_ other: IDSet) {
        for index in words.indices where index < other.words.count { words[index] &= ~other.words[index] }
    }

    var count: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }
    var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

    /// Ascending.
    @inline(__always)
    func forEach(_ body: (Int) throws -> Void) rethrows {
        for index in words.indices {
            var word = words[index]
            while word != 0 {
                try body(index << 6 | word.trailingZeroBitCount)
                word &= word - 1
            }
        }
    }
}
