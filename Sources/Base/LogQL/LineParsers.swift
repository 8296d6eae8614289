/// Reads `key=value key="quoted value" flag`.
struct LogfmtReader {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var position = 0

    enum Item { case pair(String, String), fault(String) }

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    mutating func next() -> Item? {
        while position < bytes.count, bytes[position] <= 0x20 { position += 1 }
        guard position < bytes.count else { return nil }
        let start = position
        while position < bytes.count, bytes[position] > 0x20, bytes[position] != UInt8(ascii: "="),
            bytes[position] != UInt8(ascii: "\"")
        { position += 1 }
        let key = String(decoding: UnsafeBufferPointer(rebasing: bytes[start..<position]), as: UTF8.self)
        guard position < bytes.count, bytes[position] == UInt8(ascii: "=") else {
            if position < bytes.count, bytes[position] == UInt8(ascii: "\"") {
                skipWord()
                return .fault("unexpected '\"' at position \(position)")
            }
            return .pair(key, "")
        }
        position += 1
        if key.isEmpty {
            skipWord()
            return .fault("a value without a key at position \(start)")
        }
        guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else {
            let from = position
            skipWord()
            return .pair(key, String(decoding: UnsafeBufferPointer(rebasing: bytes[from..<position]), as: UTF8.self))
        }
        return quoted(key)
    }

    private mutating func skipWord() { while position < bytes.count, bytes[position] > 0x20 { position += 1 } }

    private mutating func quoted(_ key: String) -> Item {
        position += 1
        var value: [UInt8] = []
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            if byte == UInt8(ascii: "\"") { return .pair(key, String(decoding: value, as: UTF8.self)) }
            if byte == UInt8(ascii: "\\"), position < bytes.count {
                let escaped = bytes[position]
                position += 1
                switch escaped {
                case UInt8(ascii: "n"): value.append(0x0A)
                case UInt8(ascii: "t"): value.append(0x09)
                case UInt8(ascii: "r"): value.append(0x0D)
                default: value.append(escaped)
                }
            } else {
                value.append(byte)
            }
        }
        return .fault("a quoted value of \"\(key)\" has no end")
    }
}

/// Walks a JSON text once and shows its leaves, without building a tree.
struct JSONWalker {
    static let depthLimit = 64

    struct Fault: Error { let message: String }

    enum Leaf {
        case text(String)
        /// Numbers, `true`, `false` as they are written.
        case plain(String)
        case null
        /// An object or array as it is written; shown beside what is in it.
        case nested(String)
    }

    private let bytes: UnsafeBufferPointer<UInt8>
    private var position = 0
    private var path: [Extraction.PathPart] = []
    private let visit: ([Extraction.PathPart], Leaf) -> Void
    /// Whether objects and arrays are shown as they are written, too.
    private let showsNested: Bool

    /// - Throws: `Fault`; leaves before it were shown.
    static func walk(
        _ bytes: UnsafeBufferPointer<UInt8>, showsNested: Bool,
        _ visit: ([Extraction.PathPart], Leaf) -> Void
    ) throws {
        try withoutActuallyEscaping(visit) { visit in
            var walker = JSONWalker(bytes: bytes, visit: visit, showsNested: showsNested)
            walker.skipBlank()
            guard walker.peek == UInt8(ascii: "{") else { throw Fault(message: "the line is no JSON object") }
            try walker.value()
            walker.skipBlank()
            if walker.position < bytes.count { throw Fault(message: "text behind the JSON object") }
        }
    }

    private init(
        bytes: UnsafeBufferPointer<UInt8>, visit: @escaping ([Extraction.PathPart], Leaf) -> Void, showsNested: Bool
    ) {
        self.bytes = bytes
        self.visit = visit
        self.showsNested = showsNested
    }

    private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipBlank() {
        while let byte = peek, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    private mutating func value() throws {
        skipBlank()
        let start = position
        switch peek {
        case UInt8(ascii: "{"):
            try members(end: UInt8(ascii: "}")) { walker, _ in
                let key = try walker.text()
                walker.skipBlank()
                guard walker.take(UInt8(ascii: ":")) else { throw Fault(message: "no ':' behind the key \"\(key)\"") }
                return .field(key)
            }
            if showsNested { visit(path, .nested(written(from: start))) }
        case UInt8(ascii: "["):
            try members(end: UInt8(ascii: "]")) { _, place in .place(place) }
            if showsNested { visit(path, .nested(written(from: start))) }
        case UInt8(ascii: "\""): visit(path, .text(try text()))
        default:
            while let byte = peek, byte > 0x20, byte != UInt8(ascii: ","), byte != UInt8(ascii: "}"),
                byte != UInt8(ascii: "]")
            {
                position += 1
            }
            let word = written(from: start)
            if word == "null" { return visit(path, .null) }
            guard word == "true" || word == "false" || Double(word) != nil else {
                throw Fault(message: "\"\(word.prefix(40))\" is no JSON value")
            }
            visit(path, .plain(word))
        }
    }

    private func written(from start: Int) -> String {
        String(decoding: UnsafeBufferPointer(rebasing: bytes[start..<position]), as: UTF8.self)
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard peek == byte else { return false }
        position += 1
        return true
    }

    private mutating func members(
        end: UInt8, _ key: (inout JSONWalker, Int) throws -> Extraction.PathPart
    ) throws {
        guard path.count < Self.depthLimit else { throw Fault(message: "JSON nests deeper than \(Self.depthLimit)") }
        position += 1
        skipBlank()
        if take(end) { return }
        for place in 0... {
            skipBlank()
            path.append(try key(&self, place))
            try value()
            path.removeLast()
            skipBlank()
            if take(end) { return }
            guard take(UInt8(ascii: ",")) else { throw Fault(message: "an object or array has no end") }
        }
    }

    private mutating func text() throws -> String {
        guard take(UInt8(ascii: "\"")) else { throw Fault(message: "a key is missing") }
        let start = position
        while let byte = peek, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") { position += 1 }
        if peek == UInt8(ascii: "\"") {
            defer { position += 1 }
            return written(from: start)
        }
        var value = Array(bytes[start..<position])
        while let byte = peek {
            position += 1
            if byte == UInt8(ascii: "\"") { return String(decoding: value, as: UTF8.self) }
            if byte == UInt8(ascii: "\\") { try escape(&value) } else { value.append(byte) }
        }
        throw Fault(message: "a text has no end")
    }

    private mutating func escape(_ value: inout [UInt8]) throws {
        guard let byte = peek else { throw Fault(message: "a text has no end") }
        position += 1
        switch byte {
        case UInt8(ascii: "n"): value.append(0x0A)
        case UInt8(ascii: "t"): value.append(0x09)
        case UInt8(ascii: "r"): value.append(0x0D)
        case UInt8(ascii: "b"): value.append(0x08)
        case UInt8(ascii: "f"): value.append(0x0C)
        case UInt8(ascii: "u"):
            var unit = try hexadecimal()
            if (0xD800..<0xDC00).contains(unit), position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
                bytes[position + 1] == UInt8(ascii: "u")
            {
                position += 2
                let low = try hexadecimal()
                if (0xDC00..<0xE000).contains(low) { unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00) }
            }
            value += Array(String(Character(Unicode.Scalar(unit) ?? "\u{FFFD}")).utf8)
        default: value.append(byte)
        }
    }

    private mutating func hexadecimal() throws -> UInt32 {
        guard bytes.count - position >= 4, case let digits = bytes[position..<(position + 4)],
            let unit = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw Fault(message: "an escape is no character") }
        position += 4
        return unit
    }
}
