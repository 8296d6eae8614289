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
