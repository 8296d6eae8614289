import API
import Kernel
import Manifests
import SQL

/// This domain's tables.
///
/// All names begin with `delivery_`.
enum Tables {
    static let migrations = [
        Migration(
            id: "delivery-1",
            statements: [
                """
                CREATE TABLE delivery_service (
                    project TEXT NOT NULL, name TEXT NOT NULL, next_revision BIGINT NOT NULL,
                    next_rollout BIGINT NOT NULL, stable BIGINT, signature TEXT, problem TEXT,
                    PRIMARY KEY (project, name))
                """,
                """
                CREATE TABLE delivery_revision (
                    project TEXT NOT NULL, service TEXT NOT NULL, revision BIGINT NOT NULL, deploy_key TEXT NOT NULL,
                    workload TEXT NOT NULL, commit_id TEXT, run TEXT, pipeline TEXT, created_at BIGINT NOT NULL,
                    next_copy BIGINT NOT NULL, retired_at BIGINT, was_stable BIGINT NOT NULL, crashes BIGINT NOT NULL,
                    crashed_at BIGINT, problem TEXT, PRIMARY KEY (project, service, revision),
                    UNIQUE (project, service, deploy_key))
                """,
                """
                CREATE TABLE delivery_copy (
                    id TEXT PRIMARY KEY, project TEXT NOT NULL, service TEXT NOT NULL, revision BIGINT NOT NULL,
                    number BIGINT NOT NULL, state TEXT NOT NULL, host TEXT, port BIGINT, ordered_at BIGINT NOT NULL,
                    started_at BIGINT, is_ready BIGINT NOT NULL, unready_at BIGINT, stop_at BIGINT, reason TEXT)
                """,
                "CREATE INDEX delivery_copy_service ON delivery_copy (project, service)",
                """
                CREATE TABLE delivery_rollout (
                    project TEXT NOT NULL, service TEXT NOT NULL, number BIGINT NOT NULL, revision BIGINT NOT NULL,
                    origin BIGINT, is_rollback BIGINT NOT NULL, tier TEXT NOT NULL, plan TEXT NOT NULL,
                    step BIGINT NOT NULL, weight BIGINT NOT NULL, step_at BIGINT NOT NULL, short_at BIGINT,
                    pause TEXT, is_full BIGINT NOT NULL, completion TEXT, outcome TEXT NOT NULL, reason TEXT,
                    commit_id TEXT, run TEXT, committed_at BIGINT, started_at BIGINT NOT NULL, finished_at BIGINT,
                    first_bad_at BIGINT, recovered_at BIGINT, PRIMARY KEY (project, service, number))
                """,
                "CREATE INDEX delivery_rollout_started ON delivery_rollout (project, started_at)",
                """
                CREATE TABLE delivery_analysis (
                    project TEXT NOT NULL, service TEXT NOT NULL, rollout BIGINT NOT NULL, step BIGINT NOT NULL,
                    name TEXT NOT NULL, position BIGINT NOT NULL, record TEXT NOT NULL,
                    PRIMARY KEY (project, service, rollout, step, name))
                """,
                """
                CREATE TABLE delivery_counter (
                    proxy TEXT NOT NULL, epoch TEXT NOT NULL, project TEXT NOT NULL, service TEXT NOT NULL,
                    revision BIGINT NOT NULL, requests BIGINT NOT NULL, errors BIGINT NOT NULL, latency TEXT NOT NULL,
                    seen_at BIGINT NOT NULL, PRIMARY KEY (proxy, epoch, project, service, revision))
                """,
                """
                CREATE TABLE delivery_total (
                    project TEXT NOT NULL, service TEXT NOT NULL, revision BIGINT NOT NULL, requests BIGINT NOT NULL,
                    errors BIGINT NOT NULL, latency TEXT NOT NULL, PRIMARY KEY (project, service, revision))
                """,
                """
                CREATE TABLE delivery_traffic (
                    project TEXT NOT NULL, service TEXT NOT NULL, at BIGINT NOT NULL, revision BIGINT NOT NULL,
                    requests BIGINT NOT NULL, errors BIGINT NOT NULL, latency TEXT NOT NULL,
                    PRIMARY KEY (project, service, at, revision))
                """,
                "CREATE INDEX delivery_traffic_at ON delivery_traffic (at)",
                """
                CREATE TABLE delivery_proxy (
                    name TEXT PRIMARY KEY, url TEXT NOT NULL, first_seen_at BIGINT NOT NULL)
                """,
                """
                CREATE TABLE delivery_route (
                    project TEXT NOT NULL, service TEXT NOT NULL, version BIGINT NOT NULL, routes TEXT NOT NULL,
                    PRIMARY KEY (project, service))
                """,
                "CREATE TABLE delivery_table (id BIGINT PRIMARY KEY, version BIGINT NOT NULL)",
                "INSERT INTO delivery_table (id, version) VALUES (1, 0)",
            ]),
        Migration(
            id: "delivery-2",
            statements: [
                "CREATE INDEX delivery_rollout_open ON delivery_rollout (completion)",
                "ALTER TABLE delivery_service ADD COLUMN restarted_at BIGINT",
                "ALTER TABLE delivery_revision ADD COLUMN signature TEXT",
                "ALTER TABLE delivery_revision ADD COLUMN condemned TEXT",
                "ALTER TABLE delivery_revision ADD COLUMN arm TEXT",
                "ALTER TABLE delivery_revision ADD COLUMN arm_of BIGINT",
                "ALTER TABLE delivery_rollout ADD COLUMN is_fast BIGINT NOT NULL DEFAULT 1",
                "ALTER TABLE delivery_rollout ADD COLUMN pause_kind TEXT",
                "ALTER TABLE delivery_rollout ADD COLUMN paused_at BIGINT",
                "ALTER TABLE delivery_rollout ADD COLUMN paused BIGINT NOT NULL DEFAULT 0",
                "ALTER TABLE delivery_rollout ADD COLUMN switched_at BIGINT",
                "ALTER TABLE delivery_rollout ADD COLUMN requests_before BIGINT NOT NULL DEFAULT 0",
                "ALTER TABLE delivery_rollout ADD COLUMN own_before BIGINT NOT NULL DEFAULT 0",
                "ALTER TABLE delivery_rollout ADD COLUMN exposure DOUBLE PRECISION",
                "ALTER TABLE delivery_rollout ADD COLUMN is_hotfix BIGINT NOT NULL DEFAULT 0",
                """
                CREATE TABLE delivery_incident (
                    project TEXT NOT NULL, service TEXT NOT NULL, id TEXT NOT NULL, began_at BIGINT NOT NULL,
                    ended_at BIGINT, revision BIGINT, by_change BIGINT NOT NULL, PRIMARY KEY (project, service, id))
                """,
                """
                CREATE TABLE delivery_outcome (
                    project TEXT NOT NULL, service TEXT NOT NULL, rollout BIGINT NOT NULL, entity TEXT NOT NULL,
                    revision BIGINT NOT NULL, outcome TEXT NOT NULL, seen_at BIGINT NOT NULL,
                    PRIMARY KEY (project, service, rollout, entity, outcome))
                """,
            ]),
        Migration(
            id: "delivery-3",
            statements: [
                "ALTER TABLE delivery_copy ADD COLUMN form TEXT NOT NULL DEFAULT 'process'",
                "ALTER TABLE delivery_copy ADD COLUMN has_begun BIGINT NOT NULL DEFAULT 0",
            ] + ReleaseRow.migration),
        Migration(
            id: "delivery-4",
            statements: [
                """
                CREATE TABLE delivery_address (
                    project TEXT NOT NULL, service TEXT NOT NULL, path TEXT NOT NULL, hosts TEXT NOT NULL,
                    PRIMARY KEY (project, service, path))
                """,
                "CREATE INDEX delivery_address_path ON delivery_address (path)",
                """
                INSERT INTO delivery_address (project, service, path, hosts)
                SELECT project, service, json_extract(value, '$.path_prefix'),
                    coalesce(json_extract(value, '$.hosts'), '[]')
                FROM delivery_route, json_each(delivery_route.routes) WHERE true ON CONFLICT DO NOTHING
                """,
            ]),
    ]
}

