public import Manifests

/// How a service is doing.
public struct ServiceStatus: Manifest {
    public enum Phase: String, WireEnum { case healthy, progressing, paused, degraded }
    public enum Completion: String, WireEnum {
        case promoted, fast_promoted, aborted, superseded, rolled_back
    }
    public var project = "default"
    public var service = ""
    public var phase = Phase.progressing
    public var message = ""
    /// Index of the rollout step under way, and how many there are.
    public var step: Int?
    public var steps = 0
    public var step_name: String?
    public var aborted = false
    public var stable_revision: Int?
    public var active_revision: Int?
    public var preview_revision: Int?
    /// How the newest rollout ended, if it has.
    public var completion: Completion?
    public var url: String?
    public var revisions: [RevisionStatus] = []
    public var analyses: [AnalysisStatus] = []
    public var rollout_started_at: Timestamp?
    public var rollout: Int?
    public var arms: [ArmStatus] = []
    public var held = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("project", \.project, "Its project."),
        .told("service", \.service, "Its name."),
        .told("phase", \.phase, "How it is."),
        .told("message", \.message, "Why, in one sentence."),
        .told("step", \.step, "Rollout step under way, from 0."),
        .told("steps", \.steps, "How many steps the rollout has."),
        .optional("step_name", \.step_name, "The step in words."),
        .told("aborted", \.aborted, "Whether the newest rollout was aborted."),
        .told("stable_revision", \.stable_revision, "Revision that is trusted."),
        .told("active_revision", \.active_revision, "Revision with most of the traffic."),
        .told("preview_revision", \.preview_revision, "Revision on trial."),
        .told("completion", \.completion, "How the newest rollout ended."),
        .optional("url", \.url, "Where the proxy reaches it."),
        .told("revisions", \.revisions, "Revisions that have copies, and the newest."),
        .optional("analyses", \.analyses, "What was measured in the newest rollout."),
        .optional("rollout_started_at", \.rollout_started_at, "When the newest rollout began."),
        .optional("rollout", \.rollout, "Number of the newest rollout; each attempt has the next."),
        .optional("arms", \.arms, "Extra copies of the newest rollout: the fresh baseline, arms of an experiment."),
        .optional("held", \.held, "Whether somebody paused the rollout by hand."),
    ]
}

/// Extra copies of a revision, with traffic and counts of their own.
public struct ArmStatus: Manifest {
    public var name = ""
    public var revision = 0
    public var replicas = 0
    public var ready = 0
    public var weight = 0
    public var requests: Int64 = 0
    public var errors: Int64 = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("name", \.name, "\"baseline\", or the arm's name."),
        .told("revision", \.revision, "Revision whose workload it runs."),
        .told("replicas", \.replicas, "Copies that run."), .told("ready", \.ready, "Copies that are well."),
        .told("weight", \.weight, "Its share of the traffic, in percent."),
        .told("requests", \.requests, "Requests it has had."), .told("errors", \.errors, "Of them failed."),
    ]
}

public struct RevisionStatus: Manifest {
    public var revision = 0
    public var replicas = 0
    public var ready = 0
    public var weight = 0
    public var model: String?
    public var image: String?
    public var commit: String?
    public var run: String?
    public var created_at = Timestamp.zero
    public var requests: Int64 = 0
    public var errors: Int64 = 0
    public var p99_ms: Double?
    public var colour: String?
    public var migration: String?
    public var difference: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("revision", \.revision, "Its number, from 1."),
        .told("replicas", \.replicas, "Copies that run."),
        .told("ready", \.ready, "Copies that are well."),
        .told("weight", \.weight, "Its share of the traffic, in percent."),
        .optional("model", \.model, "Model version it serves."),
        .optional("image", \.image, "Image that its containers are of."),
        .optional("commit", \.commit, "Commit it came from."),
        .optional("run", \.run, "Run that deployed it."),
        .told("created_at", \.created_at, "When it was made."),
        .told("requests", \.requests, "Requests it has had."),
        .told("errors", \.errors, "Those it answered with 5xx or not at all."),
        .optional("p99_ms", \.p99_ms, "99 in 100 answers took less than this."),
        .optional("colour", \.colour, "Its side in blue_green: blue or green."),
        .optional("migration", \.migration, "The newest migration that it needs."),
        .optional(
            "difference", \.difference,
            "What it runs that the stable revision does not, a line for each field; of the stable one, against the one before."
        ),
    ]
}

