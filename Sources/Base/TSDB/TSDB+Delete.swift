package import Series
import Synchronization

extension TSDB {
    /// Deletes samples of the series that match, between two times, both included.
    ///
    /// They are gone from answers when this returns; blocks keep their bytes until `cleanTombstones`.
    ///
    /// - Returns: How many series had something deleted.
    package func delete(_ matchers: [LabelMatcher], from: Int64, to: Int64) throws -> Int {
        let prepared = try matchers.map { try PreparedMatcher($0) }
        let interval = Interval(from: from, to: to)
        return try maintenance.withLock { _ in
            var touched = Set<Labels>()
            let blocks = try core.withLock { core in
                _ = try core.log.begin()
                core.log.record.pointee.add(.deletion, Core.encodeDeletion(matchers, interval))
                touched = try core.eraseFromHead(matchers, interval)
                try core.log.commit()
                _ = core.head.removeEmpty()
                return core.blocks
            }
            for block in blocks where block.meta.from <= to && block.meta.to > from {
                try bury(prepared, interval, block, &touched)
            }
            return touched.count
        }
    }

    /// Marks what matches in one block as deleted.
    private func bury(
        _ matchers: [PreparedMatcher], _ interval: Interval, _ block: Block, _ touched: inout Set<Labels>
    ) throws {
        var tombstones = block.tombstones
        var hasAny = false
        do {
            for id in PreparedMatcher.matching(matchers, block.index).all {
                let chunks = try block.index.chunks(id)
                let gone = tombstones[id] ?? []
                let isHit = chunks.contains { chunk in
                    let (low, high) = (max(chunk.first, interval.from), min(chunk.last, interval.to))
                    return low <= high && !Block.without(gone, from: low, to: high).isEmpty
                }
                guard isHit, let first = chunks.first, let last = chunks.last else { continue }
                let clamped = Interval(from: max(interval.from, first.first), to: min(interval.to, last.last))
                tombstones[id] = Block.adding(clamped, to: gone)
                touched.insert(try block.index.labels(id))
                hasAny = true
            }
        } catch is ByteReader.Damaged {
            throw SeriesError(.storage, "\(block.files.folder)/index is damaged")
        }
        guard hasAny else { return }
        try Files.replace(block.files.folder + "/tombstones", with: Block.encodeTombstones(tombstones))
        try Files.syncFolder(block.files.folder)
        let buried = Block(block.files, tombstones: tombstones)
        core.withLock { core in
            core.blocks = core.blocks.map { $0.meta.id == block.meta.id ? buried : $0 }
        }
    }
}

extension IDSet {
    var all: [Int] {
        var ids: [Int] = []
        forEach { ids.append($0) }
        return ids
    }
}

extension Core {
    /// Takes samples out of the head.
    ///
    /// Returns the labels of the series that had any.
    func eraseFromHead(_ matchers: [LabelMatcher], _ interval: Interval) throws -> Set<Labels> {
        let prepared = try matchers.map { try PreparedMatcher($0) }
        var touched = Set<Labels>()
        for id in PreparedMatcher.matching(prepared, head.index).all {
            let series = head.pointer(id)
            if try series.pointee.erase(from: interval.from, to: interval.to) { touched.insert(series.pointee.labels) }
        }
        return touched
    }

    static func encodeDeletion(_ matchers: [LabelMatcher], _ interval: Interval) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendVarint(matchers.count)
        for matcher in matchers {
            bytes.appendText(Array(matcher.name.utf8))
            bytes.appendText(Array(matcher.comparison.rawValue.utf8))
            bytes.appendText(Array(matcher.value.utf8))
        }
        bytes.appendSigned(interval.from)
        bytes.appendSigned(interval.to)
        return bytes
    }

    static func decodeDeletion(_ bytes: UnsafeRawBufferPointer) throws -> ([LabelMatcher], Interval) {
        var reader = ByteReader(bytes)
        func text() throws -> String { String(decoding: try reader.text(), as: UTF8.self) }
        var matchers: [LabelMatcher] = []
        for _ in 0..<(try reader.count(limit: bytes.count)) {
            let name = try text()
            guard let comparison = LabelMatcher.Comparison(rawValue: try text()) else { throw ByteReader.Damaged() }
            matchers.append(LabelMatcher(name, comparison, try text()))
        }
        return (matchers, Interval(from: try reader.signed(), to: try reader.signed()))
    }
}