/// Names one service.
typealias ServiceReference = Reference<ServiceKind>

extension ServiceReference {
    /// `project/name`, as the proxy's counters say it.
    init?(joined text: String) {
        let parts = text.split(separator: "/", maxSplits: 1).map(String.init)
        guard parts.count == 2 else { return nil }
        self.init(project: parts[0], name: parts[1])
    }

    /// The condition that a row of a `delivery_` table is of this service.
    var rows: Statement { "project = \(project) AND service = \(name)" }
}

extension Statement.StringInterpolation {
    /// Times are stored in microseconds.
    mutating func appendInterpolation(_ time: Timestamp) { appendInterpolation(time.microseconds) }
}

extension Timestamp? {
    var sqlValue: SQLValue { self.map { .integer($0.microseconds) } ?? .null }
}

extension Row {
    func get(_ column: String) throws(SQLError) -> Timestamp {
        Timestamp(microseconds: try get(column, as: Int64.self))
    }

    func get(_ column: String) throws(SQLError) -> Timestamp? {
        try get(column, as: Int64?.self).map(Timestamp.init(microseconds:))
    }
}

/// What is remembered of a service beside its spec.
///
/// Never deleted, so that no revision number comes twice.
struct ServiceRow: Sendable {
    var name: ServiceReference
    var nextRevision = 1
    var nextRollout = 1
    var stable: Int?
    /// The workload and variables that were last turned into a revision, or looked at.
    var signature: String?
    /// Why the applied workload could not become a revision.
    var problem: String?
    /// Copies that were ordered before are to be replaced.
    var restartedAt: Timestamp?

