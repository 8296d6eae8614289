import API
import Foundation
import Kernel
import Manifests

/// What a local run applies: the manifests beside the file, then those of the file, made fit for one person's machine.
struct LocalManifests {
    /// Every document, the pipeline to run among them.
    var documents: [JSONValue]
    var pipeline: String

    /// Repository that pipelines get their commit from.
    static let repository = "work-tree"

    /// Reads the file and what lies beside it.
    ///
    /// `pipeline` says which one to run, when the file has several; `jobs` (`stage` or `stage/job`) takes only these and
    /// what they need.
    static func read(_ file: String, pipeline: String?, jobs: [String], project: String) throws -> LocalManifests {
        let own = try ManifestFiles.read([file])
        let beside = try documents(beside: file)
        for document in beside + own {
            do {
                _ = try CoreDomain.read(document.value, project: project)
            } catch {
                throw document.placing(error)
            }
        }
        let name = try choose(own.map(\.value), wanted: pipeline, file: file)
        var all = Ordered<JSONValue>()
        // Later ones count: the file's own word stands over what lies beside it.
        for document in (beside + own).map(\.value) { all[key(of: document)] = document }
        let fitting = try all.values.map { try fit($0, chosen: name, jobs: jobs) }
        return LocalManifests(documents: fitting, pipeline: name)
    }

    /// The manifests in `.vagus` next to the file, or next to it in that very folder; the file itself left out.
    private static func documents(beside file: String) throws -> [YAMLDocument] {
        let url = URL(filePath: file).standardizedFileURL
        let folder = url.deletingLastPathComponent()
        let place = folder.lastPathComponent == ".vagus" ? folder : folder.appending(path: ".vagus")
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: place.path, isDirectory: &isFolder), isFolder.boolValue else {
            return []
        }
        let names = try FileManager.default.subpathsOfDirectory(atPath: place.path).sorted()
        let files = names.filter { ["yaml", "yml", "json"].contains(($0 as NSString).pathExtension) }
            .map { place.appending(path: $0).standardizedFileURL.path }.filter { $0 != url.path }
        return try files.isEmpty ? [] : ManifestFiles.read(files)
    }

    private static func key(of document: JSONValue) -> String {
        "\(document["kind"]?.string ?? "") \(document["project"]?.string ?? "") \(document["name"]?.string ?? "")"
    }

    private static func choose(_ documents: [JSONValue], wanted: String?, file: String) throws -> String {
        let names = documents.filter { $0["kind"]?.string == PipelineKind.name }.compactMap { $0["name"]?.string }
        if let wanted {
            guard names.contains(wanted) else {
                throw Problem(
                    "local.pipeline", status: 404, "\"\(file)\" has no pipeline \"\(wanted)\"",
                    hint: suggestion(for: wanted, among: names, called: "pipeline"))
            }
            return wanted
        }
        guard let first = names.first else {
            throw Problem(
                "local.pipeline", status: 422, "\"\(file)\" has no pipeline in it",
                hint: "Name a file with a document of `kind: Pipeline`.")
        }
        guard names.count == 1 else {
            throw Problem(
                "local.pipeline", status: 422, "\"\(file)\" has \(names.count) pipelines",
                hint: "Say which with --pipeline: \(names.joined(separator: ", ")).")
        }
        return first
    }

    /// Whether a step checks out branches or tags beside its commit.
    var wantsRefs: Bool { documents.contains { Self.holdsWideCheckout($0) } }

    private static func holdsWideCheckout(_ json: JSONValue) -> Bool {
        if let items = json.array { return items.contains { holdsWideCheckout($0) } }
        guard let members = json.object else { return false }
        return members.contains { name, value in
            let isWide = name == "checkout" && (value["depth"]?.int == 0 || value["tags"]?.bool == true)
            return isWide || holdsWideCheckout(value)
        }
    }

    // MARK: Fitting

    /// Here nothing starts by itself, and whoever sits at the terminal is all the approvers there are.
    private static func fit(_ document: JSONValue, chosen: String, jobs: [String]) throws -> JSONValue {
        guard var members = document.object else { return document }
        switch members["kind"]?.string {
        case PipelineKind.name:
            members["triggers"] = nil
            members["repository"] = .string(repository)
            if members["name"]?.string == chosen, !jobs.isEmpty {
                members["stages"] = .array(try JobChoice(stages: members["stages"]?.array ?? []).keep(jobs))
            }
        case EnvironmentKind.name:
            for holder in ["approval_gates", "protection"] {
                guard var gates = members[holder]?.object, var approvals = gates["approvals"]?.object else { continue }
                approvals["from"] = nil
                approvals["not_author"] = nil
                approvals["min"] = 1
                gates["approvals"] = .object(approvals)
                members[holder] = .object(gates)
            }
        default: break
        }
        return .object(members)
    }
}

