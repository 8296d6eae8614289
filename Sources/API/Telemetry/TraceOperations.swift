public import Manifests

/// Every operation on traces. They belong to the whole house: a token of one project may not ask.
public enum Traces {
    public static let search = Operation<TraceQuery, ItemList<TraceSummary>>(
        "traces.search", .get, "/api/v1/traces", needs: .read, "Looks traces up, newest first.")
    public static let get = Operation<TraceName, TraceDetail>(
        "traces.get", .get, "/api/v1/traces/{trace}", needs: .read, "Shows one trace with its spans and its log lines.")
    public static let services = Operation<TraceServiceQuery, ItemList<TraceService>>(
        "traces.services", .get, "/api/v1/trace-services", needs: .read,
        "Lists services that have spans, with their operations.")
    public static let graph = Operation<TraceGraphQuery, ItemList<ServiceCall>>(
        "traces.graph", .get, "/api/v1/service-graph", needs: .read,
        "Tells which service calls which, and how that goes.")
}

public struct TraceQuery: Manifest {
    public var service: String?
    public var operation: String?
    /// "http.status_code=500,error=true"
    public var tags: String?
    public var min_duration: TimeSpan?
    public var max_duration: TimeSpan?
    public var from: String?
    public var to: String?
    public var limit = 20
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("service", \.service, "Service that took part."),
        .optional("operation", \.operation, "Name of one of its spans."),
        .optional("tags", \.tags, "Attributes of one of its spans: `http.status_code=500,error=true`."),
        .optional("min_duration", \.min_duration, "No shorter."),
        .optional("max_duration", \.max_duration, "No longer."),
        .optional(
            "from", \.from, "First moment: RFC 3339, seconds since 1970, or `now-1h`; absent: an hour before the last."),
        .optional("to", \.to, "Last moment; absent: now."),
        .optional("limit", \.limit, "Traces at most.", in: 1...1500),
    ]
}

public struct TraceName: Manifest {
    public var trace = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("trace", \.trace, "Its id in hex, or the correlation of a run or request.")
    ]
}

public struct TraceSummary: Manifest {
    public var trace = ""
    public var service = ""
    public var operation = ""
    public var at = Timestamp.zero
    public var seconds = 0.0
    public var spans = 0
    public var errors = 0
    public var services: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("trace", \.trace, "Its id."),
        .told("service", \.service, "Service of its first span."),
        .told("operation", \.operation, "Name of its first span."),
        .told("at", \.at, "When it began."), .told("seconds", \.seconds, "How long it took."),
        .told("spans", \.spans, "Its spans."), .told("errors", \.errors, "Of them failed."),
        .told("services", \.services, "Services that took part."),
    ]
}

public struct TraceDetail: Manifest {
    public var trace = ""
    public var at = Timestamp.zero
    public var seconds = 0.0
    public var spans: [TraceSpan] = []
    public var lines: [LogLine] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("trace", \.trace, "Its id."),
        .told("at", \.at, "When it began."), .told("seconds", \.seconds, "How long it took."),
        .told("spans", \.spans, "Its spans: parents before children, else by their beginning."),
        .told("lines", \.lines, "Log lines that name it, oldest first."),
    ]
}

public struct TraceSpan: Manifest {
    public var span = ""
    public var parent: String?
    public var depth = 0
    public var service = ""
    public var name = ""
    public var kind = ""
    public var at = Timestamp.zero
    /// From the beginning of the trace.
    public var offset_seconds = 0.0
    public var seconds = 0.0
    public var is_error = false
    public var message: String?
    public var attributes: Ordered<String> = [:]
    public var events: [TraceEvent] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("span", \.span, "Its id."), .optional("parent", \.parent, "Id of the span that it is part of."),
        .told("depth", \.depth, "How deep it lies below the first."),
        .told("service", \.service, "Whose it is."), .told("name", \.name, "What was done."),
        .told("kind", \.kind, "internal, server, client, producer or consumer."),
        .told("at", \.at, "When it began."),
        .told("offset_seconds", \.offset_seconds, "How long after the trace's beginning."),
        .told("seconds", \.seconds, "How long it took."),
        .told("is_error", \.is_error, "Whether it failed."), .optional("message", \.message, "Why."),
        .told("attributes", \.attributes, "Its attributes, and those of its resource."),
        .told("events", \.events, "What happened in it."),
    ]
}

public struct TraceEvent: Manifest {
    public var at = Timestamp.zero
    public var name = ""
    public var attributes: Ordered<String> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("at", \.at, "When."), .told("name", \.name, "What."),
        .told("attributes", \.attributes, "Its attributes."),
    ]
}

public struct TraceServiceQuery: Manifest {
    public var service: String?
    public init() {}
    public static let fields: [Field<Self>] = [.optional("service", \.service, "Only this one.")]
}

public struct TraceService: Manifest {
    public var name = ""
    public var operations: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("name", \.name, "Its name."), .told("operations", \.operations, "Names of its spans."),
    ]
}

public struct TraceGraphQuery: Manifest {
    public var from: String?
    public var to: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("from", \.from, "First moment; absent: an hour before the last."),
        .optional("to", \.to, "Last moment; absent: now."),
    ]
}

public struct ServiceCall: Manifest {
    public var from = ""
    public var to = ""
    public var calls = 0
    public var errors = 0
    /// Mean of the callee's spans.
    public var mean_seconds: Double?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("from", \.from, "Who calls."), .told("to", \.to, "Who is called."),
        .told("calls", \.calls, "How often."), .told("errors", \.errors, "How often that failed."),
        .optional("mean_seconds", \.mean_seconds, "Mean time of a call."),
    ]
}
