public import Manifests

/// Every operation on log lines. They belong to the whole house: a token of one project may not ask.
public enum Logs {
    public static let search = Operation<LogQLQuery, LogAnswer>(
        "logs.search", .get, "/api/v1/logs/search", needs: .read,
        "Looks lines up by LogQL; for figures (`rate(…)`, `count_over_time(…)`) the answer has Prometheus's shape.")
    public static let tail = Operation<LogTailQuery, LogAnswer>(
        "logs.tail", .get, "/api/v1/logs/tail", needs: .read, wait: .seconds(20),
        "Waits for lines that come in after a place.")
    public static let labels = Operation<MetricLabelQuery, ItemList<LabelWord>>(
        "logs.labels", .get, "/api/v1/logs/labels", needs: .read, "Lists names of streams' labels.")
    public static let values = Operation<MetricValueQuery, ItemList<LabelWord>>(
        "logs.values", .get, "/api/v1/logs/labels/{label}/values", needs: .read, "Lists values of a streams' label.")
}

public struct LogQLQuery: Manifest {
    public enum Direction: String, WireEnum { case backward, forward }
    public var query = ""
    public var from: String?
    public var to: String?
    public var step: TimeSpan?
    public var limit = 100
    public var direction = Direction.backward
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("query", \.query, "LogQL: `{app=\"shop\"} |= \"error\"`."),
        .optional(
            "from", \.from, "First moment: RFC 3339, seconds since 1970, or `now-1h`; absent: an hour before the last."),
        .optional("to", \.to, "Last moment; absent: now."),
        .optional("step", \.step, "Distance of moments, for figures."),
        .optional("limit", \.limit, "Lines at most.", in: 1...5000),
        .optional("direction", \.direction, "Newest or oldest first."),
    ]
}

public struct LogTailQuery: Manifest {
    public var query = ""
    public var after: String?
    public var limit = 500
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("query", \.query, "LogQL that answers lines."),
        .optional("after", \.after, "The \"next\" of the answer before; absent: from now on."),
        .optional("limit", \.limit, "Lines at most.", in: 1...5000),
    ]
}

public struct LogAnswer: Manifest {
    public var lines: [LogLine] = []
    /// Give it as `after` to go on.
    public var next: String?
    /// Lines that went by too fast to be told.
    public var missed = 0
    public var resultType = "streams"
    /// Figures, in Prometheus's shape.
    public var result: JSONValue?
    public var seconds = 0.0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("lines", \.lines, "Lines."),
        .optional("next", \.next, "Where to go on."),
        .told("missed", \.missed, "Lines that went by too fast to be told."),
        .told("resultType", \.resultType, "streams, vector, matrix or scalar."),
        .optional("result", \.result, "Figures, as Prometheus has them."),
        .told("seconds", \.seconds, "How long it took."),
    ]
}

public struct LogLine: Manifest {
    public var at = Timestamp.zero
    /// The whole time, since several lines may share a microsecond.
    public var nanoseconds: Int64 = 0
    public var line = ""
    public var labels: Ordered<String> = [:]
    /// trace_id, span_id and others that the sender told beside the line.
    public var metadata: Ordered<String> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("at", \.at, "When."),
        .told("nanoseconds", \.nanoseconds, "When, in nanoseconds since 1970."),
        .told("line", \.line, "The text."),
        .told("labels", \.labels, "Labels of its stream, and those that the query found in the line."),
        .told("metadata", \.metadata, "What its sender told beside it: trace_id and others."),
    ]
}
