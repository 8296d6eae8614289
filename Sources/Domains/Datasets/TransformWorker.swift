import API
import Frames
package import Kernel
import Learners
import Manifests

/// Splits rows and fits feature transforms on the training rows alone.
///
/// Artifacts: `train`, `test` (raw rows), `transforms`. Values: features, train_rows, test_rows. The same rows and seed
/// give the same split on every machine.
package struct TransformWorker: Worker {
    package static let verb = "transform"
    /// Steps of one transform.
    static let stepLimit = 1_000

    package init() {}

    package func run(_ order: WorkOrder, log: @Sendable (String) -> Void) async throws -> WorkResult {
        let spec = try WorkFiles.settings(TransformSpec.self, of: order)
        let frame = try WorkFiles.table("rows", of: order)
        try check(spec, frame)
        let steps = try Self.steps(spec)
        let seed = UInt64(bitPattern: Int64(spec.split.seed))
        let split = try WorkFiles.framing { () throws(FrameError) in
            try frame.split(test: spec.split.test.fraction, seed: seed)
        }
        log(
            "\(counted(split.train.rowCount, "row")) to train on, \(split.test.rowCount) to test on"
                + " (seed \(spec.split.seed))")
        guard split.train.rowCount > 0 else {
            throw Problem(
                "transform.no-rows", status: 422,
                "no rows are left to train on: \(counted(frame.rowCount, "row")), \(spec.split.test) of them for testing",
                hint: "Give it more rows, or make `split.test` smaller.")
        }
        let hidden = [spec.target] + spec.drop.filter { $0 != spec.target }
        let fitted = try WorkFiles.learning { () throws(LearnerError) in
            try FittedTransforms.fit(steps, on: split.train, excluding: hidden)
        }
        guard !fitted.featureNames.isEmpty else {
            throw Problem(
                "transform.no-features", status: 422, "the transforms leave no feature to learn from",
                hint: "Drop fewer columns; times are never features.")
        }
        log("\(counted(fitted.featureNames.count, "feature")) of \(counted(fitted.inputColumns.count, "column"))")
        return try finish(order, spec, split, fitted)
    }

    private func check(_ spec: TransformSpec, _ frame: Frame) throws(Problem) {
        for (name, place) in [(spec.target, "target")] + spec.drop.map({ ($0, "drop") }) where frame[name] == nil {
            throw Problem(
                "transform.column", status: 422, "the rows have no column \"\(name)\", which \(place) names",
                hint: suggestion(for: name, among: frame.names, called: "column"), location: "transform.\(place)")
        }
        guard spec.steps.count <= Self.stepLimit else {
            throw Problem("transform.steps", status: 422, "a transform has at most \(Self.stepLimit) steps")
        }
    }

    private static func steps(_ spec: TransformSpec) throws -> [TransformStep] {
        do throws(ManifestError) {
            return try [TransformStep](json: .array(spec.steps), at: ["transform", "steps"])
        } catch {
            throw Problem(error)
        }
    }

    private func finish(
        _ order: WorkOrder, _ spec: TransformSpec, _ split: (train: Frame, test: Frame), _ fitted: FittedTransforms
    ) throws -> WorkResult {
        try WorkFiles.write(split.train, "train.vgf", of: order)
        try WorkFiles.write(split.test, "test.vgf", of: order)
        try WorkFiles.write(fitted.artifact, "transforms.json", of: order)
        var result = WorkResult()
        result.artifacts = ["train": "train.vgf", "test": "test.vgf", "transforms": "transforms.json"]
        result.outputs = [
            "features": .count(fitted.featureNames.count), "train_rows": .count(split.train.rowCount),
            "test_rows": .count(split.test.rowCount),
        ]
        result.report = [
            "target": .string(spec.target), "train_rows": .count(split.train.rowCount),
            "test_rows": .count(split.test.rowCount), "train_digest": .string(WorkFiles.digest(split.train)),
            "test_digest": .string(WorkFiles.digest(split.test)), "features": .texts(fitted.featureNames),
            "inputs": .texts(fitted.inputColumns.map(\.name)),
            "not_features": .texts([spec.target] + spec.drop.filter { $0 != spec.target }),
        ]
        return result
    }
}
