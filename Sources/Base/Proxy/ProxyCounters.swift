// swift-format-ignore-file: AlwaysUseLowerCamelCase

/// What a proxy saw since it was made; everything only grows, except `active` and `connections`.
package struct ProxyCounters: Sendable, Codable, Equatable {
    /// Changes with each start, so that a reader can tell a restart from a decrease.
    package var epoch: String
    package var revisions: [RevisionCounters]
    /// Requests that no route matched (answered 404) or whose route gives no revision traffic (503).
    package var unrouted: UInt64
    /// Requests answered 429 because of a rate limit; they reached no revision.
    package var limited: UInt64
    /// Copies of requests, in the order of service and revision.
    package var mirrors: [MirrorCounters]
    /// Requests answered 4xx or 5xx by the proxy because they were not sound HTTP, too big or too slow.
    package var refused: UInt64
    /// Client connections open now.
    package var connections: Int

    package init(
        epoch: String, revisions: [RevisionCounters] = [], unrouted: UInt64 = 0, refused: UInt64 = 0,
        connections: Int = 0, limited: UInt64 = 0, mirrors: [MirrorCounters] = []
    ) {
        self.limited = limited
        self.mirrors = mirrors
        self.epoch = epoch
        self.revisions = revisions
        self.unrouted = unrouted
        self.refused = refused
        self.connections = connections
    }

    /// The counters of one revision, nil when it never had a request or a route.
    package func revision(_ revision: String, of service: String) -> RevisionCounters? {
        revisions.first { $0.service == service && $0.revision == revision }
    }
}

/// Exact numbers of one revision of one service.
///
/// Each request is counted once, at its end, at the revision that served it last: `requests` is the sum of
/// `status_classes`, and of `client_aborts` that came before a response. A tunnel is counted when it opens (1xx).
package struct RevisionCounters: Sendable, Codable, Equatable {
    package var service: String
    package var revision: String
    package var requests: UInt64
    /// 5xx that the upstream itself answered.
    package var errors_5xx: UInt64
    /// 4xx that the upstream itself answered.
    package var errors_4xx: UInt64
    /// Answered 502, 503 or 504 by the proxy (refused, reset, timeout, broken response), or cut off after the head.
    package var errors_transport: UInt64
    /// Requests whose client left before the response had ended; no fault of the revision.
    package var client_aborts: UInt64
    /// Attempts that failed here and were taken over by another attempt, unseen by the client.
    package var failovers: UInt64
    /// Responses by first digit, 1xx to 5xx, as the client got them; those of gRPC by what their status amounts to.
    package var status_classes: [UInt64]
    /// `latency_buckets[i]` requests took at most `bucketBounds[i]`; one more at the end counts all.
    ///
    /// Latency is from the whole request head to the last byte of the response; client aborts are left out.
    package var latency_buckets: [UInt64]
    package var sum_us: UInt64
    /// Requests and tunnels under way.
    package var active: Int

    package init(service: String, revision: String) {
        self.service = service
        self.revision = revision
        requests = 0
        errors_5xx = 0
        errors_4xx = 0
        errors_transport = 0
        client_aborts = 0
        failovers = 0
        status_classes = Array(repeating: 0, count: 5)
        latency_buckets = Array(repeating: 0, count: Self.bucketBounds.count + 1)
        sum_us = 0
        active = 0
    }

    /// Upper bounds in microseconds, inclusive: four steps to each doubling, from 32 µs to 67 s.
    package static let bucketBounds: [UInt64] =
        [32] + (5...25).flatMap { power in (5...8).map { UInt64($0) << UInt64(power - 2) } }

    /// Index of the bucket of a latency, `bucketBounds.count` beyond the last bound; O(1).
    static func bucket(of microseconds: UInt64) -> Int {
        guard microseconds > 32 else { return 0 }
        let below = microseconds - 1
        let power = 63 - below.leadingZeroBitCount
        guard power <= 25 else { return bucketBounds.count }
        return 1 + (power - 5) * 4 + Int((below >> UInt64(power - 2)) & 3)
    }

    /// The errors users saw: answered 5xx by the upstream or failed on the way.
    package var errors: UInt64 { errors_5xx + errors_transport }

    /// What came since an earlier reading of the same epoch.
    package func since(_ earlier: RevisionCounters) -> RevisionCounters {
        var result = self
        result.requests -= min(earlier.requests, requests)
        result.errors_5xx -= min(earlier.errors_5xx, errors_5xx)
        result.errors_4xx -= min(earlier.errors_4xx, errors_4xx)
        result.errors_transport -= min(earlier.errors_transport, errors_transport)
        result.client_aborts -= min(earlier.client_aborts, client_aborts)
        result.failovers -= min(earlier.failovers, failovers)
        result.sum_us -= min(earlier.sum_us, sum_us)
        result.status_classes = Self.difference(status_classes, earlier.status_classes)
        result.latency_buckets = Self.difference(latency_buckets, earlier.latency_buckets)
        return result
    }

    /// Latency below which a share of the requests stayed.
    ///
    /// Linear inside the bucket, as Prometheus' `histogram_quantile`; off by at most a quarter.
    /// - Parameter share: 0...1.
    /// - Returns: Microseconds; nil without a request.
    package func latency(below share: Double) -> Double? {
        guard let total = latency_buckets.last, total > 0, latency_buckets.count == Self.bucketBounds.count + 1 else {
            return nil
        }
        let rank = max(0, min(1, share)) * Double(total)
        guard let index = latency_buckets.firstIndex(where: { Double($0) >= rank && $0 > 0 }) else { return nil }
        guard index < Self.bucketBounds.count else { return Self.bucketBounds.last.map(Double.init) }
        let lower = index == 0 ? 0 : Double(Self.bucketBounds[index - 1])
        let before = index == 0 ? 0 : Double(latency_buckets[index - 1])
        let inside = Double(latency_buckets[index]) - before
        guard inside > 0 else { return lower }
        return lower + (Double(Self.bucketBounds[index]) - lower) * (rank - before) / inside
    }

    private static func difference(_ later: [UInt64], _ earlier: [UInt64]) -> [UInt64] {
        later.indices.map { index in
            later[index] - min(later[index], index < earlier.count ? earlier[index] : 0)
        }
    }
}

/// What came of the copies sent to one revision.
///
/// `copies` is the sum of `same`, `status_differs` and `body_differs`, but for copies whose own or whose client's answer
/// is still out, and those whose client left.
package struct MirrorCounters: Sendable, Codable, Equatable {
    package var service: String
    /// The revision that got the copies.
    package var revision: String
    package var copies: UInt64
    /// Answered with the same status and the same body.
    package var same: UInt64
    package var status_differs: UInt64
    /// The same status, another body.
    package var body_differs: UInt64
    /// Requests whose turn it was, but that had too much body, no live endpoint, or too many others before them.
    package var skipped: UInt64
    /// Statuses, failures and latencies of the copies; a copy without an answer counts as 502.
    package var answers: RevisionCounters

    package init(service: String, revision: String) {
        self.service = service
        self.revision = revision
        (copies, same, status_differs, body_differs, skipped) = (0, 0, 0, 0, 0)
        answers = RevisionCounters(service: service, revision: revision)
    }
}
