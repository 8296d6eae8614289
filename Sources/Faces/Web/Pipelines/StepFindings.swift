import API
import Manifests

/// Reads what the verbs of a run reported: expectations, rows put aside, gates, rounds of training.
///
/// A report is free JSON. These are the members that the UI knows; what is missing is not shown, what is unknown is
/// left to the raw report.
/// - `expectations` (or `results`): list of `{expect, column, success, severity, mostly, unexpected_count,
///   unexpected_percent, element_count, message}`, the counts at the top or in `result`.
/// - `quarantine` (or `quarantined_rows`): list of `{row, column, reason}`; `quarantined`: how many in all.
/// - `gates` (or `requirements`): list of `{require, passed, message}`.
/// - `champion`: `{version, metrics}`.
/// - `rounds`: list of `{round, <name>: value, …}`, or map from a name to its list of values.
enum StepFindings {
    struct Expectation: Sendable {
        let name: String
        let column: String
        let success: Bool
        let severity: String
        let mostly: Double?
        let unexpected: Int?
        let elements: Int?
        let message: String?
    }

    struct Gate: Sendable {
        let rule: String
        let passed: Bool
        let message: String?
    }

    struct PutAside: Sendable {
        let row: String
        let column: String
        let reason: String
    }

    /// More rows put aside than this are counted, not listed; the artifact has all.
    static let asideLimit = 200

    static func expectations(_ report: JSONValue) -> [Expectation] {
        list(report, "expectations", "results").compactMap { item in
            guard let success = (item["success"] ?? item["passed"])?.bool else { return nil }
            let result = item["result"]
            func count(_ key: String) -> Int? { (item[key] ?? result?[key])?.int }
            let columns =
                ["column", "column_a", "column_b"].compactMap { item[$0]?.string }
                + (item["columns"]?.array?.compactMap(\.string) ?? [])
            return Expectation(
                name: (item["expect"] ?? item["expectation"] ?? item["name"])?.string ?? "expectation",
                column: columns.joined(separator: ", "), success: success, severity: item["severity"]?.string ?? "fail",
                mostly: item["mostly"]?.double, unexpected: count("unexpected_count"), elements: count("element_count"),
                message: (item["message"] ?? item["observed"])?.gist)
        }
    }

    static func aside(_ report: JSONValue) -> [PutAside] {
        list(report, "quarantine", "quarantined_rows").prefix(asideLimit).map { item in
            PutAside(
                row: item["row"]?.gist ?? "–", column: item["column"]?.string ?? "–",
                reason: (item["reason"] ?? item["message"])?.gist ?? "–")
        }
    }

    static func asideCount(_ report: JSONValue) -> Int? {
        report["quarantined"]?.int ?? report["quarantine"]?.int ?? report["quarantine"]?.array?.count
    }

    static func gates(_ report: JSONValue) -> [Gate] {
        list(report, "gates", "requirements").compactMap { item in
            guard let passed = (item["passed"] ?? item["success"] ?? item["holds"])?.bool else { return nil }
            return Gate(
                rule: (item["require"] ?? item["expression"] ?? item["rule"])?.string ?? "", passed: passed,
                message: (item["message"] ?? item["values"] ?? item["value"])?.gist)
        }
    }

    static func championMetrics(_ report: JSONValue) -> Ordered<JSONValue> {
        report["champion"]?["metrics"]?.object ?? [:]
    }

    /// The lines of a training: a name and its value for each round.
    static func rounds(_ report: JSONValue) -> [LineChart.Series] {
        if let byName = (report["rounds"] ?? report["progress"])?.object {
            return byName.compactMap { name, values in
                guard let numbers = values.array?.map(\.double), numbers.count > 1 else { return nil }
                return LineChart.Series(name, numbers.enumerated().map { LineChart.Point(Double($0 + 1), $1) })
            }
        }
        let rows = list(report, "rounds", "progress")
        var names: [String] = []
        for row in rows {
            for (key, value) in row.object ?? [:] where key != "round" && value.double != nil && !names.contains(key) {
                names.append(key)
            }
        }
        return names.map { name in
            LineChart.Series(
                name,
                rows.enumerated().map { LineChart.Point($1["round"]?.double ?? Double($0 + 1), $1[name]?.double) })
        }.filter { $0.points.count > 1 }
    }

    private static func list(_ report: JSONValue, _ keys: String...) -> [JSONValue] {
        for key in keys { if let items = report[key]?.array { return items } }
        return []
    }
}
