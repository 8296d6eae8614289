import SQL

/// Tables of what is judged: assessments of traces, issues, datasets of evaluations, scorers; and what of spans is searched.
enum EvaluationTables {
    static let migrations = [
        Migration(id: "tracking-evaluation-1", statements: assessments + datasets + scorers + spans),
        // Runs whose rows are gone and whose points may still be there: whoever removes them ends that.
        Migration(
            id: "tracking-purge-1", statements: ["CREATE TABLE purged_run (uuid TEXT PRIMARY KEY) WITHOUT ROWID"]),
    ]

    private static let assessments: [Statement] = [
        // `text` is the value as filters compare it, `number` as they measure it, `aggregate` as metrics do (true is 1, "no" is 0).
        """
        CREATE TABLE assessment (
            id TEXT PRIMARY KEY, trace TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL,
            text TEXT NOT NULL, number REAL, aggregate REAL, error TEXT, created INTEGER NOT NULL,
            updated INTEGER NOT NULL, source_type TEXT NOT NULL, source TEXT, span TEXT, rationale TEXT,
            overrides TEXT, is_valid INTEGER NOT NULL DEFAULT 1, metadata TEXT)
        """,
        "CREATE INDEX assessment_by_trace ON assessment (trace, created, id)",
        "CREATE INDEX assessment_by_name ON assessment (kind, name, trace)",
        """
        CREATE TABLE issue (
            id TEXT PRIMARY KEY, experiment INTEGER NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL,
            status TEXT NOT NULL, severity INTEGER, root_causes TEXT NOT NULL, source_run TEXT,
            categories TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL, created_by TEXT)
        """,
        "CREATE INDEX issue_by_experiment ON issue (experiment)",
        "CREATE TABLE trace_prompt (trace TEXT NOT NULL, prompt TEXT NOT NULL, PRIMARY KEY (prompt, trace)) WITHOUT ROWID",
        "CREATE INDEX trace_prompt_by_trace ON trace_prompt (trace)",
    ]

    private static let datasets: [Statement] = [
        """
        CREATE TABLE evaluation_dataset (
            id TEXT PRIMARY KEY, project TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,
            created INTEGER NOT NULL, updated INTEGER NOT NULL, schema TEXT, profile TEXT, created_by TEXT,
            updated_by TEXT)
        """,
        "CREATE INDEX evaluation_dataset_by_time ON evaluation_dataset (project, created DESC, id DESC)",
        """
        CREATE TABLE evaluation_dataset_tag (
            dataset TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (dataset, key)) WITHOUT ROWID
        """,
        """
        CREATE TABLE evaluation_dataset_experiment (
            experiment TEXT NOT NULL, dataset TEXT NOT NULL, PRIMARY KEY (experiment, dataset)) WITHOUT ROWID
        """,
        "CREATE INDEX evaluation_dataset_experiment_by_dataset ON evaluation_dataset_experiment (dataset)",
        // `input` is the hash of the inputs, by which a record is known again; `body` what else it holds.
        """
        CREATE TABLE evaluation_record (
            id TEXT PRIMARY KEY, dataset TEXT NOT NULL, input TEXT NOT NULL, body TEXT NOT NULL,
            created INTEGER NOT NULL, UNIQUE (dataset, input))
        """,
        "CREATE INDEX evaluation_record_by_time ON evaluation_record (dataset, created, id)",
    ]

    private static let scorers: [Statement] = [
        "CREATE TABLE scorer (id TEXT PRIMARY KEY, experiment INTEGER NOT NULL, name TEXT NOT NULL, UNIQUE (experiment, name))",
        """
        CREATE TABLE scorer_version (
            scorer TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL, created INTEGER NOT NULL,
            PRIMARY KEY (scorer, version)) WITHOUT ROWID
        """,
    ]

    private static let spans: [Statement] =
        [
            "ALTER TABLE trace_span ADD COLUMN name TEXT", "ALTER TABLE trace_span ADD COLUMN type TEXT",
            "ALTER TABLE trace_span ADD COLUMN status TEXT", "ALTER TABLE trace_span ADD COLUMN ended INTEGER",
            "ALTER TABLE trace_span ADD COLUMN model TEXT", "ALTER TABLE trace_span ADD COLUMN provider TEXT",
            "ALTER TABLE trace_span ADD COLUMN input_cost REAL", "ALTER TABLE trace_span ADD COLUMN output_cost REAL",
            "ALTER TABLE trace_span ADD COLUMN total_cost REAL",
            // What came before tells the same from now on.
            """
            UPDATE trace_span SET name = json_extract(body, '$.name'),
                ended = json_extract(body, '$.end_time_unix_nano'),
                status = replace(json_extract(body, '$.status.code'), 'STATUS_CODE_', ''),
                type = (SELECT trim(json_extract(a.value, '$.value.string_value'), '"') FROM json_each(body, '$.attributes') a
                        WHERE json_extract(a.value, '$.key') = 'mlflow.spanType'),
                model = (SELECT trim(json_extract(a.value, '$.value.string_value'), '"') FROM json_each(body, '$.attributes') a
                         WHERE json_extract(a.value, '$.key') = 'mlflow.llm.model'),
                provider = (SELECT trim(json_extract(a.value, '$.value.string_value'), '"') FROM json_each(body, '$.attributes') a
                            WHERE json_extract(a.value, '$.key') = 'mlflow.llm.provider')
            """,
        ]
}
