import Series
import Synchronization

extension TSDB {
    /// What one call of `compact` did.
    package struct Compaction: Sendable, Hashable {
        package var cut = 0
        package var merged = 0
        package var thinned = 0
    }

    /// Moves what is old enough out of memory, merges blocks and thins old ones.
    ///
    /// Appends and queries go on meanwhile.
    ///
    /// A range of the head is cut once the newest sample is half a range past it and no sample came into it since the last
    /// call, so that loading one series after another does not shut the door on the later ones. Call it every minute.
    @discardableResult
    package func compact() throws -> Compaction {
        try maintenance.withLock { _ in
            var done = Compaction()
            let boundary = core.withLock { $0.boundaryForCut(options) }
            if let boundary { done.cut = try cutHead(before: boundary) }
            while let group = BlockGroups.next(core.withLock { ($0.blocks, $0.head.boundary) }, options) {
                try merge(group)
                done.merged += 1
            }
            done.thinned = try thinBlocks()
            return done
        }
    }

    /// Moves every sample before a time out of memory, however new; for a shutdown or a test.
    ///
    /// - Returns: How many blocks were written.
    @discardableResult
    package func cut(before time: Int64) throws -> Int {
        try maintenance.withLock { _ in try cutHead(before: rangeStart(time, options.blockRange)) }
    }

    private struct CutPart {
        let id: Int
        let labels: Labels
        let chunks: [SealedChunk]
        let late: [LateSample]
    }

    private func cutHead(before boundary: Int64) throws -> Int {
        let (parts, segment) = core.withLock { core in (core.partsForCut(boundary), core.log.lastNumber) }
        var cut: [CutPart] = []
        cut.reserveCapacity(parts.count)
        for (id, labels, part) in parts {
            cut.append(
                CutPart(
                    id: id, labels: labels, chunks: part.chunks(before: boundary),
                    late: part.late.filter { $0.time < boundary }))
        }
        var windows = Set<Int64>()
        for part in cut {
            for chunk in part.chunks { windows.insert(rangeStart(chunk.first, options.blockRange)) }
            for sample in part.late { windows.insert(rangeStart(sample.time, options.blockRange)) }
        }
        var blocks: [Block] = []
        for window in windows.sorted() {
            if let block = try write(cut, window) { blocks.append(block) }
        }
        try writeMetadata()
        try core.withLock { core in
            core.blocks = (core.blocks + blocks).sorted { $0.meta.from < $1.meta.from }
            for part in cut {
                core.head.pointer(part.id).pointee.drop(before: boundary, written: part.late)
                core.head.sampleCount -= part.chunks.reduce(part.late.count) { $0 + $1.count }
                core.head.lateCount -= part.late.count
            }
            _ = core.head.removeEmpty()
            try core.log.drop(before: boundary, upTo: segment)
        }
        return blocks.count
    }

    /// Writes the block of one window of what was cut.
    private func write(_ parts: [CutPart], _ window: Int64) throws -> Block? {
        let end = rangeEnd(window, options.blockRange)
        let id = core.withLock { $0.takeBlockNumber() }
        let meta = BlockMeta(id: id, from: window, to: end, cut: end)
        return try writeBlock(meta) { writer in
            for part in parts {
                let chunks = part.chunks.filter { $0.first >= window && $0.first < end }
                let late = part.late.isEmpty ? SampleBuffer() : HeadPart.buffer(part.late, from: window, to: end - 1)
                if late.count == 0 {
                    try writer.add(part.labels, chunks)
                    continue
                }
                var buffer = SampleBuffer()
                for chunk in chunks {
                    try ChunkKind.merge(chunk.store.chunk, first: chunk.first, from: .min, to: .max, into: &buffer)
                }
                buffer.merge(late)
                try writer.add(part.labels, ChunkBuilder.chunks(of: buffer))
            }
        }
    }

    /// Writes a block beside its place, moves it there, and opens it.
    ///
    /// Nil when nothing was written into it.
    func writeBlock(_ meta: BlockMeta, _ body: (BlockWriter) throws -> Void) throws -> Block? {
        let place = folder + "/blocks/"
        let unfinished = place + "unfinished-\(meta.id)"
        let writer = try BlockWriter(folder: unfinished)
        do {
            try body(writer)
            guard writer.seriesCount > 0 else {
                try Files.removeTree(unfinished)
                return nil
            }
            try writer.finish(meta)
        } catch is ByteReader.Damaged {
            throw SeriesError(.storage, "a chunk is damaged; block \(meta.id) was not written")
        }
        let name = place + BlockMeta.name(meta.id)
        try Files.rename(unfinished, to: name)
        try Files.syncFolder(folder + "/blocks")
        return try Block.open(name)
    }

