import API
import Frames
package import Kernel
import Manifests

/// Holds rows against a dataset's expectations, all in one pass.
///
/// Rows that break an expectation of severity "quarantine" leave `rows` and go to `quarantine`. Bounds and
/// `missing: refuse` of the schema count as expectations of severity "fail".
/// Artifacts: `rows` (rows.vgf), `quarantine` (quarantine.csv), `report`; they are kept when the gate fails. Values:
/// dataset, digest, rows, quarantined.
package struct ValidateWorker: Worker {
    package static let verb = "validate"
    static let quarantine = "quarantine.csv"

    package init() {}

    package func run(_ order: WorkOrder, log: @Sendable (String) -> Void) async throws -> WorkResult {
        let settings = try WorkFiles.settings(ValidateSpec.self, of: order)
        let (name, spec) = try WorkFiles.dataset(of: order)
        let frame = try WorkFiles.table("rows", of: order)
        let wanted = Expectations.implied(by: spec.schema_) + spec.expectations
        guard wanted.count <= DatasetLimits.expectations else {
            throw Problem(
                "dataset.expectations", status: 422,
                "dataset \"\(name)\" has \(wanted.count) expectations, more than \(DatasetLimits.expectations)")
        }
        log("holding \(counted(frame.rowCount, "row")) against \(counted(wanted.count, "expectation"))")
        let findings = Expectations.check(wanted, on: frame)
        for finding in findings { log(Self.line(finding)) }
        let aside = Aside(findings, rows: frame.rowCount)
        let kept = aside.rows.isEmpty ? frame : frame.take(aside.keptRows)
        if !aside.rows.isEmpty { log("put \(counted(aside.rows.count, "row")) aside, \(kept.rowCount) remain") }
        var result = try write(order, name, spec, frame, kept, aside, findings)
        let failed = findings.filter(\.failsGate)
        if failed.isEmpty { return result }
        if settings.gate == .fail {
            result.failure = Self.failure(failed, of: findings.count, dataset: name)
        } else {
            log("the gate only warns: \(counted(failed.count, "expectation")) failed")
        }
        return result
    }

    private static func line(_ finding: Finding) -> String {
        let mark = finding.success ? "ok    " : finding.failsGate ? "FAILED" : "warn  "
        return "\(mark) \(finding.title): \(finding.message)"
    }

    /// The gate's no, with the numbers of each failed expectation.
    static func failure(_ failed: [Finding], of count: Int, dataset: String) -> Problem {
        let numbers = failed.prefix(5).map { "\($0.title): \($0.message)" }.joined(separator: "; ")
        let more = failed.count > 5 ? "; and \(failed.count - 5) more" : ""
        return Problem(
            "gate.expectations", status: 422,
            "\(failed.count) of \(counted(count, "expectation")) of dataset \"\(dataset)\" failed: \(numbers)\(more)",
            hint: "Mend the data, or change the expectation: `severity: quarantine` puts bad rows aside, "
                + "`mostly` allows some.")
    }

    private func write(
        _ order: WorkOrder, _ name: String, _ spec: DatasetSpec, _ frame: Frame, _ kept: Frame, _ aside: Aside,
        _ findings: [Finding]
    ) throws -> WorkResult {
        let digest = WorkFiles.digest(kept)
        let expectations = findings.map { Self.json($0, frame, key: spec.primary_key) }
        let shown = aside.rows.prefix(DatasetLimits.quarantineShown).map { row -> JSONValue in
            [
                "row": .count(row.row + 1), "column": row.column.map(JSONValue.string) ?? .null,
                "reason": .string(row.reason),
            ]
        }
        let report: JSONValue = [
            "dataset": .string(name), "digest": .string(digest), "rows": .count(kept.rowCount),
            "success": .bool(!findings.contains { $0.failsGate }), "expectations": .array(expectations),
            "quarantined": .count(aside.rows.count), "quarantine": .array(Array(shown)),
        ]
        try WorkFiles.write(kept, WorkFiles.rows, of: order)
        try WorkFiles.framing { () throws(FrameError) in
            try aside.table(of: frame).writeCSV(path: "\(order.outputs)/\(Self.quarantine)")
        }
        try WorkFiles.write(Array(report.prettyText.utf8), WorkFiles.report, of: order)
        var result = WorkResult()
        result.artifacts = ["rows": WorkFiles.rows, "quarantine": Self.quarantine, "report": WorkFiles.report]
        result.outputs = [
            "dataset": .string(name), "digest": .string(digest), "rows": .count(kept.rowCount),
            "quarantined": .count(aside.rows.count),
        ]
        result.report = report
        return result
    }

    /// A finding in the words of Great Expectations' results, with severity and the keys of the first bad rows.
    static func json(_ finding: Finding, _ frame: Frame, key: [String]) -> JSONValue {
        let spec = finding.spec
        var members: Ordered<JSONValue> = [
            "expect": .string(spec.expect.rawValue), "success": .bool(finding.success),
            "severity": .string(spec.severity.rawValue), "mostly": .number(spec.mostly),
            "element_count": .count(finding.elementCount), "missing_count": .count(finding.missingCount),
            "unexpected_count": .count(finding.unexpectedRows.count), "message": .string(finding.message),
        ]
        for (name, column) in [("column", spec.column), ("column_a", spec.column_a), ("column_b", spec.column_b)] {
            if let column { members[name] = .string(column) }
        }
        if !spec.columns.isEmpty { members["columns"] = .texts(spec.columns) }
        if let observed = finding.observed { members["observed_value"] = .number(observed) }
        let first = finding.unexpectedRows.prefix(DatasetLimits.unexpectedShown)
        if let column = spec.column.flatMap({ frame[$0] }), !first.isEmpty {
            members["partial_unexpected_list"] = .array(first.map { column.text($0).map(JSONValue.string) ?? .null })
        }
        if !first.isEmpty {
            members["unexpected_index_list"] = .array(
                first.map { row in
                    var place: Ordered<JSONValue> = ["row": .count(row + 1)]
                    for name in key {
                        if let text = frame[name]?.text(row) { place[name] = .string(text) }
                    }
                    return .object(place)
                })
        }
        return .object(members)
    }
}

