import API
import Kernel
import Manifests
import SQL

/// Rows of pull requests.
extension Connection {
    func pull(_ number: Int, of repository: Reference<RepositoryKind>) throws -> PullRequest? {
        try row(
            """
            SELECT * FROM pipelines_pull WHERE project = \(repository.project) AND repository = \(repository.name)
                AND number = \(number)
            """
        ).map(PullRequest.init(row:))
    }

    func pulls(
        of repository: Reference<RepositoryKind>, state: PullRequest.State? = nil, limit: Int = 10_000
    ) throws -> [PullRequest] {
        let which: Statement = state.map { "AND state = \($0.rawValue)" } ?? ""
        return try rows(
            """
            SELECT * FROM pipelines_pull WHERE project = \(repository.project) AND repository = \(repository.name)
            \(which) ORDER BY number DESC LIMIT \(limit)
            """
        ).map(PullRequest.init(row:))
    }

    func nextPullNumber(of repository: Reference<RepositoryKind>) throws -> Int {
        let last: Int? = try value(
            """
            SELECT coalesce(max(number), 0) FROM pipelines_pull WHERE project = \(repository.project)
                AND repository = \(repository.name)
            """)
        return (last ?? 0) + 1
    }

    func keep(_ pull: PullRequest, of repository: Reference<RepositoryKind>) throws {
        try run(
            """
            INSERT INTO pipelines_pull (project, repository, number, title, author, state, head_ref, head_commit,
                base_ref, is_fork, url, merged_commit, created_at, updated_at)
            VALUES (\(repository.project), \(repository.name), \(pull.number), \(pull.title), \(pull.author),
                \(pull.state.rawValue), \(pull.head_ref), \(pull.head_commit), \(pull.base_ref), \(pull.is_fork),
                \(pull.url.sqlValue), \(pull.merged_commit.sqlValue), \(pull.created_at.microseconds),
                \(pull.updated_at.microseconds))
            ON CONFLICT (project, repository, number) DO UPDATE SET title = excluded.title,
                author = excluded.author, state = excluded.state, head_ref = excluded.head_ref,
                head_commit = excluded.head_commit, base_ref = excluded.base_ref, is_fork = excluded.is_fork,
                url = excluded.url, merged_commit = excluded.merged_commit, updated_at = excluded.updated_at
            """)
    }

    func forgetPulls(of repository: Reference<RepositoryKind>) throws {
        try run(
            "DELETE FROM pipelines_pull WHERE project = \(repository.project) AND repository = \(repository.name)")
    }
}

extension PullRequest {
    init(row: Row) throws {
        self.init()
        repository = try row.get("repository")
        number = try row.get("number")
        title = try row.get("title")
        author = try row.get("author")
        state = try row.word("state")
        head_ref = try row.get("head_ref")
        head_commit = try row.get("head_commit")
        base_ref = try row.get("base_ref")
        is_fork = try row.get("is_fork")
        url = try row.get("url", as: String?.self)
        merged_commit = try row.get("merged_commit", as: String?.self)
        created_at = try row.time("created_at")
        updated_at = try row.time("updated_at")
    }

    /// Name of the ref under which its head is kept.
    var ref: String { "refs/pull/\(number)/head" }
}
