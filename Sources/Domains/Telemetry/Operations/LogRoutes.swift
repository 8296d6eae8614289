import API
import Kernel
import LogQL
import LogStore
import Manifests
import Segments
import Series

/// Our own operations on log lines.
struct LogRoutes: Sendable {
    let house: TelemetryHouse

    /// Longest time between two questions of one who follows by long polls; what came in between is found by looking back.
    private static let patience: Duration = .seconds(18)

    func add(to routes: inout Routes) {
        routes.on(Logs.search) { input, call in
            try call.allowHouse(Logs.search.name)
            return try await Self.told { try await search(input) }
        }
        routes.on(Logs.tail) { input, call in
            try call.allowHouse(Logs.tail.name)
            return try await Self.told { try await tail(input) }
        }
        routes.on(Logs.labels) { input, call in
            try call.allowHouse(Logs.labels.name)
            return try await Self.told {
                let (lists, from, to) = try span(input.match, input.from, input.to)
                return try await house.readers.run {
                    ItemList(
                        try house.logs.labelNames(lists, from: from, to: to).prefix(input.limit).map { LabelWord($0) })
                }
            }
        }
        routes.on(Logs.values) { input, call in
            try call.allowHouse(Logs.values.name)
            return try await Self.told {
                let (lists, from, to) = try span(input.match, input.from, input.to)
                return try await house.readers.run {
                    let values = try house.logs.labelValues(input.label, lists, from: from, to: to)
                    let search = input.search?.lowercased() ?? ""
                    let found = values.lazy.filter { search.isEmpty || $0.lowercased().contains(search) }
                    return ItemList(found.prefix(input.limit).map { LabelWord($0) })
                }
            }
        }
    }

    private func span(
        _ match: String?, _ from: String?, _ to: String?
    ) throws -> (lists: [[LabelMatcher]], from: Int64, to: Int64) {
        let now = house.time.now
        let end = try TimeText.moment(to, now: now, or: now)
        let start = try TimeText.moment(from, now: now, or: end.advanced(by: .seconds(-6 * 3600)))
        let lists = try (match.map { [$0] } ?? []).filter { !$0.isEmpty && $0 != "{}" }
            .map { try LogQL.LogQuery.selector($0) }
        return (lists, start.nanoseconds, end.nanoseconds)
    }

    static func told<T>(_ body: () async throws -> T) async throws -> T {
        do {
            return try await body()
        } catch let error as LogQLError {
            throw Problem(
                "logs.query", status: 422, error.message,
                hint: error.position == nil ? nil : "Look at line \(error.line), column \(error.column) of the query.",
                location: error.position == nil ? nil : "\(error.line):\(error.column)")
        } catch let error as StorageError {
            let isAsked = error.code == .invalid || error.code == .limit
            throw Problem("logs.store", status: isAsked ? 422 : 503, error.description, hint: error.hint)
        }
    }

    private func search(_ input: LogQLQuery) async throws -> API.LogAnswer {
        let now = house.time.now
        let to = try TimeText.moment(input.to, now: now, or: now)
        let from = try TimeText.moment(input.from, now: now, or: to.advanced(by: .seconds(-3600)))
        let (start, end) = (from.nanoseconds, to.nanoseconds)
        guard end >= start else { throw Problem("logs.range", status: 422, "the last moment lies before the first") }
        let step = input.step.map(\.nanoseconds) ?? max(1_000_000_000, (end - start) / 250)
        let began = ContinuousClock.now
        return try await house.readers.run {
            let query = try LogQL.LogQuery(input.query)
            let answer = try LogEngine(house.logs).range(
                query, from: start, to: end + (query.isMetric ? 0 : 1), step: step, limit: input.limit,
                input.direction == .forward ? .forward : .backward)
            var told = Self.told(answer, from: start, step: step)
            let (seconds, attoseconds) = (ContinuousClock.now - began).components
            told.seconds = Double(seconds) + Double(attoseconds) / 1e18
            return told
        }
    }

    private static func told(_ answer: LogQL.LogAnswer, from: Int64, step: Int64) -> API.LogAnswer {
        var told = API.LogAnswer()
        var out = JSONOut()
        switch answer {
        case .rows(let rows):
            told.lines = rows.map(line)
            return told
        case .series(let list):
            out.figures(list.map { ($0.labels, $0.values) }, isInstant: false, from: from, step: step)
        case .scalar(let numbers):
            out.figures([(.none, numbers)], isInstant: false, from: from, step: step)
        }
        out.raw("}")
        told.resultType = "matrix"
        told.result = (try? JSONParser.parse(out.bytes))?["result"]  // written a line above
        return told
    }

    static func line(_ row: LogRow) -> API.LogLine {
        var line = API.LogLine()
        (line.at, line.nanoseconds, line.line) = (Timestamp(microseconds: row.time / 1000), row.time, row.line)
        for pair in row.labels.pairs {
            if row.stream[pair.name] != nil {
                line.labels[pair.name] = pair.value
            } else {
                line.metadata[pair.name] = pair.value
            }
        }
        return line
    }

    /// Waits for lines behind a place: `TIME:COUNT`, so many lines of that nanosecond having been told.
    private func tail(_ input: LogTailQuery) async throws -> API.LogAnswer {
        let query = try LogQL.LogQuery(input.query)
        guard !query.isMetric else {
            throw Problem("logs.query", status: 422, "only queries that answer lines can be followed")
        }
        let parts = (input.after ?? "").split(separator: ":").compactMap { Int64($0) }
        let (after, skipped) =
            parts.count == 2 ? (parts[0], Int(min(max(0, parts[1]), 1_000_000))) : (house.nanoseconds, 0)
        let open = try house.tails.open(query, house)
        defer { house.tails.close(open, house) }
        let deadline = house.time.now.advanced(by: Self.patience)
        while true {
            let rows = try await house.readers.run {
                var rows: [LogRow] = []
                try LogEngine(house.logs).lines(query, from: after, to: .max, .forward) { row in
                    rows.append(row)
                    return rows.count < input.limit + skipped
                }
                return Array(rows.dropFirst(skipped))
            }
            if !rows.isEmpty || house.context.store.bells.isClosed || house.time.now >= deadline {
                var answer = API.LogAnswer()
                answer.lines = rows.map(Self.line)
                let last = rows.last?.time ?? after
                let count = rows.count { $0.time == last } + (last == after ? skipped : 0)
                answer.next = "\(last):\(count)"
                return answer
            }
            _ = open.take(.max, house)
            try await open.bell.wait(until: deadline, by: house.time)
        }
    }
}
