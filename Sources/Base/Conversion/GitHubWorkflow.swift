import Manifests

/// A workflow: its triggers, its settings, and each of its jobs as a stage with one job.
struct GitHubWorkflow {
    let root: Cursor
    let name: String
    let words: GitHubWords
    /// Artifact of theirs → `stage.name` of ours.
    let artifacts: [String: String]

    init(_ root: Cursor, name: String) {
        self.root = root
        let title = root.value["name"]?.scalarText.map(Words.name)
        self.name = title == nil || title == "pipeline" ? Words.name(name) : title ?? name
        words = GitHubWords(stages: Words.names(root.value["jobs"]?.object?.keys ?? []))
        var artifacts: [String: String] = [:]
        for (id, job) in root.value["jobs"]?.object ?? [:] {
            for step in job["steps"]?.array ?? [] {
                guard let uses = step["uses"]?.string, GitHubActions.name(of: uses) == "actions/upload-artifact" else {
                    continue
                }
                let artifact = step["with"]?["name"]?.scalarText ?? "artifact"
                artifacts[artifact] = "\(words.stages[id] ?? id).\(GitHubActions.artifactName(artifact))"
            }
        }
        self.artifacts = artifacts
    }

    func pipeline() -> JSONValue {
        var out = Ordered<JSONValue>()
        out["kind"] = "Pipeline"
        out["name"] = .string(name)
        if let title = root.take("name"), Words.name(title.text ?? "") != title.text {
            title.changed("a name has small letters here: \"\(name)\"")
        }
        let asked = Asked()
        if let triggers = root.take("on") { GitHubTriggers(words: words).add(triggers, to: &out, asked) }
        if let concurrency = root.take("concurrency") {
            out["concurrency"] = Self.concurrency(concurrency, words.rewriter(at: concurrency, asked))
        }
        var variables = Self.variables(root.take("env"), words, asked)
        root.lose(["run-name": "a run is called by its pipeline and number"])
        permissions(of: root)
        let defaults = GitHubDefaults(root.take("defaults"))
        var stages: [JSONValue] = []
        for (id, job) in root.take("jobs")?.members ?? [] {
            stages.append(
                GitHubJob(id: id, cursor: job, workflow: self, defaults: defaults, shared: asked).stage())
        }
        let text = JSONValue.array(stages).text
        let owner = "GITHUB_REPOSITORY_OWNER"
        for (name, isRead) in [
            (owner, text.contains("vars.\(owner)")),
            ("GITHUB_REPOSITORY", text.replacing("vars.\(owner)", with: "").contains("vars.GITHUB_REPOSITORY")),
        ] where isRead && variables[name] == nil {
            variables[name] = ""
            root.ledger.note(.changed, ["jobs"], "set the pipeline's variable \(name): no context tells it here")
        }
        if !variables.isEmpty { out["variables"] = .object(variables.map { .string($0) }) }
        out["stages"] = .array(stages)
        return .object(out)
    }

    // MARK: Parts that jobs have too

    static func variables(_ cursor: Cursor?, _ words: GitHubWords, _ asked: Asked) -> Ordered<String> {
        var all = Ordered<String>()
        for (name, value) in cursor?.members ?? [] {
            all[name] = words.rewriter(at: value, asked).template(value.text ?? "")
        }
        return all
    }

    static func concurrency(_ cursor: Cursor, _ rewriter: ExpressionRewriter) -> JSONValue {
        var out: Ordered<JSONValue> = [
            "group": .string(rewriter.template((cursor.text ?? cursor.take("group")?.text) ?? "")),
            "limit": 1, "queue": "latest",
        ]
        if let cancels = cursor.take("cancel-in-progress") {
            if cancels.value == .bool(true) {
                out["cancel_running"] = "always"
            } else if let text = cancels.value.string {
                let isPull = text.contains("pull_request")
                out["cancel_running"] = isPull ? "pull_request" : "never"
                if !isPull { cancels.lost("whether a run is cancelled cannot be an expression: it never is") }
            }
        }
        if let queue = cursor.take("queue"), queue.text == "max" { out["queue"] = "fifo" }
        return .object(out)
    }

