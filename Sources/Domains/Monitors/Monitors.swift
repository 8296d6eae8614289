package import API
package import Blobs
package import Kernel
import Manifests
package import SQL

/// Where this room finds what it reads.
package struct MonitorsSettings: Sendable {
    /// Folder of prediction logs: `PROJECT/SERVICE/*.jsonl`, or one folder deeper.
    package var predictions: String

    package init(predictions: String) { self.predictions = predictions }
}

/// The room of monitors: what a served model sees, what it answers, and how right it turns out to be.
///
/// What comes in: lines of JSON that model servers write (`PredictionLog`), labels by prediction id, early or late, and
/// the reference, a frame in the folder of the model version that the monitor names. What goes out: a report for each
/// window of time, kept in tables, so that asking for it computes nothing.
/// Tables: `monitors_segment` (how far each file was read, in the transaction of its rows), `monitors_prediction`,
/// `monitors_label` (labels that wait), `monitors_hour` (rows and changes by hour: what tells a window that is out of
/// date), `monitors_service` (sums), `monitors_window`, `monitors_reference`.
/// Events: `monitor.window-told`, `monitor.breach`, `service.labelled`.
/// Loops: `monitors.ingest` (files → rows, exactly once), `monitors.analysis` (rows → windows).
package struct MonitorsDomain: Domain {
    package static let name = "monitors"
    let store: Store
    let ingest: IngestLoop
    let analysis: AnalysisLoop
    private let context: DomainContext

    package init(context: DomainContext, blobs: BlobStore, settings: MonitorsSettings) {
        store = context.store
        self.context = context
        ingest = IngestLoop(
            store: context.store, folder: settings.predictions, threads: WorkerThreads(name: "predictions", count: 1))
        let threads = WorkerThreads(name: "monitors", count: 1)
        analysis = AnalysisLoop(
            store: context.store, references: ReferenceBook(blobs: blobs, caller: context.caller, threads: threads),
            threads: threads)
    }

    package var migrations: [Migration] { Tables.migrations }

    package var loops: [any RunnableLoop] {
        let logger = context.logger(for: Self.name)
        return [
            ReconcileLoop(ingest, store: store, logger: logger), ReconcileLoop(analysis, store: store, logger: logger),
        ]
    }

    package func admit(_ candidate: Candidate, in change: Change) throws {
        guard let spec = candidate.spec(of: MonitorKind.self) else { return }
        guard isResourceName(spec.service) else {
            throw Problem(
                "monitor.service", status: 422, "\"\(spec.service)\" cannot be a service's name",
                hint: "Name the service whose predictions it reads.", location: "service")
        }
        guard ModelWord(spec.model) != nil else {
            throw Problem(
                "monitor.model", status: 422, "\"\(spec.model)\" names no model version",
                hint: "Write the model's name and an alias or a number: churn@champion, churn@3.", location: "model")
        }
    }

    package func release(_ resource: Resource, in change: Change) throws {
        guard resource.kind == MonitorKind.name else { return }
        try change.sql.forget(Reference<MonitorKind>(project: resource.project, name: resource.name))
    }
}

/// A model version as a monitor names it: `churn@champion`, `churn@3`, `churn` for the latest.
struct ModelWord: Equatable, Sendable {
    var name: String
    var version: String

    init?(_ text: String) {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false).map(String.init)
        guard parts.count <= 2, isResourceName(parts[0]), parts.last?.isEmpty == false else { return nil }
        name = parts[0]
        version = parts.count == 2 ? parts[1] : "latest"
    }
}
