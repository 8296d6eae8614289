import API
import Executors
import Foundation
import Kernel
import KernelTesting
import Testing

/// A variable that one of the scripts in scripts/ printed; scripts/test sets them all, so nothing is skipped there.
func told(_ name: String) -> String? {
    ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
}

@Suite(
    .enabled(
        if: told("VAGUS_TEST_PODMAN") != nil, "SKIPPED: VAGUS_TEST_PODMAN is not set; scripts/setup-podman tells it"),
    .serialized)
struct PodmanExecutorTests {
    private static let socket = told("VAGUS_TEST_PODMAN") ?? ""
    private static let image = told("VAGUS_TEST_PODMAN_IMAGE") ?? ""

    private func subject(_ folder: TestFolder) -> ExecutorSubject {
        let executor = PodmanExecutor(socket: Self.socket, owner: folder.path, processes: 64)
        var subject = ExecutorSubject(executor: executor, folder: folder.path)
        var container = ContainerSpec()
        container.image = Self.image
        container.pull = .never
        subject.container = container
        // The image's own PATH serves; what Podman and the image add is said here.
        subject.environment = [:]
        subject.added = ["PATH", "HOME", "HOSTNAME", "TERM", "container"]
        subject.startup = .seconds(5)
        return subject
    }

    @Test(arguments: ExecutorCheck.suited(to: PodmanExecutor(socket: "", owner: "")))
    func `containers keep the contract`(_ check: ExecutorCheck) async throws {
        let folder = try TestFolder()
        try await check.run(on: subject(folder))
    }

    private func order(_ id: String, _ script: String, _ folder: TestFolder) -> ExecutionOrder {
        var order = ExecutionOrder(
            id: id, job: "run/stage/job", command: ["/bin/sh", "-c", script], environment: [:], directory: folder.path,
            writable: [folder.path], timeout: .seconds(60))
        order.container = subject(folder).container
        return order
    }

    @Test func `executions of a job with services reach each other by name, and the network goes with the job`()
        async throws
    {
        let folder = try TestFolder()
        let executor = subject(folder).executor
        var service = order("service", "while :; do echo hello | nc -l -p 7000; done", folder)
        (service.alias, service.isJoined, service.network) = ("db", true, false)
        let serving = service
        let heard = Heard()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { _ = try await executor.run(serving) { _ in } }
            var probe = order("probe", "echo | nc -w 1 127.0.0.1 7000", folder)
            probe.inside = "service"
            let probing = probe
            let end = ContinuousClock.now + .seconds(30)
            while try await !isWell(executor, probing) {
                try #require(ContinuousClock.now < end, "the service does not come up")
            }
            var step = order("step", "getent hosts db || nslookup db; nc -w 2 db 7000 < /dev/null", folder)
            (step.isJoined, step.network) = (true, false)
            let result = try await executor.run(step) { heard.add($0) }
            #expect(result.isSuccess, "\(heard.text)")
            group.cancelAll()
        }
        #expect(heard.text.contains("hello"), "\(heard.text)")
        await executor.clear(job: "run/stage/job")
    }

    private func isWell(_ executor: any Executor, _ order: ExecutionOrder) async throws -> Bool {
        do throws(ExecutionFailure) {
            return try await executor.run(order) { _ in }.isSuccess
        } catch {
            return false
        }
    }

    @Test func `what an earlier life has left is found by its label and ended, and nobody else's is`() async throws {
        let (mine, theirs) = (try TestFolder(), try TestFolder())
        let pipes = [try Watched("\(mine.path)/pipe"), try Watched("\(theirs.path)/pipe")]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for folder in [mine, theirs] {
                let executor = subject(folder).executor
                let order = order("left-\(folder.path)", "sleep 300 > pipe", folder)
                group.addTask { _ = try? await executor.run(order) { _ in } }
            }
            let end = ContinuousClock.now + .seconds(30)
            while !pipes.allSatisfy(\.isHeld) {
                try #require(ContinuousClock.now < end)
                await Task.yield()
            }
            await subject(mine).executor.clear(job: nil)
            #expect(!pipes[0].isHeld && pipes[1].isHeld)
            await subject(theirs).executor.clear(job: nil)
            #expect(!pipes[1].isHeld)
            group.cancelAll()
        }
    }

    @Test func `an image that cannot be had says why`() async throws {
        let folder = try TestFolder()
        var order = order("absent", "true", folder)
        order.container?.image = "localhost/absent:1"
        let absent = order
        var failure = await #expect(throws: ExecutionFailure.self) {
            try await subject(folder).executor.run(absent) { _ in }
        }
        #expect(failure?.code == .invalid && failure?.message.contains("is not on this machine") ?? false)
        order.container?.image = "127.0.0.1:9/absent:1"
        order.container?.pull = .missing
        let unreachable = order
        failure = await #expect(throws: ExecutionFailure.self) {
            try await subject(folder).executor.run(unreachable) { _ in }
        }
        #expect(
            failure?.code == .invalid && failure?.message.contains("could not be fetched") ?? false,
            "\(String(describing: failure))")
    }

    @Test func `an engine that does not answer is told with its socket`() async throws {
        let folder = try TestFolder()
        let executor = PodmanExecutor(socket: "\(folder.path)/none.sock", owner: "x")
        let failure = await #expect(throws: ExecutionFailure.self) {
            try await executor.run(order("x", "true", folder)) { _ in }
        }
        #expect(failure?.code == .unavailable && failure?.message.contains("none.sock") ?? false)
    }
}

