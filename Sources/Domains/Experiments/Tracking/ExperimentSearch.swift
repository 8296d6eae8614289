import SQL

/// A search of experiments.
struct ExperimentSearch: Sendable {
    var project: String
    var stages: [Bool]
    var limit: Int
    /// A part of the name, in any case.
    var part: String?
    private var filter: Filter?
    private var order: [OrderClause]
    private var question: [String]

    init(
        project: String, stages: [Bool], filter: String, order: [String], limit: Int
    ) throws(MLflowError) {
        (self.project, self.stages, self.limit) = (project, stages, limit)
        self.filter = try FilterParser.parse(filter, .experiments)
        self.order = try OrderClause.parse(
            order.isEmpty ? ["creation_time DESC", "experiment_id ASC"] : order, .experiments)
        question = ["experiments", project, "\(stages)", filter] + order
    }

    private static var source: FilterSource {
        FilterSource(
            attribute: { name in
                switch name {
                case "name": "e.name"
                case "experiment_id": "CAST(e.id AS TEXT)"
                case "creation_time": "e.created"
                default: "e.updated"
                }
            },
            rows: { ("FROM experiment_tag x WHERE x.experiment = e.id AND x.key = \($0.key)", "x.value", nil) })
    }

    func run(
        in sql: Connection, tokens: PageTokens, token: String?
    ) throws -> (experiments: [StoredExperiment], next: String?) {
        let question = question + [part ?? ""]
        let place = try token.flatMap { $0.isEmpty ? nil : $0 }.map { try tokens.read($0, for: question) }
        var terms = try order.map { clause in
            guard clause.column.entity == .attribute else {
                throw MLflowError.invalid("Invalid order_by entity: \(clause.column.entity.rawValue)")
            }
            // Numbers of experiments sort as numbers.
            let cell: Statement =
                clause.column.key == "experiment_id" ? "e.id" : Self.source.attribute(clause.column.key)
            return OrderTerm(value: cell, isAscending: clause.isAscending)
        }
        if !order.contains(where: { $0.column.key == "experiment_id" }) {
            terms.append(OrderTerm(value: "e.id", isAscending: false))
        }
        let sorted = SearchOrder(terms: terms)
        var conditions: [Statement] = ["e.project = \(project)", "e.is_deleted IN \(list: stages)"]
        if let part, !part.isEmpty { conditions.append("instr(lower(e.name), \(part.lowercased())) > 0") }
        if let filter { conditions.append(try Self.source.condition(filter)) }
        if let place { conditions.append(sorted.after(place)) }
        let rows = try sql.rows(
            """
            SELECT e.id, \(sorted.columns) FROM experiment e WHERE \(conditions.joined(separator: " AND "))
            \(sorted.clause(first: 2)) LIMIT \(limit + 1)
            """)
        let experiments = try rows.prefix(limit).map { try sql.experiment($0.get(0), in: project) }
        guard rows.count > limit, limit > 0 else { return (experiments, nil) }
        let last = rows[limit - 1]
        return (experiments, tokens.make((1..<last.count).map { last[$0] }, for: question))
    }
}

extension Connection {
    /// Those of the numbers that are experiments of the project.
    func experiments(_ ids: [Int64], in project: String) throws -> [Int64] {
        try rows("SELECT id FROM experiment WHERE project = \(project) AND id IN \(list: ids) ORDER BY id").map {
            try $0.get(0)
        }
    }
}
