internal import Segments
internal import Synchronization

/// A store of spans: whole traces by their id, and traces that have a span of a kind, the newest first.
///
/// A span is first in a write-ahead log, then in memory, then in a segment: a file of spans sorted by trace, with columns that a
/// search reads alone and a filter of attributes for each block. What `append` acknowledged survives the end of the process at any
/// byte. One store is one tenant and one folder; calls block, may come from several threads at once, and never ask a clock.
package final class SpanStore: Sendable {
    package struct Limits: Sendable, Hashable {
        /// Bytes of one span as the store keeps it.
        package var spanBytes = 1 << 20
        /// Bytes of spans in memory before they become a segment.
        package var headBytes = 64 << 20
        /// How long, in nanoseconds, a span may be in memory only.
        package var headAge: Int64 = 3_600_000_000_000
        package var blockBytes = 256 << 10
        /// How far, in nanoseconds, a span may begin before or after now; nil takes any.
        package var oldest: Int64? = 7 * 86_400_000_000_000
        package var ahead: Int64? = 3_600_000_000_000
        /// Operations of which figures are kept; spans of further ones count under `other`.
        package var measuredOperations = 5_000
        /// Traces of one answer.
        package var traces = 1_500
        /// Spans of one trace that are answered.
        package var spansPerTrace = 50_000

        package init() {}
    }

    package struct Receipt: Sendable, Hashable {
        package var accepted = 0
        package var refused = 0
        /// Why the last one was refused.
        package var message: String?
    }

    package struct Recovery: Sendable, Hashable {
        package var segments = 0
        package var spans = 0
        /// Write-ahead logs that did not end with a whole record.
        package var tornLogs: [String] = []
    }

    package struct Status: Sendable, Hashable {
        package var segments = 0
        package var segmentBytes = 0
        package var spans = 0
        package var memorySpans = 0
        package var memoryBytes = 0
        /// Why the last segment could not be written; nil when all is well.
        package var failure: String?
    }

    struct State: ~Copyable {
        var head: SpanHead
        /// When the head's first span came.
        var since: Int64?
        /// Heads that are being made into segments, oldest first.
        var frozen: [SpanHead] = []
        var segments: [SpanSegment] = []
        var log: WriteAheadLog
        var figures = SpanFigures()
        var failure: String?
    }

    package let folder: String
    package let limits: Limits
    package let recovery: Recovery
    let files: StoreFolder
    let state: Mutex<State>
    /// Held while segments are written or removed.
    let writing = Mutex(())

    /// Opens the store in a folder, which is made if it is not there.
    ///
    /// - Throws: `StorageError`, also when a segment is damaged.
    package init(_ folder: String, limits: Limits = Limits()) throws {
        self.folder = folder
        self.limits = limits
        files = try StoreFolder(folder, segmentEnding: ".spans")
        var found = try files.find()
        let number = (found.segments + found.logs).max().map { $0 + 1 } ?? 1
        var state = State(head: SpanHead(number: number), log: try WriteAheadLog(creating: files.log(number)))
        var recovery = Recovery()
        for number in found.segments {
            state.segments.append(try SpanSegment(files.segment(number), number: number))
            for log in found.logs where log <= number { try Disk.remove(files.log(log)) }
            found.logs.removeAll { $0 <= number }
        }
        recovery.segments = found.segments.count
        for number in found.logs {
            let replay = try WriteAheadLog.replay(files.log(number)) { record in
                var reader = ByteReader(record)
                while reader.left > 0 {
                    let bytes = try reader.raw(reader.count())
                    state.head.add(try Span(bytes), bytes)
                }
            }
            if replay.tornBytes > 0 { recovery.tornLogs.append(files.log(number)) }
            if replay.records == 0 { try Disk.remove(files.log(number)) }
        }
        recovery.spans = state.head.count
        if state.head.count > 0 { state.since = state.head.to }
        self.recovery = recovery
        self.state = Mutex(state)
    }

    /// Takes spans.
    ///
    /// - Parameters:
    ///   - spans: Of any traces, in any order.
    ///   - now: Nanoseconds since 1970.
    /// - Returns: How many were taken, and why others were not.
    /// - Throws: `StorageError`; then none was taken.
    package func append(_ spans: [Span], now: Int64) throws -> Receipt {
        var receipt = Receipt()
        var (record, ends, taken): (ByteWriter, [Int], [Span]) = (ByteWriter(), [], [])
        for span in spans {
            if let message = refusal(span, now) {
                receipt.refuse(message)
                continue
            }
            var writer = ByteWriter()
            span.encode(into: &writer)
            guard writer.bytes.count <= limits.spanBytes else {
                receipt.refuse(
                    "a span of \"\(span.service)\" has \(writer.bytes.count) bytes; \(limits.spanBytes) are allowed")
                continue
            }
            record.add(run: writer.bytes)
            ends.append(record.bytes.count)
            taken.append(span)
        }
        guard record.bytes.count <= WriteAheadLog.recordBytes else {
            throw StorageError(.limit, "a batch of spans is larger than 64 MiB", hint: "Send smaller batches.")
        }
        receipt.accepted = taken.count
        if taken.isEmpty { return receipt }
        let isFull = try state.withLock { state in
            try state.take(taken, record.bytes, now, limits)
            return state.head.weight >= limits.headBytes
        }
        if isFull {
            // The spans are safe in the log; what went wrong is told by `status`, and to who appends when memory runs out.
            do { try flush() } catch { state.withLock { $0.failure = "\(error)" } }
        }
        return receipt
    }

    private func refusal(_ span: Span, _ now: Int64) -> String? {
        if span.traceID == TraceID(high: 0, low: 0) || span.id.value == 0 { return "a span has no id" }
        if span.service.isEmpty { return "a span has no service" }
        if span.duration < 0 { return "a span of \"\(span.service)\" ends before it begins" }
        if let oldest = limits.oldest, span.start < now &- oldest { return "a span of \"\(span.service)\" is too old" }
        if let ahead = limits.ahead, span.start > now &+ ahead {
            return "a span of \"\(span.service)\" lies too far ahead of now"
        }
        return nil
    }

    /// Brings all that was acknowledged beyond a power cut.
    package func sync() throws {
        let file = state.withLock { $0.log.openFile }
        try file.sync()
    }

    /// Makes a segment of all that is in memory.
    package func flush() throws { try writing.withLock { _ in try flushHoldingFiles() } }

    private func flushHoldingFiles() throws {
        try state.withLock { state in
            guard state.head.count > 0 else { return }
            let number = state.head.number + 1
            state.log = try WriteAheadLog(creating: files.log(number))
            state.frozen.append(state.head)
            state.head = SpanHead(number: number)
            state.since = nil
        }
        while let head = state.withLock({ $0.frozen.first }) {
            let path = files.segment(head.number)
            try head.write(to: path, blockBytes: limits.blockBytes)
            let segment = try SpanSegment(path, number: head.number)
            state.withLock { state in
                state.segments.append(segment)
                state.frozen.removeFirst()
            }
            try files.removeLogs(upTo: head.number)
        }
        state.withLock { $0.failure = nil }
    }

    /// Does what time asks for: makes a segment of spans that have waited long enough, removes segments that are too old or too
    /// much, the oldest first.
    ///
    /// - Parameters:
    ///   - keep: Nanoseconds; nil keeps spans for ever.
    ///   - bytes: Bytes of all segments; nil for no bound.
    ///   - now: Nanoseconds since 1970.
    /// - Throws: `StorageError`.
    package func maintain(keep: Int64?, bytes: Int?, now: Int64) throws {
        try writing.withLock { _ in
            let isDue = state.withLock { state in
                // Sooner than `append` would: who pushes should not have to wait for it.
                !state.frozen.isEmpty || state.since.map { $0 < now &- limits.headAge } ?? false
                    || state.head.weight > limits.headBytes / 2
            }
            if isDue { try flushHoldingFiles() }
            let segments = state.withLock { $0.segments }.sorted { $0.to < $1.to }
            var total = segments.reduce(0) { $0 + $1.size }
            for segment in segments {
                let isOld = keep.map { segment.to < now &- $0 } ?? false
                guard isOld || total > bytes ?? .max else { continue }
                try Disk.remove(segment.path)
                total -= segment.size
                state.withLock { $0.segments.removeAll { $0 === segment } }
            }
        }
    }

    package var status: Status {
        state.withLock { state in
            let heads = state.frozen + [state.head]
            let memory = heads.reduce(0) { $0 + $1.count }
            return Status(
                segments: state.segments.count, segmentBytes: state.segments.reduce(0) { $0 + $1.size },
                spans: state.segments.reduce(memory) { $0 + $1.spans }, memorySpans: memory,
                memoryBytes: heads.reduce(0) { $0 + $1.weight }, failure: state.failure)
        }
    }
}

extension SpanStore.Receipt {
    mutating func refuse(_ why: String) {
        refused += 1
        message = why
    }
}

extension SpanStore.State {
    /// Logs and keeps spans.
    mutating func take(_ spans: [Span], _ record: [UInt8], _ now: Int64, _ limits: SpanStore.Limits) throws {
        if head.weight + frozen.reduce(0, { $0 + $1.weight }) > 3 * limits.headBytes {
            throw StorageError(
                .full, "the memory for spans is full, and they cannot be written: \(failure ?? "the disk is slow")",
                hint: "Look at the disk of the data folder.")
        }
        log.append(record)
        try log.commit()
        if since == nil { since = now }
        try record.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            for span in spans {
                head.add(span, try reader.raw(reader.count()))
                figures.count(span, limits.measuredOperations)
            }
        }
    }
}
