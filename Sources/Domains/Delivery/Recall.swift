import API
import Kernel
import Synchronization

/// What was read last, by key, until a bell tells that it may be another: of thousands of services at rest nothing is read.
///
/// Bells about services count, which ring for their copies too. A bell that rings during a read makes the next look read again.
final class Recall<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private struct State {
        var values: [Key: Value] = [:]
        /// Grows with the bells that were heard: what was read under an older one is not kept.
        var generation = 0
    }
    private let state = Mutex(State())
    private let rung = RungKeys(of: ServiceKind.name)
    private let concerns: @Sendable (Key, _ service: String) -> Bool

    /// - Parameter concerns: Whether a bell about the service of a name concerns a key.
    init(_ bells: Bells, concerns: @escaping @Sendable (Key, _ service: String) -> Bool) {
        self.concerns = concerns
        // Nobody waits for this bell: it only notes.
        _ = bells.listen(to: [ServiceKind.name], noting: rung)
    }

    /// - Returns: The value, and whether it was read now.
    func value(of key: Key, read: () async throws -> Value) async throws -> (Value, isNew: Bool) {
        let (known, generation) = state.withLock { state -> (Value?, Int) in
            hear(&state)
            return (state.values[key], state.generation)
        }
        if let known { return (known, false) }
        let found = try await read()
        state.withLock { state in
            if state.generation == generation { state.values[key] = found }
        }
        return (found, true)
    }

    func forget(_ key: Key) { state.withLock { $0.values[key] = nil } }

    private func hear(_ state: inout State) {
        switch rung.take() {
        case nil: state.values = [:]
        case let names? where !names.isEmpty:
            state.values = state.values.filter { entry in !names.contains { concerns(entry.key, $0) } }
        default: return
        }
        state.generation += 1
    }
}
