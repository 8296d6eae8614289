import API
import Kernel
import Manifests
import SQL

/// What people ask of a service: deploy, promote, abort, undo.
///
/// Each is one transaction; the loop does the rest.
struct Verbs: Sendable {
    let store: Store
    let freezer: WorkloadFreezer
    let proxies: ProxyWatch
    let url: ProxyURL

    private static func spec(_ name: ServiceReference, in sql: Connection) throws -> ServiceSpec {
        guard let found = try sql.resource(ServiceKind.self, name) else {
            throw Problem.notFound("Service", name.name, project: name.project, list: "get services")
        }
        return found.spec
    }

    /// The environment a service runs in; none when it names none, or one that is not there.
    static func environment(_ spec: ServiceSpec, _ name: ServiceReference, in sql: Connection) throws
        -> EnvironmentSpec?
    {
        try spec.environment.flatMap { environment in
            try sql.resource(
                EnvironmentKind.self, Reference<EnvironmentKind>(project: name.project, name: environment))?.spec
        }
    }

    private func writer(_ change: Change, _ name: ServiceReference) throws -> RolloutWriter {
        RolloutWriter(
            change: change, name: name, spec: try Self.spec(name, in: change.sql), proxies: proxies, url: url)
    }

    // MARK: - Reading

    func status(_ name: ServiceReference) async throws -> ServiceStatus {
        let now = store.time.now
        return try await store.read { sql in
            try report(name, try Self.spec(name, in: sql), now, in: sql)
        }
    }

    func list(_ project: String) async throws -> [ServiceStatus] {
        let now = store.time.now
        return try await store.read { sql in
            try sql.resources(ServiceKind.self, project: project).map {
                try report($0.reference, $0.spec, now, in: sql)
            }
        }
    }

    private func report(
        _ name: ServiceReference, _ spec: ServiceSpec, _ now: Timestamp, in sql: Connection
    ) throws -> ServiceStatus {
        let view = try RolloutView(try ServiceRow.read(name, in: sql), spec, proxies: proxies, at: now, in: sql)
        return try StatusReport.status(name, spec, view, url: url, now: now, withTraffic: true, in: sql)
    }

    // MARK: - Deploying

    func deploy(_ input: DeployInput, _ call: Call) async throws -> ServiceStatus {
        let name = ServiceReference(project: input.project, name: input.name)
        let (spec, environment, newest, isKnown) = try await store.read { sql in
            let spec = try Self.spec(name, in: sql)
            return (
                spec, try Self.environment(spec, name, in: sql),
                try RevisionRow.all(of: name, in: sql).last?.workload,
                try RevisionRow.find(key: input.key, of: name, in: sql) != nil
            )
        }
        if isKnown { return try await status(name) }
        let frozen = try await freezer.freeze(
            spec, environment, project: input.project, model: input.model, image: input.image,
            artifact: input.artifact, newest: newest, as: call)
        guard let frozen else {
            throw Problem(
                "service.no-version", status: 422,
                "the deploy does not say which version of model \"\(spec.workload.model ?? "")\" to serve",
                hint: "Name it: model: \(spec.workload.model ?? "name")@3, or an alias.")
        }
        let signature = WorkloadFreezer.signature(spec, environment)
        try await store.change(call) { change in
            guard try RevisionRow.find(key: input.key, of: name, in: change.sql) == nil else { return }
            let writer = try writer(change, name)
            var service = try ServiceRow.read(name, in: change.sql)
            if !input.override {
                try Condemned.refuse(frozen, commit: input.commit, of: name, stable: service.stable, in: change.sql)
            }
            (service.signature, service.problem) = (signature, nil)
            var revision = RevisionRow(name, service.nextRevision, key: input.key, frozen, at: change.now)
            revision.signature = signature
            (revision.commit, revision.run, revision.pipeline) = (input.commit, input.run, input.pipeline)
            try writer.begin(
                revision, committedAt: input.committed_at, tier: environment?.tier, isHotfix: input.hotfix, &service)
            _ = try writer.settle()
        }
        return try await status(name)
    }

    // MARK: - Steering

