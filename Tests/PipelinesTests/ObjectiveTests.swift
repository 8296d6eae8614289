import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Pipelines

/// Gates that ask how much of an objective's budget is left.
@Suite struct ObjectiveTests {
    static let slo = "approval_gates: { checks: [{ slo: api, min_budget: 20%, timeout: 1m }] }"
    static let objective = "{ kind: Slo, name: api, target: 99.9%, service: shop-api }"
    static let counted = [
        "sum(increase(vagus_proxy_errors_total{project=\"default\",service=\"shop-api\"}[2592000000ms]))",
        "sum(increase(vagus_proxy_requests_total{project=\"default\",service=\"shop-api\"}[2592000000ms]))",
    ]

    @Test func `a gate opens once enough of an objective's budget is left, and says what was counted`() async throws {
        let systems = FakeSystems()
        let it = try await PipelineHouse.gated(Self.slo, systems: systems)
        try await it.house.apply(Self.objective)
        let run = try await it.begin()
        try await it.check()
        #expect(try await it.run(run.id).jobs[0].reason == "waits for the answer of slo api: nothing was counted yet")
        systems.metrics.tell(Self.counted[0], [900])
        systems.metrics.tell(Self.counted[1], [1_000_000])
        it.house.time.advance(by: .seconds(10))
        try await it.check()
        #expect(
            try await it.run(run.id).jobs[0].reason
                == "waits for the answer of slo api: 10% of the budget is left, 20% is needed: 900 of 1000000 were bad in 30d, 99.9% good is wanted"
        )
        systems.metrics.tell(Self.counted[0], [800])
        it.house.time.advance(by: .seconds(10))
        try await it.check()
        #expect(try await it.isReady())
        #expect(
            try await it.run(run.id).gates[0].checks.map(\.message)
                == ["20% of the budget is left: 800 of 1000000 were bad in 30d, 99.9% good is wanted"])
    }

    @Test func `a gate stays shut without the objective, and when nobody answers in time`() async throws {
        let nameless = try await PipelineHouse.gated(Self.slo)
        let refused = try await nameless.begin()
        try await nameless.check()
        #expect(
            try await nameless.run(refused.id).jobs[0].reason
                == "slo api has said no: there is no Slo \"api\" in project \"default\"")
        let systems = FakeSystems()
        systems.metrics.fail(Problem("metrics.store", status: 503, "the store is being opened"))
        let silent = try await PipelineHouse.gated(Self.slo, systems: systems)
        try await silent.house.apply(Self.objective)
        let run = try await silent.begin()
        for _ in 0..<7 {
            try await silent.check()
            silent.house.time.advance(by: .seconds(10))
        }
        try await silent.check()
        let ended = try await silent.run(run.id)
        #expect(ended.status == .failed)
        #expect(
            ended.jobs[0].reason
                == "slo api has said no: it was not yes within 1m; the last answer was: the store is being opened")
    }

    @Test func `a query without a source is asked of Telemetry`() async throws {
        let systems = FakeSystems()
        systems.metrics.tell("sum(up)", [3])
        let it = try await PipelineHouse.gated("approval_gates: { checks: [{ query: sum(up), min: 2 }] }", systems: systems)
        _ = try await it.begin()
        try await it.check()
        #expect(try await it.isReady())
        #expect(systems.metrics.asked == ["sum(up)"] && systems.asked.isEmpty)
    }

    static let budgets: [(errors: [Double], total: [Double], answer: CheckReconciler.Answer)] = [
        ([0], [10], .passed("100% of the budget is left: 0 of 10 were bad in 1h, 90% good is wanted")),
        ([1], [10], .notYet("0% of the budget is left, 50% is needed: 1 of 10 were bad in 1h, 90% good is wanted")),
        ([2], [10], .notYet("-100% of the budget is left, 50% is needed: 2 of 10 were bad in 1h, 90% good is wanted")),
        ([], [10], .notYet("the query of errors finds 0 series, not one")),
        ([.nan], [10], .notYet("the query of errors gives no number")),
        ([0], [0], .notYet("nothing was counted yet")), ([0], [.nan], .notYet("nothing was counted yet")),
        ([0], [1, 2], .notYet("the query of all finds 2 series")),
    ]

    @Test(arguments: budgets.indices)
    func `what is left of a budget is what was not used up by bad ones`(row: Int) throws {
        let (errors, total, answer) = Self.budgets[row]
        let slo = try SloSpec(yaml: "{ target: 90%, window: 1h, service: x }")
        #expect(MetricChecks.reading(errors: errors, total: total, slo, atLeast: 0.5) == answer)
    }

    @Test(arguments: [
        ("{ target: 100%, service: x }", "a target lies between 0% and 100%, and is neither"),
        ("{ target: 99% }", "an objective counts either the requests of a service, or \"errors\" of \"total\""),
        (
            "{ target: 99%, errors: \"a[$window]\" }",
            "an objective counts either the requests of a service, or \"errors\" of \"total\""
        ),
        ("{ target: 99%, errors: \"a[$window]\", total: b }", "the query does not say where its window is"),
    ])
    func `an objective that cannot be worked out is refused`(yaml: String, message: String) {
        let error = #expect(throws: ManifestError.self) { try SloSpec(yaml: yaml) }
        #expect(error?.message == message)
    }
}
