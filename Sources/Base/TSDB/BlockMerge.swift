import Series

/// Writes the series of several blocks into one, without what has been deleted.
enum BlockMerge {
    private struct Cursor {
        let block: Block
        var id = 0
        var labels: Labels?

        init(_ block: Block) throws {
            self.block = block
            labels = block.index.seriesCount > 0 ? try block.index.labels(0) : nil
        }

        mutating func advance() throws {
            id += 1
            labels = id < block.index.seriesCount ? try block.index.labels(id) : nil
        }
    }

    private static func walk(_ blocks: [Block], _ body: (Labels, [(block: Block, id: Int)]) throws -> Void) throws {
        var cursors = try blocks.sorted { $0.meta.from < $1.meta.from }.map { try Cursor($0) }
        while let labels = cursors.compactMap(\.labels).min(by: { SetMerge.order($0, $1) < 0 }) {
            var owners: [(block: Block, id: Int)] = []
            for index in cursors.indices where cursors[index].labels == labels {
                owners.append((cursors[index].block, cursors[index].id))
                try cursors[index].advance()
            }
            try body(labels, owners)
        }
    }

    /// Chunks that nothing overlaps are copied as they are; others are read, merged and written anew.
    static func write(_ blocks: [Block], into writer: BlockWriter, where isKept: (Labels) throws -> Bool) throws {
        try walk(blocks) { labels, owners in
            guard try isKept(labels) else { return }
            var chunks: [SealedChunk] = []
            var isPlain = true
            for (block, id) in owners {
                if block.tombstones[id] != nil { isPlain = false }
                for chunk in try block.index.chunks(id) {
                    if let last = chunks.last, chunk.first <= last.last { isPlain = false }
                    chunks.append(
                        SealedChunk(
                            store: .make(try block.chunk(chunk).joined), first: chunk.first, last: chunk.last,
                            count: chunk.count))
                }
            }
            if !isPlain {
                var buffer = SampleBuffer()
                for (block, id) in owners { try block.read(id, from: .min, to: .max, into: &buffer) }
                chunks = ChunkBuilder.chunks(of: buffer)
            }
            try writer.add(labels, chunks)
        }
    }

    /// Calls the body with all samples of each series.
    static func forEachSeries(_ blocks: [Block], _ body: (Labels, SampleBuffer) throws -> Void) throws {
        var buffer = SampleBuffer()
        try walk(blocks) { labels, owners in
            buffer.removeAll()
            for (block, id) in owners { try block.read(id, from: .min, to: .max, into: &buffer) }
            try body(labels, buffer)
        }
    }
}
