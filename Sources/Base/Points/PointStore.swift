internal import Blobs
internal import Segments
internal import Synchronization

/// A store of metric points: what runs of experiments log, by the id of the run and the name of the metric.
///
/// A point is first in a write-ahead log, then in memory, then in a segment: a file of metrics sorted by run and name, their points
/// in chunks of a few bytes each. What `append` acknowledged is on the disk and survives the end of the process, and of power, at
/// any byte. Points of whatever else has 16 bytes for a name, such as a logged model, may be kept under that.
///
/// One store is one folder and one process. It never asks a clock. Blocking work is done on threads of its own, two that write and
/// two that read.
package final class PointStore: Sendable {
    package struct Limits: Sendable, Hashable {
        /// Bytes of points in memory before they become a segment.
        package var headBytes = 8 << 20
        /// Heads that may wait to become segments before who appends has to wait for them.
        package var frozenHeads = 3
        /// Segments of one size before they become one; at least 2.
        package var segmentsOfOneSize = 6
        /// Bytes of a segment of the smallest size; each next size has eight times as many.
        package var smallSegment = 8 << 20
        /// Bytes of the name of a metric.
        package var keyBytes = 4_096
        /// Bytes of the points that wait for the disk, of all callers.
        package var waitingBytes = 128 << 20

        package init() {}
    }

    /// What the opening of a store found.
    package struct Recovery: Sendable, Hashable {
        package var segments = 0
        /// Points that were in a log only.
        package var points = 0
        /// Bytes at the end of logs that were no whole record: appends that were never acknowledged, or damage.
        package var tornBytes = 0
        /// Segments that do not hold what their checksums say, put aside as `NAME.damaged`: their points are missing.
        package var damaged: [String] = []
    }

    package struct Status: Sendable, Hashable {
        package var segments = 0
        package var segmentBytes = 0
        /// In segments and in memory; a point that is in two of them counts twice until they are one.
        package var points = 0
        package var memoryPoints = 0
        package var memoryBytes = 0
        /// Why the last segment could not be written; nil when all is well.
        package var failure: String?
    }

    struct State {
        var head: PointHead
        /// Heads that are being made into segments, oldest first.
        var frozen: [PointHead] = []
        /// Oldest first.
        var segments: [PointSegment] = []
        /// What somebody who keeps latest values elsewhere has not taken yet; nil when nobody does.
        var changes: PointChanges?
        /// Records of the log that is written now.
        var records = 0
        /// Whether a thread is at work on `frozen` and `segments`.
        var isSettling = false
        var failure: String?
    }

    struct OpenLog: ~Copyable {
        var log: WriteAheadLog
        /// Whether a sync failed: nobody knows what of the log is on the disk.
        var isUnsure = false
    }

    private struct Waiting {
        let bytes: [UInt8]
        let record: PointRecord
        let caller: CheckedContinuation<Void, any Error>
    }

    private struct Queue {
        var waiting: [Waiting] = []
        var bytes = 0
        var isCommitting = false

        /// All that wait; nil, and the end of committing, when nobody does.
        mutating func take() -> [Waiting]? {
            guard !waiting.isEmpty else {
                isCommitting = false
                return nil
            }
            defer { (waiting, bytes) = ([], 0) }
            return waiting
        }
    }

    package let folder: String
    package let limits: Limits
    package let recovery: Recovery
    let files: StoreFolder
    let state: Mutex<State>
    /// Held while a log is written or begun.
    let log: Mutex<OpenLog>
    /// Held while heads are written; and while segments are made into one, which takes longer and does not stop that.
    let flushing = Mutex(())
    let merging = Mutex(())
    private let queue = Mutex(Queue())
    let writers = WorkerThreads(name: "points write")
    let readers = WorkerThreads(name: "points read")

    /// Opens the store in a folder, which is made if it is not there.
    ///
    /// Blocks; the time it takes is that of reading at most a few times `headBytes`.
    ///
    /// - Parameter following: What is known of latest values elsewhere, when somebody takes the changes of them.
    /// - Throws: `StorageError`.
    package init(_ folder: String, limits: Limits = Limits(), following: Following? = nil) throws {
        precondition(limits.segmentsOfOneSize >= 2, "two segments at least become one")
        self.folder = folder
        self.limits = limits
        files = try StoreFolder(folder, segmentEnding: ".points")
        let found = try files.find()
        var recovery = Recovery()
        let segments = try Self.openSegments(found.segments, files, &recovery)
        let covered = segments.last?.number ?? 0
        let number = ((found.segments + found.logs).max() ?? 0) + 1
        var head = PointHead(number: number)
        var changes = try following.map { try PointChanges(of: segments, $0) }
        for number in found.logs where number > covered {
            var records = 0
            let replay = try WriteAheadLog.replay(files.log(number)) { bytes in
                let record = try PointRecord(bytes)
                head.add(record)
                if let following, !following.knows(record: records, of: number) { changes?.add(record) }
                records += 1
            }
            recovery.tornBytes += replay.tornBytes
            if replay.records == 0 { try Disk.remove(files.log(number)) }
        }
        for number in found.logs where number <= covered { try Disk.remove(files.log(number)) }
        let log = try WriteAheadLog(creating: files.log(number))
        try Disk.syncFolder(folder)
        recovery.points = head.points
        self.recovery = recovery
        self.log = Mutex(OpenLog(log: log))
        state = Mutex(State(head: head, segments: segments, changes: changes))
    }

    private static func openSegments(
        _ numbers: [UInt64], _ files: StoreFolder, _ recovery: inout Recovery
    ) throws -> [PointSegment] {
        var segments: [PointSegment] = []
        for number in numbers.reversed() {
            // One that took the place of others may have been finished without their being removed.
            if let next = segments.last, next.from <= number {
                try Disk.remove(files.segment(number))
                continue
            }
            do {
                segments.append(try PointSegment(files.segment(number), number: number))
            } catch let error as StorageError where error.code == .damaged {
                try Disk.move(files.segment(number), to: files.segment(number) + ".damaged")
                recovery.damaged.append(files.segment(number))
            }
        }
        recovery.segments = segments.count
        return segments.reversed()
    }

    /// Takes points, all or none.
    ///
    /// Returns when they are on the disk, and every reader sees them from then on. Callers at one time share one write and one
    /// sync, so many callers are cheap. A point that is there already, in all three numbers, is kept once.
    ///
    /// - Throws: `StorageError`; then none was taken.
    package func append(_ series: [MetricPoints]) async throws {
        for one in series where one.key.utf8.count > limits.keyBytes {
            throw StorageError(
                .invalid, "the name of a metric has \(one.key.utf8.count) bytes; \(limits.keyBytes) are allowed",
                hint: "Choose a shorter name.")
        }
        if series.allSatisfy({ $0.points.isEmpty }) { return }
        try await append(PointRecord.encode(series), .points(series))
    }

    /// Removes all points of runs, and returns when that is on the disk. Points of the same runs that come later are kept.
    ///
    /// The room is given back when segments are next made into one; `compact` does it at once.
    ///
    /// - Throws: `StorageError`; then nothing was removed.
    package func delete(_ runs: [RunID]) async throws {
        if runs.isEmpty { return }
        try await append(PointRecord.encode(deleting: runs), .deletion(runs))
    }

    private func append(_ bytes: [UInt8], _ record: PointRecord) async throws {
        guard bytes.count <= WriteAheadLog.recordBytes else {
            throw StorageError(.limit, "a batch of points is larger than 64 MiB", hint: "Send smaller batches.")
        }
        try await withCheckedThrowingContinuation { (caller: CheckedContinuation<Void, any Error>) in
            let (isTaken, isFirst) = queue.withLock { queue in
                guard queue.bytes + bytes.count <= max(limits.waitingBytes, bytes.count) else { return (false, false) }
                queue.waiting.append(Waiting(bytes: bytes, record: record, caller: caller))
                queue.bytes += bytes.count
                defer { queue.isCommitting = true }
                return (true, !queue.isCommitting)
            }
            if !isTaken {
                caller.resume(
                    throwing: StorageError(
                        .limit, "too many points wait for the disk", hint: "Try again when it has caught up."))
            } else if isFirst, !writers.start({ self.commitWaiting() }) {
                commitWaiting()
            }
        }
    }

    private func commitWaiting() {
        while let batch = queue.withLock({ $0.take() }) {
            let result = Result { try commit(batch) }
            for one in batch { one.caller.resume(with: result) }
        }
    }

    private func commit(_ batch: [Waiting]) throws {
        try makeRoom()
        try log.withLock { log in
            let isFull = state.withLock { $0.head.weight >= limits.headBytes }
            if isFull || log.isUnsure { try freeze(&log) }
            for one in batch { log.log.append(one.bytes) }
            try log.log.commit()
            do {
                try log.log.sync()
            } catch {
                log.isUnsure = true
                throw error
            }
            state.withLock { state in
                state.records += batch.count
                for one in batch {
                    state.head.add(one.record)
                    state.changes?.add(one.record)
                }
            }
        }
    }

    /// Lets who appends wait when segments are written more slowly than points come.
    private func makeRoom() throws {
        if state.withLock({ $0.frozen.count < limits.frozenHeads }) { return }
        try writeFrozen()
    }

    /// Begins a new log and a new head, and has the full one made into a segment.
    func freeze(_ log: inout OpenLog) throws {
        let number = state.withLock { $0.head.number } + 1
        log.log = try WriteAheadLog(creating: files.log(number))
        try Disk.syncFolder(folder)
        log.isUnsure = false
        let isIdle = state.withLock { state in
            if !state.head.isEmpty { state.frozen.append(state.head) }
            state.head = PointHead(number: number)
            state.records = 0
            defer { state.isSettling = true }
            return !state.isSettling
        }
        if isIdle, !writers.start({ self.settle() }) { state.withLock { $0.isSettling = false } }
    }

    package var status: Status {
        state.withLock { state in
            let heads = state.frozen + [state.head]
            let memory = heads.reduce(0) { $0 + $1.points }
            return Status(
                segments: state.segments.count, segmentBytes: state.segments.reduce(0) { $0 + $1.size },
                points: state.segments.reduce(memory) { $0 + $1.points }, memoryPoints: memory,
                memoryBytes: heads.reduce(0) { $0 + $1.weight }, failure: state.failure)
        }
    }
}
