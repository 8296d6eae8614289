internal import Blobs
internal import Glibc
internal import Segments
internal import Synchronization

/// Making segments of what is in memory, and one of several.
extension PointStore {
    /// Metrics that are written before it is looked whether memory has to be written first.
    private static let seriesBetweenLooks = 1_024

    /// Makes a segment of all that is in memory. Nothing needs it: the log has it all.
    package func flush() async throws {
        try await writers.run { [self] in
            try log.withLock { log in
                if state.withLock({ !$0.head.isEmpty }) { try freeze(&log) }
            }
            try writeFrozen()
        }
    }

    /// Makes one segment of all, without the points of removed runs and without what is there twice.
    package func compact() async throws {
        try await flush()
        try await writers.run { [self] in
            try merging.withLock { _ in try merge(state.withLock { $0.segments }) }
        }
    }

    /// Does all that there is to do, on a thread that has nothing else to do.
    func settle() {
        repeat {
            do {
                try writeFrozen()
                try merging.withLock { _ in
                    while let segments = state.withLock({ $0.segments.due(limits) }) { try merge(segments) }
                }
                state.withLock { $0.failure = nil }
            } catch {
                // The points are safe in the log; the next full head tries again, and `status` tells.
                state.withLock { state in
                    state.failure = "\(error)"
                    state.isSettling = false
                }
                return
            }
        } while state.withLock { state in
            state.isSettling = !state.frozen.isEmpty
            return state.isSettling
        }
    }

    /// Makes segments of all full heads.
    func writeFrozen() throws { try flushing.withLock { _ in try writeFrozenAlone() } }

    private func writeFrozenAlone() throws {
        while let head = state.withLock({ $0.frozen.first }) {
            let path = files.segment(head.number)
            try Disk.replace(path) { try head.write(to: $0) }
            let segment = try PointSegment(path, number: head.number)
            state.withLock { state in
                state.segments.append(segment)
                state.frozen.removeFirst()
            }
            try files.removeLogs(upTo: head.number)
        }
    }

    /// Makes one segment of some that follow each other. The caller holds `merging`.
    private func merge(_ old: [PointSegment]) throws {
        guard let first = old.first, let last = old.last else { return }
        let isOldest = state.withLock { $0.segments.first === first }
        // A removal is remembered as long as there is something older that it applies to.
        let deleted = isOldest ? [] : old.reduce(into: Set<RunID>()) { $0.formUnion($1.deleted) }
        if old.count == 1 && (last.deleted.isEmpty || !isOldest) { return }
        let path = files.segment(last.number)
        try Disk.replace(path) { file in
            var writer = PointSegmentWriter(file, from: first.from, deleted: deleted)
            var merging = PointMerge(old)
            var series = 0
            while try merging.next(into: &writer) {
                series += 1
                if series % Self.seriesBetweenLooks == 0, state.withLock({ !$0.frozen.isEmpty }) { try writeFrozen() }
            }
            try writer.finish()
        }
        let merged = try PointSegment(path, number: last.number)
        state.withLock { state in
            guard let place = state.segments.firstIndex(where: { $0 === first }) else { return }
            state.segments.replaceSubrange(place..<(place + old.count), with: [merged])
        }
        for segment in old.dropLast() { try Disk.remove(segment.path) }
    }
}

extension [PointSegment] {
    /// The newest segments that should be one: as many of at most one size as the limits say, of the smallest such size.
    fileprivate func due(_ limits: PointStore.Limits) -> [PointSegment]? {
        var bytes = limits.smallSegment
        while true {
            let newest = reversed().prefix { $0.size <= bytes }
            if newest.count >= limits.segmentsOfOneSize { return suffix(newest.count) }
            if newest.count == count { return nil }
            bytes *= 8
        }
    }
}

extension PointHead {
    func write(to file: Int32) throws {
        var writer = PointSegmentWriter(file, from: number, deleted: deleted)
        for (run, keys) in runs.sorted(by: { $0.key < $1.key }) {
            for (key, series) in keys.sorted(by: { $0.key < $1.key }) {
                try writer.add(run, key, latest: series.latest, series.sorted[...])
            }
        }
        try writer.finish()
    }
}

/// Goes through several segments at once, metric by metric.
private struct PointMerge {
    private struct Cursor {
        let segment: PointSegment
        var block = 0
        /// The metrics of the block, the next one last.
        var series: [PointSegment.Series] = []

        mutating func skip(_ run: RunID, _ key: PointKey) {
            if let next = series.last, next.run == run, next.key == key { series.removeLast() }
        }

        mutating func fill() throws {
            while series.isEmpty && block < segment.blocks.count {
                try segment.read(segment.blocks[block]) { one in
                    series.append(one)
                    return true
                }
                series.reverse()
                block += 1
            }
        }
    }

    /// Oldest first.
    private var cursors: [Cursor]

    init(_ segments: [PointSegment]) { cursors = segments.map { Cursor(segment: $0) } }

    /// Writes the next metric; false when there is none.
    mutating func next(into writer: inout PointSegmentWriter) throws -> Bool {
        var least: (run: RunID, key: PointKey)?
        for place in cursors.indices {
            try cursors[place].fill()
            guard let next = cursors[place].series.last else { continue }
            if let now = least, (now.run, now.key) <= (next.run, next.key) { continue }
            least = (next.run, next.key)
        }
        guard let (run, key) = least else { return false }
        var pieces: [PointPiece] = []
        var latest: MetricPoint?
        for place in cursors.indices.reversed() {
            let segment = cursors[place].segment
            if let next = cursors[place].series.last, next.run == run, next.key == key {
                cursors[place].series.removeLast()
                pieces += try PointPiece.of(next, in: segment)
                if latest.map({ next.latest.isLater(than: $0) }) ?? true { latest = next.latest }
            }
            if segment.deleted.contains(run) {
                for older in 0..<place { cursors[older].skip(run, key) }
                break
            }
        }
        if let latest {
            try PointPiece.walk(pieces) { points in
                try writer.add(run, key, latest: latest, points)
                return true
            }
        }
        return true
    }
}
