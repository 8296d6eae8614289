public import Manifests

/// How a run, a job or a step stands.
public enum RunStatus: String, WireEnum {
    case queued, running, waiting, succeeded, failed, cancelled, skipped, superseded
    public var hasEnded: Bool { ![.queued, .running, .waiting].contains(self) }
}

/// One run of a pipeline.
public struct Run: Manifest {
    public var id = ""
    public var project = "default"
    public var pipeline = ""
    public var number = 0
    public var status = RunStatus.queued
    public var reason: String?
    public var trigger = Trigger()
    public var repository: String?
    public var commit: String?
    /// Time of the commit itself, for lead time.
    public var committed_at: Timestamp?
    public var parameters: Ordered<JSONValue> = [:]
    public var created_at = Timestamp.zero
    public var started_at: Timestamp?
    public var finished_at: Timestamp?
    public var jobs: [Job] = []
    /// Id of the newer run that took its place.
    public var superseded_by: String?
    public var uses: [CalledPipeline] = []
    public var gates: [Gate] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("id", \.id, "Its id."),
        .told("project", \.project, "Its project."),
        .told("pipeline", \.pipeline, "Its pipeline."),
        .told("number", \.number, "Its number in the pipeline, from 1."),
        .told("status", \.status, "How it stands."),
        .optional("reason", \.reason, "Why it stands so."),
        .told("trigger", \.trigger, "What set it off."),
        .optional("repository", \.repository, "Repository of its commit."),
        .told("commit", \.commit, "Its commit."),
        .optional("committed_at", \.committed_at, "When the commit was made."),
        .optional("parameters", \.parameters, "Parameters it was given."),
        .told("created_at", \.created_at, "When it was asked for."),
        .told("started_at", \.started_at, "When its first job began."),
        .told("finished_at", \.finished_at, "When it ended."),
        .told("jobs", \.jobs, "Its jobs, in the order of their stages."),
        .optional("superseded_by", \.superseded_by, "Id of the newer run that took its place."),
        .optional("uses", \.uses, "Pipelines whose stages are part of it."),
        .optional("gates", \.gates, "Its jobs at the gates of environments, and what was said of them."),
    ]
}

public struct Job: Manifest {
    public var stage = ""
    public var name = ""
    public var type = StageType.other
    public var needs: [String] = []
    public var status = RunStatus.queued
    /// Why it was skipped, waits, was cancelled or failed.
    public var reason: String?
    public var attempt = 0
    public var runner: String?
    public var started_at: Timestamp?
    public var finished_at: Timestamp?
    public var outputs: Ordered<JSONValue> = [:]
    public var tests: TestSummary?
    public var steps: [Step] = []
    /// "unit (debian12, 6.3)", for a cell of a matrix.
    public var title: String?
    /// Values of its cell.
    public var matrix: Ordered<JSONValue> = [:]
    public var attempts: [JobAttempt] = []
    public var coverage: Coverage?
    public var annotations: [Annotation] = []
    /// Folder on its runner that was kept when it ended.
    public var workspace: String?
    public var ready_at: Timestamp?
    public var runs_on: RunsOn?
    public init() {}
    /// "stage/name": unique in the run.
    public var key: String { "\(stage)/\(name)" }
    public static let fields: [Field<Self>] = [
        .told("stage", \.stage, "Its stage."),
        .told("name", \.name, "Its name in the stage."),
        .told("type", \.type, "Type of its stage."),
        .told("needs", \.needs, "What it waits for: stages, and jobs as `stage/job`."),
        .told("status", \.status, "How it stands."),
        .optional("reason", \.reason, "Why it stands so."),
        .told("attempt", \.attempt, "How often it was begun."),
        .optional("runner", \.runner, "Runner that has or had it."),
        .told("started_at", \.started_at, "When it began."),
        .told("finished_at", \.finished_at, "When it ended."),
        .optional("outputs", \.outputs, "Values for later stages."),
        .optional("tests", \.tests, "What its JUnit report said."),
        .told("steps", \.steps, "Its steps."),
        .optional("title", \.title, "What to call it, for a cell of a matrix."),
        .optional("matrix", \.matrix, "Values of its cell."),
        .optional("attempts", \.attempts, "Its tries, when there were several."),
        .optional("coverage", \.coverage, "What its coverage report said."),
        .optional("annotations", \.annotations, "Errors, warnings and notices that its steps have told."),
        .optional("workspace", \.workspace, "Folder that its runner has kept, until that makes room."),
        .optional("ready_at", \.ready_at, "Since when it waits for a runner, while it does."),
        .optional("runs_on", \.runs_on, "What it asks of a runner, while it waits for one."),
    ]
}

