/// How files of blocks begin and end: a magic word, the blocks, a footer that says what is in them, and a trailer that says
/// where the footer is, how long, and its checksum. A file whose writer was killed has no trailer.
package struct SegmentEnd: Sendable {
    /// Offset of the footer (8 bytes), its length (4), its checksum (4), the word at the end (8).
    package static let trailerBytes = 24

    /// Where the footer begins, and so where the blocks end.
    package let offset: Int
    package let footer: [UInt8]

    /// - Parameters:
    ///   - magic: What the file begins with.
    ///   - end: The 8 bytes that it ends with.
    ///   - kind: What it holds, for messages: "logs".
    /// - Throws: `StorageError.damaged`.
    package init(of file: OpenFile, size: Int, magic: [UInt8], end: [UInt8], kind: String) throws {
        guard size >= magic.count + Self.trailerBytes, try file.read(at: 0, count: magic.count) == magic else {
            throw StorageError.damaged("\"\(file.path)\" is not a segment of \(kind)")
        }
        let trailer = try file.read(at: size - Self.trailerBytes, count: Self.trailerBytes)
        let (offset, length, sum) = try trailer.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            return (try reader.fixed(UInt64.self), try reader.fixed(UInt32.self), try reader.fixed(UInt32.self))
        }
        guard Array(trailer.suffix(end.count)) == end, offset <= UInt64(size),
            Int(offset) + Int(length) == size - Self.trailerBytes
        else { throw StorageError.damaged("\"\(file.path)\" has no end") }
        self.offset = Int(offset)
        footer = try file.read(at: Int(offset), count: Int(length))
        guard Checksum.of(footer) == sum else {
            throw StorageError.damaged("the footer of \"\(file.path)\" is damaged")
        }
    }
}
