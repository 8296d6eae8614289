import Kernel
import Synchronization

/// Word that a runner shall take no more jobs, and end once those that it has are done.
package final class DrainSignal: Sendable {
    private let state = Mutex(false)
    private let bell = Bell()

    package init() {}

    package var isAsked: Bool { state.withLock { $0 } }

    package func ask() {
        state.withLock { $0 = true }
        bell.ring()
    }

    /// Waits until somebody asks; one waits at a time.
    func wait() async throws {
        while !isAsked { try await bell.wait() }
    }
}
