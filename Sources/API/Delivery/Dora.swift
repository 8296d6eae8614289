public import Manifests

/// The five numbers, measured from vagus's own events.
public enum Dora {
    public static let get = Operation<DoraQuery, DoraReport>(
        "dora.get", .get, "/api/v1/projects/{project}/dora", needs: .read,
        "Tells deployment frequency, lead time, change failure rate, recovery time and rework rate, each with the deployments behind it."
    )
    public static let incident = Operation<IncidentInput, Nothing>(
        "dora.incident", .post, "/api/v1/projects/{project}/incidents", needs: .run,
        "Tells of an incident, its end, or that no change was its cause. Told again under its id, it is corrected.")
}

/// Something that went wrong in production, told by a person or another system.
public struct IncidentInput: Manifest {
    public var project = "default"
    public var service = ""
    public var id = ""
    public var began_at = Timestamp.zero
    public var ended_at: Timestamp?
    public var revision: Int?
    public var by_change = true
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."), .required("service", \.service, "The service."),
        .required("id", \.id, "Its name: the same again corrects it."),
        .required("began_at", \.began_at, "When it began."), .optional("ended_at", \.ended_at, "When it was over."),
        .optional(
            "revision", \.revision, "Revision that caused it; absent: the one that had all traffic when it began."),
        .optional("by_change", \.by_change, "Whether a change was its cause; a failed disk is none."),
    ]
}

public struct DoraQuery: Manifest {
    public var project = "default"
    public var service: String?
    public var team: String?
    public var days = 30
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Project to look in."),
        .optional("service", \.service, "Only this service."),
        .optional("team", \.team, "Only services with this label `team`."),
        .optional("days", \.days, "How many days back.", in: 1...3650),
    ]
}

public struct DoraReport: Manifest {
    public var project = "default"
    public var service: String?
    public var team: String?
    public var from = Timestamp.zero
    public var to = Timestamp.zero
    public var deployment_frequency = DoraNumber()
    public var lead_time = DoraNumber()
    public var change_failure_rate = DoraNumber()
    public var recovery_time = DoraNumber()
    public var rework_rate = DoraNumber()
    public var lead_time_parts = LeadTimeParts()
    public var deployments: [Deployment] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("project", \.project, "Project."),
        .optional("service", \.service, "Service it is of, if one."),
        .optional("team", \.team, "Team it is of, if one."),
        .told("from", \.from, "Beginning of the time looked at."),
        .told("to", \.to, "End of it."),
        .told(
            "deployment_frequency", \.deployment_frequency,
            "Deployments that came to all traffic a day, failed later or not; target 10 or more."),
        .told("lead_time", \.lead_time, "Median seconds from commit to 100 % of traffic; target under 3600."),
        .told("change_failure_rate", \.change_failure_rate, "Share of deployments that failed; target under 0.05."),
        .told(
            "recovery_time", \.recovery_time,
            "Failed deployment recovery time: median seconds from the first bad signal to all traffic on a good revision; target under 900."
        ),
        .told(
            "rework_rate", \.rework_rate,
            "Share of deployments that only mended a failed one; target under 0.1, ours."),
        .told("lead_time_parts", \.lead_time_parts, "Where the lead time goes: the median of each part."),
        .told("deployments", \.deployments, "The deployments behind the numbers, newest first."),
    ]
}

public struct DoraNumber: Manifest {
    public var value: Double?
    public var unit = ""
    public var target = 0.0
    public var meets_target: Bool?
    /// How many deployments stand behind it.
    public var n = 0
    /// Per-day values, oldest first, for a trend; null on days without.
    public var trend: [Double?] = []
    public var distribution: DoraDistribution?
    public var weighted: Double?
    public var evidence: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("value", \.value, "The number; null when nothing stands behind it."),
        .told("unit", \.unit, "per_day, seconds or fraction."),
        .told("target", \.target, "What to reach."),
        .told("meets_target", \.meets_target, "Whether it does."),
        .told("n", \.n, "How many deployments stand behind it."),
        .told("trend", \.trend, "Value of each day, oldest first."),
        .optional("distribution", \.distribution, "How the values behind it lie."),
        .optional(
            "weighted", \.weighted,
            "Change failure rate with each failure weighed by the share of the traffic that it had."),
        .told("evidence", \.evidence, "Ids of the deployments behind it, newest first, at most 500."),
    ]
}

