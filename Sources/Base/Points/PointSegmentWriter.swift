internal import Glibc
internal import Segments

/// Writes a segment: metrics in the order of run and key, of each the points in the order of a history.
struct PointSegmentWriter: ~Copyable {
    /// Bytes of metrics of one block.
    static let blockBytes = 16 << 10
    /// The longest chunk that stands in its block.
    static let inlineBytes = 512
    /// Bytes gathered before they are written.
    private static let bufferBytes = 1 << 20

    private let file: Int32
    private var buffer: [UInt8]
    private var written = 0
    private var footer = PointFooter()
    private var block = ByteWriter()
    private var blockFirst: (run: RunID, key: PointKey)?
    private var lastRun: RunID?
    /// The metric that is being written.
    private var open: PointSegment.Series?
    private var firstChunk = ByteWriter()
    /// Its points that wait until a chunk is full.
    private var waiting: [MetricPoint] = []

    init(_ file: Int32, from: UInt64, deleted: Set<RunID>) {
        self.file = file
        buffer = PointSegment.magic
        footer.from = from
        footer.deleted = deleted
    }

    private var position: Int { written + buffer.count }

    /// Adds points of a metric: behind those that it was given before.
    ///
    /// - Parameter latest: Of the points, or of any that the metric has.
    mutating func add(_ run: RunID, _ key: PointKey, latest: MetricPoint, _ points: ArraySlice<MetricPoint>) throws {
        if open?.run != run || open?.key != key {
            try closeSeries()
            open = PointSegment.Series(run: run, key: key, latest: latest)
        }
        if let before = open?.latest, latest.isLater(than: before) { open?.latest = latest }
        waiting.append(contentsOf: points)
        try writeChunks { $0 >= PointChunk.most }
    }

    /// Makes chunks of what waits, while the body says of the number that is left that there shall be one.
    private mutating func writeChunks(_ isEnough: (Int) -> Bool) throws {
        var rest = waiting[...]
        while isEnough(rest.count) {
            let piece = rest.prefix(PointChunk.most)
            rest = rest.dropFirst(piece.count)
            var bytes = ByteWriter()
            PointChunk.encode(piece, into: &bytes)
            // The first is kept back until it is known whether it is the only one.
            if open?.chunks.count == 1 { try writeFirstChunk() }
            open?.chunks.append(PointChunkHead(piece, length: bytes.bytes.count))
            open?.count += piece.count
            footer.points += piece.count
            if open?.chunks.count == 1 { firstChunk = bytes } else { try write(checked: bytes.bytes) }
        }
        let used = waiting.count - rest.count
        if used > 0 { waiting.removeFirst(used) }
    }

    private mutating func writeFirstChunk() throws {
        let place = position
        open?.offset = place
        try write(checked: firstChunk.bytes)
    }

    private mutating func closeSeries() throws {
        try writeChunks { $0 > 0 }
        guard var series = open, series.count > 0 else { return }
        open = nil
        if series.chunks.count == 1 && series.count > 1 {
            if firstChunk.bytes.count <= Self.inlineBytes {
                series.inline = firstChunk.bytes
            } else {
                series.offset = position
                try write(checked: firstChunk.bytes)
            }
        }
        if blockFirst == nil { blockFirst = (series.run, series.key) }
        series.encode(into: &block, after: lastRun)
        lastRun = series.run
        if block.bytes.count >= Self.blockBytes { try closeBlock() }
    }

    private mutating func closeBlock() throws {
        guard let first = blockFirst else { return }
        footer.blocks.append(
            PointSegment.Block(
                run: first.run, key: first.key, offset: position,
                length: block.bytes.count + PointSegment.checksumBytes))
        try write(checked: block.bytes)
        block = ByteWriter()
        (blockFirst, lastRun) = (nil, nil)
    }

    private mutating func write(checked bytes: [UInt8]) throws {
        buffer.append(contentsOf: bytes)
        withUnsafeBytes(of: Checksum.of(bytes).littleEndian) { buffer.append(contentsOf: $0) }
        if buffer.count >= Self.bufferBytes { try writeBuffer() }
    }

    private mutating func writeBuffer() throws {
        try Disk.writeAll(buffer, to: file)
        written += buffer.count
        buffer.removeAll(keepingCapacity: true)
    }

    mutating func finish() throws {
        try closeSeries()
        try closeBlock()
        let bytes = footer.encode()
        var trailer = ByteWriter()
        trailer.add(fixed: UInt64(position))
        trailer.add(fixed: UInt32(bytes.count))
        trailer.add(fixed: Checksum.of(bytes))
        buffer.append(contentsOf: bytes)
        buffer.append(contentsOf: trailer.bytes)
        buffer.append(contentsOf: PointSegment.trailerMagic)
        try writeBuffer()
    }
}
