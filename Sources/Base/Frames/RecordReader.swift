import Glibc

/// Where a cell lies in the window, and how it was written.
struct Cell {
    var start = 0
    var end = 0
    /// Whether there is a value at all; a JSON object need not have every key.
    var isPresent = true
    /// Whether the value was in quotes.
    var isQuoted = false
    /// Whether bytes must be replaced to get at the value.
    var isEscaped = false
}

/// Why a whole row cannot be used.
struct RowFault {
    var value: String
    var reason: String
}

/// Reads one record after the other; its cells lie in the window of `source` until the next is read.
protocol RecordReader: AnyObject {
    var source: ByteSource { get }
    /// The cells of the record that was read last; room for `limits.columns`.
    var cells: UnsafeMutablePointer<Cell> { get }
    /// The names of the cells, in order.
    var names: [String] { get }
    /// Whether quotes say that a value is text.
    var quotesMeanText: Bool { get }
    /// Why the record that was read last cannot be used.
    var fault: RowFault? { get }
    /// Reads on; nil at the end.
    ///
    /// - Returns: How many cells the record has, which may be more than are kept.
    func next() throws(FrameError) -> Int?
    /// Starts again at the first record.
    func rewind() throws(FrameError)
    /// Writes the value of a cell with escapes into `text`, and tells whether they make sense.
    func unescape(_ cell: Cell, into text: inout [UInt8]) -> Bool
}

private let quote = UInt8(ascii: "\"")
private let newline = UInt8(ascii: "\n")
private let carriageReturn = UInt8(ascii: "\r")

/// Reads CSV as RFC 4180 has it; also lone LF, a byte order mark, and quotes inside a cell that does not start with one.
final class CSVRecordReader: RecordReader {
    let source: ByteSource
    let cells: UnsafeMutablePointer<Cell>
    private(set) var names: [String] = []
    let quotesMeanText = false
    private(set) var fault: RowFault?
    private let limits: CSVLimits
    private let separator: UInt8
    private var row = 0

    init(_ source: ByteSource, limits: CSVLimits) throws(FrameError) {
        self.source = source
        self.limits = limits
        separator = limits.separator
        cells = .allocate(capacity: limits.columns)
        cells.initialize(repeating: Cell(), count: limits.columns)
        try readHeader()
    }

    deinit { cells.deallocate() }

    func rewind() throws(FrameError) {
        try source.rewind()
        try readHeader()
    }

    func next() throws(FrameError) -> Int? {
        while true {
            if source.start == source.end, source.isAtEnd { return nil }
            guard let (count, end) = scan() else {
                try makeRoom()
                continue
            }
            if end - source.start > limits.lineBytes { throw tooLong() }
            let isBlank = count == 1 && names.count > 1 && cells[0].start == cells[0].end && !cells[0].isQuoted
            source.start = end
            if isBlank { continue }
            row += 1
            return count
        }
    }

    func unescape(_ cell: Cell, into text: inout [UInt8]) -> Bool {
        text.removeAll(keepingCapacity: true)
        var i = cell.start
        while i < cell.end {
            text.append(source.base[i])
            i += source.base[i] == quote ? 2 : 1
        }
        return true
    }

    private func makeRoom() throws(FrameError) {
        if source.end - source.start > limits.lineBytes { throw tooLong() }
        try source.refill()
    }

    private func tooLong() -> FrameError {
        let place = row < 0 ? "the header" : "row \(row + 1)"
        return FrameError(
            .limitExceeded,
            "\(place) of \"\(source.name)\" is longer than \(limits.lineBytes) bytes",
            hint: "Check that the file is CSV with line ends, and that each quote is closed.")
    }

