import API
import Kernel
import Manifests
import SQL

/// MLflow's calls that count and measure traces.
struct TraceMetricCalls: Sendable {
    let tracking: TrackingHouse

    private static let standardResults: Int64 = 1000
    private static let resultLimit: Int64 = 50_000

    var routes: [MLflowRoute] {
        let base = "/api/3.0/mlflow/traces"
        return [
            MLflowRoute("POST", "\(base)/metrics", needs: .read, measure),
            MLflowRoute("POST", "\(base)/calculate-filter-correlation", needs: .read, correlate),
        ]
    }

    private static func experiments(_ input: MLflowInput) throws(MLflowError) -> [Int64] {
        var ids: [Int64] = []
        for text in try input.strings("experiment_ids") { ids.append(try NameRules.experimentID(text)) }
        guard !ids.isEmpty else { throw .required("experiment_ids") }
        return ids
    }

    private func measure(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let ids = try Self.experiments(input)
        guard let told = input.value("view_type") else { throw MLflowError.required("view_type") }
        guard
            let view = Self.named(told, TraceMetricQuery.View.allCases.map(\.rawValue)).flatMap(
                TraceMetricQuery.View.init)
        else { throw MLflowError.wrong("view_type", told) }
        let metric = try input.string("metric_name")
        let aggregations = try input.list("aggregations").map(Self.aggregation)
        guard !aggregations.isEmpty else { throw MLflowError.required("aggregations") }
        let interval = try input.integer("time_interval_seconds").flatMap { $0 == 0 ? nil : $0 }
        if let interval, interval < 0 { throw MLflowError.wrong("time_interval_seconds", .integer(interval)) }
        let limit = try input.integer("max_results") ?? Self.standardResults
        guard (0...Self.resultLimit).contains(limit) else { throw MLflowError.wrong("max_results", .integer(limit)) }
        var query = TraceMetricQuery(
            experiments: [], view: view, metric: metric, aggregations: aggregations,
            dimensions: try input.strings("dimensions"), interval: interval, start: try input.integer("start_time_ms"),
            end: try input.integer("end_time_ms"), limit: Int(limit))
        try query.check()
        query.conditions = try input.strings("filters").map { try TraceMetricFilter.condition($0, view) }
        let (wanted, project) = (query, input.project)
        let points = try await tracking.store.read { sql in
            var query = wanted
            query.experiments = try sql.experiments(ids, in: project)
            return try query.run(in: sql)
        }
        return .json(points.isEmpty ? [:] : ["data_points": .array(points)])
    }

    /// A name of an enumeration, or its number, from 1.
    private static func named(_ value: JSONValue, _ names: [String]) -> String? {
        if let number = value.int, names.indices.contains(number - 1) { return names[number - 1] }
        return value.string
    }

    private static func aggregation(_ told: JSONValue) throws(MLflowError) -> TraceMetricQuery.Aggregation {
        let names = TraceMetricQuery.Aggregation.Kind.allCases.map(\.rawValue)
        guard
            let kind = told["aggregation_type"].flatMap({ named($0, names) }).flatMap(
                TraceMetricQuery.Aggregation.Kind.init)
        else { throw .wrong("aggregations", told) }
        let percentile = MLflowInput.present(told["percentile_value"])?.double
        switch (kind, percentile) {
        case (.percentile, let value?) where (0...100).contains(value): break
        case (.percentile, _): throw .invalid("Percentile value must be between 0 and 100")
        case (_, nil): break
        case (_, _?):
            throw .invalid("Percentile value is only allowed for PERCENTILE aggregation type, got \(kind.rawValue)")
        }
        return TraceMetricQuery.Aggregation(kind: kind, percentile: percentile)
    }

    private func correlate(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let ids = try Self.experiments(input)
        let (first, second) = (try input.string("filter_string1"), try input.string("filter_string2"))
        func condition(_ text: String) throws -> Statement {
            try FilterParser.parse(text, .traces).map(TraceSearch.source.condition) ?? "1"
        }
        let (one, other) = (try condition(first), try condition(second))
        let base = try input.text("base_filter").flatMap { $0.isEmpty ? nil : try condition($0) }
        let project = input.project
        let found = try await tracking.store.read { sql in
            try TraceCorrelation.count(one, other, base: base, of: sql.experiments(ids, in: project), in: sql)
        }
        var json: Ordered<JSONValue> = [:]
        // What is undefined is left out.
        for (name, isSmoothed) in [("npmi", false), ("npmi_smoothed", true)] {
            let value = found.npmi(smoothed: isSmoothed)
            if !value.isNaN { json[name] = .number(value) }
        }
        json["filter1_count"] = .integer(found.first)
        json["filter2_count"] = .integer(found.second)
        json["joint_count"] = .integer(found.both)
        json["total_count"] = .integer(found.total)
        return .json(.object(json))
    }
}
