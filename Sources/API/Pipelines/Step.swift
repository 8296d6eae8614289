public import Manifests

/// One step: exactly one verb.
public struct StepSpec: Manifest {
    public var id: String?
    public var name: String?
    public var `if`: String?
    public var timeout: TimeSpan?
    public var variables: Ordered<String> = [:]
    public var continue_on_error = false
    public var shell = StepShell.bash
    public var working_directory: String?
    public var env: Ordered<String> = [:]
    public var retry = StepRetrySpec()

    public var run: String?
    /// The other verbs, of which a step has one or none: they lie apart, so that thousands of steps that run a script are small.
    fileprivate var other: Held?

    public init() {}
    public static let choices = StepVerbs.names
    public static let fields: [Field<Self>] =
        [
            .optional("id", \.id, "Name for `steps.ID.outputs`."),
            .optional("name", \.name, "What it is called in the log; absent: its verb."),
            .optional("if", \.if, "Runs only when this expression is true; absent: when no step before it failed."),
            .optional("timeout", \.timeout, "Longest time; its whole process tree is then ended."),
            .optional("variables", \.variables, "Environment variables."),
            .optional("continue_on_error", \.continue_on_error, "Its failure does not fail the job."),
            .optional("shell", \.shell, "What reads the script of `run`."),
            .optional("working_directory", \.working_directory, "Folder of the workspace in which `run` begins."),
            .optional("env", \.env, "Another name for `variables`; where both name one, this counts."),
            .optional("retry", \.retry, "When the step is tried again, whatever its verb."),
        ] + StepVerbs.fields(\StepSpec.self, skipping: [])

    fileprivate struct Verbs: Sendable, Equatable {
        var checkout: CheckoutSpec?
        var fetch: FetchSpec?
        var ingest: IngestSpec?
        var validate: ValidateSpec?
        var transform: TransformSpec?
        var train: TrainSpec?
        var evaluate: EvaluateSpec?
        var register: RegisterSpec?
        var deploy: DeploySpec?
        var watch: WatchSpec?
    }

    fileprivate final class Held: Sendable, Equatable {
        let verbs: Verbs
        init(_ verbs: Verbs) { self.verbs = verbs }
        static func == (left: Held, right: Held) -> Bool { left === right || left.verbs == right.verbs }
    }

    private var verbs: Verbs {
        get { other?.verbs ?? Verbs() }
        set { other = newValue == Verbs() ? nil : Held(newValue) }
    }

    public var checkout: CheckoutSpec? {
        get { other?.verbs.checkout }
        set { verbs.checkout = newValue }
    }
    public var fetch: FetchSpec? {
        get { other?.verbs.fetch }
        set { verbs.fetch = newValue }
    }
    public var ingest: IngestSpec? {
        get { other?.verbs.ingest }
        set { verbs.ingest = newValue }
    }
    public var validate: ValidateSpec? {
        get { other?.verbs.validate }
        set { verbs.validate = newValue }
    }
    public var transform: TransformSpec? {
        get { other?.verbs.transform }
        set { verbs.transform = newValue }
    }
    public var train: TrainSpec? {
        get { other?.verbs.train }
        set { verbs.train = newValue }
    }
    public var evaluate: EvaluateSpec? {
        get { other?.verbs.evaluate }
        set { verbs.evaluate = newValue }
    }
    public var register: RegisterSpec? {
        get { other?.verbs.register }
        set { verbs.register = newValue }
    }
    public var deploy: DeploySpec? {
        get { other?.verbs.deploy }
        set { verbs.deploy = newValue }
    }
    public var watch: WatchSpec? {
        get { other?.verbs.watch }
        set { verbs.watch = newValue }
    }

    public static func check(_ value: Self) -> [ManifestError] {
        if let folder = value.working_directory, !isInsideWorkspace(folder) {
            return [.outside(folder, at: ["working_directory"])]
        }
        return []
    }
}

