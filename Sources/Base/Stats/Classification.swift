import Glibc

/// How well scores tell two classes apart.
package enum Classification {
    /// Counts of decisions against labels.
    package struct Confusion: Sendable, Codable, Equatable {
        package var truePositives = 0
        package var falsePositives = 0
        package var trueNegatives = 0
        package var falseNegatives = 0

        package init() {}

        package var count: Int { truePositives + falsePositives + trueNegatives + falseNegatives }
        package var accuracy: Double { share(truePositives + trueNegatives, of: count) }
        /// Share of the chosen that are true; 0 when none is chosen.
        package var precision: Double { share(truePositives, of: truePositives + falsePositives) }
        /// Share of the true that are chosen; 0 when there is none.
        package var recall: Double { share(truePositives, of: truePositives + falseNegatives) }
        /// Harmonic mean of precision and recall.
        package var f1: Double { share(2 * truePositives, of: 2 * truePositives + falsePositives + falseNegatives) }
        /// Share of all that are chosen.
        package var selectionRate: Double { share(truePositives + falsePositives, of: count) }
        /// Share of the false that are chosen; 0 when there is none.
        package var falsePositiveRate: Double { share(falsePositives, of: falsePositives + trueNegatives) }
        /// Mean of the shares of both classes that are got right.
        package var balancedAccuracy: Double { (recall + share(trueNegatives, of: trueNegatives + falsePositives)) / 2 }

        private func share(_ part: Int, of whole: Int) -> Double { whole == 0 ? 0 : Double(part) / Double(whole) }
    }

    /// Area under the ROC curve: the chance that a true one scores above a false one, ties counting half.
    ///
    /// By the rank sum of Mann and Whitney (1947); scores may be of any scale.
    ///
    /// - Complexity: O(n log n).
    package static func auc(scores: [Double], labels: [Bool]) throws(StatsError) -> Double {
        try check(scores, labels)
        let positives = labels.count { $0 }
        let negatives = labels.count - positives
        guard positives > 0, negatives > 0 else {
            throw StatsError(.oneClassOnly, "all labels are \(positives > 0 ? "true" : "false")")
        }
        let order = scores.indices.sorted { scores[$0] < scores[$1] }
        var rankSum = 0.0
        var start = 0
        while start < order.count {
            var end = start
            var ties = 0
            while end < order.count, scores[order[end]] == scores[order[start]] {
                if labels[order[end]] { ties += 1 }
                end += 1
            }
            rankSum += Double(ties) * Double(start + end + 1) / 2
            start = end
        }
        let (p, n) = (Double(positives), Double(negatives))
        return (rankSum - p * (p + 1) / 2) / (p * n)
    }

    /// Mean negative logarithm of the probability that was given to what came true.
    ///
    /// Scores are probabilities, kept 2.2·10⁻¹⁶ off 0 and 1 as in scikit-learn.
    package static func logLoss(scores: [Double], labels: [Bool]) throws(StatsError) -> Double {
        try checkProbabilities(scores, labels)
        let floor = Double.ulpOfOne
        let sum = zip(scores, labels).reduce(0.0) { sum, pair in
            let p = min(max(pair.0, floor), 1 - floor)
            return sum - (pair.1 ? log(p) : log1p(-p))
        }
        return sum / Double(scores.count)
    }

    /// Mean squared distance between probability and what came true (Brier 1950).
    package static func brier(scores: [Double], labels: [Bool]) throws(StatsError) -> Double {
        try checkProbabilities(scores, labels)
        let sum = zip(scores, labels).reduce(0.0) { sum, pair in
            let distance = pair.0 - (pair.1 ? 1 : 0)
            return sum + distance * distance
        }
        return sum / Double(scores.count)
    }

    /// Mean distance between probability and share of true ones over bins of equal width, weighted by size
    /// (Naeini, Cooper and Hauskrecht 2015).
    package static func expectedCalibrationError(scores: [Double], labels: [Bool], bins: Int = 10) throws(StatsError)
        -> Double
    {
        try checkProbabilities(scores, labels)
        guard bins >= 1 else { throw StatsError(.invalidArgument, "\(bins) bins are not enough") }
        var gaps = [Double](repeating: 0, count: bins)
        for (score, label) in zip(scores, labels) {
            gaps[min(bins - 1, Int(score * Double(bins)))] += score - (label ? 1 : 0)
        }
        return gaps.reduce(0) { $0 + abs($1) } / Double(scores.count)
    }

    /// Counts decisions: a score from `threshold` on chooses.
    package static func confusion(scores: [Double], labels: [Bool], threshold: Double = 0.5) throws(StatsError)
        -> Confusion
    {
        try check(scores, labels)
        return try confusion(selected: scores.map { $0 >= threshold }, labels: labels)
    }

    /// Counts decisions that were made elsewhere.
    package static func confusion(selected: [Bool], labels: [Bool]) throws(StatsError) -> Confusion {
        try StatsError.requireSameCount(selected.count, labels.count, "decisions and labels")
        var counts = Confusion()
        for (isSelected, label) in zip(selected, labels) {
            switch (isSelected, label) {
            case (true, true): counts.truePositives += 1
            case (true, false): counts.falsePositives += 1
            case (false, false): counts.trueNegatives += 1
            case (false, true): counts.falseNegatives += 1
            }
        }
        return counts
    }

    package static func accuracy(scores: [Double], labels: [Bool], threshold: Double = 0.5) throws(StatsError) -> Double
    {
        try confusion(scores: scores, labels: labels, threshold: threshold).accuracy
    }

    package static func precision(scores: [Double], labels: [Bool], threshold: Double = 0.5) throws(StatsError)
        -> Double
    {
        try confusion(scores: scores, labels: labels, threshold: threshold).precision
    }

    package static func recall(scores: [Double], labels: [Bool], threshold: Double = 0.5) throws(StatsError) -> Double {
        try confusion(scores: scores, labels: labels, threshold: threshold).recall
    }

    package static func f1(scores: [Double], labels: [Bool], threshold: Double = 0.5) throws(StatsError) -> Double {
        try confusion(scores: scores, labels: labels, threshold: threshold).f1
    }

    private static func check(_ scores: [Double], _ labels: [Bool]) throws(StatsError) {
        try StatsError.requireSameCount(scores.count, labels.count, "scores and labels")
        try StatsError.require(scores, atLeast: 1, "the scores")
    }

    private static func checkProbabilities(_ scores: [Double], _ labels: [Bool]) throws(StatsError) {
        try check(scores, labels)
        guard scores.allSatisfy({ $0 >= 0 && $0 <= 1 }) else {
            throw StatsError(.invalidArgument, "a score is no probability between 0 and 1")
        }
    }
}

