import Manifests
import SQL
import Synchronization

/// The runs that were shown, as JSON, so that a search of a thousand does not read twenty thousand rows each time.
///
/// A document belongs to a revision of its run, which every change of the run raises in the same transaction: one that is out of
/// date is never shown, and nobody needs to tell the cache of a change.
final class RunDocuments: Sendable {
    private struct State {
        var documents: [Int64: (revision: Int64, bytes: [UInt8])] = [:]
        var bytes = 0
    }
    private let state = Mutex(State())
    /// Bytes of documents kept; when they are more, all are let go.
    static let limit = 48 << 20

    /// The documents of runs, in the order of `wanted`.
    func documents(_ wanted: [(id: Int64, revision: Int64)], in sql: Connection) throws -> [[UInt8]] {
        var found: [Int64: [UInt8]] = [:]
        found.reserveCapacity(wanted.count)
        let missing = state.withLock { state in
            wanted.filter { run in
                guard let known = state.documents[run.id], known.revision == run.revision else { return true }
                found[run.id] = known.bytes
                return false
            }
        }
        for start in stride(from: 0, to: missing.count, by: Self.runsAtOnce) {
            let ids = missing[start..<min(start + Self.runsAtOnce, missing.count)].map(\.id)
            let made = try sql.runDocuments(ids)
            state.withLock { state in
                for (id, revision, bytes) in made {
                    state.bytes += bytes.count - (state.documents[id]?.bytes.count ?? 0)
                    state.documents[id] = (revision, bytes)
                }
                if state.bytes > Self.limit { state = State() }
            }
            for (id, _, bytes) in made { found[id] = bytes }
        }
        return wanted.compactMap { found[$0.id] }
    }

    private static let runsAtOnce = 1000
}

/// JSON that is written piece by piece.
struct JSONPieces {
    private(set) var bytes: [UInt8] = []

    mutating func raw(_ text: StaticString) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }
    mutating func raw(_ other: [UInt8]) { bytes.append(contentsOf: other) }
    mutating func text(_ text: String) { JSONValue.write(text, to: &bytes) }
    mutating func number(_ value: Double) { JSONValue.write(value, to: &bytes) }
    mutating func integer(_ value: Int64) { Self.append(value, to: &bytes) }

    static func append(_ value: Int64, to bytes: inout [UInt8]) {
        var digits: (UInt64, UInt64, UInt64) = (0, 0, 0)
        withUnsafeMutableBytes(of: &digits) { buffer in
            var (place, rest) = (buffer.count, value.magnitude)
            repeat {
                place -= 1
                buffer[place] = UInt8(truncatingIfNeeded: rest % 10) + 0x30
                rest /= 10
            } while rest > 0
            if value < 0 {
                place -= 1
                buffer[place] = UInt8(ascii: "-")
            }
            bytes.append(contentsOf: buffer[place...])
        }
    }

    /// A comma, unless nothing stands before.
    mutating func comma() { if !bytes.isEmpty { bytes.append(UInt8(ascii: ",")) } }

    mutating func pair(_ key: String, _ value: String) {
        raw("{\"key\":")
        text(key)
        raw(",\"value\":")
        text(value)
        raw("}")
    }

    /// A point as MLflow's API shows it, with the run it belongs to.
    mutating func metric(_ key: String, _ value: Double, time: Int64, step: Int64, run: String?) {
        raw("{\"key\":")
        text(key)
        raw(",\"value\":")
        number(value)
        raw(",\"timestamp\":")
        integer(time)
        raw(",\"step\":")
        integer(step)
        if let run {
            raw(",\"run_id\":")
            text(run)
        }
        raw("}")
    }
}

/// The lists of one run's document.
private struct RunLists {
    var metrics = JSONPieces()
    var params = JSONPieces()
    var tags = JSONPieces()
    var datasets = JSONPieces()
    var modelInputs = JSONPieces()
    var modelOutputs = JSONPieces()

    func document(of run: StoredRun) -> [UInt8] {
        var out = JSONPieces()
        out.raw("{\"info\":")
        out.raw(run.info.bytes)
        out.raw(",\"data\":{")
        out.raw(Self.members([("metrics", metrics), ("params", params), ("tags", tags)]))
        out.raw("},\"inputs\":{")
        out.raw(Self.members([("dataset_inputs", datasets), ("model_inputs", modelInputs)]))
        out.raw("},\"outputs\":{")
        out.raw(Self.members([("model_outputs", modelOutputs)]))
        out.raw("}}")
        return out.bytes
    }

