import API
import Kernel
import LogQL
import LogStore
import Logging
import Manifests
import PromQL
import Series
import Synchronization
import TSDB
import Wire

/// Works out recording rules and the figures that are counted from lines, each group at its own interval.
///
/// Moments are multiples of the interval, so that two servers, or one before and after a restart, give the same samples. What was
/// missed while the server was down or slow is not made up for.
struct RuleLoop: RunnableLoop {
    let house: TelemetryHouse
    private let memory = RuleMemory()

    init(house: TelemetryHouse) { self.house = house }

    var loopName: String { "telemetry-rules" }

    /// How often is looked whether something is due.
    private static var tick: Duration { .seconds(1) }

    func run() async throws {
        while true {
            try Task.checkCancellation()
            try await look(at: house.milliseconds)
            try await house.time.sleep(for: Self.tick)
        }
    }

    /// Works out what is due at a moment, in milliseconds.
    func look(at now: Int64) async throws {
        let groups = memory.groups(of: house)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for (index, group) in groups.enumerated() {
                guard let due = memory.due(group, at: now) else { continue }
                tasks.addTask { try await evaluate(group, index, at: due) }
            }
            try await tasks.waitForAll()
        }
    }

    private func evaluate(_ group: RuleGroup, _ index: Int, at time: Int64) async throws {
        for (place, rule) in group.rules.enumerated() {
            let began = ContinuousClock.now
            do {
                let series = try await house.readers.run { try evaluate(rule, of: group, at: time) }
                house.ruleBook.note(index, place) { status in
                    (status.series, status.error) = (series, nil)
                }
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                let message = (error as? Problem)?.message ?? "\(error)"
                house.context.instruments.count("vagus_telemetry_rule_failures_total")
                house.ruleBook.note(index, place) { $0.error = message }
            }
            let (seconds, attoseconds) = (ContinuousClock.now - began).components
            house.context.instruments.count("vagus_telemetry_rule_evaluations_total")
            house.ruleBook.note(index, place) { status in
                status.last_at = Timestamp(microseconds: time * 1000)
                status.last_seconds = Double(seconds) + Double(attoseconds) / 1e18
            }
        }
    }

    /// Works one rule out and keeps what it gives. Blocks.
    ///
    /// - Returns: How many series it gave.
    private func evaluate(_ rule: RuleGroup.Rule, of group: RuleGroup, at time: Int64) throws -> Int {
        var batch = WriteBatch()
        var seen = Set<Labels>()
        switch rule.question {
        case .promql(let expression):
            let answer = try house.metrics.use {
                try PromQLEngine().instant(expression, text: rule.text, at: time - group.offset, source: $0)
            }
            try fill(&batch, answer.value, rule, at: time - group.offset, &seen)
        case .logql(let query):
            let answer = try LogEngine(house.logs).instant(query, at: time * 1_000_000, limit: 1)
            fill(&batch, answer, rule, at: time, &seen)
        }
        if group.limit > 0, seen.count > group.limit {
            throw Problem(
                "rule.limit", status: 422, "the rule gave \(seen.count) series, and \(group.limit) are allowed")
        }
        for gone in memory.exchange(rule.id, seen) { batch.append(gone, time - group.offset, StaleMarker.value) }
        let outcome = try MetricIntake(house: house).take(batch, now: nil)
        if let complaint = outcome.complaint { throw Problem("rule.refused", status: 422, complaint) }
        return seen.count
    }

    private func fill(
        _ batch: inout WriteBatch, _ value: QueryAnswer.Value, _ rule: RuleGroup.Rule, at time: Int64,
        _ seen: inout Set<Labels>
    ) throws {
        switch value {
        case .scalar(let number, _):
            let labels = rule.labels(over: .none)
            seen.insert(labels)
            batch.append(labels, time, number)
        case .vector(let list):
            for index in 0..<list.count {
                let labels = rule.labels(over: list.labels[index])
                guard seen.insert(labels).inserted else {
                    throw Problem(
                        "rule.twice", status: 422,
                        "vector contains metrics with the same labelset after applying rule labels")
                }
                batch.append(labels) { batch in
                    list.forEachSample(of: index) { _, value, histogram in
                        if let histogram { batch.append(time, histogram) } else { batch.append(time, value) }
                    }
                }
            }
        case .string, .matrix:
            throw Problem("rule.type", status: 422, "rule result is not a vector or scalar")
        }
    }

    private func fill(
        _ batch: inout WriteBatch, _ answer: LogQL.LogAnswer, _ rule: RuleGroup.Rule, at time: Int64,
        _ seen: inout Set<Labels>
    ) {
        switch answer {
        case .rows: break
        case .scalar(let numbers):
            guard let number = numbers.first else { return }
            let labels = rule.labels(over: .none)
            seen.insert(labels)
            batch.append(labels, time, number)
        case .series(let list):
            for series in list {
                guard let value = series.values.first ?? nil else { continue }
                let labels = rule.labels(over: series.labels)
                if seen.insert(labels).inserted { batch.append(labels, time, value) }
            }
        }
    }
}

