import Foundation
import Glibc

/// A folder as one blob: a manifest that names each file, its mode and its digest; the files are blobs of their own.
///
/// The same content gives the same digest whenever and wherever it was packed: no times, no owners, sorted paths.
package struct Tree: Sendable, Codable, Equatable {
    /// What a path can be.
    package enum Kind: String, Sendable, Codable {
        case file
        case folder
        case link
    }

    /// One path of the folder.
    package struct Entry: Sendable, Codable, Equatable {
        /// Relative, with slashes, without dots.
        package let path: String
        package let kind: Kind
        /// Permission bits; of a link 0.
        package let mode: UInt32
        /// Of a file.
        package let digest: Digest?
        /// Bytes of a file.
        package let size: Int64?
        /// What a link points at, relative to where it lies.
        package let target: String?
    }

    /// Paths that one tree may have.
    package static let entryLimit = 200_000
    /// Bytes of one path: what Linux takes.
    package static let pathLimit = 4095
    /// Folders within folders.
    package static let depthLimit = 64
    /// Bytes of a manifest.
    package static let manifestLimit: Int64 = 256 << 20
    private static let currentFormat = 1

    /// The version of this format.
    package let format: Int
    /// Sorted by the bytes of their paths, so that a folder comes before what it holds.
    package let entries: [Entry]

    init(entries: [Entry]) {
        format = Self.currentFormat
        self.entries = entries
    }

    /// Bytes of all files together.
    package var size: Int64 { entries.reduce(0) { $0 + ($1.size ?? 0) } }

    // MARK: Packing

    /// Stores a folder and gives the digest of its manifest.
    ///
    /// - Throws: `.invalid` for links that lead outside, and for what is neither file, folder nor link; `.tooLarge`
    ///   beyond a limit.
    package static func pack(folder: String, into store: BlobStore) async throws -> (digest: Digest, tree: Tree) {
        var entries: [Entry] = []
        var queue = [""]
        while let next = queue.popLast() {
            let found = try await store.threads.run { try look(in: next, of: folder) }
            for entry in found {
                if entry.kind == .folder { queue.append(entry.path) }
                entries.append(entry)
            }
            guard entries.count <= entryLimit else {
                throw BlobError(
                    .tooLarge, "\"\(folder)\" holds more than \(entryLimit) paths",
                    hint: "Pack fewer files, for instance without dependencies, or make an archive of them first.")
            }
        }
        return try await keep(entries, of: folder, in: store)
    }

    /// Stores some files and links of a folder, given by their paths, with the folders that they lie in.
    ///
    /// - Throws: As for a whole folder.
    package static func pack(
        paths: [String], of folder: String, into store: BlobStore
    ) async throws -> (digest: Digest, tree: Tree) {
        var wanted = Set(paths)
        for path in paths {
            var parts = path.split(separator: "/")
            while parts.count > 1 {
                parts.removeLast()
                guard wanted.insert(parts.joined(separator: "/")).inserted else { break }
            }
        }
        guard wanted.count <= entryLimit else {
            throw BlobError(
                .tooLarge, "\"\(folder)\" holds more than \(entryLimit) paths",
                hint: "Pack fewer files, for instance without dependencies, or make an archive of them first.")
        }
        let all = wanted
        let entries = try await store.threads.run { try all.map { try entry($0, of: folder) } }
        return try await keep(entries, of: folder, in: store)
    }

    private static func keep(
        _ found: [Entry], of folder: String, in store: BlobStore
    ) async throws -> (digest: Digest, tree: Tree) {
        var entries = found
        for index in entries.indices where entries[index].kind == .file {
            let entry = entries[index]
            let (digest, size) = try await store.put(entry: "\(folder)/\(entry.path)")
            entries[index] = Entry(
                path: entry.path, kind: .file, mode: entry.mode, digest: digest, size: size, target: nil)
        }
        return try await keep(entries, in: store)
    }

    /// Makes a folder of blobs that are stored already: path → content. The folders between come by themselves.
    ///
    /// - Throws: `.invalid` for paths that lead outside, or that are a file and a folder at once; `.tooLarge`.
    package static func pack(
        files: [(path: String, digest: Digest, size: Int64)], into store: BlobStore
    ) async throws -> (digest: Digest, tree: Tree) {
        var entries: [Entry] = []
        var folders = Set<String>()
        for file in files {
            var parts = file.path.split(separator: "/", omittingEmptySubsequences: false)
            while parts.count > 1 {
                parts.removeLast()
                let folder = parts.joined(separator: "/")
                guard folders.insert(folder).inserted else { break }
                entries.append(Entry(path: folder, kind: .folder, mode: 0o755, digest: nil, size: nil, target: nil))
            }
            entries.append(
                Entry(path: file.path, kind: .file, mode: 0o644, digest: file.digest, size: file.size, target: nil))
            guard entries.count <= entryLimit else {
                throw BlobError(.tooLarge, "more than \(entryLimit) paths", hint: "Pack fewer files.")
            }
        }
        return try await keep(entries, in: store)
    }

    private static func keep(_ entries: [Entry], in store: BlobStore) async throws -> (digest: Digest, tree: Tree) {
        let tree = Tree(entries: entries.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) })
        try TreeCheck(tree).run()
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try await store.put(bytes: Array(encoder.encode(tree))).digest, tree)
    }

    /// What lies directly in one folder of the tree; files still without digest.
    private static func look(in path: String, of root: String) throws(BlobError) -> [Entry] {
        var entries: [Entry] = []
        for bytes in try Files.names(in: path.isEmpty ? root : "\(root)/\(path)") {
            guard let name = String(validating: bytes, as: UTF8.self) else {
                throw BlobError(
                    .invalid, "a name in \"\(path)\" is not UTF-8",
                    hint: "Rename it: \(String(decoding: bytes, as: UTF8.self))")
            }
            entries.append(try entry(path.isEmpty ? name : "\(path)/\(name)", of: root))
        }
        return entries
    }

    /// One path as it is; a file still without digest.
    private static func entry(_ path: String, of root: String) throws(BlobError) -> Entry {
        let status = try Files.status("\(root)/\(path)")
        let mode = UInt32(status.st_mode & 0o777)
        switch status.st_mode & S_IFMT {
        case S_IFREG: return Entry(path: path, kind: .file, mode: mode, digest: nil, size: nil, target: nil)
        case S_IFDIR: return Entry(path: path, kind: .folder, mode: mode, digest: nil, size: nil, target: nil)
        case S_IFLNK:
            let target = try readLink("\(root)/\(path)")
            return Entry(path: path, kind: .link, mode: 0, digest: nil, size: nil, target: target)
        default:
            throw BlobError(
                .invalid, "\"\(path)\" is neither a file, a folder nor a link",
                hint: "Leave sockets, pipes and devices out.")
        }
    }

    /// Where a link at a path points; nil when that leads out of the folder, so that no tree may hold it.
    package static func innerTarget(ofLink path: String, in root: String) -> String? {
        guard let target = try? readLink("\(root)/\(path)") else { return nil }  // gone meanwhile: no link
        return TreeCheck.staysInside(target, from: path) ? target : nil
    }

    private static func trimmed(_ folder: String) -> String {
        var folder = folder
        while folder.count > 1 && folder.hasSuffix("/") { folder.removeLast() }
        return folder
    }

    private static func readLink(_ path: String) throws(BlobError) -> String {
        var bytes = [UInt8](repeating: 0, count: pathLimit + 1)
        let count = bytes.withUnsafeMutableBytes { buffer in
            buffer.baseAddress.map { readlink(path, $0.assumingMemoryBound(to: CChar.self), buffer.count) } ?? -1
        }
        guard count >= 0 else { throw Files.error(errno, "read the link \"\(path)\"") }
        guard let target = String(validating: bytes.prefix(count), as: UTF8.self) else {
            throw BlobError(.invalid, "the target of \"\(path)\" is not UTF-8", hint: "Make the link anew.")
        }
        return target
    }

    // MARK: Unpacking

    /// Reads and checks a manifest.
    package static func open(_ digest: Digest, from store: BlobStore) async throws -> Tree {
        let bytes = try await store.open(digest).readAll(limit: manifestLimit)
        guard Digest(of: bytes) == digest else { throw BlobStore.corrupt(digest) }
        let tree: Tree
        do {
            tree = try JSONDecoder().decode(Tree.self, from: Data(bytes))
        } catch {
            throw BlobError(
                .invalid, "the blob \(digest) is not the manifest of a folder",
                hint: "Give the digest that packing a folder has returned.")
        }
        try TreeCheck(tree).run()
        return tree
    }

    /// Lays a packed folder out, each file checked against its digest.
    ///
    /// - Parameters:
    ///   - digest: What `pack` returned.
    ///   - store: Where it was packed into.
    ///   - folder: Missing or empty; it appears whole or not at all, even on a kill.
    /// - Throws: `.exists` when the folder holds something, `.invalid` for a manifest that leads outside, `.corrupt`.
    package static func unpack(_ digest: Digest, from store: BlobStore, to folder: String) async throws {
        let tree = try await open(digest, from: store)
        let folder = trimmed(folder)
        let work = "\(folder).unpacking-\(UInt64.random(in: 0...UInt64.max))"
        do {
            try await lay(tree, from: store, in: work)
            try await store.threads.run {
                guard rename(work, folder) == 0 else { throw Files.error(errno, "unpack to \"\(folder)\"") }
            }
        } catch {
            try? await store.threads.runAlways { try Files.removeAll(work) }  // the first error is the one to tell
            throw error
        }
    }

    private static func lay(_ tree: Tree, from store: BlobStore, in work: String) async throws {
        try await store.threads.run {
            if let slash = work.lastIndex(of: "/"), slash != work.startIndex {
                try Files.makeFolders(String(work[..<slash]))
            }
            try Files.makeFolder(work)
            for entry in tree.entries where entry.kind == .folder { try Files.makeFolder("\(work)/\(entry.path)") }
        }
        for entry in tree.entries {
            guard entry.kind == .file, let digest = entry.digest else { continue }
            try await copy(digest, from: store, to: "\(work)/\(entry.path)", mode: entry.mode)
        }
        try await store.threads.run {
            // Links last: nothing was ever written through one. Modes of folders last too, some may be read-only.
            for entry in tree.entries {
                guard entry.kind == .link, let target = entry.target else { continue }
                guard symlink(target, "\(work)/\(entry.path)") == 0 else {
                    throw Files.error(errno, "create the link \"\(entry.path)\"")
                }
            }
            for entry in tree.entries.reversed() where entry.kind == .folder {
                _ = chmod("\(work)/\(entry.path)", entry.mode)
            }
        }
    }

    private static func copy(_ digest: Digest, from store: BlobStore, to path: String, mode: UInt32) async throws {
        let reader = try await store.open(digest)
        let target = try await store.threads.run { try OpenFile(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW) }
        try await reader.check(copyingTo: target)
        guard fchmod(target.descriptor, mode) == 0 else { throw Files.error(errno, "set the mode of \"\(path)\"") }
    }
}
