import API
import Kernel
import KernelTesting
import Manifests
import Synchronization
import Testing

@testable import Pipelines

/// Graphs as they run: matrices, conditions, tries, time limits, the end, pipelines in pipelines.
@Suite struct GraphRunTests {
    private func house(_ yaml: String, world: FakeWorld = FakeWorld(), runner: Bool = true) async throws
        -> PipelineHouse
    {
        let it = try await PipelineHouse(world: world)
        try await it.house.apply(yaml)
        if runner { try await it.hello() }
        return it
    }

    private static func pipeline(_ stages: String, _ more: String = "") -> String {
        "kind: Pipeline\nname: p\n\(more)\nstages:\n\(stages)"
    }

    private func job(_ it: PipelineHouse, _ key: String) async throws -> Job {
        let jobs = try await it.run("p:latest").jobs
        return try #require(jobs.first { $0.key == key }, "\(jobs.map(\.key))")
    }

    /// Ends a lease, its one step with it.
    private func end(
        _ it: PipelineHouse, _ lease: Lease, _ status: RunStatus = .succeeded, exitCode: Int? = nil,
        outputs: Ordered<JSONValue> = [:]
    ) async throws {
        try await it.finish(lease, status, outputs: outputs) { $0.step.exit_code = exitCode }
        try await it.end(
            lease, status, cause: status == .failed ? .failure : nil, reason: status == .failed ? "it broke" : nil)
        try await it.settle()
    }

    // MARK: Matrix

