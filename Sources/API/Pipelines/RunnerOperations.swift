public import Manifests

/// What a runner says and asks. A runner holds a job by a lease: the job's `epoch` counts leases, and a report with an
/// old epoch is refused (fencing), so that a runner that was thought lost cannot speak for the job any more.
public enum Runners {
    /// Tells that a runner has (re)started. Leases of its earlier incarnations end at once.
    public static let hello = Operation<RunnerHello, RunnerWelcome>(
        "runners.hello", .post, "/api/v1/runners/{name}/hello", needs: .agent, "Announces a runner.")
    /// Waits up to 20 s for a job.
    public static let lease = Operation<LeaseInput, LeaseOutcome>(
        "runners.lease", .post, "/api/v1/runners/{name}/lease", needs: .agent, wait: .seconds(20), "Waits for a job.")
    /// Keeps a lease; tells whether the job has been cancelled meanwhile.
    public static let renew = Operation<LeaseKey, LeaseState>(
        "runners.renew", .post, "/api/v1/leases/{run}/renew", needs: .agent, "Keeps a lease.")
    /// Its input is in path and query, its body the bytes themselves: it is not called like the others, nor among them.
    public static let append = Operation<OutputInput, LeaseState>(
        "runners.append", .put, "/api/v1/leases/{run}/output", needs: .agent,
        "Appends output at its offset; what is there already is left alone, so a repeat is harmless.")
    public static let stepStarted = Operation<StepReport, LeaseState>(
        "runners.step-started", .post, "/api/v1/leases/{run}/step-started", needs: .agent, "Tells that a step begins.")
    public static let stepFinished = Operation<StepReport, LeaseState>(
        "runners.step-finished", .post, "/api/v1/leases/{run}/step-finished", needs: .agent,
        "Tells a step's outcome and artifacts.")
    /// In one word what would be three: the ends of jobs, each with the last of its output, and the question for more.
    public static let jobsFinished = Operation<JobReports, JobReportsOutcome>(
        "runners.jobs-finished", .post, "/api/v1/runners/{name}/jobs-finished", needs: .agent,
        "Gives jobs back, ended, and takes as many that are ready; waits for none.")
    /// Test cases of a job's reports, in pieces, before the job is given back.
    public static let testCases = Operation<TestCasesInput, LeaseState>(
        "runners.test-cases", .post, "/api/v1/leases/{run}/test-cases", needs: .agent,
        "Tells the test cases of a job's reports.")
    /// Which of these blobs the server lacks; what it has it will not forget within a day.
    public static let absent = Operation<DigestList, DigestList>(
        "runners.absent-blobs", .post, "/api/v1/runners/absent-blobs", needs: .agent,
        "Tells which blobs are yet to be sent.")
    /// No more jobs for this runner: it finishes those that it has, and ends.
    public static let drain = Operation<LeaseInput, Nothing>(
        "runners.drain", .post, "/api/v1/runners/{name}/drain", needs: .agent, "Takes a runner out of service.")
    /// A fresh one for each step: none is good for longer than ten minutes.
    public static let idToken = Operation<LeaseKey, IDToken>(
        "runners.id-token", .post, "/api/v1/leases/{run}/id-token", needs: .agent,
        "Signs an identity token for a job that is held.")
    public static let list = Operation<Nothing, ItemList<RunnerInfo>>(
        "runners.list", .get, "/api/v1/runners", needs: .read, "Lists runners.")
}

public struct RunnerHello: Manifest {
    public var name = ""
    /// Changes with every start of the runner's process.
    public var incarnation = ""
    public var labels: [String] = []
    public var capacity = 1
    public var version = ""
    /// Absent from runners of an older version: then it is the process executor alone.
    public var executors: [ExecutorKind] = [.process]
    public var cpu: CPUAmount?
    public var memory: ByteSize?
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "The runner's name; keeps its workspaces."),
        .required("incarnation", \.incarnation, "Changes with every start."),
        .optional("labels", \.labels, "What it offers."),
        .optional("capacity", \.capacity, "How many jobs it takes at once.", in: 1...1000),
        .optional("version", \.version, "Its version."),
        .optional("executors", \.executors, "What it can execute steps with."),
        .optional("cpu", \.cpu, "Processors it gives to jobs, all together; absent: unknown, taken as enough."),
        .optional("memory", \.memory, "Memory it gives to jobs, all together; absent: unknown, taken as enough."),
    ]
}

