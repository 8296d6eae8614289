/// A word of the language.
struct Token: Sendable {
    enum Kind: Hashable, Sendable {
        case number(Double)
        /// Milliseconds.
        case duration(Int64)
        case string([UInt8])
        /// A name or a keyword; whether it holds a colon.
        case identifier(isMetricOnly: Bool)
        case symbol
        case end
    }

    var kind: Kind
    /// As it was written.
    var text: String
    var range: Range<Int>

    func isSymbol(_ symbol: String) -> Bool { kind == .symbol && text == symbol }

    /// How an error names it.
    var description: String {
        switch kind {
        case .number: "number \"\(text)\""
        case .duration: "duration \"\(text)\""
        case .string: "string \(text)"
        case .identifier: "identifier \"\(text)\""
        case .symbol: BinaryOperation.Operator(rawValue: text) == nil ? "\"\(text)\"" : "<op:\(text)>"
        case .end: "end of input"
        }
    }
}

/// Cuts a query into words.
struct Lexer {
    private let bytes: [UInt8]
    private let text: String
    private var position = 0
    private var inBraces = false
    private var inBrackets = false
    private var tokens: [Token] = []

    /// All words, the last being the end.
    static func tokens(of text: String) throws(PromQLError) -> [Token] {
        var lexer = Lexer(text)
        while try lexer.next() {}
        return lexer.tokens
    }

    private init(_ text: String) {
        self.text = text
        bytes = Array(text.utf8)
    }

    private func peek(_ ahead: Int = 0) -> UInt8 { position + ahead < bytes.count ? bytes[position + ahead] : 0 }

    private func failure(_ message: String, from start: Int) -> PromQLError {
        PromQLError(.syntax, message, at: start..<max(start, position), in: text)
    }

    private mutating func add(_ kind: Token.Kind, from start: Int) {
        let word = String(decoding: bytes[start..<position], as: UTF8.self)
        tokens.append(Token(kind: kind, text: word, range: start..<position))
    }

    private mutating func next() throws(PromQLError) -> Bool {
        skipSpace()
        let start = position
        guard position < bytes.count else {
            if inBraces { throw failure("unexpected end of input inside braces", from: start) }
            if inBrackets { throw failure("unclosed left bracket", from: start) }
            tokens.append(Token(kind: .end, text: "", range: start..<start))
            return false
        }
        let byte = bytes[position]
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "`"):
            var end = position
            let value = try StringLiteral.scan(bytes, &end) {
                PromQLError(.syntax, $0, at: start..<bytes.count, in: text)
            }
            position = end
            add(.string(value), from: start)
        case let byte where isDigit(byte) || (byte == UInt8(ascii: ".") && isDigit(peek(1))):
            try number(from: start)
        case let byte where isLetter(byte) || (byte == UInt8(ascii: ":") && !inBrackets && !inBraces):
            identifier(from: start)
        default: try symbol(byte, from: start)
        }
        return true
    }

    private mutating func skipSpace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0a, 0x0d: position += 1
            case UInt8(ascii: "#"):
                while position < bytes.count, bytes[position] != 0x0a { position += 1 }
            default: return
            }
        }
    }

    private mutating func symbol(_ byte: UInt8, from start: Int) throws(PromQLError) {
        position += 1
        switch byte {
        case UInt8(ascii: "{"):
            if inBraces { throw failure("unexpected left brace '{'", from: start) }
            inBraces = true
        case UInt8(ascii: "}"):
            if !inBraces { throw failure("unexpected right brace '}'", from: start) }
            inBraces = false
        case UInt8(ascii: "["):
            if inBrackets { throw failure("unexpected left bracket '['", from: start) }
            inBrackets = true
        case UInt8(ascii: "]"):
            if !inBrackets { throw failure("unexpected right bracket ']'", from: start) }
            inBrackets = false
        case UInt8(ascii: "="):
            if peek() == UInt8(ascii: "=") || peek() == UInt8(ascii: "~") { position += 1 }
        case UInt8(ascii: "!"):
            guard peek() == UInt8(ascii: "=") || peek() == UInt8(ascii: "~") else {
                throw failure("unexpected character after '!'", from: start)
            }
            position += 1
        case UInt8(ascii: "<"), UInt8(ascii: ">"):
            if peek() == UInt8(ascii: "=") { position += 1 }
        case UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: ","), UInt8(ascii: "+"), UInt8(ascii: "-"),
            UInt8(ascii: "*"),
            UInt8(ascii: "/"), UInt8(ascii: "%"), UInt8(ascii: "^"), UInt8(ascii: "@"):
            break
        case UInt8(ascii: ":") where inBrackets: break
        default:
            while position < bytes.count, bytes[position] & 0xc0 == 0x80 { position += 1 }
            let character = String(decoding: bytes[start..<position], as: UTF8.self)
            throw failure("unexpected character\(inBraces ? " inside braces" : ""): '\(character)'", from: start)
        }
        add(.symbol, from: start)
    }

    private mutating func identifier(from start: Int) {
        var isMetricOnly = false
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: ":"), !inBraces, !inBrackets {
                isMetricOnly = true
            } else if !isLetter(byte), !isDigit(byte) {
                break
            }
            position += 1
        }
        let word = String(decoding: bytes[start..<position], as: UTF8.self)
        switch word.lowercased() {
        case "inf" where !inBraces: add(.number(.infinity), from: start)
        case "nan" where !inBraces: add(.number(.nan), from: start)
        default: add(.identifier(isMetricOnly: isMetricOnly), from: start)
        }
    }

    private mutating func number(from start: Int) throws(PromQLError) {
        if peek() == UInt8(ascii: "0"), peek(1) | 0x20 == UInt8(ascii: "x") {
            position += 2
            while isLetter(peek()) || isDigit(peek()) { position += 1 }
        } else {
            skipDigits()
            if peek() == UInt8(ascii: ".") {
                position += 1
                skipDigits()
            }
            if peek() | 0x20 == UInt8(ascii: "e") {
                let signed = peek(1) == UInt8(ascii: "+") || peek(1) == UInt8(ascii: "-")
                if isDigit(peek(signed ? 2 : 1)) {
                    position += signed ? 2 : 1
                    skipDigits()
                }
            }
        }
        let isWhole = !(isLetter(peek()) || isDigit(peek()))
        while isLetter(peek()) || isDigit(peek()) { position += 1 }
        let word = String(decoding: bytes[start..<position], as: UTF8.self)
        if isWhole, let value = NumberText.parse(word) {
            add(.number(value), from: start)
        } else if let milliseconds = DurationText.parse(word) {
            add(.duration(milliseconds), from: start)
        } else {
            throw failure("bad number or duration syntax: \"\(word)\"", from: start)
        }
    }

    private mutating func skipDigits() {
        while isDigit(peek()) || (peek() == UInt8(ascii: "_") && isDigit(peek(1))) { position += 1 }
    }

    private func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }
    private func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) &- 0x61 < 26 || byte == UInt8(ascii: "_") }
}

