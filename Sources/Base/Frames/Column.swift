/// The values of one column.
///
/// Missing values are NaN in `float`, code -1 in `category`, and a bit of `missing` elsewhere (the value below such a
/// bit says nothing and is never read).
package enum Column: Sendable {
    case float([Double])
    case int([Int64], missing: Bitmap)
    case bool([Bool], missing: Bitmap)
    /// Codes are positions in `levels`.
    case category(codes: [Int32], levels: [String])
    case string(TextTable)
    /// Microseconds since 1970 in UTC.
    case timestamp([Int64], missing: Bitmap)
}

// MARK: - Making columns

extension Column {
    /// A column of numbers; nil is missing.
    package static func floats(_ values: some Sequence<Double?>) -> Column { .float(values.map { $0 ?? .nan }) }

    /// A column of whole numbers; nil is missing.
    package static func ints(_ values: some Sequence<Int64?>) -> Column {
        let values = Array(values)
        return .int(values.map { $0 ?? 0 }, missing: Bitmap(values.map { $0 == nil }))
    }

    /// A column of truth values; nil is missing.
    package static func bools(_ values: some Sequence<Bool?>) -> Column {
        let values = Array(values)
        return .bool(values.map { $0 ?? false }, missing: Bitmap(values.map { $0 == nil }))
    }

    /// A column of levels in the order in which they are first seen; nil is missing.
    package static func categories(_ values: some Sequence<String?>) -> Column {
        var known: [String: Int32] = [:]
        var levels: [String] = []
        let codes = values.map { value -> Int32 in
            guard let value else { return -1 }
            if let code = known[value] { return code }
            let code = Int32(levels.count)
            known[value] = code
            levels.append(value)
            return code
        }
        return .category(codes: codes, levels: levels)
    }

    /// A column of texts; nil is missing.
    package static func strings(_ values: some Sequence<String?>) -> Column { .string(TextTable(values)) }

    /// A column of instants in microseconds since 1970; nil is missing.
    package static func timestamps(_ values: some Sequence<Int64?>) -> Column {
        let values = Array(values)
        return .timestamp(values.map { $0 ?? 0 }, missing: Bitmap(values.map { $0 == nil }))
    }

    /// A column of a type in which every row is missing.
    package static func missing(_ type: ColumnType, count: Int) -> Column {
        var all = Bitmap()
        for row in 0..<count { all.insert(row) }
        switch type {
        case .float: return .float(Array(repeating: .nan, count: count))
        case .int: return .int(Array(repeating: 0, count: count), missing: all)
        case .bool: return .bool(Array(repeating: false, count: count), missing: all)
        case .category: return .category(codes: Array(repeating: -1, count: count), levels: [])
        case .string: return .string(TextTable(Array(repeating: String?.none, count: count)))
        case .timestamp: return .timestamp(Array(repeating: 0, count: count), missing: all)
        }
    }
}

// MARK: - Reading columns

extension Column {
    package var type: ColumnType {
        switch self {
        case .float: .float
        case .int: .int
        case .bool: .bool
        case .category: .category
        case .string: .string
        case .timestamp: .timestamp
        }
    }

    package var count: Int {
        switch self {
        case .float(let values): values.count
        case .int(let values, _), .timestamp(let values, _): values.count
        case .bool(let values, _): values.count
        case .category(let codes, _): codes.count
        case .string(let table): table.count
        }
    }

    package func isMissing(_ row: Int) -> Bool {
        switch self {
        case .float(let values): values[row].isNaN
        case .int(_, let missing), .timestamp(_, let missing), .bool(_, let missing): missing[row]
        case .category(let codes, _): codes[row] < 0
        case .string(let table): table.missing[row]
        }
    }

    package var missingCount: Int {
        switch self {
        case .float(let values): values.reduce(0) { $0 + ($1.isNaN ? 1 : 0) }
        case .int(_, let missing), .timestamp(_, let missing), .bool(_, let missing): missing.population
        case .category(let codes, _): codes.reduce(0) { $0 + ($1 < 0 ? 1 : 0) }
        case .string(let table): table.missing.population
        }
    }

