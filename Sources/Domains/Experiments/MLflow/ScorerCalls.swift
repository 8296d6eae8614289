import API
import Kernel
import Manifests
import SQL

/// MLflow's calls about scorers: what judges traces, kept in versions. They are kept only: nothing of them runs here.
struct ScorerCalls: Sendable {
    let tracking: TrackingHouse

    var routes: [MLflowRoute] {
        let base = "/api/3.0/mlflow/scorers"
        return [
            MLflowRoute("POST", "\(base)/register", register), MLflowRoute("GET", "\(base)/list", list),
            MLflowRoute("GET", "\(base)/versions", versions), MLflowRoute("GET", "\(base)/get", get),
            MLflowRoute("DELETE", "\(base)/delete", delete),
        ]
    }

    /// Members that hold a scorer of one kind, with the model it asks.
    private static let kinds = [
        "instructions_judge_pydantic_data", "builtin_scorer_pydantic_data", "third_party_scorer_data",
    ]

    /// Checks a scorer as it is sent: code in it is refused, as MLflow's server refuses it, and so is a model of a gateway, of which there is none.
    private static func check(_ text: String) throws(MLflowError) {
        guard let body = try? JSONParser.parse(text) else {  // told as what it is
            throw .invalid("serialized_scorer must be valid JSON")
        }
        guard !hasCode(body) else {
            throw .invalid("Custom scorers made by the @scorer decorator cannot be registered with this server.")
        }
        guard let model = model(of: body) else { return }
        guard model.contains(where: { !$0.isWhitespace }) else {
            throw .invalid("Scorer model cannot be empty or contain only whitespace.")
        }
        if model.hasPrefix("gateway:/") {
            let name = model.dropFirst("gateway:/".count).drop { $0 == "/" }
            throw .missing("GatewayEndpoint not found (name='\(name)')")
        }
    }

    private static func hasCode(_ value: JSONValue) -> Bool {
        if let items = value.array { return items.contains(where: hasCode) }
        guard let members = value.object else { return false }
        if let source = members["call_source"], !source.isNull, source != "" { return true }
        return members.values.contains(where: hasCode)
    }

    private static func model(of body: JSONValue) -> String? {
        for kind in kinds { if let model = body[kind]?["model"]?.string { return model } }
        return body["memory_augmented_judge_data"]?["base_judge"].flatMap(model)
    }

    private static func missing(_ name: String, _ version: Int64?, _ experiment: Int64) -> MLflowError {
        let which = version.map { " and version \($0)" } ?? ""
        return .missing("Scorer with name '\(name)'\(which) not found for experiment \(experiment).")
    }

    private static func experiment(_ input: MLflowInput) throws(MLflowError) -> Int64 {
        try NameRules.experimentID(input.string("experiment_id"))
    }

    private func register(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, name) = (try Self.experiment(input), try input.string("name"))
        let body = try input.string("serialized_scorer")
        try Self.check(body)
        guard name.contains(where: { !$0.isWhitespace }) else {
            throw MLflowError.invalid("Scorer name cannot be empty or contain only whitespace.")
        }
        let (project, now) = (input.project, try tracking.store.milliseconds)
        let made = try await tracking.store.write { sql in
            try sql.experiment(id, in: project).checkActive()
            return try sql.keepScorer(named: name, body, of: id, at: now)
        }
        return .json([
            "version": .integer(made.version), "scorer_id": .string(made.scorer),
            "experiment_id": .string(String(id)), "name": .string(name), "serialized_scorer": .string(body),
            "creation_time": .integer(now),
        ])
    }

    private func list(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (one, many) = (try input.text("experiment_id") ?? "", try input.strings("experiment_ids"))
        guard one.isEmpty || input.value("experiment_ids") == nil else {
            throw MLflowError.invalid("Cannot specify both 'experiment_id' and 'experiment_ids'.")
        }
        let (ids, project) = (try many.map(NameRules.experimentID), input.project)
        let single = one.isEmpty ? nil : try NameRules.experimentID(one)
        let isAll = single == nil && input.value("experiment_ids") == nil
        let found = try await tracking.store.read { sql in
            if let single { try sql.experiment(single, in: project).checkActive() }
            return try sql.scorers(in: project, of: single.map { [$0] } ?? (isAll ? nil : ids))
        }
        return .json(Self.list(found))
    }

    private static func list(_ found: [StoredScorer]) -> JSONValue {
        found.isEmpty ? [:] : ["scorers": .array(found.map(\.json))]
    }

    private func find(_ input: MLflowInput) async throws -> (name: String, experiment: Int64, versions: [StoredScorer])
    {
        let (id, name, project) = (try Self.experiment(input), try input.string("name"), input.project)
        let found = try await tracking.store.read { sql in
            try sql.experiment(id, in: project).checkActive()
            return try sql.scorerVersions(of: id, named: name)
        }
        guard !found.isEmpty else { throw Self.missing(name, nil, id) }
        return (name, id, found)
    }

    private func versions(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        .json(Self.list(try await find(input).versions))
    }

    private func get(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let version = try input.integer("version")
        let found = try await find(input)
        guard let one = version == nil ? found.versions.last : found.versions.first(where: { $0.version == version })
        else { throw Self.missing(found.name, version, found.experiment) }
        return .json(["scorer": one.json])
    }

    private func delete(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, name, project) = (try Self.experiment(input), try input.string("name"), input.project)
        let version = try input.integer("version")
        try await tracking.store.write { sql in
            try sql.experiment(id, in: project).checkActive()
            let all = try sql.scorerVersions(of: id, named: name)
            guard let scorer = all.first?.scorer, version == nil || all.contains(where: { $0.version == version })
            else {
                throw Self.missing(name, version, id)
            }
            try sql.deleteScorer(scorer, version: version)
        }
        return .empty
    }
}

