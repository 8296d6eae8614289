package import API
package import Kernel

/// What the server knows of a request that may be for a page.
package struct WebRequest: Sendable {
    /// "GET", "HEAD" or "POST".
    package var method: String
    /// Percent-encoded, without the query.
    package var path: String
    /// Decoded.
    package var query: [String: String]
    /// The decoded fields of a form that was posted; at most ``WebFace/formLimit`` bytes of body.
    package var form: [String: String]
    package var cookies: [String: String]
    /// Headers that tell where a request comes from, by their lower-case names: origin, host, sec-fetch-site.
    package var headers: [String: String]
    /// Who asks; nil when auth is on and nobody has signed in.
    package var call: Call?
    package var hasAuth: Bool
    /// Whether the connection is encrypted, so that cookies may ask for it.
    package var isSecure: Bool
    package var now: Timestamp

    package init(
        method: String, path: String, query: [String: String] = [:], form: [String: String] = [:],
        cookies: [String: String] = [:], headers: [String: String] = [:], call: Call?, hasAuth: Bool,
        isSecure: Bool = false,
        now: Timestamp
    ) {
        (self.method, self.path, self.query, self.form) = (method, path, query, form)
        (self.cookies, self.headers, self.call, self.hasAuth) = (cookies, headers, call, hasAuth)
        (self.isSecure, self.now) = (isSecure, now)
    }

    /// The project that is looked at: the only one of the token, as asked for, as last chosen, or the default.
    var project: String {
        for name in [call?.project, query["project"], cookies[WebFace.projectCookie]] {
            if let name, !name.isEmpty, name.utf8.count <= 63,
                name.utf8.allSatisfy({
                    (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D || $0 == 0x5F
                })
            {
                return name
            }
        }
        return "default"
    }

    var isLook: Bool { method == "GET" || method == "HEAD" }
    /// Whether a page refreshes itself and wants its body alone.
    var wantsFragment: Bool { query["fragment"] != nil }
}

/// What the server shall answer.
package enum WebResponse: Sendable {
    case html(status: Int, String, cookies: [WebCookie] = [])
    /// 303 See Other: a form was taken, look here for what became of it.
    case redirect(String, cookies: [WebCookie] = [])
    /// A file that never changes under its path: `Cache-Control: public, max-age=31536000, immutable`.
    case asset(bytes: [UInt8], contentType: String, etag: String)
    case text(String)

    /// Headers that every answer of the UI carries: no inline code, no foreign frames, no guessing of types.
    package static let headers: [(name: String, value: String)] = [
        (
            "Content-Security-Policy",
            "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
        ),
        ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin"),
    ]
}

/// A cookie to set: for this site only, out of reach of scripts.
package struct WebCookie: Sendable, Equatable {
    package let name: String
    package let value: String
    /// Seconds it is kept; nil: until the browser is closed; 0: it is removed.
    package let maxAge: Int?
    package let isSecure: Bool

    /// The value of its Set-Cookie header.
    package var header: String {
        "\(name)=\(value); Path=/; HttpOnly; SameSite=Strict" + (maxAge.map { "; Max-Age=\($0)" } ?? "")
            + (isSecure ? "; Secure" : "")
    }
}
