import Manifests
import Points
import SQL

/// What is logged to a run in one request: all of it is kept, or nothing.
struct RunBatch: Sendable {
    var metrics: [LoggedMetric] = []
    var params: [(key: String, value: String)] = []
    var tags: [(key: String, value: String)] = []
    /// Whether the request was for one param, whose message is another.
    var isSingle = false
}

/// A run that shall be.
struct RunOrder: Sendable {
    var experiment: String
    var user = ""
    var name = ""
    /// Milliseconds since 1970.
    var start: Int64 = 0
    var tags: [(key: String, value: String)] = []
}

extension TrackingStore {
    /// The tag that says a run's name.
    static let nameTag = "mlflow.runName"
    /// Anywhere: a row's number that a purged run had may be given again, and what is remembered of that run must not be taken for
    /// the new one's.
    private static var firstRevision: Int64 { Int64.random(in: 0..<1 << 52) }

    // MARK: Life

    func createRun(_ order: RunOrder, in project: String) async throws -> [UInt8] {
        let experimentID = try order.experiment.isEmpty ? 0 : NameRules.experimentID(order.experiment)
        var tags = order.tags
        let told = tags.first { $0.key == Self.nameTag }?.value ?? ""
        if !order.name.isEmpty, !told.isEmpty, order.name != told {
            throw MLflowError.invalid(
                "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values (run_name='\(order.name)', mlflow.runName='\(told)')."
            )
        }
        let name = !order.name.isEmpty ? order.name : !told.isEmpty ? told : RunNames.random()
        if told.isEmpty { tags.append((Self.nameTag, name)) }
        let numbers = try await names.numbers(of: Set(tags.map(\.key)), in: database)
        let (uuid, kept, known) = (RunNames.id(), tags, runs.generation)
        let document = try await write { sql in
            let experiment = try sql.experiment(experimentID, in: project)
            try experiment.checkActive()
            var run = StoredRun(
                id: 0, uuid: uuid, experiment: experiment.id, name: name, user: order.user,
                status: TrackedStatus.running.rawValue, start: order.start, end: nil,
                artifactURI: "\(experiment.artifactLocation)/\(uuid)/artifacts", isDeleted: false,
                revision: Self.firstRevision)
            run.id = try sql.insert(run)
            for tag in kept { if let key = numbers[tag.key] { try sql.keepTag(key, tag.value, of: run) } }
            return Self.document(run, tags: kept)
        }
        runs.learn(uuid, in: project, at: known)
        return document
    }

    /// What a new run shows, without asking for it.
    private static func document(_ run: StoredRun, tags: [(key: String, value: String)]) -> [UInt8] {
        let json: JSONValue = [
            "run": [
                "info": run.info,
                "data": ["tags": .array(tags.map { ["key": .string($0.key), "value": .string($0.value)] })],
                "inputs": [:],
            ]
        ]
        return json.bytes
    }

    func updateRun(
        _ uuid: String, status: TrackedStatus?, end: Int64?, name: String?, in project: String
    ) async throws -> StoredRun {
        let key = try await names.numbers(of: [Self.nameTag], in: database)[Self.nameTag] ?? 0
        return try await write { sql in
            var run = try sql.activeRun(uuid, in: project)
            if let status { run.status = status.rawValue }
            if let end { run.end = end }
            if let name, !name.isEmpty {
                run.name = name
                try sql.keepTag(key, name, of: run)
            }
            try sql.update(run)
            return run
        }
    }

    func mark(run uuid: String, deleted: Bool, in project: String) async throws {
        let now = milliseconds
        try await write { sql in
            try sql.mark(run: sql.storedRun(uuid, in: project).id, deleted: deleted, at: now)
        }
        runs.forget(uuid)
    }

    // MARK: Logging

    /// Keeps a batch. Returns when its rows and its points are on the disk.
    ///
    /// Points alone need one sync, that of the store of points: latest values are brought into SQL later, many at once (`settle`).
    /// Of a batch with rows, too, the rows come first: they may be refused.
    func log(_ batch: RunBatch, to uuid: String, in project: String) async throws {
        let ofModels = batch.metrics.filter { $0.model != nil }
        if batch.params.isEmpty, batch.tags.isEmpty, ofModels.isEmpty {
            try await checkActive(uuid, in: project)
        } else {
            try await keepRows(of: batch, ofModels, to: uuid, in: project)
        }
        guard !batch.metrics.isEmpty, let id = RunID(uuid) else { return }
        try await points.append(Self.series(batch.metrics, of: id))
        // Whoever adds the last of many settles for all: so they never become more than a moment's work.
        if points.changedPoints > Self.unsettledPoints { try await settle() }
    }

