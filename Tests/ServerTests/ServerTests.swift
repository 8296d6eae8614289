import API
import Client
import Foundation
import Kernel
import Logging
import Manifests
import Outbound
import Synchronization
import Testing

@testable import Server

/// A real server on a free port of loopback, for as long as `body` runs.
private func withServer<T: Sendable>(
    auth: Bool = false, data: String? = nil,
    _ body: @escaping @Sendable (_ url: String, _ lines: [String]) async throws -> T
) async throws -> T {
    let folder = data ?? NSTemporaryDirectory() + "vagus-server-\(UUID().uuidString)"
    let (lines, continuation) = AsyncStream.makeStream(of: String.self)
    var options = ServerOptions(data: folder, executable: "/bin/false") { continuation.yield($0) }
    options.port = 0
    options.hasAuth = auth
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    let house = try await House(options, logger: logger)
    // Stopped as servers are stopped: a plain cancellation could strike between accepting a connection and its handling.
    let outcome = Mutex<T?>(nil)
    try await house.run { _ in
        var seen: [String] = []
        for await line in lines {
            seen.append(line)
            guard line.hasPrefix("vagus listens on ") else { continue }
            let result = try await body(String(line.dropFirst("vagus listens on ".count)), seen)
            return outcome.withLock { $0 = result }
        }
    }
    return try #require(outcome.withLock { $0 })
}

private func client(_ url: String, token: String? = nil) -> VagusClient {
    VagusClient(server: url, token: token, outbound: OutboundClient())
}

private func manifest(_ name: String) -> ApplyInput {
    var input = ApplyInput()
    input.documents = [["kind": "Environment", "name": .string(name), "tier": "staging"]]
    return input
}

@Suite struct ServerTests {
    @Test func `what is applied can be read back and is in the log`() async throws {
        try await withServer { url, _ in
            let client = client(url)
            #expect(try await client.call(Resources.apply, manifest("blue")).items.map(\.change) == [.created])
            #expect(try await client.call(Resources.apply, manifest("blue")).items.map(\.change) == [.unchanged])
            let name = ResourceName(project: "default", kind: "environments", name: "blue")
            #expect(try await client.call(Resources.get, name).spec["tier"] == "staging")
            var query = EventQuery()
            query.kind = EnvironmentKind.name
            let events = try await client.call(Events.list, query).items.map(\.name)
            #expect(events == ["environment.created"])
            #expect(try await client.call(Events.verify, Nothing()).intact)
        }
    }

    @Test(
        arguments: [
            (["Origin": "http://evil.example"], 403), (["Origin": "null"], 403),
            (["Sec-Fetch-Site": "cross-site"], 403),
            (["Sec-Fetch-Site": "same-site"], 403), (["Host": "evil.example"], 403), (["Host": "evil.example:80"], 403),
            ([:], 200), (["Sec-Fetch-Site": "same-origin"], 200), (["Host": "localhost:80"], 200),
            (["Host": "[::1]:80"], 200),
            (["Host": "host.containers.internal:80"], 200),
        ] as [([String: String], Int)])
    func `no page of another site reaches a server without tokens`(headers: [String: String], status: Int) async throws
    {
        try await withServer { url, _ in
            let request = HTTPRequest(
                "POST", url: "\(url)/api/v1/apply",
                headers: headers.map { ($0, $1) } + [("Content-Type", "text/plain")],
                body: .bytes(Array(manifest("blue").json.text.utf8)))
            let answer = try await OutboundClient().send(request, deadline: .seconds(20))
            #expect(answer.status == status)
            let name = ResourceName(project: "default", kind: "environments", name: "blue")
            let found = try? await client(url).call(Resources.get, name)  // not there is what is asked
            #expect((found != nil) == (status == 200))
        }
    }

    @Test func `a dry run tells the difference and changes nothing`() async throws {
        try await withServer { url, _ in
            var input = manifest("blue")
            input.dry_run = true
            let outcome = try await client(url).call(Resources.apply, input)
            #expect(outcome.items.map(\.difference) == [["tier: \"staging\""]])
            var query = ResourceQuery()
            query.kind = "environments"
            let list = try await client(url).call(Resources.list, query)
            #expect(list.items.isEmpty)
        }
    }

