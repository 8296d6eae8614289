internal import Segments
internal import Series

/// Entries that are in memory and in a write-ahead log, not yet in a segment.
struct LogHead: Sendable {
    struct Stream: Sendable {
        let labels: Labels
        /// Pages that are full.
        var full: [LogPage] = []
        var open = LogPage()
        var from = Int64.max
        var to = Int64.min

        var pages: [LogPage] { open.isEmpty ? full : full + [open] }
    }

    /// The number of the write-ahead log, and of the segment that this head will become.
    let number: UInt64
    var streams: [Int: Stream] = [:]
    var weight = 0
    var entries = 0
    /// Time of the oldest entry.
    var from = Int64.max

    init(number: UInt64) { self.number = number }

    /// Adds the entries of a page that `keep` names; those that the stream ends with already are left out.
    ///
    /// - Returns: How many were left out.
    mutating func add(_ page: LogPage, to id: Int, _ labels: Labels, blockBytes: Int) -> Int {
        // Taken out and put back, so that its arrays have one owner and are not copied.
        var stream = streams.removeValue(forKey: id) ?? Stream(labels: labels)
        let before = stream.open.weight
        var (repeated, sealed) = (0, 0)
        for index in page.times.indices {
            let time = page.times[index]
            if time <= stream.to, stream.open.endsWith(index, of: page) {
                repeated += 1
                continue
            }
            stream.open.add(index, of: page)
            stream.from = min(stream.from, time)
            stream.to = max(stream.to, time)
            if stream.open.text.count >= blockBytes {
                sealed += stream.open.weight
                stream.full.append(stream.open.sorted())
                stream.open = LogPage()
            }
        }
        weight += stream.open.weight + sealed - before
        entries += page.count - repeated
        from = min(from, stream.from)
        if stream.open.isEmpty && stream.full.isEmpty { return repeated }
        streams[id] = stream
        return repeated
    }

    mutating func remove(_ id: Int) -> Bool {
        guard let stream = streams.removeValue(forKey: id) else { return false }
        for page in stream.pages {
            weight -= page.weight
            entries -= page.count
        }
        return true
    }

    /// Writes all of it as a segment.
    func write(to path: String) throws {
        try Disk.replace(path) { file in
            var writer = try LogSegmentWriter(file)
            for (_, stream) in streams.sorted(by: { $0.value.labels < $1.value.labels }) {
                writer.begin(stream.labels)
                // Full pages overlap when entries came out of order; their blocks may, too.
                for page in stream.pages { try writer.add(page.sorted()) }
            }
            try writer.finish()
        }
    }
}

/// What a record of the write-ahead log says.
enum LogRecord {
    case entries(Labels, LogPage)
    case deletion(Labels)

    private enum Kind: UInt8 { case entries = 1, deletion = 2 }

    static func encode(_ labels: Labels, _ page: LogPage) -> [UInt8] {
        var writer = ByteWriter()
        writer.bytes.reserveCapacity(page.weight + labels.bytes.count + 32)
        writer.add(Kind.entries.rawValue)
        writer.add(run: labels.bytes)
        page.encode(into: &writer)
        return writer.bytes
    }

    static func encode(deletionOf labels: Labels) -> [UInt8] {
        var writer = ByteWriter()
        writer.add(Kind.deletion.rawValue)
        writer.add(run: labels.bytes)
        return writer.bytes
    }

    init(_ bytes: UnsafeRawBufferPointer) throws {
        var reader = ByteReader(bytes)
        let kind = try reader.byte()
        let labels = Labels(encoded: try reader.run())
        switch Kind(rawValue: kind) {
        case .entries: self = .entries(labels, try LogPage(from: &reader))
        case .deletion: self = .deletion(labels)
        case nil: throw StorageError.damaged("a record of kind \(kind) is in the write-ahead log")
        }
    }
}
