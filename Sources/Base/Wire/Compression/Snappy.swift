/// Snappy's block format, as remote write and Loki use it (google/snappy, `format_description.txt`).
package enum Snappy {
    /// No element holds more: a copy of three bytes stands for up to 64.
    private static let bestRatio = 22
    /// Room behind the output, so that short copies may be done sixteen bytes at once.
    private static let slack = 16

    /// The length that a block declares.
    package static func declaredLength(_ bytes: [UInt8]) throws -> Int {
        try bytes.withUnsafeBufferPointer { try preamble($0).length }
    }

    private static func preamble(_ bytes: UnsafeBufferPointer<UInt8>) throws -> (length: Int, end: Int) {
        var (length, shift, position) = (0, 0, 0)
        while position < bytes.count, position < 5 {
            let byte = bytes[position]
            position += 1
            length |= Int(byte & 0x7f) << shift
            shift += 7
            if byte < 0x80 {
                guard length <= Int(UInt32.max) else { break }
                return (length, position)
            }
        }
        throw WireError.malformed("the body is not snappy: its length is misspelt")
    }

    /// Decompresses a block.
    ///
    /// - Parameter limit: Most bytes that may come out: a block that declares more is refused before memory is taken for
    ///   it, and so is one that declares more than its own length could ever hold.
    /// - Throws: `WireError`: `tooLarge` beyond the limit, else `malformed`.
    package static func decode(_ bytes: [UInt8], limit: Int) throws -> [UInt8] {
        try bytes.withUnsafeBufferPointer { input in
            let (length, start) = try preamble(input)
            guard length <= limit else { throw Gzip.tooLarge(limit) }
            guard length <= input.count * bestRatio else {
                throw WireError.malformed(
                    "a snappy block of \(input.count) bytes declares \(length), which none can hold")
            }
            return try [UInt8](unsafeUninitializedCapacity: length + slack) { out, count in
                var decoder = Decoder(
                    input: input, position: start, out: UnsafeMutableRawBufferPointer(out), length: length)
                try decoder.run()
                count = length
            }
        }
    }

    private struct Decoder {
        let input: UnsafeBufferPointer<UInt8>
        var position: Int
        /// `slack` bytes longer than `length`.
        let out: UnsafeMutableRawBufferPointer
        let length: Int
        var written = 0

        mutating func run() throws {
            while position < input.count {
                let tag = input[position]
                position += 1
                switch tag & 3 {
                case 0: try literal(tag)
                case 1:
                    guard position < input.count else { throw damaged }
                    let offset = Int(tag & 0xe0) << 3 | Int(input[position])
                    position += 1
                    try copy(offset: offset, count: 4 + Int(tag >> 2 & 7))
                case 2:
                    guard input.count - position >= 2 else { throw damaged }
                    let offset = Int(input[position]) | Int(input[position + 1]) << 8
                    position += 2
                    try copy(offset: offset, count: 1 + Int(tag >> 2))
                default: try copy(offset: try little(4), count: 1 + Int(tag >> 2))
                }
            }
            guard written == length else { throw damaged }
        }

        private mutating func little(_ size: Int) throws -> Int {
            guard input.count - position >= size else { throw damaged }
            var value = 0
            for index in 0..<size { value |= Int(input[position + index]) << (8 * index) }
            position += size
            return value
        }

        private mutating func literal(_ tag: UInt8) throws {
            var count = Int(tag >> 2) + 1
            if count > 60 { count = try little(count - 60) + 1 }
            guard count <= input.count - position, count <= length - written,
                let from = input.baseAddress, let to = out.baseAddress
            else { throw damaged }
            if count <= 16, input.count - position >= 16 {
                block(from: from + position, to: to + written)
            } else {
                (to + written).copyMemory(from: from + position, byteCount: count)
            }
            position += count
            written += count
        }

        private mutating func copy(offset: Int, count: Int) throws {
            guard offset > 0, offset <= written, count <= length - written, let base = out.baseAddress else {
                throw damaged
            }
            let to = base + written
            if offset >= 16 {
                // Sixteen at a time may write up to 15 bytes too far: into the slack, or where later elements will
                // write.
                var done = 0
                while done < count {
                    block(from: to + done - offset, to: to + done)
                    done += 16
                }
                written += count
                return
            }
            // The copy may reach into what it writes itself: then byte by byte repeats the pattern.
            for index in 0..<count {
                to.storeBytes(of: out[written - offset + index], toByteOffset: index, as: UInt8.self)
            }
            written += count
        }

        @inline(__always)
        private func block(from: UnsafeRawPointer, to: UnsafeMutableRawPointer) {
            let low = from.loadUnaligned(as: UInt64.self)
            let high = from.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
            to.storeBytes(of: low, as: UInt64.self)
            to.storeBytes(of: high, toByteOffset: 8, as: UInt64.self)
        }

        private var damaged: WireError { .malformed("a snappy block is damaged") }
    }
}

