import Crypto
import Manifests
import SQL

/// A dataset of evaluations: records of what goes into an application, and what should come out.
struct EvaluationDataset: Sendable {
    var id: String
    var project: String
    var name: String
    /// Milliseconds since 1970.
    var created: Int64
    var updated: Int64
    /// Names this state of it.
    var digest = ""
    /// The kinds of its records' members, as JSON.
    var schema: String?
    /// How many records there are, as JSON.
    var profile: String?
    var createdBy: String?
    var updatedBy: String?
    var tags: [(key: String, value: String)] = []
    /// Known only of one that was just made.
    var experiments: [String] = []

    /// The tag that says who made or changed something.
    static let userTag = "mlflow.user"

    /// As MLflow's API shows it.
    var json: JSONValue {
        let tags = Ordered(tags.map { ($0.key, JSONValue.string($0.value)) })
        var json: Ordered<JSONValue> = [
            "dataset_id": .string(id), "name": .string(name), "tags": .string(JSONValue.object(tags).text),
        ]
        if let schema { json["schema"] = .string(schema) }
        if let profile { json["profile"] = .string(profile) }
        json["digest"] = .string(digest)
        json["created_time"] = .integer(created)
        json["last_update_time"] = .integer(updated)
        if let createdBy { json["created_by"] = .string(createdBy) }
        if let updatedBy { json["last_updated_by"] = .string(updatedBy) }
        if !experiments.isEmpty { json["experiment_ids"] = .array(experiments.map { .string($0) }) }
        return .object(json)
    }

    mutating func sign() { digest = String(Self.hash("\(name):\(updated)").prefix(8)) }

    static func hash(_ text: String) -> String {
        SHA256.hash(data: Array(text.utf8)).map { byte in
            let digits = String(byte, radix: 16)
            return digits.utf8.count == 1 ? "0\(digits)" : digits
        }.joined()
    }

