import SQL

/// One clause of an ORDER BY as it is written: `metrics.acc DESC`.
struct OrderClause: Equatable, Sendable {
    var column: FilterColumn
    var isAscending: Bool

    /// Clauses of one request.
    static let limit = 20

    static func parse(_ texts: [String], _ schema: FilterSchema) throws(MLflowError) -> [OrderClause] {
        guard texts.count <= limit else { throw .invalid("`order_by` may have at most \(limit) fields") }
        var clauses: [OrderClause] = []
        for text in texts {
            let clause = try parse(text, schema)
            guard !clauses.contains(where: { $0.column == clause.column }) else {
                throw MLflowError(.internal, "`order_by` contains duplicate fields: \(texts)")
            }
            clauses.append(clause)
        }
        return clauses
    }

    private static func parse(_ text: String, _ schema: FilterSchema) throws(MLflowError) -> OrderClause {
        let unreadable = MLflowError.invalid("Invalid order_by clause '\(text)'. Could not be parsed.")
        let tokens = (try? FilterLexer.tokens(text)) ?? []  // told as unreadable
        guard (1...2).contains(tokens.count) else { throw unreadable }
        let identifier: String
        switch tokens[0] {
        case .word(let word): identifier = word
        case .text(let word, isDouble: true): identifier = word
        default: throw unreadable
        }
        var isAscending = true
        if tokens.count == 2 {
            switch tokens[1] {
            case .word(let word) where word.lowercased() == "asc": break
            case .word(let word) where word.lowercased() == "desc": isAscending = false
            default: throw .invalid("Invalid ordering key in order_by clause '\(text)'.")
            }
        }
        return OrderClause(column: try schema.column(identifier), isAscending: isAscending)
    }
}

/// One thing that rows are sorted by: first by its rank (0 there, 1 NaN, 2 missing), then by its value.
struct OrderTerm {
    /// Nil when all rows of the search have the rank `fixedRank`.
    var rank: Statement?
    var fixedRank: Int64 = 0
    /// Nil when all rows are equal in it.
    var value: Statement?
    var isAscending: Bool
}

/// The order of a search, and the place in it where a page begins.
struct SearchOrder {
    var terms: [OrderTerm]

    /// The columns that tell a row's place: rank and value of each term.
    var columns: Statement {
        terms.map { term -> Statement in
            let rank: Statement = term.rank ?? "\(term.fixedRank)"
            return "\(rank), \(term.value ?? "NULL")"
        }.joined(separator: ", ")
    }

    /// `ORDER BY …`, by the number of the column: what is computed for it is computed once.
    ///
    /// - Parameter first: Number of the first of `columns` in the SELECT, from 1.
    func clause(first: Int) -> Statement {
        var parts: [Statement] = []
        for (index, term) in terms.enumerated() {
            if term.rank != nil { parts.append(Self.number(first + 2 * index)) }
            guard term.value != nil else { continue }
            let number = Self.number(first + 2 * index + 1)
            parts.append(term.isAscending ? number : "\(number) DESC")
        }
        return "ORDER BY \(parts.joined(separator: ", "))"
    }

    private static func number(_ number: Int) -> Statement {
        // Numbers of columns cannot be bound: a bound one is a constant, by which nothing is sorted.
        Statement(stringLiteral: String(number))
    }

    /// What holds for the rows behind a place: keyset pagination.
    func after(_ place: [SQLValue]) -> Statement {
        var condition: Statement = "0"
        for (index, term) in terms.enumerated().reversed() {
            guard place.count > 2 * index + 1, case .integer(let rank) = place[2 * index] else { continue }
            let value = place[2 * index + 1]
            var within = condition
            if rank == 0, let cell = term.value {
                let beyond: Statement = term.isAscending ? "\(cell) > \(value)" : "\(cell) < \(value)"
                within = "(\(beyond) OR (\(cell) = \(value) AND \(condition)))"
            }
            if let column = term.rank {
                condition = "(\(column) > \(rank) OR (\(column) = \(rank) AND \(within)))"
            } else {
                condition = within
            }
        }
        guard let first = terms.first, first.rank == nil, let cell = first.value, place.count > 1 else {
            return condition
        }
        // Said once more for the index of the first term.
        let bound: Statement = first.isAscending ? "\(cell) >= \(place[1])" : "\(cell) <= \(place[1])"
        return "\(bound) AND \(condition)"
    }
}

/// One page: what was found, and the place after it when there is more.
struct SearchPage<Item: Sendable>: Sendable {
    var items: [Item]
    var next: [SQLValue]?
}
