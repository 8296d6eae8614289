import GRDB
import GRDBSQLite

/// One open connection while a body runs on it.
///
/// Never leaves its thread.
final class Session {
    let db: GRDB.Database
    private let cache: StatementCache

    init(db: GRDB.Database, cache: StatementCache) { (self.db, self.cache) = (db, cache) }

    func rows(_ statement: Statement, limit: Int) throws(SQLError) -> [Row] {
        var rows: [Row] = []
        do {
            try each(statement, limit: limit) { rows.append($0) }
        } catch {
            throw SQLError(engine: error)
        }
        return rows
    }

    func each(_ statement: Statement, limit: Int = .max, _ body: (Row) throws -> Void) throws {
        let prepared = try checkOut(statement)
        var isSound = false
        defer { cache.checkIn(prepared, isSound: isSound) }
        do {
            try prepared.bind(statement.values)
            var left = limit
            var columns: Columns?
            while left > 0, try prepared.step() {
                let names = columns ?? prepared.columns
                columns = names
                let row = Row(columns: names, values: prepared.row)
                do { try body(row) } catch { throw BodyError(cause: error) }
                left -= 1
            }
            isSound = true
        } catch let error as BodyError {
            isSound = true
            throw error.cause
        } catch {
            throw SQLError(engine: error, sql: prepared.sql)
        }
    }

    func run(_ statement: Statement) throws(SQLError) -> Int {
        let prepared = try checkOut(statement)
        do {
            var isSound = false
            defer { cache.checkIn(prepared, isSound: isSound) }
            let before = db.totalChangesCount
            try prepared.bind(statement.values)
            while try prepared.step() {}
            isSound = true
            // `changesCount` keeps the number of an earlier statement when this one changed nothing.
            return db.totalChangesCount == before ? 0 : db.changesCount
        } catch {
            throw SQLError(engine: error, sql: prepared.sql)
        }
    }

    /// Runs one of the statements that frame the bodies: BEGIN, SAVEPOINT, COMMIT.
    func control(_ sql: String) throws(SQLError) {
        do {
            let prepared = try cache.checkOut(sql, on: db, mayFrame: true)
            var isSound = false
            defer { cache.checkIn(prepared, isSound: isSound) }
            // By the engine's own door: it keeps count of transactions.
            try prepared.statement.execute()
            isSound = true
        } catch {
            throw SQLError(engine: error, sql: sql)
        }
    }

    private func checkOut(_ statement: Statement) throws(SQLError) -> Prepared {
        let sql = statement.text { _ in "?" }
        do { return try cache.checkOut(sql, on: db) } catch { throw SQLError(engine: error, sql: sql) }
    }
}

/// Whether a statement would break the transaction around a body, by its first word.
private func isFrame(_ sql: String) -> Bool {
    let word = sql.utf8.drop { $0 <= 0x20 || $0 == UInt8(ascii: ";") }.prefix(10).prefix {
        (0x61...0x7A).contains($0 | 0x20)
    }
    let frames: Set = [
        "begin", "commit", "end", "rollback", "savepoint", "release", "attach", "detach", "pragma", "vacuum",
    ]
    return frames.contains(String(decoding: word, as: UTF8.self).lowercased())
}

/// Keeps what a caller's closure threw apart from what the engine threw.
private struct BodyError: Error { let cause: any Error }

/// A prepared statement and the columns of its result.
///
/// Its values go in and out by SQLite's own functions (https://www.sqlite.org/c3ref/): a run of pipelines reads and writes
/// thousands of rows a second.
final class Prepared {
    let sql: String
    let statement: GRDB.Statement
    let isFrame: Bool
    fileprivate var isInUse = true
    private let handle: OpaquePointer
    private var known = Columns([])
    /// How often SQLite had prepared it anew when its columns were looked at.
    private var preparations: Int32 = -1

    init(_ sql: String, isFrame: Bool, on db: GRDB.Database) throws {
        (self.sql, self.isFrame) = (sql, isFrame)
        statement = try db.makeStatement(sql: sql)
        handle = statement.sqliteStatement
    }

    /// The columns of the row that it stands at; where tables have changed, the first step has prepared it anew.
    var columns: Columns {
        let now = sqlite3_stmt_status(handle, SQLITE_STMTSTATUS_REPREPARE, 0)
        guard now != preparations else { return known }
        known = Columns(
            (0..<sqlite3_column_count(handle)).map { sqlite3_column_name(handle, $0).map { String(cString: $0) } ?? "" }
        )
        preparations = now
        return known
    }

