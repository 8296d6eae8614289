import API
import Expressions
import Foundation
import Frames
import Kernel
import Learners
import Manifests
import Stats
import Testing

@testable import Training

/// From a model to a verdict.
@Suite struct EvaluateTests {
    static func settings(_ more: Ordered<JSONValue> = [:]) -> JSONValue {
        var settings: Ordered<JSONValue> = ["model": "t.model", "data": "t.test"]
        for (key, value) in more { settings[key] = value }
        return .object(settings)
    }

    @Test func `the figures are those of the scores and labels`() async throws {
        let bench = try Bench()
        let (folder, _) = try await bench.model("one", try synthetic(600, seed: 1))
        let data = try synthetic(400, seed: 2)
        let result = try await bench.run(
            EvaluateWorker(),
            try bench.order("evaluate", Self.settings(), tables: ["data": data], inputs: ["model": folder]))
        #expect(
            result.metrics.keys == ["auc", "log_loss", "brier", "ece", "accuracy", "f1", "precision", "recall"])
        let scores = try ModelBundle.load(folder: folder, xgboost: nil).predict(data)
        let labels = (data["y"]?.doubles ?? []).map { $0 == 1 }
        #expect(result.metrics["auc"] == (try Classification.auc(scores: scores, labels: labels)))
        #expect(result.metrics["f1"] == (try Classification.f1(scores: scores, labels: labels)))
        #expect(result.failure == nil)
        #expect(result.outputs["passed"] == true)
        let saved = try JSONParser.parse(TrainingFiles.bytes("\(bench.folder)/outputs/report.json"))
        #expect(saved == result.report)
        #expect(result.report?["metrics"]?["auc"]?.double == result.metrics["auc"])
    }

    @Test func `a failed gate tells every requirement, with numbers, and keeps its report`() async throws {
        let bench = try Bench()
        let (folder, _) = try await bench.model("one", try synthetic(600, seed: 1))
        let require: JSONValue = ["auc >= 0.999", "brier <= 0.5", "acuracy >= 0.1"]
        let order = try bench.order(
            "evaluate", Self.settings(["require": require]), tables: ["data": try synthetic(400, seed: 2)],
            inputs: ["model": folder])
        let result = try await bench.run(EvaluateWorker(), order)
        let failure = try #require(result.failure)
        let auc = try #require(result.metrics["auc"])
        #expect(failure.code == "gate.model")
        #expect(failure.status == 422)
        #expect(failure.message.hasPrefix("2 of 3 requirements failed: auc >= 0.999 (auc is \(short(auc)));"))
        #expect(failure.message.contains("no value \"acuracy\""))
        #expect(result.report?["gates"]?.array?.map { $0["passed"] } == [false, true, false])
        #expect(result.report?["gates"]?[1]?["message"]?.string?.hasPrefix("brier is 0.") == true)
        #expect(result.artifacts == ["report": "report.json"])
        #expect(FileManager.default.fileExists(atPath: "\(order.outputs)/report.json"))
    }

    @Test func `the champion is judged on the same rows`() async throws {
        let bench = try Bench()
        let (good, _) = try await bench.model("good", try synthetic(600, seed: 1))
        // Without the column that tells most, a model can be but worse.
        let (poor, _) = try await bench.model("poor", try synthetic(600, seed: 1), drop: ["sex", "a"])
        let data = try synthetic(400, seed: 2)
        let settings = Self.settings([
            "champion": "risk@champion", "require": ["auc - champion.auc >= -0.005", "champion.auc > 0"],
        ])
        var order = try bench.order(
            "evaluate", settings, tables: ["data": data], inputs: ["model": poor, "champion": good])
        order.facts["champion"] = ["version": 7, "metrics": ["auc": 0.1]]
        let result = try await bench.run(EvaluateWorker(), order)
        #expect(result.report?["champion"]?["version"] == 7)
        let auc = try #require(result.report?["champion"]?["metrics"]?["auc"]?.double)
        let scores = try ModelBundle.load(folder: good, xgboost: nil).predict(data)
        let labels = (data["y"]?.doubles ?? []).map { $0 == 1 }
        #expect(auc == (try Classification.auc(scores: scores, labels: labels)))
        #expect(result.report?["champion"]?["registered_metrics"]?["auc"] == 0.1)
        #expect(result.report?["gates"]?.array?.map { $0["passed"] } == [false, true])
        #expect(result.failure?.message.contains("champion.auc is \(short(auc))") == true)

        order.inputs["model"] = good
        #expect(try await bench.run(EvaluateWorker(), order).failure == nil)
    }

    @Test(arguments: [nil, JSONValue.null])
    func `without a champion what mentions it holds, and says why`(fact: JSONValue?) async throws {
        let bench = try Bench()
        let (folder, _) = try await bench.model("one", try synthetic(300, seed: 1))
        let settings = Self.settings(["champion": "risk@champion", "require": ["auc > champion.auc + 1"]])
        var order = try bench.order(
            "evaluate", settings, tables: ["data": try synthetic(100, seed: 2)], inputs: ["model": folder])
        order.facts["champion"] = fact
        let result = try await bench.run(EvaluateWorker(), order)
        #expect(result.failure == nil)
        #expect(result.report?["gates"]?[0]?["message"] == "holds, as there is no champion to compare with")
        #expect(result.report?["champion"] == nil)
    }

    @Test func `a requirement on a champion that nobody named is a problem, and so are its missing files`() async throws
    {
        let bench = try Bench()
        let unnamed = try bench.order("evaluate", Self.settings(["require": ["auc > champion.auc"]]))
        #expect(await bench.problem(EvaluateWorker(), unnamed)?.code == "evaluate.champion")
        let (folder, _) = try await bench.model("one", try synthetic(300, seed: 1))
        var order = try bench.order(
            "evaluate", Self.settings(["champion": "risk@champion"]), tables: ["data": try synthetic(100, seed: 2)],
            inputs: ["model": folder])
        order.facts["champion"] = ["version": 1, "metrics": [:]]
        #expect(await bench.problem(EvaluateWorker(), order)?.code == "evaluate.champion")
    }

    @Test func `bias is measured by group, small groups are left out and named`() async throws {
        let bench = try Bench()
        let (folder, _) = try await bench.model("one", try synthetic(600, seed: 1))
        var data = try synthetic(400, seed: 2)
        let sex = (0..<400).map { row -> String? in row < 3 ? "x" : row < 5 ? nil : data["sex"]?.text(row) }
        data = try data.replacing("sex", with: .categories(sex))
        let settings = Self.settings([
            "bias": ["by": ["sex"], "min_cell": 50, "threshold": 0.5],
            "require": ["bias.sex.tpr_gap <= 1", "bias.sex.selection_ratio > 2", "bias.age.tpr_gap < 1"],
        ])
        let order = try bench.order("evaluate", settings, tables: ["data": data], inputs: ["model": folder])
        let result = try await bench.run(EvaluateWorker(), order)
        let bias = try #require(result.report?["bias"]?["sex"])
        #expect(bias["groups"]?.array?.map { $0["name"] } == ["f", "m"])
        #expect(bias["left_out"] == [["name": "(missing)", "n": 2], ["name": "x", "n": 3]])
        for name in ["tpr_gap", "selection_ratio", "selection_gap", "average_odds_gap"] {
            #expect(bias[name]?.double != nil, "\(name)")
        }
        let scores = try ModelBundle.load(folder: folder, xgboost: nil).predict(data)
        let direct = try GroupFairness(
            groups: sex.map { $0 ?? "(missing)" }, labels: (data["y"]?.doubles ?? []).map { $0 == 1 },
            selected: scores.map { $0 >= 0.5 }, minCell: 50)
        #expect(bias["tpr_gap"]?.double == direct.tprGap)
        #expect(result.report?["gates"]?.array?.map { $0["passed"] } == [true, false, false])
    }

    @Test func `a gate on groups that are all too small fails`() async throws {
        let bench = try Bench()
        let (folder, _) = try await bench.model("one", try synthetic(300, seed: 1))
        let settings = Self.settings([
            "bias": ["by": ["sex"], "min_cell": 5_000], "require": ["bias.sex.tpr_gap <= 0.1"],
        ])
        let order = try bench.order(
            "evaluate", settings, tables: ["data": try synthetic(100, seed: 2)], inputs: ["model": folder])
        let result = try await bench.run(EvaluateWorker(), order)
        #expect(result.failure?.code == "gate.model")
        #expect(result.report?["bias"]?["sex"]?["left_out"]?.array?.count == 2)
    }

    @Test func `a column for bias that is not there is a problem`() async throws {
        let bench = try Bench()
        let (folder, _) = try await bench.model("one", try synthetic(300, seed: 1))
        let order = try bench.order(
            "evaluate", Self.settings(["bias": ["by": ["sx"]]]), tables: ["data": try synthetic(100, seed: 2)],
            inputs: ["model": folder])
        #expect(await bench.problem(EvaluateWorker(), order)?.hint == "Did you mean \"sex\"?")
    }

    @Test func `a requirement that cannot be read is a problem with its place`() async throws {
        let bench = try Bench()
        let settings = Self.settings(["require": ["auc > 0.5", "auc >"]])
        let problem = await bench.problem(EvaluateWorker(), try bench.order("evaluate", settings))
        #expect(problem?.code == "evaluate.require")
        #expect(problem?.location == "evaluate.require.1")
    }

    @Test func `a model that predicts numbers is judged by its errors`() async throws {
        let bench = try Bench()
        let rows = try synthetic(200, seed: 1)
        let numbers = (rows["a"]?.doubles ?? []).map { Double?(3 * $0 + 1) }
        let train = try rows.replacing("y", with: .floats(numbers))
        let (folder, result) = try await bench.model("one", train, l2: 0)
        #expect(result.report?["hyperparameters"]?["objective"] == "ridge")
        let order = try bench.order(
            "evaluate", Self.settings(["require": ["r2 > 0.99"]]), tables: ["data": train], inputs: ["model": folder])
        let verdict = try await bench.run(EvaluateWorker(), order)
        #expect(verdict.metrics.keys == ["rmse", "mae", "r2"])
        #expect(verdict.failure == nil)
    }

    @Test func `labels of one class leave out the figure that needs both`() throws {
        let told = Lines()
        let frame = try Frame([(ColumnSchema("y", .float), .floats([1, 1]))])
        let labels = try Labels(frame, target: "y", of: "rows")
        let metrics = Judgement.metrics([0.9, 0.8], labels, threshold: 0.5) { told.add($0) }
        #expect(metrics["auc"] == nil)
        #expect(metrics["accuracy"] == 1)
        #expect(told.all == ["no auc: all labels are true"])
    }
}
