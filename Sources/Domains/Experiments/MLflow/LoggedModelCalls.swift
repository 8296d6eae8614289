import API
import Kernel
import Manifests
import SQL

/// The calls of MLflow 3 about logged models.
struct LoggedModelCalls: Sendable {
    let tracking: TrackingHouse

    private static let standardResults: Int64 = 50

    var routes: [MLflowRoute] {
        let base = "/api/2.0/mlflow/logged-models"
        return [
            MLflowRoute("POST", base, create), MLflowRoute("POST", "\(base)/search", needs: .read, search),
            MLflowRoute("GET", "\(base)/{model_id}", get), MLflowRoute("PATCH", "\(base)/{model_id}", finalize),
            MLflowRoute("DELETE", "\(base)/{model_id}", delete),
            MLflowRoute("PATCH", "\(base)/{model_id}/tags", setTags),
            MLflowRoute("DELETE", "\(base)/{model_id}/tags/{tag_key}", deleteTag),
            MLflowRoute("POST", "\(base)/{model_id}/params", logParams),
        ]
    }

    private func document(_ model: StoredModel, in sql: Connection) throws -> JSONValue {
        ["model": try sql.modelDocuments([model]).first ?? [:]]
    }

    private func create(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let experimentID = try NameRules.experimentID(input.string("experiment_id"))
        let name = try input.text("name") ?? ""
        let bad = ["/", ":", ".", "%", "\"", "'"]
        guard !bad.contains(where: name.contains) else {
            throw MLflowError.invalid(
                "Invalid model name ('\(name)') provided. Model name must be a non-empty string and cannot contain the following characters: ('/', ':', '.', '%', '\"', \"'\")"
            )
        }
        let (type, run) = (try input.text("model_type") ?? "", try input.text("source_run_id") ?? "")
        let (params, tags) = (try input.pairs("params"), try input.pairs("tags"))
        let (project, store) = (input.project, try tracking.store)
        let (id, now) = ("m-\(RunNames.id())", store.milliseconds)
        return .json(
            try await store.write { sql in
                let experiment = try sql.experiment(experimentID, in: project)
                try experiment.checkActive()
                let model = StoredModel(
                    id: id, experiment: experiment.id, name: name.isEmpty ? RunNames.random() : name,
                    artifactURI: "\(experiment.artifactLocation)/models/\(id)/artifacts", created: now, updated: now,
                    type: type, sourceRun: run)
                try sql.insert(model)
                for param in params { _ = try sql.keepModelParam(param.key, param.value, of: id) }
                for tag in tags { try sql.keepModelTag(tag.key, tag.value, of: id) }
                return try document(model, in: sql)
            })
    }

    private static func id(_ input: MLflowInput) -> String { input.path["model_id"] ?? "" }

