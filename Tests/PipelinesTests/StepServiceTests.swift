import API
import Blobs
import Foundation
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Pipelines

/// What the server does for steps: caches, artifacts, words, runners that drain.
@Suite struct StepServiceTests {
    // MARK: Caches

    private static func scope(_ edit: (inout Run) -> Void) -> CacheScope {
        var run = Run()
        (run.id, run.pipeline, run.repository, run.trigger.ref) = ("run_1", "p", "shop", "refs/heads/topic")
        edit(&run)
        return CacheScope(run, defaultBranch: "main")
    }

    @Test func `a pull request writes to a scope of its own and reads its base`() {
        let topic = Self.scope { _ in }
        #expect(topic.writes == "ref:refs/heads/topic")
        #expect(topic.reads == ["ref:refs/heads/topic", "ref:refs/heads/main"])
        let main = Self.scope { $0.trigger.ref = "refs/heads/main" }
        #expect(main.reads == ["ref:refs/heads/main"])
        let request = Self.scope {
            ($0.trigger.number, $0.trigger.is_trusted, $0.trigger.base_ref) = (7, false, "next")
        }
        #expect(request.writes == "pr:7")
        #expect(request.reads == ["pr:7", "ref:refs/heads/next", "ref:refs/heads/main"])
        // Trusted or not, what a pull request has made never reaches a branch.
        #expect(Self.scope { ($0.trigger.number, $0.trigger.is_trusted) = (7, true) }.writes == "pr:7")
        #expect(Self.scope { $0.trigger.is_trusted = false }.writes == "run:run_1")
        let alone = Self.scope { ($0.repository, $0.trigger.ref) = (nil, nil) }
        #expect(alone.writes == "pipeline:p" && alone.reads == ["pipeline:p"])
    }

    private static let pipeline = """
        kind: Pipeline
        name: p
        stages:
          - name: s
            jobs:
              j:
                cache: [{ key: "deps-${{ pipeline }}-${{ hashFiles('lock') }}", restore: ["deps-${{ ref }}"], paths: [deps] }]
                steps: [{ id: a, run: "true" }]
                artifacts: [{ name: "app-${{ pipeline }}", paths: [out], expire: 1h }]
        """

