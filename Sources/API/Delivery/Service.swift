public import Manifests

/// A long-running program, or a model, that vagus keeps up and reachable by name.
public enum ServiceKind: Kind {
    public typealias Spec = ServiceSpec
    public typealias Status = ServiceStatus
    public static let name = "Service"
    public static let plural = "services"
    public static let summary = "A long-running program, or a model, that vagus keeps up, reachable by name."
}

public struct ServiceSpec: Manifest {
    public var environment: String?
    public var workload = WorkloadSpec()
    public var health = HealthSpec()
    public var route = RouteSpec()
    public var rollout = RolloutSpec()
    public var rollback = RollbackSpec()
    public var predictions = PredictionLogSpec()
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("environment", \.environment, "Environment it runs in."),
        .required("workload", \.workload, "What runs."),
        .optional("health", \.health, "How to tell that a copy is well."),
        .optional("route", \.route, "Where it is reached at the proxy."),
        .optional("rollout", \.rollout, "How a new revision takes over."),
        .optional("rollback", \.rollback, "How it goes back."),
        .optional("predictions", \.predictions, "What is kept of a model's answers."),
    ]
}

public struct WorkloadSpec: Manifest {
    public var command: [String] = []
    public var model: String?
    public var replicas = 1
    public var variables: Ordered<String> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("command", \.command, "Program and its arguments; it listens on $PORT of 127.0.0.1."),
        .optional(
            "model", \.model,
            "Model to serve: `name@3` or `name@alias`; or just `name`, which waits for a deploy step to choose a version."
        ),
        .optional("replicas", \.replicas, "Copies to keep up.", in: 0...100),
        .optional("variables", \.variables, "Environment variables."),
    ]
    public static func check(_ value: Self) -> [ManifestError] {
        if value.command.isEmpty == (value.model == nil) {
            return [
                ManifestError(
                    at: [], message: "a workload has either a command or a model",
                    hint: "Write `command: [./app, --port, \"$PORT\"]` or `model: name@alias`.")
            ]
        }
        return []
    }
}

public struct HealthSpec: Manifest {
    public var http: String?
    public var interval = TimeSpan.seconds(2)
    public var timeout = TimeSpan.seconds(2)
    public var healthy_after = 1
    public var unhealthy_after = 3
    public var deadline = TimeSpan.minutes(10)
    public var stop_grace = TimeSpan.seconds(10)
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional(
            "http", \.http,
            "Path asked for with GET; any 2xx is well. Absent: an open port is. Models answer /v2/health/ready."),
        .optional("interval", \.interval, "How often it is asked."),
        .optional("timeout", \.timeout, "How long it may take to answer."),
        .optional("healthy_after", \.healthy_after, "Good answers in a row before a copy gets traffic.", in: 1...100),
        .optional("unhealthy_after", \.unhealthy_after, "Bad answers in a row before it gets no more.", in: 1...100),
        .optional("deadline", \.deadline, "A rollout whose copies are not well after this long is aborted."),
        .optional("stop_grace", \.stop_grace, "Time between SIGTERM and SIGKILL."),
    ]
}

public struct RouteSpec: Manifest {
    public var hosts: [String] = []
    public var path: String?
    public var timeout = TimeSpan.seconds(30)
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("hosts", \.hosts, "Host names that lead to it."),
        .optional(
            "path", \.path,
            "Path prefix that leads to it, taken off before it is passed on; absent: /serving/NAME for a model, /services/NAME for a program."
        ),
        .optional("timeout", \.timeout, "How long the head of an answer may take."),
    ]
}

public struct RolloutSpec: Manifest {
    public enum Strategy: String, WireEnum { case canary, blue_green, rolling, recreate }
    public var strategy = Strategy.rolling
    public var steps: [RolloutStepSpec] = []
    public var analysis: Ordered<AnalysisSpec> = [:]
    /// Analyses that run all through the rollout.
    public var background: [String] = []
    public var auto_promote = true
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional(
            "strategy", \.strategy,
            "canary shifts traffic by steps; blue_green all at once after a preview; rolling copy by copy; recreate stops the old first."
        ),
        .optional("steps", \.steps, "Steps of a canary."),
        .optional("analysis", \.analysis, "What is measured, and how it is judged."),
        .optional("background", \.background, "Analyses that run all through the rollout and abort it when they fail."),
        .optional("auto_promote", \.auto_promote, "Whether blue_green switches by itself once the preview is well."),
    ]
    public static func check(_ value: Self) -> [ManifestError] {
        let known = value.analysis.keys
        var errors: [ManifestError] = []
        for (index, step) in value.steps.enumerated() {
            for name in step.analyze ?? [] where !known.contains(name) {
                errors.append(
                    ManifestError(
                        at: ["steps", "\(index)", "analyze"], message: "no analysis \"\(name)\"",
                        hint: suggestion(for: name, among: known, called: "analysis")))
            }
        }
        for name in value.background where !known.contains(name) {
            errors.append(
                ManifestError(
                    at: ["background"], message: "no analysis \"\(name)\"",
                    hint: suggestion(for: name, among: known, called: "analysis")))
        }
        return errors
    }
}

