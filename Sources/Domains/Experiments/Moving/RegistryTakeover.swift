import API
import Kernel
import Manifests
import SQL

/// Registered models that are taken over: versions keep their numbers, and the rules of the house hold for them.
extension MLflowRegistry {
    func take(_ moved: MovedModel, _ call: Call) async throws -> MovedModelState {
        try RegistryWire.checkName(moved.name)
        for tag in moved.tags { try RegistryWire.checkTag(tag.key, tag.value) }
        guard isResourceName(moved.project) else {
            throw MLflowError.missing("No project \"\(moved.project.prefix(60))\"")
        }
        let row = try await store.change(call) { try Self.row(for: moved, in: $0) }
        var state = MovedModelState()
        state.name = row.name
        for version in moved.versions.sorted(by: { $0.version < $1.version }) {
            do {
                if let lost = try await take(version, of: row, call) { state.refused.append(lost) }
            } catch let problem as Problem {
                state.refused.append("version \(version.version): \(problem.message)")
            } catch let error as MLflowError {
                state.refused.append("version \(version.version): \(error.message)")
            }
        }
        for (alias, version) in moved.aliases {
            do {
                try await store.change(call) { try Self.point(alias, to: version, of: row, in: $0) }
            } catch let problem as Problem {
                state.refused.append("alias \(alias): \(problem.message)")
            }
        }
        let counted = state
        return try await store.read { try Self.count(moved, row, counted, in: $0) }
    }

    private static func row(for moved: MovedModel, in change: Change) throws -> ModelRow {
        let row: ModelRow
        if let known = try change.sql.model(titled: moved.name, project: moved.project) {
            row = known
        } else {
            let reference = Reference<ModelKind>(
                project: moved.project, name: try free(moved.name, moved.project, in: change.sql))
            var made = try Registry.row(reference, title: moved.name, in: change)
            made.createdAt = Timestamp(milliseconds: moved.created_ms)
            made.updatedAt = Timestamp(milliseconds: moved.updated_ms)
            try change.sql.keep(made)
            row = try Registry.ensure(reference, description: moved.description, in: change)
            try change.tell("model.imported", about: reference.subject, ["title": .string(moved.name)])
        }
        let tags = try change.sql.tags(of: row.reference, version: 0)
        for tag in moved.tags where tags[tag.key] == nil {
            try change.sql.setTag(tag.key, tag.value, of: row.reference, 0)
        }
        return row
    }

    /// - Returns: What of it could not be kept.
    private func take(_ moved: MovedVersion, of row: ModelRow, _ call: Call) async throws -> String? {
        guard (1...Self.highestVersion).contains(moved.version) else {
            throw MLflowError.invalid("A version has a number from 1 to \(Self.highestVersion)")
        }
        for tag in moved.tags { try RegistryWire.checkTag(tag.key, tag.value) }
        let stage = try RegistryWire.stage(moved.stage)
        if try await isThere(moved, of: row) { return nil }
        var version = ModelVersion()
        let isPrompt = moved.tags[WebhookMessage.promptTag]?.lowercased() == "true"
        (version.project, version.model, version.version) = (row.project, row.name, moved.version)
        (version.format, version.description) = (isPrompt ? "prompt" : "mlflow", moved.description)
        (version.run, version.run_link, version.model_id) = (moved.run, moved.run_link, moved.model_id)
        (version.tags, version.source) = (moved.tags, moved.source)
        version.authors = moved.user.isEmpty ? [call.actor] : [call.actor, moved.user]
        version.created_by = moved.user.isEmpty ? call.actor : moved.user
        version.created_at = Timestamp(milliseconds: moved.created_ms)
        var lost = try await findFiles(&version, isPrompt: isPrompt)
        // What taking over has set anew of what it found is not what the other server told.
        version.source = moved.source
        let intake = try await registry.intaking.intake(version, title: row.title, identity: nil)
        let updated = Timestamp(milliseconds: moved.updated_ms)
        let held = try await store.change(call) { change -> String? in
            try Registry.take(intake, stage: stage, updated: updated, in: change)
        }
        if let held { lost = [lost, held].compactMap { $0 }.joined(separator: "; ") }
        return lost.map { "version \(moved.version): \($0)" }
    }