    private func readHeader() throws(FrameError) {
        names = []
        row = 0
        try source.refill()
        if source.end >= 3, source.base[0] == 0xEF, source.base[1] == 0xBB, source.base[2] == 0xBF { source.start = 3 }
        guard source.start < source.end else {
            throw FrameError(.emptyFile, "\"\(source.name)\" is empty", hint: "Give a file with a header line.")
        }
        row = -1
        guard let count = try next(), fault == nil else {
            throw FrameError(
                .malformedHeader,
                "the header of \"\(source.name)\" cannot be read: \(fault?.reason ?? "it is missing")",
                hint: "Write the column names in the first line, separated by commas.")
        }
        guard count <= limits.columns else {
            throw FrameError(
                .limitExceeded, "\"\(source.name)\" has \(count) columns and \(limits.columns) are allowed",
                hint: "Check that the file is CSV, or split the table.")
        }
        var text: [UInt8] = []
        let header = (0..<count).map { position -> String in
            let cell = cells[position]
            if cell.isEscaped, unescape(cell, into: &text) { return String(decoding: text, as: UTF8.self) }
            let (start, length) = CellParser.trimmed(source.base + cell.start, cell.end - cell.start)
            return String(decoding: UnsafeBufferPointer(start: start, count: length), as: UTF8.self)
        }
        try check(header)
        names = header
    }

    private func check(_ header: [String]) throws(FrameError) {
        var seen = Set<String>()
        for (position, name) in header.enumerated() {
            if name.isEmpty {
                throw FrameError(
                    .malformedHeader, "column \(position + 1) of \"\(source.name)\" has no name",
                    hint: "Give each column a name in the first line.")
            }
            if !seen.insert(name).inserted {
                throw FrameError(
                    .duplicateColumn, "column \"\(name)\" is twice in the header of \"\(source.name)\"",
                    hint: "Give each column a name of its own.")
            }
        }
    }

    /// Finds the cells of the record at the front of the window.
    ///
    /// - Returns: Their number and where the next record starts, or nil when the window ends too early.
    private func scan() -> (count: Int, end: Int)? {
        let base = source.base
        let end = source.end
        let isLast = source.isAtEnd
        var i = source.start
        var count = 0
        fault = nil
        while true {
            var cell = Cell()
            if i < end, base[i] == quote {
                guard let after = scanQuoted(&cell, from: i) else { return nil }
                i = after
            } else {
                cell.start = i
                while i < end, base[i] != separator, base[i] != newline { i += 1 }
                if i == end, !isLast { return nil }
                cell.end = i
                let endsLine = i == end || base[i] == newline
                if endsLine, i > cell.start, base[i - 1] == carriageReturn { cell.end = i - 1 }
            }
            if count < limits.columns { cells[count] = cell }
            count += 1
            if i == end { return (count, end) }
            if base[i] == newline { return (count, i + 1) }
            i += 1
        }
    }

    /// Scans a cell that starts with a quote, up to the separator, the line end or the end of the file.
    private func scanQuoted(_ cell: inout Cell, from start: Int) -> Int? {
        let base = source.base
        let end = source.end
        var i = start + 1
        cell.isQuoted = true
        cell.start = i
        while true {
            guard let found = memchr(base + i, Int32(quote), end - i) else {
                guard source.isAtEnd else { return nil }
                fault = RowFault(value: preview(start), reason: "a quote is not closed")
                cell.end = end
                return end
            }
            i = found.assumingMemoryBound(to: UInt8.self) - UnsafeMutablePointer(base) + 1
            if i < end, base[i] == quote {
                cell.isEscaped = true
                i += 1
                continue
            }
            if i == end, !source.isAtEnd { return nil }
            break
        }
        cell.end = i - 1
        if i < end, base[i] == carriageReturn, i + 1 == end, !source.isAtEnd { return nil }
        if i < end, base[i] == carriageReturn, i + 1 == end || base[i + 1] == newline { i += 1 }
        if i == end || base[i] == separator || base[i] == newline { return i }
        fault = RowFault(value: preview(start), reason: "there is text behind a closing quote")
        while i < end, base[i] != separator, base[i] != newline { i += 1 }
        return i == end && !source.isAtEnd ? nil : i
    }

    private func preview(_ start: Int) -> String {
        let count = min(RejectedRow.valueBytes, source.end - start)
        return String(decoding: UnsafeBufferPointer(start: source.base + start, count: count), as: UTF8.self)
    }
}
