import Manifests

/// `uses`: actions that we have a verb, a part of a job, or a script for.
struct GitHubActions {
    let uses: Cursor
    let step: GitHubStep

    /// Programs that `setup-*` actions bring, and how each tells its version.
    private static let programs = [
        "actions/setup-node": "node --version", "actions/setup-python": "python3 --version",
        "actions/setup-go": "go version", "actions/setup-java": "java -version",
        "actions/setup-dotnet": "dotnet --version",
        "ruby/setup-ruby": "ruby --version", "swift-actions/setup-swift": "swift --version",
        "dtolnay/rust-toolchain": "rustc --version", "actions-rs/toolchain": "rustc --version",
        "pnpm/action-setup": "pnpm --version", "astral-sh/setup-uv": "uv --version",
        "shivammathur/setup-php": "php --version", "hashicorp/setup-terraform": "terraform version",
        "azure/setup-helm": "helm version", "gradle/actions/setup-gradle": "gradle --version",
        "oven-sh/setup-bun": "bun --version", "denoland/setup-deno": "deno --version",
    ]

    /// "actions/cache" of "actions/cache@v4".
    static func name(of uses: String) -> String { String(uses.split(separator: "@").first ?? "") }

    static func artifactName(_ text: String) -> String {
        guard !text.contains("${{") else { return text }
        return Words.name(text)
    }

    private var with: Cursor? { step.cursor.take("with") }

    func step(_ head: Ordered<JSONValue>, _ parts: inout GitHubParts) -> JSONValue? {
        let name = Self.name(of: uses.text ?? "")
        switch name {
        case "actions/checkout": return checkout(head)
        case "actions/cache", "actions/cache/restore", "actions/cache/save":
            parts.caches += [cache(head, isWhole: name == "actions/cache")].compactMap { $0 }
            return nil
        case "actions/upload-artifact":
            parts.artifacts.append(upload(head))
            return nil
        case "actions/download-artifact": return download(head)
        case _ where Self.programs[name] != nil: return setup(head, name)
        default: return unknown(head, name)
        }
    }

    private func rewritten(_ cursor: Cursor?) -> String? {
        cursor.map { step.words.rewriter(at: $0, step.asked).template($0.text ?? "") }
    }

    /// Settings that have no counterpart.
    private func lose(_ keys: [String]) {
        for key in keys { with?.take(key)?.lost("\(Self.name(of: uses.text ?? "")) has no \"\(key)\" here") }
    }

    private func checkout(_ head: Ordered<JSONValue>) -> JSONValue {
        var out = head
        var spec = Ordered<JSONValue>()
        if let depth = with?.take("fetch-depth") {
            spec["depth"] = depth.value.int.map { .integer(Int64($0)) }
            if depth.value.int == nil { depth.lost("a depth is a number") }
        }
        for key in ["ref", "path"] { if let text = rewritten(with?.take(key)) { spec[key] = .string(text) } }
        if let repository = with?.take("repository") {
            let name = Words.name(repository.text?.split(separator: "/").last.map(String.init) ?? "")
            spec["repository"] = .string(name)
            repository.changed("make it a Repository \"\(name)\" of the project")
        }
        if let submodules = with?.take("submodules") {
            spec["submodules"] = submodules.text == "recursive" ? "recursive" : .bool(submodules.text == "true")
        }
        if let lfs = with?.take("lfs") { spec["lfs"] = .bool(lfs.text == "true") }
        with?.take("persist-credentials")?.needless("no credentials are left in the workspace")
        with?.take("token")?.needless("the runner is given what it needs to fetch")
        lose([
            "ssh-key", "ssh-known-hosts", "ssh-strict", "clean", "filter", "sparse-checkout",
            "sparse-checkout-cone-mode", "fetch-tags", "show-progress", "set-safe-directory", "github-server-url",
            "ssh-user",
        ])
        out["checkout"] = spec.isEmpty ? true : .object(spec)
        return .object(out)
    }

    /// Folders of theirs that begin with `~` lie outside of the workspace, where a cache cannot reach.
    private func cache(_ head: Ordered<JSONValue>, isWhole: Bool) -> JSONValue? {
        var out = Ordered<JSONValue>()
        out["key"] = .string(rewritten(with?.take("key")) ?? "")
        if let restore = with?.take("restore-keys") {
            let lines = (rewritten(restore) ?? "").split(separator: "\n").map { String($0).trimmed }.filter {
                !$0.isEmpty
            }
            out["restore"] = .array(lines.map { .string($0) })
        }
        var paths: [JSONValue] = []
        if let path = with?.take("path") {
            for line in (rewritten(path) ?? "").split(separator: "\n").map({ String($0).trimmed }) where !line.isEmpty {
                if line.hasPrefix("~") || line.hasPrefix("/") || line.hasPrefix("!") || line.contains("..") {
                    path.lost("\"\(line)\": a cache holds folders of the workspace; set the tool's own folder there")
                } else {
                    paths.append(.string(line))
                }
            }
        }
        if !isWhole { uses.changed("a cache is looked for at the beginning of a job and saved at its end") }
        if let id = step.cursor.value["id"]?.scalarText {
            uses.lost("steps.\(id).outputs.cache-hit is not told: the cache is a part of the job")
        }
        if head["if"] != nil { step.cursor.take("if")?.lost("a cache has no condition") }
        lose(["enableCrossOsArchive", "fail-on-cache-miss", "lookup-only", "upload-chunk-size", "save-always"])
        guard !paths.isEmpty else { return nil }
        out["paths"] = .array(paths)
        return .object(out)
    }