    /// Steps are given no token of the repository, so that there is nothing to allow; `id-token` is read by the job.
    func permissions(of cursor: Cursor) {
        guard let permissions = cursor.take("permissions") else { return }
        guard permissions.value.object != nil else {
            return permissions.needless("steps are given no token of the repository")
        }
        for (name, value) in permissions.members where name != "id-token" {
            value.needless("steps are given no token of the repository")
        }
    }

    /// Whether jobs ask for an identity token.
    static func wantsIdentity(_ cursor: Cursor) -> Bool { cursor.value["permissions"]?["id-token"]?.string == "write" }
}

/// `defaults.run`.
struct GitHubDefaults {
    var shell: Cursor?
    var folder: Cursor?

    init(_ cursor: Cursor?) {
        let run = cursor?.take("run")
        (shell, folder) = (run?.take("shell"), run?.take("working-directory"))
    }

    func overridden(by other: GitHubDefaults) -> GitHubDefaults {
        var both = self
        both.shell = other.shell ?? shell
        both.folder = other.folder ?? folder
        return both
    }
}

/// `on`.
struct GitHubTriggers {
    let words: GitHubWords

    func add(_ on: Cursor, to out: inout Ordered<JSONValue>, _ asked: Asked) {
        var triggers: [JSONValue] = []
        let isMap = on.value.object != nil
        let events = isMap ? on.members : on.items.map { ($0.text ?? "", $0) }
        for (name, event) in events {
            // In a list the item is the event's name, not its settings.
            let settings = isMap ? event : Cursor(value: .null, path: event.path, ledger: event.ledger)
            switch name {
            case "push": triggers.append(["push": .object(push(settings))])
            case "pull_request", "pull_request_target":
                if name == "pull_request_target" {
                    event.changed("a pull request's run has the secrets only when `trusted` is set and it is no fork's")
                }
                triggers.append(["pull_request": .object(pull(settings, isTarget: name != "pull_request"))])
            case "schedule": triggers += settings.items.map(schedule)
            case "workflow_dispatch", "workflow_call":
                if let inputs = settings.take("inputs") { parameters(inputs, to: &out) }
                if let outputs = settings.take("outputs") { self.outputs(outputs, to: &out, asked) }
                settings.lose([
                    "secrets": "a pipeline that is used takes its secrets by their names, not from its caller"
                ])
            case "workflow_run": triggers += workflowRun(settings)
            case "repository_dispatch": event.lost("start it by the API, or give it a trigger `webhook`")
            default: event.lost("nothing here tells of the event \"\(name)\"")
            }
        }
        if !triggers.isEmpty { out["triggers"] = .array(triggers) }
    }

    private func list(_ cursor: Cursor?) -> JSONValue? {
        guard let texts = cursor?.texts, !texts.isEmpty else { return nil }
        return .array(texts.map { .string($0) })
    }

    private func filters(_ event: Cursor, _ names: [(theirs: String, ours: String)]) -> Ordered<JSONValue> {
        var out = Ordered<JSONValue>()
        for (theirs, ours) in names { if let value = list(event.take(theirs)) { out[ours] = value } }
        return out
    }

    private func push(_ event: Cursor) -> Ordered<JSONValue> {
        var out = filters(
            event,
            [
                ("branches", "branches"), ("branches-ignore", "branches_ignore"), ("tags", "tags"),
                ("paths", "paths"), ("paths-ignore", "paths_ignore"),
            ])
        event.lose(["tags-ignore": "write the tags that count, or !pattern to take some away"])
        let namesNone = out["branches"] == nil && out["branches_ignore"] == nil && out["tags"] == nil
        // Without a filter every push counts there, and only one to the default branch here.
        if namesNone { (out["branches"], out["tags"]) = (["**"], ["**"]) }
        return out
    }

