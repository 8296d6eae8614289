import API
import Kernel
import KernelTesting
import Manifests
import SQL
import Testing

@Suite struct EventLogTests {
    private func house(events: Int = 6) async throws -> TestHouse {
        let house = try TestHouse()
        try await house.open([])
        for number in 1...events {
            _ = try await house.store.change(Call(actor: "user:ana", correlation: "c\(number % 2)")) { change in
                try change.tell(
                    number % 3 == 0 ? "run.finished" : "run.started",
                    about: Subject(kind: "Run", project: number < 4 ? "default" : "shop", name: "run_\(number)"),
                    ["number": .integer(Int64(number)), "text": "ü \"quoted\""])
            }
            house.time.advance(by: .seconds(1))
        }
        return house
    }

    private func verify(_ house: TestHouse) async throws -> AuditOutcome {
        try await house.call(Events.verify, Nothing())
    }

    @Test func `a chain that nobody touched verifies`() async throws {
        let outcome = try await verify(house())
        #expect(outcome.intact && outcome.events == 6 && outcome.first_bad == nil)
    }

    static let tampering: [(Statement, Int64, String)] = [
        ("UPDATE event SET data = replace(data, '4', '5') WHERE sequence = 4", 4, "was changed"),
        ("UPDATE event SET actor = 'user:eve' WHERE sequence = 1", 1, "was changed"),
        ("UPDATE event SET at = at + 1 WHERE sequence = 6", 6, "was changed"),
        ("UPDATE event SET name = 'run.queued' WHERE sequence = 2", 2, "was changed"),
        ("UPDATE event SET subject = subject || 'x', project = project WHERE sequence = 5", 5, "was changed"),
        ("UPDATE event SET hash = 'aa' WHERE sequence = 3", 3, "was changed"),
        ("UPDATE event SET previous_hash = '' WHERE sequence = 3", 3, "does not follow"),
        ("DELETE FROM event WHERE sequence = 3", 4, "event 3 is missing"),
        ("DELETE FROM event WHERE sequence = 1", 2, "event 1 is missing"),
        // Text moved from one field into its neighbour changes the hash, as each field has its length before it.
        ("UPDATE event SET kind = 'Ru', project = 'ndefault' WHERE sequence = 2", 2, "was changed"),
    ]

    @Test(arguments: tampering.indices)
    func `the first event that was touched is named`(row: Int) async throws {
        let (statement, first, words) = Self.tampering[row]
        let house = try await house()
        try await house.database.write { _ = try $0.run(statement) }
        let outcome = try await verify(house)
        #expect(!outcome.intact && outcome.first_bad == first)
        #expect(outcome.message.contains(words), "\(outcome.message)")
    }

    @Test func `what a transaction did not keep is not told`() async throws {
        struct Stop: Error {}
        let house = try await house(events: 1)
        await #expect(throws: Stop.self) {
            try await house.store.change(.system("test")) { change in
                try change.tell("run.started", about: Subject(kind: "Run", project: "", name: "x"))
                throw Stop()
            }
        }
        #expect(try await house.events().count == 1)
        #expect(try await verify(house).intact)
    }

    @Test func `events are found by what they say`() async throws {
        let house = try await house()
        func sequences(_ edit: (inout EventQuery) -> Void) async throws -> [Int64] {
            var query = EventQuery()
            edit(&query)
            return try await house.call(Events.list, query).items.map(\.sequence)
        }
        #expect(try await sequences { $0.name = "run.finished" } == [6, 3])
        #expect(try await sequences { $0.name = "run.*" }.count == 6)
        #expect(try await sequences { $0.project = "shop" } == [6, 5, 4])
        #expect(try await sequences { $0.correlation = "c0" } == [6, 4, 2])
        #expect(try await sequences { $0.after = 4 } == [5, 6])
        #expect(try await sequences { ($0.before, $0.limit) = (5, 2) } == [4, 3])
        #expect(try await sequences { ($0.kind, $0.subject) = ("Run", "run_2") } == [2])
    }
}
