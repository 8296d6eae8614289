import API
import Foundation
import Kernel
import Manifests
import SQL

/// Handlers of `Pulls.*`, `Triggers.*` and `Repositories.*`.
struct PullRoutes: Sendable {
    let context: DomainContext
    let git: Git
    let repositories: String
    private var store: Store { context.store }

    func add(to routes: inout Routes) {
        let me = self
        routes.on(Pulls.list) { input, _ in
            let repository = try await me.repository(input.project, input.repository).reference
            return ItemList(
                try await me.store.read { try $0.pulls(of: repository, state: input.state, limit: input.limit) })
        }
        routes.on(Pulls.get) { input, _ in try await me.find(input).pull }
        routes.on(Pulls.merge) { input, call in try await me.merge(input, call) }
        routes.on(Pulls.close) { input, call in
            let (repository, pull) = try await me.find(input)
            try me.demand(pull, in: repository)
            return try await me.end(pull, of: repository, as: .closed, commit: nil, call)
        }
        routes.on(Triggers.list) { input, _ in try await me.triggers(input) }
        routes.on(Repositories.statuses) { input, _ in try await me.statuses(input) }
    }

    // MARK: Finding

    private func repository(_ project: String, _ name: String) async throws -> TypedResource<RepositoryKind> {
        let reference = Reference<RepositoryKind>(project: project, name: name)
        guard let found = try await store.read({ try $0.resource(RepositoryKind.self, reference) }) else {
            throw Problem.notFound("Repository", name, project: project, list: "get repositories")
        }
        return found
    }

    private func find(
        _ input: PullName
    ) async throws -> (repository: TypedResource<RepositoryKind>, pull: PullRequest) {
        let repository = try await repository(input.project, input.repository)
        let pull = try await store.read { try $0.pull(input.number, of: repository.reference) }
        guard let pull else {
            throw Problem(
                "pull.not-found", status: 404,
                "no pull request \(input.number) in repository \"\(input.repository)\"",
                hint: "List them with: vagus pulls list \(input.repository)")
        }
        return (repository, pull)
    }

    private func demand(_ pull: PullRequest, in repository: TypedResource<RepositoryKind>) throws(Problem) {
        guard repository.spec.remote == nil, repository.spec.path == nil else {
            throw Problem(
                "pull.elsewhere", status: 409, "pull requests of this repository are kept elsewhere",
                hint: pull.url.map { "Go to \($0)." } ?? "Merge it there.")
        }
        guard pull.state == .open else {
            throw Problem(
                "pull.ended", status: 409, "pull request \(pull.number) is \(pull.state.rawValue) already")
        }
    }

    // MARK: Merging

    private func merge(_ input: MergeInput, _ call: Call) async throws -> PullRequest {
        var name = PullName()
        (name.project, name.repository, name.number) = (input.project, input.repository, input.number)
        let (repository, pull) = try await find(name)
        try demand(pull, in: repository)
        if let head = input.head, head != pull.head_commit {
            throw Problem(
                "pull.moved", status: 409, "the branch has moved to \(pull.head_commit.prefix(12))",
                hint: "Look at it again, then merge that head.")
        }
        let place = Git.place(of: repository.reference, path: nil, hosted: repositories)
        guard let base = try await git.resolve(pull.base_ref, in: place) else {
            throw Problem("pull.no-base", status: 409, "there is no branch \"\(pull.base_ref)\" any more")
        }
        let commit = try await candidate(input, pull, base, place, call)
        do {
            try await git.update(pull.base_ref, to: commit, from: base, in: place)
        } catch {
            throw Problem(
                "pull.raced", status: 409, "\"\(pull.base_ref)\" has moved meanwhile", hint: "Merge again.")
        }
        let merged = try await end(pull, of: repository, as: .merged, commit: commit, call)
        // The base branch has moved: a push like any other.
        store.bells.ring([RepositoryKind.name])
        return merged
    }

