import API
import Kernel
import KernelTesting
import Manifests
import Synchronization
import Testing

@testable import Pipelines

@Suite struct ServerStepTests {
    static let pipeline = """
        kind: Pipeline
        name: learn
        stages:
          - { name: ingest, ingest: { dataset: rows } }
          - { name: features, transform: { input: ingest.rows, target: y } }
          - { name: train, needs: [features], train: { algorithm: linear, target: y, training_data: features.train } }
          - name: evaluate
            needs: [train, features]
            evaluate: { model: train.model, data: features.test, champion: m@champion }
          - { name: register, needs: [evaluate, train], register: { model: m, from: train.model, aliases: [candidate] } }
          - name: deploy
            deploy: { service: web, model: "m@${{ needs.register.outputs.version }}", alias: champion }
          - { name: watch, watch: { monitor: live, for: 10s } }
        ---
        { kind: Dataset, name: rows, source: { uri: rows.csv } }
        """

    /// Everything up to registration.
    private func trained(_ it: PipelineHouse) async throws -> Run {
        try await it.house.apply(Self.pipeline)
        try await it.hello()
        let run = try await it.start("learn")
        let ingest = try await it.lease()
        #expect(ingest.steps[0].resources["Dataset"]?["name"] == "rows")
        try await it.finish(ingest, artifacts: ["rows"])
        try await it.end(ingest)
        let features = try await it.lease()
        #expect(features.steps[0].inputs["rows"]?.name == "rows")
        try await it.finish(features, artifacts: ["train", "test", "transforms"])
        try await it.end(features)
        let train = try await it.lease()
        try await it.finish(
            train, outputs: ["format": "linear", "data_digest": "sha256:d", "signature": "{\"inputs\":[\"a\"]}"],
            artifacts: ["model"])
        try await it.end(train)
        let evaluate = try await it.lease()
        #expect(evaluate.steps[0].facts["champion"] == .null, "there is no champion yet")
        try await it.finish(evaluate) { report in
            report.step.metrics = ["auc": 0.87]
            report.step.report = ["bias": ["SEX": ["tpr_gap": 0.01]]]
        }
        try await it.end(evaluate)
        try await it.settle()
        return run
    }

    @Test func `register takes metrics from the evaluation and the signature from the training`() async throws {
        let world = FakeWorld()
        let it = try await PipelineHouse(world: world)
        let run = try await trained(it)
        #expect(world.versions.count == 1)
        let version = try #require(world.versions.first)
        #expect(version.metrics == ["auc": 0.87] && version.format == "linear" && version.data_digest == "sha256:d")
        #expect(version.signature == ["inputs": ["a"]] && version.run == run.id)
        #expect(version.facts["bias"]?["SEX"] != nil)
        #expect(world.aliases == ["candidate": 1])
        let job = try #require(try await it.run(run.id).jobs.first { $0.stage == "register" })
        #expect(job.status == .succeeded && job.outputs["version"] == 1)
    }

    @Test func `deploy waits for the verdict and then moves the alias`() async throws {
        let world = FakeWorld()
        let it = try await PipelineHouse(world: world)
        let run = try await trained(it)
        let deploy = try #require(world.deploys.first)
        #expect(deploy.model == "m@1" && deploy.key == "\(run.id)/deploy/deploy" && world.deploys.count == 1)
        #expect(try await it.runs.reconcile(run.id) == .again(in: PipelineLimits.rolloutInterval))
        #expect(world.aliases["champion"] == nil)
        world.state.withLock { ($0.service.stable_revision, $0.service.completion) = (1, .promoted) }
        try await it.settle()
        #expect(world.aliases["champion"] == 1)
        let jobs = try await it.run(run.id).jobs
        #expect(jobs.first { $0.stage == "deploy" }?.status == .succeeded)
        #expect(jobs.first { $0.stage == "watch" }?.status == .running)
        it.house.time.advance(by: .seconds(10))
        try await it.settle()
        #expect(try await it.run(run.id).status == .succeeded)
        #expect(try await it.log(run, "deploy").text.contains("✔ revision 1 has all traffic"))
    }

    @Test func `a rollout that is rolled back fails the run with its words`() async throws {
        let world = FakeWorld()
        let it = try await PipelineHouse(world: world)
        let run = try await trained(it)
        world.state.withLock { state in
            (state.service.completion, state.service.aborted) = (.aborted, true)
            state.service.message = "12 of 300 requests failed on revision 1"
        }
        try await it.settle()
        let done = try await it.run(run.id)
        #expect(done.status == .failed)
        #expect(done.reason?.contains("12 of 300 requests failed on revision 1") == true)
        #expect(done.jobs.last?.status == .skipped && world.aliases["champion"] == nil)
    }

