import API
import Kernel
import Manifests
import PromQL
import Series
import TSDB

/// Our own operations on metrics.
struct MetricRoutes: Sendable {
    let house: TelemetryHouse
    let metrics: any MetricSource

    private static let hour: Int64 = 3_600_000
    /// Points of a range query that names no step.
    private static let points: Int64 = 250

    func add(to routes: inout Routes) {
        routes.on(Metrics.query) { input, call in
            try call.allowHouse(Metrics.query.name)
            return try await instant(input)
        }
        routes.on(Metrics.queryRange) { input, call in
            try call.allowHouse(Metrics.queryRange.name)
            return try await range(input)
        }
        routes.on(Metrics.names) { input, call in
            try call.allowHouse(Metrics.names.name)
            return try await names(input)
        }
        routes.on(Metrics.labels) { input, call in
            try call.allowHouse(Metrics.labels.name)
            return try await labels(input)
        }
        routes.on(Metrics.values) { input, call in
            try call.allowHouse(Metrics.values.name)
            return try await values(input)
        }
        routes.on(Metrics.functions) { _, _ in ItemList(Self.functions) }
        routes.on(Metrics.parse) { input, _ in Self.parse(input.query) }
    }

    // MARK: Queries

    private func instant(_ input: MetricQuery) async throws -> MetricAnswer {
        let now = house.time.now
        let time = try TimeText.moment(input.time, now: now, or: now)
        return try await answer(input.query, limit: input.limit) { parsed, source, flag in
            try PromQLEngine().instant(
                parsed, text: input.query, at: time.microseconds / 1000, source: source, cancel: flag)
        }
    }

    private func range(_ input: MetricRangeQuery) async throws -> MetricAnswer {
        let now = house.time.now
        let to = try TimeText.moment(input.to, now: now, or: now).microseconds / 1000
        let from =
            try TimeText.moment(input.from, now: now, or: Timestamp(microseconds: (to - Self.hour) * 1000)).microseconds
            / 1000
        guard to >= from else {
            throw Problem("metrics.range", status: 422, "the last moment lies before the first")
        }
        let step = input.step.map(\.milliseconds) ?? max(1000, (to - from) / Self.points)
        guard step > 0, (to - from) / step <= PrometheusMount.stepLimit else {
            throw Problem(
                "metrics.step", status: 422, "the query has more than \(PrometheusMount.stepLimit) moments",
                hint: "Ask for a wider step.")
        }
        var told = try await answer(input.query, limit: input.limit) { parsed, source, flag in
            try PromQLEngine().range(
                parsed, text: input.query, from: from, to: to, step: step, source: source, cancel: flag)
        }
        (told.from, told.to) = (Timestamp(microseconds: from * 1000), Timestamp(microseconds: to * 1000))
        told.step = TimeSpan(seconds: Double(step) / 1000)
        return told
    }

    private func answer(
        _ text: String, limit: Int,
        _ body: @Sendable @escaping (Expression, any SeriesSource, CancelFlag) throws -> QueryAnswer
    ) async throws -> MetricAnswer {
        let began = ContinuousClock.now
        do {
            return try await PrometheusQueries(house: house).run { flag in
                let parsed = try parseExpression(text)
                let answer = try house.metrics.use { try body(parsed, $0, flag) }
                var told = MetricAnswer()
                (told.warnings, told.infos) = (answer.warnings, answer.infos)
                var out = JSONOut(capacity: 1024)
                out.result(answer.value, limit: limit)
                let data = try JSONParser.parse(out.bytes)
                told.resultType = data["resultType"]?.string ?? ""
                told.result = data["result"] ?? .null
                switch answer.value {
                case .vector(let list), .matrix(let list):
                    if limit > 0 { told.left_out = max(0, list.count - limit) }
                default: break
                }
                let (seconds, attoseconds) = (ContinuousClock.now - began).components
                told.seconds = Double(seconds) + Double(attoseconds) / 1e18
                return told
            }
        } catch let error as PromQLError {
            throw error.problem
        } catch let error as SeriesError {
            throw Problem("metrics.store", status: 503, error.description)
        }
    }

