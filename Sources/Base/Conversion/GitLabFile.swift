import Manifests

/// A `.gitlab-ci.yml`: each of its jobs as a stage with one job, which waits as GitLab has it wait.
struct GitLabFile {
    let root: Cursor
    let name: String
    /// Jobs with `extends`, `default` and templates worked in, hidden ones left out.
    let jobs: [GitLabSource]
    let stageNames: [String]
    let names: Ordered<String>

    /// Words at the top that are no jobs.
    static let globals: Set<String> = [
        "stages", "variables", "default", "include", "workflow", "image", "services", "cache", "before_script",
        "after_script", "spec", "types",
    ]
    /// What `default`, or the top of the file in old ones, gives to every job.
    static let defaults = [
        "image", "services", "cache", "before_script", "after_script", "tags", "retry", "timeout", "interruptible",
        "artifacts", "hooks", "id_tokens", "identity",
    ]

    init(_ root: Cursor, name: String, include: (String) throws -> YAMLDocument?) throws {
        self.root = root
        self.name = Words.name(name)
        var sources = GitLabSources()
        try Self.read(root, include: include, depth: 0, into: &sources)
        let templates = sources
        jobs = sources.list.filter { !$0.name.hasPrefix(".") }.map { $0.resolved(among: templates) }
        let used = Set(jobs.flatMap(\.templates))
        for source in sources.list where source.name.hasPrefix(".") && !used.contains(source.name) {
            source.cursor.needless("no job uses \"\(source.name)\"")
        }
        let order = root.take("stages")?.texts ?? ["build", "test", "deploy"]
        stageNames = [".pre"] + order.filter { $0 != ".pre" && $0 != ".post" } + [".post"]
        names = Words.names(jobs.map(\.name))
    }

    /// Jobs of the file, after those of the files that it includes.
    private static func read(
        _ root: Cursor, include: (String) throws -> YAMLDocument?, depth: Int, into sources: inout GitLabSources
    ) throws {
        for item in root.take("include")?.items ?? [] {
            let place = item.text.map { ($0, item) } ?? item.take("local").map { ($0.text ?? "", $0) }
            let isLocal = place.map { !$0.0.contains("://") } ?? false
            guard let (path, cursor) = place, isLocal, depth < 10 else {
                _ = item.whole
                item.lost("only files of the same repository are read in: put a copy of it there")
                continue
            }
            guard let document = try include(path.hasPrefix("/") ? String(path.dropFirst()) : path) else {
                cursor.lost("there is no file \"\(path)\" beside this one")
                continue
            }
            if item.value.object != nil {
                item.lose(["rules": "it is read in always", "inputs": "inputs are not filled in"])
            }
            // What is wrong in there is told with the line of the include.
            let ledger = Ledger(document)
            let other = Cursor(value: Merging.merged(document.value), path: [], ledger: ledger)
            try read(other, include: include, depth: depth + 1, into: &sources)
            cursor.changed("read in; convert it alone to see what of it cannot be said")
        }
        let top = Dictionary(
            uniqueKeysWithValues: defaults.compactMap { key in
                (root.take("default")?.take(key) ?? root.take(key)).map { (key, $0) }
            })
        for key in root.value.object?.keys ?? [] where !globals.contains(key) {
            guard let cursor = root.take(key), cursor.value.object != nil else { continue }
            sources[key] = GitLabSource(name: key, cursor: cursor, defaults: top)
        }
    }

    func pipeline() throws -> JSONValue {
        var out = Ordered<JSONValue>()
        out["kind"] = "Pipeline"
        out["name"] = .string(name)
        let shared = GitLabWords()
        let all = jobs.map { GitLabJob(source: $0, file: self, shared: shared) }
        let settings = root.take("variables")
        let parameters = parameters(settings)
        if !parameters.isEmpty { out["parameters"] = .object(parameters) }
        shared.parameters = Set(parameters.keys)
        workflow(&out, shared)
        root.lose(["spec": "inputs of the file are not filled in"])
        if out["triggers"] == nil { out["triggers"] = .array(triggers()) }
        let cancels = !jobs.isEmpty && jobs.allSatisfy { $0.part("interruptible")?.value == .bool(true) }
        for job in jobs { noteInterruptible(job, all: cancels) }
        if cancels {
            out["concurrency"] = [
                "group": .string("\(name)-${{ ref }}"), "limit": 1, "queue": "latest", "cancel_running": "always",
            ]
        }
        var variables = GitLabJob.variables(settings, shared)
        for name in parameters.keys { variables[name] = "${{ parameters.\(name) }}" }
        let stages = all.compactMap { $0.stage() }
        for (key, value) in shared.standIns where variables[key] == nil { variables[key] = value }
        if !variables.isEmpty { out["variables"] = .object(variables.map { .string($0) }) }
        out["stages"] = .array(stages)
        return .object(out)
    }

