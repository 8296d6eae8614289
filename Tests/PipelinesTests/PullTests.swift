import API
import Foundation
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Pipelines

/// Tags, protected branches and pull requests of a hosted repository, with the real git.
@Suite struct PullTests {
    static let manifest = """
        kind: Pipeline
        name: check
        triggers:
          - push: { branches: [main], tags: ["v*"] }
          - pull_request: { branches: [main], types: [opened, synchronize, closed] }
        stages: [{ name: s, jobs: { j: { steps: [{ checkout: {} }, { run: make }] } } }]
        """

    private func hosted(_ protected: String = "[]") async throws -> (PipelineHouse, RepositoryTests.Clone) {
        let it = try await PipelineHouse()
        try await it.house.apply("{ kind: Repository, name: shop, protected: \(protected) }")
        try await look(it)
        let clone = RepositoryTests.Clone(
            folder: "\(it.house.folder)/clone", remote: "\(it.house.folder)/repositories/default/shop.git")
        try FileManager.default.createDirectory(atPath: clone.folder, withIntermediateDirectories: true)
        try await clone.git("init", "--quiet", "--initial-branch=main")
        try await clone.push([".vagus/check.yaml": Self.manifest], "first")
        try await look(it)
        return (it, clone)
    }

    private func look(_ it: PipelineHouse) async throws {
        for key in try await it.repositories.keys() { _ = try await it.repositories.reconcile(key) }
    }

    private func runs(_ it: PipelineHouse) async throws -> [Run] {
        try await it.house.call(Runs.list, RunQuery()).items.reversed()
    }

    private func pulls(_ it: PipelineHouse) async throws -> [PullRequest] {
        var query = PullQuery()
        query.repository = "shop"
        return try await it.house.call(Pulls.list, query).items
    }

    private func open(_ clone: RepositoryTests.Clone, _ title: String = "Better") async throws {
        try await clone.git("checkout", "--quiet", "-b", "topic", "origin-main")
        try await clone.push(["b": "1"], "topic one", branch: "unused")
        try await clone.git(
            "push", "--quiet", "-o", "pull_request.create", "-o", "pull_request.target=main", "-o",
            "pull_request.title=\(title)", clone.remote, "HEAD:refs/heads/topic")
    }

    @Test func `a tag starts those that wait for tags, on the commit behind it`() async throws {
        let (it, clone) = try await hosted()
        try await clone.git("tag", "-a", "-m", "one", "v1.0")
        try await clone.git("tag", "other")
        try await clone.git("push", "--quiet", clone.remote, "--tags")
        try await look(it)
        let head = String(try await clone.git("rev-parse", "HEAD").prefix(40))
        #expect(try await runs(it).map(\.trigger.ref) == ["refs/heads/main", "refs/tags/v1.0"])
        #expect(try await runs(it).last?.commit == head)
    }

    @Test func `a push option opens a pull request, a later push updates it, and its runs are not trusted`()
        async throws
    {
        let (it, clone) = try await hosted()
        try await clone.git("branch", "origin-main")
        try await open(clone)
        try await look(it)
        let pull = try #require(try await pulls(it).first)
        #expect(pull.number == 1 && pull.title == "Better" && pull.state == .open && pull.base_ref == "refs/heads/main")
        try await clone.push(["b": "2"], "topic two", branch: "topic")
        try await look(it)
        let head = String(try await clone.git("rev-parse", "HEAD").prefix(40))
        #expect(try await pulls(it).map(\.head_commit) == [head])
        let started = try await runs(it).filter { $0.trigger.type == .pull_request }
        #expect(started.map { $0.trigger.event?["action"] } == ["opened", "synchronize"])
        #expect(started.allSatisfy { !$0.trigger.is_trusted && $0.trigger.number == 1 })
        #expect(started.allSatisfy { $0.trigger.ref == "refs/pull/1/head" && $0.trigger.base_ref == "refs/heads/main" })
        #expect(started.last?.commit == head)
        var input = RunInput()
        (input.pipeline, input.commit) = ("check", "refs/pull/1/head")
        #expect(try await it.house.call(Runs.start, input).trigger.is_trusted, "its branch is one of ours")
        let kept = try await clone.git("ls-remote", clone.remote, "refs/pull/1/head")
        #expect(kept.hasPrefix(head))
    }

    @Test func `merging makes a merge commit that is a push to the base`() async throws {
        let (it, clone) = try await hosted("[{ branches: main, pull_request_only: true }]")
        try await clone.git("branch", "origin-main")
        try await open(clone)
        try await look(it)
        var input = MergeInput()
        (input.repository, input.number) = ("shop", 1)
        let merged = try await it.house.call(Pulls.merge, input)
        #expect(merged.state == .merged)
        try await look(it)
        let head = String(try await clone.git("ls-remote", clone.remote, "refs/heads/main").prefix(40))
        #expect(merged.merged_commit == head)
        let commits = try await runs(it).map(\.commit)
        #expect(commits.contains(head))
        #expect(try await it.house.events(named: "repository.pull-merged").count == 1)
        let again = input
        let problem = await #expect(throws: Problem.self) { try await it.house.call(Pulls.merge, again) }
        #expect(problem?.code == "pull.ended")
    }

