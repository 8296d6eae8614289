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

/// Who listens to what. A topic is a subject's kind, "Service", one subject, "Run/run_01", an event's name,
/// "run.finished", or "*" for all.
package final class Bells: Sendable {
    private struct Listener: Sendable {
        var topics: Set<String>
        var bell: Bell
        var keys: RungKeys?
    }
    private let listeners = Mutex<[Listener]>([])
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
    ///
    /// - Parameter keys: Where to note which subjects of its kind were told of.
    package func listen(to topics: Set<String>, noting keys: RungKeys? = nil) -> Bell {
        let bell = Bell()
        listeners.withLock { $0.append(Listener(topics: topics, bell: bell, keys: keys)) }
        return bell
    }

    package func remove(_ bell: Bell) {
        listeners.withLock { $0.removeAll { $0.bell === bell } }
    }

    package func ring(_ topics: Set<String>) {
        guard !topics.isEmpty else { return }
        let bells = listeners.withLock { listeners in
            listeners.filter { listener in
                if let keys = listener.keys { return keys.note(topics, among: listener.topics) }
                return listener.topics.contains("*") || !listener.topics.isDisjoint(with: topics)
            }.map(\.bell)
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

/// Which subjects of one kind were told of since one last asked.
package final class RungKeys: Sendable {
    private let kind: String
    private let rung = Mutex<(keys: Set<String>, all: Bool)>(([], false))

    package init(of kind: String) { self.kind = kind }

    /// Notes what concerns the listener; false when nothing does.
    func note(_ topics: Set<String>, among wanted: Set<String>) -> Bool {
        let prefix = kind + "/"
        let keys = topics.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
        // The kind alone is rung with each of its subjects; without a subject it means them all.
        var rest = topics.intersection(wanted)
        if !keys.isEmpty { rest.remove(kind) }
        guard !keys.isEmpty || !rest.isEmpty else { return false }
        rung.withLock { rung in
            rung.keys.formUnion(keys)
            if !rest.isEmpty { rung.all = true }
        }
        return true
    }

    /// The subjects told of since the last time; nil: any of them may have changed.
    package func take() -> Set<String>? {
        rung.withLock { rung in
            defer { rung = ([], false) }
            return rung.all ? nil : rung.keys
        }
    }
}
