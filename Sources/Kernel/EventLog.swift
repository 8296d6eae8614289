package import API
import Crypto
import Manifests
package import SQL

/// The spine: what happened, append-only, each event bound to the one before by its hash.
package enum EventLog {
    /// - Parameter last: The newest event, when this transaction has written it itself.
    static func append(
        _ name: String, about subject: Subject, _ data: Ordered<JSONValue>, call: Call, at now: Timestamp,
        after last: Event?, in sql: Connection
    ) throws -> Event {
        var event = Event()
        if let last {
            (event.sequence, event.previous_hash) = (last.sequence + 1, last.hash)
        } else {
            let row = try sql.row("SELECT sequence, hash FROM event ORDER BY sequence DESC LIMIT 1")
            event.sequence = (try row?.get(0, as: Int64.self) ?? 0) + 1
            event.previous_hash = try row?.get(1, as: String.self) ?? ""
        }
        event.at = now
        event.name = name
        event.subject = subject
        event.actor = call.actor
        event.correlation = call.correlation
        event.data = data
        let text = event.data.json.text
        event.hash = hash(event, data: text)
        try sql.run(
            """
            INSERT INTO event (sequence, at, name, kind, project, subject, actor, correlation, data, previous_hash, hash)
            VALUES (\(event.sequence), \(event.at.microseconds), \(name), \(subject.kind), \(subject.project),
                    \(subject.name), \(event.actor), \(event.correlation), \(text), \(event.previous_hash), \(event.hash))
            """)
        return event
    }

    /// SHA-256 over the fields, each with its length before it, so that no two events have the same text.
    static func hash(_ event: Event, data: String) -> String {
        var hasher = SHA256()
        let parts = [
            event.previous_hash, String(event.sequence), String(event.at.microseconds), event.name, event.subject.kind,
            event.subject.project, event.subject.name, event.actor, event.correlation, data,
        ]
        for part in parts { hasher.update(data: Array("\(part.utf8.count):\(part);".utf8)) }
        let digits = Array("0123456789abcdef".utf8)
        return String(
            decoding: hasher.finalize().flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    static func event(_ row: Row) throws -> Event {
        var event = Event()
        event.sequence = try row.get("sequence")
        event.at = Timestamp(microseconds: try row.get("at"))
        event.name = try row.get("name")
        event.subject = Subject(
            kind: try row.get("kind"), project: try row.get("project"), name: try row.get("subject"))
        event.actor = try row.get("actor")
        event.correlation = try row.get("correlation")
        event.data = try JSONParser.parse(try row.get("data", as: String.self)).object ?? [:]
        event.previous_hash = try row.get("previous_hash")
        event.hash = try row.get("hash")
        return event
    }

    /// Events that fit `query`: newest first, or, with `after`, oldest first.
    package static func list(_ query: EventQuery, in sql: Connection) throws -> [Event] {
        var conditions: [Statement] = ["1 = 1"]
        if let name = query.name {
            if name.hasSuffix("*") {
                let prefix = String(name.dropLast())
                conditions.append("substr(name, 1, \(prefix.count)) = \(prefix)")
            } else {
                conditions.append("name = \(name)")
            }
        }
        if let kind = query.kind { conditions.append("kind = \(kind)") }
        if let subject = query.subject { conditions.append("subject = \(subject)") }
        if let project = query.project { conditions.append("project = \(project)") }
        if let actor = query.actor { conditions.append("actor = \(actor)") }
        if let correlation = query.correlation { conditions.append("correlation = \(correlation)") }
        if let before = query.before { conditions.append("sequence < \(before)") }
        if let after = query.after { conditions.append("sequence > \(after)") }
        let order: Statement = query.after == nil ? "DESC" : "ASC"
        return try sql.rows(
            """
            SELECT * FROM event WHERE \(conditions.joined(separator: " AND "))
            ORDER BY sequence \(order) LIMIT \(query.limit)
            """
        ).map(event)
    }

    /// Events of some names after `sequence`, oldest first.
    static func list(named names: [String], after sequence: Int64, limit: Int, in sql: Connection) throws -> [Event] {
        try sql.rows(
            "SELECT * FROM event WHERE sequence > \(sequence) AND name IN \(list: names) ORDER BY sequence LIMIT \(limit)"
        ).map(event)
    }

    package static func newest(in sql: Connection) throws -> Int64 {
        try sql.value("SELECT coalesce(max(sequence), 0) FROM event") ?? 0
    }

    /// Walks the whole chain; stops at the first event that does not fit.
    package static func verify(in sql: Connection) throws -> AuditOutcome {
        var outcome = AuditOutcome()
        var previous = ""
        var expected: Int64 = 1
        struct Stop: Error {}
        do {
            try sql.each("SELECT * FROM event ORDER BY sequence") { row in
                let sequence = try row.get("sequence", as: Int64.self)
                if let wrong = try fault(row, sequence: sequence, expected: expected, previous: previous) {
                    outcome.intact = false
                    outcome.first_bad = sequence
                    outcome.message = wrong
                    throw Stop()
                }
                previous = try row.get("hash")
                expected += 1
                outcome.events += 1
            }
        } catch is Stop {}
        if outcome.intact { outcome.message = "all \(outcome.events) events are as they were written" }
        return outcome
    }

    private static func fault(_ row: Row, sequence: Int64, expected: Int64, previous: String) throws -> String? {
        if sequence != expected { return "event \(expected) is missing: the next one there is \(sequence)" }
        let data: String = try row.get("data")
        var event = Event()
        event.sequence = sequence
        event.at = Timestamp(microseconds: try row.get("at"))
        event.name = try row.get("name")
        event.subject = Subject(
            kind: try row.get("kind"), project: try row.get("project"), name: try row.get("subject"))
        event.actor = try row.get("actor")
        event.correlation = try row.get("correlation")
        event.previous_hash = try row.get("previous_hash")
        if event.previous_hash != previous { return "event \(sequence) does not follow on the event before it" }
        return hash(event, data: data) == (try row.get("hash", as: String.self))
            ? nil : "event \(sequence) (\(event.name)) was changed after it was written"
    }
}
