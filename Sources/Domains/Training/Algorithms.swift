import API
import Foundation
import Frames
import Kernel
import Learners
import Manifests

/// Rows as a learner takes them.
struct LearningData {
    let features: Matrix
    let labels: Labels
}

/// What an algorithm made of the rows.
struct Learned {
    var predictor: any Predictor
    /// Numbers that a prediction consists of.
    var outputs = 1
    /// As they were used, defaults that were chosen here included.
    var hyperparameters: [String: String]
    /// Per round, from 1, "set-metric" → value.
    var history: [[String: Double]]
    /// The round (from 1) that the model stands at.
    var keptRounds: Int
}

/// Hyperparameters as algorithms read them: texts by name.
enum Hyperparameters {
    static func texts(_ values: Ordered<JSONValue>) throws(Problem) -> [String: String] {
        var texts: [String: String] = [:]
        for (name, value) in values {
            guard let text = text(value, isList: name == "eval_metric") else {
                throw Problem(
                    "train.hyperparameter", status: 422,
                    "hyperparameter \"\(name)\" is \(value.kindName), not one value or a list of values",
                    location: "train.hyperparameters.\(name)")
            }
            texts[name] = text
        }
        return texts
    }

    private static func text(_ value: JSONValue, isList: Bool) -> String? {
        switch value {
        case .string(let text): return text
        case .bool, .integer, .number: return value.text
        case .array(let items):
            let parts = items.compactMap { text($0, isList: false) }
            guard parts.count == items.count else { return nil }
            // XGBoost writes tuples of constraints in brackets: "(1,-1)".
            return isList ? parts.joined(separator: ",") : "(" + parts.joined(separator: ",") + ")"
        case .null, .object: return nil
        }
    }
}

/// Tells the rounds of a training: each of a short one, every tenth of a long one.
struct RoundTeller {
    let total: Int
    let log: @Sendable (String) -> Void

    /// - Parameters:
    ///   - round: From 1.
    ///   - scores: "set-metric" → value.
    func tell(_ round: Int, _ scores: [String: Double]) {
        guard total <= TrainingLimits.roundsTold || round == 1 || round.isMultiple(of: 10) || round == total else {
            return
        }
        let parts = Self.sorted(scores).map { "\($0.key) \(short($0.value))" }
        log((["round \(round)"] + parts).joined(separator: "  "))
    }

    /// Figures of the training rows first.
    static func sorted(_ scores: [String: Double]) -> [(key: String, value: Double)] {
        scores.sorted { a, b in
            let (first, second) = (a.key.hasPrefix("train-"), b.key.hasPrefix("train-"))
            return first == second ? a.key < b.key : first
        }
    }
}

/// Gradient boosted trees.
enum XGBoostAlgorithm {
    static func check(_ spec: TrainSpec) throws(Problem) {
        let parameters = try Hyperparameters.texts(spec.hyperparameters)
        try TrainingFiles.learning { () throws(LearnerError) in try XGBoostParameters.check(parameters) }
        guard spec.early_stopping == nil || spec.validation_data != nil else {
            throw Problem(
                "train.early-stopping", status: 422, "early_stopping needs rows to judge on",
                hint: "Name them: `validation_data: stage.test`.", location: "train.early_stopping")
        }
    }

