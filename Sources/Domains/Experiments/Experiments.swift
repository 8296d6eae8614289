package import Blobs
package import Kernel
package import SQL

/// The room of experiments: the model registry.
///
/// What comes in: a trained model's folder (a tree blob) with its signature, metrics and lineage. What goes out: an
/// immutable, numbered version, and aliases that point to one version each and move only by compare-and-set.
/// Tables: `experiments_version`, `experiments_alias`. Events: `model.registered`, `model.alias-moved`.
/// Loops: none; a version never changes, and an alias moves in one transaction.
package struct ExperimentsDomain: Domain {
    package static let name = "experiments"
    let store: Store
    let blobs: BlobStore
    private let context: DomainContext

    package init(context: DomainContext, blobs: BlobStore) {
        self.context = context
        store = context.store
        self.blobs = blobs
    }

    package var migrations: [Migration] { Tables.migrations }
    /// MLflow's dialect. Each part of the room appends its list of calls here.
    package var mounts: [Mount] {
        [MLflowMount([], logger: context.logger(for: Self.name)).mount]
    }

    package func namesOfContent(in sql: Connection) throws -> [String] { try sql.versionDigests() }
}
