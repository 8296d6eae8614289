import API
import Manifests
import SQL

extension SQLiteSource {
    static func loggedModels(of experiment: Int64, in sql: SQL.Connection) throws -> [SourceModel] {
        try sql.rows(
            """
            SELECT model_id, name, artifact_location, creation_timestamp_ms, last_updated_timestamp_ms, status,
                coalesce(lifecycle_stage, 'active'), coalesce(model_type, ''), coalesce(source_run_id, ''),
                coalesce(status_message, '')
            FROM logged_models WHERE experiment_id = \(experiment) ORDER BY model_id
            """
        ).map { row in
            var model = MovedLoggedModel()
            (model.id, model.experiment, model.name) = (try row.get(0), String(experiment), try row.get(1))
            let address: String = try row.get(2)
            model.artifact_uri = Addresses.kept(address)
            (model.created_ms, model.updated_ms, model.status) = (try row.get(3), try row.get(4), try row.get(5))
            model.is_deleted = try row.get(6, as: String.self) == "deleted"
            (model.type, model.source_run, model.status_message) = (try row.get(7), try row.get(8), try row.get(9))
            let id = model.id
            try sql.each("SELECT tag_key, tag_value FROM logged_model_tags WHERE model_id = \(id) ORDER BY tag_key") {
                model.tags[try $0.get(0)] = try $0.get(1, as: String.self)
            }
            try sql.each(
                "SELECT param_key, param_value FROM logged_model_params WHERE model_id = \(id) ORDER BY param_key"
            ) {
                model.params[try $0.get(0)] = try $0.get(1, as: String.self)
            }
            model.metrics = try metrics(of: id, in: sql)
            return SourceModel(model: model, artifactURI: address)
        }
    }

    private static func metrics(of model: String, in sql: SQL.Connection) throws -> [MovedModelMetric] {
        try sql.rows(
            """
            SELECT metric_name, metric_value, metric_timestamp_ms, metric_step, run_id, dataset_name, dataset_digest
            FROM logged_model_metrics WHERE model_id = \(model) ORDER BY metric_name, metric_timestamp_ms, metric_step
            """
        ).map { row in
            var metric = MovedModelMetric()
            metric.key = try row.get(0)
            metric.value = try row.get(1, as: Double?.self).map(StoredNumber.value) ?? .nan
            (metric.time_ms, metric.step, metric.run) = (try row.get(2), try row.get(3), try row.get(4))
            (metric.dataset_name, metric.dataset_digest) = (try row.get(5), try row.get(6))
            return metric
        }
    }
}

/// The tables of MLflow's model registry.
struct SQLiteRegistry {
    let tables: [String: Set<String>]
    let workspace: String

    private func meant(_ table: String) -> Statement {
        tables[table]?.contains("workspace") == true ? "workspace = \(workspace)" : "1 = 1"
    }

    /// A column that older stores lack.
    private func text(_ column: Statement, named name: String) -> Statement {
        tables["model_versions"]?.contains(name) == true ? "coalesce(\(column), '')" : "''"
    }

    func models(in sql: SQL.Connection) throws -> [MovedModel] {
        var models = try sql.rows(
            """
            SELECT name, coalesce(description, ''), coalesce(creation_time, 0), coalesce(last_updated_time, creation_time, 0)
            FROM registered_models WHERE \(meant("registered_models")) ORDER BY name
            """
        ).map { row in
            var model = MovedModel()
            (model.name, model.description) = (try row.get(0), try row.get(1))
            (model.created_ms, model.updated_ms) = (try row.get(2), try row.get(3))
            return model
        }
        for place in models.indices {
            let name = models[place].name
            if tables["registered_model_tags"] != nil {
                try sql.each(
                    """
                    SELECT key, coalesce(value, '') FROM registered_model_tags
                    WHERE name = \(name) AND \(meant("registered_model_tags")) ORDER BY key
                    """
                ) { models[place].tags[try $0.get(0)] = try $0.get(1, as: String.self) }
            }
            if tables["registered_model_aliases"] != nil {
                try sql.each(
                    """
                    SELECT alias, version FROM registered_model_aliases
                    WHERE name = \(name) AND \(meant("registered_model_aliases")) ORDER BY alias
                    """
                ) { models[place].aliases[try $0.get(0)] = try $0.get(1, as: Int.self) }
            }
            models[place].versions = try versions(of: name, in: sql)
        }
        return models
    }

