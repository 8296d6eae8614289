internal import Segments
package import Series
internal import Synchronization

/// What is kept for how long.
package struct LogRetention: Sendable {
    package struct Rule: Sendable {
        package let matchers: [LabelMatcher]
        /// Nanoseconds.
        package let keep: Int64

        package init(_ matchers: [LabelMatcher], keep: Int64) {
            self.matchers = matchers
            self.keep = keep
        }
    }

    /// The first rule that a stream meets decides.
    package var rules: [Rule] = []
    /// For streams that meet no rule; nil keeps them for ever.
    package var keep: Int64?
    /// Bytes of all segments; the oldest go first. Nil for no bound.
    package var bytes: Int?

    package init() {}
}

extension LogStore {
    /// A segment with more than this share of bytes that nobody can see is written anew.
    static let deadShare = 0.25

    /// Does what time asks for: makes a segment of lines that have waited long enough, removes what is too old or too much.
    ///
    /// Blocks go as a whole, when the newest entry in them is too old. May be repeated at any time.
    ///
    /// - Parameters:
    ///   - retention: What is kept for how long.
    ///   - now: Nanoseconds since 1970.
    /// - Throws: `StorageError`.
    package func maintain(_ retention: LogRetention, now: Int64) throws {
        let rules = try retention.rules.map { (try StreamMatchers($0.matchers), $0.keep) }
        try files.withLock { _ in
            let isDue = state.withLock { state in
                // Sooner than `append` would: who pushes should not have to wait for it.
                !state.frozen.isEmpty || state.head.from < now &- limits.headAge
                    || state.head.weight > limits.headBytes / 2
            }
            if isDue { try flushHoldingFiles() }
            try removeBlocks { labels, block in
                guard let keep = rules.first(where: { $0.0.match(labels) })?.1 ?? retention.keep else { return false }
                return block.to < now &- keep
            }
            if let bytes = retention.bytes { try removeSegments(above: bytes) }
        }
    }

    /// Removes streams with all their entries, from memory and from the disk.
    ///
    /// Once it returned they are gone for good. If it fails or the process ends, repeat it.
    ///
    /// - Parameter matchers: What a stream must meet.
    /// - Returns: How many there were.
    /// - Throws: `StorageError`.
    @discardableResult
    package func delete(_ matchers: [LabelMatcher]) throws -> Int {
        let conditions = try StreamMatchers(matchers)
        return try files.withLock { _ in
            let gone = try state.withLock { state in
                let ids = state.index.matching(conditions)
                let labels = ids.compactMap { state.index.streams[$0]?.labels }
                for labels in labels { state.log.append(LogRecord.encode(deletionOf: labels)) }
                try state.log.commit()
                for id in ids { state.dropFromMemory(id) }
                return Set(labels)
            }
            try removeBlocks(isThorough: true) { labels, _ in gone.contains(labels) }
            return gone.count
        }
    }

    /// Takes blocks away: out of sight at once, off the disk when enough of a segment is gone, or if it must be.
    private func removeBlocks(isThorough: Bool = false, _ isGone: (Labels, LogBlock) -> Bool) throws {
        let segments = state.withLock { state in
            let streams = state.index.streams
            for place in state.segments.indices {
                for (id, blocks) in state.segments[place].streams {
                    guard let labels = streams[id]?.labels else { continue }
                    let kept = blocks.filter { !isGone(labels, $0) }
                    guard kept.count < blocks.count else { continue }
                    let before = blocks.reduce(0) { $0 + $1.size }
                    state.segments[place].deadBytes += before - kept.reduce(0) { $0 + $1.size }
                    state.segments[place].streams[id] = kept.isEmpty ? nil : kept
                    if kept.isEmpty { state.index.release(id) }
                }
            }
            return state.segments.filter { $0.deadBytes > 0 }
        }
        for attached in segments {
            let share = Double(attached.deadBytes) / Double(max(1, attached.segment.size))
            if attached.streams.isEmpty {
                try remove(attached.segment)
            } else if isThorough || share > Self.deadShare {
                try rewrite(attached)
            }
        }
    }

    private func remove(_ segment: LogSegment) throws {
        try Disk.remove(segment.path)
        state.withLock { state in
            guard let place = state.segments.firstIndex(where: { $0.segment === segment }) else { return }
            for id in state.segments.remove(at: place).streams.keys { state.index.release(id) }
        }
    }

    /// Writes a segment again with the blocks that are left. Who reads the old one has it open and is not disturbed.
    private func rewrite(_ attached: AttachedSegment) throws {
        let segment = attached.segment
        let labels = state.withLock { state in attached.streams.keys.map { ($0, state.index.streams[$0]?.labels) } }
        try Disk.replace(segment.path) { file in
            var writer = try LogSegmentWriter(file)
            for (id, labels) in labels {
                guard let labels, let blocks = attached.streams[id] else { continue }
                writer.begin(labels)
                for block in blocks { try writer.copy(block, of: segment) }
            }
            try writer.finish()
        }
        let fresh = try LogSegment(segment.path, number: segment.number)
        state.withLock { state in
            guard let place = state.segments.firstIndex(where: { $0.segment === segment }) else { return }
            let old = state.segments.remove(at: place)
            state.attach(fresh)
            for id in old.streams.keys { state.index.release(id) }
        }
    }

    private func removeSegments(above bytes: Int) throws {
        let oldest = state.withLock { $0.segments.map(\.segment) }.sorted { $0.to < $1.to }
        var total = oldest.reduce(0) { $0 + $1.size }
        for segment in oldest where total > bytes {
            try remove(segment)
            total -= segment.size
        }
    }
}
