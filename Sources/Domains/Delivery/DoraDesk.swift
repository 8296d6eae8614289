import API
import Kernel
import Manifests
import SQL

/// Puts a report together: attempts and incidents of the tables, runs of the pipelines' room.
struct DoraDesk: Sendable {
    let store: Store
    let caller: any OperationCaller
    /// How far back of the report's beginning the order of deployments is looked at.
    static let lookBack = Duration.seconds(30 * 86_400)
    /// Runs that one report asks after.
    static let runLimit = 200

    func report(_ query: DoraQuery) async throws -> DoraReport {
        let now = store.time.now
        let from = now.advanced(by: .seconds(-86_400 * Int64(query.days)))
        let found = try await store.read { sql in
            try Self.rows(query, since: from.advanced(by: .zero - Self.lookBack), in: sql)
        }
        var deployments = found.judged
        try await divide(&deployments, found.rows, project: query.project, since: from)
        var report = DoraMath.report(deployments, project: query.project, from: from, to: now, days: query.days)
        (report.service, report.team) = (query.service, query.team)
        return report
    }

    /// A report for each service of a project with deployments in this time, read at once; without the parts of lead time.
    func reports(_ project: String, days: Int) async throws -> [(service: String, report: DoraReport)] {
        let now = store.time.now
        let from = now.advanced(by: .seconds(-86_400 * Int64(days)))
        var query = DoraQuery()
        query.project = project
        let asked = query
        let found = try await store.read { sql in
            try Self.rows(asked, since: from.advanced(by: .zero - Self.lookBack), in: sql)
        }
        return Dictionary(grouping: found.judged, by: \.service).sorted { $0.key < $1.key }.map {
            service, deployments in
            (service, DoraMath.report(deployments, project: project, from: from, to: now, days: days))
        }
    }

    private static let production = EnvironmentSpec.Tier.production.rawValue

    /// What a report is made from.
    private struct Found: Sendable {
        /// Attempts that count, oldest first.
        var rows: [RolloutRow]
        var waysBack: [RolloutRow]
        var incidents: [Incident]

        var judged: [Deployment] {
            DoraMath.judged(
                rows.map(\.deployment), tenures: (rows + waysBack).compactMap(\.tenure), incidents: incidents)
        }
    }

    private static func rows(_ query: DoraQuery, since: Timestamp, in sql: Connection) throws -> Found {
        let services = try sql.resources(ServiceKind.self, project: query.project)
            .filter { query.service == nil || $0.reference.name == query.service }
            .filter { query.team == nil || $0.labels["team"] == query.team }
        let names = Set(services.map(\.reference.name))
        let all = try RolloutRow.deployments(
            project: query.project, service: query.service, since: since, in: sql
        ).filter { query.team == nil || names.contains($0.service.name) }
        let environments = try sql.resources(EnvironmentKind.self, project: query.project)
            .filter { $0.spec.tier == .production }.map(\.reference.name)
        // As soon as some service is in production, only production counts.
        let hasProduction =
            services.contains { $0.spec.environment.map(environments.contains) ?? false }
            || all.contains { $0.tier == production }
        let counted = hasProduction ? all.filter { $0.tier == production } : all
        let incidents = try IncidentRow.all(project: query.project, since: since, in: sql)
        // Those of services outside the selection change nothing: none of their deployments is looked at.
        let waysBack = try RolloutRow.waysBack(project: query.project, since: since, in: sql)
        return Found(rows: counted, waysBack: waysBack, incidents: incidents)
    }

    // MARK: - Where lead time goes

    private func divide(
        _ deployments: inout [Deployment], _ rows: [RolloutRow], project: String, since: Timestamp
    ) async throws {
        var runs: [String: Run] = [:]
        var pulls: [String: [PullRequest]] = [:]
        for index in deployments.indices.reversed()
        where deployments[index].lead_time_seconds != nil && DoraMath.moment(deployments[index]) >= since {
            let id = deployments[index].run
            if let id, runs[id] == nil, runs.count < Self.runLimit { runs[id] = try await run(id, project) }
            let run = id.flatMap { runs[$0] }
            if let repository = run?.repository, pulls[repository] == nil {
                pulls[repository] = try await merged(repository, project)
            }
            let pull = run?.repository.flatMap { pulls[$0] }?.first { $0.merged_commit == deployments[index].commit }
            deployments[index].parts = LeadTimeParts(rows[index], run, pull)
        }
    }