    @Test func `a branch that conflicts is told and nothing moves`() async throws {
        let (it, clone) = try await hosted()
        try await clone.git("branch", "origin-main")
        try await open(clone)
        try await clone.git("checkout", "--quiet", "origin-main")
        try await clone.push(["b": "other"], "main two")
        try await look(it)
        var input = MergeInput()
        (input.repository, input.number) = ("shop", 1)
        let conflicting = input
        let conflict = await #expect(throws: Problem.self) { try await it.house.call(Pulls.merge, conflicting) }
        #expect(conflict?.code == "pull.conflict")
        input.method = .fast_forward
        let forward = input
        let behind = await #expect(throws: Problem.self) { try await it.house.call(Pulls.merge, forward) }
        #expect(behind?.code == "pull.not-forward")
    }

    @Test func `a branch whose head comes into its base by a push is merged, a deleted one closes`() async throws {
        let (it, clone) = try await hosted()
        try await clone.git("branch", "origin-main")
        try await open(clone)
        try await look(it)
        try await clone.git("push", "--quiet", clone.remote, "HEAD:refs/heads/main")
        try await look(it)
        #expect(try await pulls(it).map(\.state) == [.merged])
        try await clone.push(["c": "1"], "three", branch: "unused")
        try await clone.git(
            "push", "--quiet", "-o", "pull_request.create", clone.remote, "HEAD:refs/heads/topic")
        try await look(it)
        try await clone.git("push", "--quiet", clone.remote, ":refs/heads/topic")
        try await look(it)
        #expect(try await pulls(it).map(\.state) == [.closed, .merged])
    }

    @Test func `a protected branch is neither deleted nor rewritten, and the pusher reads why`() async throws {
        let (it, clone) = try await hosted(
            "[main, 'release/*', '!release/tmp', { branches: 'only/**', pull_request_only: true }]")
        func refused(_ arguments: [String]) async throws -> String {
            try await clone.refused(["push", "--quiet", clone.remote] + arguments)
        }
        #expect(try await refused([":main"]).contains("branch \"main\" is protected: it cannot be deleted"))
        try await clone.git("commit", "--quiet", "--amend", "-m", "rewritten")
        #expect(try await refused(["+HEAD:main"]).contains("its history cannot be rewritten"))
        try await clone.git("push", "--quiet", clone.remote, "HEAD:release/1", "HEAD:release/tmp", "HEAD:only/a/b")
        #expect(try await refused([":release/1"]).contains("protected"))
        try await clone.git("push", "--quiet", clone.remote, ":release/tmp")
        try await clone.git("commit", "--quiet", "--allow-empty", "-m", "more")
        #expect(try await refused(["HEAD:only/a/b"]).contains("merging a pull request"))
        #expect(try await refused(["HEAD:refs/pull/9/head"]).contains("set by vagus alone"))
        try await clone.git("push", "--quiet", clone.remote, "HEAD:release/1", "+HEAD:free")
        _ = it
    }

    @Test func `push options skip runs and give parameters`() async throws {
        let (it, clone) = try await hosted()
        let parameters = Self.manifest.replacingOccurrences(
            of: "stages:", with: "parameters: { env: { default: dev } }\nstages:")
        try await clone.push([".vagus/check.yaml": parameters], "with parameters")
        try await look(it)
        let before = try await runs(it).count
        try await clone.git("commit", "--quiet", "--allow-empty", "-m", "more")
        try await clone.git("push", "--quiet", "-o", "ci.skip", clone.remote, "HEAD:main")
        try await look(it)
        #expect(try await runs(it).count == before)
        try await clone.git("commit", "--quiet", "--allow-empty", "-m", "even more")
        let told = try await clone.git(
            "push", "-o", "ci.parameter=env=prod", "-o", "ci.parameter=env", clone.remote, "HEAD:main")
        #expect(told.contains("\"ci.parameter=env\" means nothing") && told.contains("pipeline.not-started"), "\(told)")
        try await look(it)
        #expect(try await runs(it).last?.parameters["env"] == "prod")
        let notes = try FileManager.default.contentsOfDirectory(atPath: "\(clone.remote)/\(Hosting.notesFolder)")
        #expect(notes.isEmpty)
    }

    @Test func `the statuses of a commit are those of its newest runs`() async throws {
        let (it, _) = try await hosted()
        var query = StatusQuery()
        query.name = "shop"
        #expect(try await it.house.call(Repositories.statuses, query).items.map(\.state) == [.pending])
        try await it.hello()
        try await it.work()
        let statuses = try await it.house.call(Repositories.statuses, query).items
        #expect(statuses.map(\.state) == [.success] && statuses.first?.pipeline == "check")
    }
}

extension RepositoryTests.Clone {
    /// Runs git, which must fail; returns what it says.
    func refused(_ arguments: [String]) async throws -> String {
        let quoted = arguments.map { "'\($0)'" }.joined(separator: " ")
        return try await git("-c", "alias.try=!git \(quoted) 2>&1 && echo DONE || true", "try")
    }
}
