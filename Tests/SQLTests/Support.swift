import Foundation
import Synchronization
import Testing

@testable import SQL

/// Runs `body` with the path of a database in a folder of its own, which is gone afterwards.
func withDatabasePath(_ body: (String) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "vagus-sql-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }  // a leftover folder harms no other test
    try await body(folder.appending(path: "test.db").path)
}

/// The same, with the database opened and a table `item(name TEXT PRIMARY KEY, size INTEGER)`.
func withDatabase(
    hook: (@Sendable (Int) throws -> Void)? = nil, _ body: (Database) async throws -> Void
) async throws {
    try await withDatabasePath { path in
        let database = try Database.sqlite(path: path, commitHook: hook)
        try await database.write { try $0.run("CREATE TABLE item (name TEXT PRIMARY KEY, size INTEGER NOT NULL)") }
        try await body(database)
        await database.close()
    }
}

extension Database {
    func insert(_ name: String, size: Int = 0) async throws {
        try await write { try $0.run("INSERT INTO item (name, size) VALUES (\(name), \(size))") }
    }

    func names() async throws -> [String] {
        try await read { try $0.rows("SELECT name FROM item ORDER BY name").map { try $0.get("name") } }
    }

    /// Keeps the writer busy while `body` queues writes, then lets it go: they share a commit.
    func holdingWriter<Value: Sendable>(
        _ waiting: Int, _ start: (inout ThrowingTaskGroup<Value, any Error>) -> Void,
        collect: (inout ThrowingTaskGroup<Value, any Error>) async throws -> Void
    ) async throws {
        let gate = Gate()
        try await withThrowingTaskGroup(of: Void.self) { holder in
            holder.addTask { try await write { _ in gate.pass() } }
            await gate.reached()
            try await withThrowingTaskGroup(of: Value.self) { group in
                start(&group)
                while engine.waitingWrites < waiting { await Task.yield() }
                gate.open()
                try await collect(&group)
            }
            try await holder.waitForAll()
        }
    }
}

/// A number that several threads may touch.
final class Counter: Sendable {
    private let number = Atomic<Int>(0)
    var value: Int {
        get { number.load(ordering: .acquiring) }
        set { number.store(newValue, ordering: .releasing) }
    }
    func add() { number.add(1, ordering: .acquiringAndReleasing) }
}

/// A place where a database thread stops until the test lets it go on.
final class Gate: Sendable {
    private let opened = DispatchSemaphore(value: 0)
    private let isReached = Atomic<Bool>(false)

    /// Called on the database's thread; waits there.
    func pass() {
        isReached.store(true, ordering: .releasing)
        opened.wait()
    }
    func reached() async { while !isReached.load(ordering: .acquiring) { await Task.yield() } }
    func open() { opened.signal() }
}

/// Returns the code of the `SQLError` that `body` throws.
func code<Value>(of body: () async throws -> Value) async -> SQLError.Code? {
    do {
        _ = try await body()
        return nil
    } catch let error as SQLError {
        return error.code
    } catch {
        Issue.record("\(error) is no SQLError")
        return nil
    }
}
