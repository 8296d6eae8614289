package import API
import Foundation
package import Kernel
import Manifests
package import Proxy
import Stats

/// The proxy of our own, in this process.
package struct BuiltInRouter: TrafficRouter {
    package let traits: RouterTraits = [.exactWeights, .sticky, .mirrors, .keepsConnections, .latency, .counts]
    private let server: ProxyServer

    package init(_ server: ProxyServer) { self.server = server }

    /// - Throws: Only for a table that is none; parts that make no sense are left out (`RouteTable.complaints`).
    package func take(_ table: RoutingTable) async throws {
        let routes = try JSONDecoder().decode([Route].self, from: Data(JSONValue.array(table.routes).bytes))
        server.swap(RouteTable(version: table.version, routes: routes))
    }

    package func counts() async throws -> RouterCounts { counts(after: 0) }

    package func counts(since mark: RouterCounts.Mark) async throws -> RouterCounts { counts(after: mark.number) }

    /// The epoch is that of the object: a mark of it is of the same one.
    private func counts(after reading: UInt64) -> RouterCounts {
        let counters = server.changes(since: reading)
        let revisions = counters.revisions.compactMap { revision -> RevisionCount? in
            guard let number = Int(revision.revision) else { return nil }
            var count = RevisionCount()
            count.service = revision.service
            count.revision = number
            count.requests = Int64(revision.requests)
            count.errors = Int64(revision.errors)
            if revision.requests > 0 { count.latency = Self.histogram(revision.latency_buckets) }
            return count
        }
        return RouterCounts(
            epoch: counters.epoch, revisions: revisions, mark: .init(epoch: counters.epoch, number: counters.reading))
    }

    /// The proxy's latency buckets, which count all up to their bound, in those of `LatencyHistogram`.
    static func histogram(_ cumulative: [UInt64]) -> [Int64] {
        var counts = [Int64](repeating: 0, count: LatencyHistogram.bucketCount)
        var before: UInt64 = 0
        for (index, upTo) in cumulative.enumerated() where upTo > before {
            counts[places[min(index, places.count - 1)]] += Int64(upTo - before)
            before = upTo
        }
        return counts
    }

    private static let places = (RevisionCounters.bucketBounds + [100_000_000]).map(LatencyHistogram.bucket)
}
