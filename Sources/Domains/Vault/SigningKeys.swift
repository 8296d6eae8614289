import API
import Crypto
import CryptoExtras
import Foundation
import Kernel
import Manifests
import SQL

/// A key that signs identity tokens, as it is stored.
struct SigningKey: Sendable, Equatable {
    var id: String
    /// Counts keys, from 1.
    var number: Int
    var algorithm: TokenAlgorithm
    var sealedWith: String
    var sealed: String
    /// Coordinates of the public point, base64url; of RSA modulus and exponent.
    var x: String
    var y: String
    var createdAt: Timestamp
}

/// Which key signs, and which are still told; pure, and about the keys of one algorithm.
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

/// The keys of identity tokens: made, told, signed with (ES256 and RS256, RFC 7518 §3.3 and §3.4).
///
/// Keys of RS256 begin with the first token that asks for it.
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
            (told.kid, told.alg) = (key.id, key.algorithm)
            switch key.algorithm {
            case .es256: (told.crv, told.x, told.y) = ("P-256", key.x, key.y)
            case .rs256: (told.kty, told.n, told.e) = ("RSA", key.x, key.y)
            }
            return told
        }
        return set
    }

    /// A new key of each algorithm that is in use.
    func rotate(_ call: Call) async throws -> JWKSet {
        let used = Set(try await current().map(\.algorithm)).union([.es256])
        let fresh = try TokenAlgorithm.allCases.filter(used.contains).map(FreshKey.init)
        try await store.change(call) { change in
            for key in fresh { try keep(key, in: change) }
        }
        return try await published()
    }

    // MARK: Keeping

    /// Makes the keys that are due and drops those that are past.
    ///
    /// - Parameter algorithm: One that is needed now; ES256 always is.
    func tend(needing algorithm: TokenAlgorithm = .es256) async throws {
        let now = store.time.now
        let keys = try await store.read { try $0.signingKeys() }
        let due = TokenAlgorithm.allCases.filter { one in
            let own = keys.filter { $0.algorithm == one }
            let isUsed = !own.isEmpty || one == .es256 || one == algorithm
            return isUsed && KeyPlan.needsNew(own, at: now)
        }
        guard !due.isEmpty || !Self.retired(keys, at: now).isEmpty else { return }
        // Outside of the transaction: to find two large primes takes a while.
        let fresh = try due.map(FreshKey.init)
        try await store.change(.system("vault")) { change in
            let keys = try change.sql.signingKeys()
            for key in fresh
            where KeyPlan.needsNew(keys.filter({ $0.algorithm == key.algorithm }), at: change.now) {
                try keep(key, in: change)
            }
            for key in Self.retired(keys, at: change.now) {
                try change.sql.removeSigningKey(key.id)
                try change.tell("signing-key.retired", about: Subject(kind: "SigningKey", project: "", name: key.id))
            }
        }
    }

    private static func retired(_ keys: [SigningKey], at now: Timestamp) -> [SigningKey] {
        TokenAlgorithm.allCases.flatMap { one in KeyPlan.retired(keys.filter { $0.algorithm == one }, at: now) }
    }

    private func current(needing algorithm: TokenAlgorithm = .es256) async throws -> [SigningKey] {
        try await tend(needing: algorithm)
        return try await store.read { try $0.signingKeys() }
    }

    private func keep(_ fresh: FreshKey, in change: Change) throws {
        let sealing = try file.key(needed: change.sql.sealingKey())
        let number = (try change.sql.signingKeys().first?.number ?? 0) + 1
        let sealed = try sealing.seal(fresh.secret, at: Self.place(fresh.id, number))
        try change.sql.insert(
            SigningKey(
                id: fresh.id, number: number, algorithm: fresh.algorithm, sealedWith: sealing.id, sealed: sealed,
                x: fresh.x, y: fresh.y, createdAt: change.now))
        try change.tell(
            "signing-key.made", about: Subject(kind: "SigningKey", project: "", name: fresh.id),
            ["algorithm": .string(fresh.algorithm.rawValue)])
    }

    private static func place(_ id: String, _ number: Int) -> VaultKey.Place {
        VaultKey.Place(kind: "signing-key", project: "", name: id, version: number)
    }

    // MARK: Signing

    func sign(_ claims: Ordered<JSONValue>, life: Duration, algorithm: TokenAlgorithm) async throws -> String {
        let now = store.time.now
        let keys = try await current(needing: algorithm).filter { $0.algorithm == algorithm }
        guard let key = KeyPlan.signer(keys, at: now) else {
            throw Problem("oidc.no-key", status: 503, "there is no signing key yet", hint: "Try again in a moment.")
        }
        let seconds = now.microseconds / 1_000_000
        var all: Ordered<JSONValue> = ["iss": .string(try await issuer())]
        for (name, value) in claims { all[name] = value }
        (all["iat"], all["nbf"]) = (.integer(seconds), .integer(seconds))
        all["exp"] = .integer(seconds + min(life, VaultLimits.tokenLife).components.seconds)
        all["jti"] = .string(ids.next("jwt"))
        let head: JSONValue = ["alg": .string(algorithm.rawValue), "typ": "JWT", "kid": .string(key.id)]
        let input = Base64URL.text(head.bytes) + "." + Base64URL.text(JSONValue.object(all).bytes)
        let file = file
        let signature = try await store.read { _ in
            let raw = try file.key(needed: key.sealedWith).open(key.sealed, at: Self.place(key.id, key.number))
            return try FreshKey.sign(Array(input.utf8), with: raw, algorithm)
        }
        return input + "." + Base64URL.text(signature)
    }
}

