import API
import Blobs
import Foundation
import Kernel

/// Artifacts on this machine: what was fetched once is not fetched again, what the server has is not sent again.
struct ArtifactCache: Sendable {
    private let store: BlobStore
    private let door: Patient

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
            try await fetch(digest)
            for entry in try await Tree.open(digest, from: store).entries {
                if let file = entry.digest { try await fetch(file) }
            }
            try await Tree.unpack(digest, from: store, to: path)
            return path
        }
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

    private static func digest(_ text: String) throws -> Digest {
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
            for entry in tree.entries { if let file = entry.digest { try await send(file) } }
            try await send(digest)
            (artifact.form, artifact.digest, artifact.size_bytes) = (.tree, digest.text, tree.size)
        } else {
            let (digest, size) = try await store.put(file: path)
            try await send(digest)
            (artifact.form, artifact.digest, artifact.size_bytes) = (.file, digest.text, size)
        }
        return artifact
    }

    /// Keeps files of a workspace: a lone one as it is, several as a tree with their paths.
    func keep(files: [String], of workspace: String, as name: String, staging: String) async throws -> Artifact {
        if files.count == 1, let only = files.first { return try await keep("\(workspace)/\(only)", as: name) }
        JobFolder.remove(staging)
        defer { JobFolder.remove(staging) }
        for file in files {
            let target = "\(staging)/\(file)"
            try JobFolder.make((target as NSString).deletingLastPathComponent)
            // A second name for the same file where the disk allows it, else a copy.
            if link("\(workspace)/\(file)", target) != 0 {
                try FileManager.default.copyItem(atPath: "\(workspace)/\(file)", toPath: target)
            }
        }
        var artifact = try await keep(staging, as: name)
        artifact.file_name = name
        return artifact
    }

    private func send(_ digest: Digest) async throws {
        try await door.attempt {
            if try await door.door.hasBlob(digest.text) { return }
            _ = try await door.door.upload(file: store.path(of: digest))
        }
    }
}
