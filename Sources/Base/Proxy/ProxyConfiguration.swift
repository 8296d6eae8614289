import NIOCore

/// Limits and patience of a proxy; every default is meant to be lived with.
package struct ProxyConfiguration: Sendable {
    /// Event loops, at most one per core.
    package var maxLoops = 8
    /// Client connections at once; further ones are closed as soon as they are accepted.
    package var maxConnections = 16_384
    /// Unused keep-alive connections kept to one endpoint, per event loop.
    ///
    /// Age thins them out (`upstreamIdleTimeout`); a limit below the usual number of requests at once makes
    /// connections close and open all the time.
    package var maxIdlePerEndpoint = 1_024
    /// Time a client may leave a connection unused between two requests.
    package var idleTimeout: Duration = .seconds(75)
    /// Time from the first byte of a request head to its last; later is answered 408 (slow loris).
    package var headTimeout: Duration = .seconds(10)
    /// Time without a byte while a request body is awaited; later is answered 408.
    package var bodyTimeout: Duration = .seconds(30)
    /// Time without a byte either way once the response began; then both sides are closed.
    package var streamTimeout: Duration = .seconds(300)
    /// Time without a byte either way in a tunnel (WebSocket).
    package var tunnelTimeout: Duration = .seconds(3_600)
    /// Time to open a connection to an endpoint.
    package var connectTimeout: Duration = .seconds(2)
    /// HTTP/2 requests on one connection to an endpoint until another takes its place; their numbers end at 2³⁰.
    package var upstreamStreamsEver = 1 << 29
    /// Age at which an unused upstream connection is closed; below the 5 s that common servers keep theirs.
    package var upstreamIdleTimeout: Duration = .seconds(4)
    /// Time an endpoint that refused a connection is left out.
    package var ejection: Duration = .milliseconds(500)
    /// Time that requests under way get to end once `run` is cancelled; then they are cut.
    package var drainTimeout: Duration = .seconds(10)
    /// Time to let a client read the last answer before its connection is cut.
    package var lingerTimeout: Duration = .seconds(2)
    /// Keep `X-Forwarded-*` and `Forwarded` of the client, as behind another proxy of one's own; else they are
    /// replaced, since anyone could have written them.
    package var trustsForwarded = false
    /// Where finished requests are told one by one; nil costs nothing.
    package var records: RequestRecords?
    /// Speak TLS (1.2 and later) with the certificate for the name that a client asks for (SNI), else with the first; none
    /// is plain text.
    package var tls: [TLSFiles] = []
    /// Speak HTTP/2 with clients that want it: by ALPN over TLS, by prior knowledge without.
    package var http2 = true
    /// Called on the event loop after every copied request whose two answers are there; must be quick.
    package var mirrorLog: (@Sendable (MirrorRecord) -> Void)?

    package init() {}

    /// Longest request or response head.
    package static let headLimit = 64 * 1024
    /// Most header lines of a head.
    package static let headerCountLimit = 100
    /// Longest line that opens a chunk, extensions included; longest trailer section.
    static let chunkLineLimit = 1_024
    static let trailerLimit = 8 * 1024
    /// Most body bytes kept for a second attempt; also what is taken from a client before its upstream is connected.
    package static let replayLimit = 64 * 1024
    /// Most bytes of later requests held while one is answered.
    static let pipelineLimit = 64 * 1024
    /// Most interim (1xx) responses to one request.
    static let interimLimit = 16
    /// Most endpoints tried for one request when connections are refused.
    static let connectAttempts = 3
    /// Most bytes thrown away while lingering.
    static let lingerLimit = 1024 * 1024
    /// Body pieces up to this size are copied behind the head, to leave in one write.
    static let coalesceLimit = 8 * 1024
    /// Longest schedule of weights; greater sums are rounded to this many parts.
    static let scheduleLimit = 10_000
    /// Counters of revisions that left the table and are still told; the oldest are forgotten first.
    static let retiredCountersLimit = 4_096
    /// Pause between two looks at the deadlines of a loop's connections.
    static let sweepInterval = TimeAmount.milliseconds(50)

    /// Copies of requests under way at once, and connections kept for them to one endpoint, per event loop.
    package static let mirrorLimit = 256
    static let mirrorIdleLimit = 16
    /// HTTP/2 requests at once on one connection.
    static let streamLimit = 128
    /// HTTP/2 requests at once on one connection to an endpoint, where that allows as many.
    static let upstreamStreamLimit = 16_384
    /// Streams to an endpoint that we have reset and that it may still send for.
    static let upstreamResetMemory = 4_096
    /// Bytes that an endpoint may send on one stream, and on all of a connection, before they are taken off.
    static let upstreamStreamWindow = 256 * 1024
    static let upstreamConnectionWindow = 4 * 1024 * 1024
    /// Pause between two looks at the certificate's files.
    static let certificateInterval = Duration.seconds(1)
    /// Keys with a bucket of their own in one rate limit; when all are in use, further ones share a bucket.
    static let rateKeysLimit = 65_536

    /// Number of loops for this machine.
    var loops: Int { max(1, min(maxLoops, System.coreCount)) }
}

/// A certificate and its key, looked at again every second: a new pair is used from the next connection on.
package struct TLSFiles: Sendable, Equatable {
    /// Path of a PEM file: the server's certificate, then those that lead to its root.
    package var certificate: String
    /// Path of a PEM file.
    package var key: String

    package init(certificate: String, key: String) {
        self.certificate = certificate
        self.key = key
    }
}

/// One copied request with both of its answers.
package struct MirrorRecord: Sendable, Equatable {
    package var service: String
    /// Who answered the client, and who got the copy.
    package var revision: String
    package var mirror: String
    package var status: Int
    /// 502 when there was no answer.
    package var mirrorStatus: Int
    /// Bytes of the two bodies.
    package var bytes: Int
    package var mirrorBytes: Int
    package var isSameBody: Bool
}
