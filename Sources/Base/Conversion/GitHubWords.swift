import Manifests

/// What the texts of a job have asked for while they were rewritten.
final class Asked {
    private(set) var secrets: [String] = []
    /// Variables that stand in for what their system defines and ours does not.
    var variables = Ordered<String>()

    func secret(_ name: String) { if !secrets.contains(name) { secrets.append(name) } }
}

/// Contexts and variables of GitHub Actions in our words.
struct GitHubWords {
    /// Their job → our stage.
    var stages: Ordered<String>

    func rewriter(at place: Cursor, _ asked: Asked) -> ExpressionRewriter {
        ExpressionRewriter(
            path: { self.path($0, $1, asked, at: place) },
            literal: Self.literal,
            lost: { place.lost("the expression reads \"\($0)\", which there is not: it is null now") },
            loose: { path in
                guard Self.isResult(path) else { return }
                place.changed("it tells succeeded and failed where GitHub says success and failure")
            })
    }

    private func path(_ parts: [String], _ written: String, _ asked: Asked, at place: Cursor) -> String? {
        /// As written, behind so many names.
        func rest(after count: Int) -> String {
            var text = written[...]
            for index in 0..<count {
                if index > 0 { text = text.dropFirst() }
                text = text.drop { $0 == "_" || $0 == "-" || ($0.isASCII && ($0.isLetter || $0.isNumber)) }
            }
            return String(text)
        }
        switch parts[0] {
        case "github": return Self.github(Array(parts.dropFirst()), rest(after:), at: place)
        case "secrets":
            guard parts.count == 2, parts[1] != "github_token" else { return nil }
            let after = rest(after: 1)
            let name = after.hasPrefix(".") ? String(after.dropFirst()) : parts[1].uppercased()
            asked.secret(name)
            return "secrets.\(name)"
        case "inputs": return "parameters\(rest(after: 1))"
        case "needs":
            guard parts.count > 1, parts[1] != "*" else { return written }
            guard let stage = stages.first(where: { $0.key.lowercased() == parts[1] })?.value else { return nil }
            return "needs.\(stage)\(rest(after: 2))"
        case "runner": return parts.count > 1 && ["name", "os", "arch", "temp"].contains(parts[1]) ? written : nil
        case "job": return parts.count > 1 && ["status"].contains(parts[1]) ? written : nil
        case "steps", "env", "vars", "matrix": return written
        default: return nil
        }
    }

    private static func github(_ parts: [String], _ rest: (Int) -> String, at place: Cursor) -> String? {
        switch parts.first {
        case "ref": return "ref"
        case "sha": return "commit"
        case "ref_name": return "(branch || tag)"
        case "ref_type": return "(tag && 'tag' || 'branch')"
        case "head_ref": return GitHubEvent.head
        case "base_ref": return GitHubEvent.base
        case "event_name": return "run.trigger"
        case "event": return GitHubEvent.expression(Array(parts.dropFirst()), rest, at: place)
        case "actor", "triggering_actor": return "run.actor"
        case "run_id": return "run.id"
        case "run_number": return "run.number"
        case "workflow": return "pipeline"
        case "workspace": return "job.workspace"
        case "repository": return "vars.GITHUB_REPOSITORY"
        case "repository_owner": return "vars.GITHUB_REPOSITORY_OWNER"
        default: return nil
        }
    }

    /// How things stand is called otherwise here.
    private static func literal(_ text: String, beside path: [String]) -> String {
        if isResult(path) {
            // Lists, too: fromJSON('["success", "skipped"]').
            return replacingWords(in: text) { ["success": "succeeded", "failure": "failed"][$0] }
        }
        if path == ["github", "event_name"] { return causes[text] ?? text }
        guard path.starts(with: ["github", "event"]) else { return text }
        return GitHubEvent.literal(text, beside: Array(path.dropFirst(2)))
    }

