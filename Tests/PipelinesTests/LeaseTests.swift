import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Pipelines

@Suite struct LeaseTests {
    static let pipeline = """
        kind: Pipeline
        name: p
        stages:
          - name: s
            jobs: { j: { retry: { max: 1, for: [failure] }, steps: [{ run: a }, { run: b }, { run: c }] } }
        """

    private func begun() async throws -> (PipelineHouse, Run, Lease) {
        let it = try await PipelineHouse()
        try await it.house.apply(Self.pipeline)
        try await it.hello()
        let run = try await it.start("p")
        return (it, run, try await it.lease())
    }

    @Test func `a lease that ran out makes its job lost, and the old runner is refused`() async throws {
        let (it, run, old) = try await begun()
        try await it.finish(old, step: 0)
        it.house.time.advance(by: .seconds(16))
        try await it.settle()
        try await it.hello("two")
        let new = try await it.lease("two")
        #expect(new.epoch == old.epoch + 1)
        #expect(new.first_step == 0, "another runner has no workspace of it")
        let refused = await #expect(throws: Problem.self) { try await it.finish(old, step: 1) }
        #expect(refused?.status == 409 && refused?.code == "lease.lost")
        #expect(try await it.house.call(Runners.renew, old.key).stop)
        #expect(try await it.append("late", at: 0, old).stop)
        #expect(try await it.log(run, "s").text == "")
        await #expect(throws: Problem.self) { try await it.end(old) }
        #expect(try await it.house.events(named: "job.lost").count == 1)
        for index in 0..<3 { try await it.finish(new, step: index) }
        try await it.end(new)
        try await it.settle()
        let done = try await it.run(run.id)
        #expect(done.status == .succeeded)
        #expect(done.jobs[0].steps.map(\.attempts) == [2, 1, 1])
    }

    @Test func `the same runner goes on behind its last finished step`() async throws {
        let (it, _, old) = try await begun()
        try await it.finish(old, step: 0)
        try await it.hello("one", incarnation: "b")
        let new = try await it.lease("one", incarnation: "b")
        #expect(new.first_step == 1)
        #expect(new.attempt == 2)
        let input = LeaseInput.of("one", "a")
        let stale = await #expect(throws: Problem.self) { try await it.house.call(Runners.lease, input) }
        #expect(stale?.code == "runner.unknown")
    }

    @Test func `a lease renewed in time is kept`() async throws {
        let (it, run, lease) = try await begun()
        for _ in 0..<5 {
            it.house.time.advance(by: .seconds(10))
            #expect(try await !it.house.call(Runners.renew, lease.key).stop)
            try await it.settle()
        }
        #expect(try await it.run(run.id).jobs[0].status == .running)
    }

    @Test func `a job that kills its runners without getting on fails after the limit`() async throws {
        let (it, run, _) = try await begun()
        for life in 0..<PipelineLimits.losses {
            try await it.hello("one", incarnation: "life-\(life)")
            _ = try await it.lease("one", incarnation: "life-\(life)")
        }
        try await it.hello("one", incarnation: "last")
        try await it.settle()
        let done = try await it.run(run.id)
        #expect(done.status == .failed)
        #expect(done.jobs[0].reason == "runner \"one\" has started anew")
    }

    @Test func `a failed job is tried again from its first step, as often as it may`() async throws {
        let (it, run, first) = try await begun()
        try await it.finish(first, step: 0)
        try await it.finish(first, step: 1, .failed)
        try await it.end(first, .failed, cause: .failure, reason: "b broke")
        let second = try await it.lease()
        #expect(second.first_step == 0 && second.attempt == 2)
        try await it.finish(second, step: 0, .failed)
        try await it.end(second, .failed, cause: .failure, reason: "a broke")
        try await it.settle()
        #expect(try await it.run(run.id).status == .failed)
    }

    @Test func `a report told twice counts once`() async throws {
        let (it, run, lease) = try await begun()
        for index in 0..<3 {
            try await it.finish(lease, step: index, artifacts: ["x"])
            try await it.finish(lease, step: index, artifacts: ["x"])
        }
        try await it.end(lease)
        try await it.end(lease)
        try await it.settle()
        #expect(try await it.run(run.id).jobs[0].steps.map(\.attempts) == [1, 1, 1])
        #expect(try await it.house.events(named: "step.finished").count == 3)
        #expect(try await it.house.events(named: "job.finished").count == 1)
    }

    @Test func `an artifact whose content is not here is refused`() async throws {
        let (it, _, lease) = try await begun()
        let refused = await #expect(throws: Problem.self) {
            try await it.finish(lease) { report in
                var artifact = Artifact()
                (artifact.name, artifact.digest) = ("x", "sha256:" + String(repeating: "0", count: 64))
                report.artifacts = [artifact]
            }
        }
        #expect(refused?.code == "artifact.absent")
    }

    @Test func `a runner that waits gets a job as soon as one is ready`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(Self.pipeline)
        try await it.hello()
        async let leased = it.leases.lease(LeaseInput.of("one", "a"), .system("test"))
        await it.house.time.untilSomeoneSleeps()
        _ = try await it.start("p")
        try await it.settle()
        #expect(try await leased.lease?.job == "j")
    }
}

extension LeaseInput {
    static func of(_ name: String, _ incarnation: String) -> LeaseInput {
        var input = LeaseInput()
        (input.name, input.incarnation) = (name, incarnation)
        return input
    }
}
