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
            var rollout = trial
            if input.full {
                rollout.isFull = true
                (rollout.pause, rollout.pauseKind) = (nil, nil)
                rollout.step = trial.plan.stages.count
                rollout.stepAt = writer.change.now
                try writer.save(&rollout)
                try writer.tell("rollout.step", rollout, ["full": true])
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
            try writer.undo(to: input.revision, isGradual: input.gradual, by: call.actor)
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

/// What was aborted or gone back from is not rolled out again, unless somebody wants it.
enum Condemned {
    /// Refuses the workload of a deploy when the same was condemned before.
    ///
    /// The same: equal in all that runs; and of the same commit, or other than what is stable, which is evidently not
    /// what was bad.
    static func refuse(
        _ workload: FrozenWorkload, commit: String?, of name: ServiceReference, stable: Int?, in sql: Connection
    ) throws {
        let rows = try RevisionRow.all(of: name, in: sql)
        let trusted = rows.first { $0.revision == stable }
        let found = rows.last { row in
            guard row.condemned != nil, row.workload.runsTheSame(as: workload) else { return false }
            if let commit, commit == row.commit { return true }
            return trusted.map { !$0.workload.runsTheSame(as: workload) } ?? true
        }
        if let found { throw problem(found, name) }
    }

    /// Refuses what is applied when just that was condemned before.
    static func refuse(
        signature: String, of name: ServiceReference, in sql: Connection
    ) throws {
        let rows = try RevisionRow.all(of: name, in: sql)
        let stable = try ServiceRow.read(name, in: sql).stable
        guard let found = rows.last(where: { $0.condemned != nil && $0.signature == signature }),
            rows.first(where: { $0.revision == stable })?.signature != signature
        else { return }
        throw problem(found, name)
    }

    private static func problem(_ row: RevisionRow, _ name: ServiceReference) -> Problem {
        Problem(
            "service.condemned", status: 409,
            "service \"\(name.name)\" went back from just this, its revision \(row.revision): \(row.condemned ?? "")",
            hint: "Change the workload; or roll the same out once more, on purpose, with: vagus retry \(name.name)")
    }
}

extension AnalysisRun {
    /// Metrics of one step, or of the background, are one run.
    static func runs(_ records: [AnalysisRecord]) -> [AnalysisRun] {
        var order: [Int] = []
        for record in records where !order.contains(record.step) { order.append(record.step) }
        return order.map { step in
            let metrics = records.filter { $0.step == step }
            var run = AnalysisRun()
            run.name = step == AnalysisRecord.background ? "background" : "step \(step)"
            run.step = step == AnalysisRecord.background ? nil : step
            run.started_at = metrics.map(\.started_at).min() ?? .zero
            run.metrics = metrics.map(\.result)
            let gates = run.metrics.filter { !$0.dry_run }
            run.phase = MetricAlgebra.worst(gates.map(\.phase))
            run.message = gates.first { $0.phase == run.phase }?.message ?? ""
            for metric in gates {
                run.count += metric.count
                run.successful += metric.successful
                run.failed += metric.failed
                run.inconclusive += metric.inconclusive
                run.error += metric.error
            }
            return run
        }
    }
}

extension RolloutWriter {
    /// Makes a revision and begins to roll it out; one under way is superseded.
    func begin(
        _ revision: RevisionRow, committedAt: Timestamp?, tier: EnvironmentSpec.Tier?, isHotfix: Bool = false,
        _ service: inout ServiceRow
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
        rollout.isHotfix = isHotfix
        if isHotfix, let stable = service.stable, var mended = try RolloutRow.promoted(stable, of: name, in: sql) {
            // What needs a fix at once has failed, though it came to all traffic; it is over when the fix has it.
            (mended.outcome, mended.exposure) = (.failed, 1)
            mended.reason = "revision \(revision.revision) was deployed to mend it"
            mended.firstBadAt = mended.firstBadAt ?? change.now
            try mended.write(in: sql)
        }
        try start(rollout, &service)
    }

    private func start(_ new: RolloutRow, _ service: inout ServiceRow) throws {
        var rollout = new
        rollout.origin = service.stable
        rollout.requestsBefore = try TrafficRow.requests(of: name, in: change.sql)
        rollout.ownBefore = try TrafficRow.total(rollout.revision, of: name, in: change.sql).requests
        service.nextRollout += 1
        try save(&rollout)
        try service.write(in: change.sql)
        try tell(
            "rollout.started", rollout,
            ["strategy": .string(rollout.settings.strategy.rawValue), "rollback": .bool(rollout.isRollback)])
    }

    /// Goes back to an earlier revision: the one named, or the newest that was trusted before the present one.
    ///
    /// While something is rolled out, the way back is to end that, and the stable revision is where it leads.
    ///
    /// Straight to all traffic when fewer than the window's revisions lie between, else by the steps.
    func undo(to wanted: Int?, isGradual: Bool, by actor: String) throws {
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
        guard let target, var revision = rows.first(where: { $0.revision == target && $0.armOf == nil }) else {
            throw Problem(
                "revision.not-found", status: wanted == nil ? 409 : 404,
                wanted.map { "service \"\(name.name)\" has no revision \($0)" }
                    ?? "there is no earlier revision of service \"\(name.name)\" to go back to",
                hint: "It remembers: \(rows.filter { $0.armOf == nil }.map { String($0.revision) }.joined(separator: ", ")).")
        }
        guard target != service.stable || trial != nil else {
            throw Problem(
                "revision.stable", status: 409, "revision \(target) has all traffic already",
                hint: "Name another: vagus undo \(name.name) --to N")
        }
        let reason = "\(actor) went back to revision \(target)"
        if let trial { try end(trial, .aborted, reason: reason) }
        if target == service.stable { return }
        try goBack(to: &revision, isGradual: isGradual, reason: reason, &service)
    }

    /// Begins the way back to an earlier revision; the one that is left counts as failed.
    func goBack(
        to revision: inout RevisionRow, isGradual: Bool, reason: String, _ service: inout ServiceRow
    ) throws {
        let sql = change.sql
        if let stable = service.stable, stable != revision.revision {
            if var bad = try RolloutRow.promoted(stable, of: name, in: sql) {
                bad.outcome = .failed
                bad.reason = reason
                bad.firstBadAt = bad.firstBadAt ?? change.now
                bad.recoveredAt = nil
                // It had come to all traffic by then.
                bad.exposure = 1
                try bad.write(in: sql)
            }
            try condemn(stable, reason)
        }
        try wake(&revision)
        var rollout = RolloutRow(
            name, number: service.nextRollout, revision: revision.revision, settings: spec.rollout, at: change.now)
        rollout.isRollback = true
        rollout.isFast = try !isGradual && isNear(revision.revision, service.stable)
        rollout.reason = reason
        rollout.commit = revision.commit
        try start(rollout, &service)
    }

    /// Whether fewer existing revisions than the window lie strictly between two (as Argo Rollouts' code counts).
    private func isNear(_ target: Int, _ stable: Int?) throws -> Bool {
        guard let window = spec.rollback.window, let stable else { return true }
        let (low, high) = (min(target, stable), max(target, stable))
        let between = try RevisionRow.all(of: name, in: change.sql).count {
            $0.armOf == nil && $0.revision > low && $0.revision < high
        }
        return between < window
    }

    /// A revision that is wanted again: its past is no matter.
    private func wake(_ revision: inout RevisionRow) throws {
        (revision.retiredAt, revision.condemned) = (nil, nil)
        (revision.crashes, revision.crashedAt, revision.problem) = (0, nil, nil)
        try revision.write(in: change.sql)
    }

    /// Begins another attempt of a revision, from the first step; DORA sees the same change again.
    func again(_ old: RolloutRow, isFull: Bool) throws {
        guard var revision = try RevisionRow.find(old.revision, of: name, in: change.sql) else {
            throw Problem(
                "revision.not-found", status: 409, "revision \(old.revision) is not remembered any more",
                hint: "Deploy it anew.")
        }
        try wake(&revision)
        var service = try ServiceRow.read(name, in: change.sql)
        var rollout = RolloutRow(
            name, number: service.nextRollout, revision: old.revision, settings: spec.rollout, at: change.now)
        (rollout.commit, rollout.run, rollout.committedAt, rollout.tier) = (
            old.commit, old.run, old.committedAt, old.tier
        )
        (rollout.isRollback, rollout.isFast, rollout.isFull) = (old.isRollback, old.isFast, isFull)
        try start(rollout, &service)
    }

    /// Rolls out once more what was aborted, or gone back from.
    func retry(isFull: Bool) throws {
        let sql = change.sql
        let newest = try RolloutRow.newest(of: name, in: sql)
        guard let newest, !newest.isUnderWay else {
            throw Problem(
                "rollout.under-way", status: 409, "a rollout of service \"\(name.name)\" is under way",
                hint: "Go on with it: vagus promote \(name.name); or end it: vagus abort \(name.name)")
        }
        if newest.completion == .aborted { return try again(newest, isFull: isFull) }
        let bad = try RevisionRow.all(of: name, in: sql).last { $0.condemned != nil }
        guard let bad, var old = try RolloutRow.latest(of: bad.revision, name, in: sql) else {
            throw Problem(
                "rollout.none", status: 409, "nothing of service \"\(name.name)\" was aborted or gone back from",
                hint: "See how it is with: vagus status \(name.name)")
        }
        old.isRollback = false
        try again(old, isFull: isFull)
    }

    /// What was held by hand goes on.
    func resume(_ trial: RolloutRow, _ facts: Ordered<JSONValue>) throws {
        var rollout = trial
        (rollout.pause, rollout.pauseKind) = (nil, nil)
        rollout.shortAt = nil
        try save(&rollout)
        try tell("rollout.resumed", rollout, facts)
    }

    /// The rollout's own settings were changed while it is under way: it begins anew with them.
    func restartIfChanged() throws {
        guard let trial = try RolloutRow.newest(of: name, in: change.sql), trial.isUnderWay,
            trial.settings.json.text != spec.rollout.json.text
        else { return }
        try end(trial, .superseded, reason: "its steps were changed, so it began anew")
        try again(trial, isFull: false)
    }
}
