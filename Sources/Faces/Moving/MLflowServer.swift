import API
import Foundation
import Manifests
package import Outbound

/// A server that speaks MLflow's REST API: MLflow's own, or ours below `/mlflow`.
package struct MLflowServer: Sendable {
    /// Without a slash at the end, and without a password.
    package let base: String
    private let headers: [(String, String)]
    private let outbound: OutboundClient

    /// Time that an answer may take; a file, and that of a long history.
    private static let patience: Duration = .seconds(120)
    private static let filePatience: Duration = .seconds(3600)
    /// A server that is restarted is waited for.
    private static let budget = RetryBudget(attempts: 6, total: .seconds(180))

    /// - Parameters:
    ///   - url: "http://host:5000"; a user and password before the host are sent as HTTP's basic authentication.
    ///   - token: Sent as a bearer token, if there is one.
    ///   - workspace: The project, for a server that has several.
    package init(_ url: String, token: String?, workspace: String? = nil, outbound: OutboundClient) throws {
        guard var parts = URLComponents(string: url), ["http", "https"].contains(parts.scheme ?? ""), parts.host != nil
        else {
            throw Problem(
                "move.url", status: 422, "\"\(url)\" is no address of a server", hint: "Write http://HOST:PORT.")
        }
        var headers: [(String, String)] = []
        if let token {
            headers.append(("Authorization", "Bearer \(token)"))
        } else if let user = parts.user {
            let pair = Data("\(user):\(parts.password ?? "")".utf8).base64EncodedString()
            headers.append(("Authorization", "Basic \(pair)"))
        }
        (parts.user, parts.password, parts.query, parts.fragment) = (nil, nil, nil, nil)
        if let workspace { headers.append(("X-MLFLOW-WORKSPACE", workspace)) }
        var base = parts.string ?? url
        while base.hasSuffix("/") { base.removeLast() }
        (self.base, self.headers, self.outbound) = (base, headers, outbound)
    }

    // MARK: Calls

    func get(_ path: String, _ query: [(String, String)] = []) async throws -> JSONValue {
        try await json(HTTPRequest(url: address("/api/2.0/mlflow/\(path)", query), headers: headers))
    }

    func send(_ method: String = "POST", _ path: String, _ body: JSONValue) async throws -> JSONValue {
        try await json(
            HTTPRequest(
                method, url: address("/api/2.0/mlflow/\(path)"),
                headers: headers + [("Content-Type", "application/json")],
                body: .bytes(body.bytes)))
    }

    /// Lists a folder of the artifact proxy.
    func list(proxied folder: String) async throws -> JSONValue {
        let path = "/api/2.0/mlflow-artifacts/artifacts"
        return try await json(HTTPRequest(url: address(path, [("path", folder)]), headers: headers))
    }

    /// Sends a file to the artifact proxy.
    func upload(file: String, to path: String) async throws {
        let request = HTTPRequest(
            "PUT", url: address("/api/2.0/mlflow-artifacts/artifacts/\(Self.encodePath(path))"),
            headers: headers + [("Content-Type", "application/octet-stream")], body: .file(file))
        let response: HTTPResponse
        do {
            response = try await outbound.sendRetrying(request, deadline: Self.filePatience, budget: Self.budget)
        } catch {
            throw Self.silent(error, base)
        }
        guard response.isSuccess else { throw Self.problem(response, base) }
    }

    /// Brings a file of the artifact proxy, or of a run (`get-artifact`), to a local file.
    func download(proxied path: String, to place: String) async throws {
        try await download("/api/2.0/mlflow-artifacts/artifacts/\(Self.encodePath(path))", [], to: place)
    }

    func download(_ path: String, _ query: [(String, String)], to place: String) async throws {
        let response: HTTPResponse
        do {
            response = try await outbound.download(HTTPRequest(url: address(path, query), headers: headers), to: place)
        } catch {
            throw Self.silent(error, base)
        }
        guard response.isSuccess else { throw Self.problem(response, base) }
    }

    private func json(_ request: HTTPRequest) async throws -> JSONValue {
        let response: HTTPResponse
        do { response = try await outbound.sendRetrying(request, deadline: Self.patience, budget: Self.budget) } catch {
            throw Self.silent(error, base)
        }
        guard response.isSuccess else { throw Self.problem(response, base) }
        return response.body.isEmpty ? [:] : try JSONParser.parse(response.body)
    }

    // MARK: Words

    private func address(_ path: String, _ query: [(String, String)] = []) -> String {
        guard !query.isEmpty else { return base + path }
        return base + path + "?" + query.map { "\(Self.encode($0))=\(Self.encode($1))" }.joined(separator: "&")
    }

    static func encodePath(_ path: String) -> String {
        path.split(separator: "/").map { encode(String($0)) }.joined(separator: "/")
    }

    /// Percent-encodes all but unreserved characters (RFC 3986 §2.3).
    static func encode(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: unreserved) ?? text
    }

    private static let unreserved = CharacterSet(
        charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

    private static func silent(_ error: any Error, _ base: String) -> any Error {
        guard let error = error as? OutboundError else { return error }
        if error.code == .cancelled { return CancellationError() }
        return Problem(
            "server.unreachable", status: 0, "no answer from the server at \(base)", detail: "\(error.message).",
            hint: "What was moved stays; begin again with the same command when it is back.")
    }

    private static func problem(_ response: HTTPResponse, _ base: String) -> Problem {
        // Whatever is no JSON is shown as it is.
        let told = (try? JSONParser.parse(response.body)) ?? [:]  // see above
        let code = told["error_code"]?.string ?? "\(response.status)"
        let message = told["message"]?.string ?? String(response.text.prefix(200))
        if response.status == 401 || response.status == 403 {
            return Problem(
                "move.denied", status: response.status, "\(base) does not let you do this", detail: message,
                hint:
                    "Give it a token with --from-token or --to-token, or MLFLOW_TRACKING_TOKEN; or write user:password@ before the host."
            )
        }
        return Problem("mlflow.\(code.lowercased())", status: response.status, "\(base) answered: \(message)")
    }
}

extension Problem {
    var isMLflowMissing: Bool { code == "mlflow.resource_does_not_exist" }
    var isMLflowTaken: Bool { code == "mlflow.resource_already_exists" }
}

extension JSONValue {
    /// A whole number that protocol buffers may have written as text.
    var wireInteger: Int64? {
        switch self {
        case .integer(let number): number
        case .number(let number): Int64(exactly: number)
        case .string(let text): Int64(text)
        default: nil
        }
    }

    var wireDouble: Double? {
        if let number = double { return number }
        switch string {
        case "NaN": return .nan
        case "Infinity": return .infinity
        case "-Infinity": return -.infinity
        case let text?: return Double(text)
        case nil: return nil
        }
    }

    /// `[{"key": …, "value": …}]`
    var wirePairs: Ordered<String> {
        var pairs = Ordered<String>()
        for item in array ?? [] {
            if let key = item["key"]?.string { pairs[key] = item["value"]?.string ?? "" }
        }
        return pairs
    }

    static func wire(_ pairs: Ordered<String>) -> JSONValue {
        .array(pairs.map { ["key": .string($0.key), "value": .string($0.value)] })
    }
}
