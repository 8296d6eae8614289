package import API
package import Blobs
package import Kernel
import Manifests
package import Outbound
package import SQL

// Pipelines: from a push to a finished run.
//
// What comes in: pushes (RepositoryLoop sees them in the refs of git), `Runs.start`, and what runners tell (`Runners.*`).
// What goes out: leases for runners, operations of other rooms (`Models`, `Services`, `Monitors`) for the verbs that the
// server carries out itself, and events.
//
// A push: refs differ from table pipelines_ref → manifests of that very commit are applied → one transaction records the
// ref, tells `repository.pushed` and lays down the runs. Killed anywhere before that transaction, it all happens again.
//
// A run: laid down whole when it is asked for, its pipeline's spec frozen with it. RunDecision (pure) says which jobs are
// ready, skipped, lost, late; RunLoop does it. A ready job has its orders: every expression resolved, every artifact named
// by digest. A runner holds it by a lease; the lease's epoch fences off those who were thought lost. Steps that a runner
// has finished stay finished when the same runner comes back to its kept workspace.
//
// Tables owned: pipelines_ref, pipelines_run, pipelines_job, pipelines_step, pipelines_artifact, pipelines_runner,
// pipelines_test, pipelines_test_result, pipelines_quarantine, pipelines_attempt, pipelines_claim.
// Events told: run.queued, run.started, run.cancel-requested, run.finished; job.leased, job.started (server's own),
// job.waiting, job.expanded, job.stopping, job.skipped, job.finished, job.lost, job.retried; run.rolled-back; step.started, step.finished; repository.pushed,
// repository.ref-deleted, repository.manifests-applied, repository.manifests-refused; test.flaky, test.quarantined,
// test.quarantine-expired, test.released; shell.opened, shell.closed.
// Loops run: pipelines-repositories, pipelines-runs, pipelines-quarantine.
//
//   Routes, RunRoutes     handlers                     RunDecision     pure: which jobs do what next
//   Tables, RunTable, JobTable   the only SQL          RunLoop         does it
//   Plan, Standing        a frozen graph, how it stands   RunMemory    what has changed since the last look
//   LaneDecision, LaneTable   who may work in a lane   Undoing         a failed run's deploy taken back
//   Laying                a run laid down whole        Orders, Resolver   expressions → values, references → digests
//   Leases, Reports       what runners ask and tell    LogBook, LogIndex   output of jobs, a file each
//   ServerSteps           register, deploy, watch      RepositoryLoop, Git, Push   refs → runs
//   Admission             what a pipeline must keep    TestTable, TestChanges, TestRoutes   tests, flaky, quarantine
//   GateDecision          pure: may a job work in its environment   GateWork, GateChanges   bring its gate there
//   GateRoutes            approve, reject, list        CheckLoop, MetricChecks   ask other systems, and Telemetry
//   ShellDesk             terminals between people and runners, in memory
//   GateTables            their SQL                    JobSecrets      secrets and identity of a job, at its lease

/// Where pipelines keep what does not fit into the store.
package struct PipelinesSettings: Sendable {
    /// Hosted repositories: FOLDER/<project>/<name>.git.
    package var repositories: String
    /// Output of jobs: FOLDER/<run>/<stage>.<job>.log.
    package var logs: String
    /// Bytes of output kept of one job.
    package var logBytes: Int64
    /// The git program: a path, or a name to find in the PATH of `environment`.
    package var git: String
    /// All that git sees of our environment.
    package var environment: [String: String]
    /// Where repositories are reached.
    package var urls: RepositoryURLs
    /// The way to forges.
    package var outbound: OutboundClient
    /// The secret of a project by its name; nil when there is none.
    package var readSecret: @Sendable (_ project: String, _ name: String) async throws -> String?

    package init(
        repositories: String, logs: String, logBytes: Int64 = PipelineLimits.logBytes, git: String = "git",
        environment: [String: String] = ["PATH": "/usr/local/bin:/usr/bin:/bin"],
        urls: RepositoryURLs = RepositoryURLs(), outbound: OutboundClient = OutboundClient(),
        readSecret: @escaping @Sendable (_ project: String, _ name: String) async throws -> String? = { _, _ in nil }
    ) {
        (self.repositories, self.logs, self.git, self.environment) = (repositories, logs, git, environment)
        (self.urls, self.outbound, self.readSecret) = (urls, outbound, readSecret)
        self.logBytes = logBytes
    }
}

