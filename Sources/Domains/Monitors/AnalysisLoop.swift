import API
import Blobs
import Kernel
import Manifests
import SQL
import Synchronization

/// Computes the windows of each monitor whose data, spec or reference changed: one window a step.
struct AnalysisLoop: Reconciler {
    static let name = "monitors.analysis"
    static let topics: Set<String> = [MonitorKind.name, ModelKind.name]
    /// Rows come in without a ring.
    static let pause = Duration.seconds(1)
    /// A reference that is not there may come with the next registered version, which rings.
    static let troublePause = Duration.seconds(10)
    let store: Store
    let references: ReferenceBook
    let threads: WorkerThreads
    private let settled = SettledBook()

    init(store: Store, references: ReferenceBook, threads: WorkerThreads) {
        (self.store, self.references, self.threads) = (store, references, threads)
    }

    func keys() async throws -> [Reference<MonitorKind>] {
        try await store.read { try $0.resources(MonitorKind.self).map(\.reference) }
    }

    func reconcile(_ name: Reference<MonitorKind>) async throws -> Next {
        let mark = try await store.read { sql -> (monitor: TypedResource<MonitorKind>, changes: Int64)? in
            guard let monitor = try sql.resource(MonitorKind.self, name) else { return nil }
            let service = Reference<ServiceKind>(project: name.project, name: monitor.spec.service)
            return (monitor, try sql.sums(of: service).changes)
        }
        guard let mark else { return .settled }
        let version: ModelVersion
        let reference: MonitorReference
        do {
            version = try await references.version(of: mark.monitor.spec, project: name.project)
            reference = try await references.reference(
                of: version, threshold: mark.monitor.spec.checks.bias.threshold)
        } catch let error as CancellationError {
            throw error
        } catch {
            try await tell(name, trouble: Self.words(error))
            return .again(in: Self.troublePause)
        }
        let seen = Seen(
            applied: mark.monitor.updatedAt, changes: mark.changes, model: Self.label(version), version.digest,
            hour: HourChanges.hour(of: store.time.now.microseconds))
        guard !settled.has(name, seen) else { return .again(in: Self.pause) }
        return try await advance(name, version, reference, seen)
    }

    private func advance(
        _ name: Reference<MonitorKind>, _ version: ModelVersion, _ reference: MonitorReference, _ seen: Seen
    ) async throws -> Next {
        let now = store.time.now
        guard let look = try await store.read({ try MonitorLook(name, in: $0) }) else { return .settled }
        let fingerprint = AnalysisPlan.fingerprint(look.monitor.spec, digest: version.digest)
        let plan = AnalysisPlan(look, fingerprint: fingerprint, now: now)
        let header = ReferenceHeader(
            model: Self.label(version), digest: version.digest, rows: reference.rows, metrics: reference.metrics)
        try await keep(header, gone: plan.gone, of: name)
        if let window = plan.due {
            let isOpen = plan.entries.last?.window == window
            try await compute(window, look, reference, fingerprint, isOpen: isOpen)
            return .now
        }
        try await tell(name, trouble: nil)
        if !plan.isWaiting { settled.note(name, seen) }
        return .again(in: Self.pause)
    }

    private func keep(_ header: ReferenceHeader, gone: [Timestamp], of name: Reference<MonitorKind>) async throws {
        let before = try await store.read { try $0.referenceHeader(of: name) }
        guard before != header || !gone.isEmpty else { return }
        try await store.change(.system(MonitorsDomain.name)) { change in
            guard try change.sql.resource(MonitorKind.self, name) != nil else { return }
            try change.sql.save(header, of: name)
            try change.sql.remove(gone, of: name)
        }
    }

