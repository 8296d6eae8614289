import API
import Blobs
import Points
import SQL

extension TrackingStore {
    /// Runs that are removed in one transaction, so that nobody waits long behind it.
    private static let runsAtOnce = 200

    /// Removes for good what was deleted before a moment: runs, experiments with all their runs, logged models.
    ///
    /// Rows go first, with a note of each run whose points are left; then the points; then the note. When the process ends in
    /// between, the next start, or the next purge, goes on. Bytes of artifacts are swept once nothing names them.
    ///
    /// - Parameter moment: Milliseconds since 1970.
    func purge(in project: String, before moment: Int64, isDry: Bool) async throws -> ExperimentPurge {
        var told = ExperimentPurge()
        told.is_dry = isDry
        let experiments = try await read { try $0.deadExperiments(in: project, before: moment) }
        told.experiments = experiments.map(\.name)
        var after: Int64 = 0
        while true {
            let start = after
            let runs = try await read {
                try $0.deadRuns(in: project, before: moment, after: start, atMost: Self.runsAtOnce)
            }
            guard let last = runs.last else { break }
            after = last.id
            told.runs += runs.count
            let (files, bytes) = try await remove(runs, isDry: isDry)
            told.artifacts += files
            told.size_bytes += bytes
        }
        let models = try await read { try $0.deadModels(in: project, before: moment) }
        told.models = models.count
        for model in models {
            let (files, bytes) = try await look { try $0.artifactsBelow(model.folder) }
            told.artifacts += files
            told.size_bytes += bytes
            if !isDry { try await write { try $0.purge(model: model) } }
        }
        guard !isDry else { return told }
        for experiment in experiments { try await write { try $0.purge(experiment: experiment.id) } }
        if told.runs > 0 { try await points.compact() }
        return told
    }

    private func remove(_ runs: [DeadRun], isDry: Bool) async throws -> (files: Int, bytes: Int64) {
        if isDry {
            return try await look { sql in
                try runs.reduce((0, 0)) { sum, run in
                    let (files, bytes) = try sql.artifactsBelow(run.folder)
                    return (sum.0 + files, sum.1 + bytes)
                }
            }
        }
        let gone = try await write { sql in
            var (files, bytes): (Int, Int64) = (0, 0)
            for run in runs {
                // Whoever restored it meanwhile keeps it.
                guard try sql.isDead(run) else { continue }
                let below = try sql.artifactsBelow(run.folder)
                (files, bytes) = (files + below.files, bytes + below.bytes)
                try sql.purge(run: run)
            }
            return (files, bytes)
        }
        try await finishPurge()
        return gone
    }

    /// Removes the points of runs whose rows are gone.
    func finishPurge() async throws {
        while true {
            let left = try await look { try $0.purgedRuns(atMost: Self.runsAtOnce) }
            guard !left.isEmpty else { return }
            try await points.delete(left.compactMap { RunID($0) })
            try await write { try $0.forgetPurged(left) }
        }
    }
}

/// A deleted run, to be removed for good.
struct DeadRun: Sendable {
    /// Its row.
    var id: Int64
    var uuid: String
    /// Where its artifacts lie; nil when that is elsewhere.
    var folder: String?
}

struct DeadModel: Sendable {
    var id: String
    var folder: String?
}

extension Connection {
    /// The folder of a run or model; artifacts lie in one below it.
    private static func folder(_ address: String, of id: String) -> String? {
        guard let path = ArtifactPlaces.path(of: address), path.hasSuffix("/\(id)/artifacts") else { return nil }
        return String(path.dropLast("/artifacts".count))
    }

    /// Experiments that were deleted before a moment. The first one stays: clients log to it when they name none.
    func deadExperiments(in project: String, before moment: Int64) throws -> [(id: Int64, name: String)] {
        try rows(
            """
            SELECT id, name FROM experiment
            WHERE project = \(project) AND is_deleted = 1 AND updated <= \(moment) AND id != 0 ORDER BY id
            """
        ).map { (try $0.get(0), try $0.get(1)) }
    }

