import API
import Foundation
import Frames
import Kernel
import Learners
import Manifests
import Testing

@testable import Datasets

/// Splitting, and fitting on the training rows alone.
@Suite struct TransformTests {
    static let settings: JSONValue = [
        "input": "validate.rows", "target": "y", "split": ["test": 0.25, "seed": 7], "drop": ["sex"],
        "steps": [["impute": ["columns": ["x"], "strategy": "mean"]]],
    ]

    /// A hundred rows; every tenth without a value.
    static func rows() throws -> Frame {
        try Frame([
            (ColumnSchema("x", .float), .floats((0..<100).map { $0 % 10 == 0 ? nil : Double($0 * $0) })),
            (ColumnSchema("sex", .category), .categories((0..<100).map { $0 % 2 == 0 ? "f" : "m" })),
            (ColumnSchema("y", .bool), .bools((0..<100).map { $0 > 50 })),
        ])
    }

    @Test func `the split is seeded, and what is imputed is learned from training rows only`() async throws {
        let bench = try Bench()
        let result = try await bench.run(
            TransformWorker(), try bench.order("transform", Self.settings, rows: try Self.rows()))
        let (train, test) = (try bench.frame("train.vgf"), try bench.frame("test.vgf"))
        #expect(train.rowCount == 75)
        #expect(test.rowCount == 25)
        #expect(train.names == ["x", "sex", "y"])
        let fitted = try FittedTransforms(artifact: Array(bench.text("transforms.json").utf8))
        #expect(fitted.featureNames == ["x"])
        let present = (train["x"]?.doubles ?? []).filter { !$0.isNaN }
        let mean = present.reduce(0, +) / Double(present.count)
        let gap = try fitted.apply(row: ["x": .missing])[0, 0]
        #expect(abs(Double(gap) - mean) < 1e-3)
        #expect(result.report?["features"] == ["x"])
        #expect(result.outputs["train_rows"] == 75)

        let again = try Bench()
        _ = try await again.run(
            TransformWorker(), try again.order("transform", Self.settings, rows: try Self.rows()))
        #expect(try again.frame("train.vgf") == train)
        #expect(try again.text("transforms.json") == bench.text("transforms.json"))

        let other = try Bench()
        var settings = Self.settings.object ?? [:]
        settings["split"] = ["test": 0.25, "seed": 8]
        _ = try await other.run(
            TransformWorker(), try other.order("transform", .object(settings), rows: try Self.rows()))
        #expect(try other.frame("train.vgf") != train)
    }

    @Test(arguments: [("target", JSONValue.string("z")), ("drop", JSONValue.array(["sexx"]))])
    func `an unknown column is told with the one that was meant`(key: String, value: JSONValue) async throws {
        let bench = try Bench()
        var settings = Self.settings.object ?? [:]
        settings[key] = value
        let problem = await bench.problem(
            TransformWorker(), try bench.order("transform", .object(settings), rows: try Self.rows()))
        #expect(problem?.code == "transform.column")
        #expect(problem?.location == "transform.\(key)")
        #expect(problem?.hint?.isEmpty == false)
    }

    @Test func `a step that names an unknown column tells which step`() async throws {
        let bench = try Bench()
        var settings = Self.settings.object ?? [:]
        settings["steps"] = [["scale": ["columns": ["xx"]]]]
        let problem = await bench.problem(
            TransformWorker(), try bench.order("transform", .object(settings), rows: try Self.rows()))
        #expect(problem?.message.contains("transform 1") == true)
        #expect(problem?.message.contains("xx") == true)
    }

    @Test func `no rows left to train on is a problem`() async throws {
        let bench = try Bench()
        var settings = Self.settings.object ?? [:]
        settings["split"] = ["test": 1.0]
        let problem = await bench.problem(
            TransformWorker(), try bench.order("transform", .object(settings), rows: try Self.rows()))
        #expect(problem?.code == "transform.no-rows")
    }
}