/// Quantiles between the two nearest values, in the number's unit; for a frequency, of the days.
public struct DoraDistribution: Manifest {
    public var min = 0.0
    public var p50 = 0.0
    public var p75 = 0.0
    public var p90 = 0.0
    public var p95 = 0.0
    public var max = 0.0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("min", \.min, "The least."), .told("p50", \.p50, "The middle."),
        .told("p75", \.p75, "75 in 100 are below."),
        .told("p90", \.p90, "90 in 100 are below."), .told("p95", \.p95, "95 in 100 are below."),
        .told("max", \.max, "The most."),
    ]
}

/// Where the time from a commit to all traffic goes, in seconds; together they are the whole.
public struct LeadTimeParts: Manifest {
    public var wait: Double?
    public var review: Double?
    public var queue: Double?
    public var build: Double?
    public var approval: Double?
    public var rollout: Double?
    public var n = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("wait", \.wait, "From the commit until something was done with it, the review left out."),
        .told("review", \.review, "From the opening of its pull request to the merge."),
        .told("queue", \.queue, "From the run's order to its first job."),
        .told("build", \.build, "The run's work before the rollout."),
        .told("approval", \.approval, "Waiting for people: at gates, and in pauses of the rollout."),
        .told("rollout", \.rollout, "The rollout, without those pauses."),
        .optional("n", \.n, "Deployments behind these medians."),
    ]
}

/// One attempt to bring a change to all traffic.
public struct Deployment: Manifest {
    public enum Outcome: String, WireEnum { case under_way, succeeded, failed, superseded }
    public var service = ""
    public var revision = 0
    public var outcome = Outcome.under_way
    public var commit: String?
    public var run: String?
    public var committed_at: Timestamp?
    public var started_at = Timestamp.zero
    public var finished_at: Timestamp?
    public var lead_time_seconds: Double?
    public var all_traffic_at: Timestamp?
    /// First sign that something was wrong, and when all traffic was on a good revision again.
    public var first_bad_at: Timestamp?
    public var recovered_at: Timestamp?
    public var reason: String?
    public var id = ""
    public var exposure: Double?
    public var rework = false
    public var hotfix = false
    public var incidents: [String] = []
    public var parts: LeadTimeParts?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("id", \.id, "SERVICE/NUMBER: the attempt."),
        .told("service", \.service, "Service."),
        .told("revision", \.revision, "Revision."),
        .told("outcome", \.outcome, "How it ended."),
        .optional("commit", \.commit, "Commit."),
        .optional("run", \.run, "Run."),
        .optional("committed_at", \.committed_at, "When the commit was made."),
        .told("started_at", \.started_at, "When the rollout began."),
        .told("finished_at", \.finished_at, "When it ended."),
        .optional("lead_time_seconds", \.lead_time_seconds, "From commit to 100 % of traffic."),
        .optional("all_traffic_at", \.all_traffic_at, "When it had all traffic, whatever became of it later."),
        .optional("first_bad_at", \.first_bad_at, "First bad signal."),
        .optional("recovered_at", \.recovered_at, "When all traffic was on a good revision again."),
        .optional("reason", \.reason, "Why it ended so."),
        .optional("exposure", \.exposure, "Share of the service's requests that it was given while it was rolled out."),
        .optional("rework", \.rework, "Whether it only mended a failed one."),
        .optional("hotfix", \.hotfix, "Whether it was deployed as a fix of the one before."),
        .optional("incidents", \.incidents, "Incidents that it caused."),
        .optional("parts", \.parts, "Where its lead time went."),
    ]
}
