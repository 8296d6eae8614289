import Manifests

/// A job of a workflow as a stage with one job of the same name.
struct GitHubJob {
    let id: String
    let cursor: Cursor
    let workflow: GitHubWorkflow
    let defaults: GitHubDefaults
    /// What the workflow's own texts have asked for.
    let shared: Asked

    private var words: GitHubWords { workflow.words }
    private var name: String { words.stages[id] ?? Words.name(id) }

    func stage() -> JSONValue {
        let asked = Asked()
        func rewriter(_ cursor: Cursor) -> ExpressionRewriter { words.rewriter(at: cursor, asked) }
        var stage: Ordered<JSONValue> = ["name": .string(name)]
        if name != id { cursor.changed("a name has small letters here: \"\(name)\"") }
        if let type = Self.type(of: name) { stage["type"] = .string(type) }
        let needs = cursor.take("needs")?.items ?? []
        stage["needs"] = .array(
            needs.compactMap { need in
                if let stage = words.stages[need.text ?? ""] { return .string(stage) }
                need.lost("there is no job \"\(need.text ?? "")\"")
                return nil
            })
        if let condition = cursor.take("if") {
            stage["if"] = .string(rewriter(condition).condition(condition.text ?? ""))
        }
        if let title = cursor.take("name") { title.needless("a job is called by its key: \"\(name)\"") }
        if let place = cursor.take("environment") { stage["environment"] = Self.environment(place) }
        if let concurrency = cursor.take("concurrency") {
            stage["concurrency"] = GitHubWorkflow.concurrency(concurrency, rewriter(concurrency))
        }
        workflow.permissions(of: cursor)
        cursor.lose(["snapshot": "images are not made of runners here"])
        if let uses = cursor.take("uses") {
            stage["uses"] = use(uses, asked)
            return .object(stage)
        }
        stage["jobs"] = .object([name: .object(job(asked))])
        return .object(stage)
    }

    /// What the stage is for, as its name tells.
    static func type(of name: String) -> String? {
        let marks: [(words: [String], type: String)] = [
            (["security", "scan", "codeql", "audit", "sast", "trivy"], "security_scan"),
            (["deploy", "release", "publish", "rollout"], "deploy"),
            (["test", "lint", "check", "spec", "e2e"], "test"), (["build", "compile", "package", "image"], "build"),
        ]
        return marks.first { mark in mark.words.contains { name.contains($0) } }?.type
    }

    static let noExpression =
        "the name of an environment is no expression: write a job for each, with an `if` that says when it is the one"

    private static func environment(_ place: Cursor) -> JSONValue? {
        let written = place.text == nil ? place.take("name") : place
        place.lose([
            "url": "an environment has its address in its own manifest",
            "deployment": "work in an environment is told of",
        ])
        guard let text = written?.text else { return nil }
        guard !text.contains("${{") else {
            written?.lost(noExpression)
            return nil
        }
        return .string(text)
    }

    private func use(_ uses: Cursor, _ asked: Asked) -> JSONValue {
        let text = uses.text ?? ""
        let file = text.split(separator: "/").last.map { $0.split(separator: "@").first.map(String.init) ?? "" } ?? ""
        let other = Words.name(String(file.split(separator: ".").first ?? ""))
        if text.hasPrefix("./") {
            uses.changed("convert \(text.dropFirst(2)) too: it is the pipeline \"\(other)\"")
        } else {
            uses.lost("a pipeline of another repository must be brought here first, as \"\(other)\"")
        }
        var out: Ordered<JSONValue> = ["pipeline": .string(other)]
        var with = Ordered<JSONValue>()
        for (key, value) in cursor.take("with")?.members ?? [] {
            with[key] = value.value.string.map { .string(words.rewriter(at: value, asked).template($0)) } ?? value.value
        }
        if !with.isEmpty { out["with"] = .object(with) }
        if let secrets = cursor.take("secrets") {
            _ = secrets.whole
            secrets.lost("a pipeline that is used names its own secrets")
        }
        if let strategy = cursor.take("strategy") { strategy.lost("a stage that uses a pipeline has no matrix") }
        return .object(out)
    }

    // MARK: The job

