import API
import Kernel
import Manifests
import Points
import SQL

/// MLflow's calls about runs and what is logged to them.
struct RunCalls: Sendable {
    let tracking: TrackingHouse

    private static let base = "/api/2.0/mlflow/runs"
    /// Runs of a search's page when none is told.
    private static let standardResults: Int64 = 1000

    var routes: [MLflowRoute] {
        let base = Self.base
        return [
            MLflowRoute("POST", "\(base)/create", create), MLflowRoute("GET", "\(base)/get", get),
            MLflowRoute("POST", "\(base)/update", update), MLflowRoute("POST", "\(base)/delete", delete),
            MLflowRoute("POST", "\(base)/restore", restore),
            MLflowRoute("POST", "\(base)/search", needs: .read, search),
            MLflowRoute("POST", "\(base)/log-metric", logMetric),
            MLflowRoute("POST", "\(base)/log-parameter", logParam), MLflowRoute("POST", "\(base)/log-batch", logBatch),
            MLflowRoute("POST", "\(base)/set-tag", setTag), MLflowRoute("POST", "\(base)/delete-tag", deleteTag),
            MLflowRoute("POST", "\(base)/log-model", logModel), MLflowRoute("POST", "\(base)/log-inputs", logInputs),
            MLflowRoute("POST", "\(base)/outputs", logOutputs),
        ]
    }

    private static func runID(_ input: MLflowInput) throws(MLflowError) -> String {
        try input.string("run_id", or: "run_uuid")
    }

    // MARK: Life

    private func create(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        var order = RunOrder(experiment: try input.text("experiment_id") ?? "")
        order.start = try input.integer("start_time") ?? 0
        order.name = try input.text("run_name") ?? ""
        order.user = try input.text("user_id") ?? ""
        order.tags = try input.pairs("tags")
        for tag in order.tags { _ = try NameRules.tag(tag.key, tag.value) }
        return .bytes(try await tracking.store.createRun(order, in: input.project))
    }

    private func get(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (uuid, project, store) = (try Self.runID(input), input.project, try tracking.store)
        let document = try await store.read { sql in
            let run = try sql.storedRun(uuid, in: project)
            return try store.documents.documents([(run.id, run.revision)], in: sql).first ?? []
        }
        var out = JSONPieces()
        out.raw("{\"run\":")
        out.raw(document)
        out.raw("}")
        return .bytes(out.bytes)
    }

    private func update(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let uuid = try Self.runID(input)
        var status: TrackedStatus?
        if let told = input.value("status") {
            status = TrackedStatus(told)
            guard status != nil else { throw MLflowError.wrong("status", told) }
        }
        let run = try await tracking.store.updateRun(
            uuid, status: status, end: input.integer("end_time"), name: input.text("run_name"), in: input.project)
        return .json(["run_info": run.info])
    }

    private func delete(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let uuid = try input.string("run_id")
        try await tracking.store.mark(run: uuid, deleted: true, in: input.project)
        try await tracking.tell("experiment-run.deleted", run: uuid, in: input.project, call)
        return .empty
    }

    private func restore(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let uuid = try input.string("run_id")
        try await tracking.store.mark(run: uuid, deleted: false, in: input.project)
        try await tracking.tell("experiment-run.restored", run: uuid, in: input.project, call)
        return .empty
    }

    // MARK: Searching

    private func search(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let ids = try input.strings("experiment_ids").map(NameRules.experimentID)
        let (filter, order) = (try input.text("filter") ?? "", try input.strings("order_by"))
        let stages = try ViewType.stages(input.value("run_view_type"))
        let limit = try NameRules.results(input.integer("max_results"), standard: Self.standardResults)
        let token = try input.text("page_token").flatMap { $0.isEmpty ? nil : $0 }
        let question = ["runs", input.project, "\(ids)", "\(stages)", filter] + order
        let store = try tracking.store
        var plan = RunSearch(
            experiments: ids, stages: stages, filter: try FilterParser.parse(filter, .runs),
            order: try OrderClause.parse(order, .runs), limit: limit)
        plan.place = try token.map { try store.tokens.read($0, for: question) }
        let (project, wanted) = (input.project, plan)
        return .bytes(
            try await store.read { sql in
                var search = wanted
                search.experiments = try sql.experiments(ids, in: project)
                let page = try search.run(in: sql)
                let documents = try store.documents.documents(page.items.map { ($0.id, $0.revision) }, in: sql)
                return Self.answer(documents, next: page.next.map { store.tokens.make($0, for: question) })
            })
    }

