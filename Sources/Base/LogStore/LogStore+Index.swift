internal import Segments
package import Series
internal import Synchronization

/// How much there is of something.
package struct LogVolume: Sendable, Hashable {
    package var streams = 0
    /// Blocks on disk and pages in memory.
    package var chunks = 0
    package var entries = 0
    package var bytes = 0
}

/// The state of a store, for those who watch it.
package struct LogStatus: Sendable, Hashable {
    package var streams = 0
    package var segments = 0
    package var segmentBytes = 0
    package var logBytes = 0
    package var memoryEntries = 0
    package var memoryBytes = 0
    /// Why the last segment could not be written; nil when all is well.
    package var failure: String?
}

extension LogStore {
    package var status: LogStatus {
        state.withLock { state in
            let heads = state.frozen + [state.head]
            return LogStatus(
                streams: state.index.count, segments: state.segments.count,
                segmentBytes: state.segments.reduce(0) { $0 + $1.segment.size }, logBytes: state.log.size,
                memoryEntries: heads.reduce(0) { $0 + $1.entries }, memoryBytes: heads.reduce(0) { $0 + $1.weight },
                failure: state.failure)
        }
    }

    /// Labels of the streams that have a block or page in a range of time and meet any of the lists of conditions, sorted.
    ///
    /// - Parameters:
    ///   - matchers: No list at all means every stream.
    ///   - from: Nanoseconds, included.
    ///   - to: Nanoseconds, not included.
    /// - Returns: The streams' labels.
    /// - Throws: `StorageError.invalid` for a pattern that is none.
    package func series(_ matchers: [[LabelMatcher]], from: Int64, to: Int64) throws -> [Labels] {
        var found: Set<Labels> = []
        for list in matchers.isEmpty ? [[]] : matchers {
            for part in try parts(LogSelection(list, from: from, to: to)) { found.insert(part.stream) }
        }
        return found.sorted()
    }

    /// Names of labels of these streams, sorted.
    package func labelNames(_ matchers: [[LabelMatcher]] = [], from: Int64, to: Int64) throws -> [String] {
        Set(try series(matchers, from: from, to: to).flatMap { $0.pairs.map(\.name) }).sorted()
    }

    /// Values of a label of these streams, sorted.
    package func labelValues(_ name: String, _ matchers: [[LabelMatcher]] = [], from: Int64, to: Int64) throws
        -> [String]
    {
        Set(try series(matchers, from: from, to: to).compactMap { $0[name] }).sorted()
    }

    /// How much there is of the streams that meet the conditions, told apart by some of their labels.
    ///
    /// A block that lies partly in the range counts with the share of its time that does.
    ///
    /// - Parameters:
    ///   - matchers: What a stream must meet.
    ///   - labels: Names of the labels by which the volumes are told apart; none gives one volume, nil one for each stream.
    ///   - from: Nanoseconds, included.
    ///   - to: Nanoseconds, not included.
    /// - Returns: Volumes by those labels.
    /// - Throws: `StorageError.invalid` for a pattern that is none.
    package func volume(
        _ matchers: [LabelMatcher], by labels: Set<String>? = [], from: Int64, to: Int64
    ) throws -> [Labels: LogVolume] {
        var volumes: [Labels: LogVolume] = [:]
        var seen: Set<Int> = []
        for part in try parts(LogSelection(matchers, from: from, to: to)) {
            let group =
                labels.map { names in Labels(part.stream.pairs.filter { names.contains($0.name) }) } ?? part.stream
            let (entries, bytes) =
                switch part.place {
                case .memory(let page): (page.count, page.bytes)
                case .disk(_, let block): (block.entries, block.bytes)
                }
            let length = Double(part.to) - Double(part.from)
            let inside = Double(min(part.to, to)) - Double(max(part.from, from))
            let share = length > 0 ? min(1, max(0, inside / length)) : 1
            var volume = volumes[group] ?? LogVolume()
            if seen.insert(part.streamID).inserted { volume.streams += 1 }
            volume.chunks += 1
            volume.entries += Int((Double(entries) * share).rounded())
            volume.bytes += Int((Double(bytes) * share).rounded())
            volumes[group] = volume
        }
        return volumes
    }
}
