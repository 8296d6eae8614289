public import Manifests

/// What a proxy says and asks.
public enum Proxies {
    /// Waits up to 20 s for a routing table newer than the one the proxy has.
    public static let table = Operation<TableQuery, RoutingTable>(
        "proxies.table", .get, "/api/v1/proxies/{name}/table", needs: .agent, wait: .seconds(20),
        "Waits for a newer routing table.")
    public static let report = Operation<CountersInput, Nothing>(
        "proxies.report", .post, "/api/v1/proxies/{name}/counters", needs: .agent,
        "Tells cumulative counts per revision; the server takes the differences.")
}

public struct TableQuery: Manifest {
    public var name = ""
    public var have: Int64 = 0
    /// Where the proxy is reached: "http://127.0.0.1:8480".
    public var url = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "The proxy."),
        .optional("have", \.have, "Version of the table in force; 0: none."),
        .optional("url", \.url, "Where the proxy is reached."),
    ]
}

/// The whole routing state, in the form that Base/Proxy takes.
public struct RoutingTable: Manifest {
    public var version: Int64 = 0
    /// Routes as Base/Proxy's `Route` decodes them.
    public var routes: [JSONValue] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("version", \.version, "Grows with every change."),
        .told("routes", \.routes, "All routes."),
    ]
}

public struct CountersInput: Manifest {
    public var name = ""
    public var epoch = ""
    /// Version of the table in force at the proxy.
    public var table: Int64 = 0
    public var revisions: [RevisionCount] = []
    public var whole = true
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "The proxy."),
        .required("epoch", \.epoch, "Changes with every start of the proxy: counts begin at 0 again."),
        .told("table", \.table, "Version of the routing table in force."),
        .told("revisions", \.revisions, "Cumulative counts since the proxy's start."),
        .told("whole", \.whole, "All revisions that it counts; false: those that have changed since its last report."),
    ]
}

public struct RevisionCount: Manifest {
    /// "project/name"
    public var service = ""
    public var revision = 0
    public var requests: Int64 = 0
    public var errors: Int64 = 0
    /// Cumulative counts of answers by time, in Stats' `LatencyHistogram` buckets.
    public var latency: [Int64] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("service", \.service, "project/name."),
        .told("revision", \.revision, "Revision."),
        .told("requests", \.requests, "Requests."),
        .told("errors", \.errors, "Answered with 5xx, or not at all."),
        .told("latency", \.latency, "Counts of answers by time, one for each bucket of the fixed latency histogram."),
    ]
}
