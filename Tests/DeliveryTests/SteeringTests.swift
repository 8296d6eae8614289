import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Delivery

/// Verbs and rules through the whole room: tables, loops, routing table.
@Suite(.timeLimit(.minutes(2))) struct SteeringTests {
    static let canary =
        "{ strategy: canary, steps: [{ weight: 20 }, { pause: {} }, { weight: 50 }, { pause: {} }] }"

    func established(
        _ rollout: String = SteeringTests.canary, replicas: Int = 1, more: String = ""
    ) async throws -> Rig {
        let rig = try await Rig.open()
        try await rig.house.apply(web(rollout, replicas: replicas, more: more))
        try await rig.settle()
        try #require(try await rig.status().stable_revision == 1)
        return rig
    }

    // MARK: - Hold, go on, retry

    @Test func `what is held stays where it is, and promote then only lets it go on`() async throws {
        let rig = try await established(
            "{ strategy: canary, steps: [{ weight: 20 }, { pause: { for: 90s } }, { weight: 50 }, { pause: {} }] }")
        try await rig.deploy("k1")
        try await rig.settle()
        var status = try await rig.pause("wait")
        #expect((status.phase, status.held) == (.paused, true))
        #expect(status.message == "Revision 2 is held by hand with 20 % of the traffic: wait.")
        try await rig.pass(70)
        #expect(try await rig.status().step == 1)
        status = try await rig.promote()
        #expect((status.held, status.step) == (false, 1))
        try await rig.pass(25)
        #expect(try await rig.status().step == 3)
        #expect(await problem { try await rig.resume() }?.code == "rollout.not-held")
        #expect(try await rig.events("rollout.resumed").count == 1)
        let paused = try await rig.house.store.read { sql in
            try RolloutRow.newest(of: ServiceReference(project: "default", name: "web"), in: sql)?.paused
        }
        #expect(paused ?? 0 >= 70_000_000)
    }

    @Test func `an aborted rollout is retried from its first step, and nothing else steers it`() async throws {
        let rig = try await established()
        try await rig.deploy("k1")
        try await rig.settle()
        try await rig.promote()
        try await rig.settle()
        #expect(try await rig.status().weights == [1: 50, 2: 50])
        try await rig.abort("no")
        let refused = await problem { try await rig.promote() }
        #expect(refused?.code == "rollout.aborted")
        #expect(refused?.hint == "Roll it out once more from the first step with: vagus retry web")
        #expect(await problem { try await rig.pause() }?.code == "rollout.aborted")
        try await rig.retry()
        try await rig.settle()
        let status = try await rig.status()
        #expect((status.step, status.rollout, status.preview_revision) == (1, 3, 2))
        #expect(status.weights == [1: 80, 2: 20])
        #expect(await problem { try await rig.retry() }?.code == "rollout.under-way")
    }

    @Test func `promote in full brings even an aborted revision to all traffic`() async throws {
        let rig = try await established()
        try await rig.deploy("k1")
        try await rig.settle()
        try await rig.abort("no")
        try await rig.promote(full: true)
        try await rig.settle()
        let status = try await rig.status()
        #expect((status.stable_revision, status.completion) == (2, .fast_promoted))
    }

    @Test func `a change of the steps begins a rollout anew, and leaves an aborted one alone`() async throws {
        let rig = try await established()
        try await rig.deploy("k1")
        try await rig.settle()
        try await rig.promote()
        try await rig.settle()
        let other = "{ strategy: canary, steps: [{ weight: 10 }, { pause: {} }] }"
        try await rig.house.apply(web(other))
        try await rig.settle()
        var status = try await rig.status()
        #expect((status.step, status.steps, status.preview_revision) == (1, 2, 2))
        #expect(status.weights == [1: 90, 2: 10])
        try await rig.abort("no")
        try await rig.house.apply(web(Self.canary))
        try await rig.settle()
        status = try await rig.status()
        #expect(status.aborted)
        #expect(status.weights == [1: 100])
    }

    // MARK: - What was bad stays away

    @Test func `what was gone back from is refused when it is applied again, until somebody wants it`() async throws {
        let rig = try await established("{ strategy: recreate }")
        let bad = web("{ strategy: recreate }", command: "./bad")
        try await rig.house.apply(bad)
        try await rig.settle()
        #expect(try await rig.status().stable_revision == 2)
        try await rig.undo()
        try await rig.pass(2)
        let refused = await problem { try await rig.house.apply(bad) }
        #expect(refused?.status == 409)
        #expect(
            refused?.message
                == "service \"web\" went back from just this, its revision 2: system:test went back to revision 1")
        try await rig.settle()
        #expect(try await rig.status().stable_revision == 1)
        // Something else may come, and a person may want it all the same.
        try await rig.house.apply(web("{ strategy: recreate }", command: "./third"))
        try await rig.settle()
        #expect(try await rig.status().stable_revision == 3)
        #expect(await problem { try await rig.house.apply(bad) }?.code == "service.condemned")
        try await rig.retry()
        try await rig.pass(2)
        #expect(try await rig.status().stable_revision == 2)
        try await rig.house.apply(bad)
    }

    @Test func `what was gone back from does not come back by its environment`() async throws {
        let rig = try await Rig.open()
        func level(_ level: Int) async throws {
            try await rig.house.apply("kind: Environment\nname: prod\nvariables: { LEVEL: \"\(level)\" }")
        }
        try await level(1)
        try await rig.house.apply(web(Self.canary, more: "environment: prod"))
        try await rig.settle()
        try await level(2)
        try await rig.settle()
        try await rig.abort("errors")
        try await level(1)
        try await rig.settle()
        try await level(2)
        try await rig.settle()
        let status = try await rig.status()
        #expect((status.stable_revision, status.weights) == (1, [1: 100]))
        #expect(status.message.contains("went back from just this, its revision 2: errors"))
    }

    @Test func `the revision that is on its way back already is no news when it is applied`() async throws {
        let rig = try await established()
        try await rig.house.apply(web(Self.canary, command: "./other"))
        try await rig.settle()
        try await rig.promote(full: true)
        try await rig.settle()
        try await rig.undo(isGradual: true)
        try await rig.settle()
        try #require(try await rig.status().weights == [2: 80, 1: 20])
        try await rig.house.apply(web(Self.canary))
        try await rig.settle()
        #expect(try await rig.status().weights == [2: 80, 1: 20])
        #expect(try await rig.events("rollout.started").count == 3)
    }

    @Test func `forward again by undo takes the steps, and says nothing against the stable revision`() async throws {
        let rig = try await established()
        try await rig.house.apply(web(Self.canary, command: "./other"))
        try await rig.settle()
        try await rig.abort("errors")
        try await rig.undo(to: 2)
        try await rig.settle()
        #expect(try await rig.status().weights == [1: 80, 2: 20])
        try await rig.abort("again")
        try await rig.settle()
        try await rig.house.apply(web(Self.canary))
        try await rig.settle()
        #expect(try await rig.status().stable_revision == 1)
    }

    @Test func `two services are not reached at one address`() async throws {
        let rig = try await Rig.open()
        let blueGreen = "rollout: { strategy: blue_green }"
        func service(_ name: String, _ more: String) -> String {
            "kind: Service\nname: \(name)\nworkload: { command: [./web] }\n\(more)"
        }
        try await rig.house.apply(service("shop", blueGreen))
        let preview = await problem { try await rig.house.apply(service("shop-preview", "")) }
        #expect(preview?.message == "/services/shop-preview leads to service \"shop\" already")
        try await rig.house.apply(service("a", "route: { path: /same, hosts: [a.test] }"))
        #expect(
            await problem { try await rig.house.apply(service("b", "route: { path: /same, hosts: [A.test] }")) } != nil)
        try await rig.house.apply(service("b", "route: { path: /same, hosts: [b.test] }"))
        try await rig.house.apply(service("c", "route: { path: /same }"))
        // Its own address is no other's, and what was given up is free.
        try await rig.house.apply(service("c", "route: { path: /else }"))
        try await rig.house.apply(service("d", "route: { path: /same }"))
    }

    @Test func `a deploy of the aborted commit is refused, and of another one not`() async throws {
        let rig = try await established()
        try await rig.deploy("k1", commit: "abc")
        try await rig.settle()
        try await rig.abort("errors")
        #expect(await problem { try await rig.deploy("k2", commit: "abc") }?.code == "service.condemned")
        try await rig.deploy("k3", commit: "def")
        try await rig.settle()
        #expect(try await rig.status().preview_revision == 3)
    }

    @Test func `the stable workload applied in the middle of a rollout ends it, past all steps`() async throws {
        let rig = try await established()
        let copies = rig.platform.running(1).map(\.id)
        try await rig.house.apply(web(Self.canary, command: "./other"))
        try await rig.settle()
        #expect(try await rig.status().weights == [1: 80, 2: 20])
        try await rig.house.apply(web(Self.canary))
        try await rig.settle()
        let status = try await rig.status()
        #expect((status.stable_revision, status.completion, status.phase) == (1, .rolled_back, .healthy))
        #expect(status.weights == [1: 100])
        #expect(rig.platform.running(1).map(\.id) == copies)
        #expect(try await rig.events("service.revision-created").count == 2)
    }

    // MARK: - The way back

    @Test(arguments: [1, 2])
    func `a way back beyond the window takes the steps`(window: Int) async throws {
        // Argo Rollouts' code: window 1 reaches only the revision just before, window 2 also over one in between.
        let rig = try await established(more: "rollback: { window: \(window), scale_down_delay: 1h }")
        for key in ["k1", "k2"] {
            try await rig.deploy(key)
            try await rig.settle()
            try await rig.promote(full: true)
            try await rig.settle()
        }
        try #require(try await rig.status().stable_revision == 3)
        try await rig.undo(to: 1)
        try await rig.settle()
        let seen = try await rig.status().weights
        #expect(seen == (window == 1 ? [3: 80, 1: 20] : [1: 100]))
    }

    @Test func `undo may be asked to go by the steps`() async throws {
        let rig = try await established()
        try await rig.deploy("k1")
        try await rig.settle()
        try await rig.promote(full: true)
        try await rig.settle()
        try await rig.undo(isGradual: true)
        try await rig.settle()
        #expect(try await rig.status().weights == [2: 80, 1: 20])
    }

    @Test func `a way back across a migration is refused until it is asked for on purpose`() async throws {
        let rig = try await established("{ strategy: recreate }")
        try await rig.house.apply(
            "kind: Service\nname: web\nworkload: { command: [./web], migration: \"7-names\" }\nrollout: { strategy: recreate }"
        )
        try await rig.settle()
        try #require(try await rig.status().stable_revision == 2)
        let refused = await problem { try await rig.undo() }
        #expect(refused?.code == "revision.migrated")
        #expect(refused?.hint == "If it can live with them: vagus undo web --to 1 --across-migration")
        var input = UndoInput()
        (input.name, input.across_migration) = ("web", true)
        _ = try await rig.house.call(Services.undo, input)
        try await rig.pass(2)
        #expect(try await rig.status().stable_revision == 1)
    }

    @Test func `neither applying nor retrying goes back across a migration`() async throws {
        let rig = try await Rig.open()
        func service(_ migration: Int, _ command: String) -> String {
            "kind: Service\nname: web\nworkload: { command: [\(command)], migration: \"\(migration)\" }\nrollout: \(Self.canary)"
        }
        try await rig.house.apply(service(1, "./web"))
        try await rig.settle()
        try await rig.house.apply(service(1, "./other"))
        try await rig.settle()
        try await rig.abort("errors")
        try await rig.house.apply(service(3, "./web"))
        try await rig.settle()
        try await rig.promote(full: true)
        try await rig.settle()
        try #require(try await rig.status().stable_revision == 3)
        #expect(await problem { try await rig.house.apply(service(1, "./web")) }?.code == "revision.migrated")
        #expect(await problem { try await rig.retry() }?.code == "revision.migrated")
        #expect(try await rig.status().weights == [3: 100])
    }

    @Test func `blue and green take turns, each with its own variables`() async throws {
        let rollout = "{ strategy: blue_green, blue_env: { SIDE: left }, green_env: { SIDE: right } }"
        let rig = try await established(rollout)
        try await rig.deploy("k1")
        try await rig.settle()
        try await rig.deploy("k2")
        try await rig.settle()
        let status = try await rig.status()
        #expect(status.stable_revision == 3)
        let sides = (1...3).map { rig.platform.order(of: InstanceID("default/web/\($0)/1"))?.environment["SIDE"] }
        #expect(sides == ["left", "right", "left"])
        #expect(status.revision(3)?.colour == "blue")
    }

    // MARK: - Checks around the switch

    @Test func `checks after the switch that fail switch back, and the old copies are all there`() async throws {
        let rig = try await established(
            "{ strategy: blue_green, after_promotion: [errors], analysis: { errors: { built_in: error_rate, interval: 10s, judge: { method: threshold, success: \"result < 0.1\", min_samples: 10 } } } }",
            replicas: 2, more: "rollback: { scale_down_delay: 5s }")
        try await rig.deploy("k1")
        try await rig.settle()
        try await rig.report([1: (100, 0)])
        try await rig.settle()
        #expect(try await rig.status().weights == [2: 100])
        // The checks outlast the delay: the copies that lost their traffic stay all the same.
        for _ in 0..<3 {
            try await rig.pass(4)
            try await rig.report([1: (100, 0), 2: (5, 5)])
        }
        #expect(rig.platform.running(1).count == 2)
        #expect(try await rig.status().stable_revision == 1)
        for _ in 0..<3 {
            try await rig.report([1: (100, 0), 2: (100, 50)])
            try await rig.pass(4)
        }
        try await rig.report([1: (100, 0), 2: (100, 50)])
        try await rig.settle()
        let status = try await rig.status()
        #expect(status.aborted)
        #expect(status.weights == [1: 100])
        #expect(rig.platform.running(1).count == 2)
    }

    // MARK: - Copies

    @Test func `a restart gives every copy a successor, and never one copy too few`() async throws {
        let rig = try await established(replicas: 3)
        let before = Set(rig.platform.running(1).map(\.id))
        rig.time.advance(by: .seconds(1))
        _ = try await rig.house.call(Services.restart, Name(project: "default", name: "web"))
        for _ in 0..<12 {
            try await rig.pass(1)
            #expect(try await rig.status().revision(1)?.ready ?? 0 >= 3)
        }
        let after = Set(rig.platform.running(1).map(\.id))
        #expect(after.count == 3)
        #expect(after.isDisjoint(with: before))
    }

    @Test func `scale changes what is declared`() async throws {
        let rig = try await established()
        var input = ScaleInput()
        (input.name, input.replicas) = ("web", 3)
        _ = try await rig.house.call(Services.scale, input)
        try await rig.settle()
        #expect(rig.platform.running(1).count == 3)
        let spec = try await rig.house.store.read {
            try $0.resource(ServiceKind.self, .init(project: "default", name: "web"))
        }
        #expect(spec?.spec.workload.replicas == 3)
    }

    @Test func `an aborted rolling keeps the traffic where copies are until the old ones are back`() async throws {
        let rig = try await established("{ strategy: rolling }", replicas: 4)
        rig.platform.setWell(false, InstanceID("default/web/2/4"))
        try await rig.deploy("k1")
        try await rig.settle(turns: 10)
        #expect(try await rig.status().weights == [1: 25, 2: 75])
        for number in 5...9 { rig.platform.setWell(false, InstanceID("default/web/1/\(number)")) }
        try await rig.abort("no")
        #expect(try await rig.status().weights == [1: 25, 2: 75])
        for number in 5...9 { rig.platform.setWell(true, InstanceID("default/web/1/\(number)")) }
        try await rig.pass(3)
        let status = try await rig.status()
        #expect(status.weights == [1: 100])
        #expect(status.revision(1)?.ready == 4)
        #expect(status.phase == .degraded)
    }

    @Test(arguments: [false, true])
    func `what comes in the middle of a rolling takes no traffic from the only copies that are well`(
        isUndo: Bool
    ) async throws {
        let rig = try await established("{ strategy: rolling }", replicas: 4)
        try await rig.deploy("k1")
        try await rig.pass(8)
        try #require(try await rig.status().stable_revision == 2)
        rig.platform.setWell(false, InstanceID("default/web/3/4"))
        try await rig.deploy("k2")
        try await rig.settle(turns: 10)
        try #require(try await rig.status().weights == [2: 25, 3: 75])
        if isUndo { try await rig.undo(to: 1) } else { try await rig.deploy("k3") }
        #expect(try await rig.status().weights == [2: 25, 3: 75])
        for _ in 0..<40 {
            try await rig.pass(1)
            let status = try await rig.status()
            // Each copy that is well has no more than one of four has to bear, with room for one that is being replaced.
            for (revision, weight) in status.weights {
                #expect(weight <= 34 * (status.revision(revision)?.ready ?? 0), "\(status.weights)")
            }
        }
        let status = try await rig.status()
        #expect(status.weights == [isUndo ? 1 : 4: 100])
    }

    @Test func `stable copies that do not come back hold the next revision up for their time only`() async throws {
        let rig = try await established("{ strategy: rolling }", replicas: 4, more: "health: { deadline: 60s }")
        rig.platform.setWell(false, InstanceID("default/web/2/3"))
        rig.platform.setWell(false, InstanceID("default/web/2/4"))
        try await rig.deploy("k1")
        try await rig.settle(turns: 10)
        let share = try await rig.status().weights[2] ?? 0
        try #require((1...99).contains(share))
        rig.platform.setWell(false, revision: 1)
        try await rig.deploy("k2")
        try await rig.pass(30)
        #expect(try await rig.status().weights[3] == nil)
        try await rig.pass(120)
        let status = try await rig.status()
        #expect((status.stable_revision, status.weights) == (3, [3: 100]))
    }

    @Test func `a way back across a migration may be given other steps while it is under way`() async throws {
        let rig = try await Rig.open()
        func service(_ migration: Int, _ rollout: String = Self.canary) -> String {
            "kind: Service\nname: web\nworkload: { command: [./web], migration: \"\(migration)\" }\nrollout: \(rollout)"
        }
        try await rig.house.apply(service(1))
        try await rig.settle()
        try await rig.house.apply(service(2))
        try await rig.settle()
        try await rig.promote(full: true)
        try await rig.settle()
        var input = UndoInput()
        (input.name, input.gradual, input.across_migration) = ("web", true, true)
        _ = try await rig.house.call(Services.undo, input)
        try await rig.settle()
        try await rig.house.apply(service(2, "{ strategy: canary, steps: [{ weight: 10 }, { pause: {} }] }"))
        try await rig.settle()
        #expect(try await rig.status().weights == [2: 90, 1: 10])
    }
}
