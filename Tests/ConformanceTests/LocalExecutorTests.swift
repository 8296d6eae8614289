import API
import Executors
import Foundation
import Kernel
import KernelTesting
import Processes
import Testing

/// A folder of one test's own below /tmp, gone with it; others may enter.
final class TestFolder: Sendable {
    let path: String
    init() throws {
        path = "/tmp/vagus-conformance-\(UUID().uuidString.prefix(13).lowercased())"
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
    }
    deinit {
        try? FileManager.default.removeItem(atPath: path)  // a leftover harms no other test
    }
}

extension ExecutorCheck: CustomTestStringConvertible {
    public var testDescription: String { name }
}

/// The file of a program in the usual places; nil when it is not installed.
func program(_ name: String) -> String? {
    ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"].map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
}

@Suite struct LocalExecutorTests {
    private static func process(_ folder: String, user: String? = nil, sandbox: Bool = false) throws -> ProcessExecutor
    {
        let settings = ProcessSettings(folder: "\(folder)/own", user: user, processes: 64)
        return try ProcessExecutor(settings, sandbox: sandbox ? Sandbox(program: program("bwrap") ?? "") : nil)
    }

    /// The sentences that can be asked here: what can be bounded depends on the machine.
    private static func checks(sandbox: Bool = false) throws -> [ExecutorCheck] {
        let folder = try TestFolder()
        return ExecutorCheck.suited(to: try process(folder.path, sandbox: sandbox))
    }

    @Test(arguments: ExecutorCheck.suited(to: FakeExecutor()))
    func `the fake keeps the contract`(_ check: ExecutorCheck) async throws {
        let folder = try TestFolder()
        var subject = ExecutorSubject(executor: FakeExecutor(), folder: folder.path)
        subject.command = FakeExecutor.command
        try await check.run(on: subject)
    }

    @Test(arguments: try checks())
    func `processes keep the contract`(_ check: ExecutorCheck) async throws {
        let folder = try TestFolder()
        try await check.run(on: ExecutorSubject(executor: try Self.process(folder.path), folder: folder.path))
    }

    @Test(.enabled(if: ProcessUser.canSwitch, "only root may run commands as others"), arguments: try checks())
    func `processes of another user keep the contract`(_ check: ExecutorCheck) async throws {
        let folder = try TestFolder()
        let executor = try Self.process(folder.path, user: "nobody")
        try await check.run(on: ExecutorSubject(executor: executor, folder: folder.path))
    }

    @Test(
        .enabled(if: program("bwrap") != nil, "SKIPPED: bubblewrap is not installed; scripts/setup-sandbox does it"),
        arguments: try checks(sandbox: true))
    func `sandboxes keep the contract`(_ check: ExecutorCheck) async throws {
        let folder = try TestFolder()
        let executor = try Self.process(folder.path, sandbox: true)
        try await check.run(on: ExecutorSubject(executor: executor, folder: folder.path))
    }

    @Test(
        .enabled(
            if: program("bwrap") != nil && ProcessUser.canSwitch,
            "SKIPPED: bubblewrap is not installed, or we are not root"),
        arguments: try checks(sandbox: true))
    func `sandboxes of another user keep the contract`(_ check: ExecutorCheck) async throws {
        let folder = try TestFolder()
        let executor = try Self.process(folder.path, user: "nobody", sandbox: true)
        try await check.run(on: ExecutorSubject(executor: executor, folder: folder.path))
    }

    @Test(.enabled(if: program("bwrap") != nil, "SKIPPED: bubblewrap is not installed; scripts/setup-sandbox does it"))
    func `a sandbox sees no process, no secret and no other folder of ours, and can write only what is its own`()
        async throws
    {
        let folder = try TestFolder()
        try Data("ours".utf8).write(to: URL(fileURLWithPath: "\(folder.path)/secret"))
        try FileManager.default.createDirectory(atPath: "\(folder.path)/work", withIntermediateDirectories: true)
        let script = """
            never() { if "$@" 2>/dev/null; then echo "could: $*"; exit 1; fi; }
            never test -e \(folder.path)/secret
            never test -s /etc/shadow
            never test -d /proc/\(getpid())
            never touch /usr/x
            never touch /etc/x
            never test "$(id -u)" = 0 -a \(geteuid()) = 0
            # Opened, not written: where it may be, it would be told, and nothing else.
            never sh -c ': >> /proc/sys/kernel/core_pattern'
            never test -w /proc/sysrq-trigger
            touch /tmp/x "$HOME/x" kept
            # The way to the workspace, and what was just made.
            test "$(ls /tmp | grep -c .)" -le 2
            grep -q 'NoNewPrivs:.1' /proc/self/status
            grep -q 'CapEff:.0000000000000000' /proc/self/status
            """
        let order = ExecutionOrder(
            id: "x", job: "x", command: ["/bin/sh", "-ec", script],
            environment: ["PATH": "/usr/bin:/bin", "HOME": "/root"], directory: "\(folder.path)/work",
            writable: ["\(folder.path)/work"], timeout: .seconds(30))
        let heard = Heard()
        let result = try await Self.process(folder.path, sandbox: true).run(order) { heard.add($0) }
        #expect(result.isSuccess, "\(result): \(heard.text)")
        #expect(FileManager.default.fileExists(atPath: "\(folder.path)/work/kept"))
        #expect(!FileManager.default.fileExists(atPath: "/tmp/x") && !FileManager.default.fileExists(atPath: "/root/x"))
    }
}
