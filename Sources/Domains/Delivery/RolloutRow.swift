import API
import Kernel
import Manifests
import SQL

/// One attempt to bring a revision to all traffic: the state of the rollout, and the row behind DORA's numbers.
struct RolloutRow: Sendable {
    var service: ServiceReference
    /// Counts the attempts of a service, from 1.
    var number: Int
    var revision: Int
    /// The stable revision when it began.
    var origin: Int?
    /// A way back to an earlier revision: no deployment in DORA's eyes.
    var isRollback = false
    /// A way back without steps.
    var isFast = true
    /// Tier of the environment at its beginning; empty without one.
    var tier = ""
    /// The rollout settings it began with: a change of them touches the next one only.
    var settings: RolloutSpec
    var step = 0
    /// Share of the traffic that the revision is given, in percent.
    var weight = 0
    var stepAt: Timestamp
    /// Since when it lacks copies that are well.
    var shortAt: Timestamp?
    /// Why it waits for a person: held by one, or stopped by a judge.
    var pause: String?
    var pauseKind: PauseKind?
    /// Since when it waits for a person, and how long it did before, in microseconds: no fault of the machinery.
    var pausedAt: Timestamp?
    var paused: Int64 = 0
    /// Somebody promoted it over all steps.
    var isFull = false
    var completion: ServiceStatus.Completion?
    var outcome = Deployment.Outcome.under_way
    var reason: String?
    var commit: String?
    var run: String?
    var committedAt: Timestamp?
    var startedAt: Timestamp
    var finishedAt: Timestamp?
    var firstBadAt: Timestamp?
    var recoveredAt: Timestamp?
    /// When it first had all traffic; what it takes the place of is kept from then on.
    var switchedAt: Timestamp?
    /// Requests that the service had ever had when it began, and the share of those since that it was given.
    var requestsBefore: Int64 = 0
    /// Requests that its own revision had had when it began: not all of an attempt is a revision's first.
    var ownBefore: Int64 = 0
    var exposure: Double?
    /// It mends the revision that was stable when it began.
    var isHotfix = false
    /// It takes all traffic together with others, or not at all.
    var release: ReleaseLink?

    enum PauseKind: String { case held, inconclusive, failed }

    var isUnderWay: Bool { completion == nil }
    /// The first revision ever, and the way back, take all traffic as soon as they are well.
    var isDirect: Bool { (isRollback && isFast) || origin == nil || isFull }
    var plan: RolloutPlan { RolloutPlan(settings, isDirect: isDirect) }
    /// Whether only a person makes it go on.
    var waitsForPerson: Bool { isUnderWay && (pause != nil || plan.stage(step) == .pause(nil)) }

    /// Counts the time that it waits for people.
    mutating func notePause(at now: Timestamp) {
        if waitsForPerson {
            pausedAt = pausedAt ?? now
        } else if let since = pausedAt {
            paused += max(0, now.microseconds - since.microseconds)
            pausedAt = nil
        }
    }

    init(_ service: ServiceReference, number: Int, revision: Int, settings: RolloutSpec, at now: Timestamp) {
        (self.service, self.number, self.revision, self.settings) = (service, number, revision, settings)
        (startedAt, stepAt, shortAt) = (now, now, now)
    }

    init(row: Row) throws {
        service = ServiceReference(project: try row.get("project"), name: try row.get("service"))
        number = try row.get("number")
        revision = try row.get("revision")
        origin = try row.get("origin")
        isRollback = try row.get("is_rollback")
        tier = try row.get("tier")
        settings = try RolloutSpec(json: JSONParser.parse(try row.get("plan", as: String.self)), at: [])
        step = try row.get("step")
        weight = try row.get("weight")
        stepAt = try row.get("step_at")
        shortAt = try row.get("short_at")
        pause = try row.get("pause")
        isFull = try row.get("is_full")
        completion = try row.get("completion", as: String?.self).flatMap(ServiceStatus.Completion.init(rawValue:))
        outcome = Deployment.Outcome(rawValue: try row.get("outcome")) ?? .under_way
        reason = try row.get("reason")
        commit = try row.get("commit_id")
        run = try row.get("run")
        committedAt = try row.get("committed_at")
        startedAt = try row.get("started_at")
        finishedAt = try row.get("finished_at")
        firstBadAt = try row.get("first_bad_at")
        recoveredAt = try row.get("recovered_at")
        isFast = try row.get("is_fast")
        pauseKind = try row.get("pause_kind", as: String?.self).flatMap(PauseKind.init(rawValue:))
        pausedAt = try row.get("paused_at")
        paused = try row.get("paused")
        switchedAt = try row.get("switched_at")
        requestsBefore = try row.get("requests_before")
        ownBefore = try row.get("own_before")
        exposure = try row.get("exposure")
        isHotfix = try row.get("is_hotfix")
        if let name = try row.get("release_name", as: String?.self) {
            release = ReleaseLink(
                name: name, number: try row.get("release_number"), readyAt: try row.get("ready_at"))
        }
    }

    static func newest(of service: ServiceReference, in sql: Connection) throws -> RolloutRow? {
        try sql.row("SELECT * FROM delivery_rollout WHERE \(service.rows) ORDER BY number DESC LIMIT 1")
            .map(RolloutRow.init(row:))
    }