public struct Step: Manifest {
    public var index = 0
    public var id: String?
    public var name = ""
    public var verb = ""
    public var status = RunStatus.queued
    public var reason: String?
    public var exit_code: Int?
    public var started_at: Timestamp?
    public var finished_at: Timestamp?
    /// How often it was begun: more than 1 only after a lost lease or a retry.
    public var attempts = 0
    public var outputs: Ordered<JSONValue> = [:]
    public var metrics: Ordered<Double> = [:]
    /// What the verb found: expectations, gates, rounds. Free JSON, shown by the UI.
    public var report: JSONValue?
    /// What it wrote to $VAGUS_SUMMARY: Markdown.
    public var summary: String?
    /// How it counts, where that is not how it stands: a failure under `continue_on_error` counts as success.
    public var conclusion: RunStatus?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("index", \.index, "Position in its job, from 0."),
        .optional("id", \.id, "Its id."),
        .told("name", \.name, "What it is called."),
        .told("verb", \.verb, "Its verb."),
        .told("status", \.status, "How it stands."),
        .optional("reason", \.reason, "Why it stands so."),
        .optional("exit_code", \.exit_code, "Exit code of its process."),
        .told("started_at", \.started_at, "When it began."),
        .told("finished_at", \.finished_at, "When it ended."),
        .told("attempts", \.attempts, "How often it was begun."),
        .optional("outputs", \.outputs, "Values it set."),
        .optional("metrics", \.metrics, "Numbers it measured."),
        .optional("report", \.report, "What its verb found."),
        .optional("summary", \.summary, "What it has to say, in Markdown."),
        .optional("conclusion", \.conclusion, "How it counts, where that differs from how it stands."),
    ]
}

/// One thing a run left behind.
public struct Artifact: Manifest {
    public enum Form: String, WireEnum { case file, tree }
    public var run = ""
    public var stage = ""
    public var job = ""
    public var name = ""
    public var digest = ""
    public var size_bytes: Int64 = 0
    public var form = Form.file
    public var file_name = ""
    public var created_at = Timestamp.zero
    public var expires_at: Timestamp?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("run", \.run, "Run that made it."),
        .told("stage", \.stage, "Stage that made it."),
        .told("job", \.job, "Job that made it."),
        .told("name", \.name, "Its name; later stages write `stage.name`."),
        .told("digest", \.digest, "SHA-256 of its content; GET /api/v1/blobs/{digest} returns it."),
        .told("size_bytes", \.size_bytes, "Its size."),
        .told("form", \.form, "A file, or a tree: a list of files, each a blob."),
        .told("file_name", \.file_name, "What to call it on disk."),
        .told("created_at", \.created_at, "When it was made."),
        .optional("expires_at", \.expires_at, "When it is forgotten; absent: never."),
    ]
}

/// Every operation on runs.
public enum Runs {
    public static let start = Operation<RunInput, Run>(
        "runs.start", .post, "/api/v1/projects/{project}/pipelines/{pipeline}/runs", needs: .run, "Starts a run.")
    public static let list = Operation<RunQuery, ItemList<Run>>(
        "runs.list", .get, "/api/v1/projects/{project}/runs", needs: .read,
        "Lists runs, newest first, without their steps.")
    public static let get = Operation<RunName, Run>(
        "runs.get", .get, "/api/v1/projects/{project}/runs/{run}", needs: .read,
        "Shows one run. `run` is its id, or PIPELINE:NUMBER, or PIPELINE:latest.")
    public static let cancel = Operation<RunName, Run>(
        "runs.cancel", .post, "/api/v1/projects/{project}/runs/{run}/cancel", needs: .run,
        "Stops a run: its steps get SIGTERM, then SIGKILL.")
    public static let artifacts = Operation<RunName, ItemList<Artifact>>(
        "runs.artifacts", .get, "/api/v1/projects/{project}/runs/{run}/artifacts", needs: .read,
        "Lists what a run left behind.")
    public static let log = Operation<LogQuery, LogChunk>(
        "runs.log", .get, "/api/v1/projects/{project}/runs/{run}/log", needs: .read, wait: .seconds(25),
        "Reads a job's output from a byte, a line, or so many lines before its end; waits for more when asked to.")
    public static let searchLog = Operation<LogSearch, LogMatches>(
        "runs.search-log", .get, "/api/v1/projects/{project}/runs/{run}/log/search", needs: .read,
        "Finds lines of a job's output, for at most 2 s; `next_line` tells where to go on.")
}

