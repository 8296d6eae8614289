internal import CZlib

/// The system's zlib. What it makes carries an Adler-32 checksum, so a bit that turned is found when it is read.
package enum Deflate {
    /// Fast (1) to small (9). Lines of logs get 5 % smaller than with 4 for 7 % more time of the whole path.
    package static let level: Int32 = 6

    package static func compress(_ bytes: [UInt8], level: Int32 = level) -> [UInt8] {
        bytes.withUnsafeBufferPointer { source in
            let bound = Int(compressBound(UInt(source.count)))
            return [UInt8](unsafeUninitializedCapacity: bound) { target, filled in
                var length = UInt(bound)
                let result = compress2(target.baseAddress, &length, source.baseAddress, UInt(source.count), level)
                // Only a lack of memory can make it fail, for the bound is zlib's own.
                filled = result == Z_OK ? Int(length) : 0
            }
        }
    }

    /// - Parameters:
    ///   - bytes: What `compress` made.
    ///   - count: The length that it must have afterwards.
    /// - Returns: The bytes as they were.
    /// - Throws: `StorageError.damaged`.
    package static func inflate(_ bytes: UnsafeRawBufferPointer, count: Int) throws -> [UInt8] {
        var isWhole = false
        let result = [UInt8](unsafeUninitializedCapacity: max(count, 1)) { target, filled in
            var length = UInt(max(count, 1))
            let source = bytes.bindMemory(to: UInt8.self)
            let code = uncompress(target.baseAddress, &length, source.baseAddress, UInt(source.count))
            isWhole = code == Z_OK && Int(length) == count
            filled = isWhole ? count : 0
        }
        guard isWhole else { throw StorageError.damaged("a compressed block does not give \(count) bytes") }
        return result
    }

    package static func inflate(_ bytes: [UInt8], count: Int) throws -> [UInt8] {
        try bytes.withUnsafeBytes { try inflate($0, count: count) }
    }
}

/// CRC-32 as zlib and PNG have it.
package enum Checksum {
    package static func of(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        let source = bytes.bindMemory(to: UInt8.self)
        return UInt32(truncatingIfNeeded: crc32_z(0, source.baseAddress, source.count))
    }

    package static func of(_ bytes: [UInt8]) -> UInt32 { bytes.withUnsafeBytes { of($0) } }
}
