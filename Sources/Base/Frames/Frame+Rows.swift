extension Frame {
    /// How many rows a join may make.
    package static let joinRowLimit = 50_000_000

    /// The rows with the given numbers, in that order; a row may be taken more than once.
    package func take(_ rows: [Int]) -> Frame {
        rebuilt(columns.map { $0.take(rows) }, rowCount: columns.isEmpty ? 0 : rows.count)
    }

    /// The first rows, at most `count`.
    package func head(_ count: Int) -> Frame { take(Array(0..<min(max(0, count), rowCount))) }

    /// The rows whose number passes a test.
    package func filter<Failure: Error>(_ isIncluded: (Int) throws(Failure) -> Bool) throws(Failure) -> Frame {
        var rows: [Int] = []
        for row in 0..<rowCount where try isIncluded(row) { rows.append(row) }
        return take(rows)
    }

    /// The rows of each value of a column, ordered by value; rows where it is missing belong to no group.
    package func groups(of column: String) throws(FrameError) -> [(key: String, rows: [Int])] {
        let values = try self.column(column)
        var groups: [String: [Int]] = [:]
        if case .category(let codes, let levels) = values {
            var rows = [[Int]](repeating: [], count: levels.count)
            for (row, code) in codes.enumerated() where code >= 0 { rows[Int(code)].append(row) }
            for (level, rows) in zip(levels, rows) where !rows.isEmpty { groups[level] = rows }
        } else {
            for row in 0..<rowCount {
                if let key = values.text(row) { groups[key, default: []].append(row) }
            }
        }
        return groups.sorted { $0.key < $1.key }.map { (key: $0.key, rows: $0.value) }
    }

    /// Puts the rows of two tables side by side where a key is equal (an inner join).
    ///
    /// Rows keep this table's order, and where several rows of the other match, the other's order. Columns of the other
    /// whose name is taken get the suffix `_right`. A missing key matches nothing.
    ///
    /// - Throws: `unknown_column`, `type_mismatch` unless both keys are whole numbers or both are text, and
    ///   `limit_exceeded` beyond `joinRowLimit` rows.
    package func join(_ other: Frame, on key: String) throws(FrameError) -> Frame {
        let left = try JoinKey(column(key), name: key)
        let right = try JoinKey(other.column(key), name: key)
        let pairs = try left.matches(right)
        var joined = take(pairs.map(\.left))
        let rows = pairs.map(\.right)
        for (schema, column) in zip(other.schema, other.columns) where schema.name != key {
            let name = joined[schema.name] == nil ? schema.name : schema.name + "_right"
            joined = try joined.appending(name, column.take(rows))
        }
        return joined
    }

    /// Puts tables of one schema below each other.
    ///
    /// - Throws: `type_mismatch` when names, order or types differ; `invalid_argument` for no table at all.
    package static func concatenate(_ frames: [Frame]) throws(FrameError) -> Frame {
        guard let first = frames.first else {
            throw FrameError(.invalidArgument, "no tables to put together", hint: "Give at least one table.")
        }
        for frame in frames where frame.schema != first.schema {
            throw FrameError(
                .typeMismatch, "tables to put together differ in columns: \(first.names) and \(frame.names)",
                hint: "Select the same columns, with the same types, in the same order.")
        }
        return try Frame(
            first.schema.enumerated().map { index, schema in
                (schema, Column.concatenate(schema.type, frames.map { $0.columns[index] }))
            })
    }

    /// Splits the rows at random, the same way for the same seed and row count on every machine.
    ///
    /// - Parameters:
    ///   - test: Share of rows that go to the second table, 0...1; rounded to the nearest row.
    ///   - seed: Start of the SplitMix64 sequence (Steele, Lea and Flood 2014) that shuffles (Fisher and Yates).
    /// - Returns: Two tables, both in the order of this one.
    /// - Throws: `invalid_argument` for a share outside 0...1.
    package func split(test: Double, seed: UInt64) throws(FrameError) -> (train: Frame, test: Frame) {
        guard test >= 0, test <= 1 else {
            throw FrameError(
                .invalidArgument, "the share of test rows is \(test)", hint: "Give a number between 0 and 1.")
        }
        var order = Array(0..<rowCount)
        var random = SplitMix64(seed: seed)
        for last in stride(from: rowCount - 1, to: 0, by: -1) {
            order.swapAt(last, random.below(last + 1))
        }
        let size = Int((Double(rowCount) * test).rounded())
        return (take(order[size...].sorted()), take(order[..<size].sorted()))
    }

    /// Splits the rows by the text of a column: those with the value go to the second table, all others to the first.
    package func split(column name: String, test value: String) throws(FrameError) -> (train: Frame, test: Frame) {
        let column = try column(name)
        var chosen: [Int] = []
        var others: [Int] = []
        for row in 0..<rowCount {
            if column.text(row) == value { chosen.append(row) } else { others.append(row) }
        }
        return (take(others), take(chosen))
    }
}

