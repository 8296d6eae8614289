import API
import Kernel
import Manifests
import SQL

/// This room's tables and the only SQL in it.
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
            ])
    ]
}

extension Connection {
    func version(_ number: Int, of model: Reference<ModelKind>) throws -> ModelVersion? {
        try row(
            """
            SELECT body FROM experiments_version
            WHERE project = \(model.project) AND model = \(model.name) AND version = \(number)
            """
        ).map { try read($0, aliases: aliases(of: model)) }
    }

    /// Newest first.
    func versions(of model: Reference<ModelKind>) throws -> [ModelVersion] {
        let aliases = try aliases(of: model)
        return try rows(
            """
            SELECT body FROM experiments_version WHERE project = \(model.project) AND model = \(model.name)
            ORDER BY version DESC LIMIT 1000
            """
        ).map { try read($0, aliases: aliases) }
    }

    func newestVersion(of model: Reference<ModelKind>) throws -> Int {
        try value(
            """
            SELECT coalesce(max(version), 0) FROM experiments_version
            WHERE project = \(model.project) AND model = \(model.name)
            """) ?? 0
    }

    /// Content of every version of every model.
    func versionDigests() throws -> [String] {
        try rows("SELECT digest FROM experiments_version").map { try $0.get(0) }
    }

    func version(madeBy run: String, digest: String, of model: Reference<ModelKind>) throws -> Int? {
        try value(
            """
            SELECT version FROM experiments_version WHERE project = \(model.project) AND model = \(model.name)
                AND run = \(run) AND digest = \(digest)
            """)
    }

    func insert(_ version: ModelVersion) throws {
        try run(
            """
            INSERT INTO experiments_version (project, model, version, created_at, run, digest, body)
            VALUES (\(version.project), \(version.model), \(version.version), \(version.created_at.microseconds),
                    \(version.run ?? ""), \(version.digest), \(version.json.text))
            """)
    }

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

    private func read(_ row: Row, aliases: Ordered<Int>) throws -> ModelVersion {
        var version = try ModelVersion(json: JSONParser.parse(try row.get(0, as: String.self)), at: [])
        version.aliases = aliases.filter { $0.value == version.version }.map(\.key)
        return version
    }
}
