import Series

/// What a selection found: for each series what the head had of it and where blocks have more.
struct StoreSet: SeriesSet {
    /// One series in one block, with the times for which that block is to be asked.
    struct BlockPart: Sendable {
        let block: Block
        let series: Int
        let from: Int64
        let to: Int64
    }

    struct Entry: Sendable {
        let labels: Labels
        var head: HeadPart?
        /// By the beginning of the blocks.
        var blocks: [BlockPart] = []
    }

    let entries: [Entry]
    let from: Int64
    let to: Int64

    var count: Int { entries.count }
    func labels(at index: Int) -> Labels { entries[index].labels }

    func read(_ index: Int, into buffer: inout SampleBuffer) throws {
        buffer.removeAll()
        do {
            for part in entries[index].blocks {
                try part.block.read(part.series, from: part.from, to: part.to, into: &buffer)
            }
            try entries[index].head?.read(from: from, to: to, into: &buffer)
        } catch is ByteReader.Damaged {
            throw SeriesError(.storage, "a chunk of \(entries[index].labels) is damaged")
        }
    }
}
