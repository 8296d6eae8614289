import API
import Kernel
import Manifests
import SQL

/// MLflow's calls on registered models, over the one registry there is.
struct MLflowRegistry: Sendable {
    let registry: RegistryRoutes
    let tracking: TrackingHouse
    let sender: WebhookSender?
    var store: Store { registry.context.store }

    private static let base = "/api/2.0/mlflow/registered-models"

    var routes: [MLflowRoute] { models + aliases + versionRoutes + webhookRoutes }

    private var models: [MLflowRoute] {
        let me = self
        return [
            MLflowRoute("POST", Self.base + "/create") { try await me.create($0, $1) },
            MLflowRoute("GET", Self.base + "/get") { input, _ in
                let name = try Self.name(input)
                return try await me.read(input.project) { sql in
                    let row = try Self.row(name, input.project, in: sql)
                    return .json(["registered_model": try RegistryWire.model(row, in: sql)])
                }
            },
            MLflowRoute("POST", Self.base + "/rename") { try await me.rename($0, $1) },
            MLflowRoute("PATCH", Self.base + "/update") { try await me.update($0, $1) },
            MLflowRoute("DELETE", Self.base + "/delete") { try await me.delete($0, $1) },
            MLflowRoute("GET", Self.base + "/search") { input, _ in try await me.search(input) },
            MLflowRoute("POST", Self.base + "/search") { input, _ in try await me.search(input) },
            MLflowRoute("GET", Self.base + "/get-latest-versions") { input, _ in try await me.latest(input) },
            MLflowRoute("POST", Self.base + "/get-latest-versions", needs: .read) { input, _ in
                try await me.latest(input)
            },
            MLflowRoute("POST", Self.base + "/set-tag") { input, call in
                let (key, value) = (try input.string("key"), try input.text("value") ?? "")
                try RegistryWire.checkTag(key, value)
                return try await me.changeModel(input, call) { row, change in
                    try change.setModelTag(key, value, of: row.reference, 0)
                }
            },
            MLflowRoute("DELETE", Self.base + "/delete-tag") { input, call in
                let key = try input.string("key")
                return try await me.changeModel(input, call) { row, change in
                    try change.removeModelTag(key, of: row.reference, 0)
                }
            },
        ]
    }

    private var aliases: [MLflowRoute] {
        let me = self
        let path = Self.base + "/alias"
        return [
            MLflowRoute("POST", path) { input, call in
                let (alias, version) = (try input.string("alias"), try Self.version(input))
                try RegistryWire.checkAlias(alias)
                return try await me.changeModel(input, call, touches: false) { row, change in
                    guard try change.sql.version(version, of: row.reference) != nil else {
                        throw Self.noVersion(row.title, "\(version)")
                    }
                    _ = try Registry.setAlias(Self.move(alias, row, to: version), in: change)
                }
            },
            MLflowRoute("DELETE", path) { input, call in
                let alias = try input.string("alias")
                return try await me.changeModel(input, call, touches: false) { row, change in
                    // One that is not there is gone already, as MLflow has it.
                    guard try change.sql.aliases(of: row.reference)[alias] != nil else { return }
                    _ = try Registry.setAlias(Self.move(alias, row, to: 0), in: change)
                }
            },
            MLflowRoute("GET", path) { input, _ in
                let (name, alias) = (try Self.name(input), try input.string("alias"))
                return try await me.read(input.project) { sql in
                    let row = try Self.row(name, input.project, in: sql)
                    guard let number = try sql.aliases(of: row.reference)[alias],
                        let version = try sql.version(number, of: row.reference)
                    else { throw MLflowError.invalid("Registered model alias \(alias.prefix(60)) not found.") }
                    return .json(["model_version": RegistryWire.version(version, title: row.title)])
                }
            },
        ]
    }

    // MARK: What all need

    static func name(_ input: MLflowInput) throws(MLflowError) -> String {
        let name = try input.string("name")
        try RegistryWire.checkName(name)
        return name
    }

    static func version(_ input: MLflowInput) throws(MLflowError) -> Int {
        guard let value = input.value("version") else { throw .required("version") }
        return try RegistryWire.number(value.string ?? value.text)
    }

    static func row(_ name: String, _ project: String, in sql: Connection) throws -> ModelRow {
        if let row = try sql.model(titled: name, project: project) { return row }
        throw MLflowError.missing("Registered Model with name=\(name) not found")
    }

