import API
import Foundation
import Frames
import Kernel
import Learners
import Manifests
import Testing

@testable import Training

/// With the real library; fails in CI when it is not there.
@Suite(.enabled(if: Library.isExpected, "no XGBoost library here: run scripts/setup-xgboost"))
struct XGBoostTrainingTests {
    static func settings(_ more: Ordered<JSONValue> = [:]) -> JSONValue {
        var settings: Ordered<JSONValue> = [
            "algorithm": "xgboost", "target": "y", "training_data": "t.train", "validation_data": "t.test",
            "rounds": 20, "hyperparameters": ["max_depth": 3, "eta": 0.3],
        ]
        for (key, value) in more { settings[key] = value }
        return .object(settings)
    }

    /// Rows with gaps, which trees can live with.
    static func rows(_ count: Int, seed: UInt64) throws -> Frame {
        let frame = try synthetic(count, seed: seed)
        let gaps = (frame["b"]?.doubles ?? []).enumerated().map { $0.offset % 7 == 0 ? Double.nan : $0.element }
        return try frame.replacing("b", with: .float(gaps)).dropping(["sex"])
    }

    @Test func `trees are trained on rows with gaps and judged afterwards`() async throws {
        let bench = try Bench()
        let (train, test) = (try Self.rows(800, seed: 3), try Self.rows(300, seed: 4))
        let order = try bench.order("train", Self.settings(), tables: ["train": train, "test": test])
        let result = try await bench.run(TrainWorker(), order)
        #expect(result.outputs["format"] == "xgboost")
        #expect(FileManager.default.fileExists(atPath: "\(order.outputs)/model/model.ubj"))
        #expect(bench.lines.filter { $0.hasPrefix("round ") }.count == 20)
        #expect(bench.lines.contains { $0.hasPrefix("round 10  train-logloss 0.") && $0.contains("  test-logloss 0.") })
        #expect(result.report?["rounds"]?.array?.count == 20)
        #expect(result.report?["hyperparameters"]?["objective"] == "binary:logistic")
        #expect(result.metrics.keys == ["train-logloss", "test-logloss"])
        let evaluation = try bench.order(
            "evaluate", ["model": "t.model", "data": "t.test", "require": ["auc >= 0.75"]], tables: ["data": test],
            inputs: ["model": "\(order.outputs)/model"], outputs: "verdict")
        let verdict = try await bench.run(EvaluateWorker(), evaluation)
        #expect(verdict.failure == nil)
        let loss = try #require(result.metrics["test-logloss"])
        #expect(abs((verdict.metrics["log_loss"] ?? 0) - loss) < 1e-4)
    }

    @Test func `the same rows and seed give the same model`() async throws {
        let bench = try Bench()
        let tables = ["train": try Self.rows(300, seed: 3), "test": try Self.rows(100, seed: 4)]
        var files: [Data] = []
        for name in ["one", "two"] {
            let settings = Self.settings(["hyperparameters": ["subsample": 0.5]])
            let order = try bench.order("train", settings, tables: tables, outputs: name)
            _ = try await bench.run(TrainWorker(), order)
            files.append(try Data(contentsOf: URL(filePath: "\(order.outputs)/model/model.ubj")))
        }
        #expect(files[0] == files[1])
    }

    @Test func `early stopping keeps the best round and tells its figures`() async throws {
        let bench = try Bench()
        let tables = ["train": try Self.rows(150, seed: 3), "test": try Self.rows(150, seed: 4)]
        let settings = Self.settings([
            "rounds": 500, "early_stopping": 5, "hyperparameters": ["max_depth": 6, "eta": 0.5],
        ])
        let result = try await bench.run(TrainWorker(), try bench.order("train", settings, tables: tables))
        let kept = try #require(result.report?["kept_rounds"]?.int)
        let rounds = try #require(result.report?["rounds"]?.array)
        #expect(rounds.count == kept + 5)
        let losses = rounds.compactMap { $0["test-logloss"]?.double }
        #expect(result.metrics["test-logloss"] == losses.min())
    }
}