/// One analysis of a rollout, with its evidence.
public struct AnalysisStatus: Manifest {
    public enum Verdict: String, WireEnum { case running, passed, failed, inconclusive, error }
    public var name = ""
    public var metric = ""
    public var verdict = Verdict.running
    /// The verdict in words: "12 of 300 requests failed on revision 4, 0 of 2,700 on revision 3 …".
    public var message = ""
    public var looks: [AnalysisLook] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("name", \.name, "Its name."),
        .told("metric", \.metric, "What is measured."),
        .told("verdict", \.verdict, "What it says."),
        .told("message", \.message, "Why, in words."),
        .told("looks", \.looks, "Its looks, oldest first, at most 200."),
    ]
}

public struct AnalysisLook: Manifest {
    public var at = Timestamp.zero
    public var phase = AnalysisRun.Phase.pending
    public var message: String?
    public var canary_requests: Int64 = 0
    public var canary_errors: Int64 = 0
    public var stable_requests: Int64 = 0
    public var stable_errors: Int64 = 0
    public var value: Double?
    public var baseline: Double?
    /// Natural logarithm of the evidence that the new revision is worse; the bound is log(1/alpha).
    public var evidence: Double?
    public var bound: Double?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("at", \.at, "When."),
        .told("phase", \.phase, "What this look says; pending: nothing yet."),
        .optional("message", \.message, "Why there is no value."),
        .told("canary_requests", \.canary_requests, "Requests to the new revision so far."),
        .told("canary_errors", \.canary_errors, "Of them failed."),
        .told("stable_requests", \.stable_requests, "Requests to the stable revision in the same time."),
        .told("stable_errors", \.stable_errors, "Of them failed."),
        .told("value", \.value, "The metric, new revision."),
        .told("baseline", \.baseline, "The metric, stable revision."),
        .told("evidence", \.evidence, "Logarithm of the evidence against the new revision."),
        .told("bound", \.bound, "It is aborted from here on."),
    ]
}

/// Every operation on services.
public enum Services {
    public static let status = Operation<Name, ServiceStatus>(
        "services.status", .get, "/api/v1/projects/{project}/services/{name}/status", needs: .read,
        "Tells how a service is doing.")
    public static let list = Operation<ProjectQuery, ItemList<ServiceStatus>>(
        "services.list", .get, "/api/v1/projects/{project}/services", needs: .read, "Tells how all services are doing.")
    public static let deploy = Operation<DeployInput, ServiceStatus>(
        "services.deploy", .post, "/api/v1/projects/{project}/services/{name}/deploy", needs: .run,
        "Makes a new revision and begins to roll it out. The same key twice is one revision.")
    public static let promote = Operation<PromoteInput, ServiceStatus>(
        "services.promote", .post, "/api/v1/projects/{project}/services/{name}/promote", needs: .run,
        "Ends the pause, or skips the step under way; with full, all of them.")
    public static let abort = Operation<AbortInput, ServiceStatus>(
        "services.abort", .post, "/api/v1/projects/{project}/services/{name}/abort", needs: .run,
        "Takes all traffic off the new revision at once.")
    public static let undo = Operation<UndoInput, ServiceStatus>(
        "services.undo", .post, "/api/v1/projects/{project}/services/{name}/undo", needs: .run,
        "Goes back to an earlier revision: at once inside the rollback window, else by the steps.")
    public static let pause = Operation<HoldInput, ServiceStatus>(
        "services.pause", .post, "/api/v1/projects/{project}/services/{name}/pause", needs: .run,
        "Holds the rollout under way where it is; a failed judgement still aborts it.")
    public static let resume = Operation<HoldInput, ServiceStatus>(
        "services.resume", .post, "/api/v1/projects/{project}/services/{name}/resume", needs: .run,
        "Lets a rollout that was held by hand go on.")
    public static let retry = Operation<Name, ServiceStatus>(
        "services.retry", .post, "/api/v1/projects/{project}/services/{name}/retry", needs: .run,
        "Rolls out once more, from the first step, the revision that was aborted or gone back from.")
    public static let scale = Operation<ScaleInput, ServiceStatus>(
        "services.scale", .post, "/api/v1/projects/{project}/services/{name}/scale", needs: .write,
        "Sets how many copies are wanted, as an apply with another `replicas` would.")
    public static let restart = Operation<Name, ServiceStatus>(
        "services.restart", .post, "/api/v1/projects/{project}/services/{name}/restart", needs: .run,
        "Replaces all copies by new ones of the same revision, few at a time.")
    public static let analysis = Operation<AnalysisQuery, AnalysisReport>(
        "services.analysis", .get, "/api/v1/projects/{project}/services/{name}/analysis", needs: .read,
        "Tells the judgements of a rollout, with every measurement.")
    public static let outcomes = Operation<OutcomesInput, Nothing>(
        "services.outcomes", .post, "/api/v1/projects/{project}/services/{name}/outcomes", needs: .run,
        "Tells which clients were on which side of an a_b_testing rollout, and what came of it. Told twice is told once."
    )
    public static let traffic = Operation<TrafficQuery, ItemList<TrafficPoint>>(
        "services.traffic", .get, "/api/v1/projects/{project}/services/{name}/traffic", needs: .read,
        "Tells requests, errors and latency per revision over time.")
}