    /// Variables that GitLab asks for when a person starts a pipeline: those with a description or a list of values.
    private func parameters(_ variables: Cursor?) -> Ordered<JSONValue> {
        var all = Ordered<JSONValue>()
        for (name, variable) in variables?.members ?? [] {
            let value = variable.value["value"]?.scalarText ?? ""
            let isAskedFor = variable.value["options"] != nil || variable.value["description"] != nil
            // A default holds no other variable here.
            guard isAskedFor, !value.contains("$") else { continue }
            _ = variable.take("value")
            var spec: Ordered<JSONValue> = ["default": .string(value)]
            if let text = variable.take("description")?.text { spec["description"] = .string(text) }
            if let options = variable.take("options") { spec["choices"] = .array(options.texts.map { .string($0) }) }
            all[name] = .object(spec)
        }
        return all
    }

    private func noteInterruptible(_ job: GitLabSource, all: Bool) {
        guard let flag = job.part("interruptible"), !all, flag.value == .bool(true) else { return }
        flag.lost("a run is cancelled whole or not: say so in `concurrency` of the pipeline")
    }

    /// GitLab starts a pipeline for every push to a branch or tag; for merge requests when a job says so.
    private func triggers() -> [JSONValue] {
        let text = root.value.text
        var triggers: [JSONValue] = [["push": ["branches": ["**"], "tags": ["**"]]]]
        if text.contains("merge_request") { triggers.append(["pull_request": [:]]) }
        if text.contains("\"schedules\"") || text.contains("\\\"schedule\\\"") {
            root.ledger.note(
                .lost, ["schedule"], "schedules are set in GitLab itself: write a trigger `schedule: { cron: … }`")
        }
        return triggers
    }

    private func workflow(_ out: inout Ordered<JSONValue>, _ words: GitLabWords) {
        guard let workflow = root.take("workflow") else { return }
        workflow.lose(["name": "a run is called by its pipeline and number"])
        if let cancel = workflow.take("auto_cancel") {
            if cancel.take("on_new_commit")?.text == "interruptible" {
                out["concurrency"] = [
                    "group": .string("\(name)-${{ ref }}"), "limit": 1, "queue": "latest", "cancel_running": "always",
                ]
            }
            cancel.lose(["on_job_failure": "a failed job does not end the others"])
        }
        guard let rules = workflow.take("rules") else { return }
        guard let condition = GitLabRules(words: words).condition(rules) else { return }
        guard !condition.contains("vars."), !condition.contains("parameters."), !condition.contains("()") else {
            return rules.lost("a trigger's condition reads `event`, `ref`, `branch` and `tag` only")
        }
        out["triggers"] = .array(
            triggers().map { trigger in
                var members = trigger.object ?? [:]
                // What set it off is known where the trigger is.
                let cause = members["push"] == nil ? "'pull_request'" : "'push'"
                members["if"] = .string(condition.replacing("run.trigger", with: cause))
                return .object(members)
            })
        rules.changed("each trigger has the condition")
    }

    // MARK: Order

    /// Stages of ours that a job waits for when it names none: all jobs of the nearest stage before it that has any.
    func before(_ job: GitLabSource) -> [(name: String, isOptional: Bool)] {
        let own = stageNames.firstIndex(of: job.stage) ?? stageNames.count
        for index in stride(from: own - 1, through: 0, by: -1) {
            let found = jobs.filter { $0.stage == stageNames[index] && !$0.isLeftOut }
            if !found.isEmpty { return found.map { (names[$0.name] ?? $0.name, $0.mayBeAbsent) } }
        }
        return []
    }

    /// Jobs of all stages before it, whose artifacts GitLab would put into its workspace.
    func allBefore(_ job: GitLabSource) -> [GitLabSource] {
        let own = stageNames.firstIndex(of: job.stage) ?? stageNames.count
        return jobs.filter { (stageNames.firstIndex(of: $0.stage) ?? own) < own }
    }
}

