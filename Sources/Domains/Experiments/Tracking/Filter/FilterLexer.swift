/// Cuts a filter into its words.
struct FilterLexer {
    enum Token: Equatable {
        /// As it was written, quotes included: `` metrics.`a b` ``, `AND`.
        case word(String)
        /// A text in single quotes, or in double quotes, which may also name a column.
        case text(String, isDouble: Bool)
        case number(String)
        case symbol(String)

        /// Whether it is this word, in any case.
        func isKeyword(_ keyword: String) -> Bool {
            guard case .word(let word) = self else { return false }
            return word.uppercased() == keyword
        }

        /// As it stands in messages.
        var shown: String {
            switch self {
            case .word(let text), .number(let text), .symbol(let text): text
            case .text(let text, let isDouble): isDouble ? "\"\(text)\"" : "'\(text)'"
            }
        }
    }

    /// Characters of a filter.
    static let limit = 65_536

    private let text: [Character]
    private var position = 0

    private init(_ text: String) { self.text = Array(text) }

    static func tokens(_ text: String) throws(MLflowError) -> [Token] {
        guard text.utf8.count <= limit else { throw .invalid("A filter may have at most \(limit) characters") }
        var lexer = FilterLexer(text)
        var tokens: [Token] = []
        while let token = try lexer.next() { tokens.append(token) }
        return tokens
    }

    /// A name without the quotes or backticks around it.
    static func unquoted(_ name: String) -> String {
        guard name.count >= 2, let first = name.first, first == name.last, "`'\"".contains(first) else { return name }
        return String(name.dropFirst().dropLast())
    }

    private var character: Character? { position < text.count ? text[position] : nil }
    private func character(after count: Int) -> Character? {
        position + count < text.count ? text[position + count] : nil
    }

    private mutating func next() throws(MLflowError) -> Token? {
        while let character, character.isWhitespace { position += 1 }
        guard let first = character else { return nil }
        switch first {
        case "'":
            return .text(try quoted("'"), isDouble: false)
        case "\"":
            let start = position
            let inside = try quoted("\"")
            guard character == "." else { return .text(inside, isDouble: true) }
            return try word(from: start)
        case "`":
            let start = position
            _ = try quoted("`")
            return try word(from: start)
        case "(", ")", ",", ";":
            position += 1
            return .symbol(String(first))
        case "=", "<", ">", "!": return .symbol(comparator(first))
        case "0"..."9": return number()
        case "-", "+", ".":
            if let second = character(after: 1), second.isASCII, second.isNumber || second == "." { return number() }
            position += 1
            return .symbol(String(first))
        default:
            guard Self.isBare(first) else {
                position += 1
                return .symbol(String(first))
            }
            return try word(from: position)
        }
    }

    private mutating func comparator(_ first: Character) -> String {
        position += 1
        guard let second = character, second == "=" || (first == "<" && second == ">") else { return String(first) }
        position += 1
        let both = "\(first)\(second)"
        return both == "<>" ? "!=" : both == "==" ? "=" : both
    }

    private mutating func number() -> Token {
        let start = position
        position += 1
        while let character {
            let isSign =
                (character == "-" || character == "+") && (text[position - 1] == "e" || text[position - 1] == "E")
            guard isSign || character == "." || (character.isASCII && (character.isNumber || character.isLetter)) else {
                break
            }
            position += 1
        }
        return .number(String(text[start..<position]))
    }

    /// Text up to the same quote again. As in MLflow nothing is an escape.
    private mutating func quoted(_ quote: Character) throws(MLflowError) -> String {
        let start = position
        position += 1
        while let character, character != quote { position += 1 }
        guard character == quote else {
            throw .invalid("Invalid clause(s) in filter string: '\(String(text[start...]))'")
        }
        position += 1
        return String(text[(start + 1)..<(position - 1)])
    }

    private mutating func word(from start: Int) throws(MLflowError) -> Token {
        while let character {
            if Self.isBare(character) {
                position += 1
            } else if position > start, text[position - 1] == ".", "`\"'".contains(character) {
                _ = try quoted(character)
            } else {
                break
            }
        }
        return .word(String(text[start..<position]))
    }

    private static func isBare(_ character: Character) -> Bool {
        character.isLetter || character.isNumber || "_.-/:@$#%&*+?|~^".contains(character)
    }
}
