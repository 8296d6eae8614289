import API
import Kernel
import Manifests
import SQL

/// What a run is laid down from.
struct RunRequest: Sendable {
    var project: String
    var pipeline: String
    var spec: PipelineSpec
    var trigger: Trigger
    var parameters: Ordered<JSONValue> = [:]
    var repository: String?
    var commit: String?
    var committedAt: Timestamp?
}

extension Change {
    /// Lays a run down whole, its jobs and steps with it, and tells `run.queued`.
    func lay(_ request: RunRequest, id: String) throws -> StoredRun {
        let open = try sql.openRunCount(project: request.project, pipeline: request.pipeline)
        guard open < PipelineLimits.openRuns else {
            throw Problem(
                "run.limit", status: 429, "\(open) runs of \"\(request.pipeline)\" are open already",
                hint: "Wait, or cancel some: vagus cancel RUN.")
        }
        var run = Run()
        run.id = id
        run.project = request.project
        run.pipeline = request.pipeline
        run.number = try sql.nextNumber(project: request.project, pipeline: request.pipeline)
        run.trigger = request.trigger
        run.repository = request.repository
        run.commit = request.commit
        run.committed_at = request.committedAt
        run.parameters = request.parameters
        run.created_at = now
        let calls = try CallFinder(project: run.project, sql: sql).calls(of: request.spec, named: run.pipeline)
        run.uses = calls.map(\.told)
        let stored = StoredRun(run: run, plan: try RunPlan(request.spec, calls: calls))
        try sql.insert(stored, spec: request.spec)
        try layJobs(of: stored)
        try tell(
            "run.queued", about: stored.subject,
            [
                "pipeline": .string(run.pipeline), "number": .integer(Int64(run.number)), "trigger": run.trigger.json,
                "commit": run.commit.map(JSONValue.string) ?? .null, "parameters": .object(run.parameters),
            ])
        try noteStatus(of: run)
        return stored
    }

    private func layJobs(of stored: StoredRun) throws {
        var jobs: [StoredJob] = []
        for stage in stored.plan.stages {
            for job in stage.jobs {
                let cells = try job.spec.matrix.flatMap { $0.isDynamic ? nil : try $0.cells() }
                jobs += StoredJob.laid(of: stored, stage, job, cells: cells)
            }
        }
        guard jobs.count <= PipelineLimits.jobs else {
            throw Problem(
                "run.jobs", status: 422, "a run has at most \(PipelineLimits.jobs) jobs, not \(jobs.count)",
                hint: "Split the pipeline, or its matrices.")
        }
        for job in jobs { try sql.insert(job) }
        try claimEarly(jobs, of: stored)
    }

    /// Stands in those lanes whose names are known already: the order in a lane is that in which runs were made.
    func claimEarly(_ jobs: [StoredJob], of stored: StoredRun) throws {
        guard stored.plan.hasLanes else { return }
        var facts = LaneFacts()
        facts.environments = try sql.environmentLanes(of: stored)
        let state = RunState(stored: stored, jobs: jobs, lanes: facts, bornAt: now)
        for job in jobs { for claim in Lanes.early(by: job, in: state) { try sql.keep(claim, of: stored) } }
    }

    /// Keeps the pipeline's own status in step with its newest run.
    func noteStatus(of run: Run) throws {
        let reference = Reference<PipelineKind>(project: run.project, name: run.pipeline)
        let last = try sql.nextNumber(project: run.project, pipeline: run.pipeline) - 1
        guard run.number == last, try sql.resource(PipelineKind.self, reference) != nil else { return }
        var status = PipelineStatus()
        (status.runs, status.last_run, status.last_status) = (last, run.id, run.status)
        try setStatus(status, of: reference)
    }

    /// Marks a run to end early; RunLoop sees to the rest.
    func stop(_ stored: StoredRun, as status: RunStatus, because reason: String, by rival: Rival? = nil) throws {
        guard stored.stopping == nil, !stored.run.status.hasEnded else { return }
        var stopped = stored
        (stopped.stopping, stopped.stoppingReason, stopped.stoppingAt) = (status, reason, now)
        stopped.run.superseded_by = rival?.run
        try sql.update(stopped)
        try tell("run.cancel-requested", about: stored.subject, ["reason": .string(reason)])
    }
}

