import API
import Kernel
import KernelTesting
import Manifests
import Synchronization
import Testing

@testable import Delivery

/// Metrics and webhooks that say what a test wants.
private final class FakeOutside: MeasureOutside, MetricSource {
    private let answer: @Sendable (String) throws -> [Double]
    private let status: Int
    private let body: String
    private let asked = Mutex<[String]>([])
    var questions: [String] { asked.withLock { $0 } }

    init(status: Int = 200, body: String = "", answer: @escaping @Sendable (String) throws -> [Double] = { _ in [] }) {
        (self.answer, self.status, self.body) = (answer, status, body)
    }

    func metrics(at url: String?) -> any MetricSource { self }

    func post(_ url: String, _ body: JSONValue, timeout: Duration) async throws -> (status: Int, body: [UInt8]) {
        asked.withLock { $0.append("\(url) \(body["revision"]?.int ?? 0)") }
        return (status, Array(self.body.utf8))
    }

    func query(_ expression: String, at time: Timestamp) async throws -> [MetricSample] {
        asked.withLock { $0.append(expression) }
        return try answer(expression).map { MetricSample(labels: [:], value: $0) }
    }

    func query(_ expression: String, from: Timestamp, to: Timestamp, step: Duration) async throws -> [MetricSeries] {
        []
    }
}

