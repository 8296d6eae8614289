import API
import Blobs
import Synchronization

/// A few threads for work that blocks, with a short queue before them: who comes when it is full is told to come again.
final class WorkPool: Sendable {
    struct Load: Sendable {
        var running = 0
        var waiting = 0
        var refused: Int64 = 0
    }

    private let threads: WorkerThreads
    private let width: Int
    private let queue: Int
    private let state = Mutex<(inside: Int, refused: Int64)>((0, 0))

    /// - Parameter queue: How many may wait while all threads work.
    init(name: StaticString, threads: Int, queue: Int) {
        self.threads = WorkerThreads(name: name, count: threads)
        (width, self.queue) = (threads, queue)
    }

    var load: Load {
        state.withLock { state in
            Load(running: min(state.inside, width), waiting: max(0, state.inside - width), refused: state.refused)
        }
    }

    /// Runs a body on a thread of the pool.
    ///
    /// - Throws: 429 when too many wait already, or what the body throws.
    func run<T: Sendable>(_ body: @Sendable @escaping () throws -> T) async throws -> T {
        let isIn = state.withLock { state in
            guard state.inside < width + queue else {
                state.refused += 1
                return false
            }
            state.inside += 1
            return true
        }
        guard isIn else {
            throw Problem(
                "telemetry.busy", status: 429, "too many requests for telemetry wait already",
                hint: "Send it again after the time that Retry-After tells.")
        }
        defer { state.withLock { $0.inside -= 1 } }
        return try await threads.run(body)
    }
}
