/// Why a query has no answer.
package struct PromQLError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Kind: String, Sendable {
        /// Not the language.
        case syntax
        /// The language, but the parts do not fit together.
        case type
        /// Found out while the query ran.
        case execution
        case timeout, cancelled, tooManySamples
        /// The source did not answer.
        case storage
    }

    package let kind: Kind
    package let message: String
    /// Where in the query's UTF-8 bytes; nil when no place is to blame.
    package let range: Range<Int>?
    /// Line and column, both from 1, of the range's start.
    package let place: Place?

    package struct Place: Hashable, Sendable, CustomStringConvertible {
        package let line: Int
        package let column: Int

        package var description: String { "\(line):\(column)" }

        /// The place of a byte of a text.
        package init(_ offset: Int, in text: String) {
            var (line, column) = (1, 1)
            for byte in text.utf8.prefix(offset) {
                if byte == 0x0a { (line, column) = (line + 1, 1) } else { column += 1 }
            }
            (self.line, self.column) = (line, column)
        }
    }

    init(_ kind: Kind, _ message: String, at range: Range<Int>? = nil, in text: String? = nil) {
        self.kind = kind
        self.message = message
        self.range = range
        place = text.flatMap { text in range.map { Place($0.lowerBound, in: text) } }
    }

    /// As Prometheus words it: `1:5: parse error: …` for a query that is not one.
    package var description: String {
        switch kind {
        case .syntax, .type: "\(place.map { "\($0): " } ?? "")parse error: \(message)"
        default: message
        }
    }
}
