import SQL

/// Where the columns of a filter lie, for one kind of thing.
struct FilterSource {
    /// The attribute's column in the searched table: `r.start`.
    var attribute: (String) -> Statement
    /// Whether an attribute may be NULL.
    var isNullable: (String) -> Bool = { _ in false }
    /// The rows that a metric, param, tag or dataset of the searched row has, with the column that is compared and, for metrics, the
    /// one that marks NaN: `FROM tag x WHERE x.run = r.id AND x.key = 7`, `x.value`.
    var rows: (FilterColumn) throws -> (rows: Statement, value: Statement, isNaN: Statement?)

    /// An index in which a row of this very value is found, for a test of equality; nil where there is none.
    var exact: (FilterColumn, FilterValue) throws -> Statement? = { _, _ in nil }

    /// The column that numbers are compared with where texts are compared with another.
    var number: (FilterColumn) -> Statement? = { _ in nil }

    func condition(_ filter: Filter) throws -> Statement {
        switch filter {
        case .all(let parts): "(\(try conditions(parts).joined(separator: " AND ")))"
        case .any(let parts): "(\(try parts.map(condition).joined(separator: " OR ")))"
        case .not(let part): "NOT (\(try condition(part)))"
        case .compare(let column, .equal, let value) where column.entity != .attribute:
            try exact(column, value).map { "EXISTS (SELECT 1 \($0))" }
                ?? holds(column, negative: false) { Self.compare($0, .equal, value) }
        case .compare(let column, let comparator, _):
            try holds(column, negative: comparator == .unequal, test(filter))
        case .among(let column, _, let isNegated), .between(let column, _, _, let isNegated):
            try holds(column, negative: isNegated, test(filter))
        case .null(let column, let isNegated): try null(column, isNegated)
        }
    }

    /// Conditions that all must hold: those about spans of one and the same span.
    private func conditions(_ parts: [Filter]) throws -> [Statement] {
        let spans = parts.filter { $0.column?.entity == .span }
        guard spans.count > 1 else { return try parts.map(condition) }
        let others = parts.filter { $0.column?.entity != .span }
        var together: [Statement] = []
        var source: Statement = ""
        for part in spans {
            guard let column = part.column else { continue }
            let rows = try rows(column)
            source = rows.rows
            together.append(test(part)(rows.value))
        }
        let one: Statement = "EXISTS (SELECT 1 \(source) AND \(together.joined(separator: " AND ")))"
        return try others.map(condition) + [one]
    }

    /// What a comparison asks of a cell.
    private func test(_ filter: Filter) -> (Statement) -> Statement {
        { cell in
            switch filter {
            case .compare(let column, let comparator, let value):
                return Self.compare(value.isNumber ? number(column) ?? cell : cell, comparator, value)
            case .among(_, let values, let isNegated):
                let list: Statement = "\(list: values.map(\.sql))"
                return isNegated ? "\(cell) NOT IN \(list)" : "\(cell) IN \(list)"
            case .between(let column, let low, let high, let isNegated):
                let cell = low.isNumber ? number(column) ?? cell : cell
                let range: Statement = "BETWEEN \(low.sql) AND \(high.sql)"
                return isNegated ? "\(cell) NOT \(range)" : "\(cell) \(range)"
            case .all, .any, .not, .null: return "1"
            }
        }
    }

    private func null(_ column: FilterColumn, _ isNegated: Bool) throws -> Statement {
        if column.entity == .attribute {
            let cell = attribute(column.key)
            return isNegated ? "\(cell) IS NOT NULL" : "\(cell) IS NULL"
        }
        let rows = try rows(column).rows
        return isNegated ? "EXISTS (SELECT 1 \(rows))" : "NOT EXISTS (SELECT 1 \(rows))"
    }

    /// - Parameter negative: Whether NaN passes: it differs from every number.
    private func holds(
        _ column: FilterColumn, negative: Bool, _ condition: (Statement) -> Statement
    ) throws -> Statement {
        if column.entity == .attribute {
            let cell = attribute(column.key)
            let test = condition(cell)
            return isNullable(column.key) ? "(\(cell) IS NOT NULL AND \(test))" : test
        }
        let source = try rows(column)
        let test = Self.number(condition(source.value), source.isNaN, negative: negative)
        return "EXISTS (SELECT 1 \(source.rows) AND \(test))"
    }

    /// A test of a number that may be NaN, which is kept as 0 with a mark.
    static func number(_ test: Statement, _ isNaN: Statement?, negative: Bool) -> Statement {
        guard let isNaN else { return test }
        return negative ? "(\(test) OR \(isNaN) = 1)" : "(\(test) AND \(isNaN) = 0)"
    }

    static func compare(_ cell: Statement, _ comparator: FilterComparator, _ value: FilterValue) -> Statement {
        switch comparator {
        case .equal: "\(cell) = \(value.sql)"
        case .unequal: "\(cell) != \(value.sql)"
        case .less: "\(cell) < \(value.sql)"
        case .lessOrEqual: "\(cell) <= \(value.sql)"
        case .greater: "\(cell) > \(value.sql)"
        case .greaterOrEqual: "\(cell) >= \(value.sql)"
        // SQLite's LIKE ignores the case of ASCII letters, which is ILIKE; its GLOB does not.
        case .like: "\(cell) GLOB \(globbed(value))"
        case .ilike: "\(cell) LIKE \(value.sql)"
        }
    }

    /// The pattern of a LIKE as one of GLOB.
    static func globbed(_ value: FilterValue) -> String {
        guard case .text(let pattern) = value else { return "" }
        var glob = ""
        for character in pattern {
            switch character {
            case "%": glob += "*"
            case "_": glob += "?"
            case "*", "?", "[": glob += "[\(character)]"
            default: glob.append(character)
            }
        }
        return glob
    }
}

extension FilterValue {
    var isNumber: Bool {
        switch self {
        case .integer, .number: true
        case .text: false
        }
    }

    var sql: SQLValue {
        switch self {
        case .integer(let number): .integer(number)
        case .number(let number): .real(number)
        case .text(let text): .text(text)
        }
    }
}
