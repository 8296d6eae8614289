import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Pipelines

/// Ends of jobs, told together.
@Suite struct JobEndTests {
    static let pipeline = """
        kind: Pipeline
        name: p
        stages:
          - name: s
            jobs: { a: { steps: [{ run: a }] }, b: { steps: [{ run: b }] }, c: { steps: [{ run: c }] } }
        """

    private func house() async throws -> (PipelineHouse, [Lease]) {
        let it = try await PipelineHouse()
        try await it.house.apply(Self.pipeline)
        try await it.hello()
        _ = try await it.start("p")
        return (it, [try await it.lease(), try await it.lease()])
    }

    private func report(_ lease: Lease, saying text: String? = nil) -> JobReport {
        var report = JobReport()
        (report.run, report.stage, report.job, report.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        var step = StepReport()
        (step.run, step.stage, step.job, step.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        step.step.status = .succeeded
        report.steps = [step]
        report.output = text.map { text in
            var tail = OutputTail()
            (tail.offset, tail.text) = (lease.output_offset, text)
            return tail
        }
        return report
    }

    private func tell(
        _ it: PipelineHouse, _ reports: [JobReport], count: Int = 0, incarnation: String = "a"
    ) async throws -> JobReportsOutcome {
        var input = JobReports()
        (input.name, input.incarnation, input.reports, input.count) = ("one", incarnation, reports, count)
        return try await it.house.call(Runners.jobsFinished, input)
    }

    private func output(_ it: PipelineHouse, _ lease: Lease) throws -> String {
        let key = JobKey(run: lease.run, stage: lease.stage, job: lease.job)
        return String(decoding: try it.domain.logs.bytes(key, from: 0, limit: 1 << 20), as: UTF8.self)
    }

    @Test func `ends are told together with the last output, and what is ready comes in their place`() async throws {
        let (it, leases) = try await house()
        let outcome = try await tell(it, leases.map { report($0, saying: "of \($0.job)\n") }, count: 2)
        #expect(outcome.answers.allSatisfy { $0.problem == nil })
        #expect(outcome.leases.map(\.job) == ["c"], "there is one left")
        for lease in leases { #expect(try output(it, lease) == "of \(lease.job)\n") }
        let jobs = try await it.run(leases[0].run).jobs
        #expect(jobs.map(\.status) == [.succeeded, .succeeded, .running])
        #expect(jobs[0].steps[0].status == .succeeded)
    }

    @Test func `a repeat changes nothing, and who was lost is refused alone`() async throws {
        let (it, leases) = try await house()
        let first = try await tell(it, [report(leases[0], saying: "once\n")])
        #expect(first.answers[0].problem == nil && first.leases.isEmpty)
        var lost = report(leases[1])
        lost.epoch -= 1
        let again = try await tell(it, [report(leases[0], saying: "once\n"), lost])
        #expect(again.answers.map { $0.problem?.code } == [nil, "lease.lost"])
        #expect(try output(it, leases[0]) == "once\n")
        #expect(try await it.house.events(named: "job.finished").count == 1)
        #expect(try await it.run(leases[1].run).jobs[1].status == .running)
    }

    @Test func `a runner of an earlier life tells what it did, and is given nothing`() async throws {
        let (it, leases) = try await house()
        let outcome = try await tell(it, [report(leases[0])], count: 1, incarnation: "older")
        #expect(outcome.answers[0].problem == nil && outcome.leases.isEmpty)
    }

    @Test func `too much at once is refused, and nothing of it is kept`() async throws {
        let (it, leases) = try await house()
        let long = String(repeating: "x", count: PipelineLimits.chunkBytes + 1)
        let outcome = try await tell(it, [report(leases[0], saying: long), report(leases[1])])
        #expect(outcome.answers.map { $0.problem?.code } == ["output.invalid", nil])
        #expect(try output(it, leases[0]).isEmpty)
        #expect(try await it.run(leases[0].run).jobs.map(\.status).prefix(2) == [.running, .succeeded])
        let many = Array(repeating: report(leases[0]), count: JobReports.limit + 1)
        let error = await #expect(throws: Problem.self) { try await tell(it, many) }
        #expect(error?.code == "reports.too-many")
    }
}