    @Test func `one bad document keeps all of them out`() async throws {
        try await withServer { url, _ in
            var input = manifest("blue")
            input.documents.append(["kind": "Environment", "name": "red", "teir": "staging"])
            let wanted = input
            let problem = await #expect(throws: Problem.self) {
                _ = try await client(url).call(Resources.apply, wanted)
            }
            #expect(problem?.status == 422)
            #expect(problem?.hint == "Did you mean \"tier\"?")
            var query = ResourceQuery()
            query.kind = "environments"
            let list = try await client(url).call(Resources.list, query)
            #expect(list.items.isEmpty)
        }
    }

    @Test(arguments: [
        ("GET", "/api/v1/nothing", "", 404), ("DELETE", "/api/v1/apply", "", 405), ("POST", "/api/v1/apply", "{", 400),
        ("POST", "/api/v1/apply", "[]", 400), ("POST", "/api/v1/apply", "{\"documents\":3}", 422),
        ("GET", "/api/v1/event-log?limit=x", "", 422), ("GET", "/api/v1/event-log?limit=0", "", 422),
        ("GET", "/api/v1/projects/default/resources/services/none", "", 404), ("GET", "/api/v1/blobs/zzz", "", 400),
    ])
    func `a request that cannot be answered is a problem with its status`(
        method: String, path: String, body: String, status: Int
    ) async throws {
        try await withServer { url, _ in
            let request = HTTPRequest(method, url: url + path, body: body.isEmpty ? .none : .bytes(Array(body.utf8)))
            let response = try await OutboundClient().send(request, deadline: .seconds(10))
            #expect(response.status == status)
            #expect(response.header("content-type") == "application/problem+json")
            let problem = try JSONParser.parse(response.body)
            #expect(problem["message"]?.string?.isEmpty == false)
            #expect(problem["request_id"]?.string?.isEmpty == false)
        }
    }

    @Test func `a body over the limit is refused`() async throws {
        try await withServer { url, _ in
            let body = [UInt8](repeating: 0x20, count: HTTPFace.bodyLimit + 1)
            let request = HTTPRequest("POST", url: url + "/api/v1/apply", body: .bytes(body))
            let response = try await OutboundClient().send(request, deadline: .seconds(10))
            #expect(response.status == 413)
        }
    }

    @Test func `a blob comes back as it went`() async throws {
        try await withServer { url, _ in
            let path = NSTemporaryDirectory() + "vagus-blob-\(UUID().uuidString)"
            let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            try Data(bytes).write(to: URL(filePath: path))
            let sent = try await client(url).upload(file: path)
            #expect(sent.size == 3_000_000)
            let isThere = try await client(url).hasBlob(sent.digest)
            #expect(isThere)
            try await client(url).download(sent.digest, to: path + ".back")
            let back = try Data(contentsOf: URL(filePath: path + ".back"))
            #expect(Array(back) == bytes)
            let other = try await client(url).hasBlob("sha256:" + String(repeating: "0", count: 64))
            #expect(!other)
        }
    }

    @Test func `the feed tells the past first and then what happens`() async throws {
        try await withServer { url, _ in
            _ = try await client(url).call(Resources.apply, manifest("one"))
            let seen = Mutex<[String]>([])
            try await client(url).events(after: 0) { event in
                // The vault makes its first signing key meanwhile.
                guard event.subject.kind == EnvironmentKind.name else { return true }
                let count = seen.withLock { names in
                    names.append(event.subject.name)
                    return names.count
                }
                if count == 1 { _ = try await client(url).call(Resources.apply, manifest("two")) }
                return count < 2
            }
            #expect(seen.withLock { $0 } == ["one", "two"])
        }
    }

    @Test func `without a token nothing is told and the first token works once`() async throws {
        try await withServer(auth: true) { url, lines in
            let refused = await #expect(throws: Problem.self) {
                _ = try await client(url).call(Events.list, EventQuery())
            }
            #expect(refused?.status == 401)
            let first = try #require(lines.joined().firstMatch(of: /vg_[0-9a-f]{64}/)).output
            let early = await #expect(throws: Problem.self) {
                try await client(url, token: String(first)).call(Events.list, EventQuery())
            }
            #expect(early?.status == 401)
            var input = TokenInput()
            input.name = "admin"
            let admin = try await client(url, token: String(first)).call(Tokens.redeem, input)
            _ = try await client(url, token: admin.token).call(Events.list, EventQuery())
            let again = await #expect(throws: Problem.self) {
                try await client(url, token: String(first)).call(Tokens.redeem, input)
            }
            #expect(again?.status == 401)
        }
    }

    @Test func `a token does what it may and no more until it is revoked`() async throws {
        try await withServer(auth: true) { url, lines in
            let first = try #require(lines.joined().firstMatch(of: /vg_[0-9a-f]{64}/)).output
            var input = TokenInput()
            input.name = "admin"
            let admin = try await client(url, token: String(first)).call(Tokens.redeem, input)
            (input.name, input.permission, input.project) = ("reader", .read, "shop")
            let reader = try await client(url, token: admin.token).call(Tokens.create, input)
            var query = ResourceQuery()
            (query.kind, query.project) = ("services", "shop")
            _ = try await client(url, token: reader.token).call(Resources.list, query)
            let write = await #expect(throws: Problem.self) {
                try await client(url, token: reader.token).call(Resources.apply, manifest("x"))
            }
            #expect(write?.status == 403)
            query.project = "other"
            let foreign = query
            let stranger = await #expect(throws: Problem.self) {
                try await client(url, token: reader.token).call(Resources.list, foreign)
            }
            #expect(stranger?.status == 403)
            var name = TokenName()
            name.name = "reader"
            _ = try await client(url, token: admin.token).call(Tokens.revoke, name)
            query.project = "shop"
            let own = query
            let revoked = await #expect(throws: Problem.self) {
                try await client(url, token: reader.token).call(Resources.list, own)
            }
            #expect(revoked?.status == 401)
        }
    }

    @Test func `a second server on the same folder is refused`() async throws {
        let folder = NSTemporaryDirectory() + "vagus-twice-\(UUID().uuidString)"
        try await withServer(data: folder) { _, _ in
            let problem = await #expect(throws: Problem.self) {
                try await House(
                    ServerOptions(data: folder, executable: "/bin/false") { _ in }, logger: Logger(label: "test"))
            }
            #expect(problem?.code == "data.in-use")
        }
    }

    @Test func `a file that is no database is told and left alone`() async throws {
        let folder = NSTemporaryDirectory() + "vagus-broken-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let garbage = Data(repeating: 0x41, count: 8192)
        try garbage.write(to: URL(filePath: folder + "/vagus.db"))
        let problem = await #expect(throws: Problem.self) {
            try await House(
                ServerOptions(data: folder, executable: "/bin/false") { _ in }, logger: Logger(label: "test"))
        }
        #expect(problem?.hint?.contains("backup") == true)
        let after = try Data(contentsOf: URL(filePath: folder + "/vagus.db"))
        #expect(after == garbage)
    }
}
