import Foundation
import SQL
import Testing

@Suite struct DurabilityTests {
    @Test func `what was written is there after reopening`() async throws {
        try await withDatabasePath { path in
            let first = try Database.sqlite(path: path)
            try await first.write { try $0.run("CREATE TABLE item (name TEXT PRIMARY KEY, size INTEGER)") }
            try await first.insert("a")
            await first.close()
            let second = try Database.sqlite(path: path)
            #expect(try await second.names() == ["a"])
            await second.close()
        }
    }

    @Test func `commits reach the disk before write returns`() async throws {
        try await withDatabase { database in
            let settings = try await database.write { connection in
                [
                    try connection.value("SELECT * FROM pragma_synchronous", as: Int.self),
                    try connection.value("SELECT * FROM pragma_foreign_keys", as: Int.self),
                ]
            }
            #expect(settings == [2, 1], "synchronous is FULL (2), foreign keys are on")
            let mode = try await database.write { try $0.value("SELECT * FROM pragma_journal_mode", as: String.self) }
            #expect(mode == "wal")
        }
    }

    @Test func `a throwing commit hook is a death after that commit`() async throws {
        struct Killed: Error {}
        try await withDatabasePath { path in
            let database = try Database.sqlite(path: path) { if $0 == 3 { throw Killed() } }
            try await database.write { try $0.run("CREATE TABLE item (name TEXT PRIMARY KEY, size INTEGER)") }
            try await database.insert("second")
            #expect(await code { try await database.insert("third") } == .closed)
            #expect(await code { try await database.insert("fourth") } == .closed)
            #expect(await code { _ = try await database.names() } == .closed)
            // The third was committed, though its caller never heard of it.
            let again = try Database.sqlite(path: path)
            #expect(try await again.names() == ["second", "third"])
            await again.close()
            await database.close()
        }
    }

    @Test func `closing ends what waits and refuses what comes later`() async throws {
        try await withDatabase { database in
            var outcomes = 0
            try await database.holdingWriter(2) { group in
                for name in ["a", "b"] { group.addTask { try await database.insert(name) } }
            } collect: { (group: inout ThrowingTaskGroup<Void, any Error>) in
                await database.close()
                while let result = await group.nextResult() { if case .success = result { outcomes += 1 } }
            }
            #expect(outcomes == 2)
            #expect(await code { try await database.insert("c") } == .closed)
            #expect(await code { _ = try await database.names() } == .closed)
            await database.close()
        }
    }

    @Test func `a reader keeps its snapshot while others write`() async throws {
        try await withDatabase { database in
            let gate = Gate()
            try await database.insert("a")
            async let seen = database.read { connection in
                let before = try connection.value("SELECT count(*) FROM item", as: Int.self)
                gate.pass()
                return [before, try connection.value("SELECT count(*) FROM item", as: Int.self)]
            }
            await gate.reached()
            try await database.insert("b")
            #expect(try await database.names() == ["a", "b"])
            gate.open()
            #expect(try await seen == [1, 1])
        }
    }

    @Test func `a backup taken while writing is a sound database`() async throws {
        try await withDatabase { database in
            for number in 0..<50 { try await database.insert("n\(number)") }
            try await withDatabasePath { copyPath in
                async let more: Void = database.insert("during")
                try await database.backup(to: copyPath)
                try await more
                try await database.backup(to: copyPath)
                let copy = try Database.sqlite(path: copyPath)
                #expect(try await copy.names().count == 51)
                #expect(try await copy.integrityCheck() == [])
                await copy.close()
                #expect(!FileManager.default.fileExists(atPath: copyPath + ".partial"))
            }
        }
    }

    @Test func `a checkpoint empties the log`() async throws {
        try await withDatabasePath { path in
            let database = try Database.sqlite(path: path)
            try await database.write { try $0.run("CREATE TABLE item (name TEXT PRIMARY KEY, size INTEGER)") }
            for number in 0..<20 { try await database.insert("n\(number)") }
            func logBytes() throws -> Int? {
                try FileManager.default.attributesOfItem(atPath: path + "-wal")[.size] as? Int
            }
            #expect(try logBytes() ?? 0 > 0)
            try await database.checkpoint()
            #expect(try logBytes() == 0)
            #expect(try await database.names().count == 20)
            await database.close()
        }
    }
}