public struct RolloutStepSpec: Manifest {
    public var weight: Int?
    public var pause: PauseSpec?
    public var analyze: [String]?
    public init() {}
    public static let choices = ["weight", "pause", "analyze"]
    public static var noun: String { "rollout step" }
    public static let fields: [Field<Self>] = [
        .optional("weight", \.weight, "Share of the traffic for the new revision, in percent.", in: 0...100),
        .optional("pause", \.pause, "Waits: `{for: 5m}`, or `{}` until somebody promotes."),
        .optional("analyze", \.analyze, "Waits for these analyses; a failed one aborts."),
    ]
}

public struct PauseSpec: Manifest {
    public var `for`: TimeSpan?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("for", \.for, "How long; absent: until somebody promotes.")
    ]
}

public struct AnalysisSpec: Manifest {
    /// Measured by the proxy itself, exactly, per revision.
    public enum BuiltIn: String, WireEnum { case error_rate, latency_p50, latency_p95, latency_p99 }
    public enum NoData: String, WireEnum { case hold, pass, fail }
    public var built_in = BuiltIn.error_rate
    public var interval = TimeSpan.seconds(10)
    public var count: Int?
    public var judge = JudgeSpec()
    public var no_data = NoData.hold
    public var failure_limit = 0
    public var max_duration = TimeSpan.minutes(30)
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("built_in", \.built_in, "What is measured: exact counts and times of the proxy, per revision."),
        .optional("interval", \.interval, "Time between looks."),
        .optional("count", \.count, "Looks that must be good; absent: until the judge is sure.", in: 1...10_000),
        .optional("judge", \.judge, "How a look is judged."),
        .optional("no_data", \.no_data, "What too few requests mean."),
        .optional("failure_limit", \.failure_limit, "Bad looks that are forgiven.", in: 0...1000),
        .optional(
            "max_duration", \.max_duration,
            "After this long the analysis passes if it has its min_samples, and holds the rollout otherwise."),
    ]
}

public struct JudgeSpec: Manifest {
    public enum Method: String, WireEnum { case sequential, threshold }
    public var method = Method.sequential
    /// Sequential: how much worse than the stable revision is still accepted.
    public var max_increase = Share(0.2)
    public var alpha = 0.05
    public var min_samples = 100
    /// Threshold: `result < 0.01`, `result <= 250` (milliseconds for latency, fraction for error_rate).
    public var success: String?
    public var failure: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional(
            "method", \.method,
            "sequential compares with the stable revision and may look at any time; threshold takes fixed bounds."),
        .optional("max_increase", \.max_increase, "How much worse than the stable revision is accepted."),
        .optional("alpha", \.alpha, "Chance of a false alarm over the whole rollout.", in: 0.0001...0.5),
        .optional(
            "min_samples", \.min_samples, "Requests to the new revision before anything is said.", in: 1...1_000_000_000
        ),
        .optional("success", \.success, "Threshold: expression that a good look fulfils, e.g. `result < 0.01`."),
        .optional("failure", \.failure, "Threshold: expression that a bad look fulfils."),
    ]
}

public struct RollbackSpec: Manifest {
    public var automatic = true
    public var scale_down_delay = TimeSpan.seconds(30)
    public var keep_revisions = 10
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("automatic", \.automatic, "Whether a failed judgement aborts the rollout without asking."),
        .optional("scale_down_delay", \.scale_down_delay, "How long the copies that lost their traffic are kept."),
        .optional("keep_revisions", \.keep_revisions, "Revisions remembered for undo.", in: 1...1000),
    ]
}

public struct PredictionLogSpec: Manifest {
    public var sample = Share(1)
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("sample", \.sample, "Share of predictions kept for monitors.")
    ]
}
