import API
import Frames
import Manifests

/// One thing that must hold of a table, and how it stands.
struct Finding {
    var spec: ExpectationSpec
    var success = false
    /// Values that were looked at, missing ones included; of a whole-table rule the rows.
    var elementCount = 0
    var missingCount = 0
    /// Rows (from 0) that break it; empty for rules on a whole column or table.
    var unexpectedRows: [Int] = []
    /// The figure of a rule on a whole column or table.
    var observed: Double?
    /// What was found, with numbers.
    var message = ""
    /// Nothing can be put aside: a rule on the whole, or one that cannot be checked.
    var isOfRows = false

    init(_ spec: ExpectationSpec) { self.spec = spec }

    /// Whether its failure stops the run.
    ///
    /// What is to be put aside does no harm any more, but a rule that names no rows has nothing to put aside.
    var failsGate: Bool { !success && (spec.severity == .fail || (spec.severity == .quarantine && !isOfRows)) }

    /// "AGE: expect_column_values_to_be_between".
    var title: String {
        let columns = [spec.column, spec.column_a, spec.column_b].compactMap(\.self) + spec.columns
        return columns.isEmpty ? spec.expect.rawValue : "\(columns.joined(separator: ", ")): \(spec.expect.rawValue)"
    }
}

/// Holds tables against expectations, by the names and meanings of Great Expectations.
///
/// `mostly` is the share of the values that are not missing for which a rule must hold; missing values count only for
/// `expect_column_values_to_not_be_null`. A value that is there twice breaks uniqueness in each of its rows.
/// A row breaks `a > b` only when both are there.
enum Expectations {
    /// Checks all, in their order, whatever fails.
    static func check(_ specs: [ExpectationSpec], on frame: Frame) -> [Finding] { specs.map { check($0, on: frame) } }

    /// The rules that the columns of a schema stand for: values that must be there, and bounds.
    static func implied(by schema: [ColumnSpec]) -> [ExpectationSpec] {
        schema.flatMap { column -> [ExpectationSpec] in
            var specs: [ExpectationSpec] = []
            if column.missing == .refuse {
                var spec = ExpectationSpec()
                (spec.expect, spec.column) = (.expect_column_values_to_not_be_null, column.name)
                specs.append(spec)
            }
            if column.min != nil || column.max != nil {
                var spec = ExpectationSpec()
                (spec.expect, spec.column) = (.expect_column_values_to_be_between, column.name)
                (spec.min_value, spec.max_value) = (column.min, column.max)
                specs.append(spec)
            }
            return specs
        }
    }

    static func check(_ spec: ExpectationSpec, on frame: Frame) -> Finding {
        var finding = Finding(spec)
        finding.elementCount = frame.rowCount
        do throws(Unfit) {
            switch spec.expect {
            case .expect_column_to_exist: try columnExists(&finding, frame)
            case .expect_table_columns_to_match_set: matchSet(&finding, frame)
            case .expect_table_row_count_to_be_between:
                try figure(&finding, Double(frame.rowCount), "the table has \(counted(frame.rowCount, "row"))")
            case .expect_column_values_to_not_be_null, .expect_column_values_to_be_unique,
                .expect_column_values_to_be_in_set, .expect_column_values_to_not_be_in_set,
                .expect_column_values_to_be_between, .expect_column_values_to_match_regex,
                .expect_column_value_lengths_to_be_between, .expect_column_pair_values_a_to_be_greater_than_b,
                .expect_compound_columns_to_be_unique:
                judge(&finding, try RowTests.run(spec, on: frame))
            case .expect_column_min_to_be_between, .expect_column_max_to_be_between,
                .expect_column_mean_to_be_between, .expect_column_median_to_be_between,
                .expect_column_stdev_to_be_between, .expect_column_sum_to_be_between,
                .expect_column_unique_value_count_to_be_between,
                .expect_column_proportion_of_unique_values_to_be_between:
                try columnFigure(&finding, frame)
            }
        } catch {
            (finding.success, finding.isOfRows, finding.message) = (false, false, error.message)
        }
        return finding
    }

    // MARK: Rules on the whole

    private static func columnExists(_ finding: inout Finding, _ frame: Frame) throws(Unfit) {
        _ = try frame.needed(finding.spec.column, "column")
        finding.success = true
        finding.message = "the column is there"
    }

