import API
import Foundation
import Manifests
import Testing

@testable import Moving

/// A folder that is there while a test runs.
private struct Folder: ~Copyable {
    let path = FileManager.default.temporaryDirectory.appending(path: "moving-\(UUID().uuidString)").path

    func write(_ name: String, _ text: String) throws {
        let place = URL(filePath: "\(path)/\(name)")
        try FileManager.default.createDirectory(
            at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: place)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }  // the system's temporary folder
}

@Suite struct SourceTests {
    @Test func `a folder of MLflow's file store is read whole`() async throws {
        let folder = Folder()
        let (run, root) = (String(repeating: "0f", count: 16), folder.path)
        try folder.write(
            "12/meta.yaml",
            "artifact_location: file://\(root)/12\nexperiment_id: '12'\nname: churn\nlifecycle_stage: active\ncreation_time: 5\n"
        )
        try folder.write("12/tags/area", "a")
        try folder.write(
            "12/\(run)/meta.yaml",
            """
            artifact_uri: file://\(root)/12/\(run)/artifacts
            end_time: 20
            experiment_id: '12'
            lifecycle_stage: active
            run_id: \(run)
            run_name: first
            start_time: 10
            status: 4
            user_id: ana

            """)
        try folder.write("12/\(run)/params/a/b", "1\n2")
        try folder.write("12/\(run)/tags/mlflow.runName", "first")
        try folder.write("12/\(run)/metrics/m/x", "1 nan 2\n2 inf 3\n2 inf 3\n3 -1.5e-3\n")
        try folder.write("12/\(run)/artifacts/d/x.txt", "hello")
        try folder.write("12/\(run)/outputs/m-1/meta.yaml", "destination_id: m-1\nstep: 4\n")
        try folder.write("12/models/m-1/meta.yaml", "model_id: m-1\nname: net\nstatus: 2\nsource_run_id: \(run)\n")
        try folder.write("12/models/m-1/metrics/acc", "7 0.5 1 \(run) data d1\n")
        try folder.write(".trash/13/meta.yaml", "experiment_id: '13'\nname: gone\nlifecycle_stage: deleted\n")
        try folder.write("models/reg/meta.yaml", "name: reg\ncreation_timestamp: 3\n")
        try folder.write("models/reg/aliases/best", "2")
        try folder.write(
            "models/reg/version-2/meta.yaml",
            "version: 2\nname: reg\nrun_id: \(run)\nsource: file://\(root)/12/\(run)/artifacts/d\n")
        let source = try FolderSource(path: root, artifacts: nil)
        #expect(try await source.look().runs == 1)
        let experiments = try await source.experiments()
        #expect(experiments.map(\.name) == ["churn", "gone"])
        #expect(experiments.map(\.is_deleted) == [false, true] && experiments[0].tags["area"] == "a")
        var runs: [SourceRun] = []
        try await source.runs(of: experiments[0]) { runs += $0 }
        let found = try #require(runs.first)
        #expect((found.run.id, found.run.status, found.run.params["a/b"]) == (run, "FAILED", "1\n2"))
        #expect(found.run.model_outputs.map(\.step) == [4])
        let points = try await source.points(of: found)
        // The line that stands there twice is one point.
        #expect(points.map(\.key) == ["m/x"] && points[0].steps == [2, 3, 0] && points[0].times == [1, 2, 3])
        #expect(points[0].values[0].isNaN && points[0].values[1] == .infinity && points[0].values[2] == -0.0015)
        guard case .here(let files) = try await source.files(of: found.owner) else {
            throw Problem("t", status: 0, "none")
        }
        #expect(files.map(\.path) == ["d/x.txt"] && files[0].bytes == 5)
        let model = try #require(try await source.loggedModels(of: experiments[0]).first)
        #expect(model.model.metrics.map(\.dataset_digest) == ["d1"] && model.model.metrics[0].run == run)
        let registered = try #require(try await source.registeredModels().first)
        #expect(registered.aliases["best"] == 2 && registered.versions.map(\.source) == ["runs:/\(run)/d"])
    }

