import API
import Kernel
import Manifests
import SQL

/// Rows of runs, refs, artifacts and runners.
extension Connection {
    // MARK: Runs

    func run(id: String) throws -> StoredRun? {
        try row("SELECT * FROM pipelines_run WHERE id = \(id)").map(StoredRun.init(row:))
    }

    /// Finds a run by its id, by PIPELINE:NUMBER or by PIPELINE:latest.
    func run(named name: String, project: String) throws -> StoredRun? {
        guard let colon = name.lastIndex(of: ":") else {
            return try row("SELECT * FROM pipelines_run WHERE project = \(project) AND id = \(name)")
                .map(StoredRun.init(row:))
        }
        let pipeline = String(name[..<colon])
        let which = String(name[name.index(after: colon)...])
        if which == "latest" {
            return try row(
                """
                SELECT * FROM pipelines_run WHERE project = \(project) AND pipeline = \(pipeline)
                ORDER BY number DESC LIMIT 1
                """
            ).map(StoredRun.init(row:))
        }
        guard let number = Int64(which) else { return nil }
        return try row(
            "SELECT * FROM pipelines_run WHERE project = \(project) AND pipeline = \(pipeline) AND number = \(number)"
        ).map(StoredRun.init(row:))
    }

    func openRunIDs() throws -> [String] {
        try rows(
            "SELECT id FROM pipelines_run WHERE status IN ('queued', 'running', 'waiting') ORDER BY created_at, id"
        )
        .map { try $0.get(0) }
    }

    func openRuns(project: String, pipeline: String) throws -> [StoredRun] {
        try rows(
            """
            SELECT * FROM pipelines_run WHERE project = \(project) AND pipeline = \(pipeline)
                AND status IN ('queued', 'running', 'waiting') ORDER BY number
            """
        ).map(StoredRun.init(row:))
    }

    func openRunCount(project: String, pipeline: String) throws -> Int {
        try value(
            """
            SELECT count(*) FROM pipelines_run WHERE project = \(project) AND pipeline = \(pipeline)
                AND status IN ('queued', 'running', 'waiting')
            """) ?? 0
    }

    func runs(_ query: RunQuery) throws -> [StoredRun] {
        var conditions: [Statement] = ["project = \(query.project)"]
        if let pipeline = query.pipeline { conditions.append("pipeline = \(pipeline)") }
        if let status = query.status { conditions.append("status = \(status.rawValue)") }
        if let after = query.after, let last = try run(id: after) {
            let at = last.run.created_at.microseconds
            conditions.append("(created_at < \(at) OR (created_at = \(at) AND id < \(after)))")
        }
        return try rows(
            """
            SELECT * FROM pipelines_run WHERE \(conditions.joined(separator: " AND "))
            ORDER BY created_at DESC, id DESC LIMIT \(query.limit)
            """
        ).map(StoredRun.init(row:))
    }

    func nextNumber(project: String, pipeline: String) throws -> Int {
        let last: Int =
            try value(
                "SELECT coalesce(max(number), 0) FROM pipelines_run WHERE project = \(project) AND pipeline = \(pipeline)"
            )
            ?? 0
        return last + 1
    }

    func insert(_ stored: StoredRun) throws {
        let run = stored.run
        try self.run(
            """
            INSERT INTO pipelines_run (id, project, pipeline, number, status, reason, cause, repository, commit_id,
                committed_at, parameters, spec, created_at)
            VALUES (\(run.id), \(run.project), \(run.pipeline), \(run.number), \(run.status.rawValue),
                \(run.reason.sqlValue), \(run.trigger.json.text), \(run.repository.sqlValue), \(run.commit.sqlValue),
                \((run.committed_at?.microseconds).sqlValue), \(JSONValue.object(run.parameters).text),
                \(stored.spec.json.text), \(run.created_at.microseconds))
            """)
    }

    func update(_ stored: StoredRun) throws {
        let run = stored.run
        try self.run(
            """
            UPDATE pipelines_run SET status = \(run.status.rawValue), reason = \(run.reason.sqlValue),
                stopping = \((stored.stopping?.rawValue).sqlValue), stopping_reason = \(stored.stoppingReason.sqlValue),
                stopping_at = \((stored.stoppingAt?.microseconds).sqlValue),
                started_at = \((run.started_at?.microseconds).sqlValue),
                finished_at = \((run.finished_at?.microseconds).sqlValue)
            WHERE id = \(run.id)
            """)
    }

    // MARK: Refs

    func refs(project: String, repository: String) throws -> [String: String] {
        var found: [String: String] = [:]
        try each("SELECT name, commit_id FROM pipelines_ref WHERE project = \(project) AND repository = \(repository)")
        {
            found[try $0.get(0)] = try $0.get(1)
        }
        return found
    }

    /// Moves a ref, if it still points where the caller thinks it does; false otherwise.
    func moveRef(
        _ name: String, of repository: Reference<RepositoryKind>, from old: String?, to new: String?,
        _ facts: CommitFacts? = nil, at now: Timestamp
    ) throws -> Bool {
        let current: String? = try value(
            """
            SELECT commit_id FROM pipelines_ref WHERE project = \(repository.project)
                AND repository = \(repository.name) AND name = \(name)
            """)
        guard current == old else { return false }
        guard let new else {
            try run(
                """
                DELETE FROM pipelines_ref WHERE project = \(repository.project) AND repository = \(repository.name)
                    AND name = \(name)
                """)
            return true
        }
        try run(
            """
            INSERT INTO pipelines_ref (project, repository, name, commit_id, seen_at, committed_at, message)
            VALUES (\(repository.project), \(repository.name), \(name), \(new), \(now.microseconds),
                \((facts?.committedAt.microseconds).sqlValue), \((facts?.message).sqlValue))
            ON CONFLICT (project, repository, name) DO UPDATE SET commit_id = excluded.commit_id,
                seen_at = excluded.seen_at, committed_at = excluded.committed_at, message = excluded.message
            """)
        return true
    }

