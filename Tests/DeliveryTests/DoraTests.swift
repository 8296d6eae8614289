import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Delivery

private let from = Timestamp("2026-01-01T00:00:00Z") ?? .zero
private func day(_ days: Double) -> Timestamp { from.advanced(by: .milliseconds(Int64(days * 86_400_000))) }

private func deployment(
    _ outcome: Deployment.Outcome, day end: Double, lead: Double? = nil, bad: Double? = nil, recovered: Double? = nil
) -> Deployment {
    var one = Deployment()
    (one.service, one.outcome, one.started_at) = ("web", outcome, day(end))
    if outcome != .under_way { one.finished_at = day(end) }
    one.lead_time_seconds = lead
    one.first_bad_at = bad.map { day(end).advanced(by: .milliseconds(Int64($0 * 1000))) }
    one.recovered_at = recovered.map { day(end).advanced(by: .milliseconds(Int64($0 * 1000))) }
    return one
}

@Suite(.timeLimit(.minutes(2))) struct DoraTests {
    private func report(_ deployments: [Deployment], days: Int = 10) -> DoraReport {
        DoraMath.report(deployments, project: "default", from: from, to: day(Double(days)), days: days)
    }

    @Test func `nothing deployed is nothing measured`() {
        let report = report([])
        #expect(report.deployment_frequency.value == nil)
        #expect(report.lead_time.meets_target == nil)
        #expect(report.change_failure_rate.n == 0)
        #expect(report.recovery_time.trend == [Double?](repeating: nil, count: 10))
    }

    @Test func `a history with known answers`() {
        let report = report([
            deployment(.succeeded, day: 0.5, lead: 600), deployment(.succeeded, day: 0.6, lead: 1200),
            deployment(.failed, day: 2.5, bad: 10, recovered: 130), deployment(.superseded, day: 3.5),
            deployment(.succeeded, day: 4.5), deployment(.failed, day: 4.6, bad: 0, recovered: 240),
            deployment(.failed, day: 9.5, bad: 5), deployment(.under_way, day: 9.9),
        ])
        // Three in ten days.
        #expect(report.deployment_frequency.value == 0.3)
        #expect(report.deployment_frequency.n == 3)
        #expect(report.deployment_frequency.meets_target == false)
        #expect(report.deployment_frequency.trend == [2, nil, nil, nil, 1, nil, nil, nil, nil, nil])
        // Median of 600 and 1200; the third has no commit.
        #expect(report.lead_time.value == 900)
        #expect(report.lead_time.n == 2)
        #expect(report.lead_time.meets_target == true)
        // Three of six: the superseded and the one under way count neither way.
        #expect(report.change_failure_rate.value == 0.5)
        #expect(report.change_failure_rate.n == 6)
        #expect(report.change_failure_rate.trend[4] == 0.5)
        // Median of 120 and 240; the third is not over.
        #expect(report.recovery_time.value == 180)
        #expect(report.recovery_time.n == 2)
        #expect(report.deployments.count == 8)
        #expect(report.deployments.first?.outcome == .under_way)
    }

    @Test func `the numbers come from rollouts`() async throws {
        let rig = try await Rig.open()
        let rollout = "{ strategy: canary, steps: [{ weight: 50 }, { pause: {} }] }"
        try await rig.house.apply(web(rollout))
        try await rig.settle()
        let committed = rig.time.now
        try await rig.pass(100)
        try await rig.deploy("good", commit: "c1", at: committed)
        try await rig.settle()
        try await rig.promote()
        try await rig.settle()
        try await rig.deploy("bad", commit: "c2", at: committed)
        try await rig.settle()
        try await rig.abort()
        try await rig.pass(1)
        try await rig.deploy("worse", commit: "c3", at: committed)
        try await rig.settle()
        try await rig.promote(full: true)
        try await rig.settle()
        #expect(try await rig.status().stable_revision == 4)
        try await rig.pass(33)
        rig.platform.setWell(false, revision: 2)
        try await rig.undo()
        try await rig.pass(5)
        rig.platform.setWell(true, revision: 2)
        try await rig.pass(3)
        #expect(try await rig.status().stable_revision == 2)
        let report = try await rig.house.call(Dora.get, DoraQuery())
        #expect(report.deployments.map(\.outcome) == [.failed, .failed, .succeeded, .succeeded])
        #expect(report.deployments.map(\.commit) == ["c3", "c2", "c1", nil])
        #expect(report.deployments[2].lead_time_seconds == 100)
        #expect(report.deployments[1].recovered_at == report.deployments[1].first_bad_at)
        let recovery = try #require(report.deployments[0].recovered_at)
        #expect(recovery.since(try #require(report.deployments[0].first_bad_at)) >= .seconds(5))
        #expect(report.change_failure_rate.value == 0.5)
        #expect(report.lead_time.n == 1)
        #expect(report.deployments[0].reason == "system:test went back to revision 2")
    }

    @Test func `only production counts, when anything is in production`() async throws {
        let rig = try await Rig.open()
        let house = rig.house
        try await house.apply("kind: Environment\nname: test\ntier: staging")
        try await house.apply("kind: Service\nname: a\nenvironment: test\nworkload: { command: [./a] }")
        try await rig.settle()
        #expect(try await house.call(Dora.get, DoraQuery()).deployments.map(\.service) == ["a"])
        try await house.apply("kind: Environment\nname: prod\ntier: production")
        try await house.apply("kind: Service\nname: b\nenvironment: prod\nworkload: { command: [./b] }")
        try await rig.settle()
        #expect(try await house.call(Dora.get, DoraQuery()).deployments.map(\.service) == ["b"])
    }
}
