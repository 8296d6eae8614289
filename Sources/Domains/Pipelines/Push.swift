import API
import Kernel
import Logging
import Manifests
import SQL

/// One ref that has moved: manifests first, then, in one transaction, the ref, its event, and the runs it sets off.
///
/// Nothing remembers a push but that transaction: killed before it, the push is seen again; the manifests are then found
/// applied already.
struct Push: Sendable {
    let context: DomainContext
    let git: Git
    let place: String
    let repository: TypedResource<RepositoryKind>
    let change: RefChange

    func take() async throws {
        guard let commit = change.new, let branch = change.branch else { return try await record(nil, nil, []) }
        // A ref may point to what is no commit, or to one that a push under way has not brought yet.
        guard let resolved = try await git.resolve(commit, in: place) else { return try await record(nil, nil, []) }
        let facts = try await git.facts(of: resolved, in: place)
        var refusal: ManifestError?
        if branch == repository.spec.default_branch {
            do {
                try await applyManifests(of: commit, facts)
            } catch let error as ManifestError {
                refusal = error
            }
        }
        let changed = try await needsPaths() ? git.changed(from: change.old, to: commit, in: place) : []
        try await record(facts, refusal, changed)
    }

    // MARK: Manifests

    /// Applies all manifests of the commit at once, or none.
    private func applyManifests(of commit: String, _ facts: CommitFacts) async throws {
        let documents = try await self.documents(of: commit)
        guard !documents.isEmpty else { return }
        var input = ApplyInput()
        input.project = repository.reference.project
        for document in documents {
            do {
                // Read here already, where the lines are still known.
                try Admission.check(try CoreDomain.read(document.value, project: input.project))
            } catch let error as ManifestError {
                throw document.placing(error)
            }
            input.documents.append(document.value)
        }
        let call = Call(
            actor: facts.actor, correlation: "push:\(commit.prefix(12))", permission: .write,
            project: repository.reference.project)
        do {
            _ = try await context.caller.call(Resources.apply, input, as: call)
        } catch let problem as Problem where problem.status < 500 && problem.status != 429 {
            throw place(problem, among: documents)
        }
    }

    /// Every document of the manifests folder; pipelines are told which repository they belong to.
    private func documents(of commit: String) async throws -> [YAMLDocument] {
        let files = try await git.files(beneath: repository.spec.manifests, of: commit, in: place)
            .filter { $0.hasSuffix(".yaml") || $0.hasSuffix(".yml") || $0.hasSuffix(".json") }.sorted()
        guard files.count <= PipelineLimits.manifestFiles else {
            throw ManifestError(
                at: [], message: "more than \(PipelineLimits.manifestFiles) manifest files", hint: "Keep fewer.",
                file: repository.spec.manifests)
        }
        var documents: [YAMLDocument] = []
        var bytes = 0
        for file in files {
            let text = try await git.content(of: file, at: commit, in: place)
            bytes += text.utf8.count
            guard bytes <= PipelineLimits.manifestBytes else {
                throw ManifestError(
                    at: [], message: "the manifests are larger than \(PipelineLimits.manifestBytes >> 20) MiB",
                    hint: "Keep fewer.", file: file)
            }
            documents += try YAML.documents(text, file: file)
        }
        return documents.map { document in
            guard document.value["kind"]?.string == PipelineKind.name, var members = document.value.object else {
                return document
            }
            var owned = document
            members["repository"] = .string(repository.reference.name)
            owned.value = .object(members)
            return owned
        }
    }

    /// A problem of the apply, at its line: its location begins with "documents.N" when there are several.
    private func place(_ problem: Problem, among documents: [YAMLDocument]) -> ManifestError {
        var path = (problem.location ?? "").split(separator: ".").map(String.init)
        var index = 0
        if path.first == "documents", path.count > 1, let number = Int(path[1]) {
            index = number
            path.removeFirst(2)
        }
        let error = ManifestError(at: path, message: problem.message, hint: problem.hint)
        return documents.indices.contains(index) ? documents[index].placing(error) : error
    }

    // MARK: Runs

    private func pipelines(in sql: Connection) throws -> [TypedResource<PipelineKind>] {
        try sql.resources(PipelineKind.self, project: repository.reference.project)
            .filter { $0.spec.repository == repository.reference.name }
    }