    // MARK: Completion

    private func names(_ input: MetricNameQuery) async throws -> ItemList<MetricName> {
        let names = try await look("__name__", nil, input.search, nil, nil, input.limit)
        let known = try await house.readers.run { try house.metrics.use { $0.metadata() } }
        return ItemList(
            names.map { name in
                var told = MetricName()
                told.name = name
                let family = ["", "_total", "_bucket", "_sum", "_count"].lazy
                    .filter { name.hasSuffix($0) }.compactMap { known[String(name.dropLast($0.utf8.count))] }.first
                if let family { (told.type, told.help, told.unit) = (family.type, family.help, family.unit) }
                return told
            })
    }

    private func labels(_ input: MetricLabelQuery) async throws -> ItemList<LabelWord> {
        let (lists, from, to) = try span(input.match, input.from, input.to)
        return try await house.readers.run {
            let names = try house.metrics.use { try $0.labelNames(lists, from: from, to: to) }
            return ItemList(names.prefix(input.limit).map { LabelWord($0) })
        }
    }

    private func values(_ input: MetricValueQuery) async throws -> ItemList<LabelWord> {
        let values = try await look(input.label, input.match, input.search, input.from, input.to, input.limit)
        return ItemList(values.map { LabelWord($0) })
    }

    private func look(
        _ label: String, _ match: String?, _ search: String?, _ from: String?, _ to: String?, _ limit: Int
    ) async throws -> [String] {
        let (lists, from, to) = try span(match, from, to)
        return try await house.readers.run {
            let values = try house.metrics.use { try $0.labelValues(label, lists, from: from, to: to) }
            guard let search = search?.lowercased(), !search.isEmpty else { return Array(values.prefix(limit)) }
            return Array(values.lazy.filter { $0.lowercased().contains(search) }.prefix(limit))
        }
    }

    private func span(
        _ match: String?, _ from: String?, _ to: String?
    ) throws -> (lists: [[LabelMatcher]], from: Int64, to: Int64) {
        let now = house.time.now
        let end = try TimeText.moment(to, now: now, or: now)
        let start = try TimeText.moment(from, now: now, or: end.advanced(by: .seconds(-6 * 3600)))
        do {
            let lists = try (match.map { [$0] } ?? []).filter { !$0.isEmpty }.map { try parseSelector($0) }
            return (lists, start.microseconds / 1000, end.microseconds / 1000)
        } catch let error as PromQLError {
            throw error.problem
        }
    }

    private static let functions: [FunctionInfo] = {
        let functions = Function.allCases.map { function in
            var info = FunctionInfo()
            let signature = function.signature
            info.name = function.rawValue
            let arguments = signature.arguments.map(\.rawValue).joined(separator: ", ")
            info.signature = "\(function.rawValue)(\(arguments)) \(signature.result.rawValue)"
            info.summary = signature.summary
            info.is_experimental = function.isExperimental
            return info
        }
        let aggregations = Aggregation.Operator.allCases.map { operation in
            var info = FunctionInfo()
            info.name = operation.rawValue
            info.sort = .aggregation
            info.signature = "\(operation.rawValue) by (labels) (vector) vector"
            info.summary = "Puts series together: one for each set of values of the labels."
            info.is_experimental = operation.isExperimental
            return info
        }
        return (functions + aggregations).sorted { $0.name < $1.name }
    }()

    static func parse(_ text: String) -> ParseAnswer {
        var answer = ParseAnswer()
        do {
            let expression = try parseExpression(text)
            answer.type = expression.type.rawValue
            answer.pretty = expression.description
            answer.metrics = Array(
                Set(
                    expression.selectors.compactMap { selector in
                        selector.name
                            ?? selector.matchers.first { $0.name == Labels.metricNameLabel && $0.comparison == .equal }?
                            .value
                    })
            ).sorted()
        } catch {
            answer.ok = false
            answer.message = error.message
            (answer.line, answer.column) = (error.place?.line, error.place?.column)
            (answer.start, answer.end) = (error.range?.lowerBound, error.range?.upperBound)
        }
        return answer
    }
}
