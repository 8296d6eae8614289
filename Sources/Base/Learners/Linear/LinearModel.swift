import Manifests

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// Logistic or ridge regression: a weight for each feature and an intercept.
///
/// Standardises nothing and fills in nothing: transforms do that before.
package struct LinearModel: Predictor, Equatable {
    /// What the model is fitted to.
    package enum Objective: String, WireEnum {
        /// Probability of label 1, labels being 0 and 1.
        case logistic
        /// A number.
        case ridge
    }

    /// The version of the file that is written here.
    package static let fileVersion = 1

    package let objective: Objective
    package let featureNames: [String]
    package let weights: [Double]
    package let intercept: Double

    package var format: String { "linear" }

    init(objective: Objective, featureNames: [String], weights: [Double], intercept: Double) {
        self.objective = objective
        self.featureNames = featureNames
        self.weights = weights
        self.intercept = intercept
    }

    package func predict(_ batch: Matrix) throws(LearnerError) -> [Float] {
        try margins(batch).map { Float(objective == .logistic ? Self.sigmoid($0) : $0) }
    }

    /// The weighted sums before the logistic function.
    package func margins(_ batch: Matrix) throws(LearnerError) -> [Double] {
        try batch.checkWidth(featureNames)
        try batch.checkFinite(names: featureNames)
        let width = batch.columns
        return batch.values.withUnsafeBufferPointer { values in
            weights.withUnsafeBufferPointer { weights in
                (0..<batch.rows).map { row in
                    var sum = intercept
                    for column in 0..<width { sum += weights[column] * Double(values[row * width + column]) }
                    return sum
                }
            }
        }
    }

    /// 1 / (1 + e^-x), without overflow on either side.
    static func sigmoid(_ x: Double) -> Double {
        if x >= 0 { return 1 / (1 + exp(-x)) }
        let power = exp(x)
        return power / (1 + power)
    }

    // MARK: - Saving

    /// Reads a saved model.
    package init(loading bytes: [UInt8]) throws(LearnerError) {
        let file = try ModelFiles.decode(LinearFile.self, from: bytes, called: "the linear model")
        guard file.version == Self.fileVersion, file.format == "linear" else {
            throw LearnerError(
                .badModel, "the model is \(file.format) of version \(file.version), not linear of \(Self.fileVersion)")
        }
        guard file.weights.count == file.features.count, Set(file.features).count == file.features.count else {
            throw LearnerError(
                .badModel, "the model has \(file.weights.count) weights and \(file.features.count) features")
        }
        guard file.weights.allSatisfy(\.isFinite), file.intercept.isFinite else {
            throw LearnerError(.badModel, "a weight of the model is no finite number")
        }
        self.init(
            objective: file.objective, featureNames: file.features, weights: file.weights, intercept: file.intercept)
    }

    /// The model as JSON; numbers read back exactly.
    package func save() -> [UInt8] {
        var file = LinearFile()
        (file.objective, file.features, file.weights, file.intercept) = (objective, featureNames, weights, intercept)
        return ModelFiles.encode(file)
    }

    /// Whether bytes hold a linear model rather than trees.
    static func isSaved(in bytes: [UInt8]) -> Bool {
        guard ModelFormat.isJSON(bytes) else { return false }
        var scanner = JSONScanner(bytes: bytes)
        return (try? scanner.find("format")) ?? false  // what cannot be walked is reported by who reads it next
    }
}

/// The shape of a linear `model.json`.
private struct LinearFile: Manifest {
    var format = "linear"
    var version = LinearModel.fileVersion
    var objective = LinearModel.Objective.logistic
    var features: [String] = []
    var weights: [Double] = []
    var intercept = 0.0

    static let fields: [Field<Self>] = [
        .required("format", \.format, "Always linear."),
        .required("version", \.version, "Version of this format."),
        .required("objective", \.objective, "What the model is fitted to."),
        .required("features", \.features, "Names of the features, in order."),
        .required("weights", \.weights, "A weight for each feature."),
        .required("intercept", \.intercept, "Added to the weighted sum."),
    ]
}

extension Matrix {
    /// Refuses missing and infinite values, naming the feature and the row.
    func checkFinite(names: [String]) throws(LearnerError) {
        let place = values.withUnsafeBufferPointer { buffer -> Int? in
            for index in 0..<buffer.count where !buffer[index].isFinite { return index }
            return nil
        }
        guard let place else { return }
        let what = values[place].isNaN ? "missing" : "infinite"
        throw LearnerError(
            .nonFinite, "feature \"\(names[place % columns])\" is \(what) in row \(place / columns)",
            hint: "A linear model needs every value: add an impute transform for this column.")
    }
}
