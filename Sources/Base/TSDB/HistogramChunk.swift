import Series

/// Native histograms: the layouts that occur, then times, hints and counts as bits, each count by its distance from
/// the same bucket's before.
enum HistogramChunk {
    struct Timed: Sendable {
        var time: Int64
        var histogram: FloatHistogram
    }

    /// How many buckets or spans a histogram may have on one side.
    static let bucketsAtMost = 1 << 16

    static func encode(_ samples: ArraySlice<Timed>) -> [UInt8] {
        var bytes = [ChunkKind.histograms.rawValue]
        bytes.appendVarint(samples.count)
        var layouts: [UInt8] = []
        var layoutCount = 0
        var writer = BitWriter()
        var before: FloatHistogram?
        var (time, distance): (Int64, Int64) = (0, 0)
        for sample in samples {
            let isSame = before.map { sameLayout($0, sample.histogram) } ?? false
            if !isSame {
                layout(sample.histogram, into: &layouts)
                layoutCount += 1
            }
            let step = sample.time &- time
            TimeCode.encode(step &- distance) { writer.write($0, $1) }
            (time, distance) = (sample.time, step)
            writer.write(isSame ? 1 : 0, 1)
            writer.write(UInt64(sample.histogram.counterReset.rawValue), 2)
            var lasts = (isSame ? before.map(values) : nil)?.makeIterator()
            for value in values(sample.histogram) {
                ValueCode.encode(value.bitPattern, after: (lasts?.next() ?? 0).bitPattern) { writer.write($0, $1) }
            }
            before = sample.histogram
        }
        bytes.appendVarint(layoutCount)
        bytes.append(contentsOf: layouts)
        writer.append(to: &bytes)
        return bytes
    }

    static func decode(
        _ bytes: UnsafeRawBufferPointer, count: Int, from: Int64, to: Int64, into buffer: inout SampleBuffer
    ) throws {
        var head = ByteReader(bytes)
        var layouts: [FloatHistogram] = []
        for _ in 0..<(try head.count(limit: count)) { layouts.append(try layout(&head)) }
        guard let base = bytes.baseAddress else { throw ByteReader.Damaged() }
        var reader = BitReader(base + head.position, byteCount: bytes.count - head.position)
        var next = 0
        var (time, distance): (Int64, Int64) = (0, 0)
        var current = FloatHistogram()
        for _ in 0..<count {
            distance &+= TimeCode.decode(&reader)
            time &+= distance
            if reader.read(1) == 0 {
                guard next < layouts.count else { throw ByteReader.Damaged() }
                current = layouts[next]
                next += 1
            }
            current.counterReset = FloatHistogram.CounterReset(rawValue: UInt8(reader.read(2))) ?? .unknown
            func follow(_ value: inout Double) {
                value = Double(bitPattern: ValueCode.decode(&reader, after: value.bitPattern))
            }
            follow(&current.zeroCount)
            follow(&current.count)
            follow(&current.sum)
            for index in current.positiveBuckets.indices { follow(&current.positiveBuckets[index]) }
            for index in current.negativeBuckets.indices { follow(&current.negativeBuckets[index]) }
            if reader.isPastEnd { throw ByteReader.Damaged() }
            if time > to { break }
            if time >= from { buffer.append(time, current) }
        }
    }

    fileprivate static func values(_ histogram: FloatHistogram) -> [Double] {
        [histogram.zeroCount, histogram.count, histogram.sum] + histogram.positiveBuckets + histogram.negativeBuckets
    }

    fileprivate static func sameLayout(_ left: FloatHistogram, _ right: FloatHistogram) -> Bool {
        left.schema == right.schema && left.zeroThreshold.bitPattern == right.zeroThreshold.bitPattern
            && left.positiveSpans == right.positiveSpans && left.negativeSpans == right.negativeSpans
            && left.customValues == right.customValues && left.positiveBuckets.count == right.positiveBuckets.count
            && left.negativeBuckets.count == right.negativeBuckets.count
    }

    private static func layout(_ histogram: FloatHistogram, into bytes: inout [UInt8]) {
        bytes.appendSigned(Int64(histogram.schema))
        bytes.appendWord(histogram.zeroThreshold.bitPattern)
        for (spans, buckets) in [
            (histogram.positiveSpans, histogram.positiveBuckets.count),
            (histogram.negativeSpans, histogram.negativeBuckets.count),
        ] {
            bytes.appendVarint(spans.count)
            for span in spans {
                bytes.appendSigned(Int64(span.offset))
                bytes.appendVarint(UInt64(span.length))
            }
            bytes.appendVarint(buckets)
        }
        bytes.appendVarint(histogram.customValues.count)
        for value in histogram.customValues { bytes.appendWord(value.bitPattern) }
    }

    private static func layout(_ reader: inout ByteReader) throws -> FloatHistogram {
        var histogram = FloatHistogram()
        histogram.schema = Int32(truncatingIfNeeded: try reader.signed())
        histogram.zeroThreshold = Double(bitPattern: try reader.word())
        func side() throws -> ([FloatHistogram.Span], [Double]) {
            var spans: [FloatHistogram.Span] = []
            for _ in 0..<(try reader.count(limit: bucketsAtMost)) {
                let offset = Int32(truncatingIfNeeded: try reader.signed())
                spans.append(.init(offset: offset, length: UInt32(truncatingIfNeeded: try reader.varint())))
            }
            return (spans, Array(repeating: 0, count: try reader.count(limit: bucketsAtMost)))
        }
        (histogram.positiveSpans, histogram.positiveBuckets) = try side()
        (histogram.negativeSpans, histogram.negativeBuckets) = try side()
        for _ in 0..<(try reader.count(limit: bucketsAtMost)) {
            histogram.customValues.append(Double(bitPattern: try reader.word()))
        }
        return histogram
    }
}

extension HistogramChunk {
    /// Bit for bit: NaN is itself here, and -0 is not 0.
    static func isSame(_ left: FloatHistogram, _ right: FloatHistogram) -> Bool {
        sameLayout(left, right) && left.counterReset == right.counterReset
            && values(left).map(\.bitPattern) == values(right).map(\.bitPattern)
    }
}
