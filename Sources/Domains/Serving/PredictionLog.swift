import Foundation
import Learners
import Manifests
import Synchronization

/// Keeps predictions for monitors: sampled, on a thread of its own, never slowing an answer.
///
/// Lines of JSON go to segments `FOLDER/INSTANCE-N.jsonl`: {"id", "at", "event_time", "model", "version", "features",
/// "score"}, times in microseconds. What finds the queue full is dropped and counted.
package final class PredictionLog: Sendable {
    /// Batches that may wait to be written.
    package static let queueLimit = 4096
    /// Bytes of a segment.
    package static let segmentBytes = 64 << 20

    private struct Entry: Sendable {
        var batch: Batch
        var scores: [Double]
        var width: Int
        var model: String
        var version: String
        var at: Int64
    }
    private struct State {
        var queue: [Entry] = []
        var random: UInt64
        var count: UInt64 = 0
        var isClosed = false
    }
    private let state: Mutex<State>
    private let wake = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)
    private let dropped = Atomic<Int>(0)
    private let folder: String
    private let instance: String
    private let sample: Double

    /// Starts the writer.
    ///
    /// - Parameter sample: Share of the rows that is kept, 0...1.
    /// - Throws: When the folder cannot be made.
    package init(folder: String, instance: String, sample: Double, seed: UInt64) throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        (self.folder, self.instance, self.sample) = (folder, instance, sample)
        state = Mutex(State(random: seed | 1))
        let thread = Thread { self.write() }
        thread.name = "predictions"
        thread.start()
    }

    /// Rows that were dropped because the writer could not keep up.
    package var droppedRows: Int { dropped.load(ordering: .relaxed) }

    func add(_ batch: Batch, scores: [Double], width: Int, model: String, version: String, at: Int64) {
        let entry = Entry(batch: batch, scores: scores, width: max(1, width), model: model, version: version, at: at)
        let isTaken = state.withLock { state in
            guard !state.isClosed, state.queue.count < Self.queueLimit else { return false }
            state.queue.append(entry)
            return true
        }
        if isTaken { wake.signal() } else { dropped.wrappingAdd(batch.rows.count, ordering: .relaxed) }
    }

    /// Writes what waits, then ends. Waits for it at most five seconds.
    package func close() {
        state.withLock { $0.isClosed = true }
        wake.signal()
        _ = ended.wait(timeout: .now() + 5)
    }

    // MARK: - The writer's thread

    private func write() {
        var segment = 0
        var file: FileHandle?
        var written = 0
        defer { ended.signal() }
        while true {
            wake.wait()
            let (entries, isClosed) = state.withLock { state in
                defer { state.queue = [] }
                return (state.queue, state.isClosed)
            }
            if file == nil || written >= Self.segmentBytes {
                repeat { segment += 1 } while FileManager.default.fileExists(atPath: path(segment))
                _ = FileManager.default.createFile(atPath: path(segment), contents: nil)
                file = FileHandle(forWritingAtPath: path(segment))
                written = 0
            }
            var bytes: [UInt8] = []
            for entry in entries { lines(entry, into: &bytes) }
            do {
                try file?.write(contentsOf: bytes)
                written += bytes.count
            } catch {
                // A full disk must not stop the model from answering.
                dropped.wrappingAdd(entries.reduce(0) { $0 + $1.batch.rows.count }, ordering: .relaxed)
                file = nil
            }
            if isClosed { return }
        }
    }

    private func path(_ segment: Int) -> String {
        "\(folder)/\(instance)-\(String(repeating: "0", count: max(0, 6 - "\(segment)".count)))\(segment).jsonl"
    }

    private func lines(_ entry: Entry, into out: inout [UInt8]) {
        for (index, row) in entry.batch.rows.enumerated() {
            let (chance, number) = state.withLock { state in
                // xorshift64* (Vigna 2014): cheap, and good enough to sample by.
                state.random ^= state.random >> 12
                state.random ^= state.random << 25
                state.random ^= state.random >> 27
                state.count += 1
                return (Double((state.random &* 2_685_821_657_736_338_717) >> 11) / 9_007_199_254_740_992, state.count)
            }
            guard chance < sample || sample >= 1 else { continue }
            var line = Ordered<JSONValue>()
            line["id"] = .string(entry.batch.ids.isEmpty ? "\(instance)-\(entry.at)-\(number)" : entry.batch.ids[index])
            line["at"] = .integer(entry.at)
            let times = entry.batch.eventTimes
            line["event_time"] = times.isEmpty ? .null : .integer(times[times.count == 1 ? 0 : index])
            line["model"] = .string(entry.model)
            line["version"] = .string(entry.version)
            line["features"] = .object(Ordered(row.map { ($0.key, $0.value.json) }.sorted { $0.0 < $1.0 }))
            line["score"] = .number(entry.scores[index * entry.width])
            JSONValue.object(line).write(to: &out, indent: nil)
            out.append(0x0A)
        }
    }
}
