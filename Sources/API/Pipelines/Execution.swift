public import Manifests

/// Where and within which bounds a job's steps are executed.
public enum ExecutorKind: String, WireEnum {
    /// A process of the runner's machine.
    case process
    /// A process that sees a read-only system, a private /tmp and no network.
    case sandbox
    /// A container for each step.
    case podman
    /// A batch job of a Slurm cluster.
    case slurm
    /// A job of a Ray cluster.
    case ray
}

/// Which runners may take a job, and what it is given there.
public struct RunsOn: Manifest {
    public var labels: [String] = []
    public var executor: ExecutorKind?
    public var cpu: CPUAmount?
    public var memory: ByteSize?
    public var network: Bool?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("labels", \.labels, "Labels that the runner must have."),
        .optional(
            "executor", \.executor, "What executes its steps; absent: podman when it names a container, else process."),
        .optional("cpu", \.cpu, "Processors it is given, like 2 or 500m; absent: unbounded."),
        .optional("memory", \.memory, "Memory it is given, like 512Mi; a step that uses more is ended."),
        .optional(
            "network", \.network,
            "Whether its steps reach the network; absent: yes, but for the sandbox, which is given none."),
    ]

    /// A list is one of labels.
    public static func shorthand(_ json: JSONValue) -> Self? {
        guard case .array(let items) = json else { return nil }
        let labels = items.compactMap(\.string)
        guard labels.count == items.count else { return nil }
        var spec = Self()
        spec.labels = labels
        return spec
    }
}

/// Processors' worth of time: `2`, `0.5`, or `500m` for half of one.
public struct CPUAmount: WireValue, Hashable, CustomStringConvertible {
    public var cpus: Double
    public init(_ cpus: Double) { self.cpus = cpus }

    /// More than any machine has.
    private static let limit = 100_000.0

    public static var schema: Schema {
        var text = Schema(type: "string")
        text.pattern = "^[0-9]+(\\.[0-9]+)?m?$"
        var number = Schema(type: "number")
        number.range = 0...limit
        var schema = Schema(type: "any")
        schema.alternatives = [number, text]
        return schema
    }

    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        let text = json.string ?? ""
        let number = json.double ?? (text.hasSuffix("m") ? Double(text.dropLast()).map { $0 / 1000 } : Double(text))
        guard let number, number > 0, number <= Self.limit else {
            throw ManifestError(
                at: path, message: "\"\(path.last ?? "value")\" is not a number of processors: \(json.text)",
                hint: "Write it like 2, 0.5 or 500m.")
        }
        self.init(number)
    }

    public var description: String {
        let thousandths = (cpus * 1000).rounded()
        return thousandths.truncatingRemainder(dividingBy: 1000) == 0
            ? "\(Int64(thousandths / 1000))" : "\(Int64(thousandths))m"
    }
    public var json: JSONValue {
        Int64(exactly: cpus).map(JSONValue.integer) ?? .number(cpus)
    }
}

/// The image that steps run in, one container a step, the workspace mounted at its own path; or copies of a service.
public struct ContainerSpec: Manifest {
    public enum Pull: String, WireEnum { case always, missing, never }
    public var image = ""
    public var pull = Pull.missing
    public var user: String?
    public var env: Ordered<String> = [:]
    public var read_only = false
    public var credentials: RegistryCredentials?
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("image", \.image, "Image, by tag or by digest (name@sha256:…)."),
        .optional("pull", \.pull, "When it is fetched from its registry."),
        .optional("user", \.user, "User inside, a name or number; absent: the image's."),
        .optional("env", \.env, "Environment variables, over those of the image."),
        .optional("read_only", \.read_only, "Nothing but the workspace and /tmp can be written."),
        .optional("credentials", \.credentials, "How to log in to the registry."),
    ]
    public static func shorthand(_ json: JSONValue) -> Self? {
        guard let image = json.string, !image.isEmpty else { return nil }
        var spec = Self()
        spec.image = image
        return spec
    }
}

/// How to log in to a registry; the password is an expression such as `${{ secrets.REGISTRY }}`.
public struct RegistryCredentials: Manifest {
    public var username = ""
    public var password = ""
    public init() {}
    public static var noun: String { "registry login" }
    public static let fields: [Field<Self>] = [
        .required("username", \.username, "User name."),
        .required("password", \.password, "Password, as an expression: ${{ secrets.NAME }}."),
    ]

    /// The secret that the password is; nil when it is no such expression.
    public var secret: String? {
        guard password.hasPrefix("${{"), password.hasSuffix("}}") else { return nil }
        let words = password.dropFirst(3).dropLast(2).split(separator: " ")
        guard words.count == 1, words[0].hasPrefix("secrets.") else { return nil }
        return SecretReference(String(words[0].dropFirst("secrets.".count)))?.name
    }
}

