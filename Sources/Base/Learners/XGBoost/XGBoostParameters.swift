import Manifests

/// Which hyperparameters XGBoost knows, and what they may be.
///
/// XGBoost itself ignores names that it does not know, so a slip of the pen would train another model than was asked
/// for. Names and ranges: XGBoost 3.2, "XGBoost Parameters".
package enum XGBoostParameters {
    enum Rule: Sendable {
        case integer(ClosedRange<Int>)
        case number(ClosedRange<Double>)
        case flag
        case choice([String])
        case text
    }

    /// The names that may be written under `hyperparameters`.
    package static var names: [String] { rules.keys.sorted() }

    static let objectives = [
        "reg:squarederror", "reg:squaredlogerror", "reg:logistic", "reg:pseudohubererror", "reg:absoluteerror",
        "reg:quantileerror", "reg:gamma", "reg:tweedie", "binary:logistic", "binary:logitraw", "binary:hinge",
        "count:poisson", "survival:cox", "multi:softmax", "multi:softprob",
    ]

    static let metrics = [
        "rmse", "rmsle", "mae", "mape", "mphe", "logloss", "error", "merror", "mlogloss", "auc", "aucpr", "pre",
        "ndcg", "map", "quantile", "poisson-nloglik", "gamma-nloglik", "cox-nloglik", "gamma-deviance",
        "tweedie-nloglik",
    ]

    private static let share = Rule.number(0...1)
    private static let positive = Rule.number(0...Double.greatestFiniteMagnitude)

    static let rules: [String: Rule] = [
        "booster": .choice(["gbtree", "dart"]), "device": .choice(["cpu"]), "verbosity": .integer(0...3),
        "nthread": .integer(0...4096), "n_jobs": .integer(0...4096), "validate_parameters": .flag,
        "seed": .integer(Int.min...Int.max), "random_state": .integer(Int.min...Int.max),
        "seed_per_iteration": .flag, "disable_default_eval_metric": .flag,
        "objective": .choice(objectives), "eval_metric": .text, "base_score": .text,
        "num_class": .integer(0...1_000_000), "boost_from_average": .flag,
        "multi_strategy": .choice(["one_output_per_tree", "multi_output_tree"]),
        "eta": positive, "learning_rate": positive, "gamma": positive, "min_split_loss": positive,
        "max_depth": .integer(0...1_000), "min_child_weight": positive, "max_delta_step": positive,
        "subsample": share, "sampling_method": .choice(["uniform"]),
        "colsample_bytree": share, "colsample_bylevel": share, "colsample_bynode": share,
        "lambda": positive, "reg_lambda": positive, "alpha": positive, "reg_alpha": positive,
        "tree_method": .choice(["auto", "exact", "approx", "hist"]), "scale_pos_weight": positive,
        "updater": .text, "refresh_leaf": .flag, "process_type": .choice(["default"]),
        "grow_policy": .choice(["depthwise", "lossguide"]), "max_leaves": .integer(0...Int(Int32.max)),
        "max_bin": .integer(2...Int(Int32.max)), "num_parallel_tree": .integer(1...10_000),
        "monotone_constraints": .text, "interaction_constraints": .text, "sparse_threshold": share,
        "max_cached_hist_node": .integer(1...Int.max), "max_cat_to_onehot": .integer(1...Int(Int32.max)),
        "max_cat_threshold": .integer(1...Int(Int32.max)),
        "sample_type": .choice(["uniform", "weighted"]), "normalize_type": .choice(["tree", "forest"]),
        "rate_drop": share, "one_drop": .flag, "skip_drop": share,
        "tweedie_variance_power": .number(1...2), "huber_slope": .number(-1e9...1e9), "quantile_alpha": .text,
    ]

    /// Two names of one parameter: writing both would leave open which counts.
    static let aliases = [
        ("eta", "learning_rate"), ("gamma", "min_split_loss"), ("lambda", "reg_lambda"), ("alpha", "reg_alpha"),
        ("nthread", "n_jobs"), ("seed", "random_state"),
    ]

    /// Names of XGBoost's other interfaces for what is said elsewhere here.
    private static let elsewhere = [
        "n_estimators": "The number of rounds is the setting `rounds`.",
        "num_boost_round": "The number of rounds is the setting `rounds`.",
        "num_round": "The number of rounds is the setting `rounds`.",
        "early_stopping_rounds": "Stopping early is the setting `early_stopping`.",
    ]

    /// Refuses unknown names and values that XGBoost would refuse, before any data is read.
    ///
    /// Needs no library.
    package static func check(_ parameters: [String: String]) throws(LearnerError) {
        for (name, value) in parameters.sorted(by: { $0.key < $1.key }) {
            guard let rule = rules[name] else {
                throw LearnerError(
                    .badParameter, "XGBoost has no hyperparameter \"\(name)\"",
                    hint: elsewhere[name] ?? suggest(name, among: names))
            }
            guard let expected = rule.refusal(of: value) else { continue }
            let hint: String? =
                if case .choice(let choices) = rule { suggest(value, among: choices) } else { nil }
            throw LearnerError(
                .badParameter, "hyperparameter \"\(name)\" must be \(expected), not \"\(value)\"", hint: hint)
        }
        for (name, alias) in aliases where parameters[name] != nil && parameters[alias] != nil {
            throw LearnerError(
                .badParameter, "\"\(name)\" and \"\(alias)\" are two names of one hyperparameter",
                hint: "Keep one of them.")
        }
        for metric in metricNames(parameters) {
            let base = metric.split(separator: "@").first.map(String.init) ?? ""
            guard !metrics.contains(base) else { continue }
            throw LearnerError(
                .badParameter, "XGBoost has no metric \"\(metric)\"", hint: suggest(base, among: metrics))
        }
    }

    /// The metrics of `eval_metric`, which may be several, parted by commas.
    static func metricNames(_ parameters: [String: String]) -> [String] {
        (parameters["eval_metric"] ?? "").split(separator: ",").map { String($0.filter { !$0.isWhitespace }) }
    }

    /// Whether more is better of a metric as XGBoost names it ("ndcg@5").
    static func isMaximised(_ metric: String) -> Bool {
        let base = metric.split(whereSeparator: { $0 == "@" }).first.map(String.init) ?? metric
        return ["auc", "aucpr", "pre", "map", "ndcg"].contains(base)
    }

    private static func suggest(_ name: String, among names: [String]) -> String {
        suggestion(for: name, among: names, called: "name")
    }
}

extension XGBoostParameters.Rule {
    /// What the value should have been, or nil when it is right.
    fileprivate func refusal(of value: String) -> String? {
        switch self {
        case .integer(let range):
            guard let number = Int(value), range.contains(number) else {
                if range.lowerBound == Int.min { return "a whole number" }
                let isOpen = range.upperBound >= Int(Int32.max)
                return isOpen
                    ? "a whole number of at least \(range.lowerBound)"
                    : "a whole number from \(range.lowerBound) to \(range.upperBound)"
            }
        case .number(let range):
            guard let number = Double(value), range.contains(number) else {
                return range.upperBound == .greatestFiniteMagnitude
                    ? "a number of at least \(range.lowerBound)"
                    : "a number from \(range.lowerBound) to \(range.upperBound)"
            }
        case .flag:
            guard ["0", "1", "true", "false"].contains(value) else { return "true or false" }
        case .choice(let choices):
            guard choices.contains(value) else { return "one of \(choices.joined(separator: ", "))" }
        case .text:
            guard !value.isEmpty, !value.contains("\0") else { return "a value" }
        }
        return nil
    }
}