/// The bounds of this room.
package enum PipelineLimits {
    /// How long a lease holds without renewal.
    package static let lease: Duration = .seconds(15)
    /// How often a runner renews it.
    package static let renewal: Duration = .seconds(3)
    /// How long a runner's question for work may stay open.
    package static let leaseWait: Duration = .seconds(20)
    /// How long a reader of a log may wait for more.
    package static let logWait: Duration = .seconds(20)
    /// Leases that one job may lose in a row without having finished a step in between.
    package static let losses = 3
    /// Time beyond a job's own limit after which the server ends it without its runner's word.
    ///
    /// Longer than a runner may take for steps that clean up.
    package static let timeoutGrace: Duration = .seconds(60)
    /// Time that a runner has to give a cancelled job back.
    package static let cancelGrace: Duration = .seconds(60)
    /// Jobs of one run, cells of matrices counted.
    package static let jobs = 50_000
    /// How deep pipelines may use pipelines, and how many of them one run may use.
    package static let callDepth = 5
    package static let calls = 100
    /// What is done about one run in one transaction, so that others get their turn.
    package static let actionsAtOnce = 100
    /// Jobs that one runner gets at once.
    package static let leasesAtOnce = 64
    /// Ready jobs of others that a runner looks beyond to find one that it can take.
    package static let lookBeyond = 200
    /// Runs of one pipeline that may be open at once.
    package static let openRuns = 1000
    /// Bytes of output kept of one job, unless it is set otherwise.
    package static let logBytes: Int64 = 1 << 30
    /// Bytes of one piece of output.
    package static let chunkBytes = 1 << 20
    /// How long a holder of a lease may write without the store being asked whether it still holds it.
    package static let leaseTrust: Duration = .seconds(1)
    /// How often refs are looked at.
    package static let refsInterval: Duration = .seconds(1)
    /// Refs of one repository.
    package static let refs = 10_000
    /// Manifest files of one commit, and the bytes of all of them.
    package static let manifestFiles = 500
    package static let manifestBytes = 8 << 20
    /// Bytes that one push may bring.
    package static let pushBytes: Int64 = 4 << 30
    /// Options of one push that are heeded.
    package static let pushOptions = 100
    /// How often a rollout or a monitor is looked at.
    package static let rolloutInterval: Duration = .milliseconds(500)
    package static let watchInterval: Duration = .seconds(2)
    /// Bytes of one cache, and of all caches of a project together.
    package static let cacheEntryBytes: Int64 = 10 << 30
    package static let cacheProjectBytes: Int64 = 20 << 30
    /// Caches that nobody has begun with for so long are forgotten.
    package static let cacheIdle: Duration = .seconds(7 * 86_400)
    /// How often expired artifacts and caches are looked for, and how many go at once.
    package static let keepingInterval: Duration = .seconds(60)
    package static let keepingBatch = 500
    /// Blobs of which a runner may ask at once whether they are here.
    package static let absentAtOnce = 2000
}

