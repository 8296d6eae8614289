import Manifests

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

extension LinearModel {
    /// Most features that a linear model may have: its fit keeps a square matrix of them.
    package static let featureLimit = 2_000

    /// Settings of a fit.
    package struct Parameters: Sendable, Equatable {
        package var objective = Objective.logistic
        /// Strength of the penalty: l2/2 · ‖w‖² for logistic (scikit-learn's 1/C), l2 · ‖w‖² for ridge (its alpha).
        package var l2 = 1.0
        /// Newton steps at most; ridge needs none.
        package var maxIterations = 100
        /// The fit ends when no part of the gradient of the mean loss is larger.
        package var tolerance = 1e-8

        package init() {}

        package static let names = ["objective", "l2", "max_iterations", "tolerance"]

        /// Reads settings as they are written in a manifest, and refuses unknown ones.
        package init(_ values: [String: String]) throws(LearnerError) {
            for (name, value) in values.sorted(by: { $0.key < $1.key }) {
                switch name {
                case "objective":
                    guard let objective = Objective(rawValue: value) else {
                        throw Self.refuse(name, value, "logistic or ridge")
                    }
                    self.objective = objective
                case "l2":
                    guard let l2 = Double(value), l2 >= 0, l2.isFinite else {
                        throw Self.refuse(name, value, "a number of at least 0")
                    }
                    self.l2 = l2
                case "max_iterations":
                    guard let count = Int(value), (1...10_000).contains(count) else {
                        throw Self.refuse(name, value, "a whole number from 1 to 10000")
                    }
                    maxIterations = count
                case "tolerance":
                    guard let tolerance = Double(value), tolerance > 0, tolerance < 1 else {
                        throw Self.refuse(name, value, "a number above 0 and below 1")
                    }
                    self.tolerance = tolerance
                default:
                    throw LearnerError(
                        .badParameter, "a linear model has no hyperparameter \"\(name)\"",
                        hint: suggestion(for: name, among: Self.names, called: "hyperparameter"))
                }
            }
        }

        private static func refuse(_ name: String, _ value: String, _ expected: String) -> LearnerError {
            LearnerError(.badParameter, "hyperparameter \"\(name)\" must be \(expected), not \"\(value)\"")
        }
    }

    /// Fits a model.
    ///
    /// The same data give the same model, bit by bit.
    ///
    /// - Parameters:
    ///   - data: The features, without missing values.
    ///   - labels: One per row; 0 or 1 for logistic.
    ///   - weights: One per row, not negative; 1 without them.
    ///   - featureNames: One per column, distinct.
    ///   - parameters: Objective, penalty and limits.
    ///   - progress: Called after each Newton step with the mean loss, penalty included; false cancels.
    /// - Returns: The fitted model.
    /// - Throws: `LearnerError`: `.nonFinite` naming the feature, `.badValue`, `.noConvergence`, `.cancelled`.
    /// - Complexity: O(rows · k²) a step, k being how many features of a row are not 0, and O(features³).
    package static func train(
        _ data: Matrix, labels: [Float], weights: [Float]? = nil, featureNames: [String],
        parameters: Parameters = Parameters(), progress: (Int, Double) -> Bool = { _, _ in true }
    ) throws(LearnerError) -> LinearModel {
        try check(data, labels, weights, featureNames, parameters)
        let rowWeights = weights.map { $0.map(Double.init) } ?? Array(repeating: 1, count: data.rows)
        let total = rowWeights.reduce(0, +)
        guard total > 0 else { throw LearnerError(.badValue, "all weights of rows are 0") }
        let problem = LinearProblem(
            rows: SparseRows(data), labels: labels.map(Double.init), rowWeights: rowWeights, l2: parameters.l2)
        let solution: [Double] =
            switch parameters.objective {
            case .ridge: try problem.solveRidge()
            case .logistic:
                try problem.solveLogistic(
                    maxIterations: parameters.maxIterations, tolerance: parameters.tolerance * total
                ) { step, loss in progress(step, loss / total) }
            }
        // The intercept of the shifted columns also carries what shifting took away.
        let coefficients = Array(solution.dropLast())
        let shift = zip(coefficients, problem.rows.shifts).reduce(0) { $0 + $1.0 * $1.1 }
        let intercept = solution[solution.count - 1] - shift
        guard intercept.isFinite, coefficients.allSatisfy(\.isFinite) else {
            throw LearnerError(.noConvergence, "the fit came to no finite weights", hint: "Scale the features.")
        }
        return LinearModel(
            objective: parameters.objective, featureNames: featureNames, weights: coefficients, intercept: intercept)
    }

