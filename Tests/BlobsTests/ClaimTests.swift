import Foundation
import Testing

@testable import Blobs

@Suite struct ClaimTests {
    private let folder = NSTemporaryDirectory() + "vagus-claims-\(UUID().uuidString)"

    /// A store with a blob that was put long ago.
    private func store() async throws -> (BlobStore, Digest) {
        let store = try BlobStore(folder: folder)
        let (digest, _) = try await store.put(bytes: [1, 2, 3])
        age(store, digest)
        return (store, digest)
    }

    private func age(_ store: BlobStore, _ digest: Digest) {
        var times = [timespec(tv_sec: 1000, tv_nsec: 0), timespec(tv_sec: 1000, tv_nsec: 0)]
        utimensat(AT_FDCWD, store.path(of: digest), &times, 0)
    }

    private func clean() { try? FileManager.default.removeItem(atPath: folder) }  // a leftover harms no other test

    @Test func `what nobody has claimed lately is deleted, what was claimed is not`() async throws {
        defer { clean() }
        let (store, digest) = try await store()
        #expect(try await store.claimedAt(digest) == 1000)
        #expect(try await store.claim(digest))
        #expect(try await !store.deleteUnclaimed(digest, since: 2000))
        #expect(try await store.open(digest).readAll(limit: 10) == [1, 2, 3])
        age(store, digest)
        #expect(try await !store.deleteUnclaimed(digest, since: 1000), "at the very moment counts as claimed")
        #expect(try await store.deleteUnclaimed(digest, since: 1001))
        #expect(try await !store.exists(digest))
        #expect(try await !store.claim(digest))
        #expect(try await !store.deleteUnclaimed(digest, since: 5000))
        #expect(try await store.sweepTemporaries() == 0)
    }

    @Test func `putting what is there already claims it`() async throws {
        defer { clean() }
        let (store, digest) = try await store()
        _ = try await store.put(bytes: [1, 2, 3])
        #expect(try await store.claimedAt(digest).map { $0 > 1000 } == true)
    }

    @Test func `absent blobs are told in order, the others are claimed`() async throws {
        defer { clean() }
        let (store, digest) = try await store()
        let absent = (0..<600).map { Digest(of: Array("\($0)".utf8)) }
        #expect(try await store.absent(absent + [digest]) == absent)
        #expect(try await store.claimedAt(digest).map { $0 > 1000 } == true)
    }

    @Test func `a tree is claimed with its files, and one that lacks a file is none`() async throws {
        defer { clean() }
        let store = try BlobStore(folder: folder)
        let source = "\(folder)-source"
        defer { try? FileManager.default.removeItem(atPath: source) }  // a leftover harms no other test
        try FileManager.default.createDirectory(atPath: "\(source)/a/b", withIntermediateDirectories: true)
        for name in ["a/b/x", "a/y", "z"] { try Data(name.utf8).write(to: URL(fileURLWithPath: "\(source)/\(name)")) }
        let (digest, tree) = try await Tree.pack(paths: ["a/b/x", "z"], of: source, into: store)
        #expect(tree.entries.map(\.path) == ["a", "a/b", "a/b/x", "z"])
        #expect(try await Tree.claim(digest, in: store))
        #expect(try await Tree.files(namedBy: digest, in: store).count == 2)
        let file = try #require(tree.entries.last?.digest)
        #expect(try await Tree.files(namedBy: file, in: store).isEmpty)
        try await store.delete(file)
        #expect(try await !Tree.claim(digest, in: store))
        let (odd, _) = try await store.put(bytes: Array("{\"entries\":broken".utf8))
        #expect(try await Tree.files(namedBy: odd, in: store).isEmpty)
    }
}