    /// The ended attempt that still has traffic, since the stable copies cannot bear it yet.
    static func leaving(of service: ServiceReference, in sql: Connection) throws -> RolloutRow? {
        try sql.row(
            """
            SELECT * FROM delivery_rollout WHERE \(service.rows) AND completion IN ('aborted', 'superseded') AND weight > 0
            ORDER BY number DESC LIMIT 1
            """
        ).map(RolloutRow.init(row:))
    }

    static func find(_ number: Int, of service: ServiceReference, in sql: Connection) throws -> RolloutRow? {
        try sql.row("SELECT * FROM delivery_rollout WHERE \(service.rows) AND number = \(number)")
            .map(RolloutRow.init(row:))
    }

    /// The newest attempt of a revision.
    static func latest(of revision: Int, _ service: ServiceReference, in sql: Connection) throws -> RolloutRow? {
        try sql.row(
            """
            SELECT * FROM delivery_rollout WHERE \(service.rows) AND revision = \(revision) ORDER BY number DESC LIMIT 1
            """
        ).map(RolloutRow.init(row:))
    }

    /// Failed attempts whose harm is not over yet.
    static func unrecovered(of service: ServiceReference, in sql: Connection) throws -> [RolloutRow] {
        try sql.rows(
            """
            SELECT * FROM delivery_rollout WHERE \(service.rows) AND outcome = 'failed' AND recovered_at IS NULL
            ORDER BY number
            """
        ).map(RolloutRow.init(row:))
    }

    /// The newest attempt that brought this revision to all traffic.
    static func promoted(_ revision: Int, of service: ServiceReference, in sql: Connection) throws -> RolloutRow? {
        try sql.row(
            """
            SELECT * FROM delivery_rollout WHERE \(service.rows) AND revision = \(revision)
                AND outcome = 'succeeded' AND is_rollback = 0 ORDER BY number DESC LIMIT 1
            """
        ).map(RolloutRow.init(row:))
    }

    /// Attempts of a project that began or ended after a moment, oldest first; ways back left out.
    static func deployments(
        project: String, service: String?, since: Timestamp, in sql: Connection
    ) throws -> [RolloutRow] {
        let only: Statement = service.map { "AND service = \($0)" } ?? ""
        return try sql.rows(
            """
            SELECT * FROM delivery_rollout WHERE project = \(project) AND is_rollback = 0
                AND (started_at >= \(since) OR finished_at >= \(since)) \(only) ORDER BY started_at, service, number LIMIT \(Dora.deploymentLimit)
            """
        ).map(RolloutRow.init(row:))
    }

    /// Ways back of a project that began or ended after a moment, oldest first.
    static func waysBack(project: String, since: Timestamp, in sql: Connection) throws -> [RolloutRow] {
        try sql.rows(
            """
            SELECT * FROM delivery_rollout WHERE project = \(project) AND is_rollback = 1
                AND (started_at >= \(since) OR finished_at >= \(since)) ORDER BY started_at, service, number LIMIT \(Dora.deploymentLimit)
            """
        ).map(RolloutRow.init(row:))
    }

    func write(in sql: Connection) throws {
        try sql.run(
            """
            INSERT INTO delivery_rollout (project, service, number, revision, origin, is_rollback, tier, plan, step,
                weight, step_at, short_at, pause, is_full, completion, outcome, reason, commit_id, run, committed_at,
                started_at, finished_at, first_bad_at, recovered_at, is_fast, pause_kind, paused_at, paused,
                switched_at, requests_before, own_before, exposure, is_hotfix,
                release_name, release_number, ready_at)
            VALUES (\(service.project), \(service.name), \(number), \(revision), \(origin.sqlValue), \(isRollback),
                    \(tier), \(settings.json.text), \(step), \(weight), \(stepAt), \(shortAt.sqlValue),
                    \(pause.sqlValue), \(isFull), \((completion?.rawValue).sqlValue), \(outcome.rawValue),
                    \(reason.sqlValue), \(commit.sqlValue), \(run.sqlValue), \(committedAt.sqlValue), \(startedAt),
                    \(finishedAt.sqlValue), \(firstBadAt.sqlValue), \(recoveredAt.sqlValue), \(isFast),
                    \((pauseKind?.rawValue).sqlValue), \(pausedAt.sqlValue), \(paused), \(switchedAt.sqlValue),
                    \(requestsBefore), \(ownBefore), \(exposure.sqlValue), \(isHotfix),
                    \((release?.name).sqlValue), \((release?.number).sqlValue), \((release?.readyAt).sqlValue))
            ON CONFLICT (project, service, number) DO UPDATE SET step = excluded.step, weight = excluded.weight,
                step_at = excluded.step_at, short_at = excluded.short_at, pause = excluded.pause,
                is_full = excluded.is_full, completion = excluded.completion, outcome = excluded.outcome,
                reason = excluded.reason, finished_at = excluded.finished_at, first_bad_at = excluded.first_bad_at,
                recovered_at = excluded.recovered_at, pause_kind = excluded.pause_kind,
                paused_at = excluded.paused_at, paused = excluded.paused, switched_at = excluded.switched_at,
                exposure = excluded.exposure, ready_at = excluded.ready_at
            """)
    }
}
