import API
import Kernel
import LogQL
import LogStore
import Series

/// `query` and `query_range` of Loki.
struct LokiQueries: Sendable {
    let house: TelemetryHouse

    private static let hour: Int64 = 3_600_000_000_000
    private static let usualLimit = 100

    func instant(_ form: Form) async throws -> ForeignAnswer {
        let time = try Self.time(form, "time") ?? house.nanoseconds
        let (limit, direction) = (try Self.limit(form), try Self.direction(form))
        let text = form["query"] ?? ""
        return try await house.readers.run {
            let query = try LogQL.LogQuery(text)
            let answer = try LogEngine(house.logs).instant(query, at: time, limit: limit, direction)
            return Self.write(answer, isInstant: true, from: time, step: 1, limit: limit, direction)
        }
    }

    func range(_ form: Form) async throws -> ForeignAnswer {
        let (from, to) = try Self.span(form, now: house.nanoseconds, usual: Self.hour)
        let wide = try Self.step(form, from: from, to: to)
        let (limit, direction) = (try Self.limit(form), try Self.direction(form))
        let text = form["query"] ?? ""
        return try await house.readers.run {
            let query = try LogQL.LogQuery(text)
            let answer = try LogEngine(house.logs).range(
                query, from: from, to: to, step: wide, limit: limit, direction)
            return Self.write(answer, isInstant: false, from: from, step: wide, limit: limit, direction)
        }
    }

    // MARK: Writing

    private static func write(
        _ answer: LogQL.LogAnswer, isInstant: Bool, from: Int64, step: Int64, limit: Int,
        _ direction: LogEngine.Direction
    ) -> ForeignAnswer {
        JSONOut.success { out in
            switch answer {
            case .rows(let rows): out.streams(rows)
            case .series(let list):
                out.figures(list.map { ($0.labels, $0.values) }, isInstant: isInstant, from: from, step: step)
            case .scalar(let numbers):
                if isInstant {
                    out.raw("{\"resultType\":\"scalar\",\"result\":")
                    out.pair(from / 1_000_000) { $0.sample(numbers.first ?? .nan) }
                } else {
                    // What is the same for all series is one series without labels.
                    out.figures(
                        [(.none, numbers)], isInstant: false, from: from, step: step)
                }
            }
            out.raw(",\"stats\":{\"summary\":{\"bytesProcessedPerSecond\":0,\"linesProcessedPerSecond\":0,")
            out.raw("\"totalBytesProcessed\":0,\"totalLinesProcessed\":0,\"execTime\":0}}}")
        }
    }

    // MARK: Parameters

    /// Nanoseconds before and after 1970: so far that differences still fit 64 bits.
    private static let farthest: UInt64 = 4_000_000_000_000_000_000

    /// Nanoseconds: digits are nanoseconds (or seconds, when they are few), a fraction means seconds; RFC 3339.
    static func time(_ form: Form, _ name: String) throws -> Int64? {
        guard let text = form[name] else { return nil }
        if let whole = Int64(text), text.utf8.count > 10, whole.magnitude <= farthest { return whole }
        if let seconds = Double(text), abs(seconds) <= Double(farthest) / 1e9 { return Int64(seconds * 1e9) }
        if let time = nanoseconds(text), time.magnitude <= farthest { return time }
        throw LokiError.bad("could not parse the \(name) parameter: \"\(text)\" is no time")
    }

    /// RFC 3339 with up to nine digits of a second.
    private static func nanoseconds(_ text: String) -> Int64? {
        guard let time = TimeText.rfc3339(text) else { return nil }
        guard let dot = text.firstIndex(of: ".") else { return time.microseconds &* 1000 }
        let digits = text[text.index(after: dot)...].prefix { $0.isNumber }.prefix(9)
        let micro = Int64(digits.prefix(6)) ?? 0
        let scale = (digits.count..<9).reduce(Int64(1)) { size, _ in size * 10 }
        let nano = (Int64(digits) ?? 0) * scale
        let microScale = (min(6, digits.count)..<6).reduce(Int64(1)) { size, _ in size * 10 }
        return (time.microseconds - micro * microScale) &* 1000 &+ nano
    }

