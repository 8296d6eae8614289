public import Manifests

/// The identity tokens that jobs are given, as OpenID Connect has them: where others learn to check them.
///
/// Also at `/.well-known/openid-configuration` and `/.well-known/jwks.json`, where clouds look, without a token.
public enum Identity {
    public static let configuration = Operation<Nothing, OIDCConfiguration>(
        "oidc.configuration", .get, "/api/v1/oidc/configuration", needs: .read,
        "Tells where the keys of identity tokens are.")
    public static let keys = Operation<Nothing, JWKSet>(
        "oidc.keys", .get, "/api/v1/oidc/keys", needs: .read, "Tells the keys that identity tokens are checked with.")
    public static let rotate = Operation<Nothing, JWKSet>(
        "oidc.rotate", .post, "/api/v1/oidc/rotate", needs: .admin,
        "Makes a new signing key: it signs an hour later, and the old one is told for a day more.")
}

/// OpenID Connect Discovery 1.0, section 3.
public struct OIDCConfiguration: Manifest {
    public var issuer = ""
    public var jwks_uri = ""
    public var response_types_supported = ["id_token"]
    public var subject_types_supported = ["public"]
    public var id_token_signing_alg_values_supported = TokenAlgorithm.allCases.map(\.rawValue)
    public var scopes_supported = ["openid"]
    public var claims_supported = [
        "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "project", "pipeline", "environment", "ref", "run", "job",
        "commit", "actor",
    ]
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("issuer", \.issuer, "Who issues the tokens: the server's address."),
        .told("jwks_uri", \.jwks_uri, "Where the keys are."),
        .told("response_types_supported", \.response_types_supported, "Always id_token."),
        .told("subject_types_supported", \.subject_types_supported, "Always public."),
        .told(
            "id_token_signing_alg_values_supported", \.id_token_signing_alg_values_supported,
            "Signature algorithms."),
        .told("scopes_supported", \.scopes_supported, "Always openid."),
        .told("claims_supported", \.claims_supported, "Claims that a token may make."),
    ]
}

/// RFC 7517.
public struct JWKSet: Manifest {
    public var keys: [JWK] = []
    public init() {}
    public static let fields: [Field<Self>] = [.told("keys", \.keys, "Public keys, newest first.")]
}

/// What a token is signed with (RFC 7518, section 3.1).
public enum TokenAlgorithm: String, WireEnum {
    case es256 = "ES256"
    case rs256 = "RS256"
}

/// A public key: of a curve (`crv`, `x`, `y`), or of RSA (`n`, `e`).
public struct JWK: Manifest {
    public var kty = "EC"
    public var crv: String?
    public var x: String?
    public var y: String?
    public var n: String?
    public var e: String?
    public var kid = ""
    public var use = "sig"
    public var alg = TokenAlgorithm.es256
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("kty", \.kty, "Key type."), .optional("crv", \.crv, "Curve."),
        .optional("x", \.x, "First coordinate."), .optional("y", \.y, "Second coordinate."),
        .optional("n", \.n, "Modulus of RSA."), .optional("e", \.e, "Exponent of RSA."),
        .told("kid", \.kid, "Its id: the thumbprint of RFC 7638."),
        .told("use", \.use, "What it is for."), .told("alg", \.alg, "Signature algorithm."),
    ]
}

/// An identity token of a job.
public struct IDToken: Manifest {
    public var token = ""
    public var expires_at = Timestamp.zero
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("token", \.token, "The token: a signed JWT."),
        .told("expires_at", \.expires_at, "When it is worth nothing any more."),
    ]
}

/// What a job asks an identity token for.
public struct IDTokenSpec: Manifest {
    public var audience = ""
    public var algorithm = TokenAlgorithm.es256
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("audience", \.audience, "Who shall accept the token: sts.amazonaws.com."),
        .optional(
            "algorithm", \.algorithm, "What it is signed with; RS256 for those who take nothing else, as Azure does."),
    ]
    public static func shorthand(_ json: JSONValue) -> Self? {
        guard let audience = json.string else { return nil }
        var spec = Self()
        spec.audience = audience
        return spec
    }
    public static func check(_ value: Self) -> [ManifestError] {
        value.audience.isEmpty
            ? [
                ManifestError(
                    at: ["audience"], message: "an identity token is for somebody",
                    hint: "Name who shall accept it: audience: sts.amazonaws.com.")
            ] : []
    }
}
