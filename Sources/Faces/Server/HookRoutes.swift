import API
import HTTPTypes
import Hummingbird
import Kernel
import Manifests
import Pipelines

/// `POST /hooks/…`: webhooks, let in by their signature, or by a token.
struct HookRoutes: Sendable {
    let webhooks: Webhooks
    let doorman: Doorman
    private let open = Slots(limit: HookRoutes.requestLimit)

    /// Bodies held in memory at once.
    static let requestLimit = 16

    init(webhooks: Webhooks, doorman: Doorman) { (self.webhooks, self.doorman) = (webhooks, doorman) }

    func respond(to request: Request, correlation: String) async throws -> Response {
        guard request.method == .post else {
            throw Problem(
                "method.not-allowed", status: 405, "\(request.method.rawValue) is not answered here", hint: "Use POST.")
        }
        guard let slot = open.take() else {
            throw Problem("hooks.busy", status: 503, "too many webhooks at once", hint: "Send it again.")
        }
        defer { withExtendedLifetime(slot) {} }
        var headers: [String: String] = [:]
        for field in request.headers { headers[field.name.canonicalName] = field.value }
        let body = try await HTTPFace.collect(request, limit: Webhooks.bodyLimit)
        // No token, or one that does not hold: then the signature must.
        let call =
            request.headers[.authorization] == nil
            ? nil : try? doorman.call(for: request, correlation: correlation)  // then it says nothing
        let path = request.uri.path.split(separator: "/").dropFirst().map(String.init)
        let answer = try await webhooks.receive(
            Webhooks.Request(path: path, headers: headers, body: body, call: call, isOpen: !doorman.hasAuth),
            correlation: correlation)
        return .json(answer, status: answer["outcome"] == "accepted" ? 202 : 200)
    }
}
