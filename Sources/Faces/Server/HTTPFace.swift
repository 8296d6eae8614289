import API
import Blobs
import HTTPTypes
import Hummingbird
import Kernel
import Logging
import Manifests
import NIOCore
import ServiceLifecycle
import Web

/// Answers HTTP: operations, blobs, the event feed, health, and the web pages.
struct HTTPFace: HTTPResponder {
    typealias Context = LoopContext

    let switchboard: Switchboard
    let table: OperationTable
    let doorman: Doorman
    let blobs: BlobRoutes
    let output: OutputRoute?
    let feed: EventFeed
    let web: WebPages
    let git: GitRoutes?
    let hooks: HookRoutes?
    let mounts: MountRoutes
    let instruments: Instruments
    let time: any TimeSource
    let ids: IdentifierSource
    let logger: Logger

    /// Bytes of a JSON body.
    static let bodyLimit = 4 << 20

    func respond(to request: Request, context: Context) async throws -> Response {
        let correlation = request.headers[.init("X-Request-ID") ?? .userAgent].flatMap(Self.cleanID) ?? ids.next("req")
        let began = ContinuousClock.now
        var response: Response
        do {
            response = try await answer(request, correlation: correlation)
            if let name = HTTPField.Name("X-Request-ID") { response.headers[name] = correlation }
        } catch {
            response = refuse(error, request, correlation: correlation)
        }
        count(request, response, since: began, correlation: correlation)
        return response.paced(by: context.loop)
    }

    /// Counts a request under its operation, or the protocol or part of the face that answered it.
    private func count(
        _ request: Request, _ response: Response, since began: ContinuousClock.Instant, correlation: String
    ) {
        let operation = name(of: request)
        let duration = ContinuousClock.now - began
        let (seconds, attoseconds) = duration.components
        instruments.observe(
            "vagus_http_request_duration_seconds", ["operation", operation],
            seconds: Double(seconds) + Double(attoseconds) / 1e18)
        instruments.count(
            "vagus_http_requests_total", ["code", String(response.status.code), "operation", operation])
        // Agents report all the time, and who only looks changes nothing: neither is worth a span.
        guard ![.get, .head].contains(request.method), isChange(request) else { return }
        instruments.note(
            Instruments.Request(
                correlation: correlation, operation: operation,
                began: time.now.advanced(by: .zero - duration), duration: duration, status: response.status.code))
    }

    private func isChange(_ request: Request) -> Bool {
        let match = try? table.match(method: request.method.rawValue, path: request.uri.path[...])  // nil: no operation
        return match.map { $0.operation.permission != .agent } ?? request.uri.path.hasPrefix("/ui/")
    }

    private func name(of request: Request) -> String {
        let path = request.uri.path
        if let mount = mounts.mount(at: path) { return mount.prefix }
        if path.hasPrefix("/api/") {
            if path == "/api/v1/events" { return "events.feed" }
            if path.hasPrefix("/api/v1/blobs") { return "blobs" }
            let match = try? table.match(method: request.method.rawValue, path: path[...])  // nil: no such operation
            return match?.operation.name ?? "none"
        }
        let part = path.dropFirst().prefix { $0 != "/" }
        return ["git", "hooks", "ui", "-", ".well-known"].contains(part) ? String(part) : "pages"
    }

    private func answer(_ request: Request, correlation: String) async throws -> Response {
        let path = request.uri.path
        switch path {
        case "/-/ready", "/-/healthy": return Response.text("ok\n")
        default: break
        }
        // Forges may come by a name that leads here through a tunnel.
        try doorman.checkSite(of: request, mayHaveAnyName: path.hasPrefix("/hooks/"))
        if let mount = mounts.mount(at: path) {
            return await mounts.respond(to: request, at: mount, correlation: correlation)
        }
        if path.hasPrefix("/api/") {
            let call = try doorman.call(for: request, correlation: correlation)
            return try await api(request, path: path, call: call)
        }
        if path.hasPrefix("/git/"), let git { return await git.respond(to: request, correlation: correlation) }
        if path.hasPrefix("/hooks/"), let hooks {
            return try await hooks.respond(to: request, correlation: correlation)
        }
        if let told = try await OIDC(switchboard: switchboard).respond(to: request) { return told }
        return try await web.respond(to: request, correlation: correlation)
    }

