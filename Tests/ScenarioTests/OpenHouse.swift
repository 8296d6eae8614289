import Foundation
import Kernel
import Logging
import Synchronization
import Testing

@testable import Server

/// A server with a runner and a proxy in it, for as long as `body` runs.
///
/// It is then stopped as servers are stopped. A plain cancellation could strike between the accepting of a connection and its
/// handling, which SwiftNIO takes for a programmer's mistake.
func withOpenHouse<T: Sendable>(_ body: @escaping @Sendable (House) async throws -> T) async throws -> T {
    let folder = NSTemporaryDirectory() + "vagus-scenario-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: folder) }  // a leftover folder harms no other test
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    var options = ServerOptions(data: folder, executable: "/bin/false") { _ in }
    (options.port, options.hasAuth, options.proxy) = (0, false, ("127.0.0.1", 0))
    let house = try await House(options, logger: logger)
    let outcome = Mutex<T?>(nil)
    try await house.run { _ in
        let result = try await body(house)
        outcome.withLock { $0 = result }
    }
    return try #require(outcome.withLock { $0 })
}
