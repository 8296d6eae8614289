import API
import Kernel
import Manifests
import SQL

/// Rows of caches, and what the steps of a job add to those of runs.
enum CacheTables {
    static let migration = Migration(
        id: "pipelines-steps-1",
        statements: [
            """
            CREATE TABLE pipelines_cache (
                id TEXT PRIMARY KEY, project TEXT NOT NULL, repository TEXT NOT NULL, scope TEXT NOT NULL,
                cache_key TEXT NOT NULL, digest TEXT NOT NULL, size_bytes BIGINT NOT NULL, created_at BIGINT NOT NULL,
                used_at BIGINT NOT NULL, UNIQUE (project, repository, scope, cache_key))
            """,
            "CREATE INDEX pipelines_cache_used ON pipelines_cache (used_at)",
            """
            CREATE TABLE pipelines_summary (
                run TEXT NOT NULL, stage TEXT NOT NULL, job TEXT NOT NULL, position BIGINT NOT NULL, text TEXT NOT NULL,
                PRIMARY KEY (run, stage, job, position))
            """,
            "ALTER TABLE pipelines_artifact ADD COLUMN expires_at BIGINT",
            "CREATE INDEX pipelines_artifact_expires ON pipelines_artifact (expires_at)",
            "ALTER TABLE pipelines_step ADD COLUMN conclusion TEXT",
            "ALTER TABLE pipelines_step ADD COLUMN annotations TEXT",
            "ALTER TABLE pipelines_job ADD COLUMN coverage TEXT",
            "ALTER TABLE pipelines_job ADD COLUMN workspace TEXT",
            "ALTER TABLE pipelines_runner ADD COLUMN is_draining BIGINT",
        ])
}

extension Connection {
    // MARK: Caches

    /// The entry with the very key, in the first scope that has it; else the newest that begins like one of the
    /// prefixes, scope by scope.
    func cache(_ query: CacheQuery, project: String, in scope: CacheScope) throws -> CacheFound {
        var found = CacheFound()
        for name in scope.reads {
            let row = try row(
                """
                SELECT * FROM pipelines_cache WHERE project = \(project) AND repository = \(scope.repository)
                    AND scope = \(name) AND cache_key = \(query.key)
                """)
            if let row {
                (found.entry, found.is_exact) = (try CacheEntry(row: row), true)
                return found
            }
        }
        for name in scope.reads {
            for prefix in query.restore {
                let row = try row(
                    """
                    SELECT * FROM pipelines_cache WHERE project = \(project) AND repository = \(scope.repository)
                        AND scope = \(name) AND substr(cache_key, 1, \(prefix.unicodeScalars.count)) = \(prefix)
                    ORDER BY created_at DESC, id DESC LIMIT 1
                    """)
                if let row {
                    found.entry = try CacheEntry(row: row)
                    return found
                }
            }
        }
        return found
    }

    /// Keeps a new entry; false when one with this key is there, which stays as it is.
    func insert(_ entry: CacheEntry) throws -> Bool {
        let known: String? = try value(
            """
            SELECT id FROM pipelines_cache WHERE project = \(entry.project) AND repository = \(entry.repository)
                AND scope = \(entry.scope) AND cache_key = \(entry.key)
            """)
        guard known == nil else { return false }
        try run(
            """
            INSERT INTO pipelines_cache (id, project, repository, scope, cache_key, digest, size_bytes, created_at, used_at)
            VALUES (\(entry.id), \(entry.project), \(entry.repository), \(entry.scope), \(entry.key), \(entry.digest),
                \(entry.size_bytes), \(entry.created_at.microseconds), \(entry.used_at.microseconds))
            """)
        return true
    }

    func useCache(_ id: String, at now: Timestamp) throws {
        try run("UPDATE pipelines_cache SET used_at = \(now.microseconds) WHERE id = \(id)")
    }

