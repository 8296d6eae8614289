public import Manifests

/// What is measured, logged and traced, from where, how long it is kept and where else it goes.
public enum TelemetryKind: Kind {
    public typealias Spec = TelemetrySpec
    public typealias Status = NoStatus
    public static let name = "Telemetry"
    public static let plural = "telemetries"
    public static let summary =
        "What is measured, logged and traced: what is scraped, which rules are kept, how long, and where else it goes."
}

/// All Telemetry manifests of a house fill one store. Scrape jobs, rules, aggregations and destinations of several add up;
/// what there can be only one of (retention, storage, levels, types, …) may stand in one manifest only.
public struct TelemetrySpec: Manifest {
    public var logging = LoggingSpec()
    public var metrics = MetricsSpec()
    public var tracing = TracingSpec()
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("logging", \.logging, "Log lines."),
        .optional("metrics", \.metrics, "Metrics."),
        .optional("tracing", \.tracing, "Traces."),
    ]

    /// Keys of which the house has one value, and that this manifest sets.
    public var onlyOnce: [String] {
        var keys: [String] = []
        if logging.levels != nil { keys.append("logging.levels") }
        if logging.formats != nil { keys.append("logging.formats") }
        if logging.retention != nil { keys.append("logging.retention") }
        if metrics.types != nil { keys.append("metrics.types") }
        if metrics.interval != nil { keys.append("metrics.interval") }
        if metrics.storage != nil { keys.append("metrics.storage") }
        if metrics.retention != nil { keys.append("metrics.retention") }
        if metrics.source != nil { keys.append("metrics.source") }
        if metrics.aggregation.downsample != nil { keys.append("metrics.aggregation.downsample") }
        if tracing.retention != nil { keys.append("tracing.retention") }
        if tracing.sampling != nil { keys.append("tracing.sampling") }
        if tracing.requests != nil { keys.append("tracing.requests") }
        return keys
    }
}

// MARK: Logs

public struct LoggingSpec: Manifest {
    public var levels: [LogLevelWord]?
    public var formats: [LogFormat]?
    public var destinations: [LogDestination] = []
    public var retention: TimeSpan?
    public var aggregation: [LogAggregation] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional(
            "levels", \.levels,
            "Levels that are kept; lines of other levels are dropped and counted. Absent: all. Lines whose level is not told are kept."
        ),
        .optional(
            "formats", \.formats,
            "In which formats a line's own level and trace id are looked for, when its sender did not tell them. Absent: all."
        ),
        .optional(
            "destinations", \.destinations, "Where lines go. Absent: the store alone."),
        .optional("retention", \.retention, "How long lines are kept; absent: 30d."),
        .optional("aggregation", \.aggregation, "Figures that are counted from lines again and again, as metrics."),
    ]
}

public enum LogLevelWord: String, WireEnum { case trace, debug, info, warning, error, fatal }

public enum LogFormat: String, WireEnum { case json, logfmt, plain }

/// One place that lines go to.
public struct LogDestination: Manifest {
    public var store: Bool?
    public var loki: EndpointSpec?
    public var file: LogFileSpec?
    public init() {}
    public static let choices = ["store", "loki", "file"]
    public static let fields: [Field<Self>] = [
        .optional("store", \.store, "The own store; `store: true`."),
        .optional("loki", \.loki, "Another Loki, by its push API: `loki: { url: … }`."),
        .optional("file", \.file, "A file of lines as JSON, in the data folder under telemetry/export."),
    ]
}

public struct LogFileSpec: Manifest {
    public var name = ""
    public var max_size = ByteSize(bytes: 64 << 20)
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "Its name: `app.jsonl`."),
        .optional("max_size", \.max_size, "Size at which it is put aside as NAME.1, replacing the one before."),
    ]
    public static func shorthand(_ json: JSONValue) -> Self? {
        guard let name = json.string else { return nil }
        var file = Self()
        file.name = name
        return file
    }
    public static func check(_ value: Self) -> [ManifestError] {
        let isName =
            !value.name.isEmpty && !value.name.hasPrefix(".") && value.name.utf8.count <= 100
            && value.name.utf8.allSatisfy {
                (0x61...0x7A).contains($0 | 0x20) || (0x30...0x39).contains($0) || [0x2D, 0x2E, 0x5F].contains($0)
            }
        return isName
            ? []
            : [
                ManifestError(
                    at: ["name"], message: "\"\(value.name)\" cannot be a file's name",
                    hint: "Use letters, digits, \"-\", \"_\" and \".\", and no folder.")
            ]
    }
}

/// A metric that is counted from lines.
public struct LogAggregation: Manifest {
    public var name = ""
    public var query = ""
    public var every = TimeSpan.minutes(1)
    public var labels: Ordered<String> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "Name of the metric: `app:errors:count1m`."),
        .required(
            "query", \.query,
            "LogQL that answers figures: `sum by (app) (count_over_time({app=~\".+\"} |= \"error\" [1m]))`."),
        .optional("every", \.every, "How often it is counted.", in: 1...86_400),
        .optional("labels", \.labels, "Labels that the metric gets besides."),
    ]
}

// MARK: Traces

public struct TracingSpec: Manifest {
    public var retention: TimeSpan?
    public var sampling: Share?
    public var span_metrics = true
    public var requests: TracedRequestsSpec?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("retention", \.retention, "How long spans are kept; absent: 14d."),
        .optional(
            "sampling", \.sampling,
            "Share of traces that are kept, chosen by trace id so that a trace is kept whole or not at all; absent: all."
        ),
        .optional(
            "span_metrics", \.span_metrics,
            "Whether calls, errors and durations of spans are counted as metrics: traces_spanmetrics_…"),
        .optional(
            "requests", \.requests,
            "Which requests through the proxy and predictions become a span and a line each; absent: all, at most ten a second and processor."
        ),
    ]
}

/// Which requests to services are told one by one. Those that failed or were slow always are.
public struct TracedRequestsSpec: Manifest {
    public var ratio = Share(1)
    public var slow = TimeSpan.seconds(1)
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional(
            "ratio", \.ratio,
            "Share of the traces whose requests are told, chosen by trace id; of these at most ten a second and processor."
        ),
        .optional("slow", \.slow, "Requests that take this long are told whatever the share.", in: 0.001...3600),
    ]
    public static func check(_ value: Self) -> [ManifestError] {
        value.ratio.fraction <= 1 ? [] : [ManifestError(at: ["ratio"], message: "a share of more than 100%", hint: nil)]
    }
}
