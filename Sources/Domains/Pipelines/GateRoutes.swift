import API
import Kernel
import Manifests
import SQL

/// Handlers of `Approvals.*`.
struct GateRoutes: Sendable {
    let context: DomainContext
    let git: Git
    let repositories: String
    private var store: Store { context.store }

    func add(to routes: inout Routes) {
        let me = self
        routes.on(Approvals.list) { input, call in try await me.list(input, call) }
        routes.on(Approvals.approve) { input, call in try await me.say(.approved, input, call) }
        routes.on(Approvals.reject) { input, call in try await me.say(.rejected, input, call) }
        routes.on(Environments.freezes) { input, _ in
            let now = me.store.time.now
            return ItemList(
                try await me.store.read { sql in
                    Freezes.calendar(input, try sql.resources(EnvironmentKind.self, project: input.project), now: now)
                })
        }
    }

    // MARK: Looking

    private func list(_ query: GateQuery, _ call: Call) async throws -> ItemList<Gate> {
        try await store.read { sql in
            let people = People(teams: try sql.teams(project: query.project))
            let views = try sql.waitingGates(query).compactMap { gate -> Gate? in
                guard let stored = try sql.run(id: gate.key.run), let job = try sql.job(gate.key),
                    !job.job.status.hasEnded
                else { return nil }
                var view = try sql.view(of: gate, in: stored.run)
                view.reason = job.job.reason
                view.mine = Self.isFor(call, view, stored.run, people)
                return view
            }
            return ItemList(query.mine ? views.filter(\.mine) : views)
        }
    }

    /// Whether the asker may say yes to it and has not done so.
    private static func isFor(_ call: Call, _ gate: Gate, _ run: Run, _ people: People) -> Bool {
        guard gate.status == .waiting, gate.min > 0, let person = People.name(of: call.actor),
            call.permission.allows(.run), !gate.approvals.contains(where: { $0.by == person && !$0.is_void })
        else { return false }
        return people.isNamed(person, in: gate.from)
            && !(gate.not_author && people.isAuthor(person, of: run, author: gate.author))
    }

    // MARK: Saying

    private func say(_ verdict: Approval.Verdict, _ input: VerdictInput, _ call: Call) async throws -> ItemList<Gate> {
        let name = input.run
        guard let run = try await store.read({ try $0.run(named: name, project: input.project) })?.run else {
            throw Problem.notFound("Run", input.run, project: input.project, list: "runs")
        }
        guard let person = People.name(of: call.actor) else {
            throw Problem(
                "approval.person", status: 403, "\(call.actor) is no person, and only people approve",
                hint: "Use the token of a person.")
        }
        let state = try await store.read { sql in
            guard let stored = try sql.run(id: run.id) else { return RunState?.none }
            let jobs = try sql.glance(run: run.id)
            return RunState(
                stored: stored, jobs: jobs, gates: try sql.gateFacts(for: stored, jobs: jobs), bornAt: .zero)
        }
        guard let state else { throw Problem.notFound("Run", input.run, project: input.project, list: "runs") }
        let wanted = try Self.gates(input, in: state)
        var digests: [JobKey: String] = [:]
        for job in wanted {
            digests[job.key] =
                verdict == .approved
                ? try await GateWork(context: context, git: git, repositories: repositories).digest(of: job, in: state)
                : nil
        }
        let found = digests
        let runCall = Call(
            actor: call.actor, correlation: run.id, permission: call.permission, project: call.project)
        let changed = try await store.change(runCall) { change in
            var changed: [String] = []
            for job in wanted {
                let isSame = try change.say(
                    verdict, of: job.key, by: person, input, now: found[job.key], in: state.stored.run)
                if !isSame { changed.append(job.job.key) }
            }
            return changed
        }
        guard changed.isEmpty else {
            throw Problem(
                "approval.changed", status: 409, "what waits in \(changed.joined(separator: ", ")) has changed",
                detail: "Approvals that were given to it before are void.",
                hint: "Look at it again: vagus approvals.")
        }
        return try await store.read { sql in
            ItemList(try wanted.compactMap { job in try sql.gate(job.key).map { try sql.view(of: $0, in: run) } })
        }
    }

