import SQL
import Testing

@Suite struct StatementTests {
    @Test func `a value is bound and never becomes SQL`() async throws {
        try await withDatabase { database in
            let evil = "it's; DROP TABLE item; --"
            try await database.insert(evil)
            #expect(try await database.names() == [evil])
            let statement: Statement = "SELECT \(evil) WHERE \(1) = 1"
            #expect(statement.pieces == ["SELECT ", " WHERE ", " = 1"])
            #expect(statement.values == [.text(evil), .integer(1)])
        }
    }

    @Test(arguments: [
        (["a", "c"], ["a", "c"], ["b"]), ([], [], ["a", "b", "c"]), (["b"], ["b"], ["a", "c"]),
    ])
    func `a list works with IN and NOT IN, empty too`(list: [String], inside: [String], outside: [String]) async throws
    {
        try await withDatabase { database in
            for name in ["a", "b", "c"] { try await database.insert(name) }
            let found = try await database.read { connection in
                try [
                    "SELECT name FROM item WHERE name IN \(list: list) ORDER BY name",
                    "SELECT name FROM item WHERE name NOT IN \(list: list) ORDER BY name",
                ].map { try connection.rows($0).map { try $0.get(0, as: String.self) } }
            }
            #expect(found == [inside, outside])
        }
    }

    @Test func `fragments keep their values when they are put together`() async throws {
        try await withDatabase { database in
            for size in 1...9 { try await database.insert("n\(size)", size: size) }
            let conditions: [Statement] = ["size > \(2)", "size < \(8)", "name <> \("n5")"]
            let filter = conditions.joined(separator: " AND ")
            let query: Statement = "SELECT size FROM item WHERE \(filter)" + " ORDER BY size LIMIT \(3)"
            let sizes = try await database.read { try $0.rows(query).map { try $0.get("size", as: Int.self) } }
            #expect(sizes == [3, 4, 6])
            #expect(([] as [Statement]).joined(separator: " OR ").isEmpty)
        }
    }

    @Test func `raw text is spliced as SQL`() async throws {
        let columns: StaticString = "name, size"
        let statement: Statement = "SELECT \(raw: columns) FROM item"
        #expect(statement.pieces == ["SELECT name, size FROM item"])
    }
}

/// An enum kept by its raw value.
private enum Colour: String, SQLBindable, SQLReadable { case red, green }

@Suite struct ValueTests {
    private func stored<Value: SQLBindable & SQLReadable & Sendable>(_ value: Value) async throws -> Value? {
        var back: Value?
        try await withDatabasePath { path in
            let database = try Database.sqlite(path: path, readers: 1)
            try await database.write { connection in
                try connection.run("CREATE TABLE v (x)")
                try connection.run("INSERT INTO v VALUES (\(value))")
            }
            back = try await database.read { try $0.value("SELECT x FROM v", as: Value.self) }
            await database.close()
        }
        return back
    }

    @Test func `each type of value comes back as it went in`() async throws {
        #expect(try await stored(Int.min) == Int.min)
        #expect(try await stored(Int64.max) == Int64.max)
        #expect(try await stored(0.1) == 0.1)
        #expect(try await stored(true) == true)
        #expect(try await stored(false) == false)
        #expect(try await stored("Grüße 🦊") == "Grüße 🦊")
        #expect(try await stored("") == "")
        #expect(try await stored([0, 255, 7] as [UInt8]) == [0, 255, 7])
        #expect(try await stored([] as [UInt8]) == [])
        #expect(try await stored(Colour.green) == .green)
        #expect(try await stored("text" as String?) == "text")
        #expect(try await stored(nil as String?) == .some(nil))
    }