    static func noVersion(_ title: String, _ version: String) -> MLflowError {
        .missing("Model Version (name=\(title), version=\(version)) not found")
    }

    private static func move(_ alias: String, _ row: ModelRow, to version: Int) -> AliasInput {
        var input = AliasInput()
        (input.project, input.name, input.alias, input.version) = (row.project, row.name, alias, version)
        return input
    }

    func read(
        _ project: String, _ body: @Sendable @escaping (Connection) throws -> MLflowAnswer
    ) async throws -> MLflowAnswer {
        try await store.read(body)
    }

    /// Changes something of the model that the request names; answers with nothing.
    private func changeModel(
        _ input: MLflowInput, _ call: Call, touches: Bool = true,
        _ body: @Sendable @escaping (ModelRow, Change) throws -> Void
    ) async throws -> MLflowAnswer {
        let name = try Self.name(input)
        let project = input.project
        try await store.change(call) { change in
            var row = try Self.row(name, project, in: change.sql)
            try body(row, change)
            guard touches else { return }
            row.updatedAt = change.now
            try change.sql.keep(row)
        }
        return .empty
    }

    // MARK: Models

    private func create(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let name = try Self.name(input)
        let tags = try input.pairs("tags")
        for tag in tags { try RegistryWire.checkTag(tag.key, tag.value) }
        let description = try input.text("description") ?? ""
        let project = input.project
        guard isResourceName(project) else { throw MLflowError.missing("Workspace '\(project.prefix(60))' not found") }
        return try await store.change(call) { change in
            if let taken = try change.sql.model(titled: name, project: project) {
                throw try Self.taken(taken, by: tags.last { $0.key == WebhookMessage.promptTag }?.value, in: change.sql)
            }
            let reference = Reference<ModelKind>(project: project, name: try Self.free(name, project, in: change.sql))
            let row = try Registry.ensure(reference, title: name, description: description, in: change)
            for tag in tags { try change.sql.setTag(tag.key, tag.value, of: reference, 0) }
            return .json(["registered_model": try RegistryWire.model(row, in: change.sql)])
        }
    }

    private static func taken(_ row: ModelRow, by prompt: String?, in sql: Connection) throws -> MLflowError {
        let old = try sql.tags(of: row.reference, version: 0)[WebhookMessage.promptTag] == "true"
        let new = prompt == "true"
        let words = (old: old ? "prompt" : "registered model", new: new ? "prompt" : "registered model")
        guard old == new else {
            return MLflowError(
                .alreadyExists,
                "Tried to create a \(words.new) with name '\(row.title)', but the name is already taken by a \(words.old). MLflow does not allow creating a model and a prompt with the same name."
            )
        }
        return MLflowError(.alreadyExists, "\(new ? "Prompt" : "Registered Model") (name=\(row.title)) already exists.")
    }

    /// A resource's name for a title, that nobody has.
    static func free(_ title: String, _ project: String, in sql: Connection) throws -> String {
        let name = RegistryWire.resourceName(for: title)
        var (candidate, count) = (name, 2)
        while true {
            let reference = Reference<ModelKind>(project: project, name: candidate)
            guard try sql.model(reference) != nil || sql.resource(ModelKind.self, reference) != nil else {
                return candidate
            }
            candidate = "\(name)-\(count)"
            count += 1
        }
    }

    private func rename(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let name = try Self.name(input)
        let new = try input.string("new_name")
        try RegistryWire.checkName(new, "new_name")
        let project = input.project
        return try await store.change(call) { change in
            var row = try Self.row(name, project, in: change.sql)
            if let other = try change.sql.model(titled: new, project: project), other.name != row.name {
                throw MLflowError(.alreadyExists, "Registered Model (name=\(new)) already exists.")
            }
            (row.title, row.updatedAt) = (new, change.now)
            try change.sql.keep(row)
            try Registry.keepStatus(of: row.reference, in: change)
            try change.tell("model.renamed", about: row.reference.subject, ["from": .string(name), "to": .string(new)])
            return .json(["registered_model": try RegistryWire.model(row, in: change.sql)])
        }
    }

    private func update(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let name = try Self.name(input)
        let description = try input.text("description") ?? ""
        let project = input.project
        return try await store.change(call) { change in
            var row = try Self.row(name, project, in: change.sql)
            row.updatedAt = change.now
            try change.sql.keep(row)
            if var resource = try change.sql.resource(kind: ModelKind.name, project: project, name: row.name) {
                var spec = resource.spec.object ?? [:]
                spec["description"] = description.isEmpty ? nil : .string(description)
                resource.spec = .object(spec)
                _ = try change.put(resource)
            }
            return .json(["registered_model": try RegistryWire.model(row, in: change.sql)])
        }
    }

