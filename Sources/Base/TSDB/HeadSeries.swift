import Series

/// A sample that came after a newer one of its series.
struct LateSample: Sendable {
    final class Box: Sendable {
        let histogram: FloatHistogram
        init(_ histogram: FloatHistogram) { self.histogram = histogram }
    }

    var time: Int64
    var bits: UInt64
    var histogram: Box?
}

/// One series of the head.
///
/// Lives in a slab and is changed through a pointer under the store's lock.
struct HeadSeries {
    /// A chunk is sealed at so many samples: short enough to decode for one point, long enough to pack.
    static let chunkSamples = 120
    static let chunkHistograms = 60
    /// What a reader believes a chunk may hold.
    static let samplesAtMost = 1 << 16

    let labels: Labels
    let hash: UInt64

    /// The newest sample: `Int64.min` when there is none.
    private(set) var lastTime = Int64.min
    private(set) var lastBits: UInt64 = 0
    private var lastDistance: Int64 = 0

    /// The open chunk: whole words in memory, the unfinished one here, so that what a snapshot has seen is never
    /// touched.
    private(set) var open: ChunkStore?
    private var memory: UnsafeMutablePointer<UInt64>?
    private var pending: UInt64 = 0
    private var pendingBits: UInt8 = 0
    private var words: UInt16 = 0
    private var capacity: UInt16 = 0
    private(set) var openCount: UInt16 = 0
    private(set) var openFirst: Int64 = 0
    /// The boundary that no chunk crosses: the end of the base range that the open one lies in.
    private var openEnd = Int64.min

    private(set) var histograms: [HistogramChunk.Timed] = []
    private(set) var sealed: [SealedChunk] = []
    private(set) var late: [LateSample] = []

    /// What the log last wrote of this series, and in which segment.
    var loggedBits: UInt64 = 0
    var loggedSegment: UInt32 = 0

    init(labels: Labels, hash: UInt64) {
        self.labels = labels
        self.hash = hash
    }

    var isEmpty: Bool { openCount == 0 && histograms.isEmpty && sealed.isEmpty && late.isEmpty }
    var chunkCount: Int { sealed.count + (openCount > 0 || !histograms.isEmpty ? 1 : 0) }

    /// The newest sample, when it is a number and none came late that might be newer.
    @inline(__always)
    var newestNumber: HeadSample? {
        openCount > 0 && late.isEmpty ? HeadSample(time: lastTime, bits: lastBits) : nil
    }

    var firstTime: Int64 {
        let inOrder = sealed.first?.first ?? histograms.first?.time ?? (openCount > 0 ? openFirst : Int64.max)
        return min(inOrder, late.first?.time ?? .max)
    }

    // MARK: - Numbers

    /// Adds a number newer than the newest.
    @inline(__always)
    mutating func append(_ time: Int64, _ bits: UInt64, range: Int64) {
        if time >= openEnd || openCount >= Self.chunkSamples || !histograms.isEmpty || openCount == 0 {
            start(time, bits, range: range)
        } else {
            let distance = time &- lastTime
            TimeCode.encode(distance &- lastDistance) { write($0, $1) }
            ValueCode.encode(bits, after: lastBits) { write($0, $1) }
            lastDistance = distance
            openCount += 1
        }
        lastTime = time
        lastBits = bits
    }

    private mutating func start(_ time: Int64, _ bits: UInt64, range: Int64) {
        seal()
        let store = ChunkStore.make(words: 8)
        (open, memory, capacity) = (store, store.memory, 8)
        (words, pending, pendingBits, openCount) = (0, 0, 0, 1)
        write(UInt64(bitPattern: time), 64)
        write(bits, 64)
        (openFirst, lastDistance) = (time, 0)
        openEnd = rangeEnd(time, range)
    }

    @inline(__always)
    private mutating func write(_ bits: UInt64, _ count: Int) {
        let free = 64 - Int(pendingBits)
        if count < free {
            pending |= bits &<< UInt64(free - count)
            pendingBits += UInt8(truncatingIfNeeded: count)
        } else {
            let over = count - free
            if words == capacity { grow() }
            memory?[Int(words)] = (pending | (bits &>> UInt64(over))).bigEndian
            words += 1
            pending = over == 0 ? 0 : bits &<< UInt64(64 - over)
            pendingBits = UInt8(truncatingIfNeeded: over)
        }
    }

