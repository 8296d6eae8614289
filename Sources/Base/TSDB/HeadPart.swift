import Series

/// A series of the head as a snapshot saw it.
struct HeadPart: @unchecked Sendable {  // sealed chunks do not change, and an open one only behind what was seen
    private let sealed: [SealedChunk]
    private let open: OpenChunk?
    private let openLast: Int64
    private let histograms: [HistogramChunk.Timed]
    let late: [LateSample]

    init(_ series: HeadSeries) {
        sealed = series.sealed
        open = series.openSnapshot
        openLast = series.lastTime
        histograms = series.histograms
        late = series.late
    }

    /// The chunks, in order of time, that end before a boundary; the open one sealed.
    func chunks(before boundary: Int64) -> [SealedChunk] {
        var chunks = sealed.filter { $0.last < boundary }
        if let open, openLast < boundary {
            chunks.append(SealedChunk(store: open.sealed(), first: open.first, last: openLast, count: Int(open.count)))
        }
        if let first = histograms.first, let last = histograms.last, last.time < boundary {
            let store = ChunkStore.make(HistogramChunk.encode(histograms[...]))
            chunks.append(SealedChunk(store: store, first: first.time, last: last.time, count: histograms.count))
        }
        return chunks
    }

    func read(from: Int64, to: Int64, into buffer: inout SampleBuffer) throws {
        for chunk in sealed where chunk.last >= from && chunk.first <= to {
            try ChunkKind.merge(chunk.store.chunk, first: chunk.first, from: from, to: to, into: &buffer)
        }
        if let open, openLast >= from, open.first <= to {
            if let end = buffer.times.last, end >= open.first {
                var other = SampleBuffer()
                try open.decode(from: from, to: to, into: &other)
                buffer.merge(other)
            } else {
                try open.decode(from: from, to: to, into: &buffer)
            }
        }
        if !histograms.isEmpty {
            var other = SampleBuffer()
            for sample in histograms where sample.time >= from && sample.time <= to {
                other.append(sample.time, sample.histogram)
            }
            buffer.merge(other)
        }
        if !late.isEmpty { buffer.merge(Self.buffer(late, from: from, to: to)) }
    }

    static func buffer(_ late: [LateSample], from: Int64, to: Int64) -> SampleBuffer {
        var buffer = SampleBuffer()
        for sample in late where sample.time >= from && sample.time <= to {
            if let histogram = sample.histogram?.histogram {
                buffer.append(sample.time, histogram)
            } else {
                buffer.append(sample.time, Double(bitPattern: sample.bits))
            }
        }
        return buffer
    }
}
