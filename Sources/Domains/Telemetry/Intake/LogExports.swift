import API
import Foundation
import Manifests
import Series
import Synchronization

/// Where lines go besides the store: files in the data folder, and other Lokis.
final class LogExports: Sendable {
    private let folder: String
    private let state = Mutex(State())

    private struct State {
        var files: [String: LineFile] = [:]
        var lokis: [LokiQueue] = []
    }

    init(folder: String) { self.folder = folder }

    func keep(_ wanted: [TelemetryPlan.Owned<LogDestination>]) {
        state.withLock { state in
            var files: [String: LineFile] = [:]
            for spec in wanted.compactMap(\.part.file) {
                let before = state.files[spec.name]
                files[spec.name] = before?.spec == spec ? before : LineFile(spec, folder: folder)
            }
            let lokis = wanted.filter { $0.part.loki != nil }
            let before = state.lokis
            state.lokis = lokis.map { one in before.first { $0.owned == one } ?? LokiQueue(one) }
            state.files = files
        }
    }

    var queues: [LokiQueue] { state.withLock { $0.lokis } }

    /// Writes to the files and queues for the others. Blocks.
    func offer(_ streams: [IncomingStream], _ drops: DropCounts) {
        let (files, lokis) = state.withLock { (Array($0.files.values), $0.lokis) }
        guard !streams.isEmpty else { return }
        for file in files where !file.write(streams) {
            drops.add("logs: the file \(file.spec.name) cannot be written", streams.reduce(0) { $0 + $1.entries.count })
        }
        for loki in lokis { drops.add("logs: the queue to another Loki is full", loki.offer(streams)) }
    }
}

/// A file of lines, each a JSON object, put aside at its size.
final class LineFile: Sendable {
    let spec: LogFileSpec
    private let path: String
    private let size: Mutex<Int64>

    init(_ spec: LogFileSpec, folder: String) {
        self.spec = spec
        path = folder + "/" + spec.name
        let known = try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int64  // nil: not there yet
        size = Mutex(known ?? 0)
    }

    /// Appends lines; false when that fails.
    func write(_ streams: [IncomingStream]) -> Bool {
        var out = JSONOut(capacity: 1 << 12)
        for stream in streams {
            for entry in stream.entries {
                out.raw("{\"time\":")
                out.text(Timestamp(microseconds: entry.time / 1000).description)
                out.raw(",\"labels\":")
                out.labels(stream.labels)
                out.raw(",\"line\":")
                out.text(entry.line)
                if !entry.metadata.isEmpty {
                    out.raw(",\"metadata\":")
                    out.labels(Labels(entry.metadata))
                }
                out.raw("}\n")
            }
        }
        let bytes = out.bytes
        return size.withLock { size in
            if size > 0, size + Int64(bytes.count) > spec.max_size.bytes {
                guard rename(path, path + ".1") == 0 else { return false }
                size = 0
            }
            let file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
            guard file >= 0 else { return false }
            defer { close(file) }
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes { Foundation.write(file, $0.baseAddress, $0.count) }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return false }
                rest = rest.dropFirst(count)
            }
            size += Int64(bytes.count)
            return true
        }
    }
}

/// Lines that wait for another Loki, in memory.
final class LokiQueue: Sendable {
    /// Lines that may wait; the oldest go first.
    static let limit = 100_000
    /// Lines of one push.
    static let pushLines = 5_000

    private struct State {
        var streams: [IncomingStream] = []
        var waiting = 0
        var sent: Int64 = 0
        var dropped: Int64 = 0
        var error: String?
    }

    let owned: TelemetryPlan.Owned<LogDestination>
    private let state = Mutex(State())

    init(_ owned: TelemetryPlan.Owned<LogDestination>) { self.owned = owned }

    var endpoint: EndpointSpec { owned.part.loki ?? EndpointSpec() }

    /// - Returns: How many lines were dropped for them.
    func offer(_ streams: [IncomingStream]) -> Int {
        state.withLock { state in
            state.streams += streams
            state.waiting += streams.reduce(0) { $0 + $1.entries.count }
            var lost = 0
            while state.waiting > Self.limit, state.streams.count > 1 {
                let count = state.streams.removeFirst().entries.count
                state.waiting -= count
                lost += count
            }
            state.dropped += Int64(lost)
            return lost
        }
    }

    /// Takes what is to be pushed next.
    func take() -> [IncomingStream] {
        state.withLock { state in
            var (taken, lines) = ([IncomingStream](), 0)
            while let next = state.streams.first, taken.isEmpty || lines + next.entries.count <= Self.pushLines {
                taken.append(next)
                lines += next.entries.count
                state.streams.removeFirst()
            }
            state.waiting -= lines
            return taken
        }
    }

    func done(_ streams: [IncomingStream], error: String?) {
        let count = streams.reduce(0) { $0 + $1.entries.count }
        state.withLock { state in
            state.error = error
            if error == nil { state.sent += Int64(count) } else { state.dropped += Int64(count) }
        }
    }

    /// Puts back what could not be pushed now.
    func putBack(_ streams: [IncomingStream], error: String) {
        state.withLock { state in
            state.streams = streams + state.streams
            state.waiting += streams.reduce(0) { $0 + $1.entries.count }
            state.error = error
        }
    }

    var status: RemoteStatus {
        state.withLock { state in
            var status = RemoteStatus()
            (status.name, status.url) = ("loki", endpoint.url)
            (status.waiting, status.sent, status.dropped) = (state.waiting, state.sent, state.dropped)
            status.error = state.error
            return status
        }
    }
}
