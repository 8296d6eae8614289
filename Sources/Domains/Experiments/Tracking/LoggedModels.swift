import Manifests
import SQL

/// A model of MLflow 3 as it is stored: made by a run, or by none.
struct StoredModel: Sendable {
    enum Status: Int64 {
        case unspecified = 0
        case pending, ready, failed

        var name: String {
            switch self {
            case .unspecified: "LOGGED_MODEL_STATUS_UNSPECIFIED"
            case .pending: "LOGGED_MODEL_PENDING"
            case .ready: "LOGGED_MODEL_READY"
            case .failed: "LOGGED_MODEL_UPLOAD_FAILED"
            }
        }

        init?(_ value: JSONValue) {
            let all: [Status] = [.unspecified, .pending, .ready, .failed]
            guard
                let status = all.first(where: {
                    JSONValue.string($0.name) == value || JSONValue.integer($0.rawValue) == value
                })
            else { return nil }
            self = status
        }
    }

    var id: String
    var experiment: Int64
    var name: String
    var artifactURI: String
    /// Milliseconds since 1970.
    var created: Int64
    var updated: Int64
    var type = ""
    var sourceRun = ""
    var status: Int64 = Status.pending.rawValue
    var statusMessage = ""
    var isDeleted = false
}

/// What was logged to a model.
private struct ModelLists {
    var tags: [JSONValue] = []
    var params: [JSONValue] = []
    var metrics: [JSONValue] = []
}

extension Connection {
    private static let columns: StaticString =
        "l.id, l.experiment, l.name, l.artifact_uri, l.created, l.updated, l.type, l.source_run, l.status, l.status_message, l.is_deleted"

    private func read(_ row: Row) throws -> StoredModel {
        StoredModel(
            id: try row.get(0), experiment: try row.get(1), name: try row.get(2), artifactURI: try row.get(3),
            created: try row.get(4), updated: try row.get(5), type: try row.get(6), sourceRun: try row.get(7),
            status: try row.get(8), statusMessage: try row.get(9), isDeleted: try row.get(10))
    }

    /// - Throws: `RESOURCE_DOES_NOT_EXIST` unless the project has such a model.
    func storedModel(_ id: String, in project: String, orDeleted: Bool) throws -> StoredModel {
        let row = try row(
            """
            SELECT \(raw: Self.columns) FROM model l JOIN experiment e ON e.id = l.experiment
            WHERE l.id = \(id) AND e.project = \(project)
            """)
        guard let model = try row.map(read), orDeleted || !model.isDeleted else {
            throw MLflowError.missing("Logged model with ID '\(id)' not found.")
        }
        return model
    }

    func models(_ ids: [String]) throws -> [StoredModel] {
        try ids.compactMap { id in try row("SELECT \(raw: Self.columns) FROM model l WHERE l.id = \(id)").map(read) }
    }

    func insert(_ model: StoredModel) throws {
        try run(
            """
            INSERT INTO model (id, experiment, name, artifact_uri, created, updated, type, source_run, status)
            VALUES (\(model.id), \(model.experiment), \(model.name), \(model.artifactURI), \(model.created),
                    \(model.updated), \(model.type), \(model.sourceRun), \(model.status))
            """)
    }

    func update(_ model: StoredModel) throws {
        try run(
            """
            UPDATE model SET status = \(model.status), updated = \(model.updated), is_deleted = \(model.isDeleted)
            WHERE id = \(model.id)
            """)
    }

    func keepModelTag(_ key: String, _ value: String, of model: String) throws {
        try run(
            """
            INSERT INTO model_tag (model, key, value) VALUES (\(model), \(key), \(value))
            ON CONFLICT (model, key) DO UPDATE SET value = excluded.value
            """)
    }

    /// Whether there was one.
    func deleteModelTag(_ key: String, of model: String) throws -> Bool {
        try run("DELETE FROM model_tag WHERE model = \(model) AND key = \(key)") > 0
    }

    /// Whether there was none of this key.
    func keepModelParam(_ key: String, _ value: String, of model: String) throws -> Bool {
        try run(
            """
            INSERT INTO model_param (model, key, value) VALUES (\(model), \(key), \(value))
            ON CONFLICT (model, key) DO NOTHING
            """) > 0
    }

    /// Models with what was logged to them, as MLflow's API shows them.
    func modelDocuments(_ models: [StoredModel]) throws -> [JSONValue] {
        try models.map { model in
            var lists = ModelLists()
            try each("SELECT key, value FROM model_tag WHERE model = \(model.id) ORDER BY key") { row in
                lists.tags.append(["key": .string(try row.get(0)), "value": .string(try row.get(1))])
            }
            try each("SELECT key, value FROM model_param WHERE model = \(model.id) ORDER BY key") { row in
                lists.params.append(["key": .string(try row.get(0)), "value": .string(try row.get(1))])
            }
            try each(
                """
                SELECT key, value, is_nan, time, step, run, dataset_name, dataset_digest FROM model_metric
                WHERE model = \(model.id) ORDER BY key, time, step, run
                """
            ) { row in lists.metrics.append(try Self.metric(row, of: model.id)) }
            return Self.document(model, lists)
        }
    }

    private static func metric(_ row: Row, of model: String) throws -> JSONValue {
        var metric: Ordered<JSONValue> = [
            "key": .string(try row.get(0)), "value": .number(try row.get(2) ? .nan : row.get(1)),
            "timestamp": .integer(try row.get(3)), "step": .integer(try row.get(4)),
        ]
        if let name = try row.get(6, as: String?.self) { metric["dataset_name"] = .string(name) }
        if let digest = try row.get(7, as: String?.self) { metric["dataset_digest"] = .string(digest) }
        metric["model_id"] = .string(model)
        metric["run_id"] = .string(try row.get(5))
        return .object(metric)
    }

