import Series

/// Evaluates one query. Rows stream from selectors through operators into sinks; only what an operator must see together is
/// kept in a table.
final class Evaluator {
    let options: EngineOptions
    let source: any SeriesSource
    let budget: SampleBudget
    let guardian: QueryGuard
    /// The whole query's times: what `start()` and `end()` mean.
    let query: Steps
    let text: String
    /// The calling thread's.
    let lane: Lane

    /// More steps than this, of the query or a subquery, are refused.
    static let stepLimit = 10_000_000

    init(_ options: EngineOptions, _ source: any SeriesSource, _ cancel: CancelFlag?, _ query: Steps, _ text: String) {
        self.options = options
        self.source = source
        self.query = query
        self.text = text
        budget = SampleBudget(limit: options.maximumSamples)
        guardian = QueryGuard(cancel: cancel, deadline: ContinuousClock.now + options.timeout)
        lane = Lane(options, guardian)
    }

    func failure(_ message: String, at range: Range<Int>? = nil, _ kind: PromQLError.Kind = .execution) -> PromQLError {
        PromQLError(kind, message, at: range, in: text)
    }

    // MARK: Answers

    func answer(_ expression: Expression, isRange: Bool) throws(PromQLError) -> QueryAnswer {
        let value = try value(of: expression, isRange: isRange)
        let notes = lane.notes.all.values.sorted { $0.text < $1.text }
        let placed = notes.map { ($0.isWarning, "\($0.text) (\(PromQLError.Place($0.range.lowerBound, in: text)))") }
        return QueryAnswer(
            value: value, warnings: placed.filter(\.0).map(\.1), infos: placed.filter { !$0.0 }.map(\.1), notes: notes)
    }

    private func value(of expression: Expression, isRange: Bool) throws(PromQLError) -> QueryAnswer.Value {
        switch expression.type {
        case .string:
            guard case .string(let bytes) = expression.unwrapped.kind else { break }
            return .string(String(decoding: bytes, as: UTF8.self), at: query.start)
        case .scalar:
            let column = try column(expression, query)
            if !isRange { return .scalar(column[0], at: query.start) }
            var table = Table(steps: query.count)
            var row = Row(steps: query.count)
            row.values = column
            table.append(row)
            return .matrix(SeriesList(labels: [.none], .table(table, query)))
        case .matrix: return .matrix(try samples(of: expression.unwrapped))
        case .vector: break
        }
        var result = try table(expression, query)
        result = try FinalRows.cleaned(result, isRange: isRange)
        let list = SeriesList(labels: result.labels, .table(result, query))
        return isRange ? .matrix(list) : .vector(list)
    }

    /// The samples of a range vector at the query's only time.
    private func samples(of expression: Expression) throws(PromQLError) -> SeriesList {
        let sink: [SamplesSink]
        switch expression.kind {
        case .range(let selector, let range):
            sink = try windows(selector, range.milliseconds, query, at: expression.range) { SamplesSink(self.budget) }
        case .subquery(let inner, let subquery):
            sink = try windows(inner, subquery, query) { SamplesSink(self.budget) }
        default: throw failure("expected a range vector")
        }
        let series = sink.flatMap { zip($0.labels, $0.buffers) }.sorted { $0.0 < $1.0 }
        return SeriesList(labels: series.map(\.0), .samples(series.map(\.1)))
    }

    // MARK: Rows

    /// All rows of a vector, kept.
    func table(_ node: Expression, _ steps: Steps) throws(PromQLError) -> Table {
        let sinks = try stream(node, steps) { TableSink(steps: steps.count, self.budget) }
        var table = sinks.first?.table ?? Table(steps: steps.count)
        for other in sinks.dropFirst() { table.append(other.table) }
        return table
    }

    /// Passes on the rows of a table and forgets them.
    func emit<Sink: RowSink>(_ table: Table, _ make: () -> Sink) throws(PromQLError) -> [Sink] {
        let sink = make()
        var row = Row(steps: table.steps)
        for index in 0..<table.count {
            try lane.poll()
            table.load(index, into: &row)
            if !row.isEmpty { try sink.take(&row, lane) }
        }
        return [sink]
    }

    /// Sends each series of a vector as a row to a sink; where it pays, series are spread over several sinks, in order.
    func stream<Sink: RowSink>(_ node: Expression, _ steps: Steps, _ make: () -> Sink) throws(PromQLError) -> [Sink] {
        try guardian.check()
        if steps.count > Self.stepLimit { throw SampleBudget.exceeded }
        if steps.count > 1, node.isTimeless {
            return try stream(node, steps.first) { ReplicatingSink(make(), steps: steps.count) }.map(\.down)
        }
        switch node.kind {
        case .parenthesis(let inner): return try stream(inner, steps, make)
        case .selector(let selector): return try instants(selector, steps, keepsTime: false, make)
        case .unary(let isNegative, let inner):
            if !isNegative { return try stream(inner, steps, make) }
            return try stream(inner, steps) {
                StageSink(make()) { (row, lane) throws(PromQLError) in Elementwise.negate(&row, lane) }
            }.map(\.down)
        case .call(let function, let arguments): return try call(function, arguments, node, steps, make)
        case .aggregate(let aggregation): return try aggregate(aggregation, node, steps, make)
        case .binary(let operation): return try binary(operation, node, steps, make)
        case .number, .string, .range, .subquery: throw failure("expected an instant vector", at: node.range)
        }
    }