    private static func answer(_ documents: [[UInt8]], next: String?) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(documents.reduce(256) { $0 + $1.count + 1 })
        bytes.append(UInt8(ascii: "{"))
        if !documents.isEmpty {
            bytes.append(contentsOf: "\"runs\":[".utf8)
            for (index, document) in documents.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                bytes.append(contentsOf: document)
            }
            bytes.append(UInt8(ascii: "]"))
        }
        if let next { bytes.append(contentsOf: "\(documents.isEmpty ? "" : ",")\"next_page_token\":\"\(next)\"".utf8) }
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }

    // MARK: Logging

    private static func metric(_ input: MLflowInput) throws(MLflowError) -> LoggedMetric {
        let key = try input.string("key")
        guard let told = input.value("value"), told != "" else { throw .required("value") }
        guard let value = MLflowInput.double(told) else { throw .wrong("value", told) }
        guard let time = try input.integer("timestamp") else { throw .required("timestamp") }
        let point = MetricPoint(timestamp: time, step: try input.integer("step") ?? 0, value: value)
        return LoggedMetric(
            key: key, point: point, model: try input.text("model_id").flatMap(filled),
            datasetName: try input.text("dataset_name").flatMap(filled),
            datasetDigest: try input.text("dataset_digest").flatMap(filled))
    }

    private static func filled(_ text: String) -> String? { text.isEmpty ? nil : text }

    private func logMetric(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let uuid = try Self.runID(input)
        let metric = try Self.metric(input)
        try NameRules.metric(metric)
        try await tracking.store.log(RunBatch(metrics: [metric]), to: uuid, in: input.project)
        return .empty
    }

    private func logParam(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let uuid = try Self.runID(input)
        let param = try NameRules.param(input.string("key"), input.text("value") ?? "")
        try await tracking.store.log(RunBatch(params: [param], isSingle: true), to: uuid, in: input.project)
        return .empty
    }

    private func setTag(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let uuid = try Self.runID(input)
        let tag = try NameRules.tag(input.string("key"), input.text("value") ?? "")
        try await tracking.store.log(RunBatch(tags: [tag]), to: uuid, in: input.project)
        return .empty
    }

    private func deleteTag(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        try await tracking.store.deleteTag(input.string("key"), of: input.string("run_id"), in: input.project)
        return .empty
    }

    private func logBatch(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let uuid = try input.string("run_id")
        var batch = RunBatch()
        batch.metrics = try Self.metrics(input)
        let (params, tags) = (try input.pairs("params"), try input.pairs("tags"))
        try NameRules.runID(uuid)
        // A batch has few keys and many points: each key is looked at once.
        var known: Set<String> = []
        for (index, metric) in batch.metrics.enumerated()
        where metric.point.timestamp < 0 || known.insert(metric.key).inserted {
            try NameRules.metric(metric, at: "metrics[\(index)]")
        }
        batch.params = try params.enumerated().map { index, pair in
            try NameRules.param(pair.key, pair.value, at: "params[\(index)]")
        }
        batch.tags = try tags.enumerated().map { index, pair in
            try NameRules.tag(pair.key, pair.value, at: "tags[\(index)]")
        }
        try NameRules.batch(metrics: batch.metrics.count, params: params.count, tags: tags.count)
        var seen: Set<String> = []
        let twice = params.map(\.key).filter { !seen.insert($0).inserted }
        guard twice.isEmpty else {
            let list = twice.map { "'\($0)'" }.joined(separator: ", ")
            throw MLflowError.invalid(
                "Duplicate parameter keys have been submitted: [\(list)]. Please ensure the request contains only one param value per param key."
            )
        }
        try await tracking.store.log(batch, to: uuid, in: input.project)
        return .empty
    }

    private static func metrics(_ input: MLflowInput) throws(MLflowError) -> [LoggedMetric] {
        let items = try input.list("metrics")
        var metrics: [LoggedMetric] = []
        metrics.reserveCapacity(items.count)
        for (index, item) in items.enumerated() {
            guard case .object(let members) = item else { throw .wrong("metrics[\(index)]", item) }
            guard let key = members["key"]?.string, !key.isEmpty else { throw .required("metrics[\(index)].key") }
            guard let told = MLflowInput.present(members["value"]) else { throw .required("metrics[\(index)].value") }
            guard let value = MLflowInput.double(told) else { throw .wrong("metrics[\(index)].value", told) }
            guard let time = MLflowInput.present(members["timestamp"]) else {
                throw .required("metrics[\(index)].timestamp")
            }
            guard let timestamp = MLflowInput.integer(time) else { throw .wrong("metrics[\(index)].timestamp", time) }
            let step = MLflowInput.present(members["step"]) ?? 0
            guard let number = MLflowInput.integer(step) else { throw .wrong("metrics[\(index)].step", step) }
            metrics.append(
                LoggedMetric(
                    key: key, point: MetricPoint(timestamp: timestamp, step: number, value: value),
                    model: members["model_id"]?.string.flatMap(filled),
                    datasetName: members["dataset_name"]?.string.flatMap(filled),
                    datasetDigest: members["dataset_digest"]?.string.flatMap(filled)))
        }
        return metrics
    }

    private func logModel(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let uuid = try input.string("run_id")
        let text = try input.string("model_json")
        let model = try? JSONParser.parse(text)  // what cannot be read is told below
        guard let members = model?.object else {
            throw MLflowError.invalid("Malformed model info. \n \(text.prefix(500)) \n is not a valid JSON.")
        }
        let needed = ["artifact_path", "flavors", "utc_time_created", "run_id"]
        let missing = needed.filter { members[$0] == nil }
        guard missing.isEmpty else {
            let list = missing.map { "'\($0)'" }.joined(separator: ", ")
            throw MLflowError.invalid("Model json is missing mandatory fields: {\(list)}")
        }
        // What the tag holds of a model: enough to find it and to know what can load it.
        var kept: Ordered<JSONValue> = [:]
        for key in ["run_id", "artifact_path", "utc_time_created", "model_uuid"] { kept[key] = members[key] }
        kept["flavors"] = members["flavors"]?.object.map { flavors in
            .object(
                flavors.map { flavor in
                    guard case .object(var settings) = flavor else { return flavor }
                    settings["config"] = nil
                    return .object(settings)
                })
        }
        try await tracking.store.recordModel(.object(kept), in: uuid, project: input.project)
        return .empty
    }

    private func logInputs(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let uuid = try input.string("run_id")
        try NameRules.runID(uuid)
        let datasets = try input.list("datasets").enumerated().map { try DatasetReading.read($1, at: $0) }
        let models = try input.list("models").map { try Self.modelID($0) }
        try await tracking.store.logInputs(datasets, models: models, to: uuid, in: input.project)
        return .empty
    }

    private static func modelID(_ item: JSONValue) throws(MLflowError) -> String {
        guard let id = item["model_id"]?.string, !id.isEmpty else { throw .required("models.model_id") }
        return id
    }

    private func logOutputs(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let uuid = try input.string("run_id")
        guard input.value("models") != nil else { throw MLflowError.required("models") }
        let models = try input.list("models").map { item -> (id: String, step: Int64) in
            (try Self.modelID(item), item["step"].flatMap(MLflowInput.integer) ?? 0)
        }
        try await tracking.store.logOutputs(models, to: uuid, in: input.project)
        return .empty
    }
}

