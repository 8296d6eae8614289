import Glibc

/// Reads JSON Lines: one object of plain values a line (RFC 8259, one level deep).
final class JSONLineReader: RecordReader {
    let source: ByteSource
    let cells: UnsafeMutablePointer<Cell>
    let quotesMeanText = true
    private(set) var fault: RowFault?
    private let limits: CSVLimits
    /// Known keys; a cell's place is its key's number here.
    private var keys = LevelTable()
    private var row = 0
    private var i = 0
    private var end = 0
    private var scratch: [UInt8] = []

    var names: [String] { keys.levels }

    init(_ source: ByteSource, limits: CSVLimits) throws(FrameError) {
        self.source = source
        self.limits = limits
        cells = .allocate(capacity: limits.columns)
        cells.initialize(repeating: Cell(), count: limits.columns)
        try source.refill()
        guard source.end > 0 else {
            throw FrameError(
                .emptyFile, "\"\(source.name)\" is empty", hint: "Give a file with one JSON object a line.")
        }
    }

    deinit { cells.deallocate() }

    func rewind() throws(FrameError) {
        try source.rewind()
        row = 0
    }

    func next() throws(FrameError) -> Int? {
        while let lineEnd = try findLine() {
            i = source.start
            end = lineEnd
            source.start = min(lineEnd + 1, source.end)
            skipBlanks()
            if i == end { continue }
            row += 1
            fault = nil
            try readObject()
            return keys.count
        }
        return nil
    }

    func unescape(_ cell: Cell, into text: inout [UInt8]) -> Bool {
        JSONText.unescape(source.base + cell.start, cell.end - cell.start, into: &text)
    }

    /// Where the line at the front of the window ends, or nil at the end of the file.
    private func findLine() throws(FrameError) -> Int? {
        while true {
            let start = source.start
            let searched = min(source.end - start, limits.lineBytes + 1)
            if let found = memchr(source.base + start, 10, searched) {
                return found.assumingMemoryBound(to: UInt8.self) - UnsafeMutablePointer(source.base)
            }
            if source.end - start > limits.lineBytes {
                throw FrameError(
                    .limitExceeded, "row \(row + 1) of \"\(source.name)\" is longer than \(limits.lineBytes) bytes",
                    hint: "Check that the file has one JSON object a line.")
            }
            if source.isAtEnd { return start == source.end ? nil : source.end }
            try source.refill()
        }
    }

    private func readObject() throws(FrameError) {
        for position in 0..<keys.count { cells[position].isPresent = false }
        guard take("{") else { return fail("not a JSON object") }
        skipBlanks()
        if !take("}") {
            while true {
                guard let name = readString(), skipped(), take(":"), skipped() else {
                    return fail("an object key is malformed")
                }
                let position = try place(of: name)
                guard let value = readValue() else { return fail("a value is malformed or not plain") }
                if let position {
                    if cells[position].isPresent { return fail("a key is there twice") }
                    cells[position] = value
                }
                skipBlanks()
                if take("}") { break }
                guard take(","), skipped() else { return fail("a comma or brace is missing") }
            }
        }
        skipBlanks()
        if i != end { fail("there is text behind the object") }
    }

    /// The place of a key, new ones at the end; nil when its escapes make no sense.
    private func place(of name: Cell) throws(FrameError) -> Int? {
        let position: Int32
        let known = keys.count
        if name.isEscaped {
            guard unescape(name, into: &scratch) else {
                fail("an object key is malformed")
                return nil
            }
            position = scratch.withUnsafeBufferPointer { text in
                text.baseAddress.map { keys.insert($0, text.count) } ?? keys.insert(source.base, 0)
            }
        } else {
            position = keys.insert(source.base + name.start, name.end - name.start)
        }
        guard keys.count <= limits.columns else {
            throw FrameError(
                .limitExceeded, "\"\(source.name)\" has more than \(limits.columns) different keys",
                hint: "Give the columns that are wanted in a schema and fewer keys in the file.")
        }
        if keys.count > known { cells[Int(position)].isPresent = false }
        return Int(position)
    }

