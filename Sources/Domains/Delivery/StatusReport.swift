import API
import Kernel
import Manifests
import SQL

/// Where the proxy of this house is reached.
struct ProxyURL: Sendable {
    let proxy: String

    /// Its address as it last told; of any other proxy when this one was never seen.
    func address(in sql: Connection) throws -> String? {
        let known: String? =
            try sql.value("SELECT url FROM delivery_proxy WHERE name = \(proxy) AND url <> ''")
            ?? sql.value("SELECT url FROM delivery_proxy WHERE url <> '' ORDER BY first_seen_at DESC LIMIT 1")
        return known.map { $0.hasSuffix("/") ? String($0.dropLast()) : $0 }
    }
}

/// What people and programs are told of a service.
enum StatusReport {
    /// Lines of a difference that are told.
    private static let differenceLimit = 20

    /// The whole status; the numbers of requests, which change all the time, only when they are asked for.
    static func status(
        _ name: ServiceReference, _ spec: ServiceSpec, _ view: RolloutView, url: ProxyURL, now: Timestamp,
        withTraffic: Bool, in sql: Connection
    ) throws -> ServiceStatus {
        var status = ServiceStatus()
        (status.project, status.service) = (name.project, name.name)
        (status.phase, status.message) = RolloutWords.tell(view, now: now)
        if let rollout = view.rollout {
            // A rollout promoted in full skips its steps, yet it has them.
            let hasSteps = !(rollout.isRollback && rollout.isFast) && rollout.origin != nil
            status.steps = RolloutPlan(rollout.settings, isDirect: !hasSteps).stages.count
            status.step = rollout.isUnderWay || rollout.completion == .aborted ? rollout.step : nil
            if rollout.isUnderWay { status.step_name = rollout.plan.words(rollout.step) }
            status.aborted = rollout.completion == .aborted
            status.completion = rollout.completion
            status.rollout_started_at = rollout.startedAt
            status.rollout = rollout.number
            status.held = rollout.isUnderWay && rollout.pauseKind == .held
        }
        status.stable_revision = view.stable
        status.preview_revision = view.trial?.revision
        status.active_revision =
            view.revisions.map { ($0.revision, view.weight(of: $0.revision)) }
            .filter { $0.1 > 0 }.max { ($0.1, $0.0) < ($1.1, $1.0) }?.0
        status.url = try url.address(in: sql).map { $0 + RouteShape.path(name, spec) }
        status.analyses = view.analyses.map(\.status)
        status.revisions = try revisions(name, view, withTraffic: withTraffic, in: sql)
        status.arms = try arms(name, view, withTraffic: withTraffic, in: sql)
        return status
    }

    private static func arms(
        _ name: ServiceReference, _ view: RolloutView, withTraffic: Bool, in sql: Connection
    ) throws -> [ArmStatus] {
        try RevisionRow.all(of: name, in: sql).compactMap { row in
            guard let arm = row.arm, let source = row.armOf, let seen = view.revision(row.revision) else { return nil }
            var status = ArmStatus()
            (status.name, status.revision) = (arm, source)
            (status.replicas, status.ready) = (seen.live.count, seen.ready)
            status.weight = view.weight(of: row.revision)
            guard withTraffic else { return status }
            let total = try TrafficRow.total(row.revision, of: name, in: sql)
            (status.requests, status.errors) = (total.requests, total.errors)
            return status
        }
    }

    private static func revisions(
        _ name: ServiceReference, _ view: RolloutView, withTraffic: Bool, in sql: Connection
    ) throws -> [RevisionStatus] {
        let rows = try RevisionRow.all(of: name, in: sql).filter { $0.armOf == nil }
        let shown = rows.filter { row in
            row.revision == rows.last?.revision || view.revision(row.revision) != nil
        }
        return try shown.map { row in
            var status = RevisionStatus()
            status.revision = row.revision
            let seen = view.revision(row.revision)
            status.replicas = seen?.live.count ?? 0
            status.ready = seen?.ready ?? 0
            status.weight = view.weight(of: row.revision)
            (status.model, status.image) = (row.workload.modelText, row.workload.container?.image)
            (status.colour, status.migration) = (row.workload.colour, row.workload.migration)
            (status.commit, status.run, status.created_at) = (row.commit, row.run, row.createdAt)
            guard withTraffic else { return status }
            let total = try TrafficRow.total(row.revision, of: name, in: sql)
            (status.requests, status.errors) = (total.requests, total.errors)
            status.p99_ms = total.milliseconds(0.99)
            let stable = rows.first { $0.revision == view.stable && $0.revision != row.revision }
            if let other = stable ?? rows.last(where: { $0.revision < row.revision }) {
                let lines = Difference.lines(from: other.workload.json, to: row.workload.json)
                status.difference = Array(lines.prefix(Self.differenceLimit))
            }
            return status
        }
    }
}

