public import Manifests

/// A git repository that vagus hosts or watches.
public enum RepositoryKind: Kind {
    public typealias Spec = RepositorySpec
    public typealias Status = RepositoryStatus
    public static let name = "Repository"
    public static let plural = "repositories"
    public static let summary =
        "A git repository that vagus hosts, mirrors or watches; a push applies its manifests and starts pipelines."
}

public struct RepositorySpec: Manifest {
    public var path: String?
    public var remote: RemoteSpec?
    public var default_branch = "main"
    public var manifests = ".vagus"
    public var protected: [ProtectedBranches] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("path", \.path, "Folder of an existing bare repository to watch; absent: vagus hosts one itself."),
        .optional("remote", \.remote, "A repository elsewhere that vagus follows, by webhook and by looking."),
        .optional("default_branch", \.default_branch, "Branch whose manifests are applied."),
        .optional(
            "manifests", \.manifests,
            "Folder of manifests in the repository, applied at each push to the default branch."),
        .optional("protected", \.protected, "Branches that cannot be deleted nor rewritten: `[main, \"release/*\"]`."),
    ]

    public static func check(_ value: Self) -> [ManifestError] {
        guard value.path != nil, value.remote != nil else { return [] }
        return [
            ManifestError(
                at: ["remote"], message: "a repository has both \"path\" and \"remote\"", hint: "Write one of them.")
        ]
    }
}

/// A repository that lives elsewhere.
public struct RemoteSpec: Manifest {
    public enum Forge: String, WireEnum { case github, gitlab, gitea, bitbucket }
    public var url = ""
    public var forge: Forge?
    public var webhook_secret: String?
    public var token: String?
    public var poll = TimeSpan.minutes(5)
    public var api: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("url", \.url, "Where git finds it: an https, ssh or file URL."),
        .optional("forge", \.forge, "What serves it; its webhooks are then understood and it is told how runs end."),
        .optional("webhook_secret", \.webhook_secret, "Name of the secret that its webhooks are signed with."),
        .optional("token", \.token, "Name of the secret that git and the forge's API are asked with."),
        .optional("poll", \.poll, "How often it is looked at, with or without webhooks."),
        .optional("api", \.api, "Where the forge's API is; absent: found from the URL."),
    ]
}

/// Branches that keep their history.
public struct ProtectedBranches: Manifest {
    public var branches = ""
    public var pull_request_only = false
    public init() {}
    public init(_ branches: String) { self.branches = branches }
    public static let fields: [Field<Self>] = [
        .required("branches", \.branches, "A pattern of branches, \(PushTrigger.globHelp)."),
        .optional("pull_request_only", \.pull_request_only, "They change only by merging a pull request."),
    ]
    public static func shorthand(_ json: JSONValue) -> Self? { json.string.map(Self.init) }
}

public struct RepositoryStatus: Manifest {
    public var push_url = ""
    public var path: String?
    public var refs: Ordered<String> = [:]
    public var pull_requests = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("push_url", \.push_url, "What to give to git push."),
        .optional("path", \.path, "Where it lies on the server."),
        .told("refs", \.refs, "Branches and tags as last seen, with their commits."),
        .optional("pull_requests", \.pull_requests, "How many pull requests are open."),
    ]
}