/// Jobs and templates by name, later ones of the same name in the place of earlier ones.
struct GitLabSources {
    private(set) var list: [GitLabSource] = []

    subscript(name: String) -> GitLabSource? {
        get { list.first { $0.name == name } }
        set {
            guard let newValue else { return }
            if let index = list.firstIndex(where: { $0.name == name }) {
                list[index] = newValue
            } else {
                list.append(newValue)
            }
        }
    }
}

/// A job as it is written, and what it takes over from others.
struct GitLabSource {
    let name: String
    let cursor: Cursor
    let defaults: [String: Cursor]
    /// Templates that it was made of, the nearest last.
    var bases: [Cursor] = []
    var templates: [String] = []
    /// All jobs and templates, for `!reference`.
    var all = Ordered<JSONValue>()

    func resolved(among sources: GitLabSources) -> GitLabSource {
        var copy = self
        copy.all = Ordered(sources.list.map { ($0.name, $0.cursor.value) })
        var seen: Set<String> = [name]
        func add(_ source: GitLabSource) {
            for base in source.cursor.take("extends")?.items ?? [] {
                let other = base.text ?? ""
                guard seen.insert(other).inserted, let found = sources[other] else {
                    if sources[other] == nil { base.lost("there is no job \"\(other)\" to extend") }
                    continue
                }
                add(found)
                copy.bases.append(found.cursor)
                copy.templates.append(other)
            }
        }
        add(self)
        // Maps are merged key by key, so templates that only give a part of one are still read.
        for (other, value) in copy.all where referenced(in: cursor.value).contains(other) && value.object != nil {
            copy.templates.append(other)
        }
        return copy
    }

    /// `!reference [.name, key]` comes in as a list of names.
    private func referenced(in value: JSONValue) -> Set<String> {
        switch value {
        case .array(let items):
            var found: Set<String> = []
            if items.count >= 2, let first = items[0].string, first.hasPrefix(".") { found.insert(first) }
            return items.reduce(into: found) { $0.formUnion(referenced(in: $1)) }
        case .object(let members): return members.reduce(into: []) { $0.formUnion(referenced(in: $1.value)) }
        default: return []
        }
    }

    /// Its own word, or that of the nearest template, or the default.
    func part(_ key: String) -> Cursor? {
        if let own = cursor.take(key) {
            for base in bases { _ = base.take(key) }
            return own
        }
        for base in bases.reversed() { if let found = base.take(key) { return found } }
        if let inherit = cursor.value["inherit"]?["default"] {
            if inherit == .bool(false) { return nil }
            if let only = inherit.array, !only.contains(.string(key)) { return nil }
        }
        return defaults[key]
    }

    /// Maps of that name, the farthest first: they are merged.
    func parts(_ key: String) -> [Cursor] { bases.compactMap { $0.take(key) } + [cursor.take(key)].compactMap { $0 } }

    var stage: String { part("stage")?.text ?? "test" }

    /// Whether it is never there.
    var isLeftOut: Bool { part("when")?.text == "never" }
    /// Whether a rule may keep it out of a run, and those after it go on without.
    var mayBeAbsent: Bool {
        if let byHand { return !byHand.holdsUp }
        return part("rules") != nil || part("only") != nil || part("except") != nil
    }

    /// A job that a person starts: whether nothing else ever does, and whether those after it wait for that; else nil.
    var byHand: (isAlways: Bool, holdsUp: Bool)? {
        let own = part("when")?.text
        let mayFail = ([cursor] + bases.reversed()).compactMap { $0.value["allow_failure"] }.first
        guard let rules = part("rules") else {
            // Without rules such a job may fail, so that nothing waits for it, unless the file says otherwise.
            return own == "manual" ? (isAlways: true, holdsUp: mayFail == .bool(false)) : nil
        }
        let list = (GitLabScript.expanded(rules.value, all).array ?? []).flatMap { $0.array ?? [$0] }
        let whens = list.map { $0["when"]?.string ?? own ?? "on_success" }
        guard whens.contains("manual") else { return nil }
        let holdsUp = zip(list, whens).contains { rule, when in
            when == "manual" && (rule["allow_failure"] ?? mayFail) != .bool(true)
        }
        return (isAlways: whens.allSatisfy { $0 == "manual" || $0 == "never" }, holdsUp: holdsUp)
    }
}
