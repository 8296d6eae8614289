import API
import Manifests
import SQL

/// Tables of MLflow's traces, in the tracking store's database.
enum TraceTables {
    static let migrations = [
        Migration(
            id: "tracking-traces-1",
            statements: [
                """
                CREATE TABLE trace (
                    id TEXT PRIMARY KEY, experiment INTEGER NOT NULL, time INTEGER NOT NULL, duration INTEGER,
                    state TEXT NOT NULL, client_request TEXT, request_preview TEXT, response_preview TEXT,
                    is_final INTEGER NOT NULL DEFAULT 0)
                """,
                "CREATE INDEX trace_by_time ON trace (experiment, time DESC, id)",
                """
                CREATE TABLE trace_tag (trace TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (trace, key))
                    WITHOUT ROWID
                """,
                """
                CREATE TABLE trace_metadata (
                    trace TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (trace, key)) WITHOUT ROWID
                """,
                """
                CREATE TABLE trace_span (
                    trace TEXT NOT NULL, span TEXT NOT NULL, start INTEGER NOT NULL, body TEXT NOT NULL,
                    PRIMARY KEY (trace, span)) WITHOUT ROWID
                """,
                "CREATE TABLE trace_run (run TEXT NOT NULL, trace TEXT NOT NULL, PRIMARY KEY (run, trace)) WITHOUT ROWID",
            ])
    ]
}

/// What a trace is, without its spans.
struct StoredTrace: Sendable {
    var id: String
    var experiment: Int64
    /// Milliseconds since 1970.
    var time: Int64
    /// Milliseconds.
    var duration: Int64?
    var state = "IN_PROGRESS"
    var clientRequest: String?
    var requestPreview: String?
    var responsePreview: String?
    /// Whether whoever made it has told all of it; until then its spans tell its times and state.
    var isFinal = false
    var tags: [(key: String, value: String)] = []
    var metadata: [(key: String, value: String)] = []
    var assessments: [StoredAssessment] = []

    /// As MLflow 3 shows it.
    var json: JSONValue {
        var json: Ordered<JSONValue> = ["trace_id": .string(id)]
        if let clientRequest { json["client_request_id"] = .string(clientRequest) }
        json["trace_location"] = [
            "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": ["experiment_id": .string(String(experiment))],
        ]
        if let requestPreview { json["request_preview"] = .string(requestPreview) }
        if let responsePreview { json["response_preview"] = .string(responsePreview) }
        json["request_time"] = .string(Timestamp(milliseconds: time).description)
        if let duration { json["execution_duration"] = .string(Self.seconds(duration)) }
        json["state"] = .string(state)
        if !metadata.isEmpty { json["trace_metadata"] = Self.map(metadata) }
        if !tags.isEmpty { json["tags"] = Self.map(tags) }
        if !assessments.isEmpty { json["assessments"] = .array(assessments.map(\.json)) }
        return .object(json)
    }

    /// As MLflow 2 shows it.
    var oldJSON: JSONValue {
        var json: Ordered<JSONValue> = [
            "request_id": .string(id), "experiment_id": .string(String(experiment)), "timestamp_ms": .integer(time),
        ]
        json["execution_time_ms"] = .integer(duration ?? 0)
        json["status"] = .string(state)
        for (name, pairs) in [("request_metadata", metadata), ("tags", tags)] where !pairs.isEmpty {
            json[name] = .array(pairs.map { ["key": .string($0.key), "value": .string($0.value)] })
        }
        return .object(json)
    }

    private static func map(_ pairs: [(key: String, value: String)]) -> JSONValue {
        .object(Ordered(pairs.map { ($0.key, JSONValue.string($0.value)) }))
    }

    /// A length of time as protocol buffers write it: `1.250s`.
    private static func seconds(_ milliseconds: Int64) -> String {
        let rest = String(milliseconds.magnitude % 1000)
        let fraction = String(repeating: "0", count: 3 - rest.count) + rest
        return "\(milliseconds < 0 ? "-" : "")\(milliseconds.magnitude / 1000).\(fraction)s"
    }
}

