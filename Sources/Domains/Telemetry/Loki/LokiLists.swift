import API
import Kernel
import LogQL
import LogStore
import Series

/// Labels, values, streams and volumes of Loki.
struct LokiLists: Sendable {
    let house: TelemetryHouse

    /// How far back is looked when a request says nothing.
    private static let usual: Int64 = 6 * 3_600_000_000_000

    private func span(_ form: Form) throws -> (from: Int64, to: Int64) {
        try LokiQueries.span(form, now: house.nanoseconds, usual: Self.usual)
    }

    private func matchers(_ form: Form) throws -> [[LabelMatcher]] {
        let all = form.all("match[]") + form.all("match") + (form["query"].map { [$0] } ?? [])
        return try all.filter { !$0.isEmpty && $0 != "{}" }.map { try LogQL.LogQuery.selector($0) }
    }

    func labels(_ form: Form) async throws -> ForeignAnswer {
        let ((from, to), matchers) = (try span(form), try matchers(form))
        return try await house.readers.run {
            let names = try house.logs.labelNames(matchers, from: from, to: to)
            return JSONOut.success { $0.texts(names) }
        }
    }

    func values(_ name: String, _ form: Form) async throws -> ForeignAnswer {
        let ((from, to), matchers) = (try span(form), try matchers(form))
        return try await house.readers.run {
            let values = try house.logs.labelValues(name, matchers, from: from, to: to)
            return JSONOut.success { $0.texts(values) }
        }
    }

    func series(_ form: Form) async throws -> ForeignAnswer {
        let ((from, to), matchers) = (try span(form), try matchers(form))
        return try await house.readers.run {
            let series = try house.logs.series(matchers, from: from, to: to)
            return JSONOut.success { out in
                out.raw("[")
                for (index, labels) in series.enumerated() {
                    out.comma(index)
                    out.labels(labels)
                }
                out.raw("]")
            }
        }
    }

    func stats(_ form: Form) async throws -> ForeignAnswer {
        let ((from, to), matchers) = (try span(form), try selector(form))
        return try await house.readers.run {
            let volume = try house.logs.volume(matchers, from: from, to: to)[.none]
            let figures = [
                ("streams", volume?.streams), ("chunks", volume?.chunks), ("entries", volume?.entries),
                ("bytes", volume?.bytes),
            ]
            let text = "{" + figures.map { "\"\($0.0)\":\($0.1 ?? 0)" }.joined(separator: ",") + "}"
            return ForeignAnswer(type: "application/json", .bytes(Array(text.utf8)))
        }
    }

    /// Bytes by the labels of the selector, or by those that are asked for; the largest first.
    func volume(_ form: Form) async throws -> ForeignAnswer {
        let ((from, to), matchers) = (try span(form), try selector(form))
        let (limit, groups) = (try LokiQueries.limit(form), groups(form, matchers))
        return try await house.readers.run {
            let volumes = try house.logs.volume(matchers, by: groups, from: from, to: to)
                .sorted { ($0.value.bytes, $1.key) > ($1.value.bytes, $0.key) }.prefix(limit)
            return JSONOut.success { out in
                out.raw("{\"resultType\":\"vector\",\"result\":[")
                for (index, volume) in volumes.enumerated() {
                    out.comma(index)
                    out.raw("{\"metric\":")
                    out.labels(volume.key)
                    out.raw(",\"value\":")
                    out.pair(to / 1_000_000) { $0.sample(Double(volume.value.bytes)) }
                    out.raw("}")
                }
                out.raw("]}")
            }
        }
    }

    /// Bytes of each step by the same labels, at the step's end; the groups with the most bytes in all come first.
    func volumes(_ form: Form) async throws -> ForeignAnswer {
        let ((from, to), matchers) = (try span(form), try selector(form))
        let (limit, groups) = (try LokiQueries.limit(form), groups(form, matchers))
        let step = try LokiQueries.step(form, from: from, to: to)
        let count = (to - from + step - 1) / step
        guard count <= PrometheusMount.stepLimit else {
            throw LokiError.bad(
                "exceeded maximum resolution of \(PrometheusMount.stepLimit) points per time series. Try increasing the step"
            )
        }
        return try await house.readers.run {
            var figures: [Labels: (total: Int, values: [Double?])] = [:]
            for place in 0..<Int(count) {
                let begin = from + Int64(place) * step
                let found = try house.logs.volume(matchers, by: groups, from: begin, to: min(to, begin + step))
                for (labels, volume) in found where volume.bytes > 0 {
                    figures[labels, default: (0, Array(repeating: nil, count: Int(count)))].total += volume.bytes
                    figures[labels]?.values[place] = Double(volume.bytes)
                }
            }
            let order = figures.sorted { ($0.value.total, $1.key) > ($1.value.total, $0.key) }.prefix(limit)
            return JSONOut.success { out in
                out.figures(order.map { ($0.key, $0.value.values) }, isInstant: false, from: from + step, step: step)
                out.raw("}")
            }
        }
    }

    /// Labels by which volumes are told apart; nil: by stream.
    private func groups(_ form: Form, _ matchers: [LabelMatcher]) -> Set<String>? {
        var names = Set(matchers.map(\.name))
        if let wanted = form["targetLabels"] { names = Set(wanted.split(separator: ",").map(String.init)) }
        return names.isEmpty ? nil : names
    }

    private func selector(_ form: Form) throws -> [LabelMatcher] {
        guard let text = form["query"], text != "{}" else { return [] }
        return try LogQL.LogQuery.selector(text)
    }
}
