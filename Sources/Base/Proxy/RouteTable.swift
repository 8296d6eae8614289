// The wire words of the proxy: field names are spelled as they stand in JSON.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

/// The whole routing state: immutable and swapped whole; requests under way keep the one they began with.
package struct RouteTable: Sendable, Codable, Equatable {
    /// Grows with each change, so that a reader can tell which table a proxy follows.
    package var version: Int64
    package var routes: [Route]

    package init(version: Int64, routes: [Route]) {
        self.version = version
        self.routes = routes
    }

    /// The table of a proxy that was told nothing yet: every request is answered 404.
    package static let empty = RouteTable(version: 0, routes: [])
}

/// Traffic of one service: which requests are its own, and how they are shared among its revisions.
///
/// A route with hosts beats one without; among those, the longest prefix wins; among equals, the first.
package struct Route: Sendable, Codable, Equatable {
    /// Name used in counters: `project/name`.
    package var service: String
    /// Exact Host header matches without the port, in any case; empty means every host.
    package var hosts: [String]
    /// Such as `/serving/employment`; matches at `/` boundaries only; nil means every path.
    package var path_prefix: String?
    /// Forward only what follows the prefix, `/` when that is empty.
    package var strip_prefix: Bool
    package var revisions: [RevisionRoute]
    /// Send a request once more, over another endpoint or a fresh connection, if the upstream failed before any
    /// byte of its response, as `retries` says.
    package var retry: Bool
    /// From the end of the request to the upstream's response head; later is answered 504.
    package var timeout_ms: Int
    /// Looked at in order before the weights; the first that matches decides.
    package var rules: [TrafficRule]?
    package var sticky: StickySessions?
    package var mirror: MirrorRoute?
    package var retries: RetryPolicy?
    package var timeouts: RouteTimeouts?
    /// nil leaves out only endpoints that refuse connections.
    package var outliers: OutlierPolicy?
    package var limits: ConcurrencyLimits?
    /// All must let a request pass.
    package var rate_limits: [RateLimit]?
    /// Endpoints speak HTTP/2 without TLS (h2c, as gRPC does); nil and false are HTTP/1.1.
    package var http2: Bool?

    package init(
        service: String, hosts: [String] = [], path_prefix: String? = nil, strip_prefix: Bool = false,
        revisions: [RevisionRoute], retry: Bool = true, timeout_ms: Int = 30_000
    ) {
        self.service = service
        self.hosts = hosts
        self.path_prefix = path_prefix
        self.strip_prefix = strip_prefix
        self.revisions = revisions
        self.retry = retry
        self.timeout_ms = timeout_ms
    }
}

/// One revision's part of a route.
package struct RevisionRoute: Sendable, Codable, Equatable {
    package var revision: String
    /// Parts of the sum over the route; 0 means no traffic, not even when the others are down.
    package var weight: Int
    package var endpoints: [Endpoint]

    package init(revision: String, weight: Int, endpoints: [Endpoint]) {
        self.revision = revision
        self.weight = weight
        self.endpoints = endpoints
    }
}

/// One instance of a revision, by its address.
package struct Endpoint: Sendable, Codable, Hashable {
    /// An IP address, or a name that is resolved at each connect.
    package var host: String
    package var port: Int
    /// Identity of the copy behind the address; a new one at the same port starts with a clean slate.
    package var instance: String

    package init(host: String, port: Int, instance: String) {
        self.host = host
        self.port = port
        self.instance = instance
    }
}
