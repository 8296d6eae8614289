import API
import Globs
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
    /// What the pre-receive hook has noted of it.
    var note: PushNote?

    /// All that is known of the push before the transaction that records it.
    struct Findings: Sendable {
        /// Nil: the ref is gone, or points to no commit.
        var facts: CommitFacts?
        /// The commit itself, also behind an annotated tag.
        var commit: String?
        var refusal: ManifestError?
        /// Nil: nobody asks for paths.
        var changed: [String]?
        var pulls: [PullNews] = []
    }

    func take() async throws {
        var findings = Findings()
        // A ref may point to what is no commit, or to one that a push under way has not brought yet.
        guard let new = change.new, let commit = try await git.resolve(new, in: place) else {
            findings.pulls = try await pullsOfDeleted()
            return try await record(findings)
        }
        let facts = try await git.facts(of: commit, in: place)
        (findings.commit, findings.facts) = (commit, facts)
        guard let branch = change.branch else { return try await record(findings) }
        if branch == repository.spec.default_branch {
            do {
                try await applyManifests(of: commit, facts)
            } catch let error as ManifestError {
                findings.refusal = error
            }
        }
        if try await needsPaths() { findings.changed = try await changedFiles(commit) }
        findings.pulls = try await pulls(commit, facts)
        try await record(findings)
    }

    /// Files that differ from the commit before; for a new branch, from where it left the default branch.
    private func changedFiles(_ commit: String) async throws -> [String] {
        if change.old == nil, change.branch != repository.spec.default_branch,
            let found = try await git.changed(
                since: "refs/heads/\(repository.spec.default_branch)", of: commit, in: place)
        {
            return found
        }
        return try await git.changed(from: change.old, to: commit, in: place)
    }

    // MARK: Manifests

    /// Applies all manifests of the commit at once, or none.
    private func applyManifests(of commit: String, _ facts: CommitFacts) async throws {
        let documents = try await self.documents(of: commit)
        guard !documents.isEmpty else { return }
        try await checkOwner(of: documents)
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

    /// Refuses pipelines that another repository brings: with the name would go its secrets and the name its jobs prove.
    private func checkOwner(of documents: [YAMLDocument]) async throws {
        let project = repository.reference.project
        let owners = try await context.store.read { sql in
            // What a repository that is gone has left, any may take over.
            let repositories = Set(try sql.resources(kind: RepositoryKind.name, project: project).map(\.name))
            return try sql.readableResources(PipelineKind.self, project: project).reduce(into: [String: String]()) {
                if let owner = $1.spec.repository, repositories.contains(owner) { $0[$1.reference.name] = owner }
            }
        }
        for document in documents where document.value["kind"]?.string == PipelineKind.name {
            guard let name = document.value["name"]?.string, let owner = owners[name],
                owner != repository.reference.name
            else { continue }
            throw document.placing(
                ManifestError(
                    at: ["name"], message: "pipeline \"\(name)\" belongs to repository \"\(owner)\"",
                    hint: "Give it another name, or delete the other first: vagus delete pipeline \(name)"))
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
        try sql.readableResources(PipelineKind.self, project: repository.reference.project)
            .filter { $0.spec.repository == repository.reference.name }
    }

    private func needsPaths() async throws -> Bool {
        try await context.store.read { sql in
            try pipelines(in: sql).flatMap(\.spec.triggers).contains { $0.push?.asksForPaths ?? false }
        }
    }

    private func record(_ findings: Findings) async throws {
        let correlation = "push:\((change.new ?? change.old ?? "").prefix(12))"
        let call = Call(actor: findings.facts?.actor ?? "system:pipelines", correlation: correlation)
        let ids = context.ids
        try await context.store.change(call) { [self] change in
            let reference = repository.reference
            let isNews = try change.sql.moveRef(
                self.change.name, of: reference, from: self.change.old, to: self.change.new, findings.facts,
                at: change.now)
            guard isNews else { return }
            try tell(change, findings.facts)
            for news in findings.pulls { try record(news, change) }
            guard let facts = findings.facts, let commit = findings.commit else { return }
            if self.change.branch == repository.spec.default_branch { try noteManifests(findings.refusal, change) }
            guard findings.refusal == nil, !skips(facts) else { return }
            for pipeline in try pipelines(in: change.sql) {
                guard let spec = pipeline.spec.triggers.first(where: { heeds($0, findings.changed) }) else { continue }
                let firing = firing(spec, pipeline, facts, commit)
                try change.fire(firing, id: ids.next("run"))
            }
        }
    }

    private func heeds(_ trigger: TriggerSpec, _ changed: [String]?) -> Bool {
        if let branch = change.branch {
            return trigger.push?.heeds(branch: branch, default: repository.spec.default_branch, changed: changed)
                ?? false
        }
        guard let tag = Refs.tag(change.name) else { return false }
        return trigger.push?.heeds(tag: tag) ?? trigger.tag.map { GlobList($0.names).names(tag) } ?? false
    }

    /// Whether the pusher wants no run: `git push -o ci.skip`, or "[skip ci]" in the message.
    private func skips(_ facts: CommitFacts) -> Bool {
        let message = facts.message.lowercased()
        return note?.skips ?? false || message.contains("[skip ci]") || message.contains("[ci skip]")
    }

    private func firing(
        _ spec: TriggerSpec, _ pipeline: TypedResource<PipelineKind>, _ facts: CommitFacts, _ commit: String
    ) -> Firing {
        var trigger = Trigger()
        (trigger.type, trigger.actor, trigger.ref) = (spec.tag == nil ? .push : .tag, facts.actor, change.name)
        trigger.message = facts.message
        trigger.event = [
            "ref": .string(change.name), "before": change.old.json, "after": .string(commit),
            "created": .bool(change.old == nil), "message": .string(facts.message),
            "author": .string("\(facts.author) <\(facts.email)>"), "pusher": (note?.user).json,
            "branch": change.branch.json, "tag": Refs.tag(change.name).json,
        ]
        let place = CommitPlace(
            repository: repository.reference.name, ref: change.name, commit: commit, committedAt: facts.committedAt,
            message: facts.message)
        return Firing(
            pipeline: pipeline, spec: spec, trigger: trigger, place: place, parameters: note?.parameters ?? [:])
    }

    private func tell(_ change: Change, _ facts: CommitFacts?) throws {
        let moved = self.change
        guard let commit = moved.new else {
            try change.tell(
                "repository.ref-deleted", about: repository.reference.subject,
                ["ref": .string(moved.name), "before": moved.old.json, "pusher": (note?.user).json])
            return
        }
        var data: Ordered<JSONValue> = [
            "ref": .string(moved.name), "commit": .string(commit), "before": moved.old.json,
        ]
        if let user = note?.user { data["pusher"] = .string(user) }
        if let options = note?.options, !options.isEmpty { data["options"] = options.json }
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
}
