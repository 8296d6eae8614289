import Logging
import NIOCore
import Synchronization

@testable import Proxy

/// A running proxy and what stands behind it.
struct Lab: Sendable {
    let proxy: ProxyServer
    let port: Int

    func connect() async throws -> Wire { try await Wire.connect(to: port) }

    func counters(_ revision: String = "1") -> RevisionCounters {
        proxy.counters().revision(revision, of: "test/web") ?? RevisionCounters(service: "?", revision: revision)
    }
}

/// Runs a proxy for as long as `body` takes, then drains it.
func withProxy(
    _ table: RouteTable, configure: (inout ProxyConfiguration) -> Void = { _ in },
    _ body: @Sendable (Lab) async throws -> Void
) async throws {
    var configuration = ProxyConfiguration()
    configuration.drainTimeout = .milliseconds(200)
    configure(&configuration)
    let proxy = ProxyServer(
        configuration: configuration, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    proxy.swap(table)
    try await withThrowingTaskGroup(of: Void.self) { group in
        let (ports, ready) = AsyncStream.makeStream(of: Int.self)
        group.addTask {
            defer { ready.finish() }
            try await proxy.run(listen: ("127.0.0.1", 0)) { port in _ = ready.yield(port) }
        }
        guard let port = await ports.first(where: { _ in true }) else { throw WireError("the proxy did not start") }
        do {
            try await body(Lab(proxy: proxy, port: port))
        } catch {
            group.cancelAll()
            throw error
        }
        group.cancelAll()
        try await group.waitForAll()
    }
}

/// A table with the one service `test/web`; each revision is a weight and its ports.
func table(
    _ revisions: [(weight: Int, ports: [Int])], retry: Bool = true, timeout: Int = 10_000, version: Int64 = 1,
    prefix: String? = nil, strip: Bool = false
) -> RouteTable {
    let routes = revisions.enumerated().map { index, revision in
        RevisionRoute(
            revision: "\(index + 1)", weight: revision.weight,
            endpoints: revision.ports.map { Endpoint(host: "127.0.0.1", port: $0, instance: "i\($0)") })
    }
    return RouteTable(
        version: version,
        routes: [
            Route(
                service: "test/web", path_prefix: prefix, strip_prefix: strip, revisions: routes, retry: retry,
                timeout_ms: timeout)
        ])
}

/// A loopback port that nothing listens on.
func closedPort() async throws -> Int {
    let server = try await TestServer.named("gone")
    await server.stop()
    return server.port
}

/// Bytes that look random but are the same in every run.
func noise(_ count: Int) -> ByteBuffer {
    var state: UInt64 = 20_261_123
    var buffer = ByteBuffer()
    buffer.reserveCapacity(count)
    while buffer.readableBytes < count {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        buffer.writeInteger(UInt8(truncatingIfNeeded: state >> 56))
    }
    return buffer
}

/// A message between tasks of a test: set once, awaited by any.
final class Signal: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() { (stream, continuation) = AsyncStream.makeStream(of: Void.self) }

    func fire() { continuation.finish() }
    func wait() async { for await _ in stream {} }
}

/// A number that tasks count together.
final class Tally: Sendable {
    private let number = Atomic<Int>(0)
    func add(_ count: Int = 1) { number.wrappingAdd(count, ordering: .relaxed) }
    var value: Int { number.load(ordering: .relaxed) }
}