    @Test func `NULL needs an Optional, and a type must fit`() async throws {
        try await withDatabase { database in
            let row = try #require(
                try await database.read { try $0.row("SELECT NULL AS gone, 7 AS seven, 'red' AS colour, 2 AS two") })
            #expect(try row.get("gone", as: String?.self) == nil)
            #expect(try row.get("seven", as: Int?.self) == 7)
            #expect(try row.get("seven", as: Double.self) == 7)
            #expect(try row.get("colour", as: Colour.self) == .red)
            #expect(row.columnNames == ["gone", "seven", "colour", "two"])
            #expect(await code { _ = try row.get("gone", as: String.self) } == .wrongType)
            #expect(await code { _ = try row.get("colour", as: Int.self) } == .wrongType)
            #expect(await code { _ = try row.get("two", as: Bool.self) } == .wrongType)
            #expect(await code { _ = try row.get("other", as: Int.self) } == .noSuchColumn)
            #expect(await code { _ = try row.get(4, as: Int.self) } == .noSuchColumn)
        }
    }

    @Test func `text with a NUL is refused rather than cut`() async throws {
        try await withDatabase { database in
            #expect(await code { try await database.insert("a\u{0}b") } == .wrongType)
            let names = try await database.names()
            #expect(names == [])
        }
    }
}

@Suite struct ConnectionTests {
    @Test func `run tells how many rows changed, also when none did`() async throws {
        try await withDatabase { database in
            for name in ["a", "b", "c"] { try await database.insert(name) }
            let changed = try await database.write { connection in
                [
                    try connection.run("UPDATE item SET size = 1"),
                    try connection.run("DELETE FROM item WHERE name = 'nobody'"),
                    try connection.run("CREATE TABLE other (x)"),
                    try connection.run("DELETE FROM item WHERE name = 'a'"),
                ]
            }
            #expect(changed == [3, 0, 0, 1])
        }
    }

    @Test func `the same query can run inside itself`() async throws {
        try await withDatabase { database in
            for name in ["a", "b", "c"] { try await database.insert(name) }
            let pairs = try await database.read { connection in
                var pairs: [String] = []
                try connection.each("SELECT name FROM item ORDER BY name") { outer in
                    try connection.each("SELECT name FROM item ORDER BY name") { inner in
                        pairs.append(try outer.get(0, as: String.self) + inner.get(0, as: String.self))
                    }
                }
                return pairs
            }
            #expect(pairs == ["aa", "ab", "ac", "ba", "bb", "bc", "ca", "cb", "cc"])
        }
    }

    @Test func `a body that throws while it reads row by row passes its error on`() async throws {
        struct Enough: Error {}
        try await withDatabase { database in
            for name in ["a", "b"] { try await database.insert(name) }
            await #expect(throws: Enough.self) {
                try await database.read { try $0.each("SELECT name FROM item") { _ in throw Enough() } }
            }
            #expect(try await database.names() == ["a", "b"])
        }
    }

    @Test(arguments: ["COMMIT", "  rollback", ";BEGIN", "PRAGMA synchronous = OFF", "ATTACH 'x' AS y", "SAVEPOINT a"])
    func `a body cannot leave its transaction`(sql: String) async throws {
        try await withDatabase { database in
            #expect(await code { try await database.write { try $0.run(Statement(stringLiteral: sql)) } } == .other)
            #expect(await code { _ = try await database.read { try $0.rows(Statement(stringLiteral: sql)) } } == .other)
            try await database.insert("still works")
        }
    }

    @Test func `prepared statements follow a change of the schema`() async throws {
        try await withDatabase { database in
            try await database.insert("a", size: 3)
            // Many at once, so that every reader has prepared it before.
            func read() async throws -> [Row] {
                try await withThrowingTaskGroup(of: Row?.self) { group in
                    for _ in 0..<100 {
                        group.addTask { try await database.read { try $0.row("SELECT * FROM item") } }
                    }
                    return try await group.reduce(into: []) { rows, row in if let row { rows.append(row) } }
                }
            }
            let before = try await read()
            try await database.write { try $0.run("ALTER TABLE item ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'") }
            let after = try await read()
            #expect(before.map(\.columnNames) == Array(repeating: ["name", "size"], count: 100))
            #expect(after.map(\.columnNames) == Array(repeating: ["name", "size", "colour"], count: 100))
            #expect(try after.map { try $0.get("colour", as: String.self) } == Array(repeating: "red", count: 100))
        }
    }
}