    private func pull(_ event: Cursor, isTarget: Bool) -> Ordered<JSONValue> {
        var out = filters(
            event,
            [
                ("branches", "branches"), ("branches-ignore", "branches_ignore"), ("paths", "paths"),
                ("paths-ignore", "paths_ignore"),
            ])
        if isTarget { out["trusted"] = true }
        let known = [
            "opened", "synchronize", "reopened", "closed", "edited", "labeled", "unlabeled", "ready_for_review",
        ]
        var types: [JSONValue] = []
        for type in event.take("types")?.items ?? [] {
            if known.contains(type.text ?? "") {
                types.append(.string(type.text ?? ""))
            } else {
                type.lost("nothing here tells that a pull request was \"\(type.text ?? "")\"")
            }
        }
        if !types.isEmpty { out["types"] = .array(types) }
        return out
    }

    private func schedule(_ item: Cursor) -> JSONValue {
        var out = Ordered<JSONValue>()
        out["cron"] = .string(item.take("cron")?.text ?? "")
        if let zone = item.take("timezone")?.text { out["tz"] = .string(zone) }
        return ["schedule": .object(out)]
    }

    private func workflowRun(_ event: Cursor) -> [JSONValue] {
        let branches = list(event.take("branches"))
        event.lose(["branches-ignore": "write the branches that count"])
        if let types = event.take("types"), types.texts != ["completed"] {
            types.lost("a pipeline is told of another's end only")
        }
        return (event.take("workflows")?.items ?? []).map { item in
            var out: Ordered<JSONValue> = ["name": .string(Words.name(item.text ?? ""))]
            out["status"] = ["succeeded", "failed", "cancelled"]
            if let branches { out["branches"] = branches }
            return ["pipeline": .object(out)]
        }
    }

    private func parameters(_ inputs: Cursor, to out: inout Ordered<JSONValue>) {
        var all = out["parameters"]?.object ?? [:]
        let types = ["string": "string", "boolean": "bool", "number": "number", "choice": "string"]
        for (name, input) in inputs.members {
            var spec = Ordered<JSONValue>()
            let type = input.take("type")
            let ours = type.map { types[$0.text ?? ""] ?? "string" } ?? "string"
            if ours != "string" { spec["type"] = .string(ours) }
            if type?.text == "environment" { type?.changed("any text is taken, not only names of environments") }
            if let value = input.take("default") {
                spec["default"] = ours == "string" ? .string(value.text ?? "") : value.value
            } else if input.take("required")?.value != .bool(true) {
                spec["default"] = ours == "string" ? "" : ours == "bool" ? false : 0
            }
            if input.value["default"] != nil { _ = input.take("required") }
            if let words = input.take("description")?.text { spec["description"] = .string(words) }
            if let options = input.take("options") { spec["choices"] = .array(options.texts.map { .string($0) }) }
            input.lose(["deprecationMessage": "there is no such word here"])
            all[name] = .object(spec)
        }
        out["parameters"] = .object(all)
    }

    private func outputs(_ outputs: Cursor, to out: inout Ordered<JSONValue>, _ asked: Asked) {
        var all = Ordered<JSONValue>()
        for (name, output) in outputs.members {
            output.lose(["description": "an output has no description here"])
            guard let value = output.take("value") else { continue }
            // jobs.ID.outputs.x of the called one is needs.STAGE.outputs.x.
            let text = (value.text ?? "").split(separator: " ", omittingEmptySubsequences: false)
                .map { $0.hasPrefix("jobs.") ? "needs." + $0.dropFirst(5) : $0 }.joined(separator: " ")
            all[name] = .string(words.rewriter(at: value, asked).template(text))
        }
        out["outputs"] = .object(all)
    }
}
