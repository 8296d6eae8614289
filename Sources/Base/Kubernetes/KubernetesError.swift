import Manifests

/// What a cluster could not do.
package struct KubernetesError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kinds of failure that a caller may want to tell apart.
    package enum Code: String, Sendable {
        /// No answer, or none that can be trusted; may pass.
        case unreachable
        /// It does not know us (401).
        case unauthorized
        /// It knows us, and we may not (403).
        case forbidden
        case notFound
        /// There is one of that name already (409, AlreadyExists).
        case exists
        /// Somebody else has changed it, or manages the field (409, Conflict).
        case conflict
        /// The list that was being read is too old to go on (410).
        case gone
        /// It cannot now (429, 5xx); may pass.
        case busy
        /// What was asked for makes no sense there (400, 422), or our own settings do not.
        case invalid
        case cancelled
    }
    package var code: Code
    /// One lower-case clause.
    package var message: String
    package var hint: String?

    package init(_ code: Code, _ message: String, hint: String? = nil) {
        (self.code, self.message, self.hint) = (code, message, hint)
    }
    package var description: String { message }

    /// The status of HTTP by which a server of ours hands it on.
    package var status: Int {
        switch code {
        case .invalid: 422
        case .forbidden, .unauthorized: 502
        case .exists, .conflict: 409
        default: 503
        }
    }

    /// From a `Status` object (meta/v1), or whatever else came with the status code.
    init(status: Int, body: [UInt8], doing what: String, cluster: String) {
        let told = try? JSONParser.parse(body)  // no JSON: something before the API server has answered
        let isStatus = told?["kind"]?.string == "Status"
        let text = String(decoding: body.prefix(200), as: UTF8.self).split(separator: "\n").first.map(String.init)
        let reason = (isStatus ? told?["message"]?.string : text) ?? "HTTP \(status)"
        code =
            switch status {
            case 401: .unauthorized
            case 403: .forbidden
            case 404: .notFound
            case 409: told?["reason"]?.string == "AlreadyExists" ? .exists : .conflict
            case 410: .gone
            case 429, 500...: .busy
            default: .invalid
            }
        message = "cluster \"\(cluster)\" could not \(what): \(reason)"
        switch code {
        case .unauthorized:
            message = "cluster \"\(cluster)\" does not know us: \(reason)"
            hint = "Look at the token or the certificate of this context; tokens run out."
        case .forbidden:
            message = "cluster \"\(cluster)\" does not let us \(what): \(reason)"
            hint = "Give the account the Role of docs/how-to/kubernetes.md; see: kubectl auth can-i --list"
        default: break
        }
    }
}
