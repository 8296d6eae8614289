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
/// Keys are worked `width` at once, one key never twice at once, and none waits for another that takes long. A key that
/// throws is tried again later and later (1 s to 5 min) and never stops the others.
package struct ReconcileLoop<R: Reconciler>: RunnableLoop {
    private let reconciler: R
    private let store: Store
    private let sweep: Duration
    private let width: Int
    private let logger: Logger
    private let whenIdle: (@Sendable () -> Void)?

    /// - Parameter whenIdle: Called each time when nothing is being looked at any more.
    package init(
        _ reconciler: R, store: Store, sweep: Duration = .seconds(30), width: Int = 4, logger: Logger,
        whenIdle: (@Sendable () -> Void)? = nil
    ) {
        self.reconciler = reconciler
        self.store = store
        self.sweep = sweep
        self.width = width
        self.logger = logger
        self.whenIdle = whenIdle
    }

    package var loopName: String { R.name }

    package func run() async throws {
        // Without a kind of keys whatever rings means them all.
        let rung = RungKeys(of: R.keyed ?? "")
        let bell = store.bells.listen(to: R.topics, noting: rung)
        defer { store.bells.remove(bell) }
        let desk = ReconcileDesk<R.Key>(width: width)
        try await withThrowingDiscardingTaskGroup { group in
            while true {
                try Task.checkCancellation()
                if desk.hasRoom {
                    try await gather(rung, desk, at: store.time.now)
                    for key in desk.begin(at: store.time.now) { group.addTask { await work(from: key, desk, bell) } }
                }
                try await bell.wait(until: desk.sleep(every: sweep, at: store.time.now), by: store.time)
            }
        }
    }

    /// Brings to the desk what was told of, or all keys when it is time.
    private func gather(_ rung: RungKeys, _ desk: ReconcileDesk<R.Key>, at now: Timestamp) async throws {
        do {
            if let told = rung.take() {
                if !told.isEmpty { desk.add(try await reconciler.keys(of: told), at: now) }
            } else {
                desk.wantList()
            }
            if desk.isListDue(every: sweep, at: now) { desk.list(try await reconciler.keys(), at: now) }
        } catch is CancellationError where Task.isCancelled {
            throw CancellationError()
        } catch {
            logger.error("could not list what to reconcile", metadata: ["loop": "\(R.name)", "error": "\(error)"])
            desk.listAgain(at: now)
        }
    }

    /// Looks at one key after another, for as long as some wait.
    private func work(from first: R.Key, _ desk: ReconcileDesk<R.Key>, _ bell: Bell) async {
        var next: R.Key? = first
        while let key = next, !Task.isCancelled {
            let began = store.time.now
            let ended: ReconcileDesk<R.Key>.Ended
            do {
                ended = desk.succeeded(key, try await reconciler.reconcile(key), since: began, at: store.time.now)
            } catch {
                if Task.isCancelled { return }
                ended = desk.failed(key, at: store.time.now)
                logger.warning(
                    "could not reconcile; trying again",
                    metadata: [
                        "loop": "\(R.name)", "key": "\(key)", "again_in": "\(ended.wait)", "error": "\(error)",
                    ])
            }
            if ended.wakesLoop { bell.ring() }
            if ended.isLast { whenIdle?() }
            next = ended.next
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

    mutating func keep(_ known: Set<Key>) {
        due = due.filter { known.contains($0.key) }
        failures = failures.filter { known.contains($0.key) }
    }

    func dueTime(of key: Key) -> Timestamp? { due[key] }

    mutating func hurry(_ key: Key, to time: Timestamp) { if due[key].map({ $0 > time }) ?? true { set(key, time) } }

    /// It is looked at: it is due no more.
    mutating func take(_ key: Key) { due[key] = nil }

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
