import Synchronization

/// How a request ended, for the counters.
struct RequestEnd {
    /// As the client got it; 0 when it left before a response began.
    var status: Int
    var microseconds: UInt64
    var isTransportError = false
    var isClientAbort = false
}

/// Counts the readings of all cells, so that a reader is given only what came since its last one.
final class ReadingClock: Sendable {
    private let number = Atomic<UInt64>(1)
    var now: UInt64 { number.load(ordering: .relaxed) }
    /// What ends from now on is after this.
    func advance() -> UInt64 { number.add(1, ordering: .sequentiallyConsistent).newValue }
}

/// The live numbers of one revision, shared by all loops.
///
/// A lock instead of an atomic per number: it is taken twice a request, hardly ever contended (about 20 ns), and a
/// reader gets numbers that belong together.
final class RevisionCell: Sendable {
    let service: String
    let revision: String
    private let clock: ReadingClock
    private let numbers: Mutex<RevisionCounters>
    /// The reading before which it last counted; it changes under the lock of the numbers, so that none is missed.
    private let counted: Atomic<UInt64>

    init(service: String, revision: String, clock: ReadingClock = ReadingClock()) {
        self.service = service
        self.revision = revision
        self.clock = clock
        numbers = Mutex(RevisionCounters(service: service, revision: revision))
        counted = Atomic(clock.now)
    }

    /// A request was given to the revision.
    func begin() {
        numbers.withLock { $0.active += 1 }
    }

    /// The request goes to another revision, which calls `begin`.
    func leave() {
        numbers.withLock { $0.active -= 1 }
    }

    /// An attempt failed here, or had nowhere to go, and another one takes over.
    func noteFailover() {
        numbers.withLock { $0.failovers += 1 }
    }

    /// The request is over and counts; `staysActive` for a tunnel that has just opened.
    func end(_ end: RequestEnd, staysActive: Bool = false) {
        numbers.withLock { numbers in
            counted.store(clock.now, ordering: .relaxed)
            numbers.requests += 1
            if !staysActive { numbers.active -= 1 }
            let hundreds = end.status / 100
            if (1...5).contains(hundreds) { numbers.status_classes[hundreds - 1] += 1 }
            if end.isClientAbort {
                numbers.client_aborts += 1
                return
            }
            if end.isTransportError {
                numbers.errors_transport += 1
            } else if hundreds == 5 {
                numbers.errors_5xx += 1
            } else if hundreds == 4 {
                numbers.errors_4xx += 1
            }
            numbers.sum_us += end.microseconds
            numbers.latency_buckets[RevisionCounters.bucket(of: end.microseconds)] += 1
        }
    }

    /// The numbers now, with the histogram summed up as `RevisionCounters` tells it.
    var snapshot: RevisionCounters { Self.summedUp(numbers.withLock { $0 }) }

    /// The same; nil when no request has ended since a reading.
    func snapshot(since reading: UInt64) -> RevisionCounters? {
        numbers.withLock { counted.load(ordering: .relaxed) >= reading ? $0 : nil }.map(Self.summedUp)
    }

    private static func summedUp(_ numbers: RevisionCounters) -> RevisionCounters {
        var copy = numbers
        var sum: UInt64 = 0
        for index in copy.latency_buckets.indices {
            sum += copy.latency_buckets[index]
            copy.latency_buckets[index] = sum
        }
        return copy
    }
}

/// All cells since the start, those of revisions that left the table included.
final class CounterRegistry: Sendable {
    private struct Key: Hashable {
        var service: String
        var revision: String
    }

    private struct State {
        var cells: [Key: RevisionCell] = [:] { didSet { list = nil } }
        /// The same cells, kept for readers: to copy thousands of them is most of a reading in which nothing came.
        var list: [RevisionCell]?
        /// Those not in the table, longest gone first.
        var retired: [Key] = []
        var mirrors: [Key: MirrorCell] = [:]
    }

    private let state = Mutex(State())
    private let clock = ReadingClock()
    let unrouted = Atomic<UInt64>(0)
    let refused = Atomic<UInt64>(0)
    let limited = Atomic<UInt64>(0)

    /// The cells of a new table's revisions; cells of others are kept up to `ProxyConfiguration.retiredCountersLimit`.
    func cells(for table: RouteTable) -> (_ service: String, _ revision: String) -> RevisionCell {
        let known = state.withLock { state in
            var current = Set<Key>()
            for route in table.routes {
                for revision in route.revisions {
                    let key = Key(service: route.service, revision: revision.revision)
                    guard current.insert(key).inserted, state.cells[key] == nil else { continue }
                    state.cells[key] = RevisionCell(service: key.service, revision: key.revision, clock: clock)
                }
            }
            var retired = state.retired.filter { !current.contains($0) }
            let already = Set(retired)
            retired += state.cells.keys.filter { !current.contains($0) && !already.contains($0) }
            let excess = retired.count - ProxyConfiguration.retiredCountersLimit
            if excess > 0 {
                for key in retired.prefix(excess) { state.cells[key] = nil }
                retired.removeFirst(excess)
            }
            state.retired = retired
            return state.cells
        }
        return { service, revision in
            known[Key(service: service, revision: revision)] ?? RevisionCell(service: service, revision: revision)
        }
    }

    /// The cell of a mirror; it stays the same over swaps.
    func mirrorCell(service: String, revision: String) -> MirrorCell {
        state.withLock { state in
            let key = Key(service: service, revision: revision)
            if let known = state.mirrors[key] { return known }
            // Few services mirror at once; who lived through thousands of them loses the old numbers.
            if state.mirrors.count >= ProxyConfiguration.retiredCountersLimit { state.mirrors = [:] }
            let cell = MirrorCell(service: service, revision: revision)
            state.mirrors[key] = cell
            return cell
        }
    }

    /// Revisions that have come, or for which requests have ended, since an earlier reading; and the number of this one.
    ///
    /// Of thousands that nobody asks each costs a look, and no copy. 0 is before all readings.
    func changes(since reading: UInt64) -> (revisions: [RevisionCounters], reading: UInt64) {
        // Before the cells are looked at: what ends meanwhile is told twice rather than never.
        let now = clock.advance()
        let cells = state.withLock { state in
            let cells = state.list ?? Array(state.cells.values)
            state.list = cells
            return cells
        }
        return (cells.compactMap { $0.snapshot(since: reading) }, now)
    }

    /// Everything, ordered by service and revision.
    func snapshot(epoch: String, connections: Int) -> ProxyCounters {
        let (cells, copies) = state.withLock { (Array($0.cells.values), Array($0.mirrors.values)) }
        let mirrors = copies.map(\.snapshot).sorted { ($0.service, $0.revision) < ($1.service, $1.revision) }
        let revisions = cells.map(\.snapshot).sorted { ($0.service, $0.revision) < ($1.service, $1.revision) }
        return ProxyCounters(
            epoch: epoch, revisions: revisions, unrouted: unrouted.load(ordering: .relaxed),
            refused: refused.load(ordering: .relaxed), connections: connections,
            limited: limited.load(ordering: .relaxed), mirrors: mirrors)
    }
}
