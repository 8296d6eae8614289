import API
import Foundation
import Manifests
import Synchronization

/// Tells the server of predictions one by one: all that failed or were slow, those whose trace the proxy has chosen, and a few that
/// came past the proxy. Written on a thread of its own as files of lines, which the server takes up; an answer waits for nothing.
package final class RequestSpool: Sendable {
    /// Records that may wait to be written, and how many that nobody chose are told in a second.
    package static let queueLimit = 400
    static let perSecond = 10
    /// Files that may wait for the server; while there are as many, records are dropped and counted.
    static let fileLimit = 100
    /// Time from which a prediction is told whoever chose it.
    static let slow: Int64 = 1_000_000

    /// The copy that tells.
    package struct Teller: Sendable {
        package var service: String
        package var revision: String
        package var instance: String
        package var model: String
        package var version: String
        package init(service: String, revision: String, instance: String, model: String, version: String) {
            (self.service, self.revision, self.instance) = (service, revision, instance)
            (self.model, self.version) = (model, version)
        }
    }

    /// One prediction as the face of the server saw it.
    package struct Exchange: Sendable {
        package var traceparent: String?
        package var tracestate: String?
        package var requestID: String?
        package var method: String
        package var path: String
        package var status: Int
        /// Microseconds.
        package var began: Int64
        package var took: Int64
        package init(method: String, path: String, status: Int, began: Int64, took: Int64) {
            (self.method, self.path, self.status, self.began, self.took) = (method, path, status, began, took)
        }
    }

    private struct State {
        var queue: [RequestRecord] = []
        var second: Int64 = 0
        var left = RequestSpool.perSecond
        var isClosed = false
    }
    private let state = Mutex(State())
    private let wake = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)
    private let dropped = Atomic<Int>(0)
    private let folder: String
    private let name: String
    private let teller: Teller

    /// - Throws: When the folder cannot be made.
    package init(folder: String, name: String, teller: Teller) throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        (self.folder, self.name, self.teller) = (folder, name, teller)
        let thread = Thread { self.write() }
        thread.name = "requests"
        thread.start()
    }

    package var droppedRecords: Int { dropped.load(ordering: .relaxed) }

    package func add(_ exchange: Exchange) {
        let isTold = exchange.status >= 500 || exchange.took >= Self.slow
        let isChosen = exchange.tracestate.map(Self.hasChosen) ?? false
        guard isTold || isChosen || exchange.traceparent == nil else { return }
        let record = record(exchange)
        let isTaken = state.withLock { state -> Bool? in
            let second = exchange.began / 1_000_000
            if second != state.second { (state.second, state.left) = (second, Self.perSecond) }
            if !isTold && !isChosen {
                guard state.left > 0 else { return nil }
                state.left -= 1
            }
            guard !state.isClosed, state.queue.count < Self.queueLimit else { return false }
            state.queue.append(record)
            return true
        }
        if isTaken == false { dropped.wrappingAdd(1, ordering: .relaxed) }
    }

    /// Writes what waits, then ends. Waits for it at most five seconds.
    package func close() {
        state.withLock { $0.isClosed = true }
        wake.signal()
        _ = ended.wait(timeout: .now() + 5)
    }

    /// What the proxy adds to the state of a trace that it records (W3C Trace Context, §3.3).
    static func hasChosen(_ tracestate: String) -> Bool {
        tracestate.split(separator: ",").contains { $0.drop { $0 == " " || $0 == "\t" }.hasPrefix("vagus=r") }
    }

    private func record(_ exchange: Exchange) -> RequestRecord {
        var record = RequestRecord()
        let parts = (exchange.traceparent ?? "").split(separator: "-", omittingEmptySubsequences: false).map(
            String.init)
        if parts.count >= 4, parts[1].utf8.count == 32, parts[2].utf8.count == 16 {
            (record.trace, record.parent) = (parts[1], parts[2])
        } else {
            record.trace = Self.hex(.random(in: 1...(.max))) + Self.hex(.random(in: 1...(.max)))
        }
        record.span = Self.hex(.random(in: 1...(.max)))
        (record.by, record.request_id) = (.model, exchange.requestID ?? "")
        (record.at, record.microseconds) = (Timestamp(microseconds: exchange.began), exchange.took)
        (record.service, record.revision, record.instance) = (teller.service, teller.revision, teller.instance)
        (record.method, record.path, record.status) = (exchange.method, exchange.path, exchange.status)
        (record.model, record.model_version) = (teller.model, teller.version)
        return record
    }

    private static func hex(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    // MARK: - The writer's thread

    private func write() {
        defer { ended.signal() }
        while true {
            _ = wake.wait(timeout: .now() + 1)
            let (records, isClosed) = state.withLock { state in
                defer { state.queue = [] }
                return (state.queue, state.isClosed)
            }
            if !records.isEmpty, !put(records) { dropped.wrappingAdd(records.count, ordering: .relaxed) }
            if isClosed { return }
        }
    }

    /// A file appears whole or not at all.
    private func put(_ records: [RequestRecord]) -> Bool {
        var bytes: [UInt8] = []
        for record in records {
            record.json.write(to: &bytes, indent: nil)
            bytes.append(0x0A)
        }
        let waiting = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []  // then the write fails, too
        guard waiting.count < Self.fileLimit else { return false }
        let place = "\(folder)/\(name)-\(records[0].at.microseconds)-\(records[0].span).jsonl"
        do {
            try Data(bytes).write(to: URL(filePath: place), options: .atomic)
            return true
        } catch {
            // A full disk must not stop the model from answering.
            return false
        }
    }
}
