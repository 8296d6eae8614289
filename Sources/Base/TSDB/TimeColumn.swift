/// The times of a chunk: how many, the first, and a pack of their distances.
///
/// Stands in the chunk, or once in the index of a block for all chunks that have the same times: targets give all their
/// series at once.
struct TimeColumn {
    let count: Int
    let first: Int64
    private let distances: Pack

    /// Reads a column and steps behind it.
    init(_ reader: inout ByteReader) throws {
        count = try reader.count(limit: HeadSeries.samplesAtMost)
        guard count > 0 else { throw ByteReader.Damaged() }
        first = try reader.signed()
        distances = try Pack(&reader, count - 1)
    }

    static func encode(_ times: UnsafeBufferPointer<Int64>, into bytes: inout [UInt8]) {
        bytes.appendVarint(times.count)
        bytes.appendSigned(times[0])
        Pack.encode((1..<max(1, times.count)).map { times[$0] &- times[$0 - 1] }[...], into: &bytes)
    }

    func decode(into times: UnsafeMutablePointer<Int64>) throws {
        var time = first
        times[0] = time
        try distances.forEach { index, distance in
            time &+= distance
            times[index + 1] = time
        }
    }
}

/// Whole numbers as the least of them, and what each has above it in as many bits as the greatest needs.
struct Pack {
    private let count: Int
    private let least: Int64
    private let width: Int
    private let bits: UnsafeRawBufferPointer

    /// Reads the head of a pack and steps behind it.
    @inline(__always)
    init(_ reader: inout ByteReader, _ count: Int) throws {
        self.count = count
        least = try reader.signed()
        width = Int(try reader.byte())
        guard width <= 64 else { throw ByteReader.Damaged() }
        bits = try reader.take((count * width + 7) / 8)
    }

    @inline(__always)
    func forEach(_ body: (Int, Int64) -> Void) throws {
        if width == 0 {
            for index in 0..<count { body(index, least) }
            return
        }
        guard let base = bits.baseAddress else { return }
        var reader = BitReader(base, byteCount: bits.count)
        if width <= 56 {
            for index in 0..<count { body(index, least &+ Int64(bitPattern: reader.read(width))) }
        } else {
            for index in 0..<count { body(index, least &+ Int64(bitPattern: reader.readWide(width))) }
        }
    }

    static func encode(_ numbers: ArraySlice<Int64>, into bytes: inout [UInt8]) {
        let least = numbers.min() ?? 0
        let width = 64 - UInt64(bitPattern: (numbers.max() ?? 0) &- least).leadingZeroBitCount
        bytes.appendSigned(least)
        bytes.append(UInt8(width))
        guard width > 0 else { return }
        var writer = BitWriter(capacity: width)
        for number in numbers { writer.write(UInt64(bitPattern: number &- least), width) }
        writer.append(to: &bytes)
    }
}
