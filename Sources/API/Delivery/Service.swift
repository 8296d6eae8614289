public import Manifests

/// A long-running program, or a model, that vagus keeps up and reachable by name.
public enum ServiceKind: Kind {
    public typealias Spec = ServiceSpec
    public typealias Status = ServiceStatus
    public static let name = "Service"
    public static let plural = "services"
    public static let summary = "A long-running program, or a model, that vagus keeps up, reachable by name."
}

public struct ServiceSpec: Manifest {
    public var environment: String?
    public var workload = WorkloadSpec()
    public var health = HealthSpec()
    public var route = RouteSpec()
    public var rollout = RolloutSpec()
    public var rollback = RollbackSpec()
    public var predictions = PredictionLogSpec()
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("environment", \.environment, "Environment it runs in."),
        .required("workload", \.workload, "What runs."),
        .optional("health", \.health, "How to tell that a copy is well."),
        .optional("route", \.route, "Where it is reached at the proxy."),
        .optional("rollout", \.rollout, "How a new revision takes over."),
        .optional("rollback", \.rollback, "How it goes back."),
        .optional("predictions", \.predictions, "What is kept of a model's answers."),
    ]
}

public struct WorkloadSpec: Manifest {
    public var command: [String] = []
    public var model: String?
    public var image: String?
    public var container: ContainerSpec?
    public var replicas = 1
    public var variables: Ordered<String> = [:]
    public var secrets: Ordered<String> = [:]
    public var port: Int?
    public var resources = ResourcesSpec()
    public var migration: String?
    public init() {}
    /// Where a program in a container listens unless `port` says otherwise.
    public static let containerPort = 8080
    public static let fields: [Field<Self>] = [
        .optional(
            "command", \.command,
            "Program and its arguments; it listens on $PORT of 127.0.0.1. With a container: what its image's entrypoint is given, absent: what the image says."
        ),
        .optional(
            "model", \.model,
            "Model to serve: `name@3` or `name@alias`; or just `name`, which waits for a deploy step to choose a version."
        ),
        .optional("image", \.image, "Image whose containers the copies are; `container: { image: … }` in short."),
        .optional(
            "container", \.container,
            "Image whose containers the copies are, with Podman or Docker; by digest, or by a tag that does not move."),
        .optional("replicas", \.replicas, "Copies to keep up.", in: 0...100),
        .optional("variables", \.variables, "Environment variables."),
        .optional(
            "secrets", \.secrets,
            "Environment variables from secrets: name → secret, as NAME or vault:PATH#FIELD. Each copy is given the version of its start."
        ),
        .optional(
            "port", \.port,
            "Port that the program in a container listens on, on all addresses, 8080 if absent, also told in $PORT; it is published on a free port of 127.0.0.1. Without a container several copies share a machine, so each is given a free one, in $PORT.",
            in: 1...65_535),
        .optional("resources", \.resources, "What each copy may take, where this machine has cgroups."),
        .optional(
            "migration", \.migration,
            "Name of the newest migration of its data that it needs: a way back to a revision with another is refused until it is asked for on purpose."
        ),
    ]

    /// The container that is declared, in short or at length.
    public var containerSpec: ContainerSpec? { container ?? image.flatMap { ContainerSpec.shorthand(.string($0)) } }

    public static func check(_ value: Self) -> [ManifestError] {
        let forms = [
            ("model", value.model != nil), ("image", value.image != nil), ("container", value.container != nil),
        ].filter(\.1).map(\.0)
        if forms.count > 1 || (forms == ["model"] && !value.command.isEmpty) || (forms.isEmpty && value.command.isEmpty)
        {
            return [
                ManifestError(
                    at: [], message: "a workload is one of a command, a container and a model",
                    hint:
                        "Write `command: [./app, --port, \"$PORT\"]`, `container: { image: … }` or `model: name@alias`."
                )
            ]
        }
        return secretErrors(value)
    }

