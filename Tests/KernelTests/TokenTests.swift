import API
import Kernel
import KernelTesting
import Manifests
import SQL
import Testing

@Suite struct TokenTests {
    private func book() async throws -> (TestHouse, TokenBook) {
        let house = try TestHouse()
        try await house.open([])
        return (house, TokenBook(store: house.store))
    }

    private func input(_ name: String, _ permission: Permission = .write, expires: TimeSpan? = nil) -> TokenInput {
        var input = TokenInput()
        (input.name, input.permission, input.expires) = (name, permission, expires)
        return input
    }

    @Test func `a token is known by its secret, which is kept nowhere`() async throws {
        let (house, book) = try await book()
        #expect(book.isEmpty)
        let made = try await book.create(input("ci"), .system("test"))
        #expect(made.token.hasPrefix("vg_"))
        #expect(book.token(for: made.token)?.name == "ci")
        #expect(book.token(for: made.token + "x") == nil)
        let stored = try await house.store.read { try $0.rows("SELECT * FROM token").map { "\($0)" }.joined() }
        #expect(!stored.contains(made.token.dropFirst(3)))
        #expect(stored.contains(TokenBook.hash(made.token)))
        let events = try await house.events().map { $0.json.text }.joined()
        #expect(!events.contains(made.token))
        let other = TokenBook(store: house.store)
        try await other.load()
        #expect(other.token(for: made.token)?.permission == .write)
    }

    @Test func `a revoked token is worthless at once, and two cannot share a name`() async throws {
        let (house, book) = try await book()
        let made = try await book.create(input("ci"), .system("test"))
        let twice = await #expect(throws: Problem.self) { try await book.create(input("ci"), .system("test")) }
        #expect(twice?.code == "token.exists")
        _ = try await book.revoke("ci", .system("test"))
        #expect(book.token(for: made.token) == nil)
        #expect(await #expect(throws: Problem.self) { try await book.revoke("ci", .system("test")) }?.status == 404)
        #expect(try await house.events().map(\.name) == ["token.created", "token.revoked"])
    }

    @Test func `a token ends when it said`() async throws {
        let (house, book) = try await book()
        let made = try await book.create(input("short", expires: .minutes(5)), .system("test"))
        house.time.advance(by: .seconds(299))
        #expect(book.token(for: made.token) != nil)
        house.time.advance(by: .seconds(1))
        #expect(book.token(for: made.token) == nil)
    }

    @Test func `the first token is good for one redeeming and nothing else`() async throws {
        let (_, book) = try await book()
        let first = try await book.makeFirst()
        #expect(book.token(for: first) == nil)
        let call = Call(actor: "redeem:\(TokenBook.hash(first))", correlation: "")
        let admin = try await book.redeem(input("ana", .read), call)
        #expect(admin.permission == .admin && book.token(for: admin.token)?.name == "ana")
        #expect(await #expect(throws: Problem.self) { try await book.redeem(input("eve"), call) }?.status == 401)
        let ordinary = Call(actor: "redeem:\(TokenBook.hash(admin.token))", correlation: "")
        await #expect(throws: Problem.self) { try await book.redeem(input("eve"), ordinary) }
    }

    @Test func `a permission includes those before it, an agent's stands apart`() {
        #expect(Permission.admin.allows(.agent) && Permission.write.allows(.run) && Permission.run.allows(.read))
        #expect(!Permission.read.allows(.run) && !Permission.write.allows(.agent) && !Permission.agent.allows(.run))
        #expect(Permission.agent.allows(.read) && Permission.agent.allows(.agent))
    }
}
