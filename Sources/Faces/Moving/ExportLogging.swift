import API
import Foundation
import Manifests

/// What is logged to one run or model of an MLflow server.
extension MLflowExport {
    /// MLflow's limits of one batch.
    private static let metricsPerBatch = 1000
    private static let paramsPerBatch = 100
    /// Bytes of tags or params in one request: MLflow takes 1 MB.
    private static let batchBytes = 350_000

    /// Sends what was logged in as few requests as MLflow's limits allow: most runs need one.
    func log(_ run: SourceRun, _ points: [MovedPoints], to id: String) async throws {
        var tags = run.run.tags
        (tags["mlflow.runName"], tags[Self.runTag], tags[Self.wholeTag]) = (nil, nil, nil)
        let (params, words) = (Self.batches(run.run.params), Self.batches(tags))
        var metrics = points.flatMap { metric in metric.values.indices.map { Self.wire(metric, $0) } }[...]
        var index = 0
        while index < max(params.count, words.count) || !metrics.isEmpty {
            var (body, room): (Ordered<JSONValue>, Int) = (["run_id": .string(id)], Self.metricsPerBatch)
            if index < params.count {
                body["params"] = .wire(params[index])
                room -= params[index].count
            }
            if index < words.count {
                body["tags"] = .wire(words[index])
                room -= words[index].count
            }
            let part = metrics.prefix(room)
            metrics = metrics.dropFirst(part.count)
            if !part.isEmpty { body["metrics"] = .array(Array(part)) }
            _ = try await server.send("POST", "runs/log-batch", .object(body))
            index += 1
        }
    }

    private static func wire(_ metric: MovedPoints, _ index: Int) -> JSONValue {
        [
            "key": .string(metric.key), "value": .number(metric.values[index]),
            "timestamp": .integer(metric.times[index]), "step": .integer(metric.steps[index]),
        ]
    }

    private func log(_ metrics: [JSONValue], to id: String) async throws {
        _ = try await server.send("POST", "runs/log-batch", ["run_id": .string(id), "metrics": .array(metrics)])
    }

    static func batches(_ pairs: Ordered<String>) -> [Ordered<String>] {
        var batches: [Ordered<String>] = []
        var (batch, bytes) = (Ordered<String>(), 0)
        for (key, value) in pairs {
            let more = key.utf8.count + value.utf8.count
            if batch.count == paramsPerBatch || (!batch.isEmpty && bytes + more > batchBytes) {
                batches.append(batch)
                (batch, bytes) = ([:], 0)
            }
            batch[key] = value
            bytes += more
        }
        if !batch.isEmpty { batches.append(batch) }
        return batches
    }

    /// Datasets, and the logged models that a run read and made. MLflow refuses a link that is there.
    func link(_ run: SourceRun, _ there: SourceRun, _ known: Known) async throws {
        let id = JSONValue.string(there.run.id)
        let datasets = run.run.datasets.map { dataset -> JSONValue in
            var json: Ordered<JSONValue> = [
                "name": .string(dataset.name), "digest": .string(dataset.digest),
                "source_type": .string(dataset.source_type), "source": .string(dataset.source),
            ]
            if let schema = dataset.schema { json["schema"] = .string(schema) }
            if let profile = dataset.profile { json["profile"] = .string(profile) }
            return ["dataset": .object(json), "tags": .wire(dataset.tags)]
        }
        let inputs = run.run.model_inputs.compactMap { known.models[$0]?.model.id }
            .filter { !there.run.model_inputs.contains($0) }
        if !datasets.isEmpty || !inputs.isEmpty {
            _ = try await server.send(
                "POST", "runs/log-inputs",
                [
                    "run_id": id, "datasets": .array(datasets),
                    "models": .array(inputs.map { ["model_id": .string($0)] }),
                ])
        }
        let outputs = run.run.model_outputs.compactMap { output -> JSONValue? in
            guard let model = known.models[output.model]?.model.id,
                !there.run.model_outputs.contains(where: { $0.model == model })
            else { return nil }
            return ["model_id": .string(model), "step": .integer(output.step)]
        }
        if !outputs.isEmpty {
            _ = try await server.send("POST", "runs/outputs", ["run_id": id, "models": .array(outputs)])
        }
    }

    // MARK: Files

    func send(
        _ files: [SourceFile], of owner: FileOwner, to address: String, _ report: SharedReport
    ) async throws {
        guard !files.isEmpty else { return }
        guard let root = Addresses.proxied(address) else {
            report.change {
                $0.differ(
                    "\(owner.id): its \(files.count) files, since the server keeps files at \(address), out of its own reach"
                )
            }
            return
        }
        for file in files {
            let place = "\(scratch)/\(owner.id)-\(UInt64.random(in: .min ... .max))"
            if let local = file.place {
                try await server.upload(file: local, to: "\(root)/\(file.path)")
            } else {
                try await source.fetch(file, of: owner, to: place)
                defer { unlink(place) }
                try await server.upload(file: place, to: "\(root)/\(file.path)")
            }
            moved(file.bytes)
        }
    }

