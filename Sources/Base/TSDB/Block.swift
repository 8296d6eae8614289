import Series

/// Two times, both included.
struct Interval: Sendable, Hashable {
    var from: Int64
    var to: Int64
}

/// A block's files, mapped.
///
/// They are removed from the disk when the block has been let go and the last reader is done.
final class BlockFiles: Sendable {
    let folder: String
    let meta: BlockMeta
    let index: BlockIndex
    let chunks: MappedFile
    let byteCount: Int

    init(_ folder: String) throws {
        self.folder = folder
        meta = try BlockMeta(decoding: try Files.read(folder + "/meta"), path: folder + "/meta")
        index = try BlockIndex(try MappedFile(folder + "/index"), path: folder + "/index")
        chunks = try MappedFile(folder + "/chunks")
        guard BlockFormat.isReadable(chunks.bytes, BlockFormat.chunks), index.seriesCount == meta.series else {
            throw SeriesError(.storage, "\(folder)/chunks is damaged")
        }
        byteCount = chunks.bytes.count + index.file.bytes.count
    }
}

/// A block with what has been deleted from it.
///
/// Deleting makes another value over the same files.
final class Block: Sendable {
    let files: BlockFiles
    /// By number of the series; sorted and apart.
    let tombstones: [Int: [Interval]]

    var meta: BlockMeta { files.meta }
    var index: BlockIndex { files.index }

    init(_ files: BlockFiles, tombstones: [Int: [Interval]]) {
        self.files = files
        self.tombstones = tombstones
    }

    static func open(_ folder: String) throws -> Block {
        let files = try BlockFiles(folder)
        let path = folder + "/tombstones"
        return Block(files, tombstones: Files.exists(path) ? try decodeTombstones(path) : [:])
    }

    /// Adds the samples of one series between two times.
    func read(_ series: Int, from: Int64, to: Int64, into buffer: inout SampleBuffer) throws {
        guard from <= to else { return }
        let gone = tombstones.isEmpty ? [] : tombstones[series] ?? []
        try index.forEachChunk(series) { chunk in
            guard chunk.first <= to else { return false }
            guard chunk.last >= from else { return true }
            let bytes = try self.chunk(chunk)
            if gone.isEmpty {
                try ChunkKind.merge(bytes, first: chunk.first, from: from, to: to, into: &buffer)
            } else {
                var kept = SampleBuffer()
                for part in Self.without(gone, from: from, to: to) {
                    try ChunkKind.decode(bytes, from: part.from, to: part.to, into: &kept)
                }
                buffer.merge(kept)
            }
            return true
        }
    }

    /// What the index leads to; whole as the block is.
    func chunk(_ chunk: BlockIndex.Chunk) throws -> ChunkBytes {
        let all = files.chunks.bytes
        guard chunk.offset >= 8, chunk.length > 0, chunk.length <= all.count,
            chunk.offset <= all.count - chunk.length - 4
        else {
            throw SeriesError(.storage, "\(files.folder)/index points outside of the chunks")
        }
        let bytes = UnsafeRawBufferPointer(rebasing: all[chunk.offset..<chunk.offset + chunk.length])
        let told = UInt32(littleEndian: all.loadUnaligned(fromByteOffset: chunk.offset + chunk.length, as: UInt32.self))
        guard Checksum.of(bytes) == told else {
            throw SeriesError(.storage, "\(files.folder)/chunks is damaged at \(chunk.offset)")
        }
        return ChunkBytes(bytes, column: chunk.column)
    }

    /// What is left of a range.
    static func without(_ gone: [Interval], from: Int64, to: Int64) -> [Interval] {
        var (parts, at): ([Interval], Int64) = ([], from)
        for interval in gone where interval.to >= at && interval.from <= to {
            if interval.from > at { parts.append(Interval(from: at, to: interval.from - 1)) }
            if interval.to >= to { return parts }
            at = interval.to + 1
        }
        if at <= to { parts.append(Interval(from: at, to: to)) }
        return parts
    }

    /// One more interval among sorted ones.
    static func adding(_ interval: Interval, to intervals: [Interval]) -> [Interval] {
        var merged: [Interval] = []
        for next in (intervals + [interval]).sorted(by: { $0.from < $1.from }) {
            if let last = merged.last, next.from <= last.to || next.from == last.to + 1 {
                merged[merged.count - 1].to = max(last.to, next.to)
            } else {
                merged.append(next)
            }
        }
        return merged
    }

    // MARK: - Tombstones on disk

    static func encodeTombstones(_ tombstones: [Int: [Interval]]) -> [UInt8] {
        var bytes = Array("VGTD\u{1}\u{0}\u{0}\u{0}".utf8)
        bytes.appendVarint(tombstones.count)
        for (series, intervals) in tombstones.sorted(by: { $0.key < $1.key }) {
            bytes.appendVarint(series)
            bytes.appendVarint(intervals.count)
            for interval in intervals {
                bytes.appendSigned(interval.from)
                bytes.appendSigned(interval.to)
            }
        }
        bytes.appendHalf(Checksum.of(bytes))
        return bytes
    }

    private static func decodeTombstones(_ path: String) throws -> [Int: [Interval]] {
        try MappedFile(path).withBytes { bytes in
            guard bytes.count >= 13, Checksum.isLast(in: bytes) else {
                throw SeriesError(.storage, "\(path) is damaged")
            }
            var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes.dropLast(4)))
            _ = try reader.word()
            var tombstones: [Int: [Interval]] = [:]
            for _ in 0..<(try reader.count(limit: bytes.count)) {
                let series = try reader.count()
                var intervals: [Interval] = []
                for _ in 0..<(try reader.count(limit: bytes.count)) {
                    intervals.append(Interval(from: try reader.signed(), to: try reader.signed()))
                }
                tombstones[series] = intervals
            }
            return tombstones
        }
    }
}
