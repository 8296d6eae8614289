import API
import Kernel
import Manifests
import SQL

/// Names a group of services that are released together.
typealias ReleaseReference = Reference<ReleaseKind>

/// One release of a group: which rollouts it holds together, and how far it is.
struct ReleaseRow: Sendable {
    enum Phase: String, SQLBindable, SQLReadable {
        case rollingOut, promoting, released, takenBack
        /// The group was deleted while it was open: it holds nobody any more.
        case dissolved
    }
    var name: ReleaseReference
    var number: Int
    var phase = Phase.rollingOut
    var reason: String?
    var startedAt: Timestamp
    var finishedAt: Timestamp?

    static let migration: [Statement] = [
        """
        CREATE TABLE delivery_release (
            project TEXT NOT NULL, name TEXT NOT NULL, number BIGINT NOT NULL, phase TEXT NOT NULL, reason TEXT,
            started_at BIGINT NOT NULL, finished_at BIGINT, PRIMARY KEY (project, name, number))
        """,
        "ALTER TABLE delivery_rollout ADD COLUMN release_name TEXT",
        "ALTER TABLE delivery_rollout ADD COLUMN release_number BIGINT",
        "ALTER TABLE delivery_rollout ADD COLUMN ready_at BIGINT",
        "CREATE INDEX delivery_rollout_release ON delivery_rollout (project, release_name, release_number)",
    ]

    var isOpen: Bool { phase == .rollingOut || phase == .promoting }

    init(_ name: ReleaseReference, number: Int, at now: Timestamp) {
        (self.name, self.number, startedAt) = (name, number, now)
    }

    init(row: Row) throws {
        name = ReleaseReference(project: try row.get("project"), name: try row.get("name"))
        (number, phase) = (try row.get("number"), try row.get("phase"))
        (reason, startedAt, finishedAt) = (
            try row.get("reason"), try row.get("started_at"), try row.get("finished_at")
        )
    }

    static func newest(of name: ReleaseReference, in sql: Connection) throws -> ReleaseRow? {
        try sql.row(
            """
            SELECT * FROM delivery_release WHERE project = \(name.project) AND name = \(name.name)
            ORDER BY number DESC LIMIT 1
            """
        ).map(ReleaseRow.init(row:))
    }

    static func find(_ name: ReleaseReference, _ number: Int, in sql: Connection) throws -> ReleaseRow? {
        try sql.row(
            """
            SELECT * FROM delivery_release WHERE project = \(name.project) AND name = \(name.name)
                AND number = \(number)
            """
        ).map(ReleaseRow.init(row:))
    }

    /// Groups with a release that is not over.
    static func open(in sql: Connection) throws -> [ReleaseReference] {
        try sql.rows(
            """
            SELECT DISTINCT project, name FROM delivery_release
            WHERE phase IN (\(Phase.rollingOut), \(Phase.promoting)) ORDER BY project, name
            """
        ).map { ReleaseReference(project: try $0.get(0), name: try $0.get(1)) }
    }

    /// The rollouts that it holds together, by service; the newest of each.
    func rollouts(in sql: Connection) throws -> [RolloutRow] {
        let rows = try sql.rows(
            """
            SELECT * FROM delivery_rollout WHERE project = \(name.project) AND release_name = \(name.name)
                AND release_number = \(number) ORDER BY service, number
            """
        ).map(RolloutRow.init(row:))
        return rows.enumerated().filter { index, row in
            index + 1 == rows.count || rows[index + 1].service != row.service
        }.map(\.element)
    }

    func write(in sql: Connection) throws {
        try sql.run(
            """
            INSERT INTO delivery_release (project, name, number, phase, reason, started_at, finished_at)
            VALUES (\(name.project), \(name.name), \(number), \(phase), \(reason.sqlValue), \(startedAt),
                    \(finishedAt.sqlValue))
            ON CONFLICT (project, name, number) DO UPDATE SET phase = excluded.phase, reason = excluded.reason,
                finished_at = excluded.finished_at
            """)
    }
}

/// The release that a rollout belongs to.
struct ReleaseLink: Sendable, Equatable {
    var name: String
    var number: Int
    /// When it had done all its steps, and began to wait for the others.
    var readyAt: Timestamp?
}
