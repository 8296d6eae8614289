import CLinux
import Glibc
import Synchronization

/// Notices the end of a process that somebody else has started, as one of an earlier life of ours: no child of this one.
///
/// It costs a descriptor, and nothing while the process lives.
package final class EndWatch: Sendable {
    private struct State {
        var watch: EventThread.Watch?
        var hasEnded = false
    }

    private let pidfd: Int32
    private let machinery: Machinery
    private let state = Mutex(State())
    private let body: @Sendable () -> Void

    /// Watches a process; nil when the very one is not there any more.
    ///
    /// - Parameters:
    ///   - identity: Which process, as it was written down.
    ///   - whenEnded: Called once when it has ended, on the thread of events; it must be short.
    /// - Throws: `ProcessError` when it cannot be watched.
    package init?(_ identity: ProcessIdentity, whenEnded: @escaping @Sendable () -> Void) throws(ProcessError) {
        machinery = try .shared()
        body = whenEnded
        pidfd = clinux_pidfd_open(identity.pid)
        guard pidfd >= 0 else {
            if pidfd == -ESRCH { return nil }
            throw .machinery("watch a process", -pidfd)
        }
        // Looked at after it was opened: what the descriptor stands for cannot become another one.
        guard Processes.isAlive(identity) else { return nil }
        // The watch holds us until the process has ended.
        let watch = try machinery.events.watch(pidfd) { self.end() }
        let isOver = state.withLock { state in
            if !state.hasEnded { state.watch = watch }
            return state.hasEnded
        }
        if isOver { machinery.events.forget(watch) }
    }

    deinit { if pidfd >= 0 { close(pidfd) } }

    package var hasEnded: Bool { state.withLock { $0.hasEnded } }

    /// A pidfd becomes readable once, with the end.
    private func end() {
        let (watch, isFirst) = state.withLock { state in
            defer { (state.watch, state.hasEnded) = (nil, true) }
            return (state.watch, !state.hasEnded)
        }
        if let watch { machinery.events.forget(watch) }
        if isFirst { body() }
    }
}
