/// Writes bits, the highest first, into memory of its own that grows.
package struct BitWriter: ~Copyable {
    private var base: UnsafeMutablePointer<UInt64>
    private var capacity: Int
    private var words = 0
    private var pending: UInt64 = 0
    private var pendingBits = 0

    package init(capacity: Int = 64) {
        self.capacity = max(1, capacity)
        base = .allocate(capacity: self.capacity)
    }

    deinit { base.deallocate() }

    package var isEmpty: Bool { words == 0 && pendingBits == 0 }
    package var byteCount: Int { words * 8 + (pendingBits + 7) / 8 }

    package mutating func removeAll() { (words, pending, pendingBits) = (0, 0, 0) }

    /// Writes the lowest `count` bits, 1...64; those above must be zero.
    @inline(__always)
    package mutating func write(_ bits: UInt64, _ count: Int) {
        let free = 64 - pendingBits
        if count < free {
            pending |= bits &<< UInt64(free - count)
            pendingBits += count
        } else {
            let over = count - free
            if words == capacity { grow() }
            base[words] = (pending | (bits &>> UInt64(over))).bigEndian
            words += 1
            pending = over == 0 ? 0 : bits << UInt64(64 - over)
            pendingBits = over
        }
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<UInt64>.allocate(capacity: capacity * 2)
        larger.update(from: base, count: words)
        base.deallocate()
        (base, capacity) = (larger, capacity * 2)
    }

    package func append(to bytes: inout [UInt8]) {
        bytes.append(contentsOf: UnsafeRawBufferPointer(start: base, count: words * 8))
        withUnsafeBytes(of: pending.bigEndian) { bytes.append(contentsOf: $0.prefix((pendingBits + 7) / 8)) }
    }
}

/// Reads bits, the highest first.
///
/// Reading past the end gives zeros' worth of nonsense and sets `isPastEnd`, never a crash: `padding` readable bytes
/// must follow the last one.
package struct BitReader {
    /// What must be readable behind the bits: more than one sample takes, and a word.
    package static let padding = 48

    private let base: UnsafeRawPointer
    package var position = 0
    private let end: Int

    package init(_ base: UnsafeRawPointer, byteCount: Int) {
        self.base = base
        end = byteCount * 8
    }

    package var isPastEnd: Bool { position > end }

    /// The next 57 bits at least, left-aligned.
    @inline(__always)
    package func peek() -> UInt64 {
        let at = min(position, end)  // a torn stream must not walk out of the memory
        return UInt64(bigEndian: base.loadUnaligned(fromByteOffset: at >> 3, as: UInt64.self)) &<< UInt64(at & 7)
    }

    @inline(__always)
    package mutating func skip(_ count: Int) { position += count }

    /// Up to 56 bits, not zero of them.
    @inline(__always)
    package mutating func read(_ count: Int) -> UInt64 {
        let bits = peek() &>> UInt64(64 - count)
        position += count
        return bits
    }

    /// Up to 64 bits.
    @inline(__always)
    package mutating func readWide(_ count: Int) -> UInt64 {
        guard count > 32 else { return read(count) }
        let high = read(count - 32)
        return high << 32 | read(32)
    }
}

