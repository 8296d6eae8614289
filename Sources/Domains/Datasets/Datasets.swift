import API
package import Kernel
import Manifests
import SQL

// Datasets: from a file to rows that may be learned from.
//
// Three workers, pure functions from files to files that run in a process of their own (`vagus work`):
//   ingest      a file → `rows` (VGF1), typed by the dataset's schema; rows with cells that do not parse are put aside
//   validate    rows + the dataset's expectations → `rows`, `quarantine` (CSV), `report`; its gate may fail the run
//   transform   rows → `train`, `test` and the `transforms` that were fitted on the training rows alone
//
// What comes in: `step.finished` of runs, with the values of those steps under "outputs".
// What goes out: the status of a Dataset, its versions: what was read, newest first. Events told: none.
// Tables owned: none. Loops run: datasets (a follower).
//
//   IngestWorker, ValidateWorker, TransformWorker   the verbs
//   Expectations, RowTests, ColumnFigures           pure: does it hold, of which rows not
//   Versions                                        pure: what a finished step adds to a dataset's status
//   WorkFiles                                       reading and writing, errors as problems

/// The room of datasets.
package struct DatasetsDomain: Domain {
    package static let name = "datasets"
    private let context: DomainContext

    package init(context: DomainContext) { self.context = context }

    package func routes(_ routes: inout Routes) {}

    package var loops: [any RunnableLoop] {
        [FollowLoop(VersionFollower(), store: context.store, logger: context.logger(for: Self.name))]
    }
}

/// The bounds of this room.
package enum DatasetLimits {
    /// Versions that a dataset's status keeps.
    package static let versions = 20
    /// Rows put aside that a report lists; the artifact has all.
    package static let quarantineShown = 50
    /// Rows and values that break an expectation and are shown with it.
    package static let unexpectedShown = 20
    /// Expectations of one dataset.
    package static let expectations = 1_000
}

/// Notes in a dataset's status what runs have read of it.
struct VersionFollower: Follower {
    static let name = "datasets"
    static let events: Set<String> = ["step.finished"]

    func minds(_ event: Event, in sql: Connection) -> Bool { Versions.version(of: event) != nil }

    func heed(_ event: Event, in change: Change) throws {
        guard let (dataset, version) = Versions.version(of: event) else { return }
        let reference = Reference<DatasetKind>(project: event.subject.project, name: dataset)
        guard let found = try change.sql.resource(DatasetKind.self, reference) else { return }
        var status = found.status ?? DatasetStatus()
        status.versions = Versions.adding(version, to: status.versions)
        try change.setStatus(status, of: reference)
    }
}

/// What a finished step says of a dataset.
enum Versions {
    /// The dataset and what was read of it, when the event is a good end of `ingest` or `validate`.
    ///
    /// Steps of other verbs, failed ones, and events without outputs say nothing.
    static func version(of event: Event) -> (dataset: String, version: DatasetVersion)? {
        guard event.name == "step.finished", let outputs = event.data["outputs"],
            ["ingest", "validate"].contains(event.data["verb"]?.string ?? ""),
            event.data["status"]?.string ?? "succeeded" == "succeeded",
            let dataset = outputs["dataset"]?.string, let digest = outputs["digest"]?.string, !digest.isEmpty
        else { return nil }
        var version = DatasetVersion()
        (version.digest, version.run, version.at) = (digest, event.subject.name, event.at)
        version.rows = outputs["rows"]?.int ?? 0
        version.quarantined = outputs["quarantined"]?.int ?? outputs["rejected"]?.int ?? 0
        return (dataset, version)
    }

    /// The versions with one more at the front; of one run only its last word counts.
    static func adding(_ version: DatasetVersion, to versions: [DatasetVersion]) -> [DatasetVersion] {
        Array(([version] + versions.filter { $0.run != version.run }).prefix(DatasetLimits.versions))
    }
}