/// What cluster executors share, held against one cluster.
private func cluster(_ folder: TestFolder, _ make: (String) -> BatchExecutor) -> ExecutorSubject {
    var subject = ExecutorSubject(executor: make("\(folder.path)/own"), folder: folder.path)
    subject.next = make("\(folder.path)/own")
    subject.startup = .seconds(10)
    return subject
}

@Suite(
    .enabled(
        if: told("VAGUS_TEST_SLURM_URL") != nil,
        "SKIPPED: VAGUS_TEST_SLURM_URL is not set; scripts/setup-slurm tells it"))
struct SlurmExecutorTests {
    private func subject(_ folder: TestFolder) -> ExecutorSubject {
        cluster(folder) {
            .slurm(
                url: told("VAGUS_TEST_SLURM_URL") ?? "", user: "root",
                tokenFile: told("VAGUS_TEST_SLURM_TOKEN_FILE") ?? "", folder: $0)
        }
    }

    @Test(arguments: ExecutorCheck.suited(to: BatchExecutor.slurm(url: "", user: "", tokenFile: "", folder: "")))
    func `Slurm's jobs keep the contract`(_ check: ExecutorCheck) async throws {
        let folder = try TestFolder()
        try await check.run(on: subject(folder))
    }

    @Test func `a token that Slurm refuses is told with its file`() async throws {
        let folder = try TestFolder()
        try Data("not.a.token".utf8).write(to: URL(fileURLWithPath: "\(folder.path)/token"))
        let executor = BatchExecutor.slurm(
            url: told("VAGUS_TEST_SLURM_URL") ?? "", user: "root", tokenFile: "\(folder.path)/token",
            folder: "\(folder.path)/own")
        let order = ExecutionOrder(
            id: "x", job: "x", command: ["true"], environment: [:], directory: folder.path, writable: [folder.path])
        let failure = await #expect(throws: ExecutionFailure.self) { try await executor.run(order) { _ in } }
        #expect(failure?.code == .unavailable, "\(String(describing: failure))")
    }
}

@Suite(
    .enabled(if: told("VAGUS_TEST_RAY_URL") != nil, "SKIPPED: VAGUS_TEST_RAY_URL is not set; `make test-ray` sets it"))
struct RayExecutorTests {
    @Test(arguments: ExecutorCheck.suited(to: BatchExecutor.ray(url: "", folder: "")))
    func `Ray's jobs keep the contract`(_ check: ExecutorCheck) async throws {
        let folder = try TestFolder()
        var subject = cluster(folder) { .ray(url: told("VAGUS_TEST_RAY_URL") ?? "", folder: $0) }
        // A job's supervisor is a process of Python's.
        subject.startup = .seconds(30)
        try await check.run(on: subject)
    }
}
