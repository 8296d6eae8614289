/// A store of time series: what Prometheus calls a TSDB.
///
/// New samples go into a write-ahead log (`Log`) and into memory (`Head`), as bits in chunks. Every two hours' worth leaves
/// the head as an immutable block (`BlockWriter`, `Block`), which carries an index from labels to series. Blocks grow together by
/// threes (`compact`), old ones get thinned copies for wide graphs (`Thinning`), and go when their time is over
/// (`applyRetention`). `Formats.md` says what lies where, byte by byte.
///
/// The store asks no clock: what is old is measured from the newest sample. All methods block; queries take a snapshot under
/// the lock and read without it.
import Series
import Synchronization

/// A folder of time series.
///
/// Safe to use from any thread; one process at a time.
package final class TSDB: SeriesSource, Sendable {
    package let folder: String
    package let options: TSDBOptions
    let core: Mutex<Core>
    /// How many bytes of the log the disk has.
    private let synced = Mutex(0)
    /// One compaction, deletion, retention or snapshot at a time.
    let maintenance = Mutex(())
    private let lock: FolderLock

    /// Opens a folder, making it if need be, and brings back what the log has.
    ///
    /// - Parameters:
    ///   - folder: Made when it is not there; its parent must be.
    ///   - options: How the store behaves.
    ///   - report: Told once what was found and what had to be dropped, before the first append.
    /// - Throws: `SeriesError` when the folder is in use or cannot be read.
    package init(
        folder: String, options: TSDBOptions = TSDBOptions(), report: (RecoveryReport) -> Void = { _ in }
    ) throws {
        self.folder = folder
        self.options = options
        guard options.blockRange > 0, options.segmentBytes > 0 else {
            throw SeriesError(.storage, "block range and segment size must be more than zero")
        }
        for path in [folder, folder + "/wal", folder + "/blocks"] { try Files.makeFolder(path) }
        lock = try FolderLock(folder + "/lock")
        var recovery = Recovery(folder: folder, options: options)
        let core = try recovery.run()
        report(recovery.report)
        self.core = Mutex(core)
    }

    /// Adds samples.
    ///
    /// What is refused is named in the result; the rest is in the log when this returns.
    ///
    /// - Parameters:
    ///   - batch: Samples, exemplars and descriptions.
    ///   - now: When given, samples further than `futureLimit` ahead of it are refused. Give it where strangers write: one
    ///     sample from the far future makes all later ones look old.
    /// - Returns: How many were taken, and which were not and why.
    /// - Throws: `SeriesError` when the log cannot be written; nothing of the batch counts as acknowledged then, and adding it
    ///   again is safe.
    package func append(_ batch: borrowing Batch, now: Int64? = nil) throws -> AppendResult {
        let (result, written) = try core.withLock { core in
            let result = try core.append(batch, now: now, options: options)
            return (result, core.log.written)
        }
        if options.durability == .synced { try sync(written) }
        return result
    }

    /// Waits until the disk has all that has been appended.
    package func sync() throws {
        try sync(core.withLock { $0.log.written })
    }

    /// Those who come while another syncs find their bytes on disk when it is their turn: one wait for many appends.
    private func sync(_ wanted: Int) throws {
        try synced.withLock { synced in
            guard synced < wanted else { return }
            let (files, written) = core.withLock { ($0.log.takeUnsynced(), $0.log.written) }
            for file in files { try file.sync() }
            synced = written
        }
    }

    /// Syncs the log.
    ///
    /// The store may go on to be used; letting it go closes the files.
    package func close() throws { try sync() }

    /// What metrics are, by name.
    package func metadata() -> [String: MetricMetadata] { core.withLock { $0.metadata } }
}

/// What the lock guards.
final class Core {
    let head: Head
    let log: Log
    /// Sorted by their beginning.
    var blocks: [Block] = []
    var nextBlock: UInt64 = 1
    var exemplars: ExemplarRing
    var metadata: [String: MetricMetadata] = [:]

    init(head: Head, log: Log, exemplarsAtMost: Int) {
        self.head = head
        self.log = log
        exemplars = ExemplarRing(limit: exemplarsAtMost)
    }

    /// The newest time anywhere: from here retention counts.
    var newest: Int64 { max(head.newest, blocks.map { $0.meta.to - 1 }.max() ?? .min) }
}

/// The last exemplars, in a ring.
struct ExemplarRing {
    struct Entry: Sendable {
        var series: Labels
        var exemplar: Exemplar
    }

    let limit: Int
    private(set) var entries: [Entry] = []
    private var next = 0

    init(limit: Int) { self.limit = limit }

    mutating func add(_ entry: Entry) {
        guard limit > 0 else { return }
        if entries.count < limit {
            entries.append(entry)
        } else {
            entries[next] = entry
            next = (next + 1) % limit
        }
    }

    /// Oldest first.
    var inOrder: [Entry] { Array(entries[next...] + entries[..<next]) }
}