// MARK: - Encoding

extension Snappy {
    /// Matches are looked for within pieces of this size, so that offsets fit into two bytes.
    private static let piece = 65_536
    private static let tableBits = 14

    /// Compresses into a block.
    package static func encode(_ bytes: [UInt8]) -> [UInt8] {
        precondition(bytes.count <= Int(UInt32.max), "a snappy block holds at most 4 GiB")
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count / 2 + 16)
        var length = bytes.count
        while length >= 0x80 {
            out.append(UInt8(truncatingIfNeeded: length) | 0x80)
            length >>= 7
        }
        out.append(UInt8(length))
        var table = [UInt16](repeating: 0, count: 1 << tableBits)
        bytes.withUnsafeBytes { all in
            var start = 0
            while start < all.count {
                let end = min(start + piece, all.count)
                encode(UnsafeRawBufferPointer(rebasing: all[start..<end]), table: &table, into: &out)
                start = end
            }
        }
        return out
    }

    private static func encode(_ piece: UnsafeRawBufferPointer, table: inout [UInt16], into out: inout [UInt8]) {
        for index in table.indices { table[index] = 0 }
        var (position, literalStart, misses) = (1, 0, 32)
        // The last bytes are not worth a search, and eight may be loaded at once before them.
        while position + 15 < piece.count {
            let word = piece.loadUnaligned(fromByteOffset: position, as: UInt32.self)
            let slot = Int((word &* 0x1e35_a7bd) >> UInt32(32 - tableBits))
            let candidate = Int(table[slot])
            table[slot] = UInt16(truncatingIfNeeded: position)
            guard candidate < position, piece.loadUnaligned(fromByteOffset: candidate, as: UInt32.self) == word else {
                // What does not compress is passed over in growing steps.
                position += misses >> 5
                misses += 1
                continue
            }
            literal(piece, literalStart..<position, into: &out)
            var count = 4
            while position + count < piece.count, piece[candidate + count] == piece[position + count] { count += 1 }
            copy(offset: position - candidate, count: count, into: &out)
            position += count
            literalStart = position
            misses = 32
        }
        literal(piece, literalStart..<piece.count, into: &out)
    }

    private static func literal(_ piece: UnsafeRawBufferPointer, _ range: Range<Int>, into out: inout [UInt8]) {
        guard !range.isEmpty else { return }
        let rest = range.count - 1
        switch rest {
        case ..<60: out.append(UInt8(rest << 2))
        case ..<256:
            out.append(60 << 2)
            out.append(UInt8(rest))
        default:
            out.append(61 << 2)
            out.append(UInt8(truncatingIfNeeded: rest))
            out.append(UInt8(rest >> 8))
        }
        out.append(contentsOf: piece[range])
    }

    private static func copy(offset: Int, count: Int, into out: inout [UInt8]) {
        var left = count
        while left > 0 {
            // A rest below four could not be written in the short form, which costs nothing here: the long one is used.
            let part = min(left, 64)
            if part >= 4, part <= 11, offset < 2048 {
                out.append(UInt8(offset >> 8) << 5 | UInt8(part - 4) << 2 | 1)
                out.append(UInt8(truncatingIfNeeded: offset))
            } else {
                out.append(UInt8(part - 1) << 2 | 2)
                out.append(UInt8(truncatingIfNeeded: offset))
                out.append(UInt8(offset >> 8))
            }
            left -= part
        }
    }
}
