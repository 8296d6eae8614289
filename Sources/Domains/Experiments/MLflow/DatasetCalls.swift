import API
import Kernel
import Manifests
import SQL

/// MLflow's calls about datasets of evaluations.
struct DatasetCalls: Sendable {
    let tracking: TrackingHouse

    private static let standardResults: Int64 = 1000
    /// Records of one request.
    private static let recordLimit = 10_000

    var routes: [MLflowRoute] {
        let base = "/api/3.0/mlflow/datasets"
        let one = "\(base)/{dataset_id}"
        return [
            MLflowRoute("POST", "\(base)/create", create), MLflowRoute("GET", "\(base)/search", search),
            MLflowRoute("POST", "\(base)/search", needs: .read, search), MLflowRoute("GET", one, get),
            MLflowRoute("DELETE", one, delete), MLflowRoute("PATCH", "\(one)/tags", setTags),
            MLflowRoute("DELETE", "\(one)/tags/{key}", deleteTag),
            MLflowRoute("POST", "\(one)/records", upsert), MLflowRoute("GET", "\(one)/records", records),
            MLflowRoute("DELETE", "\(one)/records", deleteRecords),
            MLflowRoute("GET", "\(one)/experiment-ids", experimentIDs),
            MLflowRoute("POST", "\(one)/add-experiments", addExperiments),
            MLflowRoute("POST", "\(one)/remove-experiments", removeExperiments),
        ]
    }

    private static func missing(_ id: String) -> MLflowError {
        .missing("Evaluation dataset with id '\(id)' not found")
    }
    private static func id(_ input: MLflowInput) -> String { input.path["dataset_id"] ?? "" }

    /// JSON that is sent within a text.
    private static func packed(_ input: MLflowInput, _ name: String) throws(MLflowError) -> JSONValue? {
        guard let text = try input.text(name), !text.isEmpty else { return nil }
        guard let value = try? JSONParser.parse(text) else {  // told as what it is
            throw .invalid("Invalid value for parameter '\(name)' supplied: it must be JSON.")
        }
        return value
    }

    /// Tags of a request; those that are null are left out.
    private static func tags(_ value: JSONValue) throws(MLflowError) -> [(key: String, value: String)] {
        guard let members = value.object else { throw .wrong("tags", value) }
        var tags: [(key: String, value: String)] = []
        for (key, value) in members where !value.isNull { tags.append((key, value.string ?? value.text)) }
        return tags
    }

    private func create(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (name, experiments) = (try input.string("name"), try input.strings("experiment_ids"))
        let tags = try Self.packed(input, "tags").map(Self.tags) ?? []
        let now = try tracking.store.milliseconds
        var dataset = EvaluationDataset(
            id: "d-\(RunNames.id())", project: input.project, name: name, created: now, updated: now)
        dataset.sign()
        dataset.createdBy = tags.first { $0.key == EvaluationDataset.userTag }?.value
        (dataset.updatedBy, dataset.tags, dataset.experiments) = (dataset.createdBy, tags, experiments)
        let made = dataset
        try await tracking.store.write { sql in
            try sql.keep(made)
            for tag in made.tags { try sql.keepDatasetTag(tag.key, tag.value, of: made.id) }
            for experiment in experiments { try sql.addDataset(made.id, to: experiment) }
        }
        return .json(["dataset": made.json])
    }

