import API
import Kernel
import Manifests
import SQL

/// This room's tables and the only SQL in it.
enum Tables {
    static let migrations = [
        Migration(
            id: "vault-1",
            statements: [
                """
                CREATE TABLE vault_name (
                    project TEXT NOT NULL, name TEXT NOT NULL, version BIGINT NOT NULL, environments TEXT NOT NULL,
                    pipelines TEXT NOT NULL, changed_at BIGINT NOT NULL, changed_by TEXT NOT NULL,
                    PRIMARY KEY (project, name))
                """,
                """
                CREATE TABLE vault_secret (
                    project TEXT NOT NULL, name TEXT NOT NULL, version BIGINT NOT NULL, key_id TEXT NOT NULL,
                    sealed TEXT NOT NULL, created_at BIGINT NOT NULL, created_by TEXT NOT NULL,
                    PRIMARY KEY (project, name, version))
                """,
                """
                CREATE TABLE vault_signing_key (
                    id TEXT PRIMARY KEY, number BIGINT NOT NULL UNIQUE, key_id TEXT NOT NULL, sealed TEXT NOT NULL,
                    x TEXT NOT NULL, y TEXT NOT NULL, created_at BIGINT NOT NULL)
                """,
            ]),
        // Of an RSA key, x is the modulus and y the exponent.
        Migration(
            id: "vault-2",
            statements: ["ALTER TABLE vault_signing_key ADD COLUMN algorithm TEXT NOT NULL DEFAULT 'ES256'"]),
    ]
}

extension Connection {
    /// Id of the key that something here was sealed with; nil when nothing is.
    func sealingKey() throws -> String? {
        try value(
            """
            SELECT key_id FROM vault_secret UNION SELECT key_id FROM vault_signing_key
            UNION SELECT key_id FROM vault_content_key LIMIT 1
            """)
    }

    // MARK: Secrets

    func secret(_ name: SecretName) throws -> SecretInfo? {
        try row("SELECT * FROM vault_name WHERE project = \(name.project) AND name = \(name.name)")
            .map(SecretInfo.init(row:))
    }

    func secrets(_ query: SecretQuery) throws -> [SecretInfo] {
        let after = query.after ?? ""
        return try rows(
            """
            SELECT * FROM vault_name WHERE project = \(query.project) AND name > \(after) ORDER BY name
            LIMIT \(query.limit)
            """
        ).map(SecretInfo.init(row:))
    }

    func secretCount(project: String) throws -> Int {
        try value("SELECT count(*) FROM vault_name WHERE project = \(project)") ?? 0
    }

    func versions(of name: SecretName) throws -> [SecretVersion] {
        try rows(
            """
            SELECT version, created_at, created_by FROM vault_secret
            WHERE project = \(name.project) AND name = \(name.name) ORDER BY version DESC
            """
        ).map { row in
            var version = SecretVersion()
            version.version = try row.get("version")
            version.created_at = Timestamp(microseconds: try row.get("created_at"))
            version.created_by = try row.get("created_by")
            return version
        }
    }

    /// The sealed value of a version, and the id of its key.
    func sealed(_ name: SecretName, version: Int) throws -> (sealed: String, key: String)? {
        try row(
            """
            SELECT sealed, key_id FROM vault_secret
            WHERE project = \(name.project) AND name = \(name.name) AND version = \(version)
            """
        ).map { (try $0.get(0), try $0.get(1)) }
    }

    func keep(_ secret: SecretInfo, sealed: String, key: String) throws {
        try run(
            """
            INSERT INTO vault_secret (project, name, version, key_id, sealed, created_at, created_by)
            VALUES (\(secret.project), \(secret.name), \(secret.version), \(key), \(sealed),
                \(secret.changed_at.microseconds), \(secret.changed_by))
            """)
        try run(
            """
            INSERT INTO vault_name (project, name, version, environments, pipelines, changed_at, changed_by)
            VALUES (\(secret.project), \(secret.name), \(secret.version), \(secret.environments.json.text),
                \(secret.pipelines.json.text), \(secret.changed_at.microseconds), \(secret.changed_by))
            ON CONFLICT (project, name) DO UPDATE SET version = excluded.version,
                environments = excluded.environments, pipelines = excluded.pipelines,
                changed_at = excluded.changed_at, changed_by = excluded.changed_by
            """)
        try run(
            """
            DELETE FROM vault_secret WHERE project = \(secret.project) AND name = \(secret.name)
                AND version <= \(secret.version - VaultLimits.versions)
            """)
    }

    func forget(_ name: SecretName) throws {
        try run("DELETE FROM vault_secret WHERE project = \(name.project) AND name = \(name.name)")
        try run("DELETE FROM vault_name WHERE project = \(name.project) AND name = \(name.name)")
    }

    // MARK: Signing keys

    /// Newest first.
    func signingKeys() throws -> [SigningKey] {
        try rows("SELECT * FROM vault_signing_key ORDER BY number DESC").map { row in
            SigningKey(
                id: try row.get("id"), number: try row.get("number"),
                algorithm: TokenAlgorithm(rawValue: try row.get("algorithm")) ?? .es256,
                sealedWith: try row.get("key_id"),
                sealed: try row.get("sealed"), x: try row.get("x"), y: try row.get("y"),
                createdAt: Timestamp(microseconds: try row.get("created_at")))
        }
    }

    func insert(_ key: SigningKey) throws {
        try run(
            """
            INSERT INTO vault_signing_key (id, number, algorithm, key_id, sealed, x, y, created_at)
            VALUES (\(key.id), \(key.number), \(key.algorithm.rawValue), \(key.sealedWith), \(key.sealed), \(key.x),
                \(key.y), \(key.createdAt.microseconds))
            """)
    }

    func removeSigningKey(_ id: String) throws {
        try run("DELETE FROM vault_signing_key WHERE id = \(id)")
    }
}

extension SecretInfo {
    init(row: Row) throws {
        self.init()
        project = try row.get("project")
        name = try row.get("name")
        version = try row.get("version")
        environments = try [String](json: JSONParser.parse(try row.get("environments", as: String.self)), at: [])
        pipelines = try [String](json: JSONParser.parse(try row.get("pipelines", as: String.self)), at: [])
        changed_at = Timestamp(microseconds: try row.get("changed_at"))
        changed_by = try row.get("changed_by")
    }
}
