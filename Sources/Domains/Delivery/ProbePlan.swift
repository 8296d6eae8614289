import API
import Kernel
import Manifests
import Synchronization

/// What a copy is asked about: whether it has begun, whether it shall have traffic, whether it shall live.
enum ProbeRole: Hashable, Sendable, CaseIterable { case start, ready, live }

/// One question, how often it is asked of one copy, and how many answers in a row mean something.
struct ProbePlan: Sendable, Equatable {
    var role: ProbeRole
    var question: HealthQuestion
    var interval: Duration
    var timeout: Duration
    var goodAfter = 1
    var badAfter: Int
    /// Not asked before this time after the copy's start.
    var delay = Duration.zero
    /// Bad answers count for nothing before this time after the copy's start.
    var grace = Duration.zero

    /// Copies that were never well yet are asked at least so often, so that a start is seen soon.
    static let eagerness = Duration.milliseconds(250)
    /// Bad answers that usually end a copy: while it starts, and later.
    static let startPatience = 30
    static let livePatience = 3

    /// The questions for a copy now: first those of its start, then the others. Pure.
    static func plans(
        _ health: HealthSpec, isModel: Bool, hasBegun: Bool, isReady: Bool
    ) -> [ProbePlan] {
        if let start = health.start, !hasBegun { return [plan(.start, start, startPatience)] }
        var ready = ProbePlan(
            role: .ready, question: question(health, isModel: isModel), interval: health.interval.duration,
            timeout: health.timeout.duration, goodAfter: health.healthy_after, badAfter: health.unhealthy_after,
            grace: health.grace.duration)
        if !isReady { ready.interval = min(eagerness, ready.interval) }
        return [ready] + (health.live.map { [plan(.live, $0, livePatience)] } ?? [])
    }

    private static func plan(_ role: ProbeRole, _ spec: ProbeSpec, _ patience: Int) -> ProbePlan {
        ProbePlan(
            role: role, question: question(spec.http, spec.exec) ?? .port, interval: spec.interval.duration,
            timeout: spec.timeout.duration, badAfter: spec.unhealthy_after ?? patience, delay: spec.delay.duration)
    }

    /// What decides over the traffic; an open port is enough where nothing else is said.
    private static func question(_ health: HealthSpec, isModel: Bool) -> HealthQuestion {
        if let asked = question(health.http, health.exec) { return asked }
        return isModel && health.tcp != true ? .path("/v2/health/ready") : .port
    }

    private static func question(_ path: String?, _ command: ProbeCommand?) -> HealthQuestion? {
        path.map(HealthQuestion.path) ?? command.map { .command($0.words) }
    }
}

/// A copy and what it is asked.
struct ProbeTarget: Sendable {
    var instance: Instance
    var form: CopyRow.Form
    var isReady: Bool
    /// What was found of it last, as its row has it.
    var complaint: String?
    var plan: ProbePlan
}

/// Answers in a row, in memory: after a restart a copy stays what it was until it is asked again.
final class ProbeBook: Sendable {
    private struct Key: Hashable {
        var id: InstanceID
        var role: ProbeRole
    }
    private struct Entry: Sendable {
        var probedAt: Timestamp
        var good = 0
        var bad = 0
    }
    private let entries = Mutex<[Key: Entry]>([:])
    /// The copies of each service that have entries.
    private let copies = Mutex<[ServiceReference: Set<InstanceID>]>([:])
    /// Who is to be asked what.
    let targets: Recall<ServiceReference, [ProbeTarget]>

    init(_ bells: Bells) { targets = Recall(bells) { $0.name } }

    /// When a copy is to be asked next; that may be over.
    func next(_ id: InstanceID, _ plan: ProbePlan, startedAt: Timestamp) -> Timestamp {
        let last = entries.withLock { $0[Key(id: id, role: plan.role)]?.probedAt }
        return last?.advanced(by: plan.interval) ?? startedAt.advanced(by: plan.delay)
    }

    /// Counts an answer; says what is so now, or nil when that is still open.
    func note(_ id: InstanceID, _ plan: ProbePlan, isGood: Bool, at now: Timestamp) -> Bool? {
        entries.withLock { entries in
            let key = Key(id: id, role: plan.role)
            var entry = entries[key] ?? Entry(probedAt: now)
            entry.probedAt = now
            (entry.good, entry.bad) = isGood ? (entry.good + 1, 0) : (0, entry.bad + 1)
            entries[key] = entry
            if isGood { return entry.good >= plan.goodAfter ? true : nil }
            return entry.bad >= plan.badAfter ? false : nil
        }
    }

    /// Forgets the copies of a service that are no more.
    func keep(_ ids: Set<InstanceID>, of service: ServiceReference) {
        let before = copies.withLock { copies in
            defer { copies[service] = ids.isEmpty ? nil : ids }
            return copies[service] ?? []
        }
        let gone = before.subtracting(ids)
        guard !gone.isEmpty else { return }
        entries.withLock { entries in
            for id in gone { for role in ProbeRole.allCases { entries[Key(id: id, role: role)] = nil } }
        }
    }
}
