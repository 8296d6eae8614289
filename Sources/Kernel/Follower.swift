package import API
package import Logging
import SQL

/// Sees each event, in order, at least once; its cursor is saved with its effect.
package protocol Follower: Sendable {
    static var name: String { get }
    static var topics: Set<String> { get }
    /// Heeds one event, inside the transaction that moves the cursor: both are kept, or neither.
    func heed(_ event: Event, in change: Change) throws
}

package struct FollowLoop<F: Follower>: RunnableLoop {
    private let follower: F
    private let store: Store
    private let logger: Logger
    /// Events read in one transaction.
    private static var batch: Int { 200 }

    package init(_ follower: F, store: Store, logger: Logger) {
        (self.follower, self.store, self.logger) = (follower, store, logger)
    }

    package var loopName: String { F.name }

    package func run() async throws {
        let bell = store.bells.listen(to: F.topics)
        defer { store.bells.remove(bell) }
        while true {
            try Task.checkCancellation()
            do {
                while try await step() {}
                try await bell.wait(until: store.time.now.advanced(by: .seconds(60)), by: store.time)
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                logger.error("could not follow events", metadata: ["follower": "\(F.name)", "error": "\(error)"])
                try await store.time.sleep(for: .seconds(1))
            }
        }
    }

    /// True when there may be more.
    private func step() async throws -> Bool {
        let follower = follower
        return try await store.change(.system("follower:\(F.name)")) { change in
            let cursor: Int64 = try change.sql.value("SELECT sequence FROM follower WHERE name = \(F.name)") ?? 0
            var query = EventQuery()
            query.after = cursor
            query.limit = Self.batch
            let events = try EventLog.list(query, in: change.sql)
            guard let last = events.last else { return false }
            for event in events where F.topics.contains(event.subject.kind) { try follower.heed(event, in: change) }
            try change.sql.run(
                """
                INSERT INTO follower (name, sequence) VALUES (\(F.name), \(last.sequence))
                ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence
                """)
            return events.count == Self.batch
        }
    }
}