    private func needsPaths() async throws -> Bool {
        try await context.store.read { sql in
            let triggers: [TriggerSpec] = try pipelines(in: sql).flatMap(\.spec.triggers)
            return triggers.contains { trigger in trigger.push.map { !$0.paths.isEmpty } ?? false }
        }
    }

    private func record(_ facts: CommitFacts?, _ refusal: ManifestError?, _ changed: [String]) async throws {
        let correlation = "push:\((change.new ?? change.old ?? "").prefix(12))"
        let call = Call(actor: facts?.actor ?? "system:pipelines", correlation: correlation)
        let ids = context.ids
        try await context.store.change(call) { [self] change in
            let reference = repository.reference
            let isNews = try change.sql.moveRef(
                self.change.name, of: reference, from: self.change.old, to: self.change.new, at: change.now)
            guard isNews else { return }
            try tell(change, facts)
            guard let branch = self.change.branch, self.change.new != nil, let facts else { return }
            if branch == repository.spec.default_branch { try noteManifests(refusal, change) }
            guard refusal == nil else { return }
            for pipeline in try pipelines(in: change.sql) {
                let isHeeded = pipeline.spec.triggers.contains { trigger in
                    trigger.push?.heeds(branch: branch, default: repository.spec.default_branch, changed: changed)
                        ?? false
                }
                if isHeeded { try queue(pipeline, facts, change, id: ids.next("run")) }
            }
        }
    }

    private func tell(_ change: Change, _ facts: CommitFacts?) throws {
        let moved = self.change
        guard let commit = moved.new else {
            try change.tell(
                "repository.ref-deleted", about: repository.reference.subject,
                ["ref": .string(moved.name), "before": moved.old.map(JSONValue.string) ?? .null])
            return
        }
        var data: Ordered<JSONValue> = [
            "ref": .string(moved.name), "commit": .string(commit), "before": moved.old.map(JSONValue.string) ?? .null,
        ]
        if let facts {
            data["message"] = .string(facts.message)
            data["author"] = .string("\(facts.author) <\(facts.email)>")
            data["committed_at"] = facts.committedAt.json
        }
        try change.tell("repository.pushed", about: repository.reference.subject, data)
    }

    /// Says on the repository whether the newest manifests hold.
    private func noteManifests(_ refusal: ManifestError?, _ change: Change) throws {
        guard let now = try change.sql.resource(RepositoryKind.self, repository.reference) else { return }
        let commit = String((self.change.new ?? "").prefix(12))
        var condition = Condition(
            "ManifestsApplied", .yes, reason: "Applied", message: "The manifests of commit \(commit) are applied.")
        if let refusal {
            let place = refusal.location.map { "\($0): " } ?? ""
            condition = Condition(
                "ManifestsApplied", .no, reason: "Invalid",
                message: "The manifests of commit \(commit) were refused: \(place)\(refusal.message).")
            try change.tell(
                "repository.manifests-refused", about: repository.reference.subject,
                [
                    "commit": .string(self.change.new ?? ""),
                    "location": refusal.location.map(JSONValue.string) ?? .null,
                    "message": .string(refusal.message), "hint": refusal.hint.map(JSONValue.string) ?? .null,
                ])
        }
        let conditions = now.conditions.filter { $0.name != condition.name } + [condition]
        try change.setStatus(now.status ?? RepositoryStatus(), of: repository.reference, conditions: conditions)
    }

    private func queue(
        _ pipeline: TypedResource<PipelineKind>, _ facts: CommitFacts, _ change: Change, id: String
    ) throws {
        var trigger = Trigger()
        (trigger.type, trigger.actor, trigger.ref, trigger.message) = (
            .push, facts.actor, self.change.name, facts.message
        )
        var request = RunRequest(
            project: pipeline.reference.project, pipeline: pipeline.reference.name, spec: pipeline.spec,
            trigger: trigger)
        do {
            request.parameters = try Parameters.read([:], for: pipeline.spec)
            (request.repository, request.commit) = (repository.reference.name, self.change.new)
            request.committedAt = facts.committedAt
            _ = try change.lay(request, id: id)
        } catch let problem as Problem {
            // One pipeline that cannot run must not keep the others, nor the ref, from going on.
            try change.tell(
                "pipeline.not-started", about: pipeline.reference.subject,
                ["commit": .string(self.change.new ?? ""), "reason": .string(problem.message)])
        }
    }
}