/// Quoted text with Go's escapes.
enum StringLiteral {
    /// The bytes between the quotes at the position, which moves behind them.
    static func scan(
        _ bytes: [UInt8], _ position: inout Int, _ failure: (String) -> PromQLError
    ) throws(PromQLError) -> [UInt8] {
        let quote = bytes[position]
        position += 1
        var value: [UInt8] = []
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            if byte == quote { return value }
            if quote != UInt8(ascii: "`") {
                if byte == 0x0a { break }
                if byte == UInt8(ascii: "\\") {
                    try escape(bytes, &position, quote, &value, failure)
                    continue
                }
            }
            value.append(byte)
        }
        throw failure(quote == UInt8(ascii: "`") ? "unterminated raw string" : "unterminated quoted string")
    }

    private static func escape(
        _ bytes: [UInt8], _ position: inout Int, _ quote: UInt8, _ value: inout [UInt8],
        _ failure: (String) -> PromQLError
    ) throws(PromQLError) {
        guard position < bytes.count else { throw failure("escape sequence not terminated") }
        let letter = bytes[position]
        position += 1
        switch letter {
        case UInt8(ascii: "a"): value.append(0x07)
        case UInt8(ascii: "b"): value.append(0x08)
        case UInt8(ascii: "f"): value.append(0x0c)
        case UInt8(ascii: "n"): value.append(0x0a)
        case UInt8(ascii: "r"): value.append(0x0d)
        case UInt8(ascii: "t"): value.append(0x09)
        case UInt8(ascii: "v"): value.append(0x0b)
        case UInt8(ascii: "\\"), quote: value.append(letter)
        case 0x30...0x37:
            position -= 1
            guard let code = digits(bytes, &position, 3, 8), code < 256 else {
                throw failure("escape sequence is not octal")
            }
            value.append(UInt8(code))
        case UInt8(ascii: "x"):
            guard let code = digits(bytes, &position, 2, 16) else {
                throw failure("escape sequence is not hexadecimal")
            }
            value.append(UInt8(code))
        case UInt8(ascii: "u"), UInt8(ascii: "U"):
            guard let code = digits(bytes, &position, letter == UInt8(ascii: "u") ? 4 : 8, 16),
                let scalar = Unicode.Scalar(code)
            else {
                throw failure("escape sequence is not a Unicode code point")
            }
            value += Array(String(Character(scalar)).utf8)
        default: throw failure("unknown escape sequence \\\(Character(Unicode.Scalar(letter)))")
        }
    }

    private static func digits(_ bytes: [UInt8], _ position: inout Int, _ count: Int, _ base: Int) -> UInt32? {
        guard position + count <= bytes.count else { return nil }
        let word = String(decoding: bytes[position..<(position + count)], as: UTF8.self)
        position += count
        return UInt32(word, radix: base)
    }
}
