import API
import Frames
import Kernel
import Manifests
import Testing

@testable import Datasets

/// The gate before anything is learned.
@Suite struct ValidateTests {
    static let settings: JSONValue = ["input": "ingest.rows", "dataset": "people"]

    @Test func `bad rows go to quarantine with their number and reason, the others stay`() async throws {
        let bench = try Bench()
        let yaml = """
            source: {uri: people.csv}
            primary_key: [id]
            expectations:
              - {expect: expect_column_values_to_be_between, column: age, max_value: 120, severity: quarantine}
              - {expect: expect_column_values_to_match_regex, column: mail, regex: "@", severity: quarantine}
              - {expect: expect_column_values_to_be_in_set, column: sex, value_set: [f, m], severity: warn}
            """
        let order = try bench.order("validate", Self.settings, dataset: yaml, rows: try people())
        let result = try await bench.run(ValidateWorker(), order)
        #expect(result.failure == nil)
        let kept = try bench.frame("rows.vgf")
        #expect(kept == (try people()).take([0, 1, 4]))
        #expect(result.outputs["rows"] == 3)
        #expect(result.outputs["quarantined"] == 2)
        #expect(result.outputs["digest"]?.string == "sha256:" + kept.digest)
        let lines = try bench.text("quarantine.csv").split(separator: "\n")
        #expect(lines.first == "row,id,age,low,high,sex,mail,reason")
        #expect(lines.count == 3)
        #expect(lines[1].hasPrefix("3,3,,3.0,,x,nope,mail: expect_column_values_to_match_regex"))
        #expect(lines[2].hasPrefix("4,4,150.0,"))
        let report = try #require(result.report)
        #expect(report["quarantined"] == 2)
        #expect(report["quarantine"]?[1]?["row"] == 4)
        #expect(report["quarantine"]?[1]?["column"] == "age")
        #expect(report["expectations"]?.array?.map { $0["success"] } == [false, false, false])
        #expect(report["expectations"]?[2]?["severity"] == "warn")
        #expect(report["expectations"]?[0]?["unexpected_count"] == 1)
        #expect(report["expectations"]?[0]?["element_count"] == 5)
        #expect(report["expectations"]?[0]?["unexpected_index_list"]?[0]?["id"] == "4")
    }

    @Test func `a failed gate tells all failures with their numbers and keeps the artifacts`() async throws {
        let bench = try Bench()
        let yaml = """
            source: {uri: people.csv}
            schema:
              - {name: age, type: float, max: 120}
              - {name: sex, type: category, missing: refuse}
            expectations:
              - {expect: expect_table_row_count_to_be_between, min_value: 100}
              - {expect: expect_column_to_exist, column: age}
            """
        let order = try bench.order("validate", Self.settings, dataset: yaml, rows: try people())
        let result = try await bench.run(ValidateWorker(), order)
        let failure = try #require(result.failure)
        #expect(failure.code == "gate.expectations")
        #expect(failure.status == 422)
        #expect(failure.message.hasPrefix("3 of 4 expectations of dataset \"people\" failed: "))
        #expect(failure.message.contains("1 of 4 values (25%) do not lie at most 120"))
        #expect(failure.message.contains("1 of 5 values (20%) are missing"))
        #expect(failure.message.contains("the table has 5 rows, not at least 100"))
        #expect(result.artifacts.keys.sorted() == ["quarantine", "report", "rows"])
        #expect(try bench.frame("rows.vgf").rowCount == 5)
        #expect(result.report?["success"] == false)
        #expect(bench.lines.filter { $0.hasPrefix("FAILED") }.count == 3)
    }

    @Test func `a gate that warns lets the run go on`() async throws {
        let bench = try Bench()
        let yaml = """
            source: {uri: people.csv}
            expectations: [{expect: expect_table_row_count_to_be_between, min_value: 100}]
            """
        var settings = Self.settings.object ?? [:]
        settings["gate"] = "warn"
        let order = try bench.order("validate", .object(settings), dataset: yaml, rows: try people())
        let result = try await bench.run(ValidateWorker(), order)
        #expect(result.failure == nil)
        #expect(result.report?["success"] == false)
    }

    @Test func `rows that all hold are handed on as they are`() async throws {
        let bench = try Bench()
        let order = try bench.order(
            "validate", Self.settings, dataset: "source: {uri: people.csv}", rows: try people())
        let result = try await bench.run(ValidateWorker(), order)
        #expect(result.outputs["digest"]?.string == "sha256:" + (try people()).digest)
        #expect(try bench.text("quarantine.csv") == "row,id,age,low,high,sex,mail,reason\n")
    }

    @Test func `rows that were not given are a problem`() async throws {
        let bench = try Bench()
        let order = try bench.order("validate", Self.settings, dataset: "source: {uri: people.csv}")
        #expect(await bench.problem(ValidateWorker(), order)?.code == "work.input")
    }
}
