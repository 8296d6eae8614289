import API
import Kernel
import Manifests
import SQL

/// The registry's tables. The SQL over them is here and in `RequestTables` and `WebhookTables`.
enum Tables {
    static let migrations = [
        Migration(
            id: "experiments-1",
            statements: [
                """
                CREATE TABLE experiments_version (
                    project TEXT NOT NULL, model TEXT NOT NULL, version BIGINT NOT NULL, created_at BIGINT NOT NULL,
                    run TEXT NOT NULL, digest TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (project, model, version),
                    UNIQUE (project, model, run, digest))
                """,
                """
                CREATE TABLE experiments_alias (
                    project TEXT NOT NULL, model TEXT NOT NULL, alias TEXT NOT NULL, version BIGINT NOT NULL,
                    PRIMARY KEY (project, model, alias))
                """,
            ]),
        Migration(id: "experiments-registry-2", statements: life),
        Migration(id: "experiments-registry-3", statements: WebhookTables.statements),
    ]

    /// Versions get what may change of them as columns, and an identity of their own: MLflow's clients register the same
    /// run's files as often as they like.
    private static let life: [Statement] = [
        """
        CREATE TABLE experiments_model (
            project TEXT NOT NULL, name TEXT NOT NULL, title TEXT NOT NULL, created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL, last_version BIGINT NOT NULL, PRIMARY KEY (project, name),
            UNIQUE (project, title))
        """,
        """
        CREATE TABLE experiments_model_version (
            project TEXT NOT NULL, model TEXT NOT NULL, version BIGINT NOT NULL, created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL, identity TEXT, run TEXT NOT NULL, digest TEXT NOT NULL, source TEXT NOT NULL,
            label TEXT NOT NULL, stage TEXT NOT NULL, description TEXT NOT NULL, signed_with TEXT NOT NULL,
            body TEXT NOT NULL, PRIMARY KEY (project, model, version), UNIQUE (project, model, identity))
        """,
        "CREATE INDEX experiments_model_version_run ON experiments_model_version (project, run)",
        """
        INSERT INTO experiments_model (project, name, title, created_at, updated_at, last_version)
        SELECT project, name, name, created_at, updated_at,
            (SELECT coalesce(max(version), 0) FROM experiments_version
             WHERE experiments_version.project = resource.project AND model = resource.name)
        FROM resource WHERE kind = 'Model'
        """,
        """
        INSERT INTO experiments_model_version (project, model, version, created_at, updated_at, identity, run, digest,
            source, label, stage, description, signed_with, body)
        SELECT project, model, version, created_at, created_at, run || '/' || digest, run, digest, '', '', 'None', '',
            '', body FROM experiments_version
        """,
        "DROP TABLE experiments_version",
        """
        CREATE TABLE experiments_model_tag (
            project TEXT NOT NULL, model TEXT NOT NULL, version BIGINT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
            PRIMARY KEY (project, model, version, name))
        """,
        """
        CREATE TABLE experiments_model_document (
            project TEXT NOT NULL, model TEXT NOT NULL, version BIGINT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
            created_at BIGINT NOT NULL, PRIMARY KEY (project, model, version, name))
        """,
        """
        CREATE TABLE experiments_model_request (
            id TEXT PRIMARY KEY, project TEXT NOT NULL, model TEXT NOT NULL, version BIGINT NOT NULL, stage TEXT NOT NULL,
            status TEXT NOT NULL, began_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, body TEXT NOT NULL)
        """,
        "CREATE INDEX experiments_model_request_of ON experiments_model_request (project, model, version)",
        "CREATE INDEX experiments_model_request_open ON experiments_model_request (status, expires_at)",
    ]
}

/// A model's row: what is known of it beside its manifest.
struct ModelRow: Sendable, Equatable {
    var project: String
    /// Of the resource.
    var name: String
    /// As MLflow's clients know it; unique in its project.
    var title: String
    var createdAt: Timestamp
    var updatedAt: Timestamp
    /// The highest number that was ever given.
    var lastVersion = 0

    var reference: Reference<ModelKind> { Reference(project: project, name: name) }
}

extension ModelRow {
    init(row: Row) throws {
        project = try row.get("project")
        name = try row.get("name")
        title = try row.get("title")
        createdAt = Timestamp(microseconds: try row.get("created_at"))
        updatedAt = Timestamp(microseconds: try row.get("updated_at"))
        lastVersion = try row.get("last_version")
    }
}

/// What is written once about a version.
enum DocumentName: String, Sendable { case signature, bom }

extension Connection {
    // MARK: Models

    func model(_ model: Reference<ModelKind>) throws -> ModelRow? {
        try row("SELECT * FROM experiments_model WHERE project = \(model.project) AND name = \(model.name)")
            .map(ModelRow.init(row:))
    }

    func model(titled title: String, project: String) throws -> ModelRow? {
        try row("SELECT * FROM experiments_model WHERE project = \(project) AND title = \(title)")
            .map(ModelRow.init(row:))
    }

    /// All of a project, by title.
    func models(project: String) throws -> [ModelRow] {
        try rows("SELECT * FROM experiments_model WHERE project = \(project) ORDER BY title").map(ModelRow.init(row:))
    }

