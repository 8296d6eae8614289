import API
import Kernel
import Logging
import Manifests
import Outbound
import SQL

/// Notes, for each run on a commit of a forge, what the forge is to be told; in the transaction that moves its cursor.
struct StatusFollower: Follower {
    static let name = "pipelines-statuses"
    static let events: Set<String> = ["run.queued", "run.started", "run.finished"]

    func heed(_ event: Event, in change: Change) throws {
        guard let run = try change.sql.run(id: event.subject.name)?.run, let name = run.repository, run.commit != nil
        else { return }
        let reference = Reference<RepositoryKind>(project: run.project, name: name)
        guard let remote = try change.sql.resource(RepositoryKind.self, reference)?.spec.remote,
            remote.forge != nil, remote.token != nil
        else { return }
        try change.sql.tellForge(CommitStatus(of: run), project: run.project, repository: name, at: change.now)
        change.ring(StatusReconciler.topic)
    }
}

/// Tells forges how runs stand. What cannot be told is tried again, later and later, and given up after a day.
struct StatusReconciler: Reconciler {
    static let name = "pipelines-status-reports"
    static let topic = "CommitStatus"
    static let topics: Set<String> = [topic]
    let context: DomainContext
    let settings: PipelinesSettings
    let outbound: OutboundClient

    static let patience: Duration = .seconds(86_400)
    static let deadline: Duration = .seconds(20)

    func keys() async throws -> [String] {
        try await context.store.read { sql in
            try sql.rows("SELECT run FROM pipelines_outbox ORDER BY due_at, run").map { try $0.get(0) }
        }
    }

    func reconcile(_ key: String) async throws -> Next {
        guard let letter = try await context.store.read({ try $0.letter(of: key) }) else { return .settled }
        let now = context.time.now
        guard letter.dueAt <= now else { return .again(in: letter.dueAt.since(now)) }
        let reference = Reference<RepositoryKind>(project: letter.project, name: letter.repository)
        let repository = try await context.store.read { try $0.resource(RepositoryKind.self, reference) }
        guard let remote = repository?.spec.remote, let forge = remote.forge else {
            return try await drop(letter, because: nil)
        }
        let failure: String?
        do {
            let token = try await settings.secret(remote.token, project: letter.project)
            let target = settings.urls.server().map { "\($0)/runs/\(letter.status.run)" }
            let request = try ForgeReport.request(letter.status, forge, remote, token: token, target: target)
            let response = try await outbound.send(request, deadline: Self.deadline, limit: 64 << 10)
            // A forge that says no will say no again: only what may pass is tried again.
            if (400..<500).contains(response.status), ![401, 403, 408, 429].contains(response.status) {
                return try await drop(letter, because: "HTTP \(response.status): \(response.text.prefix(200))")
            }
            failure = response.isSuccess ? nil : "HTTP \(response.status)"
        } catch let error as OutboundError {
            failure = error.message
        } catch let problem as Problem {
            failure = problem.message
        }
        guard let failure else { return try await drop(letter, because: nil) }
        guard now.since(letter.changedAt) < Self.patience else { return try await drop(letter, because: failure) }
        let wait: Duration = min(.seconds(900), .seconds(2 << min(letter.attempts, 10)))
        try await context.store.change(.system("pipelines")) { change in
            try change.sql.postpone(letter, to: change.now.advanced(by: wait))
        }
        return .again(in: wait)
    }

    /// Takes it out of the box, unless the run has gone on meanwhile.
    private func drop(_ letter: StoredLetter, because failure: String?) async throws -> Next {
        try await context.store.change(.system("pipelines", correlation: letter.status.run)) { change in
            guard try change.sql.discard(letter), let failure else { return }
            try change.tell(
                "repository.status-not-told",
                about: Subject(kind: RepositoryKind.name, project: letter.project, name: letter.repository),
                [
                    "run": .string(letter.status.run), "commit": .string(letter.status.commit),
                    "reason": .string(failure),
                ])
        }
        return .now
    }
}

/// One status that a forge has not heard yet.
struct StoredLetter: Sendable {
    var project: String
    var repository: String
    var status: CommitStatus
    var attempts: Int
    var dueAt: Timestamp
    var changedAt: Timestamp
}

extension Connection {
    func tellForge(_ status: CommitStatus, project: String, repository: String, at now: Timestamp) throws {
        try run(
            """
            INSERT INTO pipelines_outbox (run, project, repository, pipeline, number, commit_id, state, description,
                attempts, due_at, changed_at)
            VALUES (\(status.run), \(project), \(repository), \(status.pipeline), \(status.number), \(status.commit),
                \(status.state.rawValue), \(status.description), 0, \(now.microseconds), \(now.microseconds))
            ON CONFLICT (run) DO UPDATE SET state = excluded.state, description = excluded.description, attempts = 0,
                due_at = excluded.due_at, changed_at = excluded.changed_at
            """)
    }

    func letter(of run: String) throws -> StoredLetter? {
        try row("SELECT * FROM pipelines_outbox WHERE run = \(run)").map { row in
            var status = CommitStatus()
            status.run = try row.get("run")
            status.pipeline = try row.get("pipeline")
            status.number = try row.get("number")
            status.commit = try row.get("commit_id")
            status.state = try row.word("state")
            status.description = try row.get("description")
            return StoredLetter(
                project: try row.get("project"), repository: try row.get("repository"), status: status,
                attempts: try row.get("attempts"), dueAt: try row.time("due_at"),
                changedAt: try row.time("changed_at"))
        }
    }

    func postpone(_ letter: StoredLetter, to time: Timestamp) throws {
        try run(
            """
            UPDATE pipelines_outbox SET attempts = attempts + 1, due_at = \(time.microseconds)
            WHERE run = \(letter.status.run) AND changed_at = \(letter.changedAt.microseconds)
                AND state = \(letter.status.state.rawValue) AND description = \(letter.status.description)
            """)
    }

    func discard(_ letter: StoredLetter) throws -> Bool {
        try run(
            """
            DELETE FROM pipelines_outbox WHERE run = \(letter.status.run)
                AND changed_at = \(letter.changedAt.microseconds) AND state = \(letter.status.state.rawValue)
                AND description = \(letter.status.description)
            """) == 1
    }
}
