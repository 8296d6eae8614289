public import Manifests

/// Operations on the store of telemetry itself.
public enum Telemetry {
    public static let status = Operation<TelemetryStatusQuery, TelemetryStatus>(
        "telemetry.status", .get, "/api/v1/telemetry", needs: .read,
        "Tells what the store holds, what is scraped, which rules are kept, and who is in the way.")
    public static let deleteSeries = Operation<DeleteSeriesInput, DeleteSeriesOutcome>(
        "telemetry.delete-series", .post, "/api/v1/telemetry/delete_series", needs: .admin,
        "Deletes samples of series, for good.")
    public static let snapshot = Operation<Nothing, SnapshotOutcome>(
        "telemetry.snapshot", .post, "/api/v1/telemetry/snapshot", needs: .admin,
        "Makes a copy of all metrics as they are now, in the data folder.")
}

public struct TelemetryStatusQuery: Manifest {
    public var top = 10
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("top", \.top, "Length of the lists of the largest.", in: 1...1000)
    ]
}

public struct TelemetryStatus: Manifest {
    public var metrics = MetricStoreStatus()
    public var logs = LogStoreStatus()
    public var traces = TraceStoreStatus()
    public var targets: [ScrapeTarget] = []
    public var rules: [RuleStatus] = []
    public var remotes: [RemoteStatus] = []
    /// What the ingest doors refused or dropped, by reason.
    public var dropped: Ordered<Int64> = [:]
    public var work = WorkStatus()
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("metrics", \.metrics, "The store of samples."), .told("logs", \.logs, "The store of lines."),
        .told("traces", \.traces, "The store of spans."),
        .told("targets", \.targets, "What is scraped."), .told("rules", \.rules, "What is worked out again and again."),
        .told("remotes", \.remotes, "Who else is sent to."),
        .told("dropped", \.dropped, "What was refused or dropped since the start, by reason."),
        .told("work", \.work, "What is being worked on."),
    ]
}

public struct MetricStoreStatus: Manifest {
    public var series = 0
    public var samples_in_memory = 0
    public var blocks = 0
    public var samples_in_blocks = 0
    public var bytes_of_blocks = 0
    public var bytes_of_log = 0
    public var oldest: Timestamp?
    public var newest: Timestamp?
    public var top_metrics: [NamedCount] = []
    public var top_labels: [NamedCount] = []
    public var top_pairs: [NamedCount] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("series", \.series, "Series written to."),
        .told("samples_in_memory", \.samples_in_memory, "Samples in memory."),
        .told("blocks", \.blocks, "Blocks on disk."),
        .told("samples_in_blocks", \.samples_in_blocks, "Samples in them."),
        .told("bytes_of_blocks", \.bytes_of_blocks, "Bytes of them."),
        .told("bytes_of_log", \.bytes_of_log, "Bytes of the write-ahead log."),
        .optional("oldest", \.oldest, "Oldest sample in memory."), .optional("newest", \.newest, "Newest sample."),
        .told("top_metrics", \.top_metrics, "Metrics with the most series."),
        .told("top_labels", \.top_labels, "Labels with the most values."),
        .told("top_pairs", \.top_pairs, "Labels and values with the most series."),
    ]
}

public struct NamedCount: Manifest {
    public var name = ""
    public var count = 0
    public init() {}
    public init(_ name: String, _ count: Int) { (self.name, self.count) = (name, count) }
    public static let fields: [Field<Self>] = [.told("name", \.name, "Name."), .told("count", \.count, "How many.")]
}

public struct LogStoreStatus: Manifest {
    public var streams = 0
    public var lines = 0
    public var bytes = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("streams", \.streams, "Streams."), .told("lines", \.lines, "Lines."),
        .told("bytes", \.bytes, "Bytes on disk."),
    ]
}

public struct TraceStoreStatus: Manifest {
    public var spans = 0
    public var bytes = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("spans", \.spans, "Spans."), .told("bytes", \.bytes, "Bytes on disk."),
    ]
}

public struct ScrapeTarget: Manifest {
    public enum Health: String, WireEnum { case unknown, up, down }
    public var job = ""
    public var url = ""
    public var labels: Ordered<String> = [:]
    public var health = Health.unknown
    public var last_at: Timestamp?
    public var last_seconds: Double?
    public var samples = 0
    public var error: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("job", \.job, "Its job."), .told("url", \.url, "What is fetched."),
        .told("labels", \.labels, "Its labels."), .told("health", \.health, "How the last scrape went."),
        .optional("last_at", \.last_at, "When that was."),
        .optional("last_seconds", \.last_seconds, "How long it took."),
        .told("samples", \.samples, "Samples of the last scrape."), .optional("error", \.error, "Why it failed."),
    ]
}

