import Blobs
import Foundation
import Glibc
import Testing

/// A folder of one test's own, gone with it.
final class Folder: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/blobs-tests-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw CocoaError(.fileWriteUnknown) }
        path = template.withUnsafeBufferPointer { text in text.baseAddress.map { String(cString: $0) } ?? "" }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }  // a temporary folder left over harms nobody

    func store() throws -> BlobStore { try BlobStore(folder: "\(path)/deep/store") }

    @discardableResult
    func write(_ bytes: [UInt8], to name: String, mode: Int = 0o644) throws -> String {
        let file = "\(path)/\(name)"
        let parent = (file as NSString).deletingLastPathComponent
        try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
        guard FileManager.default.createFile(atPath: file, contents: Data(bytes), attributes: nil) else {
            throw CocoaError(.fileWriteUnknown)
        }
        chmod(file, mode_t(mode))
        return file
    }

    func names(in name: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "\(path)/\(name)").sorted()
    }
}

/// Bytes that look random and are the same each time.
func noise(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var state = seed
    return (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 56)
    }
}

/// The code of the blob error that a body throws.
func code(_ body: () async throws -> Void) async -> BlobError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? BlobError)?.code
    }
}

struct DigestTests {
    @Test func `digests are those of the standard`() {
        // FIPS 180-2, appendix B.1, and the hash of nothing.
        #expect(Digest(of: Array("abc".utf8)).hex == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(Digest(of: []).hex == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    }

    @Test func `the wire text is read back, and nothing else`() throws {
        let digest = Digest(of: [1, 2, 3])
        let json = try JSONEncoder().encode([digest])
        #expect(String(decoding: json, as: UTF8.self) == "[\"sha256:\(digest.hex)\"]")
        #expect(try JSONDecoder().decode([Digest].self, from: json) == [digest])
        for wrong in [digest.hex, "sha256:", "sha256:\(digest.hex)0", "sha256:\(digest.hex.uppercased())", "md5:00"] {
            #expect(Digest(wrong) == nil)
        }
        #expect(Digest(hex: "../../../../../../../../../../../../../../../../../../../etc/passw") == nil)
    }
}

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
        #expect(try await store.list() == [BlobStore.Entry(digest: file.digest, size: 2_500_000)])
        #expect(store.path(of: file.digest).hasSuffix("/\(file.digest.hex.prefix(2))/\(file.digest.hex.dropFirst(2))"))
    }

    @Test func `nothing is a blob too`() async throws {
        let store = try Folder().store()
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
        let store = try Folder().store()
        let (digest, _) = try await store.put(bytes: [1, 2, 3])
        let reader = try await store.open(digest)
        #expect(try await store.delete(digest))
        #expect(try await !store.exists(digest))
        #expect(try await reader.readAll(limit: 3) == [1, 2, 3])
    }

    @Test func `a flipped byte is found, and healed by putting the content again`() async throws {
        let store = try Folder().store()
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

    @Test func `a full disk is told as full and leaves nothing`() async throws {
        let folder = try Folder()
        let mount = "\(folder.path)/small"
        try FileManager.default.createDirectory(atPath: mount, withIntermediateDirectories: true)
        // A file system of one MiB of our own; only root may make one.
        try #require(geteuid() != 0 || Glibc.mount("tmpfs", mount, "tmpfs", 0, "size=1m") == 0)
        guard geteuid() == 0 else { return }
        defer { umount2(mount, Int32(MNT_DETACH.rawValue)) }
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
        let store = try Folder().store()
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

@Suite(.timeLimit(.minutes(2))) struct WorkerThreadsTests {
    @Test func `work runs apart from the pool, each result goes to its caller`() async throws {
        let threads = WorkerThreads(name: "test", count: 3)
        let own = pthread_self()
        let sum = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 1...1000 {
                group.addTask {
                    try await threads.run {
                        #expect(pthread_equal(pthread_self(), own) == 0)
                        return number
                    }
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(sum == 500_500)
    }

    @Test func `an error of the body rises`() async throws {
        struct Broken: Error {}
        await #expect(throws: Broken.self) {
            try await WorkerThreads.shared.run { () throws -> Int in throw Broken() }
        }
    }

    @Test func `threads end when their owner is dropped`() async throws {
        func count() throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count { task in
                let name = FileManager.default.contents(atPath: "/proc/self/task/\(task)/comm") ?? Data()
                return name == Data("ephemeral\n".utf8)
            }
        }
        do {
            let threads = WorkerThreads(name: "ephemeral", count: 4)
            #expect(try await threads.run { 7 } == 7)
            #expect(try count() == 4)
        }
        let deadline = ContinuousClock.now + .seconds(10)
        while try count() > 0 && ContinuousClock.now < deadline { await Task.yield() }
        #expect(try count() == 0)
    }
}
