import API
import Blobs
import Foundation
import Kernel
import Logging
import Manifests
import Pipelines
import Processes
import Testing

@testable import Runner
@testable import Server

/// Rows of the pipelines' feature table that are about where steps run.
@Suite struct ExecutorScenarios {
    /// A house with its loops running, and a runner that speaks to it without a network.
    private func run(
        _ pipeline: String, settle: @escaping @Sendable (Run) -> Bool = { $0.status.hasEnded }
    ) async throws -> Run {
        let folder = NSTemporaryDirectory() + "vagus-scenario-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }  // a leftover harms no other test
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let house = try await House(ServerOptions(data: folder, executable: "/bin/false") { _ in }, logger: logger)
        var settings = RunnerSettings(
            name: "one", folder: "\(folder)/work", datasets: folder, vagus: "/bin/false",
            environment: ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin", "HOME": "/tmp"])
        (settings.cpu, settings.memory) = (2, 4 << 30)
        let agent = RunnerAgent(
            door: InnerDoor(house: house), settings: settings, logger: logger, time: SystemTime())
        let end = ContinuousClock.now + .seconds(60)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            for loop in house.loops { group.addTask { try await loop.run() } }
            group.addTask { try await agent.run() }
            defer { group.cancelAll() }
            var input = ApplyInput()
            input.documents = try YAML.documents(pipeline, file: "pipeline.yaml").map(\.value)
            _ = try await house.switchboard.call(Resources.apply, input, as: .system("test"))
            var start = RunInput()
            start.pipeline = "p"
            let started = try await house.switchboard.call(Runs.start, start, as: .system("test"))
            while true {
                var name = RunName()
                (name.project, name.run) = ("default", started.id)
                let run = try await house.switchboard.call(Runs.get, name, as: .system("test"))
                if settle(run) { return run }
                try #require(ContinuousClock.now < end, "\(run.json.text)")
                try await SystemTime().sleep(for: .milliseconds(20))
            }
        }
    }

    @Test func `services with health: steps begin once a service is well, and find it`() async throws {
        let run = try await run(
            """
            kind: Pipeline
            name: p
            stages:
              - name: test
                jobs:
                  it:
                    services:
                      web:
                        command: [python3, -u, -m, http.server, --bind, 127.0.0.1, "${PORT}"]
                        health: { http: /, interval: 100ms }
                    steps:
                      - run: |
                          python3 -c 'import os, urllib.request as u
                          print(u.urlopen("http://%s:%s/" % (os.environ["VAGUS_SERVICE_WEB_HOST"],
                          os.environ["VAGUS_SERVICE_WEB_PORT"])).status)'
            """)
        #expect(run.status == .succeeded, "\(run.json.text)")
    }

    @Test(arguments: [
        ("executor: podman, labels: []", "no runner offers executor podman"),
        ("cpu: 8", "needs 8 cpu, the largest runner has 2"),
        ("memory: 8Gi", "needs 8Gi of memory, the largest runner has 4Gi"),
        ("labels: [gpu]", "no runner has the label gpu"),
    ])
    func `what cannot be placed says why`(runsOn: String, reason: String) async throws {
        let container = runsOn.contains("podman") ? "container: busybox, " : ""
        let text = """
            kind: Pipeline
            name: p
            stages: [{ name: s, jobs: { j: { \(container)runs_on: { \(runsOn) }, steps: [{ run: "true" }] } } }]
            """
        let run = try await run(text) { $0.jobs.first?.reason == reason }
        #expect(run.jobs.first?.status == .queued)
    }

    @Test(.enabled(if: Processes.bounds.contains(.memory), "no cgroup that bounds memory may be made here"))
    func `bounds: a step that uses more memory than its job has says so`() async throws {
        let run = try await run(
            """
            kind: Pipeline
            name: p
            stages: [{ name: s, jobs: { j: { runs_on: { memory: 64Mi }, steps: [{ run: "head -c 400000000 /dev/zero | tail" }] } } }]
            """)
        #expect(run.jobs.first?.reason == "used more than its 64Mi of memory")
    }
}

/// The server's operations and blobs as a runner asks for them, in one process.
private struct InnerDoor: ServerDoor {
    let house: House

    func call<Input: Manifest, Output: Manifest>(
        _ operation: API.Operation<Input, Output>, _ input: Input
    ) async throws -> Output {
        try await house.switchboard.call(operation, input, as: .system("runner"))
    }
    func append(_ bytes: [UInt8], _ place: OutputInput) async throws -> LeaseState {
        try await #require(house.pipelines).append(bytes, place, .system("runner"))
    }
    func hasBlob(_ digest: String) async throws -> Bool { try await house.blobs.exists(#require(Digest(digest))) }
    func upload(file: String) async throws -> (digest: String, size: Int64) {
        let put = try await house.blobs.put(file: file)
        return (put.digest.text, put.size)
    }
    func download(_ digest: String, to path: String) async throws {
        try FileManager.default.copyItem(atPath: house.blobs.path(of: #require(Digest(digest))), toPath: path)
    }
}
