internal import Segments
package import Series
internal import Synchronization

/// A queue of the entries that come in while somebody follows the log.
///
/// When it is full the oldest go and are counted: who follows slowly loses lines, never slows down who writes.
package final class LogTail: Sendable {
    package struct Entry: Sendable, Hashable {
        package let stream: Labels
        package let time: Int64
        package let line: String
        package let metadata: Labels
    }

    private struct Queue {
        var entries: [Entry] = []
        var dropped = 0
    }

    private let matchers: StreamMatchers
    private let capacity: Int
    private let onArrival: @Sendable () -> Void
    private let queue = Mutex(Queue())

    init(_ matchers: StreamMatchers, capacity: Int, onArrival: @escaping @Sendable () -> Void) {
        self.matchers = matchers
        self.capacity = capacity
        self.onArrival = onArrival
    }

    func offer(_ labels: Labels, _ page: LogPage) {
        guard matchers.match(labels) else { return }
        // No more than the queue holds is made into text.
        let first = max(0, page.count - capacity)
        let entries = (first..<page.count).map { index in
            Entry(stream: labels, time: page.times[index], line: page.line(index), metadata: page.metadata(index))
        }
        queue.withLock { queue in
            queue.entries += entries
            let excess = max(0, queue.entries.count - capacity)
            queue.entries.removeFirst(excess)
            queue.dropped += excess + first
        }
        onArrival()
    }

    /// Takes what has come, at most `limit` entries, and how many were lost since the last time.
    package func take(_ limit: Int = .max) -> (entries: [Entry], dropped: Int) {
        queue.withLock { queue in
            defer { queue.dropped = 0 }
            let taken = Array(queue.entries.prefix(limit))
            queue.entries.removeFirst(taken.count)
            return (taken, queue.dropped)
        }
    }
}

extension LogStore {
    /// Follows the streams that meet the conditions from now on, until `unfollow`.
    ///
    /// - Parameters:
    ///   - matchers: What a stream must meet.
    ///   - capacity: Entries that may wait.
    ///   - onArrival: Called under the store's lock when entries came: wake somebody and return.
    /// - Returns: A token for `unfollow`, and the queue.
    /// - Throws: `StorageError.limit` when too many follow already.
    package func follow(
        _ matchers: [LabelMatcher], capacity: Int = 10_000, onArrival: @escaping @Sendable () -> Void
    ) throws -> (token: Int, tail: LogTail) {
        let tail = LogTail(try StreamMatchers(matchers), capacity: max(1, capacity), onArrival: onArrival)
        return try state.withLock { state in
            guard state.tails.count < limits.tails else {
                throw StorageError(
                    .limit, "\(limits.tails) clients follow the logs of \"\(name)\" already",
                    hint: "Close one of them, or raise the limit.")
            }
            state.nextTail += 1
            state.tails[state.nextTail] = tail
            return (state.nextTail, tail)
        }
    }

    package func unfollow(_ token: Int) { state.withLock { $0.tails[token] = nil } }
}
