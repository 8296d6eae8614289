import API
import Frames
import Kernel
import Learners
import Manifests

/// `training.json`: how a model came to be.
struct TrainingNote: Manifest {
    var target = ""
    var algorithm = ""
    var hyperparameters: Ordered<JSONValue> = [:]
    var rounds = 0
    var seed = 1
    var data_digest = ""
    var rows = 0

    static let noun = "training note"
    static let fields: [Field<Self>] = [
        .required("target", \.target, "Column that is predicted."),
        .required("algorithm", \.algorithm, "xgboost or linear."),
        .told("hyperparameters", \.hyperparameters, "With what it was trained."),
        .told("rounds", \.rounds, "Rounds that the model keeps."),
        .told("seed", \.seed, "Seed."),
        .told("data_digest", \.data_digest, "Content of the training rows."),
        .told("rows", \.rows, "Training rows."),
    ]
}

/// What lies in a model's folder beside the model itself.
enum ModelFolder {
    static let name = "model"
    static let note = "training.json"
    static let reference = "reference.vgf"
    /// The model's answer in the reference rows.
    static let score = "__score"
    /// The target in the reference rows, as a number.
    static let label = "__label"

    /// The column that the model of a folder predicts.
    static func target(of folder: String) throws(Problem) -> String {
        let path = "\(folder)/\(note)"
        guard TrainingFiles.exists(path) else {
            throw Problem(
                "model.note-missing", status: 422, "the model does not say which column it predicts",
                hint: "Evaluate a model that a train step left behind; \(note) is missing in its folder.")
        }
        do {
            return try TrainingNote(jsonText: TrainingFiles.bytes(path)).target
        } catch let error as ManifestError {
            throw Problem(error)
        } catch let problem as Problem {
            throw problem
        } catch {
            throw Problem(describing: error)
        }
    }

    /// A sample of rows with the model's answers, for monitors to compare with: the same for the same rows and seed.
    static func referenceRows(_ frame: Frame, target: String, model: ModelBundle, seed: Int) throws(Problem) -> Frame {
        let limit = TrainingLimits.referenceRows
        return try TrainingFiles.framing { () throws(FrameError) in
            var rows = frame
            if frame.rowCount > limit {
                let share = Double(limit) / Double(frame.rowCount)
                rows = try frame.split(test: share, seed: UInt64(bitPattern: Int64(seed))).test
            }
            return try rows.dropping([score, label].filter { rows[$0] != nil })
        }.scored(by: model, target: target)
    }
}

extension Frame {
    /// The rows with the model's answer and the target at their end; of several outputs no answer is kept.
    fileprivate func scored(by model: ModelBundle, target: String) throws(Problem) -> Frame {
        let frame = self
        let labels = try Labels(frame, target: target, of: "reference rows").values
        let scores: [Double]? =
            model.signature.output.size == 1
            ? try TrainingFiles.learning { () throws(LearnerError) in try model.predict(frame) } : nil
        return try TrainingFiles.framing { () throws(FrameError) in
            let labelled = try frame.appending(ModelFolder.label, .float(labels))
            guard let scores else { return labelled }
            return try labelled.appending(ModelFolder.score, .float(scores))
        }
    }
}
