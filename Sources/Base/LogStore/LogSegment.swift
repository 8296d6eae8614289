internal import Glibc
internal import Segments
internal import Series

/// What the footer of a segment says of one block.
struct LogBlock: Sendable {
    var from: Int64 = 0
    var to: Int64 = 0
    var entries = 0
    /// Bytes of lines and metadata.
    var bytes = 0
    var offset = 0
    var columnsSize = 0
    var columnsBytes = 0
    var textSize = 0
    var textBytes = 0
    var metadataSize = 0
    var metadataBytes = 0
    var filterSize = 0
    var filterSum: UInt32 = 0

    var size: Int { columnsSize + textSize + metadataSize + filterSize }
}

/// A file of compressed blocks that never changes; see `Formats.md`.
final class LogSegment: Sendable {
    struct Stream: Sendable {
        let labels: Labels
        let blocks: [LogBlock]
    }

    static let magic: [UInt8] = Array("VGLOG1\n\0".utf8)
    static let trailerMagic: [UInt8] = Array("VGLOGEND".utf8)

    let file: OpenFile
    let number: UInt64
    let streams: [Stream]
    let from: Int64
    let to: Int64
    let size: Int

    var path: String { file.path }

    /// Opens a segment and reads what is in it.
    ///
    /// - Throws: `StorageError.damaged`.
    init(_ path: String, number: UInt64) throws {
        file = try OpenFile(path, O_RDONLY)
        self.number = number
        size = try file.size()
        let end = try SegmentEnd(of: file, size: size, magic: Self.magic, end: Self.trailerMagic, kind: "logs")
        streams = try end.footer.withUnsafeBytes { try Self.streams($0, end: end.offset) }
        from = streams.lazy.flatMap(\.blocks).map(\.from).min() ?? 0
        to = streams.lazy.flatMap(\.blocks).map(\.to).max() ?? 0
    }

    private static func streams(_ footer: UnsafeRawBufferPointer, end: Int) throws -> [Stream] {
        var reader = ByteReader(footer)
        return try (0..<reader.count()).map { _ in
            let labels = Labels(encoded: try reader.run())
            let blocks = try (0..<reader.count()).map { _ in
                var block = LogBlock()
                block.from = try reader.signed()
                block.to = block.from &+ (try reader.signed())
                block.entries = try reader.count(atMost: end * 1_024)
                block.bytes = try reader.count(atMost: LogPage.mostBytes)
                block.offset = try reader.count(atMost: end)
                block.columnsSize = try reader.count(atMost: end)
                block.columnsBytes = try reader.count(atMost: LogPage.mostBytes)
                block.textSize = try reader.count(atMost: end)
                block.textBytes = try reader.count(atMost: LogPage.mostBytes)
                block.metadataSize = try reader.count(atMost: end)
                block.metadataBytes = try reader.count(atMost: LogPage.mostBytes)
                block.filterSize = try reader.count(atMost: end)
                block.filterSum = try reader.fixed()
                guard block.offset + block.size <= end else {
                    throw StorageError.damaged("a block lies outside its file")
                }
                return block
            }
            return Stream(labels: labels, blocks: blocks)
        }
    }

    /// Whether a block may have lines with all of these pieces of text. One short read.
    func mayHold(_ needles: [[UInt32]], _ block: LogBlock) throws -> Bool {
        guard !needles.isEmpty else { return true }
        let offset = block.offset + block.columnsSize + block.textSize + block.metadataSize
        let filter = try file.read(at: offset, count: block.filterSize)
        guard filter.count == block.filterSize, Checksum.of(filter) == block.filterSum else {
            throw StorageError.damaged("the filter at byte \(offset) of \"\(path)\" is damaged")
        }
        return filter.withUnsafeBytes { bytes in needles.allSatisfy { GramFilter.mayHold($0, in: bytes) } }
    }

    /// The text of a block alone: enough to see that nothing in it is wanted.
    func text(_ block: LogBlock) throws -> [UInt8] {
        let bytes = try file.read(at: block.offset + block.columnsSize, count: block.textSize)
        return try Deflate.inflate(bytes, count: block.textBytes)
    }