    // MARK: Scalars

    /// A scalar's value at each step.
    func column(_ node: Expression, _ steps: Steps) throws(PromQLError) -> [Double] {
        if steps.count > Self.stepLimit { throw SampleBudget.exceeded }
        switch node.kind {
        case .number(let value): return [Double](repeating: value, count: steps.count)
        case .parenthesis(let inner): return try column(inner, steps)
        case .unary(let isNegative, let inner):
            let values = try column(inner, steps)
            return isNegative ? values.map { -$0 } : values
        case .binary(let operation):
            let (left, right) = (try column(operation.left, steps), try column(operation.right, steps))
            return zip(left, right).map { Elementwise.scalar(operation.operation, $0, $1) }
        case .call(.pi, _): return [Double](repeating: .pi, count: steps.count)
        case .call(.time, _): return (0..<steps.count).map { Double(steps.time($0)) / 1_000 }
        case .call(.scalar, let arguments):
            if steps.count > 1, node.isTimeless {
                return [Double](repeating: try column(node, steps.first)[0], count: steps.count)
            }
            let sinks = try stream(arguments[0], steps) { OnlyValueSink(steps: steps.count) }
            return OnlyValueSink.values(sinks, steps: steps.count)
        default: throw failure("expected a scalar", at: node.range)
        }
    }
}

extension Expression {
    /// The value is the same whenever it is evaluated: every selector is pinned by `@`.
    var isTimeless: Bool {
        switch kind {
        case .number, .string: true
        case .selector(let selector), .range(let selector, _): selector.at != nil
        case .subquery(_, let subquery): subquery.at != nil
        case .call(let function, let arguments): !function.dependsOnTime && arguments.allSatisfy(\.isTimeless)
        case .aggregate(let aggregation): aggregation.operand.isTimeless && (aggregation.parameter?.isTimeless ?? true)
        case .binary(let operation): operation.left.isTimeless && operation.right.isTimeless
        case .unary(_, let inner), .parenthesis(let inner): inner.isTimeless
        }
    }
}

/// The value at each step where there is exactly one series.
final class OnlyValueSink: RowSink {
    private var values: [Double]
    private var found: [Int]

    init(steps: Int) {
        values = [Double](repeating: .nan, count: steps)
        found = [Int](repeating: 0, count: steps)
    }

    func take(_ row: inout Row, _ lane: Lane) throws(PromQLError) {
        for step in values.indices where !Absent.isAbsent(row.values[step]) {
            found[step] += 1
            values[step] = row.values[step]
        }
    }

    static func values(_ sinks: [OnlyValueSink], steps: Int) -> [Double] {
        (0..<steps).map { step in
            let holders = sinks.filter { $0.found[step] > 0 }
            return holders.count == 1 && holders[0].found[step] == 1 ? holders[0].values[step] : .nan
        }
    }
}

/// The end of a vector query: names that go, order, and no two series alike.
enum FinalRows {
    private static let duplicate = PromQLError(.execution, "vector cannot contain metrics with the same labelset")

    static func cleaned(_ input: Table, isRange: Bool) throws(PromQLError) -> Table {
        var table = input
        for index in 0..<table.count where table.dropsName[index] {
            table.relabel(index, table.labels[index].withoutMetadata)
        }
        if isStrictlyAscending(table) { return table }
        if isRange {
            let order = (0..<table.count).sorted { table.labels[$0] < table.labels[$1] }
            table = table.selecting(order)
            if isStrictlyAscending(table) { return table }
        }
        return try merged(table)
    }

    /// Rows of the same labels made one, when they do not meet at any step.
    static func merged(_ input: Table) throws(PromQLError) -> Table {
        var (table, kept): (Table, [Int]) = (input, [])
        var known: [Labels: Int] = [:]
        for index in 0..<table.count {
            if let first = known[table.labels[index]] {
                if !table.merge(index, into: first) { throw duplicate }
            } else {
                known[table.labels[index]] = index
                kept.append(index)
            }
        }
        return kept.count == table.count ? table : table.selecting(kept)
    }

    private static func isStrictlyAscending(_ table: Table) -> Bool {
        for index in 1..<max(table.count, 1) where !(table.labels[index - 1] < table.labels[index]) { return false }
        return true
    }

    /// Refuses two series of the same labels whatever their steps.
    static func requireDistinct(_ table: Table) throws(PromQLError) {
        if Set(table.labels).count != table.count { throw duplicate }
    }
}

extension Labels {
    /// Without the labels that say what a metric is: its name, type and unit.
    var withoutMetadata: Labels {
        filtered { name in
            guard name.count > 4, name[0] == UInt8(ascii: "_"), name[1] == UInt8(ascii: "_") else { return true }
            return
                !(name.elementsEqual("__name__".utf8) || name.elementsEqual("__type__".utf8)
                || name.elementsEqual("__unit__".utf8))
        }
    }
}