/// The verbs a step may have; the one list.
public enum StepVerbs {
    public static let names = [
        "run", "checkout", "fetch", "ingest", "validate", "transform", "train", "evaluate", "register", "deploy",
        "watch",
    ]
    /// Verbs that the server carries out itself, through operations; the others go to a runner.
    public static let serverSide: Set<String> = ["register", "deploy", "watch"]
    /// Verbs that make sense only among other steps, never as a stage of their own.
    public static let withinJobs: Set<String> = ["run", "checkout", "fetch"]
    /// Verbs that a runner hands to `vagus work`, a process of its own.
    public static let workers: Set<String> = ["ingest", "validate", "transform", "train", "evaluate"]

    static func fields<Root: Manifest>(
        _ step: any WritableKeyPath<Root, StepSpec> & Sendable, skipping: Set<String>
    ) -> [Field<Root>] {
        func field<V: WireValue>(_ name: String, _ path: any WritableKeyPath<StepSpec, V> & Sendable, _ help: String)
            -> Field<Root>
        {
            let joined: WritableKeyPath<Root, V> = (step as WritableKeyPath<Root, StepSpec>).appending(
                path: path as WritableKeyPath<StepSpec, V>)
            // Sound: a key path made of two Sendable key paths without captured values holds nothing mutable.
            let sendable = unsafeBitCast(joined, to: (any WritableKeyPath<Root, V> & Sendable).self)
            let made: Field<Root> = .optional(name, sendable, help)
            guard name != "run" else { return made }
            return made.kept(in: (step as WritableKeyPath<Root, StepSpec>).appending(path: \StepSpec.other))
        }
        let all: [Field<Root>] = [
            field("run", \.run, "Script, run by bash with -euo pipefail, or by what `shell` says."),
            field("checkout", \.checkout, "Puts the run's commit, or another, into the workspace."),
            field("fetch", \.fetch, "Puts an artifact of an earlier stage into the workspace."),
            field("ingest", \.ingest, "Reads a dataset; outputs `rows`."),
            field(
                "validate", \.validate, "Holds rows against the dataset's expectations; outputs `rows`, `quarantine`."),
            field(
                "transform", \.transform, "Splits, and fits feature transforms; outputs `train`, `test`, `transforms`."),
            field("train", \.train, "Trains a model; outputs `model`."),
            field("evaluate", \.evaluate, "Measures a model and holds it against its gates; outputs `report`."),
            field("register", \.register, "Makes a model version; outputs the value `version`."),
            field("deploy", \.deploy, "Rolls a new revision of a service out, and waits for its verdict."),
            field("watch", \.watch, "Looks at a monitor for a while."),
        ]
        return all.filter { !skipping.contains($0.name) }
    }
}

extension StepSpec {
    /// The step's verb with its settings as JSON; "" when it has none.
    public var verb: (name: String, settings: JSONValue) {
        if let run { return ("run", .string(run)) }
        let written = json
        for name in StepVerbs.names {
            if let settings = written[name] { return (name, settings) }
        }
        return ("", .null)
    }

    public var displayName: String {
        if let name { return name }
        if let run { return String(run.prefix { $0 != "\n" }.prefix(60)) }
        return verb.name
    }

    /// Artifacts of earlier stages that the verb reads: name for the worker → `stage.output`.
    public var artifactInputs: [(name: String, reference: String)] {
        if let validate { return [("rows", validate.input)] }
        if let transform { return [("rows", transform.input)] }
        if let train {
            var inputs = [("train", train.training_data), ("transforms", train.transformsReference)]
            if let validation = train.validation_data { inputs.append(("test", validation)) }
            return inputs
        }
        if let evaluate { return [("model", evaluate.model), ("data", evaluate.data)] }
        if let register { return [("model", register.from)] }
        if let artifact = deploy?.artifact { return [("artifact", artifact)] }
        if let fetch { return [("artifact", fetch.artifact)] }
        return []
    }

    /// Declared things whose spec the worker is given: kind and name.
    public var resourceInputs: [(kind: String, name: String)] {
        if let ingest { return [(DatasetKind.name, ingest.dataset)] }
        if let dataset = validate?.dataset { return [(DatasetKind.name, dataset)] }
        return []
    }