/// Some of a pipeline's jobs, with all that they need.
struct JobChoice {
    let stages: [JSONValue]

    func keep(_ wanted: [String]) throws -> [JSONValue] {
        var kept: [String: Set<String>?] = [:]  // stage → its jobs, nil for all of them
        var queue: [String] = []
        for name in wanted {
            let parts = name.split(separator: "/", maxSplits: 1).map(String.init)
            guard let stage = parts.first, let found = self.stage(stage) else {
                throw unknown(name, among: stages.compactMap { $0["name"]?.string })
            }
            if parts.count == 2 {
                let names = found["jobs"]?.object?.keys ?? [stage]
                guard names.contains(parts[1]) else { throw unknown(name, among: names.map { "\(stage)/\($0)" }) }
                if let known = kept[stage] {
                    if var some = known {
                        some.formUnion(withSiblings(parts[1], in: found))
                        kept[stage] = .some(some)
                    }
                } else {
                    kept[stage] = .some(withSiblings(parts[1], in: found))
                }
            } else {
                kept[stage] = .some(nil)
            }
            queue.append(stage)
        }
        var seen: Set<String> = []
        while let stage = queue.popLast() {
            guard seen.insert(stage).inserted else { continue }
            for need in needs(of: stage) {
                if kept[need] == nil { kept[need] = .some(nil) }
                queue.append(need)
            }
        }
        return stages.compactMap { stage in
            guard let name = stage["name"]?.string, let some = kept[name], var members = stage.object else {
                return nil
            }
            // A stage that named no needs waited for the one before it, which may be gone now.
            if members["needs"] == nil { members["needs"] = .array(needs(of: name).map(JSONValue.string)) }
            if let some, let jobs = members["jobs"]?.object {
                members["jobs"] = .object(Ordered(jobs.filter { some.contains($0.key) }.map { ($0.key, $0.value) }))
            }
            return .object(members)
        }
    }

    private func unknown(_ name: String, among names: [String]) -> Problem {
        Problem(
            "local.job", status: 404, "the pipeline has no job \"\(name)\"",
            hint: suggestion(for: name, among: names, called: "job"))
    }

    private func stage(_ name: String) -> JSONValue? { stages.first { $0["name"]?.string == name } }

    private func needs(of name: String) -> [String] {
        guard let index = stages.firstIndex(where: { $0["name"]?.string == name }) else { return [] }
        guard let needs = stages[index]["needs"]?.array else {
            return index == 0 ? [] : [stages[index - 1]["name"]?.string].compactMap { $0 }
        }
        return needs.compactMap { need in
            (need.string ?? need["stage"]?.string).map { String($0.prefix { $0 != "/" }) }
        }
    }

    /// The job and those of its stage that it needs.
    private func withSiblings(_ job: String, in stage: JSONValue) -> Set<String> {
        let jobs = stage["jobs"]?.object ?? [:]
        var found: Set<String> = []
        var queue = [job]
        while let next = queue.popLast() {
            guard found.insert(next).inserted else { continue }
            for need in jobs[next]?["needs"]?.array ?? [] {
                let name = need.string ?? need["job"]?.string ?? ""
                if jobs[name] != nil { queue.append(name) }
            }
        }
        return found
    }
}