public struct RunInput: Manifest {
    public var project = "default"
    public var pipeline = ""
    public var parameters: Ordered<JSONValue> = [:]
    public var commit: String?
    public var cause: Trigger.Cause?
    public var event: JSONValue?
    public var labels: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("pipeline", \.pipeline, "Pipeline to run."),
        .optional("parameters", \.parameters, "Values of its parameters."),
        .optional("commit", \.commit, "Commit, branch or tag; absent: head of the default branch."),
        .optional("cause", \.cause, "Why: manual, api, alert or webhook; absent: manual, or api for a part of vagus."),
        .optional("event", \.event, "Facts about why: `${{ event.* }}`."),
        .optional("labels", \.labels, "Words that a freeze may let pass: hotfix."),
    ]
}

public struct RunQuery: Manifest {
    public var project = "default"
    public var pipeline: String?
    public var status: RunStatus?
    public var limit = 50
    public var after: String?
    public var jobs = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Project to look in."),
        .optional("pipeline", \.pipeline, "Only runs of this pipeline."),
        .optional("status", \.status, "Only runs that stand so."),
        .optional("jobs", \.jobs, "With the jobs of each run, without their steps."),
        .optional("limit", \.limit, "At most this many.", in: 1...1000),
        .optional("after", \.after, "Where the page before ended."),
    ]
}

public struct RunName: Manifest {
    public var project = "default"
    public var run = ""
    public init() {}
    public init(project: String, run: String) { (self.project, self.run) = (project, run) }
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("run", \.run, "Its id, or PIPELINE:NUMBER, or PIPELINE:latest."),
    ]
}

public struct LogQuery: Manifest {
    public var project = "default"
    public var run = ""
    /// "stage/job"; the stage alone will do when it has one job.
    public var job = ""
    public var offset: Int64 = 0
    public var limit = 262_144
    public var wait = false
    public var line: Int?
    public var tail: Int?
    public var lines: Int?
    public var attempt: Int?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("run", \.run, "The run."),
        .required("job", \.job, "The job: `stage/job`, or the stage alone when it has one."),
        .optional("offset", \.offset, "First byte wanted."),
        .optional("limit", \.limit, "At most this many bytes.", in: 1...1_048_576),
        .optional("wait", \.wait, "Waits for output that is not there yet."),
        .optional("line", \.line, "First line wanted, from 1; instead of an offset.", in: 1...1_000_000_000_000),
        .optional("tail", \.tail, "The last so many lines; instead of an offset.", in: 0...1_000_000_000),
        .optional("lines", \.lines, "At most this many lines.", in: 1...1_000_000_000),
        .optional("attempt", \.attempt, "Only what this try of the job has written.", in: 1...1_000_000),
    ]
}

public struct LogChunk: Manifest {
    public var text = ""
    public var next_offset: Int64 = 0
    /// No more will come.
    public var ended = false
    public var first_line = 1
    public var total_lines = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("text", \.text, "Output; whole UTF-8 characters."),
        .told("next_offset", \.next_offset, "Where to go on."),
        .told("ended", \.ended, "No more will come."),
        .told("first_line", \.first_line, "Number of the line in which the text begins, from 1."),
        .told("total_lines", \.total_lines, "Lines that the output has by now."),
    ]
}

public struct LogSearch: Manifest {
    public var project = "default"
    public var run = ""
    public var job = ""
    public var pattern = ""
    public var regex = false
    public var ignore_case = false
    public var line = 1
    public var limit = 100
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("run", \.run, "The run."),
        .required("job", \.job, "The job: `stage/job`, or the stage alone when it has one."),
        .required("pattern", \.pattern, "What a line must hold."),
        .optional(
            "regex", \.regex,
            "Whether it is a regular expression: . [] () | * + ? {m,n} ^ $ and \\d \\w \\s, byte by byte."),
        .optional("ignore_case", \.ignore_case, "Takes a-z and A-Z as the same."),
        .optional("line", \.line, "First line to look at, from 1.", in: 1...1_000_000_000_000),
        .optional("limit", \.limit, "At most this many lines.", in: 1...1000),
    ]
}

public struct LogMatches: Manifest {
    public var matches: [LogMatch] = []
    public var next_line: Int?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("matches", \.matches, "Lines that were found."),
        .optional("next_line", \.next_line, "Where to go on; absent when all of it has been looked at."),
    ]
}

public struct LogMatch: Manifest {
    public var line = 1
    public var offset: Int64 = 0
    public var text = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("line", \.line, "Its number, from 1."),
        .told("offset", \.offset, "Where it begins, in bytes."),
        .told("text", \.text, "The line, at most its first 4096 bytes."),
    ]
}
