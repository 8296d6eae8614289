/// Why a cell does not fit its column.
enum CellFault {
    case notInt, notFloat, notBool, notTimestamp, notText, tooManyLevels

    var reason: String {
        switch self {
        case .notInt: "not a whole number of 64 bits"
        case .notFloat: "not a finite number"
        case .notBool: "not true or false"
        case .notTimestamp: "not a date or an RFC 3339 time"
        case .notText: "not valid UTF-8"
        case .tooManyLevels: "too many different values"
        }
    }
}

/// Grows one column cell by cell.
struct ColumnBuilder {
    let type: ColumnType
    private let levelLimit: Int
    private var doubles: [Double] = []
    private var ints: [Int64] = []
    private var bools: [Bool] = []
    private var codes: [Int32] = []
    private var levels = LevelTable()
    private var texts = TextTable()
    private var missing = Bitmap()

    init(_ type: ColumnType, levelLimit: Int) {
        self.type = type
        self.levelLimit = levelLimit
    }

    /// Adds a cell.
    ///
    /// An empty cell that is text, as it was in quotes, is the empty text and not missing.
    ///
    /// - Returns: Nil, or why the cell does not fit; nothing was added then.
    mutating func append(_ p: UnsafePointer<UInt8>, _ count: Int, isText: Bool) -> CellFault? {
        switch type {
        case .float:
            guard let value = CellParser.float(p, count) else { return appendGap(p, count, else: .notFloat) }
            doubles.append(value)
        case .int:
            guard let value = CellParser.int(p, count) else { return appendGap(p, count, else: .notInt) }
            ints.append(value)
        case .bool:
            guard let value = CellParser.bool(p, count) else { return appendGap(p, count, else: .notBool) }
            bools.append(value)
        case .timestamp:
            guard let value = Calendar.microseconds(p, count) else { return appendGap(p, count, else: .notTimestamp) }
            ints.append(value)
        case .category:
            guard count == 0, !isText else { return appendLevel(p, count) }
            appendMissing()
        case .string:
            if count == 0, !isText {
                appendMissing()
            } else {
                guard isUTF8(p, count) else { return .notText }
                texts.append(UnsafeBufferPointer(start: p, count: count))
            }
        }
        return nil
    }

    mutating func appendMissing() {
        switch type {
        case .float: doubles.append(.nan)
        case .int, .timestamp:
            missing.insert(ints.count)
            ints.append(0)
        case .bool:
            missing.insert(bools.count)
            bools.append(false)
        case .category: codes.append(-1)
        case .string: texts.appendMissing()
        }
    }

    /// Takes back the last cell, when a later one of its row did not fit.
    mutating func removeLast() {
        switch type {
        case .float: doubles.removeLast()
        case .int, .timestamp:
            ints.removeLast()
            missing.truncate(to: ints.count)
        case .bool:
            bools.removeLast()
            missing.truncate(to: bools.count)
        case .category: codes.removeLast()
        case .string: texts.removeLast()
        }
    }

    /// The column, with levels that only rejected rows had left out.
    consuming func finish() -> Column {
        switch type {
        case .float: .float(doubles)
        case .int: .int(ints, missing: missing)
        case .timestamp: .timestamp(ints, missing: missing)
        case .bool: .bool(bools, missing: missing)
        case .string: .string(texts)
        case .category: Column.category(codes: codes, levels: levels.levels).withoutUnusedLevels()
        }
    }

    private mutating func appendGap(_ p: UnsafePointer<UInt8>, _ count: Int, else fault: CellFault) -> CellFault? {
        let (p, count) = CellParser.trimmed(p, count)
        guard CellParser.isMissing(p, count) else { return fault }
        appendMissing()
        return nil
    }

    private mutating func appendLevel(_ p: UnsafePointer<UInt8>, _ count: Int) -> CellFault? {
        if let code = levels.code(of: p, count) {
            codes.append(code)
            return nil
        }
        guard isUTF8(p, count) else { return .notText }
        guard levels.count < levelLimit else { return .tooManyLevels }
        codes.append(levels.insert(p, count))
        return nil
    }
}

extension Column {
    /// The same categories without levels that no row has; other columns as they are.
    package func withoutUnusedLevels() -> Column {
        guard case .category(let codes, let levels) = self else { return self }
        var isUsed = [Bool](repeating: false, count: levels.count)
        for code in codes where code >= 0 { isUsed[Int(code)] = true }
        if isUsed.allSatisfy({ $0 }) { return self }
        var renumbered = [Int32](repeating: -1, count: levels.count)
        var kept: [String] = []
        for (old, level) in levels.enumerated() where isUsed[old] {
            renumbered[old] = Int32(kept.count)
            kept.append(level)
        }
        return .category(codes: codes.map { $0 < 0 ? -1 : renumbered[Int($0)] }, levels: kept)
    }
}

/// Tells whether bytes are valid UTF-8; quick where they are ASCII.
func isUTF8(_ p: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    var high: UInt8 = 0
    for i in 0..<count { high |= p[i] }
    if high < 0x80 { return true }
    return String(validating: UnsafeBufferPointer(start: p, count: count), as: UTF8.self) != nil
}

/// Watches the cells of a column to tell which type it has.
struct TypeGuess {
    /// More different texts than this make a column a string.
    static let levelLimit = 1_000

    private var couldBeInt = true
    private var couldBeFloat = true
    private var couldBeBool = true
    private var rows = 0
    private var levels = LevelTable()

    /// Looks at a cell that is not missing.
    ///
    /// One that is text cannot be anything else, as a JSON string.
    mutating func observe(_ p: UnsafePointer<UInt8>, _ count: Int, isText: Bool) {
        rows += 1
        if levels.count <= Self.levelLimit { _ = levels.insert(p, count) }
        if isText { (couldBeInt, couldBeFloat, couldBeBool) = (false, false, false) }
        guard couldBeFloat || couldBeBool else { return }
        let (p, count) = CellParser.trimmed(p, count)
        if CellParser.isMissing(p, count) { return }
        if couldBeBool { couldBeBool = CellParser.word(p, count) != nil }
        guard couldBeFloat else { return }
        guard let number = CellParser.decimal(p, count), !isCode(number) else {
            (couldBeInt, couldBeFloat) = (false, false)
            return
        }
        if couldBeInt { couldBeInt = number.isWhole }
    }

    /// Digits that are a name and not an amount: `007`, or more than 64 bits hold.
    private func isCode(_ number: CellParser.Decimal) -> Bool {
        number.isWhole && (number.hasLeadingZero || number.isTruncated || number.mantissa > UInt64(Int64.max))
    }

    /// The type that all cells fit; numbers when there were none.
    var type: ColumnType {
        if couldBeInt, couldBeFloat, couldBeBool { return .float }
        if couldBeInt, couldBeFloat { return .int }
        if couldBeFloat { return .float }
        if couldBeBool { return .bool }
        return levels.count <= min(Self.levelLimit, max(20, rows / 2)) ? .category : .string
    }
}