extension Change {
    /// Tells all that is left of a run to stop, what would outlive its cancellation too.
    func halt(_ stored: StoredRun, because reason: String) throws {
        guard !stored.run.status.hasEnded else { return }
        for job in try sql.glance(run: stored.run.id) where !job.job.status.hasEnded && job.stop == nil {
            if let (stage, _) = stored.plan.find(job.key), stored.plan.stages[stage].called != nil { continue }
            var stopped = job
            stopped.stop = StoredJob.Stop(status: .cancelled, reason: reason, at: now)
            try update(stopped)
            try tellJob("job.stopping", stopped)
        }
    }
}

/// Finds the pipelines that stages use, and those that theirs use.
private struct CallFinder {
    let project: String
    let sql: Connection

    func calls(of spec: PipelineSpec, named name: String) throws -> [RunPlan.Call] {
        var found: [RunPlan.Call] = []
        try add(spec, prefix: "", trail: [name], to: &found)
        return found
    }

    private func add(_ spec: PipelineSpec, prefix: String, trail: [String], to found: inout [RunPlan.Call]) throws {
        for stage in spec.allStages {
            guard let use = stage.uses else { continue }
            if trail.contains(use.pipeline) {
                throw Problem(
                    "pipeline.circle", status: 422,
                    "pipelines use each other: \((trail + [use.pipeline]).joined(separator: " → "))",
                    hint: "Take one of these uses away.")
            }
            guard trail.count <= PipelineLimits.callDepth, found.count < PipelineLimits.calls else {
                throw Problem(
                    "pipeline.depth", status: 422,
                    "pipelines use pipelines at most \(PipelineLimits.callDepth) deep, \(PipelineLimits.calls) in all",
                    hint: "It goes: \((trail + [use.pipeline]).joined(separator: " → ")).")
            }
            let called = try read(use)
            found.append(
                RunPlan.Call(
                    stage: prefix + stage.name, pipeline: use.pipeline, digest: called.digest, spec: called))
            try add(called, prefix: "\(prefix)\(stage.name).", trail: trail + [use.pipeline], to: &found)
        }
    }

    private func read(_ use: UseSpec) throws -> PipelineSpec {
        guard let found = try sql.resource(PipelineKind.self, Reference(project: project, name: use.pipeline)) else {
            throw Problem.notFound("Pipeline", use.pipeline, project: project, list: "get pipelines")
        }
        if let pin = use.digest, pin != found.spec.digest {
            throw Problem(
                "pipeline.digest", status: 409, "pipeline \"\(use.pipeline)\" is not the one that was pinned",
                hint:
                    "It is \(found.spec.digest) now, and \(pin) is asked for: look at what changed, then move the pin.")
        }
        return found.spec
    }
}

extension StoredJob {
    /// The rows of a job: one, or one for each cell of its matrix, if that is known.
    static func laid(
        of stored: StoredRun, _ stage: RunPlan.Stage, _ job: RunPlan.Job, cells: [Ordered<JSONValue>]?
    ) -> [StoredJob] {
        guard let cells, !cells.isEmpty else { return [laid(of: stored, stage, job, cell: nil)] }
        return cells.indices.map { laid(of: stored, stage, job, cell: ($0, cells[$0])) }
    }

    private static func laid(
        of stored: StoredRun, _ stage: RunPlan.Stage, _ job: RunPlan.Job,
        cell: (index: Int, values: Ordered<JSONValue>)?
    ) -> StoredJob {
        var laid = Job()
        (laid.stage, laid.type) = (stage.name, stage.spec.type)
        laid.name = cell.map { "\(job.name).\($0.index + 1)" } ?? job.name
        laid.matrix = cell?.values ?? [:]
        let needs = stage.needs + job.needs
        laid.needs = needs.map { need in need.job.map { "\(need.stage)/\($0)" } ?? need.stage }
        laid.reason = needs.isEmpty ? nil : "waits for \(needs.map(\.words).joined(separator: ", "))"
        if stage.isFinally { laid.reason = "waits for the end of all other stages" }
        for (index, step) in job.spec.steps.enumerated() {
            var each = Step()
            (each.index, each.id, each.name, each.verb) = (index, step.id, step.displayName, step.verb.name)
            laid.steps.append(each)
        }
        return StoredJob(
            run: stored.run.id, job: laid, position: job.number * (MatrixSpec.cellLimit * 4) + (cell?.index ?? 0),
            isOnServer: job.spec.isOnServer || stage.called != nil, labels: job.spec.runs_on.labels, epoch: 0,
            losses: 0,
            retries: 0)
    }
}

extension JobSpec {
    /// Whether the server itself carries its steps out.
    var isOnServer: Bool { steps.first.map { StepVerbs.serverSide.contains($0.verb.name) } ?? false }
}
