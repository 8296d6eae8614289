import Series

/// A block's index, read where it lies.
///
/// Series are numbered in the order of their labels.
final class BlockIndex: LabelIndex, Sendable {
    struct Chunk {
        var first: Int64
        var last: Int64
        var offset: Int
        var length: Int
        var count: Int
        /// The times, when they are not in the chunk.
        var column: UnsafeRawBufferPointer?
    }

    let file: MappedFile
    let seriesCount: Int
    let nameCount: Int
    let pairCount: Int
    private let columnCount: Int
    /// Format 1: chunks have their times in them.
    private let isOld: Bool
    private let path: String
    /// Where the sections begin; the last one is the end.
    private let sections: [Int]

    var universe: Int { seriesCount }

    init(_ file: MappedFile, path: String) throws {
        self.file = file
        self.path = path
        let bytes = file.bytes
        let damaged = SeriesError(.storage, "\(path) is damaged")
        guard bytes.count >= 92, BlockFormat.isReadable(bytes, BlockFormat.index), Checksum.isLast(in: bytes) else {
            throw damaged
        }
        let body = UnsafeRawBufferPointer(rebasing: bytes.dropLast(4))
        var reader = ByteReader(body)
        isOld = try reader.word() >> 32 == 1
        (nameCount, pairCount, seriesCount) = (Int(try reader.half()), Int(try reader.half()), Int(try reader.half()))
        columnCount = Int(try reader.half())
        var sections: [Int] = []
        for _ in 0..<(isOld ? 8 : 10) { sections.append(Int(truncatingIfNeeded: try reader.word())) }
        self.sections = sections
        let fixed =
            [(0, nameCount), (1, pairCount), (3, seriesCount), (5, pairCount)] + (isOld ? [] : [(7, columnCount)])
        guard sections == sections.sorted(), sections.last == body.count, sections[0] == reader.position,
            fixed.allSatisfy({ sections[$0.0 + 1] - sections[$0.0] == ($0.1 + 1) * 4 })
        else { throw damaged }
    }

    /// Entry `index` of a section of offsets.
    @inline(__always)
    private func half(_ section: Int, _ index: Int) -> Int {
        Int(
            UInt32(
                littleEndian: file.bytes.loadUnaligned(fromByteOffset: sections[section] + index * 4, as: UInt32.self)))
    }

    /// Entry `index` of the content that the offsets of `section` lead into.
    @inline(__always)
    private func content(_ section: Int, _ index: Int) -> UnsafeRawBufferPointer {
        let start = sections[section + 1]
        let limit = sections[section + 2] - start
        let from = min(half(section, index), limit)
        let to = min(max(from, half(section, index + 1)), limit)
        return UnsafeRawBufferPointer(rebasing: file.bytes[start + from..<start + to])
    }

    func pair(_ number: Int) -> UnsafeBufferPointer<UInt8> {
        guard number < pairCount else { return UnsafeBufferPointer(start: nil, count: 0) }
        return content(1, number).bindMemory(to: UInt8.self)
    }

    func labels(_ series: Int) throws -> Labels {
        var reader = ByteReader(content(3, series))
        var bytes: [UInt8] = []
        bytes.reserveCapacity(256)
        var number = 0
        for _ in 0..<(try reader.count(limit: reader.remaining)) {
            number &+= try reader.count(limit: pairCount)
            bytes.append(contentsOf: pair(number))
        }
        return Labels(encoded: bytes)
    }

    /// The chunks of a series, by time.
    func chunks(_ series: Int) throws -> [Chunk] {
        var chunks: [Chunk] = []
        try forEachChunk(series) { chunk in
            chunks.append(chunk)
            return true
        }
        return chunks
    }

