/// What a reader of text tables will take.
package struct CSVLimits: Sendable, Equatable {
    /// The longest record in bytes, with the line ends inside its quotes.
    package var lineBytes = 1 << 20
    /// The most columns, or different JSON keys.
    package var columns = 4_096
    /// The most rows.
    package var rows = 50_000_000
    /// The most different values of a category.
    package var categoryLevels = 10_000
    /// How many rejected rows are kept with their reasons; all are counted.
    package var rejectedKept = 10_000
    /// The byte between cells.
    package var separator = UInt8(ascii: ",")

    /// Limits for data that the owner of the installation brings.
    package static let standard = CSVLimits()

    package init() {}
}

/// A row that was put aside because it does not fit.
package struct RejectedRow: Sendable, Codable, Equatable {
    /// How many bytes of a value are kept.
    package static let valueBytes = 80

    /// The number of the data row, from 1; the header and blank lines are not counted.
    package var row: Int
    /// The column whose cell does not fit, or nil when the whole row does not.
    package var column: String?
    /// The cell as it was written, cut to `valueBytes`.
    package var value: String
    package var reason: String

    package init(row: Int, column: String?, value: String, reason: String) {
        self.row = row
        self.column = column
        self.value = value
        self.reason = reason
    }
}

/// A table that was read, and what was left out of it.
package struct CSVResult: Sendable, Equatable {
    package var frame: Frame
    /// The first rejected rows, at most `CSVLimits.rejectedKept`.
    package var rejected: [RejectedRow]
    /// All rejected rows.
    package var rejectedCount: Int
    /// All names in the file, also of columns that the schema left out.
    package var header: [String]
    /// Rows in the file: those of the frame and the rejected.
    package var rowsRead: Int

    package init(
        frame: Frame, rejected: [RejectedRow], rejectedCount: Int? = nil, header: [String]? = nil, rowsRead: Int? = nil
    ) {
        self.frame = frame
        self.rejected = rejected
        self.rejectedCount = rejectedCount ?? rejected.count
        self.header = header ?? frame.names
        self.rowsRead = rowsRead ?? frame.rowCount + rejected.count
    }
}

/// Makes a table of records: finds out the types when none are given, then reads and puts bad rows aside.
struct TableReader<Reader: RecordReader> {
    let reader: Reader
    let limits: CSVLimits
    private var scratch: [UInt8] = []
    private var rejected: [RejectedRow] = []
    private var rejectedCount = 0

    init(_ reader: Reader, limits: CSVLimits) {
        self.reader = reader
        self.limits = limits
    }

    /// Reads all.
    ///
    /// - Parameters:
    ///   - schema: The wanted columns, or nil to take all and tell their types from all their values.
    ///   - mayBeAbsent: Whether a wanted column that no record has is missing everywhere rather than an error.
    /// - Returns: The table and what was left out of it.
    /// - Throws: What the reader throws, `unknown_column`, `limit_exceeded`.
    mutating func read(schema: [ColumnSchema]?, mayBeAbsent: Bool) throws(FrameError) -> CSVResult {
        let isGuessed = schema == nil
        let schema = if let schema { schema } else { try guessSchema() }
        if !mayBeAbsent {
            let known = reader.names
            for column in schema where !known.contains(column.name) {
                throw FrameError.unknownColumn(column.name, known: known)
            }
        }
        if isGuessed { try reader.rewind() }
        var builders = schema.map { ColumnBuilder($0.type, levelLimit: limits.categoryLevels) }
        let rows = try readRows(schema, &builders)
        var columns: [(ColumnSchema, Column)] = []
        for index in schema.indices.reversed() { columns.append((schema[index], builders.removeLast().finish())) }
        return CSVResult(
            frame: try Frame(columns.reversed()), rejected: rejected, rejectedCount: rejectedCount,
            header: reader.names, rowsRead: rows)
    }

    private mutating func readRows(_ schema: [ColumnSchema], _ builders: inout [ColumnBuilder]) throws(FrameError)
        -> Int
    {
        var places = places(of: schema)
        var knownNames = reader.names.count
        let expected = reader.quotesMeanText ? nil : reader.names.count
        var row = 0
        while let count = try reader.next() {
            row += 1
            try checkRows(row)
            if count > knownNames {
                places = self.places(of: schema)
                knownNames = reader.names.count
            }
            if let fault = reader.fault {
                reject(RejectedRow(row: row, column: nil, value: fault.value, reason: fault.reason))
            } else if let expected, count != expected {
                let reason = "\(count) cells where the header has \(expected)"
                reject(RejectedRow(row: row, column: nil, value: "", reason: reason))
            } else {
                try append(row, places, schema, &builders)
            }
        }
        return row
    }

    /// Adds a row to all columns, or to none.
    private mutating func append(
        _ row: Int, _ places: [Int], _ schema: [ColumnSchema], _ builders: inout [ColumnBuilder]
    ) throws(FrameError) {
        for index in 0..<builders.count {
            let place = places[index]
            guard place >= 0, reader.cells[place].isPresent else {
                builders[index].appendMissing()
                continue
            }
            let cell = reader.cells[place]
            let fault: CellFault?
            if cell.isEscaped {
                fault = appendEscaped(cell, &builders[index])
            } else {
                let start = reader.source.base + cell.start
                fault = builders[index].append(start, cell.end - cell.start, isText: cell.isQuoted)
            }
            guard let fault else { continue }
            if fault == .tooManyLevels { throw tooManyLevels(schema[index].name) }
            for earlier in 0..<index { builders[earlier].removeLast() }
            let value = text(of: cell)
            return reject(RejectedRow(row: row, column: schema[index].name, value: value, reason: fault.reason))
        }
    }