/// A group of rules, made ready.
struct RuleGroup: Sendable {
    enum Question: Sendable {
        case promql(Expression)
        case logql(LogQL.LogQuery)
    }

    struct Rule: Sendable {
        var id: String
        var name: String
        var text: String
        var question: Question
        var extra: [(name: String, value: String)]

        /// A result's labels with the rule's over them, under the rule's name.
        func labels(over labels: Labels) -> Labels {
            Labels(labels.pairs + extra + [(Labels.metricNameLabel, name)])
        }
    }

    var name: String
    var every: Int64
    var offset: Int64 = 0
    var limit = 0
    var rules: [Rule]
}

/// What the rules' loop knows from one round to the next.
private final class RuleMemory: Sendable {
    private struct State {
        var groups: [TelemetryPlan.Owned<RuleGroupSpec>] = []
        var aggregations: [TelemetryPlan.Owned<LogAggregation>] = []
        var ready: [RuleGroup] = []
        /// When a group was worked out last.
        var last: [String: Int64] = [:]
        /// Series that a rule gave last.
        var series: [String: Set<Labels>] = [:]
    }

    private let state = Mutex(State())
    private static let usualInterval = TimeSpan.minutes(1)

    /// The groups of the plan in force; the book is told of new ones.
    func groups(of house: TelemetryHouse) -> [RuleGroup] {
        let plan = house.plan
        let (ready, isNew) = state.withLock { state in
            if state.groups == plan.groups, state.aggregations == plan.aggregations { return (state.ready, false) }
            (state.groups, state.aggregations) = (plan.groups, plan.aggregations)
            state.ready = plan.groups.map(Self.group) + Self.groups(plan.aggregations)
            let known = Set(state.ready.flatMap(\.rules).map(\.id))
            state.series = state.series.filter { known.contains($0.key) }
            return (state.ready, true)
        }
        if isNew {
            house.ruleBook.replace(
                ready.map { group in
                    RuleBook.Group(
                        name: group.name, file: "vagus", every: TimeSpan(seconds: Double(group.every) / 1000),
                        limit: group.limit,
                        rules: group.rules.map { rule in
                            var status = RuleStatus()
                            (status.group, status.name, status.query) = (group.name, rule.name, rule.text)
                            status.every = TimeSpan(seconds: Double(group.every) / 1000)
                            return status
                        })
                })
        }
        return ready
    }

    private static func group(_ owned: TelemetryPlan.Owned<RuleGroupSpec>) -> RuleGroup {
        let spec = owned.part
        let rules = spec.rules.enumerated().compactMap { index, rule -> RuleGroup.Rule? in
            guard let name = rule.record, let expression = try? parseExpression(rule.expr) else { return nil }  // refused when applied
            let extra = (spec.labels.map { $0 } + rule.labels.map { $0 }).map { (name: $0.key, value: $0.value) }
            return RuleGroup.Rule(
                id: "\(owned.project)/\(spec.name)/\(index)/\(name)", name: name, text: rule.expr,
                question: .promql(expression), extra: extra)
        }
        return RuleGroup(
            name: spec.name, every: (spec.interval ?? usualInterval).milliseconds,
            offset: (spec.query_offset ?? .seconds(0)).milliseconds, limit: spec.limit, rules: rules)
    }

    private static func groups(_ aggregations: [TelemetryPlan.Owned<LogAggregation>]) -> [RuleGroup] {
        aggregations.compactMap { owned in
            guard let query = try? LogQL.LogQuery(owned.part.query) else { return nil }  // refused when applied
            let rule = RuleGroup.Rule(
                id: "\(owned.project)/logging/\(owned.part.name)", name: owned.part.name, text: owned.part.query,
                question: .logql(query), extra: owned.part.labels.map { (name: $0.key, value: $0.value) })
            return RuleGroup(name: "logging", every: owned.part.every.milliseconds, rules: [rule])
        }
    }

    /// The moment for which a group is to be worked out now; nil when it has been.
    func due(_ group: RuleGroup, at now: Int64) -> Int64? {
        let every = max(1000, group.every)
        let moment = now / every * every
        let key = "\(group.name)\n\(group.rules.first?.id ?? "")"
        return state.withLock { state in
            guard state.last[key].map({ $0 < moment }) ?? true else { return nil }
            state.last[key] = moment
            return moment
        }
    }

    /// Keeps what a rule gave, and tells which series it gave before and gives no more.
    func exchange(_ rule: String, _ series: Set<Labels>) -> Set<Labels> {
        state.withLock { state in
            defer { state.series[rule] = series }
            return state.series[rule]?.subtracting(series) ?? []
        }
    }
}
