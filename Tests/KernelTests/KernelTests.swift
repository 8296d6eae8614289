import API
import KernelTesting
import Manifests
import SQL
import Synchronization
import Testing

@testable import Kernel

@Suite struct BellTests {
    @Test func `a ring that nobody waited for is still heard once`() async throws {
        let bell = Bell()
        bell.ring()
        bell.ring()
        try await bell.wait()
        let time = ManualTime()
        async let rang = bell.wait(until: time.now.advanced(by: .seconds(5)), by: time)
        await time.untilSomeoneSleeps()
        time.advance(by: .seconds(5))
        #expect(try await rang == false)
    }

    @Test func `a wait that timed out does not deafen the bell`() async throws {
        let bell = Bell()
        let time = ManualTime()
        for _ in 0..<3 {
            async let rang = bell.wait(until: time.now.advanced(by: .seconds(1)), by: time)
            await time.untilSomeoneSleeps()
            time.advance(by: .seconds(1))
            #expect(try await rang == false)
        }
        bell.ring()
        #expect(try await bell.wait(until: time.now.advanced(by: .seconds(1)), by: time))
    }

    @Test func `a bell rings for its topics only`() async throws {
        let bells = Bells()
        let services = bells.listen(to: ["Service"])
        let all = bells.listen(to: ["*"])
        bells.ring(["Run"])
        try await all.wait()
        bells.ring(["Service", "Run"])
        try await services.wait()
        try await all.wait()
    }

    @Test func `a long poll answers as soon as there is something`() async throws {
        let bells = Bells()
        let time = ManualTime()
        let looks = Mutex(0)
        async let found = bells.poll(["Run"], until: time.now.advanced(by: .seconds(20)), by: time) { () -> String? in
            looks.withLock { count in
                count += 1
                return count == 2 ? "here" : nil
            }
        }
        await time.untilSomeoneSleeps()
        bells.ring(["Run"])
        #expect(try await found == "here")
    }
}

@Suite struct ReconcileLoopTests {
    private struct Counting: Reconciler {
        static let name = "counting"
        static let topics: Set<String> = ["Environment"]
        let look: @Sendable (String) throws -> Next
        func keys() async throws -> [String] { ["a", "b"] }
        func reconcile(_ key: String) async throws -> Next { try look(key) }
    }

    private func running(
        _ house: TestHouse, _ look: @escaping @Sendable (String) throws -> Next, _ body: () async throws -> Void
    ) async throws {
        let loop = ReconcileLoop(Counting(look: look), store: house.store, logger: house.context.logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { do { try await loop.run() } catch is CancellationError {} }
            try await body()
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    @Test func `the first sweep looks at every key and then when it was asked to`() async throws {
        let house = try TestHouse()
        let seen = Mutex<[String]>([])
        try await running(
            house,
            { key in
                seen.withLock { $0.append(key) }
                return key == "a" ? .again(in: .seconds(10)) : .settled
            }
        ) {
            await house.time.untilSomeoneSleeps()
            #expect(seen.withLock { $0.sorted() } == ["a", "b"])
            house.time.advance(by: .seconds(10))
            await house.time.untilSomeoneSleeps()
            #expect(seen.withLock { $0.sorted() } == ["a", "a", "b"])
        }
    }

    @Test func `a key that fails is tried later and later and does not stop the others`() async throws {
        struct Broken: Error {}
        let house = try TestHouse()
        let seen = Mutex<[String: Int]>([:])
        try await running(
            house,
            { key in
                seen.withLock { $0[key, default: 0] += 1 }
                if key == "a" { throw Broken() }
                return .again(in: .seconds(1))
            }
        ) {
            for _ in 0..<7 {
                await house.time.untilSomeoneSleeps()
                house.time.advance(by: .seconds(1))
            }
            await house.time.untilSomeoneSleeps()
            let counts = seen.withLock { $0 }
            #expect(counts["b"] == 8)
            #expect(counts["a"] == 4)
        }
    }
}

@Suite struct EventLogTests {
    private func filled() async throws -> TestHouse {
        let house = try TestHouse()
        try await house.open([])
        for name in ["one", "two", "three"] {
            var input = ApplyInput()
            input.documents = [["kind": "Environment", "name": .string(name)]]
            _ = try await house.caller.call(Resources.apply, input, as: .system("test"))
        }
        return house
    }

    private func verify(_ house: TestHouse) async throws -> AuditOutcome {
        try await house.store.read { try EventLog.verify(in: $0) }
    }

    @Test func `an untouched log is whole`() async throws {
        let outcome = try await verify(try await filled())
        #expect(outcome.intact)
        #expect(outcome.events == 3)
    }

    @Test(arguments: [
        ("UPDATE event SET data = replace(data, 'generation', 'Generation') WHERE sequence = 2", Int64(2)),
        ("UPDATE event SET actor = 'system:nobody' WHERE sequence = 1", 1),
        ("UPDATE event SET at = at + 1 WHERE sequence = 3", 3),
        ("DELETE FROM event WHERE sequence = 2", 3),
        ("UPDATE event SET hash = previous_hash WHERE sequence = 2", 2),
    ])
    func `the first event that was altered is named`(sql: String, bad: Int64) async throws {
        let house = try await filled()
        try await house.database.write { connection in _ = try connection.run(.init(stringLiteral: sql)) }
        let outcome = try await verify(house)
        #expect(!outcome.intact)
        #expect(outcome.first_bad == bad)
    }

    @Test func `a change that fails leaves neither row nor event`() async throws {
        struct Stop: Error {}
        let house = try await filled()
        await #expect(throws: Stop.self) {
            try await house.store.change(.system("test")) { change in
                try change.tell("environment.touched", about: Subject(kind: "Environment", project: "default", name: "one"))
                throw Stop()
            }
        }
        #expect(try await verify(house).events == 3)
    }
}

@Suite struct FollowerTests {
    private struct Noting: Follower {
        static let name = "noting"
        static let topics: Set<String> = ["Environment"]
        let note: @Sendable (String) -> Void
        func heed(_ event: Event, in change: Change) throws { note(event.subject.name) }
    }

    @Test func `each event is heeded once, also after a restart`() async throws {
        let house = try TestHouse()
        try await house.open([])
        let seen = Mutex<[String]>([])
        func apply(_ name: String) async throws {
            var input = ApplyInput()
            input.documents = [["kind": "Environment", "name": .string(name)]]
            _ = try await house.caller.call(Resources.apply, input, as: .system("test"))
        }
        for names in [["one", "two"], ["three"]] {
            for name in names { try await apply(name) }
            let loop = FollowLoop(
                Noting { name in seen.withLock { $0.append(name) } }, store: house.store, logger: house.context.logger)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { do { try await loop.run() } catch is CancellationError {} }
                await house.time.untilSomeoneSleeps()
                group.cancelAll()
                try await group.waitForAll()
            }
        }
        #expect(seen.withLock { $0 } == ["one", "two", "three"])
    }
}
