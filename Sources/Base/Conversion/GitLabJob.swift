import Manifests

/// A job of GitLab as a stage with one job of the same name.
struct GitLabJob {
    let source: GitLabSource
    let file: GitLabFile
    let shared: GitLabWords

    private var name: String { file.names[source.name] ?? Words.name(source.name) }

    /// Nil for a job that is never there.
    func stage() -> JSONValue? {
        _ = source.part("stage")
        if source.isLeftOut {
            source.cursor.needless("it never runs")
            return nil
        }
        var stage: Ordered<JSONValue> = ["name": .string(name)]
        if name != source.name { source.cursor.changed("a name has small letters here: \"\(name)\"") }
        if let type = GitHubJob.type(of: source.stage) ?? GitHubJob.type(of: name) { stage["type"] = .string(type) }
        stage["needs"] = needs()
        if let condition = condition() { stage["if"] = .string(condition) }
        if let place = source.part("environment") { stage["environment"] = environment(place) }
        if let group = source.part("resource_group") {
            stage["concurrency"] = [
                "group": .string(shared.text(group.text ?? "", at: group)), "limit": 1, "queue": "fifo",
            ]
        }
        for (key, reason) in [
            ("coverage", "a number in the output is not looked for: use `reports: { coverage: FILE }`"),
            ("release", "make the release in a script"), ("pages", "publish the files in a script"),
            ("publish", "publish the files in a script"), ("hooks", "write it into the script"),
            ("identity", "ask for an identity token: `id_token`"), ("dast_configuration", "write it into the script"),
            ("secrets", "name secrets of the project: `secrets: [NAME]`"), ("manual_confirmation", "a gate asks"),
            ("start_in", "nothing waits for a time alone: use a gate's `wait`"), ("inputs", "inputs are not filled in"),
            ("run", "steps of this form are not read: write a script"),
        ] {
            guard let part = source.part(key) else { continue }
            _ = part.whole
            part.lost(reason)
        }
        if let inherit = source.cursor.take("inherit") {
            if let flag = inherit.take("default") { _ = flag.whole }
            if let variables = inherit.take("variables") {
                _ = variables.whole
                variables.lost("the pipeline's variables are those of all jobs")
            }
        }
        if let trigger = source.part("trigger") {
            stage["uses"] = use(trigger)
            return .object(stage)
        }
        stage["jobs"] = .object([name: .object(job())])
        return .object(stage)
    }

    // MARK: When

    private func needs() -> JSONValue {
        guard let needs = source.part("needs") else {
            return .array(
                file.before(source).map {
                    $0.isOptional ? ["stage": .string($0.name), "optional": true] : .string($0.name)
                })
        }
        var all: [JSONValue] = []
        for need in needs.items {
            let other = need.text ?? need.take("job")?.text ?? ""
            need.lose([
                "pipeline": "artifacts of another pipeline are not fetched",
                "project": "artifacts of another project are not fetched",
                "ref": "artifacts of another project are not fetched", "artifacts": "see the steps that fetch",
            ])
            guard let stage = file.names[other] else {
                if need.value["pipeline"] == nil, need.value["project"] == nil {
                    need.lost("there is no job \"\(other)\"")
                }
                continue
            }
            var spec: Ordered<JSONValue> = ["stage": .string(stage)]
            if let optional = need.take("optional"), optional.value == .bool(true) {
                if file.jobs.first(where: { $0.name == other })?.byHand == nil {
                    spec["optional"] = true
                } else {
                    optional.changed("a person starts \(other): this does not go on without it")
                }
            }
            if let cells = need.take("parallel")?.take("matrix")?.whole.array?.first?.object {
                spec["job"] = .string(stage)
                spec["matrix"] = .object(cells.map { $0.array?.first ?? $0 })
                if cells.contains(where: { ($0.value.array?.count ?? 1) > 1 }) {
                    need.changed("only the first of several values is waited for")
                }
            }
            all.append(spec.count == 1 ? .string(stage) : .object(spec))
        }
        return .array(all)
    }

    private func condition() -> String? {
        let rules = GitLabRules(words: shared)
        let when = source.part("when")
        let isByHand = when?.text == "manual"
        var condition: String?
        if let list = source.part("rules") {
            condition = rules.condition(expanded(list), otherwise: isByHand ? when : nil)
        } else {
            condition = rules.condition(only: source.part("only"), except: source.part("except"))
            if isByHand {
                when?.lost(GitLabRules.byHand(condition))
                return "false"
            }
        }
        let status: String
        switch when?.text {
        case "always": status = "always()"
        case "on_failure": status = "failure()"
        case "delayed":
            when?.lost(GitLabRules.noDelay)
            return condition
        default: return condition
        }
        return condition.map { "\(status) && (\($0))" } ?? status
    }

