import Foundation
import Manifests

/// A model that turns rows of features into outputs.
///
/// May be asked from any thread at once.
package protocol Predictor: Sendable {
    /// "xgboost" or "linear".
    var format: String { get }
    /// One per column of a batch, in order.
    var featureNames: [String] { get }
    /// Predictions, rows × outputs; one output a row for everything but `multi:softprob`.
    ///
    /// - Throws: `LearnerError`: `.badValue` when the batch has another width, `.nonFinite`.
    func predict(_ batch: Matrix) throws(LearnerError) -> [Float]
}

/// Loads whatever kind of model lies in a folder.
package enum Predictors {
    /// Largest file of a model, in bytes.
    package static let fileSizeLimit = 1 << 30

    /// Loads `model.ubj` or `model.json` of a folder.
    ///
    /// - Parameters:
    ///   - folder: Where the files lie.
    ///   - xgboost: Path of the XGBoost library; the usual places without it. Only looked for when the model
    ///     needs it.
    /// - Returns: The model, ready to be asked.
    /// - Throws: `LearnerError`: `.badModel`, `.libraryMissing`, `.libraryTooOld`.
    package static func load(folder: String, xgboost: String?) throws(LearnerError) -> any Predictor {
        for name in ["model.ubj", "model.json"] {
            let path = "\(folder)/\(name)"
            guard FileManager.default.fileExists(atPath: path) else { continue }
            return try load(ModelFiles.read(path), xgboost: xgboost)
        }
        throw LearnerError(
            .badModel, "the folder \"\(folder)\" holds no model", hint: "It should hold model.ubj or model.json.")
    }

    /// Loads a model from the bytes of its file, whichever kind it is.
    package static func load(_ bytes: [UInt8], xgboost: String?) throws(LearnerError) -> any Predictor {
        if LinearModel.isSaved(in: bytes) { return try LinearModel(loading: bytes) }
        _ = try ModelFormat.version(of: bytes)
        return try XGBoostModel(loading: bytes, library: XGBoostLibrary.find(explicit: xgboost))
    }
}

/// Reading and writing the files of a model folder, with errors that name them.
enum ModelFiles {
    static func read(_ path: String) throws(LearnerError) -> [UInt8] {
        do {
            let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
            guard size <= Predictors.fileSizeLimit else {
                throw LearnerError(.badModel, "\"\(path)\" has \(size) bytes, more than \(Predictors.fileSizeLimit)")
            }
            return Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        } catch let error as LearnerError {
            throw error
        } catch {
            throw LearnerError(.badModel, "could not read \"\(path)\": \(error.localizedDescription)")
        }
    }

    static func write(_ bytes: [UInt8], to path: String) throws(LearnerError) {
        do {
            try Data(bytes).write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            throw LearnerError(.other, "could not write \"\(path)\": \(error.localizedDescription)")
        }
    }

    /// Sorted keys and nothing that is null: equal values give equal bytes, and a field left out stays left out.
    static func encode(_ value: some Manifest) -> [UInt8] { Array(value.json.withoutNulls.canonicalText.utf8) }

    static func decode<Value: Manifest>(_ type: Value.Type, from bytes: [UInt8], called noun: String)
        throws(LearnerError) -> Value
    {
        do throws(ManifestError) {
            return try Value(jsonText: bytes)
        } catch {
            throw LearnerError(
                .badModel, "\(noun) cannot be read: \(error.location.map { $0 + ": " } ?? "")\(error.message)")
        }
    }
}

extension JSONValue {
    fileprivate var withoutNulls: JSONValue {
        switch self {
        case .array(let items): .array(items.map(\.withoutNulls))
        case .object(let members):
            .object(Ordered(members.filter { $0.value != .null }.map { ($0.key, $0.value.withoutNulls) }))
        default: self
        }
    }
}
