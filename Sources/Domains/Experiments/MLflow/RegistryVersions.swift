import API
import Blobs
import Kernel
import Manifests
import SQL

/// MLflow's calls on model versions.
extension MLflowRegistry {
    private static let versionBase = "/api/2.0/mlflow/model-versions"

    var versionRoutes: [MLflowRoute] {
        let me = self
        return [
            MLflowRoute("POST", Self.versionBase + "/create") { try await me.createVersion($0, $1) },
            MLflowRoute("GET", Self.versionBase + "/get") { input, _ in
                let (name, number) = (try Self.name(input), try Self.version(input))
                return try await me.read(input.project) { sql in
                    let (row, version) = try Self.find(name, number, input.project, in: sql)
                    return .json(["model_version": RegistryWire.version(version, title: row.title)])
                }
            },
            MLflowRoute("PATCH", Self.versionBase + "/update") { input, call in
                let description = try input.text("description") ?? ""
                return try await me.changeVersion(input, call) { version, _ in version.description = description }
            },
            MLflowRoute("POST", Self.versionBase + "/transition-stage") { try await me.transition($0, $1) },
            MLflowRoute("DELETE", Self.versionBase + "/delete") { input, call in
                let (name, number) = (try Self.name(input), try Self.version(input))
                try await me.store.change(call) { change in
                    let (_, version) = try Self.find(name, number, input.project, in: change.sql)
                    try Registry.letGo(version, in: change)
                    try Registry.remove(version, in: change)
                }
                return .empty
            },
            MLflowRoute("GET", Self.versionBase + "/search") { input, _ in try await me.searchVersions(input) },
            MLflowRoute("GET", Self.versionBase + "/get-download-uri") { input, _ in
                let (name, number) = (try Self.name(input), try Self.version(input))
                return try await me.read(input.project) { sql in
                    let (_, version) = try Self.find(name, number, input.project, in: sql)
                    return .json(["artifact_uri": .string(FrozenFiles.address(of: version))])
                }
            },
            MLflowRoute("POST", Self.versionBase + "/set-tag") { input, call in
                let (key, value) = (try input.string("key"), try input.text("value") ?? "")
                try RegistryWire.checkTag(key, value)
                _ = try await me.changeVersion(input, call) { version, change in
                    try change.setModelTag(key, value, of: version.reference, version.version)
                }
                return .empty
            },
            MLflowRoute("DELETE", Self.versionBase + "/delete-tag") { input, call in
                let key = try input.string("key")
                _ = try await me.changeVersion(input, call) { version, change in
                    try change.removeModelTag(key, of: version.reference, version.version)
                }
                return .empty
            },
        ]
    }

    static func find(
        _ name: String, _ number: Int, _ project: String, in sql: Connection
    ) throws -> (ModelRow, ModelVersion) {
        guard let row = try sql.model(titled: name, project: project),
            let version = try sql.version(number, of: row.reference)
        else { throw noVersion(name, "\(number)") }
        return (row, version)
    }

    /// Changes what may change of the version that the request names; answers with it.
    private func changeVersion(
        _ input: MLflowInput, _ call: Call, _ body: @Sendable @escaping (inout ModelVersion, Change) throws -> Void
    ) async throws -> MLflowAnswer {
        let (name, number, project) = (try Self.name(input), try Self.version(input), input.project)
        return try await store.change(call) { change in
            var (row, version) = try Self.find(name, number, project, in: change.sql)
            try body(&version, change)
            try change.sql.update(version, at: change.now)
            row.updatedAt = change.now
            try change.sql.keep(row)
            let (_, now) = try Self.find(name, number, project, in: change.sql)
            return .json(["model_version": RegistryWire.version(now, title: row.title)])
        }
    }

    // MARK: Creating

