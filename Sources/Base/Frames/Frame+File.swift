import Crypto
import Glibc

/// The numbers of the VGF1 file format; Formats.md tells its bytes.
enum FrameFile {
    static let magic = Array("VGF1".utf8)
    static let digestBytes = 32
    /// The most columns that a file may say it has.
    static let columnLimit = 1 << 16
    /// The longest column name or level in bytes.
    static let textLimit = 1 << 20
    static let types: [ColumnType] = [.int, .float, .bool, .category, .string, .timestamp]
}

extension Frame {
    /// Writes the table in the compact format VGF1 (Formats.md), with a checksum.
    ///
    /// - Throws: `unwritable`; the file is then as it was before.
    package func write(path: String) throws(FrameError) {
        var out = try FrameOutput(path: path)
        try out.write(FrameFile.magic)
        try out.write(UInt64(rowCount))
        try out.write(UInt32(columns.count))
        for (schema, column) in zip(schema, columns) {
            let type = FrameFile.types.firstIndex(of: schema.type) ?? 0
            try out.write([UInt8(type)])
            try out.write(text: schema.name)
            try out.write(column)
        }
        try out.finish()
    }

    /// Reads a table that `write(path:)` wrote.
    ///
    /// - Throws: `corrupt` when a byte is not as it was written, `unreadable`.
    package static func read(path: String) throws(FrameError) -> Frame {
        var input = try FrameInput(path: path)
        return try input.readFrame()
    }
}

// MARK: - Writing

/// Writes the parts of a VGF1 file and keeps their checksum.
private struct FrameOutput {
    private let file: FileWriter
    private var hash = SHA256()

    init(path: String) throws(FrameError) { file = try FileWriter(path: path) }

    mutating func write(_ bytes: [UInt8]) throws(FrameError) {
        hash.update(data: bytes)
        try file.write(bytes)
    }

    mutating func write<Number: FixedWidthInteger>(_ number: Number) throws(FrameError) {
        try write(withUnsafeBytes(of: number.littleEndian) { Array($0) })
    }

    mutating func write(text: String) throws(FrameError) {
        try write(UInt32(text.utf8.count))
        try write(Array(text.utf8))
    }

    /// Writes fixed-width values as they lie in memory, which is little-endian on all supported machines.
    mutating func write<Value: BitwiseCopyable>(raw values: [Value]) throws(FrameError) {
        let slice = 1 << 13
        var start = 0
        while start < values.count {
            let end = min(values.count, start + slice)
            try write(values[start..<end].withUnsafeBytes { Array($0) })
            start = end
        }
    }

    mutating func write(_ gaps: Bitmap) throws(FrameError) {
        try write(UInt64(gaps.words.count))
        try write(raw: gaps.words)
    }

    mutating func write(_ column: Column) throws(FrameError) {
        switch column {
        case .float(let values): try write(raw: values)
        case .int(let values, let gaps), .timestamp(let values, let gaps):
            try write(raw: values)
            try write(gaps)
        case .bool(let values, let gaps):
            try write(values.map { $0 ? 1 : 0 })
            try write(gaps)
        case .category(let codes, let levels):
            try write(UInt32(levels.count))
            for level in levels { try write(text: level) }
            try write(raw: codes)
        case .string(let table):
            try write(UInt64(table.bytes.count))
            try write(raw: table.offsets.map { UInt64($0) })
            try write(table.bytes)
            try write(table.missing)
        }
    }

    mutating func finish() throws(FrameError) {
        try file.write(Array(hash.finalize()))
        try file.finish()
    }
}

// MARK: - Reading

/// Reads the parts of a VGF1 file; each length is checked against what is left before room is made for it.
private struct FrameInput: ~Copyable {
    private let path: String
    private let descriptor: Int32
    /// Bytes before the checksum that were not read yet.
    private var left: Int
    private var hash = SHA256()

    init(path: String) throws(FrameError) {
        self.path = path
        let size: Int
        (descriptor, size) = try openForReading(path)
        left = size - FrameFile.digestBytes
    }

    deinit { close(descriptor) }

    mutating func readFrame() throws(FrameError) -> Frame {
        guard left >= FrameFile.magic.count, try bytes(FrameFile.magic.count) == FrameFile.magic else {
            throw FrameError(
                .corrupt, "\"\(path)\" is not a VGF1 table",
                hint: "Read CSV and JSON Lines files with their own readers.")
        }
        let rows = try count(number(UInt64.self))
        let columnCount = try count(UInt64(number(UInt32.self)))
        guard columnCount <= FrameFile.columnLimit else { throw corrupt("it says it has \(columnCount) columns") }
        var columns: [(ColumnSchema, Column)] = []
        for _ in 0..<columnCount {
            let code = Int(try number(UInt8.self))
            guard code < FrameFile.types.count else { throw corrupt("it has a column of unknown type") }
            let name = try text()
            columns.append((ColumnSchema(name, FrameFile.types[code]), try column(FrameFile.types[code], rows)))
        }
        guard left == 0 else { throw corrupt("there are bytes behind the last column") }
        try checkDigest()
        return try Frame(columns)
    }

