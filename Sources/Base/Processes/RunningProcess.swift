import CLinux
import Glibc
import Synchronization

/// A program that we started.
///
/// It keeps running when the handle is dropped. While the handle is held, an ended child stays a zombie, so that its
/// number cannot go to a stranger between a look and a signal. All methods may be called from anywhere, at once.
package final class RunningProcess: Sendable {
    package let identity: ProcessIdentity
    let machinery: Machinery
    private let pidfd: Int32
    private let isWrapper: Bool
    private let state = Mutex(State())

    private struct State {
        var ending: Result<Ending, ProcessError>?
        var watch: EventThread.Watch?
        var isReaped = false
        var lastObserver: UInt64 = 0
        var observers: [UInt64: @Sendable () -> Void] = [:]
    }

    init(
        _ identity: ProcessIdentity, pidfd: Int32, isWrapper: Bool = false, _ machinery: Machinery
    ) throws(ProcessError) {
        self.identity = identity
        self.isWrapper = isWrapper
        self.pidfd = pidfd
        self.machinery = machinery
        // The watch holds us until the child has ended: somebody has to reap it.
        let watch = try machinery.events.watch(pidfd) { self.look() }
        let isOver = state.withLock { state in
            if state.ending == nil { state.watch = watch }
            return state.ending != nil
        }
        if isOver { machinery.events.forget(watch) }
    }

    deinit {
        reap()
        close(pidfd)
        // Refused while a straggler is inside, who waits for his adopter; gone already after `terminate`.
        if let cgroup = identity.cgroup { Cgroup(written: cgroup)?.removeIfEmpty() }
    }

    /// Waits until the program itself has ended; its children may still run.
    ///
    /// - Throws: `CancellationError`, which leaves the program alone.
    package func wait() async throws -> ExitStatus {
        try await ending().status
    }

    /// Sends a signal to the process group; nothing when the program has ended and was cleared away.
    package func signal(_ number: Int32) {
        state.withLock { state in
            // Under the lock: between the look and the signal nobody reaps.
            if !state.isReaped { _ = kill(-identity.pid, number) }
        }
    }

    /// Ends the program and all that it has started: SIGTERM, and SIGKILL to what is left after `grace`.
    ///
    /// Returns when nothing of the tree runs any more, and what the kernel has done to keep its budget. Not interrupted by
    /// cancellation; may be called again.
    @discardableResult
    package func terminate(grace: Duration) async -> BudgetFindings? {
        let findings = await Termination(tree: ProcessTree(identity, isWrapped: isWrapper)).run(grace: grace)
        look()
        if state.withLock({ $0.ending != nil }) { reap() }
        return findings
    }

    /// Whether the program itself has ended; its children may still run.
    package var hasEnded: Bool { state.withLock { $0.ending != nil } }

    /// How the program ended; nil while it runs, or when nobody can know.
    package var exitStatus: ExitStatus? {
        state.withLock { state in
            guard case .success(let ending)? = state.ending else { return nil }
            return ending.status
        }
    }

    /// Calls a short body once, when the program has ended; at once when it already has.
    package func whenEnded(_ body: @escaping @Sendable () -> Void) { _ = observe(body) }

    // MARK: -

    /// What is known of the end, when it has come.
    var knownEnding: Ending? {
        get throws(ProcessError) { try state.withLock { $0.ending }?.get() }
    }

    func ending() async throws -> Ending {
        let wake = Wake()
        let observer = observe { wake.ring(.ended) }
        defer { forget(observer) }
        _ = await withTaskCancellationHandler {
            await wake.next()
        } onCancel: {
            wake.ring(.cancelled)
        }
        guard let ending = try knownEnding else { throw CancellationError() }
        return ending
    }

    /// Calls a body once, when the program has ended; at once when it already has.
    func observe(_ body: @escaping @Sendable () -> Void) -> UInt64 {
        let (id, isOver) = state.withLock { state in
            state.lastObserver += 1
            if state.ending == nil { state.observers[state.lastObserver] = body }
            return (state.lastObserver, state.ending != nil)
        }
        if isOver { body() }
        return id
    }

    func forget(_ observer: UInt64) {
        let body = state.withLock { $0.observers.removeValue(forKey: observer) }
        _ = body
    }

    /// Takes the zombie away.
    ///
    /// Its number may belong to a stranger from now on.
    private func reap() {
        state.withLock { state in
            guard !state.isReaped else { return }
            var ending = clinux_ending()
            let result = clinux_look(pidfd, 1, &ending)
            state.isReaped = result < 0 || ending.has_ended == 1
        }
    }

    /// Looks whether the child has ended, and tells those who wait.
    private func look() {
        var seen = clinux_ending()
        let (watch, observers): (EventThread.Watch?, [@Sendable () -> Void]) = state.withLock { state in
            guard state.ending == nil else { return (nil, []) }
            let result = clinux_look(pidfd, 0, &seen)
            if result < 0 {
                state.ending = .failure(
                    ProcessError(
                        .other, "the end of process \(identity.pid) was seen by somebody else",
                        hint: "Let nobody in this process wait for all children, and do not ignore SIGCHLD."))
            } else if seen.has_ended == 1 {
                state.ending = .success(Ending(seen))
            } else {
                return (nil, [])
            }
            defer {
                state.watch = nil
                state.observers = [:]
            }
            return (state.watch, Array(state.observers.values))
        }
        if let watch { machinery.events.forget(watch) }
        observers.forEach { $0() }
    }
}

extension Ending {
    init(_ seen: clinux_ending) {
        status = seen.was_signalled == 1 ? .signalled(seen.code) : .exited(seen.code)
        cpuTime = .microseconds(Int64(clamping: seen.cpu_microseconds))
        peakResidentBytes = seen.resident_bytes_peak
    }
}
