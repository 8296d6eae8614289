internal import Glibc
package import Segments
package import Series
internal import Synchronization

/// A store of log lines: streams told apart by their labels, each a sequence of entries in time.
///
/// An entry is first in a write-ahead log, then in memory (the head), then in a segment: a file of compressed blocks, each with a
/// filter of the pieces of text in it, so that a word that is rare costs a look at every block's filter and no more. What
/// `append` acknowledged survives the end of the process at any byte.
///
/// One store is one tenant and one folder. All methods block, may be called from several threads at once, and never ask a clock:
/// times are nanoseconds since 1970 and come in. `Formats.md` says what the files look like.
package final class LogStore: Sendable {
    /// What opening a store found.
    package struct Recovery: Sendable, Hashable {
        package var segments = 0
        package var replayed = WriteAheadLog.Replay()
        /// Write-ahead logs that did not end with a whole record.
        package var tornLogs: [String] = []
    }

    struct State: ~Copyable {
        var index = StreamIndex()
        var head: LogHead
        /// Heads that are being made into segments, oldest first.
        var frozen: [LogHead] = []
        var segments: [AttachedSegment] = []
        var log: WriteAheadLog
        var tails: [Int: LogTail] = [:]
        var nextTail = 0
        /// Why the last segment could not be written.
        var failure: String?
    }

    /// A segment, and which stream of it is which of the store.
    struct AttachedSegment: Sendable {
        let segment: LogSegment
        var streams: [Int: [LogBlock]]
        /// Bytes of blocks that are not listed any more.
        var deadBytes = 0

        var liveBytes: Int { streams.values.reduce(0) { $0 + $1.reduce(0) { $0 + $1.size } } }
    }

    /// Bytes of one push.
    package static let pushBytes = 32 << 20

    package let folder: String
    /// Names the tenant in messages.
    package let name: String
    package let limits: LogLimits
    package let recovery: Recovery

    let place: StoreFolder
    let state: Mutex<State>
    /// Held while segments are written, rewritten or removed: one at a time, in order.
    let files = Mutex(())

    /// Opens the store in a folder, which is made if it is not there.
    ///
    /// - Throws: `StorageError`, also when a segment is damaged.
    package init(_ folder: String, name: String = "default", limits: LogLimits = LogLimits()) throws {
        self.folder = folder
        self.name = name
        self.limits = limits
        place = try StoreFolder(folder, segmentEnding: ".logs")
        var recovery = Recovery()
        var found = try place.find()
        let number = (found.segments + found.logs).max().map { $0 + 1 } ?? 1
        var state = State(
            head: LogHead(number: number), log: try WriteAheadLog(creating: place.log(number)))
        for number in found.segments {
            let segment = try LogSegment(place.segment(number), number: number)
            state.attach(segment)
            recovery.segments += 1
            // The end came between the segment and the removal of its log, or of an older one.
            for log in found.logs where log <= number { try Disk.remove(place.log(log)) }
            found.logs.removeAll { $0 <= number }
        }
        for number in found.logs {
            let path = place.log(number)
            let replay = try WriteAheadLog.replay(path) { try state.replay($0, limits) }
            recovery.replayed.records += replay.records
            recovery.replayed.tornBytes += replay.tornBytes
            if replay.tornBytes > 0 { recovery.tornLogs.append(path) }
            if replay.records == 0 { try Disk.remove(path) }
        }
        self.recovery = recovery
        self.state = Mutex(state)
    }

    // MARK: - Appending

    /// Takes entries of several streams. What is refused is told one by one; the rest is acknowledged.
    ///
    /// - Parameters:
    ///   - streams: Labels and entries; a stream may come several times.
    ///   - now: Nanoseconds since 1970.
    /// - Returns: What was taken and what was not.
    /// - Throws: `StorageError`; then nothing was taken.
    package func append(_ streams: [(labels: Labels, page: LogPage)], now: Int64) throws -> LogReceipt {
        guard streams.reduce(0, { $0 + $1.page.weight }) <= Self.pushBytes else {
            throw StorageError(
                .limit, "a push is larger than \(Self.pushBytes >> 20) MiB", hint: "Send smaller batches.")
        }
        let (receipt, isFull) = try state.withLock { state in
            let receipt = try state.append(streams, now, limits, name)
            return (receipt, state.head.weight >= limits.headBytes)
        }
        if isFull {
            // The lines are safe in the log; what went wrong is told by `status`, and to who appends when memory runs out.
            do { try flush() } catch { state.withLock { $0.failure = "\(error)" } }
        }
        return receipt
    }

    /// Brings all that was acknowledged beyond a power cut.
    package func sync() throws {
        let file = state.withLock { $0.log.openFile }
        try file.sync()
    }

    // MARK: - Segments

    /// Makes a segment of all that is in memory.
    package func flush() throws {
        try files.withLock { _ in try flushHoldingFiles() }
    }

    func flushHoldingFiles() throws {
        try state.withLock { state in
            guard !state.head.streams.isEmpty else { return }
            let number = state.head.number + 1
            state.log = try WriteAheadLog(creating: place.log(number))
            state.frozen.append(state.head)
            state.head = LogHead(number: number)
        }
        while let head = state.withLock({ $0.frozen.first }) {
            let path = place.segment(head.number)
            if head.streams.isEmpty {
                state.withLock { _ = $0.frozen.removeFirst() }
            } else {
                try head.write(to: path)
                let segment = try LogSegment(path, number: head.number)
                state.withLock { state in
                    state.attach(segment)
                    let head = state.frozen.removeFirst()
                    for id in head.streams.keys { state.index.release(id) }
                }
            }
            try place.removeLogs(upTo: head.number)
        }
        state.withLock { $0.failure = nil }
    }
}