    static func read(_ name: ServiceReference, in sql: Connection) throws -> ServiceRow {
        guard
            let row = try sql.row(
                "SELECT * FROM delivery_service WHERE project = \(name.project) AND name = \(name.name)")
        else { return ServiceRow(name: name) }
        return ServiceRow(
            name: name, nextRevision: try row.get("next_revision"), nextRollout: try row.get("next_rollout"),
            stable: try row.get("stable"), signature: try row.get("signature"), problem: try row.get("problem"),
            restartedAt: try row.get("restarted_at"))
    }

    func write(in sql: Connection) throws {
        try sql.run(
            """
            INSERT INTO delivery_service (project, name, next_revision, next_rollout, stable, signature, problem,
                restarted_at)
            VALUES (\(name.project), \(name.name), \(nextRevision), \(nextRollout), \(stable.sqlValue),
                    \(signature.sqlValue), \(problem.sqlValue), \(restartedAt.sqlValue))
            ON CONFLICT (project, name) DO UPDATE SET next_revision = excluded.next_revision,
                next_rollout = excluded.next_rollout, stable = excluded.stable, signature = excluded.signature,
                problem = excluded.problem, restarted_at = excluded.restarted_at
            """)
    }

    /// Every service that was ever seen.
    static func names(in sql: Connection) throws -> [ServiceReference] {
        try sql.rows("SELECT project, name FROM delivery_service ORDER BY project, name").map {
            ServiceReference(project: try $0.get(0), name: try $0.get(1))
        }
    }
}

/// One revision: a number and what it runs, fixed for good.
struct RevisionRow: Sendable {
    var service: ServiceReference
    var revision: Int
    var key: String
    var workload: FrozenWorkload
    var commit: String?
    var run: String?
    var pipeline: String?
    var createdAt: Timestamp
    var nextCopy = 1
    /// When it lost its traffic; its copies are kept for a while from then on.
    var retiredAt: Timestamp?
    var wasStable = false
    /// Copies that ended by themselves lately, for the back-off.
    var crashes = 0
    var crashedAt: Timestamp?
    /// Why the last copy could not be started or ended.
    var problem: String?
    /// What was applied when it was made.
    var signature: String?
    /// Why it was aborted or gone back from: the same is not rolled out again unless somebody wants it.
    var condemned: String?
    /// Name of the arm, and the revision it is of, when these are extra copies for a comparison.
    ///
    /// Arms have numbers below zero, so that they take none from revisions.
    var arm: String?
    var armOf: Int?

    init(row: Row) throws {
        service = ServiceReference(project: try row.get("project"), name: try row.get("service"))
        revision = try row.get("revision")
        key = try row.get("deploy_key")
        workload = try FrozenWorkload(json: JSONParser.parse(try row.get("workload", as: String.self)), at: [])
        commit = try row.get("commit_id")
        run = try row.get("run")
        pipeline = try row.get("pipeline")
        createdAt = try row.get("created_at")
        nextCopy = try row.get("next_copy")
        retiredAt = try row.get("retired_at")
        wasStable = try row.get("was_stable")
        crashes = try row.get("crashes")
        crashedAt = try row.get("crashed_at")
        problem = try row.get("problem")
        signature = try row.get("signature")
        condemned = try row.get("condemned")
        arm = try row.get("arm")
        armOf = try row.get("arm_of")
    }

