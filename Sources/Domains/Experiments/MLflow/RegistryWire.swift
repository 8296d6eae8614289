import API
import Kernel
import Manifests
import SQL

/// Models and versions as MLflow's clients read them.
enum RegistryWire {
    static let stages = ["None", "Staging", "Production", "Archived"]
    static let activeStages = ["Staging", "Production"]
    /// Characters of a model's name: what MLflow's database holds.
    static let nameLimit = 256
    static let tagKeyLimit = 250
    static let tagValueLimit = 100_000

    static func milliseconds(_ time: Timestamp) -> JSONValue { .integer(time.microseconds / 1000) }

    static func pairs(_ tags: Ordered<String>) -> JSONValue {
        .array(tags.map { ["key": .string($0.key), "value": .string($0.value)] })
    }

    static func version(_ version: ModelVersion, title: String) -> JSONValue {
        var out: Ordered<JSONValue> = [
            "name": .string(title), "version": .string("\(version.version)"),
            "creation_timestamp": milliseconds(version.created_at),
            "last_updated_timestamp": milliseconds(version.updated_at ?? version.created_at),
            "current_stage": .string(version.stage ?? "None"),
            "source": .string(version.source ?? FrozenFiles.address(of: version)),
            "status": "READY",
        ]
        let texts: [(String, String?)] = [
            ("description", version.description), ("run_id", version.run), ("run_link", version.run_link),
            ("model_id", version.model_id), ("user_id", version.created_by),
        ]
        for (name, text) in texts where !(text ?? "").isEmpty { out[name] = text.json }
        if !version.tags.isEmpty { out["tags"] = pairs(version.tags) }
        if !version.aliases.isEmpty { out["aliases"] = version.aliases.json }
        return .object(out)
    }

    static func model(_ row: ModelRow, in sql: Connection) throws -> JSONValue {
        let model = row.reference
        var out: Ordered<JSONValue> = [
            "name": .string(row.title), "creation_timestamp": milliseconds(row.createdAt),
            "last_updated_timestamp": milliseconds(row.updatedAt),
        ]
        if let text = try sql.resource(ModelKind.self, model)?.spec.description, !text.isEmpty {
            out["description"] = .string(text)
        }
        let latest = try latest(of: model, stages: stages, in: sql)
        if !latest.isEmpty { out["latest_versions"] = .array(latest.map { version($0, title: row.title) }) }
        let tags = try sql.tags(of: model, version: 0)
        if !tags.isEmpty { out["tags"] = pairs(tags) }
        let aliases = try sql.aliases(of: model)
        if !aliases.isEmpty {
            out["aliases"] = .array(
                aliases.map { ["alias": .string($0.key), "version": .string("\($0.value)")] })
        }
        return .object(out)
    }

    /// The newest version of each stage.
    static func latest(
        of model: Reference<ModelKind>, stages: [String], in sql: Connection
    ) throws -> [ModelVersion] {
        try sql.newestVersions(byStageOf: model).filter { stages.contains($0.stage ?? "None") }
    }

    // MARK: Names

    static func checkName(_ name: String, _ parameter: String = "name") throws(MLflowError) {
        guard name.contains(where: { !$0.isWhitespace }) else { throw .required(parameter) }
        guard !name.contains("/"), !name.contains(":") else {
            throw .invalid("Invalid model name '\(name.prefix(nameLimit))'. Names cannot contain '/' or ':'.")
        }
        guard name != ".", !name.hasPrefix("..") else {
            throw .invalid(
                "Invalid value \"\(name.prefix(nameLimit))\" for parameter '\(parameter)' supplied: Names may be treated as files in certain cases, and must not resolve to other names when treated as such."
            )
        }
        guard name.unicodeScalars.count <= nameLimit, !name.unicodeScalars.contains(where: { $0.value < 0x20 }) else {
            throw .invalid("Invalid model name. Names have at most \(nameLimit) characters, and no control characters.")
        }
    }

    static func checkAlias(_ alias: String) throws(MLflowError) {
        guard !alias.isEmpty else { throw .invalid("Registered model alias name cannot be empty.") }
        guard alias.unicodeScalars.count <= Registry.aliasLimit else {
            throw .invalid(
                "'Registered model alias name' exceeds the maximum length of \(Registry.aliasLimit) characters")
        }
        if alias.lowercased() == "latest" {
            throw .invalid("'latest' alias name (case insensitive) is reserved.")
        }
        if alias.lowercased().hasPrefix("v"), Int(alias.dropFirst()) != nil {
            throw .invalid("Version alias name '\(alias)' is reserved.")
        }
        guard Registry.isAlias(alias) else {
            throw .invalid(
                "Invalid alias name: '\(alias)'. Names must not be numbers, and may only contain alphanumerics, underscores (_), and dashes (-)."
            )
        }
    }

    static func checkTag(_ key: String, _ value: String) throws(MLflowError) {
        guard !key.isEmpty else { throw .required("key") }
        guard key.unicodeScalars.count <= tagKeyLimit else {
            throw .invalid("'key' exceeds the maximum length of \(tagKeyLimit) characters")
        }
        guard value.unicodeScalars.count <= tagValueLimit else {
            throw .invalid("'value' exceeds the maximum length of \(tagValueLimit) characters")
        }
        guard !key.hasPrefix("/"), !key.split(separator: "/").contains(where: { $0 == ".." || $0 == "." }) else {
            throw .invalid(
                "Invalid value \"\(key)\" for parameter 'key' supplied: Names may be treated as files in certain cases, and must not resolve to other names when treated as such."
            )
        }
    }

    static func stage(_ text: String) throws(MLflowError) -> String {
        if let stage = stages.first(where: { $0.lowercased() == text.lowercased() }) { return stage }
        throw .invalid(
            "Invalid Model Version stage: \(text.prefix(60)). Value must be one of \(stages.joined(separator: ", ")).")
    }

    static func number(_ text: String) throws(MLflowError) -> Int {
        if let number = Int(text) { return number }
        throw .invalid("Parameter 'version' must be an integer, got '\(text.prefix(60))'.")
    }

    /// The resource's name for a title that may hold anything: small letters, digits, "-" and "_".
    static func resourceName(for title: String) -> String {
        if isResourceName(title) { return title }
        var name = ""
        for character in title.lowercased() {
            let isWord = character.isASCII && (character.isLetter || character.isNumber || character == "_")
            if isWord { name.append(character) } else if !name.isEmpty, name.last != "-" { name.append("-") }
        }
        name = String(name.drop { $0 == "_" }.prefix(56))
        while name.last == "-" { name.removeLast() }
        return name.isEmpty ? "model" : name
    }
}

extension Connection {
    /// The newest version of each stage that has one.
    func newestVersions(byStageOf model: Reference<ModelKind>) throws -> [ModelVersion] {
        try rows(
            """
            SELECT max(version) FROM experiments_model_version
            WHERE project = \(model.project) AND model = \(model.name) GROUP BY stage ORDER BY max(version)
            """
        ).compactMap { try version(try $0.get(0), of: model) }
    }
}
