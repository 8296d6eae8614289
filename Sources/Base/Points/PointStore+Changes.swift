internal import Synchronization

/// Latest values for somebody who keeps them in a table of his own, behind the store: he takes what changed, writes it, and says so.
/// What he did not say is told again after a restart.
extension PointStore {
    /// How far the store is known elsewhere.
    package enum Following: Sendable {
        /// Segments are, logs are not: of a store that was written after the table.
        case segments
        /// Everything before a place.
        case through(Place)

        func knows(record: Int, of log: UInt64) -> Bool {
            guard case .through(let place) = self else { return false }
            return log < place.log || (log == place.log && record < place.records)
        }

        /// A segment of the log in which the place is may hold more than what was before it.
        func knows(segment: UInt64) -> Bool {
            guard case .through(let place) = self else { return true }
            return segment < place.log
        }
    }

    /// A place in the logs: a number of records of one, and all that came before that.
    package struct Place: Sendable, Hashable {
        package var log: UInt64
        package var records: Int
        package init(log: UInt64, records: Int) { (self.log, self.records) = (log, records) }
    }

    /// What changed since the last time.
    package struct Changes: Sendable {
        /// By run.
        package var latest: [(run: RunID, metrics: [LatestPoint])]
        /// When they are written, everything before this place is; nil while somebody else has changes that he did not confirm.
        package var through: Place?
    }

    /// A name for one taking of changes.
    package struct Ticket: Hashable, Sendable {
        let number: UInt64
    }

    /// Whether anything was appended that nobody confirmed to have written.
    package var hasChanges: Bool { state.withLock { $0.changes.map { !$0.isEmpty } ?? false } }

    /// Points that were appended since changes were last taken.
    package var changedPoints: Int { state.withLock { $0.changes?.points ?? 0 } }

    package func ticket() -> Ticket { state.withLock { $0.changes?.ticket() ?? Ticket(number: 0) } }

    /// Takes what changed: all that was acknowledged before, unless somebody took it already.
    package func takeChanges(_ ticket: Ticket) -> Changes {
        let (series, through) = state.withLock { state in
            let isAlone = state.changes?.taken.isEmpty ?? true
            let place = Place(log: state.head.number, records: state.records)
            return (state.changes?.take(ticket) ?? [], isAlone ? place : nil)
        }
        return Changes(latest: PointChanges.latest(series), through: through)
    }

    /// Says that what was taken is on the disk.
    package func confirm(_ ticket: Ticket) { state.withLock { _ = $0.changes?.taken.removeValue(forKey: ticket) } }

    /// Says that what was taken is not: it is told again. Does nothing when nothing was taken.
    package func giveBack(_ ticket: Ticket) { state.withLock { $0.changes?.giveBack(ticket) } }
}

/// Points whose metrics' latest values may be others now, as they came: who takes them puts them together.
struct PointChanges: Sendable {
    private var waiting: [MetricPoints] = []
    private(set) var points = 0
    var taken: [PointStore.Ticket: [MetricPoints]] = [:]
    private var tickets: UInt64 = 0

    /// What segments hold that is not known elsewhere.
    init(of segments: [PointSegment], _ following: PointStore.Following) throws {
        for segment in segments where !following.knows(segment: segment.number) {
            for block in segment.blocks {
                try segment.read(block) { one in
                    add(MetricPoints(run: one.run, key: one.key.text, points: [one.latest]))
                    return true
                }
            }
        }
    }

    var isEmpty: Bool { waiting.isEmpty && taken.isEmpty }

    mutating func add(_ record: PointRecord) {
        // Of a run that is removed nobody asks.
        if case .points(let series) = record { for one in series { add(one) } }
    }

    private mutating func add(_ series: MetricPoints) {
        waiting.append(series)
        points += series.points.count
    }

    mutating func ticket() -> PointStore.Ticket {
        tickets += 1
        return PointStore.Ticket(number: tickets)
    }

    mutating func take(_ ticket: PointStore.Ticket) -> [MetricPoints] {
        defer { (waiting, points) = ([], 0) }
        if !waiting.isEmpty { taken[ticket] = waiting }
        return waiting
    }

    mutating func giveBack(_ ticket: PointStore.Ticket) {
        guard let series = taken.removeValue(forKey: ticket) else { return }
        waiting = series + waiting
        points += series.reduce(0) { $0 + $1.points.count }
    }

    static func latest(_ all: [MetricPoints]) -> [(run: RunID, metrics: [LatestPoint])] {
        var runs: [RunID: [PointKey: MetricPoint]] = [:]
        for series in all {
            let key = PointKey(series.key)
            for point in series.points where runs[series.run]?[key].map({ point.isLater(than: $0) }) ?? true {
                runs[series.run, default: [:]][key] = point
            }
        }
        return runs.map { run, metrics in
            (run, metrics.map { LatestPoint(key: $0.key.text, point: $0.value) })
        }
    }
}