    private mutating func column(_ type: ColumnType, _ rows: Int) throws(FrameError) -> Column {
        switch type {
        case .float: return .float(try values(rows, of: 0.0))
        case .int: return .int(try values(rows, of: 0), missing: try bitmap(rows))
        case .timestamp: return .timestamp(try values(rows, of: 0), missing: try bitmap(rows))
        case .bool: return .bool(try bytes(rows).map { $0 != 0 }, missing: try bitmap(rows))
        case .category:
            let levelCount = try count(UInt64(number(UInt32.self)))
            var levels: [String] = []
            for _ in 0..<levelCount { levels.append(try text()) }
            let codes: [Int32] = try values(rows, of: 0)
            guard codes.allSatisfy({ $0 >= -1 && $0 < levelCount }) else {
                throw corrupt("it has a code without level")
            }
            return .category(codes: codes, levels: levels)
        case .string: return .string(try table(rows))
        }
    }

    private mutating func table(_ rows: Int) throws(FrameError) -> TextTable {
        let size = try count(number(UInt64.self))
        let offsets: [UInt64] = try values(rows + 1, of: 0)
        guard offsets.first == 0, offsets.last == UInt64(size), zip(offsets, offsets.dropFirst()).allSatisfy(<=) else {
            throw corrupt("its texts overlap")
        }
        let bytes = try bytes(size)
        return TextTable(bytes: bytes, offsets: offsets.map { Int($0) }, missing: try bitmap(rows))
    }

    private mutating func bitmap(_ rows: Int) throws(FrameError) -> Bitmap {
        let words = try count(number(UInt64.self))
        guard words <= (rows + 63) / 64 else { throw corrupt("it marks rows beyond the last") }
        return Bitmap(words: try values(words, of: 0))
    }

    private mutating func text() throws(FrameError) -> String {
        let length = try count(UInt64(number(UInt32.self)))
        guard length <= FrameFile.textLimit else { throw corrupt("it has a name of \(length) bytes") }
        return String(decoding: try bytes(length), as: UTF8.self)
    }

    /// A number of things of which each takes a byte at least.
    private func count(_ number: UInt64) throws(FrameError) -> Int {
        guard number <= UInt64(max(0, left)) || number == 0 else { throw corrupt("it is cut short") }
        return Int(number)
    }

    private mutating func number<Number: FixedWidthInteger & BitwiseCopyable>(_ type: Number.Type) throws(FrameError)
        -> Number
    {
        let one: [Number] = try values(1, of: 0)
        return Number(littleEndian: one[0])
    }

    private mutating func bytes(_ count: Int) throws(FrameError) -> [UInt8] { try values(count, of: 0) }

    private mutating func values<Value: BitwiseCopyable>(_ count: Int, of zero: Value) throws(FrameError) -> [Value] {
        let (size, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<Value>.stride)
        guard !overflow, size <= left else { throw corrupt("it is cut short") }
        var values = [Value](repeating: zero, count: count)
        guard try fill(&values, size) else { throw corrupt("it is cut short") }
        left -= size
        values.withUnsafeBytes { hash.update(bufferPointer: $0) }
        return values
    }

    private func fill<Value: BitwiseCopyable>(_ values: inout [Value], _ size: Int) throws(FrameError) -> Bool {
        var done = 0
        while done < size {
            let got = values.withUnsafeMutableBytes { buffer in
                buffer.baseAddress.map { read(descriptor, $0 + done, size - done) } ?? 0
            }
            if got > 0 {
                done += got
            } else if got == 0 {
                return false
            } else if errno != EINTR {
                throw unreadable(path)
            }
        }
        return true
    }

    private mutating func checkDigest() throws(FrameError) {
        var stored = [UInt8](repeating: 0, count: FrameFile.digestBytes)
        guard try fill(&stored, FrameFile.digestBytes), stored == Array(hash.finalize()) else {
            throw corrupt("its checksum does not match")
        }
    }

    private func corrupt(_ reason: String) -> FrameError {
        FrameError(.corrupt, "\"\(path)\" is damaged: \(reason)", hint: "Make the table again from its source.")
    }
}