    private mutating func grow() {
        let larger = ChunkStore.make(words: Int(capacity) * 2)
        if let memory { larger.memory.update(from: memory, count: Int(words)) }
        (open, memory, capacity) = (larger, larger.memory, capacity * 2)
    }

    // MARK: - Histograms

    mutating func append(_ time: Int64, _ histogram: FloatHistogram, range: Int64) {
        if time >= openEnd || histograms.count >= Self.chunkHistograms || openCount > 0 || histograms.isEmpty {
            seal()
            openEnd = rangeEnd(time, range)
        }
        histograms.append(.init(time: time, histogram: histogram))
        lastTime = time
        lastBits = 0
    }

    var lastHistogram: FloatHistogram? { histograms.last?.histogram }

    // MARK: - Late samples

    /// Sorts a late sample in.
    ///
    /// Nil when its time was free, else whether the value there is the same.
    mutating func insertLate(_ sample: LateSample) -> Bool? {
        var (low, high) = (0, late.count)
        while low < high {
            let middle = (low + high) / 2
            if late[middle].time < sample.time { low = middle + 1 } else { high = middle }
        }
        if low < late.count, late[low].time == sample.time {
            return late[low].bits == sample.bits && late[low].histogram?.histogram == sample.histogram?.histogram
        }
        late.insert(sample, at: low)
        return nil
    }

    // MARK: - Sealing and cutting

    /// Closes the open chunk.
    mutating func seal() {
        if !histograms.isEmpty {
            let store = ChunkStore.make(HistogramChunk.encode(histograms[...]))
            sealed.append(
                SealedChunk(
                    store: store, first: histograms[0].time, last: histograms[histograms.count - 1].time,
                    count: histograms.count))
            histograms = []
        }
        guard openCount > 0, let snapshot = openSnapshot else { return }
        sealed.append(
            SealedChunk(store: snapshot.sealed(), first: openFirst, last: lastTime, count: Int(openCount)))
        (open, memory, openCount, words, pendingBits, pending) = (nil, nil, 0, 0, 0, 0)
    }

    /// Forgets in-order chunks that end before a boundary, and those late samples that have been written.
    mutating func drop(before boundary: Int64, written: [LateSample]) {
        if let first = sealed.first, first.last < boundary { sealed.removeAll { $0.last < boundary } }
        if openCount > 0 && lastTime < boundary {
            (open, memory, openCount, words, pendingBits, pending) = (nil, nil, 0, 0, 0, 0)
        }
        if let last = histograms.last, last.time < boundary { histograms = [] }
        if !written.isEmpty {
            var next = written.makeIterator()
            var gone = next.next()
            late.removeAll { sample in
                while let time = gone?.time, time < sample.time { gone = next.next() }
                return gone?.time == sample.time
            }
        }
    }

    /// Takes the samples between two times away, by writing the chunks that have any anew: as if they had never come.
    mutating func erase(from: Int64, to: Int64) throws -> Bool {
        guard firstTime <= to, lastTime >= from || (late.last?.time ?? .min) >= from else { return false }
        seal()
        var kept: [SealedChunk] = []
        var hasErased = false
        for chunk in sealed {
            if chunk.last < from || chunk.first > to {
                kept.append(chunk)
                continue
            }
            var buffer = SampleBuffer()
            if from > .min { try ChunkKind.decode(chunk.store.chunk, from: .min, to: from - 1, into: &buffer) }
            if to < .max { try ChunkKind.decode(chunk.store.chunk, from: to + 1, to: .max, into: &buffer) }
            if buffer.count < chunk.count { hasErased = true }
            kept += ChunkBuilder.chunks(of: buffer)
        }
        let before = late.count
        late.removeAll { $0.time >= from && $0.time <= to }
        sealed = kept
        lastTime = kept.last?.last ?? .min
        return hasErased || late.count < before
    }

    // MARK: - Snapshots

