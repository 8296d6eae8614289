import API
import Blobs
import Frames
import Glibc
import Kernel
import Manifests
import Stats
import Synchronization

/// What windows are compared with: the test rows of a model version.
struct MonitorReference: Sendable {
    /// File in the model's folder.
    static let file = "reference.vgf"
    static let scoreColumn = "__score"
    static let labelColumn = "__label"
    /// A column with more levels is an identifier or free text: no share of it can be compared.
    static let levelLimit = 1000
    /// Bytes of the file.
    static let sizeLimit: Int64 = 1 << 30

    enum Values: Sendable {
        /// Ascending, without the missing ones.
        case numbers([Double])
        case levels([String: Int])
    }

    struct Feature: Sendable {
        var name: String
        var values: Values
        /// Share of rows without a value.
        var missing: Double
    }

    var features: [Feature]
    /// Ascending.
    var scores: [Double]
    var rows: Int
    var metrics: Ordered<Double>

    /// Reads a frame; a decision is yes from the threshold on.
    init(_ frame: Frame, threshold: Double) {
        rows = frame.rowCount
        features = []
        for (schema, column) in zip(frame.schema, frame.columns) where !schema.name.hasPrefix("__") {
            guard let values = Self.values(of: column) else { continue }
            let missing = rows == 0 ? 0 : Double(column.missingCount) / Double(rows)
            features.append(Feature(name: schema.name, values: values, missing: missing))
        }
        let scored = frame[Self.scoreColumn]?.doubles ?? []
        scores = FastSort.ascending(scored.filter(\.isFinite))
        let labels = frame[Self.labelColumn]?.doubles ?? []
        let pairs = zip(scored, labels).filter { $0.0.isFinite && $0.1.isFinite }
        metrics = Performance.metrics(scores: pairs.map(\.0), labels: pairs.map(\.1), threshold: threshold)
    }

    /// Times are left out: that they move on is no drift.
    private static func values(of column: Column) -> Values? {
        switch column {
        case .timestamp: return nil
        case .float, .int:
            return .numbers(FastSort.ascending(column.doubles.filter(\.isFinite)))
        case .category(let codes, let levels):
            var counts = [Int](repeating: 0, count: levels.count)
            for code in codes where code >= 0 { counts[Int(code)] += 1 }
            var named: [String: Int] = [:]
            for (level, count) in zip(levels, counts) where count > 0 { named[level, default: 0] += count }
            return named.count <= levelLimit ? .levels(named) : nil
        case .bool, .string:
            var named: [String: Int] = [:]
            for row in 0..<column.count {
                if let text = column.text(row) { named[text, default: 0] += 1 }
                if named.count > levelLimit { return nil }
            }
            return .levels(named)
        }
    }
}

/// Sorting by the C library, which is fast in debug builds too.
enum FastSort {
    static func ascending(_ values: [Double]) -> [Double] {
        var values = values
        values.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            qsort(base, bytes.count / MemoryLayout<Double>.stride, MemoryLayout<Double>.stride) { left, right in
                guard let a = left?.load(as: Double.self), let b = right?.load(as: Double.self) else { return 0 }
                return a < b ? -1 : a > b ? 1 : 0
            }
        }
        return values
    }
}

/// References by digest, the last few in memory.
final class ReferenceBook: Sendable {
    /// References that are kept in memory.
    static let limit = 8

    private struct Key: Hashable {
        var digest: String
        var threshold: Double
    }
    private let blobs: BlobStore
    private let caller: any OperationCaller
    private let threads: WorkerThreads
    private let kept = Mutex<[(key: Key, reference: MonitorReference)]>([])

    init(blobs: BlobStore, caller: any OperationCaller, threads: WorkerThreads) {
        (self.blobs, self.caller, self.threads) = (blobs, caller, threads)
    }

    /// The version that a monitor names, as the registry has it now.
    func version(of spec: MonitorSpec, project: String) async throws -> ModelVersion {
        guard let word = ModelWord(spec.model) else {
            throw Problem(
                "monitor.model", status: 422, "\"\(spec.model)\" names no model version",
                hint: "Write the model's name and an alias or a number: churn@champion.")
        }
        let name = ModelVersionName(project: project, name: word.name, version: word.version)
        return try await caller.call(Models.version, name, as: .system(MonitorsDomain.name))
    }

    func reference(of version: ModelVersion, threshold: Double) async throws -> MonitorReference {
        let key = Key(digest: version.digest, threshold: threshold)
        if let known = kept.withLock({ $0.first { $0.key == key }?.reference }) { return known }
        let path = try await path(in: version)
        let reference = try await threads.run { MonitorReference(try Frame.read(path: path), threshold: threshold) }
        kept.withLock { kept in
            kept.append((key, reference))
            if kept.count > Self.limit { kept.removeFirst() }
        }
        return reference
    }

    private func path(in version: ModelVersion) async throws -> String {
        let name = "\(version.model)@\(version.version)"
        guard let digest = Digest(version.digest) else {
            throw Problem("monitor.reference", status: 409, "\(name) has no folder", hint: "Register it again.")
        }
        let tree = try await Tree.open(digest, from: blobs)
        guard let entry = tree.entries.first(where: { $0.path == MonitorReference.file }), let file = entry.digest
        else {
            throw Problem(
                "monitor.reference", status: 409, "\(name) has no file \(MonitorReference.file)",
                hint: "Versions that a pipeline's evaluate step has seen have one.")
        }
        guard entry.size ?? 0 <= MonitorReference.sizeLimit else {
            throw Problem(
                "monitor.reference", status: 409, "the reference of \(name) is larger than 1 GiB",
                hint: "Test on fewer rows.")
        }
        try await blobs.verify(file)
        return blobs.path(of: file)
    }
}
