import API
import Blobs
import Kernel
import Manifests
import SQL

/// Rows of runs, refs, artifacts and runners.
extension Connection {
    // MARK: Runs

    /// All but the pipeline itself, which is long and rarely has to be read.
    private static let runColumns: Statement = """
        id, project, pipeline, number, status, reason, cause, repository, commit_id, committed_at, parameters, stopping,
        stopping_reason, stopping_at, created_at, started_at, finished_at, plan, superseded_by, undone
        """

    private func stored(_ row: Row) throws -> StoredRun {
        let run = try Run(row: row)
        var stored = StoredRun(run: run, plan: try plan(of: run.id, digest: try row.get("plan", as: String?.self)))
        stored.run.uses = stored.plan.calls.map(\.told)
        stored.stopping = try row.get("stopping", as: String?.self).flatMap(RunStatus.init(rawValue:))
        stored.stoppingReason = try row.get("stopping_reason", as: String?.self)
        stored.stoppingAt = try row.maybeTime("stopping_at")
        stored.undone = try row.maybeJSON("undone")
        return stored
    }

    /// The frozen pipeline of a run, prepared; read only when it is not at hand.
    private func plan(of run: String, digest: String?) throws -> RunPlan {
        if let digest, let plan = PlanShelf.shared[digest] { return plan }
        guard let row = try row("SELECT spec, calls FROM pipelines_run WHERE id = \(run)") else {
            throw Problem.notFound("Run", run, project: "", list: "runs")
        }
        let calls = try row.maybeJSON("calls")?.array ?? []
        let plan = try RunPlan(try row.value("spec"), calls: try calls.map { try RunPlan.Call(json: $0) })
        if let digest { PlanShelf.shared.keep(plan, as: digest) }
        return plan
    }

    func run(id: String) throws -> StoredRun? {
        try row("SELECT \(Self.runColumns) FROM pipelines_run WHERE id = \(id)").map(stored)
    }

    func project(ofRun id: String) throws -> String {
        try value("SELECT project FROM pipelines_run WHERE id = \(id)") ?? ""
    }

    /// Finds a run by its id, by PIPELINE:NUMBER or by PIPELINE:latest.
    func run(named name: String, project: String) throws -> StoredRun? {
        guard let colon = name.lastIndex(of: ":") else {
            return try row("SELECT \(Self.runColumns) FROM pipelines_run WHERE project = \(project) AND id = \(name)")
                .map(stored)
        }
        let pipeline = String(name[..<colon])
        let which = String(name[name.index(after: colon)...])
        if which == "latest" {
            return try row(
                """
                SELECT \(Self.runColumns) FROM pipelines_run WHERE project = \(project) AND pipeline = \(pipeline)
                ORDER BY number DESC LIMIT 1
                """
            ).map(stored)
        }
        guard let number = Int64(which) else { return nil }
        return try row(
            "SELECT \(Self.runColumns) FROM pipelines_run WHERE project = \(project) AND pipeline = \(pipeline) AND number = \(number)"
        ).map(stored)
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
            SELECT \(Self.runColumns) FROM pipelines_run WHERE project = \(project) AND pipeline = \(pipeline)
                AND status IN ('queued', 'running', 'waiting') ORDER BY number
            """
        ).map(stored)
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
            SELECT \(Self.runColumns) FROM pipelines_run WHERE \(conditions.joined(separator: " AND "))
            ORDER BY created_at DESC, id DESC LIMIT \(query.limit)
            """
        ).map(stored)
    }

    func nextNumber(project: String, pipeline: String) throws -> Int {
        let last: Int =
            try value(
                "SELECT coalesce(max(number), 0) FROM pipelines_run WHERE project = \(project) AND pipeline = \(pipeline)"
            )
            ?? 0
        return last + 1
    }

    /// - Parameter spec: The pipeline as written, without the stages of those that it uses.
    func insert(_ stored: StoredRun, spec: PipelineSpec) throws {
        let run = stored.run
        let (text, calls) = (spec.json.text, stored.plan.calls.map(\.json))
        let digest = Digest(of: Array((text + JSONValue.array(calls).text).utf8)).text
        PlanShelf.shared.keep(stored.plan, as: digest)
        try self.run(
            """
            INSERT INTO pipelines_run (id, project, pipeline, number, status, reason, cause, repository, commit_id,
                committed_at, parameters, spec, created_at, plan, calls)
            VALUES (\(run.id), \(run.project), \(run.pipeline), \(run.number), \(run.status.rawValue),
                \(run.reason.sqlValue), \(run.trigger.json.text), \(run.repository.sqlValue), \(run.commit.sqlValue),
                \((run.committed_at?.microseconds).sqlValue), \(JSONValue.object(run.parameters).text), \(text),
                \(run.created_at.microseconds), \(digest), \((calls.isEmpty ? nil : JSONValue.array(calls).text).sqlValue))
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
                finished_at = \((run.finished_at?.microseconds).sqlValue),
                superseded_by = \(run.superseded_by.sqlValue), undone = \((stored.undone?.text).sqlValue)
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
            (try $0.get("incarnation"), try $0.words("labels"))
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

extension Run {
    init(row: Row) throws {
        self.init()
        id = try row.get("id")
        project = try row.get("project")
        pipeline = try row.get("pipeline")
        number = try row.get("number")
        status = try row.word("status")
        reason = try row.get("reason", as: String?.self)
        trigger = try row.value("cause")
        repository = try row.get("repository", as: String?.self)
        commit = try row.get("commit_id", as: String?.self)
        committed_at = try row.maybeTime("committed_at")
        parameters = try row.map("parameters")
        created_at = try row.time("created_at")
        started_at = try row.maybeTime("started_at")
        finished_at = try row.maybeTime("finished_at")
        superseded_by = try row.get("superseded_by", as: String?.self)
    }
}

extension RunPlan.Call {
    var json: JSONValue {
        ["stage": .string(stage), "pipeline": .string(pipeline), "digest": .string(digest), "spec": spec.json]
    }

    init(json: JSONValue) throws {
        stage = json["stage"]?.string ?? ""
        pipeline = json["pipeline"]?.string ?? ""
        digest = json["digest"]?.string ?? ""
        spec = try PipelineSpec(json: json["spec"] ?? [:], at: ["calls", stage])
    }

    /// What the run tells of it.
    var told: CalledPipeline {
        var called = CalledPipeline()
        (called.stage, called.pipeline, called.digest) = (stage, pipeline, digest)
        return called
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
