import API
import Blobs
import Foundation
import Kernel
import Manifests
import Processes
import Synchronization
import Testing

@testable import Runner

@Suite struct StepTests {
    // MARK: Scripts

    @Test func `a step has its shell, its folder and the variables of those before it`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease([
            "mkdir sub; echo COLOUR=blue >> \"$VAGUS_ENV\"; echo OWN=early >> \"$VAGUS_ENV\"; "
                + "echo \"$PWD/bin\" >> \"$VAGUS_PATH\"; mkdir bin; printf '#!/bin/sh\\necho tool\\n' > bin/mytool; chmod +x bin/mytool",
            "echo \"$0\" | grep -c script.sh; basename \"$PWD\"; echo $COLOUR $OWN $JOBS; mytool; echo ${{ env.COLOUR }}",
            "import os, sys\nprint(os.environ['COLOUR'], sys.version_info[0])",
        ]) { lease in
            lease.steps[1].shell = .sh
            lease.steps[1].working_directory = "sub"
            lease.steps[1].environment = ["OWN": "mine", "JOBS": "1", "COLOUR": "red"]
            lease.steps[1].own_variables = ["OWN"]
            lease.steps[2].shell = .python
        }
        try await server.work([lease])
        #expect(
            server.text.contains("── step 2/3: step 1\n1\nsub\nblue mine 1\ntool\nblue\n── step 3/3: step 2\nblue 3\n"),
            "\(server.text)")
    }

    @Test func `a step that sets what it must not fails, and says how it is done`() async throws {
        let server = try FakeServer()
        try await server.work([FakeServer.lease(["echo PATH=/x >> \"$VAGUS_ENV\"", "echo never"])])
        #expect(
            server.steps[0].reason == "$VAGUS_ENV must not set \"PATH\". Write the folder to $VAGUS_PATH.")
        #expect(server.steps[1].status == .skipped)
    }

    @Test func `summaries and annotations are told with their step`() async throws {
        let server = try FakeServer()
        let script = """
            echo '# Hello' > "$VAGUS_SUMMARY"; echo '::error file=a.c,line=2::no good'; echo '::notice::all well'
            """
        try await server.work([FakeServer.lease([script])])
        let report = try #require(server.state.withLock { $0.finished.first })
        #expect(report.step.summary == "# Hello\n" && report.annotations.map(\.text) == ["a.c:2: no good", "all well"])
        #expect(server.text.hasSuffix("error: a.c:2: no good\nnotice: all well\n"))
    }

    @Test func `a step is tried again as its retry says, each try in the log`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease([
            "echo x >> tries; [ $(wc -l < tries) = 3 ] || exit 75; echo at last", "exit 9",
        ]) { lease in
            lease.steps[0].retry.max = 5
            (lease.steps[0].retry.for, lease.steps[0].retry.exit_codes) = ([.exit_codes], [75])
            (lease.steps[1].retry.max, lease.steps[1].retry.for) = (3, [.timeout])
            lease.steps[1].continue_on_error = true
        }
        try await server.work([lease])
        #expect(
            server.text == """
                ── step 1/2: step 0
                ✘ ended with exit code 75
                ── step 1/2: step 0 · attempt 2 of 6
                ✘ ended with exit code 75
                ── step 1/2: step 0 · attempt 3 of 6
                at last
                ── step 2/2: step 1
                ✘ ended with exit code 9

                """)
        #expect(server.steps.map(\.attempts) == [3, 1])
        #expect(server.steps[1].status == .failed && server.steps[1].conclusion == .succeeded)
        #expect(server.ended.first?.status == .succeeded)
    }

    @Test func `outcome is how a step ended, conclusion how it counts`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease(["exit 1", "echo ${{ steps.a.outcome }} ${{ steps.a.conclusion }}"]) {
            $0.steps[0].id = "a"
            $0.steps[0].continue_on_error = true
        }
        try await server.work([lease])
        #expect(server.text.hasSuffix("failed succeeded\n"))
    }

    // MARK: Ending early

    @Test func `steps that clean up run after a job was cancelled, and their words are heard`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease(["echo begun; sleep 300", "echo skipped", "echo cleaned", "echo undone"]) {
            $0.steps[2].if = "cancelled()"
            $0.steps[3].if = "failure()"
        }
        server.state.withLock { $0.waiting = [lease] }
        let agent = server.agent()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await agent.run() }
            while !server.text.contains("begun") { try await server.pause() }
            server.state.withLock { $0.stop = "cancelled by ana" }
            while server.ended.isEmpty { try await server.pause() }
            group.cancelAll()
            do { try await group.waitForAll() } catch is CancellationError {}
        }
        #expect(server.steps.map(\.status) == [.cancelled, .skipped, .succeeded, .skipped])
        #expect(server.text.contains("── step 3/4: step 2\ncleaned\n") && !server.text.contains("undone\n"))
        #expect(server.ended.first?.status == .cancelled && server.ended.first?.reason == "cancelled by ana")
    }

    @Test func `steps that clean up run after the job's time is over, within a bound of their own`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease(["sleep 300", "echo cleaned"]) {
            $0.timeout_seconds = 1
            $0.steps[1].if = "always()"
        }
        try await server.work([lease])
        #expect(server.steps.map(\.status) == [.failed, .succeeded])
        #expect(server.ended.first?.cause == .timeout)
        #expect(server.ended.first?.reason == "step \"step 0\": took longer than 1s, the time limit of the job")
    }

    // MARK: Runners

    @Test func `a runner that drains finishes its job, takes no other, and ends`() async throws {
        let server = try FakeServer()
        let jobs = (1...3).map { number in
            FakeServer.lease(["while [ ! -e go ]; do sleep 0.02; done; echo done"]) { $0.run = "run_\(number)" }
        }
        server.state.withLock { $0.waiting = jobs }
        let drain = DrainSignal()
        let agent = server.agent(drain: drain) { $0.capacity = 2 }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await agent.run() }
            while server.state.withLock({ $0.started.count < 2 }) { try await server.pause() }
            drain.ask()
            while server.state.withLock({ !$0.isDraining }) { try await server.pause() }
            for run in ["run_1", "run_2"] {
                let workspace = "\(server.folder)/runner/workspaces/\(run)/build.j/workspace"
                try Data().write(to: URL(fileURLWithPath: "\(workspace)/go"))
            }
            // Nobody cancels it: it ends by itself.
            try await group.waitForAll()
        }
        #expect(server.ended.map(\.status) == [.succeeded, .succeeded])
        #expect(server.state.withLock { $0.waiting.count } == 1)
    }

    @Test func `an ephemeral runner takes one job and ends`() async throws {
        let server = try FakeServer()
        server.state.withLock { $0.waiting = [FakeServer.lease(["true"]), FakeServer.lease(["true"])] }
        try await server.agent { $0.isOnce = true }.run()
        #expect(server.ended.count == 1 && server.state.withLock { $0.waiting.count } == 1)
    }

    @Test func `a workspace is kept for people as its job says`() async throws {
        let server = try FakeServer()
        let jobs = [("failed", "exit 1"), ("well", "true"), ("never", "exit 1"), ("always", "true")].map {
            name, script in
            FakeServer.lease([script]) {
                ($0.run, $0.job) = ("run_\(name)", name)
                $0.workspace.keep = name == "never" ? .never : name == "always" ? .always : .on_failure
            }
        }
        try await server.work(jobs) { $0.ended.count == 4 }
        let kept = server.ended.filter { $0.workspace != nil }
        #expect(Set(kept.map(\.job)) == ["failed", "always"])
        #expect(kept.allSatisfy { FileManager.default.fileExists(atPath: $0.workspace ?? "") })
        let runs = try FileManager.default.contentsOfDirectory(atPath: "\(server.folder)/runner/workspaces")
        #expect(Set(runs) == ["run_failed", "run_always"])
        let place = try RunnerPlace("\(server.folder)/runner")
        place.sweepKept(before: SystemTime().now.advanced(by: .seconds(60)))
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(server.folder)/runner/workspaces").isEmpty)
    }

    @Test func `an endless line and a program that heeds no SIGTERM harm nobody`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease([
            "head -c 30000000 /dev/zero | tr '\\0' a; echo; echo next", "trap '' TERM; while :; do sleep 0.1; done",
        ]) { $0.steps[1].timeout_seconds = 0.2 }
        try await server.work([lease])
        #expect(server.text.contains("the rest of this line is cut)\nnext\n"))
        #expect(server.text.utf8.count < RunnerLimits.lineBytes + 10_000)
        #expect(server.steps.map(\.status) == [.succeeded, .failed])
    }
}

extension FakeServer {
    /// Lets the agent work for a moment, or until there is news.
    func pause() async throws {
        try await news.wait(until: SystemTime().now.advanced(by: .milliseconds(20)), by: SystemTime())
    }
}
