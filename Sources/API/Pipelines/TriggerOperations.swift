public import Manifests

/// Every operation on what sets pipelines off.
public enum Triggers {
    public static let list = Operation<TriggerQuery, ItemList<TriggerInfo>>(
        "triggers.list", .get, "/api/v1/projects/{project}/pipelines/{pipeline}/triggers", needs: .read,
        "Lists what sets a pipeline off, with the next times of its schedules.")
}

public struct TriggerQuery: Manifest {
    public var project = "default"
    public var pipeline = ""
    public var times = 5
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("pipeline", \.pipeline, "The pipeline."),
        .optional("times", \.times, "How many of the next times of a schedule are told.", in: 1...100),
    ]
}

public struct TriggerInfo: Manifest {
    public var type = Trigger.Cause.push
    public var spec: JSONValue = [:]
    public var next: [Timestamp] = []
    public var last_at: Timestamp?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("type", \.type, "What it waits for."),
        .told("spec", \.spec, "The trigger as it was written."),
        .optional("next", \.next, "When a schedule comes next."),
        .optional("last_at", \.last_at, "When a schedule last came."),
    ]
}

/// Every operation on repositories beyond those on all declared things.
public enum Repositories {
    public static let statuses = Operation<StatusQuery, ItemList<CommitStatus>>(
        "repositories.statuses", .get, "/api/v1/projects/{project}/repositories/{name}/statuses", needs: .read,
        "Tells how the pipelines of a commit stand: the newest run of each.")
}

public struct StatusQuery: Manifest {
    public var project = "default"
    public var name = ""
    public var commit = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("name", \.name, "The repository."),
        .optional("commit", \.commit, "Commit, branch or tag; absent: head of the default branch."),
    ]
}

public struct CommitStatus: Manifest {
    public enum State: String, WireEnum { case pending, success, failure, error }
    public var commit = ""
    public var pipeline = ""
    public var run = ""
    public var number = 0
    public var state = State.pending
    public var description = ""
    public var changed_at = Timestamp.zero
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("commit", \.commit, "The commit."),
        .told("pipeline", \.pipeline, "The pipeline."),
        .told("run", \.run, "Id of its newest run on that commit."),
        .told("number", \.number, "Number of that run."),
        .told("state", \.state, "How it stands, in the words of forges."),
        .told("description", \.description, "How it stands, for people."),
        .told("changed_at", \.changed_at, "Since when."),
    ]
}

/// Every operation on pull requests.
public enum Pulls {
    public static let list = Operation<PullQuery, ItemList<PullRequest>>(
        "pulls.list", .get, "/api/v1/projects/{project}/repositories/{repository}/pulls", needs: .read,
        "Lists pull requests, newest first.")
    public static let get = Operation<PullName, PullRequest>(
        "pulls.get", .get, "/api/v1/projects/{project}/repositories/{repository}/pulls/{number}", needs: .read,
        "Shows one pull request.")
    public static let merge = Operation<MergeInput, PullRequest>(
        "pulls.merge", .post, "/api/v1/projects/{project}/repositories/{repository}/pulls/{number}/merge",
        needs: .write, "Merges a pull request of a hosted repository.")
    public static let close = Operation<PullName, PullRequest>(
        "pulls.close", .post, "/api/v1/projects/{project}/repositories/{repository}/pulls/{number}/close",
        needs: .write, "Closes a pull request of a hosted repository without merging it.")
}

public struct PullRequest: Manifest {
    public enum State: String, WireEnum { case open, merged, closed }
    public var repository = ""
    public var number = 0
    public var title = ""
    public var author = ""
    public var state = State.open
    public var head_ref = ""
    public var head_commit = ""
    public var base_ref = ""
    public var is_fork = false
    public var url: String?
    public var merged_commit: String?
    public var created_at = Timestamp.zero
    public var updated_at = Timestamp.zero
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("repository", \.repository, "Repository that it wants to go into."),
        .told("number", \.number, "Its number in the repository."),
        .told("title", \.title, "What it is about."),
        .told("author", \.author, "Who opened it."),
        .told("state", \.state, "How it stands."),
        .told("head_ref", \.head_ref, "Branch that it brings, in full."),
        .told("head_commit", \.head_commit, "Head of that branch."),
        .told("base_ref", \.base_ref, "Branch that it wants to go into, in full."),
        .told("is_fork", \.is_fork, "Whether its branch lies in another repository."),
        .optional("url", \.url, "Its page at the forge."),
        .optional("merged_commit", \.merged_commit, "Commit that it became."),
        .told("created_at", \.created_at, "When it was opened."),
        .told("updated_at", \.updated_at, "When it last changed."),
    ]
}

public struct PullQuery: Manifest {
    public var project = "default"
    public var repository = ""
    public var state: PullRequest.State?
    public var limit = 50
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("repository", \.repository, "The repository."),
        .optional("state", \.state, "Only those that stand so."),
        .optional("limit", \.limit, "At most this many.", in: 1...1000),
    ]
}

public struct PullName: Manifest {
    public var project = "default"
    public var repository = ""
    public var number = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("repository", \.repository, "The repository."),
        .required("number", \.number, "Number of the pull request."),
    ]
}

public struct MergeInput: Manifest {
    public enum Method: String, WireEnum { case merge, fast_forward }
    public var project = "default"
    public var repository = ""
    public var number = 0
    public var method = Method.merge
    public var message: String?
    public var head: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("repository", \.repository, "The repository."),
        .required("number", \.number, "Number of the pull request."),
        .optional("method", \.method, "A merge commit, or moving the branch forward without one."),
        .optional("message", \.message, "Message of the merge commit."),
        .optional("head", \.head, "Merges only when the branch still has this head."),
    ]
}
