import API
import Foundation
import Kernel
import KernelTesting
import Manifests
import SQL
import Testing

@testable import Pipelines

/// The store dies after each commit in turn, in the middle of matrices, lanes, tries and the end of a run.
@Suite struct GraphCrashTests {
    /// Two runs of it stand in one lane; one of its jobs fails once; its cells come from an output.
    static let pipeline = """
        kind: Pipeline
        name: p
        concurrency: { group: all }
        stages:
          - name: plan
            jobs: { j: { steps: [{ id: s, run: x }], outputs: { n: "${{ fromJSON(steps.s.outputs.n) }}" } } }
          - name: test
            max_parallel: 1
            jobs:
              flaky: { retry: { max: 2, for: [failure], delay: 5s }, steps: [{ run: x }] }
              unit: { matrix: { n: "${{ needs.plan.outputs.n }}" }, steps: [{ run: x }] }
        finally:
          - { name: clean, jobs: { j: { steps: [{ run: x }] } } }
        """

    struct Crash: Error {}

    /// A runner that outlives the server, tells its jobs' ends until they are heard, and fails one job once.
    actor Runner {
        private var lease: Lease?
        private var report: JobReport?
        private var hasFailed = false
        private(set) var done: [String] = []

        func forget() { (lease, report) = (nil, nil) }

        func act(_ it: PipelineHouse, incarnation: String) async throws -> Bool {
            if let report {
                try await it.give(back: report)
                (self.report, lease) = (nil, nil)
            } else if let lease {
                report = work(lease)
            } else {
                guard try await it.isReady() else { return false }
                lease = try await it.house.call(Runners.lease, LeaseInput.of("one", incarnation)).lease
            }
            return true
        }

        private func work(_ lease: Lease) -> JobReport {
            var report = JobReport()
            (report.run, report.stage, report.job, report.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
            var step = StepReport()
            (step.run, step.stage, step.job, step.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
            step.step.status = .succeeded
            if lease.job == "flaky", !hasFailed {
                hasFailed = true
                (step.step.status, report.status, report.cause, report.reason) = (.failed, .failed, .failure, "once")
            } else {
                done.append("\(lease.run)/\(lease.stage)/\(lease.job)")
            }
            if lease.stage == "plan" { step.step.outputs = ["n": "[1,2]"] }
            report.steps = lease.first_step == 0 ? [step] : []
            return report
        }
    }

    private func drive(_ it: PipelineHouse, _ runner: Runner, incarnation: String) async throws -> [Run] {
        try await it.house.apply(Self.pipeline)
        try await it.hello("one", incarnation: incarnation)
        for number in 1...2
        where try await it.house.store.read({ try $0.run(named: "p:\(number)", project: "default") }) == nil {
            _ = try await it.start("p")
        }
        for _ in 0..<300 {
            try await it.settle()
            let runs = [try await it.run("p:1"), try await it.run("p:2")]
            if runs.allSatisfy(\.status.hasEnded) { return runs }
            let isBusy = try await runner.act(it, incarnation: incarnation)
            if !isBusy { it.house.time.advance(by: .seconds(6)) }
        }
        Issue.record("the runs do not end")
        return []
    }

    private func crash(after n: Int, runnerDies: Bool) async throws -> Bool {
        let home = NSTemporaryDirectory() + "vagus-graph-crash-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: home) }  // a leftover folder harms no other test
        let (time, runner) = (ManualTime(), Runner())
        do {
            let it = try await PipelineHouse(folder: home, time: time) { if $0 >= n { throw Crash() } }
            _ = try await drive(it, runner, incarnation: "a")
            return false
        } catch {}
        if runnerDies { await runner.forget() }
        let it = try await PipelineHouse(folder: home, time: time, firstID: 1000)
        let runs = try await drive(it, runner, incarnation: runnerDies ? "b" : "a")
        try await check(runs, it, "after commit \(n)")
        let done = await runner.done
        if !runnerDies { #expect(done.count == Set(done).count, "a job ran twice after commit \(n): \(done)") }
        return true
    }

    private func check(_ runs: [Run], _ it: PipelineHouse, _ place: Comment) async throws {
        for run in runs {
            #expect(run.status == .succeeded, place)
            #expect(run.jobs.map(\.key) == ["plan/j", "test/flaky", "test/unit.1", "test/unit.2", "clean/j"], place)
            #expect(run.jobs.allSatisfy { $0.status == .succeeded }, place)
        }
        let events = try await it.house.events()
        for run in runs {
            let ended = events.filter { $0.name == "job.finished" && $0.subject.name == run.id }
            #expect(ended.count == 5, place)
            #expect(events.filter { $0.name == "run.finished" && $0.subject.name == run.id }.count == 1, place)
        }
        // The lane: the second run begins when the first has ended, whatever died in between.
        let first = events.firstIndex { $0.name == "run.finished" && $0.subject.name == runs[0].id } ?? .max
        let second = events.firstIndex { $0.name == "run.started" && $0.subject.name == runs[1].id } ?? 0
        #expect(first < second, place)
    }

    @Test(arguments: [false, true])
    func `graphs end as if nothing had happened, whichever commit the server dies after`(runnerDies: Bool) async throws
    {
        var n = 1
        while try await crash(after: n, runnerDies: runnerDies) {
            n += 1
            try #require(n < 300)
        }
        #expect(n > 40, "the scenario has too few commits to mean anything")
    }
}
