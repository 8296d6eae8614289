import API
import Foundation
import Kernel
import Manifests
import SQL

/// Handlers of `Runners.*`.
struct RunnerRoutes: Sendable {
    let leases: Leases

    func add(to routes: inout Routes) {
        let leases = leases
        routes.on(Runners.hello) { input, call in try await leases.hello(input, call) }
        routes.on(Runners.lease) { input, call in try await leases.lease(input, call) }
        routes.on(Runners.renew) { input, call in try await leases.renew(input, call) }
        routes.on(Runners.stepStarted) { input, call in try await leases.stepStarted(input, call) }
        routes.on(Runners.stepFinished) { input, call in try await leases.stepFinished(input, call) }
        routes.on(Runners.jobsFinished) { input, call in try await leases.jobsFinished(input, call) }
        leases.addMore(to: &routes)
        routes.on(Runners.idToken) { input, call in try await leases.secrets.token(input, call) }
        routes.on(Runners.list) { _, _ in ItemList(try await leases.context.store.read { try $0.runners() }) }
    }
}

/// Handlers of `Runs.*`.
struct RunRoutes: Sendable {
    let context: DomainContext
    let logs: LogBook
    let git: Git
    let repositories: String
    private var store: Store { context.store }

    func add(to routes: inout Routes) {
        let me = self
        routes.on(Runs.start) { input, call in try await me.start(input, call) }
        routes.on(Runs.list) { input, _ in try await me.list(input) }
        routes.on(Runs.get) { input, _ in
            let stored = try await me.find(input)
            return try await me.whole(stored)
        }
        routes.on(Runs.cancel) { input, call in try await me.cancel(input, call) }
        routes.on(Runs.artifacts) { input, _ in
            let stored = try await me.find(input)
            return ItemList(try await me.store.read { try $0.artifacts(run: stored.run.id) })
        }
        routes.on(Runs.log) { input, _ in try await me.log(input) }
        routes.on(Runs.searchLog) { input, _ in try await me.search(input) }
    }

    // MARK: Start

    private func start(_ input: RunInput, _ call: Call) async throws -> Run {
        let reference = Reference<PipelineKind>(project: input.project, name: input.pipeline)
        guard let pipeline = try await store.read({ try $0.resource(PipelineKind.self, reference) }) else {
            throw Problem.notFound("Pipeline", input.pipeline, project: input.project, list: "get pipelines")
        }
        var request = RunRequest(
            project: input.project, pipeline: input.pipeline, spec: pipeline.spec, trigger: Trigger(),
            parameters: try Parameters.read(input.parameters, for: pipeline.spec))
        request.trigger.type = call.actor.hasPrefix("system:") ? .api : .manual
        request.trigger.actor = call.actor
        try request.trigger.take(input)
        request.trigger.labels = input.labels
        try await findCommit(for: &request, wanted: input.commit)
        let id = context.ids.next("run")
        let final = request
        let runCall = Call(actor: call.actor, correlation: id, permission: call.permission, project: call.project)
        return try await whole(try await store.change(runCall) { try $0.lay(final, id: id) })
    }

    /// The commit that is wanted, or the head of the default branch.
    private func findCommit(for request: inout RunRequest, wanted: String?) async throws {
        guard let name = request.spec.repository else {
            if let wanted {
                throw Problem(
                    "run.no-repository", status: 422,
                    "pipeline \"\(request.pipeline)\" has no repository to take \"\(wanted)\" from",
                    hint: "Leave the commit out, or give the pipeline a repository: `repository: NAME`.")
            }
            return
        }
        let reference = Reference<RepositoryKind>(project: request.project, name: name)
        guard let repository = try await store.read({ try $0.resource(RepositoryKind.self, reference) }) else {
            throw Problem.notFound("Repository", name, project: request.project, list: "get repositories")
        }
        let place = Git.place(of: reference, path: repository.spec.path, hosted: repositories)
        let branch = "refs/heads/\(repository.spec.default_branch)"
        request.repository = name
        guard let commit = try await git.resolve(wanted ?? branch, in: place) else {
            if wanted == nil { return }
            throw Problem(
                "commit.not-found", status: 404,
                "no commit, branch or tag \"\(wanted ?? "")\" in repository \"\(name)\"",
                hint: "Push it first.")
        }
        let facts = try await git.facts(of: commit, in: place)
        (request.commit, request.committedAt) = (commit, facts.committedAt)
        request.trigger.message = facts.message
        // A stranger's commit does not become ours by being asked for.
        if wanted != nil { request.trigger.is_trusted = try await git.isOurs(commit, in: place) }
        request.trigger.ref = wanted == nil ? branch : try await git.fullName(of: wanted ?? "", in: place)
    }

    // MARK: Look

    func find(_ input: RunName) async throws -> StoredRun {
        guard let found = try await store.read({ try $0.run(named: input.run, project: input.project) }) else {
            throw Problem.notFound("Run", input.run, project: input.project, list: "runs")
        }
        return found
    }

    private func whole(_ stored: StoredRun) async throws -> Run {
        let id = stored.run.id
        return try await store.read { sql in
            guard var run = try sql.run(id: id)?.run else { return stored.run }
            run.jobs = try sql.jobs(run: id).map(\.job)
            run.gates = try sql.gateViews(of: run)
            try sql.addWords(to: &run.jobs, run: id)
            return run
        }
    }

    private func list(_ query: RunQuery) async throws -> ItemList<Run> {
        try await store.read { sql in
            var runs = try sql.runs(query).map(\.run)
            if query.jobs {
                let jobs = try sql.jobs(runs: runs.map(\.id))
                for index in runs.indices { runs[index].jobs = jobs[runs[index].id] ?? [] }
            }
            return ItemList(runs, next: runs.count == query.limit ? runs.last?.id : nil)
        }
    }

    private func cancel(_ input: RunName, _ call: Call) async throws -> Run {
        let found = try await find(input)
        let runCall = Call(
            actor: call.actor, correlation: found.run.id, permission: call.permission, project: call.project)
        try await store.change(runCall) { change in
            guard let stored = try change.sql.run(id: found.run.id) else { return }
            // Said twice, it means what cleans up as well.
            if stored.stopping != nil { return try change.halt(stored, because: "cancelled again by \(call.actor)") }
            try change.stop(stored, as: .cancelled, because: "cancelled by \(call.actor)")
        }
        return try await whole(found)
    }

    /// The job that "stage/job", or the stage alone, means.
    static func job(_ name: String, of run: String, in sql: Connection) throws -> JobKey {
        if let key = JobKey(topic: "\(run)/\(name)"), try sql.glance(key) != nil { return key }
        let jobs = try sql.glance(run: run)
        let found = jobs.filter { $0.job.key == name || $0.job.stage == name }
        guard let first = found.first else {
            throw Problem(
                "job.not-found", status: 404, "no job \"\(name)\" in this run",
                hint: suggestion(for: name, among: jobs.map(\.job.key), called: "job"))
        }
        guard found.count == 1 else {
            throw Problem(
                "job.ambiguous", status: 422, "stage \"\(name)\" has \(found.count) jobs",
                hint: "Name one: \(found.map(\.job.key).joined(separator: ", ")).")
        }
        return first.key
    }
}
