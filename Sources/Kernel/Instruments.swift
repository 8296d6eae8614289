package import API
import Synchronization

/// Counters and durations of this process, for whoever shows them.
///
/// Names follow `vagus_<room>_<noun>_<unit>[_total]`; values of labels come from closed sets, never from ids or paths.
package final class Instruments: Sendable {
    /// Series there may be, of one name and of all; those beyond are left out, so that a mistake with labels costs memory once
    /// and no more, and a name with many takes the place of no other.
    package static let nameLimit = 1_000
    package static let seriesLimit = 10_000
    /// Upper bounds of durations, in seconds.
    package static let bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

    package struct Key: Hashable, Sendable {
        package let name: String
        /// Name, value, name, value.
        package let labels: [String]
    }

    package enum Value: Sendable {
        case counter(Double)
        case gauge(Double)
        /// Observations in each bucket alone, the last above all bounds; and their sum.
        case durations([UInt64], sum: Double)
    }

    /// One request that may have changed something: it becomes a span of its correlation's trace.
    package struct Request: Sendable {
        package var correlation: String
        package var operation: String
        package var began: Timestamp
        package var duration: Duration
        package var status: Int

        package init(correlation: String, operation: String, began: Timestamp, duration: Duration, status: Int) {
            (self.correlation, self.operation, self.began) = (correlation, operation, began)
            (self.duration, self.status) = (duration, status)
        }
    }

    /// Requests that wait to be made into spans; those beyond are left out.
    package static let requestLimit = 1_000

    private struct State: Sendable {
        var values: [Key: Value] = [:]
        /// Series of each name.
        var counts: [String: Int] = [:]
    }
    private let state = Mutex(State())
    private let requests = Mutex<[Request]>([])

    package init() {}

    package func count(_ name: String, _ labels: [String] = [], by amount: Double = 1) {
        change(Key(name: name, labels: labels)) { value in
            guard case .counter(let before) = value else { return .counter(amount) }
            return .counter(before + amount)
        }
    }

    package func set(_ name: String, _ labels: [String] = [], to level: Double) {
        change(Key(name: name, labels: labels)) { _ in .gauge(level) }
    }

    package func observe(_ name: String, _ labels: [String] = [], seconds: Double) {
        let bucket = Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count
        change(Key(name: name, labels: labels)) { value in
            var (counts, sum) = ([UInt64](repeating: 0, count: Self.bounds.count + 1), 0.0)
            if case .durations(let before, let total) = value { (counts, sum) = (before, total) }
            counts[bucket] += 1
            return .durations(counts, sum: sum + seconds)
        }
    }

    package func note(_ request: Request) {
        requests.withLock { requests in
            if requests.count < Self.requestLimit { requests.append(request) }
        }
    }

    /// Takes the requests that were noted since the last time.
    package func takeRequests() -> [Request] {
        requests.withLock { requests in
            defer { requests = [] }
            return requests
        }
    }

    /// All values, by name and labels.
    package func all() -> [(key: Key, value: Value)] {
        state.withLock { $0.values }.map { ($0.key, $0.value) }.sorted { left, right in
            let (one, other) = (left.0, right.0)
            return one.name == other.name ? one.labels.lexicographicallyPrecedes(other.labels) : one.name < other.name
        }
    }

    private func change(_ key: Key, _ change: (Value?) -> Value) {
        state.withLock { state in
            let before = state.values[key]
            if before == nil {
                guard state.values.count < Self.seriesLimit, state.counts[key.name, default: 0] < Self.nameLimit else {
                    return
                }
                state.counts[key.name, default: 0] += 1
            }
            state.values[key] = change(before)
        }
    }
}