public struct RunnerWelcome: Manifest {
    public var lease_seconds = 15.0
    public var renew_seconds = 4.0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("lease_seconds", \.lease_seconds, "How long a lease holds."),
        .told("renew_seconds", \.renew_seconds, "How often to renew it."),
    ]
}

public struct RunnerInfo: Manifest {
    public var name = ""
    public var labels: [String] = []
    public var capacity = 1
    public var version = ""
    public var seen_at = Timestamp.zero
    public var jobs: [String] = []
    public var executors: [ExecutorKind] = []
    public var cpu: CPUAmount?
    public var memory: ByteSize?
    public var is_draining = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("name", \.name, "Its name."),
        .told("labels", \.labels, "What it offers."),
        .told("capacity", \.capacity, "How many jobs it takes at once."),
        .told("version", \.version, "Its version."),
        .told("seen_at", \.seen_at, "When it last spoke."),
        .told("jobs", \.jobs, "Jobs it holds: run/stage/job."),
        .told("executors", \.executors, "What it can execute steps with."),
        .optional("cpu", \.cpu, "Processors it gives to jobs."),
        .optional("memory", \.memory, "Memory it gives to jobs."),
        .optional("is_draining", \.is_draining, "It finishes the jobs that it has and takes no more."),
    ]
}

public struct LeaseInput: Manifest {
    public var name = ""
    public var incarnation = ""
    /// How many jobs it can begin at once.
    public var count = 1
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "The runner."),
        .required("incarnation", \.incarnation, "Its incarnation."),
        .optional("count", \.count, "How many jobs it can begin now.", in: 1...1000),
    ]
}

public struct LeaseOutcome: Manifest {
    public var leases: [Lease] = []
    public init() {}
    public var lease: Lease? {
        get { leases.first }
        set { leases = newValue.map { [$0] } ?? [] }
    }
    public static let fields: [Field<Self>] = [.told("leases", \.leases, "Jobs; none when none came in time.")]
}

/// A job in a runner's hands, with everything it needs to do it.
public struct Lease: Manifest {
    public var project = ""
    public var run = ""
    public var stage = ""
    public var job = ""
    public var epoch = 0
    public var attempt = 1
    /// Steps already done in this job's kept workspace; the runner goes on behind them.
    public var first_step = 0
    public var timeout_seconds = 3600.0
    public var steps: [StepOrder] = []
    public var artifacts: [ArtifactSpec] = []
    public var reports = ReportsSpec()
    public var output_offset: Int64 = 0
    public var execution = ExecutionSpec()
    /// How often the job was tried again after a failure; a lost runner does not count.
    public var retry = 0
    public var cache: [CacheSpec] = []
    public var workspace = WorkspaceSpec()
    /// Secret that reads the run's project over git and dies with the lease.
    public var token: String?
    /// Name → value of what its steps may use and its output must not show; never stored, never logged.
    public var secrets: Ordered<String> = [:]
    /// Tests whose failures do not fail the job: "suite.name".
    public var quarantined: [String] = []
    /// The server has noted that the first step begins; the runner need not tell.
    public var begun = false
    public var environment: String?
    public var id_token: IDTokenSpec?
    public init() {}
    public var key: LeaseKey {
        var key = LeaseKey()
        (key.run, key.stage, key.job, key.epoch) = (run, stage, job, epoch)
        return key
    }
    public static let fields: [Field<Self>] = [
        .told("project", \.project, "Project."),
        .told("run", \.run, "Run."),
        .told("stage", \.stage, "Stage."),
        .told("job", \.job, "Job."),
        .told("epoch", \.epoch, "Counts leases of this job."),
        .told("attempt", \.attempt, "Counts tries."),
        .told("first_step", \.first_step, "Index of the first step to do."),
        .told("timeout_seconds", \.timeout_seconds, "Longest time of the job."),
        .told("steps", \.steps, "What to do."),
        .told("artifacts", \.artifacts, "Files to keep when all steps are done."),
        .told("reports", \.reports, "Test reports to read."),
        .told("output_offset", \.output_offset, "Where the job's output goes on."),
        .optional("execution", \.execution, "What executes the steps, and within which bounds."),
        .optional("retry", \.retry, "How often it was tried again after a failure."),
        .optional("token", \.token, "Secret that reads the run's project over git and dies with the lease."),
        .optional("cache", \.cache, "Folders to begin with, and to keep for later runs."),
        .optional("workspace", \.workspace, "What becomes of its files."),
        .optional("secrets", \.secrets, "Secrets of this job: name → value."),
        .optional("quarantined", \.quarantined, "Tests whose failures do not fail it."),
        .optional("begun", \.begun, "That the first step begins is noted already."),
        .optional("environment", \.environment, "Environment it works in."),
        .optional("id_token", \.id_token, "Audience of its identity token, to be asked for before each step."),
    ]
}

