internal import Segments
package import Series

/// Entries of one stream, column by column: what is pushed, what the head keeps, and what a block becomes when it is read.
///
/// The lines stand one after the other, each followed by a line feed, so that one `memmem` looks through thousands of them.
package struct LogPage: Sendable {
    /// Nanoseconds since 1970.
    package private(set) var times: [Int64] = []
    /// The lines' bytes, each line followed by `\n`.
    package private(set) var text: [UInt8] = []
    /// Where each line ends in `text`, before its line feed.
    package private(set) var lineEnds: [Int32] = []
    /// The structured metadata of the entries, as `Labels` encodes it, one after the other.
    private(set) var metadata: [UInt8] = []
    /// Where each entry's metadata ends. Empty when no entry has any.
    private(set) var metadataEnds: [Int32] = []
    /// Whether the times ascend.
    package private(set) var isSorted = true

    package init() {}

    package var count: Int { times.count }
    package var isEmpty: Bool { times.isEmpty }
    /// Bytes of lines and metadata.
    package var bytes: Int { text.count - times.count + metadata.count }
    /// What the page takes in memory, about.
    package var weight: Int { text.count + metadata.count + times.count * 16 }

    package mutating func add(
        _ time: Int64, _ line: UnsafeBufferPointer<UInt8>, _ entryMetadata: UnsafeBufferPointer<UInt8>
    ) {
        if let last = times.last, last > time { isSorted = false }
        if !entryMetadata.isEmpty || !metadataEnds.isEmpty {
            while metadataEnds.count < times.count { metadataEnds.append(Int32(metadata.count)) }
            metadata.append(contentsOf: entryMetadata)
            metadataEnds.append(Int32(truncatingIfNeeded: metadata.count))
        }
        times.append(time)
        text.append(contentsOf: line)
        lineEnds.append(Int32(truncatingIfNeeded: text.count))
        text.append(UInt8(ascii: "\n"))
    }

    package mutating func add(_ time: Int64, _ line: String, metadata entryMetadata: Labels = .none) {
        var line = line
        line.withUTF8 { line in entryMetadata.bytes.withUnsafeBufferPointer { add(time, line, $0) } }
    }

    /// Adds one entry of another page.
    mutating func add(_ index: Int, of page: LogPage) {
        page.withLine(index) { line in page.withMetadata(index) { add(page.times[index], line, $0) } }
    }

    /// The first entries.
    func prefix(_ count: Int) -> LogPage {
        var page = LogPage()
        for index in 0..<count { page.add(index, of: self) }
        return page
    }

    func lineRange(_ index: Int) -> Range<Int> {
        let start = index == 0 ? 0 : Int(lineEnds[index - 1]) + 1
        return start..<Int(lineEnds[index])
    }

    func metadataRange(_ index: Int) -> Range<Int> {
        guard !metadataEnds.isEmpty else { return 0..<0 }
        return (index == 0 ? 0 : Int(metadataEnds[index - 1]))..<Int(metadataEnds[index])
    }

    package func withLine<Result>(_ index: Int, _ body: (UnsafeBufferPointer<UInt8>) throws -> Result) rethrows
        -> Result
    {
        try text.withUnsafeBufferPointer { try body(UnsafeBufferPointer(rebasing: $0[lineRange(index)])) }
    }

    package func withMetadata<Result>(
        _ index: Int, _ body: (UnsafeBufferPointer<UInt8>) throws -> Result
    ) rethrows -> Result {
        try metadata.withUnsafeBufferPointer { try body(UnsafeBufferPointer(rebasing: $0[metadataRange(index)])) }
    }

    package func line(_ index: Int) -> String { withLine(index) { String(decoding: $0, as: UTF8.self) } }

    package func metadata(_ index: Int) -> Labels { Labels(encoded: Array(metadata[metadataRange(index)])) }

    /// The same entries by ascending time, those of one time in the order they came, and no entry twice.
    func sorted() -> LogPage {
        guard !isSorted else { return self }
        var page = LogPage()
        let order = times.indices.sorted { (times[$0], $0) < (times[$1], $1) }
        for index in order where !page.endsWith(index, of: self) { page.add(index, of: self) }
        return page
    }

    /// Entries of one time that are looked through for one that came twice.
    static let repeatedEntries = 128

    /// Whether an entry of another page is among the last ones here: same time, line and metadata. A push that is repeated after a
    /// lost answer must not count twice.
    func endsWith(_ index: Int, of page: LogPage) -> Bool {
        var own = count - 1
        while own >= max(0, count - Self.repeatedEntries), times[own] == page.times[index] {
            if hasSame(own, index, of: page) { return true }
            own -= 1
        }
        return false
    }

    private func hasSame(_ own: Int, _ index: Int, of page: LogPage) -> Bool {
        withLine(own) { left in
            page.withLine(index) { right in
                left.count == right.count && compareBytes(left, right) == 0
            }
        } && metadata[metadataRange(own)] == page.metadata[page.metadataRange(index)]
    }
}

