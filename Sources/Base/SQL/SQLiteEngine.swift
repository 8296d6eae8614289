import Foundation
import GRDB
import Synchronization

/// SQLite behind the facade: one writer thread that commits in groups, and a few reader threads.
final class SQLiteEngine: Sendable {
    private let path: String
    private let writes = WorkQueue<any Job>(limit: Database.Limits.waitingWrites)
    private let reads = WorkQueue<any Job>(limit: Database.Limits.waitingReads)
    private let writer = Threads()
    private let readers = Threads()
    private let state = EngineState()

    init(
        path: String, readerCount: Int, maximumBytes: Int?, cacheBytes: Int?,
        commitHook: (@Sendable (Int) throws -> Void)?
    ) throws {
        self.path = path
        let connection = try SQLiteFile.openForWriting(path, maximumBytes: maximumBytes, cacheBytes: cacheBytes)
        var readConnections: [DatabaseQueue] = []
        for _ in 0..<readerCount { readConnections.append(try SQLiteFile.openForReading(path, cacheBytes: cacheBytes)) }
        let writerLoop = WriterLoop(connection: connection, queue: writes, state: state, commitHook: commitHook)
        writer.start(named: "vagus.sql.writer") { writerLoop.run() }
        for (index, connection) in readConnections.enumerated() {
            let loop = ReaderLoop(connection: connection, queue: reads, state: state)
            readers.start(named: "vagus.sql.reader.\(index + 1)") { loop.run() }
        }
    }

    /// Reads only: another program's file, in which nothing is changed.
    init(reading path: String) throws {
        self.path = path
        let loop = ReaderLoop(
            connection: try SQLiteFile.openForReading(path, cacheBytes: nil), queue: reads, state: state)
        readers.start(named: "vagus.sql.reader") { loop.run() }
        writes.close()
    }

    deinit {
        reads.close()
        writes.close()
    }

    func read<Value: Sendable>(_ body: @Sendable @escaping (Connection) throws -> Value) async throws -> Value {
        try await submit(to: reads, runsAlone: false, body)
    }

    func write<Value: Sendable>(_ body: @Sendable @escaping (Connection) throws -> Value) async throws -> Value {
        try await submit(to: writes, runsAlone: false, body)
    }

    /// Writes that the writer has not begun.
    var waitingWrites: Int { writes.count }

    func close() async {
        // Readers first: the last connection to close folds the log into the file, which a reader may not.
        reads.close()
        await readers.finished()
        writes.close()
        await writer.finished()
        state.isClosed = true
    }

    func integrityCheck() async throws -> [String] {
        try await read { connection in
            do {
                let damage = try String.fetchAll(connection.session.db, sql: "PRAGMA integrity_check")
                let keys = try GRDB.Row.fetchAll(connection.session.db, sql: "PRAGMA foreign_key_check").map { row in
                    let (table, parent) = (row[0] as String? ?? "?", row[2] as String? ?? "?")
                    return "row \(row[1] as Int64? ?? 0) of table \(table) refers to a missing row of \(parent)"
                }
                return damage.filter { $0 != "ok" } + keys
            } catch {
                let failure = SQLError(engine: error)
                guard failure.code == .corrupt || failure.code == .notADatabase else { throw failure }
                return [failure.message]
            }
        }
    }

    func checkpoint() async throws {
        try await submit(to: writes, runsAlone: true) { connection in
            do { _ = try connection.session.db.checkpoint(.truncate) } catch { throw SQLError(engine: error) }
        }
    }

    func backup(to destination: String) async throws {
        try await read { connection in
            let partial = destination + ".partial"
            try SQLiteFile.remove(partial)
            do {
                try SQLiteFile.copy(connection.session.db, to: partial)
                try SQLiteFile.publish(partial, as: destination)
            } catch {
                try? SQLiteFile.remove(partial)  // the first error is the one to tell
                throw SQLError(engine: error, path: destination)
            }
        }
    }

    private func submit<Value: Sendable>(
        to queue: WorkQueue<any Job>, runsAlone: Bool, _ body: @Sendable @escaping (Connection) throws -> Value
    ) async throws -> Value {
        await queue.admit()
        let cancellation = Cancellation()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let job = BodyJob(
                    runsAlone: runsAlone, cancellation: cancellation, continuation: continuation, body: body)
                if !queue.append(job) { job.finish(failure: EngineState.closedError) }
            }
        } onCancel: {
            cancellation.set()
        }
    }
}

extension Database {
    /// Opens, or makes, the SQLite file at `path`.
    ///
    /// - Parameters:
    ///   - path: The database file; its folder must be there.
    ///   - readers: Threads that read at once; 1...64.
    ///   - maximumBytes: The size the file may grow to; a write beyond it throws `full`.
    ///   - cacheBytes: Pages that each connection keeps in memory; nil: SQLite's own 2 MB.
    ///   - commitHook: Called after the n-th commit since opening (from 1), before its callers resume. When it
    ///     throws, the database behaves as if the process had died there: its callers, and all later ones, get
    ///     `closed`.
    /// - Returns: The database, ready for reading and writing.
    /// - Throws: `notADatabase`, `corrupt`, `cannotOpen`, `readOnly`, `busy`.
    package static func sqlite(
        path: String, readers: Int = 4, maximumBytes: Int? = nil, cacheBytes: Int? = nil,
        commitHook: (@Sendable (Int) throws -> Void)? = nil
    ) throws(SQLError) -> Self {
        precondition((1...64).contains(readers), "readers must be 1...64")
        do {
            return Self(
                engine: try SQLiteEngine(
                    path: path, readerCount: readers, maximumBytes: maximumBytes, cacheBytes: cacheBytes,
                    commitHook: commitHook))
        } catch {
            throw SQLError(engine: error, path: path)
        }
    }
}

extension Database {
    /// Opens another program's SQLite file for reading; nothing in it is changed, and a missing one is not made.
    ///
    /// Writes throw `closed`.
    ///
    /// - Throws: `notADatabase`, `corrupt`, `cannotOpen`, `busy`.
    package static func reading(path: String) throws(SQLError) -> Self {
        do {
            return Self(engine: try SQLiteEngine(reading: path))
        } catch {
            throw SQLError(engine: error, path: path)
        }
    }
}

/// What the threads of one engine share.
final class EngineState: Sendable {
    private let closed = Atomic<Bool>(false)

    static let closedError = SQLError(.closed, "the database is closed")

    /// Whether nothing may be read or written any more.
    var isClosed: Bool {
        get { closed.load(ordering: .acquiring) }
        set { closed.store(newValue, ordering: .releasing) }
    }
}

/// Threads that can be awaited.
///
/// They are started by `init` only and end when their queue is closed.
private final class Threads: Sendable {
    private struct State {
        var running = 0
        var waiting: [CheckedContinuation<Void, Never>] = []
    }
    private let state = Mutex(State())
    /// Bytes; bodies decode documents, which may be deep.
    private static let stackBytes = 8 << 20

    func start(named name: String, _ body: @escaping @Sendable () -> Void) {
        state.withLock { $0.running += 1 }
        let thread = Thread { [self] in
            body()
            ended()
        }
        thread.name = name
        thread.stackSize = Self.stackBytes
        thread.start()
    }

    func finished() async {
        await withCheckedContinuation { continuation in
            let isFinished = state.withLock { state in
                if state.running > 0 { state.waiting.append(continuation) }
                return state.running == 0
            }
            if isFinished { continuation.resume() }
        }
    }

    private func ended() {
        let waiting = state.withLock { state in
            state.running -= 1
            guard state.running == 0 else { return [CheckedContinuation<Void, Never>]() }
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }
}
