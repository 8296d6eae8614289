import API
import Foundation
import Kernel
import Manifests

/// ingest, validate, transform, train, evaluate: `vagus work ORDER.json` in a process of its own.
extension StepWork {
    mutating func worker(in place: String) async throws {
        for name in ["outputs", "inputs"] { try JobFolder.make("\(place)/\(name)") }
        let work = try await workOrder(in: place)
        let file = "\(place)/order.json"
        try Data(work.json.bytes).write(to: URL(fileURLWithPath: file), options: .atomic)
        let isWell = try await execute(
            shared.settings.vagus, ["work", file], environment: environment, in: folder.workspace)
        // A failed gate ends with its own exit code and leaves its findings all the same.
        guard let result = try Self.result("\(place)/result.json") else {
            if isWell { fail("the worker left no result") }
            return
        }
        (outcome.outputs, outcome.metrics, outcome.report) = (result.outputs, result.metrics, result.report)
        for (name, path) in result.artifacts {
            outcome.artifacts.append(try await shared.cache.keep("\(place)/outputs/\(path)", as: name))
        }
        if let failure = result.failure {
            fail([failure.message, failure.detail].compactMap { $0 }.joined(separator: ": "))
        } else if isWell {
            (outcome.status, outcome.reason) = (.succeeded, nil)
        }
    }

    private func workOrder(in place: String) async throws -> WorkOrder {
        var work = WorkOrder()
        (work.verb, work.settings, work.resources, work.facts) = (
            order.verb, order.settings, order.resources, order.facts
        )
        (work.outputs, work.workspace) = ("\(place)/outputs", folder.workspace)
        (work.datasets, work.xgboost) = (shared.settings.datasets, shared.settings.xgboost)
        for (name, artifact) in order.inputs {
            let path = "\(place)/inputs/\(name)"
            work.inputs[name] = try await shared.cache.fetch(artifact, to: path)
        }
        return work
    }

    private static func result(_ path: String) throws -> WorkResult? {
        let facts = try? FileManager.default.attributesOfItem(atPath: path)  // none was left
        guard let size = facts?[.size] as? Int else { return nil }
        guard size <= RunnerLimits.reportBytes, let data = FileManager.default.contents(atPath: path) else {
            throw Problem(
                "worker.result", status: 413, "the worker's result is larger than \(RunnerLimits.reportBytes >> 20) MiB"
            )
        }
        return try WorkResult(json: JSONParser.parse(Array(data)), at: [])
    }
}
