package import API
import Manifests

/// A running server that is read with the calls that every client has.
package struct ServerSource: MoveSource {
    package let name: String
    private let server: MLflowServer
    private let options: MoveOptions

    /// Items of a page: of experiments, runs, points, models.
    private static let pageExperiments: Int64 = 1000
    private static let pageRuns: Int64 = 100
    private static let pagePoints: Int64 = 25_000
    private static let pageModels: Int64 = 50
    /// Folders below one run.
    private static let folderLimit = 100_000

    package init(_ server: MLflowServer, options: MoveOptions = MoveOptions()) {
        (self.server, self.options, name) = (server, options, server.base)
    }

    package func look() async throws -> SourceView {
        let found = try await server.send("POST", "experiments/search", ["max_results": 1, "view_type": "ALL"])
        guard found.object != nil else {
            throw Problem(
                "move.not-mlflow", status: 422, "\(server.base) does not speak MLflow's API",
                hint: "Of a vagus server name the address with /mlflow at the end.")
        }
        var view = SourceView()
        view.notTaken = [
            "traces and their assessments, evaluation datasets, scorers, webhooks", "deleted logged models",
        ]
        return view
    }

    /// Goes through all pages of a search.
    private func pages(
        _ path: String, _ body: Ordered<JSONValue>, isGet: Bool = false, _ each: (JSONValue) async throws -> Void
    ) async throws {
        var token: String?
        repeat {
            var body = body
            if let token { body["page_token"] = .string(token) }
            let page =
                isGet
                ? try await server.get(path, body.map { ($0.key, $0.value.string ?? $0.value.text) })
                : try await server.send("POST", path, .object(body))
            try await each(page)
            token = page["next_page_token"]?.string.flatMap { $0.isEmpty ? nil : $0 }
        } while token != nil
    }

    package func experiments() async throws -> [MovedExperiment] {
        var found: [MovedExperiment] = []
        try await pages("experiments/search", ["max_results": .integer(Self.pageExperiments), "view_type": "ALL"]) {
            page in
            for item in page["experiments"]?.array ?? [] {
                var experiment = MovedExperiment()
                (experiment.id, experiment.name) = (item["experiment_id"]?.string ?? "", item["name"]?.string ?? "")
                experiment.artifact_location = Addresses.kept(item["artifact_location"]?.string ?? "")
                experiment.is_deleted = item["lifecycle_stage"]?.string == "deleted"
                experiment.created_ms = item["creation_time"]?.wireInteger ?? 0
                experiment.updated_ms = item["last_update_time"]?.wireInteger ?? 0
                experiment.tags = item["tags"]?.wirePairs ?? [:]
                found.append(experiment)
            }
        }
        return found.sorted { (Int64($0.id) ?? 0) < (Int64($1.id) ?? 0) }
    }

    // MARK: Runs

    /// The first begun first: so parents come before their children.
    package func runs(of experiment: MovedExperiment, _ body: ([SourceRun]) async throws -> Void) async throws {
        let search: Ordered<JSONValue> = [
            "experiment_ids": [.string(experiment.id)], "max_results": .integer(Self.pageRuns), "run_view_type": "ALL",
            "order_by": ["attributes.start_time ASC"],
        ]
        try await pages("runs/search", search) { page in
            let runs = (page["runs"]?.array ?? []).map { Self.run($0, of: experiment) }
            if !runs.isEmpty { try await body(runs) }
        }
    }

    private static func run(_ json: JSONValue, of experiment: MovedExperiment) -> SourceRun {
        let (info, data) = (json["info"] ?? [:], json["data"] ?? [:])
        var run = MovedRun()
        (run.id, run.experiment) = (info["run_id"]?.string ?? "", experiment.id)
        (run.name, run.user) = (info["run_name"]?.string ?? "", info["user_id"]?.string ?? "")
        run.status = info["status"]?.string ?? "FINISHED"
        run.started_ms = info["start_time"]?.wireInteger ?? 0
        run.ended_ms = info["end_time"]?.wireInteger
        run.is_deleted = info["lifecycle_stage"]?.string == "deleted"
        (run.params, run.tags) = (data["params"]?.wirePairs ?? [:], data["tags"]?.wirePairs ?? [:])
        let address = info["artifact_uri"]?.string ?? ""
        run.artifact_uri = Addresses.kept(address)
        run.datasets = (json["inputs"]?["dataset_inputs"]?.array ?? []).map(dataset)
        for item in json["inputs"]?["model_inputs"]?.array ?? [] {
            if let id = item["model_id"]?.string, !run.model_inputs.contains(id) { run.model_inputs.append(id) }
        }
        for item in json["outputs"]?["model_outputs"]?.array ?? [] {
            var output = MovedOutput()
            (output.model, output.step) = (item["model_id"]?.string ?? "", item["step"]?.wireInteger ?? 0)
            if !run.model_outputs.contains(where: { $0.model == output.model }) { run.model_outputs.append(output) }
        }
        let keys = Set((data["metrics"]?.array ?? []).compactMap { $0["key"]?.string }).sorted()
        return SourceRun(
            run: run, metrics: keys.count, points: keys.isEmpty ? 0 : nil, artifactURI: address, keys: keys)
    }

    private static func dataset(_ json: JSONValue) -> MovedDataset {
        var moved = MovedDataset()
        let dataset = json["dataset"] ?? [:]
        (moved.name, moved.digest) = (dataset["name"]?.string ?? "", dataset["digest"]?.string ?? "")
        (moved.source_type, moved.source) = (dataset["source_type"]?.string ?? "", dataset["source"]?.string ?? "")
        (moved.schema, moved.profile) = (dataset["schema"]?.string, dataset["profile"]?.string)
        moved.tags = json["tags"]?.wirePairs ?? [:]
        return moved
    }

    package func points(of run: SourceRun) async throws -> [MovedPoints] {
        var all: [MovedPoints] = []
        for key in run.keys {
            var points = MovedPoints(key: key)
            let query: Ordered<JSONValue> = [
                "run_id": .string(run.run.id), "metric_key": .string(key), "max_results": .integer(Self.pagePoints),
            ]
            try await pages("metrics/get-history", query, isGet: true) { page in
                for item in page["metrics"]?.array ?? [] {
                    points.values.append(StoredNumber.value(item["value"]?.wireDouble ?? 0))
                    points.times.append(item["timestamp"]?.wireInteger ?? 0)
                    points.steps.append(item["step"]?.wireInteger ?? 0)
                }
            }
            all.append(points)
        }
        return all
    }

    // MARK: Files

    package func files(of owner: FileOwner) async throws -> FoundFiles {
        if Addresses.isRemote(owner.address) { return .elsewhere }
        guard owner.isModel == false || Addresses.proxied(owner.address) != nil else {
            return .missing(owner.address)
        }
        var (files, folders, seen) = ([SourceFile](), [""], 0)
        while let folder = folders.popLast() {
            seen += 1
            guard seen <= Self.folderLimit else { break }
            for entry in try await list(folder, of: owner) {
                let path = entry["path"]?.string ?? ""
                if entry["is_dir"]?.bool == true {
                    folders.append(path)
                } else {
                    files.append(SourceFile(path: path, bytes: entry["file_size"]?.wireInteger ?? 0))
                }
            }
        }
        return .here(files.sorted { $0.path < $1.path })
    }

    /// Entries with paths below the owner's artifacts.
    private func list(_ folder: String, of owner: FileOwner) async throws -> [JSONValue] {
        guard let root = Addresses.proxied(owner.address) else {
            let query = [("run_id", owner.id)] + (folder.isEmpty ? [] : [("path", folder)])
            return try await server.get("artifacts/list", query)["files"]?.array ?? []
        }
        let place = folder.isEmpty ? root : "\(root)/\(folder)"
        let found = try await server.list(proxied: place)["files"]?.array ?? []
        return found.map { entry in
            var entry = entry.object ?? [:]
            // The proxy tells names within the folder.
            let name = (entry["path"]?.string ?? "").split(separator: "/").last.map(String.init) ?? ""
            entry["path"] = .string(folder.isEmpty ? name : "\(folder)/\(name)")
            return .object(entry)
        }
    }

    package func fetch(_ file: SourceFile, of owner: FileOwner, to path: String) async throws {
        if let root = Addresses.proxied(owner.address) {
            try await server.download(proxied: "\(root)/\(file.path)", to: path)
        } else {
            try await server.download("/get-artifact", [("run_id", owner.id), ("path", file.path)], to: path)
        }
    }

    // MARK: Models

    package func loggedModels(of experiment: MovedExperiment) async throws -> [SourceModel] {
        var found: [SourceModel] = []
        let search: Ordered<JSONValue> = [
            "experiment_ids": [.string(experiment.id)], "max_results": .integer(Self.pageModels),
        ]
        do {
            try await pages("logged-models/search", search) { page in
                found += (page["models"]?.array ?? []).map { Self.model($0, of: experiment) }
            }
        } catch let problem as Problem where problem.status == 404 || problem.code == "mlflow.endpoint_not_found" {
            return []  // a server older than MLflow 3
        }
        return found
    }

    private static func model(_ json: JSONValue, of experiment: MovedExperiment) -> SourceModel {
        let (info, data) = (json["info"] ?? [:], json["data"] ?? [:])
        var model = MovedLoggedModel()
        (model.id, model.experiment) = (info["model_id"]?.string ?? "", experiment.id)
        (model.name, model.type) = (info["name"]?.string ?? "", info["model_type"]?.string ?? "")
        model.source_run = info["source_run_id"]?.string ?? ""
        model.status_message = info["status_message"]?.string ?? ""
        model.created_ms = info["creation_timestamp_ms"]?.wireInteger ?? 0
        model.updated_ms = info["last_updated_timestamp_ms"]?.wireInteger ?? 0
        let states = [
            "LOGGED_MODEL_STATUS_UNSPECIFIED", "LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY",
            "LOGGED_MODEL_UPLOAD_FAILED",
        ]
        model.status = info["status"]?.string.flatMap { states.firstIndex(of: $0) } ?? info["status"]?.int ?? 0
        (model.tags, model.params) = (info["tags"]?.wirePairs ?? [:], data["params"]?.wirePairs ?? [:])
        for item in data["metrics"]?.array ?? [] {
            var metric = MovedModelMetric()
            metric.key = item["key"]?.string ?? ""
            metric.value = StoredNumber.value(item["value"]?.wireDouble ?? 0)
            metric.time_ms = item["timestamp"]?.wireInteger ?? 0
            (metric.step, metric.run) = (item["step"]?.wireInteger ?? 0, item["run_id"]?.string ?? "")
            metric.dataset_name = item["dataset_name"]?.string
            metric.dataset_digest = item["dataset_digest"]?.string
            model.metrics.append(metric)
        }
        let address = info["artifact_uri"]?.string ?? ""
        model.artifact_uri = Addresses.kept(address)
        return SourceModel(model: model, artifactURI: address)
    }

    private static let prompts = "tags.`mlflow.prompt.is_prompt` = 'true'"

    /// Models, then prompts: a server shows prompts only to who asks for them.
    package func registeredModels() async throws -> [MovedModel] {
        var found: [MovedModel] = []
        for filter in ["", Self.prompts] {
            var query: Ordered<JSONValue> = ["max_results": .integer(Self.pageModels)]
            if !filter.isEmpty { query["filter"] = .string(filter) }
            try await pages("registered-models/search", query, isGet: true) { page in
                for item in page["registered_models"]?.array ?? [] {
                    var model = MovedModel()
                    model.name = item["name"]?.string ?? ""
                    guard !found.contains(where: { $0.name == model.name }) else { continue }
                    model.description = item["description"]?.string ?? ""
                    model.created_ms = item["creation_timestamp"]?.wireInteger ?? 0
                    model.updated_ms = item["last_updated_timestamp"]?.wireInteger ?? 0
                    model.tags = item["tags"]?.wirePairs ?? [:]
                    for alias in item["aliases"]?.array ?? [] {
                        model.aliases[alias["alias"]?.string ?? ""] = alias["version"]?.wireInteger.map(Int.init) ?? 0
                    }
                    model.versions = try await versions(of: model.name, filter)
                    found.append(model)
                }
            }
        }
        return found
    }

    private func versions(of name: String, _ filter: String) async throws -> [MovedVersion] {
        var found: [MovedVersion] = []
        let quote = name.contains("'") ? "\"" : "'"
        let only = "name = \(quote)\(name)\(quote)" + (filter.isEmpty ? "" : " AND \(filter)")
        let query: Ordered<JSONValue> = ["filter": .string(only), "max_results": .integer(Self.pageRuns)]
        try await pages("model-versions/search", query, isGet: true) { page in
            for item in page["model_versions"]?.array ?? [] { found.append(try await version(item)) }
        }
        return found.sorted { $0.version < $1.version }
    }

    private func version(_ item: JSONValue) async throws -> MovedVersion {
        var version = MovedVersion()
        version.version = item["version"]?.wireInteger.map(Int.init) ?? 0
        version.created_ms = item["creation_timestamp"]?.wireInteger ?? 0
        version.updated_ms = item["last_updated_timestamp"]?.wireInteger ?? 0
        version.user = item["user_id"]?.string ?? ""
        version.description = item["description"]?.string.flatMap(VersionSource.filled)
        version.stage = item["current_stage"]?.string ?? "None"
        version.run = item["run_id"]?.string.flatMap(VersionSource.filled)
        version.run_link = item["run_link"]?.string.flatMap(VersionSource.filled)
        version.tags = item["tags"]?.wirePairs ?? [:]
        let source = item["source"]?.string ?? ""
        var root: String?
        if let run = version.run, VersionSource.loggedModel(of: source) == nil {
            do {
                root = try await server.get("runs/get", [("run_id", run)])["run"]?["info"]?["artifact_uri"]?.string
            } catch let problem as Problem where problem.isMLflowMissing {
                root = nil
            }
        }
        version.source = VersionSource.source(source, storage: nil, run: version.run) { _ in root }
        version.model_id =
            item["model_id"]?.string.flatMap(VersionSource.filled) ?? VersionSource.loggedModel(of: version.source)
        return version
    }
}
