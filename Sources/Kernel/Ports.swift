package import API
package import Manifests

// Ports: the few places where the outside world is reached. Each has at least two implementations (a real one and the
// fake in KernelTesting). They tell what is and take what shall be; every verb may be repeated.

/// Keeps copies of services alive. Copies outlive the vagus process.
///
/// Contract, held by `PlatformCheck` in KernelTesting on every implementation:
/// - **Life.** A copy lives until it ends by itself or is stopped, whatever becomes of us. When `stop` returns, nothing of
///   it runs. An id that was started is never started again, also when its copy has ended.
/// - **Adoption.** Another platform, set up alike, finds the copies of the one before, with their ports, and no others'.
/// - **Surroundings.** The program sees the order's `environment` and, in PORT, the port that it has to listen on.
///   `$PORT` and `${PORT}` in the command are that number.
/// - **Repetition.** Every call may be repeated, and a start that died half-way is carried on by the next.
/// - **Failure.** `instances` throws when it cannot look: it never tells of less than there is.
package protocol Platform: Sendable {
    /// What runs now, whoever started it: found by looking, not by remembering.
    func instances() async throws -> [Instance]
    /// Starts the instance, or does nothing when one of this id already runs. Returns it with its port.
    func start(_ order: InstanceOrder) async throws -> Instance
    /// Stops the instance: SIGTERM to its group, after `grace` SIGKILL. Does nothing when it is gone.
    func stop(_ id: InstanceID, grace: Duration) async throws
    /// Asks the instance whether it is well; false on any failure, never throws for one.
    func probe(_ instance: Instance, _ question: HealthQuestion, timeout: Duration) async -> Bool
    /// Asks as ``probe(_:_:timeout:)`` does; nil when it is well, else what was found: "/health answered 503".
    func complaint(_ instance: Instance, _ question: HealthQuestion, timeout: Duration) async -> String?
    /// A number that is another one whenever ``instances()`` might answer otherwise than before; nil: one has to look.
    var changes: UInt64? { get }
    /// Where the output of copies lies, of ended ones too for as long as it is kept; cheap, as it is asked every second.
    func outputs() async throws -> [CopyOutput]
}

extension Platform {
    package var changes: UInt64? { nil }

    package func complaint(_ instance: Instance, _ question: HealthQuestion, timeout: Duration) async -> String? {
        await probe(instance, question, timeout: timeout) ? nil : question.complaint(port: instance.port)
    }
}

/// A file that a copy appends its output to.
///
/// Once it is long it begins anew, and the part before lies beside it as `PATH.1`, another file each time.
package struct CopyOutput: Sendable, Hashable {
    package var id: InstanceID
    package var path: String
    /// Nothing is added any more.
    package var hasEnded: Bool

    package init(id: InstanceID, path: String, hasEnded: Bool) {
        (self.id, self.path, self.hasEnded) = (id, path, hasEnded)
    }
}

/// What a copy is asked.
package enum HealthQuestion: Sendable, Hashable {
    /// Whether its port accepts a connection.
    case port
    /// Whether GET of a path answers 2xx.
    case path(String)
    /// Whether a command ends with 0 that is run where the copy runs, sees what it sees, and is killed when time is over.
    case command([String])

    /// What a copy that is not well was found to do, where no more is known of its answer.
    package func complaint(port: Int) -> String {
        switch self {
        case .port: "nothing listens on its port \(port)"
        case .path(let path): "\(path) gave no good answer on its port \(port)"
        case .command(let words): "\"\(words.joined(separator: " "))\" did not end with 0 in time"
        }
    }
}

/// Names one copy for ever: "project/service/revision/ordinal-counter". Never used twice.
package struct InstanceID: Hashable, Sendable, Codable, CustomStringConvertible {
    package var text: String
    package init(_ text: String) { self.text = text }
    package var description: String { text }
}

/// A cluster where copies run, and the namespace in it.
package struct ClusterTarget: Hashable, Sendable {
    /// Context of the server's kubeconfig, or `in_cluster`.
    package var context: String
    /// Nil is the context's own.
    package var namespace: String?
    package init(context: String, namespace: String? = nil) { (self.context, self.namespace) = (context, namespace) }
}