    func keep(_ model: ModelRow) throws {
        try run(
            """
            INSERT INTO experiments_model (project, name, title, created_at, updated_at, last_version)
            VALUES (\(model.project), \(model.name), \(model.title), \(model.createdAt.microseconds),
                \(model.updatedAt.microseconds), \(model.lastVersion))
            ON CONFLICT (project, name) DO UPDATE SET title = excluded.title, updated_at = excluded.updated_at,
                last_version = excluded.last_version
            """)
    }

    /// Everything of a model but its resource.
    func forget(_ model: Reference<ModelKind>) throws {
        let (project, name) = (model.project, model.name)
        try run("DELETE FROM experiments_model WHERE project = \(project) AND name = \(name)")
        try run("DELETE FROM experiments_model_version WHERE project = \(project) AND model = \(name)")
        try run("DELETE FROM experiments_alias WHERE project = \(project) AND model = \(name)")
        try run("DELETE FROM experiments_model_tag WHERE project = \(project) AND model = \(name)")
        try run("DELETE FROM experiments_model_document WHERE project = \(project) AND model = \(name)")
        try run("DELETE FROM experiments_model_request WHERE project = \(project) AND model = \(name)")
    }

    // MARK: Versions

    func version(_ number: Int, of model: Reference<ModelKind>) throws -> ModelVersion? {
        try row(
            """
            SELECT * FROM experiments_model_version
            WHERE project = \(model.project) AND model = \(model.name) AND version = \(number)
            """
        ).map { try complete([$0], of: model)[0] }
    }

    /// A version as it was registered, whatever was written of it since.
    func registered(_ number: Int, of model: Reference<ModelKind>) throws -> ModelVersion? {
        try value(
            """
            SELECT body FROM experiments_model_version
            WHERE project = \(model.project) AND model = \(model.name) AND version = \(number)
            """, as: String.self
        ).map { try ModelVersion(json: JSONParser.parse($0), at: []) }
    }

    /// Newest first.
    func versions(of model: Reference<ModelKind>, limit: Int = Registry.pageLimit) throws -> [ModelVersion] {
        try complete(
            rows(
                """
                SELECT * FROM experiments_model_version WHERE project = \(model.project) AND model = \(model.name)
                ORDER BY version DESC LIMIT \(limit)
                """), of: model)
    }

    func newestVersion(of model: Reference<ModelKind>) throws -> Int {
        try value(
            """
            SELECT coalesce(max(version), 0) FROM experiments_model_version
            WHERE project = \(model.project) AND model = \(model.name)
            """) ?? 0
    }

    func version(labelled label: String, of model: Reference<ModelKind>) throws -> Int? {
        try value(
            """
            SELECT version FROM experiments_model_version
            WHERE project = \(model.project) AND model = \(model.name) AND label = \(label)
            """)
    }

    func labels(of model: Reference<ModelKind>) throws -> Set<String> {
        Set(
            try rows(
                """
                SELECT label FROM experiments_model_version WHERE project = \(model.project) AND model = \(model.name)
                """
            ).map { try $0.get(0) })
    }

    /// Content of every version of every model.
    func versionDigests() throws -> [String] {
        try rows("SELECT digest FROM experiments_model_version WHERE digest <> ''").map { try $0.get(0) }
    }

    func version(identified identity: String, of model: Reference<ModelKind>) throws -> Int? {
        try value(
            """
            SELECT version FROM experiments_model_version
            WHERE project = \(model.project) AND model = \(model.name) AND identity = \(identity)
            """)
    }

    /// - Parameter identity: What makes it the same version when it is registered again; nil: nothing does.
    func insert(_ version: ModelVersion, identity: String?) throws {
        let made = version.created_at.microseconds
        try run(
            """
            INSERT INTO experiments_model_version (project, model, version, created_at, updated_at, identity, run, digest,
                source, label, stage, description, signed_with, body)
            VALUES (\(version.project), \(version.model), \(version.version), \(made), \(made), \(identity.sqlValue),
                \(version.run ?? ""), \(version.digest), \(version.source ?? ""), \(version.label ?? ""),
                \(version.stage ?? "None"), \(version.description ?? ""), \(version.signed_with ?? ""),
                \(Self.body(version)))
            """)
        for (name, value) in version.tags {
            try setTag(name, value, of: Reference(project: version.project, name: version.model), version.version)
        }
    }

    /// Without what stands in columns. Tags and description stay as they were at first: webhooks tell those.
    private static func body(_ version: ModelVersion) -> String {
        var body = version
        (body.aliases, body.stage, body.updated_at) = ([], nil, nil)
        body.signed_with = nil
        return body.json.text
    }

    /// Writes what may change of a version.
    func update(_ version: ModelVersion, at now: Timestamp) throws {
        try run(
            """
            UPDATE experiments_model_version SET stage = \(version.stage ?? "None"), updated_at = \(now.microseconds),
                description = \(version.description ?? ""), signed_with = \(version.signed_with ?? "")
            WHERE project = \(version.project) AND model = \(version.model) AND version = \(version.version)
            """)
    }

