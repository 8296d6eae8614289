import API
import Frames
import Manifests
import Testing

@testable import Datasets

/// Every expectation, once holding and once not.
@Suite struct ExpectationTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let yaml: String
        let success: Bool
        /// From 1.
        var rows: [Int] = []
        var observed: Double?
        var testDescription: String { yaml }
    }

    static let cases: [Case] = [
        Case(yaml: "expect: expect_column_to_exist\ncolumn: age", success: true),
        Case(yaml: "expect: expect_column_to_exist\ncolumn: agee", success: false),
        Case(
            yaml: "expect: expect_table_columns_to_match_set\ncolumns: [mail, id, age, low, high, sex]", success: true),
        Case(yaml: "expect: expect_table_columns_to_match_set\ncolumns: [id, shoe]", success: false),
        Case(
            yaml: "expect: expect_table_row_count_to_be_between\nmin_value: 5\nmax_value: 5", success: true, observed: 5
        ),
        Case(yaml: "expect: expect_table_row_count_to_be_between\nmin_value: 6", success: false, observed: 5),
        Case(yaml: "expect: expect_column_values_to_not_be_null\ncolumn: id", success: true),
        Case(yaml: "expect: expect_column_values_to_not_be_null\ncolumn: age", success: false, rows: [3]),
        Case(yaml: "expect: expect_column_values_to_be_unique\ncolumn: mail", success: true),
        Case(yaml: "expect: expect_column_values_to_be_unique\ncolumn: id", success: false, rows: [4, 5]),
        Case(yaml: "expect: expect_column_values_to_be_in_set\ncolumn: sex\nvalue_set: [f, m, x]", success: true),
        Case(
            yaml: "expect: expect_column_values_to_be_in_set\ncolumn: sex\nvalue_set: [f, m]", success: false, rows: [3]
        ),
        Case(
            yaml: "expect: expect_column_values_to_be_in_set\ncolumn: id\nvalue_set: [1, 2, 3.0]", success: false,
            rows: [4, 5]),
        Case(yaml: "expect: expect_column_values_to_not_be_in_set\ncolumn: sex\nvalue_set: [y]", success: true),
        Case(
            yaml: "expect: expect_column_values_to_not_be_in_set\ncolumn: sex\nvalue_set: [x]", success: false,
            rows: [3]),
        Case(
            yaml: "expect: expect_column_values_to_be_between\ncolumn: age\nmin_value: 20\nmax_value: 150",
            success: true),
        Case(
            yaml: "expect: expect_column_values_to_be_between\ncolumn: age\nmax_value: 149.9", success: false, rows: [4]
        ),
        Case(yaml: "expect: expect_column_values_to_match_regex\ncolumn: sex\nregex: '^[fmx]$'", success: true),
        Case(yaml: "expect: expect_column_values_to_match_regex\ncolumn: mail\nregex: '@'", success: false, rows: [3]),
        Case(
            yaml: "expect: expect_column_value_lengths_to_be_between\ncolumn: mail\nmin_value: 4\nmax_value: 5",
            success: true),
        Case(
            yaml: "expect: expect_column_value_lengths_to_be_between\ncolumn: mail\nmin_value: 5", success: false,
            rows: [3]),
        Case(yaml: "expect: expect_column_min_to_be_between\ncolumn: age\nmin_value: 20", success: true, observed: 20),
        Case(yaml: "expect: expect_column_min_to_be_between\ncolumn: age\nmin_value: 21", success: false, observed: 20),
        Case(
            yaml: "expect: expect_column_max_to_be_between\ncolumn: age\nmax_value: 150", success: true, observed: 150),
        Case(
            yaml: "expect: expect_column_max_to_be_between\ncolumn: age\nmax_value: 120", success: false, observed: 150),
        Case(
            yaml: "expect: expect_column_mean_to_be_between\ncolumn: age\nmin_value: 60\nmax_value: 60", success: true,
            observed: 60),
        Case(
            yaml: "expect: expect_column_mean_to_be_between\ncolumn: age\nmax_value: 59", success: false, observed: 60),
        Case(
            yaml: "expect: expect_column_median_to_be_between\ncolumn: age\nmin_value: 35\nmax_value: 35",
            success: true,
            observed: 35),
        Case(
            yaml: "expect: expect_column_median_to_be_between\ncolumn: low\nmin_value: 4", success: false, observed: 3),
        // statistics.stdev([1, 2, 3, 4, 9]) of Python 3.11 is 3.1144823004794873.
        Case(
            yaml: "expect: expect_column_stdev_to_be_between\ncolumn: low\nmin_value: 3\nmax_value: 3.2", success: true,
            observed: 3.1144823004794873),
        Case(
            yaml: "expect: expect_column_stdev_to_be_between\ncolumn: low\nmax_value: 3", success: false,
            observed: 3.1144823004794873),
        Case(yaml: "expect: expect_column_sum_to_be_between\ncolumn: low\nmax_value: 19", success: true, observed: 19),
        Case(yaml: "expect: expect_column_sum_to_be_between\ncolumn: low\nmax_value: 18", success: false, observed: 19),
        Case(
            yaml: "expect: expect_column_unique_value_count_to_be_between\ncolumn: sex\nmax_value: 3", success: true,
            observed: 3),
        Case(
            yaml: "expect: expect_column_unique_value_count_to_be_between\ncolumn: sex\nmax_value: 2", success: false,
            observed: 3),
        Case(
            yaml: "expect: expect_column_proportion_of_unique_values_to_be_between\ncolumn: sex\nmin_value: 0.75",
            success: true, observed: 0.75),
        Case(
            yaml: "expect: expect_column_proportion_of_unique_values_to_be_between\ncolumn: id\nmin_value: 0.9",
            success: false, observed: 0.8),
        Case(
            yaml: "expect: expect_column_pair_values_a_to_be_greater_than_b\ncolumn_a: age\ncolumn_b: low",
            success: true),
        // Equal is not greater; the row without a value says nothing.
        Case(
            yaml: "expect: expect_column_pair_values_a_to_be_greater_than_b\ncolumn_a: high\ncolumn_b: low",
            success: false, rows: [4, 5]),
        Case(yaml: "expect: expect_compound_columns_to_be_unique\ncolumns: [id, sex]", success: true),
        Case(yaml: "expect: expect_compound_columns_to_be_unique\ncolumns: [id]", success: false, rows: [4, 5]),
    ]

    static func spec(_ yaml: String) throws -> ExpectationSpec {
        try ExpectationSpec(json: YAML.documents(yaml)[0].value, at: [])
    }

    @Test(arguments: cases)
    func `an expectation holds or names its rows and figure`(_ one: Case) throws {
        let finding = Expectations.check(try Self.spec(one.yaml), on: try people())
        #expect(finding.success == one.success, "\(finding.message)")
        #expect(finding.unexpectedRows.map { $0 + 1 } == one.rows)
        #expect((finding.observed == nil) == (one.observed == nil))
        #expect(abs((finding.observed ?? 0) - (one.observed ?? 0)) < 1e-12)
        #expect(!finding.message.isEmpty)
    }

    @Test func `the cases cover every name twice`() throws {
        for name in ExpectationSpec.Name.allCases {
            let outcomes = Self.cases.filter { $0.yaml.hasPrefix("expect: \(name.rawValue)\n") }.map(\.success)
            #expect(Set(outcomes) == [true, false], "\(name.rawValue)")
        }
    }

    @Test(arguments: [(0.95, true), (0.951, false), (0.9499, true), (1.0, false), (0.0, true)])
    func `mostly is a share of the values that are there, its bound included`(mostly: Double, success: Bool) throws {
        // 100 values, 5 of them bad, and 20 missing ones that do not count.
        let values = (0..<120).map { row -> Double? in row < 5 ? -1 : row < 100 ? 1 : nil }
        let frame = try Frame([(ColumnSchema("x", .float), .floats(values))])
        var spec = try Self.spec("expect: expect_column_values_to_be_between\ncolumn: x\nmin_value: 0")
        spec.mostly = mostly
        let finding = Expectations.check(spec, on: frame)
        #expect(finding.success == success)
        #expect(finding.missingCount == 20)
        #expect(finding.message.hasPrefix("5 of 100 values (5%)"))
    }

    @Test func `missing values count where they are what is asked for`() throws {
        let frame = try Frame([(ColumnSchema("x", .float), .floats([1, nil, 3, 4]))])
        var spec = try Self.spec("expect: expect_column_values_to_not_be_null\ncolumn: x\nmostly: 0.75")
        #expect(Expectations.check(spec, on: frame).success)
        spec.mostly = 0.76
        #expect(!Expectations.check(spec, on: frame).success)
    }

    @Test(arguments: [
        "expect: expect_column_values_to_be_between\ncolumn: age",
        "expect: expect_column_values_to_match_regex\ncolumn: mail\nregex: '('",
        "expect: expect_column_values_to_be_in_set\ncolumn: sex",
        "expect: expect_column_mean_to_be_between\ncolumn: sex\nmin_value: 0",
        "expect: expect_column_values_to_not_be_null",
        "expect: expect_column_pair_values_a_to_be_greater_than_b\ncolumn_a: age\ncolumn_b: sex",
    ])
    func `a rule that cannot be checked fails the gate even where rows were to be put aside`(yaml: String) throws {
        var spec = try Self.spec(yaml)
        spec.severity = .quarantine
        let finding = Expectations.check(spec, on: try people())
        #expect(!finding.success)
        #expect(finding.failsGate)
        #expect(!finding.message.isEmpty)
    }

    @Test func `a column of nothing but missing values has no mean and breaks no row`() throws {
        let frame = try Frame([(ColumnSchema("x", .float), .floats([nil, nil]))])
        let mean = Expectations.check(
            try Self.spec("expect: expect_column_mean_to_be_between\ncolumn: x\nmin_value: 0"), on: frame)
        #expect(!mean.success)
        #expect(mean.message.contains("too few values"))
        let rows = try Self.spec("expect: expect_column_values_to_be_between\ncolumn: x\nmin_value: 0")
        #expect(Expectations.check(rows, on: frame).success)
    }

    @Test func `bounds of the schema and cells that may not be empty are expectations`() throws {
        var age = ColumnSpec()
        (age.name, age.missing, age.min) = ("age", .refuse, 0)
        var id = ColumnSpec()
        id.name = "id"
        let specs = Expectations.implied(by: [age, id])
        #expect(
            specs.map(\.expect) == [.expect_column_values_to_not_be_null, .expect_column_values_to_be_between])
        #expect(specs.allSatisfy { $0.severity == .fail && $0.column == "age" })
    }
}
