package import API
import Foundation
import Manifests
import SQL

/// A SQLite file that MLflow's server or client has written. Nothing in it is changed.
///
/// MLflow's schema has grown column by column; what a store does not have yet is empty. Source of the tables: those that `mlflow db upgrade`
/// of MLflow 3.17 makes.
package struct SQLiteSource: MoveSource {
    package let name: String
    private let database: Database
    private let artifacts: LocalArtifacts
    private let workspace: String
    private let tables: [String: Set<String>]
    /// Runs that are read at once.
    private static let pageRuns = 100

    /// Tables and columns without which nothing can be read.
    private static let needed = [
        "experiments": ["experiment_id", "name", "artifact_location", "lifecycle_stage"],
        "runs": [
            "run_uuid", "name", "user_id", "status", "start_time", "end_time", "lifecycle_stage", "artifact_uri",
            "experiment_id",
        ],
        "metrics": ["key", "value", "timestamp", "run_uuid", "step", "is_nan"],
        "latest_metrics": ["key", "run_uuid"], "params": ["key", "value", "run_uuid"],
        "tags": ["key", "value", "run_uuid"],
    ]

    /// Tables whose rows are not moved, and what people call them.
    private static let others = [
        ("trace_info", "traces"), ("assessments", "assessments of traces"),
        ("evaluation_datasets", "evaluation datasets"),
        ("webhooks", "webhooks"), ("scorers", "scorers"), ("issues", "issues"), ("endpoints", "gateway endpoints"),
    ]

    /// Opens the file and looks at its tables.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - artifacts: Folder of the artifact root, if it is told.
    ///   - workspace: Which of MLflow's workspaces is read, in stores that have them.
    package init(path: String, artifacts: String?, workspace: String = "default") async throws {
        guard FileManager.default.fileExists(atPath: path) else {
            throw Problem(
                "move.no-file", status: 404, "there is no file \"\(path)\"", hint: "Check the path after sqlite:///.")
        }
        do {
            let database = try Database.reading(path: path)
            self.database = database
            tables = try await database.read { try Self.tables(in: $0) }
        } catch let error as SQLError {
            throw Self.unreadable(path, error)
        }
        name = "sqlite:///\(path)"
        self.workspace = workspace
        let folder = URL(filePath: path).standardizedFileURL.deletingLastPathComponent().path
        self.artifacts = LocalArtifacts(root: artifacts, base: folder)
        try await check(path)
    }

    private static func unreadable(_ path: String, _ error: SQLError) -> Problem {
        switch error.code {
        case .notADatabase:
            Problem(
                "move.not-sqlite", status: 422, "\"\(path)\" is not a SQLite database",
                hint: "Name the file of mlflow's --backend-store-uri; a folder of runs is named without sqlite:///.")
        case .busy:
            Problem(
                "move.busy", status: 409, "another program holds \"\(path)\"",
                hint: "Stop the mlflow server for the time of the move, or move from its URL.")
        default:
            Problem(
                "move.unreadable", status: 422, "could not read \"\(path)\"", detail: "\(error.message).",
                hint: "Try a copy of it: sqlite3 \(path) \".backup copy.db\"")
        }
    }

    private static func tables(in sql: SQL.Connection) throws -> [String: Set<String>] {
        var tables: [String: Set<String>] = [:]
        for table in try sql.rows("SELECT name FROM sqlite_master WHERE type = 'table'") {
            let name: String = try table.get(0)
            tables[name] = Set(try sql.rows("SELECT name FROM pragma_table_info(\(name))").map { try $0.get(0) })
        }
        return tables
    }

    private func check(_ path: String) async throws {
        var version = "none"
        if tables["alembic_version"] != nil {
            version = try await database.read { try $0.value("SELECT version_num FROM alembic_version") ?? "none" }
        }
        for (table, columns) in Self.needed {
            guard let known = tables[table], known.isSuperset(of: columns) else {
                let lacks = tables[table].map { known in columns.filter { !known.contains($0) }.joined(separator: ", ")
                }
                throw Problem(
                    "move.schema", status: 422, "\"\(path)\" has not the schema of a tracking store that can be read",
                    detail:
                        "Its alembic_version is \(version), and the table \(table) \(lacks.map { "lacks \($0)" } ?? "is missing").",
                    hint: "Bring it up to date first, with MLflow: mlflow db upgrade sqlite:///\(path)")
            }
        }
    }

    private func has(_ table: String) -> Bool { tables[table] != nil }

    private func read<T: Sendable>(_ body: @Sendable @escaping (SQL.Connection) throws -> T) async throws -> T {
        do { return try await database.read(body) } catch let error as SQLError {
            throw Problem(
                "move.unreadable", status: 422, "could not read \(name)", detail: "\(error.message).",
                hint: "What was moved stays; begin again with the same command.")
        }
    }

    /// Which experiments are meant.
    private var meant: Statement {
        tables["experiments"]?.contains("workspace") == true ? "workspace = \(workspace)" : "1 = 1"
    }

    package func look() async throws -> SourceView {
        let (tables, meant) = (tables, meant)
        return try await read { sql in
            var view = SourceView()
            view.runs = try sql.value(
                "SELECT count(*) FROM runs WHERE experiment_id IN (SELECT experiment_id FROM experiments WHERE \(meant))"
            )
            for (table, words) in Self.others where tables[table] != nil {
                let count = try sql.rows(Self.counting(table)).first?.get(0, as: Int.self) ?? 0
                if count > 0 { view.notTaken.append("\(count) \(words)") }
            }
            let left = try sql.value("SELECT count(*) FROM experiments WHERE NOT (\(meant))", as: Int.self) ?? 0
            if left > 0 { view.notTaken.append("\(left) experiments of other workspaces") }
            return view
        }
    }

    private static func counting(_ table: String) -> Statement {
        switch table {
        case "trace_info": "SELECT count(*) FROM trace_info"
        case "assessments": "SELECT count(*) FROM assessments"
        case "evaluation_datasets": "SELECT count(*) FROM evaluation_datasets"
        case "webhooks": "SELECT count(*) FROM webhooks"
        case "scorers": "SELECT count(*) FROM scorers"
        case "issues": "SELECT count(*) FROM issues"
        default: "SELECT count(*) FROM endpoints"
        }
    }

    package func experiments() async throws -> [MovedExperiment] {
        let (meant, hasTags) = (meant, has("experiment_tags"))
        let times: Statement =
            tables["experiments"]?.contains("creation_time") == true
            ? "coalesce(creation_time, 0), coalesce(last_update_time, 0)" : "0, 0"
        return try await read { sql in
            try sql.rows(
                """
                SELECT experiment_id, name, coalesce(artifact_location, ''), coalesce(lifecycle_stage, 'active'), \(times)
                FROM experiments WHERE \(meant) ORDER BY experiment_id
                """
            ).map { row in
                var experiment = MovedExperiment()
                let id: Int64 = try row.get(0)
                (experiment.id, experiment.name) = (String(id), try row.get(1))
                experiment.artifact_location = Addresses.kept(try row.get(2))
                experiment.is_deleted = try row.get(3, as: String.self) == "deleted"
                (experiment.created_ms, experiment.updated_ms) = (try row.get(4), try row.get(5))
                guard hasTags else { return experiment }
                try sql.each("SELECT key, value FROM experiment_tags WHERE experiment_id = \(id) ORDER BY key") {
                    experiment.tags[try $0.get(0)] = try $0.get(1, as: String?.self) ?? ""
                }
                return experiment
            }
        }
    }

    // MARK: Runs

    package func runs(of experiment: MovedExperiment, _ body: ([SourceRun]) async throws -> Void) async throws {
        guard let id = Int64(experiment.id) else { return }
        var after = ""
        while true {
            let place = after
            let hasInputs = has("inputs") && has("datasets")
            let hasSteps = tables["inputs"]?.contains("step") == true
            let page = try await read { sql in
                var page = try Self.page(of: id, after: place, in: sql)
                try Self.fill(&page, in: sql)
                if hasInputs { try Self.fillInputs(&page, hasSteps: hasSteps, in: sql) }
                return page
            }
            guard let last = page.last else { return }
            after = last.run.id
            try await body(page)
        }
    }

    private static func page(of experiment: Int64, after: String, in sql: SQL.Connection) throws -> [SourceRun] {
        try sql.rows(
            """
            SELECT run_uuid, coalesce(name, ''), coalesce(user_id, ''), coalesce(status, 'FINISHED'),
                coalesce(start_time, 0), end_time, coalesce(lifecycle_stage, 'active'), coalesce(artifact_uri, '')
            FROM runs WHERE experiment_id = \(experiment) AND run_uuid > \(after) ORDER BY run_uuid LIMIT \(pageRuns)
            """
        ).map { row in
            var run = MovedRun()
            (run.id, run.experiment) = (try row.get(0), String(experiment))
            (run.name, run.user, run.status) = (try row.get(1), try row.get(2), try row.get(3))
            (run.started_ms, run.ended_ms) = (try row.get(4), try row.get(5))
            run.is_deleted = try row.get(6, as: String.self) == "deleted"
            let address: String = try row.get(7)
            run.artifact_uri = Addresses.kept(address)
            return SourceRun(run: run, points: 0, artifactURI: address)
        }
    }

    private static func fill(_ page: inout [SourceRun], in sql: SQL.Connection) throws {
        let ids = page.map(\.run.id)
        let places = Dictionary(uniqueKeysWithValues: ids.enumerated().map { ($1, $0) })
        func each(_ statement: Statement, _ body: (inout SourceRun, Row) throws -> Void) throws {
            try sql.each(statement) { row in
                if let place = places[try row.get(0)] { try body(&page[place], row) }
            }
        }
        try each("SELECT run_uuid, key, value FROM params WHERE run_uuid IN \(list: ids) ORDER BY run_uuid, key") {
            $0.run.params[try $1.get(1)] = try $1.get(2, as: String.self)
        }
        try each(
            "SELECT run_uuid, key, coalesce(value, '') FROM tags WHERE run_uuid IN \(list: ids) ORDER BY run_uuid, key"
        ) { $0.run.tags[try $1.get(1)] = try $1.get(2, as: String.self) }
        try each("SELECT run_uuid, count(*) FROM latest_metrics WHERE run_uuid IN \(list: ids) GROUP BY run_uuid") {
            $0.metrics = try $1.get(1)
        }
        try each("SELECT run_uuid, count(*) FROM metrics WHERE run_uuid IN \(list: ids) GROUP BY run_uuid") {
            $0.points = try $1.get(1)
        }
    }

    private static func fillInputs(_ page: inout [SourceRun], hasSteps: Bool, in sql: SQL.Connection) throws {
        let ids = page.map(\.run.id)
        let places = Dictionary(uniqueKeysWithValues: ids.enumerated().map { ($1, $0) })
        try sql.each(
            """
            SELECT i.destination_id, i.input_uuid, d.name, d.digest, d.dataset_source_type, d.dataset_source,
                d.dataset_schema, d.dataset_profile
            FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id
            WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id IN \(list: ids)
            ORDER BY i.destination_id, d.name, d.digest
            """
        ) { row in
            guard let place = places[try row.get(0)] else { return }
            var dataset = MovedDataset()
            (dataset.name, dataset.digest) = (try row.get(2), try row.get(3))
            (dataset.source_type, dataset.source) = (try row.get(4), try row.get(5))
            (dataset.schema, dataset.profile) = (try row.get(6), try row.get(7))
            let input: String = try row.get(1)
            try sql.each("SELECT name, value FROM input_tags WHERE input_uuid = \(input) ORDER BY name") {
                dataset.tags[try $0.get(0)] = try $0.get(1, as: String.self)
            }
            page[place].run.datasets.append(dataset)
        }
        let step: Statement = hasSteps ? "min(step)" : "0"
        try sql.each(
            """
            SELECT source_id, source_type, destination_id, \(step) FROM inputs
            WHERE source_type IN ('RUN_INPUT', 'RUN_OUTPUT') AND source_id IN \(list: ids)
            GROUP BY source_id, source_type, destination_id ORDER BY source_id, destination_id
            """
        ) { row in
            guard let place = places[try row.get(0)] else { return }
            if try row.get(1, as: String.self) == "RUN_INPUT" {
                page[place].run.model_inputs.append(try row.get(2))
            } else {
                var output = MovedOutput()
                (output.model, output.step) = (try row.get(2), try row.get(3))
                page[place].run.model_outputs.append(output)
            }
        }
    }

    package func points(of run: SourceRun) async throws -> [MovedPoints] {
        let id = run.run.id
        return try await read { sql in
            var all: [MovedPoints] = []
            try sql.each(
                """
                SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = \(id)
                ORDER BY key, timestamp, step, value
                """
            ) { row in
                let key: String = try row.get(0)
                if all.last?.key != key { all.append(MovedPoints(key: key)) }
                let value = try row.get(4) ? Double.nan : StoredNumber.value(row.get(1, as: Double?.self) ?? 0)
                all[all.count - 1].values.append(value)
                all[all.count - 1].times.append(try row.get(2, as: Int64?.self) ?? 0)
                all[all.count - 1].steps.append(try row.get(3))
            }
            return all
        }
    }

    package func files(of owner: FileOwner) async throws -> FoundFiles { try artifacts.files(of: owner) }
    package func fetch(_ file: SourceFile, of owner: FileOwner, to path: String) async throws {}

    package func loggedModels(of experiment: MovedExperiment) async throws -> [SourceModel] {
        guard has("logged_models"), let id = Int64(experiment.id) else { return [] }
        return try await read { try Self.loggedModels(of: id, in: $0) }
    }

    package func registeredModels() async throws -> [MovedModel] {
        guard has("registered_models"), has("model_versions") else { return [] }
        let (tables, workspace) = (tables, workspace)
        return try await read { try SQLiteRegistry(tables: tables, workspace: workspace).models(in: $0) }
    }
}
