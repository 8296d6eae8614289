package import API
package import Logging
package import SQL

/// Sees each event of some names, in order, at least once; its cursor is saved with its effect.
package protocol Follower: Sendable {
    static var name: String { get }
    /// Names of the events that it heeds.
    static var events: Set<String> { get }
    /// Whether an event of such a name concerns it: most that do not are passed over without a transaction.
    func minds(_ event: Event, in sql: Connection) throws -> Bool
    /// Heeds one event, inside the transaction that moves the cursor: both are kept, or neither.
    func heed(_ event: Event, in change: Change) throws
}

extension Follower {
    package func minds(_ event: Event, in sql: Connection) throws -> Bool { true }
}

package struct FollowLoop<F: Follower>: RunnableLoop {
    private let follower: F
    private let store: Store
    private let logger: Logger
    /// Events read in one transaction.
    private static var batch: Int { 200 }
    /// Events of other names that may be passed over before that is written down: so many are read again after a restart.
    private static var unsaved: Int64 { 5_000 }

    package init(_ follower: F, store: Store, logger: Logger) {
        (self.follower, self.store, self.logger) = (follower, store, logger)
    }

    package var loopName: String { F.name }

    package func run() async throws {
        let bell = store.bells.listen(to: F.events)
        defer { store.bells.remove(bell) }
        var passed: Int64 = 0
        while true {
            try Task.checkCancellation()
            do {
                var mayBeMore = true
                while mayBeMore {
                    let isNews: Bool
                    (passed, isNews) = try await pass(from: passed)
                    mayBeMore = isNews ? try await step(after: passed) : false
                }
                try await bell.wait(until: store.time.now.advanced(by: .seconds(60)), by: store.time)
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                logger.error("could not follow events", metadata: ["follower": "\(F.name)", "error": "\(error)"])
                try await store.time.sleep(for: .seconds(1))
            }
        }
    }

    /// Passes over events that do not concern it, without writing: the last one before the first that does, and whether
    /// there is something to write.
    private func pass(from passed: Int64) async throws -> (Int64, isNews: Bool) {
        let follower = follower
        return try await store.read { sql in
            let cursor = try Self.cursor(in: sql)
            var from = max(passed, cursor)
            while true {
                let events = try EventLog.list(named: F.events.sorted(), after: from, limit: Self.batch, in: sql)
                if let first = try events.first(where: { try follower.minds($0, in: sql) }) {
                    return (first.sequence - 1, true)
                }
                from = max(
                    from, try events.count < Self.batch ? EventLog.newest(in: sql) : events[events.count - 1].sequence)
                if events.count < Self.batch { return (from, from - cursor >= Self.unsaved) }
            }
        }
    }

    /// Heeds what comes after those that were passed over; true when there may be more.
    private func step(after passed: Int64) async throws -> Bool {
        let follower = follower
        return try await store.change(.system("follower:\(F.name)")) { change in
            let cursor = try Self.cursor(in: change.sql)
            var query = EventQuery()
            query.after = max(cursor, passed)
            query.limit = Self.batch
            let events = try EventLog.list(query, in: change.sql)
            for event in events where F.events.contains(event.name) {
                if try follower.minds(event, in: change.sql) { try follower.heed(event, in: change) }
            }
            try change.sql.run(
                """
                INSERT INTO follower (name, sequence) VALUES (\(F.name), \(events.last?.sequence ?? max(cursor, passed)))
                ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence
                """)
            return events.count == Self.batch
        }
    }

    private static func cursor(in sql: Connection) throws -> Int64 {
        try sql.value("SELECT sequence FROM follower WHERE name = \(F.name)") ?? 0
    }
}