    private func upload(_ head: Ordered<JSONValue>) -> JSONValue {
        var out = Ordered<JSONValue>()
        let name = rewritten(with?.take("name")) ?? "artifact"
        out["name"] = .string(Self.artifactName(name))
        let lines = (rewritten(with?.take("path")) ?? "").split(separator: "\n").map { String($0).trimmed }
            .filter { !$0.isEmpty }
        let paths = lines.filter { !$0.hasPrefix("!") }
        for path in paths where path.hasPrefix("/") || path.hasPrefix("~") {
            with?.take("path")?.lost("\"\(path)\": an artifact holds files of the workspace")
        }
        out["paths"] = .array(paths.filter { !$0.hasPrefix("/") && !$0.hasPrefix("~") }.map { .string($0.withoutDot) })
        let exclude = lines.filter { $0.hasPrefix("!") }.map { String($0.dropFirst()).withoutDot }
        if !exclude.isEmpty { out["exclude"] = .array(exclude.map { .string($0) }) }
        if let days = with?.take("retention-days") {
            out["expire"] = days.value.int.map { .string("\(max(1, $0))d") }
        }
        if let missing = with?.take("if-no-files-found") { out["if_missing"] = .string(missing.text ?? "warn") }
        switch head["if"]?.string {
        case nil: out["when"] = "success"
        case "always()", "!cancelled()", "success() || failure()": out["when"] = "always"
        case "failure()": out["when"] = "failure"
        case "success()": out["when"] = "success"
        default:
            out["when"] = "always"
            step.cursor.take("if")?.lost("an artifact is kept by how the job ended: `when`")
        }
        lose(["compression-level", "overwrite", "include-hidden-files"])
        return .object(out)
    }

    private func download(_ head: Ordered<JSONValue>) -> JSONValue {
        var out = head
        let name = with?.take("name")
        lose(["pattern", "merge-multiple", "github-token", "repository", "run-id", "artifact-ids"])
        let path = rewritten(with?.take("path"))
        guard let text = name?.text, let place = step.artifacts[text] else {
            (name ?? uses).lost(
                "no job of this file leaves \"\(name?.text ?? "all of them")\" behind: name one, as stage.name")
            return failing(out, "download-artifact \(name?.text ?? "of all artifacts")")
        }
        if let path, path != "." {
            out["fetch"] = ["artifact": .string(place), "to": .string(path.withoutDot)]
        } else {
            out["fetch"] = .string(place)
        }
        return .object(out)
    }

    /// Tools come with the image or the runner: the step tells whether they are there.
    private func setup(_ head: Ordered<JSONValue>, _ name: String) -> JSONValue {
        var out = head
        let settings = with?.whole.object ?? [:]
        let wanted = settings.first { $0.key.hasSuffix("version") || $0.key == "toolchain" }?.value.scalarText
        let version = wanted.map { " \(step.words.rewriter(at: uses, step.asked).template($0))" } ?? ""
        if out["name"] == nil { out["name"] = .string("\(name.split(separator: "/").last ?? "")\(version)") }
        uses.lost(
            "nothing is installed: name an image that has it (`container:`), or use a runner that does; the step tells its version"
        )
        out["run"] = .string(Self.programs[name] ?? "true")
        return .object(out)
    }

    private func unknown(_ head: Ordered<JSONValue>, _ name: String) -> JSONValue {
        if let with = step.cursor.take("with") {
            _ = with.whole
            with.lost("settings of an action that is not run")
        }
        if name.hasPrefix("docker://") {
            uses.lost("a step runs in the container of its job: `container: \(name.dropFirst(9))`")
        } else if name.hasPrefix("./") {
            uses.lost("write the steps of the action \(name) here")
        } else {
            uses.lost("actions are not run: put a script in its place")
        }
        return failing(head, uses.text ?? name)
    }

    /// A step that fails with a word is better than one that is not there.
    private func failing(_ head: Ordered<JSONValue>, _ what: String) -> JSONValue {
        var out = head
        if out["name"] == nil { out["name"] = .string("was: \(what)") }
        out["run"] = .string(
            "echo \"::error::this step was '\(what.replacing("\"", with: "").replacing("$", with: ""))'"
                + " and has not been replaced yet\"\nexit 1\n")
        return .object(out)
    }
}

extension String {
    /// "./out" is "out".
    var withoutDot: String { hasPrefix("./") && count > 2 ? String(dropFirst(2)) : self }
}
