import API
import Blobs
import Kernel
import Manifests
import SQL

/// What the store says of one monitor.
struct MonitorLook: Sendable {
    var monitor: TypedResource<MonitorKind>
    var sums: ServiceSums
    var hours: [Hour]
    var windows: [KnownWindow]

    var service: Reference<ServiceKind> {
        Reference(project: monitor.reference.project, name: monitor.spec.service)
    }

    init?(_ name: Reference<MonitorKind>, in sql: Connection) throws {
        guard let monitor = try sql.resource(MonitorKind.self, name) else { return nil }
        self.monitor = monitor
        let service = Reference<ServiceKind>(project: name.project, name: monitor.spec.service)
        sums = try sql.sums(of: service)
        hours = try sql.hours(of: service)
        windows = try sql.knownWindows(of: name)
    }
}

/// Which windows there are, and which of them must be computed: a pure function of what the store says.
struct AnalysisPlan: Sendable {
    /// Data that stopped changing for so long is looked at at once.
    static let quiet = Duration.seconds(2)
    /// Data that never stops changing is looked at so often.
    static let patience = Duration.seconds(10)

    struct Entry: Sendable {
        var window: Window
        var predictions: Int64 = 0
        var labelChanges: Int64 = 0
        var createdAt: Timestamp
        var changedAt: Timestamp
    }

    /// All windows that have predictions, oldest first.
    var entries: [Entry] = []
    /// The one to compute now.
    var due: Window?
    /// Some window waits until its data is quiet.
    var isWaiting = false
    /// Known windows that no prediction lies in any more, or that were cut otherwise.
    var gone: [Timestamp] = []

    init(_ look: MonitorLook, fingerprint: String, now: Timestamp) {
        entries = Self.entries(look.hours, every: look.monitor.spec.window.every)
        let known = Dictionary(look.windows.map { ($0.window, $0) }, uniquingKeysWith: { first, _ in first })
        let starts = Set(entries.map(\.window.from))
        gone = look.windows.map(\.window.from).filter { !starts.contains($0) }
        for entry in entries where due == nil {
            let before = known[entry.window]
            if let before, before.fingerprint == fingerprint, before.predictions == entry.predictions,
                before.labelChanges == entry.labelChanges
            {
                continue
            }
            let isQuiet = now.since(entry.changedAt) >= Self.quiet
            if isQuiet || now.since(before?.computedAt ?? entry.createdAt) >= Self.patience {
                due = entry.window
            } else {
                isWaiting = true
            }
        }
    }

    private static func entries(_ hours: [Hour], every: WindowSpec.Every) -> [Entry] {
        var entries: [Entry] = []
        for hour in hours {
            if let last = entries.last, hour.start < last.window.to.microseconds {
                entries[entries.count - 1].createdAt = min(last.createdAt, hour.createdAt)
                entries[entries.count - 1].changedAt = max(last.changedAt, hour.changedAt)
            } else {
                let window = Window(at: hour.start, every: every)
                entries.append(Entry(window: window, createdAt: hour.createdAt, changedAt: hour.changedAt))
            }
            entries[entries.count - 1].predictions += hour.predictions
            entries[entries.count - 1].labelChanges += hour.labelChanges
        }
        return entries
    }

    /// What a window's report rests on besides its predictions.
    static func fingerprint(_ spec: MonitorSpec, digest: String) -> String {
        Digest(of: Array((spec.json.canonicalText + digest).utf8)).hex
    }

    /// How often a window was restated, after it was computed again.
    ///
    /// Another spec or reference is no restatement, and rows that came while it was the newest window are growth.
    static func restated(_ before: KnownWindow?, _ after: KnownWindow, hasChanged: Bool) -> Int {
        guard let before, before.window == after.window else { return 0 }
        let isNews =
            before.labelChanges != after.labelChanges
            || (before.predictions != after.predictions && !before.isOpen)
        let isSameQuestion = before.fingerprint == after.fingerprint
        return before.restated + (hasChanged && isNews && isSameQuestion ? 1 : 0)
    }
}
