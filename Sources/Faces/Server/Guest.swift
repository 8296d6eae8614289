import Client
import ServiceLifecycle
import UnixSignals

/// Somebody for whom a house is opened: when it leaves, the house closes.
///
/// `vagus run --local` is one.
struct GuestService: Service {
    let place: ServerPlace
    let client: @Sendable (String) -> VagusClient
    let body: @Sendable (VagusClient) async throws -> Void

    func run() async throws {
        try await body(client(try await place.url()))
    }
}

/// SIGINT and SIGTERM as they come, for as long as a body runs.
package enum Interrupts {
    /// `heed` is told of each, counting from 1.
    package static func during<T: Sendable>(
        _ body: @escaping @Sendable () async throws -> T, heed: @escaping @Sendable (Int) async throws -> Void
    ) async throws -> T {
        try await withThrowingTaskGroup(of: T?.self) { group in
            group.addTask {
                var count = 0
                for await _ in await UnixSignalsSequence(trapping: .sigint, .sigterm) {
                    count += 1
                    try await heed(count)
                }
                return nil
            }
            group.addTask { try await body() }
            defer { group.cancelAll() }
            while let part = try await group.next() { if let part { return part } }
            throw CancellationError()
        }
    }
}