    private static func secretErrors(_ value: Self) -> [ManifestError] {
        var errors = EnvironmentChecks.secrets(value.secrets, of: "a copy")
        if let login = value.container?.credentials, login.secret == nil {
            errors.append(
                ManifestError(
                    at: ["container", "credentials", "password"],
                    message: "the password of a registry does not stand in a service",
                    hint: "Write `password: ${{ secrets.NAME }}`."))
        }
        return errors
    }
}

public struct ResourcesSpec: Manifest {
    public var cpu: CPUAmount?
    public var memory: ByteSize?
    public init() {}
    public static var noun: String { "resource bound" }
    public static let fields: [Field<Self>] = [
        .optional("cpu", \.cpu, "Processors' worth of time: 2, 0.5 or 500m."),
        .optional("memory", \.memory, "Memory: 512Mi; beyond it the copy is killed, and replaced."),
    ]
}

public struct RouteSpec: Manifest {
    /// What copies speak with the proxy.
    public enum Speech: String, WireEnum { case http, h2c, grpc }
    public var `protocol` = Speech.http
    public var hosts: [String] = []
    public var path: String?
    public var timeout = TimeSpan.seconds(30)
    public var total_timeout: TimeSpan?
    public var idle_timeout: TimeSpan?
    public var retries = RouteRetrySpec()
    public var outliers: OutlierSpec?
    public var limits: LimitSpec?
    public var rate_limits: [RateLimitSpec] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional(
            "protocol", \.protocol,
            "What its copies speak: http is HTTP/1.1; h2c is HTTP/2 without TLS; grpc is the same, with paths left as they are and the status of a call counted."
        ),
        .optional("hosts", \.hosts, "Host names that lead to it."),
        .optional(
            "path", \.path,
            "Path prefix that leads to it, taken off before it is passed on; absent: /serving/NAME for a model, /services/NAME for a program, / for gRPC, whose paths stay as they are."
        ),
        .optional("timeout", \.timeout, "How long the head of an answer may take."),
        .optional("total_timeout", \.total_timeout, "How long a request may take in all, retries included."),
        .optional("idle_timeout", \.idle_timeout, "How long an answer may be silent once it has begun."),
        .optional("retries", \.retries, "When a request is sent once more."),
        .optional("outliers", \.outliers, "When a copy that fails is left out for a while."),
        .optional("limits", \.limits, "What its copies can bear at once."),
        .optional("rate_limits", \.rate_limits, "How many requests may come; all must let one pass."),
    ]

    public static func check(_ value: Self) -> [ManifestError] {
        guard value.protocol == .grpc, value.hosts.isEmpty, value.path == nil else { return [] }
        return [
            ManifestError(
                at: ["protocol"], message: "a gRPC service is found by its hosts or by a path",
                hint: "Write `hosts: [greeter.example.com]`, or `path: /package.Service`.")
        ]
    }
}

public struct RollbackSpec: Manifest {
    public var automatic = true
    public var window: Int?
    public var keep_running = 0
    public var scale_down_delay = TimeSpan.seconds(30)
    public var abort_delay = TimeSpan.seconds(30)
    public var keep_revisions = 10
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("automatic", \.automatic, "Whether a failed judgement aborts the rollout without asking."),
        .optional(
            "window", \.window,
            "A way back over fewer than so many revisions in between skips all steps; a longer one takes them. Absent: each skips them.",
            in: 0...1000),
        .optional(
            "keep_running", \.keep_running,
            "Earlier stable revisions whose copies are kept up, so that the way back takes no start.", in: 0...10),
        .optional("scale_down_delay", \.scale_down_delay, "How long the copies that lost their traffic are kept."),
        .optional(
            "abort_delay", \.abort_delay,
            "How long the copies of an aborted revision are kept; 0: until the next rollout."),
        .optional("keep_revisions", \.keep_revisions, "Revisions remembered for undo.", in: 1...1000),
    ]
}

public struct PredictionLogSpec: Manifest {
    public var sample = Share(1)
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("sample", \.sample, "Share of predictions kept for monitors.")
    ]
}
