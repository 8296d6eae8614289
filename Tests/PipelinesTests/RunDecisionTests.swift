import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Pipelines

@Suite struct RunDecisionTests {
    static let now = Timestamp(microseconds: 1_000_000_000)

    /// A run of a pipeline given as "name < need need ? condition" a stage, with how each stage's one job stands.
    static func state(_ stages: [(String, RunStatus)], stopping: RunStatus? = nil) throws -> RunState {
        var spec = PipelineSpec()
        var jobs: [StoredJob] = []
        for (index, (text, status)) in stages.enumerated() {
            let parts = text.split(separator: "?", maxSplits: 1).map { $0.split(separator: " ").map(String.init) }
            var stage = StageSpec()
            stage.name = parts[0][0]
            stage.needs = parts[0].dropFirst(2).map { NeedSpec($0) }
            if parts.count > 1 { stage.if = parts[1].joined(separator: " ") }
            stage.step.run = "true"
            spec.stages.append(stage)
            var job = Job()
            (job.stage, job.name, job.needs, job.status) = (
                stage.name, stage.name, parts[0].dropFirst(2).map { $0 }, status
            )
            jobs.append(
                StoredJob(
                    run: "r", job: job, position: index, isOnServer: false, labels: [], epoch: 0, losses: 0, retries: 0)
            )
        }
        var run = Run()
        (run.id, run.status, run.created_at, run.started_at) = ("r", .running, now, now)
        var stored = try StoredRun(run: run, spec: spec)
        (stored.stopping, stored.stoppingAt) = (stopping, stopping == nil ? nil : now)
        stored.stoppingReason = stopping == nil ? nil : "cancelled by ana"
        return RunState(stored: stored, jobs: jobs, bornAt: .zero)
    }

    static let table: [([(String, RunStatus)], [RunDecision.Action])] = [
        ([("build", .queued)], [.ready("build/build")]),
        ([("build", .running), ("test < build", .queued)], []),
        ([("build", .succeeded), ("test < build", .queued)], [.ready("test/test")]),
        ([("build", .failed), ("test < build", .queued)], [.skip("test/test", reason: "stage \"build\" failed")]),
        (
            [("build", .skipped), ("test < build", .queued)],
            [.skip("test/test", reason: "stage \"build\" was skipped")]
        ),
        ([("a", .succeeded), ("b", .running), ("c < a", .queued), ("d < a b", .queued)], [.ready("c/c")]),
        ([("build", .failed), ("report < build ? always()", .queued)], [.ready("report/report")]),
        ([("build", .failed), ("fix < build ? failure()", .queued)], [.ready("fix/fix")]),
        (
            [("build", .succeeded), ("fix < build ? failure()", .queued)],
            [.skip("fix/fix", reason: "if: failure() was false")]
        ),
        // An `if` without a status function still wants its needs to have succeeded.
        (
            [("build", .failed), ("ship < build ? 1 == 1", .queued)],
            [.skip("ship/ship", reason: "stage \"build\" failed")]
        ),
        // Only direct needs count: "last" needs "skipped" alone, which ran in spite of "first".
        (
            [("first", .failed), ("middle < first ? always()", .succeeded), ("last < middle", .queued)],
            [.ready("last/last")]
        ),
        ([("a", .succeeded), ("b < a", .succeeded)], [.finish(.succeeded, reason: nil)]),
        ([("a", .failed), ("b < a", .skipped)], [.finish(.failed, reason: "stage \"a\" failed")]),
        ([("a", .skipped)], [.finish(.skipped, reason: "every stage was skipped")]),
        ([("a", .succeeded), ("b < a", .skipped)], [.finish(.succeeded, reason: nil)]),
    ]

    @Test(arguments: table.indices)
    func `says what each job does next`(row: Int) throws {
        let (stages, expected) = Self.table[row]
        let decision = RunDecision.decide(try Self.state(stages), at: Self.now)
        let actions = decision.actions.filter { if case .finish = $0 { stages.allSatisfy(\.1.hasEnded) } else { true } }
        #expect(actions.filter { if case .lose = $0 { false } else { true } } == expected)
    }

    @Test func `a cancelled run cancels what has not begun, and spares what asks for it`() throws {
        let state = try Self.state(
            [("a", .cancelled), ("b < a", .queued), ("clean < a ? always()", .queued)], stopping: .cancelled)
        #expect(
            RunDecision.decide(state, at: Self.now).actions
                == [.cancel("b/b", reason: "cancelled by ana"), .ready("clean/clean")])
    }

    @Test func `a lease that ran out is lost, but not before a reborn server could be told of it`() throws {
        var state = try Self.state([("a", .running)])
        state.jobs[0].leaseUntil = Self.now
        #expect(RunDecision.decide(state, at: Self.now).actions == [.lose("a/a")])
        state.bornAt = Self.now
        let decision = RunDecision.decide(state, at: Self.now)
        #expect(decision.actions == [])
        #expect(decision.lookAgainAt == Self.now.advanced(by: PipelineLimits.lease))
        #expect(RunDecision.decide(state, at: Self.now.advanced(by: PipelineLimits.lease)).actions == [.lose("a/a")])
    }

    @Test func `a job is ended by the server when its runner does not keep the time limit`() throws {
        var state = try Self.state([("a", .running)])
        state.jobs[0].leaseUntil = Self.now.advanced(by: .seconds(3600))
        state.jobs[0].deadlineAt = Self.now
        let end = Self.now.advanced(by: PipelineLimits.timeoutGrace)
        #expect(RunDecision.decide(state, at: end.advanced(by: .milliseconds(-1))).actions == [])
        #expect(RunDecision.decide(state, at: end).actions == [.timeOut("a/a")])
    }

    @Test func `a run that takes too long is stopped as failed`() throws {
        var state = try Self.state([("a", .running)])
        var spec = state.stored.spec
        spec.timeout = .seconds(60)
        state.stored = StoredRun(run: state.stored.run, plan: try RunPlan(spec))
        state.jobs[0].leaseUntil = Self.now.advanced(by: .seconds(3600))
        #expect(
            RunDecision.decide(state, at: Self.now.advanced(by: .seconds(60))).actions == [
                .stop(reason: "took longer than 1m")
            ])
    }

    @Test func `an allowed failure does not fail its stage`() throws {
        var state = try Self.state([("a", .failed), ("b < a", .queued)])
        state.jobs[0].isForgiven = true
        #expect(RunDecision.decide(state, at: Self.now).actions == [.ready("b/b")])
    }

    @Test(
        arguments: [
            (RetrySpec.Cause.runner_lost, 3, 0, 0, RetryDecision.Answer.goOn), (.runner_lost, 4, 0, 0, .giveUp),
            (.failure, 0, 0, 0, .giveUp), (.failure, 0, 0, 2, .startOver), (.failure, 0, 2, 2, .giveUp),
        ])
    func `a failed job is tried again by its cause`(
        _ row: (cause: RetrySpec.Cause, losses: Int, retries: Int, most: Int, answer: RetryDecision.Answer)
    ) {
        var spec = RetrySpec()
        (spec.max, spec.for) = (row.most, [.runner_lost, .failure])
        #expect(RetryDecision.decide(row.cause, losses: row.losses, retries: row.retries, spec: spec) == row.answer)
    }
}
