import API
import Crypto
import Foundation
import Kernel
import Manifests
import SQL

/// A key that signs identity tokens, as it is stored.
struct SigningKey: Sendable, Equatable {
    var id: String
    /// Counts keys, from 1.
    var number: Int
    var sealedWith: String
    var sealed: String
    /// Coordinates of the public point, base64url.
    var x: String
    var y: String
    var createdAt: Timestamp
}

/// Which key signs, and which are still told; pure.
enum KeyPlan {
    /// How old the newest key grows before another is made.
    static let life: Duration = .seconds(30 * 86_400)
    /// How long a new key is told before it signs, so that whoever keeps the list for a while knows it by then.
    static let lead: Duration = .seconds(3600)
    /// How long a key is told after it signed last: longer than any token lives.
    static let overlap: Duration = .seconds(86_400)

    static func needsNew(_ keys: [SigningKey], at now: Timestamp) -> Bool {
        guard let newest = keys.max(by: { $0.number < $1.number }) else { return true }
        return newest.createdAt.advanced(by: life) <= now
    }

    /// The newest key that has been told long enough; at the very start the only one there is.
    static func signer(_ keys: [SigningKey], at now: Timestamp) -> SigningKey? {
        let known = keys.filter { $0.createdAt.advanced(by: lead) <= now }
        return known.max { $0.number < $1.number } ?? keys.min { $0.number < $1.number }
    }

    /// Keys that a later one replaced so long ago that no token of theirs is good any more.
    static func retired(_ keys: [SigningKey], at now: Timestamp) -> [SigningKey] {
        keys.filter { key in
            keys.contains { $0.number > key.number && $0.createdAt.advanced(by: lead + overlap) <= now }
        }
    }
}

/// The keys of identity tokens: made, told, signed with (ES256, RFC 7518 §3.4).
struct SigningKeys: TokenSigner {
    let store: Store
    let file: KeyFile
    let ids: IdentifierSource
    let issuer: @Sendable () async throws -> String

    // MARK: Telling

    func configuration() async throws -> OIDCConfiguration {
        var configuration = OIDCConfiguration()
        configuration.issuer = try await issuer()
        configuration.jwks_uri = configuration.issuer + "/.well-known/jwks.json"
        return configuration
    }

    func published() async throws -> JWKSet {
        var set = JWKSet()
        set.keys = try await current().map { key in
            var told = JWK()
            (told.x, told.y, told.kid) = (key.x, key.y, key.id)
            return told
        }
        return set
    }

    func rotate(_ call: Call) async throws -> JWKSet {
        try await store.change(call) { try make(in: $0) }
        return try await published()
    }

    // MARK: Keeping

    /// Makes the key that is due and drops those that are past; at most one of each.
    func tend() async throws {
        let now = store.time.now
        let keys = try await store.read { try $0.signingKeys() }
        guard KeyPlan.needsNew(keys, at: now) || !KeyPlan.retired(keys, at: now).isEmpty else { return }
        try await store.change(.system("vault")) { change in
            let keys = try change.sql.signingKeys()
            if KeyPlan.needsNew(keys, at: change.now) { try make(in: change) }
            for key in KeyPlan.retired(keys, at: change.now) {
                try change.sql.removeSigningKey(key.id)
                try change.tell("signing-key.retired", about: Subject(kind: "SigningKey", project: "", name: key.id))
            }
        }
    }

    private func current() async throws -> [SigningKey] {
        try await tend()
        return try await store.read { try $0.signingKeys() }
    }

    private func make(in change: Change) throws {
        let sealing = try file.key(needed: change.sql.sealingKey())
        let fresh = P256.Signing.PrivateKey()
        // x963: a byte that says "uncompressed", then both coordinates.
        let point = Array(fresh.publicKey.x963Representation.dropFirst())
        let (x, y) = (Base64URL.text(Array(point.prefix(32))), Base64URL.text(Array(point.suffix(32))))
        let id = Self.thumbprint(x: x, y: y)
        let number = (try change.sql.signingKeys().first?.number ?? 0) + 1
        let sealed = try sealing.seal(Array(fresh.rawRepresentation), at: Self.place(id, number))
        try change.sql.insert(
            SigningKey(
                id: id, number: number, sealedWith: sealing.id, sealed: sealed, x: x, y: y, createdAt: change.now))
        try change.tell("signing-key.made", about: Subject(kind: "SigningKey", project: "", name: id))
    }

    /// RFC 7638: the hash of the members that matter, in this order and without spaces.
    static func thumbprint(x: String, y: String) -> String {
        let text = "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"\(x)\",\"y\":\"\(y)\"}"
        return Base64URL.text(Array(SHA256.hash(data: Array(text.utf8))))
    }

    private static func place(_ id: String, _ number: Int) -> VaultKey.Place {
        VaultKey.Place(kind: "signing-key", project: "", name: id, version: number)
    }

    // MARK: Signing

    func sign(_ claims: Ordered<JSONValue>, life: Duration) async throws -> String {
        let now = store.time.now
        guard let key = KeyPlan.signer(try await current(), at: now) else {
            throw Problem("oidc.no-key", status: 503, "there is no signing key yet", hint: "Try again in a moment.")
        }
        let seconds = now.microseconds / 1_000_000
        var all: Ordered<JSONValue> = ["iss": .string(try await issuer())]
        for (name, value) in claims { all[name] = value }
        (all["iat"], all["nbf"]) = (.integer(seconds), .integer(seconds))
        all["exp"] = .integer(seconds + min(life, VaultLimits.tokenLife).components.seconds)
        all["jti"] = .string(ids.next("jwt"))
        let head: JSONValue = ["alg": "ES256", "typ": "JWT", "kid": .string(key.id)]
        let input = Base64URL.text(head.bytes) + "." + Base64URL.text(JSONValue.object(all).bytes)
        let file = file
        let signature = try await store.read { _ in
            let raw = try file.key(needed: key.sealedWith).open(key.sealed, at: Self.place(key.id, key.number))
            let secret = try P256.Signing.PrivateKey(rawRepresentation: raw)
            return Array(try secret.signature(for: Array(input.utf8)).rawRepresentation)
        }
        return input + "." + Base64URL.text(signature)
    }
}

/// Base64 for URLs, without padding (RFC 4648 §5).
enum Base64URL {
    static func text(_ bytes: [UInt8]) -> String {
        String(
            Data(bytes).base64EncodedString().compactMap { character -> Character? in
                switch character {
                case "+": "-"
                case "/": "_"
                case "=": nil
                default: character
                }
            })
    }
}

/// Tends the signing keys: the first at the first start, then one a month.
struct KeyReconciler: Reconciler {
    static let name = "vault-signing-keys"
    static let topics: Set<String> = []
    let keys: SigningKeys

    func keys() async throws -> [String] { ["keys"] }

    func reconcile(_ key: String) async throws -> Next {
        try await keys.tend()
        return .again(in: .seconds(600))
    }
}
