import CLinux
import Crypto
import Glibc
import Synchronization

/// One blob being written.
///
/// Pieces are appended in the order of the calls, one call at a time.
///
/// Nothing is visible before `finish` has returned, and nothing is left when the writer is dropped before.
package final class BlobWriter: Sendable {
    private struct State {
        var descriptor: Int32 = -1
        var path = ""
        var size: Int64 = 0
        /// How much of it the disk was told to begin with.
        var begun: Int64 = 0
        /// What ended the writing: its outcome is given again to whoever asks again.
        var end: Result<(digest: Digest, size: Int64), BlobError>?
    }

    private let store: BlobStore
    private let limit: Int64
    private let state = Mutex(State())
    private let hasher = Mutex(SHA256())

    /// Pieces that were fed go two ways at once: to the disk, and into the digest.
    private let (written, hashed) = (PieceLane(), PieceLane())
    /// Bytes after which the disk begins to write.
    private static let stretchBytes: Int64 = 8 << 20

    init(store: BlobStore, limit: Int64) {
        self.store = store
        self.limit = limit
    }

    deinit {
        state.withLock { Self.discard(&$0) }
    }

    /// Appends a piece.
    ///
    /// - Throws: `.full` when the disk is, `.tooLarge` beyond the limit; after an error the writer only repeats it.
    package func append(_ bytes: [UInt8]) async throws {
        try await store.threads.run { try self.appendNow(bytes) }
    }

    /// Appends a piece behind the caller's back: it waits only when megabytes wait before it, so that it can fetch the next piece
    /// while this one is hashed and written. What goes wrong is thrown by a later call.
    package func feed(_ bytes: [UInt8]) async throws {
        if let end = state.withLock({ $0.end }) { _ = try end.get() }
        try Task.checkCancellation()
        if hashed.add(bytes) { start { $0.hashed.drain($0.hash) } }
        if written.add(bytes) { start { $0.written.drain($0.writeFed) } }
        await written.wait(forAll: false)
        await hashed.wait(forAll: false)
    }

    /// Sets one of the store's threads to work; when too much waits for them, the caller works.
    private func start(_ work: @Sendable @escaping (BlobWriter) -> Void) {
        if !store.threads.start({ work(self) }) { work(self) }
    }

    private func writeFed(_ piece: [UInt8]) {
        do throws(BlobError) {
            try change { state throws(BlobError) in
                try Files.withBytes(of: piece) { buffer throws(BlobError) in try write(buffer, to: &state) }
            }
        } catch {
            // The writer keeps its error, for whoever calls next.
        }
    }

    private func hash(_ piece: [UInt8]) {
        piece.withUnsafeBytes { bytes in hasher.withLock { $0.update(bufferPointer: bytes) } }
    }

    /// Brings the blob to the disk and makes it visible under its digest.
    package func finish() async throws -> (digest: Digest, size: Int64) {
        await written.wait(forAll: true)
        await hashed.wait(forAll: true)
        return try await store.threads.run { try self.finishNow() }
    }

    /// Gives the writing up; nothing is left of it.
    package func cancel() {
        state.withLock { state in
            guard state.end == nil else { return }
            state.end = .failure(
                BlobError(.invalid, "the writing of a blob was given up", hint: "Start another writer."))
            Self.discard(&state)
        }
    }

    // MARK: On the threads

    func appendNow(_ bytes: [UInt8]) throws(BlobError) {
        try change { state throws(BlobError) in
            try Files.withBytes(of: bytes) { buffer throws(BlobError) in try write(buffer, to: &state) }
        }
        hash(bytes)
    }

    /// Copies one piece of an open file; tells how many bytes, 0 at the end.
    func copyPiece(from file: Int32, at offset: Int64) throws(BlobError) -> Int {
        let bytes = try Files.read(file, at: offset, count: Files.pieceBytes)
        if !bytes.isEmpty { try appendNow(bytes) }
        return bytes.count
    }

    func finishNow() throws(BlobError) -> (digest: Digest, size: Int64) {
        if let end = state.withLock({ $0.end }) { return try end.get() }
        return try change { state throws(BlobError) in
            if state.descriptor < 0 { try start(&state) }
            let digest = Digest(hasher.withLock { $0.finalize() })
            try publish(state, as: digest)
            close(state.descriptor)
            state.descriptor = -1
            let result = (digest: digest, size: state.size)
            state.end = .success(result)
            return result
        }
    }

    // MARK: -

    /// Changes the state; an error ends the writing and removes what there is of it.
    private func change<T>(_ body: (inout State) throws(BlobError) -> T) throws(BlobError) -> T {
        let result: Result<T, BlobError> = state.withLock { state in
            if case .failure(let error) = state.end { return .failure(error) }
            if case .success = state.end {
                return .failure(BlobError(.invalid, "a finished blob cannot grow", hint: "Start another writer."))
            }
            do throws(BlobError) {
                return .success(try body(&state))
            } catch {
                state.end = .failure(error)
                Self.discard(&state)
                return .failure(error)
            }
        }
        return try result.get()
    }

    private func write(_ bytes: UnsafeRawBufferPointer, to state: inout State) throws(BlobError) {
        guard state.size + Int64(bytes.count) <= limit else {
            throw BlobError(
                .tooLarge, "a blob is larger than its limit of \(limit) bytes",
                hint: "Store less, split it, or raise the limit of its kind.")
        }
        if state.descriptor < 0 { try start(&state) }
        try Files.writeAll(bytes, to: state.descriptor)
        state.size += Int64(bytes.count)
        // The disk works while the rest comes: the sync at the end has little left to wait for. Only a hint.
        guard state.size - state.begun >= Self.stretchBytes else { return }
        _ = clinux_begin_write(state.descriptor, state.begun, state.size - state.begun)
        state.begun = state.size
    }

    /// Makes the file and locks it, so that a sweeper can tell the living from the dead.
    private func start(_ state: inout State) throws(BlobError) {
        while true {
            let path = store.temporaryPath()
            let file = try Files.open(path, O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
            // A sweeper may have come between the two calls and taken the file away: then it has no name any more.
            var status = stat()
            let isOurs = flock(file, LOCK_EX | LOCK_NB) == 0 && fstat(file, &status) == 0 && status.st_nlink == 1
            if isOurs {
                state.path = path
                state.descriptor = file
                return
            }
            close(file)
        }
    }

    /// To the disk first, to its name then: in this order, or a power cut could leave a name without content.
    private func publish(_ state: State, as digest: Digest) throws(BlobError) {
        guard fchmod(state.descriptor, 0o440) == 0 else { throw Files.error(errno, "protect a blob") }
        try Files.sync(state.descriptor)
        let shelf = store.shelf(of: digest)
        if try Files.makeFolder(shelf) { try Files.syncFolder(store.folder) }
        // Also over a blob that is there: the same content, or a corrupt one that is healed by this.
        guard rename(state.path, store.path(of: digest)) == 0 else { throw Files.error(errno, "name a blob") }
        try Files.syncFolder(shelf)
    }

    private static func discard(_ state: inout State) {
        guard state.descriptor >= 0 else { return }
        unlink(state.path)
        close(state.descriptor)
        state.descriptor = -1
    }
}
