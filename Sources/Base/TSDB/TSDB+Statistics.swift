import Series
import Synchronization

/// What a store holds, in numbers.
package struct TSDBStatistics: Sendable, Hashable {
    package struct Count: Sendable, Hashable {
        package let name: String
        package let count: Int
    }

    package var headSeries = 0
    package var headChunks = 0
    package var headSamples = 0
    package var headLateSamples = 0
    /// Nil while the head is empty.
    package var headFrom: Int64?
    package var headTo: Int64?
    package var seriesCreated = 0
    package var seriesRemoved = 0
    package var labelPairs = 0
    package var blocks = 0
    package var blockSeries = 0
    package var blockSamples = 0
    package var blockBytes = 0
    package var logBytes = 0
    package var logSegments = 0
    package var exemplars = 0
    /// Most series first.
    package var seriesByMetric: [Count] = []
    /// Most values first.
    package var valuesByLabel: [Count] = []
    /// Most bytes of values first.
    package var bytesByLabel: [Count] = []
    /// `name=value`, most series first.
    package var seriesByPair: [Count] = []
}

extension TSDB {
    /// Counts what is there.
    ///
    /// - Parameter top: How many names each list has at most.
    /// - Returns: Counts of the head, the blocks and the log.
    /// - Complexity: O(series + label pairs of the head), under the lock.
    package func statistics(top: Int = 10) -> TSDBStatistics {
        core.withLock { core in
            var statistics = TSDBStatistics()
            let head = core.head
            statistics.headSeries = head.seriesCount
            statistics.headSamples = head.sampleCount
            statistics.headLateSamples = head.lateCount
            (statistics.seriesCreated, statistics.seriesRemoved) = (head.seriesCreated, head.seriesRemoved)
            statistics.labelPairs = head.index.pairCount
            var (from, to) = (Int64.max, Int64.min)
            head.index.live.forEach { id in
                let series = head.pointer(id)
                statistics.headChunks += series.pointee.chunkCount
                from = min(from, series.pointee.firstTime)
                to = max(to, series.pointee.lastTime, series.pointee.late.last?.time ?? .min)
            }
            if from <= to { (statistics.headFrom, statistics.headTo) = (from, to) }
            for block in core.blocks {
                statistics.blockSeries += block.meta.series
                statistics.blockSamples += block.meta.samples
                statistics.blockBytes += block.files.byteCount
            }
            statistics.blocks = core.blocks.count
            (statistics.logBytes, statistics.logSegments) = (core.log.byteCount, core.log.segmentCount)
            statistics.exemplars = core.exemplars.entries.count
            Self.cardinalities(head.index, top, &statistics)
            return statistics
        }
    }

    private static func cardinalities(_ index: HeadIndex, _ top: Int, _ statistics: inout TSDBStatistics) {
        var (values, bytes, pairs, metrics) = (Top(top), Top(top), Top(top), Top(top))
        for (number, entry) in index.names.enumerated() {
            let name = index.nameTable.withText(number) { String(decoding: $0, as: UTF8.self) }
            values.offer(entry.values.count) { name }
            bytes.offer(entry.values.byteCount) { name }
            for value in entry.postings.indices {
                func text() -> String { entry.values.withText(value) { String(decoding: $0, as: UTF8.self) } }
                pairs.offer(entry.postings[value].count) { "\(name)=\(text())" }
                if name == Labels.metricNameLabel { metrics.offer(entry.postings[value].count) { text() } }
            }
        }
        (statistics.valuesByLabel, statistics.bytesByLabel) = (values.entries, bytes.entries)
        (statistics.seriesByPair, statistics.seriesByMetric) = (pairs.entries, metrics.entries)
    }

    /// The greatest of many counts.
    private struct Top {
        let limit: Int
        private(set) var entries: [TSDBStatistics.Count] = []

        init(_ limit: Int) { self.limit = limit }

        mutating func offer(_ count: Int, _ name: () -> String) {
            guard limit > 0, entries.count < limit || count > (entries.last?.count ?? 0) else { return }
            let place = entries.firstIndex { $0.count < count } ?? entries.count
            entries.insert(.init(name: name(), count: count), at: place)
            if entries.count > limit { entries.removeLast() }
        }
    }
}
