import Manifests

/// Parts of a job that have a form of their own.
struct GitLabParts {
    let words: GitLabWords
    let source: GitLabSource
    let name: String

    func container(_ image: Cursor) -> JSONValue {
        image.lose([
            "entrypoint": "steps are run by a shell", "docker": "what a container may use is said by `runs_on`",
            "kubernetes": "what a container may use is said by `runs_on`",
        ])
        let text = words.text((image.text ?? image.take("name")?.text) ?? "", at: image)
        guard let pull = image.take("pull_policy") else { return .string(text) }
        let policies = ["always": "always", "if-not-present": "missing", "never": "never"]
        guard let policy = policies[pull.texts.first ?? ""] else { return .string(text) }
        return ["image": .string(text), "pull": .string(policy)]
    }

    func services(_ services: Cursor) -> JSONValue {
        var all = Ordered<JSONValue>()
        for service in services.items {
            let image = words.text((service.text ?? service.take("name")?.text) ?? "", at: service)
            let alias = service.take("alias")?.text
            let base = image.split(separator: "/").last?.split(separator: ":").first.map(String.init) ?? image
            var out: Ordered<JSONValue> = ["image": .string(image)]
            if let command = service.take("command") { out["command"] = .array(command.texts.map { .string($0) }) }
            if let variables = service.take("variables") {
                out["env"] = .object(GitLabJob.variables(variables, words).map { .string($0) })
            }
            service.lose([
                "entrypoint": "a service is started by its command", "pull_policy": "images are fetched when missing",
                "docker": "there is no such word here", "kubernetes": "there is no such word here",
            ])
            service.changed("its environment and ports are said here: `env`, `ports`, `health`")
            all[Words.name(alias ?? base)] = .object(out)
        }
        return .object(all)
    }

    func retry(_ retry: Cursor) -> JSONValue {
        if let count = retry.value.int { return ["max": .integer(Int64(count)), "for": ["failure", "timeout"]] }
        var out: Ordered<JSONValue> = ["max": .integer(Int64(retry.take("max")?.value.int ?? 0))]
        var causes: [JSONValue] = []
        for when in retry.take("when")?.items ?? [] {
            let found: [JSONValue] =
                switch when.text ?? "" {
                case "always": ["failure", "timeout", "runner_lost"]
                case "script_failure": ["failure"]
                case "job_execution_timeout", "stuck_or_timeout_failure": ["timeout"]
                case "runner_system_failure", "unknown_failure", "api_failure", "runner_unsupported",
                    "scheduler_failure":
                    ["runner_lost"]
                default: []
                }
            if found.isEmpty { when.lost("there is no such cause here") }
            causes += found.filter { !causes.contains($0) }
        }
        if let codes = retry.take("exit_codes") {
            out["exit_codes"] = .array(codes.items.compactMap { $0.value.int.map { .integer(Int64($0)) } })
        }
        let hasCodes = out["exit_codes"] != nil
        if !causes.isEmpty || !hasCodes { out["for"] = .array(causes.isEmpty ? ["failure", "timeout"] : causes) }
        return .object(out)
    }

    func parallel(_ parallel: Cursor, _ job: inout Ordered<JSONValue>, _ variables: inout Ordered<String>) {
        // All cells run to their end in GitLab.
        job["fail_fast"] = false
        if let count = parallel.value.int {
            job["matrix"] = ["index": .array((1...max(1, min(count, 200))).map { .integer(Int64($0)) })]
            variables["CI_NODE_INDEX"] = "${{ matrix.index }}"
            variables["CI_NODE_TOTAL"] = "\(count)"
            return
        }
        guard let matrix = parallel.take("matrix") else { return }
        var cells: [JSONValue] = []
        for entry in matrix.whole.array ?? [] {
            var product: [Ordered<JSONValue>] = [[:]]
            for (key, value) in entry.object ?? [:] {
                product = product.flatMap { cell in
                    (value.array ?? [value]).map { one in
                        var next = cell
                        next[key] = .string(one.scalarText ?? "")
                        return next
                    }
                }
                variables[key] = "${{ matrix.\(key) }}"
            }
            cells += product.map { .object($0) }
        }
        let lists = matrix.value.array?.first?.object
        if matrix.value.array?.count == 1, let lists {
            job["matrix"] = .object(
                lists.map { value in .array((value.array ?? [value]).map { .string($0.scalarText ?? "") }) })
        } else {
            job["matrix"] = ["include": .array(cells)]
        }
    }

    func identity(_ tokens: Cursor, _ job: inout Ordered<JSONValue>) {
        for (index, (key, token)) in tokens.members.enumerated() {
            let audience = token.take("aud")?.texts.first ?? "vagus"
            if index == 0 {
                job["id_token"] = ["audience": .string(words.text(audience, at: token))]
                token.changed("steps find it in the file $VAGUS_ID_TOKEN_FILE, not in $\(key)")
            } else {
                token.lost("a job has one identity token")
            }
        }
    }

