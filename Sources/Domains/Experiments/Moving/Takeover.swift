import API
import Manifests
import Points
import SQL

/// Writing what is taken over, and counting what is there.
extension TrackingStore {
    func take(_ experiments: [MovedExperiment], in project: String) async throws -> [MovedPlace] {
        try await write { sql in try experiments.map { try sql.take($0, in: project) } }
    }

    /// Rows first, then points, as in `log`: when the process dies between the two, the counts tell that points are missing.
    func take(_ runs: [MovedRun], _ models: [MovedLoggedModel], in project: String) async throws -> MovedCount {
        var keys: Set<String> = []
        for run in runs {
            keys.formUnion(run.params.keys)
            keys.formUnion(run.tags.keys)
            keys.formUnion(run.metrics.map(\.key))
        }
        let numbers = try await names.numbers(of: keys, in: database)
        let series = runs.flatMap { run in
            RunID(run.id).map { id in run.metrics.map { $0.series(of: id) } } ?? []
        }.filter { !$0.points.isEmpty }
        let now = milliseconds
        let count = try await write { sql in
            var count = MovedCount()
            for run in runs where try sql.take(run, numbers, in: project, at: now) { count.runs += 1 }
            for model in models where try sql.take(model, in: project) { count.models += 1 }
            return count
        }
        if !series.isEmpty { try await points.append(series) }
        return count
    }

    func held(_ runs: [String], _ models: [String], in project: String) async throws -> Holdings {
        var holdings = try await read { sql in
            var holdings = Holdings()
            holdings.runs = try runs.compactMap { try sql.held(run: $0, in: project) }
            holdings.models = try models.compactMap { try sql.held(model: $0, in: project) }
            return holdings
        }
        for place in holdings.runs.indices where holdings.runs[place].metrics > 0 {
            guard let id = RunID(holdings.runs[place].id) else { continue }
            for metric in try await points.latest(id) {
                holdings.runs[place].points += try await points.history(id, metric.key).count
            }
        }
        return holdings
    }
}

extension MovedPoints {
    fileprivate func series(of run: RunID) -> MetricPoints {
        MetricPoints(
            run: run, key: key,
            points: values.indices.map { MetricPoint(timestamp: times[$0], step: steps[$0], value: values[$0]) })
    }
}

extension Connection {
    /// Numbers up to this are kept; the rest of them is for experiments that are made later.
    private static let keptNumbers: Int64 = 1_000_000_000_000_000_000

    fileprivate func take(_ moved: MovedExperiment, in project: String) throws -> MovedPlace {
        var place = MovedPlace()
        (place.source, place.name) = (moved.id, moved.name)
        if let known = try experiment(named: moved.name, in: project) {
            (place.id, place.artifact_location) = (String(known.id), known.artifactLocation)
            for tag in moved.tags where !known.tags.contains(where: { $0.key == tag.key }) {
                try setExperimentTag(tag.key, tag.value, of: known.id)
            }
            return place
        }
        let wanted = Int64(moved.id).flatMap { (1...Self.keptNumbers).contains($0) ? $0 : nil }
        let isFree =
            try wanted.map { try value("SELECT 1 FROM experiment WHERE id = \($0)", as: Int.self) == nil } ?? false
        try run(
            """
            INSERT INTO experiment (id, project, name, artifact_location, is_deleted, created, updated)
            VALUES (\((isFree ? wanted : nil).sqlValue), \(project), \(moved.name), \(moved.artifact_location ?? ""),
                    \(moved.is_deleted), \(moved.created_ms), \(moved.updated_ms))
            """)
        let id: Int64 = try value("SELECT last_insert_rowid()") ?? 0
        place.artifact_location = moved.artifact_location ?? "mlflow-artifacts:/\(id)"
        try run("UPDATE experiment SET artifact_location = \(place.artifact_location) WHERE id = \(id)")
        for tag in moved.tags { try setExperimentTag(tag.key, tag.value, of: id) }
        (place.id, place.is_new) = (String(id), true)
        return place
    }

    /// - Returns: Whether it was not there.
    fileprivate func take(
        _ moved: MovedRun, _ numbers: [String: Int64], in project: String, at now: Int64
    ) throws -> Bool {
        let experiment = try experiment(NameRules.experimentID(moved.experiment), in: project)
        let (run, isNew) = try row(for: moved, experiment, in: project, at: now)
        for param in moved.params { _ = try keepParam(numbers[param.key] ?? 0, param.value, of: run) }
        for tag in moved.tags {
            try self.run(
                """
                INSERT INTO tag (run, key, experiment, value)
                VALUES (\(run.id), \(numbers[tag.key] ?? 0), \(run.experiment), \(tag.value)) ON CONFLICT (run, key) DO NOTHING
                """)
        }
        for points in moved.metrics {
            var latest: MetricPoint?
            for index in points.values.indices {
                let point = MetricPoint(
                    timestamp: points.times[index], step: points.steps[index], value: points.values[index])
                if latest.map({ point.isLater(than: $0) }) ?? true { latest = point }
            }
            if let latest { _ = try keepLatest(latest, key: numbers[points.key] ?? 0, of: run.id, in: run.experiment) }
        }
        for dataset in moved.datasets {
            try keep(
                DatasetInput(
                    name: dataset.name, digest: dataset.digest, sourceType: dataset.source_type, source: dataset.source,
                    schema: dataset.schema, profile: dataset.profile,
                    tags: dataset.tags.map { ($0.key, $0.value) }), of: run)
        }
        for model in moved.model_inputs { try keepModelOnce(model, isOutput: false, step: 0, of: run) }
        for output in moved.model_outputs {
            try keepModelOnce(output.model, isOutput: true, step: output.step, of: run)
        }
        try touch(run: run.id)
        return isNew
    }

