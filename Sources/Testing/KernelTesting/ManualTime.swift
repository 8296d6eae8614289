package import API
import Kernel
import Synchronization

/// Time that moves only when a test moves it.
package final class ManualTime: TimeSource {
    private struct Sleeper {
        let deadline: Timestamp
        let number: Int
        let listener: CheckedContinuation<Void, any Error>
    }

    private struct State {
        var now: Timestamp
        var count = 0
        var sleepers: [Sleeper] = []
        var watchers: [(count: Int, listener: CheckedContinuation<Void, Never>)] = []
    }

    private let state: Mutex<State>

    package init(_ now: Timestamp = Timestamp("2026-01-05T08:00:00Z") ?? .zero) {
        state = Mutex(State(now: now))
    }

    package var now: Timestamp { state.withLock { $0.now } }

    /// How many tasks sleep at this moment.
    package var sleepers: Int { state.withLock { $0.sleepers.count } }

    package func sleep(until deadline: Timestamp) async throws(CancellationError) {
        let number = state.withLock { state in
            state.count += 1
            return state.count
        }
        do {
            try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { listener in
                    fallAsleep(Sleeper(deadline: deadline, number: number, listener: listener))
                }
            } onCancel: {
                let gone = state.withLock { state -> Sleeper? in
                    guard let index = state.sleepers.firstIndex(where: { $0.number == number }) else { return nil }
                    return state.sleepers.remove(at: index)
                }
                gone?.listener.resume(throwing: CancellationError())
            }
        } catch {
            throw CancellationError()
        }
    }

    /// Returns once at least `count` tasks are asleep, so that a test never guesses how long to wait.
    package func untilSleeping(_ count: Int = 1) async {
        await withCheckedContinuation { listener in
            let isSo = state.withLock { state in
                if state.sleepers.count >= count { return true }
                state.watchers.append((count, listener))
                return false
            }
            if isSo { listener.resume() }
        }
    }

    /// Returns once some task is asleep.
    package func untilSomeoneSleeps() async { await untilSleeping(1) }

    /// Moves the time on and wakes those whose deadline has come.
    package func advance(by duration: Duration) {
        let due = state.withLock { state in
            state.now = state.now.advanced(by: duration)
            let now = state.now
            let due = state.sleepers.filter { $0.deadline <= now }
            state.sleepers.removeAll { $0.deadline <= now }
            return due
        }
        for sleeper in due { sleeper.listener.resume() }
    }

    private func fallAsleep(_ sleeper: Sleeper) {
        enum Outcome { case cancelled, due, asleep([CheckedContinuation<Void, Never>]) }
        let outcome = state.withLock { state -> Outcome in
            if Task.isCancelled { return .cancelled }
            if state.now >= sleeper.deadline { return .due }
            state.sleepers.append(sleeper)
            let count = state.sleepers.count
            let woken = state.watchers.filter { $0.count <= count }.map(\.listener)
            state.watchers.removeAll { $0.count <= count }
            return .asleep(woken)
        }
        switch outcome {
        case .cancelled: sleeper.listener.resume(throwing: CancellationError())
        case .due: sleeper.listener.resume()
        case .asleep(let watchers): for watcher in watchers { watcher.resume() }
        }
    }
}
