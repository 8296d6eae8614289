import API
import Kernel
import Manifests
import SQL

/// MLflow's calls about experiments.
struct ExperimentCalls: Sendable {
    let tracking: TrackingHouse

    private static let base = "/api/2.0/mlflow/experiments"

    var routes: [MLflowRoute] {
        let base = Self.base
        return [
            MLflowRoute("POST", "\(base)/create", create), MLflowRoute("GET", "\(base)/get", get),
            MLflowRoute("GET", "\(base)/get-by-name", getByName),
            MLflowRoute("POST", "\(base)/search", needs: .read, search), MLflowRoute("GET", "\(base)/search", search),
            MLflowRoute("POST", "\(base)/delete", delete), MLflowRoute("POST", "\(base)/restore", restore),
            MLflowRoute("POST", "\(base)/update", update),
            MLflowRoute("POST", "\(base)/set-experiment-tag", setTag),
            MLflowRoute("POST", "\(base)/delete-experiment-tag", deleteTag),
            MLflowRoute("POST", "/api/2.0mlflow/experiments/search-datasets", needs: .read, searchDatasets),
            MLflowRoute("POST", "\(base)/search-datasets", needs: .read, searchDatasets),
        ]
    }

    private func create(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let name = try input.string("name")
        let location = try input.text("artifact_location") ?? ""
        let tags = try input.pairs("tags")
        try NameRules.experimentName(name)
        try ArtifactPlaces.checkLocation(location)
        for tag in tags { try NameRules.experimentTag(tag.key, tag.value) }
        let (store, project, now) = (try tracking.store, input.project, try tracking.store.milliseconds)
        let made = try await store.write { sql in
            try sql.makeExperiment(named: name, in: project, artifactLocation: location, tags: tags, at: now)
        }
        try await tracking.tell("experiment.created", made, call)
        return .json(["experiment_id": .string(String(made.id))])
    }

    private func experiment(_ input: MLflowInput) throws -> (id: Int64, project: String) {
        (try NameRules.experimentID(input.string("experiment_id")), input.project)
    }

    private func get(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project) = try experiment(input)
        let found = try await tracking.store.read { try $0.experiment(id, in: project) }
        return .json(["experiment": found.json])
    }

    private func getByName(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (name, project) = (try input.string("experiment_name"), input.project)
        guard let found = try await tracking.store.read({ try $0.experiment(named: name, in: project) }) else {
            throw MLflowError.missing("Could not find experiment with name '\(name)'")
        }
        return .json(["experiment": found.json])
    }

    private func delete(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        try await mark(input, call, deleted: true)
    }

    private func restore(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        try await mark(input, call, deleted: false)
    }

    private func mark(_ input: MLflowInput, _ call: Call, deleted: Bool) async throws -> MLflowAnswer {
        let (id, project) = try experiment(input)
        let now = try tracking.store.milliseconds
        let marked = try await tracking.store.write { sql in
            let experiment = try sql.experiment(id, in: project)
            // One that is deleted already is not there to be deleted, and the other way round.
            guard experiment.isDeleted != deleted else {
                throw MLflowError.missing("No Experiment with id=\(id) exists")
            }
            try sql.mark(experiment: id, deleted: deleted, at: now)
            return experiment
        }
        try tracking.store.runs.forgetAll()
        try await tracking.tell(deleted ? "experiment.deleted" : "experiment.restored", marked, call)
        return .empty
    }

    private func update(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project) = try experiment(input)
        let name = try input.string("new_name")
        try NameRules.experimentName(name)
        let now = try tracking.store.milliseconds
        let renamed = try await tracking.store.write { sql in
            let experiment = try sql.experiment(id, in: project)
            guard !experiment.isDeleted else {
                throw MLflowError(.invalidState, "Cannot rename a non-active experiment.")
            }
            if let other = try sql.experiment(named: name, in: project), other.id != id {
                throw MLflowError(.alreadyExists, "Experiment(name=\(name)) already exists.")
            }
            try sql.rename(experiment: id, to: name, at: now)
            return experiment
        }
        try await tracking.tell("experiment.renamed", renamed, call, ["new_name": .string(name)])
        return .empty
    }

    private func setTag(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project) = try experiment(input)
        let (key, value) = (try input.string("key"), try input.text("value") ?? "")
        try NameRules.experimentTag(key, value)
        try await tracking.store.write { sql in
            try sql.experiment(id, in: project).checkActive()
            try sql.setExperimentTag(key, value, of: id)
        }
        return .empty
    }

    private func deleteTag(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project) = try experiment(input)
        let key = try input.string("key")
        try await tracking.store.write { sql in
            try sql.experiment(id, in: project).checkActive()
            guard try sql.deleteExperimentTag(key, of: id) else {
                throw MLflowError.missing("No tag with name: \(key) in experiment with id \(id)")
            }
        }
        return .empty
    }

    private func search(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let search = try ExperimentSearch(
            project: input.project, stages: ViewType.stages(input.value("view_type")),
            filter: input.text("filter") ?? "", order: input.strings("order_by"),
            limit: NameRules.results(input.integer("max_results"), standard: 0))
        let token = try input.text("page_token")
        let store = try tracking.store
        let page = try await store.read { try search.run(in: $0, tokens: store.tokens, token: token) }
        var json: Ordered<JSONValue> = [:]
        if !page.experiments.isEmpty { json["experiments"] = .array(page.experiments.map(\.json)) }
        if let next = page.next { json["next_page_token"] = .string(next) }
        return .json(.object(json))
    }

    private func searchDatasets(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let ids = try input.strings("experiment_ids").map(NameRules.experimentID)
        let project = input.project
        let found = try await tracking.store.read { sql in
            try sql.datasets(of: sql.experiments(ids, in: project))
        }
        return .json(found.isEmpty ? [:] : ["dataset_summaries": .array(found)])
    }
}

/// Which of the living and the deleted are meant, by MLflow's name or number.
enum ViewType {
    static func stages(_ value: JSONValue?) throws(MLflowError) -> [Bool] {
        guard let value else { return [false] }
        switch value {
        case "ACTIVE_ONLY", "1", 1: return [false]
        case "DELETED_ONLY", "2", 2: return [true]
        case "ALL", "3", 3: return [false, true]
        default: throw .wrong("view_type", value)
        }
    }
}
