package import Blobs
package import Kernel
package import SQL

/// The room of experiments: the model registry, and MLflow's dialect.
///
/// What comes in: a trained model's folder (a tree blob) with its signature, metrics and lineage. What goes out: an
/// immutable, numbered version, and aliases that point to one version each and move only by compare-and-set.
/// A model's manifest says what a version must fulfil to be registered (`RegistrationRules`, `SchemaReading`), and who must
/// say yes before an alias of a stage points to it (`ApprovalDecision`). What is registered is signed (`ModelSigning`) and has
/// a bill of materials (`ModelBOM`); both are checked when it is deployed (`Verification`).
///
/// Tables: `experiments_model`, `experiments_model_version`, `_tag`, `_document`, `_request`; `experiments_alias`;
/// `experiments_webhook`, `experiments_webhook_delivery`.
/// Events: `model.registered`, `.registration-refused`, `.signed`, `.verified`, `.refused`, `.alias-moved`,
/// `.version-removed`, `.tagged`, `.untagged`, `.requested`, `.approval-given`, `.approved`, `.rejected`,
/// `.approval-expired`, `.approval-voided`, `.approval-refused`; `webhook.given-up`.
/// Loops: model-requests (time ends requests), experiments-webhooks (messages are written, then sent).
package struct ExperimentsDomain: Domain {
    package static let name = "experiments"
    let store: Store
    let blobs: BlobStore
    let context: DomainContext
    let outside: RegistryOutside

    package init(context: DomainContext, blobs: BlobStore, outside: RegistryOutside = RegistryOutside()) {
        self.context = context
        self.outside = outside
        store = context.store
        self.blobs = blobs
    }

    package var migrations: [Migration] { Tables.migrations }
    /// MLflow's dialect. Each part of the room appends its list of calls here.
    package var mounts: [Mount] {
        [MLflowMount([registryCalls], logger: context.logger(for: Self.name)).mount]
    }

    package func namesOfContent(in sql: Connection) throws -> [String] { try sql.versionDigests() }
}