    /// Runs that were deleted before a moment, and those of experiments that were.
    func deadRuns(in project: String, before moment: Int64, after row: Int64, atMost limit: Int) throws -> [DeadRun] {
        try rows(
            """
            SELECT r.id, r.uuid, r.artifact_uri FROM run r JOIN experiment e ON e.id = r.experiment
            WHERE r.id > \(row) AND e.project = \(project) AND (
                (r.is_deleted = 1 AND r.deleted <= \(moment))
                OR (e.is_deleted = 1 AND e.updated <= \(moment) AND e.id != 0))
            ORDER BY r.id LIMIT \(limit)
            """
        ).map { row in
            let uuid: String = try row.get(1)
            return DeadRun(id: try row.get(0), uuid: uuid, folder: Self.folder(try row.get(2), of: uuid))
        }
    }

    func deadModels(in project: String, before moment: Int64) throws -> [DeadModel] {
        try rows(
            """
            SELECT m.id, m.artifact_uri FROM model m JOIN experiment e ON e.id = m.experiment
            WHERE e.project = \(project) AND (
                (m.is_deleted = 1 AND m.updated <= \(moment))
                OR (e.is_deleted = 1 AND e.updated <= \(moment) AND e.id != 0))
            """
        ).map { row in
            let id: String = try row.get(0)
            return DeadModel(id: id, folder: Self.folder(try row.get(1), of: id))
        }
    }

    func isDead(_ run: DeadRun) throws -> Bool {
        try row(
            """
            SELECT 1 FROM run r JOIN experiment e ON e.id = r.experiment
            WHERE r.id = \(run.id) AND r.uuid = \(run.uuid) AND (r.is_deleted = 1 OR e.is_deleted = 1)
            """) != nil
    }

    func artifactsBelow(_ folder: String?) throws -> (files: Int, bytes: Int64) {
        guard let folder,
            let row = try row(
                """
                SELECT count(*), coalesce(sum(bytes), 0) FROM artifact
                WHERE path >= \(folder + "/") AND path < \(folder + "0")
                """)
        else { return (0, 0) }
        return (try row.get(0), try row.get(1))
    }

    func purge(run: DeadRun) throws {
        if let folder = run.folder { _ = try deleteArtifacts(at: folder) }
        try self.run("INSERT INTO purged_run (uuid) VALUES (\(run.uuid)) ON CONFLICT DO NOTHING")
        try self.run("DELETE FROM metric WHERE run = \(run.id)")
        try self.run("DELETE FROM param WHERE run = \(run.id)")
        try self.run("DELETE FROM tag WHERE run = \(run.id)")
        try self.run("DELETE FROM input WHERE run = \(run.id)")
        try self.run("DELETE FROM run_model WHERE run = \(run.id)")
        try self.run("DELETE FROM trace_run WHERE run = \(run.uuid)")
        try self.run("DELETE FROM run WHERE id = \(run.id)")
    }

    func purge(model: DeadModel) throws {
        if let folder = model.folder { _ = try deleteArtifacts(at: folder) }
        try run("DELETE FROM model_metric WHERE model = \(model.id)")
        try run("DELETE FROM model_param WHERE model = \(model.id)")
        try run("DELETE FROM model_tag WHERE model = \(model.id)")
        try run("DELETE FROM model WHERE id = \(model.id)")
    }

    /// Removes an experiment that has no runs and models any more, with its traces and all that is kept of it.
    func purge(experiment id: Int64) throws {
        // Restored meanwhile, or logged to.
        guard try row("SELECT 1 FROM experiment WHERE id = \(id) AND is_deleted = 1") != nil,
            try row("SELECT 1 FROM run WHERE experiment = \(id) LIMIT 1") == nil
        else { return }
        for row in try rows("SELECT id FROM trace WHERE experiment = \(id)") {
            _ = try deleteTrace(try row.get(0), of: id)
        }
        try run("DELETE FROM scorer_version WHERE scorer IN (SELECT id FROM scorer WHERE experiment = \(id))")
        try run("DELETE FROM scorer WHERE experiment = \(id)")
        try run("DELETE FROM issue WHERE experiment = \(id)")
        try run("DELETE FROM evaluation_dataset_experiment WHERE experiment = \(String(id))")
        try run("DELETE FROM dataset WHERE experiment = \(id)")
        try run("DELETE FROM experiment_tag WHERE experiment = \(id)")
        try run("DELETE FROM experiment WHERE id = \(id)")
    }

    func purgedRuns(atMost limit: Int) throws -> [String] {
        try rows("SELECT uuid FROM purged_run LIMIT \(limit)").map { try $0.get(0) }
    }

    func forgetPurged(_ runs: [String]) throws { try run("DELETE FROM purged_run WHERE uuid IN \(list: runs)") }
}
