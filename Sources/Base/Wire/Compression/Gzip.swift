internal import CZlib

/// gzip and deflate (RFC 1950–1952) by the system's zlib.
package enum Gzip {
    /// Bytes that one call of zlib may put out.
    private static let chunk = 64 * 1024

    /// Undoes gzip (several members in a row, too) or deflate in its zlib frame, whichever the bytes are.
    ///
    /// - Parameter limit: Most bytes that may come out; nothing much beyond it is ever held.
    /// - Throws: `WireError`: `tooLarge` beyond the limit, else `malformed`.
    package static func inflate(_ bytes: [UInt8], limit: Int) throws -> [UInt8] {
        var stream = z_stream()
        // 15 bits of window, and 32 for: look at the header.
        guard inflateInit2_(&stream, 15 + 32, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            throw WireError(.tooLarge, "zlib could not start")
        }
        defer { inflateEnd(&stream) }
        guard bytes.count <= Int(UInt32.max) else { throw tooLarge(limit) }
        var input = bytes
        return try input.withUnsafeMutableBufferPointer { input in
            stream.next_in = input.baseAddress
            stream.avail_in = UInt32(input.count)
            return try run(&stream, limit: limit, expected: input.count * 4)
        }
    }

    private static func run(_ stream: inout z_stream, limit: Int, expected: Int) throws -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(min(expected, limit))
        var buffer = [UInt8](repeating: 0, count: chunk)
        while true {
            let (status, count) = buffer.withUnsafeMutableBufferPointer { buffer in
                stream.next_out = buffer.baseAddress
                stream.avail_out = UInt32(buffer.count)
                let status = CZlib.inflate(&stream, Z_NO_FLUSH)
                return (status, buffer.count - Int(stream.avail_out))
            }
            guard out.count + count <= limit else { throw tooLarge(limit) }
            out.append(contentsOf: buffer[..<count])
            switch status {
            case Z_OK: if count == 0, stream.avail_in == 0 { throw WireError.malformed("a compressed body ends early") }
            case Z_STREAM_END:
                if stream.avail_in == 0 { return out }
                guard inflateReset(&stream) == Z_OK else { throw WireError.malformed("a compressed body is damaged") }
            case Z_BUF_ERROR: throw WireError.malformed("a compressed body ends early")
            default: throw WireError.malformed("a compressed body is damaged")
            }
        }
    }

    /// Compresses into one gzip member.
    ///
    /// - Parameter level: 1 (fast) to 9 (small).
    package static func compress(_ bytes: [UInt8], level: Int32 = 6) -> [UInt8] {
        var stream = z_stream()
        // 16 for: a gzip header. 8 is zlib's own default of memory.
        let started = deflateInit2_(
            &stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size))
        precondition(started == Z_OK && bytes.count <= Int(UInt32.max), "zlib takes levels 1...9 and up to 4 GiB")
        defer { deflateEnd(&stream) }
        var input = bytes
        let bound = Int(deflateBound(&stream, UInt(bytes.count)))
        return [UInt8](unsafeUninitializedCapacity: bound) { out, count in
            input.withUnsafeMutableBufferPointer { input in
                stream.next_in = input.baseAddress
                stream.avail_in = UInt32(input.count)
                stream.next_out = out.baseAddress
                stream.avail_out = UInt32(out.count)
                let status = deflate(&stream, Z_FINISH)
                // `deflateBound` promises that one call is enough.
                precondition(status == Z_STREAM_END, "zlib ended with \(status)")
            }
            count = bound - Int(stream.avail_out)
        }
    }

    static func tooLarge(_ limit: Int) -> WireError {
        WireError(.tooLarge, "the body is larger than \(limit) bytes when decompressed")
    }
}
