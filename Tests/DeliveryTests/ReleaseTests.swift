import API
import Kernel
import KernelTesting
import Manifests
import SQL
import Testing

@testable import Delivery

/// Services that are released together.
@Suite(.timeLimit(.minutes(2))) struct ReleaseTests {
    // MARK: - The decision

    private func view(_ phase: ReleaseRow.Phase, _ states: ReleaseMember.State...) -> ReleaseView {
        ReleaseView(
            phase: phase,
            members: states.enumerated().map { index, state in
                var member = ReleaseMember()
                (member.service, member.state) = ("s\(index)", state)
                if state == .failed { member.reason = "it is so" }
                return member
            })
    }

    @Test func `it opens when all are ready, and not before`() {
        #expect(ReleaseDecision.decide(view(.rollingOut, .ready, .going)) == nil)
        #expect(ReleaseDecision.decide(view(.rollingOut, .ready, .pending)) == nil)
        #expect(ReleaseDecision.decide(view(.rollingOut, .ready, .ready)) == .open)
        #expect(ReleaseDecision.decide(view(.rollingOut, .superseded, .ready)) == .open)
    }

    @Test func `one that fails takes all back, whatever the others are`() {
        let back = ReleaseDecision.takeBack(reason: "s1: it is so")
        #expect(ReleaseDecision.decide(view(.rollingOut, .ready, .failed)) == back)
        #expect(ReleaseDecision.decide(view(.promoting, .promoted, .failed)) == back)
        #expect(ReleaseDecision.decide(view(.released, .promoted, .failed)) == nil)
        #expect(ReleaseDecision.decide(view(.takenBack, .failed, .failed)) == nil)
    }

    @Test func `it is out when all have all traffic`() {
        #expect(ReleaseDecision.decide(view(.promoting, .promoted, .ready)) == nil)
        #expect(ReleaseDecision.decide(view(.promoting, .promoted, .promoted)) == .finish)
        #expect(ReleaseDecision.decide(view(.promoting, .promoted, .superseded)) == .finish)
    }

    // MARK: - In a house

    private func service(_ name: String, _ command: String, _ rollout: String, more: String = "") -> String {
        """
        kind: Service
        name: \(name)
        workload: { command: [\(command)] \(more) }
        rollout: \(rollout)
        ---

        """
    }

    private static let group = "kind: Release\nname: shop\nservices: [api, web]\n"
    private static let canary = "{ strategy: canary, steps: [{ weight: 20 }, { pause: {} }] }"
    private static let rolling = "{ strategy: rolling }"

    /// A house with revision 1 of both in service, then the second ones applied at once.
    private func underWay(
        api: String = ReleaseTests.canary, web: String = ReleaseTests.rolling, more: String = ""
    ) async throws -> Rig {
        let rig = try await Rig.open()
        try await rig.house.apply(service("api", "./a1", api) + service("web", "./w1", web) + Self.group)
        try await rig.pass(5)
        #expect(try await release(rig).phase == .released)
        try await rig.house.apply(service("api", "./a2", api, more: more) + service("web", "./w2", web, more: more))
        try await rig.pass(5)
        return rig
    }

    private func release(_ rig: Rig) async throws -> ReleaseStatus {
        try await rig.house.call(Releases.status, Name(project: "default", name: "shop"))
    }

    private func stable(_ rig: Rig) async throws -> [Int?] {
        [try await rig.status("api").stable_revision, try await rig.status("web").stable_revision]
    }

    private func promote(_ rig: Rig, full: Bool = false) async throws {
        var input = PromoteInput()
        (input.name, input.full) = ("shop", full)
        _ = try await rig.house.call(Releases.promote, input)
    }

    private func back(_ rig: Rig, _ operation: API.Operation<AbortInput, ReleaseStatus>) async throws {
        var input = AbortInput()
        (input.name, input.reason) = ("shop", "it smells")
        _ = try await rig.house.call(operation, input)
    }

    @Test func `what is ready waits for the others, with the old copies still there`() async throws {
        let rig = try await underWay()
        #expect(try await stable(rig) == [1, 1])
        let web = try await rig.status("web")
        #expect(web.message == "Revision 2 is ready, and waits for the others of release shop.")
        #expect((web.weights[1] ?? 0) > 0, "\(web.weights)")
        let waiting = try await release(rig)
        #expect((waiting.number, waiting.phase) == (2, .rolling_out))
        #expect(waiting.services.map(\.state) == [.going, .ready])
        #expect(waiting.message == "Release 2 waits for api; web is ready.")
        try await promote(rig)
        try await rig.pass(5)
        #expect(try await stable(rig) == [2, 2])
        #expect(try await release(rig).phase == .released)
        #expect(try await rig.events("release.released").count == 2)
    }

    @Test func `an abort of one takes all back`() async throws {
        let rig = try await underWay()
        var input = AbortInput()
        (input.name, input.reason) = ("api", "wrong prices")
        _ = try await rig.house.call(Services.abort, input)
        try await rig.pass(3)
        #expect(try await stable(rig) == [1, 1])
        let web = try await rig.status("web")
        #expect(web.completion == .aborted)
        #expect(
            web.message.hasPrefix(
                "Revision 2 was aborted: release 2 of shop was taken back: api: wrong prices"), "\(web.message)")
        #expect(try await release(rig).phase == .taken_back)
        #expect(web.weights == [1: 100])
    }

    @Test func `one that fails after the others have all traffic takes those back too`() async throws {
        let judged =
            "{ strategy: blue_green, after_promotion: [errors], analysis: { errors: { built_in: error_rate, judge: { method: threshold, success: \"result < 0.5\" } } } }"
        let rig = try await underWay(api: Self.rolling, web: judged)
        // Web has all traffic, and is being judged still.
        #expect(try await stable(rig) == [2, 1])
        #expect(try await rig.status("web").weights == [2: 100])
        #expect(try await release(rig).phase == .promoting)
        var input = AbortInput()
        (input.name, input.reason) = ("web", "wrong prices")
        _ = try await rig.house.call(Services.abort, input)
        try await rig.pass(5)
        #expect(try await stable(rig) == [1, 1])
        #expect(try await rig.status("api").completion == .rolled_back)
        #expect(try await release(rig).message == "Release 2 was taken back: web: wrong prices.")
    }

    @Test func `both are back by one word, while it rolls out and when it is out`() async throws {
        let rig = try await underWay()
        try await back(rig, Releases.abort)
        #expect(try await rig.status("api").completion == .aborted)
        #expect(try await rig.status("web").completion == .aborted)
        #expect(await problem { try await back(rig, Releases.abort) }?.code == "release.none")
        let out = try await underWay()
        try await promote(out, full: true)
        try await out.pass(5)
        #expect(try await stable(out) == [2, 2])
        #expect(await problem { try await back(out, Releases.abort) }?.hint?.contains("vagus release undo") ?? false)
        try await back(out, Releases.undo)
        try await out.pass(5)
        #expect(try await stable(out) == [1, 1])
        #expect(try await release(out).message == "Release 2 was taken back: it smells.")
    }

    @Test func `over a migration nobody is taken back without being asked`() async throws {
        let rig = try await underWay(more: ", migration: m2")
        try await promote(rig, full: true)
        try await rig.pass(5)
        #expect(try await stable(rig) == [2, 2])
        try await back(rig, Releases.undo)
        try await rig.pass(5)
        #expect(try await stable(rig) == [2, 2])
        #expect(
            try await release(rig).message
                == "Release 2 was taken back: it smells; but api, web stays, over a migration of its data.")
    }

    @Test func `recreate takes no old copy away before all are ready`() async throws {
        let rig = try await underWay(web: "{ strategy: recreate }")
        #expect(try await rig.status("web").revision(1)?.ready == 1)
        #expect(try await release(rig).services.map(\.state) == [.going, .ready])
        try await promote(rig)
        try await rig.pass(10)
        #expect(try await stable(rig) == [2, 2])
    }

    @Test func `a deploy of one alone is a release of its own`() async throws {
        let rig = try await underWay()
        try await promote(rig, full: true)
        try await rig.pass(5)
        try await rig.deploy("k9", name: "web", commit: "abc")
        try await rig.pass(5)
        #expect(try await rig.status("web").stable_revision == 3)
        #expect(try await release(rig).number == 3)
        #expect(try await release(rig).phase == .released)
    }

    @Test func `a whole release waits for every service, however they come`() async throws {
        let rig = try await underWay()
        try await promote(rig, full: true)
        try await rig.pass(5)
        try await rig.house.apply(Self.group + "whole: true\n")
        try await rig.deploy("k9", name: "web", commit: "abc")
        try await rig.pass(20)
        #expect(try await stable(rig) == [2, 2])
        #expect(try await release(rig).message == "Release 3 waits for api; web is ready.")
        try await rig.deploy("k9", name: "api", commit: "abc")
        try await rig.pass(3)
        try await promote(rig)
        try await rig.pass(5)
        #expect(try await stable(rig) == [3, 3])
    }

    @Test func `a deleted group holds nobody, and a service has one group`() async throws {
        let rig = try await underWay()
        let taken = await problem {
            try await rig.house.apply("kind: Release\nname: other\nservices: [web]\n")
        }
        #expect((taken?.code, taken?.status) == ("release.taken", 409))
        _ = try await rig.house.call(Resources.delete, ResourceName(project: "default", kind: "releases", name: "shop"))
        try await rig.pass(5)
        #expect(try await rig.status("web").stable_revision == 2)
        #expect(try await rig.status("api").phase == .paused)
    }

    @Test func `a crash at any commit leaves all taken back, or all out`() async throws {
        for death in stride(from: 1, through: 60, by: 7) {
            let time = ManualTime()
            let platform = FakePlatform(time: time)
            let home = try TestHouse(time: time)
            await home.store.close()
            do {
                let rig = try await Rig.open(folder: home.folder, time: time, platform: platform) { commit in
                    if commit == death { throw Dead() }
                }
                try await rig.house.apply(
                    service("api", "./a1", Self.rolling) + service("web", "./w1", Self.rolling) + Self.group)
                try await rig.pass(4)
                try await rig.house.apply(service("api", "./a2", Self.rolling) + service("web", "./w2", Self.rolling))
                try await rig.pass(4)
                await rig.house.store.close()
            } catch let error as SQLError {
                #expect(error.code == .closed)
            }
            let rig = try await Rig.open(folder: home.folder, time: time, platform: platform)
            try await rig.house.apply(
                service("api", "./a2", Self.rolling) + service("web", "./w2", Self.rolling) + Self.group)
            try await rig.pass(8)
            let phases = [try await rig.status("api").phase, try await rig.status("web").phase]
            #expect(phases == [.healthy, .healthy], "died at \(death)")
            #expect(try await release(rig).phase == .released, "died at \(death)")
            withExtendedLifetime(home) {}
        }
    }

    private struct Dead: Error {}
}
