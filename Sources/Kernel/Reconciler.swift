package import API
package import Logging

/// Brings the world nearer to what one resource asks for.
package protocol Reconciler: Sendable {
    associatedtype Key: Hashable & Sendable
    static var name: String { get }
    /// Kinds whose events wake it; nothing is told of the event itself.
    static var topics: Set<String> { get }
    /// The kind whose subjects are its keys: an event about one of them wakes it for that one alone.
    static var keyed: String? { get }
    /// The keys that subjects of these names are, for a loop that is ``keyed``; by default the names themselves.
    func keys(of names: Set<String>) async throws -> [Key]
    /// Everything this reconciler answers for, as the store has it now.
    func keys() async throws -> [Key]
    /// Reads the state of `key`, does at most one step, and says when to look again.
    /// Given the same state it does the same thing; it is never told what changed.
    func reconcile(_ key: Key) async throws -> Next
}

extension Reconciler {
    package static var keyed: String? { nil }
    package func keys(of names: Set<String>) async throws -> [Key] { names.compactMap { $0 as? Key } }
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
        var sweep = sweep
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
            if isSweep {
                swept = now
                // It only finds what no bell has told of: of thousands of keys it may take its time.
                sweep = max(self.sweep, store.time.now.since(now) * Self.sweepShare)
            }
            let latest = schedule.retrySoon ? store.time.now.advanced(by: .seconds(1)) : swept.advanced(by: sweep)
            let hasRung = try await bell.wait(until: schedule.nextWake(before: latest), by: store.time)
            isSweep = (hasRung && rung == nil) || schedule.retrySoon || store.time.now >= swept.advanced(by: sweep)
        }
    }

    /// A sweep takes at most one part in so many of the time.
    private static var sweepShare: Int { 200 }

    /// What to look at now: all, or those that were told of and those whose time has come.
    private func due(
        _ isSweep: Bool, _ rung: RungKeys?, at now: Timestamp, _ schedule: inout Schedule<R.Key>
    ) async throws -> [R.Key] {
        let told = rung?.take()
        if !isSweep, let told {
            let named = told.isEmpty ? [] : try await reconciler.keys(of: told)
            let keys = named.filter { schedule.isFree($0, at: now) }
            let known = Set(keys)
            return keys + schedule.dueKeys(at: now).filter { !known.contains($0) }
        }
        // One that is gone meanwhile is settled at its next look.
        guard isSweep || rung != nil else { return schedule.dueKeys(at: now) }
        let keys = try await reconciler.keys()
        schedule.keep(keys)
        return keys.filter { schedule.isFree($0, at: now) }
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
    /// The same times, the soonest first, with some that hold no more: of thousands of keys a few are due at once.
    private var queue = TimeQueue<Key>()
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
        case .again(let wait): set(key, now.advanced(by: wait))
        case .now: set(key, now)
        }
    }

    mutating func failed(_ key: Key, at now: Timestamp) -> Duration {
        let count = min(failures[key, default: 0] + 1, 10)
        failures[key] = count
        let wait = min(Self.longestWait, .seconds(1 << (count - 1)))
        set(key, now.advanced(by: wait))
        return wait
    }

    private mutating func set(_ key: Key, _ time: Timestamp) {
        due[key] = time
        queue.insert(key, at: time)
        if queue.count > 2 * due.count + TimeQueue<Key>.slack { queue = TimeQueue(due) }
    }

    func dueKeys(at now: Timestamp) -> [Key] {
        var seen = Set<Key>()
        return queue.upTo(now).filter { due[$0.key] == $0.time && seen.insert($0.key).inserted }.map { $0.key }
    }

    mutating func nextWake(before latest: Timestamp) -> Timestamp {
        while let first = queue.first, due[first.key] != first.time { queue.removeFirst() }
        return min(queue.first?.time ?? latest, latest)
    }
}

/// Keys by time, the soonest first: a binary heap.
package struct TimeQueue<Key: Hashable & Sendable> {
    package struct Entry {
        package var time: Timestamp
        package var key: Key
    }
    /// Entries that hold no more and are borne before all is put in order.
    static var slack: Int { 64 }
    private var heap: [Entry] = []

    package init() {}

    init(_ times: [Key: Timestamp]) {
        // A list in order is a heap.
        heap = times.map { Entry(time: $0.value, key: $0.key) }.sorted { $0.time < $1.time }
    }

    var count: Int { heap.count }
    package var first: Entry? { heap.first }

    package mutating func insert(_ key: Key, at time: Timestamp) {
        heap.append(Entry(time: time, key: key))
        var place = heap.count - 1
        while place > 0, heap[place].time < heap[(place - 1) / 2].time {
            heap.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    package mutating func removeFirst() {
        guard let last = heap.popLast(), !heap.isEmpty else { return }
        heap[0] = last
        var place = 0
        while true {
            var least = 2 * place + 1
            guard least < heap.count else { return }
            if least + 1 < heap.count, heap[least + 1].time < heap[least].time { least += 1 }
            guard heap[least].time < heap[place].time else { return }
            heap.swapAt(place, least)
            place = least
        }
    }

    /// What is due, looked for no further than it reaches.
    func upTo(_ now: Timestamp) -> [Entry] {
        var found: [Entry] = []
        var waiting = [0]
        while let place = waiting.popLast() {
            guard place < heap.count, heap[place].time <= now else { continue }
            found.append(heap[place])
            waiting += [2 * place + 1, 2 * place + 2]
        }
        return found
    }
}
