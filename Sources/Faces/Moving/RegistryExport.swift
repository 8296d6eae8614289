import API
import Manifests

/// Registered models on their way out. MLflow numbers versions itself: the old number is a tag.
struct RegistryExport: Sendable {
    let source: any MoveSource
    let server: MLflowServer
    let known: MLflowExport.Known
    let isDry: Bool

    func run(_ report: SharedReport) async throws {
        let there = isDry ? [] : try await ServerSource(server).registeredModels()
        for model in try await source.registeredModels() {
            report.change { report in
                report.count("registered models", source: 1)
                report.count("model versions", source: model.versions.count)
                report.count("aliases", source: model.aliases.count)
            }
            guard !isDry else { continue }
            do {
                try await export(model, there.first { $0.name == model.name }, report)
            } catch let problem as Problem where [400, 404, 409, 413, 422].contains(problem.status) {
                report.change { $0.differ("model \"\(model.name)\": \(problem.message)") }
            }
        }
    }

    private func export(_ model: MovedModel, _ there: MovedModel?, _ report: SharedReport) async throws {
        let name = JSONValue.string(model.name)
        if there == nil {
            _ = try await server.send(
                "POST", "registered-models/create",
                ["name": name, "tags": .wire(model.tags), "description": .string(model.description)])
        }
        // Of each old number the new one.
        var numbers: [Int: Int] = [:]
        for version in there?.versions ?? [] {
            if let old = version.tags[MLflowExport.versionTag].flatMap({ Int($0) }) { numbers[old] = version.version }
        }
        for version in model.versions {
            guard numbers[version.version] == nil else { continue }
            do {
                numbers[version.version] = try await create(version, of: model)
            } catch let problem as Problem where [400, 404, 409, 413, 422].contains(problem.status) {
                report.change { $0.differ("model \"\(model.name)\" version \(version.version): \(problem.message)") }
            }
        }
        var aliases = 0
        for (alias, old) in model.aliases {
            guard let new = numbers[old] else { continue }
            _ = try await server.send(
                "POST", "registered-models/alias",
                ["name": name, "alias": .string(alias), "version": .string("\(new)")])
            aliases += 1
        }
        let (counted, renumbered) = (aliases, numbers.filter { $0.key != $0.value }.sorted { $0.key < $1.key })
        let made = numbers.count { old, _ in model.versions.contains { $0.version == old } }
        report.change { report in
            report.count("registered models", target: 1)
            report.count("model versions", target: made)
            report.count("aliases", target: counted)
            for (old, new) in renumbered {
                report.mapped.append("model \"\(model.name)\" version \(old) is \(new) there")
            }
        }
    }

    private func create(_ version: MovedVersion, of model: MovedModel) async throws -> Int {
        var tags = version.tags
        tags[MLflowExport.versionTag] = "\(version.version)"
        var body: Ordered<JSONValue> = ["name": .string(model.name), "tags": .wire(tags)]
        if let text = version.description { body["description"] = .string(text) }
        if let link = version.run_link { body["run_link"] = .string(link) }
        let run = version.run.flatMap { known.runs[$0] }
        if let run { body["run_id"] = .string(run.run.id) }
        body["source"] = .string(version.source)
        if let id = version.model_id, let there = known.models[id] {
            (body["source"], body["model_id"]) = (.string("models:/\(there.model.id)"), .string(there.model.id))
        } else if let run, let old = version.run, version.source.hasPrefix("runs:/\(old)") {
            let path = version.source.dropFirst("runs:/\(old)".count).drop { $0 == "/" }
            body["source"] = .string(path.isEmpty ? run.artifactURI : "\(run.artifactURI)/\(path)")
        }
        let made = try await server.send("POST", "model-versions/create", .object(body))
        let number = made["model_version"]?["version"]?.wireInteger.map(Int.init) ?? 0
        if version.stage != "None" {
            _ = try await server.send(
                "POST", "model-versions/transition-stage",
                [
                    "name": .string(model.name), "version": .string("\(number)"), "stage": .string(version.stage),
                    "archive_existing_versions": false,
                ])
        }
        return number
    }
}
