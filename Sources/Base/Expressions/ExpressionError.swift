/// A place in the text that holds an expression; both count from 1.
package struct Position: Sendable, Equatable, CustomStringConvertible {
    package var line: Int
    package var column: Int

    package init(line: Int = 1, column: Int = 1) { (self.line, self.column) = (line, column) }

    package var description: String { line == 1 ? "column \(column)" : "line \(line), column \(column)" }

    /// The place after one more character.
    mutating func advance(over character: Character) {
        if character.isNewline, character != "\r" { (line, column) = (line + 1, 1) } else { column += 1 }
    }
}

/// What is wrong with an expression, and where.
package struct ExpressionError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kinds of mistake.
    package enum Code: String, Sendable, CaseIterable {
        case syntax
        case unknownName
        case unknownFunction
        case wrongArguments
        /// A value is absent where the context asks for all.
        case missing
        /// A value cannot be used so: text that is no JSON, a placeholder without a value.
        case invalidValue
        /// Source, nesting, work or result is over its limit.
        case limit
    }

    package let code: Code
    package let message: String
    package let position: Position
    /// What to do about it.
    package let hint: String?

    package init(_ code: Code, _ message: String, at position: Position, hint: String? = nil) {
        (self.code, self.message, self.position, self.hint) = (code, message, position, hint)
    }

    package var description: String { "\(message), at \(position)" }

    static func tooLarge(at position: Position) -> ExpressionError {
        ExpressionError(
            .limit, "the result is larger than \(ExpressionLimits.resultBytes) bytes", at: position)
    }
}

/// The bounds of an expression.
package enum ExpressionLimits {
    /// Characters of source (UTF-16 units), as GitHub has it.
    package static let sourceCharacters = 21_000
    /// Nested operations, as GitHub has it.
    package static let depth = 50
    /// Operations and elements that one evaluation may touch.
    package static let steps = 100_000
    /// Bytes of text that an evaluation may build.
    package static let resultBytes = 4 << 20
}