    private static func document(_ model: StoredModel, _ lists: ModelLists) -> JSONValue {
        var info: Ordered<JSONValue> = [
            "model_id": .string(model.id), "experiment_id": .string(String(model.experiment)),
            "name": .string(model.name), "creation_timestamp_ms": .integer(model.created),
            "last_updated_timestamp_ms": .integer(model.updated), "artifact_uri": .string(model.artifactURI),
            "status": .string((StoredModel.Status(rawValue: model.status) ?? .unspecified).name),
            "model_type": .string(model.type), "source_run_id": .string(model.sourceRun),
        ]
        if !lists.tags.isEmpty { info["tags"] = .array(lists.tags) }
        var data: Ordered<JSONValue> = [:]
        if !lists.params.isEmpty { data["params"] = .array(lists.params) }
        if !lists.metrics.isEmpty { data["metrics"] = .array(lists.metrics) }
        return ["info": .object(info), "data": .object(data)]
    }
}

/// A search of logged models.
struct ModelSearch: Sendable {
    var experiments: [Int64]
    var filter: Filter?
    var order: [Clause] = []
    /// Only metrics on these datasets count.
    var datasets: [(name: String, digest: String?)] = []
    var limit: Int
    var place: [SQLValue]?

    struct Clause: Sendable {
        var column: FilterColumn
        var isAscending: Bool
        var dataset: String?
        var digest: String?
    }

    private static func attribute(_ name: String) -> Statement {
        switch name {
        case "name": "l.name"
        case "model_type": "l.type"
        case "status": "CAST(l.status AS TEXT)"
        case "source_run_id": "l.source_run"
        case "artifact_location": "l.artifact_uri"
        case "experiment_id": "CAST(l.experiment AS TEXT)"
        case "creation_timestamp_ms": "l.created"
        case "last_updated_timestamp_ms": "l.updated"
        default: "l.id"
        }
    }

    private var onDatasets: Statement? {
        guard !datasets.isEmpty else { return nil }
        let any = datasets.map { dataset -> Statement in
            guard let digest = dataset.digest else { return "x.dataset_name = \(dataset.name)" }
            return "(x.dataset_name = \(dataset.name) AND x.dataset_digest = \(digest))"
        }
        return "(\(any.joined(separator: " OR ")))"
    }

    private var source: FilterSource {
        let onDatasets = onDatasets
        return FilterSource(
            attribute: Self.attribute,
            rows: { column in
                switch column.entity {
                case .metric:
                    var rows: Statement = "FROM model_metric x WHERE x.model = l.id AND x.key = \(column.key)"
                    if let onDatasets { rows += " AND \(onDatasets)" }
                    return (rows, "x.value", "x.is_nan")
                case .parameter:
                    return ("FROM model_param x WHERE x.model = l.id AND x.key = \(column.key)", "x.value", nil)
                default: return ("FROM model_tag x WHERE x.model = l.id AND x.key = \(column.key)", "x.value", nil)
                }
            })
    }

    func run(in sql: Connection) throws -> SearchPage<String> {
        guard !experiments.isEmpty else { return SearchPage(items: []) }
        var terms = order.map(term)
        if !order.contains(where: { $0.column.key == "creation_timestamp_ms" }) {
            terms.append(OrderTerm(value: "l.created", isAscending: false))
        }
        if !order.contains(where: { $0.column.key == "model_id" }) {
            terms.append(OrderTerm(value: "l.id", isAscending: true))
        }
        let sorted = SearchOrder(terms: terms)
        var conditions: [Statement] = ["l.experiment IN \(list: experiments)", "l.is_deleted = 0"]
        if let filter { conditions.append(try source.condition(filter)) }
        if let onDatasets, !(filter?.namesMetric ?? false) {
            conditions.append("EXISTS (SELECT 1 FROM model_metric x WHERE x.model = l.id AND \(onDatasets))")
        }
        if let place { conditions.append(sorted.after(place)) }
        let rows = try sql.rows(
            """
            SELECT l.id, \(sorted.columns) FROM model l WHERE \(conditions.joined(separator: " AND "))
            \(sorted.clause(first: 2)) LIMIT \(limit + 1)
            """)
        let ids = try rows.prefix(limit).map { try $0.get(0, as: String.self) }
        guard rows.count > limit else { return SearchPage(items: ids) }
        let last = rows[limit - 1]
        return SearchPage(items: ids, next: (1..<last.count).map { last[$0] })
    }

    private func term(_ clause: Clause) -> OrderTerm {
        guard clause.column.entity == .metric else {
            return OrderTerm(value: Self.attribute(clause.column.key), isAscending: clause.isAscending)
        }
        var rows: Statement = "FROM model_metric x WHERE x.model = l.id AND x.key = \(clause.column.key)"
        if let dataset = clause.dataset { rows += " AND x.dataset_name = \(dataset)" }
        if let digest = clause.digest { rows += " AND x.dataset_digest = \(digest)" }
        rows += " ORDER BY x.time DESC, x.step DESC, x.run LIMIT 1"
        return OrderTerm(
            rank: "coalesce((SELECT x.is_nan \(rows)), 2)", value: "(SELECT x.value \(rows))",
            isAscending: clause.isAscending)
    }
}

extension Filter {
    /// Whether a metric is named anywhere in it.
    var namesMetric: Bool {
        switch self {
        case .all(let parts), .any(let parts): parts.contains(where: \.namesMetric)
        case .not(let part): part.namesMetric
        case .compare(let column, _, _), .among(let column, _, _), .between(let column, _, _, _), .null(let column, _):
            column.entity == .metric
        }
    }
}