    /// How something ended: of a job, a step or a run, or of several in one.
    private static func isResult(_ path: [String]) -> Bool {
        switch path.first {
        case "needs": path.count < 3 || (path.count == 3 && path[2] == "result")
        case "steps": path.count < 3 || (path.count == 3 && ["outcome", "conclusion"].contains(path[2]))
        default: path == ["github", "event", "workflow_run", "conclusion"]
        }
    }

    static let causes = [
        "workflow_dispatch": "manual", "workflow_run": "pipeline", "repository_dispatch": "api",
        "pull_request_target": "pull_request",
    ]

    // MARK: Scripts

    static let renamed = [
        "GITHUB_OUTPUT": "VAGUS_OUTPUT", "GITHUB_ENV": "VAGUS_ENV", "GITHUB_PATH": "VAGUS_PATH",
        "GITHUB_STEP_SUMMARY": "VAGUS_SUMMARY", "GITHUB_SHA": "VAGUS_COMMIT", "GITHUB_REF": "VAGUS_REF",
        "GITHUB_WORKSPACE": "VAGUS_WORKSPACE", "GITHUB_RUN_ID": "VAGUS_RUN_ID",
        "GITHUB_RUN_NUMBER": "VAGUS_RUN_NUMBER", "GITHUB_RUN_ATTEMPT": "VAGUS_ATTEMPT",
        "GITHUB_WORKFLOW": "VAGUS_PIPELINE", "GITHUB_JOB": "VAGUS_JOB", "GITHUB_ACTIONS": "VAGUS",
    ]
    /// Variables of theirs that a variable of the same name stands in for.
    static let standIns = [
        "GITHUB_REF_NAME": "${{ branch || tag }}", "GITHUB_ACTOR": "${{ run.actor }}",
        "GITHUB_EVENT_NAME": "${{ run.trigger }}", "GITHUB_BASE_REF": "${{ \(GitHubEvent.base) }}",
        "GITHUB_HEAD_REF": "${{ \(GitHubEvent.head) }}", "GITHUB_REPOSITORY": "${{ vars.GITHUB_REPOSITORY }}",
        "GITHUB_REPOSITORY_OWNER": "${{ vars.GITHUB_REPOSITORY_OWNER }}", "RUNNER_TEMP": "${{ runner.temp }}",
        "RUNNER_OS": "${{ runner.os }}", "RUNNER_ARCH": "${{ runner.arch }}", "RUNNER_NAME": "${{ runner.name }}",
    ]

    func script(_ cursor: Cursor, _ asked: Asked) -> String {
        let text = rewriter(at: cursor, asked).template(cursor.text ?? "")
        var unknown: [String] = []
        let renamed = Self.replacingWords(in: text) { word in
            guard word.hasPrefix("GITHUB_") || word.hasPrefix("RUNNER_") else { return nil }
            if let name = Self.renamed[word] { return name }
            if let value = Self.standIns[word] {
                asked.variables[word] = value
            } else if !unknown.contains(word) {
                unknown.append(word)
            }
            return nil
        }
        if !unknown.isEmpty { cursor.lost("the script reads \(unknown.joined(separator: ", ")), which is not set") }
        if renamed.contains("::set-output") || renamed.contains("::save-state") {
            cursor.lost("::set-output and ::save-state are not heeded: write to $VAGUS_OUTPUT")
        }
        return renamed
    }

    /// Words outside of `${{ }}` replaced.
    static func replacingWords(in text: String, _ other: (String) -> String?) -> String {
        var out = ""
        var rest = text[...]
        while let first = rest.first {
            if rest.hasPrefix("${{") {
                let end = rest.indices.first { rest[$0...].hasPrefix("}}") } ?? rest.endIndex
                out += rest[..<end]
                rest = rest[end...]
            } else if first == "_" || first.isASCII && first.isLetter {
                let word = rest.prefix { $0 == "_" || ($0.isASCII && ($0.isLetter || $0.isNumber)) }
                out += other(String(word)) ?? String(word)
                rest = rest.dropFirst(word.count)
            } else {
                out.append(first)
                rest = rest.dropFirst()
            }
        }
        return out
    }
}
