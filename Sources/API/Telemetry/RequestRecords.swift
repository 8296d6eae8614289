public import Manifests

/// Requests to services, told one by one: all that failed or were slow, and a share of the others.
public enum Requests {
    public static let report = Operation<RequestReport, RequestChoice>(
        "requests.report", .post, "/api/v1/proxies/{name}/requests", needs: .agent,
        "Tells finished requests, which become spans and lines; answers which are wanted from now on.")
}

/// Who told of a request.
public enum RequestTeller: String, WireEnum { case proxy, model }

/// One finished request.
public struct RequestRecord: Manifest {
    public var by = RequestTeller.proxy
    public var trace = ""
    public var span = ""
    public var parent: String?
    public var request_id = ""
    public var at = Timestamp.zero
    public var microseconds: Int64 = 0
    /// "project/name"
    public var service = ""
    public var revision = ""
    public var instance = ""
    public var method = ""
    public var path = ""
    public var status = 0
    public var broke_off = false
    public var model: String?
    public var model_version: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("by", \.by, "Who tells of it."),
        .required("trace", \.trace, "Its trace: 32 hexadecimal digits."),
        .required("span", \.span, "Its span there: 16 hexadecimal digits."),
        .optional("parent", \.parent, "The span that it is below; absent: the trace begins here."),
        .optional("request_id", \.request_id, "X-Request-ID."),
        .required("at", \.at, "When it began."),
        .optional("microseconds", \.microseconds, "How long it took."),
        .required("service", \.service, "project/name."),
        .optional("revision", \.revision, "Revision that answered."),
        .optional("instance", \.instance, "Copy that answered."),
        .optional("method", \.method, "Method."),
        .optional("path", \.path, "Path, without the query."),
        .optional("status", \.status, "Status; 499 when the client left before an answer."),
        .optional("broke_off", \.broke_off, "The service did not answer, or not to the end."),
        .optional("model", \.model, "Model that predicted."),
        .optional("model_version", \.model_version, "Its version."),
    ]
}

public struct RequestReport: Manifest {
    /// Records of one report; those beyond are dropped and counted.
    public static let limit = 1_000

    public var name = ""
    public var records: [RequestRecord] = []
    public var dropped = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "The proxy."),
        .optional("records", \.records, "Finished requests."),
        .optional(
            "dropped", \.dropped, "Further ones that found no room since the last report.", in: 0...1_000_000_000),
    ]
}

/// Which requests are told one by one.
public struct RequestChoice: Manifest, Equatable {
    public var ratio = 1.0
    public var slow = TimeSpan.seconds(1)
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("ratio", \.ratio, "Share of the traces, 0 to 1."),
        .told("slow", \.slow, "Requests that take this long are told whatever the share."),
    ]
}
