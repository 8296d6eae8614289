import API
import Foundation
import Kernel
import KernelTesting
import Manifests
import SQL
import Testing

@testable import Pipelines

/// Schedules, and triggers by what happens elsewhere, with time and events in the test's hand.
@Suite struct TriggerTests {
    private func pipeline(_ name: String, _ triggers: String, more: String = "") -> String {
        "kind: Pipeline\nname: \(name)\ntriggers: \(triggers)\n\(more)\nstages: [{ name: s, jobs: { j: { steps: [{ run: make }] } } }]"
    }

    private func runs(_ it: PipelineHouse, _ name: String) async throws -> [Run] {
        var query = RunQuery()
        query.pipeline = name
        return try await it.house.call(Runs.list, query).items.reversed()
    }

    private func tick(_ it: PipelineHouse) async throws {
        let loop = ScheduleReconciler(context: it.house.context)
        for key in try await loop.keys() { while try await loop.reconcile(key) == .now {} }
    }

    /// Lets the follower see every event from `cursor` on; returns where it stands.
    @discardableResult
    private func follow(_ it: PipelineHouse, from cursor: Int64 = 0) async throws -> Int64 {
        let follower = TriggerFollower(ids: it.house.context.ids)
        let events = try await it.house.events().filter { $0.sequence > cursor }
        for event in events {
            try await it.house.store.change(.system("follower")) { try follower.heed(event, in: $0) }
        }
        return events.last?.sequence ?? cursor
    }

