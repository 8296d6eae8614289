import Series

/// `info`: adds to each series the labels of the info series (`target_info`) with the same `instance` and `job`.
extension Evaluator {
    private static let identifying = ["instance", "job"]

    func info(_ arguments: [Expression], _ steps: Steps) throws(PromQLError) -> Table {
        let base = try table(arguments[0], steps)
        var conditions: [LabelMatcher] = []
        if arguments.count > 1, case .selector(let selector) = arguments[1].kind { conditions = selector.matchers }
        let named = conditions.filter { $0.name == Labels.metricNameLabel }
        let names = named.isEmpty ? [LabelMatcher(Labels.metricNameLabel, .equal, "target_info")] : named
        let data = conditions.filter { $0.name != Labels.metricNameLabel }
        let nameTests = try names.map { (matcher) throws(PromQLError) in try MatcherTest(matcher) }
        let dataTests = try data.map { (matcher) throws(PromQLError) in try MatcherTest(matcher) }
        let isInfo = base.labels.map { labels in nameTests.allSatisfy { $0.matches(labels.metricName ?? "") } }
        guard let infos = try infoSeries(arguments[0], base, isInfo, names + data, steps) else { return base }
        var joiner = InfoJoiner(infos, dataNames: data.isEmpty ? nil : Set(data.map(\.name)), steps: steps.count)
        let mayLackInfo = dataTests.allSatisfy { $0.matches("") }
        var result = Table(steps: steps.count)
        var row = Row(steps: steps.count)
        for index in 0..<base.count {
            try lane.poll()
            base.load(index, into: &row)
            if isInfo[index] {
                result.append(row)
            } else {
                try joiner.join(row, mayLackInfo: mayLackInfo, into: &result)
            }
        }
        budget.release(SampleBudget.size(of: base))
        return try FinalRows.merged(result)
    }

    /// The info series of the targets that occur, with the times of their samples as values; nil when no target is named.
    private func infoSeries(
        _ argument: Expression, _ base: Table, _ isInfo: [Bool], _ matchers: [LabelMatcher], _ steps: Steps
    ) throws(PromQLError) -> Table? {
        var matchers = matchers
        var namesAny = false
        for name in Self.identifying {
            var values: Set<String> = []
            for index in 0..<base.count where !isInfo[index] {
                if let value = base.labels[index][name] { values.insert(value) }
            }
            if values.isEmpty { continue }
            namesAny = true
            let pattern = values.sorted().map { LabelPattern.quoted($0) }.joined(separator: "|")
            matchers.append(LabelMatcher(name, .matches, pattern))
        }
        if !namesAny { return nil }
        var selector = VectorSelector(name: nil, matchers: matchers, offset: nil, at: nil, range: argument.range)
        if let first = argument.selectors.first { (selector.at, selector.offset) = (first.at, first.offset) }
        let sinks = try instants(selector, steps, keepsTime: true) { TableSink(steps: steps.count, self.budget) }
        var table = Table(steps: steps.count)
        for sink in sinks { table.append(sink.table) }
        return table
    }
}

/// Whether a value meets a condition.
struct MatcherTest {
    private let matcher: LabelMatcher
    private let pattern: LabelPattern?

    init(_ matcher: LabelMatcher) throws(PromQLError) {
        self.matcher = matcher
        guard matcher.comparison == .matches || matcher.comparison == .doesNotMatch else {
            pattern = nil
            return
        }
        do { pattern = try LabelPattern(matcher.value) } catch { throw PromQLError(.execution, "\(error)") }
    }

    func matches(_ value: String) -> Bool {
        switch matcher.comparison {
        case .equal: value == matcher.value
        case .notEqual: value != matcher.value
        case .matches: pattern?.matches(value) ?? false
        case .doesNotMatch: !(pattern?.matches(value) ?? true)
        }
    }
}

/// Joins series with info series, step by step.
private struct InfoJoiner {
    private let infos: Table
    /// The labels that are wanted; nil: all.
    private let dataNames: Set<String>?
    private let steps: Int
    private let rule = GroupingRule(["instance", "job"], isWithout: false)
    private var groups = GroupIndex()
    /// Rows by signature.
    private var rows: [[Int]] = []

    init(_ infos: Table, dataNames: Set<String>?, steps: Int) {
        self.infos = infos
        self.dataNames = dataNames
        self.steps = steps
        var scratch: [UInt8] = []
        for index in 0..<infos.count {
            let (group, isNew) = rule.withKey(infos.labels[index], &scratch) { groups.find($0) }
            if isNew { rows.append([]) }
            rows[group].append(index)
        }
    }

    mutating func join(_ row: Row, mayLackInfo: Bool, into result: inout Table) throws(PromQLError) {
        var scratch: [UInt8] = []
        let candidates = rule.withKey(row.labels, &scratch) { groups.existing($0) }.map { rows[$0] } ?? []
        var (current, piece): ([Int]?, Row) = (nil, Row(steps: steps))
        piece.dropsName = row.dropsName
        for step in 0..<steps where row.isPresent(at: step) {
            let chosen = try chosen(candidates, step)
            if chosen != current {
                if current != nil, !piece.isEmpty { result.append(piece) }
                piece.clear()
                current = chosen
                guard let labels = try labels(row.labels, chosen, mayLackInfo: mayLackInfo) else {
                    current = nil
                    continue
                }
                piece.labels = labels
                piece.dropsName = row.dropsName
            }
            if let operand = row.operand(at: step) { piece.put(operand, at: step) }
        }
        if current != nil, !piece.isEmpty { result.append(piece) }
    }

    /// One row for each info metric: the one with the newest sample.
    private func chosen(_ candidates: [Int], _ step: Int) throws(PromQLError) -> [Int] {
        var byName: [String: Int] = [:]
        for index in candidates where infos.isPresent(index, step) {
            let name = infos.labels[index].metricName ?? ""
            guard let other = byName[name] else {
                byName[name] = index
                continue
            }
            let (new, old) = (infos.value(index, step), infos.value(other, step))
            if new == old { throw PromQLError(.execution, "found duplicate series for info metric \(name)") }
            if new > old { byName[name] = index }
        }
        return byName.values.sorted()
    }

    /// The series' labels with those of its info series; nil when it has none and must have one.
    private func labels(_ base: Labels, _ chosen: [Int], mayLackInfo: Bool) throws(PromQLError) -> Labels? {
        var added: [String: String] = [:]
        for index in chosen {
            for (name, value) in infos.labels[index].pairs where name != Labels.metricNameLabel {
                if let dataNames, !dataNames.contains(name) { continue }
                if let other = added[name], other != value {
                    throw PromQLError(.execution, "conflicting label: \(name)")
                }
                if base[name] == nil { added[name] = value }
            }
        }
        if added.isEmpty, !mayLackInfo { return nil }
        return Labels(base.pairs + added.map { (name: $0.key, value: $0.value) })
    }
}
