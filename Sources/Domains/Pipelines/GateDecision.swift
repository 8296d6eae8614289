import API
import Globs
import Kernel
import Manifests
import SQL

/// Whether a job may begin, as far as the environment it works in is concerned.
enum GateAnswer: Sendable, Equatable {
    case open
    /// Not yet; `until`: when time alone may change the answer.
    case wait(reason: String, until: Timestamp?)
    /// Never.
    case refuse(reason: String)
}

/// What gates decide by, read in one go with the run: "stage/job" → what is known of its gate.
struct GateFacts: Sendable, Equatable {
    var cases: [String: GateCase] = [:]
    var teams: [String: TeamSpec] = [:]

    /// How long some job of the run has stood at a gate: time that is nobody's work, and counts for no time limit.
    func waited(at now: Timestamp) -> Duration {
        let spans = cases.values.compactMap(\.gate).map { ($0.beganAt, $0.endedAt ?? now) }.sorted { $0.0 < $1.0 }
        var (total, end) = (Duration.zero, Timestamp.zero)
        for (from, to) in spans where to > end {
            total += to.since(max(from, end))
            end = to
        }
        return total
    }

    /// What the environment of a job adds to its variables.
    func variables(of job: String) -> Ordered<String> {
        guard let known = cases[job] else { return [:] }
        var variables = known.spec?.variables ?? [:]
        variables["VAGUS_ENVIRONMENT"] = known.environment
        return variables
    }
}

extension StoredRun {
    /// The environment that a job works in: its own word, or its stage's.
    func environment(of key: JobKey) -> String? {
        guard !plan.environments.isEmpty, let (stage, job) = plan.find(key) else { return nil }
        return job.spec.environment ?? plan.stages[stage].spec.environment
    }
}

/// One job at the gate of an environment.
struct GateCase: Sendable, Equatable {
    var environment: String
    /// The environment as it is declared now; nil when it is not.
    var spec: EnvironmentSpec?
    /// Nil before the job has come to the gate.
    var gate: StoredGate?
    /// What people have said of the present digest.
    var approvals: [Approval] = []
    /// What other systems have said of the present digest.
    var checks: [GateCheck] = []
    /// The environment has had this commit before.
    var isRollback = false
}

/// Asked after a job's needs are met and its `if` holds, before any lane.
func gateAnswer(for job: StoredJob, in state: RunState, at now: Timestamp) -> GateAnswer {
    guard let environment = state.stored.environment(of: job.key) else { return .open }
    guard let known = state.gates.cases[job.job.key], known.gate != nil else {
        // What it would do must be on record before it is let in, or turned away.
        return .wait(reason: "comes to the gate of environment \"\(environment)\"", until: nil)
    }
    return GateDecision.decide(known, state.stored.run, at: now).answer
}

/// What a gate says, and what it is at. Pure: the same facts at the same time give the same.
///
/// In this order: refuse, freeze, wait, checks, approvals; the first that is not met is the reason. What cannot be told
/// keeps the gate shut.
struct GateDecision: Sendable, Equatable {
    enum Phase: Sendable, Equatable { case refused, expired, frozen, timer, checks, approvals, open }
    var answer: GateAnswer
    var phase: Phase

    static func decide(_ known: GateCase, _ run: Run, at now: Timestamp) -> GateDecision {
        if let gate = known.gate, gate.status != .waiting { return ended(gate) }
        guard let spec = known.spec else {
            return refuse("there is no environment \"\(known.environment)\" in project \"\(run.project)\"")
        }
        if let reason = refusal(of: run, by: spec, named: known.environment) { return refuse(reason) }
        if let (freeze, end) = Freezes.active(in: spec.freeze, at: now, labels: run.trigger.labels, known.isRollback) {
            return wait(
                .frozen,
                "environment \"\(known.environment)\" is frozen by \"\(freeze.name)\" until \(GateWords.time(end))", end
            )
        }
        if let wait = spec.approval_gates.wait {
            let end = (known.gate?.beganAt ?? now).advanced(by: wait.duration)
            if now < end {
                return self.wait(
                    .timer, "environment \"\(known.environment)\" lets it in at \(GateWords.time(end)), after \(wait)",
                    end)
            }
        }
        if let decision = checks(known, spec.approval_gates.checks) { return decision }
        return approvals(known, spec.approval_gates.approvals, at: now)
    }

    private static func refuse(_ reason: String) -> Self { Self(answer: .refuse(reason: reason), phase: .refused) }
    private static func wait(_ phase: Phase, _ reason: String, _ until: Timestamp?) -> Self {
        Self(answer: .wait(reason: reason, until: until), phase: phase)
    }

    private static func ended(_ gate: StoredGate) -> Self {
        gate.status == .open
            ? Self(answer: .open, phase: .open)
            : refuse(gate.reason ?? "environment \"\(gate.environment)\" has refused it")
    }

    // MARK: Refusals

