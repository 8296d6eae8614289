internal import Segments

/// Spans that are in memory and in a write-ahead log, not yet in a segment.
struct SpanHead: Sendable {
    let number: UInt64
    private(set) var columns = SpanColumns()
    /// The encoded spans, one after the other.
    private(set) var bytes: [UInt8] = []
    private var ends: [Int] = []
    private var places: [TraceID: [Int32]] = [:]
    private(set) var from = Int64.max
    private(set) var to = Int64.min

    init(number: UInt64) { self.number = number }

    var count: Int { columns.count }
    var weight: Int { bytes.count + count * 64 }

    mutating func add(_ span: Span, _ encoded: UnsafeRawBufferPointer) {
        places[span.traceID, default: []].append(Int32(count))
        columns.add(span)
        bytes.append(contentsOf: encoded)
        ends.append(bytes.count)
        from = min(from, span.start)
        to = max(to, span.start)
    }

    func withSpan<Result>(_ index: Int, _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try bytes.withUnsafeBytes { all in
            try body(UnsafeRawBufferPointer(rebasing: all[(index == 0 ? 0 : ends[index - 1])..<ends[index]]))
        }
    }

    func spans(of trace: TraceID) throws -> [Span] {
        try (places[trace] ?? []).map { index in try withSpan(Int(index)) { try Span($0) } }
    }

    /// Calls from one service to another whose two spans are both here.
    func calls() -> [ServiceCall: CallCount] {
        var counter = CallCounter()
        for members in places.values where members.count > 1 {
            let ids = members.compactMap { index in withSpan(Int(index)) { SpanIDs($0) } }
            counter.add(ids, members.map { Int($0) }, columns)
        }
        return counter.calls
    }

    /// Writes all of it as a segment, sorted by trace and start.
    func write(to path: String, blockBytes: Int) throws {
        let order = (0..<count).sorted { left, right in
            let (one, two) = (columns.traces[left], columns.traces[right])
            return one == two ? columns.starts[left] < columns.starts[right] : one < two
        }
        try Disk.replace(path) { file in
            try Disk.writeAll(SpanSegment.magic, to: file)
            var writer = SpanBlockWriter(file: file, position: SpanSegment.magic.count, blockBytes: blockBytes)
            for index in order { try withSpan(index) { try writer.add($0) } }
            try writer.closeBlock()
            let columns = writer.columns.encode()
            let packed = Deflate.compress(columns)
            try Disk.writeAll(packed, to: file)
            var footer = SpanFooter()
            (footer.spans, footer.from, footer.to) = (count, from, to)
            footer.columns = (writer.position, packed.count, columns.count)
            footer.blocks = writer.blocks
            footer.catalogue = writer.columns.catalogue
            footer.calls = calls()
            footer.filter = TraceFilter(Set(places.keys))
            let payload = footer.encode()
            var trailer = ByteWriter()
            trailer.add(fixed: UInt64(writer.position + packed.count))
            trailer.add(fixed: UInt32(truncatingIfNeeded: payload.count))
            trailer.add(fixed: Checksum.of(payload))
            try Disk.writeAll(payload + trailer.bytes + SpanSegment.trailerMagic, to: file)
        }
    }
}

/// Fills blocks with spans that come sorted by trace.
private struct SpanBlockWriter {
    let file: Int32
    var position: Int
    let blockBytes: Int
    var columns = SpanColumns()
    var blocks: [SpanSegment.Block] = []
    private var block = SpanSegment.Block()
    private var content = ByteWriter()
    private var text: [UInt8] = []
    private var filter = GramFilter.Builder()

    init(file: Int32, position: Int, blockBytes: Int) {
        self.file = file
        self.position = position
        self.blockBytes = blockBytes
    }

    mutating func add(_ bytes: UnsafeRawBufferPointer) throws {
        let span = try Span(bytes)
        if block.spans == 0 {
            block.first = span.traceID
            block.start = columns.count
        }
        block.last = span.traceID
        block.spans += 1
        columns.add(span)
        content.add(run: bytes.bindMemory(to: UInt8.self))
        span.searchText(into: &text)
        if content.bytes.count >= blockBytes { try closeBlock() }
    }

    mutating func closeBlock() throws {
        guard block.spans > 0 else { return }
        text.withUnsafeBufferPointer { filter.add($0) }
        let (packed, bits) = (Deflate.compress(content.bytes), filter.finish())
        try Disk.writeAll(packed, to: file)
        try Disk.writeAll(bits, to: file)
        (block.offset, block.size, block.bytes, block.filterSize) = (
            position, packed.count, content.bytes.count, bits.count
        )
        position += packed.count + bits.count
        blocks.append(block)
        block = SpanSegment.Block()
        content = ByteWriter()
        text.removeAll(keepingCapacity: true)
    }
}
