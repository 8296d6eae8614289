public import Manifests

/// Every operation on metrics. They belong to the whole house: a token of one project may not ask.
public enum Metrics {
    public static let query = Operation<MetricQuery, MetricAnswer>(
        "metrics.query", .get, "/api/v1/metrics/query", needs: .read,
        "Works out PromQL at one moment; the answer has the shape of Prometheus's.")
    public static let queryRange = Operation<MetricRangeQuery, MetricAnswer>(
        "metrics.query-range", .get, "/api/v1/metrics/query_range", needs: .read,
        "Works out PromQL at moments one step apart; the answer has the shape of Prometheus's.")
    public static let names = Operation<MetricNameQuery, ItemList<MetricName>>(
        "metrics.names", .get, "/api/v1/metrics/names", needs: .read, "Lists metrics, with what they are.")
    public static let labels = Operation<MetricLabelQuery, ItemList<LabelWord>>(
        "metrics.labels", .get, "/api/v1/metrics/labels", needs: .read, "Lists names of labels.")
    public static let values = Operation<MetricValueQuery, ItemList<LabelWord>>(
        "metrics.values", .get, "/api/v1/metrics/labels/{label}/values", needs: .read, "Lists a label's values.")
    public static let functions = Operation<Nothing, ItemList<FunctionInfo>>(
        "metrics.functions", .get, "/api/v1/metrics/functions", needs: .read,
        "Lists the functions and aggregations of PromQL, with what they do.")
    public static let parse = Operation<ParseQuery, ParseAnswer>(
        "metrics.parse", .get, "/api/v1/metrics/parse", needs: .read,
        "Reads PromQL without working it out: what is wrong with it and where, and how it is written well.")
}

/// A moment is written as RFC 3339, as seconds since 1970, or from now: `now`, `now-1h`.
public struct MetricQuery: Manifest {
    public var query = ""
    public var time: String?
    public var limit = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("query", \.query, "PromQL."),
        .optional("time", \.time, "When: RFC 3339, seconds since 1970, or `now-1h`; absent: now."),
        .optional("limit", \.limit, "Series at most; 0: all.", in: 0...1_000_000),
    ]
}

public struct MetricRangeQuery: Manifest {
    public var query = ""
    public var from: String?
    public var to: String?
    public var step: TimeSpan?
    public var limit = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("query", \.query, "PromQL."),
        .optional(
            "from", \.from, "First moment: RFC 3339, seconds since 1970, or `now-1h`; absent: an hour before the last."),
        .optional("to", \.to, "Last moment; absent: now."),
        .optional("step", \.step, "Distance of moments; absent: a 250th of the whole, 1s at least."),
        .optional("limit", \.limit, "Series at most; 0: all.", in: 0...1_000_000),
    ]
}

/// What Prometheus answers as `data`, with its remarks.
public struct MetricAnswer: Manifest {
    public var resultType = ""
    public var result: JSONValue = .null
    public var warnings: [String] = []
    public var infos: [String] = []
    /// Series that `limit` left out.
    public var left_out = 0
    /// How the range was walked, for range queries.
    public var from: Timestamp?
    public var to: Timestamp?
    public var step: TimeSpan?
    public var seconds = 0.0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("resultType", \.resultType, "vector, matrix, scalar or string."),
        .told(
            "result", \.result,
            "As Prometheus has it: `[{metric: {…}, value: [SECONDS, \"1\"]}]`, with `values` for a matrix, `histogram`(`s`) for histograms."
        ),
        .told("warnings", \.warnings, "What is doubtful about the answer."),
        .told("infos", \.infos, "What may be of interest about it."),
        .told("left_out", \.left_out, "Series over the limit."),
        .optional("from", \.from, "First moment."), .optional("to", \.to, "Last moment."),
        .optional("step", \.step, "Distance of moments."),
        .told("seconds", \.seconds, "How long it took."),
    ]
}

public struct MetricNameQuery: Manifest {
    public var search: String?
    public var limit = 1000
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("search", \.search, "Only names in which this stands."),
        .optional("limit", \.limit, "At most this many.", in: 1...100_000),
    ]
}

public struct MetricName: Manifest {
    public var name = ""
    public var type = "unknown"
    public var help = ""
    public var unit = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("name", \.name, "Its name."),
        .told("type", \.type, "counter, gauge, histogram, summary, … or unknown."),
        .told("help", \.help, "What it is, in its exporter's words."),
        .told("unit", \.unit, "Its unit, if told."),
    ]
}

public struct MetricLabelQuery: Manifest {
    public var match: String?
    public var from: String?
    public var to: String?
    public var limit = 1000
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("match", \.match, "Only of these series: `up{job=\"api\"}`."),
        .optional("from", \.from, "Beginning of the time looked at; absent: six hours ago."),
        .optional("to", \.to, "Its end; absent: now."),
        .optional("limit", \.limit, "At most this many.", in: 1...100_000),
    ]
}

public struct MetricValueQuery: Manifest {
    public var label = ""
    public var match: String?
    public var search: String?
    public var from: String?
    public var to: String?
    public var limit = 1000
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("label", \.label, "Name of the label."),
        .optional("match", \.match, "Only of these series: `up{job=\"api\"}`."),
        .optional("search", \.search, "Only values in which this stands."),
        .optional("from", \.from, "Beginning of the time looked at; absent: six hours ago."),
        .optional("to", \.to, "Its end; absent: now."),
        .optional("limit", \.limit, "At most this many.", in: 1...100_000),
    ]
}

public struct LabelWord: Manifest {
    public var value = ""
    public init() {}
    public init(_ value: String) { self.value = value }
    public static let fields: [Field<Self>] = [.told("value", \.value, "The name or value.")]
}

public struct FunctionInfo: Manifest {
    public enum Sort: String, WireEnum { case function, aggregation }
    public var name = ""
    public var sort = Sort.function
    public var signature = ""
    public var summary = ""
    public var is_experimental = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("name", \.name, "Its name."),
        .told("sort", \.sort, "Function, or aggregation."),
        .told("signature", \.signature, "What it takes and gives: `rate(range vector) instant vector`."),
        .told("summary", \.summary, "What it does."),
        .told("is_experimental", \.is_experimental, "Whether Prometheus has it behind a flag."),
    ]
}

public struct ParseQuery: Manifest {
    public var query = ""
    public init() {}
    public static let fields: [Field<Self>] = [.required("query", \.query, "PromQL.")]
}

public struct ParseAnswer: Manifest {
    public var ok = true
    public var type: String?
    public var pretty: String?
    public var metrics: [String] = []
    public var message: String?
    public var line: Int?
    public var column: Int?
    /// Bytes of the text that the message is about.
    public var start: Int?
    public var end: Int?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("ok", \.ok, "Whether it is PromQL."),
        .optional("type", \.type, "What it gives: scalar, vector, matrix, string."),
        .optional("pretty", \.pretty, "The same, written well."),
        .told("metrics", \.metrics, "Metrics that it reads."),
        .optional("message", \.message, "What is wrong."),
        .optional("line", \.line, "Line of the fault, from 1."), .optional("column", \.column, "Column, from 1."),
        .optional("start", \.start, "First byte of what is wrong, from 0."),
        .optional("end", \.end, "Byte behind it."),
    ]
}
