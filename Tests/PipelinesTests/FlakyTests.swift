import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Pipelines

@Suite struct FlakyTests {
    static func pipeline(_ flaky: String) -> String {
        """
        kind: Pipeline
        name: p
        stages:
          - name: s
            jobs:
              j:
                retry: { max: 2, for: [failure] }
                steps: [{ run: a }]
                reports: { junit: r.xml, flaky: \(flaky) }
        """
    }

    private func opened(_ flaky: String = "{ rerun: 2, quarantine: auto, expire: 30d, owner: \"team:x\" }") async throws
        -> PipelineHouse
    {
        let it = try await PipelineHouse()
        try await it.house.apply(Self.pipeline(flaky))
        try await it.hello()
        return it
    }

    static func result(_ name: String, _ verdict: TestCase.Verdict, suite: String = "Cart") -> TestCase {
        var result = TestCase()
        (result.suite, result.name, result.verdict, result.seconds) = (suite, name, verdict, 0.5)
        if verdict == .failed { result.message = "expected 1" }
        return result
    }

    @discardableResult
    private func tell(_ it: PipelineHouse, _ lease: Lease, _ cases: [TestCase], round: Int = 0) async throws
        -> LeaseState
    {
        var input = TestCasesInput()
        (input.run, input.stage, input.job, input.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        (input.attempt, input.round, input.cases) = (lease.attempt, round, cases)
        return try await it.house.call(Runners.testCases, input)
    }

    private func list(_ it: PipelineHouse, _ edit: (inout TestQuery) -> Void = { _ in }) async throws -> [TestRecord] {
        var query = TestQuery()
        query.pipeline = "p"
        edit(&query)
        return try await it.house.call(Tests.list, query).items
    }

    private func run(_ it: PipelineHouse, _ cases: [TestCase], as status: RunStatus = .succeeded) async throws {
        _ = try await it.start("p")
        let lease = try await it.lease()
        try await tell(it, lease, cases)
        try await it.finish(lease)
        try await it.end(lease, status)
        try await it.settle()
    }

    @Test func `a test that passes when it is run again is flaky, and is put in quarantine by itself`() async throws {
        let it = try await opened()
        let started = try await it.start("p")
        let lease = try await it.lease()
        try await tell(it, lease, [Self.result("adds", .failed), Self.result("sums", .passed)])
        try await tell(it, lease, [Self.result("adds", .passed)], round: 1)
        try await tell(it, lease, [Self.result("adds", .passed)], round: 1)
        let tests = try await list(it)
        #expect(tests.map(\.id) == ["Cart.adds", "Cart.sums"])
        #expect(tests.map(\.runs) == [2, 1] && tests.map(\.failures) == [1, 0] && tests.map(\.flakes) == [1, 0])
        #expect(tests[0].is_flaky && !tests[1].is_flaky)
        #expect(tests[0].quarantine?.owner == "team:x" && tests[0].quarantine?.is_automatic == true)
        #expect(try await list(it) { $0.flaky = true }.map(\.name) == ["adds"])
        #expect(try await it.house.events(named: "test.flaky").count == 1)
        #expect(try await it.house.events(named: "test.quarantined").first?.data["owner"]?.string == "team:x")
        var query = TestHistoryQuery()
        (query.pipeline, query.test) = ("p", "adds")
        let history = try await it.house.call(Tests.history, query)
        #expect(
            history.results.map(\.verdict) == [.passed, .failed] && history.results.map(\.is_flaky) == [true, false])
        #expect(history.results.allSatisfy { $0.run == started.id && $0.number == 1 && $0.job == "s/j" })
        #expect(history.results[1].message == "expected 1")
    }

    @Test func `a retry of the job shows a flaky test too`() async throws {
        let it = try await opened("{ quarantine: never }")
        _ = try await it.start("p")
        let first = try await it.lease()
        try await tell(it, first, [Self.result("adds", .failed)])
        try await it.finish(first, .failed)
        try await it.end(first, .failed, cause: .failure)
        let second = try await it.lease()
        try await tell(it, second, [Self.result("adds", .passed)])
        #expect(try await list(it)[0].is_flaky)
        #expect(try await list(it)[0].quarantine == nil)
    }

    @Test func `a failure that is mended is not flaky where nothing is known of the code`() async throws {
        let it = try await opened()
        for verdict in [TestCase.Verdict.passed, .failed, .passed] { try await run(it, [Self.result("adds", verdict)]) }
        #expect(try await !list(it)[0].is_flaky)
        try await run(it, [Self.result("adds", .failed)])
        #expect(try await list(it)[0].is_flaky, "back and forth")
    }