    func caches(_ cache: Cursor) -> JSONValue {
        .array(
            cache.items.compactMap { item in
                var out = Ordered<JSONValue>()
                let key = item.take("key")
                if let files = key?.take("files") {
                    let list = files.texts.map { "'\($0.replacingQuotes)'" }.joined(separator: ", ")
                    let prefix = key?.take("prefix").map { words.text($0.text ?? "", at: $0) + "-" } ?? ""
                    out["key"] = .string("\(prefix)${{ hashFiles(\(list)) }}")
                } else {
                    out["key"] = .string(key.map { words.text($0.text ?? "default", at: $0) } ?? "default")
                }
                if let others = item.take("fallback_keys") {
                    out["restore"] = .array(others.texts.map { .string(words.text($0, at: others)) })
                }
                out["paths"] = .array((item.take("paths")?.texts ?? []).map { .string(cleanFolder($0)) })
                if let when = item.take("when") { out["when"] = Self.when(when) }
                if let policy = item.take("policy"), policy.text != "pull-push" {
                    policy.lost("a cache is looked for at the beginning of a job and saved at its end")
                }
                item.lose(["untracked": "name the paths", "unprotect": "a protected branch's cache is its own"])
                return out["paths"]?.array?.isEmpty == false ? .object(out) : nil
            })
    }

    private func cleanFolder(_ path: String) -> String {
        let plain = path.replacing("$CI_PROJECT_DIR/", with: "").withoutDot
        return plain.hasSuffix("/") ? String(plain.dropLast()) : plain
    }

    private static func when(_ cursor: Cursor) -> JSONValue {
        .string(["on_success": "success", "on_failure": "failure", "always": "always"][cursor.text ?? ""] ?? "success")
    }

    func artifacts(_ artifacts: Cursor, _ job: inout Ordered<JSONValue>) {
        var out: Ordered<JSONValue> = ["name": .string(name)]
        let paths = artifacts.take("paths")?.texts ?? []
        out["paths"] = .array(paths.map { .string(words.text(cleanFolder($0), at: artifacts)) })
        if let exclude = artifacts.take("exclude") {
            out["exclude"] = .array(exclude.texts.map { .string(cleanFolder($0)) })
        }
        if let expire = artifacts.take("expire_in"), expire.text != "never" {
            out["expire"] = Words.span(expire.text ?? "").map { .string($0) }
            if out["expire"] == nil { expire.lost("it is no length of time") }
        }
        out["when"] = artifacts.take("when").map(Self.when) ?? "success"
        if let title = artifacts.take("name") { title.needless("an artifact is called by its job: \(name).\(name)") }
        artifacts.lose([
            "untracked": "name the paths", "expose_as": "artifacts are shown with their run",
            "public": "who reads it is said by tokens",
            "access": "who reads it is said by tokens",
        ])
        if !paths.isEmpty { job["artifacts"] = [.object(out)] }
        guard let reports = artifacts.take("reports") else { return }
        var ours = Ordered<JSONValue>()
        for (key, report) in reports.members {
            switch key {
            case "junit":
                ours["junit"] = .string(cleanFolder(report.texts.first ?? ""))
                if report.texts.count > 1 { report.lost("only the first: write one pattern for all of them") }
            case "coverage_report":
                report.take("coverage_format")?.needless("the form is told by the file itself")
                ours["coverage"] = .string(cleanFolder(report.take("path")?.text ?? ""))
            case "dotenv":
                if dotenv.names.isEmpty {
                    report.lost("write the values to $VAGUS_OUTPUT and name them in `outputs`")
                } else {
                    report.changed("the values \(dotenv.names.joined(separator: ", ")) are outputs of the job")
                }
            default:
                _ = report.whole
                report.lost("keep the file as an artifact")
            }
        }
        if !ours.isEmpty { job["reports"] = .object(ours) }
    }

    /// The file of `reports: dotenv`, and the names that the script seems to write there: `echo "NAME=…" >> FILE`.
    var dotenv: (file: String?, names: [String]) {
        guard let report = source.part("artifacts")?.value["reports"]?["dotenv"],
            let file = report.string ?? report.array?.first?.string
        else { return (nil, []) }
        var names: [String] = []
        for part in ["before_script", "script"] {
            guard let script = source.part(part) else { continue }
            let lines =
                GitLabScript.expanded(script.value, source.all).array?.compactMap(\.string) ?? [script.text ?? ""]
            for line in lines.flatMap({ $0.split(separator: "\n") }) where line.contains(file) {
                guard let echo = line.split(separator: " ", maxSplits: 1).last,
                    line.hasPrefix("echo") || line.hasPrefix("printf")
                else { continue }
                let word = echo.drop { "\"' ".contains($0) }
                let name = word.prefix { $0 == "_" || ($0.isASCII && ($0.isLetter || $0.isNumber)) }
                if !name.isEmpty, word.dropFirst(name.count).first == "=", !names.contains(String(name)) {
                    names.append(String(name))
                }
            }
        }
        return (file, names)
    }
}
