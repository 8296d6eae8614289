import API
import Kernel
import Manifests
import SQL

/// A window as it was computed last.
struct KnownWindow: Sendable {
    var window: Window
    /// What it was computed from besides predictions: the spec and the reference.
    var fingerprint: String
    var predictions: Int64
    var labelChanges: Int64
    /// It was the newest window then: rows that came later are growth, not restatement.
    var isOpen: Bool
    var restated: Int
    var computedAt: Timestamp
    var state: WindowReport.State
}

/// Predictions of one hour of event time.
struct Hour: Sendable {
    var start: Int64
    var predictions: Int64
    var labelChanges: Int64
    var createdAt: Timestamp
    var changedAt: Timestamp
}

/// What the reference of a monitor is.
struct ReferenceHeader: Sendable, Equatable {
    var model: String
    var digest: String
    var rows: Int
    var metrics: Ordered<Double>
}

extension Connection {
    func hours(of service: Reference<ServiceKind>) throws -> [Hour] {
        try rows(
            """
            SELECT hour_at, predictions, label_changes, created_at, changed_at FROM monitors_hour
            WHERE project = \(service.project) AND service = \(service.name) ORDER BY hour_at
            """
        ).map {
            Hour(
                start: try $0.get(0), predictions: try $0.get(1), labelChanges: try $0.get(2),
                createdAt: Timestamp(microseconds: try $0.get(3)), changedAt: Timestamp(microseconds: try $0.get(4)))
        }
    }

    /// Sums of a window in this snapshot: rows, and changes of labels.
    func counts(of window: Window, _ service: Reference<ServiceKind>) throws -> (rows: Int64, labelChanges: Int64) {
        let row = try row(
            """
            SELECT coalesce(sum(predictions), 0), coalesce(sum(label_changes), 0) FROM monitors_hour
            WHERE project = \(service.project) AND service = \(service.name)
                AND hour_at >= \(window.from.microseconds) AND hour_at < \(window.to.microseconds)
            """)
        return (try row?.get(0) ?? 0, try row?.get(1) ?? 0)
    }

    /// Hands over score, label and features of a window's predictions.
    func eachPrediction(
        in window: Window, of service: Reference<ServiceKind>, limit: Int,
        _ body: (Double, Double?, String) throws -> Void
    ) throws {
        try each(
            """
            SELECT score, label, features FROM monitors_prediction
            WHERE project = \(service.project) AND service = \(service.name)
                AND moment_at >= \(window.from.microseconds) AND moment_at < \(window.to.microseconds)
            ORDER BY moment_at LIMIT \(limit)
            """
        ) { try body(try $0.get(0), try $0.get(1), try $0.get(2)) }
    }

    // MARK: - Windows

    func knownWindows(of monitor: Reference<MonitorKind>) throws -> [KnownWindow] {
        try rows(
            """
            SELECT from_at, to_at, name, fingerprint, predictions, label_changes, is_open, restated, computed_at,
                state
            FROM monitors_window WHERE project = \(monitor.project) AND monitor = \(monitor.name) ORDER BY from_at
            """
        ).map { row in
            let window = Window(
                name: try row.get(2), from: Timestamp(microseconds: try row.get(0)),
                to: Timestamp(microseconds: try row.get(1)))
            return KnownWindow(
                window: window, fingerprint: try row.get(3), predictions: try row.get(4), labelChanges: try row.get(5),
                isOpen: try row.get(6), restated: try row.get(7), computedAt: Timestamp(microseconds: try row.get(8)),
                state: WindowReport.State(rawValue: try row.get(9)) ?? .insufficient_data)
        }
    }

    func windowReport(_ from: Timestamp, of monitor: Reference<MonitorKind>) throws -> WindowReport? {
        try row(
            """
            SELECT report, restated FROM monitors_window
            WHERE project = \(monitor.project) AND monitor = \(monitor.name) AND from_at = \(from.microseconds)
            """
        ).map(readReport)
    }

    /// The newest windows, oldest first.
    func windowReports(of monitor: Reference<MonitorKind>, limit: Int) throws -> [WindowReport] {
        try rows(
            """
            SELECT report, restated FROM monitors_window
            WHERE project = \(monitor.project) AND monitor = \(monitor.name) ORDER BY from_at DESC LIMIT \(limit)
            """
        ).reversed().map(readReport)
    }

    private func readReport(_ row: Row) throws -> WindowReport {
        var report = try WindowReport(json: JSONParser.parse(try row.get(0, as: String.self)), at: [])
        report.restated = try row.get(1)
        return report
    }

    func save(_ known: KnownWindow, _ report: WindowReport, of monitor: Reference<MonitorKind>) throws {
        try run(
            """
            INSERT INTO monitors_window (project, monitor, from_at, to_at, name, fingerprint, predictions,
                label_changes, is_open, restated, computed_at, state, report)
            VALUES (\(monitor.project), \(monitor.name), \(known.window.from.microseconds),
                    \(known.window.to.microseconds), \(known.window.name), \(known.fingerprint), \(known.predictions),
                    \(known.labelChanges), \(known.isOpen), \(known.restated), \(known.computedAt.microseconds),
                    \(known.state.rawValue), \(report.json.text))
            ON CONFLICT (project, monitor, from_at) DO UPDATE SET to_at = excluded.to_at, name = excluded.name,
                fingerprint = excluded.fingerprint, predictions = excluded.predictions,
                label_changes = excluded.label_changes, is_open = excluded.is_open, restated = excluded.restated,
                computed_at = excluded.computed_at, state = excluded.state, report = excluded.report
            """)
    }

    func remove(_ windows: [Timestamp], of monitor: Reference<MonitorKind>) throws {
        for from in windows {
            try run(
                """
                DELETE FROM monitors_window
                WHERE project = \(monitor.project) AND monitor = \(monitor.name) AND from_at = \(from.microseconds)
                """)
        }
    }

    // MARK: - References

    func referenceHeader(of monitor: Reference<MonitorKind>) throws -> ReferenceHeader? {
        try row(
            """
            SELECT model, digest, reference_rows, metrics FROM monitors_reference
            WHERE project = \(monitor.project) AND monitor = \(monitor.name)
            """
        ).map {
            ReferenceHeader(
                model: try $0.get(0), digest: try $0.get(1), rows: try $0.get(2),
                metrics: try Ordered<Double>(json: JSONParser.parse(try $0.get(3, as: String.self)), at: []))
        }
    }

    func save(_ header: ReferenceHeader, of monitor: Reference<MonitorKind>) throws {
        try run(
            """
            INSERT INTO monitors_reference (project, monitor, model, digest, reference_rows, metrics)
            VALUES (\(monitor.project), \(monitor.name), \(header.model), \(header.digest), \(header.rows),
                    \(header.metrics.json.text))
            ON CONFLICT (project, monitor) DO UPDATE SET model = excluded.model, digest = excluded.digest,
                reference_rows = excluded.reference_rows, metrics = excluded.metrics
            """)
    }

    /// Removes what was found out for a monitor; predictions stay, another monitor may read them.
    func forget(_ monitor: Reference<MonitorKind>) throws {
        try run("DELETE FROM monitors_window WHERE project = \(monitor.project) AND monitor = \(monitor.name)")
        try run("DELETE FROM monitors_reference WHERE project = \(monitor.project) AND monitor = \(monitor.name)")
    }
}
