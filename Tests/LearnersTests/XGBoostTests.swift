import Foundation
import Manifests
import Synchronization
import Testing

@testable import Learners

@Suite(.enabled(if: TestLibrary.isExpected, TestLibrary.reason))
struct XGBoostTests {
    let library: XGBoostLibrary
    init() throws { library = try TestLibrary.found.get() }

    private func golden() throws -> XGBoostModel {
        try XGBoostModel(loading: Golden.bytes("treeshap_model.ubj"), library: library)
    }

    private func trained(_ parameters: [String: String] = [:], rounds: Int = 20) throws -> XGBoostModel {
        let train = Synthetic(rows: 600, seed: 1)
        return try XGBoostModel.train(
            train.data, labels: train.labels, featureNames: Synthetic.names,
            hyperparameters: parameters.merging(["objective": "binary:logistic"]) { own, _ in own }, rounds: rounds,
            library: library
        ).model
    }

    // MARK: - Against Python's xgboost 3.2.0 and shap 0.51.0

    @Test func `predictions equal those of the Python package`() throws {
        let expected = try #require(Golden.treeshap()["proba"]?.array).compactMap(\.double)
        let predictions = try golden().predict(Golden.sample())
        #expect(predictions.count == 300)
        #expect(zip(predictions, expected).allSatisfy { abs(Double($0) - $1) <= 1e-6 })
    }

    @Test func `contributions equal those of the Python package and sum to the margin`() throws {
        let file = try Golden.treeshap()
        let expected = try #require(file["pred_contribs_last_col_is_bias"]?.array)
            .flatMap { $0.array?.compactMap(\.double) ?? [] }
        let margins = try #require(file["margin"]?.array).compactMap(\.double)
        let contributions = try golden().contributions(Golden.sample())
        #expect(contributions.count == 300 * 7 && expected.count == 300 * 7)
        #expect(zip(contributions, expected).allSatisfy { abs(Double($0) - $1) <= 1e-6 })
        for (row, margin) in margins.enumerated() {
            let sum = contributions[row * 7..<row * 7 + 7].reduce(0.0) { $0 + Double($1) }
            #expect(abs(sum - margin) < 1e-4)
        }
    }

    @Test func `gain importance equals that of the Python package`() throws {
        let expected = try #require(Golden.treeshap()["gain_importance"]?.object)
        let importance = try golden().importance(.gain)
        #expect(importance.count == 6)
        for (name, value) in expected {
            #expect(abs(Double(importance[name] ?? -1) - (value.double ?? 0)) < 1e-5)
        }
    }

    // MARK: - Training

    @Test func `training tells apart what can be told apart`() throws {
        let test = Synthetic(rows: 500, seed: 2)
        let model = try trained(["max_depth": "3", "eta": "0.3"])
        let auc = areaUnderCurve(try model.predict(test.data), test.labels)
        #expect(auc > 0.88 && auc < 0.99)
        #expect(model.featureNames == Synthetic.names)
        #expect(model.rounds == 20)
        let importance = try model.importance(.weight)
        #expect(Set(importance.keys) == Set(Synthetic.names))
        let gain = try model.importance(.gain)
        #expect((gain["a"] ?? 0) > (gain["c"] ?? 0) && (gain["b"] ?? 0) > (gain["d"] ?? 0))
    }

    @Test func `the same training gives the same bytes`() throws {
        let parameters = ["nthread": "1", "subsample": "0.8", "seed": "7"]
        #expect(try trained(parameters).save(.ubj) == trained(parameters).save(.ubj))
    }

