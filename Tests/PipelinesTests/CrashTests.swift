import API
import Foundation
import Kernel
import KernelTesting
import Manifests
import SQL
import Synchronization
import Testing

@testable import Pipelines

/// The store dies after each commit in turn; whatever comes after must end as if nothing had happened.
@Suite struct CrashTests {
    static let pipeline = """
        kind: Pipeline
        name: p
        stages:
          - name: build
            jobs: { j: { steps: [{ id: a, run: a }, { run: b }] } }
          - { name: ingest, ingest: { dataset: rows } }
          - { name: register, needs: [ingest], register: { model: m, from: ingest.rows, aliases: [champion] } }
        ---
        { kind: Dataset, name: rows, source: { uri: rows.csv } }
        """

    struct Crash: Error {}

    /// A runner that outlives the server: repeats a report until it is heard, and counts what it really did.
    actor Runner {
        var lease: Lease?
        var next = 0
        var done: [String] = []
        var report: StepReport?
        var isEnding = false

        func forget() { (lease, report, isEnding) = (nil, nil, false) }

        /// One call to the server; true when there was something to do.
        func act(_ it: PipelineHouse, incarnation: String) async throws -> Bool {
            guard let lease else {
                guard try await it.isReady() else { return false }
                let leased = try await it.house.call(Runners.lease, LeaseInput.of("one", incarnation)).lease
                (self.lease, next) = (leased, leased?.first_step ?? 0)
                return true
            }
            if let report {
                _ = try await it.house.call(Runners.stepFinished, report)
                (self.report, next) = (nil, next + 1)
            } else if next < lease.steps.count {
                var fresh = StepReport()
                (fresh.run, fresh.stage, fresh.job, fresh.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
                (fresh.step.index, fresh.step.status) = (next, .running)
                _ = try await it.house.call(Runners.stepStarted, fresh)
                done.append("\(lease.stage)/\(lease.job)/\(next)")
                fresh.step.status = .succeeded
                if lease.stage == "ingest" { fresh.artifacts = [try await it.artifact("rows")] }
                report = fresh
            } else {
                try await it.end(lease)
                self.lease = nil
            }
            return true
        }
    }

    /// Drives to the end of the run; throws when the store is dead.
    private func drive(_ it: PipelineHouse, _ runner: Runner, incarnation: String) async throws -> Run {
        try await it.house.apply(Self.pipeline)
        try await it.hello("one", incarnation: incarnation)
        if try await it.house.store.read({ try $0.run(named: "p:latest", project: "default") }) == nil {
            _ = try await it.start("p")
        }
        for _ in 0..<300 {
            try await it.settle()
            let run = try await it.run("p:latest")
            if run.status.hasEnded { return run }
            let isBusy = try await runner.act(it, incarnation: incarnation)
            // A lease whose answer was lost is nobody's: it has to run out.
            if !isBusy { it.house.time.advance(by: .seconds(16)) }
        }
        Issue.record("the run does not end")
        return Run()
    }

    /// Crashes after commit `n`, opens the house anew and drives to the end; false when the run ended before that commit.
    private func crash(after n: Int, runnerDies: Bool) async throws -> Bool {
        let home = NSTemporaryDirectory() + "vagus-crash-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: home) }  // a leftover folder harms no other test
        let (world, time, runner) = (FakeWorld(), ManualTime(), Runner())
        var hasCrashed = false
        do {
            let it = try await PipelineHouse(folder: home, time: time, world: world) { if $0 >= n { throw Crash() } }
            _ = try await drive(it, runner, incarnation: "a")
        } catch {
            hasCrashed = true
        }
        guard hasCrashed else { return false }
        if runnerDies { await runner.forget() }
        let it = try await PipelineHouse(folder: home, time: time, firstID: 1000, world: world)
        let run = try await drive(it, runner, incarnation: runnerDies ? "b" : "a")
        try await check(run, it, world, "after commit \(n)")
        if !runnerDies {
            let done = await runner.done
            #expect(done.count == Set(done).count, "a step ran twice after commit \(n): \(done)")
        }
        return true
    }

    private func check(_ run: Run, _ it: PipelineHouse, _ world: FakeWorld, _ place: Comment) async throws {
        #expect(run.status == .succeeded, place)
        #expect(run.number == 1, place)
        #expect(world.versions.count == 1 && world.aliases == ["champion": 1], place)
        let events = try await it.house.events()
        for name in ["run.queued", "run.started", "run.finished"] {
            #expect(events.filter { $0.name == name }.count == 1, place)
        }
        #expect(events.filter { $0.name == "step.finished" }.count == 4, place)
        #expect(events.filter { $0.name == "job.finished" }.count == 3, place)
        #expect(try await it.house.store.read { try EventLog.verify(in: $0) }.intact, place)
    }

    @Test(arguments: [false, true])
    func `a run ends as if nothing had happened, whichever commit the server dies after`(runnerDies: Bool) async throws
    {
        var n = 1
        while try await crash(after: n, runnerDies: runnerDies) {
            n += 1
            try #require(n < 200)
        }
        #expect(n > 20, "the scenario has too few commits to mean anything")
    }
}
