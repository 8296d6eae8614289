import API
import Foundation
import Frames
import Kernel
import KernelTesting
import Learners
import Manifests
import Synchronization
import Testing

@testable import Training

/// From rows to a model's folder.
@Suite struct TrainingTests {
    @Test func `a linear model is trained to its folder without any library`() async throws {
        let bench = try Bench()
        let (train, test) = (try synthetic(600, seed: 1), try synthetic(200, seed: 2))
        let (folder, result) = try await bench.model("one", train, test: test)
        #expect(result.artifacts == ["model": "model"])
        #expect(result.outputs["format"] == "linear")
        #expect(result.outputs["rows"] == 600)
        #expect(result.outputs["feature_count"] == 2)
        #expect(result.outputs["data_digest"]?.string == "sha256:" + train.digest)
        let bundle = try ModelBundle.load(folder: folder, xgboost: nil)
        #expect(bundle.transforms.inputColumns.map(\.name) == ["a", "b"])
        #expect(bundle.signature.format == "linear")
        #expect(try TrainingNote(jsonText: TrainingFiles.bytes("\(folder)/training.json")).target == "y")
        let loss = try #require(result.metrics["test-logloss"])
        #expect(loss > 0.3 && loss < 0.6)
        #expect(bench.lines.contains { $0.hasPrefix("round 1  train-loss 0.") })
        #expect((result.report?["rounds"]?.array?.count ?? 0) > 1)
        #expect(result.report?["hyperparameters"]?["objective"] == "logistic")
        #expect(result.report?["signature"]?["inputs"]?.array?.count == 2)
    }

    @Test func `the reference has the test rows with the model's answers and labels`() async throws {
        let bench = try Bench()
        let (train, test) = (try synthetic(300, seed: 1), try synthetic(100, seed: 2))
        let (folder, _) = try await bench.model("one", train, test: test)
        let reference = try Frame.read(path: "\(folder)/reference.vgf")
        #expect(reference.names == ["a", "b", "sex", "y", "__label", "__score"])
        #expect(try reference.dropping(["__label", "__score"]) == test)
        #expect(reference["__label"] == test["y"])
        let bundle = try ModelBundle.load(folder: folder, xgboost: nil)
        #expect(reference["__score"]?.doubles == (try bundle.predict(test)))
    }

    @Test func `without validation rows the reference is a seeded sample of the training rows`() async throws {
        let bench = try Bench()
        let train = try synthetic(TrainingLimits.referenceRows + 500, seed: 1)
        let (folder, result) = try await bench.model("one", train)
        let reference = try Frame.read(path: "\(folder)/reference.vgf")
        #expect(reference.rowCount == TrainingLimits.referenceRows)
        #expect(result.metrics.keys == ["train-logloss", "train-loss"])
        let (again, _) = try await bench.model("two", train)
        #expect(try Frame.read(path: "\(again)/reference.vgf") == reference)
    }

    @Test(arguments: [
        ("linear", "l3", "Did you mean \"l2\"?"), ("xgboost", "max_dept", "Did you mean \"max_depth\"?"),
    ])
    func `an unknown hyperparameter is told with the one that was meant`(algorithm: String, name: String, hint: String)
        async throws
    {
        let bench = try Bench()
        let settings: JSONValue = [
            "algorithm": .string(algorithm), "target": "y", "training_data": "t.train",
            "hyperparameters": .object([name: 3]),
        ]
        // No table is needed to see it.
        let problem = await bench.problem(TrainWorker(), try bench.order("train", settings))
        #expect(problem?.code == "learner.bad-parameter")
        #expect(problem?.hint == hint)
    }

    @Test func `a label that is missing is told with its row`() async throws {
        let bench = try Bench()
        let frame = try Frame([
            (ColumnSchema("a", .float), .floats([1, 2, 3])), (ColumnSchema("y", .float), .floats([0, nil, 1])),
        ])
        let settings: JSONValue = ["algorithm": "linear", "target": "y", "training_data": "t.train"]
        let problem = await bench.problem(TrainWorker(), try bench.order("train", settings, tables: ["train": frame]))
        #expect(problem?.code == "target.missing-value")
        #expect(problem?.message.contains("row 2 of the training data") == true)
    }

