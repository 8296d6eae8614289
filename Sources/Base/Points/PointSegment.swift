internal import Glibc
internal import Segments
internal import TSDB

/// A file of points sorted by run and metric; see `Formats.md`.
///
/// Only the places of its blocks are in memory: a block is a few hundred metrics with the heads of their chunks.
final class PointSegment: Sendable {
    /// Some metrics in a row, and where the file has them.
    struct Block: Sendable {
        var run: RunID
        var key: PointKey
        var offset: Int
        var length: Int
    }

    /// A metric of a run as a block tells of it.
    struct Series: Sendable {
        var run: RunID
        var key: PointKey
        var count = 0
        var latest: MetricPoint
        var chunks: [PointChunkHead] = []
        /// Where the first chunk begins; the others follow it.
        var offset = 0
        /// The only chunk, when it is short enough to stand here.
        var inline: [UInt8] = []
    }

    static let magic: [UInt8] = Array("VGPNT1\n\0".utf8)
    static let trailerMagic: [UInt8] = Array("VGPNTEND".utf8)
    static let mostBytes = 1 << 40
    static let checksumBytes = 4

    let file: OpenFile
    /// The last log that it holds, and the first.
    let number: UInt64
    let from: UInt64
    let size: Int
    let points: Int
    /// Runs of which nothing counts that an older segment has.
    let deleted: Set<RunID>
    let blocks: [Block]

    var path: String { file.path }

    init(_ path: String, number: UInt64) throws {
        file = try OpenFile(path, O_RDONLY)
        self.number = number
        size = try file.size()
        let end = try SegmentEnd(of: file, size: size, magic: Self.magic, end: Self.trailerMagic, kind: "points")
        let footer = try end.footer.withUnsafeBytes { try PointFooter($0, end: end.offset) }
        (from, points, deleted, blocks) = (footer.from, footer.points, footer.deleted, footer.blocks)
    }

    /// The metrics of a run, or the one with a key.
    func series(of run: RunID, key: PointKey? = nil) throws -> [Series] {
        // The last block that begins before what is sought, or at it.
        var (low, high) = (0, blocks.count)
        while low < high {
            let middle = (low + high) / 2
            let block = blocks[middle]
            let isBefore = block.run != run ? block.run < run : key.map { block.key <= $0 } ?? false
            if isBefore { low = middle + 1 } else { high = middle }
        }
        var found: [Series] = []
        for block in blocks[max(0, low - 1)...] {
            if block.run > run { break }
            if let key, block.run == run, block.key > key { break }
            try read(block) { series in
                if series.run == run && (key == nil || series.key == key) { found.append(series) }
                return series.run <= run
            }
        }
        return found
    }

    /// Shows the metrics of a block until the body says no.
    func read(_ block: Block, _ body: (Series) throws -> Bool) throws {
        let bytes = try checked(file.read(at: block.offset, count: block.length), "a block")
        try bytes.withUnsafeBytes { bytes in
            var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes.dropLast(Self.checksumBytes)))
            var run: RunID?
            while reader.left > 0 {
                let series = try Series(&reader, &run, end: size)
                if try !body(series) { return }
            }
        }
    }

    /// Adds the points of a chunk of a metric.
    func read(_ chunk: PointChunkHead, at offset: Int, into points: inout [MetricPoint]) throws {
        var bytes = try checked(file.read(at: offset, count: chunk.length + Self.checksumBytes), "a chunk")
        bytes.append(contentsOf: repeatElement(0, count: BitReader.padding))
        try bytes.withUnsafeBytes { bytes in
            try PointChunk.decode(bytes, length: chunk.length, count: chunk.count, into: &points)
        }
    }

    private func checked(_ bytes: [UInt8], _ what: String) throws -> [UInt8] {
        let holds = bytes.withUnsafeBytes { bytes in
            guard bytes.count >= Self.checksumBytes else { return false }
            let length = bytes.count - Self.checksumBytes
            let sum = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: length, as: UInt32.self))
            return Checksum.of(UnsafeRawBufferPointer(rebasing: bytes[..<length])) == sum
        }
        guard holds else { throw StorageError.damaged("\(what) of \"\(path)\" is damaged") }
        return bytes
    }
}

