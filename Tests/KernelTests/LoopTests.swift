import API
import Kernel
import KernelTesting
import Logging
import Manifests
import SQL
import Testing

@Suite struct LoopTests {
    struct Broken: Error {}

    /// Reconciles two keys; what it answers is the test's to say.
    struct Scripted: Reconciler {
        static let name = "scripted"
        static let topics: Set<String> = ["Run"]
        let seen: Shared<[String]>
        let answer: @Sendable (String, Int) throws -> Next

        func keys() async throws -> [String] { ["a", "b"] }
        func reconcile(_ key: String) async throws -> Next {
            let count = seen.change { seen in
                seen.append(key)
                return seen.count { $0 == key }
            }
            return try answer(key, count)
        }
    }

    /// Runs the loop beside a body, then ends it.
    private func running(
        _ house: TestHouse, _ answer: @escaping @Sendable (String, Int) throws -> Next,
        _ body: (Shared<[String]>) async throws -> Void
    ) async throws {
        let seen = Shared<[String]>([])
        let loop = ReconcileLoop(
            Scripted(seen: seen, answer: answer), store: house.store, sweep: .seconds(60), logger: house.context.logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await loop.run() }
            await house.time.untilSomeoneSleeps()
            try await body(seen)
            group.cancelAll()
            do { try await group.waitForAll() } catch is CancellationError {}
        }
    }

    @Test func `start-up is the first sweep, and the slow sweep comes again`() async throws {
        let house = try TestHouse()
        try await running(house) { _, _ in
            .settled
        } _: { seen in
            #expect(seen.get.sorted() == ["a", "b"])
            house.time.advance(by: .seconds(59))
            await house.time.untilSomeoneSleeps()
            #expect(seen.get.count == 2)
            house.time.advance(by: .seconds(1))
            await house.time.untilSomeoneSleeps()
            #expect(seen.get.count == 4)
        }
    }

    @Test func `a key is looked at again when it asked to be`() async throws {
        let house = try TestHouse()
        try await running(house) { key, _ in
            key == "a" ? .again(in: .seconds(10)) : .settled
        } _: { seen in
            for _ in 0..<3 {
                house.time.advance(by: .seconds(10))
                await house.time.untilSomeoneSleeps()
            }
            #expect(seen.get.count { $0 == "a" } == 4)
            #expect(seen.get.count { $0 == "b" } == 1)
        }
    }

    @Test func `there is more to do at once until there is not`() async throws {
        let house = try TestHouse()
        try await running(house) { _, count in
            count < 5 ? .now : .settled
        } _: { seen in
            #expect(seen.get.count == 10)
        }
    }

    @Test func `a ring wakes every key`() async throws {
        let house = try TestHouse()
        try await running(house) { _, _ in
            .settled
        } _: { seen in
            house.store.bells.ring(["Run"])
            while seen.get.count < 4 { await Task.yield() }
            await house.time.untilSomeoneSleeps()
            #expect(seen.get.count == 4)
        }
    }

    @Test func `a key that throws is tried later and later, and stops no other`() async throws {
        let house = try TestHouse()
        try await running(house) { key, count in
            if key == "a", count <= 2 { throw Broken() }
            return key == "a" ? .settled : .again(in: .seconds(100))
        } _: { seen in
            #expect(seen.get.sorted() == ["a", "b"])
            house.time.advance(by: .seconds(1))
            await house.time.untilSomeoneSleeps()
            #expect(seen.get.count { $0 == "a" } == 2)
            house.time.advance(by: .seconds(1))
            await house.time.untilSomeoneSleeps()
            #expect(seen.get.count { $0 == "a" } == 2, "the second wait is twice as long")
            house.time.advance(by: .seconds(1))
            await house.time.untilSomeoneSleeps()
            #expect(seen.get.count { $0 == "a" } == 3)
            #expect(seen.get.count { $0 == "b" } == 1)
        }
    }

    /// Two projects have a thing of each name.
    struct Named: Reconciler {
        static let name = "named"
        static let topics: Set<String> = ["Service", "Team"]
        static let keyed: String? = "Service"
        let seen: Shared<[String]>

        func keys() async throws -> [String] { ["p/a", "q/a", "p/b", "q/b"] }
        func keys(of names: Set<String>) async throws -> [String] {
            try await keys().filter { key in names.contains { key.hasSuffix("/" + $0) } }
        }
        func reconcile(_ key: String) async throws -> Next {
            seen.change { $0.append(key) }
            return .settled
        }
    }

    @Test func `a loop that is keyed looks at those that were told of, and at all when it is not told which`()
        async throws
    {
        let house = try TestHouse()
        let seen = Shared<[String]>([])
        let loop = ReconcileLoop(Named(seen: seen), store: house.store, logger: house.context.logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await loop.run() }
            await house.time.untilSomeoneSleeps()
            #expect(seen.get.count == 4)
            house.store.bells.ring(["Service", "Service/a"])
            while seen.get.count < 6 { await Task.yield() }
            await house.time.untilSomeoneSleeps()
            #expect(seen.get.suffix(2).sorted() == ["p/a", "q/a"])
            house.store.bells.ring(["Team"])
            while seen.get.count < 10 { await Task.yield() }
            await house.time.untilSomeoneSleeps()
            #expect(seen.get.count == 10)
            group.cancelAll()
            do { try await group.waitForAll() } catch is CancellationError {}
        }
    }

    // MARK: Followers

    struct Noting: Follower {
        static let name = "noting"
        static let events: Set<String> = ["run.told"]
        let seen: Shared<[String]>
        let failures: Shared<Int>

        func heed(_ event: Event, in change: Change) throws {
            try change.sql.run("INSERT INTO noted (name) VALUES (\(event.subject.name))")
            let mustFail = failures.change { left in
                left -= 1
                return left >= 0
            }
            if mustFail { throw Broken() }
            seen.change { $0.append(event.subject.name) }
        }
    }

    @Test func `a follower sees each event once in order, its effect kept with its place`() async throws {
        let house = try TestHouse()
        try await house.open([])
        try await house.database.write { try $0.run("CREATE TABLE noted (name TEXT NOT NULL)") }
        let (seen, failures) = (Shared<[String]>([]), Shared(1))
        let loop = FollowLoop(Noting(seen: seen, failures: failures), store: house.store, logger: house.context.logger)
        for name in ["one", "two"] { try await tell(house, "Run", name) }
        try await tell(house, "Service", "other")
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await loop.run() }
            await house.time.untilSomeoneSleeps()
            #expect(seen.get == [], "the transaction that failed left nothing")
            house.time.advance(by: .seconds(1))
            while seen.get.count < 2 { await Task.yield() }
            try await tell(house, "Run", "three")
            while seen.get.count < 3 { await Task.yield() }
            group.cancelAll()
            do { try await group.waitForAll() } catch is CancellationError {}
        }
        let noted = try await house.store.read {
            try $0.rows("SELECT name FROM noted").map { try $0.get(0, as: String.self) }
        }
        #expect(noted == ["one", "two", "three"])
    }

    private func tell(_ house: TestHouse, _ kind: String, _ name: String) async throws {
        _ = try await house.store.change(.system("test")) { change in
            try change.tell("\(kind.lowercased()).told", about: Subject(kind: kind, project: "default", name: name))
        }
    }
}