    @Test func `a new breach fails the watch, an old one does not`() async throws {
        let world = FakeWorld()
        var window = WindowReport()
        (window.window, window.breaches) = ("2017", ["auc 0.70 is below 0.75"])
        world.state.withLock { [window] in $0.report.windows = [window] }
        let it = try await PipelineHouse(world: world)
        let run = try await trained(it)
        world.state.withLock { ($0.service.stable_revision, $0.service.completion) = (1, .promoted) }
        try await it.settle()
        it.house.time.advance(by: .seconds(3))
        try await it.settle()
        #expect(try await it.run(run.id).status == .running)
        window.window = "2018"
        world.state.withLock { [window] in $0.report.windows.append(window) }
        it.house.time.advance(by: .seconds(3))
        try await it.settle()
        let done = try await it.run(run.id)
        #expect(done.status == .failed)
        #expect(done.reason?.contains("2018: auc 0.70 is below 0.75") == true)
    }

    // MARK: Watching a service

    /// A watch of a service whose second revision has all traffic since before.
    private func watched(_ spec: String, _ world: FakeWorld) async throws -> (PipelineHouse, Run) {
        world.state.withLock { state in
            var revision = RevisionStatus()
            (revision.revision, revision.requests, revision.errors) = (2, 1_000, 900)
            (state.service.service, state.service.revisions) = ("web", [revision])
            (state.service.stable_revision, state.service.phase) = (2, .healthy)
        }
        let it = try await PipelineHouse(world: world)
        try await it.house.apply("{ kind: Pipeline, name: p, stages: [{ name: watch, watch: \(spec) }] }")
        let run = try await it.start("p")
        try await it.settle()
        return (it, run)
    }

    private func count(_ world: FakeWorld, requests: Int64, errors: Int64) {
        world.state.withLock { state in
            state.service.revisions[0].requests += requests
            state.service.revisions[0].errors += errors
        }
    }

    private func pass(_ it: PipelineHouse, _ seconds: Double) async throws {
        it.house.time.advance(by: .seconds(seconds))
        try await it.settle()
    }

    @Test func `a service that fails too much goes back, and the run says why`() async throws {
        let world = FakeWorld()
        let (it, run) = try await watched("{ service: web, for: 10m, max_errors: 10%, on_breach: rollback }", world)
        count(world, requests: 19, errors: 19)
        try await pass(it, 3)
        #expect(world.undone.isEmpty, "19 requests say nothing")
        count(world, requests: 81, errors: 0)
        try await pass(it, 3)
        #expect(world.undone == ["web"])
        #expect(try await it.run(run.id).status == .running, "it has not gone back yet")
        try await pass(it, 3)
        #expect(world.undone == ["web"], "asked once")
        world.state.withLock { $0.service.stable_revision = 1 }
        try await pass(it, 3)
        let done = try await it.run(run.id)
        #expect(done.status == .failed)
        #expect(
            done.jobs[0].steps[0].reason
                == "service \"web\": 19 of 100 requests failed on revision 2, at most 10% may; revision 1 is the stable one"
        )
    }

    @Test func `a revision on trial is aborted instead`() async throws {
        let world = FakeWorld()
        let (it, run) = try await watched("{ service: web, for: 10m, on_breach: rollback }", world)
        world.state.withLock { ($0.service.stable_revision, $0.service.preview_revision) = (1, 2) }
        count(world, requests: 100, errors: 50)
        try await pass(it, 3)
        try await pass(it, 3)
        #expect(world.undone.isEmpty)
        #expect(world.aborted == ["web: 50 of 100 requests failed on revision 2, at most 5% may"])
        #expect(try await it.run(run.id).status == .failed)
    }

    @Test func `a service that does well passes, whatever it has done before`() async throws {
        let world = FakeWorld()
        let (it, run) = try await watched("{ service: web, for: 10s, on_breach: rollback }", world)
        count(world, requests: 100, errors: 5)
        for _ in 0..<4 { try await pass(it, 3) }
        #expect(try await it.run(run.id).status == .succeeded)
        #expect(world.undone.isEmpty && world.aborted.isEmpty)
    }

    @Test func `a breach is told once where it is only told`() async throws {
        let world = FakeWorld()
        let (it, run) = try await watched("{ service: web, for: 10s, on_breach: warn }", world)
        for _ in 0..<4 {
            count(world, requests: 100, errors: 50)
            try await pass(it, 3)
        }
        let done = try await it.run(run.id)
        #expect(done.status == .succeeded && done.jobs[0].steps[0].outputs["breaches"] == 1)
        let log = try await it.log(run, "watch").text
        #expect(log.ranges(of: "! 50 of 100 requests failed").count == 1)
    }

    @Test(arguments: [
        ("{ for: 1m }", "a watch looks at a monitor or a service"),
        ("{ monitor: m, on_breach: rollback }", "without a service there is nothing to roll back"),
    ])
    func `a watch that cannot be is refused`(yaml: String, message: String) {
        let error = #expect(throws: ManifestError.self) { try WatchSpec(yaml: yaml) }
        #expect(error?.message == message)
    }
}
