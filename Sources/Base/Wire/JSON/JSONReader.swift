/// Reads JSON (RFC 8259) value by value, without building a tree: what is not asked for is passed over.
///
///     try reader.object { key, reader in
///         if key == "name" { name = try reader.string() } else { try reader.skip() }
///     }
struct JSONReader {
    /// How deep arrays and objects may nest.
    static let depthLimit = 64

    enum Kind: Equatable { case object, array, string, number, bool, null }

    private let bytes: UnsafeBufferPointer<UInt8>
    private var position = 0
    private var depth = 0

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    /// Reads a whole text that is one value.
    static func read<Value>(
        _ bytes: UnsafeBufferPointer<UInt8>, _ body: (inout JSONReader) throws -> Value
    ) throws -> Value {
        var reader = JSONReader(bytes)
        let value = try body(&reader)
        reader.skipSpace()
        guard reader.position == bytes.count else { throw reader.wrong("text goes on after the end") }
        return value
    }

    /// What the next value is.
    mutating func kind() throws -> Kind {
        skipSpace()
        switch byte {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
        case UInt8(ascii: "n"): return .null
        case .some(UInt8(ascii: "-")), .some(UInt8(ascii: "0")...UInt8(ascii: "9")): return .number
        default: throw wrong("a value is missing")
        }
    }

    /// Calls the body at each member's value, which it must read or skip.
    mutating func object(_ body: (_ key: String, inout JSONReader) throws -> Void) throws {
        try enter(UInt8(ascii: "{"), "an object")
        while try !isEnd(UInt8(ascii: "}")) {
            let key = try string()
            skipSpace()
            guard byte == UInt8(ascii: ":") else { throw wrong("a colon is missing after a key") }
            position += 1
            try body(key, &self)
            try separator(UInt8(ascii: "}"))
        }
        depth -= 1
    }

    /// Calls the body at each item, which it must read or skip.
    mutating func array(_ body: (inout JSONReader) throws -> Void) throws {
        try enter(UInt8(ascii: "["), "a list")
        while try !isEnd(UInt8(ascii: "]")) {
            try body(&self)
            try separator(UInt8(ascii: "]"))
        }
        depth -= 1
    }

    mutating func bool() throws -> Bool {
        skipSpace()
        if byte == UInt8(ascii: "t") {
            try word("true")
            return true
        }
        try word("false")
        return false
    }

    mutating func null() throws {
        skipSpace()
        try word("null")
    }

    mutating func skip() throws {
        switch try kind() {
        case .object: try object { _, reader in try reader.skip() }
        case .array: try array { reader in try reader.skip() }
        case .string: _ = try string()
        case .number: _ = try number()
        case .bool: _ = try bool()
        case .null: try null()
        }
    }

    /// The digits of a number as they stand.
    mutating func number() throws -> UnsafeBufferPointer<UInt8> {
        skipSpace()
        let start = position
        if byte == UInt8(ascii: "-") { position += 1 }
        let whole = digits()
        guard whole == 1 || (whole > 1 && bytes[position - whole] != UInt8(ascii: "0")) else {
            throw wrong("a number is misspelt")
        }
        if byte == UInt8(ascii: ".") {
            position += 1
            guard digits() > 0 else { throw wrong("a number is misspelt") }
        }
        if let byte, byte | 0x20 == UInt8(ascii: "e") {
            position += 1
            if let sign = self.byte, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { position += 1 }
            guard digits() > 0 else { throw wrong("a number is misspelt") }
        }
        return UnsafeBufferPointer(rebasing: bytes[start..<position])
    }

    private mutating func digits() -> Int {
        let start = position
        while let byte, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { position += 1 }
        return position - start
    }

    mutating func string() throws -> String {
        skipSpace()
        guard byte == UInt8(ascii: "\"") else { throw wrong("a text in double quotes is missing") }
        position += 1
        let start = position
        while position < bytes.count {
            let next = bytes[position]
            if next == UInt8(ascii: "\"") || next == UInt8(ascii: "\\") || next < 0x20 { break }
            position += 1
        }
        let head = UnsafeBufferPointer(rebasing: bytes[start..<position])
        if byte == UInt8(ascii: "\"") {
            guard isValidUTF8(head) else { throw WireError(.invalidText, "a JSON text is not UTF-8") }
            position += 1
            return String(decoding: head, as: UTF8.self)
        }
        return try escapedString(Array(head))
    }

    private mutating func escapedString(_ head: [UInt8]) throws -> String {
        var text = head
        while let next = byte {
            position += 1
            switch next {
            case UInt8(ascii: "\""):
                guard text.withUnsafeBufferPointer({ isValidUTF8($0) }) else {
                    throw WireError(.invalidText, "a JSON text is not UTF-8")
                }
                return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"): try escape(into: &text)
            case ..<0x20: throw wrong("a control character stands in a text")
            default: text.append(next)
            }
        }
        throw wrong("a text does not end")
    }

    private mutating func escape(into text: inout [UInt8]) throws {
        guard let escaped = byte else { throw wrong("a text does not end") }
        position += 1
        switch escaped {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(escaped)
        case UInt8(ascii: "n"): text.append(0x0a)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "r"): text.append(0x0d)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0c)
        case UInt8(ascii: "u"):
            var code = try hexadecimal()
            if code & 0xfc00 == 0xd800, byte == UInt8(ascii: "\\"), position + 1 < bytes.count,
                bytes[position + 1] == UInt8(ascii: "u")
            {
                position += 2
                let low = try hexadecimal()
                guard low & 0xfc00 == 0xdc00 else { throw wrong("half of a surrogate pair stands alone") }
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw wrong("half of a surrogate pair stands alone") }
            text.append(contentsOf: String(Character(scalar)).utf8)
        default: throw wrong("a text has an escape that does not exist")
        }
    }

    private mutating func hexadecimal() throws -> UInt32 {
        guard bytes.count - position >= 4 else { throw wrong("a text does not end") }
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = hexDigit(bytes[position]) else { throw wrong("an escape has no four hexadecimal digits") }
            code = code << 4 | UInt32(digit)
            position += 1
        }
        return code
    }

    private var byte: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
    }

    private mutating func enter(_ open: UInt8, _ what: String) throws {
        skipSpace()
        guard byte == open else { throw wrong("\(what) is missing") }
        guard depth < Self.depthLimit else {
            throw WireError(.tooDeep, "JSON nests deeper than \(Self.depthLimit) levels")
        }
        depth += 1
        position += 1
    }

    private mutating func isEnd(_ close: UInt8) throws -> Bool {
        skipSpace()
        guard byte == close else { return false }
        position += 1
        return true
    }

    /// Passes a comma that something must follow; stays at the end.
    private mutating func separator(_ close: UInt8) throws {
        skipSpace()
        if byte == close { return }
        guard byte == UInt8(ascii: ",") else { throw wrong("a comma is missing") }
        position += 1
        skipSpace()
        if byte == close { throw wrong("a comma has nothing after it") }
    }

    private mutating func word(_ text: StaticString) throws {
        let count = text.utf8CodeUnitCount
        guard bytes.count - position >= count, (0..<count).allSatisfy({ bytes[position + $0] == text.utf8Start[$0] })
        else {
            throw wrong("\(text) is missing")
        }
        position += count
    }

    /// What is wrong, and where, counted in bytes.
    func wrong(_ what: String) -> WireError { .malformed("JSON at byte \(position): \(what)") }
}

/// The value of a hexadecimal digit of either case.
func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
}
