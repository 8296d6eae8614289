import Series

/// Numbers as a stream of bits: the first time and value whole, then each by its distance from the one before.
enum FloatChunk {
    static func decode(
        _ bytes: UnsafeRawBufferPointer, count: Int, from: Int64, to: Int64, into buffer: inout SampleBuffer
    ) throws {
        guard let base = bytes.baseAddress, count <= bytes.count * 4 else { throw ByteReader.Damaged() }
        try buffer.appendNumbers(count, from: from, to: to) { times, values in
            var reader = BitReader(base, byteCount: bytes.count)
            var time = Int64(bitPattern: reader.readWide(64))
            var value = reader.readWide(64)
            var number = ValueCode.wholeBase(value)
            var distance: Int64 = 0
            times[0] = time
            values[0] = Double(bitPattern: value)
            let end = bytes.count * 8
            var position = reader.position
            for index in 1..<max(1, count) {
                if position > end { throw ByteReader.Damaged() }
                // One load serves the most frequent sample: an even distance and a whole number near the last one.
                let word = UInt64(bigEndian: base.loadUnaligned(fromByteOffset: position >> 3, as: UInt64.self))
                let next = word &<< UInt64(position & 7)
                if next >> 63 == 0 {
                    position += 1
                } else {
                    reader.position = position
                    distance &+= TimeCode.decode(&reader)
                    position = reader.position
                }
                time &+= distance
                times[index] = time
                let code = next >> 63 == 0 ? next << 1 : Self.load(base, position)
                if code >> 63 == 0 {
                    position += 1
                } else if code >> 62 == 0b10 {
                    let length = Int(code >> 57 & 31) + 1
                    number &+= ValueCode.unzigzag((code << 7) &>> UInt64(64 - length))
                    value = Double(number).bitPattern
                    position += 7 + length
                } else {
                    reader.position = position
                    value = ValueCode.decode(&reader, after: value)
                    position = reader.position
                    number = ValueCode.wholeBase(value)
                }
                values[index] = Double(bitPattern: value)
            }
            if position > end { throw ByteReader.Damaged() }
        }
    }

    @inline(__always)
    private static func load(_ base: UnsafeRawPointer, _ position: Int) -> UInt64 {
        UInt64(bigEndian: base.loadUnaligned(fromByteOffset: position >> 3, as: UInt64.self)) &<< UInt64(position & 7)
    }

    /// The bytes of a chunk of numbers: packed when that is shorter than the stream, which takes anything.
    static func encode(_ times: UnsafeBufferPointer<Int64>, _ values: UnsafeBufferPointer<Double>) -> [UInt8] {
        var writer = BitWriter()
        var (distance, last): (Int64, UInt64) = (0, 0)
        for index in times.indices {
            let bits = values[index].bitPattern
            if index == 0 {
                writer.write(UInt64(bitPattern: times[0]), 64)
                writer.write(bits, 64)
            } else {
                let next = times[index] &- times[index - 1]
                TimeCode.encode(next &- distance) { writer.write($0, $1) }
                ValueCode.encode(bits, after: last) { writer.write($0, $1) }
                distance = next
            }
            last = bits
        }
        if let packed = PackedChunk.encode(times, values), packed.count <= writer.byteCount + 3 { return packed }
        var bytes = [ChunkKind.stream.rawValue]
        bytes.appendVarint(times.count)
        writer.append(to: &bytes)
        return bytes
    }
}