    private func job(_ asked: Asked) -> Ordered<JSONValue> {
        func rewriter(_ cursor: Cursor) -> ExpressionRewriter { words.rewriter(at: cursor, asked) }
        var job = Ordered<JSONValue>()
        if let labels = cursor.take("runs-on").map({ runsOn($0, asked) }), !labels.isEmpty {
            job["runs_on"] = ["labels": .array(labels)]
        }
        if let container = cursor.take("container") {
            job["container"] = GitHubContainer(cursor: container, rewriter: rewriter(container)).container
        }
        if let services = cursor.take("services") {
            var all = Ordered<JSONValue>()
            for (key, service) in services.members {
                all[Words.name(key)] = GitHubContainer(cursor: service, rewriter: rewriter(service)).service
            }
            job["services"] = .object(all)
        }
        var variables = GitHubWorkflow.variables(cursor.take("env"), words, asked)
        if let minutes = cursor.take("timeout-minutes") { job["timeout"] = Self.minutes(minutes) }
        if let allowed = cursor.take("continue-on-error") {
            if let flag = allowed.value.bool {
                job["allow_failure"] = .bool(flag)
            } else {
                allowed.lost("whether a failure counts cannot be an expression: it does")
            }
        }
        if let strategy = cursor.take("strategy") { self.strategy(strategy, &job, asked) }
        if GitHubWorkflow.wantsIdentity(cursor) || GitHubWorkflow.wantsIdentity(workflow.root) {
            identity(&job)
        }
        var parts = GitHubParts()
        let own = defaults.overridden(by: GitHubDefaults(cursor.take("defaults")))
        let known = Set(variables.keys).union(workflow.root.value["env"]?.object?.keys ?? [])
        let steps = (cursor.take("steps")?.items ?? []).map { step in
            GitHubStep(
                cursor: step, words: words, asked: asked, defaults: own, artifacts: workflow.artifacts,
                variables: known, isInContainer: job["container"] != nil
            ).step(&parts)
        }
        if let outputs = cursor.take("outputs") {
            job["outputs"] = .object(
                Ordered(
                    outputs.members.map { ($0.key, .string(rewriter($0.value).template($0.value.text ?? ""))) }))
        }
        for (name, value) in asked.variables where variables[name] == nil { variables[name] = value }
        if !variables.isEmpty { job["variables"] = .object(variables.map { .string($0) }) }
        let secrets = asked.secrets + shared.secrets.filter { !asked.secrets.contains($0) }
        if !secrets.isEmpty { job["secrets"] = .array(secrets.map { .string($0) }) }
        if !parts.caches.isEmpty { job["cache"] = .array(parts.caches) }
        job["steps"] = .array(steps.compactMap { $0 })
        if !parts.artifacts.isEmpty { job["artifacts"] = .array(parts.artifacts) }
        return job
    }

    static func minutes(_ cursor: Cursor) -> JSONValue? {
        guard let minutes = cursor.value.double, minutes > 0 else {
            cursor.lost("a time limit cannot be an expression")
            return nil
        }
        return .string(Words.span(seconds: Int(minutes * 60)))
    }

    /// Labels that say more than "a machine of the forge".
    private func runsOn(_ cursor: Cursor, _ asked: Asked) -> [JSONValue] {
        if cursor.value.object != nil {
            cursor.lose(["group": "runners have labels, not groups"])
            return cursor.take("labels").map { runsOn($0, asked) } ?? []
        }
        var labels: [JSONValue] = []
        for item in cursor.items {
            let text = item.text ?? ""
            if text.hasPrefix("ubuntu") {
                item.changed("any runner takes it; for a certain system name an image: `container: IMAGE`")
            } else if ["self-hosted", "linux", "x64"].contains(text.lowercased()) {
                item.needless("every runner is one")
            } else if text.lowercased().contains("fromjson") {
                item.lost("an expression gives one label, not a list of them: any runner takes it")
            } else if text.contains("${{") {
                item.changed("a runner must be there with the label that it gives, \"ubuntu-latest\" or any other")
                labels.append(.string(words.rewriter(at: item, asked).template(text)))
            } else {
                if text.hasPrefix("windows") || text.hasPrefix("macos") {
                    item.changed("a runner with the label \"\(text)\" must be there: runners are Linux")
                }
                labels.append(.string(text))
            }
        }
        return labels
    }

    private func strategy(_ strategy: Cursor, _ job: inout Ordered<JSONValue>, _ asked: Asked) {
        if let matrix = strategy.take("matrix") {
            job["matrix"] = Self.rewritten(matrix, words.rewriter(at: matrix, asked))
        }
        if let flag = strategy.take("fail-fast") {
            if let value = flag.value.bool {
                if !value { job["fail_fast"] = false }
            } else {
                flag.lost("it cannot be an expression: the first failure cancels the other cells")
            }
        }
        if let count = strategy.take("max-parallel") {
            if let value = count.value.int {
                job["max_parallel"] = .integer(Int64(value))
            } else {
                count.lost("how many work at once cannot be an expression")
            }
        }
    }

