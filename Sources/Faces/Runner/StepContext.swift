import API
import Blobs
import Expressions
import Foundation
import Manifests

// What expressions see on the runner: what the server sent along with the step, and what only the runner knows.

extension StepsWork {
    /// `environment` are the variables as the step will see them, so far as they are known.
    func context(
        for order: StepOrder?, after done: [StepReport], environment: Ordered<String>, isFailure: Bool
    ) -> Context {
        var steps = Ordered<JSONValue>()
        for report in done {
            guard let id = report.step.id else { continue }
            let order = lease.steps.first { $0.index == report.step.index }
            let isForgiven = report.step.status == .failed && order?.continue_on_error == true
            steps[id] = [
                "outputs": .object(report.step.outputs), "outcome": report.step.status.json,
                "conclusion": (isForgiven ? RunStatus.succeeded : report.step.status).json,
            ]
        }
        let isCancelled = stop.asked?.isCancelled == true
        var values: [String: Value] = [:]
        for (name, value) in order?.context ?? [:] { values[name] = Value(value) }
        func known(_ name: String) -> Value { environment[name].map { .string($0) } ?? .null }
        values["steps"] = Value(.object(steps))
        values["secrets"] = Value(lease.secrets.json)
        values["env"] = Value(environment.json)
        values["job"] = Value([
            "status": .string(isCancelled ? "cancelled" : isFailure ? "failure" : "success"),
            "workspace": .string(folder.workspace),
        ])
        values["runner"] = Value(Self.runner(named: shared.settings.name, folder: folder))
        // Known without the server's word, for runs that were laid before it sent any.
        for (name, variable) in [("ref", "VAGUS_REF"), ("commit", "VAGUS_COMMIT"), ("pipeline", "VAGUS_PIPELINE")]
        where values[name] == nil {
            values[name] = known(variable)
        }
        if values["run"] == nil { values["run"] = Value(["id": .string(lease.run)]) }
        for name in ["variables", "vars"] where values[name] == nil { values[name] = Value(environment.json) }
        let workspace = folder.workspace
        return Context(
            values: values,
            status: Context.Status(
                isSuccess: !isFailure && !isCancelled, isFailure: isFailure, isCancelled: isCancelled),
            hashFiles: { try FileHash.hash(of: $0, in: workspace) })
    }

    private static func runner(named name: String, folder: JobFolder) -> JSONValue {
        #if arch(x86_64)
        let architecture = "X64"
        #elseif arch(arm64)
        let architecture = "ARM64"
        #else
        let architecture = "unknown"
        #endif
        return [
            "name": .string(name), "os": "Linux", "arch": .string(architecture),
            "temp": .string(folder.temporary),
        ]
    }

    /// The variables with their expressions replaced; each sees those before it as `env`.
    func resolvedEnvironment(
        _ order: StepOrder, context: (Ordered<String>) -> Context
    ) throws -> Ordered<String> {
        var resolved = Ordered<String>()
        // What reads nothing is known first, wherever it stands.
        var left: [(String, Template)] = []
        for (name, text) in order.environment {
            guard text.contains("${{") else {
                resolved[name] = text
                continue
            }
            let template = try Template(parsing: text, limit: Template.quotedBytes)
            if let value = template.constant { resolved[name] = value } else { left.append((name, template)) }
        }
        for (name, template) in left { resolved[name] = try template.render(in: context(resolved)) }
        return resolved
    }
}

/// `hashFiles()`: one SHA-256 over the SHA-256 of each file that the patterns match, in the order of their paths.
enum FileHash {
    /// Bytes of all files together.
    static let byteLimit = 1 << 30

    /// - Returns: 64 hexadecimal digits; "" when nothing matches, as GitHub has it.
    static func hash(of patterns: [String], in workspace: String) throws -> String {
        let wanted = patterns.filter { !$0.hasPrefix("!") }
        let unwanted = patterns.filter { $0.hasPrefix("!") }.map { String($0.dropFirst()) }
        guard FileManager.default.fileExists(atPath: workspace), !wanted.isEmpty else { return "" }
        var files = try GlobWalk.files(matching: wanted, in: workspace)
        if !unwanted.isEmpty {
            let left = Set(try GlobWalk.files(matching: unwanted, in: workspace))
            files.removeAll { left.contains($0) }
        }
        guard !files.isEmpty else { return "" }
        var all: [UInt8] = []
        var bytes = 0
        for file in files {
            let data = try Data(contentsOf: URL(fileURLWithPath: "\(workspace)/\(file)"), options: .mappedIfSafe)
            bytes += data.count
            guard bytes <= byteLimit else {
                throw Problem(
                    "hash.size", status: 413, "hashFiles() was given more than \(byteLimit >> 20) MiB of files",
                    hint: "Name fewer files: a lock file is most often enough.")
            }
            all += Digest(of: Array(data)).bytes
        }
        return Digest(of: all).hex
    }
}

extension Digest {
    /// The hash itself.
    fileprivate var bytes: [UInt8] {
        let digits = Array(hex.utf8).map { $0 < 0x3A ? $0 - 0x30 : $0 - 0x61 + 10 }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }
}
