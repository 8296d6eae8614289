import API
import Foundation
import Manifests
import Testing

@testable import CLI

@Suite struct LocalManifestsTests {
    private static func folder(_ files: [String: String]) throws -> String {
        let folder = NSTemporaryDirectory() + "vagus-manifests-\(UUID().uuidString)"
        for (name, text) in files {
            let place = URL(filePath: "\(folder)/\(name)")
            try FileManager.default.createDirectory(
                at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: place)
        }
        return folder
    }

    private static let pipeline = """
        kind: Pipeline
        name: shop
        triggers: [{ push: { branches: [main] } }]
        stages:
          - { name: a, jobs: { x: { steps: [{ run: x }] }, y: { steps: [{ run: y }] } } }
          - { name: b, jobs: { z: { steps: [{ run: z }] } } }
          - { name: c, needs: [a], jobs: { v: { steps: [{ run: v }] } } }
        """

    private static func read(
        _ folder: String, _ file: String, pipeline: String? = nil, jobs: [String] = []
    ) throws -> LocalManifests {
        try LocalManifests.read("\(folder)/\(file)", pipeline: pipeline, jobs: jobs, project: "default")
    }

    @Test func `what lies in .vagus comes first, the file's own word counts`() throws {
        let folder = try Self.folder([
            "ci.yaml": Self.pipeline, ".vagus/env.yaml": "kind: Environment\nname: live\nvariables: { A: b }",
            ".vagus/other.yaml":
                "kind: Pipeline\nname: shop\nstages: [{ name: old, jobs: { j: { steps: [{ run: x }] } } }]",
            "beside.yaml": "nonsense: here",
        ])
        let it = try Self.read(folder, "ci.yaml")
        #expect(it.pipeline == "shop" && it.documents.count == 2)
        #expect(it.documents[0]["kind"] == "Environment")
        #expect(it.documents[1]["stages"]?.array?.count == 3)
        #expect(it.documents[1]["triggers"] == nil && it.documents[1]["repository"] == "work-tree")
        // Inside of .vagus its neighbours are meant.
        let inner = try Self.read(folder, ".vagus/other.yaml")
        #expect(inner.documents.map { $0["kind"] } == ["Environment", "Pipeline"])
    }

    @Test(
        arguments: [
            ([], ["a": ["x", "y"], "b": ["z"], "c": ["v"]]), (["b"], ["a": ["x", "y"], "b": ["z"]]),
            (["c/v"], ["a": ["x", "y"], "c": ["v"]]), (["a/y"], ["a": ["y"]]), (["a/y", "a/x"], ["a": ["x", "y"]]),
            (["a/y", "c"], ["a": ["y"], "c": ["v"]]),
        ] as [([String], [String: [String]])])
    func `chosen jobs come with what they need`(jobs: [String], expected: [String: [String]]) throws {
        let it = try Self.read(try Self.folder(["ci.yaml": Self.pipeline]), "ci.yaml", jobs: jobs)
        let stages = it.documents[0]["stages"]?.array ?? []
        var found: [String: [String]] = [:]
        for stage in stages { found[stage["name"]?.string ?? ""] = stage["jobs"]?.object?.keys }
        #expect(found == expected)
        if jobs == ["b"] { #expect(stages[1]["needs"] == ["a"]) }
    }

    @Test(
        arguments: [
            ("ci.yaml", ["d"], nil, "the pipeline has no job \"d\""),
            ("ci.yaml", ["a/q"], nil, "the pipeline has no job \"a/q\""),
            ("none.yaml", [], nil, "has no pipeline in it"), ("two.yaml", [], nil, "has 2 pipelines"),
            ("two.yaml", [], "third", "has no pipeline \"third\""),
        ] as [(String, [String], String?, String)])
    func `a wrong choice is explained`(file: String, jobs: [String], pipeline: String?, message: String) throws {
        let stages = "stages: [{ name: a, jobs: { j: { steps: [{ run: x }] } } }]"
        let folder = try Self.folder([
            "ci.yaml": Self.pipeline, "none.yaml": "kind: Environment\nname: live",
            "two.yaml": "kind: Pipeline\nname: one\n\(stages)\n---\nkind: Pipeline\nname: two\n\(stages)",
        ])
        let problem = #expect(throws: Problem.self) {
            _ = try Self.read(folder, file, pipeline: pipeline, jobs: jobs)
        }
        #expect(problem?.message.contains(message) == true, "\(problem?.message ?? "")")
        #expect(problem?.hint != nil)
    }

