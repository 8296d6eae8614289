import API
import Kernel
import KernelTesting
import Logging
import Manifests
import SQL
import Testing

@Suite(.timeLimit(.minutes(1))) struct LoopTests {
    struct Broken: Error {}

    /// Reconciles two keys; what it answers is the test's to say.
    struct Scripted: Reconciler {
        static let name = "scripted"
        static let topics: Set<String> = ["Run"]
        let seen: Shared<[String]>
        let answer: @Sendable (String, Int) async throws -> Next

        func keys() async throws -> [String] { ["a", "b"] }
        func reconcile(_ key: String) async throws -> Next {
            let count = seen.change { seen in
                seen.append(key)
                return seen.count { $0 == key }
            }
            return try await answer(key, count)
        }
    }

    /// A loop under way, and what it has done.
    struct Running {
        let house: TestHouse
        let seen: Shared<[String]>
        let idle: Shared<Int>

        func count(_ key: String) -> Int { seen.get.count { $0 == key } }

        /// Does something that the loop has work from, and returns when that has been done.
        func work(_ body: () -> Void = {}) async {
            let before = idle.get
            body()
            while idle.get == before { await Task.yield() }
            await house.time.untilSomeoneSleeps()
        }

        func advance(by seconds: Int) async { await work { house.time.advance(by: .seconds(seconds)) } }
    }

    /// Runs the loop beside a body, then ends it.
    private func running<R: Reconciler>(
        _ reconciler: (Running) -> R, width: Int = 4, isBusy: Bool = false,
        _ body: (Running) async throws -> Void
    ) async throws {
        let house = try TestHouse()
        let running = Running(house: house, seen: Shared([]), idle: Shared(0))
        let loop = ReconcileLoop(
            reconciler(running), store: house.store, sweep: .seconds(60), width: width,
            logger: house.context.logger, whenIdle: { running.idle.change { $0 += 1 } })
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await loop.run() }
            if !isBusy {
                while running.idle.get == 0 { await Task.yield() }
            }
            await house.time.untilSomeoneSleeps()
            try await body(running)
            group.cancelAll()
            do { try await group.waitForAll() } catch is CancellationError {}
        }
    }

    private func running(
        _ answer: @escaping @Sendable (String, Int) async throws -> Next, width: Int = 4, isBusy: Bool = false,
        _ body: (Running) async throws -> Void
    ) async throws {
        try await running({ Scripted(seen: $0.seen, answer: answer) }, width: width, isBusy: isBusy, body)
    }

    @Test func `start-up is the first sweep, and the slow sweep comes again`() async throws {
        try await running { _, _ in
            .settled
        } _: { loop in
            #expect(loop.seen.get.sorted() == ["a", "b"])
            loop.house.time.advance(by: .seconds(59))
            await loop.house.time.untilSomeoneSleeps()
            #expect(loop.seen.get.count == 2)
            await loop.advance(by: 1)
            while loop.seen.get.count < 4 { await Task.yield() }
        }
    }

    @Test func `a key is looked at again when it asked to be`() async throws {
        try await running { key, _ in
            key == "a" ? .again(in: .seconds(10)) : .settled
        } _: { loop in
            for _ in 0..<3 { await loop.advance(by: 10) }
            #expect(loop.count("a") == 4)
            #expect(loop.count("b") == 1)
        }
    }

    @Test func `there is more to do at once until there is not`() async throws {
        try await running { _, count in
            count < 5 ? .now : .settled
        } _: { loop in
            while loop.seen.get.count < 10 { await Task.yield() }
            #expect(loop.count("a") == 5 && loop.count("b") == 5)
        }
    }

    @Test func `a ring wakes every key`() async throws {
        try await running { _, _ in
            .settled
        } _: { loop in
            await loop.work { loop.house.store.bells.ring(["Run"]) }
            while loop.seen.get.count < 4 { await Task.yield() }
            #expect(loop.count("a") == 2 && loop.count("b") == 2)
        }
    }

    @Test func `a key that throws is tried later and later, and stops no other`() async throws {
        try await running { key, count in
            if key == "a", count <= 2 { throw Broken() }
            return key == "a" ? .settled : .again(in: .seconds(100))
        } _: { loop in
            #expect(loop.seen.get.sorted() == ["a", "b"])
            await loop.advance(by: 1)
            #expect(loop.count("a") == 2)
            loop.house.time.advance(by: .seconds(1))
            await loop.house.time.untilSomeoneSleeps()
            #expect(loop.count("a") == 2, "the second wait is twice as long")
            await loop.advance(by: 1)
            #expect(loop.count("a") == 3)
            #expect(loop.count("b") == 1)
        }
    }

    @Test(arguments: [1, 2])
    func `a key that takes long holds up no other, and is looked at again when it was told of meanwhile`(
        width: Int
    ) async throws {
        let gate = Bell()
        try await running(
            { key, count in
                if key == "a", count == 1 { try await gate.wait() }
                return .settled
            }, width: width, isBusy: true
        ) { loop in
            let seen = loop.seen
            while loop.count("a") == 0 { await Task.yield() }
            if width == 2 {
                while loop.count("b") == 0 { await Task.yield() }
                loop.house.store.bells.ring(["Run"])
                while loop.count("b") == 1 { await Task.yield() }
            } else {
                loop.house.store.bells.ring(["Run"])
                for _ in 0..<100 { await Task.yield() }
                #expect(seen.get == ["a"], "as many at once as may be")
            }
            #expect(loop.count("a") == 1, "one key never twice at once")
            gate.ring()
            while loop.count("a") == 1 || loop.count("b") < 2 { await Task.yield() }
        }
    }

    @Test func `news of a key that is being tried again is not lost`() async throws {
        let gate = Bell()
        try await running { key, count in
            guard key == "a" else { return .settled }
            if count == 1 { throw Broken() }
            if count == 2 { try await gate.wait() }
            return .settled
        } _: { loop in
            loop.house.time.advance(by: .seconds(1))
            while loop.count("a") == 1 { await Task.yield() }
            loop.house.store.bells.ring(["Run"])
            while loop.count("b") == 1 { await Task.yield() }
            gate.ring()
            while loop.count("a") == 2 { await Task.yield() }
        }
    }

    /// As many keys as are wanted; two projects may have a thing of each name.
    struct Many: Reconciler {
        static let name = "many"
        static let topics: Set<String> = ["Service", "Team"]
        static let keyed: String? = "Service"
        let loop: Running
        let all: Shared<[String]>
        var answer: @Sendable (String, Int) async throws -> Next = { _, _ in .settled }

        func keys() async throws -> [String] { all.get }
        func keys(of names: Set<String>) async throws -> [String] {
            all.get.filter { key in names.contains { key.hasSuffix("/" + $0) } }
        }
        func reconcile(_ key: String) async throws -> Next {
            let count = loop.seen.change { seen in
                seen.append(key)
                return seen.count
            }
            return try await answer(key, count)
        }
    }

    @Test func `a loop that is keyed looks at those that were told of, and at all when it is not told which`()
        async throws
    {
        try await running({ Many(loop: $0, all: Shared(["p/a", "q/a", "p/b", "q/b"])) }) { loop in
            await loop.work { loop.house.store.bells.ring(["Service", "Service/a"]) }
            while loop.seen.get.count < 6 { await Task.yield() }
            #expect(loop.seen.get.suffix(2).sorted() == ["p/a", "q/a"])
            await loop.work { loop.house.store.bells.ring(["Team"]) }
            while loop.seen.get.count < 10 { await Task.yield() }
            #expect(loop.count("q/b") == 2)
        }
    }

    @Test func `what is told of goes before the rest of a long list, which is the rarer the longer it takes`()
        async throws
    {
        let names = (0..<600).map { "p/\($0)" }
        try await running(
            { loop in
                let house = loop.house
                return Many(loop: loop, all: Shared(names)) { _, count in
                    if count == 10 { house.store.bells.ring(["Service/599"]) }
                    house.time.advance(by: .milliseconds(10))
                    return .settled
                }
            }, width: 2
        ) { loop in
            while Set(loop.seen.get).count < 600 { await Task.yield() }
            let seen = loop.seen.get
            #expect(seen.count <= 602)
            let place = seen.firstIndex(of: "p/599") ?? 600
            #expect(place < 300)
            // The list took more than five seconds, and a two hundredth of the time is more than a thousand.
            loop.house.time.advance(by: .seconds(900))
            await loop.house.time.untilSomeoneSleeps()
            for _ in 0..<100 { await Task.yield() }
            #expect(loop.seen.get.count <= 602)
            loop.house.time.advance(by: .seconds(900))
            while loop.seen.get.count <= 602 { await Task.yield() }
        }
    }

    @Test func `keys that are never done with keep nobody from being found`() async throws {
        let all = Shared((0..<300).map { "p/\($0)" })
        try await running(
            { loop in
                Many(loop: loop, all: all) { key, _ in
                    await Task.yield()
                    return key == "p/new" ? .settled : .now
                }
            }, width: 2, isBusy: true
        ) { loop in
            while Set(loop.seen.get).count < 300 { await Task.yield() }
            all.change { $0.append("p/new") }
            loop.house.store.bells.ring(["Team"])
            while loop.count("p/new") == 0 { await Task.yield() }
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