    private static func refusal(of run: Run, by spec: EnvironmentSpec, named name: String) -> String? {
        if !run.trigger.is_trusted, spec.isProtected {
            return "environment \"\(name)\" is protected, and this run's code is not trusted"
        }
        guard !spec.branches.isEmpty else { return nil }
        let allowed = spec.branches.joined(separator: ", ")
        guard let ref = run.trigger.ref else {
            return "environment \"\(name)\" takes only runs of \(allowed); this one is of no branch"
        }
        return covers(spec.branches, ref)
            ? nil : "environment \"\(name)\" takes only runs of \(allowed), not of \(Refs.branch(ref) ?? ref)"
    }

    /// Whether the patterns of `branches` cover a ref: those of names a branch, those that begin with refs/ any ref whole.
    static func covers(_ patterns: [String], _ ref: String) -> Bool {
        func isWhole(_ pattern: String) -> Bool { pattern.hasPrefix("refs/") || pattern.hasPrefix("!refs/") }
        if GlobList(patterns.filter(isWhole)).names(ref) { return true }
        guard let branch = Refs.branch(ref) else { return false }
        return GlobList(patterns.filter { !isWhole($0) }).names(branch)
    }

    // MARK: Checks

    private static func checks(_ known: GateCase, _ specs: [GateCheckSpec]) -> Self? {
        for (index, spec) in specs.enumerated() {
            let check = known.checks.first { $0.position == index }
            switch check?.status {
            case .passed: continue
            case .failed: return refuse("\(spec.title) has said no: \(check?.message ?? "without a reason")")
            case .waiting, nil:
                let last = check?.message.map { ": \($0)" } ?? ""
                return wait(.checks, "waits for the answer of \(spec.title)\(last)", nil)
            }
        }
        return nil
    }

    // MARK: Approvals

    private static func approvals(_ known: GateCase, _ spec: ApprovalsSpec?, at now: Timestamp) -> Self {
        guard let spec else { return Self(answer: .open, phase: .open) }
        let given = Set(known.approvals.filter { $0.verdict == .approved && !$0.is_void }.map(\.by)).sorted()
        if given.count >= spec.min { return Self(answer: .open, phase: .open) }
        let count = "\(given.count) of \(spec.min) approval\(spec.min == 1 ? "" : "s")"
        let names = given.isEmpty ? "" : " (\(given.joined(separator: ", ")))"
        let from = spec.from.isEmpty ? "" : " from \(spec.from.joined(separator: ", "))"
        let end = known.gate?.expiresAt
        if let end, now >= end {
            let reason =
                "approval for environment \"\(known.environment)\" expired at \(GateWords.time(end)): it had \(count)\(names)"
            return Self(answer: .refuse(reason: reason), phase: .expired)
        }
        let until = end.map { " until \(GateWords.time($0))" } ?? ""
        return wait(
            .approvals, "environment \"\(known.environment)\" has \(count)\(names); it waits for more\(from)\(until)",
            end)
    }
}

/// Freeze windows; pure.
enum Freezes {
    /// The first window that holds now and does not let the run pass, with its end.
    static func active(
        in windows: [FreezeSpec], at now: Timestamp, labels: [String], _ isRollback: Bool
    ) -> (FreezeSpec, Timestamp)? {
        for window in windows {
            guard let end = end(of: window, at: now) else { continue }
            let isAllowed = window.allow.contains { word in
                word == "rollback" ? isRollback : labels.contains { word == "label:\($0)" }
            }
            if !isAllowed { return (window, end) }
        }
        return nil
    }

    /// When the window that holds now ends; nil when none does.
    static func end(of window: FreezeSpec, at now: Timestamp) -> Timestamp? {
        if let from = window.from, let to = window.to { return from <= now && now < to ? to : nil }
        guard let length = window.for?.duration else { return nil }
        do {
            let start = try schedule(of: window)?.last(after: now.advanced(by: .zero - length), upTo: now)
            return start?.advanced(by: length)
        } catch {
            // Refused when it was applied; should one get here all the same, it is frozen until somebody looks.
            return now.advanced(by: .seconds(3600))
        }
    }

    static func schedule(of window: FreezeSpec) throws(ManifestError) -> Schedule? {
        guard let cron = window.cron else { return nil }
        var trigger = ScheduleTrigger()
        (trigger.cron, trigger.tz) = (cron, window.tz)
        return try Schedule(trigger)
    }
}

extension People {
    /// Whether the person has started the run, pushed it, or written its commit.
    ///
    /// - Parameter author: Author of the commit, as git tells: "Ana <ana@example.com>".
    func isAuthor(_ person: String, of run: Run, author: String?) -> Bool {
        let event = run.trigger.event
        return [run.trigger.actor, author, event?["pusher"]?.string, event?["author"]?.string].compactMap { $0 }
            .contains { isSame(person, $0) }
    }
}

/// Phrases of gates.
enum GateWords {
    /// A moment to the second.
    static func time(_ time: Timestamp) -> String { time.description.replacing(".000Z", with: "Z") }
}