    private func delete(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let name = try Self.name(input)
        let project = input.project
        try await store.change(call) { change in
            let row = try Self.row(name, project, in: change.sql)
            if let resource = try change.sql.resource(kind: ModelKind.name, project: project, name: row.name) {
                try Registry.release(row.reference, in: change)
                try change.remove(resource)
            } else {
                try change.sql.forget(row.reference)
            }
        }
        return .empty
    }

    private func latest(_ input: MLflowInput) async throws -> MLflowAnswer {
        let name = try Self.name(input)
        var stages: [String] = []
        for stage in try input.strings("stages") { stages.append(try RegistryWire.stage(stage)) }
        let wanted = stages.isEmpty ? RegistryWire.stages : stages
        return try await read(input.project) { sql in
            let row = try Self.row(name, input.project, in: sql)
            let versions = try RegistryWire.latest(of: row.reference, stages: wanted, in: sql)
            return .json(["model_versions": .array(versions.map { RegistryWire.version($0, title: row.title) })])
        }
    }

    // MARK: Searching

    /// Results of one page of models.
    static let modelLimit = 1000
    static let modelPage = 100

    private func search(_ input: MLflowInput) async throws -> MLflowAnswer {
        let limit = try RegistrySearch.limit(input, standard: Self.modelPage, most: Self.modelLimit)
        let filter = try RegistryFilter(try input.text("filter") ?? "", .registeredModels)
        let order = try RegistrySearch.order(
            try input.strings("order_by"), keys: ["name", "creation_timestamp", "last_updated_timestamp", "timestamp"],
            standard: [RegistrySearch.Order(key: "name", isAscending: true)])
        let page = RegistrySearch.Page(input, order: order, tokens: try tracking.store.tokens)
        let token = try input.text("page_token") ?? ""
        return try await read(input.project) { sql in
            let tags = try sql.tagsOfModels(project: input.project)
            var found: [(row: ModelRow, place: [SQLValue])] = []
            for row in try sql.models(project: input.project) {
                var facts = RegistryFacts()
                facts.texts["name"] = row.title
                facts.tags = tags[row.name] ?? [:]
                guard filter.matches(facts) else { continue }
                let times = (row.createdAt.microseconds / 1000, row.updatedAt.microseconds / 1000)
                found.append(
                    (
                        row,
                        order.map { by in
                            switch by.key {
                            case "name": SQLValue.text(row.title)
                            case "creation_timestamp": .integer(times.0)
                            default: .integer(times.1)
                            }
                        } + [.text(row.title)]
                    ))
            }
            let (items, next) = try page.cut(found, place: { $0.place }, from: token, limit: limit)
            var out: Ordered<JSONValue> = [
                "registered_models": .array(try items.map { try RegistryWire.model($0.row, in: sql) })
            ]
            if let next { out["next_page_token"] = .string(next) }
            return .json(.object(out))
        }
    }
}

extension Change {
    /// Bytes of a tag's value that the log still tells.
    private static let toldTagBytes = 256

    func setModelTag(_ key: String, _ value: String, of model: Reference<ModelKind>, _ version: Int) throws {
        try sql.setTag(key, value, of: model, version)
        var data: Ordered<JSONValue> = ["version": .integer(Int64(version)), "key": .string(key)]
        // A long value stays out of the log: it may be a whole prompt.
        if value.utf8.count <= Self.toldTagBytes { data["value"] = .string(value) }
        try tell("model.tagged", about: model.subject, data)
    }

    func removeModelTag(_ key: String, of model: Reference<ModelKind>, _ version: Int) throws {
        guard try sql.tags(of: model, version: version)[key] != nil else { return }
        try sql.removeTag(key, of: model, version)
        try tell("model.untagged", about: model.subject, ["version": .integer(Int64(version)), "key": .string(key)])
    }
}

extension Connection {
    /// Resource's name → tags of the model itself.
    func tagsOfModels(project: String) throws -> [String: [String: String]] {
        var all: [String: [String: String]] = [:]
        for row in try rows(
            "SELECT model, name, value FROM experiments_model_tag WHERE project = \(project) AND version = 0 ORDER BY model, name"
        ) {
            all[try row.get(0), default: [:]][try row.get(1)] = try row.get(2, as: String.self)
        }
        return all
    }
}
