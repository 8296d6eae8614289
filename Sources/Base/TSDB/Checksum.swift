/// CRC-32C (Castagnoli), eight bytes at a time: what every record and file of the store is checked by.
enum Checksum {
    /// Eight tables of 256 entries (slicing by eight, Kounavis and Berry 2005).
    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for index in 0..<256 {
            var value = UInt32(index)
            for _ in 0..<8 { value = value & 1 == 1 ? (value >> 1) ^ 0x82f6_3b78 : value >> 1 }
            tables[index] = value
        }
        for index in 0..<256 {
            for table in 1..<8 {
                let before = tables[(table - 1) * 256 + index]
                tables[table * 256 + index] = (before >> 8) ^ tables[Int(before & 0xff)]
            }
        }
        return tables
    }()

    static func of(_ bytes: UnsafeRawBufferPointer, continuing: UInt32 = 0) -> UInt32 {
        tables.withUnsafeBufferPointer { tables in
            guard let table = tables.baseAddress, let start = bytes.baseAddress else { return continuing }
            var crc = ~continuing
            var (at, left) = (start, bytes.count)
            while left >= 8 {
                let word = UInt64(littleEndian: at.loadUnaligned(as: UInt64.self)) ^ UInt64(crc)
                crc = table[7 * 256 + Int(word & 0xff)] ^ table[6 * 256 + Int((word >> 8) & 0xff)]
                crc ^= table[5 * 256 + Int((word >> 16) & 0xff)] ^ table[4 * 256 + Int((word >> 24) & 0xff)]
                crc ^= table[3 * 256 + Int((word >> 32) & 0xff)] ^ table[2 * 256 + Int((word >> 40) & 0xff)]
                crc ^= table[256 + Int((word >> 48) & 0xff)] ^ table[Int(word >> 56)]
                at += 8
                left -= 8
            }
            for index in 0..<left {
                crc = (crc >> 8) ^ table[Int((crc ^ UInt32(at.load(fromByteOffset: index, as: UInt8.self))) & 0xff)]
            }
            return ~crc
        }
    }

    static func of(_ bytes: [UInt8]) -> UInt32 { bytes.withUnsafeBytes { of($0) } }

    /// Whether the last four bytes are the checksum of those before.
    static func isLast(in bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count >= 4 else { return false }
        let told = bytes.loadUnaligned(fromByteOffset: bytes.count - 4, as: UInt32.self)
        return UInt32(littleEndian: told) == of(UnsafeRawBufferPointer(rebasing: bytes.dropLast(4)))
    }
}