    /// The jobs that the asker means: those that wait at a gate, of one stage.
    private static func gates(_ input: VerdictInput, in state: RunState) throws(Problem) -> [StoredJob] {
        let waiting = state.jobs.filter { job in
            job.job.status == .waiting && state.gates.cases[job.job.key]?.gate?.status == .waiting
        }
        let wanted = waiting.filter { job in
            (input.stage.map { job.job.stage == $0 || job.job.key == $0 } ?? true)
                && (input.job.map { job.job.name == $0 } ?? true)
        }
        guard !wanted.isEmpty else {
            let known = Set(waiting.map(\.job.stage)).sorted()
            throw Problem(
                "approval.nothing", status: 409,
                "nothing of this run waits at a gate" + (input.stage.map { " in stage \"\($0)\"" } ?? ""),
                hint: known.isEmpty
                    ? "See what waits with: vagus approvals."
                    : "What waits is in stage \(known.map { "\"\($0)\"" }.joined(separator: ", ")).")
        }
        let stages = Set(wanted.map(\.job.stage))
        guard stages.count == 1 else {
            throw Problem(
                "approval.which", status: 422, "\(stages.count) stages of this run wait",
                hint: "Name one: \(stages.sorted().joined(separator: ", ")).")
        }
        return wanted
    }
}

extension Change {
    /// Writes down what a person says of what waits; false when it has changed since, which voids what was said before.
    func say(
        _ verdict: Approval.Verdict, of key: JobKey, by person: String, _ input: VerdictInput, now digest: String?,
        in run: Run
    ) throws -> Bool {
        guard let gate = try sql.gate(key), gate.status == .waiting else {
            throw Problem(
                "approval.over", status: 409, "\"\(key.stage)/\(key.job)\" does not wait at a gate any more",
                hint: "See how it went: vagus runs \(run.pipeline):\(run.number).")
        }
        let reference = Reference<EnvironmentKind>(project: run.project, name: gate.environment)
        guard let spec = try sql.resource(EnvironmentKind.self, reference)?.spec.approval_gates.approvals else {
            throw Problem(
                "approval.not-asked", status: 409, "environment \"\(gate.environment)\" asks nobody for approval")
        }
        try mayJudge(person, spec, run, gate, verdict)
        let comment = input.comment.flatMap { $0.allSatisfy(\.isWhitespace) ? nil : $0 }
        guard comment != nil || spec.comment == .optional else {
            throw Problem(
                "approval.comment", status: 422, "environment \"\(gate.environment)\" wants to know why",
                hint: "Add --comment \"…\".")
        }
        guard (comment?.utf8.count ?? 0) <= GateLimits.commentBytes else {
            throw Problem(
                "approval.comment", status: 413, "a comment has at most \(GateLimits.commentBytes) bytes",
                hint: "Say it shorter.")
        }
        if let digest, digest != gate.digest {
            try void(gate, now: digest)
            return false
        }
        if let seen = input.digest, !gate.digest.hasPrefix(seen), !gate.digest.hasPrefix("sha256:\(seen)") {
            throw Problem(
                "approval.changed", status: 409, "what waits in \(key.stage)/\(key.job) is not \(seen)",
                hint: "Look at it again: vagus approvals.")
        }
        try write(verdict, of: gate, by: person, comment, spec)
        return true
    }

    private func mayJudge(
        _ person: String, _ spec: ApprovalsSpec, _ run: Run, _ gate: StoredGate, _ verdict: Approval.Verdict
    ) throws {
        let people = People(teams: try sql.teams(project: run.project))
        guard people.isNamed(person, in: spec.from) else {
            throw Problem(
                "approval.not-asked", status: 403,
                "\(person) is not asked: environment \"\(gate.environment)\" asks \(spec.from.joined(separator: ", "))",
                hint: "Ask one of them.")
        }
        // Whoever finds their own work wanting may always say so.
        guard verdict == .approved, spec.not_author, people.isAuthor(person, of: run, author: gate.author) else {
            return
        }
        throw Problem(
            "approval.author", status: 403, "\(person) has started this run or written its commit",
            hint: "Environment \"\(gate.environment)\" wants the approval of somebody else.")
    }