extension PointSegment.Series {
    /// How its points are kept.
    enum Shape: UInt8 {
        /// The latest point is the only one.
        case single
        /// One chunk, in the block.
        case inline
        /// Chunks in the file before the block.
        case chunks
    }

    func encode(into writer: inout ByteWriter, after before: RunID?) {
        let shape: Shape = count == 1 ? .single : inline.isEmpty ? .chunks : .inline
        writer.add(shape.rawValue << 1 | (run == before ? 0 : 1))
        if run != before { writer.add(id: run) }
        writer.add(run: key.bytes)
        writer.add(signed: latest.timestamp)
        writer.add(signed: latest.step)
        writer.add(fixed: latest.value.bitPattern)
        if shape == .single { return }
        writer.add(count: count)
        if shape == .inline {
            writer.add(count: inline.count)
            writer.bytes.append(contentsOf: inline)
        } else {
            writer.add(count: offset)
            writer.add(count: chunks.count)
            for chunk in chunks { chunk.encode(into: &writer) }
        }
    }

    /// Adds the points of the chunk that stands in the block.
    func readInline(into points: inout [MetricPoint]) throws {
        let padded = inline + [UInt8](repeating: 0, count: BitReader.padding)
        try padded.withUnsafeBytes {
            try PointChunk.decode($0, length: inline.count, count: count, into: &points)
        }
    }

    init(_ reader: inout ByteReader, _ run: inout RunID?, end: Int) throws {
        let head = try reader.byte()
        if head & 1 == 1 { run = try reader.runID() }
        guard let run, let shape = Shape(rawValue: head >> 1) else {
            throw StorageError.damaged("a metric in a segment of points has no sense")
        }
        self.run = run
        key = PointKey(try reader.run())
        latest = MetricPoint(
            timestamp: try reader.signed(), step: try reader.signed(), value: Double(bitPattern: try reader.fixed()))
        switch shape {
        case .single: count = 1
        case .inline:
            count = try reader.count(atMost: PointChunk.most)
            inline = try reader.run()
        case .chunks:
            count = try reader.count(atMost: PointSegment.mostBytes)
            offset = try reader.count(atMost: end)
            let heads = try reader.count()
            chunks.reserveCapacity(heads)
            var place = offset
            for _ in 0..<heads {
                let chunk = try PointChunkHead(&reader)
                place += chunk.length + PointSegment.checksumBytes
                guard place <= end else { throw StorageError.damaged("a chunk of points lies outside its file") }
                chunks.append(chunk)
            }
        }
    }
}

/// What the end of a segment says of it.
struct PointFooter {
    var from: UInt64 = 0
    var points = 0
    var deleted: Set<RunID> = []
    var blocks: [PointSegment.Block] = []

    init() {}

    func encode() -> [UInt8] {
        var writer = ByteWriter()
        writer.add(varint: from)
        writer.add(count: points)
        writer.add(count: deleted.count)
        for run in deleted.sorted() { writer.add(id: run) }
        writer.add(count: blocks.count)
        for block in blocks {
            writer.add(id: block.run)
            writer.add(run: block.key.bytes)
            writer.add(count: block.offset)
            writer.add(count: block.length)
        }
        return writer.bytes
    }

    init(_ bytes: UnsafeRawBufferPointer, end: Int) throws {
        var reader = ByteReader(bytes)
        from = try reader.varint()
        points = try reader.count(atMost: PointSegment.mostBytes)
        for _ in 0..<(try reader.count()) { deleted.insert(try reader.runID()) }
        for _ in 0..<(try reader.count()) {
            let block = PointSegment.Block(
                run: try reader.runID(), key: PointKey(try reader.run()), offset: try reader.count(atMost: end),
                length: try reader.count(atMost: end))
            guard block.offset + block.length <= end else {
                throw StorageError.damaged("a block of points lies outside its file")
            }
            blocks.append(block)
        }
    }
}
