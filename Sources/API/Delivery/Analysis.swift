public import Manifests

/// What is measured of a new revision, how often, and what is enough.
public struct AnalysisSpec: Manifest {
    /// Measured by the proxy itself, exactly, per revision.
    public enum BuiltIn: String, WireEnum { case error_rate, latency_p50, latency_p95, latency_p99 }
    public enum NoData: String, WireEnum { case hold, pass, fail }
    public var built_in: BuiltIn?
    public var query: MetricQuerySpec?
    public var total: MetricQuerySpec?
    public var webhook: String?
    public var job: JobMeasureSpec?
    public var interval = TimeSpan.seconds(10)
    public var initial_delay = TimeSpan.seconds(0)
    public var count: Int?
    public var judge = JudgeSpec()
    public var no_data = NoData.hold
    public var failure_limit = 0
    public var inconclusive_limit = 0
    public var consecutive_error_limit = 4
    public var success_limit: Int?
    public var dry_run = false
    public var max_duration = TimeSpan.minutes(30)
    public init() {}
    public static let choices = ["built_in", "query", "webhook", "job"]
    public static let fields: [Field<Self>] = [
        .optional("built_in", \.built_in, "Exact counts and times of the proxy, per revision."),
        .optional(
            "query", \.query,
            "A query of metrics. Its words $rev, $service, $project and $window are replaced. A judge that compares asks it for both sides."
        ),
        .optional(
            "total", \.total,
            "With a query that counts what is bad since the analysis began: the query that counts all. The sequential judge needs it."
        ),
        .optional(
            "webhook", \.webhook,
            "URL that is asked by POST: 2xx is good, 4xx bad, all else an error; with {\"value\": 1.5} in the answer the threshold judge decides."
        ),
        .optional(
            "job", \.job,
            "Pipeline that is run for each look: one that succeeds is good, one that fails bad, any other end an error."
        ),
        .optional("interval", \.interval, "Time between looks."),
        .optional("initial_delay", \.initial_delay, "Time before the first look; 0s: one interval."),
        .optional("count", \.count, "Looks that are taken; absent: until the judge is sure.", in: 1...10_000),
        .optional("judge", \.judge, "How a look is judged."),
        .optional("no_data", \.no_data, "What too few requests, or a query without an answer, mean."),
        .optional("failure_limit", \.failure_limit, "Bad looks that are forgiven; -1: all.", in: -1...1000),
        .optional(
            "inconclusive_limit", \.inconclusive_limit, "Looks neither good nor bad that are forgiven.", in: -1...1000),
        .optional(
            "consecutive_error_limit", \.consecutive_error_limit,
            "Looks in a row that may fail because the source does not answer.", in: 0...1000),
        .optional("success_limit", \.success_limit, "Good looks in a row that are enough.", in: 1...10_000),
        .optional("dry_run", \.dry_run, "Measured and told, without a say."),
        .optional(
            "max_duration", \.max_duration,
            "After this long the analysis passes if it has its min_samples, and holds the rollout otherwise."),
    ]

    public static func check(_ value: Self) -> [ManifestError] {
        var errors: [ManifestError] = []
        func refuse(_ field: String, _ message: String, _ hint: String) {
            errors.append(ManifestError(at: [field], message: message, hint: hint))
        }
        if value.total != nil, value.query == nil {
            refuse("total", "only a query has a total", "Leave it out, or add the query that counts what is bad.")
        }
        if value.query != nil, value.judge.method == .sequential, value.total == nil {
            refuse(
                "total", "the sequential judge of a query needs the total that its count is a part of",
                "Add `total: { prometheus: … }`, or use `judge: { method: threshold, success: … }`.")
        }
        if value.webhook != nil, value.judge.method != .threshold {
            refuse("judge", "a webhook is judged by a threshold only", "Write `judge: { method: threshold }`.")
        }
        if let job = value.job {
            if value.judge.method != .threshold {
                refuse("judge", "a job is judged by a threshold only", "Write `judge: { method: threshold }`.")
            } else if (value.judge.success ?? value.judge.failure) != nil, job.output == nil {
                refuse("job", "the judge has bounds, and the job no output to hold against them", "Add `output: NAME`.")
            }
        }
        for (name, url) in [("webhook", value.webhook), ("query", value.query?.source), ("total", value.total?.source)]
        {
            guard let url, !url.hasPrefix("http://"), !url.hasPrefix("https://") else { continue }
            refuse(name, "\"\(url)\" is not a URL that can be asked", "Begin it with https:// or http://.")
        }
        return errors
    }
}

/// A pipeline whose runs are the looks of an analysis.
public struct JobMeasureSpec: Manifest {
    public var pipeline = ""
    public var parameters: Ordered<JSONValue> = [:]
    public var output: String?
    public init() {}
    public static var noun: String { "job of an analysis" }
    public static let fields: [Field<Self>] = [
        .required(
            "pipeline", \.pipeline,
            "Pipeline that is run; its expressions see ${{ event.analysis }}: service, revision, stable, weight and more."
        ),
        .optional("parameters", \.parameters, "Values of its parameters."),
        .optional("output", \.output, "Output of one of its jobs, a number, that the judge's bounds are for."),
    ]
    public static func shorthand(_ json: JSONValue) -> Self? {
        guard let pipeline = json.string, !pipeline.isEmpty else { return nil }
        var spec = Self()
        spec.pipeline = pipeline
        return spec
    }
}

