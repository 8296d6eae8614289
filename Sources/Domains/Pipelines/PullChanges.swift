import API
import Kernel
import Manifests
import SQL

/// Something that happened to a pull request, with what its triggers look at.
struct PullNews: Sendable {
    var pull: PullRequest
    var action: PullRequestTrigger.Action
    /// Files that it changes; nil: nobody asked, or nobody knows.
    var changed: [String]?
    var committedAt: Timestamp?
    var message: String?
}

extension Change {
    /// Keeps the pull request as it is now, tells of it, and sets off the pipelines that wait for it.
    func note(_ news: PullNews, of repository: Reference<RepositoryKind>, ids: IdentifierSource) throws {
        var news = news
        news.pull.updated_at = now
        try sql.keep(news.pull, of: repository)
        try tell("repository.pull-\(Self.verb(news))", about: repository.subject, ["pull_request": news.pull.json])
        for pipeline in try sql.readableResources(PipelineKind.self, project: repository.project)
        where pipeline.spec.repository == repository.name {
            guard let spec = pipeline.spec.triggers.first(where: { Self.heeds($0, news) }) else { continue }
            try fire(firing(spec, pipeline, news), id: ids.next("run"))
        }
    }

    private static func verb(_ news: PullNews) -> String {
        switch news.action {
        case .opened: "opened"
        case .reopened: "reopened"
        case .closed: news.pull.state == .merged ? "merged" : "closed"
        default: "updated"
        }
    }

    private static func heeds(_ trigger: TriggerSpec, _ news: PullNews) -> Bool {
        let base = Refs.branch(news.pull.base_ref) ?? news.pull.base_ref
        return trigger.pull_request?.heeds(news.action, base: base, changed: news.changed) ?? false
    }

    private func firing(_ spec: TriggerSpec, _ pipeline: TypedResource<PipelineKind>, _ news: PullNews) -> Firing {
        let pull = news.pull
        var trigger = Trigger()
        (trigger.type, trigger.actor, trigger.ref) = (.pull_request, call.actor, pull.ref)
        (trigger.base_ref, trigger.number) = (pull.base_ref, pull.number)
        // A fork's code is a stranger's, whatever the trigger says.
        trigger.is_trusted = !pull.is_fork && (spec.pull_request?.trusted ?? false)
        trigger.message = pull.title
        trigger.event = Self.event(news)
        let place = CommitPlace(
            repository: pull.repository, ref: pull.ref, commit: pull.head_commit, committedAt: news.committedAt,
            message: news.message)
        return Firing(pipeline: pipeline, spec: spec, trigger: trigger, place: place)
    }

    private static func event(_ news: PullNews) -> JSONValue {
        let pull = news.pull
        return [
            "action": news.action.json, "number": .integer(Int64(pull.number)),
            "pull_request": [
                "number": .integer(Int64(pull.number)), "title": .string(pull.title), "author": .string(pull.author),
                "head": .string(Refs.branch(pull.head_ref) ?? pull.head_ref), "head_commit": .string(pull.head_commit),
                "base": .string(Refs.branch(pull.base_ref) ?? pull.base_ref), "is_fork": .bool(pull.is_fork),
                "merged": .bool(pull.state == .merged), "url": pull.url.json,
            ],
        ]
    }
}
