import Foundation
package import Frames
package import Manifests

/// What a model takes and gives: `signature.json`.
package struct ModelSignature: Manifest {
    package var format = ""
    package var inputs: [InputColumn] = []
    package var output = OutputColumn()

    package init() {}
    package static let noun = "signature"
    package static let fields: [Field<Self>] = [
        .required("format", \.format, "Kind of model: xgboost or linear."),
        .required("inputs", \.inputs, "Raw columns."),
        .required("output", \.output, "What is predicted."),
    ]
}

/// What a model predicts.
package struct OutputColumn: Manifest {
    package var name = "prediction"
    package var datatype = "FP32"
    package var size = 1

    package init() {}
    package init(_ name: String, size: Int = 1) { (self.name, self.size) = (name, size) }
    package static let noun = "output column"
    package static let fields: [Field<Self>] = [
        .required("name", \.name, "Name of the prediction."),
        .told("datatype", \.datatype, "Type in words of the Open Inference Protocol."),
        .told("size", \.size, "Numbers a row: 1, or the classes of multi:softprob."),
    ]
}

/// A model with the transforms it was trained behind: raw rows in, predictions out.
///
/// Immutable, for any thread.
///
/// Lies in a folder as `model.ubj` (XGBoost) or `model.json` (linear, or XGBoost), `transforms.json`, `signature.json`.
package struct ModelBundle: Sendable {
    package static let transformsFile = "transforms.json"
    package static let signatureFile = "signature.json"

    package let predictor: any Predictor
    package let transforms: FittedTransforms
    package let signature: ModelSignature

    /// Puts a model and its transforms together.
    ///
    /// - Throws: `LearnerError(.badModel)` when the transforms make other features than the model was trained on.
    package init(
        _ predictor: any Predictor, transforms: FittedTransforms, output: OutputColumn = OutputColumn()
    ) throws(LearnerError) {
        guard predictor.featureNames == transforms.featureNames else {
            let pairs = zip(predictor.featureNames, transforms.featureNames)
            let first = pairs.first { $0 != $1 }.map { ": \"\($0.0)\" is not \"\($0.1)\"" } ?? ""
            throw LearnerError(
                .badModel,
                "the model has \(predictor.featureNames.count) features and its transforms make others"
                    + " (\(transforms.featureNames.count))\(first)",
                hint: "Save a model together with the transforms it was trained with.")
        }
        self.predictor = predictor
        self.transforms = transforms
        var signature = ModelSignature()
        (signature.format, signature.inputs) = (predictor.format, transforms.inputColumns)
        signature.output = output
        self.signature = signature
    }

    /// Loads a folder.
    ///
    /// Without `transforms.json` the features are the raw columns; without `signature.json` the output is called
    /// "prediction".
    ///
    /// - Parameters:
    ///   - folder: Where the files lie.
    ///   - xgboost: Path of the XGBoost library; the usual places without it.
    /// - Returns: The model, ready to be asked.
    /// - Throws: `LearnerError`: `.badModel`, `.libraryMissing`, `.libraryTooOld`.
    package static func load(folder: String, xgboost: String?) throws(LearnerError) -> ModelBundle {
        let predictor = try Predictors.load(folder: folder, xgboost: xgboost)
        let transformsPath = "\(folder)/\(transformsFile)"
        let transforms =
            FileManager.default.fileExists(atPath: transformsPath)
            ? try FittedTransforms(artifact: ModelFiles.read(transformsPath))
            : try FittedTransforms.identity(predictor.featureNames)
        var output = OutputColumn()
        let signaturePath = "\(folder)/\(signatureFile)"
        if FileManager.default.fileExists(atPath: signaturePath) {
            let signature = try ModelFiles.decode(
                ModelSignature.self, from: ModelFiles.read(signaturePath), called: "the signature")
            guard signature.format == predictor.format, signature.inputs == transforms.inputColumns else {
                throw LearnerError(
                    .badModel, "the signature does not fit the model and its transforms",
                    hint: "Files of two models were mixed in one folder; register the model anew.")
            }
            output = signature.output
        }
        return try ModelBundle(predictor, transforms: transforms, output: output)
    }

    /// Writes the files of the bundle into a folder, which is made when it is not there.
    package func save(folder: String) throws(LearnerError) {
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        } catch {
            throw LearnerError(.other, "could not make the folder \"\(folder)\": \(error.localizedDescription)")
        }
        for (name, bytes) in try files() { try ModelFiles.write(bytes, to: "\(folder)/\(name)") }
    }

    /// The files of the bundle by name.
    package func files() throws(LearnerError) -> [(name: String, bytes: [UInt8])] {
        let model: (name: String, bytes: [UInt8])
        switch predictor {
        case let trees as XGBoostModel: model = ("model.ubj", try trees.save(.ubj))
        case let linear as LinearModel: model = ("model.json", linear.save())
        default: throw LearnerError(.other, "a model of format \(predictor.format) cannot be saved")
        }
        return [
            model, (Self.transformsFile, transforms.artifact),
            (Self.signatureFile, ModelFiles.encode(signature)),
        ]
    }

    /// Predictions of raw rows, rows × ``OutputColumn/size``.
    package func predict(rows: [[String: RawValue]]) throws(LearnerError) -> [Double] {
        try predict(features: features(of: rows))
    }

    /// Predictions of the rows of a table.
    package func predict(_ frame: Frame) throws(LearnerError) -> [Double] { try predict(features: features(of: frame)) }

    /// Predictions of rows that are features already.
    package func predict(features: Matrix) throws(LearnerError) -> [Double] {
        try predictor.predict(features).map(Double.init)
    }

    /// What the model sees of raw rows.
    package func features(of rows: [[String: RawValue]]) throws(LearnerError) -> Matrix {
        try transforms.apply(rows: rows)
    }

    /// What the model sees of the rows of a table.
    package func features(of frame: Frame) throws(LearnerError) -> Matrix { try transforms.apply(frame) }
}
