import API
import Manifests
import Stats

/// How right scores were.
enum Performance {
    /// The metrics that have a value: none of them is filled in where it is not defined.
    ///
    /// A label of 1 is true, of 0 false; with any other number there are no classes to tell apart, and no metrics. A
    /// decision is yes from the threshold on.
    static func metrics(scores: [Double], labels: [Double], threshold: Double) -> Ordered<Double> {
        var metrics = Ordered<Double>()
        guard !scores.isEmpty, let truths = truths(labels) else { return metrics }
        metrics["auc"] = defined { () throws(StatsError) in try Classification.auc(scores: scores, labels: truths) }
        metrics["log_loss"] = defined { () throws(StatsError) in
            try Classification.logLoss(scores: scores, labels: truths)
        }
        metrics["brier"] = defined { () throws(StatsError) in try Classification.brier(scores: scores, labels: truths) }
        metrics["ece"] = defined { () throws(StatsError) in
            try Classification.expectedCalibrationError(scores: scores, labels: truths)
        }
        guard
            let counts = defined({ () throws(StatsError) in
                try Classification.confusion(scores: scores, labels: truths, threshold: threshold)
            })
        else { return metrics }
        metrics["accuracy"] = counts.accuracy
        let (hits, chosen) = (counts.truePositives, counts.truePositives + counts.falsePositives)
        let positives = hits + counts.falseNegatives
        if chosen + positives > 0 { metrics["f1"] = counts.f1 }
        if chosen > 0 { metrics["precision"] = counts.precision }
        if positives > 0 { metrics["recall"] = counts.recall }
        return metrics
    }

    /// The labels as truth values; nil when some is neither 0 nor 1.
    static func truths(_ labels: [Double]) -> [Bool]? {
        var truths: [Bool] = []
        truths.reserveCapacity(labels.count)
        for label in labels {
            guard label == 0 || label == 1 else { return nil }
            truths.append(label == 1)
        }
        return truths
    }

    /// The value, or nil where the statistic has none.
    static func defined<T>(_ value: () throws(StatsError) -> T) -> T? {
        do { return try value() } catch { return nil }
    }
}