    private func row(
        for moved: MovedRun, _ experiment: StoredExperiment, in project: String, at now: Int64
    ) throws -> (run: StoredRun, isNew: Bool) {
        if let number: Int64 = try value("SELECT id FROM run WHERE uuid = \(moved.id)"),
            var known = try storedRuns([number]).first
        {
            guard known.experiment == experiment.id else {
                throw MLflowError.invalid("Run \(moved.id) is here already, in another experiment")
            }
            // It had not ended when it was taken over before.
            if [TrackedStatus.running.rawValue, TrackedStatus.scheduled.rawValue].contains(known.status),
                known.status != moved.status
            {
                (known.status, known.end) = (moved.status, moved.ended_ms)
                try update(known)
            }
            return (known, false)
        }
        var run = StoredRun(
            id: 0, uuid: moved.id, experiment: experiment.id, name: moved.name, user: moved.user, status: moved.status,
            start: moved.started_ms, end: moved.ended_ms,
            artifactURI: moved.artifact_uri ?? "\(experiment.artifactLocation)/\(moved.id)/artifacts",
            isDeleted: moved.is_deleted, revision: 0)
        run.id = try insert(run)
        if moved.is_deleted { try mark(run: run.id, deleted: true, at: now) }
        return (run, true)
    }

    private func keepModelOnce(_ model: String, isOutput: Bool, step: Int64, of run: StoredRun) throws {
        let isThere = try value(
            "SELECT 1 FROM run_model WHERE run = \(run.id) AND is_output = \(isOutput) AND model = \(model)",
            as: Int.self)
        if isThere == nil { try keepModel(model, isOutput: isOutput, step: step, of: run) }
    }

    /// - Returns: Whether it was not there.
    fileprivate func take(_ moved: MovedLoggedModel, in project: String) throws -> Bool {
        let experiment = try experiment(NameRules.experimentID(moved.experiment), in: project)
        let known = try models([moved.id]).first
        if let known, known.experiment != experiment.id {
            throw MLflowError.invalid("Logged model \(moved.id) is here already, in another experiment")
        }
        if known == nil {
            try insert(
                StoredModel(
                    id: moved.id, experiment: experiment.id, name: moved.name,
                    artifactURI: moved.artifact_uri ?? "\(experiment.artifactLocation)/models/\(moved.id)/artifacts",
                    created: moved.created_ms, updated: moved.updated_ms, type: moved.type, sourceRun: moved.source_run,
                    status: Int64(moved.status)))
            try run(
                """
                UPDATE model SET is_deleted = \(moved.is_deleted), status_message = \(moved.status_message)
                WHERE id = \(moved.id)
                """)
        }
        for param in moved.params { _ = try keepModelParam(param.key, param.value, of: moved.id) }
        for tag in moved.tags {
            try run(
                """
                INSERT INTO model_tag (model, key, value) VALUES (\(moved.id), \(tag.key), \(tag.value))
                ON CONFLICT (model, key) DO NOTHING
                """)
        }
        for metric in moved.metrics {
            let point = MetricPoint(timestamp: metric.time_ms, step: metric.step, value: metric.value)
            try keepModelMetric(
                LoggedMetric(
                    key: metric.key, point: point, model: moved.id, datasetName: metric.dataset_name,
                    datasetDigest: metric.dataset_digest), model: moved.id, run: metric.run)
        }
        return known == nil
    }

    // MARK: Counting

    fileprivate func held(run uuid: String, in project: String) throws -> Held? {
        let found = try row(
            """
            SELECT r.id FROM run r JOIN experiment e ON e.id = r.experiment
            WHERE r.uuid = \(uuid) AND e.project = \(project)
            """)
        guard let id = try found?.get(0, as: Int64.self), let run = try storedRuns([id]).first else { return nil }
        var held = Held()
        (held.id, held.status) = (uuid, run.status)
        held.params = try value("SELECT count(*) FROM param WHERE run = \(id)") ?? 0
        held.tags = try value("SELECT count(*) FROM tag WHERE run = \(id)") ?? 0
        held.metrics = try value("SELECT count(*) FROM metric WHERE run = \(id)") ?? 0
        held.datasets = try value("SELECT count(*) FROM input WHERE run = \(id)") ?? 0
        held.models = try value("SELECT count(*) FROM run_model WHERE run = \(id)") ?? 0
        (held.files, held.file_bytes) = try filesBelow(run.artifactURI)
        return held
    }

    fileprivate func held(model id: String, in project: String) throws -> Held? {
        let isHere = try value(
            """
            SELECT 1 FROM model l JOIN experiment e ON e.id = l.experiment
            WHERE l.id = \(id) AND e.project = \(project)
            """, as: Int.self)
        guard isHere != nil, let model = try models([id]).first else { return nil }
        var held = Held()
        held.id = id
        held.params = try value("SELECT count(*) FROM model_param WHERE model = \(id)") ?? 0
        held.tags = try value("SELECT count(*) FROM model_tag WHERE model = \(id)") ?? 0
        held.metrics = try value("SELECT count(*) FROM model_metric WHERE model = \(id)") ?? 0
        (held.files, held.file_bytes) = try filesBelow(model.artifactURI)
        return held
    }

    private func filesBelow(_ address: String) throws -> (count: Int, bytes: Int64) {
        guard let root = ArtifactPlaces.path(of: address), !root.isEmpty else { return (0, 0) }
        let row = try row(
            """
            SELECT count(*), coalesce(sum(bytes), 0) FROM artifact
            WHERE path >= \(root + "/") AND path < \(root + "0")
            """)
        return (try row?.get(0) ?? 0, try row?.get(1) ?? 0)
    }
}
