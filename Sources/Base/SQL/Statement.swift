/// A piece of SQL with its values apart from its text, so that no value can ever be read as SQL.
///
///     "SELECT spec FROM resource WHERE name = \(name)"
///     "SELECT spec FROM resource WHERE name IN \(list: names)"
///     let filter: Statement = "project = \(project)"
///     "SELECT spec FROM resource WHERE \(filter) ORDER BY name"
package struct Statement: ExpressibleByStringInterpolation, Sendable, Hashable {
    /// SQL text cut where a value goes; there is one more piece than there are values.
    package private(set) var pieces: [String]
    package private(set) var values: [SQLValue]

    package init(stringLiteral value: String) { (pieces, values) = ([value], []) }

    package init(stringInterpolation interpolation: StringInterpolation) {
        self = interpolation.statement
    }

    /// Whether there is neither text nor a value.
    package var isEmpty: Bool { values.isEmpty && pieces.allSatisfy(\.isEmpty) }

    /// Collects the literal and the bound parts of one statement.
    package struct StringInterpolation: StringInterpolationProtocol {
        fileprivate var statement: Statement = ""

        package init(literalCapacity: Int, interpolationCount: Int) {}

        package mutating func appendLiteral(_ literal: String) {
            statement.append(text: literal)
        }

        /// Binds a value: it never becomes text.
        package mutating func appendInterpolation(_ value: some SQLBindable) {
            statement.append(value: value.sqlValue)
        }

        /// Splices another statement, its values included.
        package mutating func appendInterpolation(_ fragment: Statement) {
            statement += fragment
        }

        /// Splices trusted SQL, such as a column list held in a constant.
        package mutating func appendInterpolation(raw text: StaticString) {
            statement.append(text: "\(text)")
        }

        /// Binds each value of a list for `IN`, parentheses included: `name IN \(list: names)`.
        ///
        /// An empty list becomes a query without rows, so that `IN` is false and `NOT IN` is true.
        package mutating func appendInterpolation(list values: some Collection<some SQLBindable>) {
            guard !values.isEmpty else { return statement.append(text: "(SELECT NULL WHERE 1 = 0)") }
            statement.append(text: "(")
            for (index, value) in values.enumerated() {
                if index > 0 { statement.append(text: ", ") }
                statement.append(value: value.sqlValue)
            }
            statement.append(text: ")")
        }
    }

    package static func + (left: Statement, right: Statement) -> Statement {
        var sum = left
        sum += right
        return sum
    }

    package static func += (left: inout Statement, right: Statement) {
        left.append(text: right.pieces[0])
        left.pieces.append(contentsOf: right.pieces.dropFirst())
        left.values.append(contentsOf: right.values)
    }

    /// The text with the placeholders of one dialect: `?` or `$1`.
    func text(placeholder: (Int) -> String) -> String {
        guard pieces.count > 1 else { return pieces[0] }
        var text = pieces[0]
        for (index, piece) in pieces.dropFirst().enumerated() {
            text += placeholder(index + 1)
            text += piece
        }
        return text
    }

    private mutating func append(text: String) {
        pieces[pieces.count - 1] += text
    }

    private mutating func append(value: SQLValue) {
        values.append(value)
        pieces.append("")
    }
}

extension Sequence<Statement> {
    /// Puts the statements one after another: `conditions.joined(separator: " AND ")`.
    package func joined(separator: Statement) -> Statement {
        var joined: Statement = ""
        var isFirst = true
        for statement in self {
            if !isFirst { joined += separator }
            joined += statement
            isFirst = false
        }
        return joined
    }
}