    private static func check(
        _ data: Matrix, _ labels: [Float], _ weights: [Float]?, _ names: [String], _ parameters: Parameters
    ) throws(LearnerError) {
        guard data.rows > 0 else { throw LearnerError(.badValue, "the training data has no rows") }
        guard (1...featureLimit).contains(names.count), Set(names).count == names.count else {
            throw LearnerError(.badValue, "the names of the features must be distinct, and 1 to \(featureLimit)")
        }
        try data.checkWidth(names)
        guard labels.count == data.rows, weights.map({ $0.count == data.rows }) ?? true else {
            throw LearnerError(
                .badValue, "the training data needs a label and a weight for each of its \(data.rows) rows")
        }
        if let row = labels.firstIndex(where: { !$0.isFinite }) {
            throw LearnerError(
                .nonFinite, "the label of row \(row) is no finite number",
                hint: "Leave out the rows whose label is not known.")
        }
        if let weights, let row = weights.firstIndex(where: { !$0.isFinite || $0 < 0 }) {
            throw LearnerError(.badValue, "the weight of row \(row) is not a number of at least 0")
        }
        if parameters.objective == .logistic, let row = labels.firstIndex(where: { $0 != 0 && $0 != 1 }) {
            throw LearnerError(
                .badValue, "the label of row \(row) is \(labels[row]), a logistic model learns from 0 and 1",
                hint: "Use objective: ridge for numbers.")
        }
        try data.checkFinite(names: names)
    }
}

/// Rows without their zeros, and with columns that are mostly not 0 shifted to mean 0.
///
/// A shift changes nothing but the intercept, which is not penalised, and keeps the equations well-conditioned (a year
/// as a feature would otherwise lose half the digits). One-hot columns stay sparse.
struct SparseRows: Sendable {
    let count: Int
    let width: Int
    /// What was subtracted from each column.
    let shifts: [Double]
    private(set) var starts: [Int] = [0]
    private(set) var columns: [Int32] = []
    private(set) var values: [Double] = []

    init(_ matrix: Matrix) {
        let (rows, width) = (matrix.rows, matrix.columns)
        (count, self.width) = (rows, width)
        var filled = Array(repeating: 0, count: width)
        var sums = Array(repeating: 0.0, count: width)
        matrix.values.withUnsafeBufferPointer { cells in
            for index in 0..<cells.count where cells[index] != 0 {
                filled[index % width] += 1
                sums[index % width] += Double(cells[index])
            }
        }
        shifts = (0..<width).map { filled[$0] * 2 >= rows ? sums[$0] / Double(rows) : 0 }
        starts.reserveCapacity(count + 1)
        for row in 0..<count {
            for column in 0..<width {
                let value = Double(matrix.values[row * width + column]) - shifts[column]
                guard value != 0 else { continue }
                columns.append(Int32(column))
                values.append(value)
            }
            starts.append(values.count)
        }
    }
}

/// Penalised least squares or logistic loss over sparse rows.
///
/// The last unknown is the intercept, which is not penalised.
struct LinearProblem {
    let rows: SparseRows
    let labels: [Double]
    let rowWeights: [Double]
    let l2: Double

    private var size: Int { rows.width + 1 }

