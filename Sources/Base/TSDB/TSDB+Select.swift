package import Series
import Synchronization

extension TSDB {
    package func select(_ selection: Selection) throws -> any SeriesSet {
        let matchers = try selection.matchers.map { try PreparedMatcher($0) }
        // Many new series are sorted while others may write.
        if var fresh = core.withLock({ $0.head.freshToSort() }) {
            fresh.sort()
            core.withLock { [fresh] in $0.head.merge(fresh) }
        }
        let (head, sources) = try core.withLock { core in
            let sources = BlockPlan.sources(
                core.blocks, from: selection.from, to: selection.to, resolution: selection.resolution)
            var wanted = selection
            // A block may hold something newer than the head does.
            if !sources.isEmpty { wanted.newestOnly = false }
            return (try core.snapshot(matchers, wanted), sources)
        }
        if sources.isEmpty { return head }
        let entries = try SetMerge.entries(head.entries, sources, matchers, limit: selection.seriesLimit)
        return StoreSet(entries: entries, from: selection.from, to: selection.to)
    }

    package func labelNames(_ matchers: [[LabelMatcher]], from: Int64, to: Int64) throws -> [String] {
        var names = Set<String>()
        try gather(matchers, from: from, to: to) { name, _ in
            names.insert(String(decoding: name, as: UTF8.self))
        } all: { core in
            for index in 0..<core.head.index.names.count {
                names.insert(core.head.index.nameTable.withText(index) { String(decoding: $0, as: UTF8.self) })
            }
        } block: { index in
            for number in 0..<index.nameCount { names.insert(String(decoding: index.name(number), as: UTF8.self)) }
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    package func labelValues(
        _ name: String, _ matchers: [[LabelMatcher]], from: Int64, to: Int64
    ) throws -> [String] {
        var values = Set<String>()
        let wanted = Array(name.utf8)
        try gather(matchers, from: from, to: to) { name, value in
            if name.elementsEqual(wanted) { values.insert(String(decoding: value, as: UTF8.self)) }
        } all: { core in
            guard let entry = core.head.index.name(wanted) else { return }
            for index in 0..<entry.values.count {
                values.insert(entry.values.withText(index) { String(decoding: $0, as: UTF8.self) })
            }
        } block: { index in
            for pair in wanted.withUnsafeBufferPointer({ index.pairs(named: $0) }) {
                values.insert(String(decoding: index.value(pair), as: UTF8.self))
            }
        }
        return values.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// Walks the labels of what matches; without matchers the indexes, which is cheaper.
    private func gather(
        _ lists: [[LabelMatcher]], from: Int64, to: Int64,
        _ body: (UnsafeBufferPointer<UInt8>, UnsafeBufferPointer<UInt8>) -> Void,
        all: (Core) -> Void, block: (BlockIndex) -> Void
    ) throws {
        for list in lists {
            let set = try select(Selection(list, from: from, to: to))
            for index in 0..<set.count { set.labels(at: index).forEach(body) }
        }
        guard lists.isEmpty else { return }
        let blocks = core.withLock { core in
            if to >= core.head.boundary || core.head.lateCount > 0 { all(core) }
            return core.blocks
        }
        for part in blocks where part.meta.from <= to && part.meta.to > from { block(part.index) }
    }

    /// Exemplars of the series that match, by series and time.
    package func exemplars(
        _ matchers: [LabelMatcher], from: Int64, to: Int64
    ) throws -> [(series: Labels, exemplars: [Exemplar])] {
        let prepared = try matchers.map { try PreparedMatcher($0) }
        let all = core.withLock { $0.exemplars.inOrder }
        var bySeries: [Labels: [Exemplar]] = [:]
        for entry in all where entry.exemplar.time >= from && entry.exemplar.time <= to {
            guard prepared.allSatisfy({ $0.accepts(entry.series) }) else { continue }
            bySeries[entry.series, default: []].append(entry.exemplar)
        }
        return bySeries.sorted { $0.key < $1.key }.map { ($0.key, $0.value.sorted { $0.time < $1.time }) }
    }
}

extension Core {
    /// The series of the head that match and have samples between two times, sorted, as they are now.
    func snapshot(_ matchers: [PreparedMatcher], _ selection: Selection) throws -> HeadSet {
        let found = head.find(selection.matchers, matchers)
        var set = HeadSet(found, from: selection.from, to: selection.to)
        set.reserve(min(found.ids.count, selection.seriesLimit), newestOnly: selection.newestOnly)
        try head.forEach(of: found) { place, series in
            if selection.newestOnly, let newest = series.pointee.newestNumber {
                guard newest.time >= selection.from else { return }
                if newest.time <= selection.to {
                    if set.count >= selection.seriesLimit { throw SetMerge.tooMany(selection.seriesLimit) }
                    return set.add(place, newest)
                }
            }
            let last = max(series.pointee.lastTime, series.pointee.late.last?.time ?? .min)
            guard last >= selection.from, series.pointee.firstTime <= selection.to else { return }
            if set.count >= selection.seriesLimit { throw SetMerge.tooMany(selection.seriesLimit) }
            set.add(place, HeadPart(series.pointee))
        }
        return set
    }
}

/// Which blocks answer for which times.
enum BlockPlan {
    struct Source {
        let block: Block
        let from: Int64
        let to: Int64
    }

    /// Prefers the coarsest copy that the asker can live with, then finer ones, and where nothing else is left
    /// coarser ones.
    static func sources(_ blocks: [Block], from: Int64, to: Int64, resolution: Int64) -> [Source] {
        let near = blocks.filter { $0.meta.from <= to && $0.meta.to > from }
        let all = Set(near.map { $0.meta.resolution })
        let order = all.filter { $0 <= resolution }.sorted(by: >) + all.filter { $0 > resolution }.sorted()
        var (sources, covered): ([Source], [Interval]) = ([], [])
        for tier in order {
            let own = near.filter { $0.meta.resolution == tier }
            for block in own {
                let (low, high) = (max(from, block.meta.from), min(to, block.meta.to - 1))
                guard low <= high else { continue }
                for part in Block.without(covered, from: low, to: high) {
                    sources.append(Source(block: block, from: part.from, to: part.to))
                }
            }
            for block in own {
                covered = Block.adding(Interval(from: block.meta.from, to: block.meta.to - 1), to: covered)
            }
        }
        return sources.sorted { $0.from < $1.from }
    }
}

/// Brings the series of the head and of blocks together, by their labels.
enum SetMerge {
    static func tooMany(_ limit: Int) -> SeriesError {
        SeriesError(.tooManySeries, "the selector matches more than \(limit) series")
    }

    /// The series of one source that match, in order.
    private struct Run {
        let source: BlockPlan.Source
        var ids: [Int]
        var place = 0
        var labels: Labels?

        /// Goes to the next series that has samples in the source's range.
        mutating func advance() throws {
            while place < ids.count {
                let id = ids[place]
                place += 1
                guard try hasSamples(id) else { continue }
                labels = try source.block.index.labels(id)
                return
            }
            labels = nil
        }

        private func hasSamples(_ id: Int) throws -> Bool {
            let block = source.block
            let gone = block.tombstones.isEmpty ? nil : block.tombstones[id]
            if gone == nil && source.from <= block.meta.from && source.to >= block.meta.to - 1 { return true }
            var hasAny = false
            try block.index.forEachChunk(id) { chunk in
                let (low, high) = (max(chunk.first, source.from), min(chunk.last, source.to))
                hasAny = low <= high && (gone.map { !Block.without($0, from: low, to: high).isEmpty } ?? true)
                return !hasAny
            }
            return hasAny
        }
    }

    static func entries(
        _ head: [StoreSet.Entry], _ sources: [BlockPlan.Source], _ matchers: [PreparedMatcher], limit: Int
    ) throws -> [StoreSet.Entry] {
        var runs: [Run] = []
        do {
            for source in sources {
                var run = Run(source: source, ids: [])
                PreparedMatcher.matching(matchers, source.block.index).forEach { run.ids.append($0) }
                try run.advance()
                runs.append(run)
            }
            return try merged(head, &runs, limit)
        } catch is ByteReader.Damaged {
            throw SeriesError(.storage, "a block's index is damaged")
        }
    }

    private static func merged(_ head: [StoreSet.Entry], _ runs: inout [Run], _ limit: Int) throws -> [StoreSet.Entry] {
        var (entries, at): ([StoreSet.Entry], Int) = ([], 0)
        entries.reserveCapacity(head.count)
        while true {
            var least = at < head.count ? head[at].labels : nil
            for run in runs {
                if let labels = run.labels, least.map({ order(labels, $0) < 0 }) ?? true { least = labels }
            }
            guard let labels = least else { return entries }
            if entries.count >= limit { throw tooMany(limit) }
            var entry = StoreSet.Entry(labels: labels)
            if at < head.count, head[at].labels == labels {
                entry = head[at]
                at += 1
            }
            for index in runs.indices where runs[index].labels == labels {
                let run = runs[index]
                entry.blocks.append(
                    .init(
                        block: run.source.block, series: run.ids[run.place - 1], from: run.source.from,
                        to: run.source.to))
                try runs[index].advance()
            }
            entries.append(entry)
        }
    }

    static func order(_ left: Labels, _ right: Labels) -> Int {
        left.bytes.withUnsafeBufferPointer { one in right.bytes.withUnsafeBufferPointer { compareEncoded(one, $0) } }
    }
}
