/// Reads filters.
///
///     filter  := all ( OR all )*
///     all     := one ( [AND] one )*
///     one     := NOT one | "(" filter ")" | column test
///     test    := comparator value | [NOT] (LIKE | ILIKE) text | [NOT] IN "(" value, … ")"
///              | [NOT] BETWEEN value AND value | IS [NOT] NULL
struct FilterParser {
    /// How deep parentheses may nest, and how many tests there may be.
    static let depthLimit = 50
    static let testLimit = 200
    /// Values of all IN together.
    static let valueLimit = 5000

    private let tokens: [FilterLexer.Token]
    private let schema: FilterSchema
    private var position = 0
    private var tests = 0
    private var listed = 0

    /// Nil for an empty filter, which everything passes.
    static func parse(_ text: String, _ schema: FilterSchema) throws(MLflowError) -> Filter? {
        let tokens = try FilterLexer.tokens(text)
        guard !tokens.allSatisfy({ $0.isKeyword("AND") }) else { return nil }
        var parser = FilterParser(tokens: tokens, schema: schema)
        let filter = try parser.filter(depth: 0)
        guard parser.position == tokens.count else { throw parser.wrong() }
        return filter
    }

    private init(tokens: [FilterLexer.Token], schema: FilterSchema) { (self.tokens, self.schema) = (tokens, schema) }

    private var token: FilterLexer.Token? { position < tokens.count ? tokens[position] : nil }

    /// What cannot be read, from here to the end.
    private func wrong() -> MLflowError {
        let rest = tokens[min(position, tokens.count)...].map(\.shown).joined(separator: " ")
        return .invalid("Invalid clause(s) in filter string: '\(rest.prefix(500))'")
    }

    private mutating func take(_ keyword: String) -> Bool {
        guard let token, token.isKeyword(keyword) else { return false }
        position += 1
        return true
    }

    private mutating func take(symbol: String) -> Bool {
        guard token == .symbol(symbol) else { return false }
        position += 1
        return true
    }

    private mutating func filter(depth: Int) throws(MLflowError) -> Filter {
        guard depth < Self.depthLimit else {
            throw .invalid("A filter may nest at most \(Self.depthLimit) levels deep")
        }
        var parts = [try all(depth: depth)]
        while take("OR") { parts.append(try all(depth: depth)) }
        return parts.count == 1 ? parts[0] : .any(parts)
    }

    /// As in MLflow, an AND may be missing between two tests, or stand once too often.
    private mutating func all(depth: Int) throws(MLflowError) -> Filter {
        var parts: [Filter] = []
        while true {
            while take("AND") {}
            guard let token, token != .symbol(")"), !token.isKeyword("OR") else { break }
            parts.append(try one(depth: depth))
        }
        guard !parts.isEmpty else { throw wrong() }
        return parts.count == 1 ? parts[0] : .all(parts)
    }

    private mutating func one(depth: Int) throws(MLflowError) -> Filter {
        if take("NOT") {
            guard depth < Self.depthLimit else { throw wrong() }
            return .not(try one(depth: depth + 1))
        }
        if take(symbol: "(") {
            let inside = try filter(depth: depth + 1)
            guard take(symbol: ")") else { throw wrong() }
            return inside
        }
        return try test()
    }

    private mutating func test() throws(MLflowError) -> Filter {
        tests += 1
        guard tests <= Self.testLimit else { throw .invalid("A filter may have at most \(Self.testLimit) comparisons") }
        let identifier: String
        switch token {
        case .word(let word) where !["AND", "OR", "NOT", "IN", "IS"].contains(word.uppercased()): identifier = word
        case .text(let text, isDouble: true): identifier = text
        default: throw wrong()
        }
        let start = position
        position += 1
        guard token != nil else {
            position = start
            throw wrong()
        }
        let column = try schema.column(identifier)
        if take("IS") {
            let isNegated = take("NOT")
            guard take("NULL") else { throw wrong() }
            return .null(column, isNegated: isNegated)
        }
        let isNegated = take("NOT")
        if take("IN") { return .among(column, try values(column), isNegated: isNegated) }
        if take("BETWEEN") {
            let low = try value(column)
            guard take("AND") else { throw wrong() }
            return .between(column, low, try value(column), isNegated: isNegated)
        }
        let comparator = try comparator(column, isNegated: isNegated, from: start)
        let compared = try value(column)
        try schema.check(column, comparator, compared)
        let test = Filter.compare(column, comparator, compared)
        // A key that is not there has no value that is not like another.
        return isNegated ? .all([.null(column, isNegated: true), .not(test)]) : test
    }

    private mutating func comparator(
        _ column: FilterColumn, isNegated: Bool, from start: Int
    ) throws(MLflowError) -> FilterComparator {
        let written: String
        switch token {
        case .symbol(let symbol) where !isNegated: written = symbol
        case .word(let word): written = word.uppercased()
        default:
            position = start
            throw wrong()
        }
        guard let comparator = FilterComparator(rawValue: written) else {
            position = start
            throw wrong()
        }
        position += 1
        let isAllowed =
            column.entity.isAssessment
            || (schema.isNumeric(column) ? ![.like, .ilike].contains(comparator) : !comparator.isOrder)
        guard isAllowed else {
            let all = schema.isNumeric(column) ? "'>', '>=', '!=', '=', '<', '<='" : "'!=', '=', 'LIKE', 'ILIKE'"
            throw .invalid("Invalid comparator '\(written)' not one of '{\(all)}'")
        }
        return comparator
    }

    private mutating func values(_ column: FilterColumn) throws(MLflowError) -> [FilterValue] {
        guard take(symbol: "(") else { throw wrong() }
        var values: [FilterValue] = []
        repeat {
            // A list may end with a comma, as Python's do.
            if token == .symbol(")"), !values.isEmpty { break }
            values.append(try value(column))
            listed += 1
            guard listed <= Self.valueLimit else {
                throw .invalid("The lists of a filter may have at most \(Self.valueLimit) values")
            }
        } while take(symbol: ",")
        guard take(symbol: ")") else { throw wrong() }
        return values
    }

    private mutating func value(_ column: FilterColumn) throws(MLflowError) -> FilterValue {
        guard let token else { throw wrong() }
        position += 1
        if schema.isNumeric(column) {
            guard case .number(let text) = token, let number = Double(text) else {
                throw .invalid(
                    column.entity == .metric
                        ? "Expected numeric value type for metric. Found \(token.shown)"
                        : "Expected numeric value type for numeric attribute: \(column.key). Found \(token.shown)")
            }
            return Int64(text).map { FilterValue.integer($0) } ?? .number(number)
        }
        if column.entity.isAssessment, case .number(let text) = token, let number = Double(text) {
            return Int64(text).map { FilterValue.integer($0) } ?? .number(number)
        }
        guard case .text(let text, _) = token else {
            switch column.entity {
            case .parameter, .tag:
                throw .invalid(
                    "Expected a quoted string value for \(column.entity.rawValue) (e.g. 'my-value'). Got value \(token.shown)"
                )
            case .dataset:
                throw .invalid("Expected a quoted string value for dataset attributes. Got value \(token.shown)")
            default: throw .invalid("Expected a quoted string value for attributes. Got value \(token.shown)")
            }
        }
        return .text(text)
    }
}
