/// Text with `${{ … }}` in it.
package struct Template: Sendable {
    private enum Part: Sendable {
        case text(String)
        case expression(Expression)
    }

    /// Bytes that a template may have.
    package static let sourceBytes = 1 << 20

    /// Bytes of one that came of another, its values quoted.
    package static let quotedBytes = 3 * ExpressionLimits.resultBytes

    /// The text it was parsed from.
    package let source: String
    private let parts: [Part]

    /// - Parameter limit: Bytes that it may have.
    package init(parsing source: String, limit: Int = Template.sourceBytes) throws(ExpressionError) {
        guard source.utf8.count <= limit else {
            throw ExpressionError(.limit, "the text is larger than \(limit) bytes", at: Position())
        }
        self.source = source
        guard source.utf8.contains("${{".utf8) else {
            parts = source.isEmpty ? [] : [.text(source)]
            return
        }
        var scanner = Scanner(source)
        parts = try scanner.run()
    }

    /// The expressions, in order.
    package var expressions: [Expression] {
        parts.compactMap { part in
            if case .expression(let expression) = part { expression } else { nil }
        }
    }

    /// The context paths that all expressions read.
    package var references: [Reference] { expressions.flatMap(\.references) }

    /// Whether one of them calls `hashFiles()`.
    package var readsFiles: Bool { expressions.contains(where: \.readsFiles) }

    /// Whether there is no expression in it.
    package var isPlain: Bool { expressions.isEmpty }

    /// A template whose text is `text`, whatever stands in it; also beside other text it is no expression but its own.
    package static func quoting(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 == UInt8(ascii: "$") || $0 == UInt8(ascii: "{") }) else { return text }
        var quoted = String.UnicodeScalarView()
        for (place, scalar) in text.unicodeScalars.enumerated() {
            // In parts, since an expression has a longest length.
            if place.isMultiple(of: 4_096) { quoted += (place == 0 ? "${{ '" : "' }}${{ '").unicodeScalars }
            if scalar == "'" { quoted.append(scalar) }
            quoted.append(scalar)
        }
        return String(quoted) + "' }}"
    }

    /// The text of a template that reads nothing; nil when its text is known only where it is evaluated.
    package var constant: String? {
        guard references.isEmpty, !readsFiles, !expressions.contains(where: \.usesStatus) else { return nil }
        return try? render(in: Context(values: [:]))  // an expression that cannot be evaluated is told where it is
    }

    /// Evaluates; a template that is a single expression keeps the type of its value.
    package func evaluate(in context: Context) throws -> Value {
        if parts.count == 1, case .expression(let expression) = parts[0] { return try expression.evaluate(in: context) }
        return .string(try render(in: context))
    }

    /// Evaluates to text.
    package func render(in context: Context) throws -> String {
        let evaluator = Evaluator(context)
        var text = ""
        for part in parts {
            switch part {
            case .text(let literal): text += literal
            case .expression(let expression): text += try expression.evaluate(with: evaluator).text
            }
            guard text.utf8.count <= ExpressionLimits.resultBytes else {
                throw ExpressionError.tooLarge(at: Position())
            }
        }
        return text
    }

    /// Cuts the text at `${{` and at the `}}` that is not inside a string.
    private struct Scanner {
        private let characters: [Character]
        private var offset = 0
        private var position = Position()

        /// As the lexer does, by scalars.
        init(_ source: String) { characters = source.unicodeScalars.map { Character($0) } }

        mutating func run() throws(ExpressionError) -> [Part] {
            var parts: [Part] = []
            var text = ""
            while offset < characters.count {
                guard starts(with: "${{") else {
                    text.append(characters[offset])
                    advance()
                    continue
                }
                if !text.isEmpty { parts.append(.text(text)) }
                text = ""
                parts.append(.expression(try expression()))
            }
            if !text.isEmpty { parts.append(.text(text)) }
            return parts
        }

        private mutating func expression() throws(ExpressionError) -> Expression {
            let open = position
            advance(3)
            let start = position
            var source = ""
            var isInString = false
            while offset < characters.count {
                if !isInString, starts(with: "}}") {
                    advance(2)
                    return try Expression(parsing: source, at: start)
                }
                if characters[offset] == "'" { isInString.toggle() }
                source.append(characters[offset])
                advance()
            }
            throw ExpressionError(
                .syntax, "\"${{\" without its \"}}\"", at: open,
                hint: isInString
                    ? "A string inside it has no end." : "Close it, or write ${{ '${{' }} for the text itself.")
        }

        private func starts(with text: String) -> Bool { characters[offset...].starts(with: text) }

        private mutating func advance(_ count: Int = 1) {
            for _ in 0..<count {
                position.advance(over: characters[offset])
                offset += 1
            }
        }
    }
}
