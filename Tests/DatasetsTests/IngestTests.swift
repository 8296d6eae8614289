import API
import Foundation
import Frames
import Kernel
import Manifests
import Testing

@testable import Datasets

/// Reading files by a declared schema.
@Suite struct IngestTests {
    static let dataset = """
        source: {type: csv, uri: people.csv}
        schema:
          - {name: age, type: int}
          - {name: sex, type: category}
          - {name: hired, type: bool}
        """

    @Test func `typed rows, their digest and what was left out are told`() async throws {
        let bench = try Bench()
        try bench.write("age,sex,hired,shoe\n30,f,true,38\nold,m,false,44\n,m,0,43\n", "datasets/people.csv")
        let order = try bench.order("ingest", ["dataset": "people"], dataset: Self.dataset)
        let result = try await bench.run(IngestWorker(), order)
        let frame = try bench.frame("rows.vgf")
        #expect(frame.schema == [.init("age", .int), .init("sex", .category), .init("hired", .bool)])
        #expect(frame.rowCount == 2)
        #expect(frame.columns[0] == .ints([30, nil]))
        #expect(result.outputs["dataset"] == "people")
        #expect(result.outputs["rows"] == 2)
        #expect(result.outputs["rejected"] == 1)
        #expect(result.outputs["digest"]?.string == "sha256:" + frame.digest)
        #expect(result.artifacts == ["rows": "rows.vgf", "report": "report.json"])
        #expect(result.report?["quarantine"]?[0]?["row"] == 2)
        #expect(result.report?["quarantine"]?[0]?["column"] == "age")
        #expect(result.report?["quarantine"]?[0]?["reason"]?.string?.contains("old") == true)
        #expect(result.report?["dropped"] == ["shoe"])
        #expect(bench.lines.contains { $0.contains("shoe") })
        #expect(try JSONParser.parse(Array(bench.text("report.json").utf8)) == result.report)
    }

    @Test func `the same content has the same digest however it is spelled`() async throws {
        var digests: Set<String> = []
        let spellings = [
            ("csv", "age,sex,hired\n30,f,true\n40,m,false\n"),
            ("csv", "sex,hired,age\nf,1,30\nm,0,40\n"),
            ("json_lines", #"{"age":30,"sex":"f","hired":true}"# + "\n" + #"{"age":40,"sex":"m","hired":false}"#),
        ]
        for (type, text) in spellings {
            let bench = try Bench()
            try bench.write(text, "datasets/people.csv")
            let yaml = Self.dataset.replacing("type: csv", with: "type: \(type)")
            let order = try bench.order("ingest", ["dataset": "people"], dataset: yaml)
            digests.insert(try await bench.run(IngestWorker(), order).outputs["digest"]?.string ?? "")
        }
        #expect(digests.count == 1)
    }

    @Test(arguments: [
        ("csv", "age,hird\n1,true\n"), ("json_lines", #"{"age": 1, "hird": true}"#),
    ])
    func `columns that the file does not have are all named`(type: String, text: String) async throws {
        let bench = try Bench()
        try bench.write(text, "datasets/people.csv")
        let yaml = Self.dataset.replacing("type: csv", with: "type: \(type)")
        let problem = await bench.problem(
            IngestWorker(), try bench.order("ingest", ["dataset": "people"], dataset: yaml))
        #expect(problem?.code == "dataset.columns")
        #expect(problem?.message == #""people.csv" has no columns "sex", "hired""#)
        #expect(problem?.hint?.isEmpty == false)
    }

    @Test func `a file lies in the datasets folder, in the workspace or where its absolute path says`() async throws {
        let bench = try Bench()
        try bench.write("age\n1\n", "datasets/a.csv")
        try bench.write("age\n1\n2\n", "workspace/a.csv")
        try bench.write("age\n1\n2\n3\n", "a.csv")
        for (uri, rows) in [("a.csv", 1), ("./a.csv", 2), ("\(bench.folder)/a.csv", 3)] {
            let order = try bench.order(
                "ingest", ["dataset": "people"], dataset: "source: {uri: \"\(uri)\"}\nschema: [{name: age, type: int}]")
            #expect(try await bench.run(IngestWorker(), order).outputs["rows"]?.int == rows)
        }
    }

    @Test(arguments: [
        ("none.csv", "dataset.file-missing"), ("./none.csv", "dataset.file-missing"),
        ("s3://bucket/none.csv", "dataset.source"), ("./", "dataset.file-missing"),
    ])
    func `a file that is not there is told with a hint`(uri: String, code: String) async throws {
        let bench = try Bench()
        let order = try bench.order("ingest", ["dataset": "people"], dataset: "source: {uri: \"\(uri)\"}")
        let problem = await bench.problem(IngestWorker(), order)
        #expect(problem?.code == code)
        #expect(problem?.hint?.hasSuffix(".") == true)
    }

    @Test func `a runner without a datasets folder says so`() async throws {
        let bench = try Bench()
        var order = try bench.order("ingest", ["dataset": "people"], dataset: Self.dataset)
        order.datasets = ""
        let problem = await bench.problem(IngestWorker(), order)
        #expect(problem?.code == "dataset.folder")
        #expect(problem?.hint?.contains("--datasets") == true)
    }

    @Test func `a file of which no row fits is a problem`() async throws {
        let bench = try Bench()
        try bench.write("age,sex,hired\nx,f,true\ny,m,true\n", "datasets/people.csv")
        let problem = await bench.problem(
            IngestWorker(), try bench.order("ingest", ["dataset": "people"], dataset: Self.dataset))
        #expect(problem?.code == "dataset.all-rejected")
        #expect(problem?.detail?.contains("Row 1") == true)
    }

    @Test func `without a schema the types are found out and told`() async throws {
        let bench = try Bench()
        try bench.write("age,sex\n1,f\n2,m\n", "datasets/people.csv")
        let order = try bench.order("ingest", ["dataset": "people"], dataset: "source: {uri: people.csv}")
        _ = try await bench.run(IngestWorker(), order)
        #expect(try bench.frame("rows.vgf").schema == [.init("age", .int), .init("sex", .category)])
        #expect(bench.lines.contains { $0.contains("age int, sex category") })
    }

    @Test func `a misspelt setting is a problem with the right name`() async throws {
        let bench = try Bench()
        let order = try bench.order("ingest", ["datset": "people"], dataset: Self.dataset)
        #expect(await bench.problem(IngestWorker(), order)?.hint == "Did you mean \"dataset\"?")
    }
}