public struct RuleStatus: Manifest {
    public var group = ""
    public var name = ""
    public var query = ""
    public var every = TimeSpan.minutes(1)
    public var last_at: Timestamp?
    public var last_seconds: Double?
    public var series = 0
    public var error: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("group", \.group, "Its group; of an aggregation of lines \"logging\"."),
        .told("name", \.name, "Metric that it keeps."),
        .told("query", \.query, "What is worked out."), .told("every", \.every, "How often."),
        .optional("last_at", \.last_at, "When last."), .optional("last_seconds", \.last_seconds, "How long that took."),
        .told("series", \.series, "Series that it gave."), .optional("error", \.error, "Why it failed."),
    ]
}

public struct RemoteStatus: Manifest {
    public var name = ""
    public var url = ""
    public var waiting = 0
    public var sent: Int64 = 0
    public var dropped: Int64 = 0
    public var error: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("name", \.name, "Its name."), .told("url", \.url, "Where."),
        .told("waiting", \.waiting, "Samples or lines that wait."),
        .told("sent", \.sent, "Sent since the start."), .told("dropped", \.dropped, "Dropped since the start."),
        .optional("error", \.error, "Why the last attempt failed."),
    ]
}

public struct WorkStatus: Manifest {
    public var running = 0
    public var waiting = 0
    public var refused: Int64 = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("running", \.running, "Requests being worked on."), .told("waiting", \.waiting, "Requests that wait."),
        .told("refused", \.refused, "Requests turned away with 429 since the start."),
    ]
}

public struct DeleteSeriesInput: Manifest {
    public var match: [String] = []
    public var from: String?
    public var to: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("match", \.match, "Which series: `{job=\"old\"}`; any of them."),
        .optional("from", \.from, "Samples from this moment on; absent: all."),
        .optional("to", \.to, "Samples up to this moment; absent: all."),
    ]
}

public struct DeleteSeriesOutcome: Manifest {
    public var series = 0
    public init() {}
    public static let fields: [Field<Self>] = [.told("series", \.series, "Series that samples were deleted of.")]
}

public struct SnapshotOutcome: Manifest {
    public var name = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("name", \.name, "Its folder, in the data folder under telemetry/snapshots.")
    ]
}

/// Operations on dashboards beyond those of every declared thing.
public enum Dashboards {
    public static let list = Operation<DashboardQuery, ItemList<DashboardInfo>>(
        "dashboards.list", .get, "/api/v1/projects/{project}/dashboards", needs: .read,
        "Lists dashboards: those that are declared, and those that vagus brings.")
    public static let get = Operation<Name, DashboardView>(
        "dashboards.get", .get, "/api/v1/projects/{project}/dashboards/{name}", needs: .read,
        "Shows one dashboard, declared or brought.")
    public static let importGrafana = Operation<GrafanaInput, GrafanaOutcome>(
        "dashboards.import-grafana", .post, "/api/v1/projects/{project}/dashboards/import", needs: .read,
        "Turns a dashboard of Grafana into a manifest, and tells what was not taken. Nothing is changed.")
}

public struct DashboardQuery: Manifest {
    public var project = "default"
    public init() {}
    public static let fields: [Field<Self>] = [.optional("project", \.project, "Project to look in.")]
}

public struct DashboardInfo: Manifest {
    public var name = ""
    public var title = ""
    public var description: String?
    public var tags: [String] = []
    /// Brought by vagus rather than declared.
    public var is_stock = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("name", \.name, "Its name."), .told("title", \.title, "What stands above it."),
        .optional("description", \.description, "What it is for."), .told("tags", \.tags, "Words to find it by."),
        .told("is_stock", \.is_stock, "Whether vagus brings it."),
    ]
}

public struct DashboardView: Manifest {
    public var name = ""
    public var is_stock = false
    public var spec = DashboardSpec()
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("name", \.name, "Its name."), .told("is_stock", \.is_stock, "Whether vagus brings it."),
        .told("spec", \.spec, "What it shows."),
    ]
}

public struct GrafanaInput: Manifest {
    public var project = "default"
    public var name: String?
    public var dashboard: JSONValue = .null
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Project of the manifest."),
        .optional("name", \.name, "Its name; absent: made of the title."),
        .required("dashboard", \.dashboard, "The JSON that Grafana exports."),
    ]
}

public struct GrafanaOutcome: Manifest {
    public var manifest: JSONValue = [:]
    public var left_out: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("manifest", \.manifest, "The manifest of a Dashboard, to be applied."),
        .told("left_out", \.left_out, "What was not taken, one line each."),
    ]
}