    static func learn(
        _ spec: TrainSpec, _ train: LearningData, _ test: LearningData?, names: [String], library path: String?,
        log: @escaping @Sendable (String) -> Void
    ) throws(Problem) -> Learned {
        var parameters = try Hyperparameters.texts(spec.hyperparameters)
        if parameters["objective"] == nil {
            parameters["objective"] = train.labels.areBinary ? "binary:logistic" : "reg:squarederror"
        }
        if parameters["seed"] == nil, parameters["random_state"] == nil { parameters["seed"] = "\(spec.seed)" }
        let told = parameters
        if parameters["nthread"] == nil, parameters["n_jobs"] == nil {
            parameters["nthread"] = "\(ProcessInfo.processInfo.activeProcessorCount)"
        }
        let final = parameters
        var sets = [EvaluationSet(name: "train", data: train.features, labels: train.labels.floats)]
        if let test { sets.append(EvaluationSet(name: "test", data: test.features, labels: test.labels.floats)) }
        let evaluation = sets
        let teller = RoundTeller(total: spec.rounds, log: log)
        let trained = try TrainingFiles.learning { () throws(LearnerError) in
            let library = try XGBoostLibrary.find(explicit: path)
            log("XGBoost \(library.version), \(final["objective"] ?? ""), at most \(spec.rounds) rounds")
            return try XGBoostModel.train(
                train.features, labels: train.labels.floats, featureNames: names, hyperparameters: final,
                rounds: spec.rounds, evaluation: evaluation, earlyStopping: spec.early_stopping, library: library
            ) { round, scores in
                teller.tell(round + 1, scores)
                return true
            }
        }
        let kept = trained.bestRound.map { $0 + 1 } ?? trained.roundsRun
        if kept < trained.roundsRun { log("stopped after round \(trained.roundsRun); round \(kept) was the best") }
        let classes = final["objective"] == "multi:softprob" ? final["num_class"].flatMap(Int.init) ?? 1 : 1
        return Learned(
            predictor: trained.model, outputs: classes, hyperparameters: told, history: trained.history,
            keptRounds: kept)
    }
}

/// Logistic or ridge regression.
enum LinearAlgorithm {
    static func check(_ spec: TrainSpec) throws(Problem) {
        let parameters = try Hyperparameters.texts(spec.hyperparameters)
        _ = try TrainingFiles.learning { () throws(LearnerError) in try LinearModel.Parameters(parameters) }
        guard spec.early_stopping == nil else {
            throw Problem(
                "train.early-stopping", status: 422, "a linear model is fitted to the end: it has no early_stopping",
                hint: "Leave it out; the hyperparameters are: \(LinearModel.Parameters.names.joined(separator: ", ")).",
                location: "train.early_stopping")
        }
    }

    static func learn(
        _ spec: TrainSpec, _ train: LearningData, _ test: LearningData?, names: [String],
        log: @escaping @Sendable (String) -> Void
    ) throws(Problem) -> Learned {
        var texts = try Hyperparameters.texts(spec.hyperparameters)
        if texts["objective"] == nil { texts["objective"] = train.labels.areBinary ? "logistic" : "ridge" }
        let final = texts
        log("linear, \(final["objective"] ?? "")")
        var history: [[String: Double]] = []
        let teller = RoundTeller(total: TrainingLimits.roundsTold, log: log)
        let model = try TrainingFiles.learning { () throws(LearnerError) in
            try LinearModel.train(
                train.features, labels: train.labels.floats, featureNames: names,
                parameters: LinearModel.Parameters(final)
            ) { _, loss in
                history.append(["train-loss": loss])
                teller.tell(history.count, ["train-loss": loss])
                return true
            }
        }
        // The last round also carries what the finished model scores, in the words of the other algorithm.
        var scores = try figures(model, train, "train")
        if let test { scores.merge(try figures(model, test, "test")) { _, new in new } }
        if history.isEmpty { history.append([:]) }
        history[history.count - 1].merge(scores) { _, new in new }
        teller.tell(history.count, scores)
        return Learned(
            predictor: model, hyperparameters: final, history: history, keptRounds: history.count)
    }

    private static func figures(_ model: LinearModel, _ data: LearningData, _ set: String) throws(Problem)
        -> [String: Double]
    {
        let scores = try TrainingFiles.learning { () throws(LearnerError) in try model.predict(data.features) }
        let metrics = Judgement.metrics(scores.map(Double.init), data.labels, threshold: 0.5) { _ in }
        let wanted = model.objective == .logistic ? ("log_loss", "logloss") : ("rmse", "rmse")
        return metrics[wanted.0].map { ["\(set)-\(wanted.1)": $0] } ?? [:]
    }
}