/// One version of a scorer.
struct StoredScorer: Sendable {
    var scorer: String
    var experiment: Int64
    var name: String
    var version: Int64
    var body: String
    /// Milliseconds since 1970.
    var created: Int64

    var json: JSONValue {
        [
            "experiment_id": .integer(experiment), "scorer_name": .string(name), "scorer_version": .integer(version),
            "serialized_scorer": .string(body), "creation_time": .integer(created), "scorer_id": .string(scorer),
        ]
    }
}

extension Connection {
    private static let columns: StaticString = "s.id, s.experiment, s.name, v.version, v.body, v.created"

    private func read(_ row: Row) throws -> StoredScorer {
        StoredScorer(
            scorer: try row.get(0), experiment: try row.get(1), name: try row.get(2), version: try row.get(3),
            body: try row.get(4), created: try row.get(5))
    }

    /// Adds a version; the first makes the scorer. A number is given once, unless the last one was deleted.
    func keepScorer(
        named name: String, _ body: String, of experiment: Int64, at now: Int64
    ) throws -> (scorer: String, version: Int64) {
        let id = RunNames.uuid()
        try run(
            "INSERT INTO scorer (id, experiment, name) VALUES (\(id), \(experiment), \(name)) ON CONFLICT DO NOTHING")
        let scorer: String =
            try value("SELECT id FROM scorer WHERE experiment = \(experiment) AND name = \(name)") ?? id
        let last: Int64 =
            try value("SELECT coalesce(max(version), 0) FROM scorer_version WHERE scorer = \(scorer)") ?? 0
        try run(
            """
            INSERT INTO scorer_version (scorer, version, body, created) VALUES (\(scorer), \(last + 1), \(body), \(now))
            """)
        return (scorer, last + 1)
    }

    /// The last version of each scorer of active experiments, of some or of all.
    func scorers(in project: String, of experiments: [Int64]?) throws -> [StoredScorer] {
        let among: Statement = experiments.map { "AND s.experiment IN \(list: $0)" } ?? ""
        return try rows(
            """
            SELECT \(raw: Self.columns) FROM scorer s JOIN scorer_version v ON v.scorer = s.id
            JOIN experiment e ON e.id = s.experiment
            WHERE e.project = \(project) AND e.is_deleted = 0 \(among)
                AND v.version = (SELECT max(version) FROM scorer_version WHERE scorer = s.id)
            ORDER BY s.experiment, s.name
            """
        ).map(read)
    }

    /// The versions of a scorer, the oldest first.
    func scorerVersions(of experiment: Int64, named name: String) throws -> [StoredScorer] {
        try rows(
            """
            SELECT \(raw: Self.columns) FROM scorer s JOIN scorer_version v ON v.scorer = s.id
            WHERE s.experiment = \(experiment) AND s.name = \(name) ORDER BY v.version
            """
        ).map(read)
    }

    /// Deletes one version, or the whole scorer.
    func deleteScorer(_ scorer: String, version: Int64?) throws {
        if let version {
            try run("DELETE FROM scorer_version WHERE scorer = \(scorer) AND version = \(version)")
        } else {
            try run("DELETE FROM scorer_version WHERE scorer = \(scorer)")
            try run("DELETE FROM scorer WHERE id = \(scorer)")
        }
    }
}
