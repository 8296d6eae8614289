import Foundation
import GRDB

/// One open connection while a body runs on it.
///
/// Never leaves its thread.
final class Session {
    let db: GRDB.Database
    /// Whether a body may have changed tables: what is prepared may then have other columns.
    private(set) var hasChangedSchema = false
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
        let sql = try checkedText(statement)
        let prepared: Prepared
        do { prepared = try cache.checkOut(sql, on: db) } catch { throw SQLError(engine: error, sql: sql) }
        var isSound = false
        defer { cache.checkIn(sql, isSound: isSound) }
        do {
            let columns = prepared.columns
            let cursor = try GRDB.Row.fetchCursor(prepared.statement, arguments: try arguments(statement))
            var left = limit
            while left > 0, let row = try cursor.next() {
                let values = columns.names.indices.map { SQLValue(row[$0] as DatabaseValue) }
                do { try body(Row(columns: columns, values: values)) } catch { throw BodyError(cause: error) }
                left -= 1
            }
            isSound = true
        } catch let error as BodyError {
            isSound = true
            throw error.cause
        } catch {
            throw SQLError(engine: error, sql: sql)
        }
    }

    func run(_ statement: Statement) throws(SQLError) -> Int {
        let sql = try checkedText(statement)
        do {
            let prepared = try cache.checkOut(sql, on: db)
            var isSound = false
            defer { cache.checkIn(sql, isSound: isSound) }
            let before = db.totalChangesCount
            try prepared.statement.execute(arguments: try arguments(statement))
            isSound = true
            // `changesCount` keeps the number of an earlier statement when this one changed nothing.
            return db.totalChangesCount == before ? 0 : db.changesCount
        } catch {
            throw SQLError(engine: error, sql: sql)
        }
    }

    /// Runs one of the statements that frame the bodies: BEGIN, SAVEPOINT, COMMIT.
    func control(_ sql: String) throws(SQLError) {
        do {
            let prepared = try cache.checkOut(sql, on: db)
            var isSound = false
            defer { cache.checkIn(sql, isSound: isSound) }
            try prepared.statement.execute()
            isSound = true
        } catch {
            throw SQLError(engine: error, sql: sql)
        }
    }

    private func checkedText(_ statement: Statement) throws(SQLError) -> String {
        let sql = statement.text { _ in "?" }
        switch FirstWord(sql) {
        case .frame:
            throw SQLError(.other, "a body cannot begin or end transactions, or change the connection: \(sql)")
        case .schema: hasChangedSchema = true
        case .other: break
        }
        return sql
    }

    private func arguments(_ statement: Statement) throws(SQLError) -> StatementArguments {
        var values: [DatabaseValue] = []
        values.reserveCapacity(statement.values.count)
        for value in statement.values { values.append(try DatabaseValue(value)) }
        return StatementArguments(values)
    }
}

/// What the first word of a statement does.
private enum FirstWord {
    /// Would break the transaction around the body.
    case frame
    /// Changes tables.
    case schema
    case other

    init(_ sql: String) {
        let word = sql.utf8.drop { $0 <= 0x20 || $0 == UInt8(ascii: ";") }.prefix(10).prefix {
            (0x61...0x7A).contains($0 | 0x20)
        }
        switch String(decoding: word, as: UTF8.self).lowercased() {
        case "begin", "commit", "end", "rollback", "savepoint", "release", "attach", "detach", "pragma", "vacuum":
            self = .frame
        case "create", "alter", "drop": self = .schema
        default: self = .other
        }
    }
}

/// Keeps what a caller's closure threw apart from what the engine threw.
private struct BodyError: Error { let cause: any Error }

/// A prepared statement and the columns of its result.
final class Prepared {
    let statement: GRDB.Statement
    lazy var columns = Columns(statement.columnNames)

    init(_ statement: GRDB.Statement) { self.statement = statement }
}

/// The prepared statements of one connection.
///
/// A statement in use is never handed out twice: a body that runs the same SQL inside `each` gets a second one.
final class StatementCache {
    private var statements: [String: Prepared] = [:]
    private var inUse: [String: Int] = [:]

    func checkOut(_ sql: String, on db: GRDB.Database) throws -> Prepared {
        inUse[sql, default: 0] += 1
        if inUse[sql] == 1, let statement = statements[sql] { return statement }
        do {
            let statement = Prepared(try db.makeStatement(sql: sql))
            if statements.count >= Database.Limits.cachedStatements { statements.removeAll() }
            if inUse[sql] == 1 { statements[sql] = statement }
            return statement
        } catch {
            checkIn(sql, isSound: false)
            throw error
        }
    }

    /// Takes a statement back.
    ///
    /// One that failed is forgotten: its next use would report the old failure again.
    func checkIn(_ sql: String, isSound: Bool) {
        if !isSound { statements[sql] = nil }
        guard let count = inUse[sql] else { return }
        inUse[sql] = count > 1 ? count - 1 : nil
    }

    /// Forgets all statements, whose columns a change of the schema may have changed.
    func removeAll() { statements.removeAll() }
}

extension DatabaseValue {
    fileprivate init(_ value: SQLValue) throws(SQLError) {
        switch value {
        case .null: self = .null
        case .integer(let number): self = number.databaseValue
        case .real(let number): self = number.databaseValue
        case .text(let text):
            // The engine takes text as a C string: what follows a NUL would be lost in silence.
            guard !text.utf8.contains(0) else {
                throw SQLError(.wrongType, "text that holds a NUL character cannot be stored")
            }
            self = text.databaseValue
        case .blob(let bytes): self = Data(bytes).databaseValue
        }
    }
}

extension SQLValue {
    fileprivate init(_ value: DatabaseValue) {
        switch value.storage {
        case .null: self = .null
        case .int64(let number): self = .integer(number)
        case .double(let number): self = .real(number)
        case .string(let text): self = .text(text)
        case .blob(let data): self = .blob([UInt8](data))
        }
    }
}
