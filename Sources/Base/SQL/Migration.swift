/// One step in the life of the schema.
///
/// Once shipped it never changes: what comes next is a new migration.
package struct Migration: Sendable {
    /// Unique for ever: `pipelines-1-runs`.
    package let id: String
    package let statements: [Statement]

    package init(id: String, statements: [Statement]) { (self.id, self.statements) = (id, statements) }

    /// Sixteen hexadecimal digits that change with any character of the statements.
    ///
    /// FNV-1a, 64 bit (Fowler, Noll, Vo; RFC 9923): guards against slips, not against malice.
    var checksum: String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for statement in statements {
            let text = statement.text { "?\($0)" } + "\u{0}\(statement.values)\u{0}"
            for byte in text.utf8 {
                hash ^= UInt64(byte)
                hash &*= 0x100_0000_01b3
            }
        }
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

extension Database {
    /// Brings the schema up to date: applies, in order and in one transaction, what the table `migration` does not
    /// list.
    ///
    /// Migrations that the table lists and the program does not know are left alone.
    ///
    /// - Throws: `migrationChanged` when an applied migration has another text now; nothing is applied then.
    package func migrate(_ migrations: [Migration]) async throws {
        try await write { connection in
            try connection.run(
                """
                CREATE TABLE IF NOT EXISTS migration (
                    id TEXT PRIMARY KEY, checksum TEXT NOT NULL, position INTEGER NOT NULL)
                """)
            var applied: [String: String] = [:]
            try connection.each("SELECT id, checksum FROM migration") { applied[try $0.get(0)] = try $0.get(1) }
            var seen = Set<String>()
            for migration in migrations {
                guard seen.insert(migration.id).inserted else {
                    throw SQLError(.migrationChanged, "two migrations are named \"\(migration.id)\"")
                }
                try connection.apply(migration, appliedChecksum: applied[migration.id])
            }
        }
    }
}

extension Connection {
    fileprivate func apply(_ migration: Migration, appliedChecksum: String?) throws {
        let checksum = migration.checksum
        if let appliedChecksum {
            guard appliedChecksum == checksum else {
                throw SQLError(
                    .migrationChanged,
                    "migration \"\(migration.id)\" was applied with another text (\(appliedChecksum), now \(checksum))")
            }
            return
        }
        for statement in migration.statements {
            do throws(SQLError) { try run(statement) } catch {
                throw SQLError(error.code, "migration \"\(migration.id)\": \(error.message)")
            }
        }
        try run(
            """
            INSERT INTO migration (id, checksum, position)
            VALUES (\(migration.id), \(checksum), (SELECT count(*) + 1 FROM migration))
            """)
    }
}
