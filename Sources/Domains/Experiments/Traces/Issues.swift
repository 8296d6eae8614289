import Manifests
import SQL

/// Something that is wrong with what an application does, as its traces show it.
struct StoredIssue: Sendable {
    static let statuses = ["pending", "rejected", "resolved"]
    /// From the lowest: the place of each is its rank.
    static let severities = ["not_an_issue", "low", "medium", "high"]

    var id: String
    var experiment: Int64
    var name: String
    var description: String
    var status = Self.statuses[0]
    /// The place in `severities`.
    var severity: Int64?
    var rootCauses: [String] = []
    var sourceRun: String?
    var categories: [String] = []
    /// Milliseconds since 1970.
    var created: Int64
    var updated: Int64
    var createdBy: String?
    /// How many traces show it, when that was asked for.
    var traces: Int64?

    /// As MLflow's API shows it.
    var json: JSONValue {
        var json: Ordered<JSONValue> = [
            "issue_id": .string(id), "experiment_id": .string(String(experiment)), "name": .string(name),
            "description": .string(description), "status": .string(status),
        ]
        if let severity { json["severity"] = .string(Self.severities[Int(severity)]) }
        if !rootCauses.isEmpty { json["root_causes"] = .array(rootCauses.map { .string($0) }) }
        if let sourceRun { json["source_run_id"] = .string(sourceRun) }
        json["created_timestamp"] = .integer(created)
        json["last_updated_timestamp"] = .integer(updated)
        if let createdBy { json["created_by"] = .string(createdBy) }
        if !categories.isEmpty { json["categories"] = .array(categories.map { .string($0) }) }
        if let traces { json["trace_count"] = .integer(traces) }
        return .object(json)
    }
}

/// A search of issues: the gravest first, of these what most traces show, of these the newest.
struct IssueSearch: Sendable {
    var project: String
    var experiment: Int64?
    var filter: Filter?
    var countsTraces: Bool
    var limit: Int
    var place: [SQLValue]?

    private static var source: FilterSource {
        FilterSource(
            attribute: { $0 == "status" ? "i.status" : "i.source_run" }, isNullable: { $0 != "status" },
            rows: { column in throw MLflowError.invalid("Invalid filter field '\(column.key)'.") })
    }

    static let traces: Statement =
        "(SELECT count(DISTINCT a.trace) FROM assessment a WHERE a.kind = 'issue' AND a.name = i.id)"

    func run(in sql: Connection) throws -> SearchPage<StoredIssue> {
        var terms = [OrderTerm(value: "coalesce(i.severity, -1)", isAscending: false)]
        if countsTraces { terms.append(OrderTerm(value: Self.traces, isAscending: false)) }
        terms.append(OrderTerm(value: "i.created", isAscending: false))
        terms.append(OrderTerm(value: "i.id", isAscending: false))
        let order = SearchOrder(terms: terms)
        var conditions: [Statement] = ["e.project = \(project)"]
        if let experiment { conditions.append("i.experiment = \(experiment)") }
        if let filter { conditions.append(try Self.source.condition(filter)) }
        if let place { conditions.append(order.after(place)) }
        let first = Connection.issueColumnCount + 1
        let rows = try sql.rows(
            """
            SELECT \(raw: Connection.issueColumns), \(order.columns) FROM issue i JOIN experiment e ON e.id = i.experiment
            WHERE \(conditions.joined(separator: " AND ")) \(order.clause(first: first)) LIMIT \(limit + 1)
            """)
        var items = try rows.prefix(limit).map(sql.issue)
        if countsTraces {
            for index in items.indices { items[index].traces = try rows[index].get(first + 2) }
        }
        guard rows.count > limit else { return SearchPage(items: items) }
        let last = rows[limit - 1]
        return SearchPage(items: items, next: (Connection.issueColumnCount..<last.count).map { last[$0] })
    }
}

extension Connection {
    fileprivate static let issueColumns: StaticString =
        """
        i.id, i.experiment, i.name, i.description, i.status, i.severity, i.root_causes, i.source_run, i.categories,
        i.created, i.updated, i.created_by
        """
    fileprivate static let issueColumnCount = 12

    fileprivate func issue(_ row: Row) throws -> StoredIssue {
        func texts(_ position: Int) throws -> [String] {
            try JSONParser.parse(try row.get(position, as: String.self)).array?.compactMap(\.string) ?? []
        }
        return StoredIssue(
            id: try row.get(0), experiment: try row.get(1), name: try row.get(2), description: try row.get(3),
            status: try row.get(4), severity: try row.get(5), rootCauses: try texts(6), sourceRun: try row.get(7),
            categories: try texts(8), created: try row.get(9), updated: try row.get(10), createdBy: try row.get(11))
    }

    func issue(_ id: String, in project: String) throws -> StoredIssue? {
        try row(
            """
            SELECT \(raw: Self.issueColumns) FROM issue i JOIN experiment e ON e.id = i.experiment
            WHERE i.id = \(id) AND e.project = \(project)
            """
        ).map(issue)
    }

    func insert(_ issue: StoredIssue) throws {
        let causes = JSONValue.array(issue.rootCauses.map { .string($0) }).text
        let categories = JSONValue.array(issue.categories.map { .string($0) }).text
        try run(
            """
            INSERT INTO issue (id, experiment, name, description, status, severity, root_causes, source_run, categories,
                created, updated, created_by)
            VALUES (\(issue.id), \(issue.experiment), \(issue.name), \(issue.description), \(issue.status),
                \(issue.severity.sqlValue), \(causes), \(issue.sourceRun.sqlValue), \(categories), \(issue.created),
                \(issue.updated), \(issue.createdBy.sqlValue))
            """)
    }

    /// Writes what may change of an issue.
    func update(_ issue: StoredIssue) throws {
        try run(
            """
            UPDATE issue SET name = \(issue.name), description = \(issue.description), status = \(issue.status),
                severity = \(issue.severity.sqlValue), updated = \(issue.updated)
            WHERE id = \(issue.id)
            """)
    }
}
