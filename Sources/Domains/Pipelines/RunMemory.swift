import API
import Kernel
import SQL
import Synchronization

/// The jobs of open runs as they were last read, so that a look at a run of a thousand jobs reads those that have changed.
///
/// What has changed is told by the bells, after each commit. Nothing hangs on that: a run is read whole when it was not
/// looked at before, from time to time, and whenever something turns out to be other than remembered.
final class RunMemory: Sendable {
    /// A run as it was read last. Lent to the one look that is under way, so that it is changed in place.
    struct Entry: Sendable {
        var jobs: [StoredJob]
        var layout: RunLayout
        var readAt: Timestamp
        /// When its waiting jobs were last told why they wait.
        var toldAt: Timestamp?
        fileprivate var positions: [JobKey: Int]

        init(_ jobs: [StoredJob], _ plan: RunPlan, at now: Timestamp) {
            (self.jobs, readAt) = (jobs, now)
            layout = RunLayout(plan, jobs)
            positions = Dictionary(jobs.indices.map { (jobs[$0].key, $0) }, uniquingKeysWith: { first, _ in first })
        }
    }
    /// Carries an entry into a read, which takes it out: so nobody else holds its jobs while they change.
    private final class Parcel: Sendable {
        private let entry: Mutex<Entry?>
        init(_ entry: Entry?) { self.entry = Mutex(entry) }
        func take() -> Entry? { entry.withLock { $0.take() } }
    }
    private struct State {
        var entries: [String: Entry] = [:]
        var changed: [String: Set<JobKey>] = [:]
    }

    /// After this time a run is read whole again.
    static let trust: Duration = .seconds(15)
    /// Runs that are remembered.
    static let limit = 64
    /// More changes than this are quicker read whole.
    static let changes = 200
    private let rung = RungKeys(of: "Job")
    private let state = Mutex(State())

    init(_ bells: Bells) {
        // Nobody waits for this bell: it only notes.
        _ = bells.listen(to: ["Job"], noting: rung)
    }

    /// Reads an open run, its jobs only as far as they have changed, with whatever else is wanted of the same moment.
    ///
    /// - Returns: Nil when there is no such run, or it has ended.
    func read<T: Sendable>(
        _ run: String, in store: Store,
        _ body: @Sendable @escaping (Connection, StoredRun, Entry) throws -> T
    ) async throws -> T? {
        let now = store.time.now
        let (parcel, changed) = take(run, at: now)
        let found = try await store.read { sql -> (Entry, T)? in
            guard let stored = try sql.run(id: run), !stored.run.status.hasEnded else { return nil }
            let known = try Self.patched(parcel, changed, sql)
            let entry = try known ?? Entry(sql.glance(run: run), stored.plan, at: now)
            return (entry, try body(sql, stored, entry))
        }
        guard let (entry, answer) = found else { return nil }
        keep(run, entry)
        return answer
    }

    /// Whether it is time to tell the waiting jobs of a run again why they wait; at most once a second.
    func mayTell(_ run: String, at now: Timestamp) -> Bool {
        state.withLock { state in
            guard let told = state.entries[run]?.toldAt, now.since(told) < .seconds(1) else {
                state.entries[run]?.toldAt = now
                return true
            }
            return false
        }
    }

    func forget(_ run: String) { state.withLock { $0.entries[run] = nil } }

    private func take(_ run: String, at now: Timestamp) -> (Parcel, Set<JobKey>) {
        let news = rung.take()
        return state.withLock { state in
            guard let news else {
                state = State()
                return (Parcel(nil), [])
            }
            for key in news.compactMap(JobKey.init(topic:)) where state.entries[key.run] != nil {
                state.changed[key.run, default: []].insert(key)
            }
            let changed = state.changed.removeValue(forKey: run) ?? []
            guard let readAt = state.entries[run]?.readAt, now.since(readAt) < Self.trust,
                changed.count <= Self.changes
            else { return (Parcel(nil), []) }
            return (Parcel(state.entries.removeValue(forKey: run)), changed)
        }
    }

    private static func patched(
        _ parcel: Parcel, _ changed: Set<JobKey>, _ sql: Connection
    ) throws -> Entry? {
        guard var entry = parcel.take() else { return nil }
        for key in changed {
            guard let position = entry.positions[key], let job = try sql.glance(key) else { return nil }
            entry.jobs[position] = job
        }
        return entry
    }

    private func keep(_ run: String, _ entry: Entry) {
        state.withLock { state in
            if state.entries.count >= Self.limit { state.entries = [:] }
            state.entries[run] = entry
        }
    }
}

extension JobKey {
    /// Rings when the job's row has changed.
    var topic: String { "Job/\(description)" }

    /// Reads "run/stage/job".
    init?(topic text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3 else { return nil }
        (run, stage, job) = (parts[0], parts[1], parts[2])
    }
}

extension Change {
    /// Writes a job down, and says that it has changed.
    func update(_ job: StoredJob) throws {
        try sql.update(job)
        ring(job.key.topic)
    }
}