    init(_ service: ServiceReference, _ revision: Int, key: String, _ workload: FrozenWorkload, at now: Timestamp) {
        (self.service, self.revision, self.key, self.workload, createdAt) = (service, revision, key, workload, now)
    }

    static func all(of service: ServiceReference, in sql: Connection) throws -> [RevisionRow] {
        try sql.rows("SELECT * FROM delivery_revision WHERE \(service.rows) ORDER BY revision")
            .map(RevisionRow.init(row:))
    }

    static func find(key: String, of service: ServiceReference, in sql: Connection) throws -> RevisionRow? {
        try sql.row("SELECT * FROM delivery_revision WHERE \(service.rows) AND deploy_key = \(key)")
            .map(RevisionRow.init(row:))
    }

    static func find(_ revision: Int, of service: ServiceReference, in sql: Connection) throws -> RevisionRow? {
        try sql.row("SELECT * FROM delivery_revision WHERE \(service.rows) AND revision = \(revision)")
            .map(RevisionRow.init(row:))
    }

    func write(in sql: Connection) throws {
        try sql.run(
            """
            INSERT INTO delivery_revision (project, service, revision, deploy_key, workload, commit_id, run, pipeline,
                created_at, next_copy, retired_at, was_stable, crashes, crashed_at, problem, signature, condemned, arm,
                arm_of)
            VALUES (\(service.project), \(service.name), \(revision), \(key), \(workload.json.text),
                    \(commit.sqlValue), \(run.sqlValue), \(pipeline.sqlValue), \(createdAt), \(nextCopy),
                    \(retiredAt.sqlValue), \(wasStable), \(crashes), \(crashedAt.sqlValue), \(problem.sqlValue),
                    \(signature.sqlValue), \(condemned.sqlValue), \(arm.sqlValue), \(armOf.sqlValue))
            ON CONFLICT (project, service, revision) DO UPDATE SET next_copy = excluded.next_copy,
                retired_at = excluded.retired_at, was_stable = excluded.was_stable, crashes = excluded.crashes,
                crashed_at = excluded.crashed_at, problem = excluded.problem, condemned = excluded.condemned
            """)
    }

    func remove(in sql: Connection) throws {
        try sql.run("DELETE FROM delivery_revision WHERE \(service.rows) AND revision = \(revision)")
        try sql.run("DELETE FROM delivery_total WHERE \(service.rows) AND revision = \(revision)")
    }
}

/// One copy, from the intent to start it until it is gone.
struct CopyRow: Sendable, Equatable {
    enum State: String, SQLBindable, SQLReadable { case ordered, running, stopping }
    /// What it is, and so which platform keeps it.
    enum Form: Hashable, Sendable {
        case process, container
        case cluster(ClusterTarget)
    }
    var id: InstanceID
    var service: ServiceReference
    var revision: Int
    var number: Int
    var form = Form.process
    var state = State.ordered
    var host: String?
    var port: Int?
    var orderedAt: Timestamp
    var startedAt: Timestamp?
    /// Its start has been good once; of no matter where nobody asks about the start.
    var hasBegun = false
    var isReady = false
    /// Since when it is not well.
    var unreadyAt: Timestamp?
    /// When the order to stop was given: it gets no traffic from then on.
    var stopAt: Timestamp?
    /// Why it was told to stop; before that, what was found of it while it is not well.
    var reason: String?

    init(_ service: ServiceReference, revision: Int, number: Int, at now: Timestamp) {
        id = InstanceID("\(service.project)/\(service.name)/\(revision)/\(number)")
        (self.service, self.revision, self.number, orderedAt, unreadyAt) = (service, revision, number, now, now)
    }

    init(row: Row) throws {
        id = InstanceID(try row.get("id"))
        service = ServiceReference(project: try row.get("project"), name: try row.get("service"))
        revision = try row.get("revision")
        number = try row.get("number")
        form = try row.get("form")
        hasBegun = try row.get("has_begun")
        state = try row.get("state")
        host = try row.get("host")
        port = try row.get("port")
        orderedAt = try row.get("ordered_at")
        startedAt = try row.get("started_at")
        isReady = try row.get("is_ready")
        unreadyAt = try row.get("unready_at")
        stopAt = try row.get("stop_at")
        reason = try row.get("reason")
    }