    @Test(arguments: [
        (TestCase.Verdict.passed, [Int]?.some([7, 6]), true), (.failed, [7, 6], false), (.skipped, [7, 6], false),
        (.passed, [7], false), (.passed, nil, false),
    ])
    func `runs of one commit are compared`(verdict: TestCase.Verdict, numbers: [Int]?, isFlaky: Bool) {
        let sighting = TestSighting(number: 7, attempt: 1, round: 0, verdict: verdict)
        let others = [TestSighting(number: 6, attempt: 1, round: 0, verdict: .failed)]
        #expect(FlakyDecision.isFlaky(sighting, among: others, ofSameCommit: numbers) == isFlaky)
    }

    @Test func `a test in quarantine is told to the runner until its time is over, which is told once`() async throws {
        let it = try await opened("{ quarantine: manual }")
        try await run(it, [Self.result("adds", .passed)])
        var input = QuarantineInput()
        (input.pipeline, input.test, input.owner, input.expire) = ("p", "Cart.adds", "user:ana", .days(2))
        let record = try await it.house.call(Tests.quarantine, input)
        #expect(record.quarantine?.owner == "user:ana" && record.quarantine?.has_expired == false)
        _ = try await it.start("p")
        let lease = try await it.lease()
        #expect(lease.quarantined == ["Cart.adds"])
        try await it.finish(lease)
        try await it.end(lease)
        let reconciler = QuarantineReconciler(context: it.house.context)
        #expect(try await reconciler.reconcile("all") == .again(in: .seconds(2 * 86_400)))
        it.house.time.advance(by: .seconds(2 * 86_400))
        #expect(try await reconciler.reconcile("all") == .settled)
        #expect(try await reconciler.reconcile("all") == .settled)
        let told = try await it.house.events(named: "test.quarantine-expired")
        #expect(
            told.count == 1 && told[0].data["name"]?.string == "adds" && told[0].data["owner"]?.string == "user:ana")
        #expect(try await list(it) { $0.quarantined = true }[0].quarantine?.has_expired == true)
        try await it.hello()
        _ = try await it.start("p")
        #expect(try await it.lease().quarantined == [])
    }

    @Test func `a lapsed quarantine is not renewed by itself, a released one may be`() async throws {
        let it = try await opened("{ quarantine: auto, expire: 1d }")
        func flake() async throws {
            _ = try await it.start("p")
            let lease = try await it.lease()
            try await tell(it, lease, [Self.result("adds", .failed)])
            try await tell(it, lease, [Self.result("adds", .passed)], round: 1)
            try await it.finish(lease)
            try await it.end(lease)
            try await it.settle()
        }
        try await flake()
        #expect(try await list(it)[0].quarantine?.owner == "pipeline:p")
        it.house.time.advance(by: .seconds(86_401))
        try await it.hello(incarnation: "b")
        try await it.hello()
        try await flake()
        #expect(try await list(it)[0].quarantine?.has_expired == true)
        var name = TestName()
        (name.pipeline, name.test) = ("p", "adds")
        #expect(try await it.house.call(Tests.release, name).quarantine == nil)
        #expect(try await it.house.events(named: "test.released").count == 1)
        try await flake()
        #expect(try await list(it)[0].quarantine?.has_expired == false)
    }

    @Test func `slips are told`() async throws {
        let it = try await opened()
        try await run(it, [Self.result("adds", .passed), Self.result("adds", .passed, suite: "Bag")])
        var input = QuarantineInput()
        (input.pipeline, input.test, input.owner) = ("p", "nothing", "user:ana")
        let missing = input
        let unknown = await #expect(throws: Problem.self) { try await it.house.call(Tests.quarantine, missing) }
        #expect(unknown?.hint == "List them with: vagus tests p")
        input.test = "adds"
        let ambiguous = input
        let several = await #expect(throws: Problem.self) { try await it.house.call(Tests.quarantine, ambiguous) }
        #expect(several?.hint == "Name one with its suite: Bag.adds, Cart.adds.")
        (input.test, input.expire) = ("Bag.adds", .days(700))
        let long = input
        let refused = await #expect(throws: Problem.self) { try await it.house.call(Tests.quarantine, long) }
        #expect(refused?.code == "quarantine.expire")
    }

    @Test func `results of runs long ago are forgotten, and a pipeline takes its tests with it`() async throws {
        let it = try await opened()
        try await run(it, [Self.result("adds", .passed)])
        try await it.house.store.change(.system("test")) {
            try $0.sql.forgetResults(project: "default", pipeline: "p", upTo: 1)
        }
        var query = TestHistoryQuery()
        (query.pipeline, query.test) = ("p", "adds")
        let history = try await it.house.call(Tests.history, query)
        #expect(history.results.isEmpty && history.test.runs == 1)
        _ = try await it.house.call(Resources.delete, ResourceName(project: "default", kind: "pipelines", name: "p"))
        try await it.house.apply(Self.pipeline("{}"))
        #expect(try await list(it).isEmpty)
    }
}
