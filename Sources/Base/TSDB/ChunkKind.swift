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
    /// Times as in a packed chunk, then bits of the values: for values that do not pack.
    case apart = 4

    /// Adds the samples of a chunk between two times, both included.
    ///
    /// `BitReader.padding` readable bytes must follow the chunk, and the times where they are not in it.
    static func decode(
        _ chunk: ChunkBytes, from: Int64, to: Int64, into buffer: inout SampleBuffer
    ) throws {
        var reader = ByteReader(chunk.bytes)
        guard let kind = ChunkKind(rawValue: try reader.byte()) else { throw ByteReader.Damaged() }
        switch kind {
        case .stream:
            let count = try reader.count(limit: HeadSeries.samplesAtMost)
            try FloatChunk.decode(reader.rest, count: count, from: from, to: to, into: &buffer)
        case .histograms:
            let count = try reader.count(limit: HeadSeries.samplesAtMost)
            try HistogramChunk.decode(reader.rest, count: count, from: from, to: to, into: &buffer)
        case .packed:
            let times = try chunk.times(&reader)
            try PackedChunk.decode(reader.rest, times, from: from, to: to, into: &buffer)
        case .apart:
            let times = try chunk.times(&reader)
            try ApartChunk.decode(reader.rest, times, from: from, to: to, into: &buffer)
        }
    }

    /// Adds a chunk whose times may lie among those that are there already.
    ///
    /// Of two samples at one time the earlier added stays.
    static func merge(
        _ chunk: ChunkBytes, first: Int64, from: Int64, to: Int64, into buffer: inout SampleBuffer
    ) throws {
        guard let end = buffer.times.last, end >= first else {
            return try decode(chunk, from: from, to: to, into: &buffer)
        }
        var other = SampleBuffer()
        try decode(chunk, from: from, to: to, into: &other)
        buffer.merge(other)
    }
}

/// A chunk as it lies: in memory with its times, in a block mostly without them.
struct ChunkBytes {
    let bytes: UnsafeRawBufferPointer
    /// The column of times, when it is not in `bytes` behind the kind.
    var column: UnsafeRawBufferPointer?

    init(_ bytes: UnsafeRawBufferPointer, column: UnsafeRawBufferPointer? = nil) {
        self.bytes = bytes
        self.column = column
    }

    /// The times, of which the reader steps over those that are in the chunk.
    @inline(__always)
    fileprivate func times(_ reader: inout ByteReader) throws -> TimeColumn {
        guard let column else { return try TimeColumn(&reader) }
        var apart = ByteReader(column)
        return try TimeColumn(&apart)
    }

    /// The bytes with the times in their place.
    var joined: [UInt8] {
        guard let column else { return Array(bytes) }
        return Array(bytes.prefix(1)) + Array(column) + Array(bytes.dropFirst())
    }

    /// Where the column is in a chunk that has its own times; nil when these are not apart from the values.
    static func column(of bytes: UnsafeRawBufferPointer) throws -> Range<Int>? {
        var reader = ByteReader(bytes)
        guard let kind = ChunkKind(rawValue: try reader.byte()) else { throw ByteReader.Damaged() }
        guard kind == .packed || kind == .apart else { return nil }
        _ = try TimeColumn(&reader)
        return 1..<reader.position
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