/// The rows that are put aside, each with all its reasons.
struct Aside {
    struct Bad {
        /// From 0.
        let row: Int
        /// The column of its first reason.
        let column: String?
        let reason: String
    }

    private(set) var rows: [Bad] = []
    private let isBad: [Bool]

    init(_ findings: [Finding], rows count: Int) {
        var reasons: [Int: [Finding]] = [:]
        for finding in findings where finding.spec.severity == .quarantine {
            for row in finding.unexpectedRows { reasons[row, default: []].append(finding) }
        }
        var isBad = [Bool](repeating: false, count: count)
        for (row, broken) in reasons.sorted(by: { $0.key < $1.key }) {
            isBad[row] = true
            let reason = broken.map(\.title).joined(separator: "; ")
            rows.append(Bad(row: row, column: broken.first?.spec.column, reason: reason))
        }
        self.isBad = isBad
    }

    var keptRows: [Int] { isBad.indices.filter { !isBad[$0] } }

    /// Number of the row (from 1), all its columns, and why it is here.
    func table(of frame: Frame) throws(FrameError) -> Frame {
        let numbers = Column.ints(rows.map { Int64($0.row + 1) })
        let name = frame["row"] == nil ? "row" : "quarantine_row"
        let bad = frame.take(rows.map(\.row))
        var columns = [(ColumnSchema(name, .int), numbers)]
        columns += zip(bad.schema, bad.columns).map { ($0, $1) }
        return try Frame(columns)
            .appending(frame["reason"] == nil ? "reason" : "quarantine_reason", .strings(rows.map(\.reason)))
    }
}
