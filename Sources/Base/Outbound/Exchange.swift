import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix

/// One request and its answer, redirects included, read by a task of its own.
struct Exchange: Sendable {
    let request: HTTPRequest
    let client: HTTPClient
    let configuration: OutboundConfiguration
    let patience: Patience

    /// Sends the request and lets `consume` take the parts of the answer.
    func run<Result>(_ consume: (Mailbox) async throws -> Result) async throws -> Result {
        let start = ContinuousClock.now
        let mailbox = Mailbox(now: start)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await produce(into: mailbox) }
            group.addTask { try await watch(mailbox, since: start) }
            defer {
                group.cancelAll()
                mailbox.fail(OutboundError(.cancelled, "the rest of the answer was not wanted"))
            }
            return try await consume(mailbox)
        }
    }

    /// Ends the exchange when it takes too long.
    private func watch(_ mailbox: Mailbox, since start: ContinuousClock.Instant) async throws {
        while true {
            let now = ContinuousClock.now
            let limit = mailbox.overdue(patience, since: start, now: now)
            if let limit, limit.at <= now {
                return mailbox.fail(OutboundError(.timedOut, "\(target): \(limit.reason)"))
            }
            // Before the head is there the idle limit does not count yet: look again when it may.
            let soonest = now + min(patience.idle ?? Patience.longestLook, Patience.longestLook)
            try await Task.sleep(until: min(limit?.at ?? soonest, soonest), clock: .continuous)
        }
    }

    private func produce(into mailbox: Mailbox) async {
        do {
            var next: HTTPRequest? = request
            var redirectsLeft = configuration.maxRedirects
            while let current = next {
                next = try await hop(current, redirectsLeft: redirectsLeft, into: mailbox)
                redirectsLeft -= 1
            }
            try await mailbox.put(.end)
        } catch {
            mailbox.fail(OutboundError(error, target: target))
        }
    }

    /// Sends one request; returns the next one when the answer points elsewhere.
    private func hop(_ request: HTTPRequest, redirectsLeft: Int, into mailbox: Mailbox) async throws -> HTTPRequest? {
        let url = try Self.checkedURL(request.url, configuration)
        guard configuration.addressGuard == .publicOnly, let host = url.hostWithoutBrackets else {
            return try await hop(request, redirectsLeft: redirectsLeft, on: client, into: mailbox)
        }
        // The name is pinned to the address that was looked at, by a client of its own.
        var settings = OutboundClient.settings(configuration)
        let address = try await AddressGuard.publicAddress(of: host)
        if address != host { settings.dnsOverride = [host: address] }
        let pinned = HTTPClient(eventLoopGroup: .singletonMultiThreadedEventLoopGroup, configuration: settings)
        do {
            let next = try await hop(request, redirectsLeft: redirectsLeft, on: pinned, into: mailbox)
            try await pinned.shutdown()
            return next
        } catch {
            try? await pinned.shutdown()  // the first error is the one to tell
            throw error
        }
    }

    private func hop(
        _ request: HTTPRequest, redirectsLeft: Int, on client: HTTPClient, into mailbox: Mailbox
    ) async throws -> HTTPRequest? {
        let longest = TimeAmount(patience.total ?? patience.head ?? Patience.longestLook)
        let response = try await client.execute(try request.wire(), deadline: .now() + longest)
        let head = HTTPResponse(
            status: Int(response.status.code), headers: response.headers.map { ($0.name, $0.value) })
        if redirectsLeft > 0, let next = request.following(head) { return next }
        try await mailbox.put(.head(head))
        for try await buffer in response.body where buffer.readableBytes > 0 {
            try await mailbox.put(.chunk(Array(buffer.readableBytesView)))
        }
        return nil
    }

    static func checkedURL(_ text: String, _ configuration: OutboundConfiguration) throws(OutboundError) -> URL {
        guard let url = URL(string: text), let scheme = url.scheme?.lowercased() else {
            throw OutboundError(.badURL, "\"\(text)\" is not a URL")
        }
        switch scheme {
        case "http", "https":
            guard url.host?.isEmpty == false else { throw OutboundError(.badURL, "\"\(text)\" names no host") }
        case "unix", "http+unix", "https+unix":
            guard configuration.allowsUnixSockets, configuration.addressGuard == .any else {
                throw OutboundError(.addressNotAllowed, "unix sockets are not allowed here")
            }
        default: throw OutboundError(.badURL, "the scheme \"\(scheme)\" is not supported, only http and https are")
        }
        return url
    }

    private var target: String { "\(request.method) \(request.publicURL)" }
}