    /// A plain value; `null` is an empty cell without quotes.
    private func readValue() -> Cell? {
        if i < end, source.base[i] == UInt8(ascii: "\"") { return readString() }
        let start = i
        while i < end, isTokenByte(source.base[i]) { i += 1 }
        let length = i - start
        guard length > 0 else { return nil }
        let p = UnsafePointer(source.base + start)
        if length == 4, memcmp(p, "null", 4) == 0 { return Cell(start: start, end: start) }
        let isWord = (length == 4 && memcmp(p, "true", 4) == 0) || (length == 5 && memcmp(p, "false", 5) == 0)
        guard isWord || JSONText.isNumber(p, length) else { return nil }
        return Cell(start: start, end: i)
    }

    private func readString() -> Cell? {
        guard take("\"") else { return nil }
        var cell = Cell(start: i, isQuoted: true)
        while i < end {
            switch source.base[i] {
            case UInt8(ascii: "\""):
                cell.end = i
                i += 1
                return cell
            case UInt8(ascii: "\\"):
                cell.isEscaped = true
                i += 2
            case 0..<0x20: return nil
            default: i += 1
            }
        }
        i = end
        return nil
    }

    private func isTokenByte(_ byte: UInt8) -> Bool {
        (byte | 0x20) &- 97 < 26 || byte &- 48 < 10 || byte == 43 || byte == 45 || byte == 46
    }

    private func take(_ character: Unicode.Scalar) -> Bool {
        guard i < end, UInt32(source.base[i]) == character.value else { return false }
        i += 1
        return true
    }

    private func skipBlanks() {
        while i < end, source.base[i] == 32 || source.base[i] == 9 || source.base[i] == 13 { i += 1 }
    }

    private func skipped() -> Bool {
        skipBlanks()
        return true
    }

    private func fail(_ reason: String) {
        let start = min(i, end)
        let count = min(RejectedRow.valueBytes, end - start)
        let value = String(decoding: UnsafeBufferPointer(start: source.base + start, count: count), as: UTF8.self)
        if fault == nil { fault = RowFault(value: value, reason: reason) }
    }
}

/// The spelling rules of JSON values (RFC 8259).
enum JSONText {
    static func isNumber(_ p: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        guard let number = CellParser.decimal(p, count), !number.hasLeadingZero, p[0] != UInt8(ascii: "+") else {
            return false
        }
        return true
    }

    /// Writes a string's value into `text`; false when an escape makes no sense.
    static func unescape(_ p: UnsafePointer<UInt8>, _ count: Int, into text: inout [UInt8]) -> Bool {
        text.removeAll(keepingCapacity: true)
        var i = 0
        while i < count {
            guard p[i] == UInt8(ascii: "\\") else {
                text.append(p[i])
                i += 1
                continue
            }
            guard i + 1 < count else { return false }
            if p[i + 1] == UInt8(ascii: "u") {
                guard let (scalar, length) = scalar(p + i, count - i) else { return false }
                text.append(contentsOf: String(Character(scalar)).utf8)
                i += length
            } else {
                guard let byte = shortEscape(p[i + 1]) else { return false }
                text.append(byte)
                i += 2
            }
        }
        return true
    }

    private static func shortEscape(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): byte
        case UInt8(ascii: "b"): 8
        case UInt8(ascii: "f"): 12
        case UInt8(ascii: "n"): 10
        case UInt8(ascii: "r"): 13
        case UInt8(ascii: "t"): 9
        default: nil
        }
    }

    /// The scalar of `\uXXXX`, or of two of them that are a surrogate pair, and its length in bytes.
    private static func scalar(_ p: UnsafePointer<UInt8>, _ count: Int) -> (Unicode.Scalar, Int)? {
        guard let first = unit(p, count) else { return nil }
        if let scalar = Unicode.Scalar(first) { return (scalar, 6) }
        guard first < 0xDC00, let second = unit(p + 6, count - 6), second >= 0xDC00, second < 0xE000 else { return nil }
        return Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00)).map { ($0, 12) }
    }

    private static func unit(_ p: UnsafePointer<UInt8>, _ count: Int) -> UInt32? {
        guard count >= 6, p[0] == UInt8(ascii: "\\"), p[1] == UInt8(ascii: "u") else { return nil }
        var value: UInt32 = 0
        for i in 2..<6 {
            let digit: UInt8
            switch p[i] {
            case 48...57: digit = p[i] - 48
            case 65...70: digit = p[i] - 55
            case 97...102: digit = p[i] - 87
            default: return nil
            }
            value = value << 4 | UInt32(digit)
        }
        return value
    }
}