    @Test func `a schedule starts its pipeline once when its time comes and not before`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(
            pipeline(
                "night", "[{ schedule: { cron: '0 9 * * *' }, parameters: { deep: true } }]",
                more: "parameters: { deep: { type: bool } }"))
        try await tick(it)
        #expect(try await runs(it, "night").isEmpty)
        it.house.time.advance(by: .seconds(3600))
        try await tick(it)
        try await tick(it)
        let found = try await runs(it, "night")
        #expect(found.count == 1 && found[0].parameters["deep"] == true)
        #expect(found[0].trigger.type == .schedule && found[0].trigger.event?["missed"] == false)
        #expect(found[0].trigger.event?["scheduled_at"] == "2026-01-05T09:00:00.000Z")
    }

    @Test func `what was missed is made up for once, also after the manifest was applied again`() async throws {
        let it = try await PipelineHouse()
        let text = pipeline("night", "[{ schedule: { cron: '0 * * * *' } }]")
        try await it.house.apply(text)
        it.house.time.advance(by: .seconds(3 * 86_400 + 60))
        try await it.house.apply(text.replacingOccurrences(of: "make", with: "make all"))
        try await tick(it)
        let found = try await runs(it, "night")
        #expect(found.map { $0.trigger.event?["scheduled_at"] } == ["2026-01-08T08:00:00.000Z"])
        #expect(found.first?.trigger.event?["missed"] == true)
        it.house.time.advance(by: .seconds(3600))
        try await tick(it)
        #expect(try await runs(it, "night").count == 2)
        #expect(try await it.house.call(Triggers.list, triggers("night")).items[0].next.count == 3)
    }

    private func triggers(_ name: String) -> TriggerQuery {
        var query = TriggerQuery()
        (query.pipeline, query.times) = (name, 3)
        return query
    }

    @Test func `a crash at any commit neither loses nor doubles a scheduled run`() async throws {
        let time = ManualTime()
        let first = try await PipelineHouse(time: time)
        try await first.house.apply(pipeline("night", "[{ schedule: { cron: '0 9 * * *' } }]"))
        let folder = first.house.folder
        time.advance(by: .seconds(3600))
        struct Crash: Error {}
        for crash in 1...4 {
            // Migrations commit too: the hook counts from the opening on.
            let house = try? await PipelineHouse(folder: folder, time: time, firstID: crash * 1000) { commit in
                if commit == crash { throw Crash() }
            }
            if let house { try? await tick(house) }
        }
        let last = try await PipelineHouse(folder: folder, time: time, firstID: 9000)
        try await tick(last)
        #expect(try await runs(last, "night").count == 1)
        // The first house takes its folder with it when it is let go.
        #expect(first.house.folder == folder)
    }

    @Test func `the end of a run starts those that wait for it, on its commit and with its trust`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(pipeline("build", "[]"))
        try await it.house.apply(pipeline("after", "[{ pipeline: { name: build } }]"))
        try await it.house.apply(pipeline("mourn", "[{ pipeline: { name: build, status: [failed, cancelled] } }]"))
        try await it.house.apply(pipeline("never", "[{ pipeline: { name: build }, if: event.run.number > 7 }]"))
        _ = try await it.start("build")
        try await it.hello()
        try await it.work()
        let cursor = try await follow(it)
        #expect(try await runs(it, "after").map(\.trigger.type) == [.pipeline])
        #expect(try await runs(it, "after").first?.trigger.event?["run"]?["status"] == "succeeded")
        #expect(try await runs(it, "mourn").isEmpty)
        #expect(try await runs(it, "never").isEmpty)
        for run in try await runs(it, "after") {
            _ = try await it.house.call(Runs.cancel, RunName(project: "default", run: run.id))
        }
        try await it.settle()
        _ = try await it.start("build")
        try await it.work(.failed)
        try await follow(it, from: cursor)
        #expect(try await runs(it, "mourn").count == 1)
        #expect(try await runs(it, "after").count == 1)
    }

    @Test func `a run that is not trusted sets off no trusted one`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(pipeline("check", "[]"))
        try await it.house.apply(pipeline("after", "[{ pipeline: { name: check, status: failed } }]"))
        let pipeline = try #require(
            try await it.house.store.read {
                try $0.resource(PipelineKind.self, Reference(project: "default", name: "check"))
            })
        try await it.house.store.change(.system("test")) { change in
            var trigger = Trigger()
            (trigger.type, trigger.is_trusted, trigger.ref) = (.pull_request, false, "refs/pull/7/head")
            try change.fire(Firing(pipeline: pipeline, spec: TriggerSpec(), trigger: trigger), id: "run_x")
        }
        try await it.hello()
        try await it.work(.failed)
        try await follow(it)
        let after = try #require(try await runs(it, "after").first)
        #expect(!after.trigger.is_trusted)
    }

    @Test func `a ring of pipelines comes to an end`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(pipeline("ring", "[{ pipeline: { name: ring, status: cancelled } }]"))
        _ = try await it.start("ring")
        var cursor: Int64 = 0
        for _ in 0..<(TriggerFollower.longestChain + 4) {
            for run in try await runs(it, "ring") where !run.status.hasEnded {
                _ = try await it.house.call(Runs.cancel, RunName(project: "default", run: run.id))
            }
            try await it.settle()
            cursor = try await follow(it, from: cursor)
        }
        #expect(try await runs(it, "ring").count == TriggerFollower.longestChain + 1)
        #expect(try await it.house.events(named: "pipeline.not-started").count == 1)
    }

    @Test func `an artifact starts those that wait for it`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(
            "{ kind: Pipeline, name: build, stages: [{ name: s, jobs: { j: { steps: [{ run: make }], artifacts: [{ name: image, paths: [x] }] } } }] }"
        )
        try await it.house.apply(pipeline("ship", "[{ artifact: { pipeline: build, name: s.image } }]"))
        try await it.house.apply(pipeline("other", "[{ artifact: { pipeline: build, name: docs } }]"))
        _ = try await it.start("build")
        try await it.hello()
        let lease = try await it.lease()
        try await it.finish(lease, artifacts: ["image"])
        try await it.end(lease)
        try await it.settle()
        try await follow(it)
        #expect(try await runs(it, "ship").first?.trigger.event?["artifact"]?["name"] == "image")
        #expect(try await runs(it, "other").isEmpty)
    }

    private func tell(_ it: PipelineHouse, _ name: String, _ subject: Subject, _ data: Ordered<JSONValue>)
        async throws
    {
        try await it.house.store.change(.system("test")) { _ = try $0.tell(name, about: subject, data) }
    }

    @Test func `a new version, or an alias that moves, starts those that wait for it`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(
            pipeline(
                "serve",
                "[{ model: { name: churn, alias: champion }, parameters: { v: '${{ event.model.version }}' } }]",
                more: "parameters: { v: { type: int } }"))
        try await it.house.apply(pipeline("report", "[{ model: { name: churn } }]"))
        let model = Subject(kind: "Model", project: "default", name: "churn")
        try await tell(it, "model.registered", model, ["version": 3])
        try await tell(it, "model.alias-moved", model, ["alias": "champion", "from": 2, "to": 3])
        try await tell(it, "model.alias-moved", model, ["alias": "shadow", "from": 2, "to": 3])
        try await follow(it)
        #expect(try await runs(it, "serve").map { $0.parameters["v"] } == [3])
        #expect(try await runs(it, "report").map(\.trigger.type) == [.model])
    }

    @Test func `an alert starts its pipeline, no more often than it may`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(
            pipeline("heal", "[{ alert: { name: live/performance, cooldown: 24h, max_per_week: 2 } }]"))
        let monitor = Subject(kind: "Monitor", project: "default", name: "live")
        var cursor: Int64 = 0
        var counts: [Int] = []
        for hours in [0, 1, 24, 24, 24 * 6] {
            it.house.time.advance(by: .seconds(hours * 3600 + 1))
            try await tell(it, "monitor.breach", monitor, ["breaches": ["performance: auc 0.6 < 0.7"]])
            cursor = try await follow(it, from: cursor)
            counts.append(try await runs(it, "heal").count)
        }
        #expect(counts == [1, 1, 2, 2, 3])
        try await it.house.apply(pipeline("page", "[{ alert: { name: 'disk-*' } }]"))
        let alert = Subject(kind: "Alert", project: "default", name: "disk-full")
        try await tell(it, "alert.firing", alert, [:])
        try await tell(it, "alert.resolved", alert, [:])
        try await follow(it, from: cursor)
        #expect(try await runs(it, "page").count == 1)
    }

    @Test func `a trigger that cannot start its pipeline says so and holds nobody up`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(pipeline("a", "[{ model: { name: m } }]", more: "parameters: { must: {} }"))
        try await it.house.apply(pipeline("b", "[{ model: { name: m } }]"))
        try await tell(
            it, "model.registered", Subject(kind: "Model", project: "default", name: "m"), ["version": 1])
        try await follow(it)
        #expect(try await runs(it, "b").count == 1)
        let told = try #require(try await it.house.events(named: "pipeline.not-started").first)
        #expect(told.subject.name == "a" && told.data["reason"]?.string?.contains("must be given") == true)
    }

    @Test(arguments: [
        ("[{ schedule: { cron: '0 25 * * *' } }]", "triggers.0.schedule.cron"),
        ("[{ schedule: { cron: '0 0 30 2 *' } }]", "triggers.0.schedule.cron"),
        ("[{ schedule: { cron: '@daily', tz: Mars/Olympus } }]", "triggers.0.schedule.tz"),
        ("[{ push: { branches: ['!main'] } }]", "triggers.0.push.branches"),
        ("[{ push: { branches: [a], branches_ignore: [b] } }]", "triggers.0.push.branches_ignore"),
        ("[{ tag: {} , push: {} }]", "triggers.0.tag"), ("[{ if: 'true' }]", "triggers.0"),
        ("[{ tag: {}, if: 'a ==' }]", "triggers.0.if"),
    ])
    func `a trigger that cannot be meant is refused where it stands`(text: String, place: String) async throws {
        let it = try await PipelineHouse()
        let error = await #expect(throws: (any Error).self) { try await it.house.apply(pipeline("x", text)) }
        // What a manifest says by itself is a problem already, what only the room knows is not yet.
        let location = (error as? Problem)?.location ?? (error as? ManifestError)?.location
        #expect(location == place, "\(error.map { "\($0)" } ?? "")")
    }

    @Test func `the manifests of the page about triggers are accepted`() async throws {
        let page = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../docs/how-to/triggers.md")
        let text = try String(contentsOf: page, encoding: .utf8)
        let blocks = text.components(separatedBy: "```yaml\n").dropFirst().map { $0.components(separatedBy: "```")[0] }
        #expect(blocks.count == 2)
        let it = try await PipelineHouse()
        for block in blocks { try await it.house.apply(block) }
        #expect(try await it.house.call(Triggers.list, triggers("shop")).items.count == 9)
    }

    @Test func `parameters hold to their choices and patterns`() throws {
        var spec = PipelineSpec()
        var tier = ParameterSpec()
        (tier.choices, tier.default) = (["staging", "production"], "staging")
        var tag = ParameterSpec()
        (tag.pattern, tag.required) = ("v[0-9]+", false)
        spec.parameters = ["tier": tier, "tag": tag]
        #expect(try Parameters.read([:], for: spec) == ["tier": "staging", "tag": .null])
        #expect(try Parameters.read(["tier": "production", "tag": "v12"], for: spec)["tag"] == "v12")
        #expect(throws: Problem.self) { try Parameters.read(["tier": "prod"], for: spec) }
        #expect(throws: Problem.self) { try Parameters.read(["tag": "v12x"], for: spec) }
        tier.default = "nowhere"
        #expect(throws: ManifestError.self) { try tier.check("tier") }
        tag.pattern = "["
        #expect(throws: ManifestError.self) { try tag.check("tag") }
    }
}
