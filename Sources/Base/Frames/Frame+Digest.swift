import Crypto

extension Frame {
    /// SHA-256 over schema and values, in hexadecimal.
    ///
    /// Says the same for the same values, however a file spelled them and in whatever order levels were seen; another
    /// order of rows or columns is another table. Formats.md tells the bytes that are hashed.
    ///
    /// - Complexity: O(rows · columns).
    package var digest: String {
        var hasher = ColumnHasher()
        hasher.add(text: "vagus.frame.1")
        hasher.add(UInt64(rowCount))
        hasher.add(UInt64(columns.count))
        for (schema, column) in zip(schema, columns) {
            hasher.add(text: schema.name)
            hasher.add(text: schema.type.rawValue)
            hasher.add(column)
        }
        return hasher.finish()
    }
}

/// Feeds canonical values into SHA-256 by the buffer.
private struct ColumnHasher {
    private static let bufferBytes = 1 << 16
    /// Stands for a missing value, where no value has it.
    private static let missing = UInt64.max

    private var hash = SHA256()
    private var buffer: [UInt8] = []

    init() { buffer.reserveCapacity(Self.bufferBytes * 2) }

    mutating func add(_ number: UInt64) {
        withUnsafeBytes(of: number.littleEndian) { buffer.append(contentsOf: $0) }
        if buffer.count >= Self.bufferBytes { flush() }
    }

    mutating func add(text: String) {
        var text = text
        text.withUTF8 { bytes in
            add(UInt64(bytes.count))
            buffer.append(contentsOf: bytes)
        }
        if buffer.count >= Self.bufferBytes { flush() }
    }

    mutating func add(_ column: Column) {
        switch column {
        case .float(let values):
            // One NaN for all, and no negative zero: both can differ by spelling alone.
            for value in values { add(value.isNaN ? Self.missing : value == 0 ? 0 : value.bitPattern) }
        case .int(let values, let gaps), .timestamp(let values, let gaps):
            for (row, value) in values.enumerated() { add(gaps[row] ? 0 : UInt64(bitPattern: value)) }
            add(gaps)
        case .bool(let values, let gaps):
            for (row, value) in values.enumerated() { add(gaps[row] ? 2 : value ? 1 : 0) }
        case .category: addCategory(column)
        case .string(let table):
            for row in 0..<table.count {
                if let text = table[row] { add(text: text) } else { add(Self.missing) }
            }
        }
    }

    mutating func finish() -> String {
        flush()
        return hash.finalize().map { byte in
            let digits = String(byte, radix: 16)
            return byte < 16 ? "0" + digits : digits
        }.joined()
    }

    private mutating func add(_ gaps: Bitmap) {
        add(UInt64(gaps.words.count))
        for word in gaps.words { add(word) }
    }

    /// Levels in byte order first, then their numbers in that order.
    private mutating func addCategory(_ column: Column) {
        guard case .category(let codes, let levels) = column.withoutUnusedLevels() else { return }
        let sorted = Set(levels).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        let places = Dictionary(uniqueKeysWithValues: sorted.enumerated().map { ($1, UInt64($0)) })
        let ranks = levels.map { places[$0] ?? Self.missing }
        add(UInt64(sorted.count))
        for level in sorted { add(text: level) }
        for code in codes { add(code < 0 ? Self.missing : ranks[Int(code)]) }
    }

    private mutating func flush() {
        hash.update(data: buffer)
        buffer.removeAll(keepingCapacity: true)
    }
}
