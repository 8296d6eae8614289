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
        // Whether it fails later or not, it was brought to production.
        let arrived = ended.filter { $0.all_traffic_at != nil }
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
        let deploys = arrived.map { fact($0, 1) }
        let daily = trend(deploys) { $0.reduce(0, +) }
        report.deployment_frequency = number(
            arrived.isEmpty ? nil : Double(arrived.count) / Double(days), "per_day", frequencyTarget, deploys, daily
        ) { $0 >= frequencyTarget }
        report.deployment_frequency.distribution = arrived.isEmpty ? nil : distribution(daily.map { $0 ?? 0 })
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
    /// - Parameters:
    ///   - deployments: Of any services, oldest first.
    ///   - tenures: When which revision had all traffic, ways back among them; in any order.
    ///   - incidents: Of any services.
    /// - Returns: The same deployments in the same order.
    static func judged(_ deployments: [Deployment], tenures: [Tenure], incidents: [Incident]) -> [Deployment] {
        var all = deployments
        let history = Dictionary(grouping: tenures, by: \.service).mapValues { $0.sorted(by: Tenure.isBefore) }
        for incident in incidents where incident.isByChange {
            guard let place = culprit(incident, all, history[incident.service] ?? []) else { continue }
            all[place].note(incident)
        }
        var hasFailed: [String: Bool] = [:]
        for index in all.indices {
            let one = all[index]
            all[index].rework = one.hotfix || hasFailed[one.service] == true
            if one.outcome == .succeeded || one.outcome == .failed { hasFailed[one.service] = one.outcome == .failed }
        }
        return all
    }

    /// The deployment that an incident is put on: that of the named revision, else the one that had all traffic.
    private static func culprit(_ incident: Incident, _ all: [Deployment], _ history: [Tenure]) -> Int? {
        if let revision = incident.revision {
            func isOf(_ one: Deployment) -> Bool {
                one.service == incident.service && one.revision == revision && one.outcome != .superseded
            }
            return all.lastIndex { isOf($0) && $0.started_at <= incident.beganAt } ?? all.lastIndex(where: isOf)
        }
        let holder = history.last { tenure in
            tenure.from <= incident.beganAt && (tenure.until.map { incident.beganAt < $0 } ?? true)
        }
        guard let holder else { return nil }
        // A way back is no deployment: the one that had brought this revision there before it is.
        let source =
            holder.deployment
            ?? history.last { Tenure.isBefore($0, holder) && $0.revision == holder.revision && $0.deployment != nil }?
            .deployment
        return source.flatMap { id in all.firstIndex { $0.id == id && $0.service == incident.service } }
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

/// A time in which one revision had all traffic; the next one ends it.
struct Tenure: Sendable, Equatable {
    var service: String
    var revision: Int
    /// Number of the rollout that brought it there.
    var rollout: Int
    var from: Timestamp
    /// When its rollout was taken back, and what was there before had all traffic again; nil: until the next tenure.
    var until: Timestamp?
    /// The deployment that it begins with; nil for a way back.
    var deployment: String?

    static func isBefore(_ first: Tenure, _ second: Tenure) -> Bool {
        (first.from, first.rollout) < (second.from, second.rollout)
    }
}

extension Deployment {
    /// Takes in an incident that it caused.
    ///
    /// It fails once, however many there are, and is recovered when the last of them is over.
    fileprivate mutating func note(_ incident: Incident) {
        incidents.append(incident.id)
        switch outcome {
        case .succeeded:
            (outcome, exposure) = (.failed, 1)
            (first_bad_at, recovered_at) = (incident.beganAt, incident.endedAt)
        case .failed:
            first_bad_at = min(first_bad_at ?? incident.beganAt, incident.beganAt)
            if let end = incident.endedAt, let recovered = recovered_at {
                recovered_at = max(recovered, end)
            } else {
                recovered_at = nil
            }
        case .under_way, .superseded: break  // counts neither way
        }
    }
}

extension RolloutRow {
    /// When it came to all traffic, whatever became of it then.
    private var allTrafficAt: Timestamp? {
        switch completion {
        case .promoted, .fast_promoted, .rolled_back: switchedAt ?? finishedAt
        case .aborted, .superseded, nil: switchedAt
        }
    }

    /// The time in which its revision had all traffic by it.
    var tenure: Tenure? {
        guard let from = allTrafficAt else { return nil }
        let isTakenBack = completion == .aborted || completion == .superseded
        return Tenure(
            service: service.name, revision: revision, rollout: number, from: from,
            until: isTakenBack ? finishedAt : nil, deployment: isRollback ? nil : deployment.id)
    }

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
        deployment.all_traffic_at = allTrafficAt
        (deployment.first_bad_at, deployment.recovered_at) = (firstBadAt, recoveredAt)
        (deployment.exposure, deployment.hotfix) = (exposure, isHotfix)
        return deployment
    }
}
