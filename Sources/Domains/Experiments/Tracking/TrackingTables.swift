import SQL

/// The tables of the tracking store: a SQLite file of its own, written by one thread that gathers what waits into one commit.
///
/// Points of metrics are not here but in a `PointStore`; here are the latest value of each metric and everything that is searched.
/// Keys of metrics, params and tags are numbers (`name`), so that the indexes that searches walk are narrow. `run.revision` grows
/// with every change of what a run shows, so that what is kept of a run in memory is known to be its present state.
enum TrackingTables {
    static let migrations = [
        Migration(
            id: "tracking-1",
            statements: [
                "CREATE TABLE setting (key TEXT PRIMARY KEY, value BLOB NOT NULL)",
                "CREATE TABLE name (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
                """
                CREATE TABLE experiment (
                    id INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, name TEXT NOT NULL,
                    artifact_location TEXT NOT NULL, is_deleted INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL,
                    updated INTEGER NOT NULL, UNIQUE (project, name))
                """,
                """
                CREATE TABLE experiment_tag (
                    experiment INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (experiment, key))
                    WITHOUT ROWID
                """,
                """
                CREATE TABLE run (
                    id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, experiment INTEGER NOT NULL, name TEXT NOT NULL,
                    user TEXT NOT NULL, status TEXT NOT NULL, start INTEGER NOT NULL, ended INTEGER,
                    artifact_uri TEXT NOT NULL, is_deleted INTEGER NOT NULL DEFAULT 0, deleted INTEGER,
                    revision INTEGER NOT NULL DEFAULT 0)
                """,
                "CREATE INDEX run_by_start ON run (experiment, is_deleted, start DESC, uuid)",
                """
                CREATE TABLE metric (
                    run INTEGER NOT NULL, key INTEGER NOT NULL, experiment INTEGER NOT NULL, is_nan INTEGER NOT NULL,
                    value REAL NOT NULL, step INTEGER NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (run, key))
                    WITHOUT ROWID
                """,
                "CREATE INDEX metric_by_value ON metric (experiment, key, is_nan, value, run)",
                """
                CREATE TABLE param (
                    run INTEGER NOT NULL, key INTEGER NOT NULL, experiment INTEGER NOT NULL, value TEXT NOT NULL,
                    PRIMARY KEY (run, key)) WITHOUT ROWID
                """,
                "CREATE INDEX param_by_value ON param (experiment, key, value, run)",
                """
                CREATE TABLE tag (
                    run INTEGER NOT NULL, key INTEGER NOT NULL, experiment INTEGER NOT NULL, value TEXT NOT NULL,
                    PRIMARY KEY (run, key)) WITHOUT ROWID
                """,
                "CREATE INDEX tag_by_value ON tag (experiment, key, value, run)",
                """
                CREATE TABLE dataset (
                    id INTEGER PRIMARY KEY, experiment INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,
                    source_type TEXT NOT NULL, source TEXT NOT NULL, schema TEXT, profile TEXT,
                    UNIQUE (experiment, name, digest))
                """,
                """
                CREATE TABLE input (
                    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, dataset INTEGER NOT NULL, context TEXT,
                    tags TEXT NOT NULL, UNIQUE (run, dataset))
                """,
                "CREATE INDEX input_by_dataset ON input (dataset, run)",
                """
                CREATE TABLE run_model (
                    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, is_output INTEGER NOT NULL, model TEXT NOT NULL,
                    step INTEGER NOT NULL)
                """,
                "CREATE INDEX run_model_by_run ON run_model (run, is_output)",
                """
                CREATE TABLE model (
                    id TEXT PRIMARY KEY, experiment INTEGER NOT NULL, name TEXT NOT NULL, artifact_uri TEXT NOT NULL,
                    created INTEGER NOT NULL, updated INTEGER NOT NULL, type TEXT NOT NULL, source_run TEXT NOT NULL,
                    status INTEGER NOT NULL, status_message TEXT NOT NULL DEFAULT '', is_deleted INTEGER NOT NULL DEFAULT 0)
                """,
                "CREATE INDEX model_by_time ON model (experiment, is_deleted, created DESC, id)",
                """
                CREATE TABLE model_tag (model TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (model, key))
                    WITHOUT ROWID
                """,
                """
                CREATE TABLE model_param (model TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (model, key))
                    WITHOUT ROWID
                """,
                """
                CREATE TABLE model_metric (
                    model TEXT NOT NULL, key TEXT NOT NULL, time INTEGER NOT NULL, step INTEGER NOT NULL, run TEXT NOT NULL,
                    is_nan INTEGER NOT NULL, value REAL NOT NULL, dataset_name TEXT, dataset_digest TEXT,
                    PRIMARY KEY (model, key, time, step, run)) WITHOUT ROWID
                """,
                """
                CREATE TABLE artifact (
                    path TEXT PRIMARY KEY, digest TEXT NOT NULL, bytes INTEGER NOT NULL, written INTEGER NOT NULL)
                    WITHOUT ROWID
                """,
                """
                CREATE TABLE upload_part (
                    upload TEXT NOT NULL, part INTEGER NOT NULL, digest TEXT NOT NULL, bytes INTEGER NOT NULL,
                    written INTEGER NOT NULL, PRIMARY KEY (upload, part)) WITHOUT ROWID
                """,
            ])
    ]
}
