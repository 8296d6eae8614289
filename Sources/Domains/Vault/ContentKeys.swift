import API
import Crypto
import Foundation
import Kernel
import SQL

/// The keys that sign content, such as models: sealed like secrets, never rotated away.
struct ContentKeys: ContentSigner {
    let store: Store
    let file: KeyFile

    static let migration = Migration(
        id: "vault-3",
        statements: [
            """
            CREATE TABLE vault_content_key (
                id TEXT PRIMARY KEY, number BIGINT NOT NULL UNIQUE, key_id TEXT NOT NULL, sealed TEXT NOT NULL,
                public_key TEXT NOT NULL, created_at BIGINT NOT NULL)
            """
        ])

    func sign(_ bytes: [UInt8]) async throws -> ContentSignature {
        let key: ContentKey
        if let known = try await store.read({ try $0.newestContentKey() }) {
            key = known
        } else {
            key = try await store.change(.system("vault")) { change in
                if let known = try change.sql.newestContentKey() { return known }
                return try make(in: change)
            }
        }
        let file = file
        // On the reader's thread, as for secrets: no plain key waits in a queue.
        let signature = try await store.read { _ in
            let raw = try file.key(needed: key.sealedWith).open(key.sealed, at: Self.place(key))
            return Array(try P256.Signing.PrivateKey(rawRepresentation: raw).signature(for: bytes).derRepresentation)
        }
        return ContentSignature(key: key.id, publicKey: key.publicKey, bytes: signature)
    }

    func publicKey(_ id: String) async throws -> String? {
        try await store.read { try $0.publicContentKey(id) }
    }

    private func make(in change: Change) throws -> ContentKey {
        let sealing = try file.key(needed: change.sql.sealingKey())
        let fresh = P256.Signing.PrivateKey()
        let text = Self.pem(Array(fresh.publicKey.derRepresentation))
        let id = SHA256.hash(data: Array(text.utf8)).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        var key = ContentKey(id: id, number: 1, sealedWith: sealing.id, sealed: "", publicKey: text)
        key.sealed = try sealing.seal(Array(fresh.rawRepresentation), at: Self.place(key))
        try change.sql.insert(key, at: change.now)
        try change.tell("content-key.made", about: Subject(kind: "ContentKey", project: "", name: id))
        return key
    }

    private static func place(_ key: ContentKey) -> VaultKey.Place {
        VaultKey.Place(kind: "content-key", project: "", name: key.id, version: key.number)
    }

    /// RFC 7468: lines of 64 characters, the last ended as well. Others hash exactly this text to name the key.
    static func pem(_ der: [UInt8]) -> String {
        let text = Array(Data(der).base64EncodedString())
        let lines = stride(from: 0, to: text.count, by: 64).map { String(text[$0..<min($0 + 64, text.count)]) }
        return (["-----BEGIN PUBLIC KEY-----"] + lines + ["-----END PUBLIC KEY-----", ""]).joined(separator: "\n")
    }
}

struct ContentKey: Sendable, Equatable {
    var id: String
    var number: Int
    var sealedWith: String
    var sealed: String
    var publicKey: String
}

extension Connection {
    func newestContentKey() throws -> ContentKey? {
        try row("SELECT * FROM vault_content_key ORDER BY number DESC LIMIT 1").map { row in
            ContentKey(
                id: try row.get("id"), number: try row.get("number"), sealedWith: try row.get("key_id"),
                sealed: try row.get("sealed"), publicKey: try row.get("public_key"))
        }
    }

    func publicContentKey(_ id: String) throws -> String? {
        try value("SELECT public_key FROM vault_content_key WHERE id = \(id)")
    }

    func insert(_ key: ContentKey, at now: Timestamp) throws {
        try run(
            """
            INSERT INTO vault_content_key (id, number, key_id, sealed, public_key, created_at)
            VALUES (\(key.id), \(key.number), \(key.sealedWith), \(key.sealed), \(key.publicKey), \(now.microseconds))
            """)
    }
}
