/// `github.event` in our words: what the events of pushes, pull requests, schedules and ended runs carry here.
enum GitHubEvent {
    /// Our expression for a path behind `github.event`, in small letters; what is not here has no counterpart.
    private static let facts: [String: String] = [
        "action": "event.action", "number": "event.number", "schedule": "event.cron", "ref": "event.ref",
        "before": "event.before", "after": "event.after", "created": "event.created",
        "head_commit.id": "event.after", "head_commit.message": "event.message", "pusher.name": "event.pusher",
        "sender.login": "run.actor", "inputs": "parameters",
        "repository.full_name": "vars.GITHUB_REPOSITORY", "repository.owner.login": "vars.GITHUB_REPOSITORY_OWNER",
        "pull_request.number": "event.pull_request.number",
        "pull_request.title": "event.pull_request.title", "pull_request.user.login": "event.pull_request.author",
        "pull_request.head.ref": head, "pull_request.head.sha": "event.pull_request.head_commit",
        "pull_request.head.repo.fork": "event.pull_request.is_fork",
        "pull_request.base.ref": base, "pull_request.base.repo.full_name": "vars.GITHUB_REPOSITORY",
        "pull_request.merged": "event.pull_request.merged", "pull_request.html_url": "event.pull_request.url",
        // Held against github.repository it tells whether the branch is a fork's, which is all that is known here.
        "pull_request.head.repo.full_name":
            "(event.pull_request && !event.pull_request.is_fork && vars.GITHUB_REPOSITORY || 'a fork')",
        "workflow_run.id": "event.run.id", "workflow_run.run_number": "event.run.number",
        "workflow_run.name": "event.run.pipeline", "workflow_run.conclusion": "event.run.status",
        "workflow_run.head_branch": "event.run.branch", "workflow_run.head_sha": "event.run.commit",
        "workflow_run.event": "event.run.trigger", "workflow_run.actor.login": "event.run.actor",
    ]
    /// The branch that a pull request wants to bring in, and the one that it wants to go into.
    static let head = "event.pull_request.head"
    static let base = "event.pull_request.base"

    /// Nil when our events do not carry it. `rest` is what was written behind so many names.
    static func expression(_ parts: [String], _ rest: (Int) -> String, at place: Cursor) -> String? {
        if parts.isEmpty || parts == ["pull_request"] {
            place.changed("the event has other members here: see `docs/how-to/triggers.md`")
            return parts.isEmpty ? "event" : "event.pull_request"
        }
        if parts.count > 1, parts[0] == "inputs" { return "parameters\(rest(3))" }
        if parts == ["head_commit", "message"] { place.changed("event.message is the first line of the message") }
        return facts[parts.joined(separator: ".")]
    }

    /// Words that are called otherwise here.
    static func literal(_ text: String, beside path: [String]) -> String {
        switch path {
        // There is nothing before a branch's first push.
        case ["before"]: text.allSatisfy({ $0 == "0" }) ? "" : text
        case ["workflow_run", "name"]: Words.name(text)
        case ["workflow_run", "event"]: GitHubWords.causes[text] ?? text
        default: text
        }
    }
}