/// One step, resolved: no expressions left, inputs by digest.
public struct StepOrder: Manifest {
    public var index = 0
    public var id: String?
    public var name = ""
    public var verb = ""
    public var settings: JSONValue = .null
    public var environment: Ordered<String> = [:]
    public var timeout_seconds: Double?
    /// Condition, evaluated by the runner against the steps before; absent: none of them failed.
    public var `if`: String?
    public var continue_on_error = false
    /// Artifacts to fetch: name for the worker → artifact.
    public var inputs: Ordered<Artifact> = [:]
    /// Declared things: kind → spec, with "name".
    public var resources: Ordered<JSONValue> = [:]
    /// Facts for the worker: the champion's version and metrics, for one.
    public var facts: Ordered<JSONValue> = [:]
    /// Where checkout finds the repository and which commit it takes.
    public var repository: String?
    public var commit: String?
    /// Values of the server's contexts that `if` and what was left of expressions read.
    public var context: Ordered<JSONValue> = [:]
    public var repository_name: String?
    public var shell = StepShell.bash
    public var working_directory: String?
    public var retry = StepRetrySpec()
    /// Names of variables that the step itself sets.
    public var own_variables: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("index", \.index, "Position in the job."),
        .optional("id", \.id, "Its id."),
        .told("name", \.name, "Its name."),
        .told("verb", \.verb, "Its verb."),
        .told("settings", \.settings, "Settings of the verb."),
        .told("environment", \.environment, "Environment variables."),
        .optional("timeout_seconds", \.timeout_seconds, "Longest time."),
        .optional("if", \.if, "Condition."),
        .optional("continue_on_error", \.continue_on_error, "Its failure does not fail the job."),
        .optional("inputs", \.inputs, "Artifacts to fetch."),
        .optional("resources", \.resources, "Declared things the verb reads."),
        .optional("facts", \.facts, "Facts the verb reads."),
        .optional("repository", \.repository, "Repository to check out: a path or URL for git."),
        .optional("commit", \.commit, "Commit to check out."),
        .optional("context", \.context, "Values that its expressions read."),
        .optional("repository_name", \.repository_name, "Name of that repository in the project."),
        .optional("shell", \.shell, "What reads the script."),
        .optional("working_directory", \.working_directory, "Folder of the workspace in which it begins."),
        .optional("retry", \.retry, "When it is tried again."),
        .optional("own_variables", \.own_variables, "Names of variables that the step itself sets."),
    ]
}

public struct LeaseKey: Manifest {
    public var run = ""
    public var stage = ""
    public var job = ""
    public var epoch = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("run", \.run, "Run."), .required("stage", \.stage, "Stage."), .required("job", \.job, "Job."),
        .required("epoch", \.epoch, "Epoch of the lease."),
    ]
}

public struct LeaseState: Manifest {
    /// The job has been cancelled, or the lease lost: stop.
    public var stop = false
    public var reason: String?
    /// Where the job's output stands.
    public var output_offset: Int64 = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("stop", \.stop, "Stop this job now."),
        .optional("reason", \.reason, "Why."),
        .told("output_offset", \.output_offset, "Where the job's output stands."),
    ]
}