    // MARK: Logged models

    func export(
        _ model: SourceModel, _ place: MovedExperiment, _ known: Known, _ report: SharedReport
    ) async throws -> SourceModel? {
        var files: [SourceFile] = []
        switch try await source.files(of: model.owner) {
        case .here(let found): files = found
        case .elsewhere: report.change { $0.tell("files that stay where they are, such as \(model.artifactURI)") }
        case .missing(let place): report.change { $0.tell("files that should be below \(place)") }
        }
        let count = files.count
        let bytes = files.reduce(0) { $0 + $1.bytes }
        report.change { report in
            report.count("logged models", source: 1)
            report.count("files", source: count)
            report.count("file bytes", source: bytes)
        }
        do {
            let there: SourceModel
            if let known = known.models[model.model.id] {
                there = known
            } else {
                there = try await create(model, place, known)
            }
            if there.model.tags[Self.wholeTag] == nil {
                try await send(files, of: model.owner, to: there.artifactURI, report)
                try await logMetrics(of: model.model, as: there.model.id, known)
                // 1 is a state that ends by itself: nothing is told then.
                if model.model.status > 1 {
                    _ = try await server.send(
                        "PATCH", "logged-models/\(there.model.id)",
                        ["model_id": .string(there.model.id), "status": .string(Self.states[model.model.status - 2])])
                }
                _ = try await server.send(
                    "PATCH", "logged-models/\(there.model.id)/tags",
                    ["model_id": .string(there.model.id), "tags": .wire([Self.wholeTag: "yes"])])
            }
            var found: [SourceFile] = []
            if case .here(let files) = try await ServerSource(server).files(of: there.owner) { found = files }
            let (sum, number) = (found.reduce(0) { $0 + $1.bytes }, found.count)
            report.change { report in
                report.count("logged models", target: 1)
                report.count("files", target: number)
                report.count("file bytes", target: sum)
                if number < count { report.differ("logged model \(model.model.id): \(number) of \(count) files") }
            }
            return there
        } catch let problem as Problem where [400, 404, 409, 413, 422].contains(problem.status) {
            report.change { $0.differ("logged model \(model.model.id): \(problem.message)") }
            return nil
        }
    }

    private static let states = ["LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"]

    private func create(_ model: SourceModel, _ place: MovedExperiment, _ known: Known) async throws -> SourceModel {
        var tags = model.model.tags
        (tags[Self.wholeTag], tags[Self.modelTag]) = (nil, model.model.id)
        let run = known.runs[model.model.source_run]?.run.id ?? ""
        var body: Ordered<JSONValue> = [
            "experiment_id": .string(place.id), "name": .string(model.model.name), "tags": .wire(tags),
            "params": .wire(model.model.params),
        ]
        if !model.model.type.isEmpty { body["model_type"] = .string(model.model.type) }
        if !run.isEmpty { body["source_run_id"] = .string(run) }
        let made = try await server.send("POST", "logged-models", .object(body))["model"]?["info"] ?? [:]
        var there = SourceModel(model: MovedLoggedModel())
        (there.model.id, there.model.experiment) = (made["model_id"]?.string ?? "", place.id)
        there.artifactURI = made["artifact_uri"]?.string ?? ""
        return there
    }

    /// What was measured of a model is logged to the run that measured it, with the model's id.
    private func logMetrics(of model: MovedLoggedModel, as id: String, _ known: Known) async throws {
        for (run, metrics) in Dictionary(grouping: model.metrics, by: \.run) {
            guard let there = known.runs[run]?.run.id else { continue }
            for start in stride(from: 0, to: metrics.count, by: Self.metricsPerBatch) {
                let part = metrics[start..<min(start + Self.metricsPerBatch, metrics.count)]
                try await log(part.map { Self.wire($0, id) }, to: there)
            }
        }
    }

    private static func wire(_ metric: MovedModelMetric, _ model: String) -> JSONValue {
        var json: Ordered<JSONValue> = [
            "key": .string(metric.key), "value": .number(metric.value), "timestamp": .integer(metric.time_ms),
            "step": .integer(metric.step), "model_id": .string(model),
        ]
        if let name = metric.dataset_name { json["dataset_name"] = .string(name) }
        if let digest = metric.dataset_digest { json["dataset_digest"] = .string(digest) }
        return .object(json)
    }
}