    private func write(
        _ verdict: Approval.Verdict, of gate: StoredGate, by person: String, _ comment: String?, _ spec: ApprovalsSpec
    ) throws {
        var said = Approval()
        (said.by, said.verdict, said.comment, said.digest, said.at) = (person, verdict, comment, gate.digest, now)
        // Said before: it counts once.
        guard try sql.keep(said, of: gate, actor: call.actor) else { return }
        let given = try sql.approvals(run: gate.key.run)
            .filter { $0.key == gate.key && $0.said.digest == gate.digest && $0.said.verdict == .approved }.count
        var data: Ordered<JSONValue> = [
            "by": .string(person), "comment": comment.map(JSONValue.string) ?? .null,
            "given": .integer(Int64(given)), "min": .integer(Int64(spec.min)),
        ]
        if verdict == .rejected {
            var ended = gate
            let why = comment.map { ": \($0)" } ?? ""
            (ended.status, ended.endedAt) = (.rejected, now)
            ended.reason = "\(person) has rejected it for environment \"\(gate.environment)\"\(why)"
            try sql.keep(ended)
            data["reason"] = ended.reason.map(JSONValue.string)
        }
        try tellGate(verdict == .approved ? "approval.granted" : "approval.rejected", gate, data)
    }
}

extension Connection {
    /// A gate with its evidence, as it crosses the wire.
    func view(of gate: StoredGate, in run: Run) throws -> Gate { try gateViews(of: run, [gate]).first ?? Gate() }

    /// All gates of a run, with their evidence.
    func gateViews(of run: Run) throws -> [Gate] {
        let gates = try gates(run: run.id)
        return gates.isEmpty ? [] : try gateViews(of: run, gates)
    }

    private func gateViews(of run: Run, _ gates: [StoredGate]) throws -> [Gate] {
        let approvals = try approvals(run: run.id)
        let checks = try checks(run: run.id)
        var specs: [String: ApprovalsSpec] = [:]
        for name in Set(gates.map(\.environment)) {
            let reference = Reference<EnvironmentKind>(project: run.project, name: name)
            specs[name] = try resource(EnvironmentKind.self, reference)?.spec.approval_gates.approvals
        }
        return gates.map { gate in
            var view = Gate(gate, of: run, asking: specs[gate.environment])
            view.approvals = approvals.filter { $0.key == gate.key }.map { item in
                var said = item.said
                said.is_void = said.digest != gate.digest
                return said
            }
            view.checks = checks.filter { $0.key == gate.key && $0.digest == gate.digest }.map(\.told)
            return view
        }
    }
}

extension Gate {
    /// What is known of a gate but what was said at it.
    fileprivate init(_ gate: StoredGate, of run: Run, asking spec: ApprovalsSpec?) {
        self.init()
        (project, self.run, pipeline, number) = (run.project, run.id, run.pipeline, run.number)
        (stage, job, environment) = (gate.key.stage, gate.key.job, gate.environment)
        (status, reason, digest) = (gate.status, gate.reason, gate.digest)
        (commit, ref, message) = (run.commit, run.trigger.ref, run.trigger.message)
        (actor, author) = (run.trigger.actor, gate.author)
        (began_at, asked_at, expires_at, ended_at) = (gate.beganAt, gate.askedAt, gate.expiresAt, gate.endedAt)
        guard let spec else { return }
        (min, from, comment, not_author) = (spec.min, spec.from, spec.comment, spec.not_author)
    }
}

/// The bounds of gates.
enum GateLimits {
    /// Bytes of a comment.
    static let commentBytes = 4000
    /// Time between two questions to a system that has not said yes or no.
    static let askAgain: Duration = .seconds(10)
    /// How long one answer may take.
    static let answer: Duration = .seconds(10)
    /// Bytes of an answer that are read.
    static let answerBytes = 64 << 10
    /// Characters of an answer that are kept.
    static let messageLength = 300
}
