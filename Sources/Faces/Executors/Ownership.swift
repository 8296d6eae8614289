import Dispatch
import Glibc
import Kernel
import Processes

/// Gives folders to another user, so that commands can run as that one.
enum Ownership {
    /// The folder tree of a step that somebody made to be walked for ever.
    private static let depthLimit = 512
    private static let queue = DispatchQueue(label: "vagus.executors.files", attributes: .concurrent)

    /// Gives the folders and all in them to a user, and lets that one pass through our own folders above them.
    ///
    /// Links are not followed, and files with a second name are left alone: that name may lie elsewhere.
    ///
    /// - Parameter root: The folder of ours from which on, downwards, others are let through; nil: they need no way there.
    static func give(_ folders: [String], to user: ProcessUser, openingBelow root: String?) async throws {
        try await withCheckedThrowingContinuation { (listener: CheckedContinuation<Void, any Error>) in
            queue.async { listener.resume(with: Result { try giveNow(folders, to: user, root) }) }
        }
    }

    private static func giveNow(_ folders: [String], to user: ProcessUser, _ root: String?) throws {
        for folder in folders {
            if let root { letThrough(folder, root) }
            let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard descriptor >= 0 else { throw failure(folder) }
            guard fchown(descriptor, user.id, user.group) == 0 else {
                close(descriptor)
                throw failure(folder)
            }
            try walk(descriptor, folder, user, depth: 0)
        }
    }

    private static func failure(_ path: String) -> ExecutionFailure {
        ExecutionFailure(
            .unavailable, "could not give \"\(path)\" to another user: \(String(cString: strerror(errno)))",
            hint: "Run the runner as root, or without --run-as.")
    }

    /// Opens the folders above for passing through, from `root` on, what lies beside the way being closed first: the
    /// closed folder was all that kept others from it.
    private static func letThrough(_ folder: String, _ root: String) {
        var path = folder
        while let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            let way = String(path[path.index(after: slash)...])
            path = String(path[..<slash])
            guard path == root || path.hasPrefix(root + "/") else { return }
            var status = stat()
            guard lstat(path, &status) == 0 else { return }
            if path == root { closeAll(in: path, but: way) }
            if status.st_mode & S_IXOTH == 0 { chmod(path, status.st_mode & 0o7777 | S_IXOTH) }
        }
    }

    private static func closeAll(in folder: String, but way: String) {
        for name in names(in: folder) where name != way {
            var status = stat()
            guard lstat("\(folder)/\(name)", &status) == 0, status.st_mode & S_IFMT != S_IFLNK,
                status.st_mode & 0o007 != 0
            else { continue }
            chmod("\(folder)/\(name)", status.st_mode & 0o7770)
        }
    }

    private static func names(in path: String) -> [String] {
        guard let folder = opendir(path) else { return [] }
        defer { closedir(folder) }
        return names(folder)
    }

    private static func names(_ folder: OpaquePointer) -> [String] {
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { field in
                field.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// Takes the descriptor over.
    private static func walk(_ descriptor: Int32, _ path: String, _ user: ProcessUser, depth: Int) throws {
        guard let folder = fdopendir(descriptor) else {
            close(descriptor)
            throw failure(path)
        }
        defer { closedir(folder) }
        for name in names(folder) {
            var status = stat()
            guard fstatat(dirfd(folder), name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
            let isFolder = status.st_mode & S_IFMT == S_IFDIR
            if !isFolder, status.st_uid == user.id || status.st_nlink > 1 { continue }
            try take(name, in: dirfd(folder), "\(path)/\(name)", user, isFolder: isFolder, depth: depth + 1)
        }
    }

    /// Opens first and looks at what was opened, so that nothing can be exchanged in between.
    private static func take(
        _ name: String, in folder: Int32, _ path: String, _ user: ProcessUser, isFolder: Bool, depth: Int
    ) throws {
        let flags = isFolder ? O_RDONLY | O_DIRECTORY : Self.pathOnly
        let descriptor = openat(folder, name, flags | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        var status = stat()
        let isSame = fstat(descriptor, &status) == 0 && (isFolder || status.st_nlink == 1)
        if isSame, status.st_uid != user.id, fchownat(descriptor, "", user.id, user.group, Self.emptyPath) != 0 {
            close(descriptor)
            throw failure(path)
        }
        guard isFolder, depth < depthLimit else {
            close(descriptor)
            return
        }
        try walk(descriptor, path, user, depth: depth)
    }

    /// O_PATH and AT_EMPTY_PATH (open(2)), which are not imported.
    private static let pathOnly: Int32 = 0o10000000
    private static let emptyPath: Int32 = 0x1000
}