    /// Gives the values to a statement that stands at its beginning.
    func bind(_ values: [SQLValue]) throws {
        guard sqlite3_bind_parameter_count(handle) == Int32(values.count) else {
            throw SQLError(.other, "a statement was given \(values.count) values, another number than it takes")
        }
        for (index, value) in values.enumerated() {
            let place = Int32(index + 1)
            let code =
                switch value {
                case .null: sqlite3_bind_null(handle, place)
                case .integer(let number): sqlite3_bind_int64(handle, place, number)
                case .real(let number): sqlite3_bind_double(handle, place, number)
                case .text(let text): try bind(text, at: place)
                case .blob(let bytes):
                    bytes.isEmpty
                        ? sqlite3_bind_zeroblob(handle, place, 0)
                        : bytes.withUnsafeBytes {
                            sqlite3_bind_blob64(handle, place, $0.baseAddress, UInt64($0.count), Self.isCopied)
                        }
                }
            guard code == SQLITE_OK else { throw failure(code) }
        }
    }

    private func bind(_ text: String, at place: Int32) throws -> Int32 {
        var text = text
        return try text.withUTF8 { bytes in
            // Readers that take text as a C string would lose in silence what follows a NUL.
            guard !bytes.contains(0) else {
                throw SQLError(.wrongType, "text that holds a NUL character cannot be stored")
            }
            return bytes.withMemoryRebound(to: CChar.self) {
                // An empty text may have no address, and would be NULL.
                $0.isEmpty
                    ? sqlite3_bind_text(handle, place, "", 0, Self.isCopied)
                    : sqlite3_bind_text(handle, place, $0.baseAddress, Int32($0.count), Self.isCopied)
            }
        }
    }

    /// Goes to the next row; false when there is none.
    func step() throws -> Bool {
        switch sqlite3_step(handle) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        case let code: throw failure(code)
        }
    }

    /// The values of the row that it stands at.
    var row: [SQLValue] {
        let count = sqlite3_data_count(handle)
        return [SQLValue](unsafeUninitializedCapacity: Int(count)) { buffer, filled in
            for column in 0..<count { buffer.initializeElement(at: Int(column), to: value(column)) }
            filled = Int(count)
        }
    }

    private func value(_ column: Int32) -> SQLValue {
        switch sqlite3_column_type(handle, column) {
        case SQLITE_INTEGER: return .integer(sqlite3_column_int64(handle, column))
        case SQLITE_FLOAT: return .real(sqlite3_column_double(handle, column))
        case SQLITE_TEXT:
            let start = sqlite3_column_text(handle, column)
            let bytes = UnsafeBufferPointer(start: start, count: Int(sqlite3_column_bytes(handle, column)))
            return .text(String(decoding: bytes, as: UTF8.self))
        case SQLITE_BLOB:
            let start = sqlite3_column_blob(handle, column)
            let bytes = UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(handle, column)))
            return .blob([UInt8](bytes))
        default: return .null
        }
    }

    fileprivate func rewind() {
        // What it reports is the failure of the last step, told already.
        sqlite3_reset(handle)
        sqlite3_clear_bindings(handle)
    }

    private func failure(_ code: Int32) -> DatabaseError {
        DatabaseError(
            resultCode: ResultCode(rawValue: sqlite3_extended_errcode(sqlite3_db_handle(handle))),
            message: String(cString: sqlite3_errmsg(sqlite3_db_handle(handle))), sql: sql)
    }

    /// SQLITE_TRANSIENT: the engine takes a copy.
    private static let isCopied = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
}

/// The prepared statements of one connection.
///
/// A statement in use is never handed out twice: a body that runs the same SQL inside `each` gets a second one.
final class StatementCache {
    private var statements: [String: Prepared] = [:]

    /// - Parameter mayFrame: Whether it may be one of those that frame bodies; no body may run them.
    func checkOut(_ sql: String, on db: GRDB.Database, mayFrame: Bool = false) throws -> Prepared {
        let known = statements[sql]
        let frames = known?.isFrame ?? isFrame(sql)
        guard !frames || mayFrame else {
            throw SQLError(.other, "a body cannot begin or end transactions, or change the connection: \(sql)")
        }
        if let known, !known.isInUse {
            known.isInUse = true
            return known
        }
        let statement = try Prepared(sql, isFrame: frames, on: db)
        if statements.count >= Database.Limits.cachedStatements { statements.removeAll() }
        if statements[sql] == nil { statements[sql] = statement }
        return statement
    }

    /// Takes a statement back.
    ///
    /// One that failed is forgotten: its next use would report the old failure again.
    func checkIn(_ statement: Prepared, isSound: Bool) {
        statement.rewind()
        statement.isInUse = false
        if !isSound, statements[statement.sql] === statement { statements[statement.sql] = nil }
    }

    func removeAll() { statements.removeAll() }
}