    /// Last used first.
    func caches(_ query: CacheListQuery) throws -> [CacheEntry] {
        var conditions: [Statement] = ["project = \(query.project)"]
        if let scope = query.scope { conditions.append("scope = \(scope)") }
        if let prefix = query.prefix {
            conditions.append("substr(cache_key, 1, \(prefix.unicodeScalars.count)) = \(prefix)")
        }
        return try rows(
            """
            SELECT * FROM pipelines_cache WHERE \(conditions.joined(separator: " AND "))
            ORDER BY used_at DESC, id DESC LIMIT 1000
            """
        ).map(CacheEntry.init(row:))
    }

    func cache(id: String, project: String) throws -> CacheEntry? {
        try row("SELECT * FROM pipelines_cache WHERE id = \(id) AND project = \(project)").map(CacheEntry.init(row:))
    }

    func deleteCache(_ id: String) throws { try run("DELETE FROM pipelines_cache WHERE id = \(id)") }

    /// Entries nobody has used since, and of projects that have too much those that were not used for longest.
    func cachesToEvict(before: Timestamp, projectBytes: Int64, limit: Int) throws -> [CacheEntry] {
        var doomed = try rows(
            "SELECT * FROM pipelines_cache WHERE used_at < \(before.microseconds) ORDER BY used_at LIMIT \(limit)"
        ).map(CacheEntry.init(row:))
        let full = try rows(
            "SELECT project, sum(size_bytes) FROM pipelines_cache GROUP BY project HAVING sum(size_bytes) > \(projectBytes)"
        ).map { row -> (String, Int64) in (try row.get(0), try row.get(1)) }
        for (project, size) in full {
            var excess = size - projectBytes
            for row in try rows(
                "SELECT * FROM pipelines_cache WHERE project = \(project) ORDER BY used_at, id LIMIT \(limit)")
            {
                guard excess > 0 else { break }
                let entry = try CacheEntry(row: row)
                excess -= entry.size_bytes
                if !doomed.contains(where: { $0.id == entry.id }) { doomed.append(entry) }
            }
        }
        return doomed
    }

    // MARK: Artifacts

    /// Artifacts whose time is over, of runs that have ended.
    func expiredArtifacts(at now: Timestamp, limit: Int) throws -> [Artifact] {
        try rows(
            """
            SELECT artifact.* FROM pipelines_artifact artifact JOIN pipelines_run run ON run.id = artifact.run
            WHERE artifact.expires_at <= \(now.microseconds) AND run.finished_at IS NOT NULL
            ORDER BY artifact.expires_at LIMIT \(limit)
            """
        ).map(Artifact.init(row:))
    }

    func delete(_ artifact: Artifact) throws {
        try run(
            """
            DELETE FROM pipelines_artifact WHERE run = \(artifact.run) AND stage = \(artifact.stage)
                AND job = \(artifact.job) AND name = \(artifact.name)
            """)
    }

    func expire(_ artifact: Artifact, at moment: Timestamp?) throws {
        try run(
            """
            UPDATE pipelines_artifact SET expires_at = \((moment?.microseconds).sqlValue)
            WHERE run = \(artifact.run) AND stage = \(artifact.stage) AND job = \(artifact.job)
                AND name = \(artifact.name)
            """)
    }

    /// Where this room's rows name blobs: artifacts, caches, and orders of jobs that are yet to end.
    func pipelineDigests() throws -> [String] {
        try rows(
            """
            SELECT digest FROM pipelines_artifact UNION SELECT digest FROM pipelines_cache
            UNION SELECT orders FROM pipelines_job WHERE status IN ('queued', 'running', 'waiting')
                AND orders IS NOT NULL
            """
        ).map { try $0.get(0) }
    }

    // MARK: Steps and jobs

    /// Keeps what a step has told beside its outcome.
    func keepWords(of step: Step, _ annotations: [Annotation], of key: JobKey) throws {
        try run(
            """
            UPDATE pipelines_step SET conclusion = \((step.conclusion?.rawValue).sqlValue),
                annotations = \((annotations.isEmpty ? nil : annotations.json.text).sqlValue)
            WHERE run = \(key.run) AND stage = \(key.stage) AND job = \(key.job) AND position = \(step.index)
            """)
        guard let summary = step.summary, !summary.isEmpty else { return }
        try run(
            """
            INSERT INTO pipelines_summary (run, stage, job, position, text)
            VALUES (\(key.run), \(key.stage), \(key.job), \(step.index), \(summary))
            ON CONFLICT (run, stage, job, position) DO UPDATE SET text = excluded.text
            """)
    }

