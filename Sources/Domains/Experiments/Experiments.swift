package import Blobs
package import Kernel
package import SQL

/// The room of experiments: the tracking store, MLflow's dialect, and the model registry.
///
/// What comes in: what runs log (metrics, params, tags, datasets, artifacts), by MLflow's clients or our own; a trained model's folder (a
/// tree blob) with its signature, metrics and lineage. What goes out: runs found and compared; an immutable, numbered version of a model,
/// and aliases that point to one version each and move only by compare-and-set.
///
/// `MLflow/` speaks the protocol (`MLflowMount`, a table of calls), `Tracking/` keeps and finds runs in a database of its own
/// (`TrackingStore`) with the points of metrics in a `PointStore`. What happens often, logging, is no event of the house's log.
/// Tables: `experiments_version`, `experiments_alias`; those of `TrackingTables` in `experiments/tracking.db`. Events: `model.registered`,
/// `model.alias-moved`, `experiment.created`, `.renamed`, `.deleted`, `.restored`, `experiment-run.deleted`, `.restored`.
/// Loops: none; a version never changes, and an alias moves in one transaction.
package struct ExperimentsDomain: Domain {
    package static let name = "experiments"
    let store: Store
    let blobs: BlobStore
    let tracking: TrackingHouse
    private let context: DomainContext

    /// - Parameter folder: Of the tracking store; made if it is not there.
    package init(context: DomainContext, blobs: BlobStore, folder: String) {
        self.context = context
        store = context.store
        self.blobs = blobs
        tracking = TrackingHouse(context: context, folder: folder)
    }

    package var migrations: [Migration] { Tables.migrations }
    package func prepare() async throws { try await tracking.open() }

    /// MLflow's dialect. Each part of the room appends its list of calls here.
    package var mounts: [Mount] {
        let lists = [
            ExperimentCalls(tracking: tracking).routes, RunCalls(tracking: tracking).routes,
            MetricCalls(tracking: tracking).routes, LoggedModelCalls(tracking: tracking).routes,
            ArtifactCalls(tracking: tracking, blobs: blobs).routes, TraceCalls(tracking: tracking).routes,
        ]
        return [MLflowMount(lists, logger: context.logger(for: Self.name)).mount]
    }

    package func namesOfContent(in sql: Connection) throws -> [String] { try sql.versionDigests() }
    package func namesOfOwnContent() async throws -> [String] {
        try await tracking.store.read { try $0.artifactDigests() }
    }
}
