package import Kernel

// Training: from rows to a model that is worth serving.
//
// Two workers, pure functions from files to files that run in a process of their own (`vagus work`):
//   train      rows + fitted transforms → `model`, a folder that serving and monitors read
//   evaluate   a model + rows it has not seen, perhaps a champion → `report`; its gates may fail the run
//
// The folder of a model:
//   model.ubj or model.json   XGBoost's own file, or the linear model's
//   transforms.json           raw columns → features, the same in training and serving
//   signature.json            raw columns in, prediction out
//   training.json             target, algorithm, hyperparameters, seed, digest of the rows
//   reference.vgf             a sample of the test rows (of the training rows when there were none): all raw columns,
//                             the model's answer in `__score` and the target as a number in `__label`
//
// What comes in and goes out: files. Tables, operations, events, loops: none.
//
//   TrainWorker, Algorithms   rows to a model            EvaluateWorker   a model to a verdict
//   ModelFolder               what is beside the model   Judgement        metrics, and bias by group
//   TrainingFiles             reading, errors            Gates            requirements as expressions

/// The room of training.
package struct TrainingDomain: Domain {
    package static let name = "training"

    package init(context: DomainContext) {}

    package func routes(_ routes: inout Routes) {}
}

/// The bounds of this room.
package enum TrainingLimits {
    /// Rows that go along with a model as its reference.
    package static let referenceRows = 5_000
    /// Rounds of one training that its report lists.
    package static let roundsShown = 1_000
    /// With more rounds than this only every tenth is told.
    package static let roundsTold = 50
    /// Requirements of one evaluation.
    package static let requirements = 100
    /// Columns whose groups are compared.
    package static let biasColumns = 50
    /// Groups of one such column.
    package static let groups = 1_000
}