    @Test func `what is no store is refused with what to do`() async throws {
        let folder = Folder()
        try folder.write("some.txt", "x")
        #expect(throws: Problem.self) { try FolderSource(path: folder.path, artifacts: nil) }
        #expect(throws: Problem.self) { try FolderSource(path: "\(folder.path)/nowhere", artifacts: nil) }
        try folder.write("junk.db", String(repeating: "no database ", count: 500))
        for (name, code) in [("junk.db", "move.not-sqlite"), ("none.db", "move.no-file")] {
            let problem = await #expect(throws: Problem.self) {
                try await SQLiteSource(path: "\(folder.path)/\(name)", artifacts: nil)
            }
            #expect(problem?.code == code)
        }
        #expect(!FileManager.default.fileExists(atPath: "\(folder.path)/none.db"))
    }

    @Test(arguments: [
        ("models:/m-0a1b", "models:/m-0a1b"), ("models:/Churn/3", "models:/Churn/3"),
        ("runs:/r/model", "runs:/r/model"),
        ("/art/1/r/artifacts/model", "runs:/r/model"), ("/art/1/r/artifacts", "runs:/r/"),
        ("mlflow-artifacts:/1/models/m-0a1b/artifacts", "models:/m-0a1b"), ("s3://bucket/x", "s3://bucket/x"),
        ("/art/1/r/artifacts-2/model", "/art/1/r/artifacts-2/model"),
    ])
    func `the source of a version means the same on the other side`(_ source: String, _ moved: String) {
        let told = VersionSource.source(source, storage: nil, run: "r") { _ in "/art/1/r/artifacts" }
        #expect(told == moved)
    }

    @Test func `files are found where they are, or where a copy is, or told to be missing`() throws {
        let folder = Folder()
        try folder.write("store/1/r/artifacts/a.txt", "1")
        try folder.write("mlartifacts/1/q/artifacts/b.txt", "22")
        let plain = LocalArtifacts(root: nil, base: folder.path)
        let copied = LocalArtifacts(root: "\(folder.path)/store", base: "/nowhere")
        func owner(_ id: String, _ address: String) -> FileOwner {
            FileOwner(id: id, experiment: "1", address: address, isModel: false)
        }
        func paths(_ found: FoundFiles) -> [String] {
            switch found {
            case .here(let files): files.map(\.path)
            case .elsewhere: ["elsewhere"]
            case .missing: ["missing"]
            }
        }
        let table: [(LocalArtifacts, FileOwner, [String])] = [
            (plain, owner("r", "\(folder.path)/store/1/r/artifacts"), ["a.txt"]),
            (plain, owner("r", "./store/1/r/artifacts"), ["a.txt"]),
            (plain, owner("q", "mlflow-artifacts:/1/q/artifacts"), ["b.txt"]),
            // Nothing was logged: the root is there, and the run's folder is not.
            (plain, owner("s", "file://\(folder.path)/store/1/s/artifacts"), []),
            (copied, owner("r", "/home/ana/mlruns/1/r/artifacts"), ["a.txt"]),
            (plain, owner("r", "/home/ana/mlruns/1/r/artifacts"), ["missing"]),
            (plain, owner("r", "s3://bucket/1/r/artifacts"), ["elsewhere"]), (plain, owner("r", ""), []),
        ]
        for (artifacts, owner, expected) in table {
            #expect(paths(try artifacts.files(of: owner)) == expected, "\(owner.address)")
        }
    }

    @Test func `the greatest number stands for infinity`() {
        #expect(StoredNumber.value(1.7976931348623157e308) == .infinity)
        #expect(StoredNumber.value(-1.7976931348623157e308) == -.infinity)
        #expect(StoredNumber.value(1.7976931348623155e308) == 1.7976931348623155e308)
    }
}
