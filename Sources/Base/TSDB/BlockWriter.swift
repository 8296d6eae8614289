import Series

/// Writes a block into a folder beside its place.
///
/// Series come sorted by labels, their chunks by time.
final class BlockWriter {
    static let bufferBytes = 1 << 20

    private let folder: String
    private let file: WritableFile
    private var buffer: [UInt8] = []
    private var written = 0

    private var pairs = TextTable()
    private var postings: [[UInt32]] = []
    /// Numbers of pairs of all series in a row, in the order in which they were met, and where each series' end.
    private var seriesPairs: [UInt32] = []
    private var seriesEnds: [Int] = []
    /// Columns of times, each once, and the last time of each.
    private var columns = TextTable()
    private var columnLasts: [Int64] = []
    private var chunkLists: [UInt8] = []
    private var chunkListEnds: [Int] = []

    private(set) var first = Int64.max
    private(set) var last = Int64.min
    private(set) var sampleCount = 0
    private(set) var chunkCount = 0
    var seriesCount: Int { seriesEnds.count }

    init(folder: String) throws {
        self.folder = folder
        if Files.exists(folder) { try Files.removeTree(folder) }
        try Files.makeFolder(folder)
        file = try WritableFile(folder + "/chunks")
        buffer = BlockFormat.magic(BlockFormat.chunks)
    }

    func add(_ labels: Labels, _ chunks: [SealedChunk]) throws {
        guard !chunks.isEmpty else { return }
        let id = UInt32(seriesEnds.count)
        labels.forEach { name, value in
            var pair = LabelsWriter()
            pair.add(name, value)
            let (index, isNew) = pair.bytes.withUnsafeBufferPointer { pairs.insert($0) }
            if isNew { postings.append([]) }
            postings[index].append(id)
            seriesPairs.append(UInt32(index))
        }
        seriesEnds.append(seriesPairs.count)
        chunkLists.appendVarint(written + buffer.count)
        chunkLists.appendVarint(chunks.count)
        var before: Int64 = 0
        for chunk in chunks {
            try write(chunk, after: before)
            before = chunk.last
            (first, last) = (min(first, chunk.first), max(last, chunk.last))
            sampleCount += chunk.count
        }
        chunkCount += chunks.count
        chunkListEnds.append(chunkLists.count)
        if buffer.count >= Self.bufferBytes { try flush() }
    }

    /// Writes a chunk without its times where these are a column of their own.
    private func write(_ chunk: SealedChunk, after before: Int64) throws {
        let store = chunk.store.bytes.first == ChunkKind.stream.rawValue ? try Self.apart(chunk) : chunk.store
        let bytes = store.bytes
        let start = buffer.count
        if let range = try ChunkBytes.column(of: bytes) {
            let column = UnsafeRawBufferPointer(rebasing: bytes[range]).bindMemory(to: UInt8.self)
            let (number, isNew) = columns.insert(column)
            if isNew { columnLasts.append(chunk.last) }
            chunkLists.appendVarint(number + 1)
            chunkLists.appendVarint(bytes.count - range.count)
            buffer.append(contentsOf: bytes[..<range.lowerBound])
            buffer.append(contentsOf: bytes[range.upperBound...])
        } else {
            chunkLists.appendVarint(0)
            chunkLists.appendSigned(chunk.first &- before)
            chunkLists.appendVarint(UInt64(bitPattern: chunk.last &- chunk.first))
            chunkLists.appendVarint(bytes.count)
            chunkLists.appendVarint(chunk.count)
            buffer.append(contentsOf: bytes)
        }
        buffer.appendHalf(buffer.withUnsafeBytes { Checksum.of(UnsafeRawBufferPointer(rebasing: $0[start...])) })
    }

    /// A chunk as an open one gathered it, with its times apart.
    private static func apart(_ chunk: SealedChunk) throws -> ChunkStore {
        var samples = SampleBuffer()
        try ChunkKind.decode(chunk.store.chunk, from: .min, to: .max, into: &samples)
        return samples.times.withUnsafeBufferPointer { times in
            samples.values.withUnsafeBufferPointer { .make(FloatChunk.encode(times, $0)) }
        }
    }

    private func flush() throws {
        try buffer.withUnsafeBytes { try file.write($0) }
        written += buffer.count
        buffer.removeAll(keepingCapacity: true)
    }

