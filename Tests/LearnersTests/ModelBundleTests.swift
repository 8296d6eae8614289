import Foundation
import Frames
import Manifests
import Testing

@testable import Learners

struct ModelBundleTests {
    /// A table with a category, its fitted transforms and labels.
    private func prepared(
        _ yaml: String = "[{impute: {columns: [x], strategy: mean}}, {one_hot: {columns: [c]}}]"
    ) throws -> (frame: Frame, transforms: FittedTransforms, labels: [Float]) {
        let x: [Double?] = (0..<60).map { $0 % 7 == 0 ? nil : Double($0 % 13) }
        let c: [String?] = (0..<60).map { ["red", "green", "blue"][$0 % 3] }
        let frame = try Frame([
            (ColumnSchema("x", .float), .floats(x)), (ColumnSchema("c", .category), .categories(c)),
        ])
        let list = try YAML.documents(yaml, file: nil).first?.value ?? .null
        let steps = try [TransformStep](json: list, at: [])
        let labels = (0..<60).map { Float(($0 % 13 > 6) != ($0 % 5 == 0) ? 1 : 0) }
        return (frame, try FittedTransforms.fit(steps, on: frame), labels)
    }

    private func linear() throws -> (bundle: ModelBundle, frame: Frame) {
        let (frame, transforms, labels) = try prepared()
        let model = try LinearModel.train(
            transforms.apply(frame), labels: labels, featureNames: transforms.featureNames)
        return (try ModelBundle(model, transforms: transforms, output: OutputColumn("risk")), frame)
    }

    @Test func `a linear bundle needs no library and predicts the same after loading`() throws {
        let (bundle, frame) = try linear()
        try withFolder { folder in
            try bundle.save(folder: folder)
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == [
                    "model.json", "signature.json", "transforms.json",
                ])
            let copy = try ModelBundle.load(folder: folder, xgboost: "/nowhere/libxgboost.so")
            #expect(copy.signature == bundle.signature && copy.transforms == bundle.transforms)
            #expect(copy.signature.output.name == "risk" && copy.signature.format == "linear")
            #expect(try copy.predict(frame) == bundle.predict(frame))
            let row: [String: RawValue] = ["x": .number(1), "c": .text("green")]
            #expect(try copy.predict(rows: [row]) == [bundle.predict(frame)[1]])
            #expect(try copy.features(of: [row]).values == [1, 0, 1, 0])
            #expect(try copy.features(of: frame).rows == 60)
        }
    }

    @Test(.enabled(if: TestLibrary.isExpected, TestLibrary.reason))
    func `a bundle of trees predicts the same after loading`() throws {
        let library = try TestLibrary.found.get()
        let (frame, transforms, labels) = try prepared("[{one_hot: {columns: [c]}}]")
        let model = try XGBoostModel.train(
            transforms.apply(frame), labels: labels, featureNames: transforms.featureNames,
            hyperparameters: ["objective": "binary:logistic"], rounds: 5, library: library
        ).model
        let bundle = try ModelBundle(model, transforms: transforms)
        try withFolder { folder in
            try bundle.save(folder: folder)
            let copy = try ModelBundle.load(folder: folder, xgboost: library.path)
            #expect(copy.predictor.format == "xgboost")
            #expect(try copy.predict(frame) == bundle.predict(frame))
            #expect(try copy.predict(rows: [["x": .missing, "c": .text("red")]]) == [bundle.predict(frame)[0]])
            #expect(code { _ = try ModelBundle.load(folder: folder, xgboost: "/nowhere/lib.so") } == .libraryMissing)
            // The same model as JSON is taken too.
            try Data(model.save(.json)).write(to: URL(fileURLWithPath: "\(folder)/model.json"))
            try FileManager.default.removeItem(atPath: "\(folder)/model.ubj")
            #expect(try ModelBundle.load(folder: folder, xgboost: library.path).predict(frame) == bundle.predict(frame))
        }
    }

    @Test func `files of two models in one folder are refused`() throws {
        let (bundle, _) = try linear()
        let (frame, other, _) = try prepared("[{ordinal: {columns: [c]}}]")
        #expect(frame.rowCount == 60)
        #expect(code { _ = try ModelBundle(bundle.predictor, transforms: other) } == .badModel)
        try withFolder { folder in
            try bundle.save(folder: folder)
            try Data(other.artifact).write(to: URL(fileURLWithPath: "\(folder)/transforms.json"))
            #expect(code { _ = try ModelBundle.load(folder: folder, xgboost: nil) } == .badModel)
        }
    }

    @Test func `a model alone takes its features as raw columns`() throws {
        let model = LinearModel(objective: .ridge, featureNames: ["a", "b"], weights: [2, -1], intercept: 0.5)
        try withFolder { folder in
            try Data(model.save()).write(to: URL(fileURLWithPath: "\(folder)/model.json"))
            let bundle = try ModelBundle.load(folder: folder, xgboost: nil)
            #expect(try bundle.predict(rows: [["a": .number(3), "b": .number(4)]]) == [2.5])
            #expect(bundle.signature.inputs == [InputColumn("a", .float), InputColumn("b", .float)])
        }
    }

    @Test func `a folder without a readable model is refused`() throws {
        try withFolder { folder in
            #expect(code { _ = try ModelBundle.load(folder: folder, xgboost: nil) } == .badModel)
            try Data("{}".utf8).write(to: URL(fileURLWithPath: "\(folder)/model.json"))
            #expect(code { _ = try ModelBundle.load(folder: folder, xgboost: nil) } == .badModel)
            try FileManager.default.removeItem(atPath: "\(folder)/model.json")
            try FileManager.default.createDirectory(
                atPath: "\(folder)/model.json", withIntermediateDirectories: false)
            #expect(code { _ = try ModelBundle.load(folder: folder, xgboost: nil) } == .badModel)
        }
    }
}
