public import Manifests

/// The four numbers, measured from vagus's own events.
public enum Dora {
    public static let get = Operation<DoraQuery, DoraReport>(
        "dora.get", .get, "/api/v1/projects/{project}/dora", needs: .read,
        "Tells deployment frequency, lead time, change failure rate and recovery time, each with the deployments behind it."
    )
}

public struct DoraQuery: Manifest {
    public var project = "default"
    public var service: String?
    public var days = 30
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Project to look in."),
        .optional("service", \.service, "Only this service."),
        .optional("days", \.days, "How many days back.", in: 1...3650),
    ]
}

public struct DoraReport: Manifest {
    public var project = "default"
    public var from = Timestamp.zero
    public var to = Timestamp.zero
    public var deployment_frequency = DoraNumber()
    public var lead_time = DoraNumber()
    public var change_failure_rate = DoraNumber()
    public var recovery_time = DoraNumber()
    public var deployments: [Deployment] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("project", \.project, "Project."),
        .told("from", \.from, "Beginning of the time looked at."),
        .told("to", \.to, "End of it."),
        .told("deployment_frequency", \.deployment_frequency, "Successful deployments a day; target 10 or more."),
        .told("lead_time", \.lead_time, "Median seconds from commit to 100 % of traffic; target under 3600."),
        .told("change_failure_rate", \.change_failure_rate, "Share of deployments that failed; target under 0.05."),
        .told(
            "recovery_time", \.recovery_time,
            "Median seconds from the first bad signal to all traffic on a good revision; target under 900."),
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
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("value", \.value, "The number; null when nothing stands behind it."),
        .told("unit", \.unit, "per_day, seconds or fraction."),
        .told("target", \.target, "What to reach."),
        .told("meets_target", \.meets_target, "Whether it does."),
        .told("n", \.n, "How many deployments stand behind it."),
        .told("trend", \.trend, "Value of each day, oldest first."),
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
    /// First sign that something was wrong, and when all traffic was on a good revision again.
    public var first_bad_at: Timestamp?
    public var recovered_at: Timestamp?
    public var reason: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("service", \.service, "Service."),
        .told("revision", \.revision, "Revision."),
        .told("outcome", \.outcome, "How it ended."),
        .optional("commit", \.commit, "Commit."),
        .optional("run", \.run, "Run."),
        .optional("committed_at", \.committed_at, "When the commit was made."),
        .told("started_at", \.started_at, "When the rollout began."),
        .told("finished_at", \.finished_at, "When it ended."),
        .optional("lead_time_seconds", \.lead_time_seconds, "From commit to 100 % of traffic."),
        .optional("first_bad_at", \.first_bad_at, "First bad signal."),
        .optional("recovered_at", \.recovered_at, "When all traffic was on a good revision again."),
        .optional("reason", \.reason, "Why it ended so."),
    ]
}
