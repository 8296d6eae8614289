package import API
import Foundation
import Manifests

/// A folder of MLflow's file store, such as `./mlruns`. Nothing in it is changed.
///
/// One folder an experiment, in it one a run; a key is the path of a file, a value what the file holds. Deleted experiments lie in
/// `.trash`, registered models in `models`.
package struct FolderSource: MoveSource {
    package let name: String
    private let root: String
    private let artifacts: LocalArtifacts

    private static let meta = "meta.yaml"
    /// Folders of an experiment that are no runs.
    private static let noRuns: Set<String> = ["tags", "datasets", "traces", "models"]
    private static let states = ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
    /// Runs that are read at once.
    private static let pageRuns = 100
    /// Bytes of a file that holds a value or the points of a metric.
    private static let fileBytes: Int64 = 1 << 30

    package init(path: String, artifacts: String?) throws {
        root = URL(filePath: path).standardizedFileURL.path
        name = root
        self.artifacts = LocalArtifacts(
            root: artifacts ?? root, base: URL(filePath: root).deletingLastPathComponent().path)
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: root, isDirectory: &isFolder), isFolder.boolValue else {
            throw Problem(
                "move.no-folder", status: 404, "there is no folder \"\(path)\"",
                hint: "Name a folder such as ./mlruns, a file as sqlite:///mlflow.db, or a server as http://HOST:5000.")
        }
        guard try folders(in: root).contains(where: { isStore($0) }) || isThere("\(root)/.trash") else {
            throw Problem(
                "move.no-store", status: 422, "there are no experiments in \"\(path)\"",
                hint: "Each would be a folder with a file meta.yaml.")
        }
    }

    // MARK: Files

    private func isThere(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }
    private func isStore(_ folder: String) -> Bool { isThere("\(root)/\(folder)/\(Self.meta)") }

    /// Names of what is in a folder, sorted; of a missing one none.
    private func folders(in path: String) throws -> [String] {
        isThere(path) ? try FileManager.default.contentsOfDirectory(atPath: path).sorted() : []
    }

    private func text(_ path: String) throws -> String {
        let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? NSNumber
        guard (size?.int64Value ?? 0) <= Self.fileBytes else {
            throw Problem("move.too-large", status: 422, "\"\(path)\" is too large for a value")
        }
        return String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self)
    }

    private func facts(_ folder: String) throws -> JSONValue {
        let path = "\(folder)/\(Self.meta)"
        do {
            return try YAML.documents(text(path), file: path).first?.value ?? [:]
        } catch let error as ManifestError {
            throw Problem(
                "move.damaged", status: 422, "could not read \"\(path)\": \(error.message)",
                hint: "Mend it, or move its folder away; then begin again with the same command.")
        }
    }

    /// Texts by the paths of their files.
    private func values(in folder: String) throws -> Ordered<String> {
        var values = Ordered<String>()
        for key in try files(in: folder) { values[key] = try text("\(folder)/\(key)") }
        return values
    }

    private func files(in folder: String) throws -> [String] {
        guard isThere(folder), let walk = FileManager.default.enumerator(atPath: folder) else { return [] }
        var paths: [String] = []
        while let path = walk.nextObject() as? String {
            if walk.fileAttributes?[.type] as? FileAttributeType == .typeRegular { paths.append(path) }
        }
        return paths.sorted()
    }

    // MARK: Experiments and runs

    /// Folders of experiments, deleted ones last.
    private func places() throws -> [String] {
        let own = try folders(in: root).filter { $0 != "models" && $0 != ".trash" && isStore($0) }
        let deleted = try folders(in: "\(root)/.trash").filter { isStore(".trash/\($0)") }
        return own.map { "\(root)/\($0)" } + deleted.map { "\(root)/.trash/\($0)" }
    }

    private func runs(in folder: String) throws -> [String] {
        try folders(in: folder).filter { !Self.noRuns.contains($0) && isThere("\(folder)/\($0)/\(Self.meta)") }
    }

    package func look() async throws -> SourceView {
        var (view, traces) = (SourceView(), 0)
        var count = 0
        for place in try places() {
            count += try runs(in: place).count
            traces += try folders(in: "\(place)/traces").count
        }
        view.runs = count
        if traces > 0 { view.notTaken.append("\(traces) traces") }
        return view
    }

    package func experiments() async throws -> [MovedExperiment] {
        try places().map { place in
            let facts = try facts(place)
            var experiment = MovedExperiment()
            experiment.id = facts.word("experiment_id") ?? URL(filePath: place).lastPathComponent
            experiment.name = facts.word("name") ?? experiment.id
            experiment.is_deleted = facts.word("lifecycle_stage") == "deleted" || place.contains("/.trash/")
            experiment.created_ms = facts["creation_time"]?.wireInteger ?? 0
            experiment.updated_ms = facts["last_update_time"]?.wireInteger ?? 0
            experiment.artifact_location = Addresses.kept(facts.word("artifact_location") ?? "")
            experiment.tags = try values(in: "\(place)/tags")
            return experiment
        }
    }

    private func place(of experiment: String) -> String {
        let own = "\(root)/\(experiment)"
        return isThere("\(own)/\(Self.meta)") ? own : "\(root)/.trash/\(experiment)"
    }

    package func runs(of experiment: MovedExperiment, _ body: ([SourceRun]) async throws -> Void) async throws {
        let place = place(of: experiment.id)
        let ids = try runs(in: place)
        for start in stride(from: 0, to: ids.count, by: Self.pageRuns) {
            let page = ids[start..<min(start + Self.pageRuns, ids.count)]
            try await body(page.map { try run("\(place)/\($0)", of: experiment, place) })
        }
    }

    private func run(_ folder: String, of experiment: MovedExperiment, _ place: String) throws -> SourceRun {
        let facts = try facts(folder)
        var run = MovedRun()
        run.id = facts.word("run_id") ?? facts.word("run_uuid") ?? URL(filePath: folder).lastPathComponent
        run.experiment = experiment.id
        (run.params, run.tags) = (try values(in: "\(folder)/params"), try values(in: "\(folder)/tags"))
        run.name = facts.word("run_name").flatMap(VersionSource.filled) ?? run.tags["mlflow.runName"] ?? ""
        run.user = facts.word("user_id") ?? ""
        let state = facts["status"]?.wireInteger ?? 0
        run.status = (1...5).contains(state) ? Self.states[Int(state) - 1] : facts.word("status") ?? "FINISHED"
        run.started_ms = facts["start_time"]?.wireInteger ?? 0
        run.ended_ms = facts["end_time"]?.wireInteger
        run.is_deleted = facts.word("lifecycle_stage") == "deleted" || experiment.is_deleted
        let address = facts.word("artifact_uri") ?? ""
        run.artifact_uri = Addresses.kept(address)
        try fillInputs(&run, folder, place)
        let keys = try files(in: "\(folder)/metrics")
        return SourceRun(
            run: run, metrics: keys.count, points: keys.isEmpty ? 0 : nil, artifactURI: address, keys: keys)
    }

    private func fillInputs(_ run: inout MovedRun, _ folder: String, _ place: String) throws {
        for name in try folders(in: "\(folder)/inputs") {
            let input = try facts("\(folder)/inputs/\(name)")
            let source = input.word("source_id") ?? ""
            guard input.word("source_type") == "DATASET" else {
                if !run.model_inputs.contains(source) { run.model_inputs.append(source) }
                continue
            }
            guard isThere("\(place)/datasets/\(source)/\(Self.meta)") else { continue }
            let facts = try facts("\(place)/datasets/\(source)")
            var dataset = MovedDataset()
            (dataset.name, dataset.digest) = (facts.word("name") ?? "", facts.word("digest") ?? "")
            (dataset.source_type, dataset.source) = (facts.word("source_type") ?? "", facts.word("source") ?? "")
            (dataset.schema, dataset.profile) = (facts.word("schema"), facts.word("profile"))
            for (key, value) in input["tags"]?.object ?? [:] { dataset.tags[key] = value.string ?? value.text }
            run.datasets.append(dataset)
        }
        for name in try folders(in: "\(folder)/outputs") {
            var output = MovedOutput()
            (output.model, output.step) = (name, try facts("\(folder)/outputs/\(name)")["step"]?.wireInteger ?? 0)
            run.model_outputs.append(output)
        }
    }

    package func points(of run: SourceRun) async throws -> [MovedPoints] {
        let folder = "\(place(of: run.run.experiment))/\(run.run.id)/metrics"
        return try run.keys.map { key in
            var points = MovedPoints(key: key)
            var seen: Set<MetricLine> = []
            for line in try text("\(folder)/\(key)").split(separator: "\n") {
                guard let line = MetricLine(line) else {
                    throw Problem(
                        "move.damaged", status: 422, "\"\(folder)/\(key)\" has a line that is no point",
                        detail: "\"\(line.prefix(80))\"", hint: "A line is a time in milliseconds, a value, and a step."
                    )
                }
                // The same point logged twice is one in any other store.
                guard seen.insert(line).inserted else { continue }
                points.times.append(line.time)
                points.steps.append(line.step)
                points.values.append(Double(bitPattern: line.bits))
            }
            return points
        }
    }

    package func files(of owner: FileOwner) async throws -> FoundFiles { try artifacts.files(of: owner) }
    package func fetch(_ file: SourceFile, of owner: FileOwner, to path: String) async throws {}

    // MARK: Models

    package func loggedModels(of experiment: MovedExperiment) async throws -> [SourceModel] {
        let folder = "\(place(of: experiment.id))/models"
        return try folders(in: folder).filter { isThere("\(folder)/\($0)/\(Self.meta)") }.map { id in
            let facts = try facts("\(folder)/\(id)")
            var model = MovedLoggedModel()
            (model.id, model.experiment) = (facts.word("model_id") ?? id, experiment.id)
            (model.name, model.type) = (facts.word("name") ?? "", facts.word("model_type") ?? "")
            (model.source_run, model.status) = (facts.word("source_run_id") ?? "", facts["status"]?.int ?? 0)
            model.status_message = facts.word("status_message") ?? ""
            model.created_ms = facts["creation_timestamp"]?.wireInteger ?? 0
            model.updated_ms = facts["last_updated_timestamp"]?.wireInteger ?? 0
            model.is_deleted = facts.word("lifecycle_stage") == "deleted"
            (model.params, model.tags) = (
                try values(in: "\(folder)/\(id)/params"), try values(in: "\(folder)/\(id)/tags")
            )
            let metrics = "\(folder)/\(id)/metrics"
            for key in try files(in: metrics) {
                for line in try text("\(metrics)/\(key)").split(separator: "\n") {
                    if let line = MetricLine(line) { model.metrics.append(line.ofModel(key)) }
                }
            }
            let address = facts.word("artifact_location") ?? ""
            model.artifact_uri = Addresses.kept(address)
            return SourceModel(model: model, artifactURI: address)
        }
    }

    package func registeredModels() async throws -> [MovedModel] {
        let folder = "\(root)/models"
        return try folders(in: folder).filter { isThere("\(folder)/\($0)/\(Self.meta)") }.map { name in
            let facts = try facts("\(folder)/\(name)")
            var model = MovedModel()
            (model.name, model.description) = (facts.word("name") ?? name, facts.word("description") ?? "")
            model.created_ms = facts["creation_timestamp"]?.wireInteger ?? 0
            model.updated_ms = facts["last_updated_timestamp"]?.wireInteger ?? 0
            model.tags = try values(in: "\(folder)/\(name)/tags")
            for (alias, version) in try values(in: "\(folder)/\(name)/aliases") {
                model.aliases[alias] = Int(version.filter { !$0.isWhitespace })
            }
            let versions = try folders(in: "\(folder)/\(name)").filter { $0.hasPrefix("version-") }
            model.versions = try versions.compactMap { try version("\(folder)/\(name)/\($0)") }
            model.versions.sort { $0.version < $1.version }
            return model
        }
    }

    private func version(_ folder: String) throws -> MovedVersion? {
        let facts = try facts(folder)
        var version = MovedVersion()
        guard let number = facts["version"]?.wireInteger, facts.word("current_stage") != "Deleted_Internal" else {
            return nil
        }
        version.version = Int(number)
        version.created_ms = facts["creation_timestamp"]?.wireInteger ?? 0
        version.updated_ms = facts["last_updated_timestamp"]?.wireInteger ?? 0
        (version.user, version.stage) = (facts.word("user_id") ?? "", facts.word("current_stage") ?? "None")
        version.description = facts.word("description").flatMap(VersionSource.filled)
        version.run = facts.word("run_id").flatMap(VersionSource.filled)
        version.run_link = facts.word("run_link").flatMap(VersionSource.filled)
        version.tags = try values(in: "\(folder)/tags")
        version.source = try VersionSource.source(
            facts.word("source") ?? "", storage: facts.word("storage_location"), run: version.run
        ) { try rootOfRun($0) }
        version.model_id =
            facts.word("model_id").flatMap(VersionSource.filled) ?? VersionSource.loggedModel(of: version.source)
        return version
    }

    /// Where a run says its files are.
    private func rootOfRun(_ id: String) throws -> String? {
        for place in try places() where isThere("\(place)/\(id)/\(Self.meta)") {
            return try facts("\(place)/\(id)").word("artifact_uri")
        }
        return nil
    }
}

