import API
import Frames
import Manifests
import Stats

/// How good a model is on rows it has not seen, and how evenly for groups of people.
enum Judgement {
    /// The figures of scores against labels.
    ///
    /// Labels of 0 and 1: auc, log_loss, brier, ece, accuracy, f1, precision, recall; the probability figures only of
    /// scores from 0 to 1, auc only of both classes. Other labels: rmse, mae, r2. What has no value is left out.
    ///
    /// - Parameters:
    ///   - scores: One per row.
    ///   - labels: One per row.
    ///   - threshold: Score from which the decision is yes.
    ///   - log: Told why a figure has no value.
    /// - Returns: The figures that have a value, by name.
    static func metrics(_ scores: [Double], _ labels: Labels, threshold: Double, log: (String) -> Void)
        -> Ordered<Double>
    {
        var metrics = Ordered<Double>()
        func note(_ name: String, _ figure: () throws(StatsError) -> Double) {
            do throws(StatsError) {
                metrics[name] = try figure()
            } catch {
                log("no \(name): \(error.message)")
            }
        }
        guard labels.areBinary else {
            note("rmse") { () throws(StatsError) in
                try Regression.rmse(predictions: scores, targets: labels.values)
            }
            note("mae") { () throws(StatsError) in try Regression.mae(predictions: scores, targets: labels.values) }
            note("r2") { () throws(StatsError) in try Regression.r2(predictions: scores, targets: labels.values) }
            return metrics
        }
        let flags = labels.flags
        note("auc") { () throws(StatsError) in try Classification.auc(scores: scores, labels: flags) }
        note("log_loss") { () throws(StatsError) in try Classification.logLoss(scores: scores, labels: flags) }
        note("brier") { () throws(StatsError) in try Classification.brier(scores: scores, labels: flags) }
        note("ece") { () throws(StatsError) in
            try Classification.expectedCalibrationError(scores: scores, labels: flags)
        }
        do throws(StatsError) {
            let counts = try Classification.confusion(scores: scores, labels: flags, threshold: threshold)
            metrics["accuracy"] = counts.accuracy
            metrics["f1"] = counts.f1
            metrics["precision"] = counts.precision
            metrics["recall"] = counts.recall
        } catch {
            log("no decisions to count: \(error.message)")
        }
        return metrics
    }
}

/// How differently a model treats the groups of one column.
struct BiasFinding {
    let column: String
    /// tpr_gap, selection_ratio, selection_gap, average_odds_gap, …: those that have a value.
    var figures = Ordered<Double>()
    var groups: [GroupFairness.Group] = []
    var leftOut: [(name: String, n: Int)] = []

    /// Compares the decisions on the groups of a column; rows where it is missing are a group "(missing)".
    init(_ column: String, of frame: Frame, scores: [Double], labels: [Bool], spec: BiasSpec) throws(Problem) {
        self.column = column
        guard let values = frame[column] else {
            throw Problem(
                "evaluate.bias", status: 422, "the rows have no column \"\(column)\" to compare groups by",
                hint: suggestion(for: column, among: frame.names, called: "column"), location: "evaluate.bias.by")
        }
        let names = (0..<frame.rowCount).map { values.text($0) ?? "(missing)" }
        let sizes = Dictionary(names.map { ($0, 1) }, uniquingKeysWith: +)
        guard sizes.count <= TrainingLimits.groups else {
            throw Problem(
                "evaluate.bias", status: 422,
                "\"\(column)\" has \(sizes.count) groups, more than \(TrainingLimits.groups)",
                hint: "Compare by a column of few values; bin numbers before.", location: "evaluate.bias.by")
        }
        do throws(StatsError) {
            let fairness = try GroupFairness(
                groups: names, labels: labels, selected: scores.map { $0 >= spec.threshold }, scores: scores,
                minCell: spec.min_cell)
            groups = fairness.groups
            leftOut = fairness.omitted.map { (name: $0.name, n: $0.n) }
            for (name, value) in fairness.metrics.sorted(by: { $0.key < $1.key }) { figures[name] = value }
        } catch {
            // No group is large enough to say anything; a requirement on it then fails, as its figure is not there.
            leftOut = sizes.sorted { $0.key < $1.key }.map { (name: $0.key, n: $0.value) }
        }
    }

    var json: JSONValue {
        var members = figures.map(JSONValue.number)
        members["groups"] = .array(groups.map(Self.json))
        members["left_out"] = .array(leftOut.map { ["name": .string($0.name), "n": .count($0.n)] })
        return .object(members)
    }

    private static func json(_ group: GroupFairness.Group) -> JSONValue {
        var members: Ordered<JSONValue> = [
            "name": .string(group.name), "n": .count(group.n), "positives": .count(group.positives),
            "selection_rate": .number(group.selectionRate), "accuracy": .number(group.accuracy),
        ]
        for (name, value) in [("tpr", group.tpr), ("fpr", group.fpr), ("auc", group.auc)] {
            if let value { members[name] = .number(value) }
        }
        return .object(members)
    }
}
