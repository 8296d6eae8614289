import API
import Kernel
import SQL
import Synchronization

/// The jobs of open runs as they were last read, so that a look at a run of a thousand jobs reads those that have changed.
///
/// What has changed is told by the bells, after each commit. Nothing hangs on that: a run is read whole when it was not
/// looked at before, from time to time, and whenever something turns out to be other than remembered.
final class RunMemory: Sendable {
    private struct Entry {
        var jobs: [StoredJob]
        var positions: [JobKey: Int]
        var readAt: Timestamp
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

    /// Reads a run, its jobs only as far as they have changed, with whatever else is wanted of the same moment.
    func read<T: Sendable>(
        _ run: String, in store: Store, _ body: @Sendable @escaping (Connection, [StoredJob]) throws -> T
    ) async throws -> T {
        let now = store.time.now
        let (known, changed) = take(run, at: now)
        do {
            let (jobs, found) = try await store.read { sql in
                let jobs = try known.flatMap { try Self.patch($0, changed, sql) } ?? sql.glance(run: run)
                return (jobs, try body(sql, jobs))
            }
            keep(run, jobs, since: known?.readAt ?? now)
            return found
        } catch {
            forget(run)
            throw error
        }
    }

    func forget(_ run: String) { state.withLock { $0.entries[run] = nil } }

    private func take(_ run: String, at now: Timestamp) -> (Entry?, Set<JobKey>) {
        let news = rung.take()
        return state.withLock { state in
            guard let news else {
                state = State()
                return (nil, [])
            }
            for key in news.compactMap(JobKey.init(topic:)) where state.entries[key.run] != nil {
                state.changed[key.run, default: []].insert(key)
            }
            let changed = state.changed.removeValue(forKey: run) ?? []
            guard let entry = state.entries[run], now.since(entry.readAt) < Self.trust, changed.count <= Self.changes
            else { return (nil, []) }
            return (entry, changed)
        }
    }

    private static func patch(_ known: Entry, _ changed: Set<JobKey>, _ sql: Connection) throws -> [StoredJob]? {
        var jobs = known.jobs
        for key in changed {
            guard let position = known.positions[key], let job = try sql.glance(key) else { return nil }
            jobs[position] = job
        }
        return jobs
    }

    private func keep(_ run: String, _ jobs: [StoredJob], since readAt: Timestamp) {
        state.withLock { state in
            if state.entries[run] == nil, state.entries.count >= Self.limit { state.entries = [:] }
            var entry = state.entries[run] ?? Entry(jobs: [], positions: [:], readAt: readAt)
            if entry.jobs.count != jobs.count || entry.readAt != readAt {
                entry.positions = Dictionary(
                    jobs.enumerated().map { ($1.key, $0) }, uniquingKeysWith: { first, _ in first })
            }
            (entry.jobs, entry.readAt) = (jobs, readAt)
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
