import Blobs
import Foundation
import Glibc
import Testing

@Suite(.timeLimit(.minutes(2))) struct BlobStoreTests {
    @Test func `what was put is read back, whole and in parts`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        let bytes = noise(3 << 20)
        let (digest, size) = try await store.put(bytes: bytes)
        #expect(digest == Digest(of: bytes) && size == Int64(bytes.count))
        #expect(try await store.size(digest) == size)
        let reader = try await store.open(digest)
        #expect(try await reader.readAll(limit: 4 << 20) == bytes)
        #expect(try await reader.read(at: 1_000_000, count: 10) == Array(bytes[1_000_000..<1_000_010]))
        #expect(try await reader.read(at: size - 3, count: 10) == Array(bytes.suffix(3)))
        #expect(try await reader.read(at: size, count: 10) == [])
        var part: [UInt8] = []
        try await reader.forEachChunk(in: 100..<2_500_000) { part += $0 }
        #expect(part == Array(bytes[100..<2_500_000]))
        #expect(await code { try await reader.forEachChunk(in: 0..<(size + 1)) { _ in } } == .invalid)
        #expect(await code { _ = try await reader.readAll(limit: 10) } == .tooLarge)
    }

    @Test func `a file and pieces of the same content are the same blob`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        let bytes = noise(2_500_000)
        let file = try await store.put(file: folder.write(bytes, to: "file"))
        let writer = store.writer()
        for start in stride(from: 0, to: bytes.count, by: 70_000) {
            try await writer.append(Array(bytes[start..<min(bytes.count, start + 70_000)]))
        }
        let pieces = try await writer.finish()
        #expect(file == pieces)
        #expect(try await writer.finish() == pieces)
        #expect(await code { try await writer.append([1]) } == .invalid)
        let listed = try await store.list()
        #expect(listed.map(\.digest) == [file.digest] && listed.map(\.size) == [2_500_000])
        #expect(store.path(of: file.digest).hasSuffix("/\(file.digest.hex.prefix(2))/\(file.digest.hex.dropFirst(2))"))
    }

    @Test func `what is fed behind the caller's back is the same blob, and its failure is told`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        let writer = store.writer()
        var whole: [UInt8] = []
        for piece in 0..<300 {
            let bytes = [UInt8](repeating: UInt8(piece % 251), count: 70_001)
            whole += bytes
            try await writer.feed(bytes)
        }
        let (digest, size) = try await writer.finish()
        #expect(digest == Digest(of: whole))
        #expect(size == Int64(whole.count))
        let small = store.writer(limit: 100)
        try await small.feed([UInt8](repeating: 1, count: 101))
        #expect(await code { _ = try await small.finish() } == .tooLarge)
        #expect(await code { try await small.feed([1]) } == .tooLarge)
    }

    @Test func `nothing is a blob too`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        let (digest, size) = try await store.put(bytes: [])
        #expect(size == 0 && digest == Digest(of: []))
        try await store.verify(digest)
        #expect(try await store.open(digest).readAll(limit: 0) == [])
    }

    @Test func `a blob that is not there is not found`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        let digest = Digest(of: [1])
        #expect(try await !store.exists(digest))
        #expect(await code { _ = try await store.open(digest) } == .notFound)
        #expect(await code { _ = try await store.size(digest) } == .notFound)
        #expect(await code { try await store.verify(digest) } == .notFound)
        #expect(await code { _ = try await store.put(file: "\(folder.path)/none") } == .notFound)
        #expect(await code { _ = try await store.put(file: folder.path) } == .invalid)
        #expect(try await !store.delete(digest))
    }

    @Test func `a deleted blob is gone for all but those who read it`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        let (digest, _) = try await store.put(bytes: [1, 2, 3])
        let reader = try await store.open(digest)
        #expect(try await store.delete(digest))
        #expect(try await !store.exists(digest))
        #expect(try await reader.readAll(limit: 3) == [1, 2, 3])
    }

    @Test func `a flipped byte is found, and healed by putting the content again`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        let bytes = noise(2 << 20)
        let (digest, _) = try await store.put(bytes: bytes)
        try await store.verify(digest)
        let path = store.path(of: digest)
        chmod(path, 0o600)
        let file = open(path, O_RDWR | O_CLOEXEC)
        #expect(pwrite(file, [bytes[1_500_000] ^ 1], 1, 1_500_000) == 1)
        close(file)
        #expect(await code { try await store.verify(digest) } == .corrupt)
        _ = try await store.put(bytes: bytes)
        try await store.verify(digest)
    }

    @Test func `a blob beyond its limit is refused and leaves nothing`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        let writer = store.writer(limit: 10)
        try await writer.append([UInt8](repeating: 0, count: 10))
        #expect(await code { try await writer.append([0]) } == .tooLarge)
        #expect(await code { _ = try await writer.finish() } == .tooLarge)
        #expect(try folder.names(in: "deep/store") == ["incoming"])
        #expect(try folder.names(in: "deep/store/incoming") == [])
    }

    /// A file system of one MiB of our own; whoever may not mount one cannot run the test of a full disk.
    private static func mountSmall(_ path: String) -> Bool {
        mkdir(path, 0o755) == 0 && mount("tmpfs", path, "tmpfs", 0, "size=1m") == 0
    }

    private static let canMount: Bool = {
        guard let folder = try? Folder() else { return false }  // without a folder there is no mount either
        defer { umount2("\(folder.path)/small", Int32(MNT_DETACH)) }
        return mountSmall("\(folder.path)/small")
    }()

    @Test(.enabled(if: canMount, "needs the right to mount a tmpfs"))
    func `a full disk is told as full and leaves nothing`() async throws {
        let folder = try Folder()
        let mount = "\(folder.path)/small"
        try #require(Self.mountSmall(mount))
        defer { umount2(mount, Int32(MNT_DETACH)) }
        let store = try BlobStore(folder: "\(mount)/store")
        let (kept, _) = try await store.put(bytes: noise(300_000))
        #expect(await code { _ = try await store.put(bytes: noise(2 << 20, seed: 2)) } == .full)
        #expect(try folder.names(in: "small/store/incoming") == [])
        try await store.verify(kept)
        _ = try await store.put(bytes: noise(300_000, seed: 3))
    }

    @Test func `what a dead writer left is swept, what a living one writes is not`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        try folder.write([1, 2, 3], to: "deep/store/incoming/12345-1-1")
        let writer = store.writer()
        try await writer.append([4, 5, 6])
        #expect(try folder.names(in: "deep/store/incoming").count == 2)
        // What a kill at this moment would leave: no blob, whole or half.
        #expect(try await store.list().isEmpty)
        #expect(try await store.sweepTemporaries() == 1)
        #expect(try folder.names(in: "deep/store/incoming").count == 1)
        let (digest, _) = try await writer.finish()
        try await store.verify(digest)
        #expect(try await store.sweepTemporaries() == 0)
    }

    @Test func `a dropped or cancelled writer leaves nothing`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        do {
            let dropped = store.writer()
            try await dropped.append([1])
            let cancelled = store.writer()
            try await cancelled.append([2])
            #expect(try folder.names(in: "deep/store/incoming").count == 2)
            cancelled.cancel()
            #expect(await code { _ = try await cancelled.finish() } == .invalid)
        }
        #expect(try folder.names(in: "deep/store/incoming") == [])
        #expect(try await store.list().isEmpty)
    }

    @Test func `listing goes page by page in order`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        var digests: [Digest] = []
        for number in 0..<40 { digests.append(try await store.put(bytes: [UInt8(number)]).digest) }
        digests.sort()
        var listed: [Digest] = []
        while true {
            let page = try await store.list(after: listed.last, limit: 7)
            #expect(page.count <= 7 && page.allSatisfy { $0.size == 1 })
            if page.isEmpty { break }
            listed += page.map(\.digest)
        }
        #expect(listed == digests)
    }

    @Test func `many writers of the same and of other contents do not disturb each other`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        let digests = try await withThrowingTaskGroup(of: Digest.self) { group in
            for number in 0..<40 {
                group.addTask { try await store.put(bytes: noise(100_000, seed: UInt64(number % 5))).digest }
            }
            return try await group.reduce(into: Set()) { $0.insert($1) }
        }
        #expect(digests.count == 5)
        for digest in digests { try await store.verify(digest) }
        #expect(try folder.names(in: "deep/store/incoming") == [])
    }

    @Test func `a cancelled task stores nothing`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        let file = try folder.write(noise(3 << 20), to: "file")
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await store.put(file: file)
        }
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(try await store.list().isEmpty)
        #expect(try folder.names(in: "deep/store/incoming") == [])
    }
}
