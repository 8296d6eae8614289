import API
import Kernel
import Stats
import Synchronization

/// The counts that proxies told last, as counters: they begin at zero with each start of a proxy, as counters may.
final class ProxyReports: Sendable {
    private struct Report {
        var epoch: String
        var revisions: [String: RevisionCount] = [:]
    }
    private let reports = Mutex<[String: Report]>([:])
    /// Proxies that are remembered.
    private static let limit = 100

    func take(_ told: CountersInput) {
        reports.withLock { reports in
            guard reports[told.name] != nil || reports.count < Self.limit else { return }
            if told.whole || reports[told.name]?.epoch != told.epoch { reports[told.name] = Report(epoch: told.epoch) }
            for count in told.revisions { reports[told.name]?.revisions["\(count.service)/\(count.revision)"] = count }
        }
    }

    struct Line {
        var labels: [(String, String)]
        var count: RevisionCount
        /// Answers in each of the buckets alone.
        var buckets: [UInt64]
        /// Sum of all times as far as the buckets tell it.
        var seconds: Double
    }

    /// Bounds of the buckets that are shown: fewer than are counted.
    static let bounds = Instruments.bounds

    var lines: [Line] {
        let all = reports.withLock { $0 }.sorted { $0.key < $1.key }
        return all.flatMap { proxy, report in
            report.revisions.sorted { $0.key < $1.key }.map { _, count in
                let parts = count.service.split(separator: "/", maxSplits: 1).map(String.init)
                let labels = [
                    ("project", parts.first ?? ""), ("proxy", proxy), ("revision", String(count.revision)),
                    ("service", parts.last ?? ""),
                ]
                let (buckets, seconds) = count.requests > 0 ? Self.shown(count.latency) : ([], 0)
                return Line(labels: labels, count: count, buckets: buckets, seconds: seconds)
            }
        }
    }

    private static func shown(_ latency: [Int64]) -> ([UInt64], Double) {
        let histogram = LatencyHistogram(buckets: latency.map { UInt64(max(0, $0)) })
        var (shown, seconds) = ([UInt64](repeating: 0, count: bounds.count + 1), 0.0)
        for (index, count) in histogram.buckets.enumerated() where count > 0 {
            let middle = LatencyHistogram.representative(of: index) / 1e6
            shown[bounds.firstIndex { middle <= $0 } ?? bounds.count] += count
            seconds += middle * Double(count)
        }
        return (shown, seconds)
    }
}
