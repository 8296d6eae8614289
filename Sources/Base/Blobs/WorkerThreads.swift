import Glibc
import Synchronization

/// A few threads for work that blocks, apart from the Swift pool, which has no thread to spare.
///
/// Jobs start in the order in which they came. The threads end, once all is done, when this object is dropped.
package final class WorkerThreads: Sendable {
    /// Threads unless another number is given: one waits for the disk while the other hashes.
    package static let standardCount = 2
    /// Jobs that may wait; beyond it work is refused, as nobody would live to see it done.
    package static let queueLimit = 10_000

    /// The threads that stores share unless they are given their own.
    package static let shared = WorkerThreads(name: "blobs")

    private let queue: Queue

    package init(name: StaticString = "worker", count: Int = WorkerThreads.standardCount) {
        precondition((1...64).contains(count), "1 to 64 worker threads")
        queue = Queue(name)
        for _ in 0..<count { queue.startThread() }
    }

    deinit { queue.close() }

    /// Runs a blocking body on one of the threads and gives what it returns or throws.
    ///
    /// Cancellation is looked at before the body starts, not within it: keep bodies short, and loop outside.
    package func run<T: Sendable>(_ body: @Sendable @escaping () throws -> T) async throws -> T {
        try Task.checkCancellation()
        return try await runAlways(body)
    }

    /// Runs a blocking body on one of the threads, and does not wait for it.
    ///
    /// - Returns: Whether it was taken; when not, too much is waiting.
    package func start(_ body: @Sendable @escaping () -> Void) -> Bool { queue.add(body) }

    /// The same for work that must be done although the task was cancelled, such as clearing up.
    func runAlways<T: Sendable>(_ body: @Sendable @escaping () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            let isTaken = queue.add { continuation.resume(with: Result(catching: body)) }
            guard !isTaken else { return }
            let error = BlobError(
                .busy, "more than \(Self.queueLimit) pieces of file work are waiting",
                hint: "Try again when the disk has caught up.")
            continuation.resume(throwing: error)
        }
    }

    /// What the threads hold, so that they do not hold their owner.
    fileprivate final class Queue: Sendable {
        fileprivate struct State {
            /// Jobs to come, the next one at `first`.
            var jobs: [(@Sendable () -> Void)?] = []
            var first = 0
            var threads = 0
            var isClosed = false
        }

        private let name: StaticString
        private let state = Mutex(State())
        /// Counts jobs, plus one for each thread when closed.
        ///
        /// POSIX semaphores must not move, hence the pointer.
        nonisolated(unsafe) private let ready: UnsafeMutablePointer<sem_t>  // a semaphore is made for many threads

        init(_ name: StaticString) {
            self.name = name
            ready = .allocate(capacity: 1)
            sem_init(ready, 0, 0)
        }

        deinit {
            sem_destroy(ready)
            ready.deallocate()
        }

        func add(_ job: @escaping @Sendable () -> Void) -> Bool {
            let isTaken = state.withLock { state in
                guard state.threads > 0, state.jobs.count - state.first < WorkerThreads.queueLimit else { return false }
                state.jobs.append(job)
                return true
            }
            if isTaken { sem_post(ready) }
            return isTaken
        }

        func close() {
            let threads = state.withLock { state in
                state.isClosed = true
                return state.threads
            }
            for _ in 0..<threads { sem_post(ready) }
        }

        /// Starts a thread that takes no signals, so that handlers run elsewhere.
        func startThread() {
            var all = sigset_t()
            var before = sigset_t()
            sigfillset(&all)
            pthread_sigmask(SIG_SETMASK, &all, &before)
            defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
            var thread = pthread_t()
            let context = Unmanaged.passRetained(self).toOpaque()
            state.withLock { $0.threads += 1 }
            let error = pthread_create(&thread, nil, workerBody, context)
            if error != 0 {
                // Fewer threads are slower, not wrong; with none at all work is refused as busy.
                state.withLock { $0.threads -= 1 }
                Unmanaged<Queue>.fromOpaque(context).release()
                return
            }
            pthread_detach(thread)
        }

        func work() {
            takeName()
            while true {
                while sem_wait(ready) != 0 {}
                let (job, isOver) = state.withLock { state in (state.takeFirst(), state.isClosed) }
                if let job {
                    job()
                } else if isOver {
                    return
                }
            }
        }

        /// Shows the name in the system's list of threads, through the file that the kernel has for that: Swift does
        /// not see the GNU function.
        ///
        /// Without a name a thread works as well.
        private func takeName() {
            let file = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
            guard file >= 0 else { return }
            _ = name.withUTF8Buffer { write(file, $0.baseAddress, $0.count) }
            Glibc.close(file)
        }
    }
}

extension WorkerThreads.Queue.State {
    /// Takes the next job.
    ///
    /// The used front of the array is cut off now and then: O(1) on average.
    fileprivate mutating func takeFirst() -> (@Sendable () -> Void)? {
        guard first < jobs.count else { return nil }
        defer {
            jobs[first] = nil
            first += 1
            if first == jobs.count || first >= 1024 {
                jobs.removeFirst(first)
                first = 0
            }
        }
        return jobs[first]
    }
}

private func workerBody(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let context else { return nil }
    Unmanaged<WorkerThreads.Queue>.fromOpaque(context).takeRetainedValue().work()
    return nil
}