/// The room of pipelines, repositories and runners.
package struct PipelinesDomain: Domain {
    package static let name = "pipelines"
    let context: DomainContext
    let blobs: BlobStore
    let settings: PipelinesSettings
    let logs: LogBook
    let outside: Outside?

    /// - Parameter outside: What jobs are given secrets by and gates ask with; nil: neither.
    package init(
        context: DomainContext, blobs: BlobStore, settings: PipelinesSettings, outside: Outside? = nil
    ) {
        (self.context, self.blobs, self.settings, self.outside) = (context, blobs, settings, outside)
        logs = LogBook(folder: settings.logs, limit: settings.logBytes)
    }

    package var migrations: [Migration] { Tables.migrations }
    package func namesOfContent(in sql: Connection) throws -> [String] { try sql.pipelineDigests() }

    package func routes(_ routes: inout Routes) {
        RunRoutes(context: context, logs: logs, git: git, repositories: settings.repositories).add(to: &routes)
        PullRoutes(context: context, git: git, repositories: settings.repositories).add(to: &routes)
        TestRoutes(context: context).add(to: &routes)
        let leases = Leases(context: context, blobs: blobs, logs: logs, urls: settings.urls, outside: outside)
        RunnerRoutes(leases: leases).add(to: &routes)
        GateRoutes(context: context, git: git, repositories: settings.repositories).add(to: &routes)
        CacheBook(context: context, blobs: blobs).add(to: &routes)
        ShellDesk(context: context).add(to: &routes)
    }

    package var loops: [any RunnableLoop] {
        let logger = context.logger(for: Self.name)
        return [
            ReconcileLoop(repositoryReconciler, store: context.store, sweep: .seconds(30), logger: logger),
            ReconcileLoop(runReconciler, store: context.store, sweep: .seconds(15), logger: logger),
            ReconcileLoop(checkReconciler, store: context.store, sweep: .seconds(15), width: 8, logger: logger),
            ReconcileLoop(ScheduleReconciler(context: context), store: context.store, logger: logger),
            ReconcileLoop(
                UpkeepReconciler(context: context, git: git, repositories: settings.repositories),
                store: context.store, sweep: .seconds(600), width: 1, logger: logger),
            ReconcileLoop(
                RemoteReconciler(context: context, git: git, settings: settings), store: context.store, logger: logger),
            ReconcileLoop(
                StatusReconciler(context: context, settings: settings, outbound: settings.outbound),
                store: context.store, logger: logger),
            FollowLoop(StatusFollower(), store: context.store, logger: logger),
            FollowLoop(TriggerFollower(ids: context.ids), store: context.store, logger: logger),
            ReconcileLoop(KeepingReconciler(context: context), store: context.store, logger: logger),
            ReconcileLoop(QuarantineReconciler(context: context), store: context.store, logger: logger),
        ]
    }

    package func admit(_ candidate: Candidate, in change: Change) throws {
        try Admission.check(candidate)
        guard let spec = candidate.spec(of: PipelineKind.self) else { return }
        try change.keepTriggers(of: Reference(project: candidate.project, name: candidate.name), spec)
    }

    package func release(_ resource: Resource, in change: Change) throws {
        switch resource.kind {
        case RepositoryKind.name:
            try change.sql.forgetRefs(project: resource.project, repository: resource.name)
            try change.sql.forgetPulls(of: Reference(project: resource.project, name: resource.name))
            try change.sql.forgetRemote(Reference(project: resource.project, name: resource.name))
        case PipelineKind.name:
            try change.sql.forgetTriggers(project: resource.project, pipeline: resource.name)
            for run in try change.sql.openRuns(project: resource.project, pipeline: resource.name) {
                try change.stop(run, as: .cancelled, because: "its pipeline was deleted")
            }
            try change.sql.forgetTests(project: resource.project, pipeline: resource.name)
        default: break
        }
    }

    /// Takes a piece of a job's output from the runner that holds it; its bytes are no JSON, so it is no operation.
    package func append(_ bytes: [UInt8], _ place: OutputInput, _ call: Call) async throws -> LeaseState {
        try call.allow(Runners.append.permission, operation: Runners.append.name)
        return try await Leases(context: context, blobs: blobs, logs: logs).append(bytes, place)
    }

    // MARK: -

    var git: Git { Git(executable: settings.git, environment: settings.environment) }

    var repositoryReconciler: RepositoryReconciler {
        RepositoryReconciler(
            context: context, git: git, repositories: settings.repositories, urls: settings.urls)
    }

    var checkReconciler: CheckReconciler { CheckReconciler(context: context, outside: outside) }

    var runReconciler: RunReconciler {
        RunReconciler(
            context: context, logs: logs, repositories: settings.repositories, bornAt: context.time.now,
            memory: RunMemory(context.store.bells), git: git)
    }
}