    /// (XᵀSX + l2·I) w = XᵀSy, the normal equations (Hastie, Tibshirani & Friedman 2009, 3.44).
    func solveRidge() throws(LearnerError) -> [Double] {
        var right = Array(repeating: 0.0, count: size)
        for row in 0..<rows.count { add(row, times: rowWeights[row] * labels[row], to: &right) }
        var system = gram(rowWeights, penalty: l2)
        return try system.solve(right)
    }

    /// Newton's method with step halving (ibid., 4.26, as iteratively reweighted least squares).
    func solveLogistic(
        maxIterations: Int, tolerance: Double, progress: (Int, Double) -> Bool
    ) throws(LearnerError) -> [Double] {
        var point = Array(repeating: 0.0, count: size)
        var margins = Array(repeating: 0.0, count: rows.count)
        var loss = loss(margins, point)
        for iteration in 0..<maxIterations {
            var gradient = Array(repeating: 0.0, count: size)
            var curvature = Array(repeating: 0.0, count: rows.count)
            for row in 0..<rows.count {
                let probability = LinearModel.sigmoid(margins[row])
                curvature[row] = rowWeights[row] * probability * (1 - probability)
                add(row, times: rowWeights[row] * (probability - labels[row]), to: &gradient)
            }
            for column in 0..<rows.width { gradient[column] += l2 * point[column] }
            if gradient.allSatisfy({ abs($0) <= tolerance }) { return try finite(point, margins) }
            var system = gram(curvature, penalty: l2)
            let direction = try system.solve(gradient)
            guard let step = descend(from: &point, along: direction, gradient, loss: &loss, margins: &margins) else {
                // No smaller loss can be told from this one in double precision: the optimum, unless far from flat.
                if gradient.allSatisfy({ abs($0) <= tolerance * 1e4 }) { return try finite(point, margins) }
                break
            }
            guard step.isFinite else { break }
            guard progress(iteration, loss) else {
                throw LearnerError(.cancelled, "training was cancelled after step \(iteration)")
            }
        }
        throw LearnerError(
            .noConvergence, "the logistic fit did not converge in \(maxIterations) steps",
            hint: "Set l2 above 0, or scale the features.")
    }

    /// Without a penalty, labels that a plane tells apart have no finite optimum: the loss falls for ever, ever slower
    /// (Albert & Anderson 1984), and where the steps ended says nothing.
    private func finite(_ point: [Double], _ margins: [Double]) throws(LearnerError) -> [Double] {
        let isSeparated = (0..<rows.count).allSatisfy { row in
            rowWeights[row] == 0 || (labels[row] == 1 ? margins[row] > 0 : margins[row] < 0)
        }
        guard l2 > 0 || !isSeparated else {
            throw LearnerError(
                .noConvergence, "the features tell the labels apart exactly, so the weights have no bound",
                hint: "Set l2 above 0, or look for a feature that gives the label away.")
        }
        return point
    }

    /// Takes the longest of the steps 1, ½, ¼ … that lowers the loss enough (Armijo 1966); nil when none does.
    private func descend(
        from point: inout [Double], along direction: [Double], _ gradient: [Double], loss: inout Double,
        margins: inout [Double]
    ) -> Double? {
        let slope = zip(direction, gradient).reduce(0) { $0 + $1.0 * $1.1 }
        var step = 1.0
        for _ in 0..<40 {
            let next = zip(point, direction).map { $0 - step * $1 }
            let nextMargins = self.margins(next)
            let nextLoss = self.loss(nextMargins, next)
            if nextLoss <= loss - 1e-4 * step * slope {
                (point, margins, loss) = (next, nextMargins, nextLoss)
                return step
            }
            step /= 2
        }
        return nil
    }