    static func profile(_ count: Int64) -> String { #"{"num_records": \#(count)}"# }

    /// The schema with the members of more records; what is known of a member stays.
    mutating func learn(_ records: [JSONValue]) {
        guard schema != nil || !records.isEmpty else { return }
        let old = schema.flatMap { try? JSONParser.parse($0).object }  // what is kept was written here
        var all = old ?? ["inputs": [:], "outputs": [:], "expectations": [:], "version": "1.0"]
        for record in records {
            for part in ["inputs", "outputs", "expectations"] {
                guard let told = MLflowInput.present(record[part]) else { continue }
                guard let members = told.object else {
                    if part == "outputs", all[part] == [:] { all[part] = .string(Self.kind(told)) }
                    continue
                }
                guard var known = all[part]?.object else { continue }
                for (key, value) in members where known[key] == nil { known[key] = .string(Self.kind(value)) }
                all[part] = .object(known)
            }
        }
        schema = JSONValue.object(all).text
    }

    private static func kind(_ value: JSONValue) -> String {
        switch value {
        case .null: "null"
        case .bool: "boolean"
        case .integer: "integer"
        case .number: "float"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }
}

/// One record of a dataset. It is known again by its inputs: the same inputs are the same record.
struct EvaluationRecord: Sendable {
    var id: String
    /// Hash of the inputs.
    var input: String
    /// Milliseconds since 1970.
    var created: Int64
    /// Everything that is shown but the ids and when it was made.
    var body: Ordered<JSONValue>

    private static let sourceTypes = ["UNSPECIFIED", "TRACE", "HUMAN", "DOCUMENT", "CODE"]

    /// Reads a record of a request.
    init(_ json: JSONValue, id: String, at now: Int64) throws(MLflowError) {
        guard json.object != nil else { throw .wrong("records", json) }
        (self.id, created) = (id, now)
        let inputs = json["inputs"] ?? [:]
        guard inputs.object != nil else { throw .wrong("records.inputs", inputs) }
        input = EvaluationDataset.hash(Self.sorted(inputs).text)
        body = ["inputs": inputs]
        if let expected = MLflowInput.present(json["expectations"]) { body["expectations"] = try Self.map(expected) }
        body["tags"] = try Self.map(MLflowInput.present(json["tags"]) ?? [:])
        if let source = MLflowInput.present(json["source"]) { try keep(source: source) }
        body["last_update_time"] = .integer(now)
        if let user = json["tags"]?[EvaluationDataset.userTag] {
            (body["created_by"], body["last_updated_by"]) = (user, user)
        }
        let outputs = json["outputs"] ?? [:]
        if !outputs.isNull { body["outputs"] = outputs }
    }

    private static func map(_ value: JSONValue) throws(MLflowError) -> JSONValue {
        guard value.object != nil else { throw .wrong("records", value) }
        return value
    }

    private mutating func keep(source: JSONValue) throws(MLflowError) {
        guard let told = source["source_type"]?.string else { throw .required("records.source.source_type") }
        let type = told.uppercased()
        guard Self.sourceTypes.contains(type) else {
            throw .invalid("Invalid dataset record source type: \(type). Valid source types: \(Self.sourceTypes)")
        }
        let data = MLflowInput.present(source["source_data"]) ?? [:]
        body["source"] = ["source_type": .string(type), "source_data": data]
        if let id = data[type == "TRACE" ? "trace_id" : "source_id"]?.string { body["source_id"] = .string(id) }
        body["source_type"] = .string(type)
    }

    /// JSON whose members are in the order of their names, so that equal values are written equally.
    private static func sorted(_ value: JSONValue) -> JSONValue {
        if let items = value.array { return .array(items.map(sorted)) }
        guard let members = value.object else { return value }
        return .object(Ordered(members.keys.sorted().map { ($0, sorted(members[$0] ?? .null)) }))
    }

    /// What another record of the same inputs adds: outputs are replaced, expectations and tags are merged.
    mutating func merge(_ json: JSONValue, at now: Int64) throws(MLflowError) {
        if let outputs = json["outputs"] { body["outputs"] = outputs.isNull ? nil : outputs }
        for part in ["expectations", "tags"] {
            guard let told = MLflowInput.present(json[part]) else { continue }
            guard let members = told.object else { throw .wrong("records.\(part)", told) }
            guard !members.isEmpty else { continue }
            var all = body[part]?.object ?? [:]
            for (key, value) in members { all[key] = value }
            body[part] = .object(all)
        }
        body["last_update_time"] = .integer(now)
        if let user = json["tags"]?[EvaluationDataset.userTag] { body["last_updated_by"] = user }
    }

    func json(of dataset: String) -> JSONValue {
        var json: Ordered<JSONValue> = ["dataset_record_id": .string(id), "dataset_id": .string(dataset)]
        for (key, value) in body { json[key] = value }
        json["created_time"] = .integer(created)
        return .object(json)
    }
}

extension EvaluationRecord {
    fileprivate init(_ row: Row) throws {
        (id, input, created) = (try row.get(0), try row.get(1), try row.get(2))
        body = try JSONParser.parse(try row.get(3, as: String.self)).object ?? [:]
    }
}

/// A search of datasets.
struct DatasetSearch: Sendable {
    var project: String
    /// Of these experiments only; empty for all.
    var experiments: [String]
    var filter: Filter?
    var order: [OrderClause]
    var limit: Int
    var place: [SQLValue]?

    private static func attribute(_ name: String) -> Statement {
        switch name {
        case "created_time": "d.created"
        case "last_update_time": "d.updated"
        case "created_by": "d.created_by"
        case "last_updated_by": "d.updated_by"
        default: "d.name"
        }
    }

    private static var source: FilterSource {
        FilterSource(
            attribute: attribute, isNullable: { $0.hasSuffix("_by") },
            rows: { ("FROM evaluation_dataset_tag x WHERE x.dataset = d.id AND x.key = \($0.key)", "x.value", nil) })
    }

    func run(in sql: Connection) throws -> SearchPage<EvaluationDataset> {
        var terms = try order.map { clause in
            guard clause.column.entity == .attribute, !clause.column.key.hasSuffix("_by") else {
                throw MLflowError.invalid("Invalid order_by entity: \(clause.column.key)")
            }
            return OrderTerm(value: Self.attribute(clause.column.key), isAscending: clause.isAscending)
        }
        if terms.isEmpty { terms = [OrderTerm(value: "d.created", isAscending: false)] }
        terms.append(OrderTerm(value: "d.id", isAscending: false))
        let sorted = SearchOrder(terms: terms)
        var conditions: [Statement] = ["d.project = \(project)"]
        if !experiments.isEmpty {
            conditions.append(
                """
                EXISTS (SELECT 1 FROM evaluation_dataset_experiment x
                        WHERE x.dataset = d.id AND x.experiment IN \(list: experiments))
                """)
        }
        if let filter { conditions.append(try Self.source.condition(filter)) }
        if let place { conditions.append(sorted.after(place)) }
        let rows = try sql.rows(
            """
            SELECT d.id, \(sorted.columns) FROM evaluation_dataset d WHERE \(conditions.joined(separator: " AND "))
            \(sorted.clause(first: 2)) LIMIT \(limit + 1)
            """)
        let items = try rows.prefix(limit).compactMap { try sql.evaluationDataset(try $0.get(0), in: project) }
        guard rows.count > limit else { return SearchPage(items: items) }
        let last = rows[limit - 1]
        return SearchPage(items: items, next: (1..<last.count).map { last[$0] })
    }
}

extension Connection {
    func evaluationDataset(_ id: String, in project: String) throws -> EvaluationDataset? {
        guard
            let row = try row(
                """
                SELECT id, project, name, created, updated, digest, schema, profile, created_by, updated_by
                FROM evaluation_dataset WHERE id = \(id) AND project = \(project)
                """)
        else { return nil }
        var dataset = EvaluationDataset(
            id: try row.get(0), project: try row.get(1), name: try row.get(2), created: try row.get(3),
            updated: try row.get(4), digest: try row.get(5), schema: try row.get(6), profile: try row.get(7),
            createdBy: try row.get(8), updatedBy: try row.get(9))
        for row in try rows("SELECT key, value FROM evaluation_dataset_tag WHERE dataset = \(id) ORDER BY key") {
            dataset.tags.append((try row.get(0), try row.get(1)))
        }
        return dataset
    }

    /// Writes a dataset, but for its tags and experiments.
    func keep(_ dataset: EvaluationDataset) throws {
        try run(
            """
            INSERT INTO evaluation_dataset (id, project, name, digest, created, updated, schema, profile, created_by, updated_by)
            VALUES (\(dataset.id), \(dataset.project), \(dataset.name), \(dataset.digest), \(dataset.created),
                \(dataset.updated), \(dataset.schema.sqlValue), \(dataset.profile.sqlValue),
                \(dataset.createdBy.sqlValue), \(dataset.updatedBy.sqlValue))
            ON CONFLICT (id) DO UPDATE SET digest = excluded.digest, updated = excluded.updated,
                schema = excluded.schema, profile = excluded.profile, updated_by = excluded.updated_by
            """)
    }

    func keepDatasetTag(_ key: String, _ value: String, of dataset: String) throws {
        try run(
            """
            INSERT INTO evaluation_dataset_tag (dataset, key, value) VALUES (\(dataset), \(key), \(value))
            ON CONFLICT (dataset, key) DO UPDATE SET value = excluded.value
            """)
    }

    func deleteDatasetTag(_ key: String, of dataset: String) throws {
        try run("DELETE FROM evaluation_dataset_tag WHERE dataset = \(dataset) AND key = \(key)")
    }

    func addDataset(_ dataset: String, to experiment: String) throws {
        try run(
            """
            INSERT INTO evaluation_dataset_experiment (experiment, dataset) VALUES (\(experiment), \(dataset))
            ON CONFLICT DO NOTHING
            """)
    }

    /// Whether it was there.
    func removeDataset(_ dataset: String, from experiment: String) throws -> Bool {
        try run(
            "DELETE FROM evaluation_dataset_experiment WHERE experiment = \(experiment) AND dataset = \(dataset)") > 0
    }

    func experiments(ofDataset dataset: String) throws -> [String] {
        try rows(
            """
            SELECT experiment FROM evaluation_dataset_experiment WHERE dataset = \(dataset)
            ORDER BY length(experiment), experiment
            """
        ).map { try $0.get(0) }
    }

    func deleteDataset(_ id: String) throws {
        try run("DELETE FROM evaluation_dataset WHERE id = \(id)")
        try run("DELETE FROM evaluation_dataset_tag WHERE dataset = \(id)")
        try run("DELETE FROM evaluation_dataset_experiment WHERE dataset = \(id)")
        try run("DELETE FROM evaluation_record WHERE dataset = \(id)")
    }

    // MARK: Records

    func record(ofInput input: String, in dataset: String) throws -> EvaluationRecord? {
        try row(
            "SELECT id, input, created, body FROM evaluation_record WHERE dataset = \(dataset) AND input = \(input)"
        )
        .map { try EvaluationRecord($0) }
    }

    func keep(_ record: EvaluationRecord, in dataset: String) throws {
        try run(
            """
            INSERT INTO evaluation_record (id, dataset, input, body, created)
            VALUES (\(record.id), \(dataset), \(record.input), \(JSONValue.object(record.body).text), \(record.created))
            ON CONFLICT (id) DO UPDATE SET body = excluded.body
            """)
    }

    func countRecords(of dataset: String) throws -> Int64 {
        try value("SELECT count(*) FROM evaluation_record WHERE dataset = \(dataset)") ?? 0
    }

    /// How many there were.
    func deleteRecords(_ ids: [String], of dataset: String) throws -> Int {
        try run("DELETE FROM evaluation_record WHERE dataset = \(dataset) AND id IN \(list: ids)")
    }

    /// Records, the oldest first.
    func records(of dataset: String, after place: (created: Int64, id: String)?, atMost limit: Int) throws
        -> [EvaluationRecord]
    {
        let after: Statement = place.map { "AND (created, id) > (\($0.created), \($0.id))" } ?? ""
        return try rows(
            """
            SELECT id, input, created, body FROM evaluation_record WHERE dataset = \(dataset) \(after)
            ORDER BY created, id LIMIT \(limit)
            """
        ).map { try EvaluationRecord($0) }
    }
}
