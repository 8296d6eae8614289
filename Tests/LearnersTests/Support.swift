import Foundation
import Manifests
import Testing

@testable import Learners

/// The library from the usual places, or why there is none.
enum TestLibrary {
    static let found = Result { () throws(LearnerError) in try XGBoostLibrary.find(explicit: nil) }

    /// In CI its tests always run, and so fail without it; elsewhere they are skipped with the reason.
    static var isExpected: Bool {
        if case .success = found { return true }
        return ProcessInfo.processInfo.environment["CI"] == "true"
    }

    static let reason: Comment = "no XGBoost library here: run scripts/setup-xgboost"
}

/// A small generator with a seed (SplitMix64, Steele et al.
///
/// 2014), so that a failure can be repeated.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Rows whose label depends on the first two of four features, some values missing.
struct Synthetic {
    let data: Matrix
    let labels: [Float]
    static let names = ["a", "b", "c", "d"]

    init(rows: Int, seed: UInt64, missing: Double = 0.05) {
        var generator = SeededGenerator(seed: seed)
        var data = Matrix(rows: rows, columns: 4)
        var labels: [Float] = []
        for row in 0..<rows {
            let cells = (0..<4).map { _ in Double.random(in: -2...2, using: &generator) }
            let margin = 2 * cells[0] - 1.5 * cells[1] * cells[1] + 1.5
            labels.append(Double.random(in: 0..<1, using: &generator) < 1 / (1 + Foundation.exp(-margin)) ? 1 : 0)
            for (column, value) in cells.enumerated() where Double.random(in: 0..<1, using: &generator) >= missing {
                data[row, column] = Float(value)
            }
        }
        (self.data, self.labels) = (data, labels)
    }
}

/// Share of pairs of a positive and a negative row that are ranked rightly, by counting all pairs.
func areaUnderCurve(_ scores: [Float], _ labels: [Float]) -> Double {
    var (right, pairs) = (0.0, 0.0)
    for (score, label) in zip(scores, labels) where label == 1 {
        for (other, otherLabel) in zip(scores, labels) where otherLabel == 0 {
            pairs += 1
            right += score > other ? 1 : score == other ? 0.5 : 0
        }
    }
    return right / pairs
}

/// Runs `body` with an empty folder of its own, which is removed afterwards.
func withFolder<R>(_ body: (String) throws -> R) throws -> R {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("learners-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }  // a left-over folder of a test harms nobody
    return try body(folder.path)
}

/// Files made with the Python packages xgboost 3.2.0 and shap 0.51.0.
enum Golden {
    static func bytes(_ name: String) throws -> [UInt8] {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Golden")
        return Array(try Data(contentsOf: folder.appendingPathComponent(name)))
    }

    static func treeshap() throws -> JSONValue { try JSONParser.parse(bytes("treeshap.json")) }

    /// The first six columns of the sample, "nan" being missing.
    static func sample() throws -> Matrix {
        let lines = String(decoding: try bytes("treeshap_X.csv"), as: UTF8.self).split(whereSeparator: \.isNewline)
        var values: [Float] = []
        for line in lines.dropFirst() {
            values += line.split(separator: ",").prefix(6).map { Float(Double($0) ?? .nan) }
        }
        return Matrix(rows: lines.count - 1, columns: 6, values: values)
    }
}

/// The code of the error that `body` throws; nil when it throws none.
func code(_ body: () throws -> Void) -> LearnerError.Code? {
    do {
        try body()
        return nil
    } catch {
        return (error as? LearnerError)?.code
    }
}
