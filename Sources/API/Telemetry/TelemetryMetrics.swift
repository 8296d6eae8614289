public import Manifests

public struct MetricsSpec: Manifest {
    public var types: [MetricType]?
    public var interval: TimeSpan?
    public var storage: MetricStorageSpec?
    public var aggregation = MetricAggregationSpec()
    public var retention: MetricRetentionSpec?
    public var scrape: [ScrapeSpec] = []
    public var remote_write: [RemoteWriteSpec] = []
    public var source: MetricSourceSpec?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional(
            "types", \.types,
            "Types of metrics that are kept; others are dropped and counted, where their type is told. Absent: all."),
        .optional(
            "interval", \.interval, "How often targets are scraped, vagus itself too; absent: 15s.", in: 1...86_400),
        .optional("storage", \.storage, "How the store behaves."),
        .optional("aggregation", \.aggregation, "What is worked out from samples: recording rules, thinned copies."),
        .optional("retention", \.retention, "How long samples are kept."),
        .optional("scrape", \.scrape, "Targets whose metrics are fetched."),
        .optional("remote_write", \.remote_write, "Other stores that get every sample too."),
        .optional(
            "source", \.source,
            "Whom canaries, monitors and the operations on metrics ask instead of the own store."),
    ]
}

public enum MetricType: String, WireEnum { case counter, gauge, histogram, native_histogram, summary }

public struct MetricStorageSpec: Manifest {
    public var max_size: ByteSize?
    public var max_series = 10_000_000
    public var out_of_order = TimeSpan.seconds(0)
    public var sync = false
    public var exemplars = 100_000
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("max_size", \.max_size, "Oldest samples go when all blocks together are larger; absent: no bound."),
        .optional("max_series", \.max_series, "Series written to at once; more are refused.", in: 1...100_000_000),
        .optional("out_of_order", \.out_of_order, "How much older than the newest a sample may be and still go in."),
        .optional(
            "sync", \.sync,
            "Whether a sample is acknowledged only when the disk has it; else the kernel: a crash of vagus loses nothing, a power cut the last second."
        ),
        .optional("exemplars", \.exemplars, "Exemplars kept.", in: 0...10_000_000),
    ]
}

public struct MetricRetentionSpec: Manifest {
    public var keep = TimeSpan.days(15)
    public var by: [SelectorRetention] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("keep", \.keep, "How long samples are kept; 0 for ever."),
        .optional("by", \.by, "Series that are kept otherwise, longer or shorter: the first that matches counts."),
    ]
    public static func shorthand(_ json: JSONValue) -> Self? {
        guard let text = json.string, let keep = TimeSpan(text) else { return nil }
        var spec = Self()
        spec.keep = keep
        return spec
    }
}

public struct SelectorRetention: Manifest {
    public var match = ""
    public var keep = TimeSpan.days(15)
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("match", \.match, "Which series: `{job=\"debug\"}`."),
        .required("keep", \.keep, "How long; 0 for ever."),
    ]
}

public struct MetricAggregationSpec: Manifest {
    public var groups: [RuleGroupSpec] = []
    public var rule_files: [JSONValue] = []
    public var downsample: DownsampleSpec?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("groups", \.groups, "Recording rules, as in a rule file of Prometheus."),
        .optional(
            "rule_files", \.rule_files,
            "Rule files of Prometheus: each its text (`groups: …`), or its content as a map."),
        .optional("downsample", \.downsample, "Thinned copies for wide graphs."),
    ]
}

/// One group of a rule file.
public struct RuleGroupSpec: Manifest {
    public var name = ""
    public var interval: TimeSpan?
    public var query_offset: TimeSpan?
    public var limit = 0
    public var labels: Ordered<String> = [:]
    public var rules: [RuleSpec] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "Its name."),
        .optional("interval", \.interval, "How often its rules are worked out, one after the other; absent: 1m."),
        .optional("query_offset", \.query_offset, "How far back from now they are worked out."),
        .optional("limit", \.limit, "Series that a rule may give; more are an error. 0: no limit.", in: 0...10_000_000),
        .optional("labels", \.labels, "Labels of all its rules."),
        .optional("rules", \.rules, "Its rules."),
    ]
}

