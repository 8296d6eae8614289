import API
import Manifests
import Testing

@testable import Delivery

@Suite struct AlgebraTests {
    @Test(arguments: [
        (true, true, AnalysisRun.Phase.failed), (true, false, .successful), (false, true, .failed),
        (false, false, .inconclusive),
    ])
    func `both conditions: the failure has the last word, and neither is inconclusive`(
        success: Bool, failure: Bool, phase: AnalysisRun.Phase
    ) {
        #expect(MetricAlgebra.measure(success: success, failure: failure) == phase)
    }

    @Test func `with one condition its opposite is the other`() {
        #expect(MetricAlgebra.measure(success: true, failure: nil) == .successful)
        #expect(MetricAlgebra.measure(success: false, failure: nil) == .failed)
        #expect(MetricAlgebra.measure(success: nil, failure: true) == .failed)
        #expect(MetricAlgebra.measure(success: nil, failure: false) == .successful)
    }

    private func tally(_ text: String) -> Tally {
        var tally = Tally()
        for letter in text {
            let phases: [Character: AnalysisRun.Phase] = [
                "s": .successful, "f": .failed, "i": .inconclusive, "e": .error,
            ]
            tally.add(phases[letter] ?? .pending)
        }
        return tally
    }

    private func assess(_ text: String, _ yaml: String = "{ built_in: error_rate }", count: Int? = nil) throws
        -> AnalysisRun.Phase?
    {
        let spec = try AnalysisSpec(json: YAML.documents(yaml)[0].value, at: [])
        return MetricAlgebra.assess(tally(text), spec, count: count)
    }

    @Test(arguments: [
        ("f", "", nil as Int?, AnalysisRun.Phase.failed as AnalysisRun.Phase?), ("i", "", nil, .inconclusive),
        ("s", "", nil, nil), ("s", "", 1, .successful), ("ss", "", 3, nil), ("sss", "", 3, .successful),
        ("f", "failure_limit: 1", nil, nil), ("ff", "failure_limit: 1", nil, .failed),
        ("fffff", "failure_limit: -1", nil, nil), ("fffff", "failure_limit: -1", 5, .successful),
        ("ii", "inconclusive_limit: 2", nil, nil), ("iii", "inconclusive_limit: 2", nil, .inconclusive),
        ("eeee", "", nil, nil), ("eeeee", "", nil, .error), ("eeeesee", "", nil, nil),
        ("ees", "", 1, .successful), ("ee", "", 1, nil),
        ("fss", "success_limit: 2, failure_limit: -1", nil, .successful),
        ("sfs", "success_limit: 2, failure_limit: -1", nil, nil),
        ("sfs", "success_limit: 2, failure_limit: -1", 3, .failed),
        ("sfs", "success_limit: 2, failure_limit: 1", 3, .inconclusive),
    ])
    func `limits and counts`(seen: String, settings: String, count: Int?, phase: AnalysisRun.Phase?) throws {
        #expect(
            try assess(seen, "{ built_in: error_rate\(settings.isEmpty ? "" : ", ")\(settings) }", count: count)
                == phase)
    }

    @Test func `an error is told before what is inconclusive, and that before a failure`() throws {
        #expect(try assess("fieeeee") == .error)
        #expect(try assess("fi") == .inconclusive)
        #expect(try assess("fs") == .failed)
    }

    @Test func `a run is as bad as the worst of its metrics`() {
        #expect(MetricAlgebra.worst([]) == .successful)
        #expect(MetricAlgebra.worst([.successful, .running]) == .running)
        #expect(MetricAlgebra.worst([.running, .pending]) == .pending)
        #expect(MetricAlgebra.worst([.pending, .inconclusive, .successful]) == .inconclusive)
        #expect(MetricAlgebra.worst([.inconclusive, .error]) == .error)
        #expect(MetricAlgebra.worst([.error, .failed]) == .failed)
    }

    @Test func `metrics of one step are one run, and dry ones are left out of it`() {
        var (good, bad, dry) = (AnalysisRecord(), AnalysisRecord(), AnalysisRecord())
        (good.name, good.step, good.verdict, good.tally) = ("a", 1, .passed, tally("ss"))
        (bad.name, bad.step, bad.verdict, bad.message, bad.tally) = ("b", -1, .inconclusive, "why", tally("si"))
        (dry.name, dry.step, dry.verdict, dry.tally) = ("c", 1, .failed, tally("f"))
        dry.spec.dry_run = true
        let runs = AnalysisRun.runs([good, bad, dry])
        #expect(runs.map(\.name) == ["step 1", "background"])
        #expect(runs.map(\.phase) == [.successful, .inconclusive])
        #expect([runs[0].count, runs[0].failed, runs[1].inconclusive] == [2, 0, 1])
        #expect(runs[0].metrics.map(\.phase) == [.successful, .failed])
        #expect(runs[1].message == "why")
    }

    @Test func `the words of a query are replaced, and the side it is asked for told`() {
        let text = MeasureLoop.filled(
            "sum(increase(x{rev=\"$rev\",service=\"$service\"}[$window]))", side: 7,
            ServiceReference(project: "p", name: "web"), windowSeconds: 90)
        #expect(text == "sum(increase(x{rev=\"7\",service=\"web\"}[90s]))")
    }
}
