public import Manifests

/// A graph of stages that a push, a person or a program sets off.
public enum PipelineKind: Kind {
    public typealias Spec = PipelineSpec
    public typealias Status = PipelineStatus
    public static let name = "Pipeline"
    public static let plural = "pipelines"
    public static let summary =
        "A graph of stages, for software and for models alike, that a push or a person sets off."
}

public struct PipelineSpec: Manifest {
    public var repository: String?
    public var triggers: [TriggerSpec] = []
    public var parameters: Ordered<ParameterSpec> = [:]
    public var variables: Ordered<String> = [:]
    public var data_sources: [String] = []
    public var timeout = TimeSpan.hours(6)
    public var stages: [StageSpec] = []
    public var concurrency: ConcurrencySpec?
    public var finally: [StageSpec] = []
    public var rollback: UndoSpec?
    public var outputs: Ordered<String> = [:]

    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("repository", \.repository, "Repository it belongs to; set by vagus when it comes from one."),
        .optional("triggers", \.triggers, "What sets it off, besides `vagus run`."),
        .optional("parameters", \.parameters, "What may be given to a run: `vagus run NAME -p key=value`."),
        .optional("variables", \.variables, "Environment variables of every step."),
        .optional("data_sources", \.data_sources, "Datasets that it reads, for lineage."),
        .optional("timeout", \.timeout, "Longest time of a run."),
        .required("stages", \.stages, "Stages, in order of their needs."),
        .optional("concurrency", \.concurrency, "How many of its runs work at once."),
        .optional(
            "finally", \.finally,
            "Stages that run after all others, whatever happened; they never change how the run ended."),
        .optional("rollback", \.rollback, "What is undone when a run fails after it has deployed."),
        .optional(
            "outputs", \.outputs,
            "Values for a pipeline that uses this one: `name: ${{ needs.STAGE.outputs.key }}`."),
    ]

    public static func check(_ value: Self) -> [ManifestError] { PipelineChecks.check(value) }
}

public struct ParameterSpec: Manifest {
    public enum ValueType: String, WireEnum { case string, int, number, bool }
    public var type = ValueType.string
    public var `default`: JSONValue?
    public var description: String?
    public var choices: [JSONValue] = []
    public var pattern: String?
    public var required = true
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("type", \.type, "Type of its value."),
        .optional("default", \.default, "Value when none is given; absent: it must be given."),
        .optional("description", \.description, "What it is for."),
        .optional("choices", \.choices, "The only values that it takes."),
        .optional("pattern", \.pattern, "Regular expression that the whole text of its value must match."),
        .optional("required", \.required, "false: it may be left out without a default, and is then null."),
    ]
}

public enum StageType: String, WireEnum {
    case source_control, build, test, security_scan, deploy, monitor
    case data_ingestion, data_validation, feature_engineering, model_training, model_validation
    case model_registration, model_deployment, model_monitoring, approval, other
}

public struct StageSpec: Manifest {
    public var name = ""
    public var type = StageType.other
    public var needs: [NeedSpec]?
    public var `if`: String?
    public var timeout: TimeSpan?
    public var variables: Ordered<String> = [:]
    public var jobs: Ordered<JobSpec> = [:]
    public var step = StepSpec()
    public var uses: UseSpec?
    public var environment: String?
    public var max_parallel: Int?
    public var concurrency: ConcurrencySpec?
    public var retry: RetrySpec?

    public init() {}
    public static let choices = ["jobs", "uses"] + StepVerbs.names.filter { !StepVerbs.withinJobs.contains($0) }
    public static let fields: [Field<Self>] =
        [
            .required("name", \.name, "Its name, unique in the pipeline."),
            .optional("type", \.type, "What it is for; charts and checks are grouped by it."),
            .optional("needs", \.needs, "Stages that must have succeeded first; absent: the stage written before it."),
            .optional("if", \.if, "Runs only when this expression is true; absent: when all needs succeeded."),
            .optional(
                "timeout", \.timeout,
                "Longest time from its first job's start to its end; a job without its own has 1h, and never more."),
            .optional("variables", \.variables, "Environment variables of its steps."),
            .optional("jobs", \.jobs, "Its jobs; they run in parallel."),
            .optional("uses", \.uses, "Another pipeline, whose stages run here."),
            .optional("environment", \.environment, "Environment it works in, whose gates must be open first."),
            .optional("max_parallel", \.max_parallel, "How many of its jobs work at once.", in: 1...1000),
            .optional("concurrency", \.concurrency, "How many stages of a group work at once, over all runs."),
            .optional("retry", \.retry, "When its jobs are tried again; a job's own word counts more."),
        ] + StepVerbs.fields(\StageSpec.step, skipping: StepVerbs.withinJobs)