/// How far predicted numbers are from what came.
package enum Regression {
    /// Root of the mean squared error.
    package static func rmse(predictions: [Double], targets: [Double]) throws(StatsError) -> Double {
        try check(predictions, targets)
        return (squares(predictions, targets) / Double(targets.count)).squareRoot()
    }

    /// Mean absolute error.
    package static func mae(predictions: [Double], targets: [Double]) throws(StatsError) -> Double {
        try check(predictions, targets)
        return zip(predictions, targets).reduce(0) { $0 + abs($1.0 - $1.1) } / Double(targets.count)
    }

    /// Share of the targets' variance that is explained; 1 is perfect, 0 as good as the mean, below worse.
    ///
    /// As in scikit-learn, targets that are all equal give 1 when they are met exactly and 0 else.
    package static func r2(predictions: [Double], targets: [Double]) throws(StatsError) -> Double {
        try check(predictions, targets)
        try StatsError.require(targets, atLeast: 2, "the targets")
        let residual = squares(predictions, targets)
        let total = try Descriptive.variance(targets) * Double(targets.count)
        if total == 0 { return residual == 0 ? 1 : 0 }
        return 1 - residual / total
    }

    private static func squares(_ predictions: [Double], _ targets: [Double]) -> Double {
        zip(predictions, targets).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    }

    private static func check(_ predictions: [Double], _ targets: [Double]) throws(StatsError) {
        try StatsError.requireSameCount(predictions.count, targets.count, "predictions and targets")
        try StatsError.require(predictions, atLeast: 1, "the predictions")
        try StatsError.require(targets, atLeast: 1, "the targets")
    }
}
