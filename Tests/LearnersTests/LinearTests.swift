import Foundation
import Testing

@testable import Learners

struct LinearTests {
    private static let names = ["a", "b", "c"]

    /// Three features of very different size, one mostly 0.
    private func problem(rows: Int = 400, seed: UInt64 = 1) -> (data: Matrix, numbers: [Float], classes: [Float]) {
        var generator = SeededGenerator(seed: seed)
        var (values, numbers, classes): ([Float], [Float], [Float]) = ([], [], [])
        for _ in 0..<rows {
            let a = Double.random(in: 2014...2018, using: &generator)
            let b = Double.random(in: 0..<1, using: &generator) < 0.2 ? 1.0 : 0
            let c = Double.random(in: -1...1, using: &generator)
            values += [Float(a), Float(b), Float(c)]
            let margin = 0.8 * (a - 2016) - 1.2 * b + 2 * c + 0.3
            numbers.append(Float(margin + Double.random(in: -0.5...0.5, using: &generator)))
            classes.append(Double.random(in: 0..<1, using: &generator) < 1 / (1 + exp(-margin)) ? 1 : 0)
        }
        return (Matrix(rows: rows, columns: 3, values: values), numbers, classes)
    }

    private func parameters(_ objective: LinearModel.Objective, l2: Double) -> LinearModel.Parameters {
        var parameters = LinearModel.Parameters()
        (parameters.objective, parameters.l2) = (objective, l2)
        return parameters
    }

    /// Σ s·(prediction − label)·x + penalty for each weight, and for the intercept at the end.
    private func gradient(
        _ model: LinearModel, _ data: Matrix, _ labels: [Float], _ rowWeights: [Float], l2: Double
    ) throws -> [Double] {
        var gradient = model.weights.map { $0 * l2 } + [0]
        for (row, margin) in try model.margins(data).enumerated() {
            let prediction = model.objective == .logistic ? 1 / (1 + exp(-margin)) : margin
            let error = Double(rowWeights[row]) * (prediction - Double(labels[row]))
            for column in 0..<data.columns { gradient[column] += error * Double(data[row, column]) }
            gradient[data.columns] += error
        }
        return gradient
    }

    @Test func `ridge of one feature is the closed form`() throws {
        let x: [Float] = [1, 2, 4, 7, 9]
        let y: [Float] = [2, 3, 9, 13, 20]
        let model = try LinearModel.train(
            Matrix(rows: 5, columns: 1, values: x), labels: y, featureNames: ["x"],
            parameters: parameters(.ridge, l2: 2.5))
        let (meanX, meanY) = (4.6, 9.4)
        let sxy = zip(x, y).reduce(0.0) { $0 + (Double($1.0) - meanX) * (Double($1.1) - meanY) }
        let sxx = x.reduce(0.0) { $0 + (Double($1) - meanX) * (Double($1) - meanX) }
        #expect(abs(model.weights[0] - sxy / (sxx + 2.5)) < 1e-12)
        #expect(abs(model.intercept - (meanY - model.weights[0] * meanX)) < 1e-12)
    }

    @Test(arguments: [0, 0.5, 30])
    func `ridge meets the normal equations`(l2: Double) throws {
        let (data, numbers, _) = problem()
        let weights = (0..<400).map { Float($0 % 3) }
        let model = try LinearModel.train(
            data, labels: numbers, weights: weights, featureNames: Self.names, parameters: parameters(.ridge, l2: l2))
        let gradient = try gradient(model, data, numbers, weights, l2: l2)
        // The first feature is about 2016: its part of the gradient is that much larger.
        #expect(gradient.allSatisfy { abs($0) < 1e-6 }, "\(gradient)")
    }

    @Test(arguments: [0, 1, 20])
    func `the logistic fit has no slope left`(l2: Double) throws {
        let (data, _, classes) = problem()
        let ones = [Float](repeating: 1, count: 400)
        let model = try LinearModel.train(
            data, labels: classes, featureNames: Self.names, parameters: parameters(.logistic, l2: l2))
        let gradient = try gradient(model, data, classes, ones, l2: l2)
        #expect(gradient.allSatisfy { abs($0) < 400 * 1e-8 * 2100 }, "\(gradient)")
        #expect(abs(gradient[3]) < 1e-5 && abs(gradient[2]) < 1e-5)
        #expect(areaUnderCurve(try model.predict(data), classes) > 0.8)
    }

    @Test func `without a telling feature the logistic intercept is the log-odds`() throws {
        let labels: [Float] = [1, 1, 1, 0, 1, 1, 1, 0]
        let data = Matrix(rows: 8, columns: 1, values: [1, -1, 0, 0, 1, -1, 0, 0])
        let model = try LinearModel.train(
            data, labels: labels, featureNames: ["x"], parameters: parameters(.logistic, l2: 1))
        #expect(abs(model.weights[0]) < 1e-9)
        #expect(abs(model.intercept - log(3)) < 1e-7)
    }

