import Foundation
package import Manifests
import Outbound

/// Calls of one cluster's API. Each may be repeated, and may be made from many tasks at once.
///
/// 429 and what passes (502, 503, 504, a connection that broke) is tried again for a while, as long as `Retry-After` asks.
package final class KubernetesClient: Sendable {
    package let access: KubernetesAccess
    private let outbound: OutboundClient
    private let authority: String

    private static let patience = Duration.seconds(15)
    private static let budget = RetryBudget(attempts: 5, total: .seconds(20), longestPause: .seconds(5))
    /// Objects of one page of a list.
    private static let page = 500
    /// Times that a list is begun anew because it has grown too old.
    private static let listTries = 3
    /// Who manages the fields that we apply.
    package static let manager = "vagus"

    package init(_ access: KubernetesAccess) {
        self.access = access
        outbound = OutboundClient(
            configuration: OutboundConfiguration(maxRedirects: 0, connectionsPerHost: 64, tls: access.tls))
        authority = access.server
    }

    // MARK: - Objects

    /// The object of a path; nil when there is none.
    package func get(_ path: String) async throws(KubernetesError) -> JSONValue? {
        do throws(KubernetesError) {
            return try await object("GET", path, doing: "get \(path)")
        } catch {
            if error.code == .notFound { return nil }
            throw error
        }
    }

    /// All objects of a collection with these labels, page by page.
    package func list(_ path: String, labels: [(String, String)]) async throws(KubernetesError) -> [JSONValue] {
        let selector = labels.map { "\($0.0)=\($0.1)" }.joined(separator: ",")
        var tries = 1
        var (items, next): ([JSONValue], String) = ([], "")
        while true {
            let query = "labelSelector=\(Self.escaped(selector))&limit=\(Self.page)"
            do throws(KubernetesError) {
                let found = try await object(
                    "GET", "\(path)?\(query)\(next.isEmpty ? "" : "&continue=\(Self.escaped(next))")",
                    doing: "list \(path)")
                items += found["items"]?.array ?? []
                next = found["metadata"]?["continue"]?.string ?? ""
                if next.isEmpty { return items }
            } catch {
                // The rest of this list is forgotten there; half a list must never be told.
                guard error.code == .gone, tries < Self.listTries else { throw error }
                tries += 1
                (items, next) = ([], "")
            }
        }
    }

    /// Creates an object.
    ///
    /// - Throws: `.exists` when there is one of that name.
    @discardableResult
    package func create(_ collection: String, _ object: JSONValue) async throws(KubernetesError) -> JSONValue {
        let name = object["metadata"]?["name"]?.string ?? ""
        return try await self.object(
            "POST", "\(collection)?fieldManager=\(Self.manager)", object, doing: "create \(collection)/\(name)")
    }

    /// Has the object be so, whatever it was: server-side apply, and fields that others manage become ours, as is usual
    /// for controllers of what they own.
    @discardableResult
    package func apply(_ path: String, _ object: JSONValue) async throws(KubernetesError) -> JSONValue {
        try await self.object(
            "PATCH", "\(path)?fieldManager=\(Self.manager)&force=true", object, type: "application/apply-patch+yaml",
            doing: "apply \(path)")
    }

    /// Asks for an object's end; nothing happens when there is none.
    ///
    /// - Parameter grace: Seconds between SIGTERM and SIGKILL, of a pod.
    package func delete(_ path: String, grace: Int? = nil) async throws(KubernetesError) {
        var options: Ordered<JSONValue> = [
            "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background",
        ]
        if let grace { options["gracePeriodSeconds"] = .integer(Int64(grace)) }
        do throws(KubernetesError) {
            try await object("DELETE", path, .object(options), doing: "delete \(path)")
        } catch {
            if error.code != .notFound { throw error }
        }
    }

    // MARK: - Pods

    /// Hands over what a pod's container has written, and what it writes until it ends.
    package func log(
        of pod: String, container: String, patience: Duration, begun: () -> Void,
        output: ([UInt8]) async throws -> Void
    ) async throws {
        let request = request("GET", "\(pod)/log?container=\(container)&follow=true")
        var status = 0
        var refused: [UInt8] = []
        do {
            try await outbound.stream(
                request, headDeadline: Self.patience, idleDeadline: patience,
                head: { head in
                    status = head.status
                    begun()
                },
                onChunk: { bytes in
                    if (200..<300).contains(status) { return try await output(bytes) }
                    refused += bytes
                })
        } catch let error as OutboundError {
            throw failure(error)
        }
        guard (200..<300).contains(status) else {
            throw KubernetesError(status: status, body: refused, doing: "read \(pod)/log", cluster: access.name)
        }
    }

    /// Runs a command in a pod's container, to its end; its exit code.
    ///
    /// By WebSocket, `v4.channel.k8s.io`: the first byte of a message names its channel, and the third channel tells the end.
    /// A cluster does not end a command whose caller has gone.
    package func execute(
        _ command: [String], in pod: String, container: String, atMost: Duration
    ) async throws(KubernetesError) -> Int {
        let words = command.map { "&command=\(Self.escaped($0))" }.joined()
        let path = "\(pod)/exec?container=\(container)&stdout=true&stderr=true\(words)"
        let answer: WebSocketAnswer
        do throws(OutboundError) {
            answer = try await outbound.listen(
                to: request("GET", path), protocols: ["v4.channel.k8s.io"], deadline: atMost)
        } catch {
            throw failure(error)
        }
        guard answer.status == 101 else {
            throw KubernetesError(
                status: answer.status, body: [], doing: "execute a command in \(pod)", cluster: access.name)
        }
        guard let last = answer.messages.last(where: { $0.first == 3 }),
            let status = try? JSONParser.parse(Array(last.dropFirst()))  // told right here
        else { throw KubernetesError(.unreachable, "a command in \(pod) has not told its end") }
        if status["status"]?.string == "Success" { return 0 }
        let cause = status["details"]?["causes"]?.array?.first { $0["reason"]?.string == "ExitCode" }
        guard let code = cause?["message"]?.string.flatMap({ Int($0) }) else {
            throw KubernetesError(
                .invalid, "a command could not be run in \(pod): \(status["message"]?.string ?? "no reason told")")
        }
        return code
    }

    // MARK: - HTTP

    @discardableResult
    private func object(
        _ method: String, _ path: String, _ body: JSONValue? = nil, type: String = "application/json",
        doing what: String
    ) async throws(KubernetesError) -> JSONValue {
        let response: HTTPResponse
        do throws(OutboundError) {
            response = try await outbound.sendRetrying(
                request(method, path, body, type: type), deadline: Self.patience, budget: Self.budget)
        } catch {
            throw failure(error)
        }
        guard response.isSuccess else {
            throw KubernetesError(status: response.status, body: response.body, doing: what, cluster: access.name)
        }
        guard let json = try? JSONParser.parse(response.body) else {  // told right here
            throw KubernetesError(.unreachable, "cluster \"\(access.name)\" answers with what is no JSON")
        }
        return json
    }

    private func request(
        _ method: String, _ path: String, _ body: JSONValue? = nil, type: String = "application/json"
    ) -> HTTPRequest {
        // Names are ours and fixed, so that sending anything twice is sending it once: the header tells our own client so.
        var headers = [("Accept", "application/json"), ("Idempotency-Key", path)]
        switch access.identity {
        case .none: break
        case .token(let token): headers.append(("Authorization", "Bearer \(token)"))
        case .tokenFile(let file):
            let token = FileManager.default.contents(atPath: file).map { String(decoding: $0, as: UTF8.self) }
            // Without it the cluster says that it does not know us, which is told.
            if let token = token?.trimmingCharacters(in: .whitespacesAndNewlines), !token.isEmpty {
                headers.append(("Authorization", "Bearer \(token)"))
            }
        case .password(let user, let password):
            headers.append(("Authorization", "Basic \(Data("\(user):\(password)".utf8).base64EncodedString())"))
        }
        guard let body else { return HTTPRequest(method, url: authority + path, headers: headers) }
        return HTTPRequest(
            method, url: authority + path, headers: headers + [("Content-Type", type)], body: .bytes(body.bytes))
    }

    private func failure(_ error: OutboundError) -> KubernetesError {
        if error.code == .cancelled { return KubernetesError(.cancelled, error.message) }
        return KubernetesError(
            .unreachable, "cluster \"\(access.name)\" does not answer at \(access.server): \(error.message)",
            hint: error.code == .tls
                ? "Look at the certificate-authority of this context." : "Try: kubectl --context \(access.name) version"
        )
    }

    private static func escaped(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? text
    }
}
