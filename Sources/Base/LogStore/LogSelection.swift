internal import Segments
package import Series

/// Which entries are wanted, and in which order.
package struct LogSelection: Sendable {
    package enum Order: Sendable {
        /// By time, oldest or newest first, over all streams.
        case forward, backward
        /// As they lie; for those who only count.
        case any
    }

    package var matchers: [LabelMatcher]
    /// Nanoseconds; the first is included, the second is not.
    package var from: Int64
    package var to: Int64
    package var order: Order = .backward
    /// Pieces of text that a line must hold, all of them.
    package var needles: [[UInt8]] = []
    /// Whether the lines' text is looked at. Without it a scan that only counts reads a fraction of a block, and shows
    /// lines from disk as empty.
    package var wantsText = true
    /// Texts that a line or its metadata holds wherever it is wanted, in either case of its letters. Only a hint: it lets blocks be
    /// left out, and lines that lack it may still come.
    package var hints: [[UInt8]] = []
    /// Values that the metadata holds under a name wherever a line is wanted, if the stream has no label of that name. A hint, too.
    package var metadataHints: [(name: String, value: String)] = []

    package init(_ matchers: [LabelMatcher], from: Int64, to: Int64) {
        self.matchers = matchers
        self.from = from
        self.to = to
    }
}

/// One line as a scan shows it. Only valid while the visitor runs.
package struct LogLine {
    package let stream: Labels
    /// Tells the streams of one scan apart.
    package let streamID: Int
    /// Nanoseconds since 1970.
    package let time: Int64
    package let line: UnsafeBufferPointer<UInt8>
    /// Structured metadata as `Labels` encodes it.
    package let metadata: UnsafeBufferPointer<UInt8>

    package init(
        stream: Labels, streamID: Int, time: Int64, line: UnsafeBufferPointer<UInt8>,
        metadata: UnsafeBufferPointer<UInt8>
    ) {
        self.stream = stream
        self.streamID = streamID
        self.time = time
        self.line = line
        self.metadata = metadata
    }

    package var text: String { String(decoding: line, as: UTF8.self) }
    package var metadataLabels: Labels { Labels(encoded: Array(metadata)) }
}

/// What a scan cost.
package struct LogScan: Sendable, Hashable {
    package var streams = 0
    /// Blocks and pages in memory that lie in the range.
    package var blocks = 0
    /// Of those, the ones that their filter, or their text alone, showed to hold nothing that is wanted.
    package var skippedBlocks = 0
    package var lines = 0
    package var bytes = 0
}

/// A page or block that a scan may have to look at.
struct LogPart: Sendable {
    enum Place: Sendable {
        case memory(LogPage)
        case disk(LogSegment, LogBlock)
    }

    let streamID: Int
    let stream: Labels
    let from: Int64
    let to: Int64
    let place: Place
}

/// A part that was read: the entries in it that are wanted, by ascending time.
struct LogCandidates {
    let part: LogPart
    let page: LogPage
    let wanted: [Int32]
}

/// The needles of a selection, ready to be looked for.
struct LogNeedles {
    private let needles: [[UInt8]]
    private let grams: [[UInt32]]
    private let metadataGrams: [(name: String, grams: [UInt32])]
    private let range: Range<Int64>
    private let wantsText: Bool

    init(_ selection: LogSelection) {
        needles = selection.needles.sorted { $0.count > $1.count }
        grams = (selection.needles + selection.hints).map(GramFilter.grams).filter { !$0.isEmpty }
        metadataGrams = selection.metadataHints.map { ($0.name, GramFilter.grams(of: Array($0.value.utf8))) }
            .filter { !$0.1.isEmpty }
        wantsText = selection.wantsText || !needles.isEmpty
        range = selection.from..<max(selection.from, selection.to)
    }

    /// Reads a part as far as it takes to see which entries are wanted; nil when none is.
    func candidates(in part: LogPart, _ scan: inout LogScan) throws -> LogCandidates? {
        scan.blocks += 1
        switch part.place {
        case .memory(let page):
            let page = page.sorted()
            scan.bytes += page.bytes
            return try found(part, page.text, &scan) { page }
        case .disk(let segment, let block):
            let own = metadataGrams.filter { part.stream[$0.name] == nil }.map(\.grams)
            guard try segment.mayHold(grams + own, block) else {
                scan.skippedBlocks += 1
                return nil
            }
            if !wantsText { return try found(part, [], &scan) { try segment.page(block, text: nil) } }
            let text = try segment.text(block)
            scan.bytes += block.bytes
            return try found(part, text, &scan) { try segment.page(block, text: text) }
        }
    }

    private func found(
        _ part: LogPart, _ text: [UInt8], _ scan: inout LogScan, _ read: () throws -> LogPage
    ) throws -> LogCandidates? {
        guard let first = needles.first else {
            let page = try read()
            let range = positions(in: page)
            return range.isEmpty ? nil : LogCandidates(part: part, page: page, wanted: range.map(Int32.init))
        }
        guard let start = Self.find(first, in: text, from: 0) else {
            scan.skippedBlocks += 1
            return nil
        }
        let page = try read()
        let range = positions(in: page)
        var wanted: [Int32] = []
        var (place, line): (Int?, Int) = (start, 0)
        while let found = place {
            line = Self.line(at: found, page.lineEnds, from: line)
            guard line < range.upperBound else { break }
            // A needle with a line feed in it may reach over the end of its line.
            let isWithin = found + first.count <= Int(page.lineEnds[line])
            if isWithin, line >= range.lowerBound, needles.dropFirst().allSatisfy({ holds($0, page, line) }) {
                wanted.append(Int32(line))
            }
            place = Self.find(first, in: text, from: isWithin ? Int(page.lineEnds[line]) + 1 : found + 1)
        }
        return wanted.isEmpty ? nil : LogCandidates(part: part, page: page, wanted: wanted)
    }

    private func holds(_ needle: [UInt8], _ page: LogPage, _ line: Int) -> Bool {
        page.withLine(line) { bytes in
            TextSearch.find(needle, in: UnsafeRawBufferPointer(bytes)) != nil
        }
    }

    /// Entries of a sorted page that lie in the range of time.
    private func positions(in page: LogPage) -> Range<Int> {
        let low = Self.partition(page.times) { $0 >= range.lowerBound }
        return low..<max(low, Self.partition(page.times) { $0 >= range.upperBound })
    }

    private static func partition(_ times: [Int64], _ isBehind: (Int64) -> Bool) -> Int {
        var (low, high) = (0, times.count)
        while low < high {
            let middle = (low + high) / 2
            if isBehind(times[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }

    private static func find(_ needle: [UInt8], in text: [UInt8], from: Int) -> Int? {
        text.withUnsafeBytes { TextSearch.find(needle, in: $0, from: from) }
    }

    /// The line that a byte of the text stands in.
    private static func line(at place: Int, _ ends: [Int32], from: Int) -> Int {
        var (low, high) = (from, ends.count - 1)
        while low < high {
            let middle = (low + high) / 2
            if Int(ends[middle]) >= place { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