/// Where a piece of output belongs.
public struct OutputInput: Manifest {
    public var run = ""
    public var stage = ""
    public var job = ""
    public var epoch = 0
    public var offset: Int64 = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("run", \.run, "Run."), .required("stage", \.stage, "Stage."), .required("job", \.job, "Job."),
        .required("epoch", \.epoch, "Epoch of the lease."),
        .required("offset", \.offset, "Offset of the first byte in the job's output."),
    ]
}

public struct StepReport: Manifest {
    public var run = ""
    public var stage = ""
    public var job = ""
    public var epoch = 0
    public var step = Step()
    public var artifacts: [Artifact] = []
    public var annotations: [Annotation] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("run", \.run, "Run."), .required("stage", \.stage, "Stage."), .required("job", \.job, "Job."),
        .required("epoch", \.epoch, "Epoch of the lease."),
        .required("step", \.step, "The step as it stands."),
        .optional("artifacts", \.artifacts, "What it left behind."),
        .optional("annotations", \.annotations, "Errors, warnings and notices that it has told."),
    ]
}

public struct JobReport: Manifest {
    public var run = ""
    public var stage = ""
    public var job = ""
    public var epoch = 0
    public var status = RunStatus.succeeded
    public var cause: RetrySpec.Cause?
    public var reason: String?
    public var outputs: Ordered<JSONValue> = [:]
    public var artifacts: [Artifact] = []
    public var tests: TestSummary?
    public var coverage: Coverage?
    public var workspace: String?
    /// Outcomes of steps that were not told yet.
    public var steps: [StepReport] = []
    /// The last of its output, when it is short and was not sent yet.
    public var output: OutputTail?
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("run", \.run, "Run."), .required("stage", \.stage, "Stage."), .required("job", \.job, "Job."),
        .required("epoch", \.epoch, "Epoch of the lease."),
        .required("status", \.status, "How it ended."),
        .optional("cause", \.cause, "Why it failed, for retries."),
        .optional("reason", \.reason, "Why it ended so, for people."),
        .optional("outputs", \.outputs, "Values for later stages."),
        .optional("artifacts", \.artifacts, "Files to keep."),
        .optional("tests", \.tests, "What the JUnit report said."),
        .optional("coverage", \.coverage, "What the coverage report said."),
        .optional("workspace", \.workspace, "Folder that was kept."),
        .optional("steps", \.steps, "Outcomes of steps that were not told yet."),
        .optional("output", \.output, "The last of its output, when it was not sent yet."),
    ]
}

/// The end of a job's output.
public struct OutputTail: Manifest {
    public var offset: Int64 = 0
    public var text = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("offset", \.offset, "Offset of its first byte in the job's output."),
        .told("text", \.text, "The bytes, which are UTF-8."),
    ]
}

/// Jobs that a runner gives back at once.
public struct JobReports: Manifest {
    public var name = ""
    public var incarnation = ""
    /// How many jobs it can begin then.
    public var count = 0
    public var reports: [JobReport] = []
    public init() {}
    /// Reports in one call.
    public static let limit = 32
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "The runner."),
        .required("incarnation", \.incarnation, "Its incarnation."),
        .optional("count", \.count, "How many jobs it can begin then.", in: 0...1000),
        .required("reports", \.reports, "How each of them ended."),
    ]
}

public struct JobReportsOutcome: Manifest {
    /// For each report, in their order.
    public var answers: [JobReportAnswer] = []
    public var leases: [Lease] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("answers", \.answers, "For each report, in their order."),
        .told("leases", \.leases, "Jobs to begin."),
    ]
}

public struct JobReportAnswer: Manifest {
    public var state = LeaseState()
    /// Why the report was not taken.
    public var problem: Problem?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("state", \.state, "How the lease stands."),
        .optional("problem", \.problem, "Why the report was not taken."),
    ]
}

public struct TestSummary: Manifest {
    public var tests = 0
    public var failures = 0
    public var errors = 0
    public var skipped = 0
    public var failed_names: [String] = []
    public var flaky = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("tests", \.tests, "Test cases."), .told("failures", \.failures, "Failed."),
        .told("errors", \.errors, "Broken."), .told("skipped", \.skipped, "Skipped."),
        .told("failed_names", \.failed_names, "Names of those that failed, at most 50."),
        .optional("flaky", \.flaky, "Passed only when they were run again."),
    ]
}
