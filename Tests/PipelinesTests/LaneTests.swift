import API
import Kernel
import KernelTesting
import Manifests
import Synchronization
import Testing

@testable import Pipelines

/// Who may work in a lane.
@Suite final class LaneTests: Sendable {
    static func rival(_ number: Int) -> Rival {
        Rival(
            run: "run_\(number)", number: number, pipeline: "p",
            createdAt: Timestamp(microseconds: Int64(number) * 1_000_000))
    }

    static func unit(_ number: Int, _ standing: LaneUnit.Standing, isEnding: Bool = false) -> LaneUnit {
        LaneUnit(
            rival: rival(number), claim: Claim(origin: .stage, lane: "default/g", stage: "deploy"), standing: standing,
            isEnding: isEnding)
    }

    struct Row: Sendable {
        var name: String
        var queue = ConcurrencySpec.Queue.fifo
        var limit = 1
        var cancel = ConcurrencySpec.CancelRunning.never
        var others: [LaneUnit] = []
        var newest: Rival?
        var isPullRequest = false
        var verdict: LaneAnswer.Verdict
        var displaced: [Int] = []
    }

    /// Run #5 has arrived.
    static let rows: [Row] = [
        Row(name: "an empty lane is free", verdict: .take),
        Row(
            name: "one that works is waited for", others: [unit(4, .holding(isIdle: false))],
            verdict: .wait(reason: "waits for its turn in \"g\": run #4 is at work")),
        Row(
            name: "so is a newer one that works", others: [unit(6, .holding(isIdle: false))],
            verdict: .wait(reason: "waits for its turn in \"g\": run #6 is at work")),
        Row(
            name: "an older one that is not ready yet comes first all the same", others: [unit(3, .coming)],
            verdict: .wait(reason: "waits for its turn in \"g\": run #3 comes first")),
        Row(name: "an older one that waits at a gate holds nobody up", others: [unit(3, .gated)], verdict: .take),
        Row(name: "a newer one is not waited for", others: [unit(6, .coming), unit(7, .arrived)], verdict: .take),
        Row(
            name: "an older one that ends anyway is not waited for", others: [unit(3, .arrived, isEnding: true)],
            verdict: .take),
        Row(name: "two places", limit: 2, others: [unit(4, .holding(isIdle: false))], verdict: .take),
        Row(
            name: "two places, one of them kept for who comes first", limit: 2,
            others: [unit(4, .holding(isIdle: false)), unit(3, .coming)],
            verdict: .wait(reason: "waits for its turn in \"g\": run #4 is at work")),
        Row(
            name: "the newest does not wait for those it will supersede", queue: .latest,
            others: [unit(3, .coming), unit(4, .arrived)], verdict: .take),
        Row(
            name: "one that is overtaken is superseded", queue: .latest, others: [unit(6, .arrived)],
            verdict: .superseded(by: rival(6))),
        Row(
            name: "also by one that is at work", queue: .latest,
            others: [unit(7, .holding(isIdle: false)), unit(6, .arrived)],
            verdict: .superseded(by: rival(7))),
        Row(
            name: "also by one that has been there and is gone", queue: .latest, newest: rival(8),
            verdict: .superseded(by: rival(8))),
        Row(
            name: "not by one that may never come", queue: .latest, others: [unit(6, .coming), unit(7, .gated)],
            verdict: .take),
        Row(
            name: "latest still waits for work under way", queue: .latest, others: [unit(4, .holding(isIdle: false))],
            verdict: .wait(reason: "waits for its turn in \"g\": run #4 is at work")),
        Row(
            name: "work under way is displaced", cancel: .always, others: [unit(4, .holding(isIdle: false))],
            verdict: .wait(reason: "waits for its turn in \"g\": run #4 is at work"), displaced: [4]),
        Row(
            name: "but not twice", cancel: .always, others: [unit(4, .holding(isIdle: false), isEnding: true)],
            verdict: .wait(reason: "waits for its turn in \"g\": run #4 is at work")),
        Row(
            name: "and never by an older run", cancel: .always, others: [unit(6, .holding(isIdle: false))],
            verdict: .wait(reason: "waits for its turn in \"g\": run #6 is at work")),
        Row(
            name: "a push displaces nothing where pull requests do", cancel: .pull_request,
            others: [unit(4, .holding(isIdle: false))],
            verdict: .wait(reason: "waits for its turn in \"g\": run #4 is at work")),
        Row(
            name: "a pull request does", cancel: .pull_request, others: [unit(4, .holding(isIdle: false))],
            isPullRequest: true, verdict: .wait(reason: "waits for its turn in \"g\": run #4 is at work"),
            displaced: [4]),
    ]

