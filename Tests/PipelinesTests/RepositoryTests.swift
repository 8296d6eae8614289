import API
import Foundation
import Kernel
import KernelTesting
import Manifests
import Processes
import Synchronization
import Testing

@testable import Pipelines

/// Pushes with the real git, in a folder of the test's own.
@Suite struct RepositoryTests {
    static let manifest = """
        kind: Pipeline
        name: shop
        triggers: [{ push: { branches: [main, "release/*"], paths: ["src/**", ".vagus/**"] } }]
        stages:
          - { name: build, jobs: { j: { steps: [{ checkout: {} }, { run: make }] } } }
        """

    /// A clone with an author.
    struct Clone {
        let folder: String
        let remote: String

        @discardableResult
        func git(_ arguments: String...) async throws -> String {
            let output = Mutex<[UInt8]>([])
            let command = Command(
                executable: "git", arguments: arguments,
                environment: [
                    "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin", "HOME": folder,
                    "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "Ana", "GIT_AUTHOR_EMAIL": "ana@example.com",
                    "GIT_COMMITTER_NAME": "Ana", "GIT_COMMITTER_EMAIL": "ana@example.com",
                    "GIT_COMMITTER_DATE": "2026-01-05T07:00:00Z", "GIT_AUTHOR_DATE": "2026-01-05T07:00:00Z",
                ],
                directory: folder)
            let ended = try await Processes.run(command, timeout: .seconds(60)) { chunk in
                output.withLock { $0 += chunk.bytes }
            }
            let text = String(decoding: output.withLock { $0 }, as: UTF8.self)
            try #require(ended.isSuccess, "git \(arguments): \(text)")
            return text
        }

        /// Writes files, commits and pushes them.
        func push(_ files: [String: String], _ message: String, branch: String = "main") async throws {
            for (name, text) in files {
                let path = "\(folder)/\(name)"
                try FileManager.default.createDirectory(
                    atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
                try Data(text.utf8).write(to: URL(fileURLWithPath: path))
            }
            try await git("add", "-A")
            try await git("commit", "--quiet", "-m", message)
            try await git("push", "--quiet", remote, "HEAD:refs/heads/\(branch)")
        }
    }

    private func hosted() async throws -> (PipelineHouse, Clone) {
        let it = try await PipelineHouse()
        try await it.house.apply("{ kind: Repository, name: shop }")
        try await look(it)
        let clone = Clone(
            folder: "\(it.house.folder)/clone", remote: "\(it.house.folder)/repositories/default/shop.git")
        try FileManager.default.createDirectory(atPath: clone.folder, withIntermediateDirectories: true)
        try await clone.git("init", "--quiet", "--initial-branch=main")
        return (it, clone)
    }

    private func look(_ it: PipelineHouse) async throws {
        for key in try await it.repositories.keys() { _ = try await it.repositories.reconcile(key) }
    }

    private func runs(_ it: PipelineHouse) async throws -> [Run] {
        try await it.house.call(Runs.list, RunQuery()).items.reversed()
    }

    private func repository(_ it: PipelineHouse) async throws -> Resource {
        try await it.house.call(
            Resources.get, ResourceName(project: "default", kind: "repositories", name: "shop"))
    }

    @Test func `a push applies its manifests and starts the pipeline on that very commit`() async throws {
        let (it, clone) = try await hosted()
        try await clone.push([".vagus/shop.yaml": Self.manifest, "src/main.c": "1"], "first")
        try await look(it)
        try await look(it)
        let run = try #require(try await runs(it).first)
        #expect(try await runs(it).count == 1, "looking twice starts it once")
        let commit = try await clone.git("rev-parse", "HEAD").prefix(40)
        #expect(run.commit == String(commit) && run.repository == "shop")
        #expect(run.trigger.type == .push && run.trigger.ref == "refs/heads/main" && run.trigger.message == "first")
        #expect(run.trigger.actor == "git:Ana <ana@example.com>")
        #expect(run.committed_at == Timestamp("2026-01-05T07:00:00Z"))
        try await it.hello()
        let lease = try await it.lease()
        #expect(lease.steps[0].repository == clone.remote && lease.steps[0].commit == String(commit))
        #expect(lease.steps[1].environment["VAGUS_REF"] == "refs/heads/main")
        let pushed = try #require(try await it.house.events(named: "repository.pushed").first)
        #expect(pushed.actor == "git:Ana <ana@example.com>")
        #expect(try await it.house.events(named: "pipeline.created").first?.actor == "git:Ana <ana@example.com>")
    }

