// The wire words of the proxy: field names are spelled as they stand in JSON. What may be left out is nil, and its
// default stands in its docstring and in `Defaults`.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

/// Sends the requests that meet all of its conditions to one revision, before any weight is looked at.
///
/// Matching requests take no turn of the weights, so the others still hold their exact shares. When the revision has
/// no live endpoint, they go the way of everybody else.
package struct TrafficRule: Sendable, Codable, Equatable {
    /// For people; such as `staff`.
    package var name: String
    /// All must hold; a rule without conditions takes everything.
    package var when: [TrafficCondition]
    /// One of the route's revisions; its weight may be 0.
    package var revision: String

    package init(name: String, when: [TrafficCondition], revision: String) {
        self.name = name
        self.when = when
        self.revision = revision
    }
}

/// One question about a request head: exactly one of `header` and `cookie`, and exactly one of the four tests.
package struct TrafficCondition: Sendable, Codable, Equatable {
    /// Name of a header, in any case; of several lines of that name one is enough.
    package var header: String?
    /// Name of a cookie, case and all.
    package var cookie: String?
    package var exact: String?
    package var prefix: String?
    /// RE2's syntax, anchored at both ends; matched in linear time.
    package var regex: String?
    /// true: it is there, whatever it says; false: it is not.
    package var present: Bool?

    package init(
        header: String? = nil, cookie: String? = nil, exact: String? = nil, prefix: String? = nil,
        regex: String? = nil, present: Bool? = nil
    ) {
        (self.header, self.cookie) = (header, cookie)
        (self.exact, self.prefix, self.regex, self.present) = (exact, prefix, regex, present)
    }
}

/// Keeps whoever came once with the same revision, on all arms, while each arm's share of the sessions is held.
///
/// A session is one of 10,000 slots, given out evenly, so that any 1,000 new sessions hold the shares exactly. The cookie
/// carries the slot and not the revision: arms are ranges of slots in the order of the table, so when weights change,
/// just the sessions move that must. A session whose arm has no live endpoint is served by another meanwhile.
package struct StickySessions: Sendable, Codable, Equatable {
    /// Name of the cookie that keeps the slot; nil with `by_header` or `by_cookie` sets none.
    package var cookie: String?
    /// Life of that cookie in seconds, from its first answer; nil is 3,600.
    package var ttl_s: Int?
    /// Header whose value names an entity (a user); the same value always has the same slot.
    package var by_header: String?
    /// Cookie of the application's own whose value names an entity.
    package var by_cookie: String?
    /// Mixed into the slot of an entity, so that two experiments divide users independently; nil is the service.
    package var salt: String?

    package init(
        cookie: String? = nil, ttl_s: Int? = nil, by_header: String? = nil, by_cookie: String? = nil,
        salt: String? = nil
    ) {
        (self.cookie, self.ttl_s, self.salt) = (cookie, ttl_s, salt)
        (self.by_header, self.by_cookie) = (by_header, by_cookie)
    }
}

/// Sends copies of requests to another revision and compares its answers, which no client ever sees or waits for.
///
/// Copies carry `X-Vagus-Mirror: 1`. They are counted in `MirrorCounters`, never in the revision's own numbers. Requests
/// with more than `ProxyConfiguration.replayLimit` bytes of body, tunnels, and copies beyond
/// `ProxyConfiguration.mirrorLimit` at once are not copied.
package struct MirrorRoute: Sendable, Codable, Equatable {
    /// One of the route's revisions; its weight may be 0.
    package var revision: String
    /// Share of the requests that are copied, 0...100, in steps of 0.01, exact over every 10,000.
    package var percent: Double
    /// Copy also methods that may change something (all but GET, HEAD and OPTIONS); nil is false.
    package var writes: Bool?

    package init(revision: String, percent: Double, writes: Bool? = nil) {
        (self.revision, self.percent, self.writes) = (revision, percent, writes)
    }
}