    func promote(_ input: PromoteInput, _ call: Call) async throws -> ServiceStatus {
        let name = ServiceReference(project: input.project, name: input.name)
        let ended = try await store.read { sql in
            try RolloutRow.newest(of: name, in: sql).flatMap { $0.completion == .aborted ? $0 : nil }
        }
        // In full means whatever was said before, an abort too.
        if ended != nil, input.full {
            return try await change(name, call) { writer in try writer.retry(isFull: true) }
        }
        if let ended { throw Self.aborted(ended, "promote") }
        return try await steer(input.project, input.name, call, verb: "promote") { writer, trial in
            if input.full {
                try writer.skipSteps(trial)
            } else if trial.pauseKind == .held {
                // One thing at a time: what a person held goes on where it was.
                try writer.resume(trial, [:])
            } else {
                guard trial.step < trial.plan.stages.count || trial.pause != nil else {
                    throw Problem(
                        "rollout.last-step", status: 409,
                        "revision \(trial.revision) is on its last step already, on the way to all traffic",
                        hint: "See what it waits for: vagus status \(input.name)")
                }
                if trial.pause != nil { try writer.heedAnalyses(trial) }
                try writer.advance(trial)
            }
        }
    }

    func abort(_ input: AbortInput, _ call: Call) async throws -> ServiceStatus {
        try await steer(input.project, input.name, call, verb: "abort") { writer, trial in
            try writer.end(trial, .aborted, reason: input.reason ?? "\(call.actor) aborted it")
        }
    }

    func pause(_ input: HoldInput, _ call: Call) async throws -> ServiceStatus {
        try await steer(input.project, input.name, call, verb: "pause") { writer, trial in
            guard trial.pause == nil else { return }
            var rollout = trial
            (rollout.pause, rollout.pauseKind) = (input.reason ?? "\(call.actor) paused it", .held)
            try writer.save(&rollout)
            try writer.tell("rollout.paused", rollout, ["reason": (rollout.pause ?? "").json, "kind": "held"])
        }
    }

    func resume(_ input: HoldInput, _ call: Call) async throws -> ServiceStatus {
        try await steer(input.project, input.name, call, verb: "resume") { writer, trial in
            guard trial.pauseKind == .held else {
                throw Problem(
                    "rollout.not-held", status: 409, "the rollout of service \"\(input.name)\" is not held by hand",
                    hint: "End a pause of its steps, or a judge's, with: vagus promote \(input.name)")
            }
            try writer.resume(trial, input.reason.map { ["reason": .string($0)] } ?? [:])
        }
    }

    private static func aborted(_ rollout: RolloutRow, _ verb: String) -> Problem {
        Problem(
            "rollout.aborted", status: 409,
            "revision \(rollout.revision) of service \"\(rollout.service.name)\" was aborted, so there is nothing to "
                + "\(verb): \(rollout.reason ?? "no reason was given")",
            hint: "Roll it out once more from the first step with: vagus retry \(rollout.service.name)")
    }

    /// Changes the rollout under way, then does what follows.
    private func steer(
        _ project: String, _ name: String, _ call: Call, verb: String,
        _ body: @Sendable @escaping (RolloutWriter, RolloutRow) throws -> Void
    ) async throws -> ServiceStatus {
        let name = ServiceReference(project: project, name: name)
        try await store.change(call) { change in
            let writer = try writer(change, name)
            let newest = try RolloutRow.newest(of: name, in: change.sql)
            guard let rollout = newest, rollout.isUnderWay else {
                if let newest, newest.completion == .aborted, verb != "abort" { throw Self.aborted(newest, verb) }
                throw Problem(
                    "rollout.none", status: 409,
                    "nothing is being rolled out for service \"\(name.name)\", so there is nothing to \(verb)",
                    hint: verb == "abort"
                        ? "Go back to an earlier revision with: vagus undo \(name.name)"
                        : "See how it is with: vagus status \(name.name)")
            }
            try body(writer, rollout)
            _ = try writer.settle()
        }
        return try await status(name)
    }

    /// One change of a service, then what follows from it.
    private func change(
        _ name: ServiceReference, _ call: Call, _ body: @Sendable @escaping (RolloutWriter) throws -> Void
    ) async throws -> ServiceStatus {
        try await store.change(call) { change in
            let writer = try writer(change, name)
            try body(writer)
            _ = try writer.settle()
        }
        return try await status(name)
    }

