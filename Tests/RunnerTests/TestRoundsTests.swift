import API
import Foundation
import Kernel
import Manifests
import Synchronization
import Testing

@testable import Runner

@Suite struct TestRoundsTests {
    /// Writes a report of cases, "+adds -sums": passed and failed.
    private static let tell = """
        tell() { for t in "$@"; do case "$t" in
          +*) echo "<testcase classname='Cart' name='${t#+}'/>" ;;
          *) echo "<testcase classname='Cart' name='${t#-}'><failure message='no'/></testcase>" ;;
        esac; done | { echo '<testsuite>'; cat; echo '</testsuite>'; } > r.xml; }

        """

    private func work(
        _ script: String, rerun: Int = 2, quarantined: [String] = [], next: String? = nil
    ) async throws -> FakeServer {
        let server = try FakeServer()
        let lease = FakeServer.lease([Self.tell + script] + [next].compactMap { $0 }) { lease in
            lease.reports.junit = "r.xml"
            var flaky = FlakySpec()
            flaky.rerun = rerun
            lease.reports.flaky = flaky
            lease.quarantined = quarantined
        }
        try await server.work([lease])
        return server
    }

    private func cases(_ server: FakeServer) -> [String] {
        server.state.withLock { $0.cases.map { "\($0.name) \($0.verdict)" } }
    }

    @Test func `a test that passes when it is run again has passed, and is flaky`() async throws {
        let server = try await work(
            """
            if [ -n "${VAGUS_RERUN_TESTS:-}" ]; then printf 'only %s\\n' "$VAGUS_RERUN_TESTS"; tell +adds; exit 0; fi
            tell -adds +sums; exit 1
            """, next: "echo goes on")
        #expect(server.ended.first?.status == .succeeded)
        #expect(server.steps.map(\.status) == [.succeeded, .succeeded] && server.steps[0].reason == nil)
        #expect(server.text.contains("── runs Cart.adds again, 1 of 2\n") && server.text.contains("only Cart.adds\n"))
        #expect(
            server.text.contains("! flaky, passed when run again: Cart.adds\n") && server.text.contains("goes on\n"))
        #expect(cases(server) == ["adds failed", "sums passed", "adds passed"])
        let sums = try #require(server.ended.first?.tests)
        #expect(sums.tests == 2 && sums.failures == 0 && sums.flaky == 1)
        let notes = server.state.withLock { $0.finished.flatMap(\.annotations) }
        #expect(notes.map(\.level) == [.warning])
    }

    @Test func `a test that fails each time fails the job, after as many reruns as it may have`() async throws {
        let server = try await work("echo run >> runs; tell -adds; cat runs | wc -l; exit 7")
        #expect(server.ended.first?.status == .failed)
        #expect(server.steps[0].reason == "ended with exit code 7")
        #expect(server.text.contains("again, 2 of 2") && cases(server).count == 3)
        #expect(server.ended.first?.tests?.failures == 1)
    }

    @Test func `a test in quarantine may fail, and is not run again`() async throws {
        let server = try await work("tell -adds +sums; exit 1", quarantined: ["Cart.adds"], next: "echo goes on")
        #expect(server.ended.first?.status == .succeeded)
        #expect(server.text.contains("! in quarantine, may fail: Cart.adds\n") && !server.text.contains(" again, "))
        #expect(server.text.contains("goes on\n"))
        #expect(server.ended.first?.tests?.failures == 1)
    }

    @Test func `a quarantine forgives its own test alone`() async throws {
        let server = try await work("tell -adds -sums; exit 1", rerun: 0, quarantined: ["Cart.adds"])
        #expect(server.ended.first?.status == .failed)
        #expect(server.steps[0].reason == "ended with exit code 1")
    }

    @Test(arguments: [
        "tell +adds; exit 1",  // no failed test: something else is wrong
        "exit 1",  // no report at all
        "tell -adds; kill -9 $$",  // ended by a signal
    ])
    func `a failure that is not of the tests stays one`(script: String) async throws {
        let server = try await work(script, quarantined: ["Cart.adds"])
        #expect(server.ended.first?.status == .failed)
        #expect(!server.text.contains(" again, "))
    }

    @Test func `a report that was there before says nothing of a step`() async throws {
        let server = try await work(
            "tell -adds; exit 0", quarantined: ["Cart.adds"], next: "exit 1")
        #expect(server.steps.map(\.status) == [.succeeded, .failed])
        #expect(server.ended.first?.status == .failed)
    }

    @Test func `a test that is missing when it should run again has not passed`() async throws {
        let server = try await work(
            "if [ -n \"${VAGUS_RERUN_TESTS:-}\" ]; then tell +other; exit 0; fi; tell -adds; exit 1", rerun: 1)
        #expect(server.ended.first?.status == .failed)
        #expect(server.steps[0].reason == "failed, and did not pass when run again: Cart.adds")
    }

    @Test func `a rerun that breaks down fails the step`() async throws {
        let server = try await work(
            "if [ -n \"${VAGUS_RERUN_TESTS:-}\" ]; then rm -f r.xml; exit 9; fi; tell -adds; exit 1", rerun: 1)
        #expect(server.ended.first?.status == .failed)
        #expect(server.steps[0].reason == "ended with exit code 9")
    }
}