/// What to start.
package struct InstanceOrder: Sendable {
    /// Code of the problem that a platform tells when a copy is on its way and has not begun: start it again, soon.
    package static let pending = "instance.pending"
    package var id: InstanceID
    package var service: Reference<ServiceKind>
    package var revision: Int
    package var command: [String]
    package var environment: [String: String]
    /// Those of `environment` that are secret, for platforms that keep such apart.
    package var secrets: Set<String> = []
    /// Tree blob to unpack as the working folder, if any.
    package var artifact: String?
    /// Image and what goes with it, where copies are containers; and the port that the program in it listens on.
    package var container: ContainerSpec?
    package var port: Int?
    /// Processors' worth of time and bytes of memory; nil is unbounded.
    package var cpus: Double?
    package var memory: Int64?

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
    /// It runs; whether it is well is for ``Platform/probe(_:_:timeout:)``.
    package var isRunning: Bool
    /// How it ended by itself, where that is known: "with exit status 7".
    package var ending: String?

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

/// Executes a command of a step, and nothing else of vagus: somewhere, within bounds, to its end.
///
/// Contract, held by `checkExecutor` in KernelTesting on every implementation:
/// - **Life.** The execution lives as long as the call of `run`. When the call's task is cancelled, or the order's
///   timeout is over, the command gets SIGTERM, after `grace` SIGKILL, and the whole tree of its processes with it. When
///   `run` returns or throws, nothing of the tree is left, whatever it did to get away.
/// - **Surroundings.** The command sees `environment` and no variable of ours (an image, a shell or a cluster may add its
///   own), the folders of `writable` at their own paths, and an empty standard input. Standard output and standard error
///   come in one stream each, in order, every byte as it was written; a slow `output` holds the command back or is
///   buffered outside of our memory, and nothing is dropped.
/// - **Repetition.** An id names one execution. A second call with the id of one that is under way starts nothing: it
///   takes part in the first and returns its result. An executor with ``ExecutorTraits/survives`` finds an execution of an
///   earlier life of ours again by its id; the others end it in `clear(job: nil)`.
/// - **Concurrency.** Calls of all methods may overlap; calls with different ids do not touch each other.
/// - **Order.** `clear(job: nil)` comes first in a life, before any `run`; `clear(job:)` comes after the last execution
///   of that job has ended. Both may be repeated.
/// - **Failure.** A command that ran and did not do well is a result. Only what kept it from running is thrown.
package protocol Executor: Sendable {
    var kind: ExecutorKind { get }
    var traits: ExecutorTraits { get }
    /// - Parameter output: Called with one piece after the other; what it throws ends the execution.
    func run(
        _ order: ExecutionOrder, output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws(ExecutionFailure) -> ExecutionResult
    /// Ends and takes away what is left of a job; with nil, of all that an earlier life of this runner has started.
    func clear(job: String?) async
}

/// What an executor can do beyond the contract.
package struct ExecutorTraits: OptionSet, Sendable {
    package let rawValue: Int
    package init(rawValue: Int) { self.rawValue = rawValue }

    /// Steps see another file system than ours: our PATH and HOME mean nothing to them.
    package static let ownSystem = ExecutorTraits(rawValue: 1)
    /// Executions outlive us, and are found again by their id.
    package static let survives = ExecutorTraits(rawValue: 2)
    /// Holds the tree to ``ExecutionOrder/memory``, and tells when it was exceeded.
    package static let boundsMemory = ExecutorTraits(rawValue: 4)
    /// Holds the tree to a number of processes.
    package static let boundsProcesses = ExecutorTraits(rawValue: 8)
    /// Can take the network away.
    package static let cutsNetwork = ExecutorTraits(rawValue: 16)
    /// Kills also what was put into a session of its own by a process that then ended.
    package static let endsDaemons = ExecutorTraits(rawValue: 32)
    /// What it executes is a process beside us, found by the PATH it is given; both its outputs come as one, in order.
    package static let isBeside = ExecutorTraits(rawValue: 64)
}

/// One command to execute.
package struct ExecutionOrder: Sendable {
    /// Names this execution for ever.
    package var id: String
    /// Executions of one job share its network.
    package var job: String
    /// Program and its arguments; empty only for a container whose image says it all.
    package var command: [String]
    package var environment: [String: String]
    /// Where the command starts; below one of `writable`.
    package var directory: String
    /// Folders that it may read and write, at their own paths.
    package var writable: [String]
    /// Processors' worth of time and bytes of memory; nil is unbounded.
    package var cpus: Double?
    package var memory: Int64?
    package var network = true
    package var container: ContainerSpec?
    /// Name by which executions of the same job reach it, if it is a service.
    package var alias: String?
    /// Its ports, and where this machine's loopback leads to them.
    package var ports: [ExecutionPort] = []
    /// Whether the job has services, so that its executions are joined by a network.
    package var isJoined = false
    /// It is vagus itself at work, with its own rights even where commands run as another user.
    package var isOurs = false
    /// Id of a running execution in whose surroundings this one takes place.
    package var inside: String?
    package var timeout: Duration?
    package var grace: Duration

    package init(
        id: String, job: String, command: [String], environment: [String: String], directory: String,
        writable: [String], timeout: Duration? = nil, grace: Duration = .seconds(5)
    ) {
        (self.id, self.job, self.command, self.environment) = (id, job, command, environment)
        (self.directory, self.writable, self.timeout, self.grace) = (directory, writable, timeout, grace)
    }
}

package struct ExecutionPort: Sendable, Hashable {
    /// The port that the program listens on.
    package var inside: Int
    /// The port of 127.0.0.1 that leads there.
    package var outside: Int
    package init(inside: Int, outside: Int) { (self.inside, self.outside) = (inside, outside) }
}

/// How an execution ended.
package struct ExecutionResult: Sendable, Equatable {
    package enum Ending: Sendable, Equatable {
        case exited(Int)
        case signalled(Int)
        /// The order's timeout was over.
        case timedOut
        /// It used more than the order's memory.
        case outOfMemory
        /// What executed it has lost it, ended it, or was told to by somebody else.
        case lost
    }
    package var ending: Ending
    /// More about why, in a lower-case clause for people.
    package var detail: String?

    package init(_ ending: Ending, detail: String? = nil) { (self.ending, self.detail) = (ending, detail) }
    package var isSuccess: Bool { ending == .exited(0) }
}

/// Why a command could not be executed.
package struct ExecutionFailure: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: String, Sendable {
        /// The order makes no sense here: no such program, image or folder.
        case invalid
        /// What executes cannot be reached or refuses for now.
        case unavailable
        /// The call's task was cancelled, or `output` has thrown.
        case cancelled
    }
    package var code: Code
    /// One lower-case clause.
    package var message: String
    package var hint: String?

    package init(_ code: Code, _ message: String, hint: String? = nil) {
        (self.code, self.message, self.hint) = (code, message, hint)
    }
    package var description: String { message }
}

/// Shares the requests of services among their revisions: the house's own proxy, or one that stands there already.
///
/// Contract, held by `RouterCheck` in KernelTesting on every implementation:
/// - **Whole.** A table says all: what it does not name is not routed, and weights are shares of their sum.
/// - **In force.** When `take` returns, whoever asks from then on is routed by the new table. Requests under way end as
///   they began, and none fails because a table was taken.
/// - **Repetition.** Taking the same table again changes nothing. Tables come one after the other, never at once.
/// - **Failure.** What an implementation cannot do is refused by `take`, with what it is; the table before stays in force.
/// - **Counts.** `counts` may be called at any time; numbers only grow while `epoch` stays the same, also over `take`.
package protocol TrafficRouter: Sendable {
    var traits: RouterTraits { get }
    /// - Throws: `Problem`: 422 `router.cannot` for what this kind of router cannot do, 503 `router.unreachable`.
    func take(_ table: RoutingTable) async throws
    func counts() async throws -> RouterCounts
    /// The counts that may be others than at the mark of an earlier answer, of the same epoch; all where that is unknown.
    func counts(since mark: RouterCounts.Mark) async throws -> RouterCounts
}

extension TrafficRouter {
    package func counts(since mark: RouterCounts.Mark) async throws -> RouterCounts { try await counts() }
}

/// What a router can do beyond the contract.
package struct RouterTraits: OptionSet, Sendable {
    package let rawValue: Int
    package init(rawValue: Int) { self.rawValue = rawValue }

    /// Shares are exact over every 1,000 requests, and not only on average.
    package static let exactWeights = RouterTraits(rawValue: 1)
    /// Keeps sessions with their revision while the shares are held.
    package static let sticky = RouterTraits(rawValue: 2)
    /// Sends copies of requests to a revision that answers nobody.
    package static let mirrors = RouterTraits(rawValue: 4)
    /// Connections that clients keep open outlive a change of the table.
    package static let keepsConnections = RouterTraits(rawValue: 8)
    /// Tells how long answers took.
    package static let latency = RouterTraits(rawValue: 16)
    /// Tells how many requests each revision was sent; without it the judge has to ask somebody else.
    package static let counts = RouterTraits(rawValue: 32)
}

/// What a router has counted.
package struct RouterCounts: Sendable {
    /// Another one says that counts began anew.
    package var epoch: String
    package var revisions: [RevisionCount]
    /// Where later answers go on from; nil: each one tells all.
    package var mark: Mark?

    package struct Mark: Sendable {
        package var epoch: String
        package var number: UInt64
        package init(epoch: String, number: UInt64) { (self.epoch, self.number) = (epoch, number) }
    }

    package init(epoch: String, revisions: [RevisionCount], mark: Mark? = nil) {
        (self.epoch, self.revisions, self.mark) = (epoch, revisions, mark)
    }
}

/// Lends secrets. Plain text is lent for the length of a closure, never handed over.
package protocol SecretSource: Sendable {
    /// Lends the newest version of a secret.
    ///
    /// - Throws: `Problem`: 404 `secret.not-found`, 403 `secret.not-allowed`, 503 `vault.…` when the key is not there;
    ///   or what `body` throws.
    func withSecret<Result: Sendable>(
        _ ask: SecretAsk, _ body: (borrowing Secret) throws -> Result
    ) async throws -> Result
}

/// Signs short statements that anyone can check against the server's published keys (JWT, RFC 7519).
package protocol TokenSigner: Sendable {
    /// The claims with `iss`, `iat`, `nbf`, `exp` and `jti` added, signed.
    ///
    /// - Parameters:
    ///   - life: How long it is good for; at most 10 minutes.
    ///   - algorithm: What whoever checks it understands.
    func sign(_ claims: Ordered<JSONValue>, life: Duration, algorithm: TokenAlgorithm) async throws -> String
}

extension TokenSigner {
    package func sign(_ claims: Ordered<JSONValue>, life: Duration) async throws -> String {
        try await sign(claims, life: life, algorithm: .es256)
    }
}

/// Signs content with a key of the house that never leaves the vault (ECDSA over P-256 with SHA-256, FIPS 186-5).
///
/// Unlike the keys of tokens these are kept for good: what was signed years ago can still be checked.
package protocol ContentSigner: Sendable {
    /// Signs with the newest key; makes the first when there is none.
    func sign(_ bytes: [UInt8]) async throws -> ContentSignature
    /// The public key of an id, in PEM; nil when this house has never had it.
    func publicKey(_ id: String) async throws -> String?
}

/// A signature, and what it is checked with.
package struct ContentSignature: Sendable, Equatable {
    /// SHA-256, in hexadecimal, of `publicKey` as it stands.
    package var key: String
    /// SubjectPublicKeyInfo, in PEM with a line feed at its end.
    package var publicKey: String
    /// ECDSA-Sig-Value, in DER.
    package var bytes: [UInt8]
    package init(key: String, publicKey: String, bytes: [UInt8]) {
        (self.key, self.publicKey, self.bytes) = (key, publicKey, bytes)
    }
}
