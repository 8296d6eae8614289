import Kernel
import Synchronization

/// Word that a job must end early; its steps that clean up still run.
final class StopSignal: Sendable {
    struct Stop: Sendable, Equatable {
        /// Somebody wants it to end, rather than something has gone wrong.
        var isCancelled: Bool
        var reason: String
    }
    private let state = Mutex<Stop?>(nil)
    private let bell = Bell()

    var asked: Stop? { state.withLock { $0 } }

    /// Asks the job to end; the first who asks gives the reason.
    func ask(_ stop: Stop) {
        state.withLock { if $0 == nil { $0 = stop } }
        bell.ring()
    }

    /// Waits until somebody asks.
    func wait() async throws -> Stop {
        while true {
            if let asked { return asked }
            try await bell.wait()
        }
    }
}
