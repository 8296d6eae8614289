import Series

/// Writes a block into a folder beside its place.
///
/// Series come sorted by labels, their chunks by time.
final class BlockWriter {
    static let bufferBytes = 1 << 20
    static let chunksMagic: [UInt8] = Array("VGTC\u{1}\u{0}\u{0}\u{0}".utf8)
    static let indexMagic: [UInt8] = Array("VGTI\u{1}\u{0}\u{0}\u{0}".utf8)

    private let folder: String
    private let file: WritableFile
    private var buffer: [UInt8] = []
    private var written = 0

    private var pairs = TextTable()
    private var postings: [[UInt32]] = []
    /// Numbers of pairs of all series in a row, in the order in which they were met, and where each series' end.
    private var seriesPairs: [UInt32] = []
    private var seriesEnds: [Int] = []
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
        buffer = Self.chunksMagic
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
            chunkLists.appendSigned(chunk.first &- before)
            chunkLists.appendVarint(UInt64(bitPattern: chunk.last &- chunk.first))
            chunkLists.appendVarint(chunk.store.bytes.count)
            chunkLists.appendVarint(chunk.count)
            before = chunk.last
            buffer.append(contentsOf: chunk.store.bytes)
            buffer.appendHalf(Checksum.of(chunk.store.bytes))
            (first, last) = (min(first, chunk.first), max(last, chunk.last))
            sampleCount += chunk.count
        }
        chunkCount += chunks.count
        chunkListEnds.append(chunkLists.count)
        if buffer.count >= Self.bufferBytes { try flush() }
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
        return assemble(names, (pairOffsets, pairBytes), (seriesOffsets, series), (listOffsets, lists))
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

    private func assemble(
        _ names: [Int], _ pairs: ([Int], [UInt8]), _ series: ([Int], [UInt8]), _ lists: ([Int], [UInt8])
    ) -> [UInt8] {
        var bytes = Self.indexMagic
        for count in [names.count - 1, pairs.0.count - 1, series.0.count - 1, 0] { bytes.appendHalf(UInt32(count)) }
        var at = bytes.count + 8 * 8
        for size in [
            names.count * 4, pairs.0.count * 4, pairs.1.count, series.0.count * 4, series.1.count, lists.0.count * 4,
            lists.1.count, 0,
        ] {
            bytes.appendWord(UInt64(at))
            at += size
        }
        for number in names { bytes.appendHalf(UInt32(number)) }
        for (offsets, content) in [pairs, series, lists] {
            for offset in offsets { bytes.appendHalf(UInt32(offset)) }
            bytes.append(contentsOf: content)
        }
        return bytes
    }
}
