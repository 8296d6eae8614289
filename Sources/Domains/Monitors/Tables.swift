import API
import Kernel
import Manifests
import SQL

/// This room's tables; the only SQL in it is here and in `Tables+Windows.swift`.
enum Tables {
    static let migrations = [
        Migration(
            id: "monitors-1",
            statements: [
                """
                CREATE TABLE monitors_service (
                    project TEXT NOT NULL, service TEXT NOT NULL, predictions BIGINT NOT NULL,
                    labelled BIGINT NOT NULL, garbage BIGINT NOT NULL, changes BIGINT NOT NULL,
                    PRIMARY KEY (project, service))
                """,
                """
                CREATE TABLE monitors_segment (
                    project TEXT NOT NULL, service TEXT NOT NULL, file TEXT NOT NULL, inode BIGINT NOT NULL,
                    read_bytes BIGINT NOT NULL, PRIMARY KEY (project, service, file))
                """,
                """
                CREATE TABLE monitors_prediction (
                    project TEXT NOT NULL, service TEXT NOT NULL, id TEXT NOT NULL, moment_at BIGINT NOT NULL,
                    model TEXT NOT NULL, version TEXT NOT NULL, score DOUBLE PRECISION NOT NULL,
                    features TEXT NOT NULL, label DOUBLE PRECISION, PRIMARY KEY (project, service, id))
                """,
                "CREATE INDEX monitors_prediction_moment ON monitors_prediction (project, service, moment_at)",
                """
                CREATE TABLE monitors_label (
                    project TEXT NOT NULL, service TEXT NOT NULL, id TEXT NOT NULL, label DOUBLE PRECISION NOT NULL,
                    PRIMARY KEY (project, service, id))
                """,
                """
                CREATE TABLE monitors_hour (
                    project TEXT NOT NULL, service TEXT NOT NULL, hour_at BIGINT NOT NULL, predictions BIGINT NOT NULL,
                    labelled BIGINT NOT NULL, label_changes BIGINT NOT NULL, created_at BIGINT NOT NULL,
                    changed_at BIGINT NOT NULL, PRIMARY KEY (project, service, hour_at))
                """,
                """
                CREATE TABLE monitors_window (
                    project TEXT NOT NULL, monitor TEXT NOT NULL, from_at BIGINT NOT NULL, to_at BIGINT NOT NULL,
                    name TEXT NOT NULL, fingerprint TEXT NOT NULL, predictions BIGINT NOT NULL,
                    label_changes BIGINT NOT NULL, is_open BIGINT NOT NULL, restated BIGINT NOT NULL,
                    computed_at BIGINT NOT NULL, state TEXT NOT NULL, report TEXT NOT NULL,
                    PRIMARY KEY (project, monitor, from_at))
                """,
                """
                CREATE TABLE monitors_reference (
                    project TEXT NOT NULL, monitor TEXT NOT NULL, model TEXT NOT NULL, digest TEXT NOT NULL,
                    reference_rows BIGINT NOT NULL, metrics TEXT NOT NULL, PRIMARY KEY (project, monitor))
                """,
            ])
    ]
}

/// Sums over all predictions of a service.
struct ServiceSums: Sendable, Equatable {
    var predictions: Int64 = 0
    var labelled: Int64 = 0
    /// Lines that could not be read.
    var garbage: Int64 = 0
    /// Counts transactions that changed anything.
    var changes: Int64 = 0
}

/// How far a file was read.
struct SegmentMark: Sendable, Equatable {
    var inode: Int64
    var readBytes: Int64
}

extension Connection {
    // MARK: - Services

    /// Services that some monitor reads.
    func watchedServices() throws -> [Reference<ServiceKind>] {
        var seen = Set<Reference<ServiceKind>>()
        return try resources(MonitorKind.self).map {
            Reference<ServiceKind>(project: $0.reference.project, name: $0.spec.service)
        }.filter { isResourceName($0.name) && seen.insert($0).inserted }
    }

    /// Whether the service is declared, or a monitor waits for it.
    func isKnown(_ service: Reference<ServiceKind>) throws -> Bool {
        if try resource(kind: ServiceKind.name, project: service.project, name: service.name) != nil { return true }
        return try watchedServices().contains(service)
    }

    func sums(of service: Reference<ServiceKind>) throws -> ServiceSums {
        let row = try row(
            """
            SELECT predictions, labelled, garbage, changes FROM monitors_service
            WHERE project = \(service.project) AND service = \(service.name)
            """)
        guard let row else { return ServiceSums() }
        return ServiceSums(
            predictions: try row.get(0), labelled: try row.get(1), garbage: try row.get(2), changes: try row.get(3))
    }

    // MARK: - Files

    func segments(of service: Reference<ServiceKind>) throws -> [String: SegmentMark] {
        var marks: [String: SegmentMark] = [:]
        try each(
            """
            SELECT file, inode, read_bytes FROM monitors_segment
            WHERE project = \(service.project) AND service = \(service.name)
            """
        ) { marks[try $0.get(0)] = SegmentMark(inode: try $0.get(1), readBytes: try $0.get(2)) }
        return marks
    }