    func forgetRefs(project: String, repository: String) throws {
        try run("DELETE FROM pipelines_ref WHERE project = \(project) AND repository = \(repository)")
    }

    // MARK: Artifacts

    func artifacts(run: String) throws -> [Artifact] {
        try rows("SELECT * FROM pipelines_artifact WHERE run = \(run) ORDER BY created_at, stage, job, name")
            .map(Artifact.init(row:))
    }

    func keep(_ artifact: Artifact) throws {
        try run(
            """
            INSERT INTO pipelines_artifact (run, stage, job, name, digest, size_bytes, form, file_name, created_at)
            VALUES (\(artifact.run), \(artifact.stage), \(artifact.job), \(artifact.name), \(artifact.digest),
                \(artifact.size_bytes), \(artifact.form.rawValue), \(artifact.file_name),
                \(artifact.created_at.microseconds))
            ON CONFLICT (run, stage, job, name) DO UPDATE SET digest = excluded.digest,
                size_bytes = excluded.size_bytes, form = excluded.form, file_name = excluded.file_name,
                created_at = excluded.created_at
            """)
    }

    // MARK: Runners

    func runners() throws -> [RunnerInfo] {
        var jobs: [String: [String]] = [:]
        try each(
            "SELECT runner, run, stage, name FROM pipelines_job WHERE status = 'running' AND on_server = 0 ORDER BY run, position"
        ) {
            guard let runner: String = try $0.get(0, as: String?.self) else { return }
            let (run, stage, name): (String, String, String) = (try $0.get(1), try $0.get(2), try $0.get(3))
            jobs[runner, default: []].append("\(run)/\(stage)/\(name)")
        }
        return try rows("SELECT * FROM pipelines_runner ORDER BY name").map { row in
            var info = RunnerInfo()
            info.name = try row.get("name")
            info.labels = try row.value("labels")
            info.capacity = try row.get("capacity")
            info.version = try row.get("version")
            info.seen_at = try row.time("seen_at")
            info.jobs = jobs[info.name] ?? []
            (info.executors, info.cpu, info.memory) = try row.offer()
            info.is_draining = try row.get("is_draining", as: Bool?.self) ?? false
            return info
        }
    }

    /// The incarnation of a runner, as it last introduced itself, and its labels.
    func runner(_ name: String) throws -> (incarnation: String, labels: [String])? {
        try row("SELECT incarnation, labels FROM pipelines_runner WHERE name = \(name)").map {
            (try $0.get("incarnation"), try $0.value("labels"))
        }
    }

    func keep(_ hello: RunnerHello, at now: Timestamp) throws {
        try run(
            """
            INSERT INTO pipelines_runner (name, incarnation, labels, capacity, version, seen_at, executors, cpu, memory)
            VALUES (\(hello.name), \(hello.incarnation), \(hello.labels.json.text), \(hello.capacity), \(hello.version),
                \(now.microseconds), \(hello.executors.json.text), \((hello.cpu?.cpus).sqlValue),
                \((hello.memory?.bytes).sqlValue))
            ON CONFLICT (name) DO UPDATE SET incarnation = excluded.incarnation, labels = excluded.labels,
                capacity = excluded.capacity, version = excluded.version, seen_at = excluded.seen_at,
                executors = excluded.executors, cpu = excluded.cpu, memory = excluded.memory
            """)
    }

    func sawRunner(_ name: String, at now: Timestamp) throws {
        try run("UPDATE pipelines_runner SET seen_at = \(now.microseconds) WHERE name = \(name)")
    }
}

extension StoredRun {
    init(row: Row) throws {
        run = Run()
        run.id = try row.get("id")
        run.project = try row.get("project")
        run.pipeline = try row.get("pipeline")
        run.number = try row.get("number")
        run.status = try row.word("status")
        run.reason = try row.get("reason", as: String?.self)
        run.trigger = try row.value("cause")
        run.repository = try row.get("repository", as: String?.self)
        run.commit = try row.get("commit_id", as: String?.self)
        run.committed_at = try row.maybeTime("committed_at")
        run.parameters = try row.json("parameters").object ?? [:]
        run.created_at = try row.time("created_at")
        run.started_at = try row.maybeTime("started_at")
        run.finished_at = try row.maybeTime("finished_at")
        spec = try row.value("spec")
        stopping = try row.get("stopping", as: String?.self).flatMap(RunStatus.init(rawValue:))
        stoppingReason = try row.get("stopping_reason", as: String?.self)
        stoppingAt = try row.maybeTime("stopping_at")
    }
}

extension Artifact {
    init(row: Row) throws {
        self.init()
        run = try row.get("run")
        stage = try row.get("stage")
        job = try row.get("job")
        name = try row.get("name")
        digest = try row.get("digest")
        size_bytes = try row.get("size_bytes")
        form = try row.word("form")
        file_name = try row.get("file_name")
        created_at = try row.time("created_at")
        expires_at = try row.maybeTime("expires_at")
    }
}
