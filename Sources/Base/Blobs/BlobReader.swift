import Crypto
import Glibc
import Synchronization

/// One open blob.
///
/// May be read from several tasks at once.
package final class BlobReader: Sendable {
    package let digest: Digest
    /// Size in bytes.
    package let size: Int64
    /// The most bytes that one `read` gives.
    package static let readLimit = 8 << 20

    private let file: OpenFile
    private let threads: WorkerThreads

    init(_ digest: Digest, _ file: OpenFile, _ threads: WorkerThreads) throws(BlobError) {
        var status = stat()
        guard fstat(file.descriptor, &status) == 0 else { throw Files.error(errno, "look at a blob") }
        self.digest = digest
        self.file = file
        self.threads = threads
        size = Int64(status.st_size)
    }

    /// Reads a part: `count` bytes (at most `readLimit`), fewer only at the end of the blob.
    package func read(at offset: Int64, count: Int) async throws -> [UInt8] {
        guard offset >= 0, count >= 0 else {
            throw BlobError(.invalid, "a blob has no byte \(offset)", hint: "Ask for a part within 0..<\(size).")
        }
        let count = Int(min(Int64(min(count, Self.readLimit)), max(0, size - offset)))
        guard count > 0 else { return [] }
        return try await threads.run { [file] in try Files.read(file.descriptor, at: offset, count: count) }
    }

    /// Reads the whole blob, which must be no larger than `limit`.
    package func readAll(limit: Int64) async throws -> [UInt8] {
        guard size <= limit else {
            throw BlobError(
                .tooLarge, "the blob \(digest) has \(size) bytes, more than \(limit)",
                hint: "Read it in parts, or raise the limit of its kind.")
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(size))
        try await forEachChunk { bytes += $0 }
        return bytes
    }

    /// Hands over a range of the blob (all of it by default), piece by piece, in order.
    ///
    /// - Throws: `.corrupt` when the file is shorter than it was when opened, `.invalid` for a range outside of it.
    package func forEachChunk(
        in range: Range<Int64>? = nil, _ body: ([UInt8]) async throws -> Void
    ) async throws {
        let range = range ?? 0..<size
        guard range.lowerBound >= 0, range.upperBound <= size else {
            throw BlobError(
                .invalid, "the range \(range) is outside of the blob \(digest)",
                hint: "Ask for a part within 0..<\(size).")
        }
        var offset = range.lowerBound
        while offset < range.upperBound {
            let count = Int(min(Int64(Files.pieceBytes), range.upperBound - offset))
            let bytes = try await read(at: offset, count: count)
            guard bytes.count == count else { throw BlobStore.corrupt(digest) }
            offset += Int64(count)
            try await body(bytes)
        }
    }

    /// Hashes the whole blob, and copies it to an open file when there is one.
    ///
    /// - Throws: `.corrupt` when it is not what its name says; by then the file has been written.
    func check(copyingTo target: OpenFile? = nil) async throws {
        let hasher = Hasher()
        var offset: Int64 = 0
        var count = 1
        while count > 0 {
            // By pieces, so that one big blob does not keep a thread from everybody else.
            count = try await threads.run { [file, offset] in
                let bytes = try Files.read(file.descriptor, at: offset, count: Files.pieceBytes)
                hasher.update(bytes)
                if let target { try Files.writeAll(bytes, to: target.descriptor) }
                return bytes.count
            }
            offset += Int64(count)
        }
        guard hasher.finish() == digest else { throw BlobStore.corrupt(digest) }
    }

    /// A hash that grows on one thread after the other.
    private final class Hasher: Sendable {
        private let hash = Mutex(SHA256())

        func update(_ bytes: [UInt8]) {
            hash.withLock { hash in bytes.withUnsafeBytes { hash.update(bufferPointer: $0) } }
        }

        func finish() -> Digest { hash.withLock { Digest($0.finalize()) } }
    }
}
