import Manifests
import Points
import SQL

/// The states of a run, as MLflow names and numbers them.
enum TrackedStatus: String, CaseIterable {
    case running = "RUNNING"
    case scheduled = "SCHEDULED"
    case finished = "FINISHED"
    case failed = "FAILED"
    case killed = "KILLED"

    /// By name or by the number of MLflow's enumeration, from 1.
    init?(_ value: JSONValue) {
        if let text = value.string, let status = TrackedStatus(rawValue: text) {
            self = status
        } else if let number = MLflowInput.integer(value), (1...5).contains(number) {
            self = Self.allCases[Int(number) - 1]
        } else {
            return nil
        }
    }
}

/// What a run is, without what was logged.
struct StoredRun: Sendable {
    /// Its row; the outside knows it by `uuid`.
    var id: Int64
    var uuid: String
    var experiment: Int64
    var name: String
    var user: String
    var status: String
    /// Milliseconds since 1970.
    var start: Int64
    var end: Int64?
    var artifactURI: String
    var isDeleted: Bool
    var revision: Int64

    func checkActive() throws(MLflowError) {
        guard isDeleted else { return }
        throw .invalid("The run \(uuid) must be in the 'active' state. Current state is deleted.")
    }

    /// As MLflow's API shows it.
    var info: JSONValue {
        var json: Ordered<JSONValue> = [
            "run_id": .string(uuid), "run_uuid": .string(uuid), "run_name": .string(name),
            "experiment_id": .string(String(experiment)), "user_id": .string(user), "status": .string(status),
            "start_time": .integer(start),
        ]
        if let end { json["end_time"] = .integer(end) }
        json["artifact_uri"] = .string(artifactURI)
        json["lifecycle_stage"] = .string(StoredExperiment.stage(isDeleted))
        return .object(json)
    }
}

/// A metric as it is logged.
struct LoggedMetric: Sendable {
    var key: String
    var point: MetricPoint
    var model: String?
    var datasetName: String?
    var datasetDigest: String?
}

extension Connection {
    private static let columns: StaticString =
        "r.id, r.uuid, r.experiment, r.name, r.user, r.status, r.start, r.ended, r.artifact_uri, r.is_deleted, r.revision"

    private func read(_ row: Row) throws -> StoredRun {
        StoredRun(
            id: try row.get(0), uuid: try row.get(1), experiment: try row.get(2), name: try row.get(3),
            user: try row.get(4), status: try row.get(5), start: try row.get(6), end: try row.get(7),
            artifactURI: try row.get(8), isDeleted: try row.get(9), revision: try row.get(10))
    }

    /// - Throws: `RESOURCE_DOES_NOT_EXIST` unless the project has such a run.
    func storedRun(_ uuid: String, in project: String) throws -> StoredRun {
        guard
            let row = try row(
                """
                SELECT \(raw: Self.columns) FROM run r JOIN experiment e ON e.id = r.experiment
                WHERE r.uuid = \(uuid) AND e.project = \(project)
                """)
        else { throw MLflowError.missing("Run with id=\(uuid) not found") }
        return try read(row)
    }

    /// The same for writing: the run must not be deleted.
    func activeRun(_ uuid: String, in project: String) throws -> StoredRun {
        let run = try storedRun(uuid, in: project)
        try run.checkActive()
        return run
    }

    func storedRuns(_ ids: [Int64]) throws -> [StoredRun] {
        var runs: [StoredRun] = []
        try each("SELECT \(raw: Self.columns) FROM run r WHERE r.id IN \(list: ids)") { runs.append(try read($0)) }
        return runs
    }

    func insert(_ run: StoredRun) throws -> Int64 {
        try self.run(
            """
            INSERT INTO run (uuid, experiment, name, user, status, start, ended, artifact_uri, revision)
            VALUES (\(run.uuid), \(run.experiment), \(run.name), \(run.user), \(run.status), \(run.start), \(run.end.sqlValue),
                    \(run.artifactURI), \(run.revision))
            """)
        return try value("SELECT last_insert_rowid()") ?? 0
    }

    /// Writes what may change of a run.
    func update(_ run: StoredRun) throws {
        try self.run(
            """
            UPDATE run SET name = \(run.name), status = \(run.status), ended = \(run.end.sqlValue), revision = revision + 1
            WHERE id = \(run.id)
            """)
    }

    func mark(run id: Int64, deleted: Bool, at now: Int64) throws {
        try run(
            """
            UPDATE run SET is_deleted = \(deleted), deleted = \((deleted ? now : nil).sqlValue), revision = revision + 1
            WHERE id = \(id)
            """)
    }

    /// Tells that what is shown of a run is another.
    func touch(run id: Int64) throws { try run("UPDATE run SET revision = revision + 1 WHERE id = \(id)") }

    // MARK: What is logged

    /// Keeps a metric's latest value: the greatest step, of these the greatest time, of these the greatest value.
    ///
    /// - Returns: Whether it is another than before.
    func keepLatest(_ point: MetricPoint, key: Int64, of run: Int64, in experiment: Int64) throws -> Bool {
        let value = point.value.isNaN ? 0 : point.value
        return try self.run(
            """
            INSERT INTO metric (run, key, experiment, is_nan, value, step, time)
            VALUES (\(run), \(key), \(experiment), \(point.value.isNaN), \(value), \(point.step), \(point.timestamp))
            ON CONFLICT (run, key) DO UPDATE
            SET is_nan = excluded.is_nan, value = excluded.value, step = excluded.step, time = excluded.time
            WHERE (excluded.step, excluded.time, excluded.value) > (metric.step, metric.time, metric.value)
            """) > 0
    }

    func keepModelMetric(_ metric: LoggedMetric, model: String, run: String) throws {
        let value = metric.point.value.isNaN ? 0 : metric.point.value
        try self.run(
            """
            INSERT INTO model_metric (model, key, time, step, run, is_nan, value, dataset_name, dataset_digest)
            VALUES (\(model), \(metric.key), \(metric.point.timestamp), \(metric.point.step), \(run),
                    \(metric.point.value.isNaN), \(value), \(metric.datasetName.sqlValue), \(metric.datasetDigest.sqlValue))
            ON CONFLICT (model, key, time, step, run) DO UPDATE SET is_nan = excluded.is_nan, value = excluded.value
            """)
    }

    /// Writes a param that is not there yet.
    ///
    /// - Returns: The value it has already, if that is another.
    func keepParam(_ key: Int64, _ value: String, of run: StoredRun) throws -> String? {
        let isNew =
            try self.run(
                """
                INSERT INTO param (run, key, experiment, value) VALUES (\(run.id), \(key), \(run.experiment), \(value))
                ON CONFLICT (run, key) DO NOTHING
                """) > 0
        if isNew { return nil }
        let old: String? = try self.value("SELECT value FROM param WHERE run = \(run.id) AND key = \(key)")
        return old == value ? nil : old
    }

    func keepTag(_ key: Int64, _ value: String, of run: StoredRun) throws {
        try self.run(
            """
            INSERT INTO tag (run, key, experiment, value) VALUES (\(run.id), \(key), \(run.experiment), \(value))
            ON CONFLICT (run, key) DO UPDATE SET value = excluded.value
            """)
    }

    /// Whether there was one.
    func deleteTag(_ key: String, of run: StoredRun) throws -> Bool {
        try self.run("DELETE FROM tag WHERE run = \(run.id) AND key = \(try number(of: key))") > 0
    }

    func tag(_ key: String, of run: StoredRun) throws -> String? {
        try value("SELECT value FROM tag WHERE run = \(run.id) AND key = \(try number(of: key))")
    }
}