    @Test func `a push beside the paths starts nothing, one to a release branch does`() async throws {
        let (it, clone) = try await hosted()
        try await clone.push([".vagus/shop.yaml": Self.manifest], "first")
        try await look(it)
        try await clone.push(["README.md": "hello"], "words")
        try await look(it)
        #expect(try await runs(it).count == 1)
        try await clone.push(["src/a.c": "2"], "code", branch: "release/1")
        try await look(it)
        #expect(try await runs(it).map(\.trigger.ref) == ["refs/heads/main", "refs/heads/release/1"])
        try await clone.push(["src/b.c": "2"], "code", branch: "topic")
        try await look(it)
        #expect(try await runs(it).count == 2)
    }

    @Test func `manifests that do not hold are refused whole, with file and line, and start nothing`() async throws {
        let (it, clone) = try await hosted()
        let broken = Self.manifest.replacingOccurrences(of: "stages:", with: "stagse:")
        try await clone.push([".vagus/a.yaml": "{ kind: Model, name: m }", ".vagus/shop.yaml": broken], "oops")
        try await look(it)
        let refused = try #require(try await it.house.events(named: "repository.manifests-refused").first)
        #expect(refused.data["location"] == ".vagus/shop.yaml:4:1")
        #expect(refused.data["hint"]?.string?.contains("stages") == true)
        #expect(try await runs(it).isEmpty)
        #expect(try await it.house.events(named: "model.created").isEmpty)
        let condition = try #require(try await repository(it).conditions.first { $0.name == "ManifestsApplied" })
        #expect(condition.truth == .no && condition.message.contains(".vagus/shop.yaml:4:1"))
        try await clone.push([".vagus/shop.yaml": Self.manifest], "mended")
        try await look(it)
        #expect(try await runs(it).count == 1)
        #expect(try await repository(it).conditions.first { $0.name == "ManifestsApplied" }?.truth == .yes)
    }

    @Test func `a run can be asked for at a branch, a commit or the head`() async throws {
        let (it, clone) = try await hosted()
        try await clone.push([".vagus/shop.yaml": Self.manifest, "src/a.c": "1"], "first")
        try await look(it)
        let first = String(try await clone.git("rev-parse", "HEAD").prefix(40))
        try await clone.push(["src/a.c": "2"], "second")
        try await look(it)
        let second = String(try await clone.git("rev-parse", "HEAD").prefix(40))
        #expect(try await it.start("shop").commit == second)
        var input = RunInput()
        (input.pipeline, input.commit) = ("shop", first)
        #expect(try await it.house.call(Runs.start, input).commit == first)
        input.commit = "nowhere"
        let nowhere = input
        let missing = await #expect(throws: Problem.self) { try await it.house.call(Runs.start, nowhere) }
        #expect(missing?.code == "commit.not-found")
    }

    @Test func `packed refs and deleted branches are seen`() async throws {
        let (it, clone) = try await hosted()
        try await clone.push(["a": "1"], "first")
        try await clone.git("push", "--quiet", clone.remote, "HEAD:refs/heads/topic")
        try await clone.git("--git-dir=\(clone.remote)", "pack-refs", "--all")
        #expect(try Git.refs(in: clone.remote).keys.sorted() == ["refs/heads/main", "refs/heads/topic"])
        try await look(it)
        try await clone.git("push", "--quiet", clone.remote, ":refs/heads/topic")
        try await look(it)
        #expect(try await it.house.events(named: "repository.ref-deleted").count == 1)
        #expect(try await repository(it).status?["refs"]?.object?.keys == ["refs/heads/main"])
    }
}
