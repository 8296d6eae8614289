public import Manifests

public struct TrainSpec: Manifest {
    public enum Algorithm: String, WireEnum { case xgboost, linear }
    public var algorithm = Algorithm.xgboost
    public var target = ""
    public var training_data = ""
    public var validation_data: String?
    public var transforms: String?
    public var hyperparameters: Ordered<JSONValue> = [:]
    public var rounds = 100
    public var early_stopping: Int?
    public var seed = 1
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("algorithm", \.algorithm, "xgboost needs its library; linear (logistic or ridge) is built in."),
        .required("target", \.target, "Column to predict."),
        .required("training_data", \.training_data, "Rows to learn from: `stage.train`."),
        .optional("validation_data", \.validation_data, "Rows to watch progress on: `stage.test`."),
        .optional("transforms", \.transforms, "Fitted transforms; absent: those of the stage of training_data."),
        .optional("hyperparameters", \.hyperparameters, "Passed to the algorithm; unknown ones are errors."),
        .optional("rounds", \.rounds, "Boosting rounds.", in: 1...100_000),
        .optional(
            "early_stopping", \.early_stopping, "Stops after this many rounds without progress on the validation data.",
            in: 1...100_000),
        .optional("seed", \.seed, "Seed: the same rows and seed give the same model."),
    ]

    public var transformsReference: String {
        transforms ?? (training_data.prefix { $0 != "." } + ".transforms")
    }
}

public struct EvaluateSpec: Manifest {
    public var model = ""
    public var data = ""
    public var champion: String?
    public var require: [String] = []
    public var bias = BiasSpec()
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("model", \.model, "The trained model: `stage.model`."),
        .required("data", \.data, "Rows it has not seen: `stage.test`."),
        .optional(
            "champion", \.champion, "Model to compare with: `name@alias`; while there is none, requirements on it hold."
        ),
        .optional(
            "require", \.require,
            "Expressions that must be true: `auc >= 0.80`, `auc - champion.auc >= -0.005`, `bias.SEX.tpr_gap <= 0.1`."),
        .optional("bias", \.bias, "Fairness by group."),
    ]
}

public struct BiasSpec: Manifest {
    public var by: [String] = []
    public var min_cell = 50
    public var threshold = 0.5
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("by", \.by, "Columns whose groups are compared."),
        .optional("min_cell", \.min_cell, "Groups smaller than this are left out, and named.", in: 1...1_000_000),
        .optional("threshold", \.threshold, "Score from which the decision is yes.", in: 0...1),
    ]
}