    @Test func `an invalid manifest is placed in its file`() throws {
        let folder = try Self.folder([
            "ci.yaml": Self.pipeline, ".vagus/bad.yaml": "kind: Environment\nname: x\nteir: staging",
        ])
        let error = #expect(throws: ManifestError.self) { _ = try Self.read(folder, "ci.yaml") }
        #expect(error?.location?.hasSuffix("bad.yaml:3:1") == true, "\(error?.location ?? "")")
    }
}

@Suite struct WorkTreeTests {
    /// A repository with one commit, one change and one file that git does not know.
    private static func repository() async throws -> String {
        let folder = NSTemporaryDirectory() + "vagus-tree-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder + "/deep", withIntermediateDirectories: true)
        let git = LocalGit()
        _ = try await git.text(["init", "--quiet", "--initial-branch=trunk", "."], in: folder)
        try Data("one\n".utf8).write(to: URL(filePath: "\(folder)/a.txt"))
        try Data("*.log\n".utf8).write(to: URL(filePath: "\(folder)/.gitignore"))
        _ = try await git.text(["add", "--all"], in: folder)
        _ = try await git.text(["commit", "--quiet", "-m", "first"], in: folder, adding: LocalGit.identity)
        return folder
    }

    private func files(_ tree: WorkTree) async throws -> [String] {
        try await LocalGit().text(["ls-tree", "-r", "--name-only", tree.commit], in: tree.place)
            .split(separator: "\n").map(String.init)
    }

    @Test func `a clean tree is its HEAD, a changed one a commit on it`() async throws {
        let folder = try await Self.repository()
        let git = LocalGit()
        let head = try await git.text(["rev-parse", "HEAD"], in: folder)
        let clean = try #require(try await WorkTree.copy(around: folder + "/deep", to: folder + "-1.git", ref: nil))
        #expect(clean.commit == head && !clean.hasChanges && clean.branch == "trunk")

        // As long as before and within the same moment: only its content tells.
        try Data("two\n".utf8).write(to: URL(filePath: "\(folder)/a.txt"))
        try Data("x\n".utf8).write(to: URL(filePath: "\(folder)/deep/new.txt"))
        try Data("x\n".utf8).write(to: URL(filePath: "\(folder)/left.log"))
        let status = try await git.text(["status", "--porcelain"], in: folder)
        let changed = try #require(try await WorkTree.copy(around: folder, to: folder + "-2.git", ref: nil))
        #expect(changed.hasChanges && changed.commit != head)
        #expect(try await files(changed) == [".gitignore", "a.txt", "deep/new.txt"])
        #expect(try await git.text(["cat-file", "blob", "\(changed.commit):a.txt"], in: changed.place) == "two")
        #expect(try await git.text(["rev-parse", "\(changed.commit)^"], in: changed.place) == head)
        #expect(try await git.text(["status", "--porcelain"], in: folder) == status)
        let (code, _) = try await git.attempt(["cat-file", "-e", changed.commit], in: folder)
        #expect(code != 0, "nothing is written to the repository it is taken of")

        let named = try #require(try await WorkTree.copy(around: folder, to: folder + "-3.git", ref: "trunk"))
        #expect(named.commit == head && named.branch == "trunk" && !named.hasChanges)
        await #expect(throws: Problem.self) {
            try await WorkTree.copy(around: folder, to: folder + "-4.git", ref: "--all")
        }
    }

    @Test func `branches and tags come along when they are asked for`() async throws {
        let folder = try await Self.repository()
        let git = LocalGit()
        _ = try await git.text(["tag", "-a", "v1", "-m", "v1"], in: folder, adding: LocalGit.identity)
        _ = try await git.text(["branch", "topic"], in: folder)
        _ = try await git.text(["branch", "work-tree/x"], in: folder)
        func refs(_ tree: WorkTree) async throws -> [String] {
            try await git.text(["for-each-ref", "--format=%(refname) %(objecttype)"], in: tree.place)
                .split(separator: "\n").map(String.init)
        }
        let plain = try #require(try await WorkTree.copy(around: folder, to: folder + "-5.git", ref: nil))
        #expect(try await refs(plain) == ["refs/heads/trunk commit"])
        try Data("two\n".utf8).write(to: URL(filePath: "\(folder)/a.txt"))
        let tree = try #require(
            try await WorkTree.copy(around: folder, to: folder + "-6.git", ref: nil, withRefs: true))
        #expect(
            try await refs(tree) == ["refs/heads/topic commit", "refs/heads/trunk commit", "refs/tags/v1 tag"])
        #expect(try await git.text(["rev-parse", "trunk"], in: tree.place) == tree.commit, "not what is committed")
        #expect(try await git.text(["describe", "trunk"], in: tree.place).hasPrefix("v1-1-g"))
    }

    @Test func `outside of git there is no tree`() async throws {
        let folder = NSTemporaryDirectory() + "vagus-none-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        #expect(try await WorkTree.copy(around: folder, to: folder + "/x.git", ref: nil) == nil)
        await #expect(throws: Problem.self) {
            try await WorkTree.copy(around: folder, to: folder + "/x.git", ref: "main")
        }
    }
}

