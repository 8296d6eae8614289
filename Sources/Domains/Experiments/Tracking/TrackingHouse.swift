import API
import Kernel
import Logging
import Manifests
import SQL
import Synchronization

/// The tracking store, opened when the server starts, with what tells of it.
final class TrackingHouse: Sendable {
    let context: DomainContext
    let logger: Logger
    private let folder: String
    private let opened = Mutex<TrackingStore?>(nil)

    init(context: DomainContext, folder: String) {
        (self.context, self.folder) = (context, folder)
        logger = context.logger(for: "experiments")
    }

    func open() async throws {
        let store = try await TrackingStore.open(folder, time: context.time)
        opened.withLock { $0 = store }
    }

    var store: TrackingStore {
        get throws {
            guard let store = opened.withLock({ $0 }) else {
                throw MLflowError(.unavailable, "The server is still starting. Try again in a moment.")
            }
            return store
        }
    }

    /// Writes an event about an experiment into the house's log: for what happens seldom.
    func tell(
        _ name: String, _ experiment: StoredExperiment, _ call: Call, _ data: Ordered<JSONValue> = [:]
    ) async throws {
        let subject = Subject(kind: "Experiment", project: experiment.project, name: String(experiment.id))
        var data = data
        data["name"] = .string(experiment.name)
        let told = data
        _ = try await context.store.change(call) { try $0.tell(name, about: subject, told) }
    }

    /// The same about a run.
    func tell(_ name: String, run: String, in project: String, _ call: Call) async throws {
        let subject = Subject(kind: "ExperimentRun", project: project, name: run)
        _ = try await context.store.change(call) { try $0.tell(name, about: subject) }
    }

    func tellPurge(_ gone: ExperimentPurge, in project: String, _ call: Call) async throws {
        let subject = Subject(kind: "Experiment", project: project, name: "deleted")
        let data: Ordered<JSONValue> = [
            "runs": .integer(Int64(gone.runs)), "models": .integer(Int64(gone.models)),
            "experiments": .array(gone.experiments.map { .string($0) }), "bytes": .integer(gone.size_bytes),
        ]
        _ = try await context.store.change(call) { try $0.tell("experiment.purged", about: subject, data) }
    }
}