    /// Writes the index and what the block says of itself; all of it is on disk afterwards.
    func finish(_ meta: BlockMeta) throws {
        try flush()
        try file.sync()
        let index = try WritableFile(folder + "/index")
        var bytes = try indexBytes()
        bytes.appendHalf(Checksum.of(bytes))
        try bytes.withUnsafeBytes { try index.write($0) }
        try index.sync()
        var meta = meta
        (meta.series, meta.chunks, meta.samples) = (seriesCount, chunkCount, sampleCount)
        try Files.replace(folder + "/meta", with: meta.encoded)
        try Files.syncFolder(folder)
    }

    private func indexBytes() throws -> [UInt8] {
        // Pairs get their final numbers by order of name and value.
        let order = (0..<pairs.count).sorted { left, right in
            pairs.withText(left) { one in pairs.withText(right) { compareEncoded(one, $0) < 0 } }
        }
        var numbers = [UInt32](repeating: 0, count: order.count)
        for (number, index) in order.enumerated() { numbers[index] = UInt32(number) }
        var (pairBytes, pairOffsets, names): ([UInt8], [Int], [Int]) = ([], [0], [])
        var (lists, listOffsets): ([UInt8], [Int]) = ([], [0])
        var lastName: [UInt8]?
        for (number, index) in order.enumerated() {
            pairs.withText(index) { pair in
                pairBytes.append(contentsOf: pair)
                var cursor = LabelCursor(pair)
                if let name = cursor.next()?.name, lastName.map({ !name.elementsEqual($0) }) ?? true {
                    names.append(number)
                    lastName = Array(name)
                }
            }
            pairOffsets.append(pairBytes.count)
            var before: UInt32 = 0
            for id in postings[index] {
                lists.appendVarint(UInt64(id - before))
                before = id
            }
            listOffsets.append(lists.count)
        }
        names.append(order.count)
        let (series, seriesOffsets) = seriesSection(numbers)
        guard max(pairBytes.count, lists.count, series.count) < Int(UInt32.max) else {
            throw SeriesError(.storage, "the index of \(folder) would be too large")
        }
        let times = columnsSection()
        guard times.bytes.count < Int(UInt32.max) else {
            throw SeriesError(.storage, "the times of \(folder) would be too large")
        }
        return assemble(
            names,
            [(pairOffsets, pairBytes), (seriesOffsets, series), (listOffsets, lists), (times.offsets, times.bytes)])
    }

    private func seriesSection(_ numbers: [UInt32]) -> (bytes: [UInt8], offsets: [Int]) {
        var (bytes, offsets): ([UInt8], [Int]) = ([], [0])
        var (pairStart, listStart) = (0, 0)
        for series in seriesEnds.indices {
            let ids = seriesPairs[pairStart..<seriesEnds[series]]
            bytes.appendVarint(ids.count)
            var before: UInt32 = 0
            for id in ids {
                let number = numbers[Int(id)]
                bytes.appendVarint(UInt64(number - before))
                before = number
            }
            bytes.append(contentsOf: chunkLists[listStart..<chunkListEnds[series]])
            offsets.append(bytes.count)
            (pairStart, listStart) = (seriesEnds[series], chunkListEnds[series])
        }
        return (bytes, offsets)
    }

    private func columnsSection() -> (bytes: [UInt8], offsets: [Int]) {
        var (bytes, offsets): ([UInt8], [Int]) = ([], [0])
        for (number, last) in columnLasts.enumerated() {
            bytes.appendSigned(last)
            columns.withText(number) { bytes.append(contentsOf: $0) }
            offsets.append(bytes.count)
        }
        return (bytes, offsets)
    }

    /// Puts the parts behind one another: names, then each part's places and content.
    private func assemble(_ names: [Int], _ parts: [(offsets: [Int], content: [UInt8])]) -> [UInt8] {
        var bytes = BlockFormat.magic(BlockFormat.index)
        // Names, pairs, series, columns: postings are as many as pairs.
        for count in [names.count, parts[0].offsets.count, parts[1].offsets.count, parts[3].offsets.count] {
            bytes.appendHalf(UInt32(count - 1))
        }
        let sizes = [names.count * 4] + parts.flatMap { [$0.offsets.count * 4, $0.content.count] } + [0]
        var at = bytes.count + sizes.count * 8
        for size in sizes {
            bytes.appendWord(UInt64(at))
            at += size
        }
        for number in names { bytes.appendHalf(UInt32(number)) }
        for (offsets, content) in parts {
            for offset in offsets { bytes.appendHalf(UInt32(offset)) }
            bytes.append(contentsOf: content)
        }
        return bytes
    }
}