/// A line of a metric's file: time, value, step, and for a logged model run, dataset and its digest.
struct MetricLine: Hashable {
    var time: Int64
    var bits: UInt64
    var step: Int64 = 0
    var rest: [String] = []

    init?(_ line: Substring) {
        let parts = line.split(separator: " ").map(String.init)
        guard parts.count >= 2, let time = Int64(parts[0]), let value = Self.number(parts[1]) else { return nil }
        (self.time, bits) = (time, value.bitPattern)
        if parts.count > 2 {
            guard let step = Int64(parts[2]) else { return nil }
            self.step = step
        }
        rest = Array(parts.dropFirst(3))
    }

    /// As Python writes numbers.
    private static func number(_ text: String) -> Double? {
        switch text {
        case "nan": .nan
        case "inf": .infinity
        case "-inf": -.infinity
        default: Double(text)
        }
    }

    func ofModel(_ key: String) -> MovedModelMetric {
        var metric = MovedModelMetric()
        (metric.key, metric.value, metric.time_ms, metric.step) = (key, Double(bitPattern: bits), time, step)
        metric.run = rest.first ?? ""
        if rest.count == 3 { (metric.dataset_name, metric.dataset_digest) = (rest[1], rest[2]) }
        return metric
    }
}

extension JSONValue {
    /// A member as text, whether it was written with quotes or not.
    fileprivate func word(_ name: String) -> String? {
        guard let value = self[name], !value.isNull else { return nil }
        return value.string ?? value.text
    }
}