extension Connection {
    private static let columns: StaticString =
        "t.id, t.experiment, t.time, t.duration, t.state, t.client_request, t.request_preview, t.response_preview, t.is_final"

    private func read(_ row: Row) throws -> StoredTrace {
        var trace = StoredTrace(id: try row.get(0), experiment: try row.get(1), time: try row.get(2))
        trace.duration = try row.get(3)
        trace.state = try row.get(4)
        trace.clientRequest = try row.get(5)
        trace.requestPreview = try row.get(6)
        trace.responsePreview = try row.get(7)
        trace.isFinal = try row.get(8)
        return trace
    }

    /// Nil unless the project has such a trace.
    func trace(_ id: String, in project: String) throws -> StoredTrace? {
        let row = try row(
            """
            SELECT \(raw: Self.columns) FROM trace t JOIN experiment e ON e.id = t.experiment
            WHERE t.id = \(id) AND e.project = \(project)
            """)
        guard var trace = try row.map(read) else { return nil }
        for row in try rows("SELECT key, value FROM trace_tag WHERE trace = \(id) ORDER BY key") {
            trace.tags.append((try row.get(0), try row.get(1)))
        }
        for row in try rows("SELECT key, value FROM trace_metadata WHERE trace = \(id) ORDER BY key") {
            trace.metadata.append((try row.get(0), try row.get(1)))
        }
        trace.assessments = try assessments(of: id)
        return trace
    }

    /// Whether any project has a trace of this id.
    func hasTrace(_ id: String) throws -> Bool { try row("SELECT 1 FROM trace WHERE id = \(id)") != nil }

    func keep(_ trace: StoredTrace) throws {
        try run(
            """
            INSERT INTO trace (id, experiment, time, duration, state, client_request, request_preview,
                response_preview, is_final)
            VALUES (\(trace.id), \(trace.experiment), \(trace.time), \(trace.duration.sqlValue), \(trace.state),
                \(trace.clientRequest.sqlValue), \(trace.requestPreview.sqlValue),
                \(trace.responsePreview.sqlValue), \(trace.isFinal))
            ON CONFLICT (id) DO UPDATE SET experiment = excluded.experiment, time = excluded.time,
                duration = excluded.duration, state = excluded.state, client_request = excluded.client_request,
                request_preview = coalesce(excluded.request_preview, trace.request_preview),
                response_preview = coalesce(excluded.response_preview, trace.response_preview),
                is_final = excluded.is_final
            """)
        for tag in trace.tags { try keepTraceTag(tag.key, tag.value, of: trace.id) }
        for pair in trace.metadata {
            try run(
                """
                INSERT INTO trace_metadata (trace, key, value) VALUES (\(trace.id), \(pair.key), \(pair.value))
                ON CONFLICT (trace, key) DO UPDATE SET value = excluded.value
                """)
        }
    }

    func keepTraceTag(_ key: String, _ value: String, of trace: String) throws {
        try run(
            """
            INSERT INTO trace_tag (trace, key, value) VALUES (\(trace), \(key), \(value))
            ON CONFLICT (trace, key) DO UPDATE SET value = excluded.value
            """)
    }

    /// Whether there was one.
    func deleteTraceTag(_ key: String, of trace: String) throws -> Bool {
        try run("DELETE FROM trace_tag WHERE trace = \(trace) AND key = \(key)") > 0
    }

    func keepSpan(_ span: StoredSpan, of trace: String) throws {
        try run(
            """
            INSERT INTO trace_span (trace, span, start, body, name, type, status, ended, model, provider, input_cost,
                output_cost, total_cost)
            VALUES (\(trace), \(span.id), \(span.start), \(span.body), \(span.name), \(span.type.sqlValue), \(span.status),
                \(span.end), \(span.model.sqlValue), \(span.provider.sqlValue), \(span.inputCost.sqlValue),
                \(span.outputCost.sqlValue), \(span.totalCost.sqlValue))
            ON CONFLICT (trace, span) DO UPDATE SET start = excluded.start, body = excluded.body, name = excluded.name,
                type = excluded.type, status = excluded.status, ended = excluded.ended, model = excluded.model,
                provider = excluded.provider, input_cost = excluded.input_cost, output_cost = excluded.output_cost,
                total_cost = excluded.total_cost
            """)
    }