/// One rule. Alerting rules are read, and left to the room of alerts.
public struct RuleSpec: Manifest {
    public var record: String?
    public var alert: String?
    public var expr = ""
    public var labels: Ordered<String> = [:]
    public var annotations: Ordered<String> = [:]
    public var `for`: TimeSpan?
    public var keep_firing_for: TimeSpan?
    public init() {}
    public static let choices = ["record", "alert"]
    public static let fields: [Field<Self>] = [
        .optional("record", \.record, "Name of the metric that it keeps."),
        .optional("alert", \.alert, "Name of an alert; not worked out here."),
        .required("expr", \.expr, "PromQL."),
        .optional("labels", \.labels, "Labels that its series get."),
        .optional("annotations", \.annotations, "Texts of an alert."),
        .optional("for", \.for, "How long an alert's condition must hold."),
        .optional("keep_firing_for", \.keep_firing_for, "How long an alert goes on afterwards."),
    ]
}

public struct DownsampleSpec: Manifest {
    public var after = TimeSpan.hours(40)
    public var keep_5m = TimeSpan.days(90)
    public var keep_1h = TimeSpan.days(730)
    public var enabled = true
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("enabled", \.enabled, "Whether copies are made at all."),
        .optional("after", \.after, "Age at which samples get a copy of one in 5 m and one in 1 h."),
        .optional("keep_5m", \.keep_5m, "How long the 5 m copy is kept; 0 for ever."),
        .optional("keep_1h", \.keep_1h, "How long the 1 h copy is kept; 0 for ever."),
    ]
}

/// Another server that is spoken to.
public struct EndpointSpec: Manifest {
    public var url = ""
    public var token_secret: String?
    public var username: String?
    public var headers: Ordered<String> = [:]
    public var timeout = TimeSpan.seconds(30)
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("url", \.url, "Its address."),
        .optional(
            "token_secret", \.token_secret,
            "Secret of the manifest's project that is sent: as bearer token, or as password when there is a user name."),
        .optional("username", \.username, "User name for basic authentication."),
        .optional("headers", \.headers, "Headers that are sent besides."),
        .optional("timeout", \.timeout, "Longest time of one request.", in: 0.1...600),
    ]
    public static func shorthand(_ json: JSONValue) -> Self? {
        guard let url = json.string else { return nil }
        var remote = Self()
        remote.url = url
        return remote
    }
    public static func check(_ value: Self) -> [ManifestError] {
        value.url.hasPrefix("http://") || value.url.hasPrefix("https://")
            ? []
            : [
                ManifestError(
                    at: ["url"], message: "\"\(value.url)\" is not an address",
                    hint: "Write it like http://prometheus:9090/api/v1/write.")
            ]
    }
}

public struct RemoteWriteSpec: Manifest {
    public var name = ""
    public var to = EndpointSpec()
    public var relabel: [RelabelSpec] = []
    public var queue = 500_000
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "Its name, in the figures about it."),
        .required("to", \.to, "Where: the address of a remote write receiver."),
        .optional("relabel", \.relabel, "What becomes of a series' labels first; it may be dropped."),
        .optional(
            "queue", \.queue, "Samples that wait at most while the other does not answer; the oldest are dropped then.",
            in: 2000...50_000_000),
    ]
}

public struct MetricSourceSpec: Manifest {
    public var prometheus = EndpointSpec()
    public init() {}
    public static let fields: [Field<Self>] = [
        .required(
            "prometheus", \.prometheus,
            "Another Prometheus, or what answers like one: `http://prometheus:9090`.")
    ]
}