/// How a service is, in one sentence.
///
/// Pure.
enum RolloutWords {
    static func tell(_ view: RolloutView, now: Timestamp) -> (ServiceStatus.Phase, String) {
        if let problem = view.problem { return (.degraded, "The applied workload cannot be rolled out: \(problem).") }
        if let trial = view.trial { return underWay(trial, view, now) }
        guard let rollout = view.rollout else {
            if let model = view.awaitedModel {
                return (.progressing, "It waits for a deploy step to choose a version of model \(model).")
            }
            return (.progressing, "Its first revision is being made.")
        }
        let stable =
            view.stable.map { "revision \($0) has all traffic" } ?? "there is no earlier revision to go back to"
        if rollout.completion == .aborted, rollout.weight > 0 {
            return (
                .degraded,
                "Revision \(rollout.revision) was aborted: \(rollout.reason ?? "no reason was given"); it keeps "
                    + "\(rollout.weight) % of the traffic until the copies of the stable revision are back."
            )
        }
        if rollout.completion == .aborted {
            return (
                .degraded,
                "Revision \(rollout.revision) was aborted: \(rollout.reason ?? "no reason was given"); "
                    + "\(stable)\(waiting(view))."
            )
        }
        guard let number = view.stable, let revision = view.revision(number) else {
            return (.degraded, "No revision is in service.")
        }
        if view.replicas == 0 { return (.healthy, "Revision \(number) has no copies, as wanted.") }
        if revision.ready < view.replicas {
            let why = revision.trouble.map { " (\($0))" } ?? ""
            let phase: ServiceStatus.Phase = revision.ready == 0 ? .degraded : .progressing
            return (phase, "\(revision.ready) of \(view.replicas) copies of revision \(number) are well\(why).")
        }
        let how = rollout.completion == .rolled_back ? " after it was gone back to" : ""
        return (
            .healthy,
            "Revision \(number) has all traffic\(how), "
                + "with \(view.replicas == 1 ? "its copy" : "all \(view.replicas) copies") well."
        )
    }

    private static func waiting(_ view: RolloutView) -> String {
        view.acknowledgement == .yes ? "" : ", as soon as the proxy has taken it up"
    }

    private static func underWay(
        _ trial: RolloutRow, _ view: RolloutView, _ now: Timestamp
    ) -> (ServiceStatus.Phase, String) {
        let name = "Revision \(trial.revision)"
        if let pause = trial.pause, trial.pauseKind == .held {
            return (.paused, "\(name) is held by hand with \(trial.weight) % of the traffic: \(pause).")
        }
        if let pause = trial.pause {
            return (.paused, "\(name) waits for a decision with \(trial.weight) % of the traffic: \(pause).")
        }
        let needed = RolloutDecision.neededReady(trial, view)
        let seen = view.revision(trial.revision)
        if let seen, seen.ready < needed {
            let why = seen.trouble.map { " (\($0))" } ?? ""
            return (.progressing, "\(name): \(seen.ready) of \(needed) copies are well\(why).")
        }
        if view.isGated, let release = trial.release, release.readyAt != nil {
            return (.progressing, "\(name) is ready, and waits for the others of release \(release.name).")
        }
        let stage = trial.plan.stage(trial.step)
        switch stage {
        case .pause(nil):
            return (.paused, "\(name) has \(trial.weight) % of the traffic and waits until somebody promotes it.")
        case .pause(let duration?):
            return (
                .paused,
                "\(name) has \(trial.weight) % of the traffic and pauses until \(trial.stepAt.advanced(by: duration))."
            )
        case .analyze:
            let open = view.analyses.filter { $0.step == trial.step && $0.verdict == .running }
            let said = open.map { "\($0.name): \($0.message)" }.joined(separator: "; ")
            return (
                .progressing,
                "\(name) has \(trial.weight) % of the traffic and is being judged\(said.isEmpty ? "" : " (\(said))")."
            )
        case .mirror(let duration?):
            return (
                .progressing,
                "\(name) is mirrored \(trial.plan.mirrored(at: trial.step)) % of the requests until "
                    + "\(trial.stepAt.advanced(by: duration))."
            )
        case .experiment(let spec):
            return (
                .progressing,
                "\(name) is compared in an experiment until \(trial.stepAt.advanced(by: spec.for.duration))."
            )
        case .weight, .preview, .all, .scale, .route, .mirror(nil):
            if view.acknowledgement == .away {
                return (
                    .progressing,
                    "\(name) shall have \(trial.weight) % of the traffic; waiting for the proxy, which does not answer."
                )
            }
            if view.acknowledgement == .waiting {
                return (
                    .progressing,
                    "\(name) shall have \(trial.weight) % of the traffic; waiting for the proxy to take it up."
                )
            }
            return (.progressing, "\(name) goes to \(trial.plan.words(trial.step)).")
        }
    }
}