    /// All of it, texts with expressions rewritten.
    static func rewritten(_ cursor: Cursor, _ rewriter: ExpressionRewriter) -> JSONValue {
        func walk(_ value: JSONValue) -> JSONValue {
            switch value {
            case .string(let text): .string(rewriter.template(text))
            case .array(let items): .array(items.map(walk))
            case .object(let members): .object(members.map(walk))
            default: value
            }
        }
        return walk(cursor.whole)
    }

    private func identity(_ job: inout Ordered<JSONValue>) {
        for place in [cursor, workflow.root] {
            guard place.value["permissions"]?["id-token"] != nil else { continue }
            place.take("permissions")?.take("id-token")?.changed(
                "the token's audience is set here, as `id_token`; steps find it in the file $VAGUS_ID_TOKEN_FILE")
        }
        job["id_token"] = ["audience": "vagus"]
    }
}

/// `container` and a service of `services`.
struct GitHubContainer {
    let cursor: Cursor
    let rewriter: ExpressionRewriter

    var container: JSONValue {
        if let image = cursor.text { return .string(rewriter.template(image)) }
        let out = common
        cursor.lose([
            "ports": "steps and services see each other without", "volumes": "a container sees the workspace and /tmp",
            "options": "what a container may use is said by `runs_on`",
        ])
        if out.count == 1, let image = out["image"] { return image }
        return .object(out)
    }

    var service: JSONValue {
        if let image = cursor.text { return ["image": .string(rewriter.template(image))] }
        var out = common
        var ports: [JSONValue] = []
        for port in cursor.take("ports")?.items ?? [] {
            let parts = (port.text ?? "").split(separator: "/")[0].split(separator: ":")
            guard let inner = parts.last.flatMap({ Int($0) }) else {
                port.lost("a port is a number")
                continue
            }
            if parts.count > 1, parts[0] != parts[parts.count - 1] {
                port.changed("a service is reached at its own port, \(inner)")
            }
            ports.append(.integer(Int64(inner)))
        }
        if !ports.isEmpty { out["ports"] = .array(ports) }
        cursor.lose(["volumes": "a service has no volumes here"])
        if let options = cursor.take("options") { out["health"] = health(options) }
        if out["health"] == nil, !ports.isEmpty { out["health"] = ["tcp": true] }
        return .object(out)
    }

    private var common: Ordered<JSONValue> {
        var out = Ordered<JSONValue>()
        out["image"] = .string(rewriter.template(cursor.take("image")?.text ?? ""))
        if let variables = cursor.take("env")?.members, !variables.isEmpty {
            out["env"] = .object(Ordered(variables.map { ($0.key, .string(rewriter.template($0.value.text ?? ""))) }))
        }
        if let login = cursor.take("credentials") { out["credentials"] = GitHubJob.rewritten(login, rewriter) }
        return out
    }

    /// `--health-cmd "pg_isready" --health-interval 10s --health-timeout 5s --health-retries 5`.
    private func health(_ options: Cursor) -> JSONValue? {
        var out = Ordered<JSONValue>()
        var unknown: [String] = []
        var words = Self.words(options.text ?? "")[...]
        while let word = words.popFirst() {
            let pair = word.split(separator: "=", maxSplits: 1).map(String.init)
            let name = pair.first ?? word
            guard name.hasPrefix("--health-") else {
                unknown.append(word)
                continue
            }
            let value = pair.count > 1 ? pair[1] : words.popFirst() ?? ""
            switch name {
            case "--health-cmd": out["exec"] = .string(value)
            case "--health-interval": out["interval"] = Words.span(value).map { .string($0) }
            case "--health-timeout": out["timeout"] = Words.span(value).map { .string($0) }
            case "--health-retries": out["retries"] = Int64(value).map { .integer($0) }
            default: unknown.append(word)
            }
        }
        if !unknown.isEmpty { options.lost("\(unknown.joined(separator: " ")) has no counterpart") }
        return out["exec"] == nil ? nil : .object(out)
    }

    /// Words as a shell would cut them.
    private static func words(_ text: String) -> [String] {
        var words: [String] = []
        var word: String?
        var quote: Character?
        for character in text {
            if let open = quote {
                if character == open { quote = nil } else { word = (word ?? "") + String(character) }
            } else if character == "\"" || character == "'" {
                quote = character
                word = word ?? ""
            } else if character.isWhitespace {
                if let whole = word { words.append(whole) }
                word = nil
            } else {
                word = (word ?? "") + String(character)
            }
        }
        if let word { words.append(word) }
        return words
    }
}
