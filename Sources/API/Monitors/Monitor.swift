public import Manifests

/// Watches a served model: the data it sees, the answers it gives, and how right they turn out to be.
public enum MonitorKind: Kind {
    public typealias Spec = MonitorSpec
    public typealias Status = MonitorStatus
    public static let name = "Monitor"
    public static let plural = "monitors"
    public static let summary =
        "Watches a served model: the data it sees, the answers it gives, how right they turn out to be."
}

public struct MonitorSpec: Manifest {
    public var service = ""
    public var model = ""
    public var window = WindowSpec()
    public var labels = LabelsSpec()
    public var checks = ChecksSpec()
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("service", \.service, "Service whose predictions it reads."),
        .required("model", \.model, "Model whose test rows are the reference: `name@champion`."),
        .optional("window", \.window, "How predictions are grouped by time."),
        .optional("labels", \.labels, "How the truth finds its prediction."),
        .optional("checks", \.checks, "What is looked at."),
    ]
}

public struct WindowSpec: Manifest {
    public enum Every: String, WireEnum { case hour, day, week, month, year }
    public var every = Every.day
    public var min_rows = 30
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("every", \.every, "Length of a window, by the time of the event, UTC."),
        .optional("min_rows", \.min_rows, "A smaller window says \"insufficient_data\".", in: 1...1_000_000_000),
    ]
}

public struct LabelsSpec: Manifest {
    public var coverage = 0.9
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional(
            "coverage", \.coverage, "Share of predictions with a label from which a window's performance counts.",
            in: 0...1)
    ]
}

public struct ChecksSpec: Manifest {
    public var drift = DriftSpec()
    public var prediction = DriftSpec()
    public var performance = PerformanceSpec()
    public var bias = MonitorBiasSpec()
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("drift", \.drift, "Drift of each feature against the reference."),
        .optional("prediction", \.prediction, "Drift of the model's scores."),
        .optional("performance", \.performance, "How right it was, once labels are there."),
        .optional("bias", \.bias, "Whether groups are treated alike."),
    ]
}

public struct DriftSpec: Manifest {
    /// Wasserstein distance over the reference's standard deviation for numbers, Jensen–Shannon distance (base 2) for categories.
    public var threshold = 0.1
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("threshold", \.threshold, "Effect from which it counts as drift.", in: 0...100)
    ]
}

public struct PerformanceSpec: Manifest {
    public var metrics: Ordered<BoundsSpec> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("metrics", \.metrics, "Bounds by metric: auc, log_loss, brier, ece, accuracy, f1.")
    ]
    public static func check(_ value: Self) -> [ManifestError] {
        let known = ["auc", "log_loss", "brier", "ece", "accuracy", "f1", "precision", "recall"]
        return value.metrics.keys.filter { !known.contains($0) }.map {
            ManifestError(
                at: ["metrics", $0], message: "no metric \"\($0)\"",
                hint: suggestion(for: $0, among: known, called: "metric"))
        }
    }
}

public struct BoundsSpec: Manifest {
    public var min: Double?
    public var max: Double?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("min", \.min, "Smallest good value."), .optional("max", \.max, "Largest good value."),
    ]
}

public struct MonitorBiasSpec: Manifest {
    public var by: [String] = []
    public var min_cell = 50
    public var threshold = 0.5
    public var max_tpr_gap: Double?
    public var min_selection_ratio: Double?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("by", \.by, "Columns of the prediction's row whose groups are compared."),
        .optional("min_cell", \.min_cell, "Groups smaller than this are left out.", in: 1...1_000_000),
        .optional("threshold", \.threshold, "Score from which the decision is yes.", in: 0...1),
        .optional("max_tpr_gap", \.max_tpr_gap, "Largest good gap between true positive rates."),
        .optional("min_selection_ratio", \.min_selection_ratio, "Smallest good ratio of selection rates."),
    ]
}

public struct MonitorStatus: Manifest {
    public var windows = 0
    public var predictions: Int64 = 0
    public var labelled: Int64 = 0
    public var breaches: [String] = []
    public var updated_at: Timestamp?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("windows", \.windows, "Windows seen."),
        .told("predictions", \.predictions, "Predictions read."),
        .told("labelled", \.labelled, "Of them with a label."),
        .told("breaches", \.breaches, "What is out of bounds in the newest whole window."),
        .told("updated_at", \.updated_at, "When it last looked."),
    ]
}