public struct ProjectQuery: Manifest {
    public var project = "default"
    public init() {}
    public init(project: String) { self.project = project }
    public static let fields: [Field<Self>] = [.optional("project", \.project, "Project to look in.")]
}

public struct DeployInput: Manifest {
    public var project = "default"
    public var name = ""
    /// Makes a repeat harmless: one revision a key.
    public var key = ""
    public var model: String?
    public var image: String?
    /// Digest of a tree blob to unpack as the working folder.
    public var artifact: String?
    public var run: String?
    public var pipeline: String?
    public var commit: String?
    public var committed_at: Timestamp?
    public var override = false
    public var hotfix = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("name", \.name, "The service."),
        .required("key", \.key, "Makes a repeat harmless: one revision a key."),
        .optional("model", \.model, "Model version to serve: `name@3`."),
        .optional("image", \.image, "Image for its containers."),
        .optional("artifact", \.artifact, "Digest of a tree to unpack as the working folder."),
        .optional("run", \.run, "Run that deploys it."),
        .optional("pipeline", \.pipeline, "Pipeline that deploys it."),
        .optional("commit", \.commit, "Commit it comes from."),
        .optional("committed_at", \.committed_at, "When the commit was made."),
        .optional("hotfix", \.hotfix, "It mends the revision that is stable now, which counts as failed then."),
        .optional("override", \.override, "Rolls out even what was aborted or gone back from before."),
    ]
}

public struct PromoteInput: Manifest {
    public var project = "default"
    public var name = ""
    public var full = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("name", \.name, "The service."),
        .optional("full", \.full, "Skips all steps that are left."),
    ]
}

public struct AbortInput: Manifest {
    public var project = "default"
    public var name = ""
    public var reason: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("name", \.name, "The service."),
        .optional("reason", \.reason, "Why; kept in the event log."),
    ]
}

public struct UndoInput: Manifest {
    public var project = "default"
    public var name = ""
    public var revision: Int?
    public var gradual = false
    public var across_migration = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("name", \.name, "The service."),
        .optional("revision", \.revision, "Revision to go back to; absent: the one before the stable one."),
        .optional("gradual", \.gradual, "Goes back by the steps of the rollout, even inside the window."),
        .optional(
            "across_migration", \.across_migration, "Goes back even to a revision that knows an older form of the data."
        ),
    ]
}

public struct HoldInput: Manifest {
    public var project = "default"
    public var name = ""
    public var reason: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."), .required("name", \.name, "The service."),
        .optional("reason", \.reason, "Why; kept in the event log."),
    ]
}

public struct ScaleInput: Manifest {
    public var project = "default"
    public var name = ""
    public var replicas = 1
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."), .required("name", \.name, "The service."),
        .required("replicas", \.replicas, "Copies to keep up.", in: 0...100),
    ]
}

public struct OutcomesInput: Manifest {
    public static let itemLimit = 10_000
    public var project = "default"
    public var name = ""
    public var items: [OutcomeItem] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."), .required("name", \.name, "The service."),
        .required("items", \.items, "At most 10,000."),
    ]
}

/// One client on one side.
public struct OutcomeItem: Manifest {
    public var entity = ""
    public var revision = 0
    public var outcome = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("entity", \.entity, "Who it is: the same name each time."),
        .required("revision", \.revision, "Revision that served it: the answer's header X-Vagus-Revision."),
        .optional("outcome", \.outcome, "What came about, such as signup; absent: it was only there."),
    ]
}

public struct AnalysisQuery: Manifest {
    public var project = "default"
    public var name = ""
    public var rollout: Int?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."), .required("name", \.name, "The service."),
        .optional("rollout", \.rollout, "Number of the attempt; absent: the newest."),
    ]
}

public struct TrafficQuery: Manifest {
    public var project = "default"
    public var name = ""
    public var since: Timestamp?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("name", \.name, "The service."),
        .optional("since", \.since, "From when on; absent: the last hour."),
    ]
}

/// What one revision got in one interval.
public struct TrafficPoint: Manifest {
    public var at = Timestamp.zero
    public var revision = 0
    public var requests: Int64 = 0
    public var errors: Int64 = 0
    public var p50_ms: Double?
    public var p99_ms: Double?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("at", \.at, "End of the interval."),
        .told("revision", \.revision, "Revision."),
        .told("requests", \.requests, "Requests in the interval."),
        .told("errors", \.errors, "Of them failed."),
        .told("p50_ms", \.p50_ms, "Half of the answers took less."),
        .told("p99_ms", \.p99_ms, "99 in 100 took less."),
    ]
}
