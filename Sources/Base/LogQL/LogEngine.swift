package import LogStore
internal import Series

/// Runs queries over a store. Calls block, on a thread of the caller.
package struct LogEngine: Sendable {
    package struct Limits: Sendable {
        /// Lines of an answer.
        package var rows = 5_000
        /// Series of an answer, and of a step on the way to it.
        package var series = 5_000
        /// Steps of a query over a range.
        package var steps = 11_000
        /// Values that figures which need every one of them (quantiles, sums) may hold at a time.
        package var samples = 20_000_000

        package init() {}
    }

    package enum Direction: Sendable { case forward, backward }

    /// Nanoseconds from 1970 either way; with the longest ranges of queries it still fits 64 bits.
    static let latest: Int64 = 4_000_000_000_000_000_000

    package let store: LogStore
    package let limits: Limits

    package init(_ store: LogStore, limits: Limits = Limits()) {
        self.store = store
        self.limits = limits
    }

    /// Shows the lines that a query finds, one by one in order of time, until the visitor has enough.
    ///
    /// - Parameters:
    ///   - query: One for lines.
    ///   - from: Nanoseconds, included.
    ///   - to: Nanoseconds, not included.
    ///   - direction: Oldest or newest first.
    ///   - visit: Gets a line; false ends it.
    /// - Returns: What it cost.
    /// - Throws: `LogQLError`, `StorageError`, and what the visitor throws.
    @discardableResult
    package func lines(
        _ query: LogQuery, from: Int64, to: Int64, _ direction: Direction, _ visit: (LogRow) throws -> Bool
    ) throws -> LogScan {
        guard case .lines(let source) = query.root else { throw LogQLError("the query answers figures, not lines") }
        var pipeline = Pipeline(source.stages)
        let order = direction == .forward ? LogSelection.Order.forward : .backward
        return try store.scan(source.selection(from: from, to: to, order)) { line in
            let row = pipeline.run(line) { state, text in
                LogRow(
                    labels: state.hasOwnLabels ? state.labels : line.stream, time: line.time,
                    line: String(decoding: text, as: UTF8.self), stream: line.stream)
            }
            return try row.map(visit) ?? true
        }
    }

    /// Whether a query would find a line that a follower got, and as what.
    package func row(_ query: LogQuery, of entry: LogTail.Entry) -> LogRow? {
        guard case .lines(let source) = query.root else { return nil }
        var pipeline = Pipeline(source.stages)
        var text = entry.line
        return text.withUTF8 { text in
            entry.metadata.bytes.withUnsafeBufferPointer { metadata in
                let line = LogLine(stream: entry.stream, streamID: 0, time: entry.time, line: text, metadata: metadata)
                return pipeline.run(line) { state, text in
                    LogRow(
                        labels: state.labels, time: entry.time, line: String(decoding: text, as: UTF8.self),
                        stream: entry.stream)
                }
            }
        }
    }

    /// Answers a query at one time: lines of the hour before it, or figures.
    package func instant(
        _ query: LogQuery, at time: Int64, limit: Int, _ direction: Direction = .backward
    ) throws -> LogAnswer {
        try range(
            query, from: query.isMetric ? time : time &- 3_600_000_000_000, to: time, step: 1, limit: limit, direction)
    }

    /// Answers a query over a range of time.
    ///
    /// - Parameters:
    ///   - query: For lines or figures.
    ///   - from: Nanoseconds; time of the first step, or of the oldest line.
    ///   - to: Nanoseconds; the last step is not behind it, and no line at or behind it counts.
    ///   - step: Nanoseconds between figures.
    ///   - limit: Lines of the answer.
    ///   - direction: Which lines come first, and are kept under the limit.
    /// - Returns: Lines, series with a value or nil for each step, or numbers.
    /// - Throws: `LogQLError`, `StorageError`.
    package func range(
        _ query: LogQuery, from: Int64, to: Int64, step: Int64, limit: Int, _ direction: Direction = .backward
    ) throws -> LogAnswer {
        guard query.isMetric else {
            var rows: [LogRow] = []
            let most = min(max(limit, 0), limits.rows)
            if most > 0 {
                try lines(query, from: from, to: to, direction) { row in
                    rows.append(row)
                    return rows.count < most
                }
            }
            return .rows(rows)
        }
        guard [from, to].allSatisfy({ abs($0 / 2) < Self.latest / 2 }) else {
            throw LogQLError("a time of the query lies outside the calendar")
        }
        guard step > 0, to >= from else { throw LogQLError("the range of the query is empty") }
        let (length, overflow) = to.subtractingReportingOverflow(from)
        guard !overflow, length / step < limits.steps else {
            throw LogQLError("the query has more than \(limits.steps) steps; ask for a wider step")
        }
        let steps = LogSteps(from: from, step: step, count: Int(length / step) + 1)
        switch try MetricEvaluator(engine: self, steps: steps).evaluate(query.root) {
        case .scalar(let numbers): return .scalar(numbers)
        case .vector(let series):
            return .series(series.filter { series in series.values.contains { $0 != nil } })
        }
    }
}

/// The times at which figures are wanted.
struct LogSteps: Sendable {
    let from: Int64
    let step: Int64
    let count: Int

    var to: Int64 { from + Int64(count - 1) * step }

    func time(_ index: Int) -> Int64 { from + Int64(index) * step }
}
