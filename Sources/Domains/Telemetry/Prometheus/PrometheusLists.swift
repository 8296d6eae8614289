import API
import Kernel
import PromQL
import Series
import TSDB

/// Series, names and values of labels, and what metrics are.
struct PrometheusLists: Sendable {
    let house: TelemetryHouse

    private struct Span: Sendable {
        var from: Int64
        var to: Int64
        var limit: Int
        var matchers: [[LabelMatcher]]

        init(_ form: Form) throws {
            from = try PrometheusQueries.time(form, "start") ?? TelemetryLimits.firstMoment
            to = try PrometheusQueries.time(form, "end") ?? TelemetryLimits.lastMoment
            guard to >= from else {
                throw PrometheusError.bad("invalid parameter \"end\": end timestamp must not be before start time")
            }
            limit = try PrometheusQueries.limit(form)
            matchers = try form.all("match[]").map(PrometheusLists.selector)
        }
    }

    /// - Throws: 400 when the text is no selector.
    static func selector(_ text: String) throws -> [LabelMatcher] {
        do {
            return try parseSelector(text)
        } catch {
            throw PrometheusError.bad("invalid parameter \"match[]\": \(error)")
        }
    }

    func series(_ form: Form) async throws -> ForeignAnswer {
        let span = try Span(form)
        guard !span.matchers.isEmpty else { throw PrometheusError.bad("no match[] parameter provided") }
        return try await house.readers.run {
            var found = Set<Labels>()
            for matchers in span.matchers {
                let set = try house.metrics.use { try $0.select(Selection(matchers, from: span.from, to: span.to)) }
                for index in 0..<set.count { found.insert(set.labels(at: index)) }
            }
            let (shown, warnings) = Self.cut(found.sorted(), span.limit)
            return JSONOut.success(warnings: warnings, capacity: shown.count * 200) { out in
                out.raw("[")
                for (index, labels) in shown.enumerated() {
                    out.comma(index)
                    out.labels(labels)
                }
                out.raw("]")
            }
        }
    }

    func labels(_ form: Form) async throws -> ForeignAnswer {
        let span = try Span(form)
        return try await house.readers.run {
            let names = try house.metrics.use { try $0.labelNames(span.matchers, from: span.from, to: span.to) }
            return Self.texts(names, span.limit)
        }
    }

    func values(_ name: String, _ form: Form) async throws -> ForeignAnswer {
        let span = try Span(form)
        guard !name.isEmpty else { throw PrometheusError.bad("invalid label name: \"\"") }
        let plain = name.hasPrefix("U__") ? Self.unescaped(name) : name
        return try await house.readers.run {
            let values = try house.metrics.use {
                try $0.labelValues(plain, span.matchers, from: span.from, to: span.to)
            }
            return Self.texts(values, span.limit)
        }
    }

    func metadata(_ form: Form) async throws -> ForeignAnswer {
        let limit = try PrometheusQueries.limit(form)
        let metric = form["metric"]
        return try await house.readers.run {
            let all = try house.metrics.use { $0.metadata() }
            let wanted = all.filter { metric == nil || $0.key == metric }.sorted { $0.key < $1.key }
            return JSONOut.success(capacity: wanted.count * 150) { out in
                out.raw("{")
                for (index, entry) in wanted.prefix(limit > 0 ? limit : wanted.count).enumerated() {
                    out.comma(index)
                    out.text(entry.key)
                    out.raw(":[{\"type\":")
                    out.text(entry.value.type)
                    out.raw(",\"help\":")
                    out.text(entry.value.help)
                    out.raw(",\"unit\":")
                    out.text(entry.value.unit)
                    out.raw("}]")
                }
                out.raw("}")
            }
        }
    }

    private static func texts(_ list: [String], _ limit: Int) -> ForeignAnswer {
        let (shown, warnings) = cut(list, limit)
        return JSONOut.success(warnings: warnings, capacity: shown.count * 20) { $0.texts(shown) }
    }

    private static func cut<Item>(_ list: [Item], _ limit: Int) -> ([Item], [String]) {
        limit > 0 && list.count > limit ? (Array(list.prefix(limit)), ["results truncated due to limit"]) : (list, [])
    }

    /// `U__a_2e_b` for `a.b`: how names that are no words are written in paths (Prometheus's values encoding).
    static func unescaped(_ name: String) -> String {
        var (out, rest) = ("", name.dropFirst(3))
        while let next = rest.first {
            rest = rest.dropFirst()
            guard next == "_" else {
                out.append(next)
                continue
            }
            if rest.first == "_" {
                out.append("_")
                rest = rest.dropFirst()
                continue
            }
            let digits = rest.prefix { $0.isHexDigit }
            guard (1...6).contains(digits.count), rest.dropFirst(digits.count).first == "_",
                let code = UInt32(digits, radix: 16), let scalar = Unicode.Scalar(code)
            else { return name }
            out.unicodeScalars.append(scalar)
            rest = rest.dropFirst(digits.count + 1)
        }
        return out
    }
}
