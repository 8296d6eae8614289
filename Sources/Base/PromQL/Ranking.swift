import Series

/// `topk`, `bottomk`, `limitk` and `limit_ratio`: a part of the series as they are.
extension Evaluator {
    func select<Sink: RowSink>(
        _ aggregation: Aggregation, _ node: Expression, _ steps: Steps, _ make: () -> Sink
    ) throws(PromQLError) -> [Sink] {
        guard let parameter = aggregation.parameter else { return [make()] }
        let wanted = try column(parameter, steps)
        if !wanted.contains(where: { $0 >= 1 || $0.isNaN }) { return [make()] }
        var limits: [Int] = []
        for value in wanted {
            guard value > -9.3e18, value < 9.2e18 else {
                throw failure("Scalar value \(NumberText.general(value)) overflows int64", at: parameter.range)
            }
            limits.append(max(0, Int(value)))
        }
        let names = aggregation.isWithout ? aggregation.labels + [Labels.metricNameLabel] : aggregation.labels
        let rule = GroupingRule(names, isWithout: aggregation.isWithout)
        let budget = budget
        let sinks = try stream(aggregation.operand, steps) {
            RankingSink(aggregation.operation, rule, limits, steps: steps.count, at: node.range, budget)
        }
        guard let result = sinks.first else { return [make()] }
        for other in sinks.dropFirst() { result.merge(other) }
        return try result.emit(make, lane)
    }

    func ratio<Sink: RowSink>(_ aggregation: Aggregation, _ steps: Steps, _ make: () -> Sink) throws(PromQLError)
        -> [Sink]
    {
        guard let parameter = aggregation.parameter else { return [make()] }
        let ratios = try column(parameter, steps)
        if ratios.contains(where: \.isNaN) { throw failure("Ratio value NaN is NaN", at: parameter.range) }
        for (edge, isBeyond) in [(1.0, (ratios.max() ?? 0) > 1), (-1.0, (ratios.min() ?? 0) < -1)] where isBeyond {
            let ratio = (edge > 0 ? ratios.max() : ratios.min()) ?? 0
            let text =
                "ratio value should be between -1 and 1, got \(NumberText.general(ratio)), capping to \(NumberText.general(edge))"
            lane.notes.warn(text, at: parameter.range)
        }
        return try stream(aggregation.operand, steps) {
            StageSink(make()) { (row, _) throws(PromQLError) in
                let hash = row.labels.bytes.withUnsafeBufferPointer { XXHash.hash($0) }
                let position = Double(hash) / Double(UInt64.max)
                for step in ratios.indices {
                    let ratio = max(-1, min(1, ratios[step]))
                    let isTaken = ratio >= 0 ? position < ratio : position >= 1 + ratio
                    if !isTaken { row.remove(at: step) }
                }
            }
        }.map(\.down)
    }
}

/// Keeps, for each group and step, the k foremost series. Of all others nothing stays.
final class RankingSink: RowSink {
    private struct Entry {
        var value: Double
        var row: Int
    }

    private let operation: Aggregation.Operator
    private let rule: GroupingRule
    private let limits: [Int]
    private let steps: Int
    private let place: Range<Int>
    private let budget: SampleBudget
    private var groups = GroupIndex()
    private var scratch: [UInt8] = []
    /// For each group and step a heap with the first to go at its root.
    private var heaps: [[Entry]] = []
    private var kept: Table

    init(
        _ operation: Aggregation.Operator, _ rule: GroupingRule, _ limits: [Int], steps: Int, at place: Range<Int>,
        _ budget: SampleBudget
    ) {
        self.operation = operation
        self.rule = rule
        self.limits = limits
        self.steps = steps
        self.place = place
        self.budget = budget
        kept = Table(steps: steps)
    }

    func take(_ row: inout Row, _ lane: Lane) throws(PromQLError) {
        let start = rule.withKey(row.labels, &scratch) { group($0) } * steps
        var stored = -1
        for step in 0..<steps where row.isPresent(at: step) {
            let value = row.values[step]
            if operation != .limitk, Absent.isAbsent(value) {
                lane.notes.ignoredHistogram(in: operation.rawValue, at: place)
                continue
            }
            guard enters(value, start + step, limits[step]) else { continue }
            if stored < 0 {
                stored = kept.count
                kept.append(row)
                try budget.charge(SampleBudget.size(of: row))
            }
            put(Entry(value: value, row: stored), start + step, limits[step])
        }
    }

    private func group(_ key: UnsafeBufferPointer<UInt8>) -> Int {
        let (index, isNew) = groups.find(key)
        if isNew { heaps += repeatElement([], count: steps) }
        return index
    }

    /// NaN stands behind every number.
    @inline(__always)
    private func isBehind(_ one: Double, _ other: Double) -> Bool {
        if operation == .topk { return one < other || (one.isNaN && !other.isNaN) }
        return one > other || (one.isNaN && !other.isNaN)
    }

    @inline(__always)
    private func enters(_ value: Double, _ place: Int, _ limit: Int) -> Bool {
        let heap = heaps[place]
        if heap.count < limit { return true }
        return limit > 0 && operation != .limitk && isBehind(heap[0].value, value)
    }

    private func put(_ entry: Entry, _ place: Int, _ limit: Int) {
        if heaps[place].count < limit {
            heaps[place].append(entry)
            if operation != .limitk { rise(place, heaps[place].count - 1) }
        } else {
            heaps[place][0] = entry
            sink(place)
        }
    }

    private func rise(_ place: Int, _ last: Int) {
        var index = last
        while index > 0 {
            let parent = (index - 1) / 2
            guard isBehind(heaps[place][index].value, heaps[place][parent].value) else { return }
            heaps[place].swapAt(index, parent)
            index = parent
        }
    }

    private func sink(_ place: Int) {
        var index = 0
        let count = heaps[place].count
        while true {
            var first = index
            for child in [2 * index + 1, 2 * index + 2] where child < count {
                if isBehind(heaps[place][child].value, heaps[place][first].value) { first = child }
            }
            if first == index { return }
            heaps[place].swapAt(index, first)
            index = first
        }
    }

    /// Takes over what another lane kept; its series come after the own.
    func merge(_ other: RankingSink) {
        let offset = kept.count
        kept.append(other.kept)
        for index in 0..<other.groups.count {
            let start = other.groups.withKey(index) { group($0) } * steps
            for step in 0..<steps {
                for entry in other.heaps[index * steps + step].sorted(by: { $0.row < $1.row })
                where enters(entry.value, start + step, limits[step]) {
                    put(Entry(value: entry.value, row: entry.row + offset), start + step, limits[step])
                }
            }
        }
    }

    /// At one step in the order of rank, group after group; over several steps in no particular order.
    func emit<Sink: RowSink>(_ make: () -> Sink, _ lane: Lane) throws(PromQLError) -> [Sink] {
        let sink = make()
        var row = Row(steps: steps)
        if steps == 1 {
            for heap in heaps {
                let ranked = operation == .limitk ? heap : heap.sorted { isBehind($1.value, $0.value) }
                for entry in ranked {
                    kept.load(entry.row, into: &row)
                    try sink.take(&row, lane)
                }
            }
            return [sink]
        }
        var stays = [Bool](repeating: false, count: kept.count * steps)
        for (place, heap) in heaps.enumerated() {
            for entry in heap { stays[entry.row * steps + place % steps] = true }
        }
        for index in 0..<kept.count {
            kept.load(index, into: &row)
            for step in 0..<steps where !stays[index * steps + step] { row.remove(at: step) }
            if !row.isEmpty { try sink.take(&row, lane) }
        }
        return [sink]
    }
}
