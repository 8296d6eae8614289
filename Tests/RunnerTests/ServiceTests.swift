import API
import Blobs
import Executors
import Foundation
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Runner

@Suite struct ServiceTests {
    /// A little HTTP server in the shell's neighbour that every test machine has.
    private static let server = ["python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", "${PORT}"]

    private func lease(_ steps: [String], _ services: [(String, SidecarSpec)]) -> Lease {
        FakeServer.lease(steps) { lease in
            for (name, spec) in services { lease.execution.services[name] = spec }
        }
    }

    private func service(_ command: [String], _ set: (inout SidecarHealth) -> Void) -> SidecarSpec {
        var spec = SidecarSpec()
        spec.command = command
        var health = SidecarHealth()
        health.interval = .seconds(0.05)
        set(&health)
        spec.health = health
        return spec
    }

    @Test func `steps begin once a service is well, find it, and it ends with the job`() async throws {
        let server = try FakeServer()
        let read = """
            python3 -c 'import os, urllib.request as u
            print(u.urlopen("http://%s:%s/" % (os.environ["VAGUS_SERVICE_MY_WEB_HOST"], os.environ["VAGUS_SERVICE_MY_WEB_PORT"])).status)'
            """
        try await server.work([lease([read], [("my-web", service(Self.server) { $0.http = "/" })])])
        #expect(server.text.contains("── service my-web is ready"))
        #expect(server.text.contains("\n200\n"))
        let job = try #require(server.ended.first)
        #expect(job.status == .succeeded)
        let log = try #require(job.artifacts.first { $0.name == "service.my-web" })
        let text = try String(contentsOfFile: server.blobs.path(of: #require(.init(log.digest))), encoding: .utf8)
        #expect(text.contains("GET / HTTP/1.1"))
    }

    @Test func `a connection is enough where it is asked for, and so is a command`() async throws {
        let server = try FakeServer()
        let connected = service(Self.server) { $0.tcp = true }
        let told = service(["sh", "-c", "touch up; sleep 300"]) { $0.exec = "test -e up" }
        try await server.work([lease(["echo fine"], [("a", connected), ("b", told)])])
        #expect(server.ended.first?.status == .succeeded)
        #expect(server.text.contains("fine"))
    }

    @Test func `a service that dies before it is well fails the job with its words`() async throws {
        let server = try FakeServer()
        let broken = service(["sh", "-c", "echo no room; exit 3"]) { $0.tcp = true }
        var lease = lease(["echo never"], [("db", broken)])
        lease.workspace.keep = .always
        try await server.work([lease])
        #expect(server.ended.first?.status == .failed)
        #expect(server.ended.first?.workspace == nil, "no step has begun in one")
        #expect(server.ended.first?.reason == "service \"db\" ended with exit code 3 before it was ready")
        #expect(server.text.contains("no room"))
        #expect(!server.text.contains("never"))
    }

    @Test func `a service that never gets well fails the job after its tries`() async throws {
        let server = try FakeServer()
        let slow = service(["sleep", "300"]) { health in
            health.exec = "false"
            health.retries = 2
        }
        try await server.work([lease(["echo never"], [("db", slow)])])
        #expect(server.ended.first?.reason?.hasPrefix("service \"db\" was not ready after 2 tries") ?? false)
    }

    @Test func `a service is given secrets by name, and its kept words hold none`() async throws {
        let server = try FakeServer()
        var spec = service(["sh", "-c", "echo got $KEY; test \"$KEY\" = open-sesame && touch right; sleep 300"]) {
            $0.exec = "test -e right"
        }
        spec.env["KEY"] = "${{ secrets.DOOR }}"
        var lease = lease(["echo fine"], [("db", spec)])
        lease.secrets["DOOR"] = "open-sesame"
        try await server.work([lease])
        let job = try #require(server.ended.first)
        #expect(job.status == .succeeded)
        let log = try #require(job.artifacts.first { $0.name == "service.db" })
        let text = try String(contentsOfFile: server.blobs.path(of: #require(.init(log.digest))), encoding: .utf8)
        #expect(text.hasPrefix("got ") && !text.contains("open-sesame"))
    }

    @Test func `the job's executor gets the steps, and is told of the bounds`() async throws {
        let server = try FakeServer()
        let fake = FakeExecutor(kind: .slurm)
        let lease = FakeServer.lease(["make all"]) { lease in
            lease.execution.executor = .slurm
            lease.execution.cpu = CPUAmount(2)
            lease.execution.memory = ByteSize(bytes: 1 << 30)
        }
        try await server.work([lease], executors: [fake])
        let order = try #require(fake.orders.first)
        #expect(order.cpus == 2 && order.memory == 1 << 30 && order.job == "run_1/build/j")
        #expect(order.command.first == "sh" && order.environment["VAGUS_JOB"] == "build/j")
        #expect(fake.cleared.first == .some(nil), "what an earlier life has left is ended first")
        #expect(fake.cleared.contains("run_1/build/j"))
    }

    @Test func `a job for an executor that is not here says so`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease(["true"]) { $0.execution.executor = .ray }
        try await server.work([lease])
        #expect(server.steps.first?.reason?.hasPrefix("this runner does not offer the ray executor") ?? false)
    }

    @Test func `more memory than the job has is the reason that people read`() async throws {
        let server = try FakeServer()
        let answer = FakeAnswer(ExecutionResult(.outOfMemory, detail: "used more than its 64Mi of memory"))
        try await server.work([FakeServer.lease(["x"])], executors: [answer])
        #expect(server.steps.first?.reason == "used more than its 64Mi of memory")
        #expect(server.steps.first?.exit_code == 137)
    }
}

/// An executor with one answer.
private struct FakeAnswer: Executor {
    let kind = ExecutorKind.process
    let traits: ExecutorTraits = []
    let result: ExecutionResult
    init(_ result: ExecutionResult) { self.result = result }
    func run(
        _ order: ExecutionOrder, output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws(ExecutionFailure) -> ExecutionResult { result }
    func clear(job: String?) async {}
}