    @Test func `a weight of two is a row written twice`() throws {
        let (data, _, classes) = problem(rows: 60)
        let twice = (0..<60).flatMap { $0 < 20 ? [$0, $0] : [$0] }
        let weights = (0..<60).map { Float($0 < 20 ? 2 : 1) }
        let weighted = try LinearModel.train(data, labels: classes, weights: weights, featureNames: Self.names)
        let repeated = try LinearModel.train(
            data.take(twice), labels: twice.map { classes[$0] }, featureNames: Self.names)
        for (left, right) in zip(weighted.weights, repeated.weights) { #expect(abs(left - right) < 1e-8) }
    }

    @Test func `the same data give the same model`() throws {
        let (data, _, classes) = problem()
        let first = try LinearModel.train(data, labels: classes, featureNames: Self.names)
        #expect(try LinearModel.train(data, labels: classes, featureNames: Self.names) == first)
    }

    @Test func `labels told apart exactly do not converge without a penalty`() throws {
        let data = Matrix(rows: 4, columns: 1, values: [1, 2, 3, 4])
        let labels: [Float] = [0, 0, 1, 1]
        #expect(
            code {
                _ = try LinearModel.train(
                    data, labels: labels, featureNames: ["x"], parameters: parameters(.logistic, l2: 0))
            } == .noConvergence)
        #expect(
            try LinearModel.train(data, labels: labels, featureNames: ["x"]).weights[0] > 0)
    }

    @Test func `columns that say the same need a penalty`() throws {
        let data = Matrix(rows: 4, columns: 2, values: [1, 0, 0, 1, 1, 0, 0, 1])
        let labels: [Float] = [1, 2, 3, 4]
        func fit(_ l2: Double) throws -> LinearModel {
            try LinearModel.train(
                data, labels: labels, featureNames: ["x=1", "x=2"], parameters: parameters(.ridge, l2: l2))
        }
        #expect(code { _ = try fit(0) } == .noConvergence)
        #expect(try abs(fit(0.1).weights[0] + fit(0.1).weights[1]) < 1e-9)
    }

    @Test func `a missing value is an error that names the feature and the row`() throws {
        let data = Matrix(rows: 2, columns: 2, values: [1, 2, 3, .nan])
        do {
            _ = try LinearModel.train(data, labels: [0, 1], featureNames: ["age", "income"])
            Issue.record("a missing value was taken")
        } catch {
            #expect(error.code == .nonFinite)
            #expect(error.message == "feature \"income\" is missing in row 1")
            #expect(error.hint?.contains("impute") == true)
        }
        let model = try LinearModel.train(
            Matrix(rows: 2, columns: 2, values: [1, 2, 3, 4]), labels: [0, 1], featureNames: ["age", "income"])
        #expect(code { _ = try model.predict(data) } == .nonFinite)
        #expect(code { _ = try model.predict(Matrix(rows: 1, columns: 1)) } == .badValue)
    }

    @Test func `labels and weights are checked`() {
        let data = Matrix(rows: 2, columns: 1, values: [1, 2])
        func attempt(_ labels: [Float], weights: [Float]? = nil) -> LearnerError.Code? {
            code { _ = try LinearModel.train(data, labels: labels, weights: weights, featureNames: ["x"]) }
        }
        #expect(attempt([0]) == .badValue)
        #expect(attempt([0, 2]) == .badValue)
        #expect(attempt([0, .nan]) == .nonFinite)
        #expect(attempt([0, 1], weights: [1, -1]) == .badValue)
        #expect(attempt([0, 1], weights: [0, 0]) == .badValue)
    }

    @Test func `hyperparameters are checked`() throws {
        let good = try LinearModel.Parameters(["objective": "ridge", "l2": "0.5", "max_iterations": "7"])
        #expect(good.objective == .ridge && good.l2 == 0.5 && good.maxIterations == 7)
        for bad in [["l2": "-1"], ["objective": "lasso"], ["tolerance": "0"], ["max_iterations": "0"], ["l3": "1"]] {
            #expect(code { _ = try LinearModel.Parameters(bad) } == .badParameter)
        }
    }

    @Test func `progress hears a falling loss and may cancel`() throws {
        let (data, _, classes) = problem()
        var losses: [Double] = []
        _ = try LinearModel.train(data, labels: classes, featureNames: Self.names) { _, loss in
            losses.append(loss)
            return true
        }
        #expect(losses.count > 2 && losses == losses.sorted(by: >))
        #expect(
            code {
                _ = try LinearModel.train(data, labels: classes, featureNames: Self.names) { _, _ in false }
            } == .cancelled)
    }

    @Test func `a saved model is the same to the last bit`() throws {
        let (data, _, classes) = problem()
        let model = try LinearModel.train(data, labels: classes, featureNames: Self.names)
        #expect(try LinearModel(loading: model.save()) == model)
        #expect(LinearModel.isSaved(in: model.save()))
        for text in ["{}", "{\"format\":\"linear\"}", "[]", ""] {
            #expect(code { _ = try LinearModel(loading: Array(text.utf8)) } == .badModel)
        }
        let short = String(decoding: model.save(), as: UTF8.self).replacingOccurrences(of: "\"a\",", with: "")
        #expect(code { _ = try LinearModel(loading: Array(short.utf8)) } == .badModel)
    }

    @Test func `the logistic function does not overflow`() {
        #expect(LinearModel.sigmoid(1000) == 1 && LinearModel.sigmoid(-1000) == 0)
        #expect(LinearModel.sigmoid(0) == 0.5)
        #expect(abs(LinearModel.sigmoid(-3) + LinearModel.sigmoid(3) - 1) < 1e-15)
    }
}