    @Test func `a label that is a word is told with its row and the word`() async throws {
        let bench = try Bench()
        let frame = try Frame([
            (ColumnSchema("a", .float), .floats([1, 2])), (ColumnSchema("y", .category), .categories(["1", "yes"])),
        ])
        let settings: JSONValue = ["algorithm": "linear", "target": "y", "training_data": "t.train"]
        let problem = await bench.problem(TrainWorker(), try bench.order("train", settings, tables: ["train": frame]))
        #expect(problem?.code == "target.text")
        #expect(problem?.message.contains("\"yes\" in row 2") == true)
    }

    @Test func `an unknown target is told with the column that was meant`() async throws {
        let bench = try Bench()
        let settings: JSONValue = ["algorithm": "linear", "target": "yy", "training_data": "t.train"]
        let train = try synthetic(10, seed: 1).dropping(["sex"])
        let problem = await bench.problem(TrainWorker(), try bench.order("train", settings, tables: ["train": train]))
        #expect(problem?.code == "target.missing")
        #expect(problem?.hint == "Did you mean \"y\"?")
    }

    @Test func `features that are made of the target are refused`() async throws {
        let bench = try Bench()
        let train = try synthetic(50, seed: 1)
        let fitted = try FittedTransforms.fit([], on: train, excluding: ["sex"])
        try Data(fitted.artifact).write(to: URL(filePath: "\(bench.folder)/t.json"))
        let settings: JSONValue = ["algorithm": "linear", "target": "y", "training_data": "t.train"]
        let order = try bench.order(
            "train", settings, tables: ["train": train], inputs: ["transforms": "\(bench.folder)/t.json"])
        #expect(await bench.problem(TrainWorker(), order)?.code == "train.leak")
    }

    @Test(arguments: ["linear", "xgboost"])
    func `early stopping without rows to judge on is a problem`(algorithm: String) async throws {
        let bench = try Bench()
        let settings: JSONValue = [
            "algorithm": .string(algorithm), "target": "y", "training_data": "t.train", "early_stopping": 3,
        ]
        let problem = await bench.problem(TrainWorker(), try bench.order("train", settings))
        #expect(problem?.code == "train.early-stopping")
    }

    @Test func `a library that is not there is a problem that says how to get it`() async throws {
        let bench = try Bench()
        let settings: JSONValue = ["algorithm": "xgboost", "target": "y", "training_data": "t.train", "rounds": 2]
        let train = try synthetic(50, seed: 1).dropping(["sex"])
        var order = try bench.order("train", settings, tables: ["train": train])
        order.xgboost = "\(bench.folder)/libxgboost.so"
        let problem = await bench.problem(TrainWorker(), order)
        #expect(problem?.code == "learner.library-missing")
        #expect(problem?.hint?.contains("setup-xgboost") == true)
    }

    @Test func `a short training tells each round, a long one every tenth`() {
        let bench = Lines()
        for total in [50, 51] {
            let teller = RoundTeller(total: total) { bench.add("\(total) \($0)") }
            for round in 1...total { teller.tell(round, ["test-logloss": 0.625, "train-logloss": 0.6]) }
        }
        #expect(bench.all.filter { $0.hasPrefix("50 ") }.count == 50)
        let long = bench.all.filter { $0.hasPrefix("51 ") }
        #expect(long.count == 7)
        #expect(long[1] == "51 round 10  train-logloss 0.6  test-logloss 0.625")
    }

    @Test func `a report of many rounds is thinned and keeps the last`() {
        let rounds = TrainWorker.rounds((0..<2_500).map { ["train-logloss": Double($0)] })
        #expect(rounds.count <= TrainingLimits.roundsShown)
        #expect(rounds.last?["round"] == 2_500)
    }

    @Test func `the room opens and brings nothing of its own`() async throws {
        let house = try TestHouse()
        let domain = TrainingDomain(context: house.context)
        try await house.open([domain])
        #expect(domain.loops.isEmpty)
        #expect(domain.migrations.isEmpty)
    }
}

/// Lines that were told.
final class Lines: Sendable {
    private let lines = Mutex<[String]>([])
    func add(_ line: String) { lines.withLock { $0.append(line) } }
    var all: [String] { lines.withLock { $0 } }
}
