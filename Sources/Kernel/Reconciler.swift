import API
package import Logging

/// Brings the world nearer to what one resource asks for.
package protocol Reconciler: Sendable {
    associatedtype Key: Hashable & Sendable
    static var name: String { get }
    /// Kinds whose events wake it; nothing is told of the event itself.
    static var topics: Set<String> { get }
    /// The kind whose subjects are its keys: an event about one of them wakes it for that one alone.
    static var keyed: String? { get }
    /// Everything this reconciler answers for, as the store has it now.
    func keys() async throws -> [Key]
    /// Reads the state of `key`, does at most one step, and says when to look again.
    /// Given the same state it does the same thing; it is never told what changed.
    func reconcile(_ key: Key) async throws -> Next
}

extension Reconciler {
    package static var keyed: String? { nil }
}

package enum Next: Sendable, Equatable {
    /// Nothing left to do until something changes.
    case settled
    /// Look again no later than this.
    case again(in: Duration)
    /// There is more to do at once.
    case now
}

/// Something that runs for the life of the server.
package protocol RunnableLoop: Sendable {
    var loopName: String { get }
    func run() async throws
}

/// Runs one reconciler: woken by its bell, by the next due time, and by a slow full sweep. Start-up is the first sweep.
///
/// Keys are worked `width` at once, one key never twice at once. A key that throws is tried again later and later
/// (1 s to 5 min) and never stops the others.
package struct ReconcileLoop<R: Reconciler>: RunnableLoop {
    private let reconciler: R
    private let store: Store
    private let sweep: Duration
    private let width: Int
    private let logger: Logger

    package init(_ reconciler: R, store: Store, sweep: Duration = .seconds(30), width: Int = 4, logger: Logger) {
        self.reconciler = reconciler
        self.store = store
        self.sweep = sweep
        self.width = width
        self.logger = logger
    }

    package var loopName: String { R.name }

    package func run() async throws {
        let rung = R.keyed.map(RungKeys.init(of:))
        let bell = store.bells.listen(to: R.topics, noting: rung)
        defer { store.bells.remove(bell) }
        var schedule = Schedule<R.Key>()
        // Start-up is the first sweep.
        var isSweep = true
        var swept = store.time.now
        while true {
            try Task.checkCancellation()
            let now = store.time.now
            do {
                try await work(try await due(isSweep, rung, at: now, &schedule), &schedule)
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                logger.error("could not list what to reconcile", metadata: ["loop": "\(R.name)", "error": "\(error)"])
                schedule.retrySoon = true
            }
            if isSweep { swept = now }
            let latest = schedule.retrySoon ? store.time.now.advanced(by: .seconds(1)) : swept.advanced(by: sweep)
            let hasRung = try await bell.wait(until: schedule.nextWake(before: latest), by: store.time)
            isSweep = (hasRung && rung == nil) || schedule.retrySoon || store.time.now >= swept.advanced(by: sweep)
        }
    }

    /// What to look at now: all, or those that were told of and those whose time has come.
    private func due(
        _ isSweep: Bool, _ rung: RungKeys?, at now: Timestamp, _ schedule: inout Schedule<R.Key>
    ) async throws -> [R.Key] {
        let told = rung?.take()
        if !isSweep, let told {
            let keys = told.compactMap { $0 as? R.Key }.filter { schedule.isFree($0, at: now) }
            let known = Set(keys)
            return keys + schedule.dueKeys(at: now).filter { !known.contains($0) }
        }
        let keys = try await reconciler.keys()
        schedule.keep(keys)
        let isAll = isSweep || (rung != nil && told == nil)
        return isAll ? keys.filter { schedule.isFree($0, at: now) } : keys.filter { schedule.isDue($0, at: now) }
    }

    private func work(_ keys: [R.Key], _ schedule: inout Schedule<R.Key>) async throws {
        try await withThrowingTaskGroup(of: (R.Key, Result<Next, any Error>).self) { group in
            var waiting = keys[...]
            var running = 0
            while running > 0 || !waiting.isEmpty {
                while running < width, let key = waiting.popFirst() {
                    running += 1
                    group.addTask {
                        do { return (key, .success(try await reconciler.reconcile(key))) } catch {
                            return (key, .failure(error))
                        }
                    }
                }
                guard let (key, result) = try await group.next() else { break }
                running -= 1
                try note(result, of: key, in: &schedule)
            }
        }
    }

    private func note(_ result: Result<Next, any Error>, of key: R.Key, in schedule: inout Schedule<R.Key>) throws {
        let now = store.time.now
        switch result {
        case .success(let next): schedule.succeeded(key, next, at: now)
        case .failure(is CancellationError): throw CancellationError()
        case .failure(let error):
            let wait = schedule.failed(key, at: now)
            logger.warning(
                "could not reconcile; trying again",
                metadata: ["loop": "\(R.name)", "key": "\(key)", "again_in": "\(wait)", "error": "\(error)"])
        }
    }
}

/// When each key is to be looked at again.
struct Schedule<Key: Hashable & Sendable> {
    static var longestWait: Duration { .seconds(300) }
    private var due: [Key: Timestamp] = [:]
    private var failures: [Key: Int] = [:]
    var retrySoon = false

    mutating func keep(_ keys: [Key]) {
        retrySoon = false
        let known = Set(keys)
        due = due.filter { known.contains($0.key) }
        failures = failures.filter { known.contains($0.key) }
    }

    func isDue(_ key: Key, at now: Timestamp) -> Bool { due[key].map { $0 <= now } ?? false }

    /// A ring does not hurry a key that keeps failing.
    func isFree(_ key: Key, at now: Timestamp) -> Bool { failures[key] == nil || isDue(key, at: now) }

    mutating func succeeded(_ key: Key, _ next: Next, at now: Timestamp) {
        failures[key] = nil
        switch next {
        case .settled: due[key] = nil
        case .again(let wait): due[key] = now.advanced(by: wait)
        case .now: due[key] = now
        }
    }

    mutating func failed(_ key: Key, at now: Timestamp) -> Duration {
        let count = min(failures[key, default: 0] + 1, 10)
        failures[key] = count
        let wait = min(Self.longestWait, .seconds(1 << (count - 1)))
        due[key] = now.advanced(by: wait)
        return wait
    }

    func dueKeys(at now: Timestamp) -> [Key] { due.filter { $0.value <= now }.map(\.key) }

    func nextWake(before latest: Timestamp) -> Timestamp { min(due.values.min() ?? latest, latest) }
}