    /// The whole block, with a text that was read before; without one, its lines are empty.
    func page(_ block: LogBlock, text: [UInt8]?) throws -> LogPage {
        let packed = try file.read(at: block.offset, count: block.columnsSize)
        let columns = try Deflate.inflate(packed, count: block.columnsBytes)
        var metadata: [UInt8] = []
        if block.metadataBytes > 0 {
            let offset = block.offset + block.columnsSize + block.textSize
            let packed = try file.read(at: offset, count: block.metadataSize)
            metadata = try Deflate.inflate(packed, count: block.metadataBytes)
        }
        return try columns.withUnsafeBytes { columns in
            try metadata.withUnsafeBytes { metadata in
                guard let text else { return try LogPage(columns: columns, metadata: metadata) }
                return try LogPage(columns: columns, text: text, metadata: metadata)
            }
        }
    }
}

/// Writes a segment: blocks of one stream after those of the other, each stream's in order of time.
struct LogSegmentWriter {
    private let file: Int32
    private var position: Int
    private var footer = ByteWriter()
    private var streams = 0
    private var current: (labels: Labels, blocks: [LogBlock])?
    private var filter = GramFilter.Builder()

    init(_ file: Int32) throws {
        self.file = file
        try Disk.writeAll(LogSegment.magic, to: file)
        position = LogSegment.magic.count
    }

    mutating func begin(_ labels: Labels) {
        close()
        current = (labels, [])
    }

    /// Compresses a page, sorted and not empty, and writes it as a block.
    mutating func add(_ page: LogPage) throws {
        guard let first = page.times.first, let last = page.times.last else { return }
        var block = LogBlock()
        (block.from, block.to, block.entries, block.bytes) = (first, last, page.count, page.bytes)
        page.text.withUnsafeBufferPointer { filter.add($0) }
        let (columns, metadata) = (page.encodedColumns(), page.encodedMetadata())
        metadata.withUnsafeBufferPointer { filter.add($0) }
        let bits = filter.finish()
        let parts = [
            Deflate.compress(columns), Deflate.compress(page.text),
            metadata.isEmpty ? [] : Deflate.compress(metadata), bits,
        ]
        (block.columnsBytes, block.columnsSize) = (columns.count, parts[0].count)
        (block.textBytes, block.textSize) = (page.text.count, parts[1].count)
        (block.metadataBytes, block.metadataSize) = (metadata.count, parts[2].count)
        (block.filterSize, block.filterSum) = (bits.count, Checksum.of(bits))
        block.offset = position
        for part in parts { try Disk.writeAll(part, to: file) }
        position += block.size
        current?.blocks.append(block)
    }

    /// Takes over a block of another segment as it is.
    mutating func copy(_ block: LogBlock, of segment: LogSegment) throws {
        var block = block
        let bytes = try segment.file.read(at: block.offset, count: block.size)
        guard bytes.count == block.size else { throw StorageError.damaged("\"\(segment.path)\" has lost its end") }
        try Disk.writeAll(bytes, to: file)
        block.offset = position
        position += block.size
        current?.blocks.append(block)
    }

    mutating func finish() throws {
        close()
        var head = ByteWriter()
        head.add(count: streams)
        let payload = head.bytes + footer.bytes
        var trailer = ByteWriter()
        trailer.add(fixed: UInt64(position))
        trailer.add(fixed: UInt32(truncatingIfNeeded: payload.count))
        trailer.add(fixed: Checksum.of(payload))
        try Disk.writeAll(payload + trailer.bytes + LogSegment.trailerMagic, to: file)
    }

    private mutating func close() {
        guard let (labels, blocks) = current, !blocks.isEmpty else { return }
        streams += 1
        footer.add(run: labels.bytes)
        footer.add(count: blocks.count)
        for block in blocks {
            footer.add(signed: block.from)
            footer.add(signed: block.to &- block.from)
            for value in [
                block.entries, block.bytes, block.offset, block.columnsSize, block.columnsBytes, block.textSize,
                block.textBytes, block.metadataSize, block.metadataBytes, block.filterSize,
            ] { footer.add(count: value) }
            footer.add(fixed: block.filterSum)
        }
        current = nil
    }
}
