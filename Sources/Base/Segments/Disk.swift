package import Glibc

/// System calls on files, with the errors of this room. All of them block.
package enum Disk {
    package static func open(_ path: String, _ flags: Int32, mode: mode_t = 0o640) throws -> Int32 {
        while true {
            let file = Glibc.open(path, flags | O_CLOEXEC | O_NOCTTY, mode)
            if file >= 0 { return file }
            if errno != EINTR { throw error(errno, "open \"\(path)\"") }
        }
    }

    package static func writeAll(_ bytes: UnsafeRawBufferPointer, to file: Int32) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = Glibc.write(file, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw error(errno, "write to a file")
            }
            rest = rest.dropFirst(count)
        }
    }

    package static func writeAll(_ bytes: [UInt8], to file: Int32) throws {
        try bytes.withUnsafeBytes { try writeAll($0, to: file) }
    }

    static func read(_ file: Int32, at offset: Int, count: Int) throws -> [UInt8] {
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count, let base = buffer.baseAddress {
                let got = pread(file, base + filled, count - filled, offset + filled)
                if got < 0 && errno == EINTR { continue }
                if got < 0 { failure = errno }
                if got <= 0 { return }
                filled += got
            }
        }
        if failure != 0 { throw error(failure, "read a file") }
        return bytes
    }

    /// Makes what was written last beyond a power cut.
    package static func sync(_ file: Int32) throws {
        while fsync(file) != 0 {
            if errno != EINTR { throw error(errno, "bring a file to the disk") }
        }
    }

    package static func syncFolder(_ path: String) throws {
        let folder = try open(path, O_RDONLY | O_DIRECTORY)
        defer { close(folder) }
        try sync(folder)
    }

    /// Makes a folder and those above it.
    package static func makeFolders(_ path: String) throws {
        var made = path.hasPrefix("/") ? "" : "."
        for part in path.split(separator: "/") {
            made += "/\(part)"
            if mkdir(made, 0o750) != 0 && errno != EEXIST { throw error(errno, "create the folder \"\(made)\"") }
        }
    }

    /// Names of the entries of a folder, sorted, without the two dots.
    package static func names(in folder: String) throws -> [String] {
        guard let open = opendir(folder) else { throw error(errno, "list \"\(folder)\"") }
        defer { closedir(open) }
        var names: [String] = []
        while let entry = readdir(open) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Removes a file; one that is gone already is no error.
    package static func remove(_ path: String) throws {
        if unlink(path) != 0 && errno != ENOENT { throw error(errno, "remove \"\(path)\"") }
    }

    /// Writes a file beside its place and moves it there when it is whole and on the disk.
    package static func replace(_ path: String, _ body: (Int32) throws -> Void) throws {
        let beside = path + temporarySuffix
        let file = try open(beside, O_WRONLY | O_CREAT | O_TRUNC)
        do {
            defer { close(file) }
            try body(file)
            try sync(file)
        } catch {
            unlink(beside)
            throw error
        }
        try move(beside, to: path)
    }

    /// Gives a file another name, in the place of one that may have it, and makes that last.
    package static func move(_ path: String, to target: String) throws {
        if rename(path, target) != 0 { throw error(errno, "move a file to \"\(target)\"") }
        if let slash = target.lastIndex(of: "/") { try syncFolder(String(target[..<slash])) }
    }

    /// The end of the name of a file that is not whole yet; whoever finds one at the start removes it.
    package static let temporarySuffix = ".tmp"

    /// An error number as an error of this room.
    package static func error(_ number: Int32, _ what: String) -> StorageError {
        let reason = strerror(number).map { String(cString: $0).lowercased() } ?? "error \(number)"
        let message = "could not \(what): \(reason)"
        switch number {
        case ENOSPC, EDQUOT:
            return StorageError(.full, message, hint: "Free space on the disk of the data folder, then try again.")
        case ENOENT: return StorageError(.notFound, message, hint: "Look whether the path is spelled right.")
        default: return StorageError(.other, message, hint: "Look at the disk and at the limits of this process.")
        }
    }
}

/// An open file that closes itself with its last user.
///
/// Its descriptor stays within: it must not outlive the object, which ends after its last use, not at the end of a scope.
package final class OpenFile: Sendable {
    private let descriptor: Int32
    package let path: String

    package init(_ path: String, _ flags: Int32) throws {
        self.descriptor = try Disk.open(path, flags)
        self.path = path
    }

    deinit { close(descriptor) }

    package func size() throws -> Int {
        try withExtendedLifetime(self) {
            var status = stat()
            guard fstat(descriptor, &status) == 0 else { throw Disk.error(errno, "look at \"\(path)\"") }
            return Int(status.st_size)
        }
    }

    /// Reads at most `count` bytes from an offset, fewer only at the end of the file.
    package func read(at offset: Int, count: Int) throws -> [UInt8] {
        try withExtendedLifetime(self) { try Disk.read(descriptor, at: offset, count: count) }
    }

    package func read() throws -> [UInt8] { try read(at: 0, count: size()) }

    package func write(_ bytes: [UInt8]) throws {
        try withExtendedLifetime(self) { try Disk.writeAll(bytes, to: descriptor) }
    }

    package func sync() throws {
        try withExtendedLifetime(self) { try Disk.sync(descriptor) }
    }

    /// Cuts the file off and writes on from there; false when that fails.
    package func cut(at size: Int) -> Bool {
        withExtendedLifetime(self) { ftruncate(descriptor, size) == 0 && lseek(descriptor, size, SEEK_SET) >= 0 }
    }
}
