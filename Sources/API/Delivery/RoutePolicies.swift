public import Manifests

/// When a request is sent once more.
public struct RouteRetrySpec: Manifest {
    public var attempts = 1
    public var statuses: [Int] = []
    public var budget = Share(0.2)
    public var per_second = 10.0
    public init() {}
    public static var noun: String { "retry" }
    public static let fields: [Field<Self>] = [
        .optional(
            "attempts", \.attempts, "Further attempts, of requests that may be repeated; 0: none.", in: 0...10),
        .optional("statuses", \.statuses, "Statuses that are tried again, such as 502, 503, 504."),
        .optional("budget", \.budget, "Retries as a share of all requests, at most."),
        .optional(
            "per_second", \.per_second, "Retries each second that are allowed whatever the traffic.", in: 0...100_000),
    ]
}

/// When a copy is left out for a while.
public struct OutlierSpec: Manifest {
    public var errors = 5
    public var `for` = TimeSpan.seconds(1)
    public var most = Share(0.5)
    public init() {}
    public static var noun: String { "outlier rule" }
    public static let fields: [Field<Self>] = [
        .optional("errors", \.errors, "Failures in a row.", in: 1...1000),
        .optional("for", \.for, "How long, the first time; each further time longer, at most ten times."),
        .optional("most", \.most, "Share of the copies that are left out at once, at most."),
    ]
}

/// What a service can bear.
public struct LimitSpec: Manifest {
    public var connections: Int?
    public var requests: Int?
    public var pending = 1024
    public init() {}
    public static var noun: String { "limit" }
    public static let fields: [Field<Self>] = [
        .optional("connections", \.connections, "Connections to one copy.", in: 1...100_000),
        .optional("requests", \.requests, "Requests under way at one copy.", in: 1...100_000),
        .optional("pending", \.pending, "Requests that wait; the next are answered 503.", in: 0...1_000_000),
    ]
}

/// How many requests a second may come.
public struct RateLimitSpec: Manifest {
    public var per_second = 0.0
    public var burst: Int?
    public var by_client = false
    public var by_header: String?
    public var by_cookie: String?
    public init() {}
    public static var noun: String { "rate limit" }
    public static let fields: [Field<Self>] = [
        .required("per_second", \.per_second, "Requests a second; more are answered 429.", in: 0.001...10_000_000),
        .optional("burst", \.burst, "Requests at once; absent: one second's worth.", in: 1...10_000_000),
        .optional("by_client", \.by_client, "For each client's address by itself."),
        .optional("by_header", \.by_header, "For each value of this header by itself."),
        .optional("by_cookie", \.by_cookie, "For each value of this cookie by itself."),
    ]
    public static func check(_ value: Self) -> [ManifestError] {
        let keys = [value.by_client, value.by_header != nil, value.by_cookie != nil].count { $0 }
        guard keys > 1 else { return [] }
        return [
            ManifestError(
                at: ["by_client"], message: "a rate limit has one key at most",
                hint: "Write a limit for each: both must let a request pass.")
        ]
    }
}
