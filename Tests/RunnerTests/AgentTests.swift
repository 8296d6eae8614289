import API
import Blobs
import Foundation
import Kernel
import Manifests
import Processes
import Synchronization
import Testing

@testable import class Executors.ProcessNotes
@testable import Runner

@Suite struct AgentTests {
    @Test func `steps run one after another and their words reach the server in order`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease([
            "echo one; echo key=4 >> \"$VAGUS_OUTPUT\"; echo hi > kept.txt",
            "cat kept.txt >&2; echo got ${{ steps.a.outputs.key }}",
        ]) { $0.steps[0].id = "a" }
        try await server.work([lease])
        #expect(
            server.text == """
                ── step 1/2: step 0
                one
                ── step 2/2: step 1
                hi
                got 4

                """)
        #expect(server.steps.map(\.status) == [.succeeded, .succeeded])
        #expect(server.steps[0].outputs == ["key": "4"])
        #expect(server.ended.map(\.status) == [.succeeded])
        #expect(!FileManager.default.fileExists(atPath: "\(server.folder)/runner/workspaces/run_1"))
    }

    @Test func `a step sees what it was given and nothing of ours`() async throws {
        setenv("VAGUS_TEST_CANARY", "secret", 1)
        let server = try FakeServer()
        let lease = FakeServer.lease([
            "env | cut -d= -f1 | sort | tr '\\n' ' '; echo; echo $VAGUS_RUN_ID $VAGUS_JOB $VAGUS_ATTEMPT"
        ]) {
            $0.steps[0].environment = ["COLOUR": "blue"]
            $0.attempt = 3
        }
        try await server.work([lease])
        #expect(server.text.contains("run_1 build/j 3\n"))
        let names = server.text.split(separator: "\n")[1].split(separator: " ")
        let known: Set<Substring> = ["COLOUR", "HOME", "PATH", "PWD", "SHLVL", "_", "OLDPWD"]
        #expect(names.allSatisfy { known.contains($0) || $0.hasPrefix("VAGUS_") }, "\(names)")
        #expect(!names.contains("VAGUS_TEST_CANARY"))
    }

    @Test func `a failing step fails the job with its exit code, and the rest is skipped`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease(["false | true; echo not reached", "echo never", "echo always"]) {
            $0.steps[2].if = "always()"
        }
        try await server.work([lease])
        #expect(server.steps.map(\.status) == [.failed, .skipped, .succeeded])
        #expect(server.steps[0].exit_code == 1 && server.steps[0].reason == "ended with exit code 1")
        #expect(server.steps[1].reason == "step \"step 0\" failed")
        #expect(!server.text.contains("never"))
        let job = try #require(server.ended.first)
        #expect(
            job.status == .failed && job.cause == .failure && job.reason == "step \"step 0\": ended with exit code 1")
    }

    @Test func `a time limit ends the whole tree`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease(["setsid sleep 300 & echo $! > pid; sleep 300"]) { lease in
            lease.steps[0].timeout_seconds = 0.5
            lease.artifacts = [.of("pid", ["pid"])]
        }
        try await server.work([lease])
        #expect(server.steps[0].status == .failed && server.steps[0].reason == "took longer than 500ms")
        #expect(server.ended.first?.cause == .timeout)
        let artifact = try #require(server.ended.first?.artifacts.first)
        let text = try String(contentsOfFile: server.blobs.path(of: #require(Digest(artifact.digest))), encoding: .utf8)
        let pid = try #require(Int32(text.prefix { $0.isNumber }))
        // A zombie that nobody has taken away yet runs no more.
        let state = (try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8))?.split(separator: ")").last?
            .split(separator: " ").first
        #expect(state == nil || state == "Z", "a process that left the group outlived its step")
    }

    @Test func `an absent server kills no step and loses no output`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease([
            "touch begun; while [ ! -e go ]; do sleep 0.02; done; seq 1 2000", "echo second",
        ]) { $0.steps[0].environment = [:] }
        let workspace = "\(server.folder)/runner/workspaces/run_1/build.j/workspace"
        server.state.withLock { $0.waiting = [lease] }
        let agent = server.agent()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await agent.run() }
            while !FileManager.default.fileExists(atPath: "\(workspace)/begun") { await Task.yield() }
            server.state.withLock { $0.absences = 12 }
            try Data().write(to: URL(fileURLWithPath: "\(workspace)/go"))
            while server.ended.isEmpty {
                try await server.news.wait(until: SystemTime().now.advanced(by: .milliseconds(20)), by: SystemTime())
            }
            group.cancelAll()
            do { try await group.waitForAll() } catch is CancellationError {}
        }
        let numbers = (1...2000).map { "\($0)\n" }.joined()
        #expect(server.text == "── step 1/2: step 0\n\(numbers)── step 2/2: step 1\nsecond\n")
        #expect(server.state.withLock { $0.started } == [0, 1])
        #expect(server.steps.map(\.status) == [.succeeded, .succeeded])
    }

    @Test func `a job that is cancelled is ended and given back`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease(["echo begun; sleep 300"])
        server.state.withLock { $0.waiting = [lease] }
        let agent = server.agent()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await agent.run() }
            while !server.text.contains("begun") {
                try await server.news.wait(until: SystemTime().now.advanced(by: .milliseconds(20)), by: SystemTime())
            }
            server.state.withLock { $0.stop = "cancelled by ana" }
            while server.ended.isEmpty {
                try await server.news.wait(until: SystemTime().now.advanced(by: .milliseconds(20)), by: SystemTime())
            }
            group.cancelAll()
            do { try await group.waitForAll() } catch is CancellationError {}
        }
        #expect(server.ended.first?.status == .cancelled && server.ended.first?.reason == "cancelled by ana")
    }

    @Test func `a runner that is stopped gives its job back and goes on where it was`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease([
            "echo first >> trail", "[ -e second-time ] || { touch second-time; sleep 300; }; cat trail",
        ])
        try await server.work([lease]) { $0.started == [0, 1] }
        let back = try #require(server.ended.first)
        #expect(back.cause == .runner_lost)
        server.state.withLock { ($0.ended, $0.output, $0.started) = ([], [], []) }
        var again = lease
        (again.first_step, again.epoch, again.attempt) = (1, 2, 2)
        // Whether the sleeping script had made its mark is chance: make it now.
        let workspace = "\(server.folder)/runner/workspaces/run_1/build.j/workspace"
        try Data().write(to: URL(fileURLWithPath: "\(workspace)/second-time"))
        try await server.work([again])
        #expect(server.text.contains("goes on behind step 1 of 2"))
        #expect(server.text.hasSuffix("first\n"))
        #expect(server.state.withLock { $0.started } == [1])
        #expect(server.steps.map(\.index) == [0, 1])
        #expect(server.state.withLock { Set($0.hellos).count } == 2)
    }

    @Test func `what an earlier life left running is ended at start`() async throws {
        let server = try FakeServer()
        let notes = try ProcessNotes(folder: "\(server.folder)/runner/process")
        let stray = try await Processes.start(
            Command(
                executable: "sleep", arguments: ["300"], environment: ["PATH": "/usr/bin:/bin"], directory: "/",
                output: .discard))
        _ = try notes.remember(stray.identity)
        try await server.work([FakeServer.lease(["true"])])
        #expect(!Processes.isAlive(stray.identity))
    }

    @Test func `artifacts and test reports are kept`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease([
            """
            mkdir -p out/deep; echo a > out/a.txt; echo b > out/deep/b.txt; echo lone > lone.bin
            echo '<testsuite><testcase name="x"/><testcase classname="c" name="y"><failure/></testcase></testsuite>' > r.xml
            """
        ]) { lease in
            lease.artifacts = [.of("all", ["out/**"]), .of("one", ["lone.*"]), .of("none", ["absent"])]
            lease.reports.junit = "r.xml"
        }
        try await server.work([lease])
        let job = try #require(server.ended.first)
        #expect(job.artifacts.map(\.name) == ["all", "one"] && job.artifacts.map(\.form) == [.tree, .file])
        #expect(job.artifacts[1].file_name == "lone.bin" && job.artifacts[1].size_bytes == 5)
        #expect(job.tests?.tests == 2 && job.tests?.failed_names == ["c.y"])
        #expect(server.text.contains("! artifact none: nothing matches absent"))
        #expect(server.text.contains("tests: 2, failed 1, broken 0, skipped 0\n  failed: c.y\n"))
    }

    @Test func `a worker is given files and gives files back`() async throws {
        let server = try FakeServer()
        let script = "\(server.folder)/vagus"
        try Data(
            """
            #!/bin/bash
            set -e
            place=$(dirname "$2")
            grep -q '"verb":"train"' "$2"
            cat "$place/inputs/rows/part.csv"
            mkdir "$place/outputs/model"; echo trained > "$place/outputs/model/m.json"
            echo '{"artifacts":{"model":"model"},"outputs":{"format":"linear"},"metrics":{"auc":0.8},"report":{"n":1}}' > "$place/result.json"
            """.utf8
        ).write(to: URL(fileURLWithPath: script))
        chmod(script, 0o755)
        let rows = "\(server.folder)/rows"
        try FileManager.default.createDirectory(atPath: rows, withIntermediateDirectories: true)
        try Data("1,2\n".utf8).write(to: URL(fileURLWithPath: "\(rows)/part.csv"))
        let cache = try ArtifactCache(folder: "\(server.folder)/other", door: Patient(door: server, time: SystemTime()))
        let input = try await cache.keep(rows, as: "rows")
        let lease = FakeServer.lease([""]) { lease in
            (lease.steps[0].verb, lease.steps[0].settings) = ("train", ["algorithm": "linear"])
            lease.steps[0].inputs = ["rows": input]
        }
        try await server.work([lease], vagus: script)
        let report = try #require(server.state.withLock { $0.finished.first })
        #expect(report.step.status == .succeeded, "\(report.step.reason ?? "") \(server.text)")
        #expect(report.step.metrics == ["auc": 0.8] && report.step.outputs == ["format": "linear"])
        #expect(report.artifacts.map(\.name) == ["model"] && report.artifacts.first?.form == .tree)
        #expect(server.text.contains("1,2\n"))
    }

    @Test func `a gate that says no fails the step and keeps its findings`() async throws {
        let server = try FakeServer()
        let script = "\(server.folder)/vagus"
        try Data(
            """
            #!/bin/bash
            echo '{"metrics":{"auc":0.5},"failure":{"code":"gate","status":422,"message":"auc >= 0.8 is false"}}' > "$(dirname "$2")/result.json"
            exit 2
            """.utf8
        ).write(to: URL(fileURLWithPath: script))
        chmod(script, 0o755)
        let lease = FakeServer.lease([""]) { ($0.steps[0].verb, $0.steps[0].settings) = ("evaluate", [:]) }
        try await server.work([lease], vagus: script)
        #expect(server.steps.first?.status == .failed && server.steps.first?.reason == "auc >= 0.8 is false")
        #expect(server.steps.first?.metrics == ["auc": 0.5])
    }

    @Test func `checkout takes exactly the commit it is told`() async throws {
        let server = try FakeServer()
        let origin = "\(server.folder)/origin"
        try FileManager.default.createDirectory(atPath: origin, withIntermediateDirectories: true)
        let output = Mutex("")
        let script = """
            git init -q -b main .; export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
            echo one > f; git add f; git commit -qm one; git rev-parse HEAD; echo two > f; git commit -qam two
            """
        let made = try await Processes.run(
            Command(
                executable: "bash", arguments: ["-ec", script],
                environment: [
                    "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin", "HOME": server.folder,
                ],
                directory: origin)
        ) { chunk in output.withLock { $0 += String(decoding: chunk.bytes, as: UTF8.self) } }
        try #require(made.isSuccess)
        let commit = output.withLock { String($0.prefix(40)) }
        let lease = FakeServer.lease(["", "cat f; git rev-parse HEAD; git rev-list --count HEAD"]) { lease in
            (lease.steps[0].verb, lease.steps[0].settings) = ("checkout", [:])
            (lease.steps[0].repository, lease.steps[0].commit) = (origin, commit)
        }
        try await server.work([lease])
        #expect(server.text.hasSuffix("one\n\(commit)\n1\n"), "\(server.text)")
    }
}

extension ArtifactSpec {
    static func of(_ name: String, _ paths: [String]) -> ArtifactSpec {
        var spec = ArtifactSpec()
        (spec.name, spec.paths) = (name, paths)
        return spec
    }
}