    private func createVersion(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let name = try Self.name(input)
        let source = try input.string("source")
        let tags = try input.pairs("tags")
        for tag in tags { try RegistryWire.checkTag(tag.key, tag.value) }
        let isPrompt = tags.last { $0.key == WebhookMessage.promptTag }?.value.lowercased() == "true"
        var version = ModelVersion()
        (version.project, version.format) = (input.project, isPrompt ? "prompt" : "mlflow")
        version.run = try input.text("run_id").flatMap { $0.isEmpty ? nil : $0 }
        version.model_id = try input.text("model_id").flatMap { $0.isEmpty ? nil : $0 }
        version.run_link = try input.text("run_link").flatMap { $0.isEmpty ? nil : $0 }
        version.description = try input.text("description")
        for tag in tags { version.tags[tag.key] = tag.value }
        version.authors = [call.actor]
        let project = input.project
        let row = try await store.read { try Self.row(name, project, in: $0) }
        version.model = row.name
        if !isPrompt {
            try SourceRules.check(source, run: version.run, model: version.model_id)
            try await takeOver(source, &version)
        }
        version.source = version.source ?? source
        let intake = try await registry.intaking.intake(version, title: row.title, identity: nil)
        let made: ModelVersion
        do {
            made = try await registry.register(intake, call)
        } catch let problem as Problem where problem.status == 409 {
            // What a rule refuses is not a race that trying again would win.
            throw MLflowError(.invalidParameter, MLflowError(problem).message)
        }
        if !isPrompt { try await RegistrySources(tracking: tracking).note(made, title: row.title) }
        return .json(["model_version": RegistryWire.version(made, title: row.title)])
    }

    /// What the version consists of, if its files are here: those of another version, or those in the artifact proxy.
    func takeOver(_ source: String, _ version: inout ModelVersion) async throws {
        if let (name, word) = SourceRules.version(source) {
            let project = version.project
            let parent = try await store.read { sql -> ModelVersion in
                let row = try Self.row(name, project, in: sql)
                let number = try Int(word) ?? sql.aliases(of: row.reference)[String(word.dropFirst())] ?? 0
                guard let parent = try sql.version(number, of: row.reference) else { throw Self.noVersion(name, word) }
                return parent
            }
            version.parent = "\(parent.model)@\(parent.version)"
            (version.digest, version.size_bytes, version.signature) = (
                parent.digest, parent.size_bytes, parent.signature
            )
            (version.metrics, version.facts, version.format) = (parent.metrics, parent.facts, parent.format)
            (version.run, version.model_id) = (version.run ?? parent.run, version.model_id ?? parent.model_id)
            version.source = "models:/\(name)/\(parent.version)"
            return
        }
        let sources = RegistrySources(tracking: tracking)
        let address = try await sources.address(of: source, version.project)
        try await sources.check(address, source: source, version)
        try await sources.describe(&version)
        let files = try await sources.files(at: address)
        guard !files.isEmpty else { return }
        let packed = try await Tree.pack(
            files: files.compactMap { file in Digest(file.digest).map { (file.path, $0, file.size_bytes) } },
            into: registry.blobs)
        (version.digest, version.size_bytes) = (packed.digest.text, packed.tree.size)
        guard let file = files.first(where: { $0.path == MLmodelFile.name }), let digest = Digest(file.digest),
            file.size_bytes <= MLmodelFile.limit
        else { return }
        MLmodelFile.describe(&version, try await registry.blobs.open(digest).readAll(limit: MLmodelFile.limit))
    }

    // MARK: Stages