/// Reads datasets as `log-inputs` brings them.
enum DatasetReading {
    private static let limits = [
        "name": 500, "digest": 36, "source": 65_535, "schema": 1_048_575, "profile": 16_777_215,
    ]

    static func read(_ item: JSONValue, at index: Int) throws(MLflowError) -> DatasetInput {
        let path = "datasets[\(index)]"
        guard let dataset = item["dataset"], case .object = dataset else {
            throw MLflowError(.internal, "Dataset input must have a dataset associated with it.")
        }
        func text(_ name: String) throws(MLflowError) -> String? {
            guard let value = MLflowInput.present(dataset[name]) else { return nil }
            guard let text = value.string else { throw .wrong("\(path).dataset.\(name)", value) }
            if let limit = limits[name] { try NameRules.checkLength("\(path).dataset.\(name)", text, limit) }
            return text
        }
        func needed(_ name: String) throws(MLflowError) -> String {
            guard let text = try text(name), !text.isEmpty else { throw .required("\(path).dataset.\(name)") }
            return text
        }
        var tags: [(key: String, value: String)] = []
        for tag in item["tags"]?.array ?? [] {
            let (key, value) = (tag["key"]?.string ?? "", tag["value"]?.string ?? "")
            guard !key.isEmpty else { throw .required("\(path).tags.key") }
            try NameRules.checkLength("\(path).tags.key", key, 255)
            try NameRules.checkLength("\(path).tags.value", value, 500)
            tags.append((key, value))
        }
        return DatasetInput(
            name: try needed("name"), digest: try needed("digest"), sourceType: try needed("source_type"),
            source: try needed("source"), schema: try text("schema"), profile: try text("profile"), tags: tags)
    }
}
