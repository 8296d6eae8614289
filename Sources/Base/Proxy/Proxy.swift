package import Logging
import NIOCore
import NIOPosix
import Synchronization

/// The reverse-proxy data plane: HTTP/1.1 and HTTP/2 in, HTTP/1.1 and h2c out, one route table swapped whole.
///
/// What comes in: connections of clients, and a `RouteTable` by `swap`. What goes out: requests to endpoints, and
/// exact `ProxyCounters` per revision. It owns no file and asks nobody: who changes tables and reads counters is
/// somebody else's business.
///
/// How a request goes through (each line is a file):
/// - `ClientConnection` gathers bytes; `RequestHead` reads the head in place, strictly, and copies nothing.
/// - `CompiledTable` finds the route; `CompiledRoute` says whose turn it is: `RouteRules`, `StickySlots`, or exactly
///   by weight and across all loops `WeightSchedule`. `RateLimiter` may say no before that.
/// - `HeadWriter` writes the head anew: hop-by-hop headers out, identity in.
/// - `Exchange` picks the least loaded live endpoint and a kept connection of the same event loop, tries again where
///   that is safe, and counts the request once.
/// - `UpstreamConnection` reads the response head the same way; bodies pass by as slices, `BodyReader` only watches
///   for their end. Neither side is read while the other cannot take more.
/// - `UpstreamTranslator` lets it do so on a stream of an `HTTP2Upstream`, which all requests of a loop share.
/// - `WaitingLine` holds requests that no endpoint may take yet; `MirrorShot` sends a copy elsewhere.
/// - `Acceptor` puts TLS (`CertificateStore`) and HTTP/2 (`HTTP2Translator`) before all that where they are spoken.
///
/// A connection, its upstreams and its timers live on one loop, so nothing here is locked but the counters.
/// Why not NIO's HTTP codec: it costs 2.5 times the CPU of passing bytes on (80 against 31 µs a request, Swift 6.3.1).
package final class ProxyServer: Sendable {
    private let core: ProxyCore

    /// A proxy with an empty table; it listens when it is run.
    package init(configuration: ProxyConfiguration = ProxyConfiguration(), logger: Logger) {
        core = ProxyCore(configuration: configuration, logger: logger)
    }

    /// The table that new requests are routed by.
    package var table: RouteTable { core.table.source }

    /// Puts another table in place, for every request whose head is read from now on.
    ///
    /// Requests under way keep the one they began with; connections to endpoints that are gone close when they are
    /// free. Turns of unchanged weights go on where they were. Safe from anywhere, also while running.
    package func swap(_ table: RouteTable) {
        core.swap(table)
    }

    /// Everything counted since this object was made; each revision's numbers belong together.
    package func counters() -> ProxyCounters {
        core.counters.snapshot(epoch: core.epoch, connections: core.connections.load(ordering: .relaxed))
    }

    /// Revisions that have come, or whose requests have ended, since an earlier reading (0: since ever), in no order.
    package func changes(since reading: UInt64) -> (epoch: String, revisions: [RevisionCounters], reading: UInt64) {
        let (revisions, now) = core.counters.changes(since: reading)
        return (core.epoch, revisions, now)
    }

    /// Listens and serves until the task is cancelled; then stops accepting, lets requests under way end, closes.
    ///
    /// - Parameters:
    ///   - listen: Address and port to bind; port 0 picks a free one.
    ///   - onReady: Told the bound port once connections are accepted.
    /// - Throws: `ProxyError` when the address cannot be bound or the certificate not be used.
    package func run(
        listen: (host: String, port: Int), onReady: @Sendable (Int) async -> Void
    ) async throws {
        let (configuration, logger) = (core.configuration, core.logger)
        let certificates =
            configuration.tls.isEmpty ? nil : try CertificateStore(configuration.tls, http2: configuration.http2)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: configuration.loops)
        do {
            let workers = try await Self.makeWorkers(group, core)
            let channel = try await bind(
                listen, group, Acceptor(core: core, workers: workers, certificates: certificates))
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                if let certificates { tasks.addTask { await Self.follow(certificates, logger) } }
                defer { tasks.cancelAll() }
                try await withTaskCancellationHandler {
                    await onReady(channel.localAddress?.port ?? listen.port)
                    try await channel.closeFuture.get()
                } onCancel: {
                    core.isStopping.store(true, ordering: .relaxed)
                    channel.close(promise: nil)
                }
            }
            core.logger.info("proxy drains", metadata: ["connections": "\(core.connections.load(ordering: .relaxed))"])
            try await Self.drain(workers)
        } catch {
            try await group.shutdownGracefully()
            throw error
        }
        try await group.shutdownGracefully()
    }

    /// Takes up a renewed certificate, until cancelled.
    private static func follow(_ certificates: CertificateStore, _ logger: Logger) async {
        while !Task.isCancelled {
            do { try await Task.sleep(for: ProxyConfiguration.certificateInterval) } catch { return }  // cancelled
            certificates.reload(logger)
        }
    }

    /// A worker on each loop, found by the loop.
    private static func makeWorkers(
        _ group: MultiThreadedEventLoopGroup, _ core: ProxyCore
    ) async throws -> [ObjectIdentifier: NIOLoopBound<Worker>] {
        var workers: [ObjectIdentifier: NIOLoopBound<Worker>] = [:]
        for loop in group.makeIterator() {
            workers[ObjectIdentifier(loop)] = try await loop.submit {
                NIOLoopBound(Worker(core: core, loop: loop), eventLoop: loop)
            }.get()
        }
        return workers
    }

    private func bind(
        _ listen: (host: String, port: Int), _ group: MultiThreadedEventLoopGroup, _ acceptor: Acceptor
    ) async throws -> any Channel {
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: Self.backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try acceptor.accept(channel) }
            }
        do {
            return try await bootstrap.bind(host: listen.host, port: listen.port).get()
        } catch {
            throw ProxyError(
                .cannotListen, "could not listen on \(listen.host):\(listen.port): \(error)",
                hint: "Choose another address, or stop the program that uses it.")
        }
    }

    private static func drain(_ workers: [ObjectIdentifier: NIOLoopBound<Worker>]) async throws {
        let futures = workers.values.map { bound in
            bound.eventLoop.flatSubmit { bound.value.drain() }
        }
        for future in futures { try await future.get() }
    }

    /// Connections the kernel holds for us between two accepts.
    private static let backlog: Int32 = 1_024
}

/// Why the proxy could not be run.
package struct ProxyError: Error, Equatable, CustomStringConvertible {
    package enum Code: Sendable {
        case cannotListen
        case badCertificate
    }

    package let code: Code
    package let message: String
    package let hint: String

    package init(_ code: Code, _ message: String, hint: String) {
        self.code = code
        self.message = message
        self.hint = hint
    }

    package var description: String { message }
}