    private mutating func appendEscaped(_ cell: Cell, _ builder: inout ColumnBuilder) -> CellFault? {
        guard reader.unescape(cell, into: &scratch) else { return .notText }
        return scratch.withUnsafeBufferPointer { text in
            guard let start = text.baseAddress else { return .notText }
            return builder.append(start, text.count, isText: true)
        }
    }

    private mutating func reject(_ row: RejectedRow) {
        rejectedCount += 1
        if rejected.count < limits.rejectedKept { rejected.append(row) }
    }

    private func text(of cell: Cell) -> String {
        let count = min(cell.end - cell.start, RejectedRow.valueBytes)
        return String(
            decoding: UnsafeBufferPointer(start: reader.source.base + cell.start, count: count), as: UTF8.self)
    }

    /// Where each wanted column lies among the cells; -1 when it is not there (yet).
    private func places(of schema: [ColumnSchema]) -> [Int] {
        let known = Dictionary(reader.names.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        return schema.map { known[$0.name] ?? -1 }
    }

    private mutating func guessSchema() throws(FrameError) -> [ColumnSchema] {
        var guesses = [TypeGuess](repeating: TypeGuess(), count: reader.names.count)
        let expected = reader.quotesMeanText ? nil : reader.names.count
        var row = 0
        while let count = try reader.next() {
            row += 1
            try checkRows(row)
            while guesses.count < count, expected == nil { guesses.append(TypeGuess()) }
            if reader.fault != nil || (expected ?? count) != count { continue }
            for index in 0..<guesses.count { observe(reader.cells[index], &guesses[index]) }
        }
        return zip(reader.names, guesses).map { ColumnSchema($0, $1.type) }
    }

    private mutating func observe(_ cell: Cell, _ guess: inout TypeGuess) {
        guard cell.isPresent, cell.end > cell.start || cell.isQuoted else { return }
        if cell.isEscaped {
            guard reader.unescape(cell, into: &scratch) else { return }
            scratch.withUnsafeBufferPointer { text in
                if let start = text.baseAddress { guess.observe(start, text.count, isText: true) }
            }
        } else {
            let isText = cell.isQuoted && (reader.quotesMeanText || cell.start == cell.end)
            guess.observe(reader.source.base + cell.start, cell.end - cell.start, isText: isText)
        }
    }

    private func checkRows(_ row: Int) throws(FrameError) {
        guard row > limits.rows else { return }
        throw FrameError(
            .limitExceeded, "\"\(reader.source.name)\" has more than \(limits.rows) rows",
            hint: "Read it in parts, or take a sample.")
    }

    private func tooManyLevels(_ column: String) -> FrameError {
        FrameError(
            .limitExceeded, "column \"\(column)\" has more than \(limits.categoryLevels) different values",
            hint: "Declare the column as string.")
    }
}

extension Frame {
    /// Reads a CSV file with a header (RFC 4180).
    ///
    /// Empty cells are missing; in columns of numbers, truth values and times also `NA`, `N/A`, `NaN` and `null`. An
    /// empty cell in quotes is the empty text. Columns that the schema does not name are left out. Without a schema the
    /// file is read twice, and all cells decide the types: int, float, bool, category or string.
    ///
    /// - Throws: `empty_file`, `malformed_header`, `duplicate_column`, `unknown_column`, `limit_exceeded`, `unreadable`.
    package static func readCSV(path: String, schema: [ColumnSchema]? = nil, limits: CSVLimits = .standard)
        throws(FrameError) -> CSVResult
    {
        let source = try ByteSource(path: path, record: limits.lineBytes)
        var reader = TableReader(try CSVRecordReader(source, limits: limits), limits: limits)
        return try reader.read(schema: schema, mayBeAbsent: false)
    }

    /// Reads CSV that is in memory, as `readCSV(path:)` does.
    package static func readCSV(bytes: [UInt8], schema: [ColumnSchema]? = nil, limits: CSVLimits = .standard)
        throws(FrameError) -> CSVResult
    {
        let source = ByteSource(memory: bytes, name: "CSV text")
        var reader = TableReader(try CSVRecordReader(source, limits: limits), limits: limits)
        return try reader.read(schema: schema, mayBeAbsent: false)
    }

    /// Reads JSON Lines: one object of plain values a line.
    ///
    /// A key that a line does not have is missing there. Without a schema all keys become columns in the order in which
    /// they are first seen, and the file is read twice.
    ///
    /// - Throws: `empty_file`, `limit_exceeded`, `unreadable`.
    package static func readJSONLines(path: String, schema: [ColumnSchema]? = nil, limits: CSVLimits = .standard)
        throws(FrameError) -> CSVResult
    {
        let source = try ByteSource(path: path, record: limits.lineBytes)
        var reader = TableReader(try JSONLineReader(source, limits: limits), limits: limits)
        return try reader.read(schema: schema, mayBeAbsent: true)
    }

    /// Reads JSON Lines that are in memory, as `readJSONLines(path:)` does.
    package static func readJSONLines(bytes: [UInt8], schema: [ColumnSchema]? = nil, limits: CSVLimits = .standard)
        throws(FrameError) -> CSVResult
    {
        let source = ByteSource(memory: bytes, name: "JSON text")
        var reader = TableReader(try JSONLineReader(source, limits: limits), limits: limits)
        return try reader.read(schema: schema, mayBeAbsent: true)
    }
}
