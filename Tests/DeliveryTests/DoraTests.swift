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
    if outcome == .succeeded { one.all_traffic_at = day(end) }
    one.lead_time_seconds = lead
    one.first_bad_at = bad.map { day(end).advanced(by: .milliseconds(Int64($0 * 1000))) }
    one.recovered_at = recovered.map { day(end).advanced(by: .milliseconds(Int64($0 * 1000))) }
    return one
}

/// Revisions 1, 2 and so on, promoted on these days.
private func promoted(_ days: Double...) -> [Deployment] {
    days.enumerated().map { index, end in
        var one = deployment(.succeeded, day: end)
        (one.revision, one.id) = (index + 1, "web/\(index + 1)")
        return one
    }
}

/// The times in which these had all traffic, each until the next.
private func tenures(_ deployments: [Deployment]) -> [Tenure] {
    deployments.enumerated().compactMap { index, one in
        one.all_traffic_at.map {
            Tenure(service: "web", revision: one.revision, rollout: index + 1, from: $0, deployment: one.id)
        }
    }
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

    @Test func `a failure is weighed by the traffic that it had, and the middle is not the whole`() {
        var failed = deployment(.failed, day: 1, bad: 0, recovered: 60)
        failed.exposure = 0.05
        var whole = deployment(.failed, day: 2, bad: 0, recovered: 600)
        whole.exposure = 1
        let report = report(
            [deployment(.succeeded, day: 0.5, lead: 100), failed, whole, deployment(.succeeded, day: 3, lead: 300)])
        #expect(report.change_failure_rate.value == 0.5)
        #expect(report.change_failure_rate.weighted == (0.05 + 1) / 4)
        #expect(report.recovery_time.distribution?.p50 == 330)
        #expect(report.recovery_time.distribution?.max == 600)
        #expect(report.lead_time.distribution?.p75 == 250)
        #expect(report.deployment_frequency.distribution?.p50 == 0)
    }

    @Test func `what follows upon a failure is rework, a superseded one between changes nothing`() {
        let judged = DoraMath.judged(
            [
                deployment(.succeeded, day: 0), deployment(.failed, day: 1), deployment(.superseded, day: 2),
                deployment(.succeeded, day: 3), deployment(.succeeded, day: 4),
            ], tenures: [], incidents: [])
        #expect(judged.map(\.rework) == [false, false, true, true, false])
        let report = report(judged)
        #expect(report.rework_rate.value == 0.25)
        #expect(report.rework_rate.n == 4)
    }

    @Test func `a deployment fails once, however many incidents it caused, and a failed disk is none of them`() {
        let deployments = promoted(1, 2, 5)
        let incidents = [
            Incident(service: "web", id: "a", beganAt: day(2.5), endedAt: day(2.6)),
            Incident(service: "web", id: "b", beganAt: day(3), endedAt: day(3.5)),
            Incident(service: "web", id: "disk", beganAt: day(4), endedAt: day(4.5), isByChange: false),
            Incident(service: "other", id: "c", beganAt: day(6)),
        ]
        let judged = DoraMath.judged(deployments, tenures: tenures(deployments), incidents: incidents)
        #expect(judged.map(\.outcome) == [.succeeded, .failed, .succeeded])
        #expect(judged[1].incidents == ["a", "b"])
        #expect(judged.map(\.rework) == [false, false, true])
        let report = report(judged)
        #expect(report.change_failure_rate.value == 1.0 / 3)
        #expect(report.recovery_time.value == 86_400)
        #expect(report.change_failure_rate.evidence == ["web/3", "web/2", "web/1"])
    }

    @Test(arguments: [(nil, 2.5), (2.5, nil)] as [(Double?, Double?)])
    func `an incident that is not over keeps its deployment from being recovered`(first: Double?, second: Double?) {
        let deployments = promoted(1)
        let incidents = [
            Incident(service: "web", id: "a", beganAt: day(2), endedAt: first.map(day)),
            Incident(service: "web", id: "b", beganAt: day(2.2), endedAt: second.map(day)),
        ]
        let judged = DoraMath.judged(deployments, tenures: tenures(deployments), incidents: incidents)
        #expect(judged[0].incidents == ["a", "b"])
        #expect(judged[0].first_bad_at == day(2))
        #expect(judged[0].recovered_at == nil)
        #expect(report(judged).recovery_time.n == 0)
        #expect(report(judged).change_failure_rate.value == 1)
    }

    @Test func `an incident after a way back is that of the deployment gone back to`() {
        var deployments = promoted(1, 2)
        deployments[1].outcome = .failed
        (deployments[1].first_bad_at, deployments[1].recovered_at) = (day(3), day(3.1))
        let back = Tenure(service: "web", revision: 1, rollout: 3, from: day(3.1))
        let seen = tenures(deployments) + [back]
        func judged(_ began: Double) -> [Deployment] {
            DoraMath.judged(
                deployments, tenures: seen,
                incidents: [Incident(service: "web", id: "a", beganAt: day(began), endedAt: day(6))])
        }
        #expect(judged(2.5).map(\.incidents) == [[], ["a"]])
        #expect(judged(4).map(\.incidents) == [["a"], []])
        #expect(judged(4).map(\.outcome) == [.failed, .failed])
        #expect(judged(4)[1].recovered_at == day(3.1), "what was gone back from is over")
        #expect(judged(0.5).map(\.incidents) == [[], []], "nothing was there yet")
    }

    @Test func `a deployment that was taken back after the switch has all traffic only until then`() {
        let deployments = promoted(1, 2)
        var seen = tenures(deployments)
        seen[1].until = day(2.1)
        func owner(_ began: Double) -> [[String]] {
            DoraMath.judged(
                deployments, tenures: seen, incidents: [Incident(service: "web", id: "a", beganAt: day(began))]
            ).map(\.incidents)
        }
        #expect(owner(2.05) == [[], ["a"]])
        #expect(owner(3) == [["a"], []])
    }

    @Test func `an incident that is told afterwards does not make deployments fewer`() {
        let deployments = promoted(1, 2)
        #expect(report(deployments).deployment_frequency.n == 2)
        let judged = DoraMath.judged(
            deployments, tenures: tenures(deployments),
            incidents: [Incident(service: "web", id: "a", beganAt: day(3), endedAt: day(4))])
        #expect(judged.map(\.outcome) == [.succeeded, .failed])
        #expect(report(judged).deployment_frequency.n == 2)
        #expect(report(judged).deployment_frequency.evidence == ["web/2", "web/1"])
    }

    @Test func `lead time is divided without a rest`() throws {
        var row = RolloutRow(
            ServiceReference(project: "default", name: "web"), number: 1, revision: 2, settings: RolloutSpec(),
            at: day(0).advanced(by: .seconds(1000)))
        row.committedAt = day(0)
        row.finishedAt = day(0).advanced(by: .seconds(1500))
        row.paused = 100_000_000
        var run = Run()
        run.created_at = day(0).advanced(by: .seconds(300))
        run.started_at = day(0).advanced(by: .seconds(350))
        var gate = Gate()
        gate.began_at = day(0).advanced(by: .seconds(400))
        gate.ended_at = day(0).advanced(by: .seconds(600))
        run.gates = [gate]
        var pull = PullRequest()
        pull.created_at = day(0).advanced(by: .seconds(100))
        let parts = try #require(LeadTimeParts(row, run, pull))
        #expect([parts.wait, parts.review, parts.queue, parts.build] == [100, 200, 50, 450])
        #expect([parts.approval, parts.rollout] == [300, 400])
        let plain = try #require(LeadTimeParts(row, nil, nil))
        #expect(
            [plain.wait, plain.review, plain.queue, plain.build, plain.approval, plain.rollout] == [
                1000, 0, 0, 0, 100, 400,
            ])
    }

    @Test func `a badge tells the number and whether it is on target`() {
        let report = report([deployment(.succeeded, day: 1, lead: 600)])
        let svg = DoraBadge.svg(label: "lead time", report.lead_time)
        #expect(svg.contains("aria-label=\"lead time: 10m, on target\""))
        #expect(svg.hasPrefix("<svg xmlns=\"http://www.w3.org/2000/svg\""))
        #expect(DoraBadge.words(report.recovery_time) == "no data")
        #expect(DoraBadge.words(report.change_failure_rate) == "0.0 %")
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
        // What was aborted never came to all traffic; what was gone back from did.
        #expect(report.deployment_frequency.n == 3)
        #expect(report.deployments[0].reason == "system:test went back to revision 2")
    }

    @Test func `an incident after an undo is not put on the revision that was gone back from`() async throws {
        let rig = try await Rig.open()
        try await rig.house.apply(web("{ strategy: recreate }"))
        try await rig.pass(2)
        try await rig.deploy("bad")
        try await rig.pass(40)
        try await rig.undo()
        try await rig.pass(5)
        try #require(try await rig.status().stable_revision == 1)
        let before = try await rig.house.call(Dora.get, DoraQuery())
        var input = IncidentInput()
        (input.service, input.id, input.began_at) = ("web", "INC-1", rig.time.now)
        _ = try await rig.house.call(Dora.incident, input)
        let report = try await rig.house.call(Dora.get, DoraQuery())
        #expect(report.deployments.map(\.incidents) == [[], ["INC-1"]])
        #expect(report.deployments[0].recovered_at == before.deployments[0].recovered_at)
        #expect(report.deployments[1].recovered_at == nil)
        #expect(report.deployment_frequency.n == 2)
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
