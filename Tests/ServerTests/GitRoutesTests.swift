import API
import Testing

@testable import Server

@Suite struct GitRoutesTests {
    @Test(arguments: [
        ("/git/shop/api.git/info/refs", "shop/api info/refs"), ("/git/api.git/info/refs", "default/api info/refs"),
        ("/git/api/git-upload-pack", "default/api git-upload-pack"),
        ("/git/shop/api.git/git-receive-pack", "shop/api git-receive-pack"),
    ])
    func `a path names a repository and what is asked of it`(path: String, expected: String) throws {
        let target = try #require(GitRoutes.Target(path))
        #expect("\(target.reference) \(target.rest)" == expected)
    }

    @Test(arguments: [
        "/git/", "/git/info/refs", "/git/a/b/c/info/refs", "/git/../etc/info/refs", "/git/shop/.git/info/refs",
        "/git/shop/api.git/HEAD", "/git/shop/api.git/objects/info/packs", "/git/shop/a%2Fb.git/info/refs",
        "/git/Shop/api/info/refs",
    ])
    func `any other path is nothing`(path: String) {
        #expect(GitRoutes.Target(path) == nil)
    }

    @Test func `a token is taken as password, as user, or as bearer`() throws {
        // "ana:vg_1", "vg_1:", base64.
        #expect(try #require(GitRoutes.credentials("Basic YW5hOnZnXzE=")).secret == "vg_1")
        #expect(try #require(GitRoutes.credentials("basic YW5hOnZnXzE=")).user == "ana")
        #expect(try #require(GitRoutes.credentials("Basic dmdfMTo=")).secret == "vg_1")
        #expect(try #require(GitRoutes.credentials("Bearer vg_1")).secret == "vg_1")
        for header in ["", "Basic", "Basic ?", "Basic YW5h", "Digest x"] {
            #expect(GitRoutes.credentials(header) == nil, "\(header)")
        }
    }

    @Test func `the head of a CGI answer is cut off wherever the pieces end`() throws {
        let text = "Status: 200 OK\r\nContent-Type: x\r\n\r\nbody\r\n\r\nmore"
        for cut in 0...text.utf8.count {
            var head = CGIHead()
            var body: [UInt8] = []
            for piece in [Array(text.utf8.prefix(cut)), Array(text.utf8.dropFirst(cut))] where !piece.isEmpty {
                body += try head.feed(piece) ?? []
            }
            #expect(String(decoding: body, as: UTF8.self) == "body\r\n\r\nmore" && head.isOver)
        }
        var plain = CGIHead()
        #expect(try plain.feed(Array("Expires: x\n\n0000".utf8)) == Array("0000".utf8))
    }

    @Test func `a refusal of git, or a head without end, is an error`() {
        #expect(throws: Problem.self) {
            var head = CGIHead()
            _ = try head.feed(Array("Status: 403 Forbidden\r\n\r\n".utf8))
        }
        #expect(throws: Problem.self) {
            var head = CGIHead()
            for _ in 0...CGIHead.limit { _ = try head.feed([0x61]) }
        }
    }

    @Test func `what is handed over arrives in order, and an end on either side is heard on the other`() async {
        let pieces = Handover()
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for number in 0..<100 { #expect(await pieces.give([UInt8(number)])) }
                pieces.end()
            }
            var seen: [UInt8] = []
            while let piece = await pieces.take() { seen += piece }
            #expect(seen == (0..<100).map { UInt8($0) })
        }
        #expect(await !pieces.give([1]))
        let other = Handover()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { #expect(await !other.give([1])) }
            group.addTask { other.end() }
        }
        #expect(await other.take() == nil)
    }

    @Test func `a slot is free again when it is let go`() {
        let slots = Slots(limit: 1)
        var held = slots.take()
        #expect(held != nil && slots.take() == nil)
        held = nil
        #expect(slots.take() != nil)
    }
}
