import API
import Manifests
import Synchronization
import Testing

@testable import Web

/// Tests of a pipeline, one of them flaky and in quarantine, their words hostile.
enum SampleTests {
    static var all: [TestRecord] {
        var steady = TestRecord()
        (steady.suite, steady.name, steady.file, steady.runs) = ("Cart", "sums<script>alert(1)</script>", "cart.py", 40)
        var flaky = TestRecord()
        (flaky.suite, flaky.name, flaky.verdict, flaky.runs) = ("Cart", "adds", .failed, 41)
        (flaky.failures, flaky.flakes, flaky.is_flaky, flaky.mean_seconds) = (3, 2, true, 0.25)
        var quarantine = TestQuarantine()
        (quarantine.owner, quarantine.reason) = ("team:<b>shop", "issue 12")
        quarantine.until = Timestamp(microseconds: 1_800_000_000_000_000)
        flaky.quarantine = quarantine
        return [steady, flaky]
    }

    static var history: TestHistory {
        var history = TestHistory()
        history.test = all[1]
        for (number, verdict) in [(12, TestCase.Verdict.failed), (11, .passed), (10, .skipped)] {
            var result = TestResult()
            (result.run, result.number, result.job, result.verdict) = (
                "run_01kb\(number)", number, "test/unit", verdict
            )
            (result.commit, result.is_flaky) = ("3f1c2ab4d5e6f708192a3b4c5d6e7f8091a2b3c4", number == 12)
            if verdict == .failed { result.message = "expected <img src=x> to be 1" }
            history.results.append(result)
        }
        return history
    }
}

struct TestsPageTests {
    private func page(_ query: [String: String]) async throws -> String {
        let request = SampleHouse.look("/pipelines/employment/tests", query)
        return try #require(try await SampleHouse().face().handle(request)).page
    }

    @Test func `tests are listed with what is wrong with them`() async throws {
        let html = try await page([:])
        #expect(html.contains(">Cart.adds</a>") && html.contains("Flaky"))
        #expect(html.contains("team:&lt;b&gt;shop, until 2027-01-15"))
    }

    @Test func `a test is shown with its history`() async throws {
        let html = try await page(["test": "Cart.adds"])
        #expect(html.contains("<h2 id=\"th\">Cart.adds</h2>") && html.contains("41 runs, 3 failed, 2 flaky"))
        #expect(html.contains("href=\"/runs/run_01kb12?job=test%2Funit\""))
        #expect(html.contains("expected &lt;img src=x&gt; to be 1"))
    }

    @Test(arguments: [
        ("quarantine", "tests.quarantine", ["owner": "team:shop", "reason": "issue 12"]),
        ("release", "tests.release", [:]),
    ])
    func `a test goes into quarantine and out of it by one operation`(
        verb: String, operation: String, fields: [String: String]
    ) async throws {
        let house = SampleHouse()
        let form = fields.merging(["test": "Cart.adds"]) { given, _ in given }
        let answer = try await house.face().handle(SampleHouse.post("/ui/pipelines/employment/\(verb)", form))
        #expect(
            try #require(answer).target == "/pipelines/employment/tests?test=Cart.adds&done=\(verb)")
        let asked = house.asked.withLock { $0 }
        #expect(asked.map(\.operation) == [operation])
        #expect(asked.first?.input["test"]?.string == "Cart.adds")
        #expect(asked.first?.input["owner"]?.string == fields["owner"])
    }

    @Test func `a list that a filter leaves empty says so`() async throws {
        #expect(try await page(["show": "failing"]).contains("No such test"))
    }
}