/// When a request is sent once more. In force where `Route.retry` is true.
///
/// A refused connection is always tried elsewhere (at most twice more) and costs no budget, since nothing was sent.
/// Whatever was sent is sent again only when its method is idempotent (RFC 9110 §9.2.2), at most
/// `ProxyConfiguration.replayLimit` bytes of body went with it, and the budget has something left.
package struct RetryPolicy: Sendable, Codable, Equatable {
    /// Further attempts after the first; nil is 1.
    package var attempts: Int?
    /// Statuses that count as failed while attempts are left, such as 502, 503, 504; nil is none.
    package var statuses: [Int]?
    /// Retries allowed as a share of the route's requests, 0...100; nil is 20.
    package var budget_percent: Double?
    /// Retries allowed each second whatever the traffic; nil is 10.
    package var budget_per_second: Double?

    package init(
        attempts: Int? = nil, statuses: [Int]? = nil, budget_percent: Double? = nil, budget_per_second: Double? = nil
    ) {
        (self.attempts, self.statuses) = (attempts, statuses)
        (self.budget_percent, self.budget_per_second) = (budget_percent, budget_per_second)
    }
}

/// Patience beyond `Route.timeout_ms`, which is for the first byte of the response; all in milliseconds.
package struct RouteTimeouts: Sendable, Codable, Equatable {
    /// To open a connection; nil is `ProxyConfiguration.connectTimeout`.
    package var connect_ms: Int?
    /// Without a byte either way once the response began; nil is `ProxyConfiguration.streamTimeout`.
    package var idle_ms: Int?
    /// From the request's head to the response's last byte, retries and waiting included; nil is unbounded. Tunnels
    /// are left alone.
    package var total_ms: Int?

    package init(connect_ms: Int? = nil, idle_ms: Int? = nil, total_ms: Int? = nil) {
        (self.connect_ms, self.idle_ms, self.total_ms) = (connect_ms, idle_ms, total_ms)
    }
}

/// Leaves out an endpoint that fails several times in a row: 5xx, connection lost, or no answer in time.
package struct OutlierPolicy: Sendable, Codable, Equatable {
    /// Failures in a row; nil is 5.
    package var consecutive_errors: Int?
    /// Time of the first ejection in milliseconds; the n-th in close succession lasts n times as long, at most ten
    /// times. nil is 1,000.
    package var ejection_ms: Int?
    /// Most endpoints of a revision left out at once, 0...100; at least one stays. nil is 50.
    package var max_ejected_percent: Int?

    package init(consecutive_errors: Int? = nil, ejection_ms: Int? = nil, max_ejected_percent: Int? = nil) {
        (self.consecutive_errors, self.ejection_ms) = (consecutive_errors, ejection_ms)
        self.max_ejected_percent = max_ejected_percent
    }
}

/// Keeps a service from more than it can bear: beyond the limits requests wait in line, beyond the line they are
/// answered 503 at once.
package struct ConcurrencyLimits: Sendable, Codable, Equatable {
    /// Connections open to one endpoint, unused ones included; nil is unbounded.
    package var connections: Int?
    /// Requests under way at one endpoint; nil is unbounded.
    package var requests: Int?
    /// Requests of a revision in line, all loops together; nil is 1,024.
    package var pending: Int?

    package init(connections: Int? = nil, requests: Int? = nil, pending: Int? = nil) {
        (self.connections, self.requests, self.pending) = (connections, requests, pending)
    }
}

/// A token bucket, or one for each value of a key; what finds its bucket empty is answered 429 with `Retry-After`.
///
/// At most one of the three keys; none is one bucket for the whole route. Requests without the header or cookie share a
/// bucket. Buckets keep their level when the table is swapped.
package struct RateLimit: Sendable, Codable, Equatable {
    /// One bucket per client address.
    package var by_client: Bool?
    package var by_header: String?
    package var by_cookie: String?
    /// Requests each second; above 0.
    package var per_second: Double
    /// Requests at once from a full bucket; nil is one second's worth, at least 1.
    package var burst: Int?

    package init(
        per_second: Double, burst: Int? = nil, by_client: Bool? = nil, by_header: String? = nil,
        by_cookie: String? = nil
    ) {
        (self.per_second, self.burst) = (per_second, burst)
        (self.by_client, self.by_header, self.by_cookie) = (by_client, by_header, by_cookie)
    }
}
