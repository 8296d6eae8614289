import Blobs
import Foundation
import Glibc
import Testing

@Suite(.timeLimit(.minutes(2))) struct TreeTests {
    @Test func `a folder comes back as it was`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        try fill(folder, "source")
        let (digest, tree) = try await Tree.pack(folder: "\(folder.path)/source", into: store)
        #expect(tree.entries.map(\.path) == ["a.txt", "bin", "bin/run", "bin/self", "bin/up", "empty", "große.bin"])
        #expect(tree.size == Int64(1_500_000 + 5 + 9))
        try await Tree.unpack(digest, from: store, to: "\(folder.path)/below/target/")
        let again = try await Tree.pack(folder: "\(folder.path)/below/target", into: store)
        #expect(again.digest == digest && again.tree == tree)
        #expect(try folder.names(in: "below") == ["target"])
        var status = stat()
        #expect(stat("\(folder.path)/below/target/bin/run", &status) == 0 && status.st_mode & 0o777 == 0o755)
        let linked = FileManager.default.contents(atPath: "\(folder.path)/below/target/bin/up")
        #expect(linked == Data("hello".utf8))
    }

    @Test func `the same content elsewhere has the same digest`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        try fill(folder, "one")
        try fill(folder, "two")
        let one = try await Tree.pack(folder: "\(folder.path)/one", into: store).digest
        #expect(try await Tree.pack(folder: "\(folder.path)/two", into: store).digest == one)
        try folder.write([1], to: "two/bin/more")
        #expect(try await Tree.pack(folder: "\(folder.path)/two", into: store).digest != one)
    }

    @Test(arguments: ["/etc/passwd", "../../outside", "..", "bin/../../..", "bin/../a.txt"])
    func `a link that leads or may lead outside is not packed`(target: String) async throws {
        let folder = try Folder()
        let store = try folder.store()
        try fill(folder, "source")
        #expect(symlink(target, "\(folder.path)/source/link") == 0)
        #expect(await code { _ = try await Tree.pack(folder: "\(folder.path)/source", into: store) } == .invalid)
    }

    @Test func `a pipe is not packed, and nobody waits for it`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        try fill(folder, "source")
        #expect(mkfifo("\(folder.path)/source/pipe", 0o644) == 0)
        #expect(await code { _ = try await Tree.pack(folder: "\(folder.path)/source", into: store) } == .invalid)
        #expect(await code { _ = try await store.put(file: "\(folder.path)/source/pipe") } == .invalid)
    }

    private static let file = #""kind":"file","mode":420,"size":1,"digest":"\#(Digest(of: [1]).text)""#
    private static let refused: [(String, String)] = [
        ("absolute", #"{"path":"/etc/evil",\#(file)}"#),
        ("parent", #"{"path":"../evil",\#(file)}"#),
        ("parent within", #"{"path":"a","kind":"folder","mode":493},{"path":"a/../../evil",\#(file)}"#),
        ("dot", #"{"path":"./evil",\#(file)}"#),
        ("doubled slash", #"{"path":"a","kind":"folder","mode":493},{"path":"a//evil",\#(file)}"#),
        ("empty", #"{"path":"",\#(file)}"#),
        ("zero byte", #"{"path":"a\u0000b",\#(file)}"#),
        ("no parent", #"{"path":"a/evil",\#(file)}"#),
        ("through a link", #"{"path":"a","kind":"link","mode":0,"target":"b"},{"path":"a/evil",\#(file)}"#),
        ("link outside", #"{"path":"a","kind":"link","mode":0,"target":"../b"}"#),
        ("link up after down", #"{"path":"a","kind":"link","mode":0,"target":"b/../../c"}"#),
        ("link without target", #"{"path":"a","kind":"link","mode":0}"#),
        ("twice", #"{"path":"a",\#(file)},{"path":"a",\#(file)}"#),
        ("set-user-id", #"{"path":"a","kind":"file","mode":2541,"size":1,"digest":"\#(Digest(of: [1]).text)"}"#),
        ("no digest", #"{"path":"a","kind":"file","mode":420,"size":1}"#),
        ("bad digest", #"{"path":"a","kind":"file","mode":420,"size":1,"digest":"sha256:../../x"}"#),
    ]

    @Test(arguments: refused)
    func `a manifest that would write outside is refused`(name: String, entries: String) async throws {
        let folder = try Folder()
        let store = try folder.store()
        _ = try await store.put(bytes: [1])
        let manifest = try await store.put(bytes: Array(#"{"format":1,"entries":[\#(entries)]}"#.utf8)).digest
        let refusal = await code { try await Tree.unpack(manifest, from: store, to: "\(folder.path)/target") }
        #expect(refusal == .invalid)
        #expect(try folder.names(in: ".") == ["deep"])
    }

    @Test func `a sound manifest by hand is unpacked`() async throws {
        // The same road as above, so that those refusals are for their reason and not for the spelling.
        let folder = try Folder()
        let store = try folder.store()
        _ = try await store.put(bytes: [1])
        let entries = #"{"path":"a","kind":"folder","mode":493},{"path":"a/b",\#(Self.file)}"#
        let manifest = try await store.put(bytes: Array(#"{"format":1,"entries":[\#(entries)]}"#.utf8)).digest
        try await Tree.unpack(manifest, from: store, to: "\(folder.path)/target")
        #expect(FileManager.default.contents(atPath: "\(folder.path)/target/a/b") == Data([1]))
    }

    @Test func `a missing or corrupt file leaves no half folder`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        try fill(folder, "source")
        let (digest, tree) = try await Tree.pack(folder: "\(folder.path)/source", into: store)
        let big = try #require(tree.entries.last?.digest)
        chmod(store.path(of: big), 0o600)
        let file = open(store.path(of: big), O_RDWR | O_CLOEXEC)
        #expect(pwrite(file, [0, 0, 0, 0, 0], 5, 1_000_000) == 5)
        close(file)
        let target = "\(folder.path)/target"
        #expect(await code { try await Tree.unpack(digest, from: store, to: target) } == .corrupt)
        #expect(try await store.delete(big))
        #expect(await code { try await Tree.unpack(digest, from: store, to: target) } == .notFound)
        #expect(try folder.names(in: ".") == ["deep", "source"])
    }

    @Test func `a place that is taken is not touched`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        try fill(folder, "source")
        let digest = try await Tree.pack(folder: "\(folder.path)/source", into: store).digest
        try folder.write([1], to: "target/mine")
        #expect(await code { try await Tree.unpack(digest, from: store, to: "\(folder.path)/target") } == .exists)
        #expect(try folder.names(in: "target") == ["mine"])
        #expect(try folder.names(in: ".") == ["deep", "source", "target"])
        unlink("\(folder.path)/target/mine")
        try await Tree.unpack(digest, from: store, to: "\(folder.path)/target")
        #expect(try folder.names(in: "target").count == 4)
    }

    @Test func `a blob that is no manifest is refused`() async throws {
        let folder = try Folder()
        let store = try folder.store()
        let digest = try await store.put(bytes: Array("no manifest".utf8)).digest
        #expect(await code { _ = try await Tree.open(digest, from: store) } == .invalid)
        let newer = try await store.put(bytes: Array(#"{"format":2,"entries":[]}"#.utf8)).digest
        #expect(await code { _ = try await Tree.open(newer, from: store) } == .invalid)
    }

    private func fill(_ folder: Folder, _ name: String) throws {
        try folder.write(Array("hello".utf8), to: "\(name)/a.txt")
        try folder.write(Array("#!/bin/sh".utf8), to: "\(name)/bin/run", mode: 0o755)
        try folder.write(noise(1_500_000), to: "\(name)/große.bin", mode: 0o600)
        try FileManager.default.createDirectory(
            atPath: "\(folder.path)/\(name)/empty", withIntermediateDirectories: true)
        #expect(symlink("../a.txt", "\(folder.path)/\(name)/bin/up") == 0)
        #expect(symlink("./run", "\(folder.path)/\(name)/bin/self") == 0)
    }
}
