import API
import Foundation
import Frames
import Kernel
import Manifests
import Synchronization

@testable import Datasets

/// A folder of its own with what a worker needs, gone with the test.
final class Bench: Sendable {
    let folder: String
    private let told = Mutex<[String]>([])

    init() throws {
        folder = NSTemporaryDirectory() + "datasets-\(UUID().uuidString)"
        for name in ["outputs", "workspace", "datasets"] {
            try FileManager.default.createDirectory(atPath: "\(folder)/\(name)", withIntermediateDirectories: true)
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }  // a folder that stays harms nobody

    var lines: [String] { told.withLock { $0 } }

    func write(_ text: String, _ name: String) throws {
        try Data(text.utf8).write(to: URL(filePath: "\(folder)/\(name)"))
    }

    func text(_ name: String) throws -> String {
        String(decoding: try Data(contentsOf: URL(filePath: "\(folder)/outputs/\(name)")), as: UTF8.self)
    }

    func frame(_ name: String) throws -> Frame { try Frame.read(path: "\(folder)/outputs/\(name)") }

    /// An order with a dataset written in YAML.
    func order(_ verb: String, _ settings: JSONValue, dataset yaml: String? = nil, rows: Frame? = nil) throws
        -> WorkOrder
    {
        var order = WorkOrder()
        (order.verb, order.settings, order.outputs) = (verb, settings, "\(folder)/outputs")
        (order.workspace, order.datasets) = ("\(folder)/workspace", "\(folder)/datasets")
        if let yaml {
            var members = try YAML.documents(yaml)[0].value.object ?? [:]
            members["name"] = "people"
            order.resources["Dataset"] = .object(members)
        }
        if let rows {
            try rows.write(path: "\(folder)/rows.in")
            order.inputs["rows"] = "\(folder)/rows.in"
        }
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
}

/// Five people; one without an age, one without a name.
func people() throws -> Frame {
    try Frame([
        (ColumnSchema("id", .int), .ints([1, 2, 3, 4, 4])),
        (ColumnSchema("age", .float), .floats([20, 30, nil, 150, 40])),
        (ColumnSchema("low", .float), .floats([1, 2, 3, 4, 9])),
        (ColumnSchema("high", .float), .floats([2, 3, nil, 4, 8])),
        (ColumnSchema("sex", .category), .categories(["f", "m", "x", "f", nil])),
        (ColumnSchema("mail", .string), .strings(["a@b.c", "d@e.f", "nope", nil, "g@h.i"])),
    ])
}