    @Test func `each cell of a matrix is a job with its own values`() async throws {
        let it = try await house(
            Self.pipeline(
                """
                  - name: t
                    jobs:
                      unit:
                        matrix: { os: [debian12, ubuntu24], swift: ["6.1", "6.3"], exclude: [{ os: debian12, swift: "6.1" }] }
                        outputs: { built: "${{ matrix.os }}" }
                        steps: [{ run: "test on ${{ matrix.os }} with ${{ matrix.swift }}" }]
                  - { name: after, needs: [{ stage: t, job: unit, matrix: { os: debian12 } }], jobs: { j: { steps: [{ run: "${{ needs.t.unit.outputs.built }}" }] } } }
                """))
        let run = try await it.start("p")
        #expect(run.jobs.prefix(3).map(\.name) == ["unit.1", "unit.2", "unit.3"])
        #expect(
            run.jobs[0].title == "unit (debian12, 6.3)" && run.jobs[0].matrix == ["os": "debian12", "swift": "6.3"])
        let first = try await it.lease()
        #expect(first.job == "unit.1" && first.steps[0].settings == "test on debian12 with 6.3")
        try await end(it, first)
        // One cell is enough for who needs one cell.
        var after: Lease?
        for _ in 0..<3 { let lease = try await it.lease(); if lease.stage == "after" { after = lease } }
        #expect(after?.steps[0].settings == "debian12")
    }

    @Test func `what two cells leave under one name is not fetched`() async throws {
        let it = try await house(
            Self.pipeline(
                """
                  - { name: a, jobs: { x: { matrix: { i: [1, 2] }, steps: [{ run: x }], artifacts: [{ name: m, paths: [m] }] } } }
                  - { name: b, jobs: { j: { steps: [{ fetch: a.m }] } } }
                """))
        _ = try await it.start("p")
        for _ in 0..<2 { try await it.work(artifacts: ["m"]) }
        let job = try await job(it, "b/j")
        #expect(job.status == .failed)
        #expect(
            job.reason?.hasPrefix("\"a.m\" was left by 2 jobs: a/x.1 and a/x.2; give what each") == true,
            "\(job.reason ?? "")")
    }

    @Test func `what a job has left in an earlier try counts no more`() async throws {
        let it = try await house(
            Self.pipeline(
                """
                  - { name: a, jobs: { x: { retry: { max: 1, for: [failure] }, steps: [{ run: x }], artifacts: [{ name: "${{ 'm' }}.v1", paths: [m] }] } } }
                  - { name: b, jobs: { j: { steps: [{ fetch: a.m.v1 }] } } }
                """))
        _ = try await it.start("p")
        try await it.work(.failed, artifacts: ["m.v1"])
        try await it.work(artifacts: ["m.v1"])
        let lease = try await it.lease()
        #expect(lease.stage == "b" && lease.steps[0].inputs["artifact"]?.name == "m.v1")
    }

    @Test func `a matrix may come from an output, typed`() async throws {
        let it = try await house(
            Self.pipeline(
                """
                  - name: plan
                    jobs: { j: { steps: [{ id: s, run: x }], outputs: { cells: "${{ steps.s.outputs.cells }}", most: "${{ fromJSON(steps.s.outputs.most) }}" } } }
                  - name: t
                    jobs: { unit: { matrix: "${{ fromJSON(needs.plan.outputs.cells) }}", steps: [{ run: "${{ matrix.shard }}/${{ needs.plan.outputs.most + 1 }}" }] } }
                """))
        let run = try await it.start("p")
        #expect(run.jobs.map(\.key) == ["plan/j", "t/unit"])
        try await end(
            it, try await it.lease(),
            outputs: ["cells": "{\"shard\":[1,2,3],\"exclude\":[{\"shard\":2}]}", "most": "41"])
        #expect(try await job(it, "plan/j").outputs["most"] == 41)
        let lease = try await it.lease()
        #expect(lease.job == "unit.1" && lease.steps[0].settings == "1/42")
        #expect(try await it.run("p:latest").jobs.map(\.key) == ["plan/j", "t/unit.1", "t/unit.2"])
        #expect(try await job(it, "t/unit.2").title == "unit (3)")
    }

    @Test(arguments: [
        ("[]", RunStatus.skipped, "its matrix has no cells"),
        ("{\"a\":1}", .failed, "its matrix cannot be made: \"a\" must be a list with at least one value"),
        ("{", .failed, "its matrix cannot be made"),
    ])
    func `a matrix that comes to nothing says so`(cells: String, status: RunStatus, words: String) async throws {
        let it = try await house(
            Self.pipeline(
                """
                  - { name: plan, jobs: { j: { steps: [{ id: s, run: x }], outputs: { cells: "${{ steps.s.outputs.cells }}" } } } }
                  - { name: t, jobs: { unit: { matrix: "${{ fromJSON(needs.plan.outputs.cells) }}", steps: [{ run: x }] } } }
                """))
        _ = try await it.start("p")
        try await end(it, try await it.lease(), outputs: ["cells": .string(cells)])
        let ended = try await job(it, "t/unit")
        #expect(ended.status == status)
        #expect(ended.reason?.hasPrefix(words) == true, "\(ended.reason ?? "")")
    }

    @Test(arguments: [true, false])
    func `a failed cell cancels the others, unless they shall go on`(failFast: Bool) async throws {
        let it = try await house(
            Self.pipeline(
                "  - { name: t, jobs: { u: { fail_fast: \(failFast), max_parallel: 2, matrix: { n: [1, 2, 3] }, steps: [{ run: x }] } } }"
            ))
        _ = try await it.start("p")
        let (one, two) = (try await it.lease(), try await it.lease())
        let third = try await job(it, "t/u.3")
        #expect(third.status == .waiting && third.reason == "waits for a place: at most 2 cells of \"u\" at once")
        try await end(it, one, .failed)
        let state = try await it.house.call(Runners.renew, two.key)
        #expect(state.stop == failFast)
        if failFast {
            #expect(state.reason == "\"t/u (1)\" failed, and fail_fast is on")
            #expect(try await job(it, "t/u.3").status == .cancelled)
            try await it.end(two, .cancelled)
        } else {
            try await end(it, two)
            try await end(it, try await it.lease())
        }
        try await it.settle()
        let run = try await it.run("p:latest")
        #expect(run.status == .failed && run.reason == "job \"t/u (1)\" failed: it broke")
    }

    @Test func `a stage bounds how many of its jobs work at once`() async throws {
        let it = try await house(
            Self.pipeline(
                "  - { name: t, max_parallel: 1, jobs: { a: { steps: [{ run: x }] }, b: { steps: [{ run: x }] } } }"))
        _ = try await it.start("p")
        let lease = try await it.lease()
        #expect(try await !it.isReady())
        #expect(try await job(it, "t/b").reason == "waits for a place: at most 1 jobs of stage \"t\" at once")
        try await end(it, lease)
        #expect(try await it.isReady())
    }

    // MARK: Needs and conditions

    @Test func `a job needs jobs of its own stage, and sees their outputs`() async throws {
        let it = try await house(
            Self.pipeline(
                """
                  - name: s
                    jobs:
                      a: { steps: [{ id: x, run: x }], outputs: { v: "${{ steps.x.outputs.v }}" } }
                      b: { needs: [a], steps: [{ run: "got ${{ needs.a.outputs.v }}" }] }
                      c: { needs: [a], if: "needs.a.outputs.v == 'no'", steps: [{ run: x }] }
                """))
        _ = try await it.start("p")
        #expect(try await job(it, "s/b").reason == "waits for job \"s/a\"")
        try await end(it, try await it.lease(), outputs: ["v": "7"])
        let lease = try await it.lease()
        #expect(lease.job == "b" && lease.steps[0].settings == "got 7")
        let skipped = try await job(it, "s/c")
        #expect(skipped.status == .skipped && skipped.reason == "if: needs.a.outputs.v == 'no' was false")
    }

    @Test func `an optional need may be skipped but not fail`() async throws {
        let it = try await house(
            Self.pipeline(
                """
                  - { name: a, if: "false", jobs: { j: { steps: [{ run: x }] } } }
                  - { name: b, needs: [{ stage: a, optional: true }], jobs: { j: { steps: [{ run: x }] } } }
                  - { name: c, needs: [a], jobs: { j: { steps: [{ run: x }] } } }
                """))
        _ = try await it.start("p")
        #expect(try await it.lease().stage == "b")
        let skipped = try await job(it, "c/j")
        #expect(skipped.status == .skipped && skipped.reason == "stage \"a\" was skipped")
    }

    @Test func `a step's condition is given what it reads of the server's values`() async throws {
        let it = try await house(
            Self.pipeline(
                "  - { name: s, jobs: { j: { matrix: { os: [a] }, steps: [{ if: \"matrix.os == 'a'\", run: x }, { run: y }] } } }"
            ))
        _ = try await it.start("p")
        let lease = try await it.lease()
        #expect(lease.steps[0].context["matrix"] == ["os": "a"])
        #expect(lease.steps[1].context.isEmpty)
        #expect(!lease.begun, "whether it begins is the runner's to find out")
    }

    // MARK: Tries

    @Test func `a failure with a named exit code is tried again after a while, and each try is kept`() async throws {
        let it = try await house(
            Self.pipeline(
                "  - { name: s, retry: { max: 1, exit_codes: [75], delay: 10s }, jobs: { j: { steps: [{ run: x }] } } }"
            ))
        let run = try await it.start("p")
        let first = try await it.lease()
        _ = try await it.append("one\n", at: 0, first)
        try await end(it, first, .failed, exitCode: 75)
        let waiting = try await job(it, "s/j")
        #expect(waiting.status == .waiting && waiting.reason == "is tried again in 10s: it broke")
        #expect(try await !it.isReady())
        it.house.time.advance(by: .seconds(10))
        let second = try await it.lease()
        #expect(second.attempt == 2 && second.output_offset == 4)
        try await end(it, second, .failed, exitCode: 75)
        let done = try await it.run(run.id)
        #expect(done.status == .failed)
        #expect(done.jobs[0].attempts.map(\.attempt) == [1, 2])
        #expect(done.jobs[0].attempts.map(\.status) == [.failed, .failed])
        #expect(done.jobs[0].attempts.map(\.log_offset) == [0, 4])
        #expect(done.jobs[0].attempts[0].cause == .failure)
    }

    @Test(arguments: [(2, RunStatus.succeeded), (1, .failed)])
    func `only failures with the allowed exit codes are let pass`(code: Int, status: RunStatus) async throws {
        let it = try await house(
            Self.pipeline(
                "  - { name: s, jobs: { j: { allow_failure: { exit_codes: [2] }, steps: [{ run: x }] } } }"))
        _ = try await it.start("p")
        try await end(it, try await it.lease(), .failed, exitCode: code)
        #expect(try await it.run("p:latest").status == status)
        let reason = try await job(it, "s/j").reason
        #expect(reason == (code == 2 ? "it broke; it is allowed to fail" : "it broke"))
    }

    // MARK: Time limits

    @Test func `a stage that takes too long ends, what runs and what waits of it`() async throws {
        let it = try await house(
            Self.pipeline(
                """
                  - name: s
                    timeout: 10m
                    max_parallel: 1
                    jobs: { a: { steps: [{ run: x }] }, b: { steps: [{ run: x }] } }
                """))
        _ = try await it.start("p")
        let lease = try await it.lease()
        #expect(lease.timeout_seconds == 600)
        for _ in 0..<60 {
            it.house.time.advance(by: .seconds(10))
            _ = try await it.house.call(Runners.renew, lease.key)
        }
        try await it.settle()
        let state = try await it.house.call(Runners.renew, lease.key)
        #expect(state.stop && state.reason == "stage \"s\" took longer than 10m")
        try await it.end(lease, .cancelled)
        try await it.settle()
        let run = try await it.run("p:latest")
        #expect(run.status == .failed && run.reason == "job \"s/a\" failed: stage \"s\" took longer than 10m")
        #expect(run.jobs[1].status == .failed && run.jobs[1].reason == "stage \"s\" took longer than 10m")
    }

    // MARK: The end

    static let ending = """
        kind: Pipeline
        name: p
        stages:
          - { name: work, jobs: { j: { steps: [{ run: x }] } } }
          - { name: later, jobs: { j: { steps: [{ run: x }] } } }
        finally:
          - { name: clean, jobs: { j: { steps: [{ run: "clean after ${{ needs.work.result }}" }] } } }
          - { name: tell, if: failure(), jobs: { j: { steps: [{ run: tell }] } } }
        """

    @Test func `what runs at the end runs after a failure, and decides nothing`() async throws {
        let it = try await house(Self.ending)
        let run = try await it.start("p")
        try await end(it, try await it.lease(), .failed)
        let clean = try await it.lease()
        #expect(clean.steps[0].settings == "clean after failed")
        try await end(it, clean, .failed)
        try await end(it, try await it.lease())
        let done = try await it.run(run.id)
        #expect(done.status == .failed)
        #expect(done.reason == "stage \"work\" failed: it broke; at the end, stage \"clean\" failed: it broke")
    }

    @Test func `it runs after a success too, and its own failure does not make one of it`() async throws {
        let it = try await house(Self.ending)
        let run = try await it.start("p")
        try await end(it, try await it.lease())
        try await end(it, try await it.lease())
        try await end(it, try await it.lease(), .failed)
        let done = try await it.run(run.id)
        #expect(done.status == .succeeded && done.reason == "at the end, stage \"clean\" failed: it broke")
        #expect(done.jobs.last?.status == .skipped && done.jobs.last?.reason == "if: failure() was false")
    }

    @Test func `it runs after a cancellation, which does not stop it`() async throws {
        let it = try await house(Self.ending)
        let run = try await it.start("p")
        let lease = try await it.lease()
        _ = try await it.house.call(Runs.cancel, RunName(project: "default", run: run.id))
        try await it.settle()
        try await it.end(lease, .cancelled)
        let clean = try await it.lease()
        #expect(clean.stage == "clean")
        #expect(try await !it.house.call(Runners.renew, clean.key).stop)
        try await end(it, clean)
        let done = try await it.run(run.id)
        #expect(done.status == .cancelled && done.jobs[2].status == .succeeded)
    }

    @Test func `cancelled twice, also what runs at the end is cancelled`() async throws {
        let it = try await house(Self.ending)
        let run = try await it.start("p")
        let lease = try await it.lease()
        let name = RunName(project: "default", run: run.id)
        _ = try await it.house.call(Runs.cancel, name)
        try await it.end(lease, .cancelled)
        let clean = try await it.lease()
        _ = try await it.house.call(Runs.cancel, name)
        let state = try await it.house.call(Runners.renew, clean.key)
        #expect(state.stop && state.reason == "cancelled again by system:test")
        try await it.end(clean, .cancelled)
        try await it.settle()
        let done = try await it.run(run.id)
        #expect(done.status == .cancelled && done.jobs[2].status == .cancelled)
    }

    // MARK: Rollback

    @Test func `a run that fails after it has deployed takes that back`() async throws {
        let world = FakeWorld()
        let it = try await house(
            Self.pipeline(
                """
                  - { name: ship, deploy: { service: web } }
                  - { name: smoke, jobs: { j: { steps: [{ run: x }] } } }
                """, "rollback: { service: web }"), world: world)
        let run = try await it.start("p")
        try await it.settle()
        world.state.withLock { ($0.service.stable_revision, $0.service.completion) = (1, .promoted) }
        try await it.settle()
        try await end(it, try await it.lease(), .failed)
        #expect(try await it.run(run.id).status == .failed)
        #expect(world.undone == ["web"])
        let events = try await it.house.events(named: "run.rolled-back")
        #expect(events.count == 1 && events[0].data["undone"] == true)
    }

    @Test func `a run that fails before it has deployed takes nothing back`() async throws {
        let world = FakeWorld()
        let it = try await house(
            Self.pipeline("  - { name: smoke, jobs: { j: { steps: [{ run: x }] } } }", "rollback: { service: web }"),
            world: world)
        _ = try await it.start("p")
        try await end(it, try await it.lease(), .failed)
        #expect(try await it.run("p:latest").status == .failed)
        #expect(world.undone.isEmpty)
    }

    // MARK: Pipelines in pipelines

    static let inner = """
        kind: Pipeline
        name: inner
        parameters: { level: { type: int } }
        variables: { WHERE: inner }
        stages:
          - { name: make, jobs: { j: { steps: [{ id: m, run: "make ${{ parameters.level }}" }], outputs: { n: "${{ steps.m.outputs.n }}" } } } }
          - { name: check, jobs: { j: { steps: [{ run: "check ${{ needs.make.outputs.n }}" }] } } }
        finally: [{ name: clean, jobs: { j: { steps: [{ run: clean }] } } }]
        outputs: { made: "${{ needs.make.outputs.n }}" }
        """
    static let outer = """
        kind: Pipeline
        name: p
        parameters: { level: { type: int, default: 3 } }
        stages:
          - { name: first, jobs: { j: { steps: [{ run: x }] } } }
          - { name: sub, uses: { pipeline: inner, with: { level: "${{ parameters.level }}" } } }
          - { name: last, jobs: { j: { steps: [{ run: "${{ needs.sub.outputs.made }}" }] } } }
        """

    @Test func `a stage that uses a pipeline is that pipeline's stages, with typed parameters and outputs`()
        async throws
    {
        let it = try await house(Self.inner + "\n---\n" + Self.outer)
        let run = try await it.start("p")
        #expect(
            run.jobs.map(\.key) == ["first/j", "sub/sub", "last/j", "sub.make/j", "sub.check/j", "sub.clean/j"])
        #expect(run.uses.map(\.pipeline) == ["inner"] && run.uses[0].digest.hasPrefix("sha256:"))
        try await end(it, try await it.lease())
        #expect(try await job(it, "sub/sub").status == .running)
        let make = try await it.lease()
        #expect(make.stage == "sub.make" && make.steps[0].settings == "make 3")
        #expect(
            make.steps[0].environment["WHERE"] == "inner" && make.steps[0].environment["VAGUS_PARAMETER_LEVEL"] == "3")
        try await end(it, make, outputs: ["n": "42"])
        let check = try await it.lease()
        #expect(check.steps[0].settings == "check 42")
        try await end(it, check)
        try await end(it, try await it.lease())
        let last = try await it.lease()
        #expect(last.stage == "last" && last.steps[0].settings == "42")
        try await end(it, last)
        #expect(try await it.run(run.id).status == .succeeded)
    }

    @Test func `a failure inside it is the stage's, in its words`() async throws {
        let it = try await house(Self.inner + "\n---\n" + Self.outer)
        let run = try await it.start("p")
        try await end(it, try await it.lease())
        try await end(it, try await it.lease(), .failed)
        try await end(it, try await it.lease())
        let done = try await it.run(run.id)
        #expect(done.status == .failed)
        #expect(done.reason == "stage \"sub\" failed: stage \"sub.make\" failed: it broke")
        #expect(try await job(it, "sub.check/j").status == .skipped)
        #expect(try await job(it, "last/j").status == .skipped)
    }

    @Test func `a parameter of the wrong type fails the stage that gives it`() async throws {
        let it = try await house(
            Self.inner + "\n---\n"
                + Self.pipeline("  - { name: sub, uses: { pipeline: inner, with: { level: much } } }"))
        _ = try await it.start("p")
        try await it.settle()
        let failed = try await job(it, "sub/sub")
        #expect(failed.status == .failed)
        #expect(failed.reason == "its parameters cannot be made: the parameter \"level\" must be of type int")
    }

    @Test(arguments: [
        ("uses: { pipeline: inner, digest: \"sha256:0\", with: { level: 1 } }", "pipeline.digest"),
        ("uses: { pipeline: nobody }", "pipeline.not-found"), ("uses: { pipeline: p }", "pipeline.circle"),
    ])
    func `a run that uses what is not there is refused`(uses: String, code: String) async throws {
        let it = try await house(Self.inner + "\n---\n" + Self.pipeline("  - { name: sub, \(uses) }"))
        let refused = await #expect(throws: Problem.self) { try await it.start("p") }
        #expect(refused?.code == code)
        #expect(try await it.house.events(named: "run.queued").isEmpty)
    }

    @Test func `a pin that fits is taken`() async throws {
        let it = try await house(Self.inner)
        let digest = try await it.house.store.read { sql in
            try sql.resource(PipelineKind.self, Reference(project: "default", name: "inner"))?.spec.digest ?? ""
        }
        try await it.house.apply(
            Self.pipeline("  - { name: sub, uses: { pipeline: inner, digest: \"\(digest)\", with: { level: 1 } } }"))
        #expect(try await it.start("p").uses[0].digest == digest)
    }

    // MARK: Placement

    @Test func `a job that no runner can take says why, and no longer once one can`() async throws {
        let it = try await house(
            Self.pipeline("  - { name: s, jobs: { j: { runs_on: { labels: [gpu] }, steps: [{ run: x }] } } }"),
            runner: false)
        _ = try await it.start("p")
        try await it.settle()
        #expect(
            try await job(it, "s/j").reason == "waits for a runner: none is connected")
        try await it.hello("one", labels: ["linux"])
        try await it.hello("two", labels: ["linux"])
        try await it.settle()
        #expect(try await job(it, "s/j").reason == "no runner has the label gpu")
        try await it.hello("three", labels: ["gpu"])
        try await it.settle()
        #expect(try await job(it, "s/j").reason == "waits for a runner")
    }

    @Test func `a job tells what it asks of a runner and since when, while it waits for one`() async throws {
        let asked = "{ labels: [gpu], cpu: 500m, memory: 1Gi }"
        let it = try await house(
            Self.pipeline("  - { name: s, jobs: { j: { runs_on: \(asked), steps: [{ run: x }] } } }"), runner: false)
        _ = try await it.start("p")
        #expect(try await job(it, "s/j").runs_on == nil)
        try await it.settle()
        let waiting = try await job(it, "s/j")
        #expect(waiting.ready_at != nil)
        #expect(waiting.runs_on?.labels == ["gpu"] && waiting.runs_on?.executor == .process)
        #expect(waiting.runs_on?.cpu == CPUAmount(0.5) && waiting.runs_on?.memory == ByteSize(bytes: 1 << 30))
        try await it.hello("three", labels: ["gpu"])
        _ = try await it.lease("three")
        let leased = try await job(it, "s/j")
        #expect(leased.runs_on == nil && leased.ready_at == nil)
    }
}
