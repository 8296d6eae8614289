import API
import HTTPTypes
import Hummingbird
import Kernel

/// Who is asking.
struct Doorman: Sendable {
    let tokens: TokenBook
    let hasAuth: Bool
    static let cookie = "vagus_token"

    /// - Throws: 401 when auth is on and the token is missing or worthless.
    func call(for request: Request, correlation: String) throws(Problem) -> Call {
        guard hasAuth else { return Call(actor: "user:dev", correlation: correlation) }
        guard let secret = Self.secret(in: request) else {
            throw Problem(
                "auth.missing", status: 401, "a token is needed",
                hint: "Give it with --token or VAGUS_TOKEN, or send the header Authorization: Bearer TOKEN.")
        }
        if let token = tokens.token(for: secret) {
            return Call(
                actor: "token:\(token.name)", correlation: correlation, permission: token.permission,
                project: token.project)
        }
        if request.uri.path == Tokens.redeem.path {
            return Call(actor: "redeem:\(TokenBook.hash(secret))", correlation: correlation, permission: .read)
        }
        throw Problem(
            "auth.refused", status: 401, "this token is unknown, ended or revoked",
            hint:
                "Make one with: vagus token create NAME. The first start's token must be redeemed: vagus token redeem NAME"
        )
    }

    /// Keeps the pages of other sites away from a server that asks for no tokens: a browser sends on what they ask for.
    ///
    /// - Throws: 403 when the host is a name that a stranger may have pointed here (DNS rebinding), and when the page of
    ///   another site asks for a change (Origin and Sec-Fetch-Site: Fetch §3.2, W3C Fetch Metadata).
    func checkSite(of request: Request, mayHaveAnyName: Bool = false) throws(Problem) {
        guard !hasAuth else { return }
        let host = request.head.authority ?? ""
        guard mayHaveAnyName || Self.isOwnName(host) else {
            throw Problem(
                "site.host", status: 403,
                "\"\(host)\" is not a name of this machine, and this server asks for no tokens",
                hint: "Ask at localhost or an address, or use a server that asks for tokens: vagus server")
        }
        guard ![.get, .head].contains(request.method) else { return }
        // What the browser says itself counts most: a forwarded port may have another name there.
        let site = HTTPField.Name("Sec-Fetch-Site").flatMap { request.headers[$0] }
        let origin = request.headers[.origin]
        let isOwn = origin == nil || origin == "http://\(host)" || origin == "https://\(host)"
        guard site.map({ $0 == "none" || $0 == "same-origin" }) ?? isOwn else {
            throw Problem(
                "site.foreign", status: 403,
                "a page of another site asks for a change, and this server asks for no tokens",
                hint: "Use a server that asks for tokens: vagus server")
        }
    }

    /// Whether no stranger can have given the name: an address, or a name that the public DNS has not.
    private static func isOwnName(_ authority: String) -> Bool {
        guard !authority.hasPrefix("[") else { return true }
        var name = authority.prefix { $0 != ":" }.lowercased()
        if name.last == "." { name.removeLast() }
        guard name.contains(".") else { return true }
        return name.allSatisfy { $0 == "." || ("0"..."9").contains($0) }
            || [".localhost", ".internal", ".local"].contains(where: name.hasSuffix)
    }

    static func secret(in request: Request) -> String? {
        if let header = request.headers[.authorization], header.lowercased().hasPrefix("bearer ") {
            return String(header.dropFirst(7))
        }
        // Prometheus, promtail and Grafana send a password, or nothing.
        if let given = request.headers[.authorization].flatMap(GitRoutes.credentials) { return given.secret }
        for pair in (request.headers[.cookie] ?? "").split(separator: ";") {
            let parts = pair.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, parts[0].drop(while: { $0 == " " }) == cookie else { continue }
            // A cookie travels by itself: it may not change anything through the API, only look.
            guard [.get, .head].contains(request.method) || request.uri.path.hasPrefix("/ui/") else { return nil }
            return String(parts[1])
        }
        return nil
    }
}
