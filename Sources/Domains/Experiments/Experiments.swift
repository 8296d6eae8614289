package import Blobs
package import Kernel
package import SQL

/// The room of experiments: the tracking store, MLflow's dialect, and the model registry.
///
/// What comes in: what runs log (metrics, params, tags, datasets, artifacts), by MLflow's clients or our own; a trained model's folder (a
/// tree blob) with its signature, metrics and lineage. What goes out: runs found and compared; an immutable, numbered version of a model,
/// and aliases that point to one version each and move only by compare-and-set.
///
/// `MLflow/` speaks the protocol (`MLflowMount`, a table of calls). `Tracking/` keeps and finds runs in a database of its own
/// (`TrackingStore`) with the points of metrics in a `PointStore`; what happens often, logging, is no event of the house's log.
/// `Registry/` keeps models in the house's own store: a manifest says what a version must fulfil to be registered (`RegistrationRules`,
/// `SchemaChange`), and who must say yes before an alias of a stage points to it (`ApprovalDecision`). What is registered is signed
/// (`ModelSigning`) and has a bill of materials (`ModelBOM`); both are checked when it is deployed (`Verifying`).
/// `Moving/` takes over what another tracking server holds, as often as it is sent, once.
///
/// Tables: `experiments_model`, `experiments_model_version`, `_tag`, `_document`, `_request`; `experiments_alias`; `experiments_webhook`,
/// `experiments_webhook_delivery`; those of `TrackingTables` in `experiments/tracking.db`.
/// Events: `model.registered`, `.registration-refused`, `.renamed`, `.signed`, `.verified`, `.refused`, `.alias-moved`, `.stage-moved`,
/// `.version-removed`, `.tagged`, `.untagged`, `.requested`, `.approval-given`, `.approved`, `.rejected`, `.approval-expired`,
/// `.approval-voided`, `.approval-refused`, `.imported`; `webhook.created`, `.changed`, `.deleted`, `.given-up`; `experiment.created`, `.renamed`,
/// `.deleted`, `.restored`, `.purged`, `experiment-run.deleted`, `.restored`.
/// Loops: model-requests (time ends requests), experiments-uploads (abandoned parts are forgotten), experiments-webhooks (messages are written, then sent).
package struct ExperimentsDomain: Domain {
    package static let name = "experiments"
    let store: Store
    let blobs: BlobStore
    let tracking: TrackingHouse
    let context: DomainContext
    let outside: RegistryOutside

    /// - Parameters:
    ///   - folder: Of the tracking store; made if it is not there.
    ///   - outside: What the registry reaches beyond its own tables.
    package init(
        context: DomainContext, blobs: BlobStore, folder: String, outside: RegistryOutside = RegistryOutside()
    ) {
        self.context = context
        self.outside = outside
        store = context.store
        self.blobs = blobs
        tracking = TrackingHouse(context: context, folder: folder)
    }

    package var migrations: [Migration] { Tables.migrations }
    package func prepare() async throws { try await tracking.open() }

    package func routes(_ routes: inout Routes) {
        ExperimentRoutes(tracking: tracking, blobs: blobs).add(to: &routes)
        registry.add(to: &routes)
        MoveRoutes(tracking: tracking, registry: mlflowRegistry).add(to: &routes)
    }

    private var mlflowRegistry: MLflowRegistry {
        MLflowRegistry(registry: registry, tracking: tracking, sender: outside.sender)
    }

    /// MLflow's dialect. Each part of the room appends its list of calls here.
    package var mounts: [Mount] {
        let frozen = FrozenFiles(store: store, intaking: registry.intaking)
        let lists = [
            ExperimentCalls(tracking: tracking).routes, RunCalls(tracking: tracking).routes,
            MetricCalls(tracking: tracking).routes, LoggedModelCalls(tracking: tracking).routes,
            ArtifactCalls(tracking: tracking, blobs: blobs, frozen: frozen).routes,
            TraceCalls(tracking: tracking).routes, AssessmentCalls(tracking: tracking).routes,
            TraceMetricCalls(tracking: tracking).routes, IssueCalls(tracking: tracking).routes,
            DatasetCalls(tracking: tracking).routes, ScorerCalls(tracking: tracking).routes,
            mlflowRegistry.routes,
        ]
        return [MLflowMount(lists, logger: context.logger(for: Self.name)).mount]
    }

    package func namesOfContent(in sql: Connection) throws -> [String] { try sql.versionDigests() }
    package func namesOfOwnContent() async throws -> [String] {
        try await tracking.store.read { try $0.artifactDigests() }
    }
}
