import Foundation
import Synchronization

/// A bounded queue between callers that `await` and threads that block.
///
/// The caller asks for a place (`admit`), which waits while the queue is full, and then appends exactly one element.
final class WorkQueue<Element: Sendable>: @unchecked Sendable {  // all state is guarded by `condition`
    private let condition = NSCondition()
    private let limit: Int
    private var places: Int
    private var elements: [Element] = []
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private var isClosed = false

    init(limit: Int) { (self.limit, places) = (limit, limit) }

    /// Elements that no thread has taken yet.
    var count: Int { condition.withLock { elements.count } }
    /// Callers that wait for a place.
    var heldBack: Int { condition.withLock { waiting.count } }

    /// Waits for a place, first come, first served.
    func admit() async {
        if takePlace() { return }
        await withCheckedContinuation { continuation in
            if takePlace(orWait: continuation) { continuation.resume() }
        }
    }

    /// Appends an element for which a place was admitted; false when the queue is closed.
    func append(_ element: Element) -> Bool {
        condition.withLock {
            guard !isClosed else { return false }
            elements.append(element)
            condition.signal()
            return true
        }
    }

    /// Blocks until there is work, then takes at most `count` elements; nil when closed and empty.
    func take(atMost count: Int) -> [Element]? {
        condition.lock()
        while elements.isEmpty, !isClosed { condition.wait() }
        guard !elements.isEmpty else {
            condition.unlock()
            return nil
        }
        let taken = Array(elements.prefix(count))
        elements.removeFirst(taken.count)
        // A freed place goes straight to whoever waits for one.
        let admitted = Array(waiting.prefix(taken.count))
        waiting.removeFirst(admitted.count)
        places += taken.count - admitted.count
        condition.unlock()
        for continuation in admitted { continuation.resume() }
        return taken
    }

    /// Takes nothing more in; what is queued is still handed out.
    func close() {
        let admitted = condition.withLock {
            isClosed = true
            defer { waiting = [] }
            condition.broadcast()
            return waiting
        }
        // They find the queue closed when they append.
        for continuation in admitted { continuation.resume() }
    }

    private func takePlace(orWait continuation: CheckedContinuation<Void, Never>? = nil) -> Bool {
        condition.withLock {
            if isClosed { return true }
            if places > 0, waiting.isEmpty {
                places -= 1
                return true
            }
            if let continuation { waiting.append(continuation) }
            return false
        }
    }
}

/// A piece of work for a database thread, its type of result hidden.
protocol Job: AnyObject, Sendable {
    /// Whether the caller gave up before the work began.
    var isCancelled: Bool { get }
    /// Whether the work must run outside of any transaction.
    var runsAlone: Bool { get }
    /// Runs the body and keeps its outcome; throws when the body throws.
    func run(_ connection: Connection) throws
    /// Resumes the caller with the outcome kept, or with an error that came after it.
    func finish(failure: (any Error)?)
}

/// The body of one caller, and the way back to that caller.
final class BodyJob<Value: Sendable>: Job, @unchecked Sendable {  // `outcome` is touched by its database thread only
    let runsAlone: Bool
    private let body: @Sendable (Connection) throws -> Value
    private let continuation: CheckedContinuation<Value, any Error>
    private let cancellation: Cancellation
    private var outcome: Result<Value, any Error>?

    init(
        runsAlone: Bool, cancellation: Cancellation, continuation: CheckedContinuation<Value, any Error>,
        body: @escaping @Sendable (Connection) throws -> Value
    ) {
        self.runsAlone = runsAlone
        self.cancellation = cancellation
        self.continuation = continuation
        self.body = body
    }

    var isCancelled: Bool { cancellation.isSet }

    func run(_ connection: Connection) throws {
        do {
            outcome = .success(try body(connection))
        } catch {
            outcome = .failure(error)
            throw error
        }
    }

    func finish(failure: (any Error)?) {
        // A body's own error says more than the failed commit that followed.
        if case .failure(let error)? = outcome { return continuation.resume(throwing: error) }
        if let failure { return continuation.resume(throwing: failure) }
        guard let outcome else { return continuation.resume(throwing: CancellationError()) }
        continuation.resume(with: outcome)
    }
}

/// Tells a database thread that a caller no longer waits.
final class Cancellation: Sendable {
    private let flag = Atomic<Bool>(false)
    var isSet: Bool { flag.load(ordering: .relaxed) }
    func set() { flag.store(true, ordering: .relaxed) }
}
