import API
import Kernel
import Manifests
import SQL

/// What a push means for pull requests of a hosted repository.
///
/// `git push -o pull_request.create` opens one for the branch; `-o pull_request.target=BRANCH` says where it wants to go (the
/// default branch when absent), `-o pull_request.title=TEXT` what it is called. A later push to the branch updates it; one
/// that brings its head into its base has merged it; a deleted branch closes it.
extension Push {
    /// Pull requests that the push touches; none of a repository that lives elsewhere, whose forge tells of them.
    func pulls(_ commit: String, _ facts: CommitFacts) async throws -> [PullNews] {
        guard repository.spec.remote == nil else { return [] }
        let reference = repository.reference
        let open = try await context.store.read { try $0.pulls(of: reference, state: .open) }
        var news: [PullNews] = []
        for pull in open where pull.base_ref == change.name {
            guard try await git.isMerged(pull.head_commit, into: commit, in: place) else { continue }
            var merged = pull
            (merged.state, merged.merged_commit) = (.merged, commit)
            news.append(PullNews(pull: merged, action: .closed))
        }
        for pull in open where pull.head_ref == change.name {
            var moved = pull
            moved.head_commit = commit
            news.append(try await self.news(moved, .synchronize, facts))
        }
        if let wanted = try await wanted(commit, facts),
            !open.contains(where: { $0.head_ref == wanted.head_ref && $0.base_ref == wanted.base_ref })
        {
            news.append(try await self.news(wanted, .opened, facts))
        }
        return news
    }

    func pullsOfDeleted() async throws -> [PullNews] {
        guard repository.spec.remote == nil, change.new == nil else { return [] }
        let reference = repository.reference
        return try await context.store.read { try $0.pulls(of: reference, state: .open) }
            .filter { $0.head_ref == change.name || $0.base_ref == change.name }
            .map { pull in
                var closed = pull
                closed.state = .closed
                return PullNews(pull: closed, action: .closed)
            }
    }

    /// The pull request that the push options ask for; its number is given when it is recorded.
    private func wanted(_ commit: String, _ facts: CommitFacts) async throws -> PullRequest? {
        guard let note, note.option("pull_request.create") != nil else { return nil }
        let target = note.option("pull_request.target") ?? repository.spec.default_branch
        var pull = PullRequest()
        pull.base_ref = "refs/heads/\(target)"
        guard pull.base_ref != change.name, try await git.resolve(pull.base_ref, in: place) != nil else { return nil }
        (pull.repository, pull.head_ref, pull.head_commit) = (repository.reference.name, change.name, commit)
        pull.title = note.option("pull_request.title").flatMap { $0.isEmpty ? nil : $0 } ?? facts.message
        pull.author = note.user ?? facts.actor
        return pull
    }

    private func news(
        _ pull: PullRequest, _ action: PullRequestTrigger.Action, _ facts: CommitFacts
    ) async throws -> PullNews {
        var news = PullNews(pull: pull, action: action, committedAt: facts.committedAt, message: facts.message)
        news.changed = try await git.changed(since: pull.base_ref, of: pull.head_commit, in: place)
        return news
    }

    func record(_ news: PullNews, _ change: Change) throws {
        var news = news
        if news.action == .opened {
            news.pull.number = try change.sql.nextPullNumber(of: repository.reference)
            news.pull.created_at = change.now
        }
        try change.note(news, of: repository.reference, ids: context.ids)
    }
}