@Suite struct ShellPlaceTests {
    private static func run() throws -> Run {
        var run = Run()
        (run.id, run.pipeline, run.number) = ("run_1", "shop", 4)
        for (index, name) in ["unit", "lint"].enumerated() {
            var job = Job()
            (job.stage, job.name, job.runner, job.attempt, job.status) = ("test", name, "local", 2, .failed)
            for number in 0...2 {
                var step = Step()
                (step.index, step.status) = (number, number == 1 && index == 0 ? .failed : .succeeded)
                job.steps.append(step)
            }
            run.jobs.append(job)
        }
        return run
    }

    @Test func `the step that failed lends its variables`() throws {
        let data = NSTemporaryDirectory() + "vagus-shell-\(UUID().uuidString)"
        let folder = "\(data)/runner/local/workspaces/run_1/test.unit"
        for name in ["workspace", "step-1"] {
            try FileManager.default.createDirectory(atPath: "\(folder)/\(name)", withIntermediateDirectories: true)
        }
        try Data(#"{"COLOUR": "blue"}"#.utf8).write(to: URL(filePath: "\(folder)/step-1/environment.json"))
        let run = try Self.run()
        let place = try ShellPlace(run: run, job: "test/unit@2", step: nil, data: data)
        #expect(place.workspace == "\(folder)/workspace" && place.environment["COLOUR"] == "blue")
        #expect(place.environment["VAGUS_WORKSPACE"] == place.workspace)
        #expect(place.title == "shop:4 test/unit step 2")
        #expect(try ShellPlace(run: run, job: "test/unit", step: 3, data: data).environment["COLOUR"] == nil)
        for (job, step, code) in [
            ("test", nil, "shell.job"), ("test/unit@1", nil, "shell.attempt"), ("test/unit", 9, "shell.step"),
            ("test/lint", nil, "shell.no-workspace"),
        ] as [(String, Int?, String)] {
            let problem = #expect(throws: Problem.self) {
                _ = try ShellPlace(run: run, job: job, step: step, data: data)
            }
            #expect(problem?.code == code)
        }
    }
}