    private func transition(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let stage = try RegistryWire.stage(try input.string("stage"))
        let archives = try input.bool("archive_existing_versions") ?? false
        guard !archives || RegistryWire.activeStages.contains(stage) else {
            throw MLflowError.invalid(
                "Model version transition cannot archive existing model versions because '\(stage)' is not an Active stage. Valid stages are ['Staging', 'Production']"
            )
        }
        return try await changeVersion(input, call) { version, change in
            let before = version.stage ?? "None"
            if before != stage { try change.allow(version, stage: stage) }
            version.stage = stage == "None" ? nil : stage
            try change.tell(
                "model.stage-moved", about: version.reference.subject,
                ["version": .integer(Int64(version.version)), "from": .string(before), "to": .string(stage)])
            guard archives else { return }
            let others = try change.sql.versions(of: version.reference, limit: 100_000)
            for var other in others where other.version != version.version && other.stage == stage {
                other.stage = "Archived"
                try change.sql.update(other, at: change.now)
                try change.tell(
                    "model.stage-moved", about: other.reference.subject,
                    ["version": .integer(Int64(other.version)), "from": .string(stage), "to": "Archived"])
            }
        }
    }

    // MARK: Searching

    /// Results of one page of versions.
    static let versionLimit = 200_000
    static let versionPage = 10_000

    private func searchVersions(_ input: MLflowInput) async throws -> MLflowAnswer {
        let limit = try RegistrySearch.limit(input, standard: Self.versionPage, most: Self.versionLimit)
        let filter = try RegistryFilter(try input.text("filter") ?? "", .modelVersions)
        let order = try RegistrySearch.order(
            try input.strings("order_by"),
            keys: ["name", "version_number", "creation_timestamp", "last_updated_timestamp"],
            standard: [
                RegistrySearch.Order(key: "last_updated_timestamp", isAscending: false),
                RegistrySearch.Order(key: "name", isAscending: true),
                RegistrySearch.Order(key: "version_number", isAscending: false),
            ])
        let page = RegistrySearch.Page(input, order: order, tokens: try tracking.store.tokens)
        let token = try input.text("page_token") ?? ""
        return try await read(input.project) { sql in
            let found = try sql.versionGlances(project: input.project, title: filter.onlyName).filter {
                filter.matches($0.facts)
            }
            let (items, next) = try page.cut(
                found, place: { $0.place(order) }, from: token, limit: limit)
            var out: Ordered<JSONValue> = [
                "model_versions": .array(
                    try items.compactMap { glance in
                        try sql.version(glance.number, of: glance.model).map {
                            RegistryWire.version($0, title: glance.facts.texts["name"] ?? "")
                        }
                    })
            ]
            if let next { out["next_page_token"] = .string(next) }
            return .json(.object(out))
        }
    }
}

/// As much of a version as a search looks at.
struct VersionGlance: Sendable {
    var model: Reference<ModelKind>
    var number: Int
    var facts: RegistryFacts

    func place(_ order: [RegistrySearch.Order]) -> [SQLValue] {
        order.map { by in
            facts.numbers[by.key].map(SQLValue.integer) ?? .text(facts.texts[by.key] ?? "")
        } + [.text(facts.texts["name"] ?? ""), .integer(Int64(number))]
    }
}

extension Connection {
    func versionGlances(project: String, title: String?) throws -> [VersionGlance] {
        let only: Statement = title.map { "AND title = \($0)" } ?? ""
        var tags: [String: [String: String]] = [:]
        for row in try rows(
            """
            SELECT model, version, experiments_model_tag.name, value FROM experiments_model_tag
            JOIN experiments_model ON experiments_model.project = experiments_model_tag.project
                AND experiments_model.name = model
            WHERE experiments_model_tag.project = \(project) AND version > 0 \(only)
            """)
        {
            let key = "\(try row.get(0, as: String.self))/\(try row.get(1, as: Int.self))"
            tags[key, default: [:]][try row.get(2)] = try row.get(3, as: String.self)
        }
        return try rows(
            """
            SELECT model, version, title, run, source, experiments_model_version.created_at AS made,
                experiments_model_version.updated_at AS touched
            FROM experiments_model_version
            JOIN experiments_model ON experiments_model.project = experiments_model_version.project
                AND experiments_model.name = model
            WHERE experiments_model_version.project = \(project) \(only)
            """
        ).map { row in
            var facts = RegistryFacts()
            let (model, number): (String, Int) = (try row.get("model"), try row.get("version"))
            facts.texts["name"] = try row.get("title")
            let (run, source): (String, String) = (try row.get("run"), try row.get("source"))
            if !run.isEmpty { facts.texts["run_id"] = run }
            if !source.isEmpty { facts.texts["source_path"] = source }
            facts.numbers["version_number"] = Int64(number)
            facts.numbers["creation_timestamp"] = try row.get("made", as: Int64.self) / 1000
            facts.numbers["last_updated_timestamp"] = try row.get("touched", as: Int64.self) / 1000
            facts.tags = tags["\(model)/\(number)"] ?? [:]
            return VersionGlance(model: Reference(project: project, name: model), number: number, facts: facts)
        }
    }
}

