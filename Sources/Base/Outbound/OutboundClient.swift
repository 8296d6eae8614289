import AsyncHTTPClient
import Foundation
import NIOCore
import NIOPosix
import Synchronization

/// The only way out: an HTTP client in which every request has a deadline, a size limit and an address guard.
///
/// Connections are kept and shared. Time is measured with the continuous clock. May be used from many tasks at once.
package final class OutboundClient: Sendable {
    package let configuration: OutboundConfiguration
    private let client: HTTPClient
    private let isShutDown = Atomic<Bool>(false)

    package init(configuration: OutboundConfiguration = OutboundConfiguration()) {
        self.configuration = configuration
        client = HTTPClient(
            eventLoopGroup: .singletonMultiThreadedEventLoopGroup, configuration: Self.settings(configuration))
    }

    deinit {
        guard !isShutDown.load(ordering: .acquiring) else { return }
        client.shutdown { _ in }
    }

    /// Closes the connections.
    ///
    /// Requests under way fail; calling it twice is fine.
    package func shutdown() async {
        guard !isShutDown.exchange(true, ordering: .acquiringAndReleasing) else { return }
        try? await client.shutdown()  // there is nothing left that a failure could harm
    }

    /// Sends a request and collects the answer, whatever its status.
    ///
    /// - Parameters:
    ///   - request: What to send.
    ///   - deadline: How long all of it may take: connecting, sending, receiving.
    ///   - limit: Bytes of the body, when fewer than the configuration allows.
    /// - Returns: Status, headers and body.
    /// - Throws: Why there is no whole answer; a status such as 500 is an answer.
    package func send(
        _ request: HTTPRequest, deadline: Duration, limit: Int? = nil
    ) async throws(OutboundError) -> HTTPResponse {
        let limit = min(limit ?? .max, configuration.maxResponseBytes)
        return try await exchange(request, Patience(total: deadline)) { mailbox in
            try await mailbox.collect(limit: limit)
        }
    }

    /// Sends a request and hands over the body piece by piece.
    ///
    /// - Parameters:
    ///   - request: What to send.
    ///   - headDeadline: How long the head may take.
    ///   - idleDeadline: How long the server may be silent between two pieces; the time spent in `onChunk` does not
    ///     count.
    ///   - head: Sees status and headers first; when it throws, the body is not read.
    ///   - onChunk: Sees each piece; the network waits meanwhile.
    /// - Returns: The status.
    /// - Throws: `OutboundError`, or what the closures throw.
    @discardableResult
    package func stream(
        _ request: HTTPRequest, headDeadline: Duration = .seconds(30), idleDeadline: Duration,
        head: (HTTPResponse) async throws -> Void = { _ in },
        onChunk: ([UInt8]) async throws -> Void
    ) async throws -> Int {
        let patience = Patience(head: headDeadline, idle: idleDeadline)
        let exchange = Exchange(request: request, client: client, configuration: configuration, patience: patience)
        return try await exchange.run { mailbox in
            var status = 0
            while true {
                switch try await mailbox.take() {
                case .head(let response):
                    status = response.status
                    try await head(response)
                case .chunk(let bytes): try await onChunk(bytes)
                case .end: return status
                }
            }
        }
    }

    /// Loads a file.
    ///
    /// It appears under `path` whole and synced, or not at all.
    ///
    /// - Parameters:
    ///   - request: What to send.
    ///   - path: Where the file goes; an older one is replaced.
    ///   - deadline: How long all of it may take.
    ///   - idleDeadline: How long the server may be silent.
    /// - Returns: The answer without its body, or, when the status is no success, with it and without a file.
    /// - Throws: Why there is no file; nothing is left then.
    package func download(
        _ request: HTTPRequest, to path: String, deadline: Duration = .seconds(3600),
        idleDeadline: Duration = .seconds(60)
    ) async throws(OutboundError) -> HTTPResponse {
        let patience = Patience(total: deadline, head: idleDeadline, idle: idleDeadline)
        let configuration = configuration
        return try await exchange(request, patience) { mailbox in
            guard case .head(var response) = try await mailbox.take() else {
                throw OutboundError(.broken, "the answer has no head")
            }
            guard response.isSuccess else {
                response.body = try await mailbox.collectBody(limit: configuration.maxResponseBytes)
                return response
            }
            let file = try await PartialFile(for: path)
            do {
                try await mailbox.pour(into: file, limit: configuration.maxDownloadBytes)
                try await file.publish()
            } catch {
                await file.discard()
                throw error
            }
            return response
        }
    }

    /// Looks whether a URL could be sent to: what it is made of, and, where only public addresses are allowed, its host.
    ///
    /// Sending looks again: a name may point elsewhere by then.
    package func check(_ url: String) async throws(OutboundError) {
        let host = try Exchange.checkedURL(url, configuration).hostWithoutBrackets
        if configuration.addressGuard == .publicOnly, let host { _ = try await AddressGuard.publicAddress(of: host) }
    }

    private func exchange<Result>(
        _ request: HTTPRequest, _ patience: Patience, _ consume: (Mailbox) async throws -> Result
    ) async throws(OutboundError) -> Result {
        let exchange = Exchange(request: request, client: client, configuration: configuration, patience: patience)
        do {
            return try await exchange.run(consume)
        } catch {
            throw OutboundError(error, target: "\(request.method) \(request.publicURL)")
        }
    }

    static func settings(_ configuration: OutboundConfiguration) -> HTTPClient.Configuration {
        var settings = HTTPClient.Configuration(
            tlsConfiguration: configuration.tls?.configuration, redirectConfiguration: .disallow,
            timeout: .init(connect: TimeAmount(configuration.connectTimeout)))
        // A refusal is told at once; trying again is the caller's decision (`sendRetrying`).
        settings.connectionPool.retryConnectionEstablishment = false
        settings.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = configuration.connectionsPerHost
        return settings
    }
}

extension TimeAmount {
    init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self = .nanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}

extension Mailbox {
    fileprivate func collect(limit: Int) async throws -> HTTPResponse {
        guard case .head(var response) = try await take() else {
            throw OutboundError(.broken, "the answer has no head")
        }
        response.body = try await collectBody(limit: limit)
        return response
    }

    fileprivate func collectBody(limit: Int) async throws -> [UInt8] {
        var body: [UInt8] = []
        while case .chunk(let bytes) = try await take() {
            guard body.count + bytes.count <= limit else {
                throw OutboundError(.tooLarge, "the answer is larger than \(limit) bytes")
            }
            body += bytes
        }
        return body
    }

    fileprivate func pour(into file: PartialFile, limit: Int64) async throws {
        var size: Int64 = 0
        while case .chunk(let bytes) = try await take() {
            size += Int64(bytes.count)
            guard size <= limit else { throw OutboundError(.tooLarge, "the file is larger than \(limit) bytes") }
            try await file.write(bytes)
        }
    }
}
