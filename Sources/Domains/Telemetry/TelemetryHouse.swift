import API
import Blobs
import Foundation
import Kernel
import LogQL
import LogStore
import Logging
import Manifests
import PromQL
import Segments
import Series
import SpanStore
import Synchronization
import TSDB
import Wire

/// What all parts of this room share: the three stores, the threads they are used on, and what is asked of them at the moment.
final class TelemetryHouse: Sendable {
    let metrics: MetricStore
    let logs: LogStore
    let spans: SpanStore
    /// Writers and readers wait apart: a slow query holds back no sample.
    let writers = WorkPool(name: "tele-write", threads: 2, queue: TelemetryLimits.waitingWrites)
    let readers = WorkPool(name: "tele-read", threads: 4, queue: TelemetryLimits.waitingReads)
    /// Compaction, retention, snapshots: one at a time.
    let keepers = WorkPool(name: "tele-keep", threads: 1, queue: 16)
    let context: DomainContext
    let logger: Logger
    let folder: String
    let started: Timestamp
    let drops = DropCounts()
    let remotes = RemoteQueues()
    let exports: LogExports
    let targets = TargetBook()
    let ruleBook = RuleBook()
    let tails: OpenTails
    let proxies = ProxyReports()
    private let current = Mutex(TelemetryPlan())
    private let counted = Mutex<(at: Timestamp, told: TSDBStatistics)?>(nil)
    let batches = Scratch(StoreBatch.init) { $0.removeAll() }
    let requests = Scratch(WriteBatch.init) { $0.removeAll() }

    /// - Throws: `Problem` when a store cannot be opened.
    init(context: DomainContext, folder: String) throws {
        self.context = context
        self.folder = folder
        started = context.time.now
        logger = context.logger(for: TelemetryDomain.name)
        exports = LogExports(folder: folder + "/export")
        tails = OpenTails(bells: context.store.bells)
        do {
            for name in ["", "/metrics", "/logs", "/traces", "/snapshots", "/export", "/targets", "/copies"] {
                try FileManager.default.createDirectory(
                    atPath: folder + name, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            }
            let kept = Self.keptPlan(folder)
            current.withLock { $0.metrics = kept }
            metrics = try MetricStore(folder: folder + "/metrics", options: kept.options)
            logs = try LogStore(folder + "/logs", name: "vagus", limits: Self.logLimits)
            spans = try SpanStore(folder + "/traces", limits: Self.spanLimits)
        } catch {
            throw Problem(
                "telemetry.store", status: 500, "could not open the store of telemetry in \"\(folder)\"",
                detail: "\(error).",
                hint: "Nothing was changed. Free disk space, or move the folder away, then start again.")
        }
        tellRecovery()
    }

    var time: any TimeSource { context.time }
    /// Milliseconds since 1970, as the store of samples counts.
    var milliseconds: Int64 { time.now.microseconds / 1000 }
    /// Nanoseconds since 1970, as the stores of lines and spans count.
    var nanoseconds: Int64 { time.now.microseconds &* 1000 }

    var plan: TelemetryPlan { current.withLock { $0 } }

    private static var logLimits: LogLimits {
        var limits = LogLimits()
        // What is brought late or from archives is taken; retention lets go what is too old.
        limits.oldest = nil
        limits.window = .max
        limits.streams = TelemetryLimits.streams
        return limits
    }

    private static var spanLimits: SpanStore.Limits {
        var limits = SpanStore.Limits()
        limits.oldest = nil
        return limits
    }

    // MARK: Figures

    /// Seconds for which counted figures are good: to count them looks at every series.
    private static let freshness: Duration = .seconds(60)

    /// What the store of samples holds, at most a minute old; nil while it is being opened anew. Blocks.
    func statistics() -> TSDBStatistics? {
        let now = time.now
        if let known = counted.withLock({ $0 }), now.since(known.at) < Self.freshness { return known.told }
        guard let told = try? metrics.use({ $0.statistics(top: 1) }) else { return nil }  // it is being opened anew
        counted.withLock { $0 = (now, told) }
        return told
    }

    // MARK: The plan

    private static func keptPlan(_ folder: String) -> MetricPlan {
        guard let data = FileManager.default.contents(atPath: folder + "/settings.json"),
            let json = try? JSONParser.parse(Array(data)), let plan = try? MetricPlan(json: json)  // the usual ones then
        else { return MetricPlan() }
        return plan
    }

    /// Takes a new plan; opens the store of samples anew when its settings are others. Blocks.
    func take(_ plan: TelemetryPlan) throws {
        let before = self.plan
        if plan.metrics != before.metrics {
            try metrics.reopen(plan.metrics.options)
            try Data(plan.metrics.json.bytes).write(to: URL(filePath: folder + "/settings.json"), options: .atomic)
        }
        current.withLock { $0 = plan }
    }

    private func tellRecovery() {
        for line in metrics.dropped {
            logger.warning("the store of metrics was not whole", metadata: ["what": "\(line)"])
        }
        for line in logs.recovery.tornLogs + spans.recovery.tornLogs {
            logger.warning(
                "a log ended in the middle of a record that nobody was told of", metadata: ["file": "\(line)"])
        }
    }
}

/// Values with memory that is filled again and again.
final class Scratch<Value: Sendable>: Sendable {
    private let kept = Mutex<[Value]>([])
    private let make: @Sendable () -> Value
    private let clear: @Sendable (inout Value) -> Void
    /// More than this are not kept.
    private static var limit: Int { 4 }

    init(_ make: @escaping @Sendable () -> Value, clear: @escaping @Sendable (inout Value) -> Void) {
        (self.make, self.clear) = (make, clear)
    }

    func use<T>(_ body: (inout Value) throws -> T) rethrows -> T {
        var value = kept.withLock { $0.popLast() } ?? make()
        defer {
            clear(&value)
            let done = value
            kept.withLock { kept in
                if kept.count < Self.limit { kept.append(done) }
            }
        }
        return try body(&value)
    }
}

/// Counts of what was refused or dropped since the start, by reason.
final class DropCounts: Sendable {
    private let counts = Mutex<[String: Int64]>([:])

    func add(_ reason: String, _ count: Int) {
        guard count > 0 else { return }
        counts.withLock { counts in
            guard counts[reason] != nil || counts.count < 200 else { return }
            counts[reason, default: 0] += Int64(count)
        }
    }

    var all: [(reason: String, count: Int64)] {
        counts.withLock { $0.map { ($0.key, $0.value) } }.sorted { $0.0 < $1.0 }
    }
}