extension URL {
    /// The host as the connection takes it: IPv6 addresses without brackets.
    var hostWithoutBrackets: String? {
        guard let host else { return nil }
        return host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
    }
}

extension HTTPRequest {
    /// The URL as errors may quote it: query and password may be secret.
    var publicURL: String {
        guard var parts = URLComponents(string: url) else { return "the server" }
        (parts.query, parts.fragment, parts.user, parts.password) = (nil, nil, nil, nil)
        return parts.string ?? "the server"
    }

    /// The request that a redirect asks for; nil when there is none to follow.
    fileprivate func following(_ response: HTTPResponse) -> HTTPRequest? {
        guard [301, 302, 303, 307, 308].contains(response.status), method == "GET" || method == "HEAD",
            let location = response.header("location"), let base = URL(string: url),
            let target = URL(string: location, relativeTo: base)?.absoluteURL
        else { return nil }
        var next = self
        next.url = target.absoluteString
        if (target.scheme, target.host, target.port) != (base.scheme, base.host, base.port) {
            // Another server must not see what was meant for this one.
            let secret: Set = ["authorization", "cookie", "proxy-authorization"]
            next.headers.removeAll { secret.contains($0.0.lowercased()) }
        }
        return next
    }

    fileprivate func wire() throws(OutboundError) -> HTTPClientRequest {
        var wire = HTTPClientRequest(url: url)
        wire.method = HTTPMethod(rawValue: method)
        for (name, value) in headers { wire.headers.add(name: name, value: value) }
        if !wire.headers.contains(name: "user-agent") { wire.headers.add(name: "user-agent", value: "vagus") }
        // A socket's path is no host, yet HTTP/1.1 wants one named (RFC 9112 §3.2), and Go's servers insist.
        if url.lowercased().prefix(while: { $0 != ":" }).hasSuffix("unix"), !wire.headers.contains(name: "host") {
            wire.headers.add(name: "host", value: "localhost")
        }
        switch body {
        case .none: break
        case .bytes(let bytes): wire.body = .bytes(ByteBuffer(bytes: bytes))
        case .file(let path):
            let file = try FileChunks(path: path)
            wire.body = .stream(file, length: .known(file.size))
        case .stream(let pieces, let length):
            wire.body = .stream(BufferedPieces(pieces: pieces), length: length.map { .known($0) } ?? .unknown)
        }
        return wire
    }
}

extension OutboundError {
    /// Translates what the HTTP client threw.
    init(_ error: any Error, target: String) {
        func make(_ code: Code, _ reason: String) -> OutboundError { OutboundError(code, "\(target): \(reason)") }
        switch error {
        case let error as OutboundError: self = error
        case is CancellationError: self = make(.cancelled, "the request was cancelled")
        case let error as HTTPClientError: self = Self.make(error, target: target)
        case is NIOConnectionError: self = make(.refused, "could not connect")
        case let error as IOError:
            let isRefusal = [ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ENOENT, EACCES].contains(error.errnoCode)
            let reason = String(cString: strerror(error.errnoCode))
            self = make(isRefusal ? .refused : .broken, isRefusal ? "could not connect (\(reason))" : reason)
        case is ChannelError: self = make(.broken, "the connection was closed")
        case let error as HTTPParserError: self = make(.broken, "the answer is not HTTP (\(error))")
        default:
            // The TLS library is not imported here; its errors are known by their module.
            let isTLS = String(reflecting: type(of: error)).hasPrefix("NIOSSL.")
            self = make(isTLS ? .tls : .other, isTLS ? "no trusted connection (\(error))" : "\(error)")
        }
    }

    private static func make(_ error: HTTPClientError, target: String) -> OutboundError {
        let code: Code =
            switch error {
            case .connectTimeout, .readTimeout, .writeTimeout, .deadlineExceeded, .getConnectionFromPoolTimeout,
                .tlsHandshakeTimeout:
                .timedOut
            case .invalidURL, .emptyHost, .emptyScheme, .missingSocketPath: .badURL
            case .remoteConnectionClosed, .uncleanShutdown: .broken
            case .cancelled, .requestStreamCancelled: .cancelled
            default: .other
            }
        return OutboundError(code, "\(target): \(error.shortDescription)")
    }
}