    /// A lease of a run that was set off so.
    private static func lease(_ it: PipelineHouse, _ edit: (inout Trigger) -> Void) async throws -> Lease {
        let spec = try await it.house.store.read {
            try $0.resource(PipelineKind.self, Reference(project: "default", name: "p"))?.spec
        }
        var trigger = Trigger()
        edit(&trigger)
        let request = RunRequest(project: "default", pipeline: "p", spec: try #require(spec), trigger: trigger)
        let id = it.house.context.ids.next("run")
        _ = try await it.house.store.change(.system("test")) { try $0.lay(request, id: id) }
        return try await it.lease()
    }

    private static func query(_ lease: Lease, _ key: String, _ restore: [String] = []) -> CacheQuery {
        var query = CacheQuery()
        (query.run, query.stage, query.job, query.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        (query.key, query.restore) = (key, restore)
        return query
    }

    private static func save(_ it: PipelineHouse, _ lease: Lease, _ key: String) async throws -> CacheFound {
        let folder = "\(it.house.folder)/pack-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try Data(key.utf8).write(to: URL(fileURLWithPath: "\(folder)/f"))
        var input = CacheInput()
        (input.run, input.stage, input.job, input.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        (input.key, input.digest) = (key, try await Tree.pack(folder: folder, into: it.blobs).digest.text)
        return try await it.house.call(Caches.save, input)
    }

    @Test func `caches are found by key, then by the newest prefix, and never change`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(Self.pipeline)
        try await it.hello()
        let lease = try await Self.lease(it) { $0.ref = "refs/heads/main" }
        #expect(lease.cache.map(\.key) == ["deps-p-${{ hashFiles('lock') }}"])
        #expect(lease.cache.map(\.restore) == [["deps-refs/heads/main"]] && lease.artifacts.map(\.name) == ["app-p"])
        #expect(try await Self.save(it, lease, "k-1").is_exact == false)
        it.house.time.advance(by: .seconds(1))
        #expect(try await Self.save(it, lease, "k-2").entry?.size_bytes == 3)
        #expect(try await Self.save(it, lease, "k-1").is_exact, "an entry stays as it is")
        let exact = try await it.house.call(Caches.find, Self.query(lease, "k-1"))
        #expect(exact.is_exact && exact.entry?.key == "k-1")
        let newest = try await it.house.call(Caches.find, Self.query(lease, "k-9", ["x", "k-"]))
        #expect(!newest.is_exact && newest.entry?.key == "k-2")
        #expect(try await it.house.call(Caches.find, Self.query(lease, "K-1", ["K-"])).entry == nil)
        #expect(try await it.house.call(Caches.find, Self.query(lease, "k-9", ["k_"])).entry == nil)
        var name = CacheName()
        name.prefix = "k-2"
        #expect(try await it.house.call(Caches.delete, name).count == 1)
        #expect(try await it.house.call(Caches.list, CacheListQuery()).items.map(\.key) == ["k-1"])
    }

    @Test func `what a pull request has kept is found by it alone, and only while it holds its lease`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(Self.pipeline)
        try await it.hello()
        let request = try await Self.lease(it) { ($0.number, $0.is_trusted, $0.base_ref) = (7, false, "main") }
        _ = try await Self.save(it, request, "poison")
        #expect(try await it.house.call(Caches.find, Self.query(request, "poison")).is_exact)
        let main = try await Self.lease(it) { $0.ref = "refs/heads/main" }
        #expect(try await it.house.call(Caches.find, Self.query(main, "poison", ["poi"])).entry == nil)
        _ = try await Self.save(it, main, "base")
        #expect(try await it.house.call(Caches.find, Self.query(request, "base")).is_exact)
        let other = try await Self.lease(it) { ($0.number, $0.is_trusted) = (8, false) }
        #expect(try await it.house.call(Caches.find, Self.query(other, "poison", ["p"])).entry == nil)
        var forged = Self.query(main, "base")
        forged.epoch += 1
        let refused = await #expect(throws: Problem.self) { try await it.house.call(Caches.find, forged) }
        #expect(refused?.code == "lease.lost")
        try await it.end(request)
        await #expect(throws: Problem.self) { try await it.house.call(Caches.find, Self.query(request, "base")) }
    }

    @Test func `a cache whose content is not here is not kept`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(Self.pipeline)
        try await it.hello()
        let lease = try await Self.lease(it) { $0.ref = "refs/heads/main" }
        var input = CacheInput()
        (input.run, input.stage, input.job, input.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        (input.key, input.digest) = ("k", "sha256:" + String(repeating: "0", count: 64))
        let sent = input
        let refused = await #expect(throws: Problem.self) { try await it.house.call(Caches.save, sent) }
        #expect(refused?.code == "cache.absent")
    }

    @Test func `caches that nobody uses go, and the oldest of a project that has too much`() async throws {
        let it = try await PipelineHouse()
        let now = it.house.time.now
        func entry(_ key: String, project: String, _ size: Int64, _ age: Duration) -> CacheEntry {
            var entry = CacheEntry()
            (entry.id, entry.key, entry.project, entry.scope) = ("cache_\(key)", key, project, "ref:x")
            (entry.digest, entry.size_bytes) = ("sha256:\(key)", size)
            (entry.created_at, entry.used_at) = (.zero, now.advanced(by: .zero - age))
            return entry
        }
        let (half, limit) = (PipelineLimits.cacheProjectBytes / 2, PipelineLimits.cacheIdle)
        let entries = [
            entry("idle", project: "a", 1, limit + .seconds(1)), entry("fresh", project: "a", 1, limit - .seconds(1)),
            entry("old", project: "b", half, .seconds(50)), entry("mid", project: "b", half, .seconds(40)),
            entry("new", project: "b", 1, .seconds(1)),
        ]
        try await it.house.store.change(.system("test")) { change in
            for entry in entries { _ = try change.sql.insert(entry) }
        }
        let keeping = KeepingReconciler(context: it.house.context)
        while try await keeping.reconcile("all") == .now {}
        var names: [String] = []
        for project in ["a", "b"] {
            var query = CacheListQuery()
            query.project = project
            names += try await it.house.call(Caches.list, query).items.map(\.key)
        }
        #expect(names == ["fresh", "new", "mid"])
        #expect(try await it.house.events(named: "cache.evicted").count == 2)
    }

    // MARK: Artifacts

    @Test func `an artifact is forgotten when its time is over and its run has ended`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(Self.pipeline)
        try await it.hello()
        let run = try await it.start("p")
        let lease = try await it.lease()
        try await it.finish(lease)
        var report = JobReport()
        (report.run, report.stage, report.job, report.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        report.artifacts = [try await it.artifact("app-p")]
        try await it.give(back: report)
        let keeping = KeepingReconciler(context: it.house.context)
        it.house.time.advance(by: .seconds(3601))
        _ = try await keeping.reconcile("all")
        let name = RunName(project: "default", run: run.id)
        #expect(try await it.house.call(Runs.artifacts, name).items.map(\.name) == ["app-p"], "the run goes on")
        try await it.settle()
        #expect(try await keeping.reconcile("all") == .now)
        #expect(try await it.house.call(Runs.artifacts, name).items.isEmpty)
        #expect(try await it.house.events(named: "artifact.expired").count == 1)
    }

    @Test(arguments: [
        ("artifacts: [{ name: ../x, paths: [a] }]", "stages.0.jobs.j.artifacts.0.name"),
        ("artifacts: [{ name: x, paths: [ok, ../../etc] }]", "stages.0.jobs.j.artifacts.0.paths.1"),
        ("artifacts: [{ name: x, paths: [/etc] }]", "stages.0.jobs.j.artifacts.0.paths.0"),
        ("cache: [{ key: k, paths: [~, ../x] }]", "stages.0.jobs.j.cache.0.paths.0"),
        ("cache: [{ key: \"\", paths: [a] }]", "stages.0.jobs.j.cache.0.key"),
        ("workspace: { keep: maybe }", "stages.0.jobs.j.workspace.keep"),
    ])
    func `what a job cannot keep is refused with its place`(part: String, place: String) throws {
        let text = """
            kind: Pipeline
            name: p
            stages: [{ name: s, jobs: { j: { steps: [{ run: a }], \(part) } } }]
            """
        let document = try #require(try YAML.documents(text, file: "p.yaml").first)
        var members = document.value.object ?? [:]
        (members["kind"], members["name"]) = (nil, nil)
        let error = #expect(throws: ManifestError.self) { try PipelineSpec(json: .object(members), at: []) }
        #expect(error?.at.joined(separator: ".") == place, "\(error.map { "\($0)" } ?? "")")
    }

    @Test(arguments: [
        ("{ run: a, working_directory: ../x }", "working_directory"),
        ("{ checkout: { path: /x } }", "checkout.path"),
        ("{ checkout: { submodules: deep } }", "checkout.submodules"),
        ("{ fetch: { artifact: s.x, to: .. } }", "fetch.to"),
        ("{ run: a, retry: { max: 2, for: [exit_codes] } }", "retry.for"),
        ("{ run: a, retry: { max: 2, exit_codes: [3] } }", "retry.exit_codes"),
        ("{ run: a, retry: { max: 11 } }", "retry.max"),
        ("{ run: a, shell: fish }", "shell"),
    ])
    func `what a step cannot do is refused with its place`(step: String, place: String) throws {
        let document = try #require(try YAML.documents(step, file: "s.yaml").first)
        let error = #expect(throws: ManifestError.self) { try StepSpec(json: document.value, at: []) }
        #expect(error?.at.joined(separator: ".") == place, "\(error.map { "\($0)" } ?? "")")
    }

    @Test func `a part of a job that cannot be resolved keeps nobody from being leased it`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(
            """
            kind: Pipeline
            name: p
            stages:
              - name: s
                jobs:
                  j:
                    steps: [{ id: a, run: "true" }]
                    artifacts: [{ name: "x${{ fromJSON('{') }}", paths: [a] }, { name: "y${{ steps.a.outputs.v }}", paths: [a] }]
            """)
        try await it.hello()
        _ = try await it.start("p")
        #expect(
            try await it.lease().artifacts.map(\.name) == ["x${{ fromJSON('{') }}", "y${{ steps.a.outputs.v }}"])
    }

    // MARK: Words

    @Test func `what steps say is told with the run: summary, annotations, coverage, workspace`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(Self.pipeline)
        try await it.hello()
        let run = try await it.start("p")
        let lease = try await it.lease()
        try await it.finish(lease, .failed) { report in
            (report.step.summary, report.step.conclusion, report.step.attempts) = ("# Well", .succeeded, 3)
            var annotation = Annotation()
            (annotation.level, annotation.message, annotation.file) = (.warning, "mind", "a.c")
            report.annotations = [annotation]
        }
        var report = JobReport()
        (report.run, report.stage, report.job, report.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        var coverage = Coverage()
        (coverage.lines, coverage.covered) = (4, 3)
        (report.coverage, report.workspace, report.tests) = (coverage, "/w/x", TestSummary())
        try await it.give(back: report)
        let job = try #require(try await it.run(run.id).jobs.first)
        #expect(job.steps[0].summary == "# Well" && job.steps[0].conclusion == .succeeded)
        #expect(job.steps[0].attempts == 3 && job.annotations.map(\.text) == ["a.c: mind"])
        #expect(job.coverage?.percent == 75 && job.workspace == "/w/x" && job.tests != nil)
    }

    // MARK: Orders

    @Test func `orders carry what a step is to run with`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(
            """
            kind: Pipeline
            name: p
            variables: { A: outer, B: outer }
            stages:
              - name: s
                jobs:
                  j:
                    steps:
                      - run: a
                        shell: python
                        working_directory: "${{ pipeline }}/x"
                        retry: { max: 2, delay: 5s, for: [timeout] }
                        variables: { A: one }
                        env: { A: two, C: three }
            """)
        try await it.hello()
        _ = try await it.start("p")
        let order = try await it.lease().steps[0]
        #expect(order.shell == .python && order.working_directory == "p/x")
        #expect(order.retry.max == 2 && order.retry.delay == .seconds(5) && order.retry.for == [.timeout])
        #expect(order.environment["A"] == "two" && order.environment["B"] == "outer")
        #expect(Set(order.own_variables) == ["A", "C"])
    }

    // MARK: Runners

    @Test func `a runner that drains is given nothing and answered at once; hello puts it back`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(Self.pipeline)
        try await it.hello()
        _ = try await it.start("p")
        try await it.settle()
        let input = LeaseInput.of("one", "a")
        _ = try await it.house.call(Runners.drain, input)
        #expect(try await it.isReady())
        // Without time passing: a poll that waited would never end here.
        #expect(try await it.house.call(Runners.lease, input).lease == nil)
        #expect(try await it.house.call(Runners.list, Nothing()).items.map(\.is_draining) == [true])
        try await it.hello("two")
        #expect(try await it.house.call(Runners.lease, .of("two", "a")).lease != nil)
        try await it.hello(incarnation: "b")
        #expect(try await it.house.call(Runners.list, Nothing()).items.map(\.is_draining) == [false, false])
    }

    @Test func `blobs a runner asks for are told apart`() async throws {
        let it = try await PipelineHouse()
        let (here, _) = try await it.blobs.put(bytes: [1, 2, 3])
        let absent = "sha256:" + String(repeating: "0", count: 64)
        let answer = try await it.house.call(Runners.absent, DigestList([here.text, absent]))
        #expect(answer.digests == [absent])
        await #expect(throws: Problem.self) { try await it.house.call(Runners.absent, DigestList(["nonsense"])) }
    }
}