/// A program that runs beside a job's steps, such as a database.
public struct SidecarSpec: Manifest {
    public var image: String?
    public var command: [String] = []
    public var env: Ordered<String> = [:]
    public var ports: [Int] = []
    public var health: SidecarHealth?
    public var credentials: RegistryCredentials?
    public init() {}
    public static var noun: String { "service of a job" }
    public static let fields: [Field<Self>] = [
        .optional("image", \.image, "Image of its container; absent: it is a process like the steps."),
        .optional("command", \.command, "Program and its arguments; absent: what the image says."),
        .optional("env", \.env, "Environment variables."),
        .optional(
            "ports", \.ports,
            "Ports it listens on. A process without any is given a free one as $PORT and in place of ${PORT}."),
        .optional("health", \.health, "How to tell that it is ready; steps begin only then."),
        .optional("credentials", \.credentials, "How to log in to the image's registry."),
    ]

    public static func check(_ value: Self) -> [ManifestError] {
        var errors: [ManifestError] = []
        if value.image == nil, value.command.isEmpty {
            errors.append(
                ManifestError(
                    at: [], message: "a service of a job has neither an image nor a command", hint: "Write one of them."
                ))
        }
        for (index, port) in value.ports.enumerated() where !(1...65535).contains(port) {
            errors.append(
                ManifestError(
                    at: ["ports", "\(index)"], message: "\(port) is not a port", hint: "Use a number from 1 to 65535."))
        }
        return errors
    }
}

/// How to tell that a service of a job is ready.
public struct SidecarHealth: Manifest {
    public var tcp: Bool?
    public var http: String?
    public var exec: String?
    public var interval = TimeSpan.seconds(1)
    public var timeout = TimeSpan.seconds(5)
    public var retries = 60
    public init() {}
    public static var noun: String { "health check" }
    public static let choices = ["tcp", "http", "exec"]
    public static let fields: [Field<Self>] = [
        .optional("tcp", \.tcp, "Its first port accepts a connection."),
        .optional("http", \.http, "GET of this path on its first port answers 200 to 299."),
        .optional("exec", \.exec, "This shell command, run where the service runs, ends with 0."),
        .optional("interval", \.interval, "Pause between two tries."),
        .optional("timeout", \.timeout, "Longest time of one try."),
        .optional("retries", \.retries, "Tries before the job fails.", in: 1...10_000),
    ]
}

/// How a leased job is executed: everything resolved but secrets, which only the runner knows.
public struct ExecutionSpec: Manifest {
    public var executor = ExecutorKind.process
    public var cpu: CPUAmount?
    public var memory: ByteSize?
    public var network = true
    public var container: ContainerSpec?
    public var services: Ordered<SidecarSpec> = [:]
    public init() {}

    public init(of job: JobSpec) {
        executor = job.runs_on.executor ?? (job.container == nil ? .process : .podman)
        (cpu, memory) = (job.runs_on.cpu, job.runs_on.memory)
        network = job.runs_on.network ?? (executor != .sandbox)
        (container, services) = (job.container, job.services)
    }

    /// All executors that the runner must offer: services with an image are containers.
    public var executors: [ExecutorKind] {
        let needsContainers = services.contains { $0.value.image != nil }
        return executor != .podman && needsContainers ? [executor, .podman] : [executor]
    }

    public static let fields: [Field<Self>] = [
        .told("executor", \.executor, "What executes the steps."),
        .optional("cpu", \.cpu, "Processors."),
        .optional("memory", \.memory, "Memory."),
        .told("network", \.network, "Whether the network is reached."),
        .optional("container", \.container, "Image."),
        .optional("services", \.services, "Programs that run beside the steps."),
    ]
}

/// Rules across the fields of a job that say where it runs.
enum ExecutionChecks {
    static func check(_ job: JobSpec) -> [ManifestError] {
        let execution = ExecutionSpec(of: job)
        var errors: [ManifestError] = []
        func refuse(_ at: [String], _ message: String, _ hint: String) {
            errors.append(ManifestError(at: at, message: message, hint: hint))
        }
        if job.container == nil, execution.executor == .podman {
            refuse(["runs_on", "executor"], "podman needs a container", "Name an image: `container: IMAGE`.")
        }
        if job.container != nil, execution.executor != .podman {
            refuse(
                ["container"], "the \(execution.executor.rawValue) executor has no containers",
                "Leave `executor` out, or write `executor: podman`.")
        }
        if !execution.network, ![.sandbox, .podman].contains(execution.executor) {
            refuse(
                ["runs_on", "network"], "the \(execution.executor.rawValue) executor cannot take the network away",
                "Write `executor: sandbox`, or name a container.")
        }
        guard !job.services.isEmpty else { return errors }
        if [.slurm, .ray].contains(execution.executor) {
            refuse(
                ["services"], "the \(execution.executor.rawValue) executor has no services",
                "Use the process, sandbox or podman executor.")
        }
        if execution.executor == .sandbox, !execution.network {
            refuse(
                ["services"], "a sandbox without network does not reach its services", "Write `network: true`.")
        }
        for (name, service) in job.services {
            if !PipelineChecks.isName(name) {
                refuse(["services", name], "\"\(name)\" is not a name", PipelineChecks.nameRule)
            }
            if service.health?.tcp != nil || service.health?.http != nil, service.ports.isEmpty,
                service.image != nil || execution.executor == .podman
            {
                refuse(["services", name, "ports"], "its health check needs a port", "Write `ports: [PORT]`.")
            }
        }
        return errors
    }
}
