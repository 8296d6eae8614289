import API
import Hummingbird
import Kernel
import Manifests

/// Where clouds look for the keys of identity tokens: at fixed places, without a token (OpenID Connect Discovery 1.0 §4).
struct OIDC: Sendable {
    let switchboard: Switchboard
    static let configuration = "/.well-known/openid-configuration"
    static let keys = "/.well-known/jwks.json"

    /// The answer, or nil when the path is none of these.
    func respond(to request: Request) async throws -> Response? {
        let operation: String
        switch request.uri.path {
        case Self.configuration: operation = Identity.configuration.name
        case Self.keys: operation = Identity.keys.name
        default: return nil
        }
        guard [.get, .head].contains(request.method) else {
            throw Problem("method.not-allowed", status: 405, "\(request.method.rawValue) is not answered here")
        }
        var response = Response.json(try await switchboard.call(operation, [:], as: .system("oidc")))
        // A new key is told an hour before it signs; whoever keeps the list for less is never caught out.
        response.headers[.cacheControl] = "public, max-age=600"
        return response
    }
}