// MARK: - As bytes

extension LogPage {
    /// Times, lengths and (places of) metadata: everything of the page but its text.
    func encodedColumns() -> [UInt8] {
        var writer = ByteWriter()
        writer.add(count: count)
        var last: Int64 = 0
        for time in times {
            writer.add(signed: time &- last)
            last = time
        }
        for index in 0..<count { writer.add(count: lineRange(index).count) }
        return writer.bytes
    }

    /// Each metadata once, and for each entry which one; empty when no entry has any.
    func encodedMetadata() -> [UInt8] {
        guard !metadataEnds.isEmpty else { return [] }
        var places: [ArraySlice<UInt8>: Int] = [:]
        var (distinct, indices) = (ByteWriter(), ByteWriter())
        for index in 0..<count {
            let bytes = metadata[metadataRange(index)]
            let place = places[bytes] ?? places.count
            if place == places.count {
                places[bytes] = place
                bytes.withUnsafeBufferPointer { distinct.add(run: $0) }
            }
            indices.add(count: place)
        }
        var writer = ByteWriter()
        writer.add(count: places.count)
        writer.bytes += distinct.bytes
        writer.bytes += indices.bytes
        return writer.bytes
    }

    /// Puts a page together from its parts and checks that they fit.
    init(columns: UnsafeRawBufferPointer, text: [UInt8], metadata encoded: UnsafeRawBufferPointer) throws {
        var reader = ByteReader(columns)
        let count = try reader.count()
        times.reserveCapacity(count)
        lineEnds.reserveCapacity(count)
        var last: Int64 = 0
        for index in 0..<count {
            let next = last &+ (try reader.signed())
            if index > 0 && next < last { isSorted = false }
            last = next
            times.append(last)
        }
        var end = 0
        for _ in 0..<count {
            end += try reader.count(atMost: text.count)
            guard end < text.count else { throw StorageError.damaged("lines are longer than their block") }
            lineEnds.append(Int32(truncatingIfNeeded: end))
            end += 1
        }
        guard end == text.count else { throw StorageError.damaged("lines are shorter than their block") }
        self.text = text
        if !encoded.isEmpty { try decodeMetadata(encoded) }
    }

    /// The times and metadata of a block, its lines left empty: enough for those who count.
    init(columns: UnsafeRawBufferPointer, metadata encoded: UnsafeRawBufferPointer) throws {
        var reader = ByteReader(columns)
        let count = try reader.count()
        var last: Int64 = 0
        times.reserveCapacity(count)
        for _ in 0..<count {
            last = last &+ (try reader.signed())
            times.append(last)
        }
        text = Array(repeating: UInt8(ascii: "\n"), count: count)
        lineEnds = (0..<count).map { Int32(truncatingIfNeeded: $0) }
        if !encoded.isEmpty { try decodeMetadata(encoded) }
    }

    private mutating func decodeMetadata(_ encoded: UnsafeRawBufferPointer) throws {
        var reader = ByteReader(encoded)
        let distinct = try (0..<reader.count()).map { _ in try reader.raw(reader.count()) }
        metadataEnds.reserveCapacity(count)
        for _ in 0..<count {
            let place = try reader.count(atMost: max(distinct.count, 1) - 1)
            guard place < distinct.count, metadata.count < LogPage.mostBytes else {
                throw StorageError.damaged("metadata of a block is not there")
            }
            metadata.append(contentsOf: distinct[place])
            metadataEnds.append(Int32(truncatingIfNeeded: metadata.count))
        }
    }

    /// Places in a page are 32 bits wide.
    static let mostBytes = 1 << 30

    /// The whole page uncompressed, as the write-ahead log keeps it.
    func encode(into writer: inout ByteWriter) {
        writer.add(run: encodedColumns())
        writer.add(run: encodedMetadata())
        writer.add(run: text)
    }

    init(from reader: inout ByteReader) throws {
        let columns = try reader.raw(try reader.count())
        let metadata = try reader.raw(try reader.count())
        try self.init(columns: columns, text: try reader.run(), metadata: metadata)
    }
}
