package import API
import Synchronization

/// Counters and durations of this process, for whoever shows them.
///
/// Names follow `vagus_<room>_<noun>_<unit>[_total]`; values of labels come from closed sets, never from ids or paths.
package final class Instruments: Sendable {
    /// Series there may be; those beyond are left out, so that a mistake with labels costs memory once and no more.
    package static let seriesLimit = 5_000
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

    private let values = Mutex<[Key: Value]>([:])
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
        values.withLock { values in
            values.map { ($0.key, $0.value) }
                .sorted {
                    ($0.0.name, $0.0.labels.joined(separator: ",")) < ($1.0.name, $1.0.labels.joined(separator: ","))
                }
        }
    }

    private func change(_ key: Key, _ change: (Value?) -> Value) {
        values.withLock { values in
            let before = values[key]
            guard before != nil || values.count < Self.seriesLimit else { return }
            values[key] = change(before)
        }
    }
}
