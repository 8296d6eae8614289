import API
import Glibc
import Series
import Synchronization
import TSDB

/// The store of samples, which can be opened anew with other settings while the house goes on.
///
/// Whoever uses it holds a read lock for that time; opening anew takes the write lock, waits for them, and makes them wait.
final class MetricStore: Sendable {
    private let folder: String
    private let store: Mutex<TSDB?>
    /// POSIX locks must not move, hence the pointer.
    nonisolated(unsafe) private let lock: UnsafeMutablePointer<pthread_rwlock_t>  // made for many threads
    /// Held by who waits to open anew: nobody gets in before them.
    private let gate = Mutex(())
    /// What opening it found that was not whole, a line each.
    let dropped: [String]

    /// - Throws: `SeriesError`.
    init(folder: String, options: TSDBOptions) throws {
        self.folder = folder
        var dropped: [String] = []
        store = Mutex(try TSDB(folder: folder, options: options) { dropped = $0.dropped })
        self.dropped = dropped
        lock = .allocate(capacity: 1)
        pthread_rwlock_init(lock, nil)
    }

    deinit {
        pthread_rwlock_destroy(lock)
        lock.deallocate()
    }

    /// Lends the store. Blocks; not to be nested.
    func use<T>(_ body: (TSDB) throws -> T) throws -> T {
        gate.withLock { _ in _ = pthread_rwlock_rdlock(lock) }
        defer { pthread_rwlock_unlock(lock) }
        guard let store = store.withLock({ $0 }) else {
            throw SeriesError(.storage, "the store of metrics could not be opened anew; see the log, then start again")
        }
        return try body(store)
    }

    /// Opens it anew with other settings. When that fails, it is opened as it was.
    ///
    /// - Throws: `SeriesError`.
    func reopen(_ options: TSDBOptions) throws {
        gate.withLock { _ in _ = pthread_rwlock_wrlock(lock) }
        defer { pthread_rwlock_unlock(lock) }
        let before = try store.withLock { store in
            try store?.sync()
            defer { store = nil }
            return store?.options
        }
        do {
            let opened = try open(options)
            store.withLock { $0 = opened }
        } catch {
            if let before {
                let opened = try open(before)
                store.withLock { $0 = opened }
            }
            throw error
        }
    }

    /// Tries at most so often to get the folder's lock, a moment apart.
    private static let attempts = 40
    private static let moment: UInt32 = 50_000

    /// A process that is being started holds a copy of the lock from its fork to its exec: the folder may still look taken.
    private func open(_ options: TSDBOptions) throws -> TSDB {
        for _ in 1..<Self.attempts {
            do { return try TSDB(folder: folder, options: options) } catch { usleep(Self.moment) }
        }
        return try TSDB(folder: folder, options: options)
    }
}
