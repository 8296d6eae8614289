package import API
package import Manifests
package import Outbound

/// Speaks to a server: one call for every operation, and the few streams that are none.
package struct VagusClient: Sendable {
    /// "http://127.0.0.1:8420", without a slash at the end.
    package let server: String
    private let token: String?
    private let outbound: OutboundClient
    /// Time that an operation may take beyond the wait that it asks for itself.
    package static let patience = Duration.seconds(60)

    package init(server: String, token: String?, outbound: OutboundClient) {
        self.server = server.hasSuffix("/") ? String(server.dropLast()) : server
        self.token = token
        self.outbound = outbound
    }

    /// Calls an operation.
    ///
    /// - Throws: `Problem`: the server's own, or `server.unreachable` (status 0) when there was no answer.
    package func call<Input: Manifest, Output: Manifest>(
        _ operation: Operation<Input, Output>, _ input: Input
    ) async throws -> Output {
        let request = Wire.request(operation, input.json)
        let answer = try await send(
            request.method, request.target, body: request.body,
            deadline: Self.patience + (operation.wait?.duration ?? .zero))
        return try Output(json: answer, at: [])
    }

    /// Sends JSON, reads JSON; a problem that comes back is thrown.
    package func send(
        _ method: String, _ target: String, body: JSONValue? = nil, deadline: Duration = patience
    ) async throws -> JSONValue {
        var headers = self.headers
        if body != nil { headers.append(("Content-Type", "application/json")) }
        let request = HTTPRequest(
            method, url: server + target, headers: headers, body: body.map { .bytes($0.bytes) } ?? .none)
        let response: HTTPResponse
        do { response = try await outbound.send(request, deadline: deadline) } catch { throw unreachable(error) }
        guard response.isSuccess else { throw Self.problem(response) }
        return response.body.isEmpty ? [:] : try JSONParser.parse(response.body)
    }

    /// Appends a piece of a job's output, as it is.
    package func append(_ bytes: [UInt8], _ place: OutputInput) async throws -> LeaseState {
        let query = [
            ("stage", place.stage), ("job", place.job), ("epoch", "\(place.epoch)"), ("offset", "\(place.offset)"),
        ]
        .map { "\($0)=\(Wire.encode($1))" }.joined(separator: "&")
        let request = HTTPRequest(
            "PUT", url: "\(server)/api/v1/leases/\(Wire.encode(place.run))/output?\(query)",
            headers: headers + [("Content-Type", "application/octet-stream")], body: .bytes(bytes))
        let response: HTTPResponse
        do { response = try await outbound.send(request, deadline: Self.patience) } catch { throw unreachable(error) }
        guard response.isSuccess else { throw Self.problem(response) }
        return try LeaseState(json: JSONParser.parse(response.body), at: [])
    }

    /// Whether the server has the blob.
    package func hasBlob(_ digest: String) async throws -> Bool {
        let request = HTTPRequest("HEAD", url: "\(server)/api/v1/blobs/\(digest)", headers: headers)
        let response: HTTPResponse
        do { response = try await outbound.send(request, deadline: Self.patience) } catch { throw unreachable(error) }
        if response.status == 404 { return false }
        guard response.isSuccess else { throw Self.problem(response) }
        return true
    }

    /// Sends a file up; the same content twice is one blob.
    package func upload(file: String) async throws -> (digest: String, size: Int64) {
        let request = HTTPRequest("POST", url: "\(server)/api/v1/blobs", headers: headers, body: .file(file))
        let response: HTTPResponse
        do { response = try await outbound.send(request, deadline: .seconds(3600)) } catch { throw unreachable(error) }
        guard response.isSuccess else { throw Self.problem(response) }
        let json = try JSONParser.parse(response.body)
        return (json["digest"]?.string ?? "", Int64(json["size_bytes"]?.int ?? 0))
    }

    /// Brings a blob to a local file, whole or not at all.
    package func download(_ digest: String, to path: String) async throws {
        let request = HTTPRequest(url: "\(server)/api/v1/blobs/\(digest)", headers: headers)
        let response: HTTPResponse
        do { response = try await outbound.download(request, to: path) } catch { throw unreachable(error) }
        guard response.isSuccess else { throw Self.problem(response) }
    }

    /// Hands over events as they come, those after `sequence` first, until `body` answers false or the stream breaks.
    package func events(after sequence: Int64, _ body: (Event) async throws -> Bool) async throws {
        struct Enough: Error {}
        var parser = ServerSentEvents()
        let request = HTTPRequest(
            url: "\(server)/api/v1/events?after=\(sequence)", headers: headers + [("Accept", "text/event-stream")])
        do {
            try await outbound.stream(
                request, idleDeadline: .seconds(60),
                head: { response in
                    if !response.isSuccess { throw Self.problem(response) }
                },
                onChunk: { bytes in
                    for message in try parser.feed(bytes) {
                        let event = try Event(json: JSONParser.parse(message.data), at: [])
                        if try await !body(event) { throw Enough() }
                    }
                })
        } catch is Enough {
            return
        } catch let error as OutboundError {
            throw unreachable(error)
        }
    }

    private var headers: [(String, String)] {
        token.map { [("Authorization", "Bearer \($0)")] } ?? []
    }

    private func unreachable(_ error: any Error) -> any Error {
        guard let error = error as? OutboundError else { return error }
        if error.code == .cancelled { return CancellationError() }
        return Problem(
            "server.unreachable", status: 0, "no answer from the server at \(server)", detail: "\(error.message).",
            hint: "Is it running? Start one with: vagus dev --data DIR. Or name another with --server or VAGUS_SERVER.")
    }

    private static func problem(_ response: HTTPResponse) -> Problem {
        do {
            // RFC 9457 members that say the same again, and whatever a newer server adds, are passed over.
            let known = Problem.fields.map(\.name)
            let members = try JSONParser.parse(response.body).object ?? [:]
            return try Problem(
                json: .object(Ordered(members.filter { known.contains($0.key) }.map { ($0.key, $0.value) })), at: [])
        } catch {
            return Problem(
                "http.\(response.status)", status: response.status, "the server answered \(response.status)",
                detail: String(response.text.prefix(200)))
        }
    }
}

extension Problem {
    /// Nobody answered: trying again may help, and nothing is known of the outcome.
    package var isUnreachable: Bool { code == "server.unreachable" }
}