    /// Names of what the verb leaves behind for later stages.
    public var artifactOutputs: [String] {
        switch verb.name {
        case "ingest": ["rows", "report"]
        case "validate": ["rows", "quarantine", "report"]
        case "transform": ["train", "test", "transforms"]
        case "train": ["model"]
        case "evaluate": ["report"]
        default: []
        }
    }
}

/// What reads the script of a `run` step.
public enum StepShell: String, WireEnum { case bash, sh, python }

/// When a step is tried again within its job.
public struct StepRetrySpec: Manifest {
    public enum Cause: String, WireEnum { case failure, timeout, exit_codes }
    public var max = 0
    public var delay = TimeSpan.seconds(0)
    public var `for`: [Cause] = [.failure, .timeout]
    public var exit_codes: [Int] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("max", \.max, "How often it is tried again.", in: 0...10),
        .optional("delay", \.delay, "How long to wait before each further try."),
        .optional(
            "for", \.for, "Causes for which it is tried again: any failure, its time limit, or one of `exit_codes`."),
        .optional("exit_codes", \.exit_codes, "Exit codes that `for: [exit_codes]` means."),
    ]
    /// `retry: 2`.
    public static func shorthand(_ json: JSONValue) -> Self? {
        guard let count = json.int, (0...10).contains(count) else { return nil }
        var spec = Self()
        spec.max = count
        return spec
    }
    public static func check(_ value: Self) -> [ManifestError] {
        guard value.for.contains(.exit_codes) == value.exit_codes.isEmpty else { return [] }
        return [
            ManifestError(
                at: [value.exit_codes.isEmpty ? "for" : "exit_codes"],
                message: "\"for: [exit_codes]\" and \"exit_codes\" are written together, or not at all",
                hint: "Write both: for: [exit_codes], exit_codes: [75].")
        ]
    }
}

public struct CheckoutSpec: Manifest {
    public var depth = 1
    public var repository: String?
    public var ref: String?
    public var path: String?
    /// Nil: with all of history.
    public var tags: Bool?
    public var submodules = Submodules.no
    public var lfs = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional(
            "depth", \.depth, "How many commits of history; 0 for all, with all branches.", in: 0...1_000_000),
        .optional("tags", \.tags, "Whether the tags come too; absent: with `depth: 0`."),
        .optional("repository", \.repository, "Another repository of the project; absent: the run's own."),
        .optional(
            "ref", \.ref,
            "Branch, tag or commit; absent: the run's commit, or the default branch of another repository."
        ),
        .optional("path", \.path, "Folder of the workspace to put it into; absent: the workspace itself."),
        .optional("submodules", \.submodules, "true, or \"recursive\" for those of submodules too."),
        .optional("lfs", \.lfs, "Fetches the files that Git LFS keeps; the runner must have git-lfs."),
    ]
    public static func shorthand(_ json: JSONValue) -> Self? { json == .bool(true) || json == .null ? Self() : nil }
    public static func check(_ value: Self) -> [ManifestError] {
        guard let path = value.path, !isInsideWorkspace(path) else { return [] }
        return [.outside(path, at: ["path"])]
    }

    /// What git fetches beside the one commit; a remote that has no such refs is none the worse.
    public var refs: [String] {
        var refs: [String] = []
        if depth == 0 { refs.append("+refs/heads/*:refs/remotes/origin/*") }
        if tags ?? (depth == 0) { refs.append("+refs/tags/*:refs/tags/*") }
        return refs
    }

    /// false, true or "recursive".
    public enum Submodules: WireValue {
        case no, direct, recursive
        public static var schema: Schema {
            var schema = Schema(type: "boolean")
            schema.alternatives = [Schema(type: "boolean"), Schema(type: "string")]
            return schema
        }
        public init(json: JSONValue, at path: [String]) throws(ManifestError) {
            switch json {
            case .bool(let isWanted): self = isWanted ? .direct : .no
            case .string("recursive"): self = .recursive
            default: throw .expected("true, false or \"recursive\"", at: path, found: json)
            }
        }
        public var json: JSONValue {
            switch self {
            case .no: .bool(false)
            case .direct: .bool(true)
            case .recursive: .string("recursive")
            }
        }
    }
}

