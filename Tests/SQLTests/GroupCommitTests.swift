import Testing

@testable import SQL

@Suite struct GroupCommitTests {
    private struct Stop: Error {}

    @Test func `in a shared commit a body that throws is rolled back alone`() async throws {
        let commits = Counter()
        try await withDatabase(hook: { commits.value = $0 }) { database in
            let before = commits.value
            var failures = 0
            try await database.holdingWriter(3) { group in
                group.addTask { try await database.insert("a") }
                group.addTask {
                    try await database.write { connection in
                        try connection.run("INSERT INTO item VALUES ('lost', 1)")
                        throw Stop()
                    }
                }
                group.addTask { try await database.insert("b") }
            } collect: { (group: inout ThrowingTaskGroup<Void, any Error>) in
                while let result = await group.nextResult() {
                    if case .failure(let error) = result {
                        #expect(error is Stop)
                        failures += 1
                    }
                }
            }
            #expect(failures == 1)
            #expect(try await database.names() == ["a", "b"])
            // The holder's own, and one for the three.
            #expect(commits.value - before == 2)
        }
    }

    @Test func `a commit that fails is told to every write of its group`() async throws {
        try await withDatabase { database in
            let part: Statement = "INSERT INTO part VALUES ('x')"
            try await database.write { connection in
                try connection.run("CREATE TABLE part (of TEXT REFERENCES item(name) DEFERRABLE INITIALLY DEFERRED)")
            }
            var codes: [SQLError.Code?] = []
            try await database.holdingWriter(2) { (group: inout ThrowingTaskGroup<SQLError.Code?, any Error>) in
                group.addTask { await code { try await database.insert("a") } }
                group.addTask { await code { try await database.write { try $0.run(part) } } }
            } collect: { (group: inout ThrowingTaskGroup<SQLError.Code?, any Error>) in
                for try await code in group { codes.append(code) }
            }
            #expect(codes == [.foreignKeyViolation, .foreignKeyViolation])
            #expect(try await database.names() == [])
            try await database.insert("later")
            #expect(try await database.names() == ["later"])
        }
    }

    @Test func `many writers lose nothing and share commits`() async throws {
        let commits = Counter()
        let (writers, each) = (64, 20)
        try await withDatabase(hook: { commits.value = $0 }) { database in
            try await database.insert("counter")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<writers {
                    group.addTask {
                        for number in 0..<each {
                            try await database.write { connection in
                                try connection.run("UPDATE item SET size = size + 1 WHERE name = 'counter'")
                                try connection.run("INSERT INTO item VALUES (\("\(writer)-\(number)"), 0)")
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            let total = writers * each
            let seen = try await database.read { connection in
                [
                    try connection.value("SELECT size FROM item WHERE name = 'counter'", as: Int.self),
                    try connection.value("SELECT count(*) - 1 FROM item", as: Int.self),
                ]
            }
            #expect(seen == [total, total])
            #expect(commits.value < total / 2)
        }
    }

    @Test func `a write whose caller gave up while it waited never runs`() async throws {
        try await withDatabase { database in
            try await database.holdingWriter(2) { group in
                group.addTask { try await database.insert("kept") }
                group.addTask {
                    // Cancels itself before it queues: the writer must skip it.
                    withUnsafeCurrentTask { $0?.cancel() }
                    await #expect(throws: CancellationError.self) { try await database.insert("dropped") }
                }
            } collect: { (group: inout ThrowingTaskGroup<Void, any Error>) in
                try await group.waitForAll()
            }
            #expect(try await database.names() == ["kept"])
        }
    }

    @Test func `a group in which every body throws commits nothing`() async throws {
        let commits = Counter()
        try await withDatabase(hook: { commits.value = $0 }) { database in
            let before = commits.value
            await #expect(throws: Stop.self) { try await database.write { _ in throw Stop() } }
            #expect(commits.value == before)
        }
    }

    @Test func `a full queue holds callers back until there is room`() async throws {
        let queue = WorkQueue<Int>(limit: 2)
        let passed = Counter()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<5 {
                group.addTask {
                    await queue.admit()
                    _ = queue.append(number)
                    passed.add()
                }
            }
            while queue.heldBack < 3 || queue.count < 2 { await Task.yield() }
            #expect(passed.value == 2)
            #expect(queue.take(atMost: 1)?.count == 1)
            while queue.count < 2 { await Task.yield() }
            #expect(queue.heldBack == 2)
            #expect(queue.take(atMost: 9)?.count == 2)
            try await group.waitForAll()
            #expect(queue.take(atMost: 9)?.count == 2)
        }
        queue.close()
        #expect(queue.take(atMost: 1) == nil)
        #expect(!queue.append(1))
    }

    @Test func `more writes than the queue holds all end`() async throws {
        try await withDatabase { database in
            let count = Database.Limits.waitingWrites + 100
            try await database.holdingWriter(Database.Limits.waitingWrites) { group in
                for number in 0..<count { group.addTask { try await database.insert("n\(number)") } }
            } collect: { (group: inout ThrowingTaskGroup<Void, any Error>) in
                #expect(database.engine.waitingWrites <= Database.Limits.waitingWrites)
                try await group.waitForAll()
            }
            #expect(try await database.names().count == count)
        }
    }
}
