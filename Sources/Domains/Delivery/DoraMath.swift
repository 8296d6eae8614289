import API
import Kernel
import Manifests
import Stats

extension Dora {
    /// Deployments that one report may stand on.
    static let deploymentLimit = 10_000
    /// Deployments that one report lists.
    static let listLimit = 500
}

/// The five numbers, from deployments. Definitions of dora.dev, each measured and none typed in; the edge cases are
/// decided in docs/reference/dora.md. Pure.
enum DoraMath {
    static let frequencyTarget = 10.0
    static let leadTimeTarget = 3600.0
    static let failureTarget = 0.05
    static let recoveryTarget = 900.0
    static let reworkTarget = 0.1
    private static let day: Int64 = 86_400_000_000

    /// What one number stands on: when, how much, and which deployment.
    private struct Fact {
        var at: Timestamp
        var value: Double
        var id: String
    }

    /// When a deployment counts: when it ended.
    static func moment(_ deployment: Deployment) -> Timestamp { deployment.finished_at ?? deployment.started_at }

    static func report(
        _ deployments: [Deployment], project: String, from: Timestamp, to: Timestamp, days: Int
    ) -> DoraReport {
        var report = DoraReport()
        (report.project, report.from, report.to) = (project, from, to)
        let seen = deployments.filter { from <= moment($0) && moment($0) <= to }
        let ended = seen.filter { $0.outcome == .succeeded || $0.outcome == .failed }
        let good = ended.filter { $0.outcome == .succeeded }
        func fact(_ one: Deployment, _ value: Double) -> Fact { Fact(at: moment(one), value: value, id: one.id) }
        let leads = good.compactMap { one in one.lead_time_seconds.map { fact(one, $0) } }
        let failures = ended.map { fact($0, $0.outcome == .failed ? 1 : 0) }
        let reworks = ended.map { fact($0, $0.rework ? 1 : 0) }
        let recoveries = ended.filter { $0.outcome == .failed }.compactMap { one in
            one.first_bad_at.flatMap { bad in one.recovered_at.map { fact(one, seconds(bad, $0)) } }
        }
        func trend(_ facts: [Fact], _ fold: ([Double]) -> Double?) -> [Double?] {
            var values = [[Double]](repeating: [], count: days)
            for item in facts {
                let index = Int((item.at.microseconds - from.microseconds) / day)
                values[min(max(0, index), days - 1)].append(item.value)
            }
            return values.map { $0.isEmpty ? nil : fold($0) }
        }
        let deploys = good.map { fact($0, 1) }
        let daily = trend(deploys) { $0.reduce(0, +) }
        report.deployment_frequency = number(
            good.isEmpty ? nil : Double(good.count) / Double(days), "per_day", frequencyTarget, deploys, daily
        ) { $0 >= frequencyTarget }
        report.deployment_frequency.distribution = good.isEmpty ? nil : distribution(daily.map { $0 ?? 0 })
        report.lead_time = number(
            median(leads.map(\.value)), "seconds", leadTimeTarget, leads, trend(leads, median)
        ) { $0 < leadTimeTarget }
        report.lead_time.distribution = distribution(leads.map(\.value))
        report.change_failure_rate = number(
            mean(failures.map(\.value)), "fraction", failureTarget, failures, trend(failures, mean)
        ) { $0 < failureTarget }
        report.change_failure_rate.weighted = mean(
            ended.map { $0.outcome == .failed ? $0.exposure ?? 1 : 0 })
        report.recovery_time = number(
            median(recoveries.map(\.value)), "seconds", recoveryTarget, recoveries, trend(recoveries, median)
        ) { $0 < recoveryTarget }
        report.recovery_time.distribution = distribution(recoveries.map(\.value))
        report.rework_rate = number(
            mean(reworks.map(\.value)), "fraction", reworkTarget, reworks, trend(reworks, mean)
        ) { $0 < reworkTarget }
        report.lead_time_parts = parts(good.compactMap(\.parts))
        report.deployments = Array(seen.reversed().prefix(Dora.listLimit))
        return report
    }

    private static func number(
        _ value: Double?, _ unit: String, _ target: Double, _ facts: [Fact], _ trend: [Double?],
        meets: (Double) -> Bool
    ) -> DoraNumber {
        var number = DoraNumber()
        (number.value, number.unit, number.target, number.n, number.trend) = (value, unit, target, facts.count, trend)
        number.meets_target = value.map(meets)
        number.evidence = Array(facts.map(\.id).reversed().prefix(Dora.listLimit))
        return number
    }