/// What a monitor found, window by window.
public struct MonitorReport: Manifest {
    public var project = "default"
    public var monitor = ""
    public var model = ""
    public var service = ""
    /// Rows of the reference.
    public var reference_rows = 0
    public var reference_metrics: Ordered<Double> = [:]
    public var drift_threshold = 0.1
    public var windows: [WindowReport] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("project", \.project, "Project."), .told("monitor", \.monitor, "Monitor."),
        .told("model", \.model, "Model version whose test rows are the reference."),
        .told("service", \.service, "Service."),
        .told("reference_rows", \.reference_rows, "Rows of the reference."),
        .told("reference_metrics", \.reference_metrics, "Metrics on the reference."),
        .told("drift_threshold", \.drift_threshold, "Effect from which it counts as drift."),
        .told("windows", \.windows, "Windows, oldest first."),
    ]
}

public struct WindowReport: Manifest {
    public enum State: String, WireEnum { case ok, drift, breach, insufficient_data }
    public var window = ""
    public var from = Timestamp.zero
    public var to = Timestamp.zero
    public var rows = 0
    public var labelled = 0
    public var coverage = 0.0
    public var state = State.insufficient_data
    public var features: [FeatureDrift] = []
    public var prediction: FeatureDrift?
    public var mean_score: Double?
    /// auc, log_loss, brier, ece, accuracy, f1 on labelled predictions; empty while immature.
    public var performance: Ordered<Double> = [:]
    /// Column → {tpr_gap, selection_ratio, …, groups: […], left_out: […]}.
    public var bias: Ordered<JSONValue> = [:]
    public var breaches: [String] = []
    public var restated = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("window", \.window, "Its name: 2018, 2018-03, 2018-03-07."),
        .told("from", \.from, "Its beginning."), .told("to", \.to, "Its end, not included."),
        .told("rows", \.rows, "Predictions in it."), .told("labelled", \.labelled, "Of them with a label."),
        .told("coverage", \.coverage, "Share with a label."), .told("state", \.state, "What it says."),
        .told("features", \.features, "Drift of each feature, largest first."),
        .told("prediction", \.prediction, "Drift of the scores."),
        .told("mean_score", \.mean_score, "Mean score."),
        .told("performance", \.performance, "Metrics on labelled predictions, once coverage is reached."),
        .told("bias", \.bias, "Fairness by column."),
        .told("breaches", \.breaches, "What is out of bounds, in words."),
        .told("restated", \.restated, "How often late labels changed it after it was first told."),
    ]
}

public struct FeatureDrift: Manifest {
    public var feature = ""
    /// wasserstein_norm or js.
    public var method = ""
    public var effect = 0.0
    public var drifted = false
    public var missing_reference = 0.0
    public var missing_current = 0.0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("feature", \.feature, "Column."), .told("method", \.method, "wasserstein_norm, or js."),
        .told("effect", \.effect, "How far from the reference."),
        .told("drifted", \.drifted, "Whether that is at least the threshold."),
        .told("missing_reference", \.missing_reference, "Share of missing values in the reference."),
        .told("missing_current", \.missing_current, "Share of missing values in the window."),
    ]
}

/// Every operation on monitors.
public enum Monitors {
    public static let report = Operation<Name, MonitorReport>(
        "monitors.report", .get, "/api/v1/projects/{project}/monitors/{name}/report", needs: .read,
        "Tells what a monitor found, window by window.")
    public static let label = Operation<LabelsInput, LabelsOutcome>(
        "monitors.label", .post, "/api/v1/projects/{project}/services/{name}/labels", needs: .run,
        "Brings the truth for predictions, by their ids; a later label replaces an earlier one.")
}

public struct LabelsInput: Manifest {
    public static let limit = 10_000
    public var project = "default"
    public var name = ""
    public var labels: [LabelInput] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Project."), .required("name", \.name, "Service that made the predictions."),
        .required("labels", \.labels, "Labels, at most 10,000 a request."),
    ]
}

public struct LabelInput: Manifest {
    public var id = ""
    public var label = 0.0
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("id", \.id, "Prediction id."), .required("label", \.label, "The truth: 0 or 1, or a number."),
    ]
}

public struct LabelsOutcome: Manifest {
    public var accepted = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("accepted", \.accepted, "How many were kept; those whose prediction is not known yet wait for it.")
    ]
}