    private func api(_ request: Request, path: String, call: Call) async throws -> Response {
        if path == "/api/v1/events" { return try feed.respond(to: request, call: call) }
        if path == "/api/v1/blobs" || path.hasPrefix("/api/v1/blobs/") {
            return try await blobs.respond(to: request, path: path, call: call)
        }
        if let output, OutputRoute.isMeant(path) {
            return try await output.respond(to: request, path: path, call: call)
        }
        let match = try table.match(method: request.method.rawValue, path: path[...])
        var body: JSONValue?
        if [.post, .put].contains(request.method) {
            let bytes = try await Self.collect(request, limit: Self.bodyLimit)
            do {
                body = bytes.isEmpty ? [:] : try JSONParser.parse(bytes)
            } catch {
                throw Problem("body.not-json", status: 400, error.message, location: error.location)
            }
        }
        let input = try OperationTable.input(match, query: (request.uri.query ?? "")[...], body: body)
        guard match.operation.waits else {
            return .json(try await switchboard.call(match.operation.name, input, as: call))
        }
        // Whoever waits for news is sent away when the server is told to stop, which it would wait for otherwise.
        do {
            return .json(
                try await cancelWhenGracefulShutdown {
                    try await switchboard.call(match.operation.name, input, as: call)
                })
        } catch is CancellationError {
            throw Problem("server.stopping", status: 503, "the server stops", hint: "Ask again.")
        }
    }

    /// The whole body, refused as soon as it is known to be too large.
    static func collect(_ request: Request, limit: Int) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        for try await buffer in request.body {
            guard bytes.count + buffer.readableBytes <= limit else {
                throw Problem(
                    "body.too-large", status: 413, "the body is larger than \(limit >> 20) MiB",
                    hint: "Send large content to /api/v1/blobs.")
            }
            bytes.append(contentsOf: buffer.readableBytesView)
        }
        return bytes
    }

    private func refuse(_ error: any Error, _ request: Request, correlation: String) -> Response {
        let problem = Problem(describing: error)
        if problem.code == "internal" {
            logger.error(
                "request failed",
                metadata: [
                    "method": "\(request.method)", "path": "\(request.uri.path)", "request_id": "\(correlation)",
                    "error": "\(error)",
                ])
        }
        var json = problem.json.object ?? [:]
        json["type"] = .string("urn:vagus:problem:\(problem.code)")
        json["title"] = .string(problem.message)
        json["request_id"] = .string(correlation)
        var response = Response.json(.object(json), status: problem.status == 0 ? 502 : problem.status)
        response.headers[.contentType] = "application/problem+json"
        if problem.status == 429 || problem.status == 503 { response.headers[.retryAfter] = "1" }
        if problem.status == 401 { response.headers[.wwwAuthenticate] = "Bearer realm=\"vagus\"" }
        return response
    }

    private static func cleanID(_ text: String) -> String? {
        let isClean =
            (8...64).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) || $0 == 0x2D || $0 == 0x5F
            }
        return isClean ? text : nil
    }
}

extension Response {
    static func json(_ value: JSONValue, status: Int = 200) -> Response {
        var response = Response(
            status: .init(code: status), body: .init(byteBuffer: ByteBuffer(bytes: value.bytes)))
        response.headers[.contentType] = "application/json"
        return response
    }

    static func text(_ text: String, status: Int = 200, type: String = "text/plain; charset=utf-8") -> Response {
        var response = Response(status: .init(code: status), body: .init(byteBuffer: ByteBuffer(string: text)))
        response.headers[.contentType] = type
        return response
    }
}