    /// The spans of a trace as JSON, by their start.
    func spans(of trace: String) throws -> [JSONValue] {
        try rows("SELECT body FROM trace_span WHERE trace = \(trace) ORDER BY start, span").map {
            try JSONParser.parse(try $0.get(0, as: String.self))
        }
    }

    /// Traces of an experiment that shall go, the oldest first.
    func traces(of experiment: Int64, before moment: Int64, atMost limit: Int) throws -> [String] {
        try rows(
            "SELECT id FROM trace WHERE experiment = \(experiment) AND time <= \(moment) ORDER BY time LIMIT \(limit)"
        ).map { try $0.get(0) }
    }

    /// Whether there was one.
    func deleteTrace(_ id: String, of experiment: Int64) throws -> Bool {
        guard try run("DELETE FROM trace WHERE id = \(id) AND experiment = \(experiment)") > 0 else { return false }
        try run("DELETE FROM trace_tag WHERE trace = \(id)")
        try run("DELETE FROM trace_metadata WHERE trace = \(id)")
        try run("DELETE FROM trace_span WHERE trace = \(id)")
        try run("DELETE FROM trace_run WHERE trace = \(id)")
        try run("DELETE FROM trace_prompt WHERE trace = \(id)")
        try run("DELETE FROM assessment WHERE trace = \(id)")
        return true
    }

    func link(_ trace: String, toRun run: String) throws {
        try self.run(
            "INSERT INTO trace_run (run, trace) VALUES (\(run), \(trace)) ON CONFLICT (run, trace) DO NOTHING")
    }

    func link(_ trace: String, toPrompt prompt: String) throws {
        try run("INSERT INTO trace_prompt (trace, prompt) VALUES (\(trace), \(prompt)) ON CONFLICT DO NOTHING")
    }
}

/// A search of traces.
struct TraceSearch: Sendable {
    var experiments: [Int64]
    var filter: Filter?
    var order: [OrderClause]
    var limit: Int
    var place: [SQLValue]?

    /// The tag and the metadata that stand behind attributes.
    static let nameTag = "mlflow.traceName"
    static let runMetadata = "mlflow.sourceRun"
    static let sessionMetadata = "mlflow.trace.session"
    static let tokenMetadata = "mlflow.trace.tokenUsage"

    private static func attribute(_ name: String) -> Statement {
        switch name {
        case "timestamp_ms": "t.time"
        case "execution_time_ms": "t.duration"
        case "end_time_ms": "t.time + t.duration"
        case "status": "t.state"
        case "client_request_id": "t.client_request"
        case "experiment_id": "CAST(t.experiment AS TEXT)"
        case "name": "(SELECT value FROM trace_tag WHERE trace = t.id AND key = \(nameTag))"
        case "run_id":
            """
            coalesce((SELECT value FROM trace_metadata WHERE trace = t.id AND key = \(runMetadata)),
                (SELECT run FROM trace_run WHERE trace = t.id LIMIT 1))
            """
        default: "t.id"
        }
    }

    /// Conditions on `trace t`.
    static var source: FilterSource {
        FilterSource(
            attribute: attribute, isNullable: { !["timestamp_ms", "status", "request_id"].contains($0) }, rows: rows,
            number: { $0.entity.isAssessment ? "x.number" : nil })
    }

    private static func rows(_ column: FilterColumn) -> (rows: Statement, value: Statement, isNaN: Statement?) {
        switch column.entity {
        case .parameter: ("FROM trace_metadata x WHERE x.trace = t.id AND x.key = \(column.key)", "x.value", nil)
        case .span: ("FROM trace_span x WHERE x.trace = t.id", span(column.key), nil)
        case .feedback, .expectation:
            (
                """
                FROM assessment x WHERE x.trace = t.id AND x.kind = \(column.entity.rawValue) AND x.name = \(column.key)
                    AND x.is_valid = 1
                """, "x.text", nil
            )
        case .issue: ("FROM assessment x WHERE x.trace = t.id AND x.kind = 'issue'", "x.name", nil)
        case .prompt: ("FROM trace_prompt x WHERE x.trace = t.id", "x.prompt", nil)
        default: ("FROM trace_tag x WHERE x.trace = t.id AND x.key = \(column.key)", "x.value", nil)
        }
    }