    /// Reads the window's predictions once, in one snapshot with its counts, and tells what they say.
    private func compute(
        _ window: Window, _ look: MonitorLook, _ reference: MonitorReference, _ fingerprint: String, isOpen: Bool
    ) async throws {
        let (spec, service, name) = (look.monitor.spec, look.service, look.monitor.reference)
        let (counts, table) = try await store.read { sql in
            (
                try sql.counts(of: window, service),
                try WindowTable.read(
                    window, of: service, wanted: WindowDecision.wanted(spec, reference), in: sql)
            )
        }
        let report = try await threads.run {
            WindowDecision(spec: spec, reference: reference, table: table).report(of: window)
        }
        let before = look.windows.first { $0.window == window }
        let generation = look.monitor.generation
        try await store.change(.system(MonitorsDomain.name)) { change in
            guard try change.sql.resource(MonitorKind.self, name)?.generation == generation else { return }
            var after = KnownWindow(
                window: window, fingerprint: fingerprint, predictions: counts.rows, labelChanges: counts.labelChanges,
                isOpen: isOpen, restated: 0, computedAt: change.now, state: report.state)
            var old = try change.sql.windowReport(window.from, of: name)
            old?.restated = 0
            after.restated = AnalysisPlan.restated(before, after, hasChanged: old?.json != report.json)
            try change.sql.save(after, report, of: name)
            try Self.announce(report, before: before, of: name, in: change)
        }
        try await tell(name, trouble: nil, hasComputed: true)
    }

    private static func announce(
        _ report: WindowReport, before: KnownWindow?, of name: Reference<MonitorKind>, in change: Change
    ) throws {
        if before == nil {
            try change.tell(
                "monitor.window-told", about: name.subject,
                [
                    "window": .string(report.window), "rows": .integer(Int64(report.rows)),
                    "labelled": .integer(Int64(report.labelled)), "state": report.state.json,
                ])
        }
        if report.state == .breach, before?.state != .breach {
            try change.tell(
                "monitor.breach", about: name.subject,
                ["window": .string(report.window), "breaches": .array(report.breaches.map(JSONValue.string))])
        }
    }

    /// Writes the monitor's status where it differs.
    private func tell(_ name: Reference<MonitorKind>, trouble: String?, hasComputed: Bool = false) async throws {
        let now = store.time.now
        let found = try await store.read { sql -> (MonitorVerdict, isNews: Bool)? in
            guard let monitor = try sql.resource(MonitorKind.self, name) else { return nil }
            let windows = try sql.knownWindows(of: name)
            let newest = try MonitorVerdict.speaker(windows, now: now).flatMap { try sql.windowReport($0, of: name) }
            let service = Reference<ServiceKind>(project: name.project, name: monitor.spec.service)
            var verdict = MonitorVerdict(
                try sql.sums(of: service), windows: windows.count, newest: newest, trouble: trouble)
            verdict.status.updated_at = monitor.status?.updated_at
            let isNews = monitor.status != verdict.status || monitor.conditions != verdict.conditions || hasComputed
            verdict.status.updated_at = now
            return (verdict, isNews)
        }
        guard let (verdict, isNews) = found, isNews else { return }
        try await store.change(.system(MonitorsDomain.name)) { change in
            try change.setStatus(verdict.status, of: name, conditions: verdict.conditions)
        }
    }

    private static func label(_ version: ModelVersion) -> String { "\(version.model)@\(version.version)" }

    /// What stands in the way, as a sentence.
    private static func words(_ error: any Error) -> String {
        let problem = error as? Problem
        let message = problem?.message ?? (error as? BlobError)?.message ?? "its reference cannot be read"
        return message.prefix(1).uppercased() + message.dropFirst() + "." + (problem?.hint.map { " \($0)" } ?? "")
    }
}

/// What a look that found nothing to do had seen.
struct Seen: Sendable, Equatable {
    /// When the monitor was applied: a number would begin again when it is removed and made anew.
    var applied: Timestamp
    var changes: Int64
    var model: String
    var digest: String
    /// Whether a window is over depends on the time.
    var hour: Int64

    init(applied: Timestamp, changes: Int64, model: String, _ digest: String, hour: Int64) {
        (self.applied, self.changes, self.model) = (applied, changes, model)
        (self.digest, self.hour) = (digest, hour)
    }
}

/// Spares a monitor that nothing happened to a look at all its hours; forgotten at a restart, to no harm.
private final class SettledBook: Sendable {
    private let seen = Mutex<[Reference<MonitorKind>: Seen]>([:])

    func has(_ name: Reference<MonitorKind>, _ value: Seen) -> Bool { seen.withLock { $0[name] == value } }
    func note(_ name: Reference<MonitorKind>, _ value: Seen) { seen.withLock { $0[name] = value } }
}
