import API
import Kernel
import Manifests
import SQL

/// What may happen to models, versions and aliases, each in the transaction under way, with its event.
enum Registry {
    /// Versions listed at once.
    static let pageLimit = 1000
    /// Characters of an alias.
    static let aliasLimit = 255

    static func unknown(_ model: Reference<ModelKind>) -> Problem {
        .notFound("Model", model.name, project: model.project, list: "models")
    }

    /// A version by its number, an alias, its label, or "latest".
    static func find(_ word: String, of model: Reference<ModelKind>, in sql: Connection) throws -> ModelVersion {
        let aliases = try sql.aliases(of: model)
        let number =
            word == "latest"
            ? try sql.newestVersion(of: model)
            : try Int(word) ?? aliases[word] ?? sql.version(labelled: word, of: model) ?? 0
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

    // MARK: Models

    /// The row of a model, and its resource; both are made when they are not there.
    ///
    /// - Parameters:
    ///   - title: Its name for MLflow's clients, when it is made by one.
    ///   - description: What it is for, when it is made.
    static func ensure(
        _ model: Reference<ModelKind>, title: String? = nil, description: String = "", in change: Change
    ) throws -> ModelRow {
        let row: ModelRow
        if let known = try change.sql.model(model) {
            row = known
        } else {
            row = try Self.row(model, title: title, in: change)
            try change.sql.keep(row)
        }
        if try change.sql.resource(ModelKind.self, model) == nil {
            var resource = Resource()
            (resource.kind, resource.project, resource.name) = (ModelKind.name, model.project, model.name)
            if !description.isEmpty { resource.spec = ["description": .string(description)] }
            _ = try change.put(resource)
            try keepStatus(of: model, in: change)
        }
        return row
    }

    /// A new row; its title is free.
    static func row(_ model: Reference<ModelKind>, title: String?, in change: Change) throws -> ModelRow {
        ModelRow(
            project: model.project, name: model.name, title: try free(title ?? model.name, in: model.project, change),
            createdAt: change.now, updatedAt: change.now)
    }

    /// A title nobody has: after a rename another model may be called as this one would.
    private static func free(_ title: String, in project: String, _ change: Change) throws -> String {
        var (candidate, count) = (title, 2)
        while try change.sql.model(titled: candidate, project: project) != nil {
            candidate = "\(title)-\(count)"
            count += 1
        }
        return candidate
    }

    static func spec(of model: Reference<ModelKind>, in sql: Connection) throws -> ModelSpec {
        guard let resource = try sql.resource(ModelKind.self, model) else { throw unknown(model) }
        return resource.spec
    }

    // MARK: Versions

    /// Registers a version; one that has an identity is registered once.
    static func register(_ intake: Intake, in change: Change) throws -> ModelVersion {
        var version = intake.version
        let model = Reference<ModelKind>(project: version.project, name: version.model)
        if let identity = intake.identity,
            let known = try change.sql.version(identified: identity, of: model),
            let same = try change.sql.version(known, of: model)
        {
            return same
        }
        var row = try ensure(model, in: change)
        let spec = try spec(of: model, in: change.sql)
        let newest = try change.sql.versions(of: model, limit: 1).first
        let before = newest.map { SchemaReading.schema(of: $0.signature) }
        if let refusal = RegistrationRules.refusal(of: version, spec, before: before, sample: intake.sample) {
            throw refusal
        }
        row.lastVersion += 1
        row.updatedAt = change.now
        (version.version, version.created_at, version.aliases) = (row.lastVersion, change.now, [])
        version.created_by = change.call.actor
        version.label = VersionLabel.next(
            spec.versioning, after: newest.map { ($0.label, before ?? ModelSchema()) },
            schema: SchemaReading.schema(of: version.signature), taken: try change.sql.labels(of: model),
            now: change.now)
        try change.sql.keep(row)
        try change.sql.insert(version, identity: intake.identity)
        try write(intake, of: version, title: row.title, in: change)
        try keepStatus(of: model, in: change)
        try change.tell(
            "model.registered", about: model.subject,
            [
                "version": .integer(Int64(version.version)), "digest": .string(version.digest),
                "run": version.run.json, "commit": version.commit.json, "metrics": version.metrics.json,
                "title": .string(row.title), "source": version.source.json,
            ])
        if let key = version.signed_with { try tellSigned(version, key, in: change) }
        return version
    }

    /// Keeps what is written once: signature and bill of materials.
    static func write(_ intake: Intake, of version: ModelVersion, title: String, in change: Change) throws {
        guard !intake.files.isEmpty else { return }
        if let bundle = intake.bundle { try change.sql.keep(bundle, as: .signature, of: version, at: change.now) }
        let bom = ModelBOM.document(version, intake.files, title: title)
        try change.sql.keep(bom, as: .bom, of: version, at: change.now)
    }

    static func tellSigned(_ version: ModelVersion, _ key: String, in change: Change) throws {
        try change.tell(
            "model.signed", about: version.reference.subject,
            ["version": .integer(Int64(version.version)), "key": .string(key), "digest": .string(version.digest)])
    }

    /// Removes a version; its number is not given again.
    static func remove(_ version: ModelVersion, in change: Change) throws {
        let model = version.reference
        try change.sql.remove(version.version, of: model)
        try keepStatus(of: model, in: change)
        try change.tell(
            "model.version-removed", about: model.subject,
            ["version": .integer(Int64(version.version)), "digest": .string(version.digest)])
    }

    /// Forgets all of a model whose resource goes; one that guarded aliases point into stays until they are let go.
    static func release(_ model: Reference<ModelKind>, in change: Change) throws {
        let guarded = Set(try spec(of: model, in: change.sql).stages.flatMap(\.aliases))
        if let alias = try change.sql.aliases(of: model).keys.first(where: guarded.contains) {
            throw held(model, alias)
        }
        try change.sql.forget(model)
    }

    /// Refuses to remove a version that a guarded alias points to.
    static func letGo(_ version: ModelVersion, in change: Change) throws {
        let guarded = Set(try spec(of: version.reference, in: change.sql).stages.flatMap(\.aliases))
        if let alias = version.aliases.first(where: guarded.contains) { throw held(version.reference, alias) }
    }

    private static func held(_ model: Reference<ModelKind>, _ alias: String) -> Problem {
        Problem(
            "model.referenced", status: 409, "model \"\(model.name)\" has the guarded alias \"\(alias)\"",
            hint: "Take it away first: vagus models alias \(model.name) \(alias)=0")
    }

    // MARK: Aliases

    /// Letters, digits, "-" and "_", and no word that means a version.
    static func isAlias(_ word: String) -> Bool {
        let isWord = word.utf8.allSatisfy { byte in
            (0x61...0x7A).contains(byte | 0x20) || (0x30...0x39).contains(byte) || byte == 0x2D || byte == 0x5F
        }
        guard isWord, !word.isEmpty, word.utf8.count <= aliasLimit, Int(word) == nil else { return false }
        let lower = word.lowercased()
        return lower != "latest" && !(lower.hasPrefix("v") && Int(lower.dropFirst()) != nil)
    }

    static func setAlias(_ input: AliasInput, in change: Change) throws -> ModelVersion {
        var many = AliasesInput()
        (many.project, many.name, many.aliases) = (input.project, input.name, [input.alias: input.version])
        if let expected = input.expected { many.expected = [input.alias: expected] }
        let model = Reference<ModelKind>(project: input.project, name: input.name)
        let shown = input.version == 0 ? try change.sql.aliases(of: model)[input.alias] ?? 0 : input.version
        try moveAliases(many, in: change)
        return try find("\(shown)", of: model, in: change.sql)
    }

    /// Moves all of the aliases, or none.
    static func moveAliases(_ input: AliasesInput, in change: Change) throws {
        let model = Reference<ModelKind>(project: input.project, name: input.name)
        let now = try change.sql.aliases(of: model)
        for (alias, expected) in input.expected where now[alias] ?? 0 != expected {
            let stands = now[alias] ?? 0
            throw Problem(
                "model.alias-moved", status: 409,
                "\"\(model.name)@\(alias)\" points to \(words(stands)), not to \(words(expected))",
                hint: "Somebody else moved it. Look again, then decide.")
        }
        for (alias, wanted) in input.aliases {
            guard isAlias(alias) else {
                throw Problem(
                    "model.alias-name", status: 422, "\"\(alias.prefix(80))\" cannot be an alias",
                    hint: "Use a word like champion; \"latest\", numbers and v1, v2, … mean versions.")
            }
            let stands = now[alias] ?? 0
            let version = try find("\(wanted == 0 ? stands : wanted)", of: model, in: change.sql)
            guard stands != wanted else { continue }
            if wanted != 0 { try change.allow(version, alias: alias, insteadOf: stands) }
            try change.sql.point(alias, of: model, to: wanted)
            try change.tell(
                "model.alias-moved", about: model.subject,
                ["alias": .string(alias), "from": .integer(Int64(stands)), "to": .integer(Int64(wanted))])
        }
        try keepStatus(of: model, in: change)
    }

    private static func words(_ version: Int) -> String { version == 0 ? "nothing" : "version \(version)" }

    static func keepStatus(of model: Reference<ModelKind>, in change: Change) throws {
        var status = ModelStatus()
        status.latest_version = try change.sql.newestVersion(of: model)
        status.aliases = try change.sql.aliases(of: model)
        if let title = try change.sql.model(model)?.title, title != model.name { status.title = title }
        try change.setStatus(status, of: model)
    }
}

extension ModelVersion {
    var reference: Reference<ModelKind> { Reference(project: project, name: model) }
}