    /// The value of a row as a number.
    ///
    /// - Returns: NaN when missing; 0 or 1 for truth values; microseconds for instants; the number that a level or a
    ///   text spells, or NaN when it spells none.
    package func double(_ row: Int) -> Double {
        switch self {
        case .float(let values): values[row]
        case .int(let values, let missing), .timestamp(let values, let missing):
            missing[row] ? .nan : Double(values[row])
        case .bool(let values, let missing): missing[row] ? .nan : values[row] ? 1 : 0
        case .category(let codes, let levels): codes[row] < 0 ? .nan : numeral(levels[Int(codes[row])])
        case .string(let table): table[row].map(numeral) ?? .nan
        }
    }

    /// All rows as numbers, each as `double(_:)` says.
    package var doubles: [Double] {
        switch self {
        case .float(let values): return values
        case .category(let codes, let levels):
            let numbers = levels.map(numeral)
            return codes.map { $0 < 0 ? .nan : numbers[Int($0)] }
        default: return (0..<count).map(double)
        }
    }

    /// The value of a row as text, or nil when it is missing.
    ///
    /// Numbers are the shortest text that reads back as the same number, instants are RFC 3339 in UTC.
    package func text(_ row: Int) -> String? {
        switch self {
        case .float(let values): values[row].isNaN ? nil : "\(values[row])"
        case .int(let values, let missing): missing[row] ? nil : "\(values[row])"
        case .bool(let values, let missing): missing[row] ? nil : values[row] ? "true" : "false"
        case .category(let codes, let levels): codes[row] < 0 ? nil : levels[Int(codes[row])]
        case .string(let table): table[row]
        case .timestamp(let values, let missing): missing[row] ? nil : Calendar.text(of: values[row])
        }
    }

    /// The rows with the given numbers, in that order; a row may be taken more than once.
    package func take(_ rows: [Int]) -> Column {
        switch self {
        case .float(let values): .float(rows.map { values[$0] })
        case .int(let values, let missing): .int(rows.map { values[$0] }, missing: missing.take(rows))
        case .bool(let values, let missing): .bool(rows.map { values[$0] }, missing: missing.take(rows))
        case .category(let codes, let levels): .category(codes: rows.map { codes[$0] }, levels: levels)
        case .string(let table): .string(table.take(rows))
        case .timestamp(let values, let missing): .timestamp(rows.map { values[$0] }, missing: missing.take(rows))
        }
    }
}

// MARK: - Comparing columns

extension Column: Equatable {
    /// Tells whether two columns say the same: missing equals missing, and the order of levels does not matter.
    package static func == (left: Column, right: Column) -> Bool {
        guard left.type == right.type, left.count == right.count else { return false }
        switch (left, right) {
        case (.float(let a), .float(let b)):
            return a.indices.allSatisfy { a[$0] == b[$0] || (a[$0].isNaN && b[$0].isNaN) }
        case (.int(let a, let gaps), .int(let b, let others)),
            (.timestamp(let a, let gaps), .timestamp(let b, let others)):
            return gaps == others && a.indices.allSatisfy { a[$0] == b[$0] || gaps[$0] }
        case (.bool(let a, let gaps), .bool(let b, let others)):
            return gaps == others && a.indices.allSatisfy { a[$0] == b[$0] || gaps[$0] }
        case (.category(let a, let levels), .category(let b, let others)):
            if levels == others { return a == b }
            return a.indices.allSatisfy { row in
                a[row] < 0 || b[row] < 0 ? a[row] == b[row] : levels[Int(a[row])] == others[Int(b[row])]
            }
        case (.string(let a), .string(let b)): return a == b
        default: return false
        }
    }
}

/// The number that a text spells, or NaN.
private func numeral(_ text: String) -> Double {
    var text = text
    return text.withUTF8 { bytes in
        guard let start = bytes.baseAddress else { return .nan }
        return CellParser.float(start, bytes.count) ?? .nan
    }
}
