import API
import Blobs
import Foundation
import Kernel

/// Artifacts on this machine: what was fetched once is not fetched again, what the server has is not sent again.
struct ArtifactCache: Sendable {
    private let store: BlobStore
    private let door: Patient
    /// Files that are fetched or sent at once.
    private static let width = 4

    init(folder: String, door: Patient) throws {
        store = try BlobStore(folder: folder)
        self.door = door
    }

    /// Empties the cache when it has grown beyond a size; what is still needed is fetched again.
    func trim(to limit: Int64) async throws {
        try await store.sweepTemporaries()
        var entries: [BlobStore.Entry] = []
        while true {
            let page = try await store.list(after: entries.last?.digest)
            if page.isEmpty { break }
            entries += page
        }
        guard entries.reduce(0, { $0 + $1.size }) > limit else { return }
        for entry in entries { try await store.delete(entry.digest) }
    }

    // MARK: Fetching

    /// Brings an artifact to a path, a tree as a folder; returns the path.
    func fetch(_ artifact: Artifact, to path: String) async throws -> String {
        let digest = try Self.digest(artifact.digest)
        switch artifact.form {
        case .file:
            // The blob itself: read-only, and nobody's to change.
            try await fetch(digest)
            return store.path(of: digest)
        case .tree:
            _ = try await fetch(tree: digest, to: path)
            return path
        }
    }

    /// Brings a tree to a folder that is not there yet; gives its bytes.
    ///
    /// What the tree says of itself is not believed: a small file that is named a million times is a bomb as well.
    @discardableResult
    func fetch(tree digest: Digest, to path: String) async throws -> Int64 {
        try await fetch(digest)
        let tree = try await Tree.open(digest, from: store)
        let room = Disk.free(at: store.folder) - RunnerLimits.freeBytes
        guard tree.size <= min(RunnerLimits.unpackBytes, max(0, room)) else {
            throw Problem(
                "artifact.size", status: 413,
                "unpacked it takes \(Disk.words(tree.size)), and \(Disk.words(max(0, room))) may be used here",
                hint: "Make room on the runner, or keep fewer files.")
        }
        try await each(Array(Set(tree.entries.compactMap(\.digest)))) { try await fetch($0) }
        for entry in tree.entries {
            guard let file = entry.digest, try await store.size(file) != entry.size else { continue }
            throw Problem("artifact.corrupt", status: 422, "\"\(entry.path)\" has another size than its tree says")
        }
        try await Tree.unpack(digest, from: store, to: path)
        return tree.size
    }

    private func fetch(_ digest: Digest) async throws {
        if try await store.exists(digest) { return }
        let temporary = "\(store.folder)/incoming/fetch-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: temporary) }  // nothing is there after a failure
        try await door.attempt { try await door.door.download(digest.text, to: temporary) }
        let put = try await store.put(file: temporary)
        guard put.digest == digest else {
            throw Problem(
                "artifact.corrupt", status: 422, "the server sent something else than \(digest)",
                hint: "Look at its disk.")
        }
    }

    static func digest(_ text: String) throws -> Digest {
        guard let digest = Digest(text) else {
            throw Problem("artifact.digest", status: 422, "\"\(text)\" is no digest")
        }
        return digest
    }

    // MARK: Keeping

    /// Keeps a file or a folder.
    func keep(_ path: String, as name: String) async throws -> Artifact {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw Problem("artifact.missing", status: 422, "\"\(name)\" was to be kept and is not there")
        }
        var artifact = Artifact()
        (artifact.name, artifact.file_name) = (name, (path as NSString).lastPathComponent)
        if isFolder.boolValue {
            let (digest, tree) = try await Tree.pack(folder: path, into: store)
            try await send(tree, digest)
            (artifact.form, artifact.digest, artifact.size_bytes) = (.tree, digest.text, tree.size)
        } else {
            let (digest, size) = try await store.put(file: path)
            try await send(digest)
            (artifact.form, artifact.digest, artifact.size_bytes) = (.file, digest.text, size)
        }
        return artifact
    }

    /// Keeps files of a workspace: a lone one as it is, several as a tree with their paths.
    func keep(files: [String], of workspace: String, as name: String) async throws -> Artifact {
        if files.count == 1, let only = files.first { return try await keep("\(workspace)/\(only)", as: name) }
        let (digest, size) = try await keep(paths: files, of: workspace)
        var artifact = Artifact()
        (artifact.name, artifact.file_name, artifact.form) = (name, name, .tree)
        (artifact.digest, artifact.size_bytes) = (digest.text, size)
        return artifact
    }

    /// Keeps files and links of a workspace as a tree.
    func keep(paths: [String], of workspace: String) async throws -> (digest: Digest, size: Int64) {
        let (digest, tree) = try await Tree.pack(paths: paths, of: workspace, into: store)
        try await send(tree, digest)
        return (digest, tree.size)
    }

    /// Sends what the server lacks of a tree; its manifest last, so that what has a manifest is whole.
    private func send(_ tree: Tree, _ manifest: Digest) async throws {
        let files = Array(Set(tree.entries.compactMap(\.digest)))
        for start in stride(from: 0, to: files.count, by: RunnerLimits.absentAtOnce) {
            let piece = files[start..<min(start + RunnerLimits.absentAtOnce, files.count)]
            let absent = try await door.call(Runners.absent, DigestList(piece.map(\.text))).digests
            try await each(absent.compactMap { Digest($0) }) { file in
                _ = try await door.attempt { try await door.door.upload(file: store.path(of: file)) }
            }
        }
        try await send(manifest)
    }

    private func send(_ digest: Digest) async throws {
        try await door.attempt {
            if try await door.door.hasBlob(digest.text) { return }
            _ = try await door.door.upload(file: store.path(of: digest))
        }
    }

    /// Does something for each of many, a few at a time.
    private func each(_ digests: [Digest], _ body: @escaping @Sendable (Digest) async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            var waiting = digests[...]
            for digest in waiting.prefix(Self.width) { group.addTask { try await body(digest) } }
            waiting = waiting.dropFirst(Self.width)
            while try await group.next() != nil {
                if let digest = waiting.popFirst() { group.addTask { try await body(digest) } }
            }
        }
    }
}