/// How a number follows another one in a stream: chunks, histograms and the log all write values so.
///
/// - `0`: the same bits.
/// - `10`, five bits of length less one, zigzag of the difference: both are whole numbers not far apart.
/// - `110`, six bits of leading zeros, six of length less one, the middle of the exclusive-or: anything.
/// - `111`, two bits of scale (10, 100, 1,000, 10,000), five bits of length less one, zigzag of the difference: both are
///   taken at that scale and rounded; only written when the value comes out bit for bit.
package enum ValueCode {
    /// Whole numbers below this are told exactly by a double.
    static let exactLimit = 9_007_199_254_740_992.0

    @inline(__always)
    static func zigzag(_ value: Int64) -> UInt64 { UInt64(bitPattern: (value << 1) ^ (value >> 63)) }

    @inline(__always)
    static func unzigzag(_ value: UInt64) -> Int64 { Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1) }

    /// The whole number that a double is, bit for bit.
    @inline(__always)
    static func whole(_ bits: UInt64) -> Int64? {
        let value = Double(bitPattern: bits)
        guard value > -exactLimit && value < exactLimit else { return nil }
        let number = Int64(value)
        return Double(number).bitPattern == bits ? number : nil
    }

    /// Writes the code, in one part or two.
    @inline(__always)
    package static func encode(_ bits: UInt64, after before: UInt64, _ write: (UInt64, Int) -> Void) {
        let xor = bits ^ before
        if xor == 0 { return write(0, 1) }
        if let number = whole(bits) {
            if let last = whole(before) {
                let difference = zigzag(number - last)
                if difference < 1 << 32 {
                    let length = 64 - difference.leadingZeroBitCount
                    return write((0b10 << 5 | UInt64(length - 1)) &<< UInt64(length) | difference, 7 + length)
                }
            }
        } else if let (code, length) = decimal(bits, before) {
            return write(code, length)
        }
        let leading = xor.leadingZeroBitCount
        let trailing = xor.trailingZeroBitCount
        let length = 64 - leading - trailing
        write(0b110 << 12 | UInt64(leading) << 6 | UInt64(length - 1), 15)
        write(xor &>> UInt64(trailing), length)
    }

    /// A value that is whole at a small decimal scale.
    private static func decimal(_ bits: UInt64, _ before: UInt64) -> (UInt64, Int)? {
        let value = Double(bitPattern: bits)
        var factor = 1.0
        for scale in 0..<4 {
            factor *= 10
            guard let number = rounded(value * factor), (Double(number) / factor).bitPattern == bits else { continue }
            guard let last = rounded(Double(bitPattern: before) * factor) else { return nil }
            let difference = zigzag(number - last)
            guard difference < 1 << 32, difference > 0 else { return nil }
            let length = 64 - difference.leadingZeroBitCount
            let head = 0b111 << 7 | UInt64(scale) << 5 | UInt64(length - 1)
            return (head &<< UInt64(length) | difference, 10 + length)
        }
        return nil
    }

    /// The nearest whole number, of two the even one; nil beyond 2^50.
    @inline(__always)
    private static func rounded(_ value: Double) -> Int64? {
        let magic = 6_755_399_441_055_744.0  // 1.5 · 2^52: adding it leaves no bits behind the point
        guard value > -1_125_899_906_842_624 && value < 1_125_899_906_842_624 else { return nil }
        return Int64(bitPattern: (value + magic).bitPattern) - Int64(bitPattern: magic.bitPattern)
    }

    @inline(__always)
    package static func decode(_ reader: inout BitReader, after before: UInt64) -> UInt64 {
        let next = reader.peek()
        if next >> 63 == 0 {
            reader.skip(1)
            return before
        }
        if next >> 62 == 0b10 {
            let length = Int(next >> 57 & 31) + 1
            let difference = (next << 7) &>> UInt64(64 - length)
            reader.skip(7 + length)
            return Double(wholeBase(before) &+ unzigzag(difference)).bitPattern
        }
        return decodeRare(&reader, next, before)
    }

    private static func decodeRare(_ reader: inout BitReader, _ next: UInt64, _ before: UInt64) -> UInt64 {
        if next >> 61 == 0b111 {
            let factors: (Double, Double, Double, Double) = (10, 100, 1_000, 10_000)
            let factor =
                switch next >> 59 & 3 {
                case 0: factors.0
                case 1: factors.1
                case 2: factors.2
                default: factors.3
                }
            let length = Int(next >> 54 & 31) + 1
            let difference = (next << 10) &>> UInt64(64 - length)
            reader.skip(10 + length)
            let base = rounded(Double(bitPattern: before) * factor) ?? 0
            return (Double(base &+ unzigzag(difference)) / factor).bitPattern
        }
        let leading = Int(next >> 55 & 63)
        let length = Int(next >> 49 & 63) + 1
        reader.skip(15)
        let middle = reader.readWide(length)
        return before ^ (middle << UInt64(max(0, 64 - leading - length)))
    }

    /// The number that a difference is added to.
    ///
    /// Only damaged data has another base than a whole number.
    @inline(__always)
    static func wholeBase(_ bits: UInt64) -> Int64 {
        let value = Double(bitPattern: bits)
        return value > -exactLimit && value < exactLimit ? Int64(value) : 0
    }
}

/// How a time follows another one in a chunk: the change of the distance, in classes of 1, 9, 14, 20, 36 and 68 bits.
package enum TimeCode {
    @inline(__always)
    package static func encode(_ change: Int64, _ write: (UInt64, Int) -> Void) {
        if change == 0 { return write(0, 1) }
        let value = ValueCode.zigzag(change)
        if value < 1 << 7 { return write(0b10 << 7 | value, 9) }
        if value < 1 << 11 { return write(0b110 << 11 | value, 14) }
        if value < 1 << 16 { return write(0b1110 << 16 | value, 20) }
        if value < 1 << 31 { return write(0b11110 << 31 | value, 36) }
        write(0b11111, 5)
        write(value, 64)
    }

    @inline(__always)
    package static func decode(_ reader: inout BitReader) -> Int64 {
        let next = reader.peek()
        if next >> 63 == 0 {
            reader.skip(1)
            return 0
        }
        if next >> 62 == 0b10 {
            reader.skip(9)
            return ValueCode.unzigzag(next >> 55 & 0x7f)
        }
        if next >> 61 == 0b110 {
            reader.skip(14)
            return ValueCode.unzigzag(next >> 50 & 0x7ff)
        }
        if next >> 60 == 0b1110 {
            reader.skip(20)
            return ValueCode.unzigzag(next >> 44 & 0xffff)
        }
        if next >> 59 == 0b11110 {
            reader.skip(36)
            return ValueCode.unzigzag(next >> 28 & 0x7fff_ffff)
        }
        reader.skip(5)
        return ValueCode.unzigzag(reader.readWide(64))
    }
}
