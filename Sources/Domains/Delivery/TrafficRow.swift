import API
import Kernel
import Manifests
import SQL
import Stats

/// What the proxies counted: their own counters as last told, the sums of all, and the course over time.
enum TrafficRow {
    /// Width of one interval of the course.
    static let bucket: Int64 = 5_000_000
    /// How long the course, and the counters of proxies that are gone, are kept.
    static let kept = Duration.seconds(7 * 86_400)
    /// Points that one answer may carry.
    static let pointLimit = 10_000

    private static func counts(_ row: Row) throws -> Counts {
        var counts = Counts(requests: try row.get("requests"), errors: try row.get("errors"))
        counts.latencyText = try row.get("latency")
        return counts
    }

    /// All that a revision ever had.
    static func total(_ revision: Int, of service: ServiceReference, in sql: Connection) throws -> Counts {
        try sql.row("SELECT * FROM delivery_total WHERE \(service.rows) AND revision = \(revision)").map(counts)
            ?? Counts()
    }

    /// All requests that a service ever had.
    static func requests(of service: ServiceReference, in sql: Connection) throws -> Int64 {
        try sql.value("SELECT coalesce(sum(requests), 0) FROM delivery_total WHERE \(service.rows)") ?? 0
    }

    /// Revisions that are looked up one by one; of more all are read.
    private static let fewRevisions = 200

    /// Counters of one proxy's life, by service and revision: at least those that are told of.
    static func counters(
        proxy: String, epoch: String, of told: [RevisionCount], in sql: Connection
    ) throws -> [String: Counts] {
        var found: [String: Counts] = [:]
        guard told.count > fewRevisions else {
            for one in told {
                guard let service = ServiceReference(joined: one.service) else { continue }
                found["\(one.service)/\(one.revision)"] = try sql.row(
                    """
                    SELECT * FROM delivery_counter WHERE proxy = \(proxy) AND epoch = \(epoch) AND \(service.rows)
                        AND revision = \(one.revision)
                    """
                ).map(counts)
            }
            return found
        }
        try sql.each("SELECT * FROM delivery_counter WHERE proxy = \(proxy) AND epoch = \(epoch)") { row in
            let key = "\(try row.get("project", as: String.self))/\(try row.get("service", as: String.self))"
            found["\(key)/\(try row.get("revision", as: Int.self))"] = try counts(row)
        }
        return found
    }

    /// Takes in what a proxy counted since it last told: the sums grow by the difference, a repeat adds nothing.
    static func add(
        _ told: Counts, since before: Counts?, proxy: String, epoch: String, _ service: ServiceReference,
        revision: Int, in change: Change
    ) throws {
        let difference = told - (before ?? Counts())
        guard !difference.isEmpty else { return }
        let reached = before?.reached(told) ?? told
        let (sql, now) = (change.sql, change.now)
        try sql.run(
            """
            INSERT INTO delivery_counter (proxy, epoch, project, service, revision, requests, errors, latency, seen_at)
            VALUES (\(proxy), \(epoch), \(service.project), \(service.name), \(revision), \(reached.requests),
                    \(reached.errors), \(reached.latencyText), \(now))
            ON CONFLICT (proxy, epoch, project, service, revision) DO UPDATE SET requests = excluded.requests,
                errors = excluded.errors, latency = excluded.latency, seen_at = excluded.seen_at
            """)
        let total = try total(revision, of: service, in: sql) + difference
        try sql.run(
            """
            INSERT INTO delivery_total (project, service, revision, requests, errors, latency)
            VALUES (\(service.project), \(service.name), \(revision), \(total.requests), \(total.errors),
                    \(total.latencyText))
            ON CONFLICT (project, service, revision) DO UPDATE SET requests = excluded.requests,
                errors = excluded.errors, latency = excluded.latency
            """)
        let end = (now.microseconds / bucket + 1) * bucket
        let old = try sql.row(
            "SELECT * FROM delivery_traffic WHERE \(service.rows) AND at = \(end) AND revision = \(revision)"
        ).map(counts)
        if old == nil { try forget(in: change) }
        let point = (old ?? Counts()) + difference
        try sql.run(
            """
            INSERT INTO delivery_traffic (project, service, at, revision, requests, errors, latency)
            VALUES (\(service.project), \(service.name), \(end), \(revision), \(point.requests), \(point.errors),
                    \(point.latencyText))
            ON CONFLICT (project, service, at, revision) DO UPDATE SET requests = excluded.requests,
                errors = excluded.errors, latency = excluded.latency
            """)
        if difference.errors > 0 { try noteError(service, revision, in: change) }
    }

    /// The first error of a revision on trial is a first sign: where recovery is counted from, if it is aborted.
    ///
    /// An arm's error is one of the revision that it runs, in the attempt that it is of.
    private static func noteError(_ service: ServiceReference, _ number: Int, in change: Change) throws {
        let isArm = number < 0
        let source = isArm ? try RevisionRow.find(number, of: service, in: change.sql)?.armOf : number
        guard let source else { return }
        let only: Statement = isArm ? "AND number = \(ArmPlan.rollout(of: number))" : ""
        try change.sql.run(
            """
            UPDATE delivery_rollout SET first_bad_at = \(change.now) WHERE \(service.rows) AND revision = \(source)
                AND completion IS NULL AND first_bad_at IS NULL \(only)
            """)
    }

