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

    /// The bytes of a chunk of numbers: packed when that is shorter than bits of the values, which take anything.
    static func encode(_ times: UnsafeBufferPointer<Int64>, _ values: UnsafeBufferPointer<Double>) -> [UInt8] {
        let apart = ApartChunk.encode(times, values)
        if let packed = PackedChunk.encode(times, values), packed.count <= apart.count { return packed }
        return apart
    }
}

/// Numbers of any kind, with their times apart from them.
enum ApartChunk {
    static func encode(_ times: UnsafeBufferPointer<Int64>, _ values: UnsafeBufferPointer<Double>) -> [UInt8] {
        var bytes = [ChunkKind.apart.rawValue]
        TimeColumn.encode(times, into: &bytes)
        var writer = BitWriter()
        writer.write(values[0].bitPattern, 64)
        for index in 1..<max(1, values.count) {
            ValueCode.encode(values[index].bitPattern, after: values[index - 1].bitPattern) { writer.write($0, $1) }
        }
        writer.append(to: &bytes)
        return bytes
    }

    static func decode(
        _ bytes: UnsafeRawBufferPointer, _ column: TimeColumn, from: Int64, to: Int64, into buffer: inout SampleBuffer
    ) throws {
        guard let base = bytes.baseAddress, column.count <= bytes.count * 8 else { throw ByteReader.Damaged() }
        try buffer.appendNumbers(column.count, from: from, to: to) { times, values in
            try column.decode(into: times)
            var reader = BitReader(base, byteCount: bytes.count)
            var value = reader.readWide(64)
            values[0] = Double(bitPattern: value)
            for index in 1..<max(1, column.count) {
                value = ValueCode.decode(&reader, after: value)
                values[index] = Double(bitPattern: value)
            }
            if reader.isPastEnd { throw ByteReader.Damaged() }
        }
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
        TimeColumn.encode(times, into: &bytes)
        let factor = scales[scale]
        bytes.append(UInt8(scale))
        let numbers = values.map { Int64(($0 * factor).rounded()) }
        bytes.appendSigned(numbers[0])
        let steps = (1..<max(1, numbers.count)).map { numbers[$0] - numbers[$0 - 1] }
        for start in stride(from: 0, to: steps.count, by: groupSize) {
            Pack.encode(steps[start..<min(start + groupSize, steps.count)], into: &bytes)
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

    static func decode(
        _ bytes: UnsafeRawBufferPointer, _ column: TimeColumn, from: Int64, to: Int64, into buffer: inout SampleBuffer
    ) throws {
        let count = column.count
        try buffer.appendNumbers(count, from: from, to: to) { times, values in
            try column.decode(into: times)
            var reader = ByteReader(bytes)
            let scale = Int(try reader.byte())
            guard scale <= scaleAtMost else { throw ByteReader.Damaged() }
            let factor = scales[scale]
            var number = try reader.signed()
            values[0] = Double(number) / factor
            for start in stride(from: 0, to: count - 1, by: groupSize) {
                let target = values + start + 1
                let pack = try Pack(&reader, min(groupSize, count - 1 - start))
                if scale == 0 {
                    try pack.forEach { index, step in
                        number &+= step
                        target[index] = Double(number)
                    }
                } else {
                    try pack.forEach { index, step in
                        number &+= step
                        target[index] = Double(number) / factor
                    }
                }
            }
        }
    }
}
