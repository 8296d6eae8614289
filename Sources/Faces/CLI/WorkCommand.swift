import API
import ArgumentParser
import Foundation
import Kernel
import Manifests
import Server

/// `vagus work ORDER.json`: one verb's work in a process of its own, so that its end ends nothing else.
struct WorkCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "work", abstract: "Does one step's work (used by the runner).", shouldDisplay: false)
    @Argument var order: String

    func run() async throws {
        let file = URL(filePath: order)
        let order = try WorkOrder(json: JSONParser.parse(Array(try Data(contentsOf: file))), at: [])
        guard let worker = Workers.all.first(where: { type(of: $0).verb == order.verb }) else {
            throw Problem("work.verb", status: 500, "no worker for \"\(order.verb)\"")
        }
        let result: WorkResult
        do {
            result = try await worker.run(order) { Terminal.line($0) }
        } catch {
            var failed = WorkResult()
            failed.failure = Problem(describing: error)
            if failed.failure?.code == "internal" { failed.failure?.message = "\(error)" }
            try write(failed, beside: file)
            throw error
        }
        try write(result, beside: file)
        if let failure = result.failure { throw failure }
    }

    private func write(_ result: WorkResult, beside file: URL) throws {
        let place = file.deletingLastPathComponent().appending(path: "result.json")
        try Data(result.json.bytes).write(to: place, options: .atomic)
    }
}