    /// Forgets what a step has told: it will be done again.
    func dropWords(of index: Int, of key: JobKey) throws {
        try run(
            """
            UPDATE pipelines_step SET conclusion = NULL, annotations = NULL
            WHERE run = \(key.run) AND stage = \(key.stage) AND job = \(key.job) AND position = \(index)
            """)
        try run(
            """
            DELETE FROM pipelines_summary WHERE run = \(key.run) AND stage = \(key.stage) AND job = \(key.job)
                AND position = \(index)
            """)
    }

    func keepEnd(_ report: JobReport, of key: JobKey) throws {
        try run(
            """
            UPDATE pipelines_job SET coverage = \((report.coverage?.json.text).sqlValue),
                workspace = \(report.workspace.sqlValue)
            WHERE run = \(key.run) AND stage = \(key.stage) AND name = \(key.job)
            """)
    }

    /// Adds to the jobs of a run what only people read: summaries, annotations, coverage, the kept workspace.
    func addWords(to jobs: inout [Job], run id: String) throws {
        var summaries: [String: String] = [:]
        try each("SELECT stage, job, position, text FROM pipelines_summary WHERE run = \(id)") { row in
            let (stage, job, position): (String, String, Int) = (try row.get(0), try row.get(1), try row.get(2))
            summaries["\(stage)/\(job)/\(position)"] = try row.get(3)
        }
        var annotations: [String: [Annotation]] = [:]
        try each(
            """
            SELECT stage, job, annotations FROM pipelines_step WHERE run = \(id) AND annotations IS NOT NULL
            ORDER BY stage, job, position
            """
        ) { row in
            let (stage, job): (String, String) = (try row.get(0), try row.get(1))
            annotations["\(stage)/\(job)", default: []] += try row.value("annotations")
        }
        var more: [String: (tests: JSONValue?, coverage: JSONValue?, workspace: String?)] = [:]
        try each("SELECT stage, name, tests, coverage, workspace FROM pipelines_job WHERE run = \(id)") { row in
            let (stage, name): (String, String) = (try row.get(0), try row.get(1))
            more["\(stage)/\(name)"] = (
                try row.maybeJSON("tests"), try row.maybeJSON("coverage"), try row.get("workspace", as: String?.self)
            )
        }
        for index in jobs.indices {
            let key = jobs[index].key
            jobs[index].annotations = annotations[key] ?? []
            jobs[index].tests = try more[key]?.tests.map { try TestSummary(json: $0, at: ["tests"]) }
            jobs[index].coverage = try more[key]?.coverage.map { try Coverage(json: $0, at: ["coverage"]) }
            jobs[index].workspace = more[key]?.workspace
            for step in jobs[index].steps.indices {
                jobs[index].steps[step].summary = summaries["\(key)/\(jobs[index].steps[step].index)"]
            }
        }
    }

    // MARK: Runners

    func drain(_ runner: String) throws {
        try run("UPDATE pipelines_runner SET is_draining = 1 WHERE name = \(runner)")
    }

    func undrain(_ runner: String) throws {
        try run("UPDATE pipelines_runner SET is_draining = NULL WHERE name = \(runner)")
    }

    func isDraining(_ runner: String) throws -> Bool {
        try value("SELECT coalesce(is_draining, 0) FROM pipelines_runner WHERE name = \(runner)") ?? false
    }
}

extension CacheEntry {
    init(row: Row) throws {
        self.init()
        id = try row.get("id")
        project = try row.get("project")
        repository = try row.get("repository")
        scope = try row.get("scope")
        key = try row.get("cache_key")
        digest = try row.get("digest")
        size_bytes = try row.get("size_bytes")
        created_at = try row.time("created_at")
        used_at = try row.time("used_at")
    }
}