    func mark(_ file: String, _ mark: SegmentMark, of service: Reference<ServiceKind>) throws {
        try run(
            """
            INSERT INTO monitors_segment (project, service, file, inode, read_bytes)
            VALUES (\(service.project), \(service.name), \(file), \(mark.inode), \(mark.readBytes))
            ON CONFLICT (project, service, file) DO UPDATE SET inode = excluded.inode,
                read_bytes = excluded.read_bytes
            """)
    }

    func unmark(_ files: [String], of service: Reference<ServiceKind>) throws {
        try run(
            """
            DELETE FROM monitors_segment WHERE project = \(service.project) AND service = \(service.name)
                AND file IN \(list: files)
            """)
    }

    // MARK: - Predictions

    /// Keeps a prediction; false when one of this id is there already.
    func insert(_ row: Prediction, label: Double?, of service: Reference<ServiceKind>) throws -> Bool {
        try run(
            """
            INSERT INTO monitors_prediction
                (project, service, id, moment_at, model, version, score, features, label)
            VALUES (\(service.project), \(service.name), \(row.id), \(row.moment), \(row.model), \(row.version),
                    \(row.score), \(row.features), \(label.sqlValue))
            ON CONFLICT (project, service, id) DO NOTHING
            """) > 0
    }

    /// Writes down what a transaction did to the hours and the sums.
    func note(
        _ changes: HourChanges, garbage: Int = 0, of service: Reference<ServiceKind>, at now: Timestamp
    ) throws {
        guard garbage > 0 || !changes.hours.isEmpty else { return }
        var (predictions, labelled) = (0, 0)
        for (hour, counts) in changes.hours.sorted(by: { $0.key < $1.key }) {
            predictions += counts.rows
            labelled += counts.labelled
            try run(
                """
                INSERT INTO monitors_hour (project, service, hour_at, predictions, labelled, label_changes,
                    created_at, changed_at)
                VALUES (\(service.project), \(service.name), \(hour), \(counts.rows), \(counts.labelled),
                        \(counts.labelChanges), \(now.microseconds), \(now.microseconds))
                ON CONFLICT (project, service, hour_at) DO UPDATE SET
                    predictions = monitors_hour.predictions + excluded.predictions,
                    labelled = monitors_hour.labelled + excluded.labelled,
                    label_changes = monitors_hour.label_changes + excluded.label_changes,
                    changed_at = excluded.changed_at
                """)
        }
        try run(
            """
            INSERT INTO monitors_service (project, service, predictions, labelled, garbage, changes)
            VALUES (\(service.project), \(service.name), \(predictions), \(labelled), \(garbage), 1)
            ON CONFLICT (project, service) DO UPDATE SET
                predictions = monitors_service.predictions + excluded.predictions,
                labelled = monitors_service.labelled + excluded.labelled,
                garbage = monitors_service.garbage + excluded.garbage, changes = monitors_service.changes + 1
            """)
    }

    // MARK: - Labels

    /// Those of the ids that are known predictions, with their label so far.
    func labelled(
        _ ids: ArraySlice<String>, of service: Reference<ServiceKind>
    ) throws -> [(id: String, moment: Int64, label: Double?)] {
        try rows(
            """
            SELECT id, moment_at, label FROM monitors_prediction
            WHERE project = \(service.project) AND service = \(service.name) AND id IN \(list: ids)
            """
        ).map { (try $0.get(0), try $0.get(1), try $0.get(2)) }
    }

    func setLabel(_ label: Double, of id: String, _ service: Reference<ServiceKind>) throws {
        try run(
            """
            UPDATE monitors_prediction SET label = \(label)
            WHERE project = \(service.project) AND service = \(service.name) AND id = \(id)
            """)
    }

    func letWait(_ label: Double, for id: String, _ service: Reference<ServiceKind>) throws {
        try run(
            """
            INSERT INTO monitors_label (project, service, id, label)
            VALUES (\(service.project), \(service.name), \(id), \(label))
            ON CONFLICT (project, service, id) DO UPDATE SET label = excluded.label
            """)
    }

    func waitingLabels(of service: Reference<ServiceKind>) throws -> Int {
        try value(
            "SELECT count(*) FROM monitors_label WHERE project = \(service.project) AND service = \(service.name)") ?? 0
    }

    /// Takes the labels that wait for these ids.
    func takeWaiting(_ ids: ArraySlice<String>, of service: Reference<ServiceKind>) throws -> [String: Double] {
        var labels: [String: Double] = [:]
        try each(
            """
            SELECT id, label FROM monitors_label
            WHERE project = \(service.project) AND service = \(service.name) AND id IN \(list: ids)
            """
        ) { labels[try $0.get(0)] = try $0.get(1, as: Double.self) }
        guard !labels.isEmpty else { return labels }
        try run(
            """
            DELETE FROM monitors_label
            WHERE project = \(service.project) AND service = \(service.name) AND id IN \(list: ids)
            """)
        return labels
    }

    func hasWaitingLabels(of service: Reference<ServiceKind>) throws -> Bool {
        try row(
            """
            SELECT 1 FROM monitors_label WHERE project = \(service.project) AND service = \(service.name) LIMIT 1
            """) != nil
    }
}
