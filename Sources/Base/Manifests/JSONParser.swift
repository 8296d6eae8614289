/// Reads JSON text (RFC 8259) into a ``JSONValue``.
///
/// Written here because the reader must keep the order of members, refuse duplicate ones, bound its depth, and tell the
/// line and column of what is wrong.
public struct JSONParser {
    /// How deep arrays and objects may nest.
    public static let depthLimit = 128

    private let bytes: [UInt8]
    private var position = 0

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    public static func parse(_ text: String) throws(ManifestError) -> JSONValue { try parse(Array(text.utf8)) }

    /// - Throws: `ManifestError` with line and column, both from 1.
    public static func parse(_ bytes: [UInt8]) throws(ManifestError) -> JSONValue {
        var parser = JSONParser(bytes)
        parser.skipSpace()
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        if parser.position < bytes.count { throw parser.wrong("text goes on after the end of the JSON value") }
        return value
    }

    private mutating func value(depth: Int) throws(ManifestError) -> JSONValue {
        guard depth < Self.depthLimit else { throw wrong("JSON nests deeper than \(Self.depthLimit) levels") }
        guard position < bytes.count else { throw wrong("JSON ends where a value should be") }
        switch bytes[position] {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw wrong("no JSON value starts with \"\(Character(Unicode.Scalar(bytes[position])))\"")
        }
    }

    private mutating func object(depth: Int) throws(ManifestError) -> JSONValue {
        var members = Ordered<JSONValue>()
        position += 1
        skipSpace()
        if take(UInt8(ascii: "}")) { return .object(members) }
        while true {
            skipSpace()
            guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else {
                throw wrong("a JSON object's key must be text in double quotes")
            }
            let key = try string()
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw wrong("a colon is missing after the key \"\(key)\"") }
            skipSpace()
            guard !members.has(key) else { throw wrong("the key \"\(key)\" is written twice") }
            members.append(key, try value(depth: depth + 1))
            skipSpace()
            if take(UInt8(ascii: "}")) { return .object(members) }
            guard take(UInt8(ascii: ",")) else { throw wrong("a comma or \"}\" is missing in a JSON object") }
        }
    }

    private mutating func array(depth: Int) throws(ManifestError) -> JSONValue {
        var items: [JSONValue] = []
        position += 1
        skipSpace()
        if take(UInt8(ascii: "]")) { return .array(items) }
        while true {
            skipSpace()
            items.append(try value(depth: depth + 1))
            skipSpace()
            if take(UInt8(ascii: "]")) { return .array(items) }
            guard take(UInt8(ascii: ",")) else { throw wrong("a comma or \"]\" is missing in a JSON array") }
        }
    }

    private mutating func word(_ text: StaticString, _ value: JSONValue) throws(ManifestError) -> JSONValue {
        let end = position + text.utf8CodeUnitCount
        let matches =
            end <= bytes.count
            && (0..<text.utf8CodeUnitCount).allSatisfy { bytes[position + $0] == text.utf8Start[$0] }
        guard matches else { throw wrong("\"\(text)\" was expected") }
        position = end
        return value
    }

    private mutating func number() throws(ManifestError) -> JSONValue {
        let start = position
        var isWhole = true
        _ = take(UInt8(ascii: "-"))
        let digits = skipDigits()
        if digits == 0 || (digits > 1 && bytes[position - digits] == UInt8(ascii: "0")) {
            throw wrong("a number is misspelt")
        }
        if take(UInt8(ascii: ".")) {
            isWhole = false
            if skipDigits() == 0 { throw wrong("a digit is missing after the decimal point") }
        }
        if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
            isWhole = false
            position += 1
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            if skipDigits() == 0 { throw wrong("a digit is missing in the exponent") }
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isWhole, let value = Int64(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else { throw wrong("the number \(text) is too large") }
        return .number(value)
    }

    private mutating func skipDigits() -> Int {
        let start = position
        while position < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[position]) {
            position += 1
        }
        return position - start
    }

    private mutating func string() throws(ManifestError) -> String {
        position += 1
        let start = position
        while position < bytes.count, bytes[position] != UInt8(ascii: "\""), bytes[position] != UInt8(ascii: "\\") {
            if bytes[position] < 0x20 { throw wrong("a control character stands in a JSON string") }
            position += 1
        }
        if position < bytes.count, bytes[position] == UInt8(ascii: "\"") {
            defer { position += 1 }
            return try utf8(bytes[start..<position])
        }
        return try escapedString(from: start)
    }

    private mutating func escapedString(from start: Int) throws(ManifestError) -> String {
        var buffer = Array(bytes[start..<position])
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return try utf8(buffer[...])
            case UInt8(ascii: "\\"): try escape(into: &buffer)
            case ..<0x20: throw wrong("a control character stands in a JSON string")
            default: buffer.append(byte)
            }
        }
        throw wrong("a JSON string is not closed")
    }

    private mutating func escape(into buffer: inout [UInt8]) throws(ManifestError) {
        guard position < bytes.count else { throw wrong("a JSON string is not closed") }
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "n"): buffer.append(0x0A)
        case UInt8(ascii: "t"): buffer.append(0x09)
        case UInt8(ascii: "r"): buffer.append(0x0D)
        case UInt8(ascii: "b"): buffer.append(0x08)
        case UInt8(ascii: "f"): buffer.append(0x0C)
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): buffer.append(byte)
        case UInt8(ascii: "u"): buffer.append(contentsOf: String(Character(try unicodeEscape())).utf8)
        default: throw wrong("an escape in a JSON string is unknown")
        }
    }

    private mutating func unicodeEscape() throws(ManifestError) -> Unicode.Scalar {
        let first = try hexadecimal()
        if (0xD800..<0xDC00).contains(first), position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
            bytes[position + 1] == UInt8(ascii: "u")
        {
            position += 2
            let second = try hexadecimal()
            if (0xDC00..<0xE000).contains(second),
                let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
            {
                return scalar
            }
        }
        guard let scalar = Unicode.Scalar(first) else { throw wrong("half of a surrogate pair stands alone") }
        return scalar
    }

    private mutating func hexadecimal() throws(ManifestError) -> UInt32 {
        guard position + 4 <= bytes.count,
            let value = UInt32(String(decoding: bytes[position..<position + 4], as: UTF8.self), radix: 16)
        else { throw wrong("four hexadecimal digits were expected after \\u") }
        position += 4
        return value
    }

    private func utf8(_ slice: ArraySlice<UInt8>) throws(ManifestError) -> String {
        guard let text = String(validating: slice, as: UTF8.self) else { throw wrong("a JSON string is not UTF-8") }
        return text
    }

    private mutating func skipSpace() {
        while position < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[position]) { position += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard position < bytes.count, bytes[position] == byte else { return false }
        position += 1
        return true
    }

    private func wrong(_ message: String) -> ManifestError {
        let before = bytes[..<min(position, bytes.count)]
        let line = before.reduce(into: 1) { if $1 == 0x0A { $0 += 1 } }
        let column = before.count - (before.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0) + 1
        return ManifestError(at: [], message: message, hint: nil, mark: Mark(line: line, column: column))
    }
}