public struct MetricQuerySpec: Manifest {
    public var prometheus = ""
    public var source: String?
    public init() {}
    public static var noun: String { "query" }
    public static let fields: [Field<Self>] = [
        .required("prometheus", \.prometheus, "PromQL with one series as its answer."),
        .optional("source", \.source, "URL of the Prometheus that is asked; absent: the store of vagus itself."),
    ]
}

public struct JudgeSpec: Manifest {
    public enum Method: String, WireEnum { case sequential, threshold, mann_whitney }
    public enum Against: String, WireEnum { case stable, baseline }
    public var method = Method.sequential
    public var against = Against.stable
    /// Sequential: how much worse than the stable revision is still accepted.
    public var max_increase = Share(0.2)
    public var alpha = 0.05
    public var min_samples = 100
    /// Threshold: `result < 0.01`, `result <= 250` (milliseconds for latency, fraction for error_rate).
    public var success: String?
    public var failure: String?
    public init() {}
    /// Whether a number is compared, so that an answer without one says nothing.
    public var isBounded: Bool { success != nil || failure != nil || method == .mann_whitney }
    public static let fields: [Field<Self>] = [
        .optional(
            "method", \.method,
            "sequential compares with the stable revision and may look at any time; threshold takes fixed bounds; mann_whitney compares the ranks of `count` looks, once, at the end."
        ),
        .optional("against", \.against, "With what it is compared: the stable revision, or the fresh baseline."),
        .optional("max_increase", \.max_increase, "How much worse than the stable revision is accepted."),
        .optional("alpha", \.alpha, "Chance of a false alarm over the whole rollout.", in: 0.0001...0.5),
        .optional(
            "min_samples", \.min_samples, "Requests to the new revision before anything is said.", in: 1...1_000_000_000
        ),
        .optional("success", \.success, "Threshold: expression that a good look fulfils, e.g. `result < 0.01`."),
        .optional("failure", \.failure, "Threshold: expression that a bad look fulfils."),
    ]
}

/// The judgements of a rollout, as programs read them.
public struct AnalysisReport: Manifest {
    public var project = "default"
    public var service = ""
    public var revision: Int?
    public var rollout: Int?
    public var runs: [AnalysisRun] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("project", \.project, "Its project."), .told("service", \.service, "The service."),
        .told("revision", \.revision, "Revision that was judged."),
        .told("rollout", \.rollout, "Number of the attempt: the newest, or the one asked for."),
        .told("runs", \.runs, "A run for each step that judges, and one for the background; oldest first."),
    ]
}

/// One run of some metrics: as bad as the worst of them.
public struct AnalysisRun: Manifest {
    public enum Phase: String, WireEnum { case pending, running, successful, failed, error, inconclusive }
    public var name = ""
    public var step: Int?
    public var phase = Phase.pending
    public var message = ""
    public var count = 0
    public var successful = 0
    public var failed = 0
    public var inconclusive = 0
    public var error = 0
    public var started_at = Timestamp.zero
    public var metrics: [MetricResult] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("name", \.name, "\"background\", or \"step N\"."),
        .told("step", \.step, "Step that it belongs to; null: it runs all through the rollout."),
        .told("phase", \.phase, "The worst of its metrics."),
        .told("message", \.message, "Why, in words."),
        .told("count", \.count, "Measurements of all its metrics, dry runs left out."),
        .told("successful", \.successful, "Of them good."), .told("failed", \.failed, "Of them bad."),
        .told("inconclusive", \.inconclusive, "Of them neither."),
        .told("error", \.error, "Of them without an answer."),
        .told("started_at", \.started_at, "When it began."), .told("metrics", \.metrics, "Its metrics."),
    ]
}

public struct MetricResult: Manifest {
    public var name = ""
    public var metric = ""
    public var judge = JudgeSpec.Method.sequential
    public var phase = AnalysisRun.Phase.pending
    public var message = ""
    public var dry_run = false
    public var alpha: Double?
    public var count = 0
    public var successful = 0
    public var failed = 0
    public var inconclusive = 0
    public var error = 0
    public var consecutive_error = 0
    public var consecutive_successful = 0
    public var measurements: [AnalysisLook] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("name", \.name, "Its name."), .told("metric", \.metric, "What is measured."),
        .told("judge", \.judge, "How it is judged."), .told("phase", \.phase, "What it says."),
        .told("message", \.message, "Why, in words."), .told("dry_run", \.dry_run, "Whether it has no say."),
        .told("alpha", \.alpha, "Its part of the chance of a false alarm, after the split over all judgements."),
        .told("count", \.count, "Measurements."), .told("successful", \.successful, "Of them good."),
        .told("failed", \.failed, "Of them bad."), .told("inconclusive", \.inconclusive, "Of them neither."),
        .told("error", \.error, "Of them without an answer."),
        .told("consecutive_error", \.consecutive_error, "Without an answer, in a row, up to now."),
        .told("consecutive_successful", \.consecutive_successful, "Good in a row, up to now."),
        .told("measurements", \.measurements, "The newest 200, oldest first."),
    ]
}
