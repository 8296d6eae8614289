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
            spec, environment, project: input.project, model: input.model, artifact: input.artifact,
            newest: newest, as: call)
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
            (service.signature, service.problem) = (signature, nil)
            var revision = RevisionRow(name, service.nextRevision, key: input.key, frozen, at: change.now)
            (revision.commit, revision.run, revision.pipeline) = (input.commit, input.run, input.pipeline)
            try writer.begin(
                revision, committedAt: input.committed_at, tier: environment?.tier, &service)
            _ = try writer.settle()
        }
        return try await status(name)
    }

    // MARK: - Steering

    func promote(_ input: PromoteInput, _ call: Call) async throws -> ServiceStatus {
        try await steer(input.project, input.name, call, verb: "promote") { writer, trial in
            if input.full {
                var rollout = trial
                rollout.isFull = true
                rollout.pause = nil
                rollout.step = trial.plan.stages.count
                rollout.stepAt = writer.change.now
                try rollout.write(in: writer.change.sql)
                try writer.tell("rollout.step", rollout, ["full": true])
            } else {
                guard trial.step < trial.plan.stages.count || trial.pause != nil else {
                    throw Problem(
                        "rollout.last-step", status: 409,
                        "revision \(trial.revision) is on its last step already, on the way to all traffic",
                        hint: "See what it waits for: vagus status \(input.name)")
                }
                try writer.advance(trial)
            }
        }
    }

    func abort(_ input: AbortInput, _ call: Call) async throws -> ServiceStatus {
        try await steer(input.project, input.name, call, verb: "abort") { writer, trial in
            try writer.end(trial, .aborted, reason: input.reason ?? "\(call.actor) aborted it")
        }
    }

    /// Changes the rollout under way, then does what follows.
    private func steer(
        _ project: String, _ name: String, _ call: Call, verb: String,
        _ body: @Sendable @escaping (RolloutWriter, RolloutRow) throws -> Void
    ) async throws -> ServiceStatus {
        let name = ServiceReference(project: project, name: name)
        try await store.change(call) { change in
            let writer = try writer(change, name)
            guard let rollout = try RolloutRow.newest(of: name, in: change.sql), rollout.isUnderWay else {
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

    func undo(_ input: UndoInput, _ call: Call) async throws -> ServiceStatus {
        let name = ServiceReference(project: input.project, name: input.name)
        try await store.change(call) { change in
            let writer = try writer(change, name)
            try writer.undo(to: input.revision, by: call.actor)
            _ = try writer.settle()
        }
        return try await status(name)
    }
}

extension RolloutWriter {
    /// Makes a revision and begins to roll it out; one under way is superseded.
    func begin(
        _ revision: RevisionRow, committedAt: Timestamp?, tier: EnvironmentSpec.Tier?, _ service: inout ServiceRow
    ) throws {
        let sql = change.sql
        if let old = try RolloutRow.newest(of: name, in: sql), old.isUnderWay {
            try end(old, .superseded, reason: "revision \(revision.revision) came after it")
        }
        service.nextRevision += 1
        try revision.write(in: sql)
        var facts: Ordered<JSONValue> = ["revision": .integer(Int64(revision.revision)), "key": .string(revision.key)]
        if let model = revision.workload.modelText { facts["model"] = .string(model) }
        if let commit = revision.commit { facts["commit"] = .string(commit) }
        if let run = revision.run { facts["run"] = .string(run) }
        try change.tell("service.revision-created", about: name.subject, facts)
        var rollout = RolloutRow(
            name, number: service.nextRollout, revision: revision.revision, settings: spec.rollout, at: change.now)
        (rollout.commit, rollout.run, rollout.committedAt) = (revision.commit, revision.run, committedAt)
        rollout.tier = tier?.rawValue ?? ""
        try start(rollout, &service)
    }

    private func start(_ new: RolloutRow, _ service: inout ServiceRow) throws {
        var rollout = new
        rollout.origin = service.stable
        service.nextRollout += 1
        try rollout.write(in: change.sql)
        try service.write(in: change.sql)
        try tell(
            "rollout.started", rollout,
            ["strategy": .string(rollout.settings.strategy.rawValue), "rollback": .bool(rollout.isRollback)])
    }

    /// Goes back to an earlier revision: the one named, or the newest that was trusted before the present one.
    ///
    /// While something is rolled out, the way back is to end that, and the stable revision is where it leads.
    func undo(to wanted: Int?, by actor: String) throws {
        let sql = change.sql
        var service = try ServiceRow.read(name, in: sql)
        let trial = try RolloutRow.newest(of: name, in: sql).flatMap { $0.isUnderWay ? $0 : nil }
        // Asked for twice is asked for once.
        if let trial, trial.isRollback, wanted == nil || wanted == trial.revision { return }
        let rows = try RevisionRow.all(of: name, in: sql)
        let target =
            wanted
            ?? (trial == nil
                ? rows.last { $0.wasStable && $0.revision < (service.stable ?? 0) }?.revision : service.stable)
        guard let target, var revision = rows.first(where: { $0.revision == target }) else {
            throw Problem(
                "revision.not-found", status: wanted == nil ? 409 : 404,
                wanted.map { "service \"\(name.name)\" has no revision \($0)" }
                    ?? "there is no earlier revision of service \"\(name.name)\" to go back to",
                hint: "It remembers: \(rows.map { String($0.revision) }.joined(separator: ", ")).")
        }
        guard target != service.stable || trial != nil else {
            throw Problem(
                "revision.stable", status: 409, "revision \(target) has all traffic already",
                hint: "Name another: vagus undo \(name.name) --to N")
        }
        if let trial { try end(trial, .aborted, reason: "\(actor) went back to revision \(target)") }
        if target == service.stable { return }
        if let stable = service.stable, var bad = try RolloutRow.promoted(stable, of: name, in: sql) {
            bad.outcome = .failed
            bad.reason = "\(actor) went back to revision \(target)"
            bad.firstBadAt = bad.firstBadAt ?? change.now
            bad.recoveredAt = nil
            try bad.write(in: sql)
        }
        revision.retiredAt = nil
        (revision.crashes, revision.crashedAt, revision.problem) = (0, nil, nil)
        try revision.write(in: sql)
        var rollout = RolloutRow(
            name, number: service.nextRollout, revision: target, settings: spec.rollout, at: change.now)
        rollout.isRollback = true
        rollout.reason = "\(actor) went back to revision \(target)"
        rollout.commit = revision.commit
        try start(rollout, &service)
    }
}
