import API
import Kernel
import Manifests
import SQL

/// What may happen to versions and aliases.
enum Registry {
    static func unknown(_ model: Reference<ModelKind>) -> Problem {
        .notFound("Model", model.name, project: model.project, list: "models")
    }

    /// A version by its number, an alias, or "latest".
    static func find(_ word: String, of model: Reference<ModelKind>, in sql: Connection) throws -> ModelVersion {
        let aliases = try sql.aliases(of: model)
        let number = word == "latest" ? try sql.newestVersion(of: model) : Int(word) ?? aliases[word] ?? 0
        if let version = try sql.version(number, of: model) { return version }
        guard try sql.newestVersion(of: model) > 0 else {
            if try sql.resource(ModelKind.self, model) == nil { throw unknown(model) }
            throw Problem(
                "model.no-version", status: 404, "model \"\(model.name)\" has no versions yet",
                hint: "A pipeline's register step makes one.")
        }
        throw Problem(
            "model.no-version", status: 404, "model \"\(model.name)\" has no version or alias \"\(word)\"",
            hint: suggestion(for: word, among: ["latest"] + aliases.keys, called: "alias"))
    }

    /// Registers a version; the same run and digest registered twice is one version.
    static func register(_ input: ModelVersion, in change: Change) throws -> ModelVersion {
        let model = Reference<ModelKind>(project: input.project, name: input.model)
        guard isResourceName(input.model) else {
            throw Problem(
                "model.name", status: 422, "\"\(input.model)\" cannot be a model's name",
                hint: "Use small letters, digits, \"-\" and \"_\".")
        }
        if let known = try change.sql.version(madeBy: input.run ?? "", digest: input.digest, of: model),
            let version = try change.sql.version(known, of: model)
        {
            return version
        }
        try declare(model, format: input.format, in: change)
        var version = input
        version.version = try change.sql.newestVersion(of: model) + 1
        version.created_at = change.now
        version.aliases = []
        try change.sql.insert(version)
        try keepStatus(of: model, in: change)
        try change.tell(
            "model.registered", about: model.subject,
            [
                "version": .integer(Int64(version.version)), "digest": .string(version.digest),
                "run": version.run.json, "commit": version.commit.json, "metrics": version.metrics.json,
            ])
        return version
    }

    /// A model that nobody declared is declared by its first version.
    private static func declare(_ model: Reference<ModelKind>, format: String, in change: Change) throws {
        if let declared = try change.sql.resource(ModelKind.self, model) {
            if let only = declared.spec.format, only.rawValue != format {
                throw Problem(
                    "model.format", status: 409,
                    "model \"\(model.name)\" takes only the format \"\(only.rawValue)\", not \"\(format)\"",
                    hint: "Change `format` in its manifest, or register under another name.")
            }
            return
        }
        var resource = Resource()
        (resource.kind, resource.project, resource.name) = (ModelKind.name, model.project, model.name)
        _ = try change.put(resource)
    }

    /// Words that could be mistaken for something else.
    private static func isAlias(_ word: String) -> Bool {
        isResourceName(word) && word != "latest" && Int(word) == nil
            && !(word.hasPrefix("v") && Int(word.dropFirst()) != nil)
    }

    static func setAlias(_ input: AliasInput, in change: Change) throws -> ModelVersion {
        let model = Reference<ModelKind>(project: input.project, name: input.name)
        guard isAlias(input.alias) else {
            throw Problem(
                "model.alias-name", status: 422, "\"\(input.alias)\" cannot be an alias",
                hint: "Use a word like champion; \"latest\", numbers and v1, v2, … mean versions.")
        }
        let aliases = try change.sql.aliases(of: model)
        let now = aliases[input.alias] ?? 0
        if let expected = input.expected, expected != now {
            throw Problem(
                "model.alias-moved", status: 409,
                "\"\(model.name)@\(input.alias)\" points to \(now == 0 ? "nothing" : "version \(now)"), not to \(expected == 0 ? "nothing" : "version \(expected)")",
                hint: "Somebody else moved it. Look again, then decide.")
        }
        let shown = try find(input.version == 0 ? "\(now)" : "\(input.version)", of: model, in: change.sql)
        guard now != input.version else { return shown }
        try change.sql.point(input.alias, of: model, to: input.version)
        try keepStatus(of: model, in: change)
        try change.tell(
            "model.alias-moved", about: model.subject,
            ["alias": .string(input.alias), "from": .integer(Int64(now)), "to": .integer(Int64(input.version))])
        return try find("\(shown.version)", of: model, in: change.sql)
    }

    private static func keepStatus(of model: Reference<ModelKind>, in change: Change) throws {
        var status = ModelStatus()
        status.latest_version = try change.sql.newestVersion(of: model)
        status.aliases = try change.sql.aliases(of: model)
        try change.setStatus(status, of: model)
    }
}
