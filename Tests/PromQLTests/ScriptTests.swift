import Foundation
import Testing

@testable import PromQL

/// Where scripts lie.
enum ScriptFiles {
    private static let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent()

    /// Our own.
    static let own = files(tests.appending(path: "Cases"))

    /// Prometheus's, beside the project's folder or where `VAGUS_SHARED` says; none when they are not there.
    static let prometheus: [URL] = {
        let shared =
            ProcessInfo.processInfo.environment["VAGUS_SHARED"].map { URL(fileURLWithPath: $0) }
            ?? tests.appending(path: "../../../shared").standardizedFileURL
        return files(shared.appending(path: "data/promql"))
    }()

    private static func files(_ folder: URL) -> [URL] {
        let found = try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        return (found ?? []).filter { $0.pathExtension == "test" }.sorted { $0.path < $1.path }
    }
}

@Suite struct ScriptTests {
    @Test(arguments: ScriptFiles.own)
    func `our own cases hold`(file: URL) throws { try run(file) }

    @Test(
        .enabled(
            if: !ScriptFiles.prometheus.isEmpty,
            "the scripts of Prometheus are not beside the project (shared/data/promql)"),
        arguments: ScriptFiles.prometheus)
    func `Prometheus' own scripts hold`(file: URL) throws { try run(file) }

    private func run(_ file: URL) throws {
        var runner = ScriptRunner()
        runner.run(try Script(String(contentsOf: file, encoding: .utf8)))
        let passed = runner.evaluations - runner.failures.count
        let line = "\(file.lastPathComponent): \(passed) of \(runner.evaluations) evaluations\n"
        FileHandle.standardError.write(Data(line.utf8))
        #expect(runner.evaluations > 0)
        for failure in runner.failures { Issue.record("\(file.lastPathComponent) \(failure)") }
    }
}
