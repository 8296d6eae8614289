import Glibc

/// System calls on files, with the errors of this room.
///
/// All of them block.
enum Files {
    /// Bytes read or written at a time.
    static let pieceBytes = 1 << 20

    static func open(_ path: String, _ flags: Int32, mode: mode_t = 0o640) throws(BlobError) -> Int32 {
        while true {
            let file = Glibc.open(path, flags | O_CLOEXEC | O_NOCTTY, mode)
            if file >= 0 { return file }
            if errno != EINTR { throw error(errno, "open \"\(path)\"") }
        }
    }

    static func writeAll(_ bytes: UnsafeRawBufferPointer, to file: Int32) throws(BlobError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = Glibc.write(file, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw error(errno, "write a blob")
            }
            rest = rest.dropFirst(count)
        }
    }

    static func writeAll(_ bytes: [UInt8], to file: Int32) throws(BlobError) {
        try withBytes(of: bytes) { buffer throws(BlobError) in try writeAll(buffer, to: file) }
    }

    /// `withUnsafeBytes` with its error typed, which the standard library's is not.
    static func withBytes(
        of bytes: [UInt8], _ body: (UnsafeRawBufferPointer) throws(BlobError) -> Void
    ) throws(BlobError) {
        let result = bytes.withUnsafeBytes { buffer -> Result<Void, BlobError> in
            do throws(BlobError) { return .success(try body(buffer)) } catch { return .failure(error) }
        }
        try result.get()
    }

    /// Opens a regular file for reading; never waits for a writer of a pipe that took its place.
    static func openRegular(_ path: String, flags: Int32 = 0) throws(BlobError) -> Int32 {
        let file = try open(path, O_RDONLY | O_NONBLOCK | flags)
        var status = stat()
        if fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG { return file }
        close(file)
        throw BlobError(.invalid, "\"\(path)\" is not a regular file", hint: "Give the path of a file.")
    }

    /// Reads at most `count` bytes from an offset, fewer only at the end of the file.
    static func read(_ file: Int32, at offset: Int64, count: Int) throws(BlobError) -> [UInt8] {
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count, let base = buffer.baseAddress {
                let got = pread(file, base + filled, count - filled, Int(offset) + filled)
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
    static func sync(_ file: Int32) throws(BlobError) {
        while fsync(file) != 0 {
            if errno != EINTR { throw error(errno, "bring a file to the disk") }
        }
    }

    static func syncFolder(_ path: String) throws(BlobError) {
        let folder = try open(path, O_RDONLY | O_DIRECTORY)
        defer { close(folder) }
        try sync(folder)
    }

    /// Makes a folder unless it is there; true when it was made.
    @discardableResult
    static func makeFolder(_ path: String, mode: mode_t = 0o750) throws(BlobError) -> Bool {
        if mkdir(path, mode) == 0 { return true }
        let number = errno
        var status = stat()
        if number == EEXIST, stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { return false }
        throw error(number, "create the folder \"\(path)\"")
    }

    /// Makes a folder and those above it.
    static func makeFolders(_ path: String) throws(BlobError) {
        var made = path.hasPrefix("/") ? "" : "."
        for part in path.split(separator: "/") {
            made += "/\(part)"
            try makeFolder(made)
        }
    }

    static func status(_ path: String) throws(BlobError) -> stat {
        var status = stat()
        guard lstat(path, &status) == 0 else { throw error(errno, "look at \"\(path)\"") }
        return status
    }

    /// Names of the entries of a folder in the order of their bytes, without the two dots.
    static func names(in folder: String) throws(BlobError) -> [[UInt8]] {
        guard let open = opendir(folder) else { throw error(errno, "list \"\(folder)\"") }
        defer { closedir(open) }
        var names: [[UInt8]] = []
        while let entry = readdir(open) {
            let name: [UInt8] = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name != [0x2E] && name != [0x2E, 0x2E] { names.append(name) }
        }
        return names.sorted { $0.lexicographicallyPrecedes($1) }
    }

    /// Removes a file or a folder with all in it; what is gone already is no error.
    static func removeAll(_ path: String) throws(BlobError) {
        if unlink(path) == 0 || errno == ENOENT { return }
        let number = errno
        guard number == EISDIR || number == EPERM else { throw error(number, "remove \"\(path)\"") }
        _ = chmod(path, 0o700)
        for name in try names(in: path) { try removeAll("\(path)/\(String(decoding: name, as: UTF8.self))") }
        if rmdir(path) != 0 && errno != ENOENT { throw error(errno, "remove \"\(path)\"") }
    }

    /// An error number as an error of this room.
    static func error(_ number: Int32, _ what: String) -> BlobError {
        let reason = strerror(number).map { String(cString: $0).lowercased() } ?? "error \(number)"
        let message = "could not \(what): \(reason)"
        switch number {
        case ENOSPC, EDQUOT:
            return BlobError(.full, message, hint: "Free space on the disk of the data folder, then try again.")
        case ENOENT: return BlobError(.notFound, message, hint: "Look whether the path is spelled right.")
        case EFBIG:
            return BlobError(.tooLarge, message, hint: "Split the content, or raise the limit of the file size.")
        case EEXIST, ENOTEMPTY: return BlobError(.exists, message, hint: "Choose another place, or clear this one.")
        case EACCES, EPERM, EROFS:
            return BlobError(.notAllowed, message, hint: "Let the user of this process read and write there.")
        default: return BlobError(.other, message, hint: "Look at the disk and at the limits of this process.")
        }
    }
}