    /// `!reference [.name, rules]` read in.
    private func expanded(_ cursor: Cursor) -> Cursor {
        Cursor(value: GitLabScript.expanded(cursor.value, source.all), path: cursor.path, ledger: cursor.ledger)
    }

    private func environment(_ place: Cursor) -> JSONValue? {
        let written = place.text == nil ? place.take("name") : place
        place.lose([
            "url": "an environment has its address in its own manifest",
            "on_stop": "make the stop a pipeline of its own",
            "action": "work in an environment is a deployment", "auto_stop_in": "an environment does not end by itself",
            "deployment_tier": "an environment has its `tier` in its own manifest",
        ])
        if let cluster = place.take("kubernetes") {
            _ = cluster.whole
            cluster.lost("an environment has its targets in its own manifest")
        }
        guard let text = written?.text else { return nil }
        guard !text.contains("$") else {
            written?.lost(GitHubJob.noExpression)
            return nil
        }
        return .string(text)
    }

    private func use(_ trigger: Cursor) -> JSONValue {
        let include = trigger.take("include")
        let local = include?.text ?? include?.items.first?.take("local")?.text
        trigger.lose([
            "strategy": "a stage that uses a pipeline always waits for it", "forward": "give values in `with`",
            "branch": "a pipeline of the project is used as it is declared", "inputs": "give values in `with`",
        ])
        let other: String
        if let local {
            other = Words.name(String((local.split(separator: "/").last ?? "").split(separator: ".").first ?? ""))
            trigger.changed("convert \(local) too: it is the pipeline \"\(other)\"")
        } else {
            let project = (trigger.text ?? trigger.take("project")?.text) ?? ""
            other = Words.name(String(project.split(separator: "/").last ?? ""))
            trigger.lost("another project's pipeline must be declared here as \"\(other)\"")
        }
        return ["pipeline": .string(other)]
    }

    // MARK: What

    static func variables(_ cursor: Cursor?, _ words: GitLabWords) -> Ordered<String> {
        var all = Ordered<String>()
        for (name, value) in cursor?.members ?? [] {
            value.lose(["expand": "`$` is read by the shell only"])
            if !words.parameters.contains(name) {
                value.lose([
                    "description": "it is not asked for: make it one of `parameters`", "options": "any value is taken",
                ])
            }
            let text = value.text ?? value.take("value")?.text ?? ""
            // Another variable in it: the shell does not look into values.
            all[name] = text.contains("$") ? words.text(text, at: value) : text
        }
        return all
    }

    private func job() -> Ordered<JSONValue> {
        var job = Ordered<JSONValue>()
        let parts = GitLabParts(words: shared, source: source, name: name)
        if let tags = source.part("tags"), !tags.texts.isEmpty {
            job["runs_on"] = ["labels": .array(tags.texts.map { .string(shared.text($0, at: tags)) })]
        }
        if let image = source.part("image") { job["container"] = parts.container(image) }
        if let services = source.part("services") { job["services"] = parts.services(services) }
        var variables = Ordered<String>()
        for part in source.parts("variables") {
            for (key, value) in Self.variables(part, shared) { variables[key] = value }
        }
        if let timeout = source.part("timeout") {
            job["timeout"] = Words.span(timeout.text ?? "").map { .string($0) }
            if job["timeout"] == nil { timeout.lost("it is no length of time") }
        }
        if let retry = source.part("retry") { job["retry"] = parts.retry(retry) }
        if let allowed = source.part("allow_failure") {
            job["allow_failure"] =
                allowed.take("exit_codes").map {
                    ["exit_codes": .array($0.items.compactMap { $0.value.int.map { .integer(Int64($0)) } })]
                } ?? allowed.value
        }
        if let parallel = source.part("parallel") { parts.parallel(parallel, &job, &variables) }
        if let tokens = source.part("id_tokens") { parts.identity(tokens, &job) }
        if let cache = source.part("cache") { job["cache"] = parts.caches(cache) }
        let dotenv = parts.dotenv
        for need in needed {
            for name in need.dotenvNames { variables[name] = "${{ needs.\(need.stage).outputs.\(name) }}" }
        }
        job["steps"] = .array(steps(parts, dotenv, &variables))
        if !dotenv.names.isEmpty {
            job["outputs"] = .object(
                Ordered(dotenv.names.map { ($0, .string("${{ steps.dotenv.outputs.\($0) }}")) }))
        }
        if !variables.isEmpty { job["variables"] = .object(variables.map { .string($0) }) }
        if let artifacts = source.part("artifacts") { parts.artifacts(artifacts, &job) }
        return job
    }

