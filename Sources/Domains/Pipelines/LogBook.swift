import API
import Glibc
import Kernel
import Synchronization

/// Output of jobs, a file each: FOLDER/<run>/<stage>.<job>.log.
///
/// Pieces are small (see `PipelineLimits.chunkBytes`), so that a write takes microseconds and needs no thread of its own.
/// Written bytes survive our death; they are not synced, as losing a log's tail to a power cut is no harm.
final class LogBook: Sendable {
    struct Written: Sendable, Equatable {
        /// Where the next byte goes.
        var offset: Int64
        /// The caller's lease is an old one; nothing was written.
        var isFenced = false
    }

    static let notice = "\n── output is cut here: it is larger than \(PipelineLimits.logBytes >> 20) MiB ──\n"
    private let folder: String
    /// Epoch of the newest lease of each open job; also the lock under which files are written.
    private let fences = Mutex<[JobKey: Int]>([:])

    init(folder: String) { self.folder = folder }

    /// Lets only leases of this epoch write from now on; tells where the output stands.
    func fence(_ key: JobKey, epoch: Int) throws -> Int64 {
        try fences.withLock { fences in
            fences[key] = max(epoch, fences[key] ?? 0)
            return try size(key)
        }
    }

    /// Forgets a job that has ended.
    func release(_ key: JobKey) { fences.withLock { $0[key] = nil } }

    /// Writes what is not there yet of bytes that begin at `offset`.
    func append(_ bytes: [UInt8], at offset: Int64, to key: JobKey, epoch: Int) throws -> Written {
        try fences.withLock { fences in
            if let newest = fences[key], newest > epoch { return Written(offset: try size(key), isFenced: true) }
            let size = try size(key)
            // Behind the cut the offsets only count what was said.
            if size > PipelineLimits.logBytes { return Written(offset: max(size, offset + Int64(bytes.count))) }
            guard offset >= 0, offset <= size else { return Written(offset: size) }
            let fresh = bytes.dropFirst(Int(size - offset))
            if fresh.isEmpty { return Written(offset: size) }
            let room = PipelineLimits.logBytes - size
            if Int64(fresh.count) <= room {
                try write(Array(fresh), at: size, to: key)
                return Written(offset: size + Int64(fresh.count))
            }
            try write(Array(fresh.prefix(Int(room))) + Array(Self.notice.utf8), at: size, to: key)
            return Written(offset: max(try self.size(key), offset + Int64(bytes.count)))
        }
    }

    /// Adds a line of the server's own at the end.
    func say(_ line: String, to key: JobKey) throws {
        try fences.withLock { _ in
            let size = try size(key)
            guard size <= PipelineLimits.logBytes else { return }
            try write(Array((line + "\n").utf8), at: size, to: key)
        }
    }

    func size(_ key: JobKey) throws -> Int64 {
        var status = stat()
        if stat(path(key), &status) == 0 { return Int64(status.st_size) }
        guard errno == ENOENT else { throw Self.problem("look at") }
        return 0
    }

    /// Bytes from `offset` on, cut so that no UTF-8 character is torn.
    func read(_ key: JobKey, from offset: Int64, limit: Int) throws -> [UInt8] {
        let file = open(path(key), O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            guard errno == ENOENT else { throw Self.problem("open") }
            return []
        }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: limit)
        let count = bytes.withUnsafeMutableBytes { pread(file, $0.baseAddress, limit, off_t(offset)) }
        guard count >= 0 else { throw Self.problem("read") }
        bytes.removeLast(limit - count)
        return Self.whole(bytes)
    }

    /// The bytes without a UTF-8 character at their end that is not whole yet.
    static func whole(_ bytes: [UInt8]) -> [UInt8] {
        var start = bytes.count
        while start > 0, bytes.count - start < 3, bytes[start - 1] & 0xC0 == 0x80 { start -= 1 }
        guard start > 0 else { return bytes }
        let lead = bytes[start - 1]
        let length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1
        return bytes.count - (start - 1) < length ? Array(bytes[..<(start - 1)]) : bytes
    }

    private func path(_ key: JobKey) -> String { "\(folder)/\(key.run)/\(key.stage).\(key.job).log" }

    private func write(_ bytes: [UInt8], at offset: Int64, to key: JobKey) throws {
        let path = path(key)
        var file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o640)
        if file < 0, errno == ENOENT {
            mkdir(folder, 0o750)
            mkdir("\(folder)/\(key.run)", 0o750)
            file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o640)
        }
        guard file >= 0 else { throw Self.problem("open") }
        defer { close(file) }
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                pwrite(file, buffer.baseAddress?.advanced(by: done), bytes.count - done, off_t(offset) + off_t(done))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Self.problem("write") }
            done += count
        }
    }

    private static func problem(_ verb: String) -> Problem {
        let text = String(cString: strerror(errno)).lowercased()
        return Problem(
            "log.failed", status: 503, "could not \(verb) the output of a job: \(text)",
            hint: "Look at the disk of the data folder.")
    }
}
