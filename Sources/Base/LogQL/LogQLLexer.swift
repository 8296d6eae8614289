/// A piece of a query.
struct LogQLToken: Sendable {
    enum Kind: Sendable, Hashable {
        case word(String)
        case text(String)
        /// A number, perhaps with units: `5`, `1e3`, `1h30m`, `5KB`.
        case number(String)
        case symbol(String)
        /// `--strict`
        case flag(String)
        case end
    }

    let kind: Kind
    let position: Int
}

/// Cuts a query into tokens.
struct LogQLLexer {
    private let text: [UInt8]
    private var position = 0

    /// The longest first.
    private static let symbols = [
        "|=", "|~", "|>", "!=", "!~", "!>", "=~", "==", ">=", "<=", "{", "}", "(", ")", "[", "]", ",", "|", "=", ">",
        "<", "+",
        "-", "*", "/", "%", "^", "@",
    ].map { Array($0.utf8) }

    static func tokens(_ text: [UInt8]) throws -> [LogQLToken] {
        var lexer = LogQLLexer(text: text)
        var tokens: [LogQLToken] = []
        while let token = try lexer.next() { tokens.append(token) }
        tokens.append(LogQLToken(kind: .end, position: text.count))
        return tokens
    }

    private init(text: [UInt8]) { self.text = text }

    private mutating func next() throws -> LogQLToken? {
        skipBlank()
        guard position < text.count else { return nil }
        let start = position
        let byte = text[position]
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "'"): return LogQLToken(kind: .text(try quoted(byte)), position: start)
        case UInt8(ascii: "`"):
            guard let end = text[(position + 1)...].firstIndex(of: byte) else { throw fail("a text has no end", start) }
            position = end + 1
            return LogQLToken(kind: .text(String(decoding: text[(start + 1)..<end], as: UTF8.self)), position: start)
        case _ where Self.isDigit(byte) || (byte == UInt8(ascii: ".") && peekIsDigit(1)):
            return LogQLToken(kind: .number(number()), position: start)
        case _ where Self.isWord(byte):
            while position < text.count, Self.isWord(text[position]) || Self.isDigit(text[position]) { position += 1 }
            return LogQLToken(kind: .word(String(decoding: text[start..<position], as: UTF8.self)), position: start)
        case UInt8(ascii: "-") where text[start...].starts(with: Array("--".utf8)) && isLetter(start + 2):
            position += 2
            while position < text.count, Self.isWord(text[position]) || text[position] == UInt8(ascii: "-") {
                position += 1
            }
            return LogQLToken(kind: .flag(String(decoding: text[start..<position], as: UTF8.self)), position: start)
        default: break
        }
        guard let symbol = Self.symbols.first(where: { text[start...].starts(with: $0) }) else {
            throw fail("unexpected \"\(String(decoding: text[start...].prefix(1), as: UTF8.self))\"", start)
        }
        position += symbol.count
        return LogQLToken(kind: .symbol(String(decoding: symbol, as: UTF8.self)), position: start)
    }

    private mutating func skipBlank() {
        while position < text.count {
            switch text[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            case UInt8(ascii: "#"):
                while position < text.count, text[position] != 0x0A { position += 1 }
            default: return
            }
        }
    }

    private mutating func number() -> String {
        let start = position
        while position < text.count {
            let byte = text[position]
            let isSign = byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-")
            let isExponent = isSign && text[position - 1] | 0x20 == UInt8(ascii: "e") && peekIsDigit(1)
            guard Self.isDigit(byte) || Self.isWord(byte) || byte == UInt8(ascii: ".") || isExponent else { break }
            position += 1
        }
        return String(decoding: text[start..<position], as: UTF8.self)
    }

    private mutating func quoted(_ quote: UInt8) throws -> String {
        let start = position
        position += 1
        var bytes: [UInt8] = []
        while position < text.count {
            let byte = text[position]
            position += 1
            if byte == quote { return String(decoding: bytes, as: UTF8.self) }
            guard byte == UInt8(ascii: "\\") else {
                bytes.append(byte)
                continue
            }
            try escape(&bytes, start)
        }
        throw fail("a text has no end", start)
    }

    private mutating func escape(_ bytes: inout [UInt8], _ start: Int) throws {
        guard position < text.count else { throw fail("a text has no end", start) }
        let byte = text[position]
        position += 1
        switch byte {
        case UInt8(ascii: "n"): bytes.append(0x0A)
        case UInt8(ascii: "t"): bytes.append(0x09)
        case UInt8(ascii: "r"): bytes.append(0x0D)
        case UInt8(ascii: "\\"), UInt8(ascii: "\""), UInt8(ascii: "'"): bytes.append(byte)
        case UInt8(ascii: "x"), UInt8(ascii: "u"):
            let length = byte == UInt8(ascii: "x") ? 2 : 4
            let digits = String(decoding: text[position...].prefix(length), as: UTF8.self)
            guard digits.utf8.count == length, let value = UInt32(digits, radix: 16) else {
                throw fail("unknown escape \"\\\(digits)\"", position - 2)
            }
            position += length
            if byte == UInt8(ascii: "x") {
                bytes.append(UInt8(truncatingIfNeeded: value))
            } else {
                bytes += Array(String(Unicode.Scalar(value).map { Character($0) } ?? "\u{FFFD}").utf8)
            }
        default:
            throw fail("unknown escape \"\\\(String(decoding: [byte], as: UTF8.self))\"", position - 2)
        }
    }

    private func fail(_ message: String, _ position: Int) -> LogQLError { LogQLError(message, at: position, in: text) }

    private func peekIsDigit(_ ahead: Int) -> Bool {
        position + ahead < text.count && Self.isDigit(text[position + ahead])
    }

    private func isLetter(_ place: Int) -> Bool { place < text.count && Self.isWord(text[place]) }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

    /// Bytes of names; those above ASCII are for `µs`.
    private static func isWord(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "_") || byte >= 0x80 || (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A)
    }
}
