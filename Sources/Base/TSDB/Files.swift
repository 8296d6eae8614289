import Glibc
import Series

/// All that the store asks of the file system.
///
/// Blocking; thrown errors are `SeriesError` with code `storage`.
enum Files {
    static func failure(_ what: String, _ path: String) -> SeriesError {
        SeriesError(.storage, "could not \(what) \(path): \(String(cString: strerror(errno)))")
    }

    static func makeFolder(_ path: String) throws {
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw failure("make the folder", path) }
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// Names in a folder, sorted, without `.` and `..`.
    static func names(in path: String) throws -> [String] {
        guard let folder = opendir(path) else { throw failure("list", path) }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    static func size(_ path: String) throws -> Int {
        var status = stat()
        guard stat(path, &status) == 0 else { throw failure("look at", path) }
        return Int(status.st_size)
    }

    static func remove(_ path: String) throws {
        guard unlink(path) == 0 || errno == ENOENT else { throw failure("remove", path) }
    }

    /// Removes a folder of files and folders.
    static func removeTree(_ path: String) throws {
        for name in try names(in: path) {
            let inner = path + "/" + name
            var status = stat()
            guard lstat(inner, &status) == 0 else { throw failure("look at", inner) }
            if status.st_mode & S_IFMT == S_IFDIR { try removeTree(inner) } else { try remove(inner) }
        }
        guard rmdir(path) == 0 else { throw failure("remove", path) }
    }

    static func rename(_ path: String, to target: String) throws {
        guard Glibc.rename(path, target) == 0 else { throw failure("put in place", target) }
    }

    static func link(_ path: String, to target: String) throws {
        guard Glibc.link(path, target) == 0 else { throw failure("link", target) }
    }

    static func truncate(_ path: String, to size: Int) throws {
        guard Glibc.truncate(path, off_t(size)) == 0 else { throw failure("cut", path) }
    }

    /// Makes names in a folder last.
    static func syncFolder(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("sync", path) }
    }

    /// Writes a small file beside its place and moves it there when the disk has it.
    static func replace(_ path: String, with bytes: [UInt8]) throws {
        let file = try WritableFile(path + ".tmp")
        try bytes.withUnsafeBytes { try file.write($0) }
        try file.sync()
        try rename(path + ".tmp", to: path)
    }

    static func read(_ path: String) throws -> [UInt8] { try MappedFile(path).withBytes { Array($0) } }
}

/// A file that is written from its start; closed when it is let go.
final class WritableFile: Sendable {
    let path: String
    private let descriptor: Int32

    init(_ path: String) throws {
        self.path = path
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw Files.failure("open", path) }
    }

    deinit { close(descriptor) }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        guard var at = bytes.baseAddress else { return }
        var left = bytes.count
        while left > 0 {
            let count = Glibc.write(descriptor, at, left)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw Files.failure("write", path) }
            at += count
            left -= count
        }
    }

    /// Writes at a place, whatever is there.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws {
        guard lseek(descriptor, off_t(offset), SEEK_SET) == off_t(offset) else { throw Files.failure("write", path) }
        try write(bytes)
    }

    func cut(to size: Int) throws {
        guard ftruncate(descriptor, off_t(size)) == 0 else { throw Files.failure("cut", path) }
    }

    func sync() throws {
        guard fdatasync(descriptor) == 0 else { throw Files.failure("sync", path) }
    }
}

/// Keeps a second process out of a folder for as long as this lives.
final class FolderLock: Sendable {
    private let descriptor: Int32

    init(_ path: String) throws {
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw Files.failure("open", path) }
        // A child between fork and exec, or a process that is just ending, holds a lock a moment longer.
        for _ in 0..<Self.tries where flock(file, LOCK_EX | LOCK_NB) != 0 { usleep(Self.pause) }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            close(file)
            throw SeriesError(.storage, "the store is in use by another process: \(path)")
        }
        descriptor = file
    }

    deinit { close(descriptor) }

    private static let tries = 100
    /// In microseconds.
    private static let pause: UInt32 = 5_000
}

/// A file's bytes in memory, with a page of readable zeros behind them.
///
/// The file must not be cut while it is mapped: the store only ever replaces or removes whole files.
final class MappedFile: @unchecked Sendable {  // written by nobody
    let bytes: UnsafeRawBufferPointer
    private let reserved: (UnsafeMutableRawPointer, Int)?

    init(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Files.failure("open", path) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Files.failure("look at", path) }
        let size = Int(status.st_size)
        let page = 4096
        let room = (size + page - 1) / page * page + page
        guard let base = mmap(nil, room, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), base != MAP_FAILED else {
            throw Files.failure("map", path)
        }
        if size > 0, mmap(base, size, PROT_READ, MAP_SHARED | MAP_FIXED, descriptor, 0) == MAP_FAILED {
            munmap(base, room)
            throw Files.failure("map", path)
        }
        reserved = (base, room)
        bytes = UnsafeRawBufferPointer(start: base, count: size)
    }

    /// For bytes of a file that nothing else keeps.
    func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try withExtendedLifetime(self) { try body(bytes) }
    }

    deinit { if let reserved { munmap(reserved.0, reserved.1) } }
}