    /// Calls the body with each chunk of a series, by time, for as long as it answers true.
    @inline(__always)
    func forEachChunk(_ series: Int, _ body: (Chunk) throws -> Bool) throws {
        var reader = ByteReader(content(3, series))
        for _ in 0..<(try reader.count(limit: reader.remaining)) { _ = try reader.varint() }
        var offset = try reader.count()
        let count = try reader.count(limit: reader.remaining)
        var before: Int64 = 0
        for _ in 0..<count {
            var chunk = Chunk(first: 0, last: 0, offset: offset, length: 0, count: 0)
            let column = isOld ? 0 : try reader.count(limit: columnCount)
            if column > 0 {
                try fill(&chunk, fromColumn: column - 1)
            } else {
                chunk.first = before &+ (try reader.signed())
                chunk.last = chunk.first &+ Int64(bitPattern: try reader.varint())
            }
            chunk.length = try reader.count(limit: 1 << 30)
            if column == 0 { chunk.count = try reader.count() }
            before = chunk.last
            offset &+= chunk.length + 4
            guard try body(chunk) else { return }
        }
    }

    @inline(__always)
    private func fill(_ chunk: inout Chunk, fromColumn number: Int) throws {
        var reader = ByteReader(content(7, number))
        chunk.last = try reader.signed()
        chunk.column = reader.rest
        chunk.count = try reader.count(limit: HeadSeries.samplesAtMost)
        chunk.first = try reader.signed()
    }

    // MARK: - Names and values

    func name(_ index: Int) -> UnsafeBufferPointer<UInt8> {
        var cursor = LabelCursor(pair(half(0, index)))
        return cursor.next()?.name ?? UnsafeBufferPointer(start: nil, count: 0)
    }

    func value(_ pair: Int) -> UnsafeBufferPointer<UInt8> {
        var cursor = LabelCursor(self.pair(pair))
        return cursor.next()?.value ?? UnsafeBufferPointer(start: nil, count: 0)
    }

    /// The numbers of the pairs with a name.
    func pairs(named name: UnsafeBufferPointer<UInt8>) -> Range<Int> {
        var (low, high) = (0, nameCount)
        while low < high {
            let middle = (low + high) / 2
            if compareBytes(self.name(middle), name) < 0 { low = middle + 1 } else { high = middle }
        }
        guard low < nameCount, compareBytes(self.name(low), name) == 0 else { return 0..<0 }
        return half(0, low)..<max(half(0, low), min(half(0, low + 1), pairCount))
    }

    func insertAll(into set: inout IDSet) {
        for id in 0..<seriesCount { set.insert(id) }
    }

    func insert(_ name: [UInt8], _ value: UnsafeBufferPointer<UInt8>, into set: inout IDSet) {
        let range = name.withUnsafeBufferPointer { pairs(named: $0) }
        var (low, high) = (range.lowerBound, range.upperBound)
        while low < high {
            let middle = (low + high) / 2
            if compareBytes(self.value(middle), value) < 0 { low = middle + 1 } else { high = middle }
        }
        if low < range.upperBound, compareBytes(self.value(low), value) == 0 { insert(pair: low, into: &set) }
    }

    func insert(_ name: [UInt8], into set: inout IDSet, where accepts: (UnsafeBufferPointer<UInt8>) -> Bool) {
        for number in name.withUnsafeBufferPointer({ pairs(named: $0) }) where accepts(value(number)) {
            insert(pair: number, into: &set)
        }
    }

    private func insert(pair number: Int, into set: inout IDSet) {
        var id = 0
        for delta in decoded(number) {
            id += delta
            if id < seriesCount { set.insert(id) }
        }
    }

    /// How many series have a pair.
    func seriesCount(ofPair number: Int) -> Int { decoded(number).count }

    private func decoded(_ number: Int) -> [Int] {
        var (deltas, value, shift): ([Int], Int, Int) = ([], 0, 0)
        for byte in content(5, number) {
            value |= Int(byte & 0x7f) << shift
            shift += 7
            if byte < 0x80 {
                deltas.append(value)
                (value, shift) = (0, 0)
            }
        }
        return deltas
    }
}
