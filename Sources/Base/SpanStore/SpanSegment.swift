internal import Glibc
internal import Segments

/// A file of spans sorted by trace; see `Formats.md`.
final class SpanSegment: Sendable {
    struct Block: Sendable {
        var first = TraceID(high: 0, low: 0)
        var last = TraceID(high: 0, low: 0)
        /// Index of its first span in the columns.
        var start = 0
        var spans = 0
        var offset = 0
        var size = 0
        var bytes = 0
        var filterSize = 0
    }

    static let magic: [UInt8] = Array("VGSPN1\n\0".utf8)
    static let trailerMagic: [UInt8] = Array("VGSPNEND".utf8)
    static let mostBytes = 1 << 30

    let file: OpenFile
    let number: UInt64
    let size: Int
    let spans: Int
    /// Start of the first and the last span, nanoseconds.
    let from: Int64
    let to: Int64
    let blocks: [Block]
    let catalogue: Set<SpanOperation>
    let calls: [ServiceCall: CallCount]
    private let filter: TraceFilter
    private let columnsOffset: Int
    private let columnsSize: Int
    private let columnsBytes: Int

    var path: String { file.path }

    init(_ path: String, number: UInt64) throws {
        file = try OpenFile(path, O_RDONLY)
        self.number = number
        size = try file.size()
        let end = try SegmentEnd(of: file, size: size, magic: Self.magic, end: Self.trailerMagic, kind: "spans")
        let footer = try end.footer.withUnsafeBytes { try SpanFooter($0, end: end.offset) }
        (spans, from, to) = (footer.spans, footer.from, footer.to)
        (blocks, catalogue, calls, filter) = (footer.blocks, footer.catalogue, footer.calls, footer.filter)
        (columnsOffset, columnsSize, columnsBytes) = footer.columns
    }

    func columns() throws -> SpanColumns {
        let packed = try file.read(at: columnsOffset, count: columnsSize)
        let columns = try Deflate.inflate(packed, count: columnsBytes).withUnsafeBytes { try SpanColumns($0) }
        guard columns.count == spans else { throw StorageError.damaged("the columns of \"\(path)\" are not whole") }
        return columns
    }

    func mayHold(_ trace: TraceID) -> Bool { filter.mayHold(trace) }

    /// Whether a block may hold attributes with all of these texts.
    func mayHold(_ grams: [[UInt32]], _ block: Block) throws -> Bool {
        if grams.isEmpty { return true }
        let bytes = try file.read(at: block.offset + block.size, count: block.filterSize)
        return bytes.withUnsafeBytes { bytes in grams.allSatisfy { GramFilter.mayHold($0, in: bytes) } }
    }

    /// The encoded spans of a block, shown one by one with their place in it.
    func show(_ block: Block, _ visit: (Int, UnsafeRawBufferPointer) throws -> Void) throws {
        let packed = try file.read(at: block.offset, count: block.size)
        try Deflate.inflate(packed, count: block.bytes).withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            for place in 0..<block.spans { try visit(place, try reader.raw(reader.count())) }
        }
    }

    /// The spans of one trace.
    func spans(of trace: TraceID) throws -> [Span] {
        guard mayHold(trace) else { return [] }
        var found: [Span] = []
        for block in blocks where block.first <= trace && trace <= block.last {
            try show(block) { _, bytes in
                if SpanIDs(bytes)?.trace == trace { found.append(try Span(bytes)) }
            }
        }
        return found
    }
}

/// The ids at the start of an encoded span.
struct SpanIDs {
    let trace: TraceID
    let span: UInt64
    let parent: UInt64

    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Span.idBytes else { return nil }
        func word(_ place: Int) -> UInt64 {
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: place * 8, as: UInt64.self))
        }
        trace = TraceID(high: word(0), low: word(1))
        (span, parent) = (word(2), word(3))
    }
}

/// What the end of a segment says of it.
struct SpanFooter {
    var spans = 0
    var from: Int64 = 0
    var to: Int64 = 0
    var blocks: [SpanSegment.Block] = []
    var catalogue: Set<SpanOperation> = []
    var calls: [ServiceCall: CallCount] = [:]
    var filter = TraceFilter([])
    var columns = (offset: 0, size: 0, bytes: 0)

    init() {}

    func encode() -> [UInt8] {
        var writer = ByteWriter()
        writer.add(count: spans)
        writer.add(signed: from)
        writer.add(signed: to)
        for value in [columns.offset, columns.size, columns.bytes] { writer.add(count: value) }
        writer.add(count: blocks.count)
        for block in blocks {
            for word in [block.first.high, block.first.low, block.last.high, block.last.low] { writer.add(fixed: word) }
            for value in [block.start, block.spans, block.offset, block.size, block.bytes, block.filterSize] {
                writer.add(count: value)
            }
        }
        writer.add(count: catalogue.count)
        for operation in catalogue.sorted() {
            writer.add(text: operation.service)
            writer.add(text: operation.name)
            writer.add(operation.kind.rawValue)
        }
        writer.add(count: calls.count)
        for (call, count) in calls {
            writer.add(signed: call.hour)
            writer.add(text: call.parent)
            writer.add(text: call.child)
            writer.add(count: count.calls)
            writer.add(count: count.errors)
        }
        writer.add(count: filter.words.count)
        for word in filter.words { writer.add(fixed: word) }
        return writer.bytes
    }

    init(_ bytes: UnsafeRawBufferPointer, end: Int) throws {
        let most = SpanSegment.mostBytes
        var reader = ByteReader(bytes)
        spans = try reader.count(atMost: most)
        from = try reader.signed()
        to = try reader.signed()
        columns = (try reader.count(atMost: end), try reader.count(atMost: end), try reader.count(atMost: most))
        guard columns.offset + columns.size <= end else { throw StorageError.damaged("columns lie outside their file") }
        for _ in 0..<(try reader.count()) {
            var block = SpanSegment.Block()
            block.first = TraceID(high: try reader.fixed(), low: try reader.fixed())
            block.last = TraceID(high: try reader.fixed(), low: try reader.fixed())
            block.start = try reader.count(atMost: spans)
            block.spans = try reader.count(atMost: spans - block.start)
            block.offset = try reader.count(atMost: end)
            block.size = try reader.count(atMost: end)
            block.bytes = try reader.count(atMost: most)
            block.filterSize = try reader.count(atMost: end)
            guard block.offset + block.size + block.filterSize <= end else {
                throw StorageError.damaged("a block lies outside its file")
            }
            blocks.append(block)
        }
        for _ in 0..<(try reader.count()) {
            let (service, name) = (try reader.text(), try reader.text())
            let kind = Span.Kind(rawValue: try reader.byte()) ?? .unspecified
            catalogue.insert(SpanOperation(service: service, name: name, kind: kind))
        }
        for _ in 0..<(try reader.count()) {
            let call = ServiceCall(hour: try reader.signed(), parent: try reader.text(), child: try reader.text())
            calls[call] = CallCount(calls: try reader.count(atMost: most), errors: try reader.count(atMost: most))
        }
        let words = try (0..<reader.count()).map { _ in try reader.fixed(UInt64.self) }
        guard !words.isEmpty else { throw StorageError.damaged("the filter of traces is not there") }
        filter = TraceFilter(words: words)
    }
}
