import API
import Kernel
import Manifests
import SQL

extension Dora {
    /// Deployments that one report may stand on.
    static let deploymentLimit = 10_000
    /// Deployments that one report lists.
    static let listLimit = 500
}

/// The four numbers, from rollouts. Definitions of dora.dev, each measured and none typed in:
///
/// - deployment frequency: deployments that came to all traffic, divided by the days looked at;
/// - lead time: median from the commit to all traffic, of those whose commit's time is known;
/// - change failure rate: aborted and rolled-back deployments over all that ended; superseded ones count neither way;
/// - recovery time: median from the first bad sign of a failed deployment until a good revision had all traffic again.
enum DoraMath {
    static let frequencyTarget = 10.0
    static let leadTimeTarget = 3600.0
    static let failureTarget = 0.05
    static let recoveryTarget = 900.0
    private static let day: Int64 = 86_400_000_000

    static func report(_ query: DoraQuery, now: Timestamp, in sql: Connection) throws -> DoraReport {
        let from = now.advanced(by: .seconds(-86_400 * Int64(query.days)))
        let rows = try RolloutRow.deployments(project: query.project, service: query.service, since: from, in: sql)
        let hasProduction = try usesProduction(query, in: sql) || rows.contains { $0.tier == production }
        let counted = hasProduction ? rows.filter { $0.tier == production } : rows
        return report(counted.map(\.deployment), project: query.project, from: from, to: now, days: query.days)
    }

    private static let production = EnvironmentSpec.Tier.production.rawValue

    /// Whether some service runs in an environment of the production tier: then only such count.
    private static func usesProduction(_ query: DoraQuery, in sql: Connection) throws -> Bool {
        let environments = try sql.resources(EnvironmentKind.self, project: query.project)
            .filter { $0.spec.tier == .production }.map(\.reference.name)
        return try sql.resources(ServiceKind.self, project: query.project)
            .filter { query.service == nil || $0.reference.name == query.service }
            .contains { $0.spec.environment.map(environments.contains) ?? false }
    }

    // MARK: - Pure

    static func report(
        _ deployments: [Deployment], project: String, from: Timestamp, to: Timestamp, days: Int
    ) -> DoraReport {
        var report = DoraReport()
        (report.project, report.from, report.to) = (project, from, to)
        let ended = deployments.filter { $0.outcome == .succeeded || $0.outcome == .failed }
        let good = ended.filter { $0.outcome == .succeeded }
        func daily(_ items: [(at: Timestamp, value: Double)], _ fold: ([Double]) -> Double?) -> [Double?] {
            var values = [[Double]](repeating: [], count: days)
            for item in items {
                let index = Int((item.at.microseconds - from.microseconds) / day)
                values[min(max(0, index), days - 1)].append(item.value)
            }
            return values.map { $0.isEmpty ? nil : fold($0) }
        }
        func at(_ deployment: Deployment) -> Timestamp { deployment.finished_at ?? deployment.started_at }
        let leads = good.compactMap { one in one.lead_time_seconds.map { (at: at(one), value: $0) } }
        let failures = ended.map { (at: at($0), value: $0.outcome == .failed ? 1.0 : 0.0) }
        let recoveries = ended.filter { $0.outcome == .failed }.compactMap { one in
            one.first_bad_at.flatMap { bad in one.recovered_at.map { (at: at(one), value: seconds(bad, $0)) } }
        }
        report.deployment_frequency = number(
            good.isEmpty ? nil : Double(good.count) / Double(days), "per_day", frequencyTarget, n: good.count,
            daily(good.map { (at($0), 1) }) { $0.reduce(0, +) }
        ) { $0 >= frequencyTarget }
        report.lead_time = number(
            median(leads.map(\.value)), "seconds", leadTimeTarget, n: leads.count, daily(leads, median)
        ) { $0 < leadTimeTarget }
        report.change_failure_rate = number(
            mean(failures.map(\.value)), "fraction", failureTarget, n: failures.count, daily(failures, mean)
        ) { $0 < failureTarget }
        report.recovery_time = number(
            median(recoveries.map(\.value)), "seconds", recoveryTarget, n: recoveries.count, daily(recoveries, median)
        ) { $0 < recoveryTarget }
        report.deployments = Array(deployments.reversed().prefix(Dora.listLimit))
        return report
    }

    private static func number(
        _ value: Double?, _ unit: String, _ target: Double, n: Int, _ trend: [Double?], meets: (Double) -> Bool
    ) -> DoraNumber {
        var number = DoraNumber()
        (number.value, number.unit, number.target, number.n, number.trend) = (value, unit, target, n, trend)
        number.meets_target = value.map(meets)
        return number
    }

    static func seconds(_ from: Timestamp, _ to: Timestamp) -> Double {
        Double(max(0, to.microseconds - from.microseconds)) / 1e6
    }

    private static func mean(_ values: [Double]) -> Double? {
        values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
    }

    /// The middle value, or the mean of the two in the middle.
    static func median(_ values: [Double]) -> Double? {
        guard !values.isEmpty else { return nil }
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
}

extension RolloutRow {
    /// The attempt as DORA tells of it.
    var deployment: Deployment {
        var deployment = Deployment()
        (deployment.service, deployment.revision, deployment.outcome) = (service.name, revision, outcome)
        (deployment.commit, deployment.run, deployment.committed_at) = (commit, run, committedAt)
        (deployment.started_at, deployment.finished_at, deployment.reason) = (startedAt, finishedAt, reason)
        let isPromoted = completion == .promoted || completion == .fast_promoted
        if isPromoted, let committedAt, let finishedAt {
            deployment.lead_time_seconds = DoraMath.seconds(committedAt, finishedAt)
        }
        (deployment.first_bad_at, deployment.recovered_at) = (firstBadAt, recoveredAt)
        return deployment
    }
}