/// The key of a join in a form that can be looked up.
private enum JoinKey {
    case ints([Int64?])
    case texts([String?])

    init(_ column: Column, name: String) throws(FrameError) {
        switch column {
        case .int(let values, let missing): self = .ints(values.indices.map { missing[$0] ? nil : values[$0] })
        case .category, .string: self = .texts((0..<column.count).map(column.text))
        default:
            throw FrameError(
                .typeMismatch, "column \"\(name)\" is \(column.type.rawValue) and cannot be a key",
                hint: "Join on a column of type int, category or string.")
        }
    }

    func matches(_ other: JoinKey) throws(FrameError) -> [(left: Int, right: Int)] {
        switch (self, other) {
        case (.ints(let left), .ints(let right)): return try Self.match(left, right)
        case (.texts(let left), .texts(let right)): return try Self.match(left, right)
        default:
            throw FrameError(
                .typeMismatch, "the key is a number in one table and text in the other",
                hint: "Declare the key with the same type in both.")
        }
    }

    private static func match<Key: Hashable>(_ left: [Key?], _ right: [Key?]) throws(FrameError)
        -> [(left: Int, right: Int)]
    {
        var places: [Key: [Int]] = [:]
        for (row, key) in right.enumerated() {
            if let key { places[key, default: []].append(row) }
        }
        var pairs: [(left: Int, right: Int)] = []
        for (row, key) in left.enumerated() {
            guard let key, let found = places[key] else { continue }
            guard pairs.count + found.count <= Frame.joinRowLimit else {
                throw FrameError(
                    .limitExceeded, "the join makes more than \(Frame.joinRowLimit) rows",
                    hint: "Make the key unique in one of the tables.")
            }
            for other in found { pairs.append((row, other)) }
        }
        return pairs
    }
}

extension Column {
    /// Puts columns of one type below each other.
    static func concatenate(_ type: ColumnType, _ parts: [Column]) -> Column {
        switch type {
        case .float: return .float(parts.flatMap(\.doubles))
        case .int: return .ints(parts.flatMap(\.optionalInts))
        case .timestamp: return .timestamps(parts.flatMap(\.optionalInts))
        case .bool:
            return .bools(
                parts.flatMap { part in
                    (0..<part.count).map { part.isMissing($0) ? nil : part.double($0) == 1 }
                })
        case .category: return .categories(parts.lazy.flatMap { part in (0..<part.count).lazy.map(part.text) })
        case .string: return .strings(parts.lazy.flatMap { part in (0..<part.count).lazy.map(part.text) })
        }
    }

    private var optionalInts: [Int64?] {
        switch self {
        case .int(let values, let missing), .timestamp(let values, let missing):
            values.indices.map { missing[$0] ? nil : values[$0] }
        default: []
        }
    }
}

/// A sequence of pseudo-random numbers with a seed (Steele, Lea and Flood, OOPSLA 2014); not for secrets.
struct SplitMix64 {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number in `0..<bound`, by the high half of a product (bias below 2⁻⁴⁰ for any table that fits here).
    mutating func below(_ bound: Int) -> Int {
        Int(next().multipliedFullWidth(by: UInt64(bound)).high)
    }
}