    /// What of a span is compared. Values of its attributes are texts, or JSON within a text.
    private static func span(_ key: String) -> Statement {
        switch key {
        case "name": return "x.name"
        case "type": return "x.type"
        case "status": return "x.status"
        case "content": return "x.body"
        default:
            let name = String(key.dropFirst(FilterSchema.spanAttribute.count))
            return """
                (SELECT CASE WHEN json_valid(v) AND json_type(v) = 'text' THEN json_extract(v, '$') ELSE v END FROM (
                    SELECT coalesce(json_extract(y.value, '$.value.string_value'), json_extract(y.value, '$.value.int_value'),
                        json_extract(y.value, '$.value.double_value'), json_extract(y.value, '$.value.bool_value')) AS v
                    FROM json_each(x.body, '$.attributes') y WHERE json_extract(y.value, '$.key') = \(name)) told)
                """
        }
    }

    func run(in sql: Connection) throws -> SearchPage<String> {
        guard !experiments.isEmpty else { return SearchPage(items: []) }
        var terms = try order.map { clause in
            guard clause.column.entity == .attribute else {
                throw MLflowError.invalid("Traces cannot be ordered by \(clause.column.entity.rawValue)s")
            }
            let cell = Self.attribute(clause.column.key)
            let rank: Statement? = Self.source.isNullable(clause.column.key) ? "((\(cell)) IS NULL) * 2" : nil
            return OrderTerm(rank: rank, value: cell, isAscending: clause.isAscending)
        }
        if !order.contains(where: { $0.column.key == "timestamp_ms" }) {
            terms.append(OrderTerm(value: "t.time", isAscending: false))
        }
        terms.append(OrderTerm(value: "t.id", isAscending: true))
        let sorted = SearchOrder(terms: terms)
        var conditions: [Statement] = ["t.experiment IN \(list: experiments)"]
        if let filter { conditions.append(try Self.source.condition(filter)) }
        if let place { conditions.append(sorted.after(place)) }
        let rows = try sql.rows(
            """
            SELECT t.id, \(sorted.columns) FROM trace t WHERE \(conditions.joined(separator: " AND "))
            \(sorted.clause(first: 2)) LIMIT \(limit + 1)
            """)
        let ids = try rows.prefix(limit).map { try $0.get(0, as: String.self) }
        guard rows.count > limit else { return SearchPage(items: ids) }
        let last = rows[limit - 1]
        return SearchPage(items: ids, next: (1..<last.count).map { last[$0] })
    }
}

extension FilterSchema {
    /// Metadata are what params are elsewhere.
    static let traces = FilterSchema(
        entities: [
            "attribute": .attribute, "attributes": .attribute, "trace": .attribute, "tag": .tag, "tags": .tag,
            "metadata": .parameter, "request_metadata": .parameter, "span": .span, "feedback": .feedback,
            "expectation": .expectation, "issue": .issue,
        ],
        attributes: [
            "request_id": Attribute(name: "request_id", isNumeric: false),
            "status": Attribute(name: "status", isNumeric: false),
            "client_request_id": Attribute(name: "client_request_id", isNumeric: false),
            "experiment_id": Attribute(name: "experiment_id", isNumeric: false),
            "name": Attribute(name: "name", isNumeric: false), "run_id": Attribute(name: "run_id", isNumeric: false),
            "timestamp": Attribute(name: "timestamp_ms", isNumeric: true),
            "timestamp_ms": Attribute(name: "timestamp_ms", isNumeric: true),
            "execution_time": Attribute(name: "execution_time_ms", isNumeric: true),
            "execution_time_ms": Attribute(name: "execution_time_ms", isNumeric: true),
            "text": Attribute(name: "content", isNumeric: false, entity: .span),
            "prompt": Attribute(name: "prompt", isNumeric: false, entity: .prompt),
            "end_time": Attribute(name: "end_time_ms", isNumeric: true),
            "end_time_ms": Attribute(name: "end_time_ms", isNumeric: true),
        ])
}
