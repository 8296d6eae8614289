package import API
import Synchronization

/// A level-triggered bell: rung many times, it wakes its one listener once; rung while nobody listens, it is still heard.
///
/// Not an `AsyncStream`: cancelling a stream's consumer ends the stream for good, so a wait that timed out once would
/// never hear another ring (measured on Swift 6.3.1).
package final class Bell: Sendable {
    private enum State {
        case quiet
        case rung
        case awaited(CheckedContinuation<Void, any Error>)
    }
    private let state = Mutex(State.quiet)

    package init() {}

    package func ring() {
        let listener = state.withLock { state -> CheckedContinuation<Void, any Error>? in
            guard case .awaited(let listener) = state else {
                state = .rung
                return nil
            }
            state = .quiet
            return listener
        }
        listener?.resume()
    }

    /// Returns at the next ring, or at once if rung since the last wait. One listener at a time.
    package func wait() async throws(CancellationError) {
        do {
            try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { listener in
                    let outcome = state.withLock { state -> Result<Void, any Error>? in
                        if Task.isCancelled { return .failure(CancellationError()) }
                        switch state {
                        case .rung:
                            state = .quiet
                            return .success(())
                        case .quiet:
                            state = .awaited(listener)
                            return nil
                        case .awaited:
                            preconditionFailure("a bell has one listener at a time")
                        }
                    }
                    if let outcome { listener.resume(with: outcome) }
                }
            } onCancel: {
                let listener = state.withLock { state -> CheckedContinuation<Void, any Error>? in
                    guard case .awaited(let listener) = state else { return nil }
                    state = .quiet
                    return listener
                }
                listener?.resume(throwing: CancellationError())
            }
        } catch {
            throw CancellationError()
        }
    }

    /// Returns at the next ring or at `deadline`, whichever comes first; true when it rang.
    @discardableResult
    package func wait(until deadline: Timestamp, by time: any TimeSource) async throws(CancellationError) -> Bool {
        do {
            return try await withThrowingTaskGroup(of: Bool.self) { group in
                group.addTask {
                    try await self.wait()
                    return true
                }
                group.addTask {
                    try await time.sleep(until: deadline)
                    return false
                }
                let rang = try await group.next() ?? false
                group.cancelAll()
                return rang
            }
        } catch {
            throw CancellationError()
        }
    }
}

/// Who listens to what. A topic is a subject's kind, "Service", or "*" for all.
package final class Bells: Sendable {
    private let listeners = Mutex<[(topics: Set<String>, bell: Bell)]>([])
    private let closed = Atomic(false)

    package init() {}

    /// Whether the server is stopping: whoever waits for news on behalf of a client answers with what there is.
    package var isClosed: Bool { closed.load(ordering: .acquiring) }

    /// Ends all long polls, so that a stop waits for none of them.
    package func close() {
        closed.store(true, ordering: .releasing)
        let bells = listeners.withLock { $0.map(\.bell) }
        for bell in bells { bell.ring() }
    }

    /// A bell that rings after each commit that told of one of `topics`. Give it back with ``remove(_:)``.
    package func listen(to topics: Set<String>) -> Bell {
        let bell = Bell()
        listeners.withLock { $0.append((topics, bell)) }
        return bell
    }

    package func remove(_ bell: Bell) {
        listeners.withLock { $0.removeAll { $0.bell === bell } }
    }

    package func ring(_ topics: Set<String>) {
        let bells = listeners.withLock { listeners in
            listeners.filter { $0.topics.contains("*") || !$0.topics.isDisjoint(with: topics) }.map(\.bell)
        }
        for bell in bells { bell.ring() }
    }

    /// Asks `look` again after each ring of `topics`, until it answers, `deadline` has come or the server stops: a long poll.
    package func poll<T: Sendable>(
        _ topics: Set<String>, until deadline: Timestamp, by time: any TimeSource,
        look: @Sendable () async throws -> T?
    ) async throws -> T? {
        let bell = listen(to: topics)
        defer { remove(bell) }
        while true {
            if let answer = try await look() { return answer }
            if isClosed || time.now >= deadline { return nil }
            try await bell.wait(until: deadline, by: time)
        }
    }
}
