public import Manifests

/// A place where services run, and what must be so before a job may work there.
public enum EnvironmentKind: Kind {
    public typealias Spec = EnvironmentSpec
    public typealias Status = NoStatus
    public static let name = "Environment"
    public static let plural = "environments"
    public static let summary =
        "A place where services run: its variables and secrets, and the gates that guard it: approvals, waits, checks, branches, freezes."
}

public struct EnvironmentSpec: Manifest {
    public enum Tier: String, WireEnum { case development, staging, production }
    public var tier = Tier.development
    public var url: String?
    public var targets: [TargetSpec] = []
    public var approval_gates = ApprovalGatesSpec()
    public var branches: [String] = []
    public var freeze: [FreezeSpec] = []
    public var concurrency: ConcurrencySpec?
    public var variables: Ordered<String> = [:]
    public var secrets: Ordered<String> = [:]
    public var oidc: IDTokenSpec?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("tier", \.tier, "How much depends on it; DORA counts production."),
        .optional("url", \.url, "Where people find it."),
        .optional(
            "targets", \.targets,
            "Where the containers of its services run, if not on this machine: one Kubernetes cluster. Programs and models run on this machine in any case."
        ),
        .optional("approval_gates", \.approval_gates, "What must be so before a job may work here."),
        .optional(
            "branches", \.branches,
            "Only runs of these branches may work here, with *, ** and !pattern as in triggers. A pattern that begins with refs/ is held against the whole ref: refs/tags/v*."
        ),
        .optional("freeze", \.freeze, "Times at which no job may begin here."),
        .optional("concurrency", \.concurrency, "How many jobs work here at once."),
        .optional("variables", \.variables, "Environment variables of all its services and jobs."),
        .optional(
            "secrets", \.secrets,
            "Secrets of its jobs: name for the job → secret, as NAME or vault:PATH#FIELD. Given to a trusted job once its gates are open."
        ),
        .optional("oidc", \.oidc, "Gives its jobs an identity token for this audience."),
    ]

    /// Whether anything keeps a job out: a run of code that nobody has looked at may not work here then.
    public var isProtected: Bool {
        tier == .production || !branches.isEmpty || !freeze.isEmpty || !secrets.isEmpty || oidc != nil
            || approval_gates != ApprovalGatesSpec()
    }

    public static func check(_ value: Self) -> [ManifestError] { EnvironmentChecks.check(value) }
}

/// One place outside this machine: exactly one of its kinds.
public struct TargetSpec: Manifest {
    public var kubernetes: String?
    public var namespace: String?
    public var podman: String?
    public var docker: String?
    public init() {}
    public static let choices = ["kubernetes", "podman", "docker"]
    public static var noun: String { "target" }
    public static let fields: [Field<Self>] = [
        .optional(
            "kubernetes", \.kubernetes,
            "Context of the server's kubeconfig (--kubeconfig), or `in_cluster` for the cluster that the server itself runs in. Each copy is a Pod there."
        ),
        .optional("namespace", \.namespace, "Namespace in it; absent: the context's."),
        .optional("podman", \.podman, "Socket of Podman: unix:///run/podman/podman.sock."),
        .optional("docker", \.docker, "Host of Docker: ssh://deploy@host-3."),
    ]
    public static func check(_ value: Self) -> [ManifestError] {
        guard value.namespace != nil, value.kubernetes == nil else { return [] }
        return [
            ManifestError(
                at: ["namespace"], message: "only a kubernetes target has a namespace", hint: "Leave it out.")
        ]
    }
}

/// What must be so before a job may work in an environment: all of it, in this order: wait, checks, approvals.
public struct ApprovalGatesSpec: Manifest {
    public var wait: TimeSpan?
    public var checks: [GateCheckSpec] = []
    public var approvals: ApprovalsSpec?
    public init() {}
    public static var noun: String { "gate" }
    public static let fields: [Field<Self>] = [
        .optional("wait", \.wait, "Time that a job waits first."),
        .optional("checks", \.checks, "What is asked of other systems; each must say yes."),
        .optional("approvals", \.approvals, "People who must say yes."),
    ]
}

/// Who must say yes.
public struct ApprovalsSpec: Manifest {
    public enum CommentRule: String, WireEnum { case required, optional }
    public var min = 1
    public var from: [String] = []
    public var not_author = true
    public var expires = TimeSpan.days(30)
    public var supersede = false
    public var comment = CommentRule.optional
    public init() {}
    public static var noun: String { "approval" }
    public static let fields: [Field<Self>] = [
        .optional("min", \.min, "How many different people must say yes.", in: 1...50),
        .optional(
            "from", \.from, "Who may: user:NAME, team:NAME; absent: everyone who may start runs."),
        .optional(
            "not_author", \.not_author,
            "Neither whoever started the run nor the author of its commit may say yes to it."),
        .optional("expires", \.expires, "The job fails when they have not said yes in this time."),
        .optional(
            "supersede", \.supersede,
            "A newer run that is let in takes the place of older ones of its pipeline that wait."),
        .optional("comment", \.comment, "Whether each must say why."),
    ]
}

/// One question to another system: exactly one of `webhook`, `query` and `slo`.
public struct GateCheckSpec: Manifest {
    public var webhook: String?
    public var query: String?
    public var slo: String?
    public var source: String?
    public var min: Double?
    public var max: Double?
    public var min_budget: Share?
    public var timeout = TimeSpan.minutes(10)
    public init() {}
    public static let choices = ["webhook", "query", "slo"]
    public static var noun: String { "check" }
    public static let fields: [Field<Self>] = [
        .optional(
            "webhook", \.webhook,
            "URL that gets {run, environment, digest, …} by POST: 2xx is yes, 4xx is no; 202, 5xx and silence are asked again."
        ),
        .optional(
            "query", \.query,
            "PromQL: yes when it finds something, and all that it finds lies within min and max; asked again until then."
        ),
        .optional("source", \.source, "URL of the Prometheus that is asked; absent: Telemetry."),
        .optional("min", \.min, "Least value of the query that is good."),
        .optional("max", \.max, "Greatest value of the query that is good."),
        .optional("slo", \.slo, "Slo of this project that must have budget left."),
        .optional("min_budget", \.min_budget, "Share of the budget that must be left: 20%; absent: any."),
        .optional("timeout", \.timeout, "The job fails when the answer is not yes by then."),
    ]

    /// What it is called in reasons.
    public var title: String {
        webhook.map { "webhook \($0)" } ?? query.map { "query \($0)" } ?? "slo \(slo ?? "")"
    }
}

/// A time at which no job may begin: from a moment to another, or again and again.
public struct FreezeSpec: Manifest {
    public var name = ""
    public var from: Timestamp?
    public var to: Timestamp?
    public var cron: String?
    public var `for`: TimeSpan?
    public var tz = "UTC"
    public var allow: [String] = []
    public init() {}
    public static var noun: String { "freeze" }
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "What it is called."),
        .optional("from", \.from, "When it begins."),
        .optional("to", \.to, "When it ends."),
        .optional("cron", \.cron, "When it begins, again and again: \"0 18 * * 5\"."),
        .optional("for", \.for, "How long it lasts each time."),
        .optional("tz", \.tz, "Time zone of the cron."),
        .optional(
            "allow", \.allow,
            "What may begin all the same: `rollback`, a run of a commit that this environment has had before; `label:NAME`, a run with this label."
        ),
    ]
}
