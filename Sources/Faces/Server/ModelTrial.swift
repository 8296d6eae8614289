import Blobs
import Experiments
import Foundation
import Kernel
import Manifests
import Processes

/// Tries in a process of its own whether a model loads: files of others may be broken in ways that end who reads them.
struct ModelTrial: Sendable {
    let blobs: BlobStore
    let executable: String
    let xgboost: String?
    /// Where files are unpacked for as long as a trial takes.
    let folder: String

    /// How long a trial may take, and what its process may have.
    private static let patience: Duration = .seconds(60)
    private static let memoryBytes: UInt64 = 8 << 30
    private static let outputBytes = 64 << 10

    /// - Parameter rows: Rows to score: `{"dataframe_records": […]}`.
    /// - Returns: `loads`, and `rows` that were scored, or the `reason`.
    func run(_ digest: Digest, _ rows: JSONValue?) async throws -> JSONValue {
        let place = "\(folder)/\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: place) }  // what is left is removed at the next start
        try await Tree.unpack(digest, from: blobs, to: "\(place)/model")
        var arguments = ["serve", "--model", "\(place)/model", "--check"]
        if let xgboost { arguments += ["--xgboost-library", xgboost] }
        if let rows {
            try Data(rows.bytes).write(to: URL(filePath: "\(place)/rows.json"))
            arguments += ["--rows", "\(place)/rows.json"]
        }
        var command = Command(
            executable: executable, arguments: arguments, environment: ["PATH": "/usr/bin:/bin"], directory: place)
        command.limits = ProcessLimits(
            addressSpaceBytes: Self.memoryBytes, cpuSeconds: UInt64(Self.patience.components.seconds))
        let said = Said()
        let outcome = try await Processes.run(command, timeout: Self.patience, grace: .zero) { chunk in
            await said.add(chunk)
        }
        switch outcome.status {
        case .exited(0): return (try? JSONParser.parse(await said.output)) ?? Self.failed("the trial told nothing")  // told as that
        case .exited: return Self.failed(await said.words)
        case .signalled(let signal): return Self.failed("loading ended with signal \(signal)")
        case .timedOut: return Self.failed("loading took more than \(Self.patience.components.seconds) s")
        }
    }

    /// Removes what trials left that were cut off.
    static func clear(_ folder: String) { try? FileManager.default.removeItem(atPath: folder) }  // nothing to remove is fine

    private static func failed(_ reason: String) -> JSONValue { ["loads": false, "reason": .string(reason)] }

    /// What the process said, up to a limit.
    private actor Said {
        private(set) var output: [UInt8] = []
        private var errors: [UInt8] = []

        func add(_ chunk: OutputChunk) {
            guard output.count + errors.count + chunk.bytes.count <= ModelTrial.outputBytes else { return }
            if chunk.isError { errors += chunk.bytes } else { output += chunk.bytes }
        }

        /// The first line of what it complained of.
        var words: String {
            let text = String(decoding: errors.isEmpty ? output : errors, as: UTF8.self)
            let line = text.split(separator: "\n").first.map(String.init) ?? "the model does not load"
            return line.hasPrefix("error: ") ? String(line.dropFirst(7)) : line
        }
    }
}