    private func margins(_ point: [Double]) -> [Double] {
        point.withUnsafeBufferPointer { point in
            rows.columns.withUnsafeBufferPointer { columns in
                rows.values.withUnsafeBufferPointer { values in
                    (0..<rows.count).map { row in
                        var sum = point[size - 1]
                        for index in rows.starts[row]..<rows.starts[row + 1] {
                            sum += point[Int(columns[index])] * values[index]
                        }
                        return sum
                    }
                }
            }
        }
    }

    /// Σ s·log(1 + e^z) − s·y·z + l2/2·‖w‖².
    private func loss(_ margins: [Double], _ point: [Double]) -> Double {
        var sum = 0.0
        for row in 0..<rows.count {
            let z = margins[row]
            sum += rowWeights[row] * (max(z, 0) + log1p(exp(-abs(z))) - labels[row] * z)
        }
        return sum + l2 / 2 * point.dropLast().reduce(0) { $0 + $1 * $1 }
    }

    private func add(_ row: Int, times factor: Double, to vector: inout [Double]) {
        for index in rows.starts[row]..<rows.starts[row + 1] {
            vector[Int(rows.columns[index])] += factor * rows.values[index]
        }
        vector[rows.width] += factor
    }

    /// Xᵀ diag(weights) X with a column of ones at its end, plus the penalty on all but that.
    private func gram(_ weights: [Double], penalty: Double) -> SymmetricSystem {
        var system = SymmetricSystem(size: size)
        let last = rows.width
        system.cells.withUnsafeMutableBufferPointer { cells in
            rows.columns.withUnsafeBufferPointer { columns in
                rows.values.withUnsafeBufferPointer { values in
                    for row in 0..<rows.count where weights[row] != 0 {
                        let (start, end) = (rows.starts[row], rows.starts[row + 1])
                        for first in start..<end {
                            // Columns ascend within a row: only the lower triangle is filled.
                            let scaled = weights[row] * values[first]
                            let base = Int(columns[first]) * (last + 1)
                            for second in start...first {
                                cells[base + Int(columns[second])] += scaled * values[second]
                            }
                            cells[last * (last + 1) + Int(columns[first])] += scaled
                        }
                        cells[last * (last + 1) + last] += weights[row]
                    }
                }
            }
        }
        for column in 0..<last { system.cells[column * (last + 1) + column] += penalty }
        return system
    }
}

/// A symmetric positive definite system of equations; only the lower triangle counts.
struct SymmetricSystem {
    let size: Int
    var cells: [Double]

    init(size: Int) {
        self.size = size
        cells = Array(repeating: 0, count: size * size)
    }

    /// Cholesky's method (Golub & Van Loan 2013, 4.2).
    ///
    /// Leaves the factor in `cells`.
    mutating func solve(_ right: [Double]) throws(LearnerError) -> [Double] {
        let size = size
        let largest = (0..<size).map { cells[$0 * size + $0] }.max() ?? 0
        let isDefinite = cells.withUnsafeMutableBufferPointer { cells in
            for column in 0..<size {
                for row in column..<size {
                    var sum = cells[row * size + column]
                    for inner in 0..<column { sum -= cells[row * size + inner] * cells[column * size + inner] }
                    if row > column {
                        cells[row * size + column] = sum / cells[column * size + column]
                    } else {
                        // Below this a pivot is rounding noise of the largest.
                        guard sum > 1e-14 * largest else { return false }
                        cells[row * size + column] = sum.squareRoot()
                    }
                }
            }
            return true
        }
        guard isDefinite else {
            throw LearnerError(
                .noConvergence, "the features do not determine the weights",
                hint: "Set l2 above 0, or drop columns that others already tell (one of a one_hot, a constant).")
        }
        var solution = right
        for row in 0..<size {
            for inner in 0..<row { solution[row] -= cells[row * size + inner] * solution[inner] }
            solution[row] /= cells[row * size + row]
        }
        for row in (0..<size).reversed() {
            for inner in row + 1..<size { solution[row] -= cells[inner * size + row] * solution[inner] }
            solution[row] /= cells[row * size + row]
        }
        return solution
    }
}
