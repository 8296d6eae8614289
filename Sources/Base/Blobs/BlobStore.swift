import Glibc
import Synchronization

/// A folder of blobs.
///
/// A value that may be copied; several processes may use the same folder at once.
package struct BlobStore: Sendable {
    /// The largest blob that is taken unless another limit is given: 1 TiB.
    package static let standardSizeLimit: Int64 = 1 << 40
    /// The longest page of `list`.
    package static let pageLimit = 10_000

    /// Absolute, or relative to where the process runs.
    package let folder: String
    let threads: WorkerThreads

    /// One line of a listing.
    package struct Entry: Sendable, Equatable {
        package let digest: Digest
        package let size: Int64
    }

    /// Opens a store, making its folder when it is missing.
    ///
    /// Blocks for a few system calls.
    package init(folder: String, threads: WorkerThreads = .shared) throws {
        self.folder = folder
        self.threads = threads
        try Files.makeFolders(folder)
        try Files.makeFolder("\(folder)/\(Self.incoming)")
    }

    // MARK: Putting

    /// Starts a blob that is written piece by piece.
    package func writer(limit: Int64 = BlobStore.standardSizeLimit) -> BlobWriter {
        BlobWriter(store: self, limit: limit)
    }

    /// Copies a file into the store.
    ///
    /// The file must not change meanwhile, or an unlucky mix is stored under its own name.
    package func put(
        file path: String, limit: Int64 = BlobStore.standardSizeLimit
    ) async throws -> (digest: Digest, size: Int64) {
        let source = try await threads.run { try OpenFile(regular: path) }
        let writer = writer(limit: limit)
        var offset: Int64 = 0
        while true {
            // By pieces, so that one big file does not keep a thread from everybody else.
            let count = try await threads.run { [offset] in try writer.copyPiece(from: source.descriptor, at: offset) }
            if count == 0 { break }
            offset += Int64(count)
        }
        return try await writer.finish()
    }

    /// Stores bytes that are at hand.
    package func put(bytes: [UInt8]) async throws -> (digest: Digest, size: Int64) {
        let writer = writer()
        return try await threads.run {
            try writer.appendNow(bytes)
            return try writer.finishNow()
        }
    }

    /// Stores a file of a folder that is being packed; a small one that is there already is not written again.
    func put(entry path: String) async throws -> (digest: Digest, size: Int64) {
        let known: (digest: Digest, size: Int64)? = try await threads.run {
            let file = try Files.openRegular(path, flags: O_NOFOLLOW)
            defer { close(file) }
            let bytes = try Files.read(file, at: 0, count: Files.pieceBytes)
            guard bytes.count < Files.pieceBytes else { return nil }
            let digest = Digest(of: bytes)
            var status = stat()
            if lstat(self.path(of: digest), &status) == 0, Int(status.st_size) == bytes.count, try claimNow(digest) {
                return (digest, Int64(bytes.count))
            }
            let writer = writer()
            try writer.appendNow(bytes)
            return try writer.finishNow()
        }
        if let known { return known }
        return try await put(file: path)
    }

    // MARK: Reading

    /// Opens a blob for reading; what is open stays readable even when the blob is deleted.
    package func open(_ digest: Digest) async throws -> BlobReader {
        try await threads.run {
            do throws(BlobError) {
                return try BlobReader(digest, OpenFile(regular: path(of: digest)), threads)
            } catch {
                throw error.code == .notFound ? missing(digest) : error
            }
        }
    }

    /// Where the blob lies, whether it is there or not.
    ///
    /// The file is read-only and must stay as it is.
    package func path(of digest: Digest) -> String { "\(shelf(of: digest))/\(digest.hex.dropFirst(2))" }

    package func exists(_ digest: Digest) async throws -> Bool { try await sizeIfThere(digest) != nil }

    /// Tells the size in bytes; throws `.notFound` when there is no such blob.
    package func size(_ digest: Digest) async throws -> Int64 {
        guard let size = try await sizeIfThere(digest) else { throw missing(digest) }
        return size
    }

    /// Reads the whole blob and compares it with its name.
    ///
    /// - Throws: `.corrupt` when the disk gives something else than was written; the blob is left for a look.
    package func verify(_ digest: Digest) async throws {
        try await open(digest).check()
    }

    // MARK: Keeping

    /// Deletes a blob; true when there was one.
    @discardableResult
    package func delete(_ digest: Digest) async throws -> Bool {
        try await threads.run {
            if unlink(path(of: digest)) == 0 { return true }
            guard errno == ENOENT else { throw Files.error(errno, "delete the blob \(digest)") }
            return false
        }
    }

    /// Lists blobs in the order of their digests, a page at a time.
    ///
    /// - Parameters:
    ///   - last: The last digest of the page before; nil for the first page.
    ///   - limit: 1...`pageLimit`.
    /// - Returns: The page; empty after the last.
    /// - Throws: `BlobError` when the folder cannot be read.
    package func list(after last: Digest? = nil, limit: Int = BlobStore.pageLimit) async throws -> [Entry] {
        let limit = min(max(1, limit), Self.pageLimit)
        var entries: [Entry] = []
        for shelf in 0..<256 where entries.count < limit {
            let name = (shelf < 16 ? "0" : "") + String(shelf, radix: 16)
            if let last, name < last.hex.prefix(2) { continue }
            entries += try await threads.run { try listShelf(name, after: last) }.prefix(limit - entries.count)
        }
        return entries
    }

    /// Removes what dead writers have left behind; tells how many files.
    ///
    /// Those of living writers are kept.
    @discardableResult
    package func sweepTemporaries() async throws -> Int {
        try await threads.run {
            let folder = "\(folder)/\(Self.incoming)"
            var removed = 0
            for name in try Files.names(in: folder) {
                let path = "\(folder)/\(String(decoding: name, as: UTF8.self))"
                let file = Glibc.open(path, O_RDONLY | O_CLOEXEC)
                guard file >= 0 else { continue }
                defer { close(file) }
                // The lock of a writer ends with its process, however that ends.
                if flock(file, LOCK_EX | LOCK_NB) == 0 && unlink(path) == 0 { removed += 1 }
            }
            return removed
        }
    }

    // MARK: -

    static let incoming = "incoming"
    private static let counter = Atomic<UInt64>(0)

    /// The folder in which a blob lies: by the first byte of its digest.
    func shelf(of digest: Digest) -> String { "\(folder)/\(digest.hex.prefix(2))" }

    /// A name for a new file in `incoming` that nobody else has in this process; others are met by O_EXCL.
    func temporaryPath() -> String {
        let number = Self.counter.wrappingAdd(1, ordering: .relaxed).newValue
        return "\(folder)/\(Self.incoming)/\(getpid())-\(number)-\(UInt64.random(in: 0...UInt64.max))"
    }

    static func corrupt(_ digest: Digest) -> BlobError {
        BlobError(
            .corrupt, "the blob \(digest) does not hold what it held when it was written",
            hint: "Look at the disk, delete the blob, and put its content again.")
    }

    func missing(_ digest: Digest) -> BlobError {
        BlobError(
            .notFound, "there is no blob \(digest)", hint: "It was deleted, or never put into this store.")
    }

    private func sizeIfThere(_ digest: Digest) async throws -> Int64? {
        try await threads.run {
            var status = stat()
            if lstat(path(of: digest), &status) == 0 { return Int64(status.st_size) }
            guard errno == ENOENT else { throw Files.error(errno, "look at the blob \(digest)") }
            return nil
        }
    }

    private func listShelf(_ name: String, after last: Digest?) throws(BlobError) -> [Entry] {
        let shelf = "\(folder)/\(name)"
        guard access(shelf, F_OK) == 0 else { return [] }
        var entries: [Entry] = []
        for rest in try Files.names(in: shelf) {
            guard let digest = Digest(hex: name + String(decoding: rest, as: UTF8.self)) else { continue }
            if let last, digest <= last { continue }
            var status = stat()
            guard lstat(path(of: digest), &status) == 0 else { continue }
            entries.append(Entry(digest: digest, size: Int64(status.st_size)))
        }
        return entries
    }
}

/// A descriptor that closes itself.
final class OpenFile: Sendable {
    let descriptor: Int32

    init(_ path: String, _ flags: Int32) throws(BlobError) {
        descriptor = try Files.open(path, flags)
    }

    init(regular path: String) throws(BlobError) {
        descriptor = try Files.openRegular(path)
    }

    deinit { close(descriptor) }
}
