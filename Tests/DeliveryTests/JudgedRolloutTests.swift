import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Delivery

@Suite(.timeLimit(.minutes(2))) struct JudgedRolloutTests {
    private static let judged = """
        { strategy: canary, steps: [{ weight: 20 }, { pause: { for: 300s } }, { weight: 50 }, { analyze: [errors] }], background: [errors],
          analysis: { errors: { built_in: error_rate, interval: 10s, max_duration: 60s, judge: { min_samples: 20 } } } }
        """

    private func established(_ rollout: String = JudgedRolloutTests.judged, more: String = "") async throws -> Rig {
        let rig = try await Rig.open()
        try await rig.house.apply(web(rollout, more: more))
        try await rig.report()
        try await rig.settle()
        try await rig.report([1: (100, 0)])
        try await rig.settle()
        try #require(try await rig.status().stable_revision == 1)
        return rig
    }

    @Test func `a canary that fails is aborted without help, and the proxy has it at once`() async throws {
        let rig = try await established()
        try await rig.deploy("k1", commit: "bad")
        try await rig.settle()
        try await rig.report([1: (100, 0)])
        try await rig.settle()
        #expect(try await rig.status().weights == [1: 80, 2: 20])
        rig.time.advance(by: .seconds(5))
        try await rig.report([1: (400, 0), 2: (70, 30)])
        let before = try await rig.table().version
        rig.time.advance(by: .seconds(5))
        try await rig.settle()
        var status = try await rig.status()
        #expect((status.phase, status.aborted, status.stable_revision) == (.degraded, true, 1))
        #expect(status.weights == [1: 100])
        #expect(
            status.message.hasPrefix(
                "Revision 2 was aborted: errors failed: 30 of 70 requests failed on revision 2, 0 of 300 on revision 1: revision 2 is worse by more than 20%; revision 1 has all traffic"
            ))
        #expect(try await rig.table().version == before + 1)
        let analysis = try #require(status.analyses.first)
        #expect(analysis.verdict == .failed)
        #expect(analysis.looks.last.map { ($0.evidence ?? 0) >= ($0.bound ?? 99) } == true)
        // Recovered only when the proxy has taken it up.
        var deployment = try #require(try await rig.house.call(Dora.get, DoraQuery()).deployments.first)
        #expect(deployment.outcome == .failed)
        #expect(deployment.recovered_at == nil)
        rig.time.advance(by: .seconds(1))
        try await rig.report([1: (400, 0), 2: (70, 30)])
        try await rig.settle()
        deployment = try #require(try await rig.house.call(Dora.get, DoraQuery()).deployments.first)
        // The first error was told five seconds before the look that found it.
        let (bad, good) = try (#require(deployment.first_bad_at), #require(deployment.recovered_at))
        #expect(good.since(bad) == .seconds(6))
        #expect(try await rig.events("rollout.recovered").count == 1)
        status = try await rig.status()
        #expect(status.message.hasSuffix("revision 1 has all traffic."))
    }

    @Test func `without automatic rollback a failed judgement waits for a person`() async throws {
        let rig = try await established(more: "rollback: { automatic: false }")
        try await rig.deploy("k1")
        try await rig.settle()
        try await rig.report([1: (100, 0)])
        try await rig.settle()
        try await rig.report([1: (400, 0), 2: (70, 30)])
        rig.time.advance(by: .seconds(10))
        try await rig.settle()
        let status = try await rig.status()
        #expect((status.phase, status.aborted) == (.paused, false))
        #expect(status.weights == [1: 80, 2: 20])
        #expect(try await rig.events("rollout.paused").count == 2)
        try await rig.abort()
        #expect(try await rig.status().weights == [1: 100])
    }

    @Test func `a harmless canary goes through, its evidence kept over a restart of the server`() async throws {
        let rig = try await established()
        try await rig.deploy("k1")
        try await rig.settle()
        try await rig.report([1: (100, 0)])
        try await rig.settle()
        try await rig.report([1: (500, 4), 2: (100, 1)])
        rig.time.advance(by: .seconds(301))
        let again = try await Rig.open(folder: rig.house.folder, time: rig.time, platform: rig.platform)
        try await again.report([1: (500, 4), 2: (100, 1)])
        try await again.settle()
        try await again.report([1: (500, 4), 2: (100, 1)])
        try await again.settle()
        var status = try await again.status()
        #expect(status.weights == [1: 50, 2: 50])
        #expect(status.analyses.map(\.verdict) == [.running, .running])
        #expect(status.analyses[0].looks.last.map { [$0.canary_requests, $0.stable_requests] } == [100, 400])
        try await again.report([1: (1500, 12), 2: (1100, 9)])
        rig.time.advance(by: .seconds(61))
        try await again.report([1: (1500, 12), 2: (1100, 9)])
        try await again.settle()
        try await again.report([1: (1500, 12), 2: (1100, 9)])
        try await again.settle()
        status = try await again.status()
        #expect((status.stable_revision, status.phase) == (2, .healthy))
        #expect(status.analyses.map(\.verdict) == [.passed, .passed])
    }

    @Test func `too little traffic pauses at the end of the analysis, and a person goes on`() async throws {
        let rig = try await established(
            "{ strategy: canary, steps: [{ weight: 20 }, { analyze: [errors] }], analysis: { errors: { built_in: error_rate, interval: 10s, max_duration: 60s } } }"
        )
        try await rig.deploy("k1")
        try await rig.settle()
        try await rig.report([1: (100, 0)])
        try await rig.settle()
        for _ in 0..<7 {
            try await rig.report([1: (105, 0), 2: (3, 0)])
            try await rig.settle()
            rig.time.advance(by: .seconds(10))
        }
        try await rig.report([1: (105, 0), 2: (3, 0)])
        try await rig.settle()
        var status = try await rig.status()
        #expect(status.phase == .paused)
        #expect(
            status.message.contains(
                "errors is inconclusive: too little traffic to judge: 3 of at least 100 requests to revision 2, 5 of at least 20 to revision 1"
            ))
        try await rig.promote()
        try await rig.settle()
        try await rig.report([1: (105, 0), 2: (3, 0)])
        try await rig.settle()
        status = try await rig.status()
        #expect((status.stable_revision, status.completion) == (2, .promoted))
    }

    @Test(arguments: ["{ method: threshold }", "{ method: threshold, success: \"fast enough\" }"])
    func `a judge that cannot judge is refused when it is applied`(judge: String) async throws {
        let rig = try await Rig.open()
        let problem = await problem {
            try await rig.house.apply(web("{ analysis: { errors: { built_in: error_rate, judge: \(judge) } } }"))
        }
        #expect(problem?.code == "service.judge")
        #expect(problem?.location == "rollout.analysis.errors.judge")
    }
}
