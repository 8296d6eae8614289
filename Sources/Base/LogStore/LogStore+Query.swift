internal import Series
internal import Synchronization

extension LogStore {
    /// Shows the entries that are wanted to a visitor until it has enough.
    ///
    /// What is appended while it runs does not show. Blocks are read one after the other as time goes on: a scan that stops
    /// early reads little.
    ///
    /// - Parameters:
    ///   - selection: Streams, times, order and pieces of text.
    ///   - visit: Gets one entry; false ends the scan.
    /// - Returns: What it cost.
    /// - Throws: `StorageError`, and what the visitor throws.
    @discardableResult
    package func scan(_ selection: LogSelection, _ visit: (LogLine) throws -> Bool) throws -> LogScan {
        let needles = LogNeedles(selection)
        let parts = try parts(selection)
        var scan = LogScan()
        scan.streams = Set(parts.lazy.map(\.streamID)).count
        switch selection.order {
        case .any:
            for part in parts {
                guard let candidates = try needles.candidates(in: part, &scan) else { continue }
                for index in candidates.wanted {
                    scan.lines += 1
                    if try !candidates.show(Int(index), visit) { return scan }
                }
            }
        case .forward, .backward:
            var merge = LogMerge(parts, needles, isForward: selection.order == .forward)
            try merge.run(&scan, visit)
        }
        return scan
    }

    /// Pages and blocks that may hold something of a selection.
    func parts(_ selection: LogSelection) throws -> [LogPart] {
        let matchers = try StreamMatchers(selection.matchers)
        return state.withLock { state in
            let ids = state.index.matching(matchers)
            var parts: [LogPart] = []
            func add(_ id: Int, _ labels: Labels, _ from: Int64, _ to: Int64, _ place: LogPart.Place) {
                guard to >= selection.from, from < selection.to else { return }
                parts.append(LogPart(streamID: id, stream: labels, from: from, to: to, place: place))
            }
            for id in ids {
                guard let labels = state.index.streams[id]?.labels else { continue }
                for attached in state.segments {
                    for block in attached.streams[id] ?? [] {
                        add(id, labels, block.from, block.to, .disk(attached.segment, block))
                    }
                }
                for head in state.frozen + [state.head] {
                    for page in head.streams[id]?.pages ?? [] {
                        add(id, labels, page.times.min() ?? 0, page.times.max() ?? 0, .memory(page))
                    }
                }
            }
            return parts
        }
    }
}

extension LogCandidates {
    /// Shows one entry to a visitor.
    func show(_ index: Int, _ visit: (LogLine) throws -> Bool) throws -> Bool {
        try page.withLine(index) { line in
            try page.withMetadata(index) { metadata in
                try visit(
                    LogLine(
                        stream: part.stream, streamID: part.streamID, time: page.times[index], line: line,
                        metadata: metadata))
            }
        }
    }
}

/// Brings the entries of many parts into one order of time. A part is read when its turn comes.
private struct LogMerge {
    private struct Cursor {
        let candidates: LogCandidates
        /// Steps taken through `wanted`, from the front or from the back.
        var step = 0
        var key: Int64
    }

    private let needles: LogNeedles
    private let isForward: Bool
    /// The next to be read last.
    private var waiting: [LogPart]
    /// A heap: no cursor's key is behind those of its children.
    private var open: [Cursor] = []

    init(_ parts: [LogPart], _ needles: LogNeedles, isForward: Bool) {
        self.needles = needles
        self.isForward = isForward
        waiting = parts.sorted { isForward ? $0.from > $1.from : $0.to < $1.to }
    }

    /// Keys ascend in either direction.
    private func key(_ time: Int64) -> Int64 { isForward ? time : ~time }

    private var nextWaiting: Int64? { waiting.last.map { key(isForward ? $0.from : $0.to) } }

    mutating func run(_ scan: inout LogScan, _ visit: (LogLine) throws -> Bool) throws {
        while true {
            while let next = nextWaiting, next <= (open.first?.key ?? .max), let part = waiting.popLast() {
                if let candidates = try needles.candidates(in: part, &scan) { push(candidates) }
            }
            guard var cursor = open.first else { return }
            // The same cursor again and again while no other one is before it.
            let others = [1, 2].compactMap { open.indices.contains($0) ? open[$0].key : nil }.min() ?? .max
            let limit = min(others, nextWaiting ?? .max)
            let wanted = cursor.candidates.wanted
            repeat {
                let index = Int(isForward ? wanted[cursor.step] : wanted[wanted.count - 1 - cursor.step])
                scan.lines += 1
                if try !cursor.candidates.show(index, visit) { return }
                cursor.step += 1
                guard cursor.step < wanted.count else { break }
                let next = isForward ? wanted[cursor.step] : wanted[wanted.count - 1 - cursor.step]
                cursor.key = key(cursor.candidates.page.times[Int(next)])
            } while cursor.key < limit
            if cursor.step == wanted.count {
                let last = open.removeLast()
                if !open.isEmpty { open[0] = last }
            } else {
                open[0] = cursor
            }
            sink()
        }
    }

    private mutating func push(_ candidates: LogCandidates) {
        guard let index = isForward ? candidates.wanted.first : candidates.wanted.last else { return }
        open.append(Cursor(candidates: candidates, key: key(candidates.page.times[Int(index)])))
        var child = open.count - 1
        while child > 0, case let parent = (child - 1) / 2, open[child].key < open[parent].key {
            open.swapAt(child, parent)
            child = parent
        }
    }

    private mutating func sink() {
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < open.count && open[child].key < open[least].key
            {
                least = child
            }
            if least == parent { return }
            open.swapAt(parent, least)
            parent = least
        }
    }
}