    /// Jobs whose files it gets.
    private var needed: [(stage: String, hasFiles: Bool, dotenvNames: [String])] {
        var wanted: [GitLabSource]
        if let needs = source.part("needs") {
            let names = (needs.value.array ?? [needs.value]).filter { $0["artifacts"] != .bool(false) }
                .compactMap { $0.string ?? $0["job"]?.string }
            wanted = file.jobs.filter { names.contains($0.name) }
        } else {
            // Those that never run by themselves leave nothing behind.
            wanted = file.allBefore(source).filter { $0.byHand?.isAlways != true }
        }
        if let dependencies = source.part("dependencies") {
            let names = dependencies.texts
            wanted = wanted.filter { names.contains($0.name) }
        }
        return wanted.map { other in
            let parts = GitLabParts(words: shared, source: other, name: file.names[other.name] ?? "")
            return (parts.name, other.part("artifacts")?.value["paths"] != nil, parts.dotenv.names)
        }
    }

    private func steps(
        _ parts: GitLabParts, _ dotenv: (file: String?, names: [String]), _ variables: inout Ordered<String>
    ) -> [JSONValue] {
        var steps: [JSONValue] = []
        let strategy = variables["GIT_STRATEGY"] ?? file.root.value["variables"]?["GIT_STRATEGY"]?.scalarText
        if strategy != "none", strategy != "empty" {
            let depth = variables["GIT_DEPTH"] ?? file.root.value["variables"]?["GIT_DEPTH"]?.scalarText
            let modules =
                variables["GIT_SUBMODULE_STRATEGY"]
                ?? file.root.value["variables"]?["GIT_SUBMODULE_STRATEGY"]?.scalarText
            var spec = Ordered<JSONValue>()
            if let depth = depth.flatMap({ Int64($0) }) { spec["depth"] = .integer(depth) }
            if modules == "recursive" { spec["submodules"] = "recursive" }
            if modules == "normal" { spec["submodules"] = true }
            steps.append(["checkout": spec.isEmpty ? true : .object(spec)])
        }
        for need in needed where need.hasFiles { steps.append(["fetch": .string("\(need.stage).\(need.stage)")]) }
        let known = Set(variables.keys).union(file.root.value["variables"]?.object?.keys ?? [])
        let scripts = [source.part("before_script"), source.part("script")].compactMap { $0 }
            .map { GitLabScript(cursor: $0, source: source, words: shared, known: known) }.filter { !$0.text.isEmpty }
        if let first = scripts.first {
            let script = first.asThere(scripts.map(\.text).joined(separator: "\n"))
            steps.append(["name": "script", "run": .string(script + "\n")])
        }
        if let file = dotenv.file, !dotenv.names.isEmpty {
            steps.append(["id": "dotenv", "name": "dotenv", "run": .string("cat \(file) >> \"$VAGUS_OUTPUT\"\n")])
        }
        if let after = source.part("after_script") {
            let script = GitLabScript(cursor: after, source: source, words: shared, known: known)
            let text = script.text
            if !text.isEmpty {
                steps.append([
                    "name": "after_script", "if": "always()", "continue_on_error": true,
                    "run": .string(script.asThere(text) + "\n"),
                ])
            }
        }
        return steps
    }
}

/// Lines of a script, references read in.
struct GitLabScript {
    let cursor: Cursor
    let source: GitLabSource
    let words: GitLabWords
    /// Variables that the job and the pipeline set.
    let known: Set<String>

    var text: String {
        _ = cursor.whole
        return Self.lines(Self.expanded(cursor.value, source.all))
            .map { words.script($0, at: cursor, known: known) }.joined(separator: "\n")
    }

    /// As the shell there reads it, which minds failures within pipes, yet no variable that is not set.
    func asThere(_ text: String) -> String {
        let whole = ShellOptions(mindsPipes: true).applied(
            to: text, isBash: true, known: known.union(words.standIns.keys))
        if whole != text { cursor.changed(once: ShellOptions.reason) }
        return whole
    }

    private static func lines(_ value: JSONValue) -> [String] {
        if let items = value.array { return items.flatMap(lines) }
        return value.scalarText.map { [$0.hasSuffix("\n") ? String($0.dropLast()) : $0] } ?? []
    }

    /// `!reference [.name, key]` comes in as the list [.name, key]: what it means in its place.
    static func expanded(_ value: JSONValue, _ all: Ordered<JSONValue>, depth: Int = 0) -> JSONValue {
        guard let items = value.array, depth < 10 else { return value }
        if items.count >= 2, let first = items[0].string, all[first] != nil, items.allSatisfy({ $0.string != nil }) {
            let found = items.dropFirst().reduce(all[first]) { place, key in place?[key.string ?? ""] }
            if let found { return expanded(found, all, depth: depth + 1) }
        }
        return .array(
            items.flatMap { item -> [JSONValue] in
                guard item.array != nil else { return [item] }
                return expanded(item, all, depth: depth + 1).array ?? [item]
            })
    }
}