    @Test(arguments: rows.indices)
    func `a lane gives its places by the order in which runs were made`(row: Int) {
        let row = Self.rows[row]
        var spec = ConcurrencySpec()
        (spec.group, spec.queue, spec.limit, spec.cancel_running) = ("g", row.queue, row.limit, row.cancel)
        let answer = LaneDecision.decide(
            spec, me: Self.unit(5, .arrived), others: row.others, newestTaken: row.newest,
            isPullRequest: row.isPullRequest)
        #expect(answer.verdict == row.verdict, "\(row.name)")
        #expect(answer.displaced.map(\.rival.number) == row.displaced, "\(row.name)")
    }

    @Test func `parts of one run wait for each other only while one is at work`() {
        func part(_ stage: String, _ standing: LaneUnit.Standing) -> LaneUnit {
            LaneUnit(
                rival: Self.rival(5), claim: Claim(origin: .stage, lane: "default/g", stage: stage), standing: standing)
        }
        func verdict(_ others: [LaneUnit], _ me: LaneUnit) -> LaneAnswer.Verdict {
            LaneDecision.decide(ConcurrencySpec(), me: me, others: others, newestTaken: nil, isPullRequest: false)
                .verdict
        }
        #expect(
            verdict([part("a", .holding(isIdle: false))], part("b", .arrived))
                == .wait(reason: "waits for its turn in \"g\": stage \"a\" is at work"))
        // It may be waiting for me.
        #expect(verdict([part("a", .holding(isIdle: true))], part("b", .arrived)) == .take)
        #expect(verdict([part("a", .coming)], part("b", .arrived)) == .take)
        // The whole run stands around its stage.
        #expect(verdict([part("", .holding(isIdle: false))], part("b", .arrived)) == .take)
        #expect(verdict([], part("b", .holding(isIdle: false))) == .take)
    }

    // MARK: With a store

    static func lanes(_ concurrency: String) -> String {
        """
        kind: Pipeline
        name: p
        parameters: { branch: { default: main } }
        stages:
          - { name: test, jobs: { j: { steps: [{ run: t }] } } }
          - { name: ship, concurrency: \(concurrency), jobs: { j: { steps: [{ run: s }] } } }
        """
    }

    /// Leases that no test has asked for yet.
    private let hands = Mutex<[Lease]>([])

    private func house(_ yaml: String) async throws -> PipelineHouse {
        let it = try await PipelineHouse()
        try await it.house.apply(yaml)
        try await it.hello()
        return it
    }

    private func start(_ it: PipelineHouse, _ parameters: Ordered<JSONValue> = [:]) async throws -> Run {
        it.house.time.advance(by: .milliseconds(1))
        return try await it.start("p", parameters)
    }

    /// Leases the job of a run's stage that is ready; what is leased on the way there is kept for later.
    private func take(_ it: PipelineHouse, _ run: Run, _ stage: String) async throws -> Lease {
        func kept() -> Lease? {
            hands.withLock { hands in
                hands.firstIndex { $0.run == run.id && $0.stage == stage }.map { hands.remove(at: $0) }
            }
        }
        while true {
            if let lease = kept() { return lease }
            let lease = try await it.lease()
            hands.withLock { $0.append(lease) }
        }
    }

    private func finish(_ it: PipelineHouse, _ lease: Lease) async throws {
        try await it.finish(lease)
        try await it.end(lease)
        try await it.settle()
    }

    private func job(_ it: PipelineHouse, _ run: Run, _ key: String) async throws -> Job {
        try #require(try await it.run(run.id).jobs.first { $0.key == key })
    }

    @Test func `a newer run whose tests were faster waits for the older one`() async throws {
        let it = try await house(Self.lanes("deploys"))
        let (old, new) = (try await start(it), try await start(it))
        let (slow, fast) = (try await take(it, old, "test"), try await take(it, new, "test"))
        try await finish(it, fast)
        let waiting = try await job(it, new, "ship/j")
        #expect(waiting.status == .waiting)
        #expect(waiting.reason == "waits for its turn in \"deploys\": run #1 comes first")
        try await finish(it, slow)
        let first = try await take(it, old, "ship")
        #expect(try await job(it, new, "ship/j").reason == "waits for its turn in \"deploys\": run #1 is at work")
        try await finish(it, first)
        try await finish(it, try await take(it, new, "ship"))
        #expect(try await it.run(new.id).status == .succeeded)
    }

    @Test func `groups with other names do not meet`() async throws {
        let it = try await house(Self.lanes("\"ship-${{ parameters.branch }}\""))
        let (one, two) = (try await start(it, ["branch": "a"]), try await start(it, ["branch": "b"]))
        _ = try await take(it, one, "test")
        try await finish(it, try await take(it, two, "test"))
        _ = try await take(it, two, "ship")
    }

    @Test func `the newest supersedes those that wait before it, and says so`() async throws {
        let it = try await house(Self.lanes("{ group: deploys, queue: latest }"))
        let runs = [try await start(it), try await start(it), try await start(it)]
        for run in runs { try await finish(it, try await take(it, run, "test")) }
        // The first was there first and works; the second waited and is overtaken.
        let first = try await take(it, runs[0], "ship")
        try await it.settle()
        let overtaken = try await it.run(runs[1].id)
        #expect(overtaken.status == .superseded && overtaken.reason == "superseded by run #3")
        #expect(overtaken.superseded_by == runs[2].id)
        #expect(overtaken.jobs[1].status == .superseded)
        #expect(try await job(it, runs[2], "ship/j").status == .waiting)
        try await finish(it, first)
        try await finish(it, try await take(it, runs[2], "ship"))
        #expect(try await it.run(runs[2].id).status == .succeeded)
    }

    @Test func `a run may supersede one that is at work`() async throws {
        let it = try await house(
            """
            kind: Pipeline
            name: p
            concurrency: { group: main, cancel_running: always }
            stages: [{ name: test, jobs: { j: { steps: [{ run: t }] } } }]
            """)
        let old = try await start(it)
        let lease = try await take(it, old, "test")
        let new = try await start(it)
        try await it.settle()
        let state = try await it.house.call(Runners.renew, lease.key)
        #expect(state.stop && state.reason == "superseded by run #2")
        try await it.end(lease, .cancelled)
        try await it.settle()
        let ended = try await it.run(old.id)
        #expect(ended.status == .superseded && ended.superseded_by == new.id)
        try await finish(it, try await take(it, new, "test"))
        #expect(try await it.run(new.id).status == .succeeded)
    }

    @Test func `a whole run waits for the run before it`() async throws {
        let it = try await house(
            """
            kind: Pipeline
            name: p
            concurrency: { limit: 1 }
            stages: [{ name: a, jobs: { j: { steps: [{ run: t }] } } }, { name: b, jobs: { j: { steps: [{ run: t }] } } }]
            """)
        let (old, new) = (try await start(it), try await start(it))
        let first = try await take(it, old, "a")
        #expect(try await job(it, new, "a/j").reason == "waits for its turn in \"p\": run #1 is at work")
        try await finish(it, first)
        // Between its stages it keeps its place.
        #expect(try await job(it, new, "a/j").status == .waiting)
        try await finish(it, try await take(it, old, "b"))
        _ = try await take(it, new, "a")
    }
}