    /// What the platform is asked about.
    var instance: Instance? {
        guard let host, let port, let startedAt else { return nil }
        return Instance(
            id: id, service: service, revision: revision, host: host, port: port, startedAt: startedAt, isRunning: true)
    }

    static func all(of service: ServiceReference, in sql: Connection) throws -> [CopyRow] {
        try sql.rows("SELECT * FROM delivery_copy WHERE \(service.rows) ORDER BY revision, number")
            .map(CopyRow.init(row:))
    }

    static func find(_ id: InstanceID, in sql: Connection) throws -> CopyRow? {
        try sql.row("SELECT * FROM delivery_copy WHERE id = \(id.text)").map(CopyRow.init(row:))
    }

    /// All copies of all services, by state when one is given.
    static func all(_ state: State? = nil, in sql: Connection) throws -> [CopyRow] {
        let only: Statement = state.map { "WHERE state = \($0)" } ?? ""
        return try sql.rows("SELECT * FROM delivery_copy \(only) ORDER BY id").map(CopyRow.init(row:))
    }

    /// The clusters that have copies.
    static func clusters(in sql: Connection) throws -> [Form] {
        try sql.rows("SELECT DISTINCT form FROM delivery_copy WHERE form LIKE 'cluster %'").map { try $0.get("form") }
    }

    func write(in sql: Connection) throws {
        try sql.run(
            """
            INSERT INTO delivery_copy (id, project, service, revision, number, state, host, port, ordered_at,
                started_at, is_ready, unready_at, stop_at, reason, form, has_begun)
            VALUES (\(id.text), \(service.project), \(service.name), \(revision), \(number), \(state),
                    \(host.sqlValue), \(port.sqlValue), \(orderedAt), \(startedAt.sqlValue), \(isReady),
                    \(unreadyAt.sqlValue), \(stopAt.sqlValue), \(reason.sqlValue), \(form), \(hasBegun))
            ON CONFLICT (id) DO UPDATE SET state = excluded.state, host = excluded.host, port = excluded.port,
                started_at = excluded.started_at, is_ready = excluded.is_ready, unready_at = excluded.unready_at,
                stop_at = excluded.stop_at, reason = excluded.reason, has_begun = excluded.has_begun
            """)
    }

    func remove(in sql: Connection) throws {
        try sql.run("DELETE FROM delivery_copy WHERE id = \(id.text)")
    }
}

/// `process`, `container`, or `cluster NAMESPACE CONTEXT`, where the namespace is `-` for the context's own.
extension CopyRow.Form: SQLBindable, SQLReadable {
    var sqlValue: SQLValue {
        switch self {
        case .process: .text("process")
        case .container: .text("container")
        case .cluster(let target): .text("cluster \(target.namespace ?? "-") \(target.context)")
        }
    }

    init?(sqlValue: SQLValue) {
        guard case .text(let text) = sqlValue else { return nil }
        let words = text.split(separator: " ", maxSplits: 2).map(String.init)
        switch (words.first, words.count) {
        case ("process", 1): self = .process
        case ("container", 1): self = .container
        case ("cluster", 3):
            self = .cluster(ClusterTarget(context: words[2], namespace: words[1] == "-" ? nil : words[1]))
        default: return nil
        }
    }

    var isCluster: Bool { if case .cluster = self { true } else { false } }
}

extension Connection {
    /// Services of these names, in whichever project: declared ones, and those that have copies still.
    func services(named names: Set<String>) throws -> [ServiceReference] {
        let projects: [String] = try rows(
            "SELECT DISTINCT project FROM resource WHERE kind = \(ServiceKind.name) UNION SELECT project FROM delivery_copy"
        ).map { try $0.get(0) }
        return try names.flatMap { name in
            try projects.compactMap { project -> ServiceReference? in
                let service = ServiceReference(project: project, name: name)
                let isThere: Int? = try value(
                    """
                    SELECT 1 FROM resource WHERE project = \(project) AND kind = \(ServiceKind.name) AND name = \(name)
                    UNION SELECT 1 FROM delivery_copy WHERE \(service.rows)
                    """)
                return isThere == nil ? nil : service
            }
        }
    }

    /// What every revision runs, as it is stored.
    func workloadTexts() throws -> [String] {
        try rows("SELECT workload FROM delivery_revision").map { try $0.get(0) }
    }
}
