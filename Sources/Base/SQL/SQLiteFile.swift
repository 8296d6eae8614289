import Foundation
import GRDB

/// Opening, copying and removing database files.
enum SQLiteFile {
    /// Opens, or makes, a file for the writer.
    static func openForWriting(_ path: String, maximumBytes: Int?, cacheBytes: Int?) throws -> DatabaseQueue {
        var configuration = shared
        configuration.journalMode = .wal
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        try queue.writeWithoutTransaction { db in
            // GRDB turns `synchronous` down to NORMAL while it opens, whatever was prepared: FULL must be set after.
            try db.execute(sql: "PRAGMA synchronous = FULL")
            // Else each savepoint that changes more than sixteen pages makes a file and removes it again.
            try db.execute(sql: "PRAGMA temp_store = MEMORY")
            try db.execute(sql: "PRAGMA journal_size_limit = \(Database.Limits.logBytes)")
            if let cacheBytes { try db.execute(sql: "PRAGMA cache_size = -\(cacheBytes >> 10)") }
            if let maximumBytes {
                let pageBytes = try Int.fetchOne(db, sql: "PRAGMA page_size") ?? 4096
                try db.execute(sql: "PRAGMA max_page_count = \(max(1, maximumBytes / pageBytes))")
            }
        }
        return queue
    }

    /// Opens a file that a writer has open.
    static func openForReading(_ path: String, cacheBytes: Int?) throws -> DatabaseQueue {
        var configuration = shared
        configuration.readonly = true
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        if let cacheBytes {
            try queue.writeWithoutTransaction { try $0.execute(sql: "PRAGMA cache_size = -\(cacheBytes >> 10)") }
        }
        return queue
    }

    /// Copies the snapshot that `source` sees into a new file, complete on the disk when this returns.
    static func copy(_ source: GRDB.Database, to path: String) throws {
        let copy = try DatabaseQueue(path: path, configuration: shared)
        try copy.writeWithoutTransaction { try source.backup(to: $0) }
        try copy.close()
        let handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        try handle.synchronize()
        try handle.close()
    }

    /// Gives a finished file its name, in place of an older one.
    static func publish(_ partial: String, as path: String) throws {
        guard rename(partial, path) == 0 else {
            throw SQLError(.cannotOpen, String(cString: strerror(errno)))
        }
    }

    /// Removes a file and what SQLite keeps beside it; a missing one is fine.
    static func remove(_ path: String) throws {
        for name in [path, path + "-journal", path + "-wal", path + "-shm"] {
            guard unlink(name) != 0, errno != ENOENT else { continue }
            throw SQLError(.cannotOpen, "could not remove \"\(name)\": \(String(cString: strerror(errno)))")
        }
    }

    private static var shared: Configuration {
        var configuration = Configuration()
        configuration.foreignKeysEnabled = true
        configuration.busyMode = .timeout(TimeInterval(Database.Limits.busySeconds))
        // Frames of bodies are written by hand, and stay within one access.
        configuration.allowsUnsafeTransactions = true
        return configuration
    }
}