/// Which sources a version may be made of; pure. MLflow's own rules: nothing of the server's disk, and of the artifact proxy only
/// what lies in the run or logged model that the request names.
enum SourceRules {
    static func check(_ source: String, run: String?, model: String?) throws(MLflowError) {
        let scheme = source.prefix { $0 != ":" && $0 != "/" }.lowercased()
        let isURI = source.dropFirst(scheme.count).first == ":"
        guard isURI, scheme != "file", !scheme.isEmpty else {
            throw .invalid(
                "Invalid model version source: '\(source.prefix(500))'. To use a local path as a model version source, the run_id request parameter has to be specified and the local path has to be contained within the artifact directory of the run specified by the run_id."
            )
        }
        try checkPath(source)
        switch scheme {
        case "runs":
            guard let run, segments(source).first.map(String.init) == run else { throw wrong(source, "run_id") }
        case "models":
            guard version(source) == nil else { return }
            guard let model, segments(source).first.map(String.init) == model else { throw wrong(source, "model_id") }
        case "mlflow-artifacts":
            let parts = segments(source).map(String.init)
            if let model {
                guard parts.contains(model) else { throw wrong(source, "model_id") }
            } else {
                guard let run, parts.contains(run) else { throw wrong(source, "run_id") }
            }
        default: return
        }
    }

    /// Name and version (or "@alias") of a source that is another version.
    static func version(_ source: String) -> (name: String, word: String)? {
        guard source.lowercased().hasPrefix("models:/") else { return nil }
        let rest = source.dropFirst("models:/".count).drop { $0 == "/" }
        let parts = rest.split(separator: "/", omittingEmptySubsequences: false).map {
            FormText.decode($0.replacing("+", with: "%2B"))
        }
        if parts.count == 2, Int(parts[1]) != nil { return (parts[0], parts[1]) }
        if parts.count == 1, let at = parts[0].lastIndex(of: "@") {
            return (String(parts[0][..<at]), String(parts[0][at...]))
        }
        return nil
    }

    private static func checkPath(_ source: String) throws(MLflowError) {
        var text = source
        for _ in 0..<8 {
            let next = FormText.decode(text.replacing("+", with: "%2B"))
            if next == text { break }
            text = next
        }
        let parts = text.split(separator: "/")
        guard !parts.contains(".."), !parts.contains("."), !text.utf8.contains(0), !text.contains("\\..") else {
            throw .invalid(
                "Invalid model version source: '\(source.prefix(500))'. If supplying a source as an http, https, local file path, ftp, objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path references present. Please provide an absolute path."
            )
        }
    }

    private static func segments(_ source: String) -> [Substring] {
        let rest = source.drop { $0 != ":" }.dropFirst()
        let parts = rest.split(separator: "/", omittingEmptySubsequences: true)
        // "scheme://host/path": the host is no part of the path.
        return rest.hasPrefix("//") && !rest.hasPrefix("///") ? Array(parts.dropFirst()) : parts
    }

    static func wrong(_ source: String, _ name: String) -> MLflowError {
        .invalid(
            "Invalid model version source: '\(source.prefix(500))'. The \(name) request parameter must identify the resource that contains the source."
        )
    }
}
