import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Delivery

/// Copies beside the stable and the new ones: fresh baselines, arms of experiments, and what comes of an A/B test.
extension SteeringTests {
    @Test func `a fresh baseline is started, judged against, and gone in the end`() async throws {
        let rig = try await established(
            "{ strategy: canary, baseline: {}, steps: [{ weight: 20 }, { analyze: [errors] }, { pause: {} }], analysis: { errors: { built_in: error_rate, judge: { against: baseline, min_samples: 50 } } } }",
            replicas: 2)
        try await rig.deploy("k1")
        try await rig.settle()
        try await rig.report()
        try await rig.settle()
        var status = try await rig.status()
        #expect(status.weights == [1: 60, 2: 20])
        #expect(status.arms.map(\.name) == ["baseline"])
        #expect(status.arms.first?.weight == 20)
        #expect(try await rig.table().weights == ["1": 60, "2": 20, "-2001": 20])
        // The stable copies, old and tired, fail as often as the canary; the fresh baseline does not.
        for turn in 1...6 {
            let n = Int64(turn * 100)
            try await rig.report([1: (n, n / 5), 2: (n, n / 5), -2001: (n, 0)])
            rig.time.advance(by: .seconds(10))
            try await rig.report([1: (n, n / 5), 2: (n, n / 5), -2001: (n, 0)])
            try await rig.settle()
        }
        status = try await rig.status()
        #expect(status.aborted)
        #expect(status.message.contains("0 of 100 on the baseline"))
        try await rig.pass(2)
        #expect(rig.platform.running().allSatisfy { $0.revision > 0 })
    }

    private static let experiment = """
        { strategy: canary, steps: [{ experiment: { for: 60s, analyze: [errors],
          arms: { fresh: { from: stable, weight: 20 }, test: { from: canary, weight: 20 } } } }, { pause: {} }],
          analysis: { errors: { built_in: error_rate, interval: 10s, judge: { min_samples: 20 } } } }
        """

    @Test func `an experiment that fails is told by the names of its arms`() async throws {
        let rig = try await established(Self.experiment)
        try await rig.deploy("k1")
        try await rig.settle()
        try await rig.report()
        try await rig.settle()
        let (fresh, test) = (ArmPlan.number(2, 10), ArmPlan.number(2, 11))
        #expect(try await rig.status().arms.map(\.name).sorted() == ["fresh", "test"])
        try await rig.report([fresh: (100, 0), test: (100, 60)])
        rig.time.advance(by: .seconds(11))
        try await rig.report([fresh: (100, 0), test: (100, 60)])
        try await rig.settle()
        let status = try await rig.status()
        #expect(status.aborted)
        #expect(
            status.message.contains(
                "60 of 100 requests failed on arm \"test\", 0 of 100 on arm \"fresh\": arm \"test\" is worse"),
            "\(status.message)")
    }

    @Test func `an arm's errors are those of its revision: exposure and first sign are told of it`() async throws {
        let rig = try await established(Self.experiment)
        try await rig.deploy("k1")
        try await rig.settle()
        try await rig.report()
        try await rig.settle()
        let (fresh, test) = (ArmPlan.number(2, 10), ArmPlan.number(2, 11))
        try await rig.report([1: (300, 0), fresh: (10, 1)])
        var deployment = try #require(try await rig.house.call(Dora.get, DoraQuery()).deployments.first)
        #expect(deployment.first_bad_at == nil, "an error of the stable one is no sign against the new one")
        rig.time.advance(by: .seconds(3))
        let firstError = rig.time.now
        try await rig.report([1: (300, 0), fresh: (100, 1), test: (100, 60)])
        rig.time.advance(by: .seconds(8))
        try await rig.settle()
        #expect(try await rig.status().aborted)
        deployment = try #require(try await rig.house.call(Dora.get, DoraQuery()).deployments.first)
        #expect(deployment.first_bad_at == firstError)
        // 100 of the 500 requests since it began.
        #expect(deployment.exposure == 0.2)
    }

    @Test func `a_b_testing holds the split until one side is better`() async throws {
        let rig = try await established(
            "{ strategy: a_b_testing, sticky: { header: X-User }, test: { share: 50, outcome: signup, min_entities: 100 } }"
        )
        try await rig.deploy("k1")
        try await rig.settle()
        #expect(try await rig.status().weights == [1: 50, 2: 50])
        var input = OutcomesInput()
        input.name = "web"
        for index in 0..<400 {
            var item = OutcomeItem()
            (item.entity, item.revision) = ("user-\(index)", index % 2 == 0 ? 2 : 1)
            // 3 in 10 on the new side, 1 in 10 on the old.
            item.outcome = (index / 2) % 10 < (index % 2 == 0 ? 3 : 1) ? "signup" : ""
            input.items.append(item)
        }
        let sent = input
        _ = try await rig.house.call(Services.outcomes, sent)
        _ = try await rig.house.call(Services.outcomes, sent)
        rig.time.advance(by: .seconds(6))
        try await rig.settle()
        let status = try await rig.status()
        #expect((status.stable_revision, status.completion) == (2, .promoted))
        var query = AnalysisQuery()
        query.name = "web"
        let report = try await rig.house.call(Services.analysis, query)
        #expect(report.runs.first?.phase == .successful)
        #expect(
            report.runs.first?.message.hasPrefix(
                "signup is 30.0 % of 200 clients of revision 2 and 10.0 % of 200 of revision 1") == true)
    }

    @Test func `a split that is not the one that was meant is told and decides nothing`() async throws {
        let rig = try await established(
            "{ strategy: a_b_testing, sticky: { header: X-User }, test: { share: 50, outcome: signup, min_entities: 10 } }"
        )
        try await rig.deploy("k1")
        try await rig.settle()
        var input = OutcomesInput()
        input.name = "web"
        for index in 0..<300 {
            var item = OutcomeItem()
            (item.entity, item.revision) = ("user-\(index)", index % 3 == 0 ? 2 : 1)
            input.items.append(item)
        }
        _ = try await rig.house.call(Services.outcomes, input)
        rig.time.advance(by: .seconds(6))
        try await rig.settle()
        let status = try await rig.status()
        #expect(status.phase == .paused)
        #expect(status.message.contains("the split is not the one that was meant, 50 %"))
    }
}
