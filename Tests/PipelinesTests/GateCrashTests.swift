import API
import Foundation
import Kernel
import KernelTesting
import Manifests
import SQL
import Testing

@testable import Pipelines

/// The store dies after each commit in turn, from the job's coming to the gate to its end.
@Suite struct GateCrashTests {
    static let manifests = """
        kind: Pipeline
        name: p
        stages: [{ name: deploy, environment: production, jobs: { j: { steps: [{ run: ./deploy }] } } }]
        ---
        kind: Environment
        name: production
        approval_gates:
          wait: 1m
          checks: [{ webhook: "https://itsm.local/change" }]
          approvals: { min: 2, expires: 30d, supersede: true }
        """

    struct Crash: Error {}

    /// Drives to the end of the run, people and systems doing again whatever they were not thanked for.
    private func drive(_ it: PipelineHouse, incarnation: String) async throws -> Run {
        try await it.house.apply(Self.manifests)
        try await it.hello("one", incarnation: incarnation)
        if try await it.house.store.read({ try $0.run(named: "p:latest", project: "default") }) == nil {
            _ = try await it.begin()
        }
        for _ in 0..<40 {
            try await it.check()
            let run = try await it.run("p:latest")
            if run.status.hasEnded { return run }
            if let gate = run.gates.first, gate.status == .waiting, gate.asked_at != nil {
                for name in ["ana", "cleo"] {
                    do { try await it.say(.approved, run, by: name) } catch let problem as Problem {
                        // The other's word was enough already.
                        guard problem.code == "approval.nothing" else { throw problem }
                    }
                }
            }
            if try await it.isReady() {
                let lease = try await it.lease("one", incarnation: incarnation)
                try await it.finish(lease)
                try await it.end(lease)
            } else {
                it.house.time.advance(by: .seconds(20))
            }
        }
        Issue.record("the run does not end")
        return Run()
    }

    private func crash(after n: Int) async throws -> Bool {
        let home = NSTemporaryDirectory() + "vagus-gate-crash-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: home) }  // a leftover folder harms no other test
        let (time, systems) = (ManualTime(), FakeSystems())
        systems.answer([(200, "yes")])
        var hasCrashed = false
        do {
            let it = try await PipelineHouse(folder: home, time: time, outside: systems.outside()) {
                if $0 >= n { throw Crash() }
            }
            _ = try await drive(it, incarnation: "a")
        } catch {
            hasCrashed = true
        }
        guard hasCrashed else { return false }
        let it = try await PipelineHouse(folder: home, time: time, firstID: 1000, outside: systems.outside())
        let run = try await drive(it, incarnation: "b")
        try await check(run, it, systems, "after commit \(n)")
        return true
    }

    private func check(_ run: Run, _ it: PipelineHouse, _ systems: FakeSystems, _ place: Comment) async throws {
        #expect(run.status == .succeeded, place)
        #expect(run.gates.first?.approvals.map(\.by).sorted() == ["ana", "cleo"], place)
        let told = try await it.names("approval.", "gate.").sorted()
        #expect(
            told == ["approval.granted", "approval.granted", "approval.requested", "gate.check-passed", "gate.opened"],
            place)
        let keys = systems.asked.map { question in question.headers.first { $0.0 == "Idempotency-Key" }?.1 ?? "" }
        #expect(Set(keys).count == 1 && keys.count <= 2, place)
        #expect(try await it.house.store.read { try EventLog.verify(in: $0) }.intact, place)
    }

    @Test func `nothing is said twice or lost, whichever commit the server dies after`() async throws {
        var n = 1
        while try await crash(after: n) {
            n += 1
            try #require(n < 200)
        }
        #expect(n > 15, "the scenario has too few commits to mean anything")
    }
}