    @Test func `progress hears every metric of every set and may cancel`() throws {
        let (train, test) = (Synthetic(rows: 200, seed: 3), Synthetic(rows: 100, seed: 4))
        let sets = [
            EvaluationSet(name: "train", data: train.data, labels: train.labels),
            EvaluationSet(name: "validation", data: test.data, labels: test.labels),
        ]
        var heard: [Int: [String: Double]] = [:]
        let thrown = code {
            _ = try XGBoostModel.train(
                train.data, labels: train.labels, featureNames: Synthetic.names,
                hyperparameters: ["objective": "binary:logistic", "eval_metric": "auc, logloss"], rounds: 50,
                evaluation: sets, library: library
            ) { round, scores in
                heard[round] = scores
                return round < 4
            }
        }
        #expect(thrown == .cancelled)
        #expect(heard.count == 5)
        #expect(
            Set(heard[0]?.keys.map(\.self) ?? []) == [
                "train-auc", "train-logloss", "validation-auc", "validation-logloss",
            ])
        #expect((heard[4]?["train-logloss"] ?? 1) < (heard[0]?["train-logloss"] ?? 0))
    }

    @Test func `early stopping keeps the rounds up to the best`() throws {
        let (train, test) = (Synthetic(rows: 150, seed: 5), Synthetic(rows: 300, seed: 6))
        let result = try XGBoostModel.train(
            train.data, labels: train.labels, featureNames: Synthetic.names,
            hyperparameters: ["objective": "binary:logistic", "eval_metric": "logloss", "eta": "0.5"], rounds: 200,
            evaluation: [EvaluationSet(name: "validation", data: test.data, labels: test.labels)], earlyStopping: 5,
            library: library)
        let best = try #require(result.bestRound)
        let losses = result.history.compactMap { $0["validation-logloss"] }
        #expect(losses.firstIndex(of: losses.min() ?? 0) == best)
        #expect(result.roundsRun == best + 6)
        #expect(result.model.rounds == best + 1)
        let predictions = try result.model.predict(test.data)
        let loss =
            zip(predictions, test.labels).reduce(0.0) { sum, pair in
                sum - Foundation.log(Double(pair.1 == 1 ? pair.0 : 1 - pair.0))
            } / 300
        #expect(abs(loss - losses[best]) < 1e-5)
        #expect(result.model.featureNames == Synthetic.names)
    }

    @Test func `softprob gives a number for each class`() throws {
        let train = Synthetic(rows: 300, seed: 8)
        let labels = (0..<300).map { Float($0 % 3) }
        let model = try XGBoostModel.train(
            train.data, labels: labels, featureNames: Synthetic.names,
            hyperparameters: ["objective": "multi:softprob", "num_class": "3"], rounds: 3, library: library
        ).model
        let predictions = try model.predict(train.data)
        #expect(predictions.count == 900)
        #expect(abs(predictions[0..<3].reduce(0, +) - 1) < 1e-5)
        #expect(try model.contributions(train.data.take([0])).count == 3 * 5)
    }

    @Test func `labels and data that cannot be learned from are refused`() throws {
        let train = Synthetic(rows: 50, seed: 9)
        func attempt(_ data: Matrix, _ labels: [Float], weights: [Float]? = nil) -> LearnerError.Code? {
            code {
                _ = try XGBoostModel.train(
                    data, labels: labels, weights: weights, featureNames: Synthetic.names,
                    hyperparameters: ["objective": "binary:logistic"], rounds: 1, library: library)
            }
        }
        var infinite = train.data
        infinite[3, 1] = .infinity
        #expect(attempt(train.data, Array(train.labels.dropLast())) == .badValue)
        #expect(attempt(train.data, [.nan] + train.labels.dropFirst()) == .nonFinite)
        #expect(attempt(train.data, [7] + train.labels.dropFirst()) == .badValue)
        #expect(attempt(train.data, train.labels, weights: [1, 2]) == .badValue)
        #expect(attempt(infinite, train.labels) == .nonFinite)
        #expect(attempt(Matrix(rows: 0, columns: 4), []) == .badValue)
    }

    // MARK: - Predicting

    @Test func `a row alone is predicted as it is in a batch`() throws {
        let model = try trained()
        let data = Synthetic(rows: 200, seed: 10).data
        let batch = try model.predict(data)
        for row in 0..<200 { #expect(try model.predict(data.take([row])) == [batch[row]]) }
        #expect(try model.predict(Matrix(rows: 0, columns: 4)) == [])
    }

    @Test func `many threads at once get the right answers`() async throws {
        let model = try trained()
        let data = Synthetic(rows: 64, seed: 11).data
        let expected = try model.predict(data)
        let wrong = await withTaskGroup(of: Int.self) { group in
            for worker in 0..<8 {
                group.addTask {
                    (0..<200).count { turn in
                        let row = (worker * 31 + turn) % 64
                        let alone = try? model.predict(data.take([row]))  // nil counts as wrong
                        return alone != [expected[row]]
                    }
                }
            }
            return await group.reduce(0, +)
        }
        #expect(wrong == 0)
    }

    @Test func `a batch of another width or with infinities is refused`() throws {
        let model = try trained()
        #expect(code { _ = try model.predict(Matrix(rows: 1, columns: 3)) } == .badValue)
        #expect(
            code { _ = try model.predict(Matrix(rows: 1, columns: 4, values: [1, 2, .infinity, 4])) } == .nonFinite)
        #expect(
            throws: LearnerError(
                .nonFinite, "feature \"c\" is infinite in row 0",
                hint: "Leave the value out, or check the transform that made it.")
        ) { try model.predict(Matrix(rows: 1, columns: 4, values: [1, 2, .infinity, 4])) }
    }

    // MARK: - Saving

    @Test(arguments: XGBoostModel.FileFormat.allCases)
    func `a saved model predicts the same`(format: XGBoostModel.FileFormat) throws {
        let model = try trained()
        let data = Synthetic(rows: 50, seed: 12).data
        let copy = try XGBoostModel(loading: model.save(format), library: library)
        #expect(try copy.predict(data) == model.predict(data))
        #expect(copy.featureNames == model.featureNames && copy.version == library.version)
    }

    @Test func `names of features may hold any text`() throws {
        let names = ["job=blue collar", "age [years]", "a<b", "größe, \"q\""]
        let train = Synthetic(rows: 100, seed: 13)
        let model = try XGBoostModel.train(
            train.data, labels: train.labels, featureNames: names, hyperparameters: ["objective": "binary:logistic"],
            rounds: 4, library: library
        ).model
        #expect(try XGBoostModel(loading: model.save(.json), library: library).featureNames == names)
        #expect(try Set(model.importance(.gain).keys) == Set(names))
        #expect(try (model.importance(.gain)[names[0]] ?? 0) > 0)
    }

    @Test(arguments: ["[99,0,0]", "[3,99,0]"])
    func `a model of a newer library is refused`(version: String) throws {
        let text = String(decoding: try trained().save(.json), as: UTF8.self)
        let own = "\"version\":[\(library.version.major),\(library.version.minor),\(library.version.patch)]"
        try #require(text.contains(own))
        let newer = Array(text.replacingOccurrences(of: own, with: "\"version\":\(version)").utf8)
        #expect(code { _ = try XGBoostModel(loading: newer, library: library) } == .libraryTooOld)
    }

    @Test func `a model of an older library or another patch is taken`() throws {
        let text = String(decoding: try trained().save(.json), as: UTF8.self)
        let own = "\"version\":[\(library.version.major),\(library.version.minor),\(library.version.patch)]"
        for version in ["[1,7,4]", "[\(library.version.major),\(library.version.minor),99]"] {
            let other = Array(text.replacingOccurrences(of: own, with: "\"version\":\(version)").utf8)
            #expect(try XGBoostModel(loading: other, library: library).rounds == 20)
        }
    }

    @Test func `damaged models are refused`() throws {
        let model = try trained()
        for format in XGBoostModel.FileFormat.allCases {
            let bytes = try model.save(format)
            for length in stride(from: 0, to: bytes.count, by: bytes.count / 23) {
                #expect(code { _ = try XGBoostModel(loading: Array(bytes[..<length]), library: library) } == .badModel)
            }
        }
        let hollow = Array(#"{"version":[3,2,0],"learner":{}}"#.utf8)
        #expect(code { _ = try XGBoostModel(loading: hollow, library: library) } == .badModel)
    }

    @Test func `a library given by path is the one that is opened`() throws {
        #expect(try XGBoostLibrary.find(explicit: library.path, places: []).version == library.version)
    }
}
