import API
import Kernel
import Manifests
import PromQL
import Series
import TSDB

/// `query`, `query_range` and what else looks at an expression.
struct PrometheusQueries: Sendable {
    let house: TelemetryHouse

    func instant(_ form: Form) async throws -> ForeignAnswer {
        let text = form["query"] ?? ""
        let time = try Self.time(form, "time") ?? house.milliseconds
        let engine = try Self.engine(form)
        let limit = try Self.limit(form)
        let hasStats = form["stats"] != nil
        return try await run { flag in
            let began = ContinuousClock.now
            let expression = try Self.parse(text, "query")
            let answer = try house.metrics.use {
                try engine.instant(expression, text: text, at: time, source: $0, cancel: flag)
            }
            return Self.write(answer, limit, hasStats ? ContinuousClock.now - began : nil)
        }
    }

    func range(_ form: Form) async throws -> ForeignAnswer {
        let text = form["query"] ?? ""
        guard let start = try Self.time(form, "start") else { throw Self.missing("start", form) }
        guard let end = try Self.time(form, "end") else { throw Self.missing("end", form) }
        if end < start {
            throw PrometheusError.bad("invalid parameter \"end\": end timestamp must not be before start time")
        }
        guard let step = TimeText.length(form["step"] ?? "") else {
            throw PrometheusError.bad(
                "invalid parameter \"step\": cannot parse \"\(form["step"] ?? "")\" to a valid duration")
        }
        if step <= 0 {
            throw PrometheusError.bad(
                "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer"
            )
        }
        if (end - start) / step > PrometheusMount.stepLimit {
            throw PrometheusError.bad(
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"
            )
        }
        let engine = try Self.engine(form)
        let limit = try Self.limit(form)
        let hasStats = form["stats"] != nil
        return try await run { flag in
            let began = ContinuousClock.now
            let expression = try Self.parse(text, "query")
            let answer = try house.metrics.use {
                try engine.range(expression, text: text, from: start, to: end, step: step, source: $0, cancel: flag)
            }
            return Self.write(answer, limit, hasStats ? ContinuousClock.now - began : nil)
        }
    }

    func exemplars(_ form: Form) async throws -> ForeignAnswer {
        let text = form["query"] ?? ""
        let start = try Self.time(form, "start") ?? TelemetryLimits.firstMoment
        let end = try Self.time(form, "end") ?? TelemetryLimits.lastMoment
        return try await run { _ in
            let selectors = try Self.parse(text, "query").selectors
            var found: [(series: Labels, exemplars: [StoredExemplar])] = []
            for selector in selectors {
                found += try house.metrics.use { try $0.exemplars(selector.allMatchers, from: start, to: end) }
            }
            return JSONOut.success { out in
                out.raw("[")
                for (index, one) in found.enumerated() {
                    out.comma(index)
                    out.raw("{\"seriesLabels\":")
                    out.labels(one.series)
                    out.raw(",\"exemplars\":[")
                    for (index, exemplar) in one.exemplars.enumerated() {
                        out.comma(index)
                        out.raw("{\"labels\":")
                        out.labels(exemplar.labels)
                        out.raw(",\"value\":")
                        out.sample(exemplar.value)
                        out.raw(",\"timestamp\":")
                        out.time(exemplar.time)
                        out.raw("}")
                    }
                    out.raw("]}")
                }
                out.raw("]")
            }
        }
    }

    func format(_ form: Form) async throws -> ForeignAnswer {
        let text = form["query"] ?? ""
        return try await run { _ in
            let pretty = try Self.parse(text, "query").description
            return JSONOut.success { $0.text(pretty) }
        }
    }

    func tree(_ form: Form) async throws -> ForeignAnswer {
        let text = form["query"] ?? ""
        return try await run { _ in
            let tree = PrometheusTree.of(try Self.parse(text, "query"))
            return JSONOut.success { $0.raw(tree.text) }
        }
    }

    // MARK: Running

    /// Runs on a thread for reading; a cancelled task stops the query.
    func run<T: Sendable>(_ body: @Sendable @escaping (CancelFlag) throws -> T) async throws -> T {
        let flag = CancelFlag()
        return try await withTaskCancellationHandler {
            try await house.readers.run { try body(flag) }
        } onCancel: {
            flag.cancel()
        }
    }

    static func parse(_ text: String, _ parameter: String) throws -> Expression {
        do {
            return try parseExpression(text)
        } catch {
            throw PrometheusError.bad("invalid parameter \"\(parameter)\": \(error)")
        }
    }

    private static func write(_ answer: QueryAnswer, _ limit: Int, _ took: Duration?) -> ForeignAnswer {
        var (warnings, capacity) = (answer.warnings, 1024)
        switch answer.value {
        case .vector(let list), .matrix(let list):
            if limit > 0, list.count > limit { warnings.append("results truncated due to limit") }
            capacity += list.count * 256
        default: break
        }
        return JSONOut.success(warnings: warnings, infos: answer.infos, capacity: capacity) { out in
            out.result(answer.value, limit: limit)
            if let took { out.stats(took) }
        }
    }

    // MARK: Parameters

    static func time(_ form: Form, _ name: String) throws -> Int64? {
        guard let text = form[name] else { return nil }
        guard let time = TimeText.milliseconds(text) else {
            throw PrometheusError.bad(
                "invalid parameter \"\(name)\": cannot parse \"\(text)\" to a valid timestamp")
        }
        return time
    }

    static func missing(_ name: String, _ form: Form) -> PrometheusError {
        .bad("invalid parameter \"\(name)\": cannot parse \"\" to a valid timestamp")
    }

    static func limit(_ form: Form) throws -> Int {
        guard let text = form["limit"] else { return 0 }
        guard let limit = Int(text), limit >= 0 else {
            throw PrometheusError.bad(
                "invalid parameter \"limit\": cannot parse \"\(text)\" to a number of zero or more")
        }
        return limit
    }

    static func engine(_ form: Form) throws -> PromQLEngine {
        var options = EngineOptions()
        if let text = form["timeout"] {
            guard let timeout = TimeText.length(text), timeout > 0 else {
                throw PrometheusError.bad("invalid parameter \"timeout\": cannot parse \"\(text)\" to a valid duration")
            }
            options.timeout = min(options.timeout, .milliseconds(timeout))
        }
        if let text = form["lookback_delta"] {
            guard let lookback = TimeText.length(text), lookback > 0 else {
                throw PrometheusError.bad(
                    "invalid parameter \"lookback_delta\": cannot parse \"\(text)\" to a valid duration")
            }
            options.lookback = lookback
        }
        return PromQLEngine(options)
    }
}

extension JSONOut {
    /// `stats`, beside `result`: the data object that was closed is opened again.
    fileprivate mutating func stats(_ took: Duration) {
        let (seconds, attoseconds) = took.components
        let total = Double(seconds) + Double(attoseconds) / 1e18
        reopen()
        raw(",\"stats\":{\"timings\":{\"evalTotalTime\":\(total),\"execTotalTime\":\(total)}}}")
    }
}

extension VectorSelector {
    /// Its conditions, that on the name among them.
    var allMatchers: [LabelMatcher] {
        let isNamed = matchers.contains { $0.name == Labels.metricNameLabel }
        guard let name, !isNamed else { return matchers }
        return matchers + [LabelMatcher(Labels.metricNameLabel, .equal, name)]
    }
}
