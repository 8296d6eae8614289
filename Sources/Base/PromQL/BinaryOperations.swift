import Series

extension Evaluator {
    func binary<Sink: RowSink>(
        _ operation: BinaryOperation, _ node: Expression, _ steps: Steps, _ make: () -> Sink
    ) throws(PromQLError) -> [Sink] {
        if operation.left.type == .vector, operation.right.type == .vector {
            if operation.operation.isSet { return try emit(try combine(operation, steps), make) }
            return try emit(try match(operation, node, steps), make)
        }
        let vectorIsLeft = operation.left.type == .vector
        let scalars = try column(vectorIsLeft ? operation.right : operation.left, steps)
        let body = ScalarStage(operation: operation, scalars: scalars, vectorIsLeft: vectorIsLeft, place: node.range)
        return try stream(vectorIsLeft ? operation.left : operation.right, steps) {
            StageSink(make()) { (row, lane) throws(PromQLError) in body.apply(&row, lane) }
        }.map(\.down)
    }

    // MARK: and, or, unless

    private func combine(_ operation: BinaryOperation, _ steps: Steps) throws(PromQLError) -> Table {
        let left = try table(operation.left, steps)
        let right = try table(operation.right, steps)
        defer { budget.release(SampleBudget.size(of: left) + SampleBudget.size(of: right)) }
        let matcher = SeriesMatcher(operation.matching, left, right)
        let count = steps.count
        // Where a side has something, by signature and step.
        let isOr = operation.operation == .or
        let (deciding, signatures) = isOr ? (left, matcher.left) : (right, matcher.right)
        var isThere = [Bool](repeating: false, count: matcher.count * count)
        for index in 0..<deciding.count {
            for step in 0..<count where deciding.isPresent(index, step) {
                isThere[signatures[index] * count + step] = true
            }
        }
        var result = isOr ? left : Table(steps: count)
        let (filtered, own) = isOr ? (right, matcher.right) : (left, matcher.left)
        var row = Row(steps: count)
        for index in 0..<filtered.count {
            filtered.load(index, into: &row)
            let keepsPresent = operation.operation == .and
            for step in 0..<count where isThere[own[index] * count + step] != keepsPresent { row.remove(at: step) }
            if !row.isEmpty { result.append(row) }
        }
        return isOr ? try FinalRows.merged(result) : result
    }

    // MARK: Arithmetic and comparison

    private func match(_ operation: BinaryOperation, _ node: Expression, _ steps: Steps) throws(PromQLError) -> Table {
        var (left, right) = (try table(operation.left, steps), try table(operation.right, steps))
        defer { budget.release(SampleBudget.size(of: left) + SampleBudget.size(of: right)) }
        // The "one" side is on the right from here on.
        let isSwapped = operation.matching.cardinality == .oneToMany
        if isSwapped { swap(&left, &right) }
        let matcher = SeriesMatcher(operation.matching, left, right)
        var pairing = Pairing(
            operation, place: node.range, isSwapped: isSwapped, left, right, matcher, steps: steps.count)
        do {
            try pairing.findRight()
            for index in 0..<left.count {
                try lane.poll()
                try pairing.pair(index, lane)
            }
        } catch {
            throw failure(error.message, at: error.kind == .execution ? node.range : nil, error.kind)
        }
        return pairing.result
    }
}

/// A vector and a scalar.
private struct ScalarStage {
    let operation: BinaryOperation
    let scalars: [Double]
    let vectorIsLeft: Bool
    let place: Range<Int>

    func apply(_ row: inout Row, _ lane: Lane) {
        let kind = operation.operation
        if !row.histograms.isEmpty {
            applyToAny(&row, lane)
        } else if kind.isComparison {
            for step in row.values.indices where !Absent.isAbsent(row.values[step]) {
                let value = row.values[step]
                let holds = Elementwise.compare(
                    kind, vectorIsLeft ? value : scalars[step], vectorIsLeft ? scalars[step] : value)
                if operation.returnsBool {
                    row.values[step] = holds ? 1 : 0
                } else if !holds {
                    row.values[step] = Absent.value
                }
            }
        } else {
            for step in row.values.indices where !Absent.isAbsent(row.values[step]) {
                let value = row.values[step]
                row.values[step] = Elementwise.compute(
                    kind, vectorIsLeft ? value : scalars[step], vectorIsLeft ? scalars[step] : value)
            }
        }
        if !kind.isComparison || operation.returnsBool { lane.dropName(&row) }
    }

    private func applyToAny(_ row: inout Row, _ lane: Lane) {
        let element = ElementOperation(operation: operation.operation, place: place)
        for step in row.values.indices {
            guard let own = row.operand(at: step) else { continue }
            let scalar = Operand.number(scalars[step])
            guard let (value, isKept) = element.apply(vectorIsLeft ? own : scalar, vectorIsLeft ? scalar : own, lane)
            else {
                row.remove(at: step)
                continue
            }
            if operation.returnsBool {
                row.put(.number(isKept ? 1 : 0), at: step)
            } else if !isKept {
                row.remove(at: step)
            } else {
                row.put(operation.operation.isComparison ? own : value, at: step)
            }
        }
    }
}

/// Numbers the signatures that series of two sides match by.
struct SeriesMatcher {
    /// The signature of each row.
    private(set) var left: [Int] = []
    private(set) var right: [Int] = []
    private(set) var count = 0

    init(_ matching: BinaryOperation.Matching, _ leftTable: Table, _ rightTable: Table) {
        let names = matching.isOn ? matching.labels : matching.labels + [Labels.metricNameLabel]
        let rule = GroupingRule(names, isWithout: !matching.isOn)
        var (groups, scratch): (GroupIndex, [UInt8]) = (GroupIndex(), [])
        for labels in rightTable.labels {
            right.append(rule.withKey(labels, &scratch) { groups.find($0).index })
        }
        for labels in leftTable.labels {
            left.append(rule.withKey(labels, &scratch) { groups.find($0).index })
        }
        count = groups.count
    }
}