    private func run(_ id: String, _ project: String) async throws -> Run? {
        do {
            return try await caller.call(Runs.get, RunName(project: project, run: id), as: .system("delivery"))
        } catch let problem as Problem where problem.status < 500 {
            return nil  // a run that is swept away says nothing any more
        }
    }

    private func merged(_ repository: String, _ project: String) async throws -> [PullRequest] {
        var query = PullQuery()
        (query.project, query.repository, query.state, query.limit) = (project, repository, .merged, 1000)
        do {
            return try await caller.call(Pulls.list, query, as: .system("delivery")).items
        } catch let problem as Problem where problem.status < 500 {
            return []  // a repository that is gone has none
        }
    }

    // MARK: - Incidents

    func note(_ input: IncidentInput, _ call: Call) async throws {
        let name = ServiceReference(project: input.project, name: input.service)
        if let end = input.ended_at, end < input.began_at {
            throw Problem(
                "incident.times", status: 422, "incident \"\(input.id)\" ends before it begins",
                hint: "Swap began_at and ended_at.")
        }
        try await store.change(call) { change in
            guard try change.sql.resource(ServiceKind.self, name) != nil else {
                throw Problem.notFound("Service", name.name, project: name.project, list: "get services")
            }
            try IncidentRow.write(input, in: change.sql)
            try change.tell(
                "service.incident", about: name.subject,
                ["id": .string(input.id), "by_change": .bool(input.by_change), "over": .bool(input.ended_at != nil)])
        }
    }
}

extension LeadTimeParts {
    /// Divides the time from the commit to all traffic; what is not known stays in the part before.
    init?(_ row: RolloutRow, _ run: Run?, _ pull: PullRequest?) {
        self.init()
        guard let commit = row.committedAt, let end = row.finishedAt else { return nil }
        let held = Double(row.paused) / 1e6
        let began = row.startedAt
        rollout = max(0, DoraMath.seconds(began, end) - held)
        let ordered = run.map { min($0.created_at, began) } ?? began
        let started = min(max(run?.started_at ?? ordered, ordered), began)
        let gates = (run?.gates ?? []).reduce(0.0) { sum, gate in
            let until = min(gate.ended_at ?? began, began)
            return sum + DoraMath.seconds(max(gate.began_at, started), until)
        }
        queue = DoraMath.seconds(ordered, started)
        let work = DoraMath.seconds(started, began)
        build = max(0, work - gates)
        approval = min(gates, work) + held
        let before = DoraMath.seconds(commit, ordered)
        let opened = pull.map { max($0.created_at, commit) }
        let reviewed = opened.map { min(DoraMath.seconds($0, ordered), before) } ?? 0
        (review, wait) = (reviewed, before - reviewed)
    }
}

/// Incidents that were told.
enum IncidentRow {
    static func write(_ input: IncidentInput, in sql: Connection) throws {
        try sql.run(
            """
            INSERT INTO delivery_incident (project, service, id, began_at, ended_at, revision, by_change)
            VALUES (\(input.project), \(input.service), \(input.id), \(input.began_at), \(input.ended_at.sqlValue),
                \(input.revision.sqlValue), \(input.by_change))
            ON CONFLICT (project, service, id) DO UPDATE SET began_at = excluded.began_at,
                ended_at = excluded.ended_at, revision = excluded.revision, by_change = excluded.by_change
            """)
    }

    static func all(project: String, since: Timestamp, in sql: Connection) throws -> [Incident] {
        try sql.rows(
            """
            SELECT * FROM delivery_incident WHERE project = \(project) AND began_at >= \(since)
            ORDER BY began_at, id LIMIT \(Dora.deploymentLimit)
            """
        ).map { row in
            Incident(
                service: try row.get("service"), id: try row.get("id"), beganAt: try row.get("began_at"),
                endedAt: try row.get("ended_at"), revision: try row.get("revision"),
                isByChange: try row.get("by_change"))
        }
    }
}
