import API
import Kernel
import Synchronization

/// What was read last, by key, until a bell tells that it may be another: of thousands of services at rest nothing is read.
///
/// Bells about services count, which ring for their copies too. A bell that rings during a read makes the next look read again.
final class Recall<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private struct State {
        var values: [Key: Value] = [:]
        /// The keys of the values, by the service that they are about.
        var keys: [String: Set<Key>] = [:]
        /// Reads under way, by number; one that a bell has concerned meanwhile is none of them any more, and not kept.
        var reads: [Int: Key] = [:]
        var lastRead = 0
    }
    private let state = Mutex(State())
    private let rung = RungKeys(of: ServiceKind.name)
    private let service: (@Sendable (Key) -> String)?

    /// - Parameter service: Name of the service that a key is about; nil when all bells concern all keys.
    init(_ bells: Bells, by service: (@Sendable (Key) -> String)? = nil) {
        self.service = service
        // Nobody waits for this bell: it only notes.
        _ = bells.listen(to: [ServiceKind.name], noting: rung)
    }

    /// - Returns: The value, and whether it was read now.
    func value(of key: Key, read: () async throws -> Value) async throws -> (Value, isNew: Bool) {
        let (known, number) = state.withLock { state -> (Value?, Int) in
            hear(&state)
            if let known = state.values[key] { return (known, 0) }
            state.lastRead += 1
            state.reads[state.lastRead] = key
            return (nil, state.lastRead)
        }
        if let known { return (known, false) }
        do {
            let found = try await read()
            state.withLock { state in
                guard state.reads.removeValue(forKey: number) != nil else { return }
                state.values[key] = found
                if let service { state.keys[service(key), default: []].insert(key) }
            }
            return (found, true)
        } catch {
            _ = state.withLock { $0.reads.removeValue(forKey: number) }
            throw error
        }
    }

    func forget(_ key: Key) { state.withLock { $0.values[key] = nil } }

    private func hear(_ state: inout State) {
        let names = rung.take()
        if let names, names.isEmpty { return }
        guard let names, let service else {
            (state.values, state.keys, state.reads) = ([:], [:], [:])
            return
        }
        for name in names {
            for key in state.keys.removeValue(forKey: name) ?? [] { state.values[key] = nil }
        }
        state.reads = state.reads.filter { !names.contains(service($0.value)) }
    }
}