    static func length(_ text: String) -> Int64? {
        if let seconds = Double(text) { return abs(seconds) <= Double(farthest) / 1e9 ? Int64(seconds * 1e9) : nil }
        return PromDuration.milliseconds(text).flatMap { $0 <= farthest / 1_000_000 ? $0 * 1_000_000 : nil }
    }

    /// `start`, `end` or `since`; without them the usual length up to now.
    static func span(_ form: Form, now: Int64, usual: Int64) throws -> (from: Int64, to: Int64) {
        let to = try time(form, "end") ?? now
        var length = usual
        if let text = form["since"] {
            guard let since = Self.length(text) else {
                throw LokiError.bad("could not parse the since parameter: \(text)")
            }
            length = since
        }
        return (try time(form, "start") ?? min(to, now) &- length, to)
    }

    /// Nanoseconds between the moments of an answer; when nothing is said, what gives 250 of them, and a second at least.
    static func step(_ form: Form, from: Int64, to: Int64) throws -> Int64 {
        guard to >= from else { throw LokiError.bad("end timestamp must not be before or equal to start time") }
        guard let text = form["step"] else { return max(1_000_000_000, (to - from) / 250) }
        guard let length = Self.length(text), length > 0 else {
            throw LokiError.bad(
                "zero or negative query resolution step widths are not accepted. Try a positive integer")
        }
        return length
    }

    static func limit(_ form: Form) throws -> Int {
        guard let text = form["limit"] else { return usualLimit }
        guard let limit = Int(text), limit >= 0 else { throw LokiError.bad("limit must be a positive value") }
        guard limit <= TelemetryLimits.lines else {
            throw LokiError.bad(
                "max entries limit per query exceeded, limit > max_entries_limit (\(limit) > \(TelemetryLimits.lines))")
        }
        return limit
    }

    static func direction(_ form: Form) throws -> LogEngine.Direction {
        switch form["direction"]?.lowercased() {
        case nil, "backward": .backward
        case "forward": .forward
        case let other?: throw LokiError.bad("invalid direction '\(other)'")
        }
    }
}

extension JSONOut {
    /// `{"resultType": "streams", …`: rows under the labels that they have in common, in the order of their first row. Left open.
    mutating func streams(_ rows: [LogRow]) {
        var order: [Labels] = []
        var groups: [Labels: [Int]] = [:]
        for (index, row) in rows.enumerated() {
            if groups[row.labels] == nil { order.append(row.labels) }
            groups[row.labels, default: []].append(index)
        }
        raw("{\"resultType\":\"streams\",\"result\":[")
        for (index, labels) in order.enumerated() {
            comma(index)
            raw("{\"stream\":")
            self.labels(labels)
            raw(",\"values\":[")
            for (index, place) in (groups[labels] ?? []).enumerated() {
                comma(index)
                line(rows[place].time, rows[place].line)
            }
            raw("]}")
        }
        raw("]")
    }

    /// `["NANOSECONDS", "LINE"]`
    mutating func line(_ time: Int64, _ line: String) {
        raw("[\"")
        integer(time)
        raw("\",")
        text(line)
        raw("]")
    }

    /// `{"resultType": "matrix", …` or a vector. Left open.
    mutating func figures(
        _ list: [(labels: Labels, values: [Double?])], isInstant: Bool, from: Int64, step: Int64
    ) {
        raw(isInstant ? "{\"resultType\":\"vector\",\"result\":[" : "{\"resultType\":\"matrix\",\"result\":[")
        for (index, series) in list.enumerated() {
            comma(index)
            raw("{\"metric\":")
            labels(series.labels)
            raw(isInstant ? ",\"value\":" : ",\"values\":[")
            var count = 0
            for (place, value) in series.values.enumerated() {
                guard let value else { continue }
                comma(count)
                count += 1
                pair((from + Int64(place) * step) / 1_000_000) { $0.sample(value) }
            }
            raw(isInstant ? "}" : "]}")
        }
        raw("]")
    }
}