    /// The stage's jobs, a lone verb being one job named after the stage.
    public var allJobs: Ordered<JobSpec> {
        guard jobs.isEmpty else { return jobs }
        var job = JobSpec()
        // Of a stage of another pipeline, "deploy.build", the job is called "build".
        let own = name.lastIndex(of: ".").map { String(name[name.index(after: $0)...]) } ?? name
        if uses == nil { job.steps = [step] }
        return Ordered([(own, job)])
    }
}

public struct JobSpec: Manifest {
    public var runs_on = RunsOn()
    public var variables: Ordered<String> = [:]
    public var timeout: TimeSpan?
    public var retry: RetrySpec?
    public var allow_failure: AllowFailureSpec = false
    public var steps: [StepSpec] = []
    public var outputs: Ordered<String> = [:]
    public var artifacts: [ArtifactSpec] = []
    public var reports = ReportsSpec()
    public var needs: [NeedSpec] = []
    public var `if`: String?
    public var matrix: MatrixSpec?
    public var fail_fast = true
    public var max_parallel: Int?
    public var concurrency: ConcurrencySpec?
    public var environment: String?
    public var secrets: [String] = []
    public var id_token: IDTokenSpec?
    public var container: ContainerSpec?
    public var services: Ordered<SidecarSpec> = [:]
    public var cache: [CacheSpec] = []
    public var workspace = WorkspaceSpec()

    public init() {}
    public static func check(_ value: Self) -> [ManifestError] { ExecutionChecks.check(value) }
    public static let fields: [Field<Self>] = [
        .optional("runs_on", \.runs_on, "Which runners may take it, and what it is given there."),
        .optional("variables", \.variables, "Environment variables of its steps."),
        .optional("timeout", \.timeout, "Longest time of one try; absent: the stage's, or 1h."),
        .optional("retry", \.retry, "When it is tried again; absent: as the stage says."),
        .optional(
            "allow_failure", \.allow_failure,
            "Its failure does not fail the stage: `true`, or `{ exit_codes: [2] }`."),
        .required("steps", \.steps, "Steps, one after another in one workspace."),
        .optional("outputs", \.outputs, "Values for later stages: `name: ${{ steps.id.outputs.key }}`."),
        .optional("artifacts", \.artifacts, "Files to keep."),
        .optional("reports", \.reports, "Test reports to read."),
        .optional(
            "needs", \.needs, "What it waits for besides what its stage waits for: jobs of its stage, or stages."),
        .optional("if", \.if, "Runs only when this expression is true; absent: when all it needs succeeded."),
        .optional("matrix", \.matrix, "Makes a job of it for each cell: lists of values, `include`, `exclude`."),
        .optional("fail_fast", \.fail_fast, "A failed cell cancels the other cells."),
        .optional("max_parallel", \.max_parallel, "How many of its cells work at once.", in: 1...1000),
        .optional("concurrency", \.concurrency, "How many jobs of a group work at once, over all runs."),
        .optional("environment", \.environment, "Environment it works in; absent: the stage's."),
        .optional("secrets", \.secrets, "Secrets that its steps may read."),
        .optional(
            "id_token", \.id_token,
            "Gives its steps an identity token for this audience, in the file $VAGUS_ID_TOKEN_FILE."),
        .optional("container", \.container, "Image that its steps run in."),
        .optional("services", \.services, "Programs that run beside its steps, such as a database."),
        .optional("cache", \.cache, "Folders that later runs begin with."),
        .optional("workspace", \.workspace, "What becomes of its files when it has ended."),
    ]
}

public struct RetrySpec: Manifest {
    public enum Cause: String, WireEnum { case runner_lost, timeout, failure }
    public var max = 0
    public var `for`: [Cause] = [.runner_lost]
    public var exit_codes: [Int] = []
    public var delay = TimeSpan.seconds(0)
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("max", \.max, "How often it is tried again.", in: 0...10),
        .optional(
            "for", \.for, "Causes for which it is tried again. A lost runner is always made up for, up to 3 times."),
        .optional("exit_codes", \.exit_codes, "Exit codes of a failed step for which it is tried again."),
        .optional("delay", \.delay, "How long to wait before it is tried again."),
    ]
}

public struct ReportsSpec: Manifest {
    public var junit: String?
    public var coverage: String?
    public var flaky: FlakySpec?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("junit", \.junit, "JUnit XML files written by the steps: a path, with * and ** as wildcards."),
        .optional("coverage", \.coverage, "Coverage report written by the steps: Cobertura or JaCoCo XML, or lcov."),
        .optional("flaky", \.flaky, "What is done about tests that now pass and now fail."),
    ]
}

public struct PipelineStatus: Manifest {
    public var runs = 0
    public var last_run: String?
    public var last_status: RunStatus?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("runs", \.runs, "How many runs it has had."),
        .optional("last_run", \.last_run, "Id of the newest run."),
        .optional("last_status", \.last_status, "Its status."),
    ]
}