    // MARK: - What only shows in their order

    /// Marks rework: a deployment that follows upon a failed one of its service, superseded ones left out; and takes
    /// incidents in, each by the deployment that had all traffic when it began.
    ///
    /// - Parameter deployments: Of any services, oldest first.
    static func judged(_ deployments: [Deployment], incidents: [Incident]) -> [Deployment] {
        var all = deployments
        for incident in incidents where incident.isByChange {
            // By the revision that is named, else by what had come to all traffic last.
            let place = all.lastIndex { one in
                guard one.service == incident.service else { return false }
                if let revision = incident.revision { return one.revision == revision && one.outcome != .superseded }
                return one.finished_at.map { $0 <= incident.beganAt } == true && one.isPromoted
            }
            guard let place else { continue }
            all[place].incidents.append(incident.id)
            // One deployment fails once, however many incidents it caused.
            if all[place].outcome == .succeeded {
                all[place].outcome = .failed
                all[place].exposure = 1
                all[place].first_bad_at = incident.beganAt
                all[place].recovered_at = incident.endedAt
            } else {
                all[place].first_bad_at = min(all[place].first_bad_at ?? incident.beganAt, incident.beganAt)
                if let end = incident.endedAt { all[place].recovered_at = max(all[place].recovered_at ?? end, end) }
            }
        }
        var hasFailed: [String: Bool] = [:]
        for index in all.indices {
            let one = all[index]
            all[index].rework = one.hotfix || hasFailed[one.service] == true
            if one.outcome == .succeeded || one.outcome == .failed { hasFailed[one.service] = one.outcome == .failed }
        }
        return all
    }

    // MARK: - Numbers

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

    private static func distribution(_ values: [Double]) -> DoraDistribution? {
        guard let least = values.min(), let most = values.max() else { return nil }
        let sorted = values.sorted()
        // There is at least one value, so there is a quantile.
        func quantile(_ q: Double) -> Double { (try? Descriptive.quantile(sorted: sorted, q)) ?? most }  // see above
        var found = DoraDistribution()
        (found.min, found.max) = (least, most)
        (found.p50, found.p75, found.p90, found.p95) = (quantile(0.5), quantile(0.75), quantile(0.9), quantile(0.95))
        return found
    }

    private static func parts(_ all: [LeadTimeParts]) -> LeadTimeParts {
        var parts = LeadTimeParts()
        func middle(_ path: KeyPath<LeadTimeParts, Double?>) -> Double? { median(all.compactMap { $0[keyPath: path] }) }
        (parts.wait, parts.review, parts.queue) = (middle(\.wait), middle(\.review), middle(\.queue))
        (parts.build, parts.approval, parts.rollout) = (middle(\.build), middle(\.approval), middle(\.rollout))
        parts.n = all.count
        return parts
    }
}

/// An incident as it was told.
struct Incident: Sendable, Equatable {
    var service: String
    var id: String
    var beganAt: Timestamp
    var endedAt: Timestamp?
    var revision: Int?
    var isByChange = true
}

extension Deployment {
    /// Whether it once had all traffic: it has a lead time's end.
    fileprivate var isPromoted: Bool { outcome == .succeeded || (outcome == .failed && exposure == 1) }
}

extension RolloutRow {
    /// The attempt as DORA tells of it.
    var deployment: Deployment {
        var deployment = Deployment()
        deployment.id = "\(service.name)/\(number)"
        (deployment.service, deployment.revision, deployment.outcome) = (service.name, revision, outcome)
        (deployment.commit, deployment.run, deployment.committed_at) = (commit, run, committedAt)
        (deployment.started_at, deployment.finished_at, deployment.reason) = (startedAt, finishedAt, reason)
        let isPromoted = completion == .promoted || completion == .fast_promoted
        // A commit from after its own deployment has a wrong clock.
        if isPromoted, let committedAt, let finishedAt, committedAt <= finishedAt {
            deployment.lead_time_seconds = DoraMath.seconds(committedAt, finishedAt)
        }
        (deployment.first_bad_at, deployment.recovered_at) = (firstBadAt, recoveredAt)
        (deployment.exposure, deployment.hotfix) = (exposure, isHotfix)
        return deployment
    }
}
