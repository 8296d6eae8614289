import API
import Frames
package import Kernel
import Learners
import Manifests

/// Trains a model on rows, behind the transforms that were fitted on them.
///
/// Artifact: `model`, a folder (see Training.swift). Values: format, data_digest, feature_count, rows. The same rows,
/// seed and processors give the same model.
package struct TrainWorker: Worker {
    package static let verb = "train"

    package init() {}

    package func run(_ order: WorkOrder, log: @Sendable (String) -> Void) async throws -> WorkResult {
        let spec = try TrainingFiles.settings(TrainSpec.self, of: order)
        // Slips of the pen are told before any row is read.
        switch spec.algorithm {
        case .xgboost: try XGBoostAlgorithm.check(spec)
        case .linear: try LinearAlgorithm.check(spec)
        }
        let train = try TrainingFiles.table("train", of: order)
        let test = order.inputs["test"] == nil ? nil : try TrainingFiles.table("test", of: order)
        let transforms = try Self.transforms(of: order, on: train, target: spec.target)
        let rows = try Self.data(train, spec, transforms, "training data")
        let watched = try test.map { try Self.data($0, spec, transforms, "validation data") }
        log(
            "\(counted(train.rowCount, "row")), \(counted(transforms.featureNames.count, "feature"))"
                + (test.map { ", \($0.rowCount) rows to watch progress on" } ?? ""))
        let learned = try withoutActuallyEscaping(log) { log in
            switch spec.algorithm {
            case .xgboost:
                try XGBoostAlgorithm.learn(
                    spec, rows, watched, names: transforms.featureNames, library: order.xgboost, log: log)
            case .linear:
                try LinearAlgorithm.learn(spec, rows, watched, names: transforms.featureNames, log: log)
            }
        }
        let bundle = try TrainingFiles.learning { () throws(LearnerError) in
            try ModelBundle(
                learned.predictor, transforms: transforms, output: OutputColumn("prediction", size: learned.outputs))
        }
        return try finish(order, spec, train, test, learned, bundle, log)
    }

    private static func transforms(of order: WorkOrder, on train: Frame, target: String) throws(Problem)
        -> FittedTransforms
    {
        let transforms: FittedTransforms
        if let path = order.inputs["transforms"] {
            let bytes = try TrainingFiles.bytes(path)
            transforms = try TrainingFiles.learning { () throws(LearnerError) in
                try FittedTransforms(artifact: bytes)
            }
        } else {
            transforms = try TrainingFiles.learning { () throws(LearnerError) in
                try FittedTransforms.fit([], on: train, excluding: train[target] == nil ? [] : [target])
            }
        }
        guard !transforms.inputColumns.contains(where: { $0.name == target }) else {
            throw Problem(
                "train.leak", status: 422, "the features are made of \"\(target)\", which is to be predicted",
                hint: "Name it as `target` of the transform too.")
        }
        return transforms
    }

    private static func data(_ frame: Frame, _ spec: TrainSpec, _ transforms: FittedTransforms, _ noun: String)
        throws(Problem) -> LearningData
    {
        let labels = try Labels(frame, target: spec.target, of: noun)
        let features = try TrainingFiles.learning { () throws(LearnerError) in try transforms.apply(frame) }
        return LearningData(features: features, labels: labels)
    }

    private func finish(
        _ order: WorkOrder, _ spec: TrainSpec, _ train: Frame, _ test: Frame?, _ learned: Learned,
        _ bundle: ModelBundle, _ log: (String) -> Void
    ) throws -> WorkResult {
        let folder = "\(order.outputs)/\(ModelFolder.name)"
        let digest = "sha256:" + train.digest
        try TrainingFiles.learning { () throws(LearnerError) in try bundle.save(folder: folder) }
        var note = TrainingNote()
        (note.target, note.algorithm, note.rounds) = (spec.target, spec.algorithm.rawValue, learned.keptRounds)
        (note.seed, note.data_digest, note.rows) = (spec.seed, digest, train.rowCount)
        note.hyperparameters = Self.sorted(learned.hyperparameters)
        try TrainingFiles.write(note.json, to: "\(folder)/\(ModelFolder.note)")
        // An empty test split is no reference; the rows it learned from are the next best.
        let shown = test.flatMap { $0.rowCount > 0 ? $0 : nil } ?? train
        let reference = try ModelFolder.referenceRows(shown, target: spec.target, model: bundle, seed: spec.seed)
        try TrainingFiles.framing { () throws(FrameError) in
            try reference.write(path: "\(folder)/\(ModelFolder.reference)")
        }
        log("\(counted(reference.rowCount, "row")) go along as the reference of monitors")
        var result = WorkResult()
        result.artifacts = ["model": ModelFolder.name]
        result.outputs = [
            "format": .string(bundle.predictor.format), "data_digest": .string(digest),
            "feature_count": .count(bundle.predictor.featureNames.count), "rows": .count(train.rowCount),
        ]
        let last =
            learned.history.indices.contains(learned.keptRounds - 1) ? learned.history[learned.keptRounds - 1] : [:]
        for (name, value) in RoundTeller.sorted(last) where value.isFinite { result.metrics[name] = value }
        result.report = [
            "algorithm": .string(spec.algorithm.rawValue), "target": .string(spec.target),
            "hyperparameters": .object(note.hyperparameters), "kept_rounds": .count(learned.keptRounds),
            "rounds": .array(Self.rounds(learned.history)), "signature": bundle.signature.json,
            "features": .array(bundle.predictor.featureNames.map(JSONValue.string)),
            "data_digest": .string(digest), "rows": .count(train.rowCount),
            "reference_rows": .count(reference.rowCount),
        ]
        return result
    }

    private static func sorted(_ texts: [String: String]) -> Ordered<JSONValue> {
        Ordered(texts.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })
    }

    /// The rounds, evenly thinned where there are too many to show.
    static func rounds(_ history: [[String: Double]]) -> [JSONValue] {
        let stride = (history.count + TrainingLimits.roundsShown - 1) / TrainingLimits.roundsShown
        return history.enumerated()
            .filter { $0.offset.isMultiple(of: max(1, stride)) || $0.offset == history.count - 1 }
            .map { index, scores in
                var members: Ordered<JSONValue> = ["round": .count(index + 1)]
                for (name, value) in RoundTeller.sorted(scores) where value.isFinite { members[name] = .number(value) }
                return .object(members)
            }
    }
}
