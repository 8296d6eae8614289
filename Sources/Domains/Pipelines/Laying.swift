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
        let stored = StoredRun(run: run, spec: request.spec)
        try sql.insert(stored)
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
        var position = 0
        for stage in stored.spec.stages {
            for (name, spec) in stage.allJobs {
                var job = Job()
                (job.stage, job.name, job.type) = (stage.name, name, stage.type)
                job.needs = stored.spec.needs(of: stage.name)
                job.reason = job.needs.isEmpty ? nil : "waits for \(Words.stages(job.needs))"
                for (index, step) in spec.steps.enumerated() {
                    var laid = Step()
                    (laid.index, laid.id, laid.name, laid.verb) = (index, step.id, step.displayName, step.verb.name)
                    job.steps.append(laid)
                }
                try sql.insert(
                    StoredJob(
                        run: stored.run.id, job: job, position: position, isOnServer: spec.isOnServer,
                        labels: spec.runs_on.labels, epoch: 0, losses: 0, retries: 0))
                position += 1
            }
        }
    }

    /// Keeps the pipeline's own status in step with its newest run.
    func noteStatus(of run: Run) throws {
        let reference = Reference<PipelineKind>(project: run.project, name: run.pipeline)
        guard try sql.resource(PipelineKind.self, reference) != nil else { return }
        let last = try sql.nextNumber(project: run.project, pipeline: run.pipeline) - 1
        guard run.number == last else { return }
        var status = PipelineStatus()
        (status.runs, status.last_run, status.last_status) = (last, run.id, run.status)
        try setStatus(status, of: reference)
    }

    /// Marks a run to end early; RunLoop sees to the rest.
    func stop(_ stored: StoredRun, as status: RunStatus, because reason: String) throws {
        guard stored.stopping == nil, !stored.run.status.hasEnded else { return }
        var stopped = stored
        (stopped.stopping, stopped.stoppingReason, stopped.stoppingAt) = (status, reason, now)
        try sql.update(stopped)
        try tell("run.cancel-requested", about: stored.subject, ["reason": .string(reason)])
    }
}

extension JobSpec {
    /// Whether the server itself carries its steps out.
    var isOnServer: Bool { steps.first.map { StepVerbs.serverSide.contains($0.verb.name) } ?? false }
}

/// Phrases that several files say.
enum Words {
    static func stages(_ names: [String]) -> String {
        "stage" + (names.count == 1 ? " " : "s ") + names.map { "\"\($0)\"" }.joined(separator: ", ")
    }
}
