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
    @Test(arguments: ExecutorCheck.all)
    func `the fake keeps the contract`(_ check: ExecutorCheck) async throws {
        let folder = try TestFolder()
        var subject = ExecutorSubject(executor: FakeExecutor(), folder: folder.path)
        subject.command = FakeExecutor.command
        try await check.run(on: subject)
    }

    @Test(arguments: ExecutorCheck.all)
    func `processes keep the contract`(_ check: ExecutorCheck) async throws {
        let folder = try TestFolder()
        let settings = ProcessSettings(folder: "\(folder.path)/own", processes: 64)
        try await check.run(on: ExecutorSubject(executor: try ProcessExecutor(settings), folder: folder.path))
    }

    @Test(.enabled(if: ProcessUser.canSwitch, "only root may run commands as others"), arguments: ExecutorCheck.all)
    func `processes of another user keep the contract`(_ check: ExecutorCheck) async throws {
        let folder = try TestFolder()
        let settings = ProcessSettings(folder: "\(folder.path)/own", user: "nobody", processes: 64)
        try await check.run(on: ExecutorSubject(executor: try ProcessExecutor(settings), folder: folder.path))
    }

    @Test(
        .enabled(if: program("bwrap") != nil, "SKIPPED: bubblewrap is not installed; scripts/setup-sandbox does it"),
        arguments: ExecutorCheck.all)
    func `sandboxes keep the contract`(_ check: ExecutorCheck) async throws {
        let folder = try TestFolder()
        let settings = ProcessSettings(folder: "\(folder.path)/own", processes: 64)
        let executor = try ProcessExecutor(settings, sandbox: Sandbox(program: #require(program("bwrap"))))
        try await check.run(on: ExecutorSubject(executor: executor, folder: folder.path))
    }
}
