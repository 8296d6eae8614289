import Manifests
import SQL

/// A dataset that a run read.
struct DatasetInput: Sendable {
    var name: String
    var digest: String
    var sourceType: String
    var source: String
    var schema: String?
    var profile: String?
    var tags: [(key: String, value: String)]

    /// What it was for: "training".
    var context: String? { tags.first { $0.key == "mlflow.data.context" }?.value }
}

extension TrackingStore {
    func logInputs(_ datasets: [DatasetInput], models: [String], to uuid: String, in project: String) async throws {
        try await write { sql in
            let run = try sql.activeRun(uuid, in: project)
            for dataset in datasets { try sql.keep(dataset, of: run) }
            for model in models { try sql.keepModel(model, isOutput: false, step: 0, of: run) }
            try sql.touch(run: run.id)
        }
    }

    func logOutputs(_ models: [(id: String, step: Int64)], to uuid: String, in project: String) async throws {
        try await write { sql in
            let run = try sql.activeRun(uuid, in: project)
            for model in models { try sql.keepModel(model.id, isOutput: true, step: model.step, of: run) }
            try sql.touch(run: run.id)
        }
    }
}

extension Connection {
    /// A dataset of the same name and digest is one in an experiment, and comes once into a run.
    func keep(_ dataset: DatasetInput, of run: StoredRun) throws {
        try self.run(
            """
            INSERT INTO dataset (experiment, name, digest, source_type, source, schema, profile)
            VALUES (\(run.experiment), \(dataset.name), \(dataset.digest), \(dataset.sourceType), \(dataset.source),
                    \(dataset.schema.sqlValue), \(dataset.profile.sqlValue))
            ON CONFLICT (experiment, name, digest) DO NOTHING
            """)
        let id: Int64 =
            try value(
                """
                SELECT id FROM dataset
                WHERE experiment = \(run.experiment) AND name = \(dataset.name) AND digest = \(dataset.digest)
                """) ?? 0
        let tags = JSONValue.array(dataset.tags.map { ["key": .string($0.key), "value": .string($0.value)] }).text
        try self.run(
            """
            INSERT INTO input (run, dataset, context, tags) VALUES (\(run.id), \(id), \(dataset.context.sqlValue), \(tags))
            ON CONFLICT (run, dataset) DO NOTHING
            """)
    }

    func keepModel(_ model: String, isOutput: Bool, step: Int64, of run: StoredRun) throws {
        try self.run(
            """
            INSERT INTO run_model (run, is_output, model, step) VALUES (\(run.id), \(isOutput), \(model), \(step))
            """)
    }

    /// The datasets of experiments, each once with what it was used for.
    func datasets(of experiments: [Int64]) throws -> [JSONValue] {
        try rows(
            """
            SELECT DISTINCT d.experiment, d.name, d.digest, i.context FROM dataset d JOIN input i ON i.dataset = d.id
            WHERE d.experiment IN \(list: experiments) ORDER BY d.name, d.digest LIMIT 1000
            """
        ).map { row in
            var json: Ordered<JSONValue> = [
                "experiment_id": .string(String(try row.get(0, as: Int64.self))), "name": .string(try row.get(1)),
                "digest": .string(try row.get(2)),
            ]
            if let context = try row.get(3, as: String?.self) { json["context"] = .string(context) }
            return .object(json)
        }
    }
}
