package import API
package import Manifests
package import SQL

/// The one door to state.
package struct Store: Sendable {
    let database: Database
    package let bells: Bells
    package let time: any TimeSource

    package init(database: Database, time: any TimeSource, bells: Bells = Bells()) {
        self.database = database
        self.time = time
        self.bells = bells
    }

    /// Brings the schema up to date: the kernel's own tables first, then those of the domains.
    package func migrate(_ domains: [any Domain]) async throws {
        try await database.migrate(KernelTables.migrations + domains.flatMap(\.migrations))
    }

    /// A snapshot that no writer disturbs.
    package func read<T: Sendable>(_ body: @Sendable @escaping (Connection) throws -> T) async throws -> T {
        try await database.read(body)
    }

    /// One transaction: rows, events, and after the commit the bells. All, or nothing.
    package func change<T: Sendable>(_ call: Call, _ body: @Sendable @escaping (Change) throws -> T) async throws -> T {
        let now = time.now
        do {
            let (result, topics) = try await database.write { connection in
                let change = Change(call: call, now: now, sql: connection)
                let result = try body(change)
                return (result, change.topics)
            }
            bells.ring(topics)
            return result
        } catch let error as SQLError where error.code == .full {
            throw Problem(
                "data.full", status: 507, "the disk of the server's data folder is full",
                hint: "Nothing was changed. Free some space on it, then try again.")
        }
    }

    package func close() async { await database.close() }
}

/// A transaction under way. Not Sendable: it cannot outlive the closure it was given to.
package final class Change {
    package let call: Call
    /// The one moment of this transaction.
    package let now: Timestamp
    package let sql: Connection
    fileprivate(set) var topics: Set<String> = []
    /// The event that it wrote last.
    private var last: Event?

    init(call: Call, now: Timestamp, sql: Connection) {
        (self.call, self.now, self.sql) = (call, now, sql)
    }

    /// Writes an event into the log, in this transaction; after the commit its name, its subject's kind and its subject ring.
    @discardableResult
    package func tell(
        _ name: String, about subject: Subject, _ data: Ordered<JSONValue> = [:]
    ) throws -> Event {
        topics.insert(name)
        topics.insert(subject.kind)
        topics.insert("\(subject.kind)/\(subject.name)")
        let event = try EventLog.append(name, about: subject, data, call: call, at: now, after: last, in: sql)
        last = event
        return event
    }

    /// Rings a topic after the commit without an event: for state that changes often and means little by itself.
    package func ring(_ topic: String) { topics.insert(topic) }
}
