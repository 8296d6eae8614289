import API
import Kernel
import LogQL
import LogStore
import Series
import Synchronization

/// `tail` of Loki, as server-sent events: what comes in, from now on.
struct LokiTail: Sendable {
    let house: TelemetryHouse

    func answer(_ form: Form) throws -> ForeignAnswer {
        let query = try LogQL.LogQuery(form["query"] ?? "")
        guard !query.isMetric else { throw LokiError.bad("only queries that answer lines can be followed") }
        let house = house
        let limit = try LokiQueries.limit(form)
        return ForeignAnswer(
            type: "text/event-stream", headers: [("Cache-Control", "no-store")],
            .stream { write in
                let tail = try house.tails.open(query, house)
                defer { house.tails.close(tail, house) }
                try await write(Array(": vagus\n\n".utf8))
                while !house.context.store.bells.isClosed {
                    let (rows, missed) = tail.take(max(1, limit), house)
                    if rows.isEmpty, missed == 0 {
                        let rang = try await tail.bell.wait(
                            until: house.time.now.advanced(by: .seconds(15)), by: house.time)
                        if !rang { try await write(Array(": still here\n\n".utf8)) }
                        continue
                    }
                    var out = JSONOut()
                    out.raw("data: ")
                    out.tail(rows, missed: missed)
                    out.raw("\n\n")
                    try await write(out.bytes)
                }
            })
    }
}

extension JSONOut {
    /// `{"streams": […], "dropped_entries": …}`
    fileprivate mutating func tail(_ rows: [LogRow], missed: Int) {
        raw("{\"streams\":[")
        for (index, row) in rows.enumerated() {
            comma(index)
            raw("{\"stream\":")
            labels(row.labels)
            raw(",\"values\":[")
            line(row.time, row.line)
            raw("]}")
        }
        raw("],\"dropped_entries\":")
        raw(missed == 0 ? "null" : "[{\"count\":\(missed)}]")
        raw("}")
    }
}

/// Those who follow the log at the moment.
final class OpenTails: Sendable {
    /// One who follows, with the bell that rings when lines came.
    final class Tail: Sendable {
        let query: LogQL.LogQuery
        let bell: Bell
        fileprivate let tokens: [Int]
        fileprivate let queues: [LogTail]

        fileprivate init(_ query: LogQL.LogQuery, _ bell: Bell, _ parts: [(token: Int, tail: LogTail)]) {
            self.query = query
            self.bell = bell
            tokens = parts.map(\.token)
            queues = parts.map(\.tail)
        }

        /// What has come and is meant, and how many lines went by too fast.
        func take(_ limit: Int, _ house: TelemetryHouse) -> (rows: [LogRow], missed: Int) {
            let engine = LogEngine(house.logs)
            var (rows, missed) = ([LogRow](), 0)
            for queue in queues {
                let (entries, dropped) = queue.take(limit)
                rows += entries.compactMap { engine.row(query, of: $0) }
                missed += dropped
            }
            return (rows, missed)
        }
    }

    private let bells: Bells
    private let next = Mutex(0)

    init(bells: Bells) { self.bells = bells }

    func open(_ query: LogQL.LogQuery, _ house: TelemetryHouse) throws -> Tail {
        let number = next.withLock { next in
            next += 1
            return next
        }
        let topic = "telemetry.tail.\(number)"
        let (bells, bell) = (bells, bells.listen(to: [topic]))
        do {
            let parts = try query.selectors.map { matchers in
                try house.logs.follow(matchers, onArrival: { bells.ring([topic]) })
            }
            return Tail(query, bell, parts)
        } catch {
            bells.remove(bell)
            throw error
        }
    }

    func close(_ tail: Tail, _ house: TelemetryHouse) {
        for token in tail.tokens { house.logs.unfollow(token) }
        bells.remove(tail.bell)
    }
}