    /// The commit that the base branch is to have.
    private func candidate(
        _ input: MergeInput, _ pull: PullRequest, _ base: String, _ place: String, _ call: Call
    ) async throws -> String {
        if input.method == .fast_forward {
            guard try await git.isMerged(base, into: pull.head_commit, in: place) else {
                throw Problem(
                    "pull.not-forward", status: 409, "\"\(pull.base_ref)\" has commits that the branch has not",
                    hint: "Rebase the branch and push it, or merge with --method merge.")
            }
            return pull.head_commit
        }
        let (code, tree) = try await git.attempt(
            ["merge-tree", "--write-tree", "--no-messages", base, pull.head_commit], in: place)
        guard code == 0 else {
            throw Problem(
                "pull.conflict", status: 409, "the branch conflicts with \"\(pull.base_ref)\"",
                hint: "Merge \(Refs.branch(pull.base_ref) ?? pull.base_ref) into the branch, and push it.")
        }
        let branch = Refs.branch(pull.head_ref) ?? pull.head_ref
        let message = input.message ?? "Merge pull request #\(pull.number) from \(branch)\n\n\(pull.title)"
        let seconds = context.time.now.microseconds / 1_000_000
        let who = call.actor.filter { !"<>\n".contains($0) }
        var identity: [String: String] = [:]
        for role in ["AUTHOR", "COMMITTER"] {
            identity["GIT_\(role)_NAME"] = who
            identity["GIT_\(role)_EMAIL"] = "\(who.split(separator: ":").last ?? "vagus")@vagus.invalid"
            identity["GIT_\(role)_DATE"] = "\(seconds) +0000"
        }
        let hash = String(tree.prefix { !$0.isWhitespace })
        let (made, commit) = try await git.attempt(
            ["commit-tree", hash, "-p", base, "-p", pull.head_commit, "-m", message], in: place, adding: identity)
        guard made == 0 else {
            throw Problem("git.failed", status: 502, "could not make the merge commit", detail: commit)
        }
        return String(commit.prefix { !$0.isWhitespace })
    }

    private func end(
        _ pull: PullRequest, of repository: TypedResource<RepositoryKind>, as state: PullRequest.State,
        commit: String?, _ call: Call
    ) async throws -> PullRequest {
        let ids = context.ids
        return try await store.change(call) { change in
            // Killed before this, the next push that is seen to bring its head into its base says the same.
            guard var now = try change.sql.pull(pull.number, of: repository.reference), now.state == .open else {
                return try change.sql.pull(pull.number, of: repository.reference) ?? pull
            }
            (now.state, now.merged_commit) = (state, commit)
            try change.note(PullNews(pull: now, action: .closed), of: repository.reference, ids: ids)
            return now
        }
    }

    // MARK: Looking

    private func triggers(_ input: TriggerQuery) async throws -> ItemList<TriggerInfo> {
        let reference = Reference<PipelineKind>(project: input.project, name: input.pipeline)
        let now = context.time.now
        return try await store.read { sql in
            guard let pipeline = try sql.resource(PipelineKind.self, reference) else {
                throw Problem.notFound("Pipeline", input.pipeline, project: input.project, list: "get pipelines")
            }
            let stored = try sql.triggers(project: input.project, pipeline: input.pipeline)
            var items: [TriggerInfo] = []
            for (position, trigger) in pipeline.spec.triggers.enumerated() {
                var info = TriggerInfo()
                (info.type, info.spec) = (trigger.type, trigger.json)
                info.last_at = stored.first { $0.position == position }?.lastAt
                if let schedule = trigger.schedule.flatMap({ try? Schedule($0) }) {  // was read when it was put
                    var moment = now
                    while info.next.count < input.times, let next = schedule.next(after: moment) {
                        info.next.append(next)
                        moment = next
                    }
                }
                items.append(info)
            }
            return ItemList(items)
        }
    }

    private func statuses(_ input: StatusQuery) async throws -> ItemList<CommitStatus> {
        let repository = try await repository(input.project, input.name)
        let place = Git.place(of: repository.reference, path: repository.spec.path, hosted: repositories)
        let name = input.commit.isEmpty ? "refs/heads/\(repository.spec.default_branch)" : input.commit
        guard let commit = try await git.resolve(name, in: place) else {
            throw Problem(
                "commit.not-found", status: 404, "no commit, branch or tag \"\(name)\" in this repository",
                hint: "Push it first.")
        }
        return ItemList(
            try await store.read { sql in
                try sql.newestRuns(of: repository.reference, commit: commit).map(CommitStatus.init(of:))
            })
    }
}

extension CommitStatus {
    init(of run: Run) {
        self.init()
        (commit, pipeline, self.run, number) = (run.commit ?? "", run.pipeline, run.id, run.number)
        changed_at = run.finished_at ?? run.started_at ?? run.created_at
        switch run.status {
        case .queued, .running, .waiting: (state, description) = (.pending, "is \(run.status.rawValue)")
        case .succeeded, .skipped: (state, description) = (.success, run.status.rawValue)
        case .failed: (state, description) = (.failure, run.reason ?? "failed")
        case .cancelled, .superseded: (state, description) = (.error, run.reason ?? run.status.rawValue)
        }
        description = String(description.prefix(140))
    }
}

extension Connection {
    /// The newest run of each pipeline on a commit.
    func newestRuns(of repository: Reference<RepositoryKind>, commit: String) throws -> [Run] {
        try rows(
            """
            SELECT * FROM pipelines_run AS r WHERE project = \(repository.project)
                AND repository = \(repository.name) AND commit_id = \(commit)
                AND number = (SELECT max(number) FROM pipelines_run AS o WHERE o.project = r.project
                    AND o.pipeline = r.pipeline AND o.repository = r.repository AND o.commit_id = r.commit_id)
            ORDER BY pipeline
            """
        ).map(Run.init(row:))
    }
}