    private static func matchSet(_ finding: inout Finding, _ frame: Frame) {
        let wanted = finding.spec.columns
        let absent = wanted.filter { frame[$0] == nil }
        let extra = frame.names.filter { !wanted.contains($0) }
        finding.success = absent.isEmpty && extra.isEmpty
        let parts = [
            absent.isEmpty ? nil : "missing: \(absent.joined(separator: ", "))",
            extra.isEmpty ? nil : "not in the set: \(extra.joined(separator: ", "))",
        ].compactMap(\.self)
        finding.message = parts.isEmpty ? "the columns are those of the set" : parts.joined(separator: "; ")
    }

    private static func columnFigure(_ finding: inout Finding, _ frame: Frame) throws(Unfit) {
        let name = finding.spec.column ?? ""
        let column = try frame.needed(finding.spec.column, "column")
        finding.missingCount = column.missingCount
        let (noun, value) = try ColumnFigures.figure(finding.spec.expect, of: column, called: name)
        guard let value else { throw Unfit("\"\(name)\" has too few values to tell its \(noun)") }
        try figure(&finding, value, "the \(noun) of \"\(name)\" is \(short(value))")
    }

    private static func figure(_ finding: inout Finding, _ value: Double, _ words: String) throws(Unfit) {
        let range = try Bounds(finding.spec)
        finding.observed = value
        finding.success = range.contains(value)
        finding.message = "\(words), \(finding.success ? "" : "not ")\(range.words)"
    }

    // MARK: Rules on rows

    private static func judge(_ finding: inout Finding, _ test: RowTest) {
        finding.isOfRows = true
        finding.unexpectedRows = test.unexpected
        finding.missingCount = test.missing
        let present = finding.elementCount - (test.countsMissing ? 0 : test.missing)
        let good = present - test.unexpected.count
        // A share such as 0.95 has no exact binary form: 95 of 100 must not fail by its last bit.
        finding.success = Double(good) >= finding.spec.mostly * Double(present) - 1e-9 * Double(max(1, present))
        let share = present == 0 ? 0 : Double(test.unexpected.count) / Double(present)
        let allowed = finding.spec.mostly < 1 ? "; at least \(percent(finding.spec.mostly)) must hold" : ""
        finding.message =
            test.unexpected.isEmpty
            ? "all \(counted(present, "value")) \(test.words.good)"
            : "\(test.unexpected.count) of \(counted(present, "value")) (\(percent(share))) \(test.words.bad)"
                + allowed
    }

    static func percent(_ share: Double) -> String { "\(short((share * 1e4).rounded() / 1e2))%" }

    /// Six digits are enough to read; whole numbers without a fraction.
    static func short(_ value: Double) -> String {
        if let whole = Int(exactly: value) { return "\(whole)" }
        guard value.isFinite, abs(value) < 1e9, abs(value) > 1e-6 else { return "\(value)" }
        return "\((value * 1e6).rounded() / 1e6)"
    }
}

/// Why a rule cannot be checked at all: its column is not there, or it says nothing.
struct Unfit: Error {
    let message: String
    init(_ message: String) { self.message = message }
}

/// Bounds, both included; one may be open.
struct Bounds {
    let low: Double
    let high: Double

    init(_ spec: ExpectationSpec) throws(Unfit) {
        guard spec.min_value != nil || spec.max_value != nil else {
            throw Unfit("\(spec.expect.rawValue) says neither min_value nor max_value")
        }
        (low, high) = (spec.min_value ?? -.infinity, spec.max_value ?? .infinity)
    }

    func contains(_ value: Double) -> Bool { value >= low && value <= high }

    var words: String {
        if low == -.infinity { return "at most \(Expectations.short(high))" }
        if high == .infinity { return "at least \(Expectations.short(low))" }
        return "between \(Expectations.short(low)) and \(Expectations.short(high))"
    }
}

extension Frame {
    /// The column that a rule speaks of.
    func needed(_ name: String?, _ setting: String) throws(Unfit) -> Column {
        guard let name else { throw Unfit("the expectation does not say which \(setting)") }
        guard let column = self[name] else {
            let hint = nearest(to: name, in: names).map { "; did you mean \"\($0)\"?" } ?? ""
            throw Unfit("the table has no column \"\(name)\"\(hint)")
        }
        return column
    }
}
