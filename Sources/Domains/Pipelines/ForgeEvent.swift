import API
import Manifests

/// What a forge's webhook tells, in our words; pure.
enum ForgeEvent: Sendable, Equatable {
    case ping
    /// Branches or tags have moved: git is asked which.
    case refs
    case pull(PullRequest, PullRequestTrigger.Action)
    case ignored(String)

    /// - Parameter headers: Names in lower case.
    static func read(_ forge: RemoteSpec.Forge, headers: [String: String], _ json: JSONValue) throws(Problem) -> Self {
        switch forge {
        case .github: return try hub(headers["x-github-event"] ?? "", json)
        case .gitea: return try hub(headers["x-gitea-event"] ?? headers["x-github-event"] ?? "", json)
        case .gitlab: return try lab(headers["x-gitlab-event"] ?? "", json)
        case .bitbucket: return try bucket(headers["x-event-key"] ?? "", json)
        }
    }

    /// The name by which a repeated delivery is known again; nil when the forge gave none.
    static func delivery(_ headers: [String: String]) -> String? {
        for name in [
            "x-github-delivery", "x-gitea-delivery", "webhook-id", "idempotency-key", "x-gitlab-event-uuid",
            "x-request-uuid", "x-vagus-delivery",
        ] {
            if let value = headers[name], !value.isEmpty, value.utf8.count <= 200 { return value }
        }
        return nil
    }

    private static func lacking(_ what: String) -> Problem {
        Problem(
            "webhook.body", status: 422, "the webhook tells no \(what)",
            hint: "Let the forge send JSON, and set `forge` to what it is.")
    }

    // MARK: GitHub, Gitea

    private static func hub(_ name: String, _ json: JSONValue) throws(Problem) -> Self {
        switch name {
        case "ping": return .ping
        case "push", "create", "delete": return .refs
        case "pull_request", "pull_request_sync", "pull_request_label": break
        default: return .ignored(name)
        }
        guard let told = json["pull_request"], let number = json["number"]?.int ?? told["number"]?.int,
            let head = told["head"], let base = told["base"], let commit = head["sha"]?.string,
            let headName = head["ref"]?.string, let baseName = base["ref"]?.string
        else { throw lacking("pull request") }
        let word = json["action"]?.string ?? ""
        let words = ["synchronized": "synchronize", "label_updated": "labeled", "label_cleared": "unlabeled"]
        guard let action = PullRequestTrigger.Action(rawValue: words[word] ?? word) else {
            return .ignored("\(name) \(word)")
        }
        var pull = PullRequest()
        (pull.number, pull.head_commit) = (number, commit)
        (pull.head_ref, pull.base_ref) = ("refs/heads/\(headName)", "refs/heads/\(baseName)")
        (pull.title, pull.url) = (told["title"]?.string ?? "", told["html_url"]?.string)
        pull.author = told["user"]?["login"]?.string ?? json["sender"]?["login"]?.string ?? ""
        let (from, to) = (head["repo"]?["full_name"]?.string, base["repo"]?["full_name"]?.string)
        // A fork that was deleted has no name any more, and is still one.
        pull.is_fork = from == nil || to == nil || from?.lowercased() != to?.lowercased()
        if action == .closed {
            pull.state = told["merged"]?.bool == true ? .merged : .closed
            pull.merged_commit = told["merge_commit_sha"]?.string
        }
        return .pull(pull, action)
    }

    // MARK: GitLab

    private static func lab(_ name: String, _ json: JSONValue) throws(Problem) -> Self {
        switch name {
        case "Push Hook", "Tag Push Hook": return .refs
        case "Merge Request Hook": break
        // A system hook says what it is in the body alone.
        case "System Hook": return .refs
        default: return .ignored(name)
        }
        guard let told = json["object_attributes"], let number = told["iid"]?.int,
            let commit = told["last_commit"]?["id"]?.string, let headName = told["source_branch"]?.string,
            let baseName = told["target_branch"]?.string
        else { throw lacking("merge request") }
        let action: PullRequestTrigger.Action
        switch told["action"]?.string ?? "" {
        case "open": action = .opened
        case "reopen": action = .reopened
        case "close", "merge": action = .closed
        case "update": action = told["oldrev"]?.string == nil ? .edited : .synchronize
        case let word: return .ignored("\(name) \(word)")
        }
        var pull = PullRequest()
        (pull.number, pull.head_commit) = (number, commit)
        (pull.head_ref, pull.base_ref) = ("refs/heads/\(headName)", "refs/heads/\(baseName)")
        (pull.title, pull.url) = (told["title"]?.string ?? "", told["url"]?.string)
        pull.author = json["user"]?["username"]?.string ?? ""
        let (from, to) = (told["source_project_id"]?.int, told["target_project_id"]?.int)
        pull.is_fork = from == nil || from != to
        if action == .closed {
            pull.state = told["action"] == "merge" ? .merged : .closed
            pull.merged_commit = told["merge_commit_sha"]?.string
        }
        return .pull(pull, action)
    }

    // MARK: Bitbucket

    private static func bucket(_ name: String, _ json: JSONValue) throws(Problem) -> Self {
        let actions: [String: PullRequestTrigger.Action] = [
            "pullrequest:created": .opened, "pullrequest:updated": .synchronize, "pullrequest:fulfilled": .closed,
            "pullrequest:rejected": .closed,
        ]
        if name == "repo:push" { return .refs }
        if name == "diagnostics:ping" { return .ping }
        guard let action = actions[name] else { return .ignored(name) }
        guard let told = json["pullrequest"], let number = told["id"]?.int, let source = told["source"],
            let target = told["destination"], let commit = source["commit"]?["hash"]?.string,
            let headName = source["branch"]?["name"]?.string, let baseName = target["branch"]?["name"]?.string
        else { throw lacking("pull request") }
        var pull = PullRequest()
        (pull.number, pull.head_commit) = (number, commit)
        (pull.head_ref, pull.base_ref) = ("refs/heads/\(headName)", "refs/heads/\(baseName)")
        (pull.title, pull.url) = (told["title"]?.string ?? "", told["links"]?["html"]?["href"]?.string)
        pull.author = told["author"]?["nickname"]?.string ?? told["author"]?["display_name"]?.string ?? ""
        let (from, to) = (source["repository"]?["full_name"]?.string, target["repository"]?["full_name"]?.string)
        pull.is_fork = from == nil || from != to
        if action == .closed {
            pull.state = name == "pullrequest:fulfilled" ? .merged : .closed
            pull.merged_commit = told["merge_commit"]?["hash"]?.string
        }
        return .pull(pull, action)
    }
}
