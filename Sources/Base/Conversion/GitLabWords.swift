import Manifests

/// Variables of GitLab in our words.
final class GitLabWords {
    /// Variables of the pipeline that stand in for some that GitLab sets.
    private(set) var standIns = Ordered<String>()
    /// Variables that are parameters here.
    var parameters: Set<String> = []

    static let renamed = [
        "CI_COMMIT_SHA": "VAGUS_COMMIT", "CI_PROJECT_DIR": "VAGUS_WORKSPACE", "CI_PIPELINE_ID": "VAGUS_RUN_ID",
        "CI_PIPELINE_IID": "VAGUS_RUN_NUMBER", "CI_JOB_NAME": "VAGUS_JOB", "CI_PROJECT_NAME": "VAGUS_PIPELINE",
        "CI_JOB_STAGE": "VAGUS_STAGE", "GITLAB_CI": "VAGUS",
    ]
    /// Expressions with the same value.
    static let expressions = [
        "CI_COMMIT_SHA": "commit", "CI_COMMIT_BRANCH": "branch", "CI_COMMIT_TAG": "tag",
        "CI_COMMIT_REF_NAME": "(branch || tag)", "CI_COMMIT_REF_SLUG": "(branch || tag)",
        "CI_PIPELINE_SOURCE": "run.trigger", "CI_PIPELINE_ID": "run.id", "CI_PIPELINE_IID": "run.number",
        "CI_COMMIT_MESSAGE": "run.message", "CI_COMMIT_TITLE": "run.message", "GITLAB_USER_LOGIN": "run.actor",
        "GITLAB_USER_NAME": "run.actor", "CI_PIPELINE_CREATED_AT": "run.created_at",
        "CI_MERGE_REQUEST_IID": "event.number", "CI_MERGE_REQUEST_ID": "event.number",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": GitHubEvent.base,
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": GitHubEvent.head,
        "CI_MERGE_REQUEST_TITLE": "event.pull_request.title", "CI_PROJECT_NAME": "pipeline",
        "CI_COMMIT_SHORT_SHA": "commit", "CI_PROJECT_DIR": "job.workspace",
    ]
    static let causes = [
        "push": "push", "merge_request_event": "pull_request", "schedule": "schedule", "web": "manual", "api": "api",
        "trigger": "api", "pipeline": "pipeline", "parent_pipeline": "pipeline",
    ]
    private static let always: Set<String> = ["CI"]

    private func isTheirs(_ name: String) -> Bool {
        ["CI_", "GITLAB_"].contains { name.hasPrefix($0) } && !Self.always.contains(name)
    }

    /// A script, or the text of a variable; `known` are the names that the job sets itself.
    func script(_ text: String, at cursor: Cursor, known: Set<String>) -> String {
        var unknown: [String] = []
        let out = Words.replaceVariables(in: text) { name in
            guard self.isTheirs(name), !known.contains(name) else { return nil }
            if let ours = Self.renamed[name] { return ours }
            if let expression = Self.expressions[name] {
                self.standIns[name] = "${{ \(expression) }}"
                if name == "CI_COMMIT_SHORT_SHA" || name == "CI_COMMIT_REF_SLUG" {
                    cursor.changed("$\(name) has the whole of it, not the short form")
                }
            } else if self.standIns[name] == nil, !unknown.contains(name) {
                unknown.append(name)
            }
            return nil
        }
        if !unknown.isEmpty {
            cursor.lost("it reads \(unknown.map { "$\($0)" }.joined(separator: ", ")), which is not set")
        }
        return out
    }

    /// Text in a place where no shell looks: variables become expressions.
    func text(_ text: String, at cursor: Cursor) -> String {
        var out = ""
        var rest = text[...]
        while let dollar = rest.firstIndex(of: "$") {
            out += rest[..<dollar]
            var after = rest[rest.index(after: dollar)...]
            let isBraced = after.first == "{"
            if isBraced { after = after.dropFirst() }
            let name = after.prefix { $0 == "_" || ($0.isASCII && ($0.isLetter || $0.isNumber)) }
            after = after.dropFirst(name.count)
            if isBraced, after.first == "}" { after = after.dropFirst() }
            guard !name.isEmpty else {
                out += "$"
                rest = rest[rest.index(after: dollar)...]
                continue
            }
            out += "${{ \(expression(String(name), at: cursor)) }}"
            rest = after
        }
        return out + rest
    }

    func expression(_ name: String, at cursor: Cursor) -> String {
        if parameters.contains(name) { return "parameters.\(name)" }
        if let known = Self.expressions[name] { return known }
        if name == "CI_DEFAULT_BRANCH" {
            cursor.changed("$CI_DEFAULT_BRANCH is taken to be main")
            return "'main'"
        }
        if isTheirs(name) { cursor.lost("$\(name) is not known: it is null now") }
        return "vars.\(name)"
    }
}