/// An artifact of an earlier stage, put into the workspace.
public struct FetchSpec: Manifest {
    public var artifact = ""
    public var to = "."
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("artifact", \.artifact, "What an earlier stage has left behind: `stage.name`."),
        .optional("to", \.to, "Folder of the workspace to put it into."),
    ]
    /// `fetch: build.app`.
    public static func shorthand(_ json: JSONValue) -> Self? {
        guard let name = json.string else { return nil }
        var spec = Self()
        spec.artifact = name
        return spec
    }
    public static func check(_ value: Self) -> [ManifestError] {
        isInsideWorkspace(value.to) ? [] : [.outside(value.to, at: ["to"])]
    }
}

/// Whether a path leads to the workspace or beneath it; one with an expression is looked at when that has its value.
public func isInsideWorkspace(_ path: String) -> Bool {
    path.contains("${{")
        || !path.isEmpty && !path.hasPrefix("/") && !path.utf8.contains(0)
            && !path.split(separator: "/").contains("..")
}

extension ManifestError {
    /// A path that leads out of the workspace.
    public static func outside(_ path: String, at place: [String]) -> ManifestError {
        ManifestError(
            at: place, message: "\"\(path)\" leads out of the workspace", hint: "Write a path beneath the workspace.")
    }
}

public struct RegisterSpec: Manifest {
    public var model = ""
    public var from = ""
    public var aliases: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("model", \.model, "Model that gets a new version."),
        .required("from", \.from, "The trained model: `stage.model`."),
        .optional("aliases", \.aliases, "Aliases that then point to the new version."),
    ]
}

public struct DeploySpec: Manifest {
    public var service = ""
    public var model: String?
    public var image: String?
    public var artifact: String?
    public var alias: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("service", \.service, "Service that gets a new revision."),
        .optional("model", \.model, "Model version to serve: `name@3`, or `name@alias`."),
        .optional("image", \.image, "Image for the service's containers: `name:tag`, or `name@sha256:…`."),
        .optional("artifact", \.artifact, "Artifact to unpack as the working folder: `stage.name`."),
        .optional("alias", \.alias, "Alias of the model that moves to this version once it has all traffic."),
    ]
}

public struct WatchSpec: Manifest {
    public enum OnBreach: String, WireEnum { case fail, warn, rollback }
    public var monitor: String?
    public var service: String?
    public var `for` = TimeSpan.seconds(0)
    public var max_errors = Share(0.05)
    public var min_requests: Int64 = 20
    public var on_breach = OnBreach.fail
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("monitor", \.monitor, "Monitor to look at."),
        .optional(
            "service", \.service,
            "Service to look at: the revision that this run has deployed, else the stable one. It is out of bounds when it is degraded, or too many of its requests fail."
        ),
        .optional("for", \.for, "How long to look."),
        .optional("max_errors", \.max_errors, "Share of the service's requests in that time that may fail."),
        .optional(
            "min_requests", \.min_requests, "Requests below which nothing is said of that share.", in: 1...1_000_000_000
        ),
        .optional(
            "on_breach", \.on_breach,
            "What a breach in that time means: the run fails; it is told; or the service goes back to the revision before, and the run fails."
        ),
    ]
    public static func check(_ value: Self) -> [ManifestError] {
        var errors: [ManifestError] = []
        if value.monitor == nil, value.service == nil {
            errors.append(
                ManifestError(
                    at: [], message: "a watch looks at a monitor or a service",
                    hint: "Write service: NAME, or monitor: NAME."))
        }
        if value.service == nil, value.on_breach == .rollback {
            errors.append(
                ManifestError(
                    at: ["on_breach"], message: "without a service there is nothing to roll back",
                    hint: "Add service: NAME."))
        }
        if value.max_errors.fraction > 1 {
            errors.append(ManifestError(at: ["max_errors"], message: "a share of more than 100%", hint: nil))
        }
        return errors
    }
}
