public import Manifests

/// What is done about tests that now pass and now fail.
public struct FlakySpec: Manifest {
    /// Whether a test that was found flaky is put in quarantine: by itself, by people only, or not at all.
    public enum Quarantine: String, WireEnum { case auto, manual, never }
    public var rerun = 0
    public var quarantine = Quarantine.manual
    public var expire = TimeSpan.days(30)
    public var owner: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional(
            "rerun", \.rerun,
            "How often a step whose tests failed is run again, with their names in $VAGUS_RERUN_TESTS, one a line. A test that passes then has passed, and is flaky.",
            in: 0...10),
        .optional(
            "quarantine", \.quarantine,
            "`auto`: a flaky test's failures no longer fail the job; `manual`: only those of tests that people name; `never`: none."
        ),
        .optional("expire", \.expire, "How long an automatic quarantine holds; the test's failures then count again."),
        .optional(
            "owner", \.owner, "Who has to look after what is put in quarantine; absent: `pipeline:` and its name."),
    ]
}

/// Every operation on the tests of pipelines.
public enum Tests {
    public static let list = Operation<TestQuery, ItemList<TestRecord>>(
        "tests.list", .get, "/api/v1/projects/{project}/pipelines/{pipeline}/tests", needs: .read,
        "Lists the tests that a pipeline's reports have told of.")
    public static let history = Operation<TestHistoryQuery, TestHistory>(
        "tests.history", .get, "/api/v1/projects/{project}/pipelines/{pipeline}/tests/history", needs: .read,
        "Shows how a test ended in the latest runs, newest first.")
    public static let quarantine = Operation<QuarantineInput, TestRecord>(
        "tests.quarantine", .post, "/api/v1/projects/{project}/pipelines/{pipeline}/tests/quarantine", needs: .write,
        "Lets a test's failures not fail its job, for a while, in somebody's care.")
    public static let release = Operation<TestName, TestRecord>(
        "tests.release", .post, "/api/v1/projects/{project}/pipelines/{pipeline}/tests/release", needs: .write,
        "Ends a test's quarantine: its failures count again.")
}

/// One test of a pipeline.
public struct TestRecord: Manifest {
    public var pipeline = ""
    public var suite = ""
    public var name = ""
    public var file: String?
    public var verdict = TestCase.Verdict.passed
    public var last_number = 0
    public var last_at = Timestamp.zero
    public var runs = 0
    public var failures = 0
    public var flakes = 0
    public var is_flaky = false
    public var mean_seconds = 0.0
    public var quarantine: TestQuarantine?
    public init() {}
    /// "suite.name", by which people call it.
    public var id: String { TestCase.id(suite: suite, name: name) }
    public static let fields: [Field<Self>] = [
        .told("pipeline", \.pipeline, "Its pipeline."),
        .told("suite", \.suite, "Its class or suite."),
        .told("name", \.name, "Its name."),
        .optional("file", \.file, "File it is written in."),
        .told("verdict", \.verdict, "How it ended last."),
        .told("last_number", \.last_number, "Number of the last run that told of it."),
        .told("last_at", \.last_at, "When that was."),
        .told("runs", \.runs, "How often it was run."),
        .told("failures", \.failures, "How often it failed."),
        .told("flakes", \.flakes, "How often it failed and passed on the same code."),
        .told("is_flaky", \.is_flaky, "Whether that happened in the last 30 days."),
        .told("mean_seconds", \.mean_seconds, "How long it takes, on average."),
        .optional("quarantine", \.quarantine, "Why its failures do not count."),
    ]
}

extension TestCase {
    /// "suite.name", by which people call a test.
    public var id: String { Self.id(suite: suite, name: name) }
    public static func id(suite: String, name: String) -> String { suite.isEmpty ? name : "\(suite).\(name)" }
    public var hasFailed: Bool { verdict == .failed || verdict == .broken }
}

public struct TestQuarantine: Manifest {
    public var owner = ""
    public var reason: String?
    /// Set by vagus itself, as `reports.flaky.quarantine: auto` says.
    public var is_automatic = false
    public var since = Timestamp.zero
    public var until = Timestamp.zero
    /// Its time is over: the test's failures count.
    public var has_expired = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("owner", \.owner, "Who looks after it."),
        .optional("reason", \.reason, "Why."),
        .told("is_automatic", \.is_automatic, "Whether vagus put it there itself."),
        .told("since", \.since, "Since when."),
        .told("until", \.until, "Until when."),
        .told("has_expired", \.has_expired, "Its time is over: the test's failures count again."),
    ]
}

public struct TestQuery: Manifest {
    public var project = "default"
    public var pipeline = ""
    public var flaky = false
    public var quarantined = false
    public var failing = false
    public var limit = 200
    public var after: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("pipeline", \.pipeline, "The pipeline."),
        .optional("flaky", \.flaky, "Only flaky ones."),
        .optional("quarantined", \.quarantined, "Only those in quarantine."),
        .optional("failing", \.failing, "Only those that failed when they ran last."),
        .optional("limit", \.limit, "At most this many.", in: 1...1000),
        .optional("after", \.after, "Where the page before ended."),
    ]
}

/// Names a test: "suite.name", or its name alone when no other has it.
public struct TestName: Manifest {
    public var project = "default"
    public var pipeline = ""
    public var test = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("pipeline", \.pipeline, "The pipeline."),
        .required("test", \.test, "The test: `suite.name`, or its name alone when no other has it."),
    ]
}

public struct TestHistoryQuery: Manifest {
    public var project = "default"
    public var pipeline = ""
    public var test = ""
    public var limit = 50
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("pipeline", \.pipeline, "The pipeline."),
        .required("test", \.test, "The test: `suite.name`, or its name alone when no other has it."),
        .optional("limit", \.limit, "At most this many results.", in: 1...500),
    ]
}

public struct TestHistory: Manifest {
    public var test = TestRecord()
    public var results: [TestResult] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("test", \.test, "The test."), .told("results", \.results, "How it ended, newest first."),
    ]
}

public struct TestResult: Manifest {
    public var run = ""
    public var number = 0
    public var job = ""
    public var attempt = 1
    public var round = 0
    public var commit: String?
    public var verdict = TestCase.Verdict.passed
    public var is_flaky = false
    public var seconds = 0.0
    public var message: String?
    public var at = Timestamp.zero
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("run", \.run, "Id of the run."),
        .told("number", \.number, "Its number."),
        .told("job", \.job, "The job: stage/job."),
        .told("attempt", \.attempt, "Attempt of the job."),
        .told("round", \.round, "Rerun within the attempt; 0 is the first."),
        .optional("commit", \.commit, "Commit of the run."),
        .told("verdict", \.verdict, "How it ended."),
        .told("is_flaky", \.is_flaky, "It ended otherwise on the same code."),
        .told("seconds", \.seconds, "How long it took."),
        .optional("message", \.message, "Why it failed."),
        .told("at", \.at, "When it was told."),
    ]
}

public struct QuarantineInput: Manifest {
    public var project = "default"
    public var pipeline = ""
    public var test = ""
    public var owner = ""
    public var expire = TimeSpan.days(30)
    public var reason: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("pipeline", \.pipeline, "The pipeline."),
        .required("test", \.test, "The test: `suite.name`, or its name alone when no other has it."),
        .required("owner", \.owner, "Who looks after it: `team:payments`, `user:ana`."),
        .optional("expire", \.expire, "How long; at most a year."),
        .optional("reason", \.reason, "Why."),
    ]
}