    private func get(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project) = (Self.id(input), input.project)
        let orDeleted = try input.text("allow_deleted")?.lowercased() == "true"
        return .json(
            try await tracking.store.read { sql in
                try document(sql.storedModel(id, in: project, orDeleted: orDeleted), in: sql)
            })
    }

    private func finalize(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        guard let told = input.value("status") else { throw MLflowError.required("status") }
        guard let status = StoredModel.Status(told) else { throw MLflowError.wrong("status", told) }
        let (id, project, now) = (Self.id(input), input.project, try tracking.store.milliseconds)
        return .json(
            try await tracking.store.write { sql in
                var model = try sql.storedModel(id, in: project, orDeleted: true)
                (model.status, model.updated) = (status.rawValue, now)
                try sql.update(model)
                return try document(model, in: sql)
            })
    }

    private func delete(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project, now) = (Self.id(input), input.project, try tracking.store.milliseconds)
        try await tracking.store.write { sql in
            var model = try sql.storedModel(id, in: project, orDeleted: true)
            (model.isDeleted, model.updated) = (true, now)
            try sql.update(model)
        }
        return .empty
    }

    private func setTags(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project, tags) = (Self.id(input), input.project, try input.pairs("tags"))
        try await tracking.store.write { sql in
            _ = try sql.storedModel(id, in: project, orDeleted: true)
            for tag in tags { try sql.keepModelTag(tag.key, tag.value, of: id) }
        }
        return .empty
    }

    private func deleteTag(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project, key) = (Self.id(input), input.project, input.path["tag_key"] ?? "")
        try await tracking.store.write { sql in
            _ = try sql.storedModel(id, in: project, orDeleted: true)
            guard try sql.deleteModelTag(key, of: id) else {
                throw MLflowError.missing("No tag with key '\(key)' found for model with ID '\(id)'.")
            }
        }
        return .empty
    }

    private func logParams(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project, params) = (Self.id(input), input.project, try input.pairs("params"))
        try await tracking.store.write { sql in
            _ = try sql.storedModel(id, in: project, orDeleted: true)
            for param in params {
                guard try sql.keepModelParam(param.key, param.value, of: id) else {
                    throw MLflowError.invalid("Param with key='\(param.key)' was already logged for model '\(id)'.")
                }
            }
        }
        return .empty
    }

    private func search(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        guard input.value("experiment_ids") != nil else { throw MLflowError.required("experiment_ids") }
        let ids = try input.strings("experiment_ids").map(NameRules.experimentID)
        let filter = try input.text("filter") ?? ""
        let limit = try NameRules.results(
            input.integer("max_results").flatMap { $0 == 0 ? nil : $0 }, standard: Self.standardResults)
        var plan = ModelSearch(experiments: ids, filter: try FilterParser.parse(filter, .models), limit: limit)
        plan.order = try input.list("order_by").map(Self.clause)
        plan.datasets = try input.list("datasets").map { item -> (name: String, digest: String?) in
            guard let name = item["dataset_name"]?.string, !name.isEmpty else {
                throw MLflowError.invalid("`dataset_name` in the `datasets` clause must be specified.")
            }
            return (name, item["dataset_digest"]?.string.flatMap { $0.isEmpty ? nil : $0 })
        }
        let question =
            ["models", input.project, "\(ids)", filter]
            + [input.json["order_by"]?.text ?? "", input.json["datasets"]?.text ?? ""]
        let store = try tracking.store
        if let token = try input.text("page_token"), !token.isEmpty {
            plan.place = try store.tokens.read(token, for: question)
        }
        let (project, wanted) = (input.project, plan)
        return .json(
            try await store.read { sql in
                var search = wanted
                search.experiments = try sql.experiments(ids, in: project)
                let page = try search.run(in: sql)
                let documents = try sql.modelDocuments(sql.models(page.items))
                var json: Ordered<JSONValue> = [:]
                if !documents.isEmpty { json["models"] = .array(documents) }
                if let next = page.next { json["next_page_token"] = .string(store.tokens.make(next, for: question)) }
                return .object(json)
            })
    }

    private static func clause(_ item: JSONValue) throws -> ModelSearch.Clause {
        guard let field = item["field_name"]?.string, !field.isEmpty else {
            throw MLflowError.required("order_by.field_name")
        }
        var column: FilterColumn
        if field.contains(".") {
            guard field.hasPrefix("metrics.") else {
                throw MLflowError.invalid("Invalid order by field name: \(field). Only metrics are supported.")
            }
            column = FilterColumn(entity: .metric, key: String(field.dropFirst("metrics.".count)))
        } else {
            guard let attribute = FilterSchema.models.attributes[field] else {
                throw MLflowError.invalid("Invalid order by field name: \(field)")
            }
            column = FilterColumn(entity: .attribute, key: attribute.name)
        }
        return ModelSearch.Clause(
            column: column, isAscending: item["ascending"]?.bool ?? true,
            dataset: item["dataset_name"]?.string.flatMap { $0.isEmpty ? nil : $0 },
            digest: item["dataset_digest"]?.string.flatMap { $0.isEmpty ? nil : $0 })
    }
}
