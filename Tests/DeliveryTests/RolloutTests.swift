import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Delivery

@Suite(.timeLimit(.minutes(2))) struct RolloutTests {
    private static let canary =
        "{ strategy: canary, steps: [{ weight: 10 }, { pause: {} }, { weight: 50 }, { pause: { for: 60s } }] }"

    /// A house with revision 1 in service and this rollout declared.
    private func established(_ rollout: String = RolloutTests.canary, replicas: Int = 1, more: String = "") async throws
        -> Rig
    {
        let rig = try await Rig.open()
        try await rig.house.apply(web(rollout, replicas: replicas, more: more))
        try await rig.settle()
        try #require(try await rig.status().stable_revision == 1)
        return rig
    }

    @Test func `the first revision takes all traffic as soon as it is well`() async throws {
        let rig = try await Rig.open()
        rig.platform.setWell(false, revision: 1)
        try await rig.house.apply(web(Self.canary, replicas: 2))
        try await rig.settle()
        var status = try await rig.status()
        #expect(status.phase == .progressing)
        #expect(status.message == "Revision 1: 0 of 2 copies are well.")
        #expect(status.preview_revision == 1)
        #expect(try await rig.table().weights == [:])
        rig.platform.setWell(true, revision: 1)
        try await rig.pass(3)
        status = try await rig.status()
        #expect(status.phase == .healthy)
        #expect(status.message == "Revision 1 has all traffic, with all 2 copies well.")
        #expect(status.stable_revision == 1)
        #expect(status.active_revision == 1)
        #expect(status.completion == .promoted)
        #expect(try await rig.table().weights == ["1": 100])
        #expect(
            try await rig.story() == [
                "service.created", "service.revision-created", "rollout.started", "rollout.step", "rollout.promoted",
            ])
    }

    @Test func `a canary goes step by step, waits for people and for time, and ends with all traffic`() async throws {
        let rig = try await established(replicas: 4)
        try await rig.deploy("k1", commit: "abc")
        try await rig.settle()
        var status = try await rig.status()
        #expect(status.phase == .paused)
        #expect(status.weights == [1: 90, 2: 10])
        #expect(status.revision(2)?.ready == 1)
        #expect((status.step, status.steps) == (1, 4))
        #expect(status.message == "Revision 2 has 10 % of the traffic and waits until somebody promotes it.")
        try await rig.promote()
        try await rig.settle()
        status = try await rig.status()
        #expect(status.weights == [1: 50, 2: 50])
        #expect(status.revision(2)?.ready == 2)
        #expect(status.step == 3)
        try await rig.pass(59)
        #expect(try await rig.status().phase == .paused)
        try await rig.pass(2)
        status = try await rig.status()
        #expect((status.phase, status.stable_revision, status.completion) == (.healthy, 2, .promoted))
        #expect(status.weights == [2: 100])
        #expect(rig.platform.running(1).count == 4)
        try await rig.pass(31)
        #expect(rig.platform.running(1).isEmpty)
        #expect(rig.platform.running(2).count == 4)
    }

    @Test func `aborting takes the traffic at once and leaves the stable revision alone`() async throws {
        let rig = try await established(replicas: 2)
        try await rig.deploy("k1")
        try await rig.settle()
        let stable = rig.platform.running(1).map(\.id)
        let status = try await rig.abort("it smells")
        #expect(status.weights == [1: 100])
        #expect((status.phase, status.aborted, status.completion) == (.degraded, true, .aborted))
        #expect(status.message == "Revision 2 was aborted: it smells; revision 1 has all traffic.")
        #expect(try await rig.table().weights == ["1": 100])
        try await rig.pass(29)
        #expect(rig.platform.running(2).count == 1)
        try await rig.pass(3)
        #expect(rig.platform.running(2).isEmpty)
        #expect(rig.platform.running(1).map(\.id) == stable)
    }

    @Test func `what cannot be steered says so, and what to do instead`() async throws {
        let rig = try await established()
        let nothing = await problem { try await rig.abort() }
        #expect(nothing?.status == 409)
        #expect(nothing?.hint == "Go back to an earlier revision with: vagus undo web")
        #expect(await problem { try await rig.promote() }?.code == "rollout.none")
        #expect(await problem { try await rig.undo() }?.code == "revision.not-found")
        #expect(await problem { try await rig.undo(to: 7) }?.status == 404)
        #expect(await problem { try await rig.undo(to: 1) }?.code == "revision.stable")
        #expect(await problem { try await rig.deploy("x", name: "nobody") }?.code == "service.not-found")
    }

    @Test func `promote in full skips all steps, yet waits for copies that are well`() async throws {
        let rig = try await established(replicas: 3)
        try await rig.deploy("k1")
        try await rig.settle()
        rig.platform.setWell(false, revision: 2)
        try await rig.promote(full: true)
        try await rig.pass(8)
        #expect(try await rig.status().stable_revision == 1)
        rig.platform.setWell(true, revision: 2)
        try await rig.pass(3)
        let status = try await rig.status()
        #expect((status.stable_revision, status.completion) == (2, .fast_promoted))
        #expect(status.revision(2)?.ready == 3)
    }

    @Test func `undo starts the earlier revision again, and only then moves the traffic`() async throws {
        let rig = try await established("{ strategy: recreate }")
        try await rig.deploy("k1")
        try await rig.pass(40)
        #expect(rig.platform.running(1).isEmpty)
        rig.platform.setWell(false, revision: 1)
        try await rig.undo()
        try await rig.undo()
        try await rig.pass(2)
        #expect(try await rig.status().weights == [2: 100])
        rig.platform.setWell(true, revision: 1)
        try await rig.pass(2)
        let status = try await rig.status()
        #expect((status.stable_revision, status.completion, status.phase) == (1, .rolled_back, .healthy))
        #expect(status.weights == [1: 100])
        #expect(try await rig.events("rollout.rolled-back").count == 1)
        // Applying the very same manifest again does not bring the bad revision back.
        try await rig.house.apply(web("{ strategy: recreate }"))
        try await rig.settle()
        #expect(try await rig.status().stable_revision == 1)
    }

    @Test func `undo of a rollout under way goes back to the stable revision`() async throws {
        let rig = try await established()
        try await rig.deploy("k1")
        try await rig.settle()
        let status = try await rig.undo()
        #expect((status.stable_revision, status.completion) == (1, .aborted))
        #expect(status.weights == [1: 100])
    }

    @Test func `a newer deploy takes the place of the one under way`() async throws {
        let rig = try await established()
        try await rig.deploy("k1")
        try await rig.settle()
        try await rig.deploy("k2")
        try await rig.settle()
        let status = try await rig.status()
        #expect(status.preview_revision == 3)
        #expect(status.weights == [1: 90, 3: 10])
        #expect(try await rig.events("rollout.superseded").count == 1)
        try await rig.pass(33)
        #expect(rig.platform.running(2).isEmpty)
    }

    @Test func `the same key is one revision, and another key with the same workload a new one`() async throws {
        let rig = try await established()
        try await rig.deploy("k1")
        try await rig.deploy("k1")
        #expect(try await rig.events("service.revision-created").count == 2)
        try await rig.deploy("k2")
        #expect(try await rig.events("service.revision-created").count == 3)
    }

    @Test func `a change of the rollout makes no revision, a change of a variable does`() async throws {
        let rig = try await established()
        try await rig.house.apply(web("{ strategy: recreate }"))
        try await rig.settle()
        #expect(try await rig.events("service.revision-created").count == 1)
        try await rig.house.apply("kind: Environment\nname: prod\nvariables: { LEVEL: \"1\" }")
        try await rig.house.apply(web("{ strategy: recreate }", more: "environment: prod"))
        try await rig.settle()
        #expect(try await rig.status().stable_revision == 2)
        try await rig.house.apply("kind: Environment\nname: prod\nvariables: { LEVEL: \"2\" }")
        try await rig.settle()
        #expect(try await rig.status().stable_revision == 3)
        let copy = try #require(rig.platform.running(3).first)
        #expect(rig.platform.order(of: copy.id)?.environment["LEVEL"] == "2")
    }

    @Test func `replicas are scaled without a revision`() async throws {
        let rig = try await established(replicas: 1)
        try await rig.house.apply(web(Self.canary, replicas: 3))
        try await rig.settle()
        #expect(rig.platform.running(1).count == 3)
        try await rig.house.apply(web(Self.canary, replicas: 2))
        try await rig.settle()
        #expect(rig.platform.running(1).map { $0.id.text } == ["default/web/1/1", "default/web/1/2"])
        #expect(try await rig.status().phase == .healthy)
    }

    @Test func `a model without a version waits for a deploy, and an unknown alias says so`() async throws {
        let rig = try await Rig.open()
        try await rig.house.apply("kind: Service\nname: web\nworkload: { model: employment }")
        try await rig.settle()
        var status = try await rig.status()
        #expect(status.message == "It waits for a deploy step to choose a version of model employment.")
        #expect(rig.platform.running().isEmpty)
        #expect(await problem { try await rig.deploy("k0") }?.code == "service.no-version")
        #expect(await problem { try await rig.deploy("k0", model: "other@1") }?.code == "service.other-model")
        try await rig.deploy("k1", model: "employment@3")
        try await rig.settle()
        status = try await rig.status()
        #expect(status.revision(1)?.model == "employment@3")
        #expect(status.stable_revision == 1)
        let order = try #require(rig.platform.order(of: InstanceID("default/web/1/1")))
        #expect(order.artifact == "sha256:employment3")
        #expect(order.command.prefix(4) == ["/vagus", "serve", "--model", "."])
        try await rig.house.apply("kind: Service\nname: web\nworkload: { model: employment@nobody }")
        try await rig.settle()
        status = try await rig.status()
        #expect(
            status.message
                == "The applied workload cannot be rolled out: no version \"nobody\" of model \"employment\".")
        #expect(status.weights == [1: 100])
    }

    @Test func `a copy that dies is replaced, later and later`() async throws {
        let rig = try await established()
        let first = try #require(rig.platform.running(1).first)
        rig.platform.kill(first.id)
        try await rig.pass(1)
        #expect(try await rig.status().phase == .degraded)
        #expect(rig.platform.running(1).isEmpty)
        try await rig.pass(2)
        let second = try #require(rig.platform.running(1).first)
        #expect(second.id.text == "default/web/1/2")
        #expect(try await rig.status().phase == .healthy)
        rig.platform.kill(second.id)
        try await rig.pass(2)
        #expect(rig.platform.running(1).isEmpty)
        try await rig.pass(2)
        #expect(rig.platform.running(1).count == 1)
        #expect(try await rig.events("instance.lost").count == 2)
    }

    @Test func `a copy that is not well gets no traffic, and has it again when it is`() async throws {
        let rig = try await established(replicas: 2)
        let ill = InstanceID("default/web/1/1")
        rig.platform.setWell(false, ill)
        try await rig.pass(7)
        var status = try await rig.status()
        #expect(status.message == "1 of 2 copies of revision 1 are well (it is ill).")
        #expect(try await rig.table().routes[0]["revisions"]?[0]?["endpoints"]?.array?.count == 1)
        rig.platform.setWell(true, ill)
        try await rig.pass(3)
        status = try await rig.status()
        #expect(status.phase == .healthy)
        #expect(try await rig.table().routes[0]["revisions"]?[0]?["endpoints"]?.array?.count == 2)
    }

    @Test func `copies that never get well abort the rollout at the deadline`() async throws {
        let rig = try await established(more: "health: { deadline: 30s }")
        rig.platform.setWell(false, revision: 2)
        try await rig.deploy("k1")
        try await rig.pass(29)
        #expect(try await rig.status().phase == .progressing)
        try await rig.pass(2)
        let status = try await rig.status()
        #expect(status.aborted)
        #expect(
            status.message
                == "Revision 2 was aborted: 0 of 1 copies of revision 2 were well after 30s: it is ill "
                + "(what they printed: vagus logs search '{service=\"web\", revision=\"2\"}'); revision 1 has all traffic."
        )
    }

    @Test func `a program that ends by itself is told with its exit status`() async throws {
        let rig = try await established(more: "health: { deadline: 10s }")
        rig.platform.setWell(false, revision: 2)
        try await rig.deploy("k1")
        for _ in 0..<12 {
            try await rig.pass(1)
            for copy in rig.platform.running(2) { rig.platform.kill(copy.id, "with exit status 7") }
        }
        let status = try await rig.status()
        #expect(status.aborted)
        #expect(status.message.contains("were well after 10s: it ended by itself with exit status 7 (what they"))
        #expect(
            try await rig.events("instance.lost").first?.data["reason"]?.string
                == "it ended by itself with exit status 7")
    }

    @Test func `a program that cannot be started says why`() async throws {
        let rig = try await established(more: "health: { deadline: 20s }")
        rig.platform.failStarts(
            ofRevision: 2, with: Problem("instance.start", status: 422, "\"./web\" was not found in the PATH"))
        try await rig.deploy("k1")
        try await rig.pass(5)
        #expect(try await rig.status().message.contains("it could not be started: \"./web\" was not found in the PATH"))
        try await rig.pass(20)
        #expect(try await rig.status().aborted)
    }

    @Test func `a deleted service loses its route at once and its copies soon, and its numbers never come twice`()
        async throws
    {
        let rig = try await established(replicas: 2)
        _ = try await rig.house.call(Resources.delete, ResourceName(project: "default", kind: "services", name: "web"))
        #expect(try await rig.table().routes.isEmpty)
        try await rig.settle()
        #expect(rig.platform.running().isEmpty)
        try await rig.house.apply(web())
        try await rig.settle()
        #expect(rig.platform.running().map { $0.id.text } == ["default/web/2/1"])
    }

    @Test func `a copy that nobody knows is stopped`() async throws {
        let rig = try await established()
        let stray = InstanceOrder(
            id: InstanceID("default/ghost/1/1"), service: Reference(project: "default", name: "ghost"), revision: 1,
            command: ["./ghost"], environment: [:])
        _ = try await rig.platform.start(stray)
        try await rig.settle()
        #expect(rig.platform.stops == [stray.id])
        #expect(rig.platform.running(1).count == 1)
    }
}
