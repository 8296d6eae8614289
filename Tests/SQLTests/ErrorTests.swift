import Foundation
import SQL
import Testing

@Suite struct ErrorTests {
    @Test(arguments: [
        ("INSERT INTO item VALUES ('a', 1)", SQLError.Code.uniqueViolation),
        ("INSERT INTO tag VALUES ('red', 'nobody')", .foreignKeyViolation),
        ("DELETE FROM item WHERE name = 'a'", .foreignKeyViolation),
        ("INSERT INTO item VALUES ('b', NULL)", .constraintViolation),
        ("INSERT INTO nowhere VALUES (1)", .other),
        ("SELEC 1", .other),
        ("INSERT INTO item VALUES ('x', 1); DELETE FROM item", .other),
        ("SELECT \"no_such_name\" FROM item", .other),
    ])
    func `a failing statement has its code`(sql: String, expected: SQLError.Code) async throws {
        try await withDatabase { database in
            try await database.write { connection in
                try connection.run("CREATE TABLE tag (name TEXT UNIQUE, item TEXT NOT NULL REFERENCES item(name))")
                try connection.run("INSERT INTO item VALUES ('a', 0)")
                try connection.run("INSERT INTO tag VALUES ('blue', 'a')")
            }
            #expect(await code { try await database.write { try $0.run(Statement(stringLiteral: sql)) } } == expected)
            #expect(try await database.names() == ["a"])
        }
    }

    @Test func `a statement that failed once works the next time`() async throws {
        try await withDatabase { database in
            try await database.insert("a")
            #expect(await code { try await database.insert("a") } == .uniqueViolation)
            try await database.insert("b")
            let both = try await database.write { connection in
                for name in ["a", "c"] {
                    do { try connection.run("INSERT INTO item VALUES (\(name), 1)") } catch {
                        #expect((error as? SQLError)?.code == .uniqueViolation)
                    }
                }
                return try connection.rows("SELECT name FROM item ORDER BY name").map { try $0.get(0, as: String.self) }
            }
            #expect(both == ["a", "b", "c"])
        }
    }

    @Test func `a read cannot write`() async throws {
        try await withDatabase { database in
            #expect(
                await code { try await database.read { try $0.run("INSERT INTO item VALUES ('a', 1)") } } == .readOnly)
        }
    }

    @Test func `a full database says so and goes on`() async throws {
        try await withDatabasePath { path in
            let database = try Database.sqlite(path: path, maximumBytes: 256 << 10)
            try await database.write { try $0.run("CREATE TABLE item (name TEXT PRIMARY KEY, size INTEGER)") }
            try await database.insert("before")
            let name = String(repeating: "x", count: 1 << 20)
            #expect(await code { try await database.insert(name) } == .full)
            try await database.insert("after")
            #expect(try await database.names() == ["after", "before"])
            await database.close()
        }
    }

    @Test func `a body that swallows a full disk still hears of it`() async throws {
        try await withDatabasePath { path in
            let database = try Database.sqlite(path: path, maximumBytes: 256 << 10)
            try await database.write { try $0.run("CREATE TABLE item (name TEXT PRIMARY KEY, size INTEGER)") }
            let name = String(repeating: "x", count: 1 << 20)
            let swallowing = await code {
                try await database.write { connection in
                    try connection.run("INSERT INTO item VALUES ('first', 1)")
                    do { try connection.run("INSERT INTO item VALUES (\(name), 1)") } catch {}
                }
            }
            // Either the engine kept the rest of the body, or the body must not believe that it did.
            let names = try await database.names()
            #expect(swallowing == nil ? names == ["first"] : names == [])
            await database.close()
        }
    }

    @Test func `a file that is no database is refused when it is opened`() async throws {
        try await withDatabasePath { path in
            try Data(String(repeating: "these are only words, ", count: 400).utf8).write(to: URL(fileURLWithPath: path))
            let error = #expect(throws: SQLError.self) { _ = try Database.sqlite(path: path) }
            #expect(error?.code == .notADatabase)
            #expect(error?.message == "could not open \"\(path)\": the file is not a SQLite database")
        }
    }

    @Test func `a missing folder is named`() async throws {
        try await withDatabasePath { path in
            let lost = path + "/nowhere/x.db"
            #expect(await code { _ = try Database.sqlite(path: lost) } == .cannotOpen)
        }
    }

    @Test func `damage inside a file is found`() async throws {
        try await withDatabasePath { path in
            let first = try Database.sqlite(path: path)
            try await first.write { connection in
                try connection.run("CREATE TABLE item (name TEXT PRIMARY KEY, size INTEGER)")
                for number in 0..<2000 { try connection.run("INSERT INTO item VALUES (\("name \(number)"), 1)") }
            }
            #expect(try await first.integrityCheck() == [])
            await first.close()
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
            try file.seek(toOffset: 8192)
            try file.write(contentsOf: [UInt8](repeating: 0xAB, count: 16384))
            try file.close()
            let second = try Database.sqlite(path: path)
            #expect(try await !second.integrityCheck().isEmpty)
            #expect(await code { _ = try await second.names() } == .corrupt)
            await second.close()
        }
    }
}

@Suite struct MigrationTests {
    private let first = Migration(id: "1", statements: ["CREATE TABLE a (x INTEGER)", "INSERT INTO a VALUES (\(1))"])
    private let second = Migration(id: "2", statements: ["ALTER TABLE a ADD COLUMN y TEXT"])

    @Test func `migrations run once, in order`() async throws {
        try await withDatabase { database in
            try await database.migrate([first])
            try await database.migrate([first, second])
            try await database.migrate([first, second])
            let seen = try await database.read { connection in
                (
                    try connection.rows("SELECT id FROM migration ORDER BY position").map {
                        try $0.get(0, as: String.self)
                    },
                    try connection.value("SELECT count(*) FROM a WHERE y IS NULL", as: Int.self)
                )
            }
            #expect(seen.0 == ["1", "2"])
            #expect(seen.1 == 1)
        }
    }

    @Test(arguments: [
        Migration(id: "1", statements: ["CREATE TABLE a (x TEXT)", "INSERT INTO a VALUES (\(1))"]),
        Migration(id: "1", statements: ["CREATE TABLE a (x INTEGER)", "INSERT INTO a VALUES (\(2))"]),
        Migration(id: "1", statements: ["CREATE TABLE a (x INTEGER)"]),
    ])
    func `a changed migration is an error`(changed: Migration) async throws {
        try await withDatabase { database in
            try await database.migrate([first])
            #expect(await code { try await database.migrate([changed, second]) } == .migrationChanged)
            let applied = try await database.read { try $0.value("SELECT count(*) FROM migration", as: Int.self) }
            #expect(applied == 1)
        }
    }

    @Test func `a failing migration leaves nothing behind`() async throws {
        try await withDatabase { database in
            let broken = Migration(id: "3", statements: ["CREATE TABLE b (x INTEGER)", "CREATE TABLE b (x INTEGER)"])
            #expect(await code { try await database.migrate([first, broken]) } == .other)
            let tables = try await database.read {
                try $0.rows("SELECT name FROM sqlite_master WHERE type = 'table'").map {
                    try $0.get(0, as: String.self)
                }
            }
            #expect(tables == ["item"])
            #expect(await code { try await database.migrate([first, first]) } == .migrationChanged)
        }
    }
}