    func undo(_ input: UndoInput, _ call: Call) async throws -> ServiceStatus {
        try await change(ServiceReference(project: input.project, name: input.name), call) { writer in
            try writer.undo(
                to: input.revision, isGradual: input.gradual, isAcross: input.across_migration, by: call.actor)
        }
    }

    func retry(_ input: Name, _ call: Call) async throws -> ServiceStatus {
        try await change(ServiceReference(project: input.project, name: input.name), call) { writer in
            try writer.retry(isFull: false)
        }
    }

    /// Sets the copies in the declared service itself, so that what is declared and what is so stay one.
    func scale(_ input: ScaleInput, _ call: Call) async throws -> ServiceStatus {
        let name = ServiceReference(project: input.project, name: input.name)
        try await store.change(call) { change in
            _ = try Self.spec(name, in: change.sql)
            guard
                var resource = try change.sql.resource(
                    kind: ServiceKind.name, project: name.project, name: name.name)
            else { return }
            var spec = try ServiceSpec(json: resource.spec, at: [])
            spec.workload.replicas = input.replicas
            resource.spec = spec.json
            _ = try change.put(resource)
        }
        return try await change(name, call) { _ in }
    }

    func restart(_ input: Name, _ call: Call) async throws -> ServiceStatus {
        try await change(ServiceReference(project: input.project, name: input.name), call) { writer in
            let (sql, now) = (writer.change.sql, writer.change.now)
            if let rollout = try RolloutRow.newest(of: writer.name, in: sql), rollout.isUnderWay {
                throw Problem(
                    "rollout.under-way", status: 409,
                    "revision \(rollout.revision) of service \"\(input.name)\" is being rolled out",
                    hint: "Restart it when that is over, or end it with: vagus abort \(input.name)")
            }
            var service = try ServiceRow.read(writer.name, in: sql)
            service.restartedAt = now
            try service.write(in: sql)
            try writer.change.tell("service.restarted", about: writer.name.subject, [:])
        }
    }

    // MARK: - Judgements

    func analysis(_ input: AnalysisQuery) async throws -> AnalysisReport {
        let name = ServiceReference(project: input.project, name: input.name)
        return try await store.read { sql in
            _ = try Self.spec(name, in: sql)
            var report = AnalysisReport()
            (report.project, report.service, report.rollout) = (name.project, name.name, input.rollout)
            let rollout =
                try input.rollout.map { try RolloutRow.find($0, of: name, in: sql) }
                ?? RolloutRow.newest(of: name, in: sql)
            guard let rollout else {
                guard let number = input.rollout else { return report }
                throw Problem(
                    "rollout.not-found", status: 404, "service \"\(name.name)\" has no rollout \(number)",
                    hint: "See the newest with: vagus analysis \(name.name)")
            }
            (report.revision, report.rollout) = (rollout.revision, rollout.number)
            report.runs = AnalysisRun.runs(try AnalysisRecord.all(of: name, rollout: rollout.number, in: sql))
            return report
        }
    }

    func note(_ input: OutcomesInput, _ call: Call) async throws {
        guard input.items.count <= OutcomesInput.itemLimit else {
            throw Problem(
                "outcomes.too-many", status: 413, "a request tells at most \(OutcomesInput.itemLimit) outcomes",
                hint: "Send them in parts.")
        }
        let name = ServiceReference(project: input.project, name: input.name)
        try await store.change(call) { change in
            let rollout = try RolloutRow.newest(of: name, in: change.sql)
            guard let rollout, rollout.isUnderWay, rollout.settings.strategy == .a_b_testing else {
                throw Problem(
                    "rollout.none", status: 409, "no a_b_testing rollout of service \"\(name.name)\" is under way",
                    hint: "See how it is with: vagus status \(name.name)")
            }
            let sides = [rollout.revision, rollout.origin ?? 0]
            for item in input.items where sides.contains(item.revision) {
                try OutcomeRow.note(item, rollout.number, of: name, in: change)
            }
        }
    }
}
