import API
import Kernel
import Manifests
import SQL

/// Rows of deliveries, remotes and what forges have told.
extension Connection {
    // MARK: Deliveries

    /// Notes a delivery; false when it was seen already.
    func isNew(_ delivery: String, to receiver: String, project: String, at now: Timestamp) throws -> Bool {
        try run(
            """
            INSERT INTO pipelines_delivery (project, receiver, delivery, seen_at)
            VALUES (\(project), \(receiver), \(delivery), \(now.microseconds))
            ON CONFLICT (project, receiver, delivery) DO NOTHING
            """) == 1
    }

    /// Forgets deliveries that are too old to be played again, and the oldest beyond `limit`.
    func forgetDeliveries(before time: Timestamp, limit: Int) throws {
        try run("DELETE FROM pipelines_delivery WHERE seen_at < \(time.microseconds)")
        let edge: Int64? = try value(
            "SELECT seen_at FROM pipelines_delivery ORDER BY seen_at DESC LIMIT 1 OFFSET \(limit)")
        if let edge { try run("DELETE FROM pipelines_delivery WHERE seen_at <= \(edge)") }
    }

    // MARK: Remotes

    func remote(_ repository: Reference<RepositoryKind>) throws -> StoredRemote? {
        try row(
            """
            SELECT * FROM pipelines_remote WHERE project = \(repository.project) AND repository = \(repository.name)
            """
        ).map { row in
            StoredRemote(
                wantedAt: try row.time("wanted_at"), fetchedAt: try row.maybeTime("fetched_at"),
                failures: try row.get("failures"))
        }
    }

    func keep(_ remote: StoredRemote, of repository: Reference<RepositoryKind>) throws {
        try run(
            """
            INSERT INTO pipelines_remote (project, repository, wanted_at, fetched_at, failures)
            VALUES (\(repository.project), \(repository.name), \(remote.wantedAt.microseconds),
                \((remote.fetchedAt?.microseconds).sqlValue), \(remote.failures))
            ON CONFLICT (project, repository) DO UPDATE SET wanted_at = excluded.wanted_at,
                fetched_at = excluded.fetched_at, failures = excluded.failures
            """)
    }

    func forgetRemote(_ repository: Reference<RepositoryKind>) throws {
        let (project, name) = (repository.project, repository.name)
        try run("DELETE FROM pipelines_remote WHERE project = \(project) AND repository = \(name)")
        try run("DELETE FROM pipelines_told WHERE project = \(project) AND repository = \(name)")
        try run("DELETE FROM pipelines_delivery WHERE project = \(project) AND receiver = \(name)")
        try run("DELETE FROM pipelines_outbox WHERE project = \(project) AND repository = \(name)")
    }

    // MARK: Told

    /// Pull requests that a forge has told of and that are not yet looked at, oldest first.
    func told(of repository: Reference<RepositoryKind>) throws -> [ToldPull] {
        try rows(
            """
            SELECT id, pull, action FROM pipelines_told WHERE project = \(repository.project)
                AND repository = \(repository.name) ORDER BY told_at, id LIMIT 100
            """
        ).map { ToldPull(id: try $0.get("id"), pull: try $0.value("pull"), action: try $0.word("action")) }
    }

    func tellLater(
        _ pull: PullRequest, _ action: PullRequestTrigger.Action, id: String, of repository: Reference<RepositoryKind>,
        at now: Timestamp
    ) throws {
        try run(
            """
            INSERT INTO pipelines_told (id, project, repository, pull, action, told_at)
            VALUES (\(id), \(repository.project), \(repository.name), \(pull.json.text), \(action.rawValue),
                \(now.microseconds))
            """)
    }

    func untell(_ id: String) throws -> Bool { try run("DELETE FROM pipelines_told WHERE id = \(id)") == 1 }
}

/// When a remote is to be looked at.
struct StoredRemote: Sendable, Equatable {
    var wantedAt: Timestamp
    var fetchedAt: Timestamp?
    var failures = 0
}

/// A pull request as a forge has told of it.
struct ToldPull: Sendable {
    var id: String
    var pull: PullRequest
    var action: PullRequestTrigger.Action
}