    func remove(_ number: Int, of model: Reference<ModelKind>) throws {
        let (project, name) = (model.project, model.name)
        for table: Statement in [
            "experiments_model_version", "experiments_model_tag", "experiments_model_document", "experiments_alias",
        ] {
            try run("DELETE FROM \(table) WHERE project = \(project) AND model = \(name) AND version = \(number)")
        }
    }

    private func complete(_ rows: [Row], of model: Reference<ModelKind>) throws -> [ModelVersion] {
        let aliases = try aliases(of: model)
        let tags = rows.count == 1 ? try tags(of: model, try rows[0].get("version")) : try allTags(of: model)
        return try rows.map { row in
            var version = try ModelVersion(json: JSONParser.parse(try row.get("body", as: String.self)), at: [])
            let number: Int = try row.get("version")
            let (stage, description) = (
                try row.get("stage", as: String.self), try row.get("description", as: String.self)
            )
            let key = try row.get("signed_with", as: String.self)
            version.stage = stage == "None" ? nil : stage
            version.description = description.isEmpty ? nil : description
            version.signed_with = key.isEmpty ? nil : key
            version.updated_at = Timestamp(microseconds: try row.get("updated_at"))
            version.aliases = aliases.filter { $0.value == number }.map(\.key)
            version.tags = tags[number] ?? [:]
            return version
        }
    }

    // MARK: Tags

    private func tags(of model: Reference<ModelKind>, _ number: Int) throws -> [Int: Ordered<String>] {
        [number: try tags(of: model, version: number)]
    }

    private func allTags(of model: Reference<ModelKind>) throws -> [Int: Ordered<String>] {
        var all: [Int: Ordered<String>] = [:]
        for row in try rows(
            """
            SELECT version, name, value FROM experiments_model_tag
            WHERE project = \(model.project) AND model = \(model.name) ORDER BY version, name
            """)
        {
            all[try row.get(0), default: [:]][try row.get(1)] = try row.get(2, as: String.self)
        }
        return all
    }

    /// Tags of a version; with 0 those of the model itself.
    func tags(of model: Reference<ModelKind>, version: Int) throws -> Ordered<String> {
        var tags = Ordered<String>()
        for row in try rows(
            """
            SELECT name, value FROM experiments_model_tag
            WHERE project = \(model.project) AND model = \(model.name) AND version = \(version) ORDER BY name
            """)
        {
            tags[try row.get(0)] = try row.get(1, as: String.self)
        }
        return tags
    }

    func setTag(_ name: String, _ value: String, of model: Reference<ModelKind>, _ version: Int) throws {
        try run(
            """
            INSERT INTO experiments_model_tag (project, model, version, name, value)
            VALUES (\(model.project), \(model.name), \(version), \(name), \(value))
            ON CONFLICT (project, model, version, name) DO UPDATE SET value = excluded.value
            """)
    }

    func removeTag(_ name: String, of model: Reference<ModelKind>, _ version: Int) throws {
        try run(
            """
            DELETE FROM experiments_model_tag WHERE project = \(model.project) AND model = \(model.name)
                AND version = \(version) AND name = \(name)
            """)
    }

    // MARK: Documents

    func document(_ name: DocumentName, of version: ModelVersion) throws -> JSONValue? {
        try value(
            """
            SELECT body FROM experiments_model_document WHERE project = \(version.project)
                AND model = \(version.model) AND version = \(version.version) AND name = \(name.rawValue)
            """, as: String.self
        ).map { try JSONParser.parse($0) }
    }

    func keep(_ document: JSONValue, as name: DocumentName, of version: ModelVersion, at now: Timestamp) throws {
        try run(
            """
            INSERT INTO experiments_model_document (project, model, version, name, body, created_at)
            VALUES (\(version.project), \(version.model), \(version.version), \(name.rawValue), \(document.text),
                \(now.microseconds))
            ON CONFLICT (project, model, version, name) DO UPDATE SET body = excluded.body,
                created_at = excluded.created_at
            """)
    }

    // MARK: Aliases

    /// Alias → version.
    func aliases(of model: Reference<ModelKind>) throws -> Ordered<Int> {
        var aliases = Ordered<Int>()
        for row in try rows(
            """
            SELECT alias, version FROM experiments_alias WHERE project = \(model.project) AND model = \(model.name)
            ORDER BY alias
            """)
        {
            aliases[try row.get(0)] = try row.get(1, as: Int.self)
        }
        return aliases
    }

    /// Points the alias, or takes it away with version 0.
    func point(_ alias: String, of model: Reference<ModelKind>, to version: Int) throws {
        if version == 0 {
            try run(
                """
                DELETE FROM experiments_alias
                WHERE project = \(model.project) AND model = \(model.name) AND alias = \(alias)
                """)
        } else {
            try run(
                """
                INSERT INTO experiments_alias (project, model, alias, version)
                VALUES (\(model.project), \(model.name), \(alias), \(version))
                ON CONFLICT (project, model, alias) DO UPDATE SET version = excluded.version
                """)
        }
    }
}