    /// What metrics are goes to a file before the log may forget it.
    private func writeMetadata() throws {
        let all = core.withLock { $0.metadata }
        var bytes: [UInt8] = []
        for (name, metadata) in all.sorted(by: { $0.key < $1.key }) { bytes += Core.encode(name, metadata) }
        bytes.appendHalf(Checksum.of(bytes))
        try Files.replace(folder + "/metadata", with: bytes)
    }

    /// Puts one block in the place of others, and removes those.
    func replace(_ old: [Block], by new: Block?) throws {
        let ids = Set(old.map { $0.meta.id })
        core.withLock { core in
            let kept = core.blocks.filter { !ids.contains($0.meta.id) }
            core.blocks = (kept + (new.map { [$0] } ?? [])).sorted { $0.meta.from < $1.meta.from }
        }
        for block in old { try Files.removeTree(block.files.folder) }
    }

    // MARK: - Merging and thinning

    private func merge(_ group: [Block]) throws {
        let id = core.withLock { $0.takeBlockNumber() }
        let from = group.map { $0.meta.from }.min() ?? 0
        var meta = BlockMeta(
            id: id, from: from, to: group.map { $0.meta.to }.max() ?? from, cut: group.map { $0.meta.cut }.max() ?? from
        )
        meta.level = (group.map { $0.meta.level }.max() ?? 0) + 1
        meta.replaces = group.map { $0.meta.id }
        try replace(group, by: try writeBlock(meta) { try BlockMerge.write(group, into: $0) { _ in true } })
    }

    private func thinBlocks() throws -> Int {
        guard let after = options.downsampleAfter else { return 0 }
        let (blocks, newest) = core.withLock { ($0.blocks, $0.newest) }
        var count = 0
        for block in blocks where block.meta.resolution == 0 && block.meta.to <= newest - after {
            for window in Thinning.windows {
                let own = blocks.filter { $0.meta.resolution == window }
                if own.contains(where: { $0.meta.sources == [block.meta.id] }) { continue }
                let old = own.filter { $0.meta.from >= block.meta.from && $0.meta.to <= block.meta.to }
                var meta = block.meta
                meta.id = core.withLock { $0.takeBlockNumber() }
                (meta.resolution, meta.sources, meta.replaces) = (window, [block.meta.id], old.map { $0.meta.id })
                let thinned = try writeBlock(meta) { writer in
                    try BlockMerge.forEachSeries([block]) { labels, buffer in
                        try writer.add(labels, ChunkBuilder.chunks(of: Thinning.thin(buffer, window: window)))
                    }
                }
                try replace(old, by: thinned)
                count += 1
            }
        }
        return count
    }
}

extension Core {
    func takeBlockNumber() -> UInt64 {
        defer { nextBlock += 1 }
        return nextBlock
    }

    /// Before which time the head should be cut now; nil when not yet.
    func boundaryForCut(_ options: TSDBOptions) -> Int64? {
        let filling = head.oldestSinceLook
        head.oldestSinceLook = .max
        guard head.newest > .min else { return nil }
        let half = head.newest.subtractingReportingOverflow(options.blockRange / 2)
        var boundary = rangeStart(half.overflow ? .min : half.partialValue, options.blockRange)
        if head.sampleCount < options.headSamplesAtMost {
            boundary = min(boundary, rangeStart(filling, options.blockRange))
        }
        let hasAny = head.index.live.all.contains { head.pointer($0).pointee.firstTime < boundary }
        return hasAny ? boundary : nil
    }

    /// What the head has before a time; from now on only late samples go there.
    func partsForCut(_ boundary: Int64) -> [(Int, Labels, HeadPart)] {
        head.boundary = max(head.boundary, boundary)
        log.roll()
        var parts: [(Int, Labels, HeadPart)] = []
        for id in head.sorted(head.index.live) where head.pointer(id).pointee.firstTime < boundary {
            parts.append((id, head.pointer(id).pointee.labels, HeadPart(head.pointer(id).pointee)))
        }
        return parts
    }
}

/// Which blocks belong together.
enum BlockGroups {
    /// Blocks of one window that is complete, the smallest window first; nil when all is merged.
    static func next(_ state: (blocks: [Block], boundary: Int64), _ options: TSDBOptions) -> [Block]? {
        let raw = state.blocks.filter { $0.meta.resolution == 0 }
        var window = options.blockRange
        while window <= max(options.blockRange, options.blockRangeAtMost) {
            var groups: [Int64: [Block]] = [:]
            for block in raw where block.meta.to - block.meta.from <= window {
                let start = rangeStart(block.meta.from, window)
                if rangeEnd(start, window) <= state.boundary { groups[start, default: []].append(block) }
            }
            if let start = groups.keys.sorted().first(where: { (groups[$0]?.count ?? 0) > 1 }) { return groups[start] }
            window *= 3
        }
        return nil
    }
}
