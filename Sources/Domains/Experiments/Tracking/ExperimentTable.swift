import Manifests
import SQL

/// One experiment as it is stored.
struct StoredExperiment: Sendable {
    var id: Int64
    var project: String
    var name: String
    var artifactLocation: String
    var isDeleted: Bool
    /// Milliseconds since 1970.
    var created: Int64
    var updated: Int64
    var tags: [(key: String, value: String)] = []

    /// As MLflow's API shows it.
    var json: JSONValue {
        var json: Ordered<JSONValue> = [
            "experiment_id": .string(String(id)), "name": .string(name),
            "artifact_location": .string(artifactLocation),
            "lifecycle_stage": .string(Self.stage(isDeleted)), "last_update_time": .integer(updated),
            "creation_time": .integer(created), "workspace": .string(project),
        ]
        if !tags.isEmpty {
            json["tags"] = .array(tags.map { ["key": .string($0.key), "value": .string($0.value)] })
        }
        return .object(json)
    }

    static func stage(_ isDeleted: Bool) -> String { isDeleted ? "deleted" : "active" }

    func checkActive() throws(MLflowError) {
        guard isDeleted else { return }
        throw .invalid("The experiment \(id) must be in the 'active' state. Current state is deleted.")
    }
}

extension Connection {
    private static let columns: StaticString =
        "e.id, e.project, e.name, e.artifact_location, e.is_deleted, e.created, e.updated"
    private var columns: Statement { "\(raw: Self.columns)" }

    func makeDefaultExperiment(at now: Int64) throws {
        try run(
            """
            INSERT INTO experiment (id, project, name, artifact_location, created, updated)
            VALUES (0, 'default', 'Default', 'mlflow-artifacts:/0', \(now), \(now)) ON CONFLICT DO NOTHING
            """)
    }

    private func read(_ row: Row) throws -> StoredExperiment {
        StoredExperiment(
            id: try row.get(0), project: try row.get(1), name: try row.get(2), artifactLocation: try row.get(3),
            isDeleted: try row.get(4), created: try row.get(5), updated: try row.get(6))
    }

    private func withTags(_ experiment: StoredExperiment) throws -> StoredExperiment {
        var experiment = experiment
        try each("SELECT key, value FROM experiment_tag WHERE experiment = \(experiment.id) ORDER BY key") { row in
            experiment.tags.append((try row.get(0), try row.get(1)))
        }
        return experiment
    }

    /// - Throws: `RESOURCE_DOES_NOT_EXIST` unless there is one of this number in the project.
    func experiment(_ id: Int64, in project: String) throws -> StoredExperiment {
        guard
            let row = try row("SELECT \(columns) FROM experiment e WHERE e.id = \(id) AND e.project = \(project)")
        else { throw MLflowError.missing("No Experiment with id=\(id) exists") }
        return try withTags(read(row))
    }

    func experiment(named name: String, in project: String) throws -> StoredExperiment? {
        try row("SELECT \(columns) FROM experiment e WHERE e.project = \(project) AND e.name = \(name)").map {
            try withTags(read($0))
        }
    }

    /// Makes an experiment; its default place for artifacts is named after its number.
    func makeExperiment(
        named name: String, in project: String, artifactLocation: String, tags: [(key: String, value: String)],
        at now: Int64
    ) throws -> StoredExperiment {
        if try experiment(named: name, in: project) != nil {
            throw MLflowError(.alreadyExists, "Experiment(name=\(name)) already exists.")
        }
        try run(
            """
            INSERT INTO experiment (project, name, artifact_location, created, updated)
            VALUES (\(project), \(name), \(artifactLocation), \(now), \(now))
            """)
        let id: Int64 = try value("SELECT last_insert_rowid()") ?? 0
        if artifactLocation.isEmpty {
            try run("UPDATE experiment SET artifact_location = \("mlflow-artifacts:/\(id)") WHERE id = \(id)")
        }
        for tag in tags { try setExperimentTag(tag.key, tag.value, of: id) }
        return try experiment(id, in: project)
    }

    func setExperimentTag(_ key: String, _ value: String, of id: Int64) throws {
        try run(
            """
            INSERT INTO experiment_tag (experiment, key, value) VALUES (\(id), \(key), \(value))
            ON CONFLICT (experiment, key) DO UPDATE SET value = excluded.value
            """)
    }

    /// Whether there was one.
    func deleteExperimentTag(_ key: String, of id: Int64) throws -> Bool {
        try run("DELETE FROM experiment_tag WHERE experiment = \(id) AND key = \(key)") > 0
    }

    func rename(experiment id: Int64, to name: String, at now: Int64) throws {
        try run("UPDATE experiment SET name = \(name), updated = \(now) WHERE id = \(id)")
    }

    /// Deletes or restores an experiment and all its runs.
    func mark(experiment id: Int64, deleted: Bool, at now: Int64) throws {
        try run("UPDATE experiment SET is_deleted = \(deleted), updated = \(now) WHERE id = \(id)")
        try run(
            """
            UPDATE run SET is_deleted = \(deleted), deleted = \((deleted ? now : nil).sqlValue), revision = revision + 1
            WHERE experiment = \(id)
            """)
    }
}
