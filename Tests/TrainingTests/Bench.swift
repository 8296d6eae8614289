import API
import Foundation
import Frames
import Kernel
import Learners
import Manifests
import Stats
import Synchronization

@testable import Training

/// A folder of its own with what a worker needs, gone with the test.
final class Bench: Sendable {
    let folder: String
    private let told = Mutex<[String]>([])

    init() throws {
        folder = NSTemporaryDirectory() + "training-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }  // a folder that stays harms nobody

    var lines: [String] { told.withLock { $0 } }

    /// An order whose outputs go into a folder of their own.
    func order(
        _ verb: String, _ settings: JSONValue, tables: [String: Frame] = [:], inputs: [String: String] = [:],
        outputs: String = "outputs"
    ) throws -> WorkOrder {
        var order = WorkOrder()
        (order.verb, order.settings, order.outputs) = (verb, settings, "\(folder)/\(outputs)")
        try FileManager.default.createDirectory(atPath: order.outputs, withIntermediateDirectories: true)
        for (name, frame) in tables {
            try frame.write(path: "\(folder)/\(name).vgf")
            order.inputs[name] = "\(folder)/\(name).vgf"
        }
        for (name, path) in inputs { order.inputs[name] = path }
        return order
    }

    func run(_ worker: some Worker, _ order: WorkOrder) async throws -> WorkResult {
        try await worker.run(order) { line in self.told.withLock { $0.append(line) } }
    }

    /// The problem that a worker ends with.
    func problem(_ worker: some Worker, _ order: WorkOrder) async -> Problem? {
        do {
            _ = try await run(worker, order)
            return nil
        } catch {
            return error as? Problem
        }
    }

    /// Trains a linear model and gives its folder.
    func model(_ name: String, _ train: Frame, test: Frame? = nil, l2: Double = 1, drop: [String] = ["sex"])
        async throws -> (folder: String, result: WorkResult)
    {
        let fitted = try FittedTransforms.fit([], on: train, excluding: ["y"] + drop)
        try Data(fitted.artifact).write(to: URL(filePath: "\(folder)/\(name).transforms.json"))
        var settings: Ordered<JSONValue> = [
            "algorithm": "linear", "target": "y", "training_data": "t.train", "hyperparameters": ["l2": .number(l2)],
        ]
        if test != nil { settings["validation_data"] = "t.test" }
        var tables = ["train": train]
        tables["test"] = test
        let order = try order(
            "train", .object(settings), tables: tables,
            inputs: ["transforms": "\(folder)/\(name).transforms.json"], outputs: name)
        return ("\(order.outputs)/model", try await run(TrainWorker(), order))
    }
}

/// Rows whose label depends on `a` and a little on `b`; `sex` is f for two of three.
func synthetic(_ count: Int, seed: UInt64) throws -> Frame {
    var random = SplitMix64(seed: seed)
    var (a, b, y): ([Double?], [Double?], [Double?]) = ([], [], [])
    var sex: [String?] = []
    for row in 0..<count {
        let (first, second) = (random.normal(), random.normal())
        a.append(first)
        b.append(second)
        sex.append(row % 3 == 0 ? "m" : "f")
        y.append(random.uniform() < 1 / (1 + exp(-(2 * first + 0.5 * second))) ? 1 : 0)
    }
    return try Frame([
        (ColumnSchema("a", .float), .floats(a)), (ColumnSchema("b", .float), .floats(b)),
        (ColumnSchema("sex", .category), .categories(sex)), (ColumnSchema("y", .float), .floats(y)),
    ])
}

/// The XGBoost library, or why there is none.
enum Library {
    static let isFound = (try? XGBoostLibrary.find(explicit: nil)) != nil  // absent means its tests are skipped
    /// In CI its tests always run, and so fail without it.
    static let isExpected = isFound || ProcessInfo.processInfo.environment["CI"] == "true"
}
