import GRDB

extension SQLError {
    /// Translates what the engine threw.
    init(engine error: any Error, sql: String? = nil, path: String? = nil) {
        if let error = error as? SQLError {
            self = error
            return
        }
        guard let error = error as? DatabaseError else {
            self.init(.other, "\(error)")
            return
        }
        let code = Code(error)
        var message = error.message ?? "SQLite error \(error.extendedResultCode.rawValue)"
        switch code {
        case .notADatabase: message = "the file is not a SQLite database"
        case .corrupt: message = "the database file is damaged (\(message))"
        case .full: message = "could not write: the disk or the database is full (\(message))"
        case .busy: message = "another process holds the database (\(message))"
        default: break
        }
        if let path { message = "could not open \"\(path)\": \(message)" }
        if let sql, code == .other || code == .readOnly { message += " in: \(sql.prefix(Self.quotedSQL))" }
        self.init(code, message)
    }

    /// Characters of the statement that an error quotes.
    private static let quotedSQL = 400
}

extension SQLError.Code {
    /// Result codes: https://www.sqlite.org/rescode.html.
    fileprivate init(_ error: DatabaseError) {
        switch error.extendedResultCode {
        case .SQLITE_CONSTRAINT_UNIQUE, .SQLITE_CONSTRAINT_PRIMARYKEY, .SQLITE_CONSTRAINT_ROWID: self = .uniqueViolation
        case .SQLITE_CONSTRAINT_FOREIGNKEY: self = .foreignKeyViolation
        case .SQLITE_IOERR_READ, .SQLITE_IOERR_SHORT_READ: self = .corrupt
        default:
            switch error.resultCode {
            case .SQLITE_CONSTRAINT: self = .constraintViolation
            case .SQLITE_BUSY, .SQLITE_LOCKED: self = .busy
            case .SQLITE_CORRUPT: self = .corrupt
            case .SQLITE_NOTADB: self = .notADatabase
            // Quotas and file size limits surface as I/O errors of writing.
            case .SQLITE_FULL, .SQLITE_IOERR: self = .full
            case .SQLITE_READONLY: self = .readOnly
            case .SQLITE_CANTOPEN, .SQLITE_PERM: self = .cannotOpen
            case .SQLITE_MISMATCH, .SQLITE_TOOBIG: self = .wrongType
            default: self = .other
            }
        }
    }
}
