import Series

/// The ways in which a chunk's bytes are to be read: its first byte.
///
/// See `Formats.md`.
enum ChunkKind: UInt8 {
    /// Bits after one another, as an open chunk gathers them.
    case stream = 1
    /// Whole numbers, possibly of a decimal scale, packed by their distances.
    case packed = 2
    case histograms = 3

    /// Adds the samples of a chunk between two times, both included.
    ///
    /// `BitReader.padding` readable bytes must follow the chunk.
    static func decode(
        _ bytes: UnsafeRawBufferPointer, from: Int64, to: Int64, into buffer: inout SampleBuffer
    ) throws {
        guard let base = bytes.baseAddress, let kind = bytes.first.flatMap(ChunkKind.init) else {
            throw ByteReader.Damaged()
        }
        var head = ByteReader(bytes)
        _ = try head.byte()
        let count = try head.count(limit: HeadSeries.samplesAtMost)
        let rest = UnsafeRawBufferPointer(start: base + head.position, count: bytes.count - head.position)
        switch kind {
        case .stream: try FloatChunk.decode(rest, count: count, from: from, to: to, into: &buffer)
        case .packed: try PackedChunk.decode(rest, count: count, from: from, to: to, into: &buffer)
        case .histograms: try HistogramChunk.decode(rest, count: count, from: from, to: to, into: &buffer)
        }
    }

    /// Adds a chunk whose times may lie among those that are there already.
    ///
    /// Of two samples at one time the earlier added stays.
    static func merge(
        _ bytes: UnsafeRawBufferPointer, first: Int64, from: Int64, to: Int64, into buffer: inout SampleBuffer
    ) throws {
        guard let end = buffer.times.last, end >= first else {
            return try decode(bytes, from: from, to: to, into: &buffer)
        }
        var other = SampleBuffer()
        try decode(bytes, from: from, to: to, into: &other)
        buffer.merge(other)
    }
}

extension SampleBuffer {
    /// Grows by so many numbers, lets the body write them, and keeps those between two times.
    mutating func appendNumbers(
        _ count: Int, from: Int64, to: Int64,
        _ body: (UnsafeMutablePointer<Int64>, UnsafeMutablePointer<Double>) throws -> Void
    ) throws {
        guard count > 0 else { return }
        var values: [Double] = []
        swap(&values, &self.values)
        defer { swap(&values, &self.values) }
        var kept = 0
        try times.append(addingCapacity: count) { times in
            try times.withUnsafeMutableBufferPointer { times, timesKept in
                try values.append(addingCapacity: count) { values in
                    try values.withUnsafeMutableBufferPointer { values, valuesKept in
                        guard let at = times.baseAddress, let number = values.baseAddress else { return }
                        try body(at, number)
                        var (low, high) = (0, count)
                        while low < high && at[low] < from { low += 1 }
                        while high > low && at[high - 1] > to { high -= 1 }
                        kept = high - low
                        if low > 0 {
                            at.update(from: at + low, count: kept)
                            number.update(from: number + low, count: kept)
                        }
                        (timesKept, valuesKept) = (kept, kept)
                    }
                }
            }
        }
        if hasHistograms { histogramAt.append(contentsOf: repeatElement(-1, count: kept)) }
    }

    /// Sorts another run of samples in; of two at one time the one that is here stays.
    mutating func merge(_ other: SampleBuffer) {
        guard let last = times.last, let first = other.times.first else {
            if times.isEmpty { self = other }
            return
        }
        var merged = SampleBuffer()
        if last < first {
            for index in 0..<other.count { copy(other, index) }
            return
        }
        var (left, right) = (0, 0)
        while left < count || right < other.count {
            if right == other.count || (left < count && times[left] <= other.times[right]) {
                if right < other.count && times[left] == other.times[right] { right += 1 }
                merged.copy(self, left)
                left += 1
            } else {
                merged.copy(other, right)
                right += 1
            }
        }
        self = merged
    }

    mutating func copy(_ other: SampleBuffer, _ index: Int) {
        if other.hasHistograms, other.histogramAt[index] >= 0 {
            append(other.times[index], other.histograms[Int(other.histogramAt[index])])
        } else {
            append(other.times[index], other.values[index])
        }
    }
}