    var openSnapshot: OpenChunk? {
        guard openCount > 0, let open else { return nil }
        return OpenChunk(
            store: open, words: words, pendingBits: pendingBits, count: openCount, pending: pending, first: openFirst)
    }
}

/// The first multiple of the range after a time.
func rangeEnd(_ time: Int64, _ range: Int64) -> Int64 {
    let start = rangeStart(time, range)
    return start > Int64.max - range ? .max : start + range
}

func rangeStart(_ time: Int64, _ range: Int64) -> Int64 {
    let remainder = time % range
    let start = time.subtractingReportingOverflow(remainder < 0 ? remainder + range : remainder)
    return start.overflow ? .min : start.partialValue
}

/// What a snapshot holds of an open chunk.
struct OpenChunk {
    let store: ChunkStore
    let words: UInt16
    let pendingBits: UInt8
    let count: UInt16
    let pending: UInt64
    let first: Int64

    var byteCount: Int { Int(words) * 8 + (Int(pendingBits) + 7) / 8 }

    /// Calls the body with the chunk's bits in one run.
    @inline(__always)
    func withBits<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        let words = Int(words)
        return try withUnsafeTemporaryAllocation(of: UInt64.self, capacity: words + 8) { copy in
            guard let target = copy.baseAddress else { return try body(UnsafeRawBufferPointer(start: nil, count: 0)) }
            target.update(from: store.memory, count: words)
            target[words] = pending.bigEndian
            for index in 1..<8 { target[words + index] = 0 }
            return try body(UnsafeRawBufferPointer(start: target, count: byteCount))
        }
    }

    func decode(from: Int64, to: Int64, into buffer: inout SampleBuffer) throws {
        try withBits { try FloatChunk.decode($0, count: Int(count), from: from, to: to, into: &buffer) }
    }

    private func decodeAll(_ bits: UnsafeRawBufferPointer, into buffer: inout SampleBuffer) throws {
        try FloatChunk.decode(bits, count: Int(count), from: .min, to: .max, into: &buffer)
    }

    /// The chunk's final bytes: packed if that is shorter.
    func sealed() -> ChunkStore {
        withBits { bits in
            var buffer = SampleBuffer()
            var packed: [UInt8]?
            // Own bits decode; if they did not, they would only stay as they are.
            let decoded: Void? = try? decodeAll(bits, into: &buffer)  // as above
            if decoded != nil {
                packed = buffer.times.withUnsafeBufferPointer { times in
                    buffer.values.withUnsafeBufferPointer { PackedChunk.encode(times, $0) }
                }
            }
            if let packed, packed.count <= bits.count + 3 { return ChunkStore.make(packed) }
            var bytes = [ChunkKind.stream.rawValue]
            bytes.appendVarint(Int(count))
            bytes.append(contentsOf: bits)
            return ChunkStore.make(bytes)
        }
    }
}

/// Cuts samples into chunks.
enum ChunkBuilder {
    static func chunks(of buffer: SampleBuffer) -> [SealedChunk] {
        var chunks: [SealedChunk] = []
        var start = 0
        while start < buffer.count {
            let isHistogram = buffer.hasHistograms && buffer.histogramAt[start] >= 0
            let limit = isHistogram ? HeadSeries.chunkHistograms : HeadSeries.chunkSamples
            var end = start + 1
            while end < buffer.count, end - start < limit,
                (buffer.hasHistograms && buffer.histogramAt[end] >= 0) == isHistogram
            {
                end += 1
            }
            let bytes =
                isHistogram
                ? HistogramChunk.encode(
                    (start..<end).map {
                        .init(time: buffer.times[$0], histogram: buffer.histograms[Int(buffer.histogramAt[$0])])
                    }[...])
                : buffer.times.withUnsafeBufferPointer { times in
                    buffer.values.withUnsafeBufferPointer { values in
                        FloatChunk.encode(
                            UnsafeBufferPointer(rebasing: times[start..<end]),
                            UnsafeBufferPointer(rebasing: values[start..<end]))
                    }
                }
            chunks.append(
                SealedChunk(
                    store: .make(bytes), first: buffer.times[start], last: buffer.times[end - 1], count: end - start))
            start = end
        }
        return chunks
    }
}
