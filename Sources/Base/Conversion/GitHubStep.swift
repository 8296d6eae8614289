import Manifests

/// What steps of theirs are parts of a job here.
struct GitHubParts {
    var caches: [JSONValue] = []
    var artifacts: [JSONValue] = []
}

/// A step: a script, an action that we have a verb or a part of a job for, or one that fails with a word.
struct GitHubStep {
    let cursor: Cursor
    let words: GitHubWords
    let asked: Asked
    let defaults: GitHubDefaults
    let artifacts: [String: String]
    /// Variables of the job and the workflow.
    let variables: Set<String>
    let isInContainer: Bool

    /// Nil when it became a part of the job.
    func step(_ parts: inout GitHubParts) -> JSONValue? {
        var out = Ordered<JSONValue>()
        if let id = cursor.take("id") { out["id"] = .string(id.text ?? "") }
        if let name = cursor.take("name") {
            out["name"] = .string(words.rewriter(at: name, asked).template(name.text ?? ""))
        }
        if let condition = cursor.take("if") {
            out["if"] = .string(words.rewriter(at: condition, asked).condition(condition.text ?? ""))
        }
        if let minutes = cursor.take("timeout-minutes") { out["timeout"] = GitHubJob.minutes(minutes) }
        if let allowed = cursor.take("continue-on-error") {
            if let flag = allowed.value.bool {
                out["continue_on_error"] = .bool(flag)
            } else {
                allowed.lost("whether a failure counts cannot be an expression: it does")
            }
        }
        let variables = GitHubWorkflow.variables(cursor.take("env"), words, asked)
        if !variables.isEmpty { out["variables"] = .object(variables.map { .string($0) }) }
        if let run = cursor.take("run") {
            script(run, &out)
            return .object(out)
        }
        guard let uses = cursor.take("uses") else {
            cursor.lost("a step runs something or uses something")
            return nil
        }
        return GitHubActions(uses: uses, step: self).step(out, &parts)
    }

    private func script(_ run: Cursor, _ out: inout Ordered<JSONValue>) {
        let shell = cursor.take("shell") ?? defaults.shell
        // Without a word for it, a container has sh and a machine bash.
        let program = shell?.text?.split(separator: " ").first.map(String.init) ?? (isInContainer ? "sh" : "bash")
        if ["sh", "python"].contains(program) { out["shell"] = .string(program) }
        if let shell, let word = shell.text {
            if !["bash", "sh", "python"].contains(program) {
                shell.lost("scripts are read by bash, sh or python, not \"\(word)\"")
            }
            if word.contains("{0}") { shell.changed("the words after the shell's name are left out") }
        }
        if let folder = cursor.take("working-directory") ?? defaults.folder {
            let text = words.rewriter(at: folder, asked).template(folder.text ?? "")
            let isInside = !text.hasPrefix("/") && !text.split(separator: "/").contains("..")
            if isInside {
                out["working_directory"] = .string(text.hasPrefix("./") ? String(text.dropFirst(2)) : text)
            } else {
                folder.lost("a step begins in the workspace")
            }
        }
        out["run"] = .string(script(words.script(run, asked), of: run, program: program, shell: shell?.text))
    }

    /// The script as the options of its shell there have it.
    private func script(_ text: String, of run: Cursor, program: String, shell: String?) -> String {
        guard ["bash", "sh"].contains(program) else { return text }
        let known = variables.union(cursor.value["env"]?.object?.keys ?? []).union(GitHubWords.standIns.keys)
        let whole = ShellOptions(shell: shell).applied(to: text, isBash: program == "bash", known: known)
        if whole != text { run.changed(once: ShellOptions.reason) }
        return whole
    }
}