/// Analyses whose numbers are elsewhere.
@Suite(.timeLimit(.minutes(2))) struct MeasureTests {
    private func judged(_ analysis: String, _ outside: FakeOutside) async throws -> Rig {
        let rig = try await Rig.open(outside: outside)
        try await rig.house.apply(
            web(
                "{ strategy: canary, steps: [{ weight: 20 }, { analyze: [a] }, { pause: {} }], analysis: { a: \(analysis) } }"
            ))
        try await rig.settle()
        try await rig.deploy("k1")
        try await rig.settle()
        return rig
    }

    private func look(_ rig: Rig, times: Int = 1, seconds: Int = 11) async throws -> MetricResult? {
        for _ in 0..<times {
            rig.time.advance(by: .seconds(seconds))
            try await rig.turn(rig.domain.measureLoop)
            try await rig.settle(turns: 1)
        }
        var query = AnalysisQuery()
        query.name = "web"
        return try await rig.house.call(Services.analysis, query).runs.first?.metrics.first
    }

    @Test func `a threshold takes the one value of a query, asked for the new revision`() async throws {
        let outside = FakeOutside { _ in [0.3] }
        let rig = try await judged(
            "{ query: { prometheus: 'p99{rev=\"$rev\"}' }, count: 2, judge: { method: threshold, success: \"result < 0.4\" } }",
            outside)
        #expect(try await look(rig)?.phase == .running)
        #expect(try await look(rig)?.phase == .successful)
        #expect(outside.questions == ["p99{rev=\"2\"}", "p99{rev=\"2\"}"])
        #expect(try await rig.status().step == 2)
    }

    @Test func `a value that fails aborts`() async throws {
        let rig = try await judged(
            "{ query: { prometheus: x }, judge: { method: threshold, success: \"result < 0.4\" } }",
            FakeOutside { _ in [0.5] })
        let found = try await look(rig)
        #expect(found?.phase == .failed)
        #expect(found?.message == "a is 0.5 for revision 2: \"result < 0.4\" does not hold")
        #expect(try await rig.status().weights == [1: 100])
    }

    @Test(
        arguments: [
            ([], "hold", AnalysisRun.Phase.running), ([.nan], "hold", .running), ([], "fail", .failed),
            ([.nan], "pass", .successful),
        ] as [([Double], String, AnalysisRun.Phase)])
    func `nothing and NaN are no data`(values: [Double], policy: String, phase: AnalysisRun.Phase) async throws {
        let rig = try await judged(
            "{ query: { prometheus: x }, no_data: \(policy), judge: { method: threshold, success: \"result < 0.4\" } }",
            FakeOutside { _ in values })
        #expect(try await look(rig)?.phase == phase)
    }

    @Test func `a source that is down is an error at the fifth look in a row, told, and users keep the stable one`()
        async throws
    {
        let rig = try await judged(
            "{ query: { prometheus: x }, judge: { method: threshold, success: \"result < 0.4\" } }",
            FakeOutside { _ in throw Problem("metrics.source", status: 503, "nobody answers") })
        var found = try await look(rig, times: 4)
        #expect((found?.phase, found?.error, found?.message) == (.running, 4, "nobody answers"))
        found = try await look(rig)
        #expect((found?.phase, found?.consecutive_error) == (.error, 5))
        let status = try await rig.status()
        #expect(status.aborted)
        #expect(status.message.hasPrefix("Revision 2 was aborted: a could not be measured: nobody answers"))
        #expect(status.weights == [1: 100])
    }

    // MARK: - Jobs

    /// Pipelines whose runs end as a test wants.
    private final class FakeRuns: Sendable {
        private let runs = Mutex<[Run]>([])
        var started: [Run] { runs.withLock { $0 } }

        func routes(_ routes: inout Routes) {
            routes.on(Runs.list) { [self] _, _ in ItemList(runs.withLock { $0.reversed() }) }
            routes.on(Runs.start) { [self] input, _ in
                runs.withLock { runs in
                    var run = Run()
                    (run.id, run.pipeline, run.number) = ("run_\(runs.count + 1)", input.pipeline, runs.count + 1)
                    (run.trigger.event, run.parameters) = (input.event, input.parameters)
                    runs.append(run)
                    return run
                }
            }
        }

        func end(_ status: RunStatus, rate: String? = nil) {
            runs.withLock { runs in
                guard !runs.isEmpty else { return }
                runs[runs.count - 1].status = status
                var job = Job()
                if let rate { job.outputs["rate"] = .string(rate) }
                runs[runs.count - 1].jobs = [job]
            }
        }
    }

    private func judgedByJob(_ analysis: String, _ runs: FakeRuns) async throws -> Rig {
        let rig = try await Rig.open(extra: { runs.routes(&$0) })
        try await rig.house.apply(
            web(
                "{ strategy: canary, steps: [{ weight: 20 }, { analyze: [a] }, { pause: {} }], analysis: { a: \(analysis) } }"
            ))
        try await rig.settle()
        try await rig.deploy("k1")
        try await rig.settle()
        return rig
    }

    @Test func `a job is started once for each look, and its end is the look`() async throws {
        let runs = FakeRuns()
        let rig = try await judgedByJob(
            "{ job: { pipeline: smoke, parameters: { depth: 3 } }, count: 2, judge: { method: threshold } }", runs)
        #expect(try await look(rig, times: 3)?.count == 0)
        #expect(runs.started.count == 1)
        #expect(runs.started[0].parameters == ["depth": 3])
        #expect(runs.started[0].trigger.event?["analysis"]?["revision"]?.int == 2)
        runs.end(.succeeded)
        #expect(try await look(rig)?.message == "run smoke:1 succeeded")
        #expect(try await look(rig, times: 2)?.count == 1)
        #expect(runs.started.count == 2)
        runs.end(.failed)
        let found = try await look(rig)
        #expect((found?.phase, found?.message) == (.failed, "run smoke:2 failed"))
        #expect(try await rig.status().aborted)
    }

    @Test(
        arguments: [
            (.succeeded, "0.01", .successful), (.succeeded, "0.5", .failed), (.succeeded, nil, .running),
            (.cancelled, nil, .running),
        ] as [(RunStatus, String?, AnalysisRun.Phase)])
    func `an output of a job is held against the bounds, and an end that says nothing is an error`(
        status: RunStatus, rate: String?, phase: AnalysisRun.Phase
    ) async throws {
        let runs = FakeRuns()
        let rig = try await judgedByJob(
            "{ job: { pipeline: smoke, output: rate }, judge: { method: threshold, success: \"result < 0.1\" } }", runs)
        _ = try await look(rig)
        runs.end(status, rate: rate)
        let found = try await look(rig)
        #expect(found?.phase == phase)
        #expect(found?.error == (phase == .running ? 1 : 0))
    }

    @Test func `a query that finds several series says what to do`() async throws {
        let rig = try await judged(
            "{ query: { prometheus: x }, judge: { method: threshold, success: \"result < 0.4\" } }",
            FakeOutside { _ in [1, 2] })
        #expect(try await look(rig)?.message == "the query finds 2 series where one is needed")
    }

    @Test func `the sequential judge compares what two queries count`() async throws {
        let outside = FakeOutside { text in
            let isCanary = text.contains("rev=\"2\"")
            return [text.hasPrefix("bad") ? (isCanary ? 60 : 10) : 1000]
        }
        let rig = try await judged(
            "{ query: { prometheus: 'bad{rev=\"$rev\"}[$window]' }, total: { prometheus: 'all{rev=\"$rev\"}' } }",
            outside)
        let found = try await look(rig)
        #expect(found?.phase == .failed)
        #expect(
            found?.message.hasPrefix("60 of 1000 requests failed on revision 2, 10 of 1000 on revision 1") == true)
        #expect(outside.questions.first == "bad{rev=\"2\"}[11s]")
    }

    @Test(arguments: [(true, AnalysisRun.Phase.failed), (false, .successful)])
    func `ranks are compared once, when all looks are there`(isWorse: Bool, phase: AnalysisRun.Phase) async throws {
        let turn = Mutex(0)
        let outside = FakeOutside { text in
            let value = turn.withLock { turn in
                turn += 1
                return Double(turn * 7 % 11)
            }
            return [value + (text.contains("2") && isWorse ? 50 : 0)]
        }
        let rig = try await judged(
            "{ query: { prometheus: 'x{$rev}' }, count: 8, judge: { method: mann_whitney } }", outside)
        #expect(try await look(rig, times: 7)?.phase == .running)
        #expect(try await look(rig)?.phase == phase)
    }

    @Test(arguments: [
        (200, "", AnalysisRun.Phase.successful), (403, "", .failed), (500, "", .running),
        (200, "{\"value\": 3}", .successful),
    ])
    func `a webhook says yes, no, or nothing yet`(status: Int, body: String, phase: AnalysisRun.Phase) async throws {
        let outside = FakeOutside(status: status, body: body)
        let rig = try await judged("{ webhook: \"http://hook\", judge: { method: threshold } }", outside)
        #expect(try await look(rig)?.phase == phase)
        #expect(outside.questions == ["http://hook 2"])
    }

    @Test(arguments: [
        ("{\"value\": 0.1}", AnalysisRun.Phase.successful), ("{\"value\": 0.9}", .failed),
        ("{\"value\": NaN}", .failed), ("{\"value\": null}", .failed), ("{}", .failed),
        ("{\"value\": \"0.1\"}", .running), ("{\"value\": 1e999}", .running), ("<html>log in</html>", .running),
        ("", .running),
    ])
    func `an answer without a number passes no bound`(body: String, phase: AnalysisRun.Phase) async throws {
        let rig = try await judged(
            "{ webhook: \"http://hook\", no_data: fail, judge: { method: threshold, success: \"result < 0.5\" } }",
            FakeOutside(body: body))
        let found = try await look(rig)
        #expect(found?.phase == phase)
        // What is no answer at all is an error, which is asked again.
        #expect(found?.error == (phase == .running ? 1 : 0))
    }

    @Test(arguments: [[Double.nan], [.infinity]])
    func `a count that is no number is no count of none`(bad: [Double]) async throws {
        let rig = try await judged(
            "{ query: { prometheus: bad }, total: { prometheus: all }, count: 1, no_data: fail, judge: { min_samples: 20 } }",
            FakeOutside { $0 == "bad" ? bad : [1000] })
        #expect(try await look(rig)?.phase == .failed)
    }
}
