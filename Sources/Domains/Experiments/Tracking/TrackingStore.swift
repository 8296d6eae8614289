import API
import Blobs
import Crypto
import Kernel
import Manifests
import Points
import SQL
import Segments
import Synchronization

/// Where experiments and runs are kept: a database of its own, a store of metric points, and the documents of runs in memory.
final class TrackingStore: Sendable {
    let database: Database
    let points: PointStore
    let names = NameBook()
    let runs = RunBook()
    let documents = RunDocuments()
    let tokens: PageTokens
    let time: any TimeSource

    /// Bytes of pages that each connection keeps.
    private static let cacheBytes = 16 << 20
    private static let readers = 2

    /// Opens, or makes, the store in a folder.
    static func open(_ folder: String, time: any TimeSource) async throws -> TrackingStore {
        do {
            try Disk.makeFolders(folder)
            let database = try Database.sqlite(
                path: "\(folder)/tracking.db", readers: readers, cacheBytes: cacheBytes)
            try await database.migrate(
                TrackingTables.migrations + TraceTables.migrations + EvaluationTables.migrations)
            let settled = try await database.read { try $0.settledPoints() }
            let points = try PointStore("\(folder)/points", following: settled.map { .through($0) } ?? .segments)
            let key = try await database.write { try $0.secret(orMake: Self.randomKey()) }
            let store = TrackingStore(database, points, key: key, time: time)
            try await store.makeDefault()
            try await store.settle(isFirst: true)
            try await store.finishPurge()
            return store
        } catch let error as SQLError {
            throw Problem(
                "data.\(error.code.rawValue)", status: 500, "could not open the store of experiments in \"\(folder)\"",
                detail: "\(error.message).", hint: "Put a backup of it in its place, or move it away, then start again."
            )
        }
    }

    private init(_ database: Database, _ points: PointStore, key: [UInt8], time: any TimeSource) {
        (self.database, self.points, self.time) = (database, points, time)
        tokens = PageTokens(key: key)
    }

    private static func randomKey() -> [UInt8] {
        SymmetricKey(size: .bits256).withUnsafeBytes { Array($0) }
    }

    /// The experiment 0 that MLflow's clients log to when they name none.
    private func makeDefault() async throws {
        let now = milliseconds
        try await database.write { try $0.makeDefaultExperiment(at: now) }
    }

    var milliseconds: Int64 { time.now.microseconds / 1000 }

    /// Reads, all that was acknowledged before included; what the database tells becomes what clients understand.
    func read<T: Sendable>(_ body: @Sendable @escaping (Connection) throws -> T) async throws -> T {
        // What cannot be written now is shown as it was: a full disk keeps nobody from reading.
        do { try await settle() } catch let error as MLflowError where error.code == .unavailable {}
        return try await look(body)
    }

    /// Reads what has nothing to do with the values of metrics.
    func look<T: Sendable>(_ body: @Sendable @escaping (Connection) throws -> T) async throws -> T {
        do { return try await database.read(body) } catch let error as SQLError { throw Self.told(error) }
    }

    /// Writes in one transaction with whoever else writes now; returns when it is on the disk.
    func write<T: Sendable>(_ body: @Sendable @escaping (Connection) throws -> T) async throws -> T {
        do { return try await database.write(body) } catch let error as SQLError { throw Self.told(error) }
    }

    /// What of the database's errors clients can do something about.
    private static func told(_ error: SQLError) -> any Error {
        switch error.code {
        case .full: MLflowError(.unavailable, "The disk of the server is full; nothing was changed.", status: 507)
        case .wrongType where error.message.contains("NUL"):
            MLflowError.invalid("A text holds a NUL character, which cannot be kept.")
        default: error
        }
    }
}

/// The numbers of keys, made when a key is first used.
final class NameBook: Sendable {
    private let book = Mutex<[String: Int64]>([:])
    /// Names kept in memory; more are looked up each time.
    private static let limit = 100_000

    /// Numbers of names, in a transaction of its own: a number stays when what it was made for fails.
    func numbers(of names: Set<String>, in database: Database) async throws -> [String: Int64] {
        var numbers: [String: Int64] = [:]
        let missing = book.withLock { known in
            names.filter { name in
                guard let number = known[name] else { return true }
                numbers[name] = number
                return false
            }
        }
        guard !missing.isEmpty else { return numbers }
        let made = try await database.write { sql in
            var made: [String: Int64] = [:]
            for name in missing { made[name] = try sql.makeName(name) }
            return made
        }
        learn(made)
        return numbers.merging(made) { _, new in new }
    }

    /// The number of a name, if it is remembered.
    func number(of name: String) -> Int64? { book.withLock { $0[name] } }

    /// Remembers numbers that are on the disk: one that was rolled back may become another's.
    func learn(_ made: [String: Int64]) {
        book.withLock { known in
            if known.count + made.count > Self.limit { known.removeAll() }
            known.merge(made) { _, new in new }
        }
    }
}

extension Connection {
    func secret(orMake key: [UInt8]) throws -> [UInt8] {
        try run("INSERT INTO setting (key, value) VALUES ('token_key', \(key)) ON CONFLICT (key) DO NOTHING")
        return try value("SELECT value FROM setting WHERE key = 'token_key'") ?? key
    }

    func makeName(_ name: String) throws -> Int64 {
        try run("INSERT INTO name (text) VALUES (\(name)) ON CONFLICT (text) DO NOTHING")
        return try number(of: name)
    }

    /// The number of a name; 0, which none has, when nobody used it yet.
    func number(of name: String) throws -> Int64 {
        try value("SELECT id FROM name WHERE text = \(name)") ?? 0
    }
}
