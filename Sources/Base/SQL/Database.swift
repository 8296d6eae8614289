/// One database.
///
/// The only door to stored state: nothing above this module knows which engine it is.
///
/// - Reads run on a few threads of their own, each on a snapshot that no writer disturbs. The hop costs thirty times a
///   small query: batch the reads of a request into one closure.
/// - Writes run one after another on one thread. Those that wait are committed together ("group commit"): each body
///   has a savepoint of its own inside one transaction, so one that throws takes nothing along.
/// - No body ever runs on Swift's cooperative pool, and none can wait: a transaction never stays open across an
///   `await`.
package struct Database: Sendable {
    let engine: SQLiteEngine

    /// Runs `body` on a snapshot that no writer disturbs; it sees every write that returned before.
    package func read<Value: Sendable>(_ body: @Sendable @escaping (Connection) throws -> Value) async throws -> Value {
        try await engine.read(body)
    }

    /// Runs `body` as one transaction: all of it is kept, or, when it throws, none.
    ///
    /// Returns after the commit is on the disk (`synchronous=FULL`). A failed commit is thrown to every write of its
    /// group. Waits while more than `Limits.waitingWrites` writes wait. Do not use deferred constraints: they fail at
    /// the commit, which is shared with others.
    @discardableResult
    package func write<Value: Sendable>(
        _ body: @Sendable @escaping (Connection) throws -> Value
    ) async throws -> Value {
        try await engine.write(body)
    }

    /// Refuses new work, ends what waits, closes the file.
    ///
    /// Later reads and writes throw `closed`; closing twice is fine.
    package func close() async {
        await engine.close()
    }

    /// Reads the whole file and returns what is damaged; an empty list is a sound database.
    package func integrityCheck() async throws -> [String] {
        try await engine.integrityCheck()
    }

    /// Moves the write-ahead log into the database file and empties it.
    package func checkpoint() async throws {
        try await engine.checkpoint()
    }

    /// Copies the database to a new file while it is in use.
    ///
    /// The copy appears under `path` whole, or not at all.
    package func backup(to path: String) async throws {
        try await engine.backup(to: path)
    }

    /// The bounds of one database.
    package enum Limits {
        /// Writes that may wait for the writer before further callers are held back.
        package static let waitingWrites = 4096
        /// Reads that may wait for a reader before further callers are held back.
        package static let waitingReads = 4096
        /// Writes that one commit may carry.
        package static let writesPerCommit = 512
        /// Prepared statements that a connection keeps.
        package static let cachedStatements = 256
        /// Seconds that a connection waits for a lock held by another process.
        package static let busySeconds = 5
        /// Bytes to which the write-ahead log is cut back after a checkpoint.
        package static let logBytes = 64 << 20
    }
}

/// A connection inside a transaction.
///
/// Not Sendable: it cannot outlive the closure it was given to.
package struct Connection {
    let session: Session

    /// Returns all rows of a result.
    package func rows(_ statement: Statement) throws(SQLError) -> [Row] {
        try session.rows(statement, limit: Int.max)
    }

    /// Returns the first row of a result.
    package func row(_ statement: Statement) throws(SQLError) -> Row? {
        try session.rows(statement, limit: 1).first
    }

    /// Returns the first column of the first row; nil without a row.
    package func value<Value: SQLReadable>(
        _ statement: Statement, as type: Value.Type = Value.self
    ) throws(SQLError) -> Value? {
        guard let row = try row(statement) else { return nil }
        return try row.get(0, as: type)
    }

    /// Hands over the rows of a result one by one, so that memory does not grow with them.
    ///
    /// - Throws: What `body` throws, which ends the reading, or an `SQLError`.
    package func each(_ statement: Statement, _ body: (Row) throws -> Void) throws {
        try session.each(statement, body)
    }

    /// Runs a statement and returns how many rows it changed.
    @discardableResult
    package func run(_ statement: Statement) throws(SQLError) -> Int {
        try session.run(statement)
    }
}

@available(*, unavailable)
extension Connection: Sendable {}