    /// Forgets what is older than is kept.
    private static func forget(in change: Change) throws {
        let end = change.now.advanced(by: .zero - kept)
        try change.sql.run("DELETE FROM delivery_traffic WHERE at < \(end)")
        // Of a proxy's newest life all is kept: what it has not counted on for long, it tells again as a whole.
        try change.sql.run(
            """
            DELETE FROM delivery_counter WHERE seen_at < \(end) AND epoch <> (
                SELECT newest.epoch FROM delivery_counter AS newest WHERE newest.proxy = delivery_counter.proxy
                ORDER BY newest.seen_at DESC LIMIT 1)
            """)
    }

    /// The course of a service's traffic, oldest first.
    static func points(_ service: ServiceReference, since: Timestamp, in sql: Connection) throws -> [TrafficPoint] {
        try sql.rows(
            """
            SELECT * FROM delivery_traffic WHERE \(service.rows) AND at > \(since) ORDER BY at, revision
            LIMIT \(pointLimit)
            """
        ).map { row in
            let counts = try counts(row)
            var point = TrafficPoint()
            point.at = try row.get("at")
            point.revision = try row.get("revision")
            (point.requests, point.errors) = (counts.requests, counts.errors)
            (point.p50_ms, point.p99_ms) = (counts.milliseconds(0.5), counts.milliseconds(0.99))
            return point
        }
    }
}

/// What proxies ask and tell.
struct ProxyDesk: Sendable {
    let store: Store
    let watch: ProxyWatch
    /// How long a proxy's question for a newer table is held.
    static let patience = Duration.seconds(20)
    /// Revisions that one report may speak of.
    static let reportLimit = 100_000

    /// Waits for a table that is not the one the proxy has.
    func table(_ query: TableQuery) async throws -> RoutingTable {
        try await meet(query.name, url: query.url)
        // Who asks for a newer table tells which one is in force.
        note(query.name, table: query.have)
        let newer = try await store.bells.poll(
            [RouteRow.topic], until: store.time.now.advanced(by: Self.patience), by: store.time
        ) {
            try await store.read { sql in
                try RouteRow.tableVersion(in: sql) == query.have ? nil : try RouteRow.table(in: sql)
            }
        }
        if let newer { return newer }
        // Its version says that it is the one the proxy has: of thousands of routes none is told again.
        var same = RoutingTable()
        same.version = query.have
        return same
    }

    /// Notes that a proxy exists, and where it is reached.
    private func meet(_ name: String, url: String) async throws {
        guard isResourceName(name) else {
            throw Problem(
                "proxy.name", status: 422, "\"\(name)\" cannot be a proxy's name",
                hint: "Use small letters, digits, \"-\" and \"_\", at most 63.")
        }
        let known = try await store.read { sql in
            try sql.value("SELECT url FROM delivery_proxy WHERE name = \(name)", as: String.self)
        }
        guard known == nil || (!url.isEmpty && known != url) else { return }
        try await store.change(.system("delivery")) { change in
            try change.sql.run(
                """
                INSERT INTO delivery_proxy (name, url, first_seen_at) VALUES (\(name), \(url), \(change.now))
                ON CONFLICT (name) DO UPDATE SET url = excluded.url
                """)
            change.ring(RolloutLoop.everyService)
        }
    }

    /// Takes in a proxy's counters.
    ///
    /// Told twice is told once.
    func report(_ input: CountersInput) async throws {
        guard input.revisions.count <= Self.reportLimit, !input.epoch.isEmpty else {
            throw Problem(
                "proxy.report", status: 422, "a report names its epoch and at most \(Self.reportLimit) revisions",
                hint: "Send what changed since the last report.")
        }
        try await meet(input.name, url: "")
        let news = try await store.read { sql -> [(RevisionCount, Counts)] in
            let before = try TrafficRow.counters(
                proxy: input.name, epoch: input.epoch, of: input.revisions, in: sql)
            return input.revisions.map { ($0, Counts($0)) }.filter { told, counts in
                !(counts - (before["\(told.service)/\(told.revision)"] ?? Counts())).isEmpty
            }
        }
        if !news.isEmpty {
            try await store.change(.system("delivery")) { change in
                // Read again: another report may have come between.
                let before = try TrafficRow.counters(
                    proxy: input.name, epoch: input.epoch, of: news.map { $0.0 }, in: change.sql)
                for (told, counts) in news {
                    guard let service = ServiceReference(joined: told.service),
                        try RevisionRow.find(told.revision, of: service, in: change.sql) != nil
                    else { continue }
                    try TrafficRow.add(
                        counts, since: before["\(told.service)/\(told.revision)"], proxy: input.name,
                        epoch: input.epoch, service, revision: told.revision, in: change)
                }
            }
        }
        note(input.name, table: input.table)
    }

    private func note(_ proxy: String, table: Int64) {
        let (isNews, waiting) = watch.note(proxy, table: table, at: store.time.now)
        guard isNews else { return }
        store.bells.ring(waiting.reduce(into: [ProxyWatch.topic]) { $0.formUnion(CopyBook.topics(of: $1)) })
    }
}

extension Counts {
    /// What a proxy tells; negative numbers count as nothing.
    init(_ told: RevisionCount) {
        self.init(requests: max(0, told.requests), errors: max(0, told.errors))
        latency = .init(buckets: told.latency.map { UInt64(max(0, $0)) })
    }
}