    private func get(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project) = (Self.id(input), input.project)
        guard let dataset = try await tracking.store.read({ try $0.evaluationDataset(id, in: project) }) else {
            throw Self.missing(id)
        }
        return .json(["dataset": dataset.json])
    }

    private func delete(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project) = (Self.id(input), input.project)
        try await tracking.store.write { sql in
            guard try sql.evaluationDataset(id, in: project) != nil else { return }
            try sql.deleteDataset(id)
        }
        return .empty
    }

    private func search(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (experiments, filter) = (try input.strings("experiment_ids"), try input.text("filter_string") ?? "")
        let order = try input.strings("order_by")
        let limit = try NameRules.results(
            input.integer("max_results").flatMap { $0 == 0 ? nil : $0 }, standard: Self.standardResults)
        var plan = DatasetSearch(
            project: input.project, experiments: experiments, filter: try FilterParser.parse(filter, .datasets),
            order: try OrderClause.parse(order, .datasets), limit: limit)
        let store = try tracking.store
        let question = ["datasets", input.project, filter] + experiments + ["by"] + order
        if let token = try input.text("page_token"), !token.isEmpty {
            plan.place = try store.tokens.read(token, for: question)
        }
        let wanted = plan
        let page = try await store.read { try wanted.run(in: $0) }
        var json: Ordered<JSONValue> = [:]
        if !page.items.isEmpty { json["datasets"] = .array(page.items.map(\.json)) }
        if let next = page.next { json["next_page_token"] = .string(store.tokens.make(next, for: question)) }
        return .json(.object(json))
    }

    // MARK: Tags and experiments

    private func setTags(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        guard let told = try Self.packed(input, "tags") else { throw MLflowError.required("tags") }
        let (id, project, tags) = (Self.id(input), input.project, try Self.tags(told))
        try await tracking.store.write { sql in
            guard try sql.evaluationDataset(id, in: project) != nil else {
                throw MLflowError.missing("Could not find evaluation dataset with ID \(id)")
            }
            for tag in tags { try sql.keepDatasetTag(tag.key, tag.value, of: id) }
        }
        return .empty
    }

    private func deleteTag(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project, key) = (Self.id(input), input.project, input.path["key"] ?? "")
        try await tracking.store.write { sql in
            guard try sql.evaluationDataset(id, in: project) != nil else { return }
            try sql.deleteDatasetTag(key, of: id)
        }
        return .empty
    }

    private func experimentIDs(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project) = (Self.id(input), input.project)
        let ids = try await tracking.store.read { sql in
            try sql.evaluationDataset(id, in: project) == nil ? [] : sql.experiments(ofDataset: id)
        }
        return .json(ids.isEmpty ? [:] : ["experiment_ids": .array(ids.map { .string($0) })])
    }

    /// Changes which experiments a dataset belongs to.
    private func change(
        _ input: MLflowInput, _ body: @escaping @Sendable (Connection, String, [String]) throws -> Bool
    ) async throws -> MLflowAnswer {
        let (id, project, experiments) = (Self.id(input), input.project, try input.strings("experiment_ids"))
        let now = try tracking.store.milliseconds
        let changed = try await tracking.store.write { sql in
            guard var dataset = try sql.evaluationDataset(id, in: project) else {
                throw MLflowError.missing("Dataset '\(id)' not found")
            }
            guard try body(sql, id, experiments) else { return dataset }
            dataset.updated = now
            try sql.keep(dataset)
            return dataset
        }
        return .json(["dataset": changed.json])
    }

    private func addExperiments(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let project = input.project
        return try await change(input) { sql, id, experiments in
            for experiment in experiments {
                guard let number = Int64(experiment), try !sql.experiments([number], in: project).isEmpty else {
                    throw MLflowError.missing("No Experiment with id=\(experiment)")
                }
                try sql.addDataset(id, to: experiment)
            }
            return true
        }
    }

    private func removeExperiments(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        try await change(input) { sql, id, experiments in
            try experiments.filter { try sql.removeDataset(id, from: $0) }.isEmpty == false
        }
    }

    // MARK: Records

    private func upsert(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        guard let told = try Self.packed(input, "records") else { throw MLflowError.required("records") }
        guard let records = told.array else { throw MLflowError.wrong("records", told) }
        guard records.count <= Self.recordLimit else {
            throw MLflowError.invalid("A request can hold at most \(Self.recordLimit) records. Got \(records.count).")
        }
        let (id, project, now) = (Self.id(input), input.project, try tracking.store.milliseconds)
        let fresh = try records.map { try EvaluationRecord($0, id: "dr-\(RunNames.id())", at: now) }
        let inserted = try await tracking.store.write { sql in
            guard var dataset = try sql.evaluationDataset(id, in: project) else { throw Self.missing(id) }
            var inserted = 0
            dataset.updatedBy = nil
            for (record, told) in zip(fresh, records) {
                if var old = try sql.record(ofInput: record.input, in: id) {
                    try old.merge(told, at: now)
                    try sql.keep(old, in: id)
                } else {
                    try sql.keep(record, in: id)
                    inserted += 1
                }
                if let user = told["tags"]?[EvaluationDataset.userTag]?.string { dataset.updatedBy = user }
            }
            dataset.updated = now
            dataset.sign()
            dataset.learn(records)
            let count = try sql.countRecords(of: id)
            if count > 0 { dataset.profile = EvaluationDataset.profile(count) }
            try sql.keep(dataset)
            return inserted
        }
        return .json([
            "inserted_count": .integer(Int64(inserted)), "updated_count": .integer(Int64(records.count - inserted)),
        ])
    }

    private func records(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project) = (Self.id(input), input.project)
        let limit = try NameRules.results(
            input.integer("max_results").flatMap { $0 == 0 ? nil : $0 }, standard: Self.standardResults)
        let store = try tracking.store
        let question = ["records", project, id]
        var place: (created: Int64, id: String)?
        if let token = try input.text("page_token"), !token.isEmpty {
            let values = try store.tokens.read(token, for: question)
            if values.count == 2, case .integer(let created) = values[0], case .text(let last) = values[1] {
                place = (created, last)
            }
        }
        let after = place
        let found = try await store.read { sql in
            try sql.evaluationDataset(id, in: project) == nil
                ? [] : sql.records(of: id, after: after, atMost: limit + 1)
        }
        let page = found.prefix(limit)
        var json: Ordered<JSONValue> = ["records": .string(JSONValue.array(page.map { $0.json(of: id) }).text)]
        if found.count > limit, let last = page.last {
            json["next_page_token"] = .string(
                store.tokens.make([.integer(last.created), .text(last.id)], for: question))
        }
        return .json(.object(json))
    }

    private func deleteRecords(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project, ids) = (Self.id(input), input.project, try input.strings("dataset_record_ids"))
        guard ids.count <= Self.recordLimit else {
            throw MLflowError.wrong("dataset_record_ids", .integer(Int64(ids.count)))
        }
        let deleted = try await tracking.store.write { sql in
            guard var dataset = try sql.evaluationDataset(id, in: project) else { return 0 }
            let deleted = try sql.deleteRecords(ids, of: id)
            guard deleted > 0 else { return 0 }
            let left = try sql.countRecords(of: id)
            dataset.profile = left > 0 ? EvaluationDataset.profile(left) : "null"
            try sql.keep(dataset)
            return deleted
        }
        return .json(["deleted_count": .integer(Int64(deleted))])
    }
}
