import API
import Blobs
import Foundation
import Kernel
import KernelTesting
import Manifests
import SQL
import Synchronization
import Testing

@testable import Pipelines

/// A house with pipelines in it, and fakes of the rooms that pipelines call.
struct PipelineHouse: Sendable {
    let house: TestHouse
    let domain: PipelinesDomain
    let blobs: BlobStore
    let runs: RunReconciler
    let repositories: RepositoryReconciler
    let leases: Leases

    init(
        folder: String? = nil, time: ManualTime = ManualTime(), firstID: Int = 1, world: FakeWorld = FakeWorld(),
        outside: Outside? = nil, hook: (@Sendable (Int) throws -> Void)? = nil
    ) async throws {
        house = try TestHouse(folder: folder, time: time, firstID: firstID, commitHook: hook)
        blobs = try BlobStore(folder: "\(house.folder)/blobs")
        domain = PipelinesDomain(
            context: house.context, blobs: blobs,
            settings: PipelinesSettings(
                repositories: "\(house.folder)/repositories", logs: "\(house.folder)/logs",
                environment: ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"]),
            outside: outside)
        runs = domain.runReconciler
        repositories = domain.repositoryReconciler
        leases = Leases(context: house.context, blobs: blobs, logs: domain.logs, outside: outside)
        try await house.open([domain]) { world.add(to: &$0) }
    }

    func start(_ pipeline: String, _ parameters: Ordered<JSONValue> = [:]) async throws -> Run {
        var input = RunInput()
        (input.pipeline, input.parameters) = (pipeline, parameters)
        return try await house.call(Runs.start, input)
    }

    func run(_ name: String) async throws -> Run {
        try await house.call(Runs.get, RunName(project: "default", run: name))
    }

    /// Brings every open run as far as it gets without time passing.
    func settle() async throws {
        for key in try await runs.keys() {
            var rounds = 0
            while try await runs.reconcile(key) == .now {
                rounds += 1
                try #require(rounds < 200, "the run never settles")
            }
        }
    }

    func hello(_ name: String = "one", incarnation: String = "a", labels: [String] = []) async throws {
        var hello = RunnerHello()
        (hello.name, hello.incarnation, hello.labels) = (name, incarnation, labels)
        _ = try await house.call(Runners.hello, hello)
    }

    /// Takes a job that is ready.
    func lease(_ name: String = "one", incarnation: String = "a") async throws -> Lease {
        try await settle()
        var input = LeaseInput()
        (input.name, input.incarnation) = (name, incarnation)
        try #require(try await isReady(), "no job is ready")
        return try #require(try await house.call(Runners.lease, input).lease)
    }

    func isReady() async throws -> Bool { try await house.store.read { try !$0.readyJobs().isEmpty } }

    /// Does a step of a lease and reports it.
    @discardableResult
    func finish(
        _ lease: Lease, step index: Int = 0, _ status: RunStatus = .succeeded, outputs: Ordered<JSONValue> = [:],
        artifacts: [String] = [], edit: (inout StepReport) -> Void = { _ in }
    ) async throws -> LeaseState {
        var report = StepReport()
        (report.run, report.stage, report.job, report.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        report.step.index = index
        report.step.status = .running
        _ = try await house.call(Runners.stepStarted, report)
        (report.step.status, report.step.outputs) = (status, outputs)
        if status == .failed { report.step.reason = "ended with exit code 1" }
        for name in artifacts { report.artifacts.append(try await artifact(name)) }
        edit(&report)
        return try await house.call(Runners.stepFinished, report)
    }

    func artifact(_ name: String) async throws -> Artifact {
        let (digest, size) = try await blobs.put(bytes: Array("content of \(name)".utf8))
        var artifact = Artifact()
        (artifact.name, artifact.digest, artifact.size_bytes, artifact.file_name) = (name, digest.text, size, name)
        return artifact
    }

    @discardableResult
    func end(_ lease: Lease, _ status: RunStatus = .succeeded, cause: RetrySpec.Cause? = nil, reason: String? = nil)
        async throws -> LeaseState
    {
        var report = JobReport()
        (report.run, report.stage, report.job, report.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        (report.status, report.cause, report.reason) = (status, cause, reason)
        return try await give(back: report)
    }

    @discardableResult
    func give(back report: JobReport) async throws -> LeaseState {
        var input = JobReports()
        (input.name, input.incarnation, input.reports) = ("nobody", "none", [report])
        let answer = try #require(try await house.call(Runners.jobsFinished, input).answers.first)
        if let problem = answer.problem { throw problem }
        return answer.state
    }

    /// Leases the next job, does its steps and ends it.
    func work(_ status: RunStatus = .succeeded, outputs: Ordered<JSONValue> = [:], artifacts: [String] = [])
        async throws
    {
        let lease = try await lease()
        for index in lease.first_step..<lease.steps.count {
            try await finish(lease, step: index, status, outputs: outputs, artifacts: artifacts)
        }
        try await end(
            lease, status, cause: status == .failed ? .failure : nil, reason: status == .failed ? "it broke" : nil)
        try await settle()
    }

    func append(_ text: String, at offset: Int64, _ lease: Lease) async throws -> LeaseState {
        var input = OutputInput()
        (input.run, input.stage, input.job, input.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        input.offset = offset
        return try await domain.append(Array(text.utf8), input, .system("test"))
    }

    func log(_ run: Run, _ job: String, offset: Int64 = 0) async throws -> LogChunk {
        var query = LogQuery()
        (query.run, query.job, query.offset) = (run.id, job, offset)
        return try await house.call(Runs.log, query)
    }
}

/// Models, services and monitors as pipelines see them; keeps what it was told across restarts of the house.
final class FakeWorld: Sendable {
    struct State {
        var versions: [ModelVersion] = []
        var aliases: [String: Int] = [:]
        var deploys: [DeployInput] = []
        var service = ServiceStatus()
        var report = MonitorReport()
        var registerCalls = 0
        var undone: [String] = []
        var aborted: [String] = []
    }
    let state = Mutex(State())

    var versions: [ModelVersion] { state.withLock { $0.versions } }
    var deploys: [DeployInput] { state.withLock { $0.deploys } }
    var undone: [String] { state.withLock { $0.undone } }
    var aborted: [String] { state.withLock { $0.aborted } }
    var aliases: [String: Int] { state.withLock { $0.aliases } }

    func add(to routes: inout Routes) {
        routes.on(Models.register) { input, _ in self.register(input) }
        routes.on(Models.version) { input, _ in try self.version(input) }
        routes.on(Models.setAlias) { input, _ in try self.setAlias(input) }
        routes.on(Services.deploy) { input, _ in self.deploy(input) }
        routes.on(Services.undo) { input, _ in
            self.state.withLock { state in
                state.undone.append(input.name)
                return state.service
            }
        }
        routes.on(Services.abort) { input, _ in
            self.state.withLock { state in
                state.aborted.append("\(input.name): \(input.reason ?? "")")
                (state.service.aborted, state.service.preview_revision) = (true, nil)
                return state.service
            }
        }
        routes.on(Services.status) { _, _ in self.state.withLock { $0.service } }
        routes.on(Monitors.report) { _, _ in self.state.withLock { $0.report } }
    }

    private func register(_ input: ModelVersion) -> ModelVersion {
        state.withLock { state in
            state.registerCalls += 1
            if let known = state.versions.first(where: { $0.run == input.run && $0.digest == input.digest }) {
                return known
            }
            var version = input
            version.version = state.versions.count + 1
            state.versions.append(version)
            return version
        }
    }

    private func version(_ input: ModelVersionName) throws -> ModelVersion {
        try state.withLock { state in
            let number =
                Int(input.version) ?? (input.version == "latest" ? state.versions.count : state.aliases[input.version])
            guard let number,
                let found = state.versions.first(where: { $0.version == number && $0.model == input.name })
            else {
                throw Problem("model.not-found", status: 404, "no version \"\(input.version)\" of \"\(input.name)\"")
            }
            return found
        }
    }

    private func setAlias(_ input: AliasInput) throws -> ModelVersion {
        try state.withLock { state in
            if let expected = input.expected, state.aliases[input.alias] ?? 0 != expected {
                throw Problem("model.alias-moved", status: 409, "the alias has moved")
            }
            state.aliases[input.alias] = input.version
            return state.versions.first { $0.version == input.version } ?? ModelVersion()
        }
    }

    private func deploy(_ input: DeployInput) -> ServiceStatus {
        state.withLock { state in
            if !state.deploys.contains(where: { $0.key == input.key }) {
                state.deploys.append(input)
                var revision = RevisionStatus()
                (revision.revision, revision.run) = (state.deploys.count, input.run)
                state.service.revisions.append(revision)
                (state.service.preview_revision, state.service.completion) = (revision.revision, nil)
            }
            return state.service
        }
    }
}
