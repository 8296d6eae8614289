package import API
import Crypto
import Manifests
import SQL
import Synchronization

/// Access tokens: hashed at rest, scoped, revocable, kept in memory for the request path.
package final class TokenBook: Sendable {
    private struct Entry: Sendable {
        var token: Token
        var singleUse: Bool
    }
    private let store: Store
    private let entries = Mutex<[String: Entry]>([:])
    /// Tokens there may be.
    package static let limit = 10_000

    package init(store: Store) { self.store = store }

    /// Reads all tokens into memory; called once at start.
    package func load() async throws {
        let rows = try await store.read { sql in
            try sql.rows("SELECT * FROM token").map { row in
                (try row.get("hash", as: String.self), try Token(row: row), try row.get("single_use", as: Bool.self))
            }
        }
        entries.withLock { entries in
            entries = [:]
            for (hash, token, singleUse) in rows { entries[hash] = Entry(token: token, singleUse: singleUse) }
        }
    }

    package var isEmpty: Bool { entries.withLock { $0.isEmpty } }

    /// Who a secret belongs to; nil when it is unknown, ended, or only good for redeeming.
    package func token(for secret: String) -> Token? {
        let hash = Self.hash(secret)
        let now = store.time.now
        return entries.withLock { entries in
            guard let entry = entries[hash], !entry.singleUse, entry.token.expires_at.map({ $0 > now }) ?? true else {
                return nil
            }
            return entry.token
        }
    }

    /// The single-use token of the first start. Its secret is returned once and kept nowhere.
    package func makeFirst() async throws -> String {
        var input = TokenInput()
        input.name = "first-start"
        input.permission = .admin
        return try await make(input, singleUse: true, Call.system("setup")).token
    }

    package func create(_ input: TokenInput, _ call: Call) async throws -> NewToken {
        guard isResourceName(input.name) else {
            throw Problem(
                "token.name", status: 422, "\"\(input.name)\" cannot be a token's name",
                hint: "Use small letters, digits, \"-\" and \"_\".")
        }
        return try await make(input, singleUse: false, call)
    }

    package func redeem(_ input: TokenInput, _ call: Call) async throws -> NewToken {
        // The caller presents the single-use secret as bearer token; the server puts its hash into `actor`.
        let hash = call.actor.hasPrefix("redeem:") ? String(call.actor.dropFirst(7)) : ""
        guard let entry = entries.withLock({ $0[hash] }), entry.singleUse else {
            throw Problem(
                "token.redeem", status: 401, "this is not an unused first token",
                hint: "It is printed once, by the first start of vagus server, and works once.")
        }
        var wanted = input
        wanted.permission = .admin
        let made = try await make(wanted, singleUse: false, .system("setup"), replacing: entry.token.name)
        return made
    }

    package func list() async throws -> [Token] {
        entries.withLock { $0.values.map(\.token) }.sorted { $0.name < $1.name }
    }

    package func revoke(_ name: String, _ call: Call) async throws -> Token {
        let gone = try await store.change(call) { change in
            guard let row = try change.sql.row("DELETE FROM token WHERE name = \(name) RETURNING *") else {
                throw Problem(
                    "token.not-found", status: 404, "no token \"\(name)\"", hint: "List them with: vagus token list")
            }
            try change.tell("token.revoked", about: Subject(kind: "Token", project: "", name: name))
            return try Token(row: row)
        }
        try await load()
        return gone
    }

    package static func hash(_ secret: String) -> String {
        SHA256.hash(data: Array(secret.utf8)).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private func make(
        _ input: TokenInput, singleUse: Bool, _ call: Call, replacing old: String? = nil
    ) async throws -> NewToken {
        var bytes = [UInt8](repeating: 0, count: 32)
        for index in bytes.indices { bytes[index] = UInt8.random(in: .min ... .max) }
        let secret = "vg_" + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let hash = Self.hash(secret)
        try await store.change(call) { change in
            let count: Int = try change.sql.value("SELECT count(*) FROM token") ?? 0
            guard count < Self.limit else {
                throw Problem(
                    "token.limit", status: 409, "there are \(Self.limit) tokens already", hint: "Revoke some.")
            }
            // Of two that redeem at the same time the second finds nothing to delete, and gets nothing.
            if let old, try change.sql.run("DELETE FROM token WHERE name = \(old) AND single_use = 1") != 1 {
                throw Problem("token.redeem", status: 401, "this first token has been used", hint: "It works once.")
            }
            let expires = input.expires.map { change.now.advanced(by: $0.duration).microseconds }
            do {
                try change.sql.run(
                    """
                    INSERT INTO token (name, hash, permission, project, single_use, created_at, expires_at)
                    VALUES (\(input.name), \(hash), \(input.permission.rawValue), \(input.project.sqlValue), \(singleUse),
                            \(change.now.microseconds), \(expires.sqlValue))
                    """)
            } catch let error as SQLError where error.code == .uniqueViolation {
                throw Problem(
                    "token.exists", status: 409, "there is a token \"\(input.name)\" already",
                    hint: "Choose another name, or revoke it first: vagus token revoke \(input.name)")
            }
            try change.tell(
                "token.created", about: Subject(kind: "Token", project: "", name: input.name),
                ["permission": input.permission.json])
        }
        try await load()
        var made = NewToken()
        (made.name, made.permission, made.token) = (input.name, input.permission, secret)
        return made
    }
}

extension Token {
    init(row: Row) throws {
        self.init()
        name = try row.get("name")
        permission = Permission(rawValue: try row.get("permission")) ?? .read
        project = try row.get("project", as: String?.self)
        created_at = Timestamp(microseconds: try row.get("created_at"))
        expires_at = try row.get("expires_at", as: Int64?.self).map(Timestamp.init(microseconds:))
        last_used_at = try row.get("last_used_at", as: Int64?.self).map(Timestamp.init(microseconds:))
    }
}