    /// Empty lists are left out, as protocol buffers leave them out.
    private static func members(_ lists: [(StaticString, JSONPieces)]) -> [UInt8] {
        var out = JSONPieces()
        for (name, list) in lists where !list.bytes.isEmpty {
            out.comma()
            out.raw("\"")
            out.raw(name)
            out.raw("\":[")
            out.raw(list.bytes)
            out.raw("]")
        }
        return out.bytes
    }
}

extension Connection {
    /// Runs with everything that was logged to them, as MLflow's API shows them.
    func runDocuments(_ ids: [Int64]) throws -> [(id: Int64, revision: Int64, bytes: [UInt8])] {
        let list = "[\(ids.map(String.init).joined(separator: ","))]"
        let wanted: Statement = "(SELECT value FROM json_each(\(list)))"
        var parts: [Int64: RunLists] = [:]
        parts.reserveCapacity(ids.count)
        try each(
            """
            SELECT m.run, n.text, m.value, m.is_nan, m.time, m.step FROM metric m JOIN name n ON n.id = m.key
            WHERE m.run IN \(wanted)
            """
        ) { row in
            let value: Double = try row.get(3) ? .nan : row.get(2)
            let lists = try row.get(0, as: Int64.self)
            parts[lists, default: RunLists()].metrics.comma()
            parts[lists, default: RunLists()].metrics.metric(
                try row.get(1), value, time: try row.get(4), step: try row.get(5), run: nil)
        }
        try each(
            "SELECT p.run, n.text, p.value FROM param p JOIN name n ON n.id = p.key WHERE p.run IN \(wanted)"
        ) { row in
            let run = try row.get(0, as: Int64.self)
            parts[run, default: RunLists()].params.comma()
            parts[run, default: RunLists()].params.pair(try row.get(1), try row.get(2))
        }
        try each("SELECT t.run, n.text, t.value FROM tag t JOIN name n ON n.id = t.key WHERE t.run IN \(wanted)") {
            row in
            let run = try row.get(0, as: Int64.self)
            parts[run, default: RunLists()].tags.comma()
            parts[run, default: RunLists()].tags.pair(try row.get(1), try row.get(2))
        }
        try readInputs(wanted, into: &parts)
        return try storedRuns(ids).map { run in
            (run.id, run.revision, (parts[run.id] ?? RunLists()).document(of: run))
        }
    }

    private func readInputs(_ wanted: Statement, into parts: inout [Int64: RunLists]) throws {
        try each(
            """
            SELECT i.run, i.tags, d.name, d.digest, d.source_type, d.source, d.schema, d.profile
            FROM input i JOIN dataset d ON d.id = i.dataset WHERE i.run IN \(wanted) ORDER BY i.id
            """
        ) { row in
            let run = try row.get(0, as: Int64.self)
            var list = parts[run] ?? RunLists()
            list.datasets.comma()
            list.datasets.raw("{\"tags\":")
            list.datasets.raw(Array(try row.get(1, as: String.self).utf8))
            list.datasets.raw(",\"dataset\":")
            var dataset: Ordered<JSONValue> = [:]
            for (place, name) in ["name", "digest", "source_type", "source", "schema", "profile"].enumerated() {
                if let text = try row.get(place + 2, as: String?.self) { dataset[name] = .string(text) }
            }
            list.datasets.raw(JSONValue.object(dataset).bytes)
            list.datasets.raw("}")
            parts[run] = list
        }
        try each(
            "SELECT run, is_output, model, step FROM run_model WHERE run IN \(wanted) ORDER BY id"
        ) { row in
            let run = try row.get(0, as: Int64.self)
            var list = parts[run] ?? RunLists()
            if try row.get(1, as: Bool.self) {
                list.modelOutputs.comma()
                let model: JSONValue = ["model_id": .string(try row.get(2)), "step": .integer(try row.get(3))]
                list.modelOutputs.raw(model.bytes)
            } else {
                list.modelInputs.comma()
                list.modelInputs.raw((["model_id": .string(try row.get(2))] as JSONValue).bytes)
            }
            parts[run] = list
        }
    }
}