    private func keepRows(
        of batch: RunBatch, _ ofModels: [LoggedMetric], to uuid: String, in project: String
    ) async throws {
        let keys = Set(batch.params.map(\.key)).union(batch.tags.map(\.key))
        let numbers = try await names.numbers(of: keys, in: database)
        try await write { sql in
            let run = try sql.activeRun(uuid, in: project)
            try Self.keep(batch.params, numbers, isSingle: batch.isSingle, of: run, in: sql)
            for metric in ofModels {
                if let model = metric.model { try sql.keepModelMetric(metric, model: model, run: uuid) }
            }
            try Self.keep(batch.tags, numbers, of: run, in: sql)
            if !batch.params.isEmpty || !batch.tags.isEmpty { try sql.touch(run: run.id) }
        }
    }

    private static func series(_ metrics: [LoggedMetric], of run: RunID) -> [MetricPoints] {
        if metrics.count == 1 { return [MetricPoints(run: run, key: metrics[0].key, points: [metrics[0].point])] }
        var places: [String: Int] = [:]
        var series: [MetricPoints] = []
        for metric in metrics {
            if let place = places[metric.key] {
                series[place].points.append(metric.point)
            } else {
                places[metric.key] = series.count
                series.append(MetricPoints(run: run, key: metric.key, points: [metric.point]))
            }
        }
        return series
    }

    private static func keep(
        _ params: [(key: String, value: String)], _ numbers: [String: Int64], isSingle: Bool, of run: StoredRun,
        in sql: Connection
    ) throws {
        var others: [String] = []
        for (key, value) in params {
            guard let old = try sql.keepParam(numbers[key] ?? 0, value, of: run) else { continue }
            guard !isSingle else {
                throw MLflowError.invalid(
                    "Changing param values is not allowed. Param with key='\(key)' was already logged with value='\(old)' for run ID='\(run.uuid)'. Attempted logging new value '\(value)'."
                )
            }
            others.append("{'key': '\(key)', 'old_value': '\(old)', 'new_value': '\(value)'}")
        }
        guard others.isEmpty else {
            throw MLflowError.invalid(
                "Changing param values is not allowed. Params were already logged='[\(others.joined(separator: ", "))]' for run ID='\(run.uuid)'."
            )
        }
    }

    private static func keep(
        _ tags: [(key: String, value: String)], _ numbers: [String: Int64], of run: StoredRun, in sql: Connection
    ) throws {
        var run = run
        for (key, value) in tags {
            if key == nameTag, !value.isEmpty {
                run.name = value
                try sql.update(run)
            }
            try sql.keepTag(numbers[key] ?? 0, value, of: run)
        }
    }

    func deleteTag(_ key: String, of uuid: String, in project: String) async throws {
        try await write { sql in
            let run = try sql.activeRun(uuid, in: project)
            guard try sql.deleteTag(key, of: run) else {
                throw MLflowError.missing("No tag with name: \(key) in run with id \(uuid)")
            }
            try sql.touch(run: run.id)
        }
    }

    /// Adds a model of MLflow 2 to the list that a tag of the run holds.
    func recordModel(_ model: JSONValue, in uuid: String, project: String) async throws {
        let tag = "mlflow.log-model.history"
        let key = try await names.numbers(of: [tag], in: database)[tag] ?? 0
        try await write { sql in
            let run = try sql.activeRun(uuid, in: project)
            let told = try sql.tag(tag, of: run)
            // A tag that a client wrote over with something else begins anew.
            let old = told.flatMap { try? JSONParser.parse($0).array } ?? []  // see above
            let text = JSONValue.array(old + [model]).text
            try sql.keepTag(key, NameRules.cut(text, NameRules.tagLength), of: run)
            try sql.touch(run: run.id)
        }
    }
}
