/// A word of the language.
struct Token: Equatable {
    enum Kind: Equatable {
        case literal(Value)
        case name(String)
        /// An operator or a bracket, as written.
        case symbol(String)
        case end
    }

    let kind: Kind
    let position: Position

    /// How an error quotes it.
    var spelling: String {
        switch kind {
        case .literal(.string(let text)): "'\(text)'"
        case .literal(.null): "null"
        case .literal(let value): value.text
        case .name(let name): name
        case .symbol(let symbol): symbol
        case .end: "the end"
        }
    }
}

/// Cuts the source of an expression into tokens.
///
/// A sign belongs to a number only where an operand may begin; after an operand it is an operator. Names may contain
/// `-`, so a subtraction of names needs a blank before its sign.
struct Lexer {
    private let characters: [Character]
    private var offset = 0
    private var position: Position
    private var tokens: [Token] = []

    /// Scalars count, not what they look like together: a mark behind a quote must not keep it from ending a string.
    init(_ source: some StringProtocol, at start: Position) {
        characters = source.unicodeScalars.map { Character($0) }
        position = start
    }

    mutating func run() throws(ExpressionError) -> [Token] {
        while let character = peek {
            if character.isWhitespace {
                advance()
            } else if character == "'" {
                try string()
            } else if isNumberStart(character) {
                try number()
            } else if Self.isNameStart(character) {
                name()
            } else {
                try symbol(character)
            }
        }
        append(.end, at: position)
        return tokens
    }

    static func isNameStart(_ character: Character) -> Bool {
        character == "_" || (character.isASCII && character.isLetter)
    }

    static func isNamePart(_ character: Character) -> Bool {
        isNameStart(character) || character == "-" || (character.isASCII && character.isNumber)
    }

    /// Whether the token before ends an operand, so that a sign is an operator and a dot is an access.
    private var isAfterOperand: Bool {
        switch tokens.last?.kind {
        case .literal, .name: true
        case .symbol(let symbol): symbol == ")" || symbol == "]" || isAfterFilter
        case .end, nil: false
        }
    }

    /// Whether the token before is the star of `.*` or `[*`.
    private var isAfterFilter: Bool {
        guard tokens.count >= 2, tokens[tokens.count - 1].kind == .symbol("*") else { return false }
        return tokens[tokens.count - 2].kind == .symbol(".") || tokens[tokens.count - 2].kind == .symbol("[")
    }

    private func isNumberStart(_ character: Character) -> Bool {
        if Self.isDigit(character) { return true }
        guard !isAfterOperand else { return false }
        let next = characters.dropFirst(offset + 1).prefix(2).map { $0 }
        switch character {
        case ".": return next.first.map(Self.isDigit) ?? false
        case "-", "+":
            if next.first.map(Self.isDigit) == true { return true }
            return next.count == 2 && next[0] == "." && Self.isDigit(next[1])
        default: return false
        }
    }

    private mutating func number() throws(ExpressionError) {
        let start = position
        var text = ""
        while let character = peek {
            let isSign = (character == "-" || character == "+")
            let mayBeSigned = text.isEmpty || (!text.hasPrefix("0x") && (text.last == "e" || text.last == "E"))
            guard isSign ? mayBeSigned : (character == "." || (Self.isNamePart(character) && character != "-")) else {
                break
            }
            text.append(character)
            advance()
        }
        let number = Value.number(in: text)
        guard !number.isNaN else {
            throw ExpressionError(.syntax, "\"\(text)\" is not a number", at: start)
        }
        append(.literal(.number(number)), at: start)
    }

    private mutating func string() throws(ExpressionError) {
        let start = position
        var text = ""
        advance()
        while let character = peek {
            advance()
            guard character == "'" else {
                text.append(character)
                continue
            }
            guard peek == "'" else { return append(.literal(.string(text)), at: start) }
            text.append("'")
            advance()
        }
        throw ExpressionError(
            .syntax, "a string without an end", at: start, hint: "Close it with ', and write '' for a quote inside it.")
    }

    private mutating func name() {
        let start = position
        var name = ""
        while let character = peek, Self.isNamePart(character) {
            name.append(character)
            advance()
        }
        let isMember = tokens.last?.kind == .symbol(".")
        switch isMember ? "" : name {
        case "null": append(.literal(.null), at: start)
        case "true": append(.literal(.bool(true)), at: start)
        case "false": append(.literal(.bool(false)), at: start)
        case "NaN": append(.literal(.number(.nan)), at: start)
        case "Infinity": append(.literal(.number(.infinity)), at: start)
        default: append(.name(name), at: start)
        }
    }

    private mutating func symbol(_ character: Character) throws(ExpressionError) {
        let start = position
        let pair = String(characters[offset..<min(offset + 2, characters.count)])
        if ["&&", "||", "==", "!=", "<=", ">="].contains(pair) {
            advance()
            advance()
            return append(.symbol(pair), at: start)
        }
        guard "!<>()[].,*/+-".contains(character) else {
            let hints: [Character: String] = [
                "\"": "Strings take single quotes.", "=": "Equality is ==.", "&": "And is &&.", "|": "Or is ||.",
            ]
            throw ExpressionError(
                .syntax, "unexpected \"\(character)\"", at: start, hint: hints[character])
        }
        advance()
        append(.symbol(String(character)), at: start)
    }

    private static func isDigit(_ character: Character) -> Bool { ("0"..."9").contains(character) }

    private var peek: Character? { offset < characters.count ? characters[offset] : nil }

    private mutating func advance() {
        position.advance(over: characters[offset])
        offset += 1
    }

    private mutating func append(_ kind: Token.Kind, at position: Position) {
        tokens.append(Token(kind: kind, position: position))
    }
}
