import API
import Glibc
import Kernel
import Synchronization

/// Output of jobs, a file each: FOLDER/<run>/<stage>.<job>.log, and beside it where its lines are (see ``LogIndex``).
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
    private struct Fence {
        /// Epoch of the newest lease.
        var epoch: Int
        /// Until when its holder may write without the store being asked.
        var trusted = Timestamp.zero
    }

    private let folder: String
    private let limit: Int64
    /// Fences of open jobs; also the lock under which files are written.
    private let fences = Mutex<[JobKey: Fence]>([:])

    init(folder: String, limit: Int64 = PipelineLimits.logBytes) { (self.folder, self.limit) = (folder, limit) }

    var notice: String { "\n── output is cut here: it is larger than \(limit >> 20) MiB ──\n" }

    /// Lets only leases of this epoch write from now on; tells where the output stands.
    func fence(_ key: JobKey, epoch: Int) throws -> Int64 {
        try fences.withLock { fences in
            fences[key] = Fence(epoch: max(epoch, fences[key]?.epoch ?? 0))
            return try size(key)
        }
    }

    /// Forgets a job that has ended.
    func release(_ key: JobKey) { fences.withLock { $0[key] = nil } }

    /// Whether this lease was found valid a moment ago.
    func trusts(_ key: JobKey, epoch: Int, at now: Timestamp) -> Bool {
        fences.withLock { $0[key].map { $0.epoch == epoch && now < $0.trusted } ?? false }
    }

    func trust(_ key: JobKey, epoch: Int, at now: Timestamp) {
        fences.withLock { fences in
            guard epoch >= fences[key]?.epoch ?? 0 else { return }
            fences[key] = Fence(epoch: epoch, trusted: now.advanced(by: PipelineLimits.leaseTrust))
        }
    }

    /// Writes what is not there yet of bytes that begin at `offset`.
    func append(_ bytes: [UInt8], at offset: Int64, to key: JobKey, epoch: Int) throws -> Written {
        try fences.withLock { fences in
            if let newest = fences[key], newest.epoch > epoch { return Written(offset: try size(key), isFenced: true) }
            let size = try size(key)
            // Behind the cut the offsets only count what was said.
            if size > limit { return Written(offset: max(size, offset + Int64(bytes.count))) }
            guard offset >= 0, offset <= size else { return Written(offset: size) }
            let fresh = bytes.dropFirst(Int(size - offset))
            if fresh.isEmpty { return Written(offset: size) }
            let room = limit - size
            if Int64(fresh.count) <= room {
                try write(fresh, at: size, to: key)
                return Written(offset: size + Int64(fresh.count))
            }
            try write(fresh.prefix(Int(room)) + notice.utf8, at: size, to: key)
            return Written(offset: max(try self.size(key), offset + Int64(bytes.count)))
        }
    }

    /// Adds a line of the server's own at the end.
    func say(_ line: String, to key: JobKey) throws {
        try fences.withLock { _ in
            let size = try size(key)
            guard size <= limit else { return }
            try write(Array((line + "\n").utf8)[...], at: size, to: key)
        }
    }

    // MARK: Reading

    func size(_ key: JobKey) throws -> Int64 {
        var status = stat()
        if stat(path(key), &status) == 0 { return Int64(status.st_size) }
        guard errno == ENOENT else { throw LogFile.problem("look at") }
        return 0
    }

    /// Bytes from `offset` on, as they are.
    func bytes(_ key: JobKey, from offset: Int64, limit: Int) throws -> [UInt8] {
        guard let file = try LogFile(reading: path(key)) else { return [] }
        return try file.read(from: offset, limit: limit)
    }

    /// Looks at the lines of a job's output as it stands; nil when there is none.
    func lines<T>(_ key: JobKey, _ look: (borrowing LogLines) throws -> T) throws -> T? {
        guard let log = try LogFile(reading: path(key)) else { return nil }
        let size = try log.size()
        var index = LogIndex(try LogFile(reading: path(key) + LogIndex.suffix)?.words() ?? [], of: size)
        if index.isShort(for: size) {
            // Torn by a crash, or of an older version; nobody writes meanwhile.
            index = try fences.withLock { _ in
                var index = LogIndex(try LogFile(reading: path(key) + LogIndex.suffix)?.words() ?? [], of: size)
                if index.isShort(for: size) {
                    try index.extend(over: log, size: size)
                    try LogFile(writing: path(key) + LogIndex.suffix).put(index.words[...], behind: 0)
                }
                return index
            }
        }
        return try look(LogLines(file: log, index: index, size: size))
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

    private func write(_ bytes: ArraySlice<UInt8>, at offset: Int64, to key: JobKey) throws {
        let path = path(key)
        if offset == 0 {
            mkdir(folder, 0o750)
            mkdir("\(folder)/\(key.run)", 0o750)
        }
        let log = try LogFile(writing: path)
        try log.write(bytes, at: offset)
        // The bytes first: what is missing of the index can be made again from them.
        guard LogIndex.entries(of: offset) < LogIndex.entries(of: offset + Int64(bytes.count)) else { return }
        let file = try LogFile(writing: path + LogIndex.suffix)
        var index = LogIndex(try file.words(), of: offset)
        let known = index.words.count
        try index.extend(over: log, size: offset + Int64(bytes.count))
        try file.put(index.words[known...], behind: known)
    }
}