    private func versions(of name: String, in sql: SQL.Connection) throws -> [MovedVersion] {
        let roots = Roots(sql: sql, tables: tables)
        return try sql.rows(
            """
            SELECT version, coalesce(creation_time, 0), coalesce(last_updated_time, creation_time, 0),
                coalesce(user_id, ''), coalesce(description, ''), coalesce(current_stage, 'None'), coalesce(source, ''),
                coalesce(run_id, ''), \(text("run_link", named: "run_link")),
                \(text("storage_location", named: "storage_location"))
            FROM model_versions WHERE name = \(name) AND \(meant("model_versions"))
                AND coalesce(current_stage, 'None') <> 'Deleted_Internal' ORDER BY version
            """
        ).map { row in
            var version = MovedVersion()
            (version.version, version.created_ms, version.updated_ms) = (try row.get(0), try row.get(1), try row.get(2))
            (version.user, version.stage) = (try row.get(3), try row.get(5))
            version.description = VersionSource.filled(try row.get(4))
            version.run = VersionSource.filled(try row.get(7))
            version.run_link = VersionSource.filled(try row.get(8))
            let source: String = try row.get(6)
            version.model_id = VersionSource.loggedModel(of: source)
            version.source = try VersionSource.source(
                source, storage: VersionSource.filled(try row.get(9)), run: version.run, root: roots.root)
            if version.model_id == nil { version.model_id = VersionSource.loggedModel(of: version.source) }
            if tables["model_version_tags"] != nil {
                try sql.each(
                    """
                    SELECT key, coalesce(value, '') FROM model_version_tags WHERE name = \(name)
                        AND version = \(version.version) AND \(meant("model_version_tags")) ORDER BY key
                    """
                ) { version.tags[try $0.get(0)] = try $0.get(1, as: String.self) }
            }
            return version
        }
    }

    /// Where the files of runs lie.
    private struct Roots {
        let sql: SQL.Connection
        let tables: [String: Set<String>]

        func root(_ run: String) throws -> String? {
            try sql.value("SELECT artifact_uri FROM runs WHERE run_uuid = \(run)", as: String?.self) ?? nil
        }
    }
}

/// What the source of a version means on another server; pure.
enum VersionSource {
    static func filled(_ text: String) -> String? { text.isEmpty ? nil : text }

    /// The logged model that a source is: "models:/m-…", or a place below one.
    static func loggedModel(of source: String) -> String? {
        if source.hasPrefix("models:/") {
            let rest = source.dropFirst("models:/".count).drop { $0 == "/" }
            let first = rest.prefix { $0 != "/" }
            return first.hasPrefix("m-") && first.count == rest.count ? String(first) : nil
        }
        // ".../EXPERIMENT/models/m-0123/artifacts"
        let parts = source.split(separator: "/")
        guard parts.count >= 3, parts[parts.count - 1] == "artifacts", parts[parts.count - 3] == "models",
            parts[parts.count - 2].hasPrefix("m-")
        else { return nil }
        return String(parts[parts.count - 2])
    }

    /// The source in words that mean the same on another server: a logged model, a path of a run, or what it was.
    static func source(
        _ source: String, storage: String?, run: String?, root: (String) throws -> String?
    ) rethrows -> String {
        if let model = loggedModel(of: source) { return "models:/\(model)" }
        if source.hasPrefix("models:/") || source.hasPrefix("runs:/") { return source }
        for place in [source, storage].compactMap({ $0 }) {
            if let model = loggedModel(of: place) { return "models:/\(model)" }
            guard let run, let root = try root(run), !root.isEmpty else { continue }
            if place == root { return "runs:/\(run)/" }
            if place.hasPrefix(root + "/") { return "runs:/\(run)/\(place.dropFirst(root.count + 1))" }
        }
        return source
    }
}