/// A key that nobody has yet, and how its kind signs.
struct FreshKey: Sendable {
    let algorithm: TokenAlgorithm
    let id: String
    /// Of P-256 its number; of RSA its DER.
    let secret: [UInt8]
    let x: String
    let y: String

    init(_ algorithm: TokenAlgorithm) throws {
        self.algorithm = algorithm
        switch algorithm {
        case .es256:
            let key = P256.Signing.PrivateKey()
            // x963: a byte that says "uncompressed", then both coordinates.
            let point = Array(key.publicKey.x963Representation.dropFirst())
            (x, y) = (Base64URL.text(Array(point.prefix(32))), Base64URL.text(Array(point.suffix(32))))
            id = Self.thumbprint(x: x, y: y)
            secret = Array(key.rawRepresentation)
        case .rs256:
            // 2048 bits: what RFC 7518 asks for, and clouds take.
            let key = try _RSA.Signing.PrivateKey(keySize: .bits2048)
            let numbers = try key.publicKey.getKeyPrimitives()
            (x, y) = (Base64URL.text(Array(numbers.modulus)), Base64URL.text(Array(numbers.publicExponent)))
            id = Self.digest("{\"e\":\"\(y)\",\"kty\":\"RSA\",\"n\":\"\(x)\"}")
            secret = Array(key.derRepresentation)
        }
    }

    /// RFC 7638: the hash of the members that matter, in this order and without spaces.
    static func thumbprint(x: String, y: String) -> String {
        digest("{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"\(x)\",\"y\":\"\(y)\"}")
    }

    private static func digest(_ text: String) -> String {
        Base64URL.text(Array(SHA256.hash(data: Array(text.utf8))))
    }

    static func sign(_ input: [UInt8], with secret: [UInt8], _ algorithm: TokenAlgorithm) throws -> [UInt8] {
        switch algorithm {
        case .es256:
            let key = try P256.Signing.PrivateKey(rawRepresentation: secret)
            return Array(try key.signature(for: input).rawRepresentation)
        case .rs256:
            let key = try _RSA.Signing.PrivateKey(derRepresentation: Data(secret))
            let digest = SHA256.hash(data: input)
            return Array(try key.signature(for: digest, padding: .insecurePKCS1v1_5).rawRepresentation)
        }
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
