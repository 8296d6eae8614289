package import API
package import Manifests

// Ports: the few places where the outside world is reached. Each has at least two implementations (a real one and the
// fake in KernelTesting). They tell what is and take what shall be; every verb may be repeated.

/// Keeps copies of services alive. Copies outlive the vagus process.
package protocol Platform: Sendable {
    /// What runs now, whoever started it: found by looking, not by remembering.
    func instances() async throws -> [Instance]
    /// Starts the instance, or does nothing when one of this id already runs. Returns it with its port.
    func start(_ order: InstanceOrder) async throws -> Instance
    /// Stops the instance: SIGTERM to its group, after `grace` SIGKILL. Does nothing when it is gone.
    func stop(_ id: InstanceID, grace: Duration) async throws
    /// Asks the instance whether it is well; false on any failure, never throws for one.
    func probe(_ instance: Instance, path: String?, timeout: Duration) async -> Bool
}

/// Names one copy for ever: "project/service/revision/ordinal-counter". Never used twice.
package struct InstanceID: Hashable, Sendable, Codable, CustomStringConvertible {
    package var text: String
    package init(_ text: String) { self.text = text }
    package var description: String { text }
}

/// What to start.
package struct InstanceOrder: Sendable {
    package var id: InstanceID
    package var service: Reference<ServiceKind>
    package var revision: Int
    package var command: [String]
    package var environment: [String: String]
    /// Tree blob to unpack as the working folder, if any.
    package var artifact: String?

    package init(
        id: InstanceID, service: Reference<ServiceKind>, revision: Int, command: [String],
        environment: [String: String], artifact: String? = nil
    ) {
        self.id = id
        self.service = service
        self.revision = revision
        self.command = command
        self.environment = environment
        self.artifact = artifact
    }
}

/// One copy of one revision of a service.
package struct Instance: Sendable, Hashable {
    package var id: InstanceID
    package var service: Reference<ServiceKind>
    package var revision: Int
    package var host: String
    package var port: Int
    package var startedAt: Timestamp
    /// It runs; whether it is well is for ``Platform/probe(_:path:timeout:)``.
    package var isRunning: Bool

    package init(
        id: InstanceID, service: Reference<ServiceKind>, revision: Int, host: String, port: Int, startedAt: Timestamp,
        isRunning: Bool
    ) {
        self.id = id
        self.service = service
        self.revision = revision
        self.host = host
        self.port = port
        self.startedAt = startedAt
        self.isRunning = isRunning
    }
}

/// Does the work of one verb (ingest, train, …) in a process of its own: `vagus work ORDER.json`.
///
/// A pure function from files to files: no store, no network. Killing it loses nothing; running it again gives the same.
package protocol Worker: Sendable {
    static var verb: String { get }
    /// - Parameter log: Tells people a line of progress; it becomes the step's output.
    /// - Throws: A `Problem`, which fails the step with its message; or any error, likewise.
    func run(_ order: WorkOrder, log: @Sendable (String) -> Void) async throws -> WorkResult
}

/// What a worker is given: everything resolved to local files and plain values.
package struct WorkOrder: Manifest {
    package var verb = ""
    package var settings: JSONValue = .null
    /// Name → local path of a file, or of a folder for a tree.
    package var inputs: Ordered<String> = [:]
    /// Kind → spec of the declared thing, with its "name".
    package var resources: Ordered<JSONValue> = [:]
    package var facts: Ordered<JSONValue> = [:]
    /// Folder to write outputs into; exists and is empty.
    package var outputs = ""
    /// The job's workspace (the checkout), and where relative dataset paths begin.
    package var workspace = ""
    package var datasets = ""
    /// Path of libxgboost.so, if one was set.
    package var xgboost: String?

    package init() {}
    package static let fields: [Field<Self>] = [
        .required("verb", \.verb, "Verb."), .optional("settings", \.settings, "Its settings."),
        .optional("inputs", \.inputs, "Input files."), .optional("resources", \.resources, "Declared things."),
        .optional("facts", \.facts, "Facts."), .required("outputs", \.outputs, "Output folder."),
        .optional("workspace", \.workspace, "Workspace."), .optional("datasets", \.datasets, "Dataset folder."),
        .optional("xgboost", \.xgboost, "Library."),
    ]
}

/// What a worker found and left behind.
package struct WorkResult: Manifest {
    /// Artifact name → file or folder name in the output folder.
    package var artifacts: Ordered<String> = [:]
    /// Values for `steps.ID.outputs`.
    package var outputs: Ordered<JSONValue> = [:]
    package var metrics: Ordered<Double> = [:]
    /// For people and the UI; free JSON.
    package var report: JSONValue?
    /// A gate said no: the step fails with this, its artifacts and report are kept.
    package var failure: Problem?

    package init() {}
    package static let fields: [Field<Self>] = [
        .told("artifacts", \.artifacts, "Artifacts."), .told("outputs", \.outputs, "Values."),
        .told("metrics", \.metrics, "Numbers."), .optional("report", \.report, "Findings."),
        .optional("failure", \.failure, "Why a gate said no."),
    ]
}
