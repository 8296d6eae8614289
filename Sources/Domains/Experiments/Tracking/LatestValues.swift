import Points
import SQL
import Synchronization

/// Which runs may be logged to, so that logging a point asks no database.
///
/// Only what is on the disk is learned. A run that is deleted while it is looked up is not learned: the generation is another then.
final class RunBook: Sendable {
    private struct State {
        /// Projects of active runs.
        var known: [String: String] = [:]
        var generation: UInt64 = 0
    }

    private let state = Mutex(State())
    /// Runs kept in memory.
    private static let limit = 100_000

    var generation: UInt64 { state.withLock { $0.generation } }

    func holds(_ run: String, in project: String) -> Bool { state.withLock { $0.known[run] == project } }

    /// - Parameter generation: As it was before it was looked up that the run is active.
    func learn(_ run: String, in project: String, at generation: UInt64) {
        state.withLock { state in
            guard state.generation == generation else { return }
            if state.known.count >= Self.limit { state.known.removeAll() }
            state.known[run] = project
        }
    }

    func forget(_ run: String) {
        state.withLock { state in
            state.generation += 1
            state.known[run] = nil
        }
    }

    func forgetAll() {
        state.withLock { state in
            state.generation += 1
            state.known.removeAll()
        }
    }
}

extension TrackingStore {
    /// Points that may be in the store of points while the latest values they make are not in SQL yet.
    static let unsettledPoints = 16_384

    /// - Throws: What MLflow says of a run that is not there, or deleted.
    func checkActive(_ uuid: String, in project: String) async throws {
        if runs.holds(uuid, in: project) { return }
        let generation = runs.generation
        _ = try await look { try $0.activeRun(uuid, in: project) }
        runs.learn(uuid, in: project, at: generation)
    }

    /// Brings the latest values of all points that were acknowledged into SQL, where they are searched.
    ///
    /// Every read begins with it, so nobody sees a state from before. When the process ends between a point and this, the store of
    /// points tells its changes again at the next start: from there on what SQL knows is `points_settled`.
    ///
    /// - Parameter isFirst: Whether the store was just opened: how far SQL knows the points is written in any case.
    func settle(isFirst: Bool = false) async throws {
        guard isFirst || points.hasChanges else { return }
        let (points, names, ticket) = (points, names, points.ticket())
        do {
            let made = try await write { try $0.settle(points.takeChanges(ticket), names, isFirst: isFirst) }
            points.confirm(ticket)
            names.learn(made)
        } catch {
            points.giveBack(ticket)
            throw error
        }
    }
}

extension Connection {
    private static let settled = "points_settled"

    /// How far SQL knows the points; nil before that was written down.
    func settledPoints() throws -> PointStore.Place? {
        guard let bytes: [UInt8] = try value("SELECT value FROM setting WHERE key = \(Self.settled)") else {
            return nil
        }
        let parts = String(decoding: bytes, as: UTF8.self).split(separator: " ")
        guard parts.count == 2, let log = UInt64(parts[0]), let records = Int(parts[1]) else { return nil }
        return PointStore.Place(log: log, records: records)
    }

    /// - Returns: Numbers of names that were looked up.
    fileprivate func settle(
        _ changes: PointStore.Changes, _ names: NameBook, isFirst: Bool
    ) throws -> [String: Int64] {
        var made: [String: Int64] = [:]
        for (id, metrics) in changes.latest {
            // A run that was purged has no row, and needs none.
            guard let row = try row("SELECT id, experiment FROM run WHERE uuid = \(id.description)") else { continue }
            let (run, experiment): (Int64, Int64) = (try row.get(0), try row.get(1))
            var isChanged = false
            for metric in metrics {
                let key = try names.number(of: metric.key) ?? made[metric.key] ?? makeName(metric.key)
                made[metric.key] = key
                if try keepLatest(metric.point, key: key, of: run, in: experiment) { isChanged = true }
            }
            if isChanged { try touch(run: run) }
        }
        guard let place = changes.through, isFirst || !changes.latest.isEmpty else { return made }
        let through = Array("\(place.log) \(place.records)".utf8)
        try run(
            """
            INSERT INTO setting (key, value) VALUES (\(Self.settled), \(through))
            ON CONFLICT (key) DO UPDATE SET value = excluded.value
            """)
        return made
    }
}
