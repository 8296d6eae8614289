import SQL

/// The kernel's own tables.
enum KernelTables {
    static let migrations = [
        Migration(
            id: "kernel-1",
            statements: [
                """
                CREATE TABLE event (
                    sequence BIGINT PRIMARY KEY, at BIGINT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
                    project TEXT NOT NULL, subject TEXT NOT NULL, actor TEXT NOT NULL, correlation TEXT NOT NULL,
                    data TEXT NOT NULL, previous_hash TEXT NOT NULL, hash TEXT NOT NULL)
                """,
                "CREATE INDEX event_subject ON event (kind, project, subject, sequence)",
                "CREATE INDEX event_correlation ON event (correlation, sequence)",
                "CREATE INDEX event_name ON event (name, sequence)",
                """
                CREATE TABLE resource (
                    project TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, generation BIGINT NOT NULL,
                    labels TEXT NOT NULL, spec TEXT NOT NULL, status TEXT, conditions TEXT NOT NULL,
                    created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, PRIMARY KEY (project, kind, name))
                """,
                "CREATE TABLE follower (name TEXT PRIMARY KEY, sequence BIGINT NOT NULL)",
                """
                CREATE TABLE token (
                    name TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, permission TEXT NOT NULL, project TEXT,
                    single_use BIGINT NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT, last_used_at BIGINT)
                """,
            ])
    ]
}