    /// The highest number of a version that is taken over.
    private static let highestVersion = 1_000_000_000

    private func isThere(_ moved: MovedVersion, of row: ModelRow) async throws -> Bool {
        guard let known = try await store.read({ try $0.version(moved.version, of: row.reference) }) else {
            return false
        }
        guard known.created_at == Timestamp(milliseconds: moved.created_ms) else {
            throw MLflowError(.alreadyExists, "Another version \(moved.version) is here already")
        }
        return true
    }

    /// Files of the version, when they were taken over with a run or logged model.
    ///
    /// - Returns: Why they are not here, when they should be.
    private func findFiles(_ version: inout ModelVersion, isPrompt: Bool) async throws -> String? {
        let scheme = (version.source ?? "").prefix { $0 != ":" }
        guard !isPrompt, ["runs", "models", "mlflow-artifacts"].contains(scheme), let source = version.source else {
            return nil
        }
        do {
            if SourceRules.version(source) == nil {
                try SourceRules.check(source, run: version.run, model: version.model_id)
            }
            try await takeOver(source, &version)
            return version.digest.isEmpty ? "nothing lies at its source \(source)" : nil
        } catch let error as MLflowError {
            return "its files are not here: \(error.message)"
        }
    }

    private static func point(_ alias: String, to version: Int, of row: ModelRow, in change: Change) throws {
        // Where it points by now is somebody's decision here.
        guard try change.sql.aliases(of: row.reference)[alias] == nil else { return }
        var input = AliasInput()
        (input.project, input.name, input.alias, input.version) = (row.project, row.name, alias, version)
        _ = try Registry.setAlias(input, in: change)
    }

    private static func count(
        _ moved: MovedModel, _ row: ModelRow, _ state: MovedModelState, in sql: Connection
    ) throws -> MovedModelState {
        var state = state
        let aliases = try sql.aliases(of: row.reference)
        state.aliases = moved.aliases.count { aliases[$0.key] == $0.value }
        let own = try sql.tags(of: row.reference, version: 0)
        state.tags = moved.tags.count { own[$0.key] != nil }
        for version in moved.versions {
            guard let known = try sql.version(version.version, of: row.reference) else { continue }
            state.versions += 1
            state.tags += version.tags.count { known.tags[$0.key] != nil }
        }
        return state
    }
}

extension Registry {
    /// Keeps a version under the number that it had elsewhere.
    ///
    /// - Returns: Why it could not keep its stage.
    static func take(
        _ intake: Intake, stage: String, updated: Timestamp, in change: Change
    ) throws -> String? {
        var version = intake.version
        let model = version.reference
        guard try change.sql.version(version.version, of: model) == nil else { return nil }
        let (spec, newest) = (try spec(of: model, in: change.sql), try change.sql.versions(of: model, limit: 1).first)
        let before = newest.map { SchemaReading.schema(of: $0.signature) }
        if let refusal = RegistrationRules.refusal(of: version, spec, before: before, sample: intake.sample) {
            throw refusal
        }
        guard var row = try change.sql.model(model) else { throw unknown(model) }
        row.lastVersion = max(row.lastVersion, version.version)
        version.label = VersionLabel.next(
            spec.versioning, after: newest.map { ($0.label, before ?? ModelSchema()) },
            schema: SchemaReading.schema(of: version.signature), taken: try change.sql.labels(of: model),
            now: version.created_at)
        try change.sql.keep(row)
        try change.sql.insert(version, identity: nil)
        try write(intake, of: version, title: row.title, in: change)
        var refused: String?
        if stage != "None" {
            do {
                try change.allow(version, stage: stage)
                version.stage = stage
            } catch let problem as Problem {
                refused = problem.message
            }
        }
        try change.sql.update(version, at: updated)
        try keepStatus(of: model, in: change)
        try change.tell(
            "model.imported", about: model.subject,
            [
                "version": .integer(Int64(version.version)), "digest": .string(version.digest), "run": version.run.json,
                "source": version.source.json, "title": .string(row.title),
            ])
        if let key = version.signed_with { try tellSigned(version, key, in: change) }
        return refused
    }
}
