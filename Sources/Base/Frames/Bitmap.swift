/// A set of row numbers, one bit each: the rows of a column that are missing.
///
/// Words are kept up to the last row that is in the set, so an empty set costs nothing and two equal sets are equal
/// word by word.
package struct Bitmap: Sendable, Equatable {
    package private(set) var words: [UInt64] = []

    package init() {}

    /// Makes the set of the positions that are true.
    package init(_ flags: some Sequence<Bool>) {
        for (row, flag) in flags.enumerated() where flag { insert(row) }
    }

    /// Makes a set of stored words, dropping empty ones at the end.
    init(words: [UInt64]) {
        self.words = words
        trim()
    }

    package var isEmpty: Bool { words.isEmpty }

    /// How many rows are in the set.
    package var population: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }

    /// Tells whether a row is in the set; rows beyond the end are not.
    package subscript(_ row: Int) -> Bool {
        let word = row >> 6
        return word < words.count && words[word] & (1 << UInt64(row & 63)) != 0
    }

    /// Adds a row.
    package mutating func insert(_ row: Int) {
        let word = row >> 6
        while words.count <= word { words.append(0) }
        words[word] |= 1 << UInt64(row & 63)
    }

    /// Forgets the rows from `count` on.
    mutating func truncate(to count: Int) {
        let full = count >> 6
        guard words.count > full else { return }
        words.removeSubrange((full + 1)...)
        words[full] &= (1 << UInt64(count & 63)) - 1
        trim()
    }

    /// The set as seen through a list of row numbers.
    func take(_ rows: [Int]) -> Bitmap {
        var taken = Bitmap()
        if isEmpty { return taken }
        for (position, row) in rows.enumerated() where self[row] { taken.insert(position) }
        return taken
    }

    private mutating func trim() {
        while words.last == 0 { words.removeLast() }
    }
}