/// Numbers that are whole at some decimal scale, as distances packed to the width of the widest of their group.
enum PackedChunk {
    static let groupSize = 32
    static let scaleAtMost = 6
    private static let scales: [Double] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000]

    /// Nil when a value is no such number.
    static func encode(_ times: UnsafeBufferPointer<Int64>, _ values: UnsafeBufferPointer<Double>) -> [UInt8]? {
        guard !times.isEmpty, let scale = scale(of: values) else { return nil }
        var bytes: [UInt8] = [ChunkKind.packed.rawValue]
        bytes.reserveCapacity(times.count * 2 + 24)
        bytes.appendVarint(times.count)
        bytes.appendSigned(times[0])
        let distances = (1..<max(1, times.count)).map { times[$0] &- times[$0 - 1] }
        pack(distances[...], into: &bytes)
        let factor = scales[scale]
        bytes.append(UInt8(scale))
        let numbers = values.map { Int64(($0 * factor).rounded()) }
        bytes.appendSigned(numbers[0])
        let steps = (1..<max(1, numbers.count)).map { numbers[$0] - numbers[$0 - 1] }
        for start in stride(from: 0, to: steps.count, by: groupSize) {
            pack(steps[start..<min(start + groupSize, steps.count)], into: &bytes)
        }
        return bytes
    }

    private static func scale(of values: UnsafeBufferPointer<Double>) -> Int? {
        var scale = 0
        for value in values {
            while !fits(value, scale) {
                scale += 1
                if scale > scaleAtMost { return nil }
            }
        }
        return scale == 0 || values.allSatisfy { fits($0, scale) } ? scale : nil
    }

    @inline(__always)
    private static func fits(_ value: Double, _ scale: Int) -> Bool {
        let scaled = (value * scales[scale]).rounded()
        guard scaled > -ValueCode.exactLimit && scaled < ValueCode.exactLimit else { return false }
        return (Double(Int64(scaled)) / scales[scale]).bitPattern == value.bitPattern
    }

    /// The smallest distance, the width of what the others have above it, and that packed.
    private static func pack(_ distances: ArraySlice<Int64>, into bytes: inout [UInt8]) {
        let least = distances.min() ?? 0
        let width = 64 - UInt64(bitPattern: (distances.max() ?? 0) &- least).leadingZeroBitCount
        bytes.appendSigned(least)
        bytes.append(UInt8(width))
        guard width > 0 else { return }
        var writer = BitWriter(capacity: width)
        for distance in distances { writer.write(UInt64(bitPattern: distance &- least), width) }
        writer.append(to: &bytes)
    }

    static func decode(
        _ bytes: UnsafeRawBufferPointer, count: Int, from: Int64, to: Int64, into buffer: inout SampleBuffer
    ) throws {
        try buffer.appendNumbers(count, from: from, to: to) { times, values in
            var reader = ByteReader(bytes)
            var time = try reader.signed()
            times[0] = time
            try unpack(&reader, count - 1) { index, distance in
                time &+= distance
                times[index + 1] = time
            }
            let scale = Int(try reader.byte())
            guard scale <= scaleAtMost else { throw ByteReader.Damaged() }
            let factor = scales[scale]
            var number = try reader.signed()
            values[0] = Double(number) / factor
            for start in stride(from: 0, to: count - 1, by: groupSize) {
                let target = values + start + 1
                if scale == 0 {
                    try unpack(&reader, min(groupSize, count - 1 - start)) { index, step in
                        number &+= step
                        target[index] = Double(number)
                    }
                } else {
                    try unpack(&reader, min(groupSize, count - 1 - start)) { index, step in
                        number &+= step
                        target[index] = Double(number) / factor
                    }
                }
            }
        }
    }

    @inline(__always)
    private static func unpack(_ reader: inout ByteReader, _ count: Int, _ body: (Int, Int64) -> Void) throws {
        let least = try reader.signed()
        let width = Int(try reader.byte())
        guard width <= 64 else { throw ByteReader.Damaged() }
        if width == 0 {
            for index in 0..<count { body(index, least) }
            return
        }
        let packed = try reader.take((count * width + 7) / 8)
        guard let base = packed.baseAddress else { return }
        var bits = BitReader(base, byteCount: packed.count)
        if width <= 56 {
            for index in 0..<count { body(index, least &+ Int64(bitPattern: bits.read(width))) }
        } else {
            for index in 0..<count { body(index, least &+ Int64(bitPattern: bits.readWide(width))) }
        }
    }
}
